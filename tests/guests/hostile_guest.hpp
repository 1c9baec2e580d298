// SPDX-License-Identifier: Apache-2.0
// What the hostile guest and its parent agree on: where things are in the guest's memory.
#pragma once

#include <cstdint>

namespace croft::guests::hostile {

inline constexpr std::uint64_t memory_size = 4u << 20;
inline constexpr std::uint64_t exception_gpa = 0x6000;
inline constexpr std::uint64_t interrupt_gpa = 0x6800;
inline constexpr std::uint64_t gdt_gpa = 0x7000;
inline constexpr std::uint64_t idt_gpa = 0x8000;
inline constexpr std::uint64_t areas_gpa = 0x9000;
inline constexpr std::uint64_t stacks_gpa = 0x18000;
inline constexpr std::uint64_t stack_size = 0x1000;
inline constexpr std::uint64_t code_gpa = 0x40000;
/// What the guest lets everyone write to.
inline constexpr std::uint64_t scratch_gpa = 0x100000;
inline constexpr std::uint64_t scratch_size = 0x80000;
inline constexpr std::uint64_t apic_gpa = 0xfee00000;

/// One for each processor, at GS. An exception, and a parent that does not answer, send the
/// processor to `resume`.
struct Area {
    std::uint64_t resume;
    std::uint64_t stack;
    std::uint64_t rounds; ///< how many things it has tried
    std::uint64_t seed;
    std::uint64_t calls; ///< how many of those were hypercalls
};

/// The guest's entry, in the section `hostile_code`. It goes on for ever.
extern "C" void hostile_guest(Area* area);

} // namespace croft::guests::hostile
