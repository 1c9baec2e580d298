// SPDX-License-Identifier: Apache-2.0
#include "vsp/integration/heartbeat.hpp"

#include <array>
#include <fmt/format.h>

namespace croft::vsp::integration {

namespace {

constexpr std::array heartbeat_versions = {message::Version{3, 0}, message::Version{1, 0}};

} // namespace

Heartbeat::Heartbeat(vmbus::Reactor& reactor, vdev::Clock& clock, vdev::TimerService& timers)
    : IntegrationService(reactor, {message::Type::heartbeat, heartbeat_versions}),
      clock_(clock),
      timer_(timers.create_timer([this] { beat(); })) {}

Heartbeat::State Heartbeat::state() const {
    if (!heard_) {
        return State::no_contact;
    }
    return unanswered_ < patience ? State::ok : State::lost_communication;
}

void Heartbeat::begin() {
    unanswered_ = 0;
    beat();
}

void Heartbeat::end() {
    timer_->disarm();
    heard_ = false;
}

/// A guest that takes nothing any more fills its ring, which is no answer either.
void Heartbeat::beat() {
    if (!is_ready()) {
        return;
    }
    message::Heartbeat question{};
    question.sequence = ++sequence_;
    (void)send(question);
    ++unanswered_;
    timer_->arm(clock_.now() + interval);
}

/// Drivers count the sequence on in what they send back. That isn't checked: an answer is what
/// counts.
void Heartbeat::answered(const Answer& answer) {
    if (answer.data.size() < sizeof(message::Heartbeat::sequence)) {
        fail(fmt::format("found a heartbeat of {} bytes, expected {} at least", answer.data.size(),
            sizeof(message::Heartbeat::sequence)));
        return;
    }
    heard_ = true;
    unanswered_ = 0;
}

} // namespace croft::vsp::integration
