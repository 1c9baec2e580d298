// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/memory/descriptor.hpp"
#include "vmbus/remote/reactor.hpp"
#include "vmbus/remote/successor.hpp"
#include "vmbus/vsp/ring_channel.hpp"

#include <cstdint>
#include <functional>
#include <map>

namespace croft::vsp::network {

/// Completes what a guest has sent, and still sends, to an adapter whose process has ended, as
/// failed: Linux waits for the completions of its sends, with its network locked, before it lets go
/// of an adapter (rndis_filter_halt_device), and hears of none once it knows that the adapter goes
/// (vmbus_onoffer_rescind). So it had better be told when it is silent.
class SendCompleter final : public vmbus::remote::Successor {
public:
    /// Packets that are completed at a time, before others that the thread serves have their turn.
    static constexpr unsigned most_taken = 256;

    /// `reactor` outlives the object.
    explicit SendCompleter(vmbus::Reactor& reactor) : reactor_(reactor) {}
    ~SendCompleter();

    void take_over(std::uint16_t sub_channel, vmbus::OpenChannel channel,
        vmbus::ChannelControl& control) override;
    void close(std::uint16_t sub_channel) override;
    void stop() override;
    void start() override;

    /// Calls `silent` once, perhaps at once: when the guest has sent nothing for half a second and
    /// has taken all completions, or doesn't cease for seconds.
    void wait_for_silence(std::function<void()> silent);

private:
    struct Channel {
        vmbus::RingChannel rings;
        vmbus::ChannelControl& control;
    };

    void listen(std::uint16_t sub_channel, const Channel& channel);
    void serve(std::uint16_t sub_channel);
    void end_wait();
    void tick();

    vmbus::Reactor& reactor_;
    bool running_ = false;
    vmbus::Descriptor timer_;
    std::function<void()> silent_;
    /// The guest has sent something since the last tick.
    bool heard_ = false;
    unsigned ticks_ = 0;
    std::map<std::uint16_t, Channel> channels_;
};

} // namespace croft::vsp::network
