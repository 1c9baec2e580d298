// SPDX-License-Identifier: Apache-2.0
#include "hv/virtual_processor.hpp"

#include "hv/register.hpp"

namespace croft::hv {

namespace {

constexpr std::uint32_t general_count = 16;
constexpr std::uint32_t segment_count = 6;

} // namespace

CoreRegisters VirtualProcessor::core_registers() {
    std::array<hv_register_assoc, general_count + segment_count + 2> registers;
    for (std::uint32_t index = 0; index < general_count; ++index) {
        registers[index] = register_name(HV_X64_REGISTER_RAX + index);
    }
    for (std::uint32_t index = 0; index < segment_count; ++index) {
        registers[general_count + index] = register_name(HV_X64_REGISTER_ES + index);
    }
    registers[general_count + segment_count] = register_name(HV_X64_REGISTER_RIP);
    registers[general_count + segment_count + 1] = register_name(HV_X64_REGISTER_RFLAGS);
    get_registers(registers);
    CoreRegisters result;
    for (std::uint32_t index = 0; index < general_count; ++index) {
        result.general[index] = registers[index].value.reg64;
    }
    for (std::uint32_t index = 0; index < segment_count; ++index) {
        result.segments[index] = registers[general_count + index].value.segment;
    }
    result.rip = registers[general_count + segment_count].value.reg64;
    result.rflags = registers[general_count + segment_count + 1].value.reg64;
    return result;
}

void VirtualProcessor::set_core_registers(std::span<const std::uint64_t, general_count> general,
    std::uint64_t rip, std::uint64_t rflags) {
    std::array<hv_register_assoc, general_count + 2> registers;
    for (std::uint32_t index = 0; index < general_count; ++index) {
        registers[index] = register_value(HV_X64_REGISTER_RAX + index, general[index]);
    }
    registers[general_count] = register_value(HV_X64_REGISTER_RIP, rip);
    registers[general_count + 1] = register_value(HV_X64_REGISTER_RFLAGS, rflags);
    set_registers(registers);
}

void VirtualProcessor::set_rip(std::uint64_t rip, std::optional<std::uint64_t> rax) {
    const std::array registers = {register_value(HV_X64_REGISTER_RIP, rip),
        register_value(HV_X64_REGISTER_RAX, rax.value_or(0))};
    set_registers(std::span(registers).first(rax ? 2 : 1));
}

} // namespace croft::hv
