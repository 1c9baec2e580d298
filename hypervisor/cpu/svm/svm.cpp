// SPDX-License-Identifier: Apache-2.0
// Detection and activation of AMD-V (AMD64 APM vol. 2, 15.4).
#include "hypervisor/cpu/fixed_registers.hpp"
#include "hypervisor/cpu/intrinsics.hpp"
#include "hypervisor/cpu/logical_processor.hpp"
#include "hypervisor/cpu/svm/permission_maps.hpp"
#include "hypervisor/cpu/virtual_cpu.hpp"

namespace hypervisor::virtualization {

namespace {

constexpr std::uint32_t extended_features = 0x80000001;
constexpr std::uint32_t svm_features = 0x8000000a;
constexpr std::uint32_t feature_svm = 1u << 2;
constexpr std::uint32_t feature_nested_paging = 1u << 0;
constexpr std::uint32_t feature_huge_pages = 1u << 26;

} // namespace

const char* unsupported() {
    if (cpuid(0x80000000).eax < svm_features || (cpuid(extended_features).ecx & feature_svm) == 0) {
        return "this processor has no AMD-V (CPUID shows no SVM); an AMD processor with it is "
               "needed";
    }
    if ((read_msr(msr_vm_cr) & vm_cr_svmdis) != 0) {
        return "AMD-V is switched off by the firmware; switch SVM on in the machine's setup";
    }
    if ((cpuid(svm_features).edx & feature_nested_paging) == 0) {
        return "this processor's AMD-V has no nested paging, which is needed";
    }
    return nullptr;
}

bool has_huge_pages() {
    return (cpuid(extended_features).edx & feature_huge_pages) != 0;
}

std::uint64_t shared_size() {
    return svm::permission_maps_size;
}

void initialise(SpaPage shared) {
    svm::initialise_permission_maps(shared);
}

void intercept_root_ports(std::uint16_t first, std::uint16_t count) {
    svm::intercept_root_ports(first, count);
}

void enable(SpaPage save_area) {
    write_msr(msr_efer, read_msr(msr_efer) | efer_svme);
    write_msr(msr_vm_hsave_pa, save_area.address());
    LogicalProcessor& lp = LogicalProcessor::current();
    lp.asids() = svm::AsidAllocator{lp.index(), cpuid(svm_features).ebx};
}

} // namespace hypervisor::virtualization
