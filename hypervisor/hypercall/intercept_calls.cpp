// SPDX-License-Identifier: Apache-2.0
// What a parent wants to be told of, and what it decides beforehand (TLFS "HvCallInstallIntercept",
// "HvCallRegisterInterceptResult").
#include "abi/partition.h"
#include "hypervisor/cpu/fixed_registers.hpp"
#include "hypervisor/hypercall/table.hpp"
#include "hypervisor/hypercall/target.hpp"

namespace hypervisor::hypercall {

namespace {

constexpr std::uint32_t mask_read_write =
    HV_INTERCEPT_ACCESS_MASK_READ | HV_INTERCEPT_ACCESS_MASK_WRITE;

/// \param added of CpuidOverrides or of Intercepts.
template <class Added>
Status status_of(Added added) {
    switch (added) {
    case Added::yes:
        return Status::success;
    case Added::no_memory:
        return Status::insufficient_memory;
    case Added::too_many:
        break;
    }
    return Status::no_resources;
}

/// `change(Intercepts&, PagePool&)` on a partition that will give what it costs back: one that has
/// been initialized, and will be finalized.
template <class F>
Status change(Partition& partition, F&& change) {
    const SpinGuard guard{partition.intercepts_lock};
    if (partition.state() != Partition::State::initialized) {
        return Status::invalid_partition_state;
    }
    return change(partition.intercepts, partition.deposits());
}

/// The processors of the partition take notice of what they are to stop at.
void let_processors_know(Partition& partition) {
    partition.for_each_vp([](VirtualProcessor& vp) { const VirtualProcessor::Hold hold{vp}; });
}

/// Only instructions and calls that begin can be stopped at, or not.
bool is_execute_or_none(std::uint32_t access) {
    return (access & ~HV_INTERCEPT_ACCESS_MASK_EXECUTE) == 0;
}

Status intercept_exception(Partition& partition, std::uint32_t access, std::uint64_t vector) {
    // Machine checks are the machine's, and NMIs are no exceptions.
    if (!is_execute_or_none(access) || vector > exception_last || vector == exception_nmi ||
        vector == exception_machine_check) {
        return Status::invalid_parameter;
    }
    const Status status = change(partition, [&](Intercepts& intercepts, PagePool& /*pool*/) {
        intercepts.set_exception(static_cast<std::uint8_t>(vector), access != 0);
        return Status::success;
    });
    let_processors_know(partition);
    return status;
}

Status intercept_cpuid(Partition& partition, std::uint32_t access, std::uint64_t leaf) {
    if (!is_execute_or_none(access) || leaf > ~std::uint32_t{0}) {
        return Status::invalid_parameter;
    }
    return change(partition, [&](Intercepts& intercepts, PagePool& pool) {
        return status_of(intercepts.set_cpuid(static_cast<std::uint32_t>(leaf), access != 0, pool));
    });
}

Status intercept_all_cpuid(Partition& partition, std::uint32_t access) {
    if (!is_execute_or_none(access)) {
        return Status::invalid_parameter;
    }
    return change(partition, [&](Intercepts& intercepts, PagePool& /*pool*/) {
        intercepts.set_all_cpuid(access != 0);
        return Status::success;
    });
}

Status intercept_unknown_msrs(Partition& partition, std::uint32_t access) {
    if ((access & ~mask_read_write) != 0) {
        return Status::invalid_parameter;
    }
    return change(partition, [&](Intercepts& intercepts, PagePool& /*pool*/) {
        intercepts.set_unknown_msrs(static_cast<std::uint8_t>(access));
        return Status::success;
    });
}

Status intercept_msr(Partition& partition, std::uint32_t access, std::uint64_t msr) {
    if ((access & ~mask_read_write) != 0 || msr > ~std::uint32_t{0}) {
        return Status::invalid_parameter;
    }
    const Status status = change(partition, [&](Intercepts& intercepts, PagePool& pool) {
        return status_of(intercepts.set_msr(
            static_cast<std::uint32_t>(msr), static_cast<std::uint8_t>(access), pool));
    });
    let_processors_know(partition);
    return status;
}

/// All ports are the parent's in any case, and it can't give them up.
Status intercept_ports(std::uint32_t access, std::uint32_t first, std::uint32_t last) {
    const bool is_asked = access != 0 && (access & ~mask_read_write) == 0;
    return is_asked && first <= last ? Status::success : Status::invalid_parameter;
}

Status install(Partition& partition, const hv_input_install_intercept& in) {
    const auto& parameter = in.intercept_parameter;
    const std::uint32_t access = in.access_type;
    switch (in.intercept_type) {
    case HV_INTERCEPT_TYPE_X64_IO_PORT:
        return intercept_ports(access, parameter.io_port, parameter.io_port);
    case HV_INTERCEPT_TYPE_X64_IO_PORT_RANGE:
        return intercept_ports(access, parameter.io_port_range.base, parameter.io_port_range.end);
    case HV_INTERCEPT_TYPE_X64_MSR:
        return intercept_unknown_msrs(partition, access);
    case HV_INTERCEPT_TYPE_X64_MSR_INDEX:
        return intercept_msr(partition, access, parameter.as_uint64);
    case HV_INTERCEPT_TYPE_X64_CPUID:
        return intercept_cpuid(partition, access, parameter.as_uint64);
    case HV_INTERCEPT_TYPE_X64_GLOBAL_CPUID:
        return intercept_all_cpuid(partition, access);
    case HV_INTERCEPT_TYPE_EXCEPTION:
        return intercept_exception(partition, access, parameter.as_uint64);
    case HV_INTERCEPT_TYPE_HYPERCALL:
        if (!is_execute_or_none(access)) {
            return Status::invalid_parameter;
        }
        return change(partition, [&](Intercepts& intercepts, PagePool& /*pool*/) {
            intercepts.set_unknown_hypercalls(access != 0);
            return Status::success;
        });
    case HV_INTERCEPT_TYPE_RETARGET_INTERRUPT_WITH_UNKNOWN_DEVICE_ID:
        if (!is_execute_or_none(access)) {
            return Status::invalid_parameter;
        }
        partition.parent_retargets_interrupts.store(access != 0);
        return Status::success;
    case HV_INTERCEPT_TYPE_UNKNOWN_SYNIC_CONNECTION:
    case HV_INTERCEPT_TYPE_X64_APIC_EOI:
        // Calls about connections that nobody knows, and the ends of level-triggered interrupts,
        // are the parent's whether asked for or not.
        return access != 0 ? Status::success : Status::invalid_parameter;
    default:
        return Status::invalid_parameter;
    }
}

CpuidOverride override_of(const hv_input_register_intercept_result& in) {
    const auto& from = in.cpuid;
    return {.leaf = from.input.eax,
        .subleaf = from.input.ecx,
        .value = {from.result.eax, from.result.ebx, from.result.ecx, from.result.edx},
        .mask = {from.result.eax_mask, from.result.ebx_mask, from.result.ecx_mask,
            from.result.edx_mask},
        .subleaf_specific = from.input.subleaf_specific != 0,
        .always = from.input.always_override != 0};
}

/// `change(CpuidOverrides&)`, of all virtual processors or of one.
template <class F>
Status change_cpuid(Partition& target, std::uint32_t vp_index, F&& change) {
    Status status = Status::success;
    if (vp_index == HV_ANY_VP) {
        const SpinGuard guard{target.cpuid_lock};
        // What is finalized gives its pages back under this lock, and takes no more.
        status = target.state() == Partition::State::initialized ? change(target.cpuid_overrides)
                                                                 : Status::invalid_partition_state;
    } else {
        VirtualProcessor* const vp = target.vp(vp_index);
        if (vp == nullptr) {
            return Status::invalid_vp_index;
        }
        const VirtualProcessor::Hold hold{*vp};
        status = change(vp->cpuid_overrides);
    }
    target.cpuid_changed();
    return status;
}

bool is_valid_msr_result(std::uint32_t vp_index, std::uint32_t access) {
    return vp_index == HV_ANY_VP && access != 0 && (access & ~mask_read_write) == 0;
}

Status register_msr(Partition& target, const hv_input_register_intercept_result& in) {
    const auto msr = in.msr;
    if (!is_valid_msr_result(in.vp_index, msr.access_type) ||
        msr.action > HV_UNIMPLEMENTED_MSR_ACTION_IGNORE_WRITE_READ_ZERO) {
        return Status::invalid_parameter;
    }
    return change(target, [&msr](Intercepts& intercepts, PagePool& pool) {
        return status_of(
            intercepts.decide_msr(msr.msr_index, static_cast<std::uint8_t>(msr.access_type),
                msr.action == HV_UNIMPLEMENTED_MSR_ACTION_FAULT, pool));
    });
}

Status unregister_msr(Partition& target, const hv_input_unregister_intercept_result& in) {
    const auto msr = in.msr;
    if (!is_valid_msr_result(in.vp_index, msr.access_type)) {
        return Status::invalid_parameter;
    }
    return change(target, [&msr](Intercepts& intercepts, PagePool& /*pool*/) {
        return intercepts.forget_msr(msr.msr_index, static_cast<std::uint8_t>(msr.access_type))
            ? Status::success
            : Status::not_found;
    });
}

} // namespace

Status install_intercept(Call& call) {
    const auto in = call.in<hv_input_install_intercept>();
    const auto target = find_active_child(call, in.partition_id);
    if (!target) {
        return target.error();
    }
    return install(*target, in);
}

Status register_intercept_result(Call& call) {
    const auto in = call.in<hv_input_register_intercept_result>();
    const auto target = find_active_child(call, in.partition_id);
    if (!target) {
        return target.error();
    }
    switch (in.intercept_type) {
    case HV_INTERCEPT_TYPE_X64_CPUID:
        return change_cpuid(*target, in.vp_index, [&](CpuidOverrides& overrides) {
            return status_of(overrides.add(override_of(in), target->deposits()));
        });
    case HV_INTERCEPT_TYPE_X64_MSR:
        return register_msr(*target, in);
    default:
        return Status::invalid_parameter;
    }
}

Status unregister_intercept_result(Call& call) {
    const auto in = call.in<hv_input_unregister_intercept_result>();
    const auto target = find_active_child(call, in.partition_id);
    if (!target) {
        return target.error();
    }
    switch (in.intercept_type) {
    case HV_INTERCEPT_TYPE_X64_CPUID:
        return change_cpuid(*target, in.vp_index, [&](CpuidOverrides& overrides) {
            const auto& which = in.cpuid;
            return overrides.remove({.leaf = which.eax,
                       .subleaf = which.ecx,
                       .subleaf_specific = which.subleaf_specific != 0})
                ? Status::success
                : Status::not_found;
        });
    case HV_INTERCEPT_TYPE_X64_MSR:
        return unregister_msr(*target, in);
    default:
        return Status::invalid_parameter;
    }
}

} // namespace hypervisor::hypercall
