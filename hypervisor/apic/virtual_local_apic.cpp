// SPDX-License-Identifier: Apache-2.0
//
// The interrupts that a virtual local APIC accepts, holds and delivers.
#include "hypervisor/apic/virtual_local_apic.hpp"

#include <algorithm>

namespace hypervisor {

namespace {

constexpr std::uint8_t priority_class_mask = 0xF0;

} // namespace

VirtualLocalApic::VirtualLocalApic(std::uint32_t apic_id, bool is_bootstrap, Features features)
    : is_bootstrap_(is_bootstrap),
      features_(features) {
    id_.set(apic_id);
    reset();
}

void VirtualLocalApic::reset() {
    base_.set(std::uint32_t(apic_base::address | (features_.present ? apic_base::enabled : 0)));
    init();
}

void VirtualLocalApic::init() {
    // First what keeps other processors from putting something in again.
    svr_.set(apic_spurious::vector);
    for (OwnedWord& entry : lvt_) {
        entry.set(apic_lvt::masked);
    }
    tpr_.set(0);
    ldr_.set(0);
    dfr_.set(0xFFFFFFFF);
    esr_ = 0;
    pending_errors_.store(0, std::memory_order_relaxed);
    icr_ = 0;
    timer_.reset();
    irr_.clear();
    tmr_.clear();
    isr_.clear();
}

VirtualLocalApic::Mode VirtualLocalApic::mode() const {
    const std::uint32_t value = base_.get();
    if ((value & apic_base::enabled) == 0) {
        return Mode::disabled;
    }
    return (value & apic_base::extended) == 0 ? Mode::xapic : Mode::x2apic;
}

bool VirtualLocalApic::software_enabled() const {
    return (svr_.get() & apic_spurious::software_enable) != 0;
}

bool VirtualLocalApic::accept(std::uint8_t vector, bool level_triggered) {
    if (mode() == Mode::disabled || !software_enabled()) {
        return false;
    }
    if (vector < first_legal_vector) {
        return report_error(apic_error::received_illegal_vector);
    }
    // The trigger mode has to be there for whoever sees the request.
    if (tmr_.contains(vector) != level_triggered) {
        if (level_triggered) {
            tmr_.insert(vector);
        } else {
            tmr_.erase(vector);
        }
    }
    return irr_.insert(vector);
}

bool VirtualLocalApic::matches_physical(std::uint32_t destination) const {
    switch (mode()) {
    case Mode::disabled:
        return false;
    case Mode::xapic:
        return destination == broadcast_destination || destination == 0xFF ||
            destination == (id() & 0xFF);
    case Mode::x2apic:
        return destination == broadcast_destination || destination == id();
    }
    return false;
}

bool VirtualLocalApic::matches_logical(std::uint32_t destination) const {
    const Mode now = mode();
    if (now == Mode::disabled) {
        return false;
    }
    const std::uint32_t own = logical_destination();
    if (destination == broadcast_destination) {
        return true;
    }
    if (now == Mode::x2apic) {
        return own >> 16 == destination >> 16 && (own & destination & 0xFFFF) != 0;
    }
    if (destination == 0xFF) {
        return true;
    }
    const std::uint32_t own_byte = own >> 24;
    switch (dfr_.get() >> 28) {
    case 0xF: // flat
        return (own_byte & destination) != 0;
    case 0x0: // cluster
        return own_byte >> 4 == destination >> 4 && (own_byte & destination & 0xF) != 0;
    default:
        return false;
    }
}

std::uint8_t VirtualLocalApic::arbitration_priority() const {
    // APM vol. 2, 16.6.2: the highest of task, request and service, the last two by class.
    const std::uint8_t task = tpr();
    const std::uint8_t others =
        std::max(irr_.highest().value_or(0), isr_.highest().value_or(0)) & priority_class_mask;
    return std::max(task, others);
}

VirtualLocalApic* VirtualLocalApic::lowest_priority(
    std::span<VirtualLocalApic* const> candidates, std::size_t first) {
    VirtualLocalApic* best = nullptr;
    std::uint8_t best_priority = 0;
    for (std::size_t step = 0; step < candidates.size(); ++step) {
        VirtualLocalApic* candidate =
            candidates[(first % candidates.size() + step) % candidates.size()];
        const std::uint8_t priority = candidate->arbitration_priority();
        if (best == nullptr || priority < best_priority) {
            best = candidate;
            best_priority = priority;
        }
    }
    return best;
}

bool VirtualLocalApic::set_tpr(std::uint8_t value) {
    const bool lowered = value < tpr();
    tpr_.set(value);
    return lowered;
}

bool VirtualLocalApic::set_cr8(std::uint8_t priority_class) {
    const std::uint8_t value = std::uint8_t((priority_class & 0xF) << 4);
    return value != (tpr() & priority_class_mask) && set_tpr(value);
}

std::uint8_t VirtualLocalApic::ppr() const {
    const std::uint8_t task = tpr();
    const std::uint8_t service = isr_.highest().value_or(0) & priority_class_mask;
    return (task & priority_class_mask) >= service ? task : service;
}

std::optional<std::uint8_t> VirtualLocalApic::pending() const {
    return mode() == Mode::disabled ? std::nullopt : irr_.highest();
}

std::optional<std::uint8_t> VirtualLocalApic::deliverable() const {
    if (irr_.empty()) { // as usual
        return std::nullopt;
    }
    const auto vector = pending();
    if (!vector || (*vector & priority_class_mask) <= (ppr() & priority_class_mask)) {
        return std::nullopt;
    }
    return vector;
}

bool VirtualLocalApic::acknowledge(std::uint8_t vector, bool ends_by_itself) {
    if (!irr_.erase(vector)) {
        return false;
    }
    if (!ends_by_itself) {
        isr_.insert(vector);
    }
    return true;
}

std::optional<EndOfInterrupt> VirtualLocalApic::eoi() {
    const auto vector = isr_.highest();
    if (!vector) {
        return std::nullopt;
    }
    isr_.erase(*vector);
    return EndOfInterrupt{.vector = *vector, .level_triggered = tmr_.contains(*vector)};
}

std::optional<DeliveryMode> VirtualLocalApic::raise_local(LocalInterruptSource source) {
    if (mode() == Mode::disabled) {
        // The pins are then the processor's INTR and NMI (SDM vol. 3, 11.4.3).
        switch (source) {
        case LocalInterruptSource::pin0:
            return DeliveryMode::external;
        case LocalInterruptSource::pin1:
            return DeliveryMode::non_maskable;
        default:
            return std::nullopt;
        }
    }
    const LvtIndex index = LvtIndex(thermal + unsigned(source));
    const std::uint32_t entry = lvt_[index].get();
    if ((entry & apic_lvt::masked) != 0) {
        return std::nullopt;
    }
    const DeliveryMode mode = DeliveryMode((entry & apic_lvt::delivery_mode) >> 8);
    switch (mode) {
    case DeliveryMode::fixed:
        if (!accept(std::uint8_t(entry), (entry & apic_lvt::level_triggered) != 0)) {
            return std::nullopt;
        }
        return mode;
    case DeliveryMode::system_management:
    case DeliveryMode::non_maskable:
    case DeliveryMode::init:
    case DeliveryMode::external:
        return mode;
    default: // reserved in the table
        return std::nullopt;
    }
}

std::optional<std::uint8_t> VirtualLocalApic::lvt_timer_vector() const {
    if (lvt_masked(timer)) {
        return std::nullopt;
    }
    return std::uint8_t(lvt_[timer].get() & apic_lvt::vector);
}

std::optional<ApicTimerDeadline> VirtualLocalApic::timer_deadline() const {
    return lvt_masked(timer) ? std::nullopt : timer_.deadline();
}

bool VirtualLocalApic::timer_expire(ApicTime now) {
    const bool expired = timer_.expire(now);
    const auto vector = lvt_timer_vector();
    return expired && vector && accept(*vector, false);
}

bool VirtualLocalApic::lvt_masked(LvtIndex index) const {
    return (lvt_[index].get() & apic_lvt::masked) != 0;
}

ApicTimerMode VirtualLocalApic::timer_mode() const {
    const std::uint32_t entry = lvt_[timer].get();
    if ((entry & apic_lvt::timer_tsc_deadline) != 0) {
        return ApicTimerMode::tsc_deadline;
    }
    return (entry & apic_lvt::timer_periodic) != 0 ? ApicTimerMode::periodic
                                                   : ApicTimerMode::one_shot;
}

/// From any processor. Whether the error interrupt is newly pending: only the first error since the
/// last write to the error status register raises it.
bool VirtualLocalApic::report_error(std::uint32_t errors) {
    const std::uint32_t before = pending_errors_.fetch_or(errors, std::memory_order_relaxed);
    if (before != 0 || lvt_masked(error)) {
        return false;
    }
    const std::uint8_t vector = std::uint8_t(lvt_[error].get() & apic_lvt::vector);
    if (vector < first_legal_vector) {
        pending_errors_.fetch_or(apic_error::received_illegal_vector, std::memory_order_relaxed);
        return false;
    }
    tmr_.erase(vector);
    return irr_.insert(vector);
}

} // namespace hypervisor
