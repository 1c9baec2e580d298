// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/ring.hpp"
#include "vmbus/memory/guest_pages.hpp"
#include "vmbus/vsp/ring_channel.hpp"
#include "vsp/storage/channel_state.hpp"
#include "vsp/storage/command_queue.hpp"
#include "vsp/storage/negotiation.hpp"
#include "vsp/threads/doorbell.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <string_view>
#include <vector>

namespace croft::vsp::storage {

/// The data path of one open channel: takes the guest's packets from the ring and sends their
/// completions. It works on one thread, that of its ring; all calls are made there, but
/// construction, destruction and `save`.
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
        /// It has asked for what can't be, and got an answer.
        virtual void request_refused(std::uint16_t index, std::string_view reason) = 0;
        virtual void sub_channels_wanted(std::uint16_t count) = 0;

    protected:
        ~Owner() = default;
    };

    /// Of what the guest sends, in bytes: a command of the largest size names 257 pages.
    static constexpr std::uint32_t largest_packet = 4096;
    /// Commands that are under way at a time; the guest's others wait in its ring.
    static constexpr unsigned most_in_flight = 1024;
    /// Packets that are taken at a time, before others that the thread serves have their turn.
    static constexpr unsigned most_taken = 256;

    /// Channel 0 is the primary one. `ring`, `memory` and `owner` outlive it. Does nothing yet.
    Channel(std::uint16_t index, vmbus::RingChannel rings, disk::Ring& ring,
        const vmbus::GuestPages& memory, Owner& owner, std::uint16_t most_sub_channels,
        const ChannelState& state);
    Channel(const Channel&) = delete;
    Channel& operator=(const Channel&) = delete;

    [[nodiscard]] disk::Ring& ring() { return ring_; }
    [[nodiscard]] CommandQueue& commands() { return commands_; }

    /// Serves the guest, as if it had signalled once.
    void start();
    /// Takes no more packets; `done` is called when nothing is under way and nothing is touched any
    /// more. It may have the channel destroyed.
    void quiesce(std::function<void()> done);
    /// Has the guest look again which units there are. Of the primary channel.
    void rescan();

    /// Only while quiesced.
    [[nodiscard]] ChannelState save() const;

private:
    /// Shows the guest the completions that were queued, all that came together by one signal.
    class Flush final : public disk::Completion {
    public:
        explicit Flush(Channel& owner);
        Channel& channel;
        bool is_posted = false;
    };

    void serve();
    [[nodiscard]] bool may_take() const;
    void take(const vmbus::Packet& packet);
    void execute(const vmbus::Packet& packet, const Request& request);
    [[nodiscard]] protocol::Packet negotiate(const Request& request);

    void reply(const Reply& reply);
    [[nodiscard]] bool send(const Reply& reply);
    [[nodiscard]] bool send_rescan();
    [[nodiscard]] bool send_held();
    [[nodiscard]] bool queue(const vmbus::OutgoingPacket& packet);
    void post_flush();
    void flush();

    void refuse(std::string_view reason);
    void fail(std::string_view reason);
    void check_idle();

    const std::uint16_t index_;
    vmbus::RingChannel rings_;
    disk::Ring& ring_;
    const vmbus::GuestPages& memory_;
    Owner& owner_;
    Negotiation negotiation_;
    CommandQueue commands_;
    Doorbell doorbell_;
    Flush flush_;

    bool running_ = false;
    bool failed_ = false;
    /// There may be packets in the ring for which no signal will come.
    bool left_some_ = false;
    bool rescan_wanted_;
    unsigned refusals_left_ = vmbus::most_refusals_told;
    /// Completions that found no space.
    std::deque<Reply> held_;
    std::vector<std::function<void()>> idle_;
    // Room to work in.
    ScsiCommand command_;
    std::vector<vmbus::PageRange> ranges_;
};

} // namespace croft::vsp::storage
