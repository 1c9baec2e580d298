// SPDX-License-Identifier: Apache-2.0
#include "vdev/power/power_state.hpp"

namespace croft::vdev {

namespace {
constexpr const char* power_record = "acpi-power";
constexpr std::uint32_t power_version = 1;
} // namespace

Record PowerState::save() const {
    Record record(power_record, power_version);
    record.set("status", status)
        .set("enable", enable)
        .set("control", control)
        .set("timer_half_periods", timer_half_periods);
    return record;
}

PowerState PowerState::load(const Record& record) {
    record.expect(power_record, power_version);
    PowerState state;
    state.status = record.get<std::uint16_t>("status");
    state.enable = record.get<std::uint16_t>("enable");
    state.control = record.get<std::uint16_t>("control");
    state.timer_half_periods = record.get<std::uint64_t>("timer_half_periods");
    return state;
}

} // namespace croft::vdev
