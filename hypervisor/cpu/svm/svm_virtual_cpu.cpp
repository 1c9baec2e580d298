// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/cpu/svm/svm_virtual_cpu.hpp"

#include "hypervisor/cpu/extended_state.hpp"
#include "hypervisor/cpu/fixed_registers.hpp"
#include "hypervisor/cpu/intrinsics.hpp"
#include "hypervisor/cpu/logical_processor.hpp"
#include "hypervisor/cpu/svm/permission_maps.hpp"

extern "C" void svm_world_switch(hypervisor::svm::Vmcb* vmcb, std::uint64_t* gpr);

namespace hypervisor::svm {

namespace {

constexpr std::uint32_t svm_features = 0x8000000a;

bool saves_next_rip() {
    constexpr std::uint32_t next_rip_save = 1u << 3;
    static constinit std::uint8_t known = 0; // 0: not asked yet, 1: no, 2: yes
    if (known == 0) {
        known = (cpuid(svm_features).edx & next_rip_save) != 0 ? 2 : 1;
    }
    return known == 2;
}

/// AMD64 APM vol. 2, table 8-1.
bool has_error_code(std::uint8_t vector) {
    constexpr std::uint32_t vectors = 1u << 8 | 1u << 10 | 1u << 11 | 1u << 12 | 1u << 13 |
        1u << 14 | 1u << 17 | 1u << 21 | 1u << 29 | 1u << 30;
    return vector <= exception_last && (vectors >> vector & 1) != 0;
}

/// The VMCB holds bits 55..52 and 47..40 of a descriptor side by side; the interface leaves the
/// gap.
void show(const VmcbSegment& from, hv_x64_segment_register& to) {
    const std::uint32_t attributes = from.attributes;
    to.base = from.base;
    to.limit = from.limit;
    to.selector = from.selector;
    to.attributes = static_cast<std::uint16_t>((attributes & 0xffu) | ((attributes & 0xf00u) << 4));
}

} // namespace

SvmVirtualCpu::SvmVirtualCpu(SpaPage vmcb, SpaPage extended_state, bool is_root)
    : vmcb_{*pointer_to<Vmcb>(vmcb)},
      extended_state_{pointer_to<std::uint8_t>(extended_state)},
      nmi_mask_{vmcb_} {
    vmcb_.intercept_misc1 = intercept_intr | intercept_nmi | intercept_init | intercept_rdpmc |
        intercept_cpuid | intercept_invd | intercept_hlt | intercept_invlpga | intercept_io |
        intercept_msr | intercept_shutdown;
    vmcb_.intercept_misc2 = intercept_vmrun | intercept_vmmcall | intercept_vmload |
        intercept_vmsave | intercept_stgi | intercept_clgi | intercept_skinit | intercept_wbinvd |
        intercept_monitor | intercept_mwait | intercept_xsetbv | intercept_rdpru;
    vmcb_.intercept_misc3 = intercept_invlpgb | intercept_mcommit | intercept_tlbsync;
    vmcb_.io_permissions = io_permissions(is_root).address();
    set_intercepts({});
    vmcb_.nested_control = nested_paging;
    vmcb_.virtual_interrupt = virtual_masking;
    reset();
}

void SvmVirtualCpu::reset() {
    gpr = {};
    gpr[GeneralRegister::rdx] = cpuid(1).eax;
    constexpr std::uint16_t data = 0x93;
    constexpr std::uint16_t code = 0x9b;
    constexpr std::uint16_t ldt = 0x82;
    constexpr std::uint16_t busy_tss = 0x8b;
    vmcb_.cs = {0xf000, code, 0xffff, 0xffff0000};
    for (VmcbSegment* s : {&vmcb_.ds, &vmcb_.es, &vmcb_.ss, &vmcb_.fs, &vmcb_.gs}) {
        *s = {0, data, 0xffff, 0};
    }
    vmcb_.ldtr = {0, ldt, 0xffff, 0};
    vmcb_.tr = {0, busy_tss, 0xffff, 0};
    vmcb_.gdtr = {0, 0, 0xffff, 0};
    vmcb_.idtr = {0, 0, 0xffff, 0};
    vmcb_.cpl = 0;
    vmcb_.efer = efer_svme;
    vmcb_.cr0 = cr0_cd | cr0_nw | cr0_et;
    vmcb_.cr2 = vmcb_.cr3 = vmcb_.cr4 = 0;
    vmcb_.dr6 = 0xffff0ff0;
    vmcb_.dr7 = 0x400;
    vmcb_.rflags = rflags_fixed;
    vmcb_.rip = 0xfff0;
    vmcb_.pat = pat_reset_value;
    vmcb_.debugctl = 0;
    vmcb_.star = vmcb_.lstar = vmcb_.cstar = vmcb_.sfmask = vmcb_.kernel_gs_base = 0;
    vmcb_.sysenter_cs = vmcb_.sysenter_esp = vmcb_.sysenter_eip = 0;
    vmcb_.event_injection = 0;
    raised_length_ = 0;
    offered_.reset();
    vmcb_.interrupt_shadow = 0;
    vmcb_.virtual_interrupt = virtual_masking;
    set_interrupt_window(false);
    set_nmi_masked(false);
    for (std::uint64_t& address : debug_addresses_) {
        address = 0;
    }
    tsc_aux_ = 0;
    xss_ = 0;
    xcr0_ = 1;
    extended_state::reset(extended_state_);
    flush_ = true;
}

void SvmVirtualCpu::set_intercepts(const CpuIntercepts& which) {
    // The delivery of #DB and of #AC can raise the same again, without end and with no instruction
    // between: what is not seen here could not be interrupted either.
    constexpr std::uint32_t own =
        1u << exception_debug | 1u << exception_alignment_check | 1u << exception_machine_check;
    vmcb_.intercept_exceptions = own | which.exceptions;
    vmcb_.msr_permissions = msr_permissions(which.all_msrs).address();
}

std::uint64_t SvmVirtualCpu::read_own_msr(std::uint32_t msr) const {
    return read_msr(msr);
}

bool SvmVirtualCpu::write_own_msr(std::uint32_t msr, std::uint64_t value) {
    return try_write_msr(msr, value);
}

void SvmVirtualCpu::load() {
    asm volatile("vmload" : : "a"(&vmcb_) : "memory");
    extended_state::load(extended_state_, xcr0_);
    if (extended_state::has_supervisor_states()) {
        write_msr(msr_xss, xss_);
    }
    write_msr(msr_tsc_aux, tsc_aux_);
    asm volatile("mov %0, %%dr0\n\tmov %1, %%dr1\n\tmov %2, %%dr2\n\tmov %3, %%dr3"
                 :
                 : "r"(debug_addresses_[0]), "r"(debug_addresses_[1]), "r"(debug_addresses_[2]),
                 "r"(debug_addresses_[3]));
}

void SvmVirtualCpu::save() {
    asm volatile("vmsave" : : "a"(&vmcb_) : "memory");
    // Not every processor with the intercept for XSETBV honours it: an emulated one may not.
    xcr0_ = extended_state::current_xcr0();
    extended_state::save(extended_state_);
    tsc_aux_ = read_msr(msr_tsc_aux);
    asm volatile("mov %%dr0, %0\n\tmov %%dr1, %1\n\tmov %%dr2, %2\n\tmov %%dr3, %3"
                 : "=r"(debug_addresses_[0]), "=r"(debug_addresses_[1]), "=r"(debug_addresses_[2]),
                 "=r"(debug_addresses_[3]));
}

void SvmVirtualCpu::prepare_asid() {
    const auto [asid, flush_all] = LogicalProcessor::current().asids().acquire(asid_, flush_);
    vmcb_.asid = asid;
    vmcb_.tlb_control = flush_all ? tlb_flush_all : tlb_keep;
    flush_ = false;
}

Exit SvmVirtualCpu::run() {
    prepare_asid();
    vmcb_.rax = gpr[GeneralRegister::rax];
    vmcb_.rsp = gpr[GeneralRegister::rsp];
    vmcb_.clean_bits = 0;
    nmi_mask_.prepare();
    offer_interrupt();
    const std::uint64_t rip = vmcb_.rip;
    const std::uint64_t injected = place_event();
    svm_world_switch(&vmcb_, gpr.data());
    const bool is_own = nmi_mask_.settle();
    settle_offer();
    gpr[GeneralRegister::rax] = vmcb_.rax;
    gpr[GeneralRegister::rsp] = vmcb_.rsp;
    take_back_interrupted_event(injected, rip);
    return is_own ? Exit{.reason = ExitReason::interrupt_window, .code = vmcb_.exit_code}
                  : decode();
}

/// An external interrupt is not injected but offered, as a virtual interrupt: the processor takes
/// it when the guest can, and what is not taken is still there at the exit. (QEMU 7.2 may deliver
/// an injected one twice, the second time though the guest has interrupts off.) The exit for a
/// window is asked for by the same bit. Wanted for another interrupt behind this one, it is
/// exchanged for one at the end of this one's handler.
void SvmVirtualCpu::offer_interrupt() {
    if (!offered_) {
        return;
    }
    wants_window_ = (vmcb_.intercept_misc1 & intercept_vintr) != 0;
    set_interrupt_window(true);
    vmcb_.virtual_interrupt |= std::uint64_t{*offered_} << virtual_vector_shift;
    vmcb_.intercept_misc1 &= ~intercept_vintr;
    if (wants_window_ && !nmi_mask_.steps()) {
        vmcb_.intercept_misc1 |= intercept_iret;
    }
}

void SvmVirtualCpu::settle_offer() {
    if (!offered_) {
        return;
    }
    if ((vmcb_.virtual_interrupt & virtual_irq) == 0) {
        offered_.reset();
    }
    vmcb_.virtual_interrupt &= ~virtual_vector_mask;
    set_interrupt_window(wants_window_);
}

std::uint64_t SvmVirtualCpu::place_event() {
    const std::uint64_t injected = vmcb_.event_injection;
    if ((injected & event_valid) != 0 && raised_length_ != 0) {
        // A processor that saves the next instruction pointer takes it from there.
        (saves_next_rip() ? vmcb_.next_rip : vmcb_.rip) = vmcb_.rip + raised_length_;
    }
    return injected;
}

/// An event whose delivery an exit has interrupted is delivered again. Not one that an instruction
/// of the guest's has raised: RIP is still at the instruction, which will raise it itself.
void SvmVirtualCpu::take_back_interrupted_event(std::uint64_t injected, std::uint64_t rip) {
    vmcb_.event_injection = 0;
    const std::uint64_t info = vmcb_.exit_interrupt_info;
    constexpr std::uint64_t identity = event_valid | 0x7ff; // type and vector
    if ((injected & event_valid) != 0 && ((info ^ injected) & identity) == 0) {
        vmcb_.event_injection = injected;
        vmcb_.rip = rip;
        return;
    }
    raised_length_ = 0;
    if ((info & event_valid) == 0) {
        return;
    }
    const auto type = static_cast<CpuEvent::Type>((info >> 8) & 7);
    const auto vector = static_cast<std::uint8_t>(info);
    const bool is_exception = type == CpuEvent::Type::exception;
    const bool by_instruction = type == CpuEvent::Type::software_interrupt ||
        (is_exception && (vector == exception_breakpoint || vector == exception_overflow));
    // This is how an emulator may call an interrupt that was offered, and still is.
    const bool is_offer = is_exception && vector > exception_last;
    if (type == CpuEvent::Type::interrupt) {
        offered_ = vector;
    } else if (!by_instruction && !is_offer) {
        vmcb_.event_injection = info;
    }
}

/// Whether an exit may have come of an event's delivery, not of an instruction. An interrupt that
/// is offered to a guest with interrupts off only waits.
bool SvmVirtualCpu::delivers_event() const {
    return (vmcb_.event_injection & event_valid) != 0 ||
        (offered_ && (vmcb_.rflags & rflags_if) != 0);
}

void SvmVirtualCpu::decode_io(Exit& exit) const {
    const std::uint64_t info = vmcb_.exit_info1;
    exit.reason = ExitReason::io;
    exit.port = static_cast<std::uint16_t>(info >> 16);
    exit.access_size = static_cast<std::uint8_t>((info >> 4) & 7);
    exit.is_in = (info & 1) != 0;
    exit.is_string = (info & 4) != 0;
    exit.has_rep = (info & 8) != 0;
    exit.next_rip = vmcb_.exit_info2;
}

Exit SvmVirtualCpu::decode() {
    Exit exit;
    exit.code = vmcb_.exit_code;
    exit.next_rip = vmcb_.next_rip;
    switch (vmcb_.exit_code) {
    case exit_intr:
        exit.reason = ExitReason::interrupt;
        break;
    case exit_nmi:
        exit.reason = ExitReason::nmi;
        break;
    case exit_vintr:
        exit.reason = ExitReason::interrupt_window;
        break;
    case exit_cpuid:
        exit.reason = ExitReason::cpuid;
        break;
    case exit_invd:
    case exit_wbinvd:
        exit.reason = ExitReason::invalidate_caches;
        break;
    case exit_hlt:
        exit.reason = ExitReason::halt;
        break;
    case exit_io:
        decode_io(exit);
        break;
    case exit_msr:
        exit.reason = (vmcb_.exit_info1 & 1) != 0 ? ExitReason::msr_write : ExitReason::msr_read;
        break;
    case exit_shutdown:
        exit.reason = ExitReason::shutdown;
        break;
    case exit_vmmcall:
        exit.reason = ExitReason::hypercall;
        break;
    case exit_iret: // of the handler of an interrupt behind which another one waits
        exit.reason = ExitReason::interrupt_window;
        break;
    case exit_xsetbv:
        exit.reason = ExitReason::set_xcr0;
        break;
    case exit_vmrun:
    case exit_vmload:
    case exit_vmsave:
    case exit_stgi:
    case exit_clgi:
    case exit_skinit:
    case exit_invlpga:
    case exit_monitor:
    case exit_mwait:
    case exit_mwait_conditional:
    case exit_rdpru:
    case exit_invlpgb:
    case exit_mcommit:
    case exit_tlbsync:
        exit.reason = ExitReason::undefined_instruction;
        break;
    case exit_rdpmc:
        exit.reason = ExitReason::performance_counter;
        break;
    case exit_nested_page_fault:
        exit.reason = ExitReason::nested_page_fault;
        exit.gpa = vmcb_.exit_info2;
        exit.is_write = (vmcb_.exit_info1 & fault_write) != 0;
        exit.is_execute = (vmcb_.exit_info1 & fault_execute) != 0;
        break;
    case exit_invalid:
        exit.reason = ExitReason::invalid_state;
        break;
    default:
        if (vmcb_.exit_code >= exit_exception_first && vmcb_.exit_code <= exit_exception_last) {
            exit.reason = ExitReason::exception;
            exit.vector = static_cast<std::uint8_t>(vmcb_.exit_code - exit_exception_first);
            exit.has_error_code = has_error_code(exit.vector);
            exit.error_code = static_cast<std::uint32_t>(vmcb_.exit_info1);
            exit.fault_address = vmcb_.exit_info2;
        }
        break;
    }
    return exit;
}

std::uint64_t SvmVirtualCpu::get(CpuRegister r) const {
    switch (r) {
    case CpuRegister::rip:
        return vmcb_.rip;
    case CpuRegister::rflags:
        return vmcb_.rflags;
    case CpuRegister::cr0:
        return vmcb_.cr0;
    case CpuRegister::cr2:
        return vmcb_.cr2;
    case CpuRegister::cr3:
        return vmcb_.cr3;
    case CpuRegister::cr4:
        return vmcb_.cr4;
    case CpuRegister::efer:
        return vmcb_.efer & ~efer_svme;
    case CpuRegister::dr0:
    case CpuRegister::dr1:
    case CpuRegister::dr2:
    case CpuRegister::dr3:
        return debug_addresses_[static_cast<unsigned>(r) - static_cast<unsigned>(CpuRegister::dr0)];
    case CpuRegister::dr6:
        return vmcb_.dr6;
    case CpuRegister::dr7:
        return vmcb_.dr7;
    case CpuRegister::pat:
        return vmcb_.pat;
    case CpuRegister::star:
        return vmcb_.star;
    case CpuRegister::lstar:
        return vmcb_.lstar;
    case CpuRegister::cstar:
        return vmcb_.cstar;
    case CpuRegister::sfmask:
        return vmcb_.sfmask;
    case CpuRegister::kernel_gs_base:
        return vmcb_.kernel_gs_base;
    case CpuRegister::sysenter_cs:
        return vmcb_.sysenter_cs;
    case CpuRegister::sysenter_esp:
        return vmcb_.sysenter_esp;
    case CpuRegister::sysenter_eip:
        return vmcb_.sysenter_eip;
    case CpuRegister::debugctl:
        return vmcb_.debugctl;
    case CpuRegister::tsc_aux:
        return tsc_aux_;
    case CpuRegister::xss:
        return xss_;
    case CpuRegister::xcr0:
        return xcr0_;
    case CpuRegister::count:
        break;
    }
    return 0;
}

void SvmVirtualCpu::set(CpuRegister r, std::uint64_t value) {
    switch (r) {
    case CpuRegister::rip:
        vmcb_.rip = value;
        break;
    case CpuRegister::rflags:
        vmcb_.rflags = value | rflags_fixed;
        break;
    case CpuRegister::cr0:
        vmcb_.cr0 = value;
        break;
    case CpuRegister::cr2:
        vmcb_.cr2 = value;
        break;
    case CpuRegister::cr3:
        vmcb_.cr3 = value;
        flush_ = true;
        break;
    case CpuRegister::cr4:
        vmcb_.cr4 = value;
        flush_ = true;
        break;
    case CpuRegister::efer:
        vmcb_.efer = value | efer_svme;
        break;
    case CpuRegister::dr0:
    case CpuRegister::dr1:
    case CpuRegister::dr2:
    case CpuRegister::dr3:
        debug_addresses_[static_cast<unsigned>(r) - static_cast<unsigned>(CpuRegister::dr0)] =
            value;
        break;
    case CpuRegister::dr6:
        vmcb_.dr6 = value;
        break;
    case CpuRegister::dr7:
        vmcb_.dr7 = value;
        break;
    case CpuRegister::pat:
        vmcb_.pat = value;
        break;
    case CpuRegister::star:
        vmcb_.star = value;
        break;
    case CpuRegister::lstar:
        vmcb_.lstar = value;
        break;
    case CpuRegister::cstar:
        vmcb_.cstar = value;
        break;
    case CpuRegister::sfmask:
        vmcb_.sfmask = value;
        break;
    case CpuRegister::kernel_gs_base:
        vmcb_.kernel_gs_base = value;
        break;
    case CpuRegister::sysenter_cs:
        vmcb_.sysenter_cs = value;
        break;
    case CpuRegister::sysenter_esp:
        vmcb_.sysenter_esp = value;
        break;
    case CpuRegister::sysenter_eip:
        vmcb_.sysenter_eip = value;
        break;
    case CpuRegister::debugctl:
        vmcb_.debugctl = value;
        break;
    case CpuRegister::tsc_aux:
        tsc_aux_ = value;
        break;
    case CpuRegister::xss:
        xss_ = value;
        break;
    case CpuRegister::xcr0:
        xcr0_ = value;
        break;
    case CpuRegister::count:
        break;
    }
}

VmcbSegment& SvmVirtualCpu::segment_of(SegmentName name) {
    switch (name) {
    case SegmentName::es:
        return vmcb_.es;
    case SegmentName::cs:
        return vmcb_.cs;
    case SegmentName::ss:
        return vmcb_.ss;
    case SegmentName::ds:
        return vmcb_.ds;
    case SegmentName::fs:
        return vmcb_.fs;
    case SegmentName::gs:
        return vmcb_.gs;
    case SegmentName::ldtr:
        return vmcb_.ldtr;
    case SegmentName::tr:
        break;
    }
    return vmcb_.tr;
}

const VmcbSegment& SvmVirtualCpu::segment_of(SegmentName name) const {
    return const_cast<SvmVirtualCpu*>(this)->segment_of(name);
}

InstructionMode SvmVirtualCpu::mode() const {
    constexpr unsigned long_mode = 1u << 9; // of a code segment's attributes
    constexpr unsigned default_size = 1u << 10;
    if ((vmcb_.cs.attributes & long_mode) != 0 && (vmcb_.efer & efer_lma) != 0) {
        return InstructionMode::bits64;
    }
    return (vmcb_.cs.attributes & default_size) != 0 ? InstructionMode::bits32
                                                     : InstructionMode::bits16;
}

hv_x64_segment_register SvmVirtualCpu::segment(SegmentName name) const {
    hv_x64_segment_register to;
    show(segment_of(name), to);
    return to;
}

void SvmVirtualCpu::tell(hv_x64_intercept_message_header& header) const {
    const auto bit = [](unsigned number, bool value) {
        return static_cast<unsigned>(value) << number;
    };
    header.cr8 = static_cast<std::uint8_t>(cr8() & 0xf);
    // As a whole: each of its bits would be read and written by itself.
    header.execution_state.as_uint16 =
        static_cast<std::uint16_t>((vmcb_.cpl & 3u) | bit(2, (vmcb_.cr0 & cr0_pe) != 0) |
            bit(3, (vmcb_.cr0 & cr0_am) != 0) | bit(4, (vmcb_.efer & efer_lma) != 0) |
            bit(6, delivers_event()) | bit(12, interrupt_shadow()));
    show(vmcb_.cs, header.cs_segment);
    header.rip = vmcb_.rip;
    header.rflags = vmcb_.rflags;
}

void SvmVirtualCpu::tell(hv_vp_register_page& page) const {
    page.rip = vmcb_.rip;
    page.rflags = vmcb_.rflags;
    show(vmcb_.es, page.segment_registers[0]);
    show(vmcb_.cs, page.segment_registers[1]);
    show(vmcb_.ss, page.segment_registers[2]);
    show(vmcb_.ds, page.segment_registers[3]);
    show(vmcb_.fs, page.segment_registers[4]);
    show(vmcb_.gs, page.segment_registers[5]);
    page.cr0 = vmcb_.cr0;
    page.cr3 = vmcb_.cr3;
    page.cr4 = vmcb_.cr4;
    page.cr8 = cr8();
    page.efer = get(CpuRegister::efer);
    page.dr7 = vmcb_.dr7;
    page.interrupt_state.as_uint64 = 0;
    page.interrupt_state.interrupt_shadow = interrupt_shadow();
    page.interrupt_state.nmi_masked = nmi_masked();
    page.xfem = xcr0_;
}

void SvmVirtualCpu::set_segment(SegmentName name, const hv_x64_segment_register& value) {
    VmcbSegment& to = segment_of(name);
    to.base = value.base;
    to.limit = value.limit;
    to.selector = value.selector;
    to.attributes =
        static_cast<std::uint16_t>((value.attributes & 0xffu) | ((value.attributes >> 4) & 0xf00u));
    if (name == SegmentName::ss) {
        vmcb_.cpl = value.descriptor_privilege_level;
    }
}

hv_x64_table_register SvmVirtualCpu::table(TableName name) const {
    const VmcbSegment& from = name == TableName::idtr ? vmcb_.idtr : vmcb_.gdtr;
    hv_x64_table_register to{};
    to.base = from.base;
    to.limit = static_cast<std::uint16_t>(from.limit);
    return to;
}

void SvmVirtualCpu::set_table(TableName name, const hv_x64_table_register& value) {
    VmcbSegment& to = name == TableName::idtr ? vmcb_.idtr : vmcb_.gdtr;
    to.base = value.base;
    to.limit = value.limit;
}

std::optional<CpuEvent> SvmVirtualCpu::pending_event() const {
    const std::uint64_t info = vmcb_.event_injection;
    if ((info & event_valid) == 0) {
        return offered_
            ? std::optional{CpuEvent{.type = CpuEvent::Type::interrupt, .vector = *offered_}}
            : std::nullopt;
    }
    const auto type = static_cast<CpuEvent::Type>((info >> 8) & 7);
    return CpuEvent{.type = type == CpuEvent::Type::exception ? raised_by_ : type,
        .vector = static_cast<std::uint8_t>(info),
        .has_error_code = (info & event_has_error_code) != 0,
        .error_code = static_cast<std::uint32_t>(info >> 32),
        .instruction_length = raised_length_};
}

bool SvmVirtualCpu::has_pending_event() const {
    return offered_ || (vmcb_.event_injection & event_valid) != 0;
}

void SvmVirtualCpu::set_pending_event(const std::optional<CpuEvent>& event) {
    if (!event || event->type == CpuEvent::Type::interrupt) {
        vmcb_.event_injection = 0;
        offered_ = event ? std::optional{event->vector} : std::nullopt;
        return;
    }
    // To this processor all exceptions are one type.
    const bool is_exception = event->type == CpuEvent::Type::exception ||
        event->type > CpuEvent::Type::software_interrupt;
    raised_by_ = is_exception ? event->type : CpuEvent::Type::exception;
    raised_length_ = event->is_by_instruction() ? event->instruction_length : 0;
    const auto type = is_exception ? CpuEvent::Type::exception : event->type;
    vmcb_.event_injection = event->vector | (static_cast<std::uint64_t>(type) << 8) |
        (event->has_error_code ? event_has_error_code : 0) | event_valid |
        (std::uint64_t{event->error_code} << 32);
}

void SvmVirtualCpu::set_interrupt_window(bool on) {
    constexpr std::uint64_t request = virtual_irq | virtual_priority_highest | virtual_ignore_tpr;
    if (on) {
        vmcb_.virtual_interrupt |= request;
        vmcb_.intercept_misc1 |= intercept_vintr;
    } else {
        vmcb_.virtual_interrupt &= ~request;
        vmcb_.intercept_misc1 &= ~intercept_vintr;
    }
}

} // namespace hypervisor::svm
