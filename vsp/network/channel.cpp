// SPDX-License-Identifier: Apache-2.0
#include "vsp/network/channel.hpp"

#include <utility>

namespace croft::vsp::network {

Channel::Again::Again(Channel& owner)
    : Completion([](Completion& completion, int) noexcept {
          auto& self = static_cast<Again&>(completion);
          self.is_posted = false;
          self.channel.serve();
          self.channel.check_idle();
      }),
      channel(owner) {}

Channel::Channel(std::uint16_t index, vmbus::RingChannel rings, disk::Ring& ring,
    const vmbus::GuestPages& memory, Owner& owner, Queue& queue, Counters& counters,
    std::shared_ptr<const DataSettings> settings)
    : index_(index),
      rings_(std::move(rings)),
      ring_(ring),
      memory_(memory),
      owner_(owner),
      queue_(queue),
      settings_(std::move(settings)),
      sender_(queue, counters),
      receiver_(queue, counters),
      doorbell_(ring, rings_.event(),
          [this] {
              serve();
              check_idle();
          }),
      readiness_(ring, queue.descriptor(),
          [this] {
              frames_ready();
              check_idle();
          }),
      again_(*this) {
    receiver_.configure(settings_, index_);
}

bool Channel::restore(const ChannelState& state) {
    replies_.assign(state.replies.begin(), state.replies.end());
    link_ = state.link;
    return receiver_.sections().restore(state.sections);
}

ChannelState Channel::save() const {
    return {receiver_.sections().save(), {replies_.begin(), replies_.end()}, link_};
}

void Channel::start() {
    running_ = true;
    queue_is_broken_ = false;
    doorbell_.listen();
    use_queue();
    serve();
}

void Channel::quiesce(std::function<void()> done) {
    running_ = false;
    doorbell_.stop();
    readiness_.stop();
    drop_batch();
    receiver_.release();
    idle_.push_back(std::move(done));
    check_idle();
}

/// The channel may be gone afterwards.
void Channel::check_idle() {
    if (asked_ != 0 || doorbell_.is_listening() || readiness_.is_waiting() || again_.is_posted) {
        return;
    }
    for (const auto& done : std::exchange(idle_, {})) {
        done();
    }
}

bool Channel::is_idle() {
    return asked_ == 0 && replies_.empty() && !link_ && !batch_transaction_ &&
        receiver_.sections().all_complete() && rings_.is_empty();
}

void Channel::end() {
    failed_ = true;
    use_queue();
}

void Channel::fail(std::string_view reason) {
    if (!failed_) {
        end();
        owner_.channel_failed(index_, reason);
    }
}

void Channel::apply(std::shared_ptr<const DataSettings> settings) {
    const bool other_buffer = settings->receive_buffer != settings_->receive_buffer;
    if (other_buffer) {
        drop_batch();
        std::erase_if(
            replies_, [](const Reply& reply) { return reply.kind == Reply::Kind::rndis; });
    }
    settings_ = std::move(settings);
    receiver_.configure(settings_, index_);
    queue_is_broken_ = false;
    if (running_) {
        use_queue();
        serve();
    }
}

void Channel::answer(std::vector<Reply> replies) {
    --asked_;
    for (Reply& reply : replies) {
        if (reply.kind != Reply::Kind::rndis || settings_->receive_buffer != nullptr) {
            replies_.push_back(std::move(reply));
        }
    }
    serve();
    check_idle();
}

void Channel::indicate_link(bool connected) {
    link_ = connected;
    serve();
}

bool Channel::receives() const {
    return !failed_ && settings_->plugged && settings_->receive_buffer != nullptr &&
        settings_->filter.types != 0;
}

void Channel::use_queue() {
    const bool wanted = receives();
    if (std::exchange(uses_queue_, wanted) != wanted) {
        queue_.enable(wanted);
    }
    if (!wanted) {
        readiness_.stop();
    }
}

void Channel::serve() {
    if (!running_ || failed_) {
        return;
    }
    left_packets_ = false;
    left_frames_ = false;
    // For want of space nothing is taken; the guest signals when there is some.
    if (send_waiting()) {
        take_packets();
        // Answers that waited for the sections that it has just given back.
        (void)send_waiting();
        receive_frames();
    }
    flush();
}

void Channel::flush() {
    if (!failed_) {
        rings_.flush();
    }
    if (running_ && !failed_ && (left_frames_ || may_go_on_taking())) {
        come_again();
    }
}

void Channel::come_again() {
    if (!std::exchange(again_.is_posted, true)) {
        ring_.post(again_, 0);
    }
}

} // namespace croft::vsp::network
