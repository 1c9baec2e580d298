// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/cpu/physical_apic.hpp"

#include "hypervisor/cpu/fixed_registers.hpp"
#include "hypervisor/cpu/intrinsics.hpp"

namespace hypervisor::physical_apic {

namespace {

enum Register : std::uint32_t {
    id_register = 0x020,
    task_priority = 0x080,
    eoi_register = 0x0b0,
    spurious = 0x0f0,
    error_status = 0x280,
    command_low = 0x300,
    command_high = 0x310,
    lvt_timer = 0x320,
    lvt_thermal = 0x330,
    lvt_performance = 0x340,
    lvt_pin0 = 0x350,
    lvt_pin1 = 0x360,
    lvt_error = 0x370,
    timer_initial = 0x380,
    timer_current = 0x390,
    timer_divide = 0x3e0,
};

constexpr std::uint32_t software_enable = 1u << 8;
constexpr std::uint32_t lvt_masked = 1u << 16;
constexpr std::uint32_t lvt_nmi = 4u << 8;
constexpr std::uint32_t divide_by_1 = 0xb;
constexpr std::uint32_t delivery_pending = 1u << 12;
constexpr std::uint32_t assert_level = 1u << 14;
constexpr std::uint32_t to_self = 1u << 18;
constexpr std::uint32_t mode_nmi = 4u << 8;
constexpr std::uint32_t mode_init = 5u << 8;
constexpr std::uint32_t mode_startup = 6u << 8;
constexpr std::uint64_t base_enabled = 1ull << 11;
constexpr std::uint64_t base_x2apic = 1ull << 10;

// Decided once, by what the firmware chose on the first processor.
constinit bool x2apic = false;

std::uint32_t read(Register r) {
    if (x2apic) {
        return static_cast<std::uint32_t>(read_msr(msr_x2apic_first + (r >> 4)));
    }
    return *reinterpret_cast<volatile std::uint32_t*>(page_address + r);
}

void write(Register r, std::uint32_t value) {
    if (x2apic) {
        write_msr(msr_x2apic_first + (r >> 4), value);
    } else {
        *reinterpret_cast<volatile std::uint32_t*>(page_address + r) = value;
    }
}

void send(std::uint32_t apic_id, std::uint32_t command) {
    if (x2apic) {
        write_msr(msr_x2apic_first + (command_low >> 4), (std::uint64_t{apic_id} << 32) | command);
        return;
    }
    while ((read(command_low) & delivery_pending) != 0) {
        pause();
    }
    write(command_high, apic_id << 24);
    write(command_low, command);
}

} // namespace

void enable() {
    const std::uint64_t base = read_msr(msr_apic_base);
    x2apic = (base & base_x2apic) != 0;
    write_msr(msr_apic_base, base | base_enabled);
    write(spurious, software_enable | spurious_vector);
    write(task_priority, 0);
    write(lvt_timer, lvt_masked);
    write(lvt_thermal, lvt_masked);
    write(lvt_performance, lvt_masked);
    write(lvt_pin0, lvt_masked);
    write(lvt_pin1, lvt_nmi);
    write(lvt_error, lvt_masked);
    write(timer_divide, divide_by_1);
    write(lvt_timer, timer_vector);
}

std::uint32_t id() {
    const std::uint32_t value = read(id_register);
    return x2apic ? value : value >> 24;
}

void end_of_interrupt() {
    write(eoi_register, 0);
}

void send_fixed(std::uint32_t apic_id, std::uint8_t vector) {
    send(apic_id, assert_level | vector);
}
void send_to_self(std::uint8_t vector) {
    if (x2apic) {
        write_msr(msr_x2apic_first + (command_low >> 4), to_self | assert_level | vector);
    } else {
        write(command_low, to_self | assert_level | vector);
    }
}
void send_nmi(std::uint32_t apic_id) {
    send(apic_id, assert_level | mode_nmi);
}
void send_init(std::uint32_t apic_id) {
    send(apic_id, assert_level | mode_init);
}
void send_startup(std::uint32_t apic_id, std::uint8_t page) {
    send(apic_id, assert_level | mode_startup | page);
}

void start_timer(std::uint32_t ticks) {
    write(timer_initial, ticks);
}
std::uint32_t timer_count() {
    return read(timer_current);
}

} // namespace hypervisor::physical_apic
