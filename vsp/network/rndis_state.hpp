// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vsp/network/back_end.hpp"
#include "vsp/network/mac_address.hpp"

#include <cstdint>
#include <vector>

namespace croft::vsp::network {

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
