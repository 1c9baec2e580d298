// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/memory_fault.hpp"

#include "abi/message.h"
#include "hypervisor/cpu/fixed_registers.hpp"
#include "hypervisor/cpu/physical_apic.hpp"
#include "hypervisor/debug/panic.hpp"
#include "hypervisor/emulate/memory_move.hpp"
#include "hypervisor/emulate/memory_operand.hpp"
#include "hypervisor/partition/doorbell.hpp"
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
    VirtualCpu& cpu = vp.cpu();
    const MemoryMoveOutcome outcome =
        apply_memory_move(move, cpu.gpr, cpu.get(CpuRegister::rflags), loaded);
    cpu.set(CpuRegister::rflags, outcome.rflags);
    cpu.advance(move.length);
    return outcome.store;
}

/// \return false if the instruction is none that is decoded here.
bool access_apic(VirtualProcessor& vp, std::uint64_t gpa) {
    const InstructionBytes code = fetch_instruction(vp);
    const auto move = decode_memory_move(code.view(), vp.cpu().mode());
    if (!move) {
        return false;
    }
    vp.counters.count(VpCounter::apic_mmio_accesses);
    const auto offset = static_cast<std::uint16_t>(gpa & (apic_page_size - 1));
    const std::uint64_t loaded = move->is_read() ? vp.apic().read(offset, vp.apic_time()) : 0;
    const auto store = complete(vp, *move, loaded);
    // A read may have raised the APIC's error interrupt, which is looked for then, too.
    vp.apply(store ? vp.apic().write(offset, static_cast<std::uint32_t>(*store), vp.apic_time())
                   : LocalApicEffect{});
    return true;
}

/// A write to a doorbell's address. \return false if there is none that it triggers.
bool ring_doorbell(VirtualProcessor& vp, std::uint64_t gpa) {
    if (!doorbell::exists(vp.partition(), gpa)) {
        return false;
    }
    const InstructionBytes code = fetch_instruction(vp);
    const auto move = decode_memory_move(code.view(), vp.cpu().mode());
    if (!move || move->is_read()) {
        return false;
    }
    std::uint64_t value = 0;
    {
        // What it would store, without completing it: the value decides whether it is a trigger.
        std::array<std::uint64_t, 16> registers = vp.cpu().gpr;
        const auto outcome =
            apply_memory_move(*move, registers, vp.cpu().get(CpuRegister::rflags), 0);
        value = outcome.store.value_or(0);
    }
    if (!doorbell::ring_by_write(vp.partition(), gpa, move->operand_size, value)) {
        return false;
    }
    (void)complete(vp, *move, 0);
    return true;
}

/// The guest virtual address of an access. The processor has told the physical one only; that the
/// instruction's operand lies at the same place of its page shows that this was the access, and
/// none to a page table or a descriptor on the way to it.
std::optional<std::uint64_t> virtual_address(
    const VirtualProcessor& vp, const Exit& exit, const InstructionBytes& code) {
    const VirtualCpu& cpu = vp.cpu();
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
    const auto address = memory_operand_address(code.view(), context, exit.is_write);
    // Of what crosses the end of a page the second half may be what is missing.
    const std::uint64_t distance = (exit.gpa - address.value_or(0)) & (page_size - 1);
    constexpr std::uint64_t widest = 64;
    if (!address || (distance != 0 && (exit.gpa & (page_size - 1)) != 0) || distance >= widest) {
        return std::nullopt;
    }
    return *address + distance;
}

void intercept_access(VirtualProcessor& vp, const Exit& exit, std::uint32_t type) {
    vp.counters.count(VpCounter::memory_intercept_messages);
    hv_x64_memory_intercept_message message{};
    const std::uint8_t access = exit.is_execute ? HV_INTERCEPT_ACCESS_EXECUTE
        : exit.is_write                         ? HV_INTERCEPT_ACCESS_WRITE
                                                : HV_INTERCEPT_ACCESS_READ;
    message.header = vp.intercept_header(access, 0);
    message.guest_physical_address = exit.gpa;
    InstructionBytes code;
    if (!exit.is_execute) {
        code = fetch_instruction(vp);
        message.instruction_byte_count = code.count;
        std::memcpy(message.instruction_bytes, code.bytes.data(), code.count);
    }
    if (const auto address = virtual_address(vp, exit, code); address) {
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
    if (mapping.access == Slat::Access::unmapped) {
        if (is_apic_access(vp, exit.gpa) && access_apic(vp, exit.gpa)) {
            return;
        }
        if (exit.is_write && ring_doorbell(vp, exit.gpa)) {
            return;
        }
    }
    if (partition.is_root()) {
        handle_root_fault(vp, exit);
        return;
    }
    intercept_access(vp, exit,
        mapping.access == Slat::Access::unmapped ? HVMSG_UNMAPPED_GPA : HVMSG_GPA_INTERCEPT);
}

} // namespace hypervisor
