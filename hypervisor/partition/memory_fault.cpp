// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/memory_fault.hpp"

#include "abi/message.h"
#include "hypervisor/cpu/fixed_registers.hpp"
#include "hypervisor/cpu/physical_apic.hpp"
#include "hypervisor/debug/panic.hpp"
#include "hypervisor/emulate/memory_move.hpp"
#include "hypervisor/emulate/memory_operand.hpp"
#include "hypervisor/partition/doorbell.hpp"
#include "hypervisor/partition/guest_memory.hpp"
#include "hypervisor/partition/intercepted_instruction.hpp"
#include "hypervisor/partition/partition.hpp"
#include "hypervisor/partition/virtual_processor.hpp"

#include <cstring>

namespace hypervisor {

namespace {

constexpr std::uint64_t apic_page_size = page_size;

bool is_apic_access(VirtualProcessor& vp, std::uint64_t gpa) {
    return gpa >= physical_apic::page_address &&
        gpa < physical_apic::page_address + apic_page_size &&
        vp.apic().mode() == VirtualLocalApic::Mode::xapic;
}

/// Completes a decoded instruction: registers, flags, RIP.
/// \return what it stores, if it does.
std::optional<std::uint64_t> complete(
    VirtualProcessor& vp, const MemoryMove& move, std::uint64_t loaded) {
    NativeCpu& cpu = vp.cpu();
    const MemoryMoveOutcome outcome =
        apply_memory_move(move, cpu.gpr, cpu.get(CpuRegister::rflags), loaded);
    cpu.set(CpuRegister::rflags, outcome.rflags);
    cpu.advance(move.length);
    return outcome.store;
}

void access_apic(VirtualProcessor& vp, std::uint64_t gpa, const MemoryMove& move) {
    vp.counters.count(VpCounter::apic_mmio_accesses);
    const auto offset = static_cast<std::uint16_t>(gpa & (apic_page_size - 1));
    const std::uint64_t loaded = move.is_read() ? vp.apic().read(offset, vp.apic_time()) : 0;
    const auto store = complete(vp, move, loaded);
    // A read may have raised the APIC's error interrupt, which is looked for then, too.
    vp.apply(store ? vp.apic().write(offset, static_cast<std::uint32_t>(*store), vp.apic_time())
                   : LocalApicEffect{});
}

/// \return false if the doorbell there isn't triggered by it.
bool ring_doorbell(VirtualProcessor& vp, std::uint64_t gpa, const MemoryMove& move) {
    if (move.is_read()) {
        return false;
    }
    std::uint64_t value = 0;
    {
        // What it would store, without completing it: the value decides whether it is a trigger.
        std::array<std::uint64_t, 16> registers = vp.cpu().gpr;
        const auto outcome =
            apply_memory_move(move, registers, vp.cpu().get(CpuRegister::rflags), 0);
        value = outcome.store.value_or(0);
    }
    if (!doorbell::ring_by_write(vp.partition(), gpa, move.operand_size, value)) {
        return false;
    }
    (void)complete(vp, move, 0);
    return true;
}

/// The guest virtual address of an access. The processor has told the physical one only; that the
/// instruction's operand leads there, and the guest may read or write it, shows that this was the
/// access, and none to a page table or a descriptor on the way to it, nor one of an instruction
/// that another processor has rewritten since.
std::optional<std::uint64_t> virtual_address(
    VirtualProcessor& vp, const Exit& exit, const InstructionBytes& code, bool is_write) {
    const NativeCpu& cpu = vp.cpu();
    const std::uint64_t rip = cpu.get(CpuRegister::rip);
    if (exit.is_execute) {
        const bool is_long = cpu.mode() == InstructionMode::bits64;
        const std::uint64_t begin =
            is_long ? rip : (rip + cpu.segment(SegmentName::cs).base) & 0xffffffff;
        // The instruction may begin in the page before.
        const std::uint64_t next_page = (begin | (page_size - 1)) + 1;
        return (exit.gpa & (page_size - 1)) == 0 && next_page - begin < max_instruction_length
            ? next_page
            : begin;
    }
    OperandContext context{.mode = cpu.mode(), .registers = cpu.gpr, .rip = rip};
    constexpr unsigned es = 0;
    constexpr unsigned fs = 4;
    for (unsigned i = cpu.mode() == InstructionMode::bits64 ? fs : es;
         i < context.segment_bases.size(); ++i) {
        context.segment_bases[i] = cpu.segment(static_cast<SegmentName>(i)).base;
    }
    const auto address = memory_operand_address(code.view(), context, is_write);
    // Of what crosses the end of a page the second half may be what is missing.
    const std::uint64_t distance = (exit.gpa - address.value_or(0)) & (page_size - 1);
    constexpr std::uint64_t widest = 64;
    if (!address || (distance != 0 && (exit.gpa & (page_size - 1)) != 0) || distance >= widest) {
        return std::nullopt;
    }
    const std::uint64_t gva = *address + distance;
    const auto gpa =
        operand_gpa(vp, gva, is_write ? PageAccess::Kind::write : PageAccess::Kind::read);
    return gpa == exit.gpa ? std::optional{gva} : std::nullopt;
}

/// Accesses that are carried out here: to the APIC's page, and those that ring a doorbell.
/// \return false if it is none, or by no instruction that is decoded here.
bool carry_out(VirtualProcessor& vp, const Exit& exit, const InstructionBytes& code) {
    const bool is_apic = is_apic_access(vp, exit.gpa);
    if (!is_apic && (!exit.is_write || !doorbell::exists(vp.partition(), exit.gpa))) {
        return false;
    }
    const auto move = decode_memory_move(code.view(), vp.cpu().mode());
    if (!move) {
        return false;
    }
    if (!virtual_address(vp, exit, code, exit.is_write || move->is_write())) {
        // Rewritten since: the guest is to run what is there now, by its page tables of now.
        vp.cpu().flush_tlb();
        return true;
    }
    if (!is_apic) {
        return ring_doorbell(vp, exit.gpa, *move);
    }
    access_apic(vp, exit.gpa, *move);
    return true;
}

void intercept_access(
    VirtualProcessor& vp, const Exit& exit, const InstructionBytes& code, std::uint32_t type) {
    vp.counters.count(VpCounter::memory_intercept_messages);
    hv_x64_memory_intercept_message message{};
    const std::uint8_t access = exit.is_execute ? HV_INTERCEPT_ACCESS_EXECUTE
        : exit.is_write                         ? HV_INTERCEPT_ACCESS_WRITE
                                                : HV_INTERCEPT_ACCESS_READ;
    message.header = vp.intercept_header(access, 0);
    message.guest_physical_address = exit.gpa;
    message.instruction_byte_count = code.count;
    std::memcpy(message.instruction_bytes, code.bytes.data(), code.count);
    if (const auto address = virtual_address(vp, exit, code, exit.is_write); address) {
        message.gva_valid = 1;
        message.gva_gpa_valid = 1;
        message.guest_virtual_address = *address;
    }
    vp.intercept(type, message);
}

bool allows(const Slat::Mapping& mapping, const Exit& exit) {
    if (mapping.access != Slat::Access::mapped) {
        return false;
    }
    const std::uint32_t needed = exit.is_execute ? HV_MAP_GPA_EXECUTABLE
        : exit.is_write                          ? HV_MAP_GPA_WRITABLE
                                                 : HV_MAP_GPA_READABLE;
    return (mapping.map_flags & needed) == needed;
}

/// The root's address space is what the machine has: other accesses are its kernel's mistake.
void handle_root_fault(VirtualProcessor& vp, const Exit& exit) {
    // An interrupt only waits; anything else was on its way to the root's handler.
    if (const auto event = vp.cpu().pending_event();
        event && event->type != CpuEvent::Type::interrupt) {
        panic("processor {} of the root partition cannot go on: it touched {x}, which is not its "
              "own, when it was to take event {} (RIP {x}, CR3 {x}, RSP {x})",
            vp.index(), exit.gpa, event->vector, vp.cpu().get(CpuRegister::rip),
            vp.cpu().get(CpuRegister::cr3), vp.cpu().gpr[GeneralRegister::rsp]);
    }
    log(LogLevel::warning, "the root touched {x}, which is not its own (RIP {x}); it gets #GP",
        exit.gpa, vp.cpu().get(CpuRegister::rip));
    vp.cpu().raise(exception_general_protection, 0);
}

} // namespace

void handle_memory_fault(VirtualProcessor& vp, const Exit& exit) {
    Partition& partition = vp.partition();
    Slat::Mapping mapping;
    {
        const SpinGuard guard{partition.space_lock()};
        mapping = partition.space().lookup(GpaPage::containing(exit.gpa));
    }
    if (allows(mapping, exit)) {
        return; // it has been mapped meanwhile
    }
    if (mapping.overlay) {
        // A write to the hypercall page (TLFS "Establishing the Hypercall Interface").
        vp.cpu().raise(exception_general_protection, 0);
        return;
    }
    // Looked at once: the next time it may be another.
    const InstructionBytes code = exit.is_execute ? InstructionBytes{} : fetch_instruction(vp);
    if (mapping.access == Slat::Access::unmapped && carry_out(vp, exit, code)) {
        return;
    }
    if (partition.is_root()) {
        handle_root_fault(vp, exit);
        return;
    }
    intercept_access(vp, exit, code,
        mapping.access == Slat::Access::unmapped ? HVMSG_UNMAPPED_GPA : HVMSG_GPA_INTERCEPT);
}

} // namespace hypervisor
