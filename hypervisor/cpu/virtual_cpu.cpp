// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/cpu/virtual_cpu.hpp"

#include "hypervisor/cpu/fixed_registers.hpp"

namespace hypervisor {

namespace {

std::uint64_t instruction_pointer_mask(InstructionMode mode) {
    switch (mode) {
    case InstructionMode::bits16:
        return 0xffff;
    case InstructionMode::bits32:
        return 0xffffffff;
    case InstructionMode::bits64:
        break;
    }
    return ~std::uint64_t{0};
}

} // namespace

// One function of all its parts: exits end with it.
void VirtualCpu::advance(unsigned length) {
    skip_inline(length);
    end_inline();
}

void VirtualCpu::skip(unsigned length) {
    skip_inline(length);
}

void VirtualCpu::end_instruction() {
    end_inline();
}

inline void VirtualCpu::skip_inline(unsigned length) {
    constexpr unsigned narrowest = 16;
    const std::uint64_t rip = get(CpuRegister::rip);
    std::uint64_t next = rip + length;
    if (((rip ^ next) >> narrowest) != 0) { // where a narrow instruction pointer would wrap
        next &= instruction_pointer_mask(mode());
    }
    set(CpuRegister::rip, next);
    set_interrupt_shadow(false);
}

inline void VirtualCpu::end_inline() {
    const std::uint64_t rflags = get(CpuRegister::rflags);
    if ((rflags & rflags_rf) != 0) {
        set(CpuRegister::rflags, rflags & ~rflags_rf);
    }
    if ((rflags & rflags_tf) != 0) {
        raise_single_step();
    }
}

void VirtualCpu::raise_single_step() {
    set(CpuRegister::dr6, get(CpuRegister::dr6) | dr6_single_step);
    raise(exception_debug);
}

bool VirtualCpu::can_take_interrupt() const {
    return (get(CpuRegister::rflags) & rflags_if) != 0 && !interrupt_shadow() &&
        !has_pending_event();
}

void VirtualCpu::raise(std::uint8_t vector, std::optional<std::uint32_t> error_code) {
    set_pending_event(CpuEvent{.type = CpuEvent::Type::exception,
        .vector = vector,
        .has_error_code = error_code.has_value(),
        .error_code = error_code.value_or(0)});
}

} // namespace hypervisor
