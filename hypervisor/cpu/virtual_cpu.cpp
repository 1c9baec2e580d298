// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/cpu/virtual_cpu.hpp"

#include "hypervisor/cpu/fixed_registers.hpp"

namespace hypervisor {

void VirtualCpu::advance(unsigned length) {
    std::uint64_t rip = get(CpuRegister::rip) + length;
    switch (mode()) {
    case InstructionMode::bits16:
        rip &= 0xffff;
        break;
    case InstructionMode::bits32:
        rip &= 0xffffffff;
        break;
    case InstructionMode::bits64:
        break;
    }
    set(CpuRegister::rip, rip);
    set_interrupt_shadow(false);
}

bool VirtualCpu::can_take_interrupt() const {
    return (get(CpuRegister::rflags) & rflags_if) != 0 && !interrupt_shadow() && !pending_event();
}

void VirtualCpu::raise(std::uint8_t vector, std::optional<std::uint32_t> error_code) {
    set_pending_event(CpuEvent{.type = CpuEvent::Type::exception,
        .vector = vector,
        .has_error_code = error_code.has_value(),
        .error_code = error_code.value_or(0)});
}

} // namespace hypervisor
