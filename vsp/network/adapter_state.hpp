// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vdev/record.hpp"
#include "vsp/network/channel_state.hpp"
#include "vsp/network/negotiation.hpp"
#include "vsp/network/rndis_state.hpp"

#include <cstdint>
#include <map>

namespace croft::vsp::network {

/// What a guest could see of an adapter, beside its rings.
struct AdapterState {
    NegotiationState negotiation;
    RndisState rndis;
    MacAddress address;
    /// Of the open channels, by index.
    std::map<std::uint16_t, ChannelState> channels;

    [[nodiscard]] vdev::Record save() const;
    /// Errors: RecordError.
    [[nodiscard]] static AdapterState load(const vdev::Record& record);
};

} // namespace croft::vsp::network
