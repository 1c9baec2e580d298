// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/memory/descriptor.hpp"
#include "vmbus/protocol/message.hpp"
#include "vmbus/server/channel_interrupt.hpp"

#include <cstdint>
#include <memory>
#include <optional>

namespace croft::vmbus {

class OfferedDevice;

/// What the guest said when it opened a channel.
struct OpenParameters {
    std::uint32_t open_id = 0;
    std::uint32_t ring_gpadl = 0;
    /// In pages.
    std::uint32_t downstream_offset = 0;
    std::uint32_t target_vp = 0;
    protocol::UserDefined user_data{};
};

/// A channel as the server sees it.
///
///     closed --OPENCHANNEL--> opening --opened--> open --CLOSECHANNEL--> closing --closed-->
///     closed
///
/// Independent of that, the guest knows it (`relid`) or doesn't.
struct Channel {
    enum class State : std::uint8_t { closed, opening, open, closing };

    Channel(OfferedDevice& owner, std::uint16_t sub_channel) : device(&owner), index(sub_channel) {}

    OfferedDevice* device;
    /// 0 for the primary channel.
    std::uint16_t index;
    /// The guest's name for it; 0 while it has none.
    std::uint32_t relid = 0;
    State state = State::closed;
    /// Taken away from the guest, which has been told if it knew the channel.
    bool rescinded = false;
    /// The guest has given the channel up and is not offered it again over this connection.
    bool released = false;
    /// To be closed as soon as it is open.
    bool close_wanted = false;
    /// Was open when the VM was saved, and the guest takes it for open.
    bool restored = false;
    /// Its service has ended it, since it was opened.
    bool failed = false;
    /// The guest waits for OPENCHANNEL_RESULT.
    bool answer_due = false;
    OpenParameters parameters;
    /// An OPENCHANNEL that came while it was closing; the guest waits for the result.
    std::optional<OpenParameters> reopen;

    // While it isn't closed.
    Descriptor event;
    std::shared_ptr<ChannelInterrupt> interrupt;
};

} // namespace croft::vmbus
