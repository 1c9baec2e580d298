// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vsp/network/back_end.hpp"
#include "vsp/network/mac_address.hpp"

#include <cstdint>
#include <vector>

namespace croft::vsp::network {

/// How a guest wants received frames to be spread: kept for it. Which channel a frame comes by is
/// the back end's choice.
struct ReceiveScaling {
    bool enabled = false;
    std::vector<std::uint32_t> table;
    std::vector<std::uint8_t> key;

    friend bool operator==(const ReceiveScaling&, const ReceiveScaling&) = default;
};

/// What a guest has set by RNDIS.
struct RndisState {
    bool initialized = false;
    /// protocol::filter_…
    std::uint32_t filter = 0;
    std::vector<MacAddress> multicast;
    Coalescing coalescing;
    ReceiveScaling scaling;

    friend bool operator==(const RndisState&, const RndisState&) = default;
};

} // namespace croft::vsp::network
