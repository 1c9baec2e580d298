// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/intercepted_instruction.hpp"

#include "hypervisor/cpu/fixed_registers.hpp"
#include "hypervisor/emulate/known_instructions.hpp"
#include "hypervisor/partition/guest_memory.hpp"
#include "hypervisor/partition/partition.hpp"
#include "hypervisor/partition/virtual_processor.hpp"

namespace hypervisor {

namespace {

const KnownInstructions::Word* entry_at(Partition& partition, std::uint64_t gpa) {
    return reinterpret_cast<const KnownInstructions::Word*>(partition.memory_at(gpa));
}

/// Where the virtual processor's page tables, as they are now, lead to its next instruction.
std::optional<KnownInstructions::Trace> trace(VirtualProcessor& vp, std::uint64_t rip) {
    if (page_size - (rip & (page_size - 1)) < KnownInstructions::longest) {
        return std::nullopt;
    }
    Partition& partition = vp.partition();
    KnownInstructions::Trace result;
    GuestPageWalk walk{paging_state(vp), rip, {.kind = PageAccess::Kind::execute}};
    while (const auto wanted = walk.wanted()) {
        const KnownInstructions::Word* const entry = entry_at(partition, *wanted);
        if (entry == nullptr || result.depth == KnownInstructions::levels) {
            return std::nullopt;
        }
        const std::uint64_t value = entry->load(std::memory_order_relaxed);
        result.entries[result.depth] = entry;
        result.values[result.depth++] = value;
        walk.feed(value);
    }
    if (!walk.result()) {
        return std::nullopt;
    }
    result.code = partition.memory_at(walk.result()->gpa);
    return result.code != nullptr ? std::optional{result} : std::nullopt;
}

} // namespace

std::optional<unsigned> instruction_length(
    VirtualProcessor& vp, const Exit& exit, InterceptedInstruction which) {
    const VirtualCpu& cpu = vp.cpu();
    const std::uint64_t rip = cpu.get(CpuRegister::rip);
    if (exit.next_rip != 0) {
        return static_cast<unsigned>((exit.next_rip - rip) & 0xf);
    }
    // Translations that end while the instruction is sought end what is remembered, too.
    const KnownInstructions::Place place{.which = which,
        .rip = rip,
        .cr3 = cpu.get(CpuRegister::cr3),
        .epoch = vp.partition().tlb().epoch()};
    const bool is_traced =
        cpu.mode() == InstructionMode::bits64 && (cpu.get(CpuRegister::cr4) & cr4_la57) == 0;
    if (is_traced) {
        const auto known = vp.known_instructions.find(
            place, [&vp](std::uint64_t gpa) { return entry_at(vp.partition(), gpa); });
        if (known) {
            return *known;
        }
    }
    const auto length =
        intercepted_instruction_length(which, fetch_instruction(vp).view(), cpu.mode());
    if (!length) {
        return std::nullopt;
    }
    if (is_traced) {
        if (const auto found = trace(vp, rip); found) {
            vp.known_instructions.remember(place, *found, *length);
        }
    }
    return *length;
}

} // namespace hypervisor
