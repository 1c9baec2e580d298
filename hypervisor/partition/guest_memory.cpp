// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/guest_memory.hpp"

#include "hypervisor/cpu/fixed_registers.hpp"
#include "hypervisor/cpu/intrinsics.hpp"
#include "hypervisor/partition/partition.hpp"
#include "hypervisor/partition/virtual_processor.hpp"

#include <atomic>
#include <optional>

namespace hypervisor {

namespace {

/// Page tables in the guest's physical memory.
class TableReader final {
public:
    explicit TableReader(Partition& partition) : partition_{partition} {}

    std::optional<std::uint64_t> read_entry(std::uint64_t gpa, unsigned size) {
        std::uint64_t value = 0;
        const bool ok =
            partition_.read_gpa(gpa, std::as_writable_bytes(std::span{&value, 1}).first(size));
        return ok ? std::optional{value} : std::nullopt;
    }

    std::optional<bool> compare_exchange_entry(
        std::uint64_t gpa, unsigned size, std::uint64_t expected, std::uint64_t desired) {
        const SpinGuard guard{partition_.space_lock()};
        const Slat::Mapping mapping = partition_.space().lookup(GpaPage::containing(gpa));
        if (mapping.access != Slat::Access::mapped ||
            (mapping.map_flags & HV_MAP_GPA_WRITABLE) == 0 ||
            partition_.records().kind(mapping.page) == PageKind::device) {
            return std::nullopt;
        }
        partition_.space().slat().note_written(GpaPage::containing(gpa));
        auto* const at = pointer_to<std::byte>(mapping.page) + (gpa & (page_size - 1));
        if (size == sizeof(std::uint64_t)) {
            return std::atomic_ref{*reinterpret_cast<std::uint64_t*>(at)}.compare_exchange_strong(
                expected, desired);
        }
        auto narrow = static_cast<std::uint32_t>(expected);
        return std::atomic_ref{*reinterpret_cast<std::uint32_t*>(at)}.compare_exchange_strong(
            narrow, static_cast<std::uint32_t>(desired));
    }

private:
    Partition& partition_;
};

std::uint8_t physical_bits() {
    static constinit std::uint8_t bits = 0;
    if (bits == 0) {
        bits = static_cast<std::uint8_t>(cpuid(0x80000008).eax);
    }
    return bits;
}

} // namespace

PagingState paging_state(const VirtualProcessor& vp) {
    const NativeCpu& cpu = vp.cpu();
    return {.cr0 = cpu.get(CpuRegister::cr0),
        .cr3 = cpu.get(CpuRegister::cr3),
        .cr4 = cpu.get(CpuRegister::cr4),
        .efer = cpu.get(CpuRegister::efer),
        .rflags = cpu.get(CpuRegister::rflags),
        .cpl = static_cast<std::uint8_t>(cpu.cpl()),
        .physical_bits = physical_bits()};
}

std::expected<Translation, PageFault> translate(
    VirtualProcessor& vp, std::uint64_t gva, PageAccess access, AccessedDirty policy) {
    TableReader reader{vp.partition()};
    return translate_guest_address(paging_state(vp), gva, access, policy, reader);
}

bool has_four_levels(const NativeCpu& cpu) {
    return cpu.mode() == InstructionMode::bits64 && (cpu.get(CpuRegister::cr4) & cr4_la57) == 0;
}

const WalkTrace::Word* table_entry(Partition& partition, std::uint64_t gpa) {
    return reinterpret_cast<const WalkTrace::Word*>(partition.memory_at(gpa));
}

std::optional<Translation> translate_traced(
    VirtualProcessor& vp, std::uint64_t gva, PageAccess access, WalkTrace& trace) {
    GuestPageWalk walk{paging_state(vp), gva, access};
    while (const auto wanted = walk.wanted()) {
        const WalkTrace::Word* const entry = table_entry(vp.partition(), *wanted);
        if (entry == nullptr || trace.depth == WalkTrace::levels) {
            return std::nullopt;
        }
        const std::uint64_t value = entry->load(std::memory_order_relaxed);
        trace.entries[trace.depth] = entry;
        trace.values[trace.depth++] = value;
        walk.feed(value);
    }
    return walk.result() ? std::optional{*walk.result()} : std::nullopt;
}

std::optional<std::uint64_t> operand_gpa(
    VirtualProcessor& vp, std::uint64_t gva, PageAccess::Kind kind) {
    if (!has_four_levels(vp.cpu())) {
        const auto translation = translate(vp, gva, {.kind = kind}, AccessedDirty::leave);
        return translation ? std::optional{translation->gpa} : std::nullopt;
    }
    const PagingState state = paging_state(vp);
    const std::uint64_t offset = gva & (page_size - 1);
    const KnownOperands::Place place{.page = gva - offset,
        .rights = KnownOperands::rights_of(state, kind),
        .cr3 = state.cr3,
        .epoch = vp.partition().tlb().epoch()};
    const auto known = vp.known_operands.find(
        place, [&vp](std::uint64_t gpa) { return table_entry(vp.partition(), gpa); });
    if (known) {
        return *known + offset;
    }
    WalkTrace trace;
    const auto translation = translate_traced(vp, gva, {.kind = kind}, trace);
    if (!translation) {
        return std::nullopt;
    }
    vp.known_operands.remember(place, trace, translation->gpa - offset);
    return translation->gpa;
}

} // namespace hypervisor
