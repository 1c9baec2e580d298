// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/apic/device_interrupts.hpp"

namespace hypervisor {

std::optional<std::uint8_t> DeviceInterrupts::map(const Target& target) {
    constexpr unsigned first = physical_apic::first_device_vector;
    constexpr unsigned last = physical_apic::last_device_vector;
    const SpinGuard guard{lock_};
    const auto take = [&](unsigned vector) {
        entries_[vector] = Entry{.target = target, .mapped = true};
        return static_cast<std::uint8_t>(vector);
    };
    // What was unmapped while in service still owes the physical end of interrupt.
    const auto is_free = [&](unsigned vector) {
        return !entries_[vector].mapped && !entries_[vector].in_service;
    };
    if (target.vector >= first && target.vector <= last && is_free(target.vector)) {
        return take(target.vector);
    }
    for (unsigned vector = last; vector >= first; --vector) {
        if (is_free(vector)) {
            return take(vector);
        }
    }
    return std::nullopt;
}

bool DeviceInterrupts::unmap(std::uint8_t physical) {
    const SpinGuard guard{lock_};
    const bool was_mapped = entries_[physical].mapped;
    entries_[physical].mapped = false;
    return was_mapped;
}

std::optional<DeviceInterrupts::Target> DeviceInterrupts::find(std::uint8_t physical) {
    const SpinGuard guard{lock_};
    const Entry& entry = entries_[physical];
    return entry.mapped ? std::optional{entry.target} : std::nullopt;
}

void DeviceInterrupts::begin_level(std::uint8_t physical) {
    const SpinGuard guard{lock_};
    entries_[physical].in_service = true;
    entries_[physical].ended = false;
}

unsigned DeviceInterrupts::end_level(std::uint8_t vector) {
    const SpinGuard guard{lock_};
    for (Entry& entry : entries_) {
        if (entry.in_service && entry.target.vector == vector) {
            entry.ended = true;
        }
    }
    unsigned count = 0;
    for (unsigned i = vectors; i > 0; --i) {
        Entry& entry = entries_[i - 1];
        if (!entry.in_service) {
            continue;
        }
        if (!entry.ended) {
            break;
        }
        entry.in_service = entry.ended = false;
        ++count;
    }
    return count;
}

} // namespace hypervisor
