// SPDX-License-Identifier: Apache-2.0
// What the processors of a race find in their memory: the instructions, the ways that lead to them,
// and what each does to the registers.
#pragma once

#include "tests/guests/guest_machine.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace croft::guests::race {

inline constexpr std::uint64_t memory_size = 4u << 20;
inline constexpr std::uint64_t area_gpa = 0xa000;
inline constexpr std::uint64_t rewriter_gpa = 0xb000; ///< the second processor's code

// All accesses are at the same place of their pages, as that of the local APIC's version.
inline constexpr std::uint64_t place_in_page = 0x30;
inline constexpr std::uint64_t first_device = 0x20000000;
inline constexpr std::uint64_t second_device = first_device + 0x1000;
inline constexpr std::uint32_t first_value = 0x0a1a2a3a;
inline constexpr std::uint32_t second_value = 0x0b1b2b3b;
inline constexpr std::uint16_t input_port = 0x60;
inline constexpr std::uint32_t input_value = 0x0c1c2c3c;
/// What follows the first two bytes of each instruction: its displacement or its immediate operand,
/// or four times PUSH RAX.
inline constexpr std::uint32_t tail = 0x50505050;
inline constexpr std::uint64_t first_leaf = 0x40000000; ///< in RAX before each round

/// What the guest's code addresses by numbers (race_code.S).
struct Area {
    static constexpr std::size_t places = 7;

    std::uint64_t current; ///< counts steps in its upper 48 bits; 0 while one is being taken
    std::uint64_t rounds;
    // What the next round begins with.
    std::uint64_t cr3, target;
    std::uint64_t rax, rbx, rcx, rdx, rsi, rdi, rbp;
    // What the last one has found.
    std::uint64_t before, after, pushed, faulted;
    std::uint64_t rax_after, rbx_after, rcx_after, rdx_after;
    // Of the second processor.
    std::uint64_t seed, step_count, steps;
    std::uint64_t place[places]; ///< where the values of a step go
};

/// What a round has done to the registers.
struct Outcome {
    std::array<std::uint64_t, 4> registers{}; ///< RAX, RBX, RCX, RDX
    std::uint64_t pushed = 0;                 ///< bytes
    bool faulted = false;

    bool operator==(const Outcome&) const = default;
    [[nodiscard]] std::string text() const;
};

/// The states that the second processor brings about, in the memory of a guest in long mode.
class Steps {
public:
    explicit Steps(GuestMachine& machine);

    static constexpr std::size_t slots = 2; ///< places with instructions in a page
    [[nodiscard]] static std::uint64_t slot_address(std::size_t slot);
    [[nodiscard]] static std::uint64_t cr3(std::size_t which);

    [[nodiscard]] std::size_t count() const { return steps_.size(); }
    [[nodiscard]] std::string name(std::size_t step, std::size_t slot) const;
    [[nodiscard]] const Outcome& expected(std::size_t step, std::size_t slot) const;
    /// Whether a round may have ended so while steps were taken.
    [[nodiscard]] bool is_possible(const Outcome& outcome, std::size_t slot) const;

private:
    struct Step {
        std::array<std::uint64_t, Area::places + 1> values{}; ///< the last is padding
        std::optional<std::size_t> instruction;               ///< or the code's page is missing
    };

    void place_instructions(GuestMachine& machine);
    void build_tables(GuestMachine& machine);
    void add_steps();
    void note_outcomes(GuestMachine& machine);

    std::vector<Step> steps_;
    std::array<std::vector<Outcome>, slots> outcomes_; ///< of the instructions
    Outcome nothing_;                                  ///< a fault before anything was done
};

} // namespace croft::guests::race
