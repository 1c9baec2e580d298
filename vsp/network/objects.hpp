// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vsp/network/counters.hpp"
#include "vsp/network/frame.hpp"
#include "vsp/network/mac_address.hpp"
#include "vsp/network/protocol/ndis.hpp"
#include "vsp/network/rndis_state.hpp"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <vector>

namespace croft::vsp::network {

/// What objects tell of an adapter.
struct AdapterFacts {
    MacAddress permanent_address;
    MacAddress address;
    std::uint32_t mtu = default_mtu;
    bool connected = false;
    std::uint16_t channels = 1;
    /// protocol::version_…, of NVSP
    std::uint32_t version = 0;
    /// The guest takes large frames in parts.
    bool coalesces = false;
    Statistics statistics;
};

/// What a guest sees as the speed of its link, in bit/s.
constexpr std::uint64_t link_speed = 10'000'000'000;

/// Addresses of groups that a guest can ask for one by one.
constexpr std::size_t most_multicast = 32;

/// An object's value, or the status of RNDIS that says why there is none. `room` is how long the
/// guest takes a number to be; 0 if it doesn't say.
[[nodiscard]] std::expected<std::vector<std::uint8_t>, std::uint32_t> query_object(
    protocol::Oid oid, std::size_t room, const AdapterFacts& facts, const RndisState& state);

/// Sets one; answers the status of RNDIS.
[[nodiscard]] std::uint32_t set_object(protocol::Oid oid, std::span<const std::uint8_t> value,
    const AdapterFacts& facts, RndisState& state, MacAddress& address);

} // namespace croft::vsp::network
