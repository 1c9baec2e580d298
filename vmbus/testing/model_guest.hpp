// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/protocol/message.hpp"
#include "vmbus/protocol/version.hpp"
#include "vmbus/testing/guest_ring.hpp"
#include "vmbus/testing/test_vm.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <vector>

namespace croft::vmbus::testing {

/// A guest that speaks Linux's half (drivers/hv/connection.c, channel.c, channel_mgmt.c).
class ModelGuest {
public:
    /// `work` lets the host's side get on; it answers false if there is nothing to wait for.
    explicit ModelGuest(
        TestVm& vm, std::function<bool()> work = [] { return false; })
        : vm_(vm),
          work_(std::move(work)) {}

    /// Asks for `version`; answers whether the host has it.
    bool contact(protocol::Version version, std::uint32_t vp = 0);
    /// As Linux does: from the newest version down.
    bool connect(std::uint32_t vp = 0);
    /// All offers until the host has delivered them.
    std::vector<protocol::OfferChannel> request_offers();
    std::optional<protocol::OfferChannel> wait_for_offer() {
        return wait<protocol::OfferChannel>(protocol::MessageType::offer_channel);
    }
    bool unload();

    /// Gives pages to a channel, in as many messages as that takes; answers the status, or nothing
    /// if no answer came.
    std::optional<std::uint32_t> create_gpadl(
        std::uint32_t relid, std::uint32_t id, std::span<const std::uint64_t> pages);
    bool teardown_gpadl(std::uint32_t relid, std::uint32_t id);

    /// An open channel as its driver has it.
    struct Channel {
        std::uint32_t relid;
        std::uint32_t connection;
        std::uint32_t vp;
        std::uint32_t gpadl;
        std::vector<std::uint64_t> pages;
        GuestSender sender;
        GuestReceiver receiver;
    };
    /// Makes rings of `pages` pages each and opens the channel with them.
    std::optional<Channel> open(
        const protocol::OfferChannel& offer, std::uint64_t pages = 4, std::uint32_t vp = 0);
    /// The same with rings that were spoilt before, which are taken back if that is refused;
    /// answers the status.
    std::optional<std::uint32_t> open_spoilt(
        const protocol::OfferChannel& offer, const std::function<void(Channel&)>& spoil);
    /// The OPENCHANNEL alone; answers the status.
    std::optional<std::uint32_t> open_with(std::uint32_t relid, std::uint32_t gpadl,
        std::uint32_t downstream_offset, std::uint32_t vp = 0);
    /// Closes and takes the rings back.
    bool close(const Channel& channel);
    void release(std::uint32_t relid);

    /// Sends a packet and rings; answers false if the ring is full.
    bool send(Channel& channel, const GuestPacket& packet);
    /// The next packet, waiting for the interrupt.
    std::optional<GuestPacket> receive(Channel& channel);

    /// Posts a message; again and again if the host can't take it now.
    template <typename Message>
    bool post(const Message& message) {
        std::vector<std::uint8_t> bytes(sizeof(message));
        std::memcpy(bytes.data(), &message, sizeof(message));
        return post_bytes(bytes);
    }
    bool post_bytes(std::span<const std::uint8_t> bytes);

    /// The first message of a type, of those that came and that come; the others are kept.
    template <typename Message>
    std::optional<Message> wait(protocol::MessageType type) {
        const std::optional<std::vector<std::uint8_t>> bytes = wait_bytes(type);
        Message message{};
        if (!bytes || bytes->size() < sizeof(message)) {
            return std::nullopt;
        }
        std::memcpy(&message, bytes->data(), sizeof(message));
        return message;
    }
    /// What the host has posted so far is forgotten.
    void drop_messages();
    void use_processor(std::uint32_t vp) { vp_ = vp; }

    [[nodiscard]] std::uint32_t next_gpadl() { return next_gpadl_++; }

private:
    Channel make_channel(
        const protocol::OfferChannel& offer, std::uint64_t pages, std::uint32_t vp);
    std::optional<std::vector<std::uint8_t>> wait_bytes(protocol::MessageType type);
    void take_messages();

    TestVm& vm_;
    std::function<bool()> work_;
    std::uint32_t vp_ = 0;
    std::uint32_t next_gpadl_ = 0xe1e10;
    std::deque<std::vector<std::uint8_t>> messages_;
};

} // namespace croft::vmbus::testing
