// SPDX-License-Identifier: Apache-2.0
#include "vsp/storage/channel.hpp"

#include <utility>

namespace croft::vsp::storage {

using protocol::Operation;

Channel::Flush::Flush(Channel& owner)
    : Completion([](Completion& completion, int) noexcept {
          static_cast<Flush&>(completion).channel.flush();
      }),
      channel(owner) {}

Channel::Channel(std::uint16_t index, vmbus::RingChannel rings, disk::Ring& ring,
    const vmbus::GuestPages& memory, Owner& owner, std::uint16_t most_sub_channels,
    const ChannelState& state)
    : index_(index),
      rings_(std::move(rings)),
      ring_(ring),
      memory_(memory),
      owner_(owner),
      negotiation_(most_sub_channels, state.negotiation),
      commands_(
          ring,
          [this](const Reply& completion) {
              reply(completion);
              post_flush();
          },
          [this](std::string_view reason) { refuse(reason); }),
      doorbell_(ring, rings_.event(),
          [this] {
              serve();
              check_idle();
          }),
      flush_(*this),
      rescan_wanted_(state.rescan_wanted),
      held_(state.replies.begin(), state.replies.end()) {}

ChannelState Channel::save() const {
    return {negotiation_.state(), rescan_wanted_, {held_.begin(), held_.end()}};
}

void Channel::start() {
    running_ = true;
    commands_.start();
    doorbell_.listen();
    serve();
}

void Channel::quiesce(std::function<void()> done) {
    running_ = false;
    doorbell_.stop();
    idle_.push_back(std::move(done));
    commands_.hasten();
    check_idle();
}

/// The channel may be gone afterwards.
void Channel::check_idle() {
    if (commands_.in_flight() != 0 || doorbell_.is_listening() || flush_.is_posted) {
        return;
    }
    for (const auto& done : std::exchange(idle_, {})) {
        done();
    }
}

void Channel::rescan() {
    rescan_wanted_ = true;
    if (running_ && send_held()) {
        post_flush();
    }
}

void Channel::refuse(std::string_view reason) {
    if (refusals_left_ != 0) {
        --refusals_left_;
        owner_.request_refused(index_, reason);
    }
}

void Channel::fail(std::string_view reason) {
    if (!std::exchange(failed_, true)) {
        owner_.channel_failed(index_, reason);
    }
}

bool Channel::may_take() const {
    return running_ && !failed_ && held_.empty() && commands_.in_flight() < most_in_flight;
}

void Channel::serve() {
    if (!running_ || !send_held()) {
        return; // for want of space, the guest signals when there is some
    }
    unsigned taken = 0;
    const vmbus::RingResult<bool> empty = rings_.receive([&](const vmbus::Packet& packet) {
        take(packet);
        return ++taken < most_taken && may_take();
    });
    if (!empty) {
        fail(name_of(empty.error()));
        return;
    }
    left_some_ = !*empty;
    post_flush();
}

void Channel::take(const vmbus::Packet& packet) {
    const auto request = take_request(packet);
    if (!request) {
        fail(request.error());
        return;
    }
    switch (static_cast<Operation>(request->packet.header.operation)) {
    case Operation::execute_srb:
        execute(packet, *request);
        return;
    case Operation::begin_initialization:
    case Operation::end_initialization:
    case Operation::query_protocol_version:
    case Operation::query_properties:
    case Operation::create_sub_channels:
        reply({request->transaction_id, request->size, negotiate(*request)});
        return;
    case Operation::reset_lun:
    case Operation::reset_adapter:
    case Operation::reset_bus:
        // Commands end by themselves; the guest waits for those that it has sent.
        reply({request->transaction_id, request->size, status_reply(protocol::status_success)});
        return;
    case Operation::complete_io:
    case Operation::remove_device:
    case Operation::enumerate_bus:
    case Operation::fchba_data:
        reply({request->transaction_id, request->size,
            status_reply(protocol::status_invalid_device_state)});
        return;
    }
    fail("a packet has an unknown operation");
}

protocol::Packet Channel::negotiate(const Request& request) {
    if (index_ != 0) {
        return status_reply(protocol::status_invalid_device_state);
    }
    protocol::Packet packet = request.packet;
    const std::uint32_t status = negotiation_.answer(packet);
    const auto operation = static_cast<Operation>(request.packet.header.operation);
    if (status == protocol::status_success && operation == Operation::create_sub_channels) {
        owner_.sub_channels_wanted(negotiation_.state().sub_channels);
    }
    if (status == protocol::status_success && operation == Operation::end_initialization) {
        rescan_wanted_ = false; // it looks for all units now
    }
    return status_reply(status, packet);
}

void Channel::execute(const vmbus::Packet& packet, const Request& request) {
    if (index_ == 0 && !negotiation_.is_ready()) {
        reply({request.transaction_id, request.size,
            status_reply(protocol::status_invalid_device_state)});
        return;
    }
    if (const auto taken = take_command(packet, request, memory_, ranges_, command_); !taken) {
        fail(taken.error());
        return;
    }
    if (const auto answer = commands_.execute(request, command_)) {
        reply({request.transaction_id, request.size, *answer});
    }
}

void Channel::reply(const Reply& reply) {
    if (!held_.empty() || !send(reply)) {
        held_.push_back(reply);
    }
}

bool Channel::send(const Reply& reply) {
    vmbus::OutgoingPacket packet;
    packet.type = vmbus::protocol::PacketType::completion;
    packet.transaction_id = reply.transaction_id;
    packet.payload[0] = {reinterpret_cast<const std::uint8_t*>(&reply.packet), reply.size};
    return queue(packet);
}

bool Channel::send_rescan() {
    // What comes unasked has no transaction (storvsc_drv.c, storvsc_on_channel_callback).
    protocol::Packet notice{};
    notice.header.operation = static_cast<std::uint32_t>(Operation::enumerate_bus);
    vmbus::OutgoingPacket packet;
    packet.payload[0] = {reinterpret_cast<const std::uint8_t*>(&notice), sizeof(notice)};
    return queue(packet);
}

/// False if there is no space, or the channel has failed.
bool Channel::queue(const vmbus::OutgoingPacket& packet) {
    if (failed_) {
        return false;
    }
    const vmbus::RingResult<bool> queued = rings_.queue(packet);
    if (!queued) {
        fail(name_of(queued.error()));
    }
    return queued && *queued;
}

bool Channel::send_held() {
    while (!held_.empty()) {
        if (!send(held_.front())) {
            return false;
        }
        held_.pop_front();
    }
    if (rescan_wanted_ && negotiation_.is_ready()) {
        if (!send_rescan()) {
            return false;
        }
        rescan_wanted_ = false;
    }
    return !failed_;
}

void Channel::post_flush() {
    if (!std::exchange(flush_.is_posted, true)) {
        ring_.post(flush_, 0);
    }
}

void Channel::flush() {
    flush_.is_posted = false;
    if (!failed_) {
        rings_.flush();
    }
    if (left_some_ && may_take()) {
        serve();
    }
    check_idle();
}

} // namespace croft::vsp::storage
