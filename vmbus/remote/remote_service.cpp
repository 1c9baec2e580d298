// SPDX-License-Identifier: Apache-2.0
#include "vmbus/remote/remote_service.hpp"

#include "vmbus/remote/event.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

namespace croft::vmbus::remote {

namespace {

constexpr std::string_view process_ended = "the process of its service has ended";

} // namespace

RemoteService::RemoteService(Reactor& reactor, Descriptor socket, MemoryFile memory, Events events,
    std::chrono::milliseconds most_patience)
    : reactor_(reactor),
      memory_(std::move(memory)),
      events_(std::move(events)),
      connection_(reactor, std::move(socket),
          {[this](Message message) { return received(std::move(message)); },
              [this](const std::string& reason) {
                  ended(reason);
              }}),
      patience_(most_patience),
      timer_(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)) {
    if (timer_) {
        reactor_.watch(timer_.get(), POLLIN, [this] {
            if (take_event(timer_.get())) {
                send_away(fmt::format("it gave no answer for {} ms", patience_.count()));
            }
        });
    }
}

RemoteService::~RemoteService() {
    reactor_.unwatch(timer_.get());
    for (const auto& [sub_channel, signals] : signals_) {
        reactor_.unwatch(signals.event.get());
    }
}

void RemoteService::attached(ChannelControl& control) {
    control_ = &control;
}

void RemoteService::detached() {
    control_ = nullptr;
    gone_ = true;
    connection_.close();
    set_timer({});
    answer_for_it();
}

// Time

bool RemoteService::owes() const {
    return !opening_.empty() || !closing_.empty() || !creating_.empty() || !tearing_down_.empty() ||
        stopping_ || !questions_.empty();
}

void RemoteService::set_timer(std::chrono::milliseconds time) {
    is_timed_ = time.count() != 0;
    itimerspec setting{};
    setting.it_value.tv_sec = time.count() / 1000;
    setting.it_value.tv_nsec = (time.count() % 1000) * 1'000'000;
    timerfd_settime(timer_.get(), 0, &setting, nullptr);
}

/// The time of the first that is owed counts, so that more questions don't put it off.
void RemoteService::expect_answer() {
    if (!is_timed_) {
        set_timer(patience_);
    }
}

void RemoteService::got_answer() {
    set_timer(owes() ? patience_ : std::chrono::milliseconds::zero());
}

Descriptor RemoteService::connect_signals(
    std::uint16_t sub_channel, std::shared_ptr<Interrupt> interrupt) {
    Descriptor event(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!event) {
        return event;
    }
    Descriptor theirs = duplicate(event.get());
    reactor_.watch(event.get(), POLLIN, [number = event.get(), target = interrupt] {
        if (take_event(number)) {
            target->signal();
        }
    });
    signals_.insert_or_assign(sub_channel, Signals{std::move(event), std::move(interrupt)});
    return theirs;
}

void RemoteService::disconnect_signals(std::uint16_t sub_channel) {
    const auto found = signals_.find(sub_channel);
    if (found != signals_.end()) {
        reactor_.unwatch(found->second.event.get());
        signals_.erase(found);
    }
}

void RemoteService::refuse_open(std::uint16_t sub_channel, std::string_view reason) {
    open_.erase(sub_channel);
    disconnect_signals(sub_channel);
    control_->open_refused(sub_channel, reason);
}

void RemoteService::open(std::uint16_t sub_channel, OpenChannel channel) {
    if (gone_) {
        refuse_open(sub_channel, process_ended);
        return;
    }
    Descriptor interrupt;
    if (keep(sub_channel, channel)) {
        interrupt = connect_signals(sub_channel, std::move(channel.interrupt));
    }
    if (!interrupt || !channel.event) {
        refuse_open(sub_channel, "the worker has no descriptors left");
        return;
    }
    channel.interrupt.reset();
    opening_.insert(sub_channel);
    expect_answer();
    connection_.send(Open{sub_channel, std::move(channel), std::move(interrupt)});
}

/// Answers false without a descriptor for it.
bool RemoteService::keep(std::uint16_t sub_channel, const OpenChannel& channel) {
    if (events_.successor == nullptr) {
        return true;
    }
    OpenChannel kept;
    kept.version = channel.version;
    kept.incoming_pages = channel.incoming_pages;
    kept.outgoing_pages = channel.outgoing_pages;
    kept.event = duplicate(channel.event.get());
    kept.interrupt = channel.interrupt;
    return open_.insert_or_assign(sub_channel, std::move(kept)).first->second.event.get() >= 0;
}

/// Of those that the process had open and isn't being asked to close.
void RemoteService::hand_over() {
    if (events_.successor == nullptr || control_ == nullptr) {
        return;
    }
    for (auto& [sub_channel, channel] : std::exchange(open_, {})) {
        if (!opening_.contains(sub_channel) && !closing_.contains(sub_channel)) {
            events_.successor->take_over(sub_channel, std::move(channel), *control_);
        }
    }
    if (running_ && !stopping_) {
        events_.successor->start();
    }
}

void RemoteService::close(std::uint16_t sub_channel) {
    open_.erase(sub_channel);
    if (gone_) {
        if (events_.successor != nullptr) {
            events_.successor->close(sub_channel);
        }
        control_->closed(sub_channel);
        return;
    }
    closing_.insert(sub_channel);
    expect_answer();
    connection_.send(Close{sub_channel});
}

void RemoteService::create_gpadl(std::uint16_t sub_channel, Gpadl gpadl) {
    if (gone_) {
        control_->gpadl_created(sub_channel, gpadl.id, false);
        return;
    }
    creating_.emplace(sub_channel, gpadl.id);
    expect_answer();
    connection_.send(CreateGpadl{sub_channel, std::move(gpadl)});
}

void RemoteService::teardown_gpadl(std::uint16_t sub_channel, std::uint32_t id) {
    if (gone_) {
        control_->gpadl_torn_down(sub_channel, id);
        return;
    }
    tearing_down_.emplace(sub_channel, id);
    expect_answer();
    connection_.send(TeardownGpadl{sub_channel, id});
}

void RemoteService::stop() {
    running_ = false;
    if (gone_) {
        if (events_.successor != nullptr) {
            events_.successor->stop();
        }
        control_->stopped();
        return;
    }
    stopping_ = true;
    expect_answer();
    connection_.send(Stop{});
}

void RemoteService::start() {
    running_ = true;
    if (gone_ && events_.successor != nullptr) {
        events_.successor->start();
    }
    connection_.send(Start{});
}

void RemoteService::ask(std::span<const std::uint8_t> question, Answered answered) {
    if (gone_) {
        answered(std::nullopt);
        return;
    }
    questions_.push_back({{question.begin(), question.end()}, std::move(answered)});
    expect_answer();
    if (questions_.size() == 1) {
        send_question();
    }
}

void RemoteService::send_question() {
    send_in_parts<Ask>(
        questions_.front().content, [this](Ask part) { connection_.send(std::move(part)); });
}

void RemoteService::send_away(std::string_view reason) {
    if (!gone_) {
        connection_.close();
        ended(std::string(reason));
    }
}

std::string RemoteService::received(Message message) {
    if (const auto* const refusal = std::get_if<Fail>(&message); refusal && !greeted_) {
        return refusal->reason.empty() ? "found a refusal without a reason" : refusal->reason;
    }
    if (std::holds_alternative<Hello>(message) == greeted_) {
        return greeted_ ? "found a second greeting" : "found a message before the greeting";
    }
    if (greeted_ && control_ == nullptr) {
        return "found a message for a device that isn't attached";
    }
    return std::visit([this](auto& content) { return take(content); }, message);
}

template <typename Other>
std::string RemoteService::take(Other& /*message*/) {
    return "found a message that only the bus sends";
}

std::string RemoteService::take(Hello& message) {
    if (message.version != protocol_version) {
        return fmt::format("found version {} of the protocol, expected {}; use a service of the "
                           "same release",
            message.version, protocol_version);
    }
    greeted_ = true;
    connection_.send(Welcome{protocol_version, memory_.ranges, duplicate(memory_.file)});
    return events_.offered(message.offer);
}

std::string RemoteService::take(Opened& message) {
    if (opening_.erase(message.sub_channel) == 0) {
        return "found an answer to an open that nobody has asked for";
    }
    got_answer();
    control_->opened(message.sub_channel);
    return {};
}

std::string RemoteService::take(OpenRefused& message) {
    if (opening_.erase(message.sub_channel) == 0) {
        return "found a refusal of an open that nobody has asked for";
    }
    got_answer();
    refuse_open(message.sub_channel, message.reason);
    return {};
}

std::string RemoteService::take(Closed& message) {
    if (closing_.erase(message.sub_channel) == 0) {
        return "found an answer to a close that nobody has asked for";
    }
    got_answer();
    disconnect_signals(message.sub_channel);
    control_->closed(message.sub_channel);
    return {};
}

std::string RemoteService::take(GpadlCreated& message) {
    if (creating_.erase({message.sub_channel, message.id}) == 0) {
        return "found an answer for a GPADL that nobody has made";
    }
    got_answer();
    control_->gpadl_created(message.sub_channel, message.id, message.accepted);
    return {};
}

std::string RemoteService::take(GpadlTornDown& message) {
    if (tearing_down_.erase({message.sub_channel, message.id}) == 0) {
        return "found the end of a GPADL that nobody has taken back";
    }
    got_answer();
    control_->gpadl_torn_down(message.sub_channel, message.id);
    return {};
}

std::string RemoteService::take(Stopped& /*message*/) {
    if (!std::exchange(stopping_, false)) {
        return "found an answer to a stop that nobody has asked for";
    }
    got_answer();
    // What was signalled before must have arrived: nobody is signalled from now on.
    for (const auto& [sub_channel, signals] : signals_) {
        if (take_event(signals.event.get())) {
            signals.interrupt->signal();
        }
    }
    control_->stopped();
    return {};
}

std::string RemoteService::take(OfferSubChannels& message) {
    control_->offer_sub_channels(message.count);
    return {};
}

std::string RemoteService::take(RequestRefused& message) {
    control_->request_refused(message.sub_channel, message.reason);
    return {};
}

std::string RemoteService::take(Fail& message) {
    open_.erase(message.sub_channel); // nobody touches its rings any more
    control_->fail(message.sub_channel, message.reason);
    return {};
}

std::string RemoteService::take(Answer& message) {
    if (questions_.empty()) {
        return "found an answer to a question that nobody has asked";
    }
    auto whole = answer_.take(message);
    if (!whole) {
        return whole.error();
    }
    if (*whole) {
        const Answered answered = std::move(questions_.front().answered);
        questions_.pop_front();
        got_answer();
        if (!questions_.empty()) {
            send_question();
        }
        answered(std::move(*whole));
    }
    return {};
}

void RemoteService::answer_for_it() {
    while (!signals_.empty()) {
        disconnect_signals(signals_.begin()->first);
    }
    // An answer may lead to a new call, which is answered at once.
    for (const std::uint16_t sub_channel : std::exchange(opening_, {})) {
        control_->open_refused(sub_channel, process_ended);
    }
    for (const std::uint16_t sub_channel : std::exchange(closing_, {})) {
        control_->closed(sub_channel);
    }
    for (const auto& [sub_channel, id] : std::exchange(creating_, {})) {
        control_->gpadl_created(sub_channel, id, false);
    }
    for (const auto& [sub_channel, id] : std::exchange(tearing_down_, {})) {
        control_->gpadl_torn_down(sub_channel, id);
    }
    // With the last of these the bus may have let go of it; then nobody waits for the stop.
    if (std::exchange(stopping_, false) && control_ != nullptr) {
        control_->stopped();
    }
    for (const Question& question : std::exchange(questions_, {})) {
        question.answered(std::nullopt);
    }
}

void RemoteService::ended(const std::string& reason) {
    gone_ = true;
    set_timer({});
    if (events_.end_process) {
        events_.end_process();
    }
    hand_over();
    answer_for_it();
    events_.ended(reason);
}

} // namespace croft::vmbus::remote
