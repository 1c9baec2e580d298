// SPDX-License-Identifier: Apache-2.0
#include "worker/processor/intercept_handler.hpp"

#include "hv/deliverability.hpp"
#include "hv/register.hpp"
#include "worker/emulate/arithmetic.hpp"
#include "worker/processor/guest_access.hpp"
#include "worker/processor/processor_failure.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <fmt/format.h>
#include <vector>

namespace croft::worker {

namespace {

constexpr std::uint8_t general_protection = 13;
constexpr std::uint64_t guest_page_size = 4096;

/// The payload of a message as what its type says it is.
template <typename Message>
Message payload_of(const hv_message& message) {
    static_assert(sizeof(Message) <= HV_MESSAGE_PAYLOAD_BYTE_COUNT);
    Message result;
    std::memcpy(&result, message.payload, sizeof(result));
    return result;
}

bool is_user_mode(const hv_x64_intercept_message_header& header) {
    return header.execution_state.cpl == 3;
}

CpuMode mode_of(const hv_x64_intercept_message_header& header) {
    constexpr std::uint64_t virtual_8086 = 1U << 17;
    if (header.execution_state.cr0_pe == 0 || (header.rflags & virtual_8086) != 0) {
        return CpuMode::real;
    }
    if (header.execution_state.efer_lma != 0 && header.cs_segment.long_mode != 0) {
        return CpuMode::long_64;
    }
    return header.cs_segment.default_size != 0 ? CpuMode::protected_32 : CpuMode::protected_16;
}

std::span<const std::uint8_t> instruction_bytes(
    const std::uint8_t (&bytes)[16], std::uint8_t count) {
    return {bytes, std::min<std::size_t>(count, sizeof(bytes))};
}

/// What RAX holds after IN of `size` bytes.
std::uint64_t merge(std::uint64_t rax, std::uint32_t value, unsigned size) {
    const std::uint64_t cut = arithmetic::truncate(value, size);
    return size == 4 ? cut : (rax & ~arithmetic::truncate(~std::uint64_t{0}, size)) | cut;
}

} // namespace

InterceptHandler::Next InterceptHandler::handle(hv::VirtualProcessor& processor) {
    constexpr auto relaxed = std::memory_order_relaxed;
    const hv_message& message = processor.message();
    switch (message.header.message_type) {
    case HVMSG_X64_IO_PORT_INTERCEPT:
        counters_.ports.fetch_add(1, relaxed);
        handle_port(processor);
        break;
    case HVMSG_UNMAPPED_GPA:
    case HVMSG_GPA_INTERCEPT:
        counters_.memory.fetch_add(1, relaxed);
        handle_memory(processor);
        break;
    case HVMSG_X64_APIC_EOI:
        counters_.interrupts_ended.fetch_add(1, relaxed);
        services_.end_of_interrupt(static_cast<std::uint8_t>(
            payload_of<hv_x64_apic_eoi_message>(message).interrupt_vector));
        break;
    case HVMSG_X64_MSR_INTERCEPT:
        counters_.registers.fetch_add(1, relaxed);
        handle_msr(processor);
        break;
    case HVMSG_X64_CPUID_INTERCEPT:
        counters_.registers.fetch_add(1, relaxed);
        handle_cpuid(processor);
        break;
    case HVMSG_HYPERCALL_INTERCEPT:
        counters_.hypercalls.fetch_add(1, relaxed);
        handle_hypercall(processor);
        break;
    case HVMSG_SYNIC_SINT_DELIVERABLE:
        counters_.others.fetch_add(1, relaxed);
        services_.slots_free(hv::deliverable_sints(message));
        break;
    case HVMSG_X64_HALT:
        counters_.others.fetch_add(1, relaxed);
        return Next::idle;
    case HVMSG_UNRECOVERABLE_EXCEPTION:
        fail(processor,
            "found an exception during the handling of a double fault (triple fault), "
            "expected a guest that handles its exceptions");
    case HVMSG_INVALID_VP_REGISTER_VALUE:
        fail(processor, "found registers with which no processor can run, expected a valid state");
    case HVMSG_UNSUPPORTED_FEATURE:
        fail(processor, "found a use of a processor feature that the hypervisor doesn't support");
    default:
        fail(processor,
            fmt::format("found intercept message {:#x}, expected one that this worker knows",
                std::uint32_t{message.header.message_type}));
    }
    return Next::run;
}

void InterceptHandler::fail(hv::VirtualProcessor& processor, std::string_view text) {
    throw ProcessorFailure(fmt::format("guest: processor {}: {}; look at the guest's last output",
                               processor.index(), text),
        describe_state(processor));
}

void InterceptHandler::handle_port(hv::VirtualProcessor& processor) {
    const auto message = payload_of<hv_x64_io_port_intercept_message>(processor.message());
    const Header header = message.header;
    const unsigned size = message.access_size;
    const bool is_known_size = size == 1 || size == 2 || size == 4;
    if (message.string_op != 0 || message.rep_prefix != 0 || header.instruction_length == 0 ||
        !is_known_size) {
        GuestAccess access(processor, services_.memory, services_.bus, is_user_mode(header), {});
        emulate(processor, header,
            instruction_bytes(message.instruction_bytes, message.instruction_byte_count), {size},
            access);
        return;
    }
    std::optional<std::uint64_t> rax;
    if (header.intercept_access_type == HV_INTERCEPT_ACCESS_WRITE) {
        services_.bus.port_write(
            message.port_number, size, static_cast<std::uint32_t>(message.rax));
    } else {
        rax = merge(message.rax, services_.bus.port_read(message.port_number, size), size);
    }
    processor.set_rip(header.rip + header.instruction_length, rax);
    end_interrupt_shadow(processor, header);
}

void InterceptHandler::handle_memory(hv::VirtualProcessor& processor) {
    const auto message = payload_of<hv_x64_memory_intercept_message>(processor.message());
    const Header header = message.header;
    const std::uint64_t gpa = message.guest_physical_address;
    if (header.intercept_access_type == HV_INTERCEPT_ACCESS_EXECUTE) {
        fail(processor,
            fmt::format("found a jump to {:#x}, which is guest address {:#x}, where there is no "
                        "memory, expected code",
                std::uint64_t{header.rip}, gpa));
    }
    if (services_.memory.contains(gpa, 1)) {
        fail(processor,
            fmt::format("found no memory on this host behind guest address {:#x}, expected a page; "
                        "free memory on the host or give its VMs less",
                gpa));
    }
    TrappedAddress trapped{
        gpa, std::nullopt, header.intercept_access_type == HV_INTERCEPT_ACCESS_WRITE};
    if (message.gva_valid != 0 && message.gva_gpa_valid != 0) {
        trapped.gva = message.guest_virtual_address;
    }
    GuestAccess access(processor, services_.memory, services_.bus, is_user_mode(header), trapped);
    emulate(processor, header,
        instruction_bytes(message.instruction_bytes, message.instruction_byte_count), {}, access);
}

void InterceptHandler::handle_msr(hv::VirtualProcessor& processor) {
    // The hypervisor answers for all MSRs that there are.
    inject(processor, {general_protection, 0, std::nullopt});
}

void InterceptHandler::handle_cpuid(hv::VirtualProcessor& processor) {
    constexpr unsigned cpuid_length = 2;
    const auto message = payload_of<hv_x64_cpuid_intercept_message>(processor.message());
    const Header header = message.header;
    const unsigned length =
        header.instruction_length != 0 ? header.instruction_length : cpuid_length;
    const std::array registers = {
        hv::register_value(HV_X64_REGISTER_RAX, message.default_result_rax),
        hv::register_value(HV_X64_REGISTER_RBX, message.default_result_rbx),
        hv::register_value(HV_X64_REGISTER_RCX, message.default_result_rcx),
        hv::register_value(HV_X64_REGISTER_RDX, message.default_result_rdx),
        hv::register_value(HV_X64_REGISTER_RIP, header.rip + length),
    };
    processor.set_registers(registers);
    end_interrupt_shadow(processor, header);
}

void InterceptHandler::handle_hypercall(hv::VirtualProcessor& processor) {
    constexpr unsigned vmmcall_length = 3;
    const auto message = payload_of<hv_x64_hypercall_intercept_message>(processor.message());
    const Header header = message.header;
    const bool is_long = mode_of(header) == CpuMode::long_64;
    const std::uint64_t control = is_long ? message.rcx : message.rax;
    const std::uint64_t input =
        is_long ? message.rdx : message.rbx << 32 | static_cast<std::uint32_t>(message.rcx);
    std::uint64_t status = HV_STATUS_INVALID_HYPERCALL_CODE;
    switch (static_cast<std::uint16_t>(control)) {
    case HVCALL_POST_MESSAGE:
        status = (control & HV_HYPERCALL_FAST) != 0 ? HV_STATUS_INVALID_HYPERCALL_INPUT
                                                    : post_message(input);
        break;
    case HVCALL_SIGNAL_EVENT:
        // Those that are connected never come here.
        status = HV_STATUS_INVALID_CONNECTION_ID;
        break;
    default:
        break;
    }
    const unsigned length =
        header.instruction_length != 0 ? header.instruction_length : vmmcall_length;
    const std::array registers = {
        hv::register_value(HV_X64_REGISTER_RIP, header.rip + length),
        hv::register_value(HV_X64_REGISTER_RAX, status),
        hv::register_value(HV_X64_REGISTER_RDX, 0),
    };
    // The result is in RAX, or in EDX:EAX (TLFS "Hypercall Inputs").
    processor.set_registers(std::span(registers).first(is_long ? 2 : 3));
}

std::uint16_t InterceptHandler::post_message(std::uint64_t input) {
    hv_input_post_message call;
    if (input % alignof(std::uint64_t) != 0 ||
        input % guest_page_size > guest_page_size - sizeof(call)) {
        return HV_STATUS_INVALID_ALIGNMENT;
    }
    std::array<std::uint8_t, sizeof(call)> bytes;
    if (!services_.memory.read(input, bytes)) {
        return HV_STATUS_INVALID_HYPERCALL_INPUT;
    }
    std::memcpy(&call, bytes.data(), sizeof(call));
    if (call.payload_size > sizeof(call.payload)) {
        return HV_STATUS_INVALID_PARAMETER;
    }
    return services_.post_message(
        call.connection_id, call.message_type, std::span(call.payload).first(call.payload_size));
}

CpuState InterceptHandler::read_state(hv::VirtualProcessor& processor, const Header& header) {
    const hv::CoreRegisters registers = processor.core_registers();
    CpuState state;
    state.general = registers.general;
    for (std::size_t index = 0; index < state.segment_base.size(); ++index) {
        state.segment_base[index] = registers.segments[index].base;
    }
    state.rip = header.rip;
    state.flags = header.rflags;
    state.mode = mode_of(header);
    state.stack_is_32 = registers.segments[ss].default_size != 0;
    return state;
}

void InterceptHandler::emulate(hv::VirtualProcessor& processor, const Header& header,
    std::span<const std::uint8_t> bytes, const Trap& trap, EmulatorEnvironment& environment) {
    CpuState state = read_state(processor, header);
    const EmulationResult result = Emulator(environment, decoder_).emulate(state, bytes, trap);
    switch (result.kind) {
    case EmulationResult::Kind::changed:
        run_again(processor, header);
        return;
    case EmulationResult::Kind::done:
        processor.set_core_registers(state.general, state.rip, state.flags);
        end_interrupt_shadow(processor, header);
        break;
    case EmulationResult::Kind::exception:
        processor.set_core_registers(state.general, state.rip, state.flags);
        inject(processor, result.exception);
        break;
    case EmulationResult::Kind::unsupported:
        fail(processor,
            fmt::format(
                "found instruction {} at a device's address, expected one of those that are "
                "emulated",
                result.text));
    }
    run_again_in_a_row_ = 0;
}

/// The guest is to run what is there now. That it comes to the same end again and again is no race
/// of its processors': page tables or a stack, say, are where there is no memory.
void InterceptHandler::run_again(hv::VirtualProcessor& processor, const Header& header) {
    constexpr unsigned most = 100;
    if (++run_again_in_a_row_ > most) {
        fail(processor,
            fmt::format("found an access to a device's address that the instruction at {:#x} "
                        "doesn't make, expected page tables and stacks in memory",
                std::uint64_t{header.rip}));
    }
}

void InterceptHandler::inject(hv::VirtualProcessor& processor, const GuestException& exception) {
    hv_x64_pending_interruption_register pending{};
    pending.interruption_pending = 1;
    pending.interruption_type = HV_X64_PENDING_EXCEPTION;
    pending.interruption_vector = exception.vector;
    pending.deliver_error_code = exception.error_code ? 1 : 0;
    pending.error_code = exception.error_code.value_or(0);
    std::vector<hv_register_assoc> registers = {
        hv::register_value(HV_REGISTER_PENDING_INTERRUPTION, pending.as_uint64)};
    if (exception.address) {
        registers.push_back(hv::register_value(HV_X64_REGISTER_CR2, *exception.address));
    }
    processor.set_registers(registers);
}

void InterceptHandler::end_interrupt_shadow(hv::VirtualProcessor& processor, const Header& header) {
    if (header.execution_state.interrupt_shadow == 0) {
        return;
    }
    std::array registers = {hv::register_name(HV_REGISTER_INTERRUPT_STATE)};
    processor.get_registers(registers);
    registers[0].value.interrupt_state.interrupt_shadow = 0;
    processor.set_registers(registers);
}

} // namespace croft::worker
