// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/asked_intercepts.hpp"

#include "abi/message.h"
#include "hypervisor/cpu/fixed_registers.hpp"
#include "hypervisor/partition/cpuid.hpp"
#include "hypervisor/partition/intercepted_instruction.hpp"
#include "hypervisor/partition/partition.hpp"
#include "hypervisor/partition/virtual_processor.hpp"

#include <cstring>

namespace hypervisor {

namespace {

using MsrFate = Intercepts::MsrFate;

constexpr std::uint8_t access_mask(bool write) {
    return write ? HV_INTERCEPT_ACCESS_MASK_WRITE : HV_INTERCEPT_ACCESS_MASK_READ;
}

std::uint32_t msr_number(VirtualProcessor& vp) {
    return static_cast<std::uint32_t>(vp.cpu().gpr[GeneralRegister::rcx]);
}

void send_msr(VirtualProcessor& vp, bool write, unsigned instruction_length) {
    const auto& gpr = vp.cpu().gpr;
    hv_x64_msr_intercept_message message{};
    message.header = vp.intercept_header(
        write ? HV_INTERCEPT_ACCESS_WRITE : HV_INTERCEPT_ACCESS_READ, instruction_length);
    message.msr_number = msr_number(vp);
    message.rdx = gpr[GeneralRegister::rdx];
    message.rax = gpr[GeneralRegister::rax];
    vp.counters.count(VpCounter::other_messages);
    vp.intercept(HVMSG_X64_MSR_INTERCEPT, message);
}

} // namespace

bool intercept_cpuid(VirtualProcessor& vp, unsigned instruction_length) {
    Partition& partition = vp.partition();
    if (!partition.intercepts.any_cpuid()) {
        return false;
    }
    const auto& gpr = vp.cpu().gpr;
    const auto leaf = static_cast<std::uint32_t>(gpr[GeneralRegister::rax]);
    {
        const SpinGuard guard{partition.intercepts_lock};
        if (!partition.intercepts.is_intercepted(leaf)) {
            return false;
        }
    }
    const CpuidResult own =
        partition_cpuid(vp, leaf, static_cast<std::uint32_t>(gpr[GeneralRegister::rcx]));
    hv_x64_cpuid_intercept_message message{};
    message.header = vp.intercept_header(HV_INTERCEPT_ACCESS_EXECUTE, instruction_length);
    message.rax = gpr[GeneralRegister::rax];
    message.rcx = gpr[GeneralRegister::rcx];
    message.rdx = gpr[GeneralRegister::rdx];
    message.rbx = gpr[GeneralRegister::rbx];
    message.default_result_rax = own.eax;
    message.default_result_rcx = own.ecx;
    message.default_result_rdx = own.edx;
    message.default_result_rbx = own.ebx;
    vp.counters.count(VpCounter::other_messages);
    vp.intercept(HVMSG_X64_CPUID_INTERCEPT, message);
    return true;
}

bool intercept_msr(VirtualProcessor& vp, bool write, unsigned instruction_length) {
    Partition& partition = vp.partition();
    if (!partition.intercepts.any_msr()) {
        return false;
    }
    {
        const SpinGuard guard{partition.intercepts_lock};
        if (!partition.intercepts.is_intercepted(msr_number(vp), access_mask(write))) {
            return false;
        }
    }
    send_msr(vp, write, instruction_length);
    return true;
}

UnimplementedMsr settle_unimplemented_msr(
    VirtualProcessor& vp, bool write, unsigned instruction_length) {
    Partition& partition = vp.partition();
    MsrFate fate = MsrFate::served;
    {
        const SpinGuard guard{partition.intercepts_lock};
        fate = partition.intercepts.fate(msr_number(vp), access_mask(write));
    }
    switch (fate) {
    case MsrFate::intercepted:
        send_msr(vp, write, instruction_length);
        return UnimplementedMsr::intercepted;
    case MsrFate::fault:
        return UnimplementedMsr::fault;
    case MsrFate::ignored:
        return UnimplementedMsr::ignored;
    case MsrFate::served:
        break;
    }
    return partition.unimplemented_msr_action == HV_UNIMPLEMENTED_MSR_ACTION_FAULT
        ? UnimplementedMsr::fault
        : UnimplementedMsr::ignored;
}

bool intercept_exception(VirtualProcessor& vp, const Exit& exit) {
    if ((vp.partition().intercepts.exceptions() >> exit.vector & 1) == 0) {
        return false;
    }
    const NativeCpu& cpu = vp.cpu();
    hv_x64_exception_intercept_message message{};
    message.header = vp.intercept_header(HV_INTERCEPT_ACCESS_EXECUTE, 0);
    message.exception_vector = exit.vector;
    message.error_code_valid = exit.has_error_code;
    message.error_code = exit.has_error_code ? exit.error_code : 0;
    message.software_exception =
        exit.vector == exception_breakpoint || exit.vector == exception_overflow;
    if (exit.vector == exception_page_fault) {
        message.exception_parameter = exit.fault_address;
    } else if (exit.vector == exception_debug) {
        message.exception_parameter = cpu.get(CpuRegister::dr6);
    }
    const InstructionBytes code = fetch_instruction(vp);
    message.instruction_byte_count = code.count;
    std::memcpy(message.instruction_bytes, code.bytes.data(), code.count);
    message.ds_segment = cpu.segment(SegmentName::ds);
    message.ss_segment = cpu.segment(SegmentName::ss);
    std::memcpy(message.gp_registers, cpu.gpr.data(), sizeof message.gp_registers);
    vp.counters.count(VpCounter::other_messages);
    vp.intercept(HVMSG_X64_EXCEPTION_INTERCEPT, message);
    return true;
}

bool intercept_halt(VirtualProcessor& vp) {
    const Partition& partition = vp.partition();
    if (partition.is_root() ||
        (partition.creation_flags() & HV_PARTITION_CREATION_FLAG_LAPIC_ENABLED) != 0) {
        return false;
    }
    vp.counters.count(VpCounter::other_messages);
    vp.intercept(HVMSG_X64_HALT,
        hv_x64_halt_message{.header = vp.intercept_header(HV_INTERCEPT_ACCESS_EXECUTE, 0)});
    return true;
}

} // namespace hypervisor
