// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/intercepted_instruction.hpp"

#include "hypervisor/emulate/known_instructions.hpp"
#include "hypervisor/partition/guest_memory.hpp"
#include "hypervisor/partition/partition.hpp"
#include "hypervisor/partition/virtual_processor.hpp"

#include <algorithm>
#include <cstring>

namespace hypervisor {

namespace {

/// Remembers what the virtual processor's page tables, as they are now, lead to: an instruction of
/// which so many bytes are in one page.
void remember(VirtualProcessor& vp, const KnownInstructions::Place& place, std::uint8_t length,
    unsigned bytes) {
    if (page_size - (place.rip & (page_size - 1)) < bytes) {
        return;
    }
    WalkTrace trace;
    const auto translation =
        translate_traced(vp, place.rip, {.kind = PageAccess::Kind::execute}, trace);
    const std::byte* const code =
        translation ? vp.partition().memory_at(translation->gpa) : nullptr;
    if (code != nullptr) {
        vp.known_instructions.remember(place, trace, {.code = code, .length = length});
    }
}

/// By a walk through the guest's page tables.
[[gnu::noinline]] InstructionBytes walk_to_instruction(VirtualProcessor& vp) {
    InstructionBytes result;
    const NativeCpu& cpu = vp.cpu();
    std::uint64_t address = cpu.get(CpuRegister::rip);
    if (cpu.mode() != InstructionMode::bits64) {
        address = (address + cpu.segment(SegmentName::cs).base) & 0xffffffff;
    }
    while (result.count < InstructionBytes::most) {
        const auto translation = translate(
            vp, address, PageAccess{.kind = PageAccess::Kind::execute}, AccessedDirty::leave);
        if (!translation) {
            break;
        }
        const auto piece = static_cast<std::uint8_t>(std::min<std::uint64_t>(
            InstructionBytes::most - result.count, page_size - (address & (page_size - 1))));
        if (!vp.partition().read_gpa(translation->gpa,
                std::as_writable_bytes(std::span{result.bytes}).subspan(result.count, piece))) {
            break;
        }
        result.count = static_cast<std::uint8_t>(result.count + piece);
        address += piece;
    }
    return result;
}

/// What the next one is known by.
[[gnu::always_inline]] inline KnownInstructions::Place place_of(
    const VirtualProcessor& vp, InterceptedInstruction which) {
    const NativeCpu& cpu = vp.cpu();
    // Translations that end while the instruction is sought end what is remembered, too.
    return {.which = which,
        .rip = cpu.get(CpuRegister::rip),
        .cr3 = cpu.get(CpuRegister::cr3),
        .epoch = vp.partition().tlb().epoch()};
}

[[gnu::always_inline]] inline const KnownInstructions::Instruction* find(
    VirtualProcessor& vp, const KnownInstructions::Place& place) {
    return vp.known_instructions.find(
        place, [&vp](std::uint64_t gpa) { return table_entry(vp.partition(), gpa); });
}

/// The length, by the bytes of the instruction; what led to them is remembered if `place` is given.
/// Out of the way: of a hundred exits one comes here.
[[gnu::noinline]] std::optional<unsigned> seek(VirtualProcessor& vp, InterceptedInstruction which,
    const std::optional<KnownInstructions::Place>& place) {
    const auto length =
        intercepted_instruction_length(which, walk_to_instruction(vp).view(), vp.cpu().mode());
    if (!length) {
        return std::nullopt;
    }
    if (place) {
        remember(vp, *place, *length, KnownInstructions::longest);
    }
    return *length;
}

} // namespace

InstructionBytes fetch_instruction(VirtualProcessor& vp) {
    if (!has_four_levels(vp.cpu())) {
        return walk_to_instruction(vp);
    }
    const auto place = place_of(vp, InterceptedInstruction::memory_access);
    if (const auto* const known = find(vp, place); known != nullptr) {
        InstructionBytes result{.count = InstructionBytes::most};
        std::memcpy(result.bytes.data(), known->code, InstructionBytes::most);
        return result;
    }
    const InstructionBytes result = walk_to_instruction(vp);
    remember(vp, place, KnownInstructions::longest, InstructionBytes::most);
    return result;
}

std::optional<unsigned> instruction_length(
    VirtualProcessor& vp, const Exit& exit, InterceptedInstruction which) {
    if (exit.next_rip != 0) {
        return static_cast<unsigned>((exit.next_rip - vp.cpu().get(CpuRegister::rip)) & 0xf);
    }
    if (!has_four_levels(vp.cpu())) {
        return seek(vp, which, std::nullopt);
    }
    const auto place = place_of(vp, which);
    const auto* const known = find(vp, place);
    return known != nullptr ? std::optional<unsigned>{known->length} : seek(vp, which, place);
}

} // namespace hypervisor
