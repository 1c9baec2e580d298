// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/cpu/svm/permission_maps.hpp"

#include "hypervisor/cpu/virtual_cpu.hpp"

#include <cstdint>
#include <cstring>

namespace hypervisor::svm {

namespace {

struct Maps {
    std::uint8_t root_io[3 * page_size];
    std::uint8_t child_io[3 * page_size];
    std::uint8_t msrs[2 * page_size];
    std::uint8_t no_msrs[2 * page_size]; ///< passes none through
};
static_assert(sizeof(Maps) == permission_maps_size);

constinit Maps* maps = nullptr;

enum class Pass : std::uint8_t { read = 1, write = 2, both = 3 };

// Two bits an MSR: reads, then writes. Three ranges of 8192 MSRs have 2 KiB each.
void pass_through(std::uint32_t msr, Pass pass) {
    constexpr std::uint32_t range = 0x2000;
    const std::uint32_t base = msr < range ? 0 : msr < 0xc0010000 ? 0xc0000000 : 0xc0010000;
    const std::uint32_t offset = base == 0 ? 0 : base == 0xc0000000 ? 0x800 : 0x1000;
    const std::uint32_t bit = (msr - base) * 2;
    auto& byte = maps->msrs[offset + bit / 8];
    byte = static_cast<std::uint8_t>(byte & ~(static_cast<unsigned>(pass) << (bit % 8)));
}

} // namespace

void initialise_permission_maps(SpaPage memory) {
    maps = pointer_to<Maps>(memory);
    std::memset(maps->child_io, 0xff, sizeof maps->child_io);
    std::memset(maps->msrs, 0xff, sizeof maps->msrs);
    std::memset(maps->no_msrs, 0xff, sizeof maps->no_msrs);
    for (const MsrRange& own : own_msrs) {
        for (std::uint32_t msr = own.first; msr <= own.last; ++msr) {
            pass_through(msr, Pass::both);
        }
    }
    pass_through(msr_tsc, Pass::read);
}

void intercept_root_ports(std::uint16_t first, std::uint16_t count) {
    for (unsigned port = first; port < unsigned{first} + count; ++port) {
        auto& byte = maps->root_io[port / 8];
        byte = static_cast<std::uint8_t>(byte | 1u << (port % 8));
    }
}

SpaPage io_permissions(bool is_root) {
    return spa_page_of(is_root ? &maps->root_io : &maps->child_io);
}
SpaPage msr_permissions(bool intercept_all) {
    return spa_page_of(intercept_all ? &maps->no_msrs : &maps->msrs);
}

} // namespace hypervisor::svm
