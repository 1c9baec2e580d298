// SPDX-License-Identifier: Apache-2.0
#include "vsp/integration/time_sync.hpp"

#include <array>
#include <utility>

namespace croft::vsp::integration {

namespace {

constexpr message::Version with_reference_time{4, 0};
constexpr std::array time_sync_versions = {
    with_reference_time, message::Version{3, 0}, message::Version{1, 0}};

constexpr std::int64_t nanoseconds_per_unit = 100;

std::uint64_t parent_time(std::int64_t wall) {
    return static_cast<std::uint64_t>(wall / nanoseconds_per_unit) + message::epoch_difference;
}

} // namespace

TimeSync::TimeSync(vmbus::Reactor& reactor, vdev::Clock& clock, vdev::TimerService& timers,
    ReferenceTime reference_time)
    : IntegrationService(reactor, {message::Type::time_sync, time_sync_versions}),
      clock_(clock),
      reference_time_(std::move(reference_time)),
      timer_(timers.create_timer([this] { tell(message::time_sync_sample); })) {}

void TimeSync::begin() {
    tell(message::time_sync_set);
}

void TimeSync::end() {
    timer_->disarm();
}

void TimeSync::tell(std::uint8_t flags) {
    if (!is_ready()) {
        return;
    }
    bool told = false;
    if (version() >= with_reference_time) {
        // Asking for the reference time takes a while: it belongs to the middle of it.
        const std::int64_t before = clock_.wall();
        const std::uint64_t reference = reference_time_();
        const std::int64_t after = clock_.wall();
        message::TimeSync4 sample{};
        sample.parent_time = parent_time(before + (after - before) / 2);
        sample.reference_time = reference;
        sample.flags = flags;
        told = send(sample).has_value();
    } else {
        message::TimeSync1 sample{};
        sample.parent_time = parent_time(clock_.wall());
        sample.flags = flags;
        told = send(sample).has_value();
    }
    // A guest that takes nothing now isn't told a time that would be old when it does.
    (void)told;
    timer_->arm(clock_.now() + interval);
}

} // namespace croft::vsp::integration
