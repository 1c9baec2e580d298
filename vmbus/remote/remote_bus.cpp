// SPDX-License-Identifier: Apache-2.0
#include "vmbus/remote/remote_bus.hpp"

#include "vmbus/remote/event.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <sys/socket.h>

namespace croft::vmbus::remote {

namespace {

/// As many as a hostile worker can make us remember.
constexpr std::size_t most_channels = 512;
constexpr std::size_t most_gpadls = 4096;

} // namespace

RemoteBus::RemoteBus(Reactor& reactor, Descriptor socket, const Offer& offer,
    ChannelService& service, std::function<void(const std::string& reason)> ended,
    Management manage)
    : service_(service),
      ended_(std::move(ended)),
      manage_(std::move(manage)),
      connection_(reactor, std::move(socket),
          {[this](Message message) { return received(std::move(message)); },
              [this](const std::string& reason) {
                  socket_ended(reason);
              }}) {
    connection_.send(Hello{protocol_version, offer});
}

std::string RemoteBus::received(Message message) {
    if (std::holds_alternative<Welcome>(message) == (memory_ != nullptr)) {
        return memory_ ? "found a second welcome" : "found a message before the welcome";
    }
    return std::visit([this](auto& content) { return take(content); }, message);
}

template <typename Other>
std::string RemoteBus::take(Other& /*message*/) {
    return "found a message that only services send";
}

std::string RemoteBus::take(Welcome& message) {
    if (message.version != protocol_version) {
        return fmt::format("found version {} of the protocol, expected {}; use a worker of the "
                           "same release",
            message.version, protocol_version);
    }
    auto memory = MappedMemory::map(message.memory.get(), message.ranges);
    if (!memory) {
        return memory.error();
    }
    memory_ = std::move(*memory);
    service_.attached(*this);
    return {};
}

bool RemoteBus::are_memory(const std::vector<std::uint64_t>& pages) const {
    return std::ranges::all_of(
        pages, [&](std::uint64_t page) { return memory_->page(page) != nullptr; });
}

std::string RemoteBus::take(Open& message) {
    if (channels_.size() >= most_channels ||
        !channels_.emplace(message.sub_channel, State::beginning).second) {
        return "found an open of a channel that is open";
    }
    if (!are_memory(message.channel.incoming_pages) ||
        !are_memory(message.channel.outgoing_pages)) {
        channels_.erase(message.sub_channel);
        return "found rings that aren't memory";
    }
    message.channel.interrupt = std::make_shared<EventInterrupt>(std::move(message.interrupt));
    service_.open(message.sub_channel, std::move(message.channel));
    return {};
}

std::string RemoteBus::take(Close& message) {
    const auto channel = channels_.find(message.sub_channel);
    if (channel == channels_.end() || channel->second != State::there) {
        return "found a close of a channel that isn't open";
    }
    channel->second = State::ending;
    service_.close(message.sub_channel);
    return {};
}

std::string RemoteBus::take(CreateGpadl& message) {
    const GpadlKey key{message.sub_channel, message.gpadl.id};
    if (gpadls_.size() >= most_gpadls || gpadls_.contains(key)) {
        return "found a GPADL that is there";
    }
    if (!std::ranges::all_of(message.gpadl.ranges,
            [&](const GpadlRange& range) { return are_memory(range.pages); })) {
        return "found a GPADL that isn't memory";
    }
    gpadls_.emplace(key, State::beginning);
    service_.create_gpadl(message.sub_channel, std::move(message.gpadl));
    return {};
}

std::string RemoteBus::take(TeardownGpadl& message) {
    const auto gpadl = gpadls_.find({message.sub_channel, message.id});
    if (gpadl == gpadls_.end() || gpadl->second != State::there) {
        return "found the end of a GPADL that isn't there";
    }
    gpadl->second = State::ending;
    service_.teardown_gpadl(message.sub_channel, message.id);
    return {};
}

std::string RemoteBus::take(Stop& /*message*/) {
    if (!running_ || stopping_) {
        return "found a stop of a service that doesn't run";
    }
    stopping_ = true;
    service_.stop();
    return {};
}

std::string RemoteBus::take(Start& /*message*/) {
    if (running_) {
        return "found a start of a service that runs";
    }
    running_ = true;
    service_.start();
    return {};
}

std::string RemoteBus::take(Ask& message) {
    if (!manage_) {
        return "found a question for a service that answers none";
    }
    if (is_answering_) {
        return "found a question before the last one was answered";
    }
    const auto question = question_.take(message);
    if (!question) {
        return question.error();
    }
    if (*question) {
        is_answering_ = true;
        manage_(**question, [this](const Bytes& answer) {
            is_answering_ = false;
            send_in_parts<Answer>(
                answer, [this](Answer part) { connection_.send(std::move(part)); });
        });
    }
    return {};
}

bool RemoteBus::is_idle() const {
    const auto is_there = [](const auto& entry) {
        return entry.second == State::there;
    };
    return !running_ && std::ranges::all_of(channels_, is_there) &&
        std::ranges::all_of(gpadls_, is_there);
}

void RemoteBus::opened(std::uint16_t sub_channel) {
    channels_.at(sub_channel) = State::there;
    connection_.send(Opened{sub_channel});
    wind_up();
}

void RemoteBus::open_refused(std::uint16_t sub_channel, std::string_view reason) {
    channels_.erase(sub_channel);
    connection_.send(OpenRefused{sub_channel, std::string(reason)});
    wind_up();
}

void RemoteBus::closed(std::uint16_t sub_channel) {
    channels_.erase(sub_channel);
    connection_.send(Closed{sub_channel});
    wind_up();
}

void RemoteBus::gpadl_created(std::uint16_t sub_channel, std::uint32_t id, bool accepted) {
    if (accepted) {
        gpadls_.at({sub_channel, id}) = State::there;
    } else {
        gpadls_.erase({sub_channel, id});
    }
    connection_.send(GpadlCreated{sub_channel, id, accepted});
    wind_up();
}

void RemoteBus::gpadl_torn_down(std::uint16_t sub_channel, std::uint32_t id) {
    gpadls_.erase({sub_channel, id});
    connection_.send(GpadlTornDown{sub_channel, id});
    wind_up();
}

void RemoteBus::stopped() {
    stopping_ = false;
    running_ = false;
    connection_.send(Stopped{});
    wind_up();
}

void RemoteBus::offer_sub_channels(std::uint16_t count) {
    connection_.send(OfferSubChannels{count});
}

void RemoteBus::request_refused(std::uint16_t sub_channel, std::string_view reason) {
    connection_.send(RequestRefused{sub_channel, std::string(reason)});
}

void RemoteBus::fail(std::uint16_t sub_channel, std::string_view reason) {
    connection_.send(Fail{sub_channel, std::string(reason)});
}

void RemoteBus::socket_ended(const std::string& reason) {
    gone_ = true;
    reason_ = reason;
    wind_up();
}

void RemoteBus::wind_up() {
    if (!gone_ || std::exchange(winding_up_, true)) {
        return;
    }
    // Services answer from within: begin again after each, until nothing changes.
    for (bool again = true; std::exchange(again, false);) {
        for (auto& [sub_channel, state] : channels_) {
            if (state == State::there) {
                state = State::ending;
                again = true;
                service_.close(sub_channel);
                break;
            }
        }
        for (auto& [key, state] : gpadls_) {
            if (channels_.empty() && state == State::there) {
                state = State::ending;
                again = true;
                service_.teardown_gpadl(key.first, key.second);
                break;
            }
        }
    }
    winding_up_ = false;
    if (channels_.empty() && gpadls_.empty() && !stopping_ && ended_) {
        if (memory_ != nullptr) {
            service_.detached();
        }
        std::exchange(ended_, nullptr)(reason_);
    }
}

void refuse_service(int socket, std::string_view reason) {
    const Bytes bytes = encode(Fail{0, std::string(reason)});
    // Who isn't there any more needs no reason.
    (void)!::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
}

} // namespace croft::vmbus::remote
