// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/cpu/svm/permission_maps.hpp"

#include "hypervisor/cpu/fixed_registers.hpp"

#include <cstdint>
#include <cstring>
#include <initializer_list>

namespace hypervisor::svm {

namespace {

struct alignas(page_size) IoMap {
    std::uint8_t bits[3 * page_size];
};
struct alignas(page_size) MsrMap {
    std::uint8_t bits[2 * page_size];
};

constinit IoMap child_io{};
constinit IoMap root_io{};
constinit MsrMap msrs{};

enum class Pass : std::uint8_t { read = 1, write = 2, both = 3 };

// Two bits an MSR: reads, then writes. Three ranges of 8192 MSRs have 2 KiB each.
void pass_through(std::uint32_t msr, Pass pass) {
    constexpr std::uint32_t range = 0x2000;
    const std::uint32_t base = msr < range ? 0 : msr < 0xc0010000 ? 0xc0000000 : 0xc0010000;
    const std::uint32_t offset = base == 0 ? 0 : base == 0xc0000000 ? 0x800 : 0x1000;
    const std::uint32_t bit = (msr - base) * 2;
    auto& byte = msrs.bits[offset + bit / 8];
    byte = static_cast<std::uint8_t>(byte & ~(static_cast<unsigned>(pass) << (bit % 8)));
}

} // namespace

void initialise_permission_maps() {
    std::memset(child_io.bits, 0xff, sizeof child_io.bits);
    std::memset(msrs.bits, 0xff, sizeof msrs.bits);
    for (const std::uint32_t msr :
        {msr_fs_base, msr_gs_base, msr_kernel_gs_base, msr_star, msr_lstar, msr_cstar, msr_sfmask,
            msr_sysenter_cs, msr_sysenter_esp, msr_sysenter_eip, msr_tsc_aux}) {
        pass_through(msr, Pass::both);
    }
    pass_through(msr_tsc, Pass::read);
}

SpaPage io_permissions(bool is_root) {
    return spa_page_of(is_root ? &root_io : &child_io);
}
SpaPage msr_permissions() {
    return spa_page_of(&msrs);
}

} // namespace hypervisor::svm
