// SPDX-License-Identifier: Apache-2.0
// From the guest's registers to a handler and back (TLFS "Hypercall Interface").
#include "hypervisor/hypercall/dispatcher.hpp"

#include "abi/hypercall.h"
#include "abi/message.h"
#include "abi/msr.h"
#include "hypervisor/cpu/fixed_registers.hpp"
#include "hypervisor/cpu/logical_processor.hpp"
#include "hypervisor/debug/console.hpp"
#include "hypervisor/hypercall/table.hpp"
#include "hypervisor/partition/partition.hpp"
#include "hypervisor/partition/virtual_processor.hpp"

namespace hypervisor::hypercall {

namespace {

/// The registers that carry a call, in the layout of the caller's mode.
struct Registers {
    std::uint64_t control;
    std::uint64_t input;  ///< GPA, or the first quadword of a fast call
    std::uint64_t output; ///< GPA, or the second quadword of a fast call
};

Registers read_registers(const NativeCpu& cpu, bool is_64_bit) {
    const auto& gpr = cpu.gpr;
    if (is_64_bit) {
        return {gpr[GeneralRegister::rcx], gpr[GeneralRegister::rdx], gpr[GeneralRegister::r8]};
    }
    const auto pair = [&gpr](GeneralRegister high, GeneralRegister low) {
        return (gpr[high] << 32) | (gpr[low] & 0xffffffff);
    };
    return {pair(GeneralRegister::rdx, GeneralRegister::rax),
        pair(GeneralRegister::rbx, GeneralRegister::rcx),
        pair(GeneralRegister::rdi, GeneralRegister::rsi)};
}

void write_result(NativeCpu& cpu, bool is_64_bit, Status status, unsigned reps_completed) {
    const std::uint64_t result = static_cast<std::uint64_t>(status) |
        (std::uint64_t{reps_completed} << HV_HYPERCALL_REPS_COMPLETED_SHIFT);
    if (is_64_bit) {
        cpu.gpr[GeneralRegister::rax] = result;
    } else {
        cpu.gpr[GeneralRegister::rax] = result & 0xffffffff;
        cpu.gpr[GeneralRegister::rdx] = result >> 32;
    }
}

/// The control word taken apart and checked against the call's kind.
struct Control {
    bool fast;
    unsigned variable_header;
    unsigned rep_count;
    unsigned rep_start;
};

std::optional<Control> check(std::uint64_t word, const CallEntry& entry) {
    const auto field = [word](unsigned shift, std::uint64_t mask) {
        return static_cast<unsigned>((word >> shift) & mask);
    };
    const Control control{.fast = (word & HV_HYPERCALL_FAST) != 0,
        .variable_header =
            8 * field(HV_HYPERCALL_VARIABLE_HEADER_SHIFT, HV_HYPERCALL_VARIABLE_HEADER_MASK),
        .rep_count = field(HV_HYPERCALL_REP_COUNT_SHIFT, HV_HYPERCALL_REP_COUNT_MASK),
        .rep_start = field(HV_HYPERCALL_REP_START_SHIFT, HV_HYPERCALL_REP_START_MASK)};
    const bool reps_ok = entry.is_rep
        ? control.rep_count > 0 && control.rep_start < control.rep_count
        : control.rep_count == 0 && control.rep_start == 0;
    if ((word & HV_HYPERCALL_RESERVED_MASK) != 0 || !reps_ok ||
        (control.variable_header != 0 && !entry.has_variable_header)) {
        return std::nullopt;
    }
    return control;
}

/// Whether a parameter lies in one page of the address space and is aligned; its size is not 0.
bool is_well_placed(std::uint64_t gpa, std::size_t size) {
    return (gpa & 7) == 0 && size <= page_size - (gpa & (page_size - 1)) &&
        gpa < Slat::address_limit;
}

struct Outcome {
    Status status;
    unsigned reps_completed = 0;
    bool for_parent = false;
};

/// Apart from what finds it: a call that isn't one needs nothing of this.
[[gnu::noinline]] Outcome carry_out(
    VirtualProcessor& vp, const Registers& registers, const CallEntry& entry) {
    constexpr std::size_t fast_input = 16;
    vp.counters.count(entry.counter);
    if (!vp.partition().has_privilege(entry.privilege)) {
        return {Status::access_denied};
    }
    const auto control = check(registers.control, entry);
    if (!control) {
        return {Status::invalid_hypercall_input};
    }
    LogicalProcessor& lp = LogicalProcessor::current();
    const std::size_t input_size = entry.input_size + control->variable_header +
        std::size_t{control->rep_count} * entry.rep_input_size;
    const std::size_t output_size =
        entry.output_size + std::size_t{control->rep_count} * entry.rep_output_size;
    if (control->fast) {
        if (input_size > fast_input || output_size != 0) {
            return {Status::invalid_hypercall_input};
        }
        std::memcpy(lp.call_input(), &registers.input, 8);
        std::memcpy(lp.call_input() + 8, &registers.output, 8);
    } else if (input_size != 0) {
        if (!is_well_placed(registers.input, input_size)) {
            return {Status::invalid_alignment};
        }
        if (!vp.partition().read_gpa(registers.input, {lp.call_input(), input_size})) {
            return {Status::invalid_hypercall_input};
        }
    }
    if (output_size != 0) {
        if (!is_well_placed(registers.output, output_size)) {
            return {Status::invalid_alignment};
        }
        // Before anything is done whose answer would be lost.
        if (!vp.partition().is_writable(registers.output, output_size)) {
            return {Status::invalid_hypercall_input};
        }
        std::memset(lp.call_output(), 0, output_size);
    }
    Call call{.caller = vp,
        .input = {lp.call_input(), input_size},
        .output = {lp.call_output(), output_size},
        .variable_header = control->variable_header,
        .rep_count = control->rep_count,
        .rep_index = control->rep_start};
    for (const ReservedBits& bits : reserved_bits(entry)) {
        if ((call.in<std::uint64_t>(bits.offset) & bits.mask) != 0) {
            return {static_cast<Status>(bits.status)};
        }
    }
    const Status status = entry.handler(call);
    if (call.for_parent) {
        return {.status = status, .for_parent = true};
    }
    const unsigned reps_completed = entry.is_rep ? call.rep_index : 0;

    // Of a rep call what has been completed is given back, whatever the rest came to.
    const std::size_t first = control->rep_start * std::size_t{entry.rep_output_size};
    const std::size_t end = entry.is_rep ? std::size_t{call.rep_index} * entry.rep_output_size
                                         : (status == Status::success ? output_size : 0);
    if (end > first &&
        !vp.partition().write_gpa(
            registers.output + first, {lp.call_output() + first, end - first})) {
        return {Status::invalid_hypercall_input};
    }
    // To run out of deposits is how a caller learns what a call costs.
    const bool usual = status == Status::success || status == Status::insufficient_memory;
    log(usual ? LogLevel::trace : LogLevel::debug,
        "partition {} VP {}: {}: status {x}, reps {} of {}", vp.partition().id(), vp.index(),
        entry.name, static_cast<unsigned>(status), reps_completed, control->rep_count);
    return {status, reps_completed};
}

Outcome answer(VirtualProcessor& vp, const Registers& registers) {
    const std::uint64_t code = registers.control & HV_HYPERCALL_CODE_MASK;
    if (const CallEntry* const entry = find(code); entry != nullptr) {
        return carry_out(vp, registers, *entry);
    }
    log(LogLevel::debug, "partition {}: hypercall {x} is not implemented", vp.partition().id(),
        code);
    return {.status = Status::invalid_hypercall_code,
        .for_parent = vp.partition().intercepts.unknown_hypercalls()};
}

/// The call becomes an intercept: the parent gives the result and moves the instruction pointer on.
void hand_to_parent(VirtualProcessor& vp, unsigned instruction_length) {
    const auto& gpr = vp.cpu().gpr;
    hv_x64_hypercall_intercept_message message{};
    message.header = vp.intercept_header(HV_INTERCEPT_ACCESS_EXECUTE, instruction_length);
    message.rax = gpr[GeneralRegister::rax];
    message.rbx = gpr[GeneralRegister::rbx];
    message.rcx = gpr[GeneralRegister::rcx];
    message.rdx = gpr[GeneralRegister::rdx];
    message.r8 = gpr[GeneralRegister::r8];
    message.rsi = gpr[GeneralRegister::rsi];
    message.rdi = gpr[GeneralRegister::rdi];
    vp.counters.count(VpCounter::other_messages);
    vp.intercept(HVMSG_HYPERCALL_INTERCEPT, message);
}

} // namespace

void dispatch(VirtualProcessor& vp, unsigned instruction_length) {
    NativeCpu& cpu = vp.cpu();
    const bool is_64_bit = cpu.mode() == InstructionMode::bits64;
    const bool protected_mode = is_64_bit || (cpu.get(CpuRegister::cr0) & cr0_pe) != 0;
    if (!protected_mode || cpu.cpl() != 0 ||
        (vp.partition().hypercall_page & HV_MSR_PAGE_ENABLE) == 0) {
        cpu.raise(exception_invalid_opcode);
        return;
    }
    const Outcome outcome = answer(vp, read_registers(cpu, is_64_bit));
    if (outcome.for_parent) {
        hand_to_parent(vp, instruction_length);
        return;
    }
    write_result(cpu, is_64_bit, outcome.status, outcome.reps_completed);
    cpu.advance(instruction_length);
}

} // namespace hypervisor::hypercall
