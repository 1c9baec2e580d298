// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/memory/descriptor.hpp"
#include "vmbus/memory/guest_pages.hpp"
#include "vmbus/protocol/message.hpp"
#include "vmbus/protocol/version.hpp"

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

// Between VMBus and a service provider (VSP). What is handed over is plain data and file
// descriptors, so that the provider can be in this process or in another (vmbus/remote/).
namespace croft::vmbus {

/// Rings at the guest for one channel.
class Interrupt {
public:
    Interrupt() = default;
    Interrupt(const Interrupt&) = delete;
    Interrupt& operator=(const Interrupt&) = delete;
    virtual ~Interrupt() = default;

    /// Any thread. Does nothing once the channel is closed.
    virtual void signal() = 0;
};

/// Guest memory that the guest has given to a channel and refers to by a number.
struct GpadlRange {
    std::uint32_t byte_count = 0;
    /// In the first page; less than a page.
    std::uint32_t byte_offset = 0;
    /// Page numbers, each of which is memory of the guest.
    std::vector<std::uint64_t> pages;

    friend bool operator==(const GpadlRange&, const GpadlRange&) = default;
};
struct Gpadl {
    std::uint32_t id = 0;
    std::vector<GpadlRange> ranges;

    friend bool operator==(const Gpadl&, const Gpadl&) = default;
};

/// What an open channel consists of.
struct OpenChannel {
    protocol::Version version = 0;
    /// The pages of the ring that the guest writes, and of the one that it reads: page numbers,
    /// each ring's header first, each page memory of the guest.
    std::vector<std::uint64_t> incoming_pages;
    std::vector<std::uint64_t> outgoing_pages;
    protocol::UserDefined user_data{};
    /// The virtual processor that gets the interrupts: a hint where to work.
    std::uint32_t target_vp = 0;
    /// The channel was open when the VM was saved: the rings hold what they held then, and so
    /// should the provider.
    bool restored = false;
    /// An eventfd that the guest's signals ring.
    Descriptor event;
    std::shared_ptr<Interrupt> interrupt;
};

/// A guest can have itself refused as often as it likes.
constexpr unsigned most_refusals_told = 8;

/// The way back to VMBus. For the bus's thread, also from within a call to the service. Outlives
/// the service's use of it: gone after `ChannelService::detached`.
class ChannelControl {
public:
    ChannelControl() = default;
    ChannelControl(const ChannelControl&) = delete;
    ChannelControl& operator=(const ChannelControl&) = delete;
    virtual ~ChannelControl() = default;

    /// Guest memory, where the provider's process has it.
    [[nodiscard]] virtual const GuestPages& memory() const = 0;

    // The answers, each to one call of the service, at any time after it began.
    virtual void opened(std::uint16_t sub_channel) = 0;
    /// The other answer to an open: the guest is told that it failed, the log `reason`.
    virtual void open_refused(std::uint16_t sub_channel, std::string_view reason) = 0;
    virtual void closed(std::uint16_t sub_channel) = 0;
    virtual void gpadl_created(std::uint16_t sub_channel, std::uint32_t id, bool accepted) = 0;
    virtual void gpadl_torn_down(std::uint16_t sub_channel, std::uint32_t id) = 0;
    virtual void stopped() = 0;

    /// Offers the sub-channels 1 to `count` beside the primary one, which is open. They go when
    /// that is closed. More can be asked for, not fewer.
    virtual void offer_sub_channels(std::uint16_t count) = 0;

    /// The guest has asked for what can't be, and got the answer that the protocol has for that:
    /// the channel goes on, and the log is told why. Not for what drivers ask to find out what
    /// there is. The provider counts: `most_refusals_told` for each opening.
    virtual void request_refused(std::uint16_t sub_channel, std::string_view reason) = 0;

    /// The guest has broken the channel's protocol: the provider touches the rings no more, and
    /// neither side is signalled. The guest can close the channel and open it again.
    virtual void fail(std::uint16_t sub_channel, std::string_view reason) = 0;
};

/// A service provider as VMBus sees it. All calls come on the bus's thread. Channel 0 is the
/// primary one. A call that has an answer must get it; until then nothing else happens to that
/// channel or GPADL, and the guest waits.
class ChannelService {
public:
    ChannelService() = default;
    ChannelService(const ChannelService&) = delete;
    ChannelService& operator=(const ChannelService&) = delete;
    virtual ~ChannelService() = default;

    /// The first call: the device is known to VMBus. `control` stays valid until `detached`.
    virtual void attached(ChannelControl& control) = 0;
    /// The last call, when all channels are closed and all GPADLs torn down, or when the service
    /// itself has gone.
    virtual void detached() = 0;

    /// The guest opens a channel. A service that accepts acts as if it had been signalled once.
    /// Answer: opened or open_refused.
    virtual void open(std::uint16_t sub_channel, OpenChannel channel) = 0;
    /// The guest has closed it, or is gone. When that is answered, the service touches the rings no
    /// more and has nothing in flight for the channel. Answer: closed.
    virtual void close(std::uint16_t sub_channel) = 0;

    /// The guest has made a GPADL for the channel. Answer: gpadl_created.
    virtual void create_gpadl(std::uint16_t sub_channel, Gpadl gpadl) = 0;
    /// It takes it away again. When that is answered, the service doesn't touch its memory any
    /// more. Answer: gpadl_torn_down.
    virtual void teardown_gpadl(std::uint16_t sub_channel, std::uint32_t id) = 0;

    /// The VM is being paused. When that is answered, the service has nothing in flight, touches no
    /// memory of the guest and signals nobody. Answer: stopped.
    virtual void stop() = 0;
    /// And goes on, as if each open channel had been signalled once. No answer.
    virtual void start() = 0;
};

} // namespace croft::vmbus
