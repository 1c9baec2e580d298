// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/power.hpp"

#include "hypervisor/cpu/clock.hpp"
#include "hypervisor/cpu/intrinsics.hpp"
#include "hypervisor/debug/panic.hpp"

namespace hypervisor::power {

namespace {

constexpr unsigned sleep_type_shift = 10;
constexpr std::uint16_t sleep_enable = 1u << 13;

constexpr std::uint64_t patience_us = 3'000'000;

constinit std::uint16_t control_a = 0;
constinit std::uint16_t control_b = 0;
constinit std::uint8_t type_a = 0;
constinit std::uint8_t type_b = 0;

void sleep(std::uint16_t port, std::uint8_t type) {
    if (port != 0) {
        out16(port, static_cast<std::uint16_t>((type << sleep_type_shift) | sleep_enable));
    }
}

} // namespace

void set_control_ports(std::uint16_t pm1a, std::uint16_t pm1b) {
    control_a = pm1a;
    control_b = pm1b;
}

void set_off_types(std::uint8_t pm1a, std::uint8_t pm1b) {
    type_a = pm1a;
    type_b = pm1b;
}

void off() {
    log(LogLevel::info, "the root switches the machine off");
    sleep(control_a, type_a);
    sleep(control_b, type_b);
    clock::wait_microseconds(patience_us); // the machine takes its time
    panic("the machine does not switch off by its PM1 control register ({x})", control_a);
}

} // namespace hypervisor::power
