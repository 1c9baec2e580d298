// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vdev/record.hpp"
#include "vmbus/protocol/guid.hpp"
#include "vmbus/vsp/channel_service.hpp"
#include "vmbus/vsp/offer.hpp"
#include "vsp/network/adapter_state.hpp"
#include "vsp/network/back_end.hpp"
#include "vsp/network/channel.hpp"
#include "vsp/network/counters.hpp"
#include "vsp/network/negotiation.hpp"
#include "vsp/network/rndis_control.hpp"
#include "vsp/threads/countdown.hpp"
#include "vsp/threads/threads.hpp"

#include <cstdint>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <string_view>
#include <vector>

namespace croft::vsp::network {

/// A synthetic network adapter: the provider to which a guest's hv_netvsc talks.
///
/// All calls are made on the bus's thread and none blocks; frames go by the threads of the rings.
class Adapter final : public vmbus::ChannelService, private Channel::Owner {
public:
    /// `back_end` outlives it, and has as many queues as there may be channels. `mtu`: what the
    /// network takes.
    Adapter(Threads threads, BackEnd& back_end, const MacAddress& address, std::uint32_t mtu);
    /// Detached, or stopped.
    ~Adapter() override;

    /// To be given to vmbus::Server::add along with the adapter.
    [[nodiscard]] static vmbus::Offer offer(const vmbus::Guid& instance);

    /// Whether somebody wants the adapter to be connected, and whether the back end works. The
    /// guest sees the link up if both are so. Both are at first.
    void set_plugged(bool plugged);
    void set_working(bool working);
    [[nodiscard]] bool is_plugged() const { return plugged_; }
    [[nodiscard]] bool is_connected() const { return plugged_ && working_ && !leaving_; }

    /// The adapter is about to be removed: from now on the guest sees the link down, and sends no
    /// more if it heeds that. Linux hangs with its network locked if an adapter goes while it waits
    /// for a completion (rndis_filter_halt_device), so removal had better wait for `ask_idle`.
    void take_leave();
    /// Answers on the bus's thread whether the guest has nothing under way with the adapter.
    void ask_idle(std::function<void(bool)> answer);

    [[nodiscard]] const MacAddress& address() const { return rndis_.permanent_address(); }
    [[nodiscard]] std::size_t open_channels() const { return channels_.size(); }
    [[nodiscard]] Statistics statistics() const;

    /// What the guest could see. Only while stopped.
    [[nodiscard]] vdev::Record save() const;
    /// Takes it over. Only before the channels are opened as restored. Errors: RecordError, and the
    /// adapter is as before.
    void restore(const vdev::Record& record);
    /// The state after power-on. Only without open channels.
    void reset();

    // ChannelService
    void attached(vmbus::ChannelControl& control) override { control_ = &control; }
    void detached() override { control_ = nullptr; }
    void open(std::uint16_t sub_channel, vmbus::OpenChannel channel) override;
    void close(std::uint16_t sub_channel) override;
    void create_gpadl(std::uint16_t sub_channel, vmbus::Gpadl gpadl) override;
    void teardown_gpadl(std::uint16_t sub_channel, std::uint32_t id) override;
    void stop() override;
    void start() override;

private:
    // Channel::Owner, on the channels' threads
    void channel_failed(std::uint16_t index, std::string_view reason) override;
    void asked(std::uint16_t index, Request request) override;

    struct Closing {
        std::unique_ptr<Channel> channel;
        /// Gone when it has ended.
        std::vector<std::shared_ptr<Countdown>> waiting;
    };

    void handle(std::uint16_t index, const Request& request);
    void fail(std::uint16_t index, std::string_view reason);
    [[nodiscard]] AdapterFacts facts() const;
    [[nodiscard]] Channel* find(std::uint16_t index);
    [[nodiscard]] std::expected<void, std::string_view> make_channel(
        std::uint16_t index, vmbus::OpenChannel& open);
    [[nodiscard]] bool begin_anew(bool restored);
    [[nodiscard]] bool may_open(std::uint16_t index) const;
    [[nodiscard]] std::shared_ptr<Countdown> count_down(std::function<void()> done);
    void make_settings();
    void push_settings(const std::shared_ptr<Countdown>& all);
    void link_changed(bool was_connected);
    void tell_link();

    Threads threads_;
    BackEnd& back_end_;
    const std::uint16_t most_sub_channels_;
    vmbus::ChannelControl* control_ = nullptr;
    bool running_ = false;
    bool plugged_ = true;
    bool working_ = true;
    bool leaving_ = false;
    /// It isn't as it was when the adapter was stopped.
    bool link_is_news_ = false;

    /// Of the primary channel.
    std::map<std::uint32_t, vmbus::Gpadl> gpadls_;
    Negotiation negotiation_;
    RndisControl rndis_;
    std::shared_ptr<const DataSettings> settings_;
    /// What the back end goes by.
    ReceiveScaling scaling_;
    /// Of requests, since the primary channel was opened.
    unsigned refusals_left_ = vmbus::most_refusals_told;
    /// By channel.
    std::vector<Counters> counters_;
    std::map<std::uint16_t, std::unique_ptr<Channel>> channels_;
    std::map<std::uint16_t, Closing> closing_;
    /// Of channels that will be opened as restored.
    AdapterState restored_;
};

} // namespace croft::vsp::network
