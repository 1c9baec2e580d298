// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vsp/storage/negotiation.hpp"
#include "vsp/storage/reply.hpp"

#include <vector>

namespace croft::vsp::storage {

/// What a quiesced channel is beside its rings.
struct ChannelState {
    /// Of the primary channel.
    NegotiationState negotiation;
    /// The guest is to look again which units there are.
    bool rescan_wanted = false;
    /// Completions that found no space in the ring, in order.
    std::vector<Reply> replies;
};

} // namespace croft::vsp::storage
