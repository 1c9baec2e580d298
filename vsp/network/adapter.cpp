// SPDX-License-Identifier: Apache-2.0
#include "vsp/network/adapter.hpp"

#include "vsp/threads/posted.hpp"

#include <atomic>
#include <fmt/format.h>
#include <string>
#include <utility>

namespace croft::vsp::network {

Adapter::Adapter(Threads threads, BackEnd& back_end, const MacAddress& address, std::uint32_t mtu)
    : threads_(std::move(threads)),
      back_end_(back_end),
      most_sub_channels_(static_cast<std::uint16_t>(back_end.queue_count() - 1)),
      negotiation_({most_sub_channels_, mtu},
          [this](std::uint32_t gpadl, std::uint32_t size) {
              const auto found = gpadls_.find(gpadl);
              return found != gpadls_.end()
                  ? SharedBuffer::map(found->second, control_->memory(), size)
                  : nullptr;
          }),
      rndis_(address),
      counters_(back_end.queue_count()) {
    make_settings();
}

Adapter::~Adapter() = default;

vmbus::Offer Adapter::offer(const vmbus::Guid& instance) {
    vmbus::Offer offer;
    offer.interface_type = protocol::network_interface;
    offer.instance = instance;
    return offer;
}

std::shared_ptr<Countdown> Adapter::count_down(std::function<void()> done) {
    return std::make_shared<Countdown>(threads_, std::move(done));
}

// Settings

void Adapter::make_settings() {
    const RndisState& rndis = rndis_.state();
    auto made = std::make_shared<DataSettings>();
    made->receive_buffer = negotiation_.receive_buffer();
    made->send_buffer = negotiation_.send_buffer();
    made->sections_per_channel = negotiation_.sections_per_channel();
    made->filter = {rndis.filter, rndis_.address(), rndis.multicast};
    made->coalescing = rndis.coalescing;
    made->plugged = rndis.initialized && is_connected();
    if (settings_ == nullptr || settings_->coalescing != made->coalescing) {
        back_end_.set_coalescing(made->coalescing);
    }
    if (scaling_ != rndis.scaling) {
        scaling_ = rndis.scaling;
        back_end_.set_scaling(scaling_);
    }
    settings_ = std::move(made);
}

/// Tells all channels. Those that are being closed need none any more.
void Adapter::push_settings(const std::shared_ptr<Countdown>& all) {
    make_settings();
    for (const auto& [index, channel] : channels_) {
        post_to(channel->ring(),
            [&channel = *channel, settings = settings_, all] { channel.apply(settings); });
    }
}

void Adapter::set_plugged(bool plugged) {
    const bool was_connected = is_connected();
    plugged_ = plugged;
    back_end_.set_plugged(plugged);
    link_changed(was_connected);
}

void Adapter::set_working(bool working) {
    const bool was_connected = is_connected();
    working_ = working;
    link_changed(was_connected);
}

void Adapter::take_leave() {
    const bool was_connected = is_connected();
    leaving_ = true;
    link_changed(was_connected);
}

void Adapter::ask_idle(std::function<void(bool)> answer) {
    const auto idle = std::make_shared<std::atomic<bool>>(true);
    const auto all = count_down([idle, answer = std::move(answer)] { answer(*idle); });
    for (const auto& [index, channel] : channels_) {
        post_to(channel->ring(), [&channel = *channel, idle, all] {
            if (!channel.is_idle()) {
                *idle = false;
            }
        });
    }
    for (auto& [index, closing] : closing_) {
        closing.waiting.push_back(all);
    }
}

void Adapter::link_changed(bool was_connected) {
    if (is_connected() == was_connected) {
        return;
    }
    if (running_) {
        tell_link();
    } else {
        // A stopped channel is nobody's to change, as it may be saved at any moment.
        link_is_news_ = !link_is_news_;
    }
}

void Adapter::tell_link() {
    push_settings(nullptr);
    const auto primary = channels_.find(0);
    if (primary != channels_.end() && rndis_.state().initialized) {
        post_to(primary->second->ring(),
            [&channel = *primary->second, up = is_connected()] { channel.indicate_link(up); });
    }
}

AdapterFacts Adapter::facts() const {
    AdapterFacts facts;
    facts.permanent_address = rndis_.permanent_address();
    facts.address = rndis_.address();
    facts.mtu = negotiation_.mtu();
    facts.connected = is_connected();
    facts.channels = static_cast<std::uint16_t>(most_sub_channels_ + 1);
    facts.version = negotiation_.state().version;
    facts.coalesces = negotiation_.state().coalesces;
    facts.statistics = statistics();
    return facts;
}

Statistics Adapter::statistics() const {
    Statistics sum;
    const auto add = [](Traffic<std::uint64_t>& to, const Traffic<Counter>& from) {
        for (std::size_t i = 0; i < cast_count; ++i) {
            to.frames.at(i) += from.frames.at(i).value();
            to.bytes.at(i) += from.bytes.at(i).value();
        }
        to.errors += from.errors.value();
        to.no_buffer += from.no_buffer.value();
    };
    for (const Counters& counters : counters_) {
        add(sum.sent, counters.sent);
        add(sum.received, counters.received);
    }
    return sum;
}

// What a guest asks

void Adapter::asked(std::uint16_t index, Request request) {
    threads_.post_to_bus([this, index, request = std::move(request)] { handle(index, request); });
}

/// It may be closing already; then it still counts its answers.
Channel* Adapter::find(std::uint16_t index) {
    if (const auto open = channels_.find(index); open != channels_.end()) {
        return open->second.get();
    }
    const auto closing = closing_.find(index);
    return closing != closing_.end() ? closing->second.channel.get() : nullptr;
}

void Adapter::handle(std::uint16_t index, const Request& request) {
    Channel* const channel = find(index);
    if (channel == nullptr) {
        return;
    }
    Answered answered = request.kind == Request::Kind::nvsp ? negotiation_.answer(request)
                                                            : rndis_.answer(request.bytes, facts());
    const bool is_open = channels_.contains(index);
    if (!answered) {
        fail(index, answered.error());
    }
    const Outcome outcome = answered.value_or(Outcome());
    if (!outcome.refusal.empty() && refusals_left_ != 0) {
        --refusals_left_;
        control_->request_refused(index, outcome.refusal);
    }
    const auto answer = [channel, replies = outcome.replies] {
        post_to(channel->ring(), [channel, replies] { channel->answer(replies); });
    };
    if (outcome.changes_settings) {
        // Answered when all channels work by it: the guest may take memory back then.
        push_settings(count_down(answer));
    } else {
        answer();
    }
    if (outcome.sub_channels && is_open) {
        control_->offer_sub_channels(*outcome.sub_channels);
    }
}

/// An open channel doesn't know of it yet. One that is closing does nothing any more.
void Adapter::fail(std::uint16_t index, std::string_view reason) {
    if (const auto found = channels_.find(index); found != channels_.end()) {
        post_to(found->second->ring(), [&channel = *found->second] { channel.end(); });
    }
    control_->fail(index, reason);
}

void Adapter::channel_failed(std::uint16_t index, std::string_view reason) {
    threads_.post_to_bus([this, index, why = std::string(reason)] {
        // The guest may be closing it by now, but not yet have it open again.
        if (find(index) != nullptr) {
            control_->fail(index, why);
        }
    });
}

// Channels

/// What there was on the primary channel before means nothing to the one that comes.
bool Adapter::begin_anew(bool restored) {
    refusals_left_ = vmbus::most_refusals_told;
    if (restored) {
        const bool is_sound = negotiation_.restore(restored_.negotiation);
        rndis_.restore(restored_.rndis, restored_.address);
        make_settings();
        return is_sound;
    }
    negotiation_.reset();
    rndis_.halt();
    make_settings();
    return true;
}

bool Adapter::may_open(std::uint16_t index) const {
    return index <= most_sub_channels_ && (index == 0 || channels_.contains(0));
}

std::expected<void, std::string_view> Adapter::make_channel(
    std::uint16_t index, vmbus::OpenChannel& open) {
    const bool is_restored = open.restored && restored_.channels.contains(index);
    if (!may_open(index)) {
        return std::unexpected("there is no such sub-channel, or no primary channel");
    }
    if (index == 0 && !begin_anew(is_restored)) {
        return std::unexpected("what was saved of it can't be");
    }
    auto rings = vmbus::RingChannel::open(open, control_->memory(), Channel::largest_packet);
    if (!rings) {
        return std::unexpected(name_of(rings.error()));
    }
    Channel::Owner& owner = *this;
    auto made = std::make_unique<Channel>(index, std::move(*rings),
        *threads_.rings[index % threads_.rings.size()], control_->memory(), owner,
        back_end_.queue(index), counters_[index], settings_);
    if (is_restored && !made->restore(restored_.channels.extract(index).mapped())) {
        return std::unexpected("what was saved of it can't be");
    }
    channels_[index] = std::move(made);
    return {};
}

void Adapter::open(std::uint16_t sub_channel, vmbus::OpenChannel channel) {
    if (const auto is_made = make_channel(sub_channel, channel); !is_made) {
        control_->open_refused(sub_channel, is_made.error());
        return;
    }
    if (running_) {
        Channel& made = *channels_[sub_channel];
        post_to(made.ring(), [&made] { made.start(); });
    }
    control_->opened(sub_channel);
}

void Adapter::close(std::uint16_t sub_channel) {
    const auto found = channels_.find(sub_channel);
    if (found == channels_.end()) {
        control_->closed(sub_channel); // it was refused
        return;
    }
    Channel& channel = *found->second;
    closing_[sub_channel].channel = std::move(found->second);
    channels_.erase(found);
    const auto finish = [this, sub_channel] {
        closing_.erase(sub_channel);
        control_->closed(sub_channel);
    };
    post_to(channel.ring(), [this, &channel, finish] {
        channel.quiesce([this, &channel, finish] {
            channel.leave_queue();
            threads_.post_to_bus(finish);
        });
    });
}

void Adapter::create_gpadl(std::uint16_t sub_channel, vmbus::Gpadl gpadl) {
    const std::uint32_t id = gpadl.id;
    if (sub_channel == 0) {
        gpadls_[id] = std::move(gpadl);
    }
    control_->gpadl_created(sub_channel, id, true);
}

void Adapter::teardown_gpadl(std::uint16_t sub_channel, std::uint32_t id) {
    if (sub_channel != 0 || gpadls_.erase(id) == 0) {
        control_->gpadl_torn_down(sub_channel, id);
        return;
    }
    // With the channel closed, as when a guest has crashed, that is no offence.
    if (negotiation_.forget(id) && channels_.contains(0)) {
        fail(0,
            fmt::format("found GPADL {:#x} torn down with a buffer in it, expected the buffer to "
                        "be revoked before",
                id));
    }
    const auto all =
        count_down([this, sub_channel, id] { control_->gpadl_torn_down(sub_channel, id); });
    push_settings(all);
    for (auto& [index, closing] : closing_) {
        closing.waiting.push_back(all);
    }
}

void Adapter::stop() {
    running_ = false;
    const auto all = count_down([this] { control_->stopped(); });
    for (const auto& [index, channel] : channels_) {
        post_to(channel->ring(), [&channel = *channel, all] { channel.quiesce([all] {}); });
    }
    for (auto& [index, closing] : closing_) {
        closing.waiting.push_back(all);
    }
}

void Adapter::start() {
    running_ = true;
    if (std::exchange(link_is_news_, false)) {
        tell_link();
    }
    for (const auto& [index, channel] : channels_) {
        post_to(channel->ring(), [&channel = *channel] { channel.start(); });
    }
}

// State

vdev::Record Adapter::save() const {
    AdapterState state{negotiation_.state(), rndis_.state(), rndis_.address(), {}};
    for (const auto& [index, channel] : channels_) {
        state.channels.emplace(index, channel->save());
    }
    if (link_is_news_ && rndis_.state().initialized && channels_.contains(0)) {
        state.channels.at(0).link = is_connected();
    }
    return state.save();
}

void Adapter::restore(const vdev::Record& record) {
    AdapterState state = AdapterState::load(record);
    if (state.negotiation.sub_channels > most_sub_channels_ ||
        (!state.channels.empty() && state.channels.rbegin()->first > most_sub_channels_)) {
        throw vdev::RecordError(fmt::format("saved state of a network adapter: found more "
                                            "sub-channels than the {} there may be; give the "
                                            "adapter as many queues as it had",
            most_sub_channels_));
    }
    rndis_.restore(state.rndis, state.address);
    restored_ = std::move(state);
}

void Adapter::reset() {
    restored_ = {};
    negotiation_.reset();
    rndis_.halt();
    rndis_.reset_address();
    make_settings();
}

} // namespace croft::vsp::network
