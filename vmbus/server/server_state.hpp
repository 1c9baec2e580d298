// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vdev/record.hpp"
#include "vmbus/protocol/message.hpp"
#include "vmbus/protocol/version.hpp"
#include "vmbus/server/channel.hpp"
#include "vmbus/server/outbox.hpp"
#include "vmbus/vsp/offer.hpp"

#include <cstdint>
#include <vector>

namespace croft::vmbus {

/// All that a guest knows of VMBus, at a moment in which nothing is under way.
struct ServerState {
    /// A channel that the guest knows or has given up.
    struct Channel {
        Offer offer;
        std::uint16_t index = 0;
        /// 0 if the guest has given it up.
        std::uint32_t relid = 0;
        bool rescinded = false;
        bool released = false;
        bool open = false;
        OpenParameters parameters;
    };
    struct Gpadl {
        std::uint32_t relid = 0;
        std::uint32_t id = 0;
        std::uint16_t range_count = 0;
        std::uint32_t expected_words = 0;
        /// The ranges as the guest sends them; not all of them if it is incomplete.
        std::vector<std::uint64_t> words;
        bool end_wanted = false;
        bool answer_teardown = false;
    };

    /// 0 without a connection.
    protocol::Version version = 0;
    std::uint32_t feature_flags = 0;
    std::uint32_t message_vp = 0;
    bool offers_requested = false;
    std::vector<Channel> channels;
    std::vector<Gpadl> gpadls;
    std::vector<Outbox::Message> messages;

    [[nodiscard]] vdev::Record save() const;
    /// Errors: RecordError, also if the parts contradict each other.
    [[nodiscard]] static ServerState load(const vdev::Record& record);
};

} // namespace croft::vmbus
