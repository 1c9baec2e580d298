// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vsp/network/exchange.hpp"
#include "vsp/network/receive_sections.hpp"

#include <cstdint>
#include <optional>
#include <vector>

namespace croft::vsp::network {

/// What a quiesced channel is beside its rings.
struct ChannelState {
    ReceiveSections::State sections;
    /// That found no room yet, in order.
    std::vector<Reply> replies;
    /// The guest is to be told how the link is.
    std::optional<bool> link;
};

} // namespace croft::vsp::network
