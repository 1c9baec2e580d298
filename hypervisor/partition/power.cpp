// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/power.hpp"

#include "hypervisor/cpu/clock.hpp"
#include "hypervisor/cpu/intrinsics.hpp"
#include "hypervisor/cpu/virtual_cpu.hpp"
#include "hypervisor/debug/panic.hpp"

namespace hypervisor::power {

namespace {

constexpr std::uint16_t control_bytes = 2;
constexpr std::uint64_t patience_us = 3'000'000;

constinit std::uint16_t control_a = 0;
constinit std::uint16_t control_b = 0;

struct OffTypes {
    std::uint8_t a;
    std::uint8_t b;
};
constinit std::optional<OffTypes> off_types;

void sleep(std::uint16_t port, std::uint8_t type) {
    if (port != 0) {
        out16(port,
            static_cast<std::uint16_t>(std::uint32_t{type} << sleep_type_shift | sleep_enable));
    }
}

/// A root that hasn't said which type means off may be about to switch off by itself, as older
/// kernels do. \return whether the write asked the register for sleep and is answered.
bool answer_request(
    std::uint16_t control, const PortWrite& what, std::uint8_t OffTypes::*off_type) {
    const auto type = sleep_type_asked(control, what);
    if (!type || !off_types) {
        return false;
    }
    if (*type == (*off_types).*off_type) {
        off();
    }
    log(LogLevel::warning,
        "the root asks port {x} for sleep type {}, and is refused: the machine would wake up "
        "without the hypervisor; only S5 (off) is supported",
        control, *type);
    return true;
}

} // namespace

void set_control_ports(std::uint16_t pm1a, std::uint16_t pm1b) {
    control_a = pm1a;
    control_b = pm1b;
    for (const std::uint16_t port : {pm1a, pm1b}) {
        if (port != 0) {
            virtualization::intercept_root_ports(port, control_bytes);
        }
    }
}

void set_off_types(std::uint8_t pm1a, std::uint8_t pm1b) {
    off_types = {pm1a, pm1b};
}

void off() {
    log(LogLevel::info, "the root switches the machine off");
    const OffTypes types = off_types.value_or(OffTypes{});
    sleep(control_a, types.a);
    sleep(control_b, types.b);
    clock::wait_microseconds(patience_us); // the machine takes its time
    panic("the machine does not switch off by its PM1 control register ({x})", control_a);
}

void write(const PortWrite& what) {
    if (answer_request(control_a, what, &OffTypes::a) ||
        answer_request(control_b, what, &OffTypes::b)) {
        return;
    }
    switch (what.size) {
    case sizeof(std::uint8_t):
        out8(what.port, static_cast<std::uint8_t>(what.value));
        break;
    case sizeof(std::uint16_t):
        out16(what.port, static_cast<std::uint16_t>(what.value));
        break;
    default:
        out32(what.port, what.value);
        break;
    }
}

std::uint32_t read(std::uint16_t port, unsigned size) {
    switch (size) {
    case sizeof(std::uint8_t):
        return in8(port);
    case sizeof(std::uint16_t):
        return in16(port);
    default:
        return in32(port);
    }
}

} // namespace hypervisor::power
