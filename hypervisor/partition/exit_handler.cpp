// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/exit_handler.hpp"

#include "abi/message.h"
#include "hypervisor/cpu/extended_state.hpp"
#include "hypervisor/cpu/fixed_registers.hpp"
#include "hypervisor/cpu/register_rules.hpp"
#include "hypervisor/debug/panic.hpp"
#include "hypervisor/hypercall/dispatcher.hpp"
#include "hypervisor/partition/asked_intercepts.hpp"
#include "hypervisor/partition/cpuid.hpp"
#include "hypervisor/partition/intercepted_instruction.hpp"
#include "hypervisor/partition/memory_fault.hpp"
#include "hypervisor/partition/msr.hpp"
#include "hypervisor/partition/partition.hpp"
#include "hypervisor/partition/power.hpp"
#include "hypervisor/partition/virtual_processor.hpp"

#include <cstring>
#include <optional>

namespace hypervisor {

namespace {

void handle_cpuid(VirtualProcessor& vp, const Exit& exit) {
    const auto length = instruction_length(vp, exit, InterceptedInstruction::cpuid);
    if (!length) {
        return;
    }
    if (intercept_cpuid(vp, *length)) {
        return;
    }
    auto& gpr = vp.cpu().gpr;
    const CpuidResult result =
        partition_cpuid(vp, static_cast<std::uint32_t>(gpr[GeneralRegister::rax]),
            static_cast<std::uint32_t>(gpr[GeneralRegister::rcx]));
    gpr[GeneralRegister::rax] = result.eax;
    gpr[GeneralRegister::rbx] = result.ebx;
    gpr[GeneralRegister::rcx] = result.ecx;
    gpr[GeneralRegister::rdx] = result.edx;
    vp.cpu().advance(*length);
}

void handle_msr(VirtualProcessor& vp, const Exit& exit) {
    const bool write = exit.reason == ExitReason::msr_write;
    const auto length = instruction_length(
        vp, exit, write ? InterceptedInstruction::wrmsr : InterceptedInstruction::rdmsr);
    if (!length) {
        return;
    }
    if (intercept_msr(vp, write, *length)) {
        return;
    }
    NativeCpu& cpu = vp.cpu();
    const std::uint64_t rip = cpu.get(CpuRegister::rip);
    const auto msr = static_cast<std::uint32_t>(cpu.gpr[GeneralRegister::rcx]);
    // Before the access, whose effect may be that the virtual processor stops behind it.
    cpu.skip(*length);
    MsrResult result;
    std::uint64_t value = 0;
    if (write) {
        value =
            (cpu.gpr[GeneralRegister::rdx] << 32) | (cpu.gpr[GeneralRegister::rax] & 0xffffffff);
        result = partition_write_msr(vp, msr, value);
    } else {
        result = partition_read_msr(vp, msr, value);
    }
    if (result == MsrResult::unimplemented) {
        cpu.set(CpuRegister::rip, rip);
        const UnimplementedMsr outcome = settle_unimplemented_msr(vp, write, *length);
        if (outcome == UnimplementedMsr::intercepted) {
            return;
        }
        result = outcome == UnimplementedMsr::fault ? MsrResult::fault : MsrResult::done;
        cpu.skip(*length);
    }
    if (result == MsrResult::fault || result == MsrResult::no_memory) {
        cpu.set(CpuRegister::rip, rip);
        cpu.raise(exception_general_protection, 0);
        return;
    }
    if (!write) {
        cpu.gpr[GeneralRegister::rax] = value & 0xffffffff;
        cpu.gpr[GeneralRegister::rdx] = value >> 32;
    }
    cpu.end_instruction();
}

void handle_halt(VirtualProcessor& vp, const Exit& exit) {
    const auto length = instruction_length(vp, exit, InterceptedInstruction::hlt);
    if (!length) {
        return;
    }
    vp.cpu().advance(*length);
    if (!intercept_halt(vp)) {
        vp.wait(VirtualProcessor::WakeUp::interrupt_or_nmi);
    }
}

/// By which the root may switch off, or ask for what is refused. No Linux uses strings there.
void handle_root_io(NativeCpu& cpu, const Exit& exit) {
    if (exit.is_string) {
        cpu.raise(exception_general_protection, 0);
        return;
    }
    std::uint64_t& rax = cpu.gpr[GeneralRegister::rax];
    const unsigned bits = 8u * exit.access_size;
    if (exit.is_in) {
        const std::uint64_t kept = bits == 32 ? 0 : rax >> bits << bits;
        rax = kept | power::read(exit.port, exit.access_size);
    } else {
        power::write({exit.port, exit.access_size, static_cast<std::uint32_t>(rax)});
    }
    cpu.advance(static_cast<unsigned>(exit.next_rip - cpu.get(CpuRegister::rip)));
}

void handle_io(VirtualProcessor& vp, const Exit& exit) {
    NativeCpu& cpu = vp.cpu();
    if (vp.partition().is_root()) {
        handle_root_io(cpu, exit);
        return;
    }
    vp.counters.count(VpCounter::io_intercept_messages);
    hv_x64_io_port_intercept_message message{};
    message.header =
        vp.intercept_header(exit.is_in ? HV_INTERCEPT_ACCESS_READ : HV_INTERCEPT_ACCESS_WRITE,
            static_cast<unsigned>(exit.next_rip - cpu.get(CpuRegister::rip)));
    message.port_number = exit.port;
    message.access_size = exit.access_size & 7;
    message.string_op = exit.is_string;
    message.rep_prefix = exit.has_rep;
    message.rax = cpu.gpr[GeneralRegister::rax];
    if (exit.is_string) {
        // The parent finds the segment and the address size in the instruction.
        const InstructionBytes code = fetch_instruction(vp);
        message.instruction_byte_count = code.count;
        std::memcpy(message.instruction_bytes, code.bytes.data(), code.count);
        message.ds_segment = cpu.segment(SegmentName::ds);
        message.es_segment = cpu.segment(SegmentName::es);
    }
    message.rcx = cpu.gpr[GeneralRegister::rcx];
    message.rsi = cpu.gpr[GeneralRegister::rsi];
    message.rdi = cpu.gpr[GeneralRegister::rdi];
    vp.intercept(HVMSG_X64_IO_PORT_INTERCEPT, message);
}

void handle_set_xcr0(VirtualProcessor& vp, const Exit& exit) {
    NativeCpu& cpu = vp.cpu();
    const auto length = instruction_length(vp, exit, InterceptedInstruction::xsetbv);
    if (!length) {
        return;
    }
    const std::uint64_t value =
        (cpu.gpr[GeneralRegister::rdx] << 32) | (cpu.gpr[GeneralRegister::rax] & 0xffffffff);
    if ((cpu.gpr[GeneralRegister::rcx] & 0xffffffff) != 0 || cpu.cpl() != 0 ||
        !is_valid_xcr0(value, extended_state::allowed_xcr0() & vp.partition().states())) {
        cpu.raise(exception_general_protection, 0);
        return;
    }
    cpu.set(CpuRegister::xcr0, value);
    write_xcr0(value);
    cpu.advance(*length);
}

/// INVD would throw away what others have written; the caches are written back instead. Only the
/// root has devices that may not see them: a child need not slow down the whole machine.
void handle_invalidate_caches(VirtualProcessor& vp, const Exit& exit) {
    auto length = instruction_length(vp, exit, InterceptedInstruction::wbinvd);
    if (!length) {
        length = instruction_length(vp, exit, InterceptedInstruction::invd);
    }
    if (!length) {
        return;
    }
    if (vp.partition().is_root()) {
        asm volatile("wbinvd" : : : "memory");
    }
    vp.cpu().advance(*length);
}

/// The parent's to see, or the guest's own, which are delivered to it: interrupts were let in
/// between.
void handle_exception(VirtualProcessor& vp, const Exit& exit) {
    if (!vp.partition().is_root() && intercept_exception(vp, exit)) {
        return;
    }
    switch (exit.vector) {
    case exception_machine_check:
        panic("machine check while partition {} ran", vp.partition().id());
    case exception_page_fault: // of a parent that has just given the intercept up
        vp.cpu().set(CpuRegister::cr2, exit.fault_address);
        [[fallthrough]];
    default:
        vp.cpu().raise(
            exit.vector, exit.has_error_code ? std::optional{exit.error_code} : std::nullopt);
        break;
    }
}

/// The guest cannot go on. A child's parent decides; the root has none.
void handle_unrecoverable(VirtualProcessor& vp, const Exit& exit) {
    NativeCpu& cpu = vp.cpu();
    if (vp.partition().is_root()) {
        panic("the root partition's VP {} cannot go on (exit {x}): RIP {x}, RSP {x}, CR0 {x}, "
              "CR3 {x}, CR4 {x}, EFER {x}",
            vp.index(), exit.code, cpu.get(CpuRegister::rip), cpu.gpr[GeneralRegister::rsp],
            cpu.get(CpuRegister::cr0), cpu.get(CpuRegister::cr3), cpu.get(CpuRegister::cr4),
            cpu.get(CpuRegister::efer));
    }
    vp.counters.count(VpCounter::other_messages);
    if (exit.reason == ExitReason::invalid_state) {
        vp.intercept(HVMSG_INVALID_VP_REGISTER_VALUE,
            hv_x64_unrecoverable_exception_message{
                .header = vp.intercept_header(HV_INTERCEPT_ACCESS_EXECUTE, 0)});
        return;
    }
    vp.intercept(HVMSG_UNRECOVERABLE_EXCEPTION,
        hv_x64_unrecoverable_exception_message{
            .header = vp.intercept_header(HV_INTERCEPT_ACCESS_EXECUTE, 0)});
}

/// Each exit is counted once, so that the sum of these is the virtual processor's world switches.
VpCounter counter_of(ExitReason reason) {
    switch (reason) {
    case ExitReason::interrupt:
        return VpCounter::external_interrupts;
    case ExitReason::interrupt_window:
        return VpCounter::pending_interrupts;
    case ExitReason::cpuid:
        return VpCounter::cpuid_instructions;
    case ExitReason::msr_read:
    case ExitReason::msr_write:
        return VpCounter::msr_accesses;
    case ExitReason::io:
        return VpCounter::io_instructions;
    case ExitReason::halt:
        return VpCounter::hlt_instructions;
    case ExitReason::hypercall:
        return VpCounter::hypercalls;
    case ExitReason::nested_page_fault:
        return VpCounter::nested_page_faults;
    default:
        return VpCounter::other_intercepts;
    }
}

} // namespace

void handle_exit(VirtualProcessor& vp, const Exit& exit) {
    vp.counters.count(counter_of(exit.reason));
    switch (exit.reason) {
    case ExitReason::interrupt:
        take_pending_interrupts();
        break;
    case ExitReason::nmi:              // taken as soon as the hypervisor was back
    case ExitReason::interrupt_window: // what can be delivered is, on the way in
        break;
    case ExitReason::cpuid:
        handle_cpuid(vp, exit);
        break;
    case ExitReason::msr_read:
    case ExitReason::msr_write:
        handle_msr(vp, exit);
        break;
    case ExitReason::io:
        handle_io(vp, exit);
        break;
    case ExitReason::halt:
        handle_halt(vp, exit);
        break;
    case ExitReason::hypercall: {
        const auto length = instruction_length(vp, exit, InterceptedInstruction::vmmcall);
        if (length) {
            hypercall::dispatch(vp, *length);
        }
        break;
    }
    case ExitReason::nested_page_fault:
        handle_memory_fault(vp, exit);
        break;
    case ExitReason::set_xcr0:
        handle_set_xcr0(vp, exit);
        break;
    case ExitReason::invalidate_caches:
        handle_invalidate_caches(vp, exit);
        break;
    case ExitReason::undefined_instruction:
        vp.cpu().raise(exception_invalid_opcode);
        break;
    case ExitReason::performance_counter:
        vp.cpu().raise(exception_general_protection, 0);
        break;
    case ExitReason::exception:
        handle_exception(vp, exit);
        break;
    case ExitReason::shutdown:
    case ExitReason::invalid_state:
    case ExitReason::unexpected:
        handle_unrecoverable(vp, exit);
        break;
    }
}

} // namespace hypervisor
