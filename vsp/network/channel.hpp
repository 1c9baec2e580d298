// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/ring.hpp"
#include "vmbus/memory/guest_pages.hpp"
#include "vmbus/vsp/ring_channel.hpp"
#include "vsp/network/back_end.hpp"
#include "vsp/network/channel_state.hpp"
#include "vsp/network/counters.hpp"
#include "vsp/network/data_settings.hpp"
#include "vsp/network/exchange.hpp"
#include "vsp/network/frame_receiver.hpp"
#include "vsp/network/frame_sender.hpp"
#include "vsp/network/protocol/nvsp.hpp"
#include "vsp/threads/doorbell.hpp"
#include "vsp/threads/readiness.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace croft::vsp::network {

/// The data path of one open channel, between its rings and one queue of the back end. What the
/// guest asks beside data is the owner's to answer. It works on one thread, that of its ring; all
/// calls are made there, but construction, `restore`, `save` and destruction.
class Channel final {
public:
    /// Told on the channel's thread.
    class Owner {
    public:
        Owner() = default;
        Owner(const Owner&) = delete;
        Owner& operator=(const Owner&) = delete;

        /// The guest has broken the protocol: the channel does nothing any more.
        virtual void channel_failed(std::uint16_t index, std::string_view reason) = 0;
        /// To be answered by `answer`, once.
        virtual void asked(std::uint16_t index, Request request) = 0;

    protected:
        ~Owner() = default;
    };

    /// Of what the guest sends, in bytes: a frame in many pages names each.
    static constexpr std::uint32_t largest_packet = 16384;
    /// Requests that aren't answered; a guest waits for one before it sends the next.
    static constexpr std::size_t most_requests = 64;
    /// Packets and frames that are taken at a time, before others that the thread serves have
    /// their turn.
    static constexpr unsigned most_taken = 256;
    /// Parts of frames that go to the guest in one packet; Linux takes 562.
    static constexpr std::size_t largest_batch = 256;

    /// Channel 0 is the primary one. All that is given as a reference outlives it. Does nothing
    /// yet.
    Channel(std::uint16_t index, vmbus::RingChannel rings, disk::Ring& ring,
        const vmbus::GuestPages& memory, Owner& owner, Queue& queue, Counters& counters,
        std::shared_ptr<const DataSettings> settings);
    Channel(const Channel&) = delete;
    Channel& operator=(const Channel&) = delete;

    [[nodiscard]] disk::Ring& ring() { return ring_; }

    /// Takes over a state, before anything else. False if it can't be.
    [[nodiscard]] bool restore(const ChannelState& state);
    /// Only while quiesced.
    [[nodiscard]] ChannelState save() const;

    /// Serves guest and queue, as if the guest had signalled once.
    void start();
    /// Takes no more from either; `done` is called when no request is with the owner and nothing is
    /// touched any more. It may have the channel destroyed.
    void quiesce(std::function<void()> done);
    /// The guest has broken the protocol, as somebody else has found: the channel does nothing any
    /// more.
    void end();
    /// No frames come and go any more. Of a channel that is about to end.
    void leave_queue() { queue_.enable(false); }

    /// Whether nothing is under way, on our side or the guest's: it waits for no completion, and
    /// all that it was sent it has taken and completed.
    [[nodiscard]] bool is_idle();

    /// From now on by these settings.
    void apply(std::shared_ptr<const DataSettings> settings);
    /// The answer to one request, which may be none for the guest.
    void answer(std::vector<Reply> replies);
    /// Tells the guest how the link is now. Of the primary channel.
    void indicate_link(bool connected);

private:
    class Again final : public disk::Completion {
    public:
        explicit Again(Channel& owner);
        Channel& channel;
        bool is_posted = false;
    };

    // From the guest
    void serve();
    void take_packets();
    [[nodiscard]] bool may_take() const { return running_ && !failed_; }
    void take(const vmbus::Packet& packet);
    void take_message(const vmbus::Packet& packet);
    void take_rndis(const vmbus::Packet& packet);
    [[nodiscard]] Checked locate(
        const vmbus::Packet& packet, const protocol::SendRndisPacket& message);
    [[nodiscard]] Checked take_control();
    void ask(Request request);
    void complete(std::uint64_t transaction_id);
    [[nodiscard]] bool may_go_on_taking();

    // To the guest
    [[nodiscard]] bool receives() const;
    void use_queue();
    void frames_ready();
    void receive_frames();
    [[nodiscard]] bool send_batch();
    void drop_batch();
    [[nodiscard]] bool send_waiting();
    [[nodiscard]] bool send_replies();
    [[nodiscard]] bool send_reply(const Reply& reply);
    [[nodiscard]] bool send_control(std::span<const std::uint8_t> message);
    [[nodiscard]] bool send_link();
    [[nodiscard]] bool send_sections(std::uint64_t transaction,
        std::span<const vmbus::protocol::TransferPageRange> ranges, std::uint32_t rndis_channel);
    [[nodiscard]] bool queue_packet(const vmbus::OutgoingPacket& packet);

    void flush();
    void come_again();
    void fail(std::string_view reason);
    void check_idle();

    const std::uint16_t index_;
    vmbus::RingChannel rings_;
    disk::Ring& ring_;
    const vmbus::GuestPages& memory_;
    Owner& owner_;
    Queue& queue_;
    std::shared_ptr<const DataSettings> settings_;
    FrameSender sender_;
    FrameReceiver receiver_;
    Doorbell doorbell_;
    Readiness readiness_;
    Again again_;

    bool running_ = false;
    bool failed_ = false;
    bool uses_queue_ = false;
    /// The queue has no frames until other settings come.
    bool queue_is_broken_ = false;
    /// There may be packets, or frames, for which no signal will come.
    bool left_packets_ = false;
    bool left_frames_ = false;

    /// Requests that the owner has.
    std::size_t asked_ = 0;
    std::deque<Reply> replies_;
    std::optional<bool> link_;
    /// Frames that are on their way, and their transaction once it has one.
    FrameReceiver::Batch batch_;
    std::optional<std::uint64_t> batch_transaction_;

    std::vector<std::function<void()>> idle_;
    // Room to work in.
    std::vector<iovec> segments_;
    std::vector<vmbus::PageRange> ranges_;
};

} // namespace croft::vsp::network
