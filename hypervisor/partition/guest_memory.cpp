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
    const VirtualCpu& cpu = vp.cpu();
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

} // namespace hypervisor
