// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/server/channel.hpp"
#include "vmbus/server/server.hpp"
#include "vmbus/vsp/channel_service.hpp"
#include "vmbus/vsp/offer.hpp"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

namespace croft::vmbus {

/// A device of the server with its channels, and its service's way back.
class OfferedDevice final : public ChannelControl {
public:
    OfferedDevice(Server& server, Server::DeviceId id, const Offer& what, ChannelService* provider)
        : server_(server),
          id_(id),
          offer(what),
          service(provider),
          ends_left(server.limits_.ends_per_device) {}

    [[nodiscard]] Server::DeviceId id() const { return id_; }

    [[nodiscard]] const GuestPages& memory() const override { return server_.host_.memory(); }
    void opened(std::uint16_t sub_channel) override { server_.opened(*this, sub_channel); }
    void open_refused(std::uint16_t sub_channel, std::string_view reason) override {
        server_.open_refused(*this, sub_channel, reason);
    }
    void closed(std::uint16_t sub_channel) override { server_.closed(*this, sub_channel); }
    void gpadl_created(std::uint16_t sub_channel, std::uint32_t id, bool accepted) override {
        server_.gpadl_created(*this, sub_channel, id, accepted);
    }
    void gpadl_torn_down(std::uint16_t sub_channel, std::uint32_t id) override {
        server_.gpadl_torn_down(*this, sub_channel, id);
    }
    void stopped() override;
    void offer_sub_channels(std::uint16_t count) override {
        server_.offer_sub_channels(*this, count);
    }
    void request_refused(std::uint16_t sub_channel, std::string_view reason) override {
        server_.request_refused(*this, sub_channel, reason);
    }
    void fail(std::uint16_t sub_channel, std::string_view reason) override {
        server_.fail(*this, sub_channel, reason);
    }

    /// The channel that the service means: of those with this index the one that is still in use.
    [[nodiscard]] Channel* in_use(std::uint16_t index) const {
        for (const auto& channel : channels) {
            if (channel->index == index && channel->relid != 0) {
                return channel.get();
            }
        }
        return nullptr;
    }
    [[nodiscard]] bool has_index(std::uint16_t index) const {
        return std::ranges::any_of(channels,
            [&](const auto& channel) { return channel->index == index && !channel->rescinded; });
    }

private:
    Server& server_;
    Server::DeviceId id_;

public:
    const Offer offer;
    /// Null once it has been detached; what is left then is what the guest hasn't given up.
    ChannelService* service;
    std::vector<std::unique_ptr<Channel>> channels;
    bool removed = false;
    /// Called once, in this order, when a device that is removed has been detached.
    std::vector<std::function<void()>> removal_done;
    /// Of the stop that was asked for last.
    bool stop_answered = true;
    /// Lines about how its channels end.
    unsigned ends_left;
};

} // namespace croft::vmbus
