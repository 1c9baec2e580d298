// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace croft::vsp::network::steering {

/// The longest that is hashed: addresses of IPv6 and ports of TCP.
constexpr std::size_t longest_input = 36;

/// What a byte at each place adds to the Toeplitz hash by a key ("RSS Hashing Functions" in the
/// documentation of Windows drivers).
using ToeplitzTable = std::array<std::array<std::uint32_t, 256>, longest_input>;

/// Fills it for a key; one that is too short is followed by zeros.
void fill(ToeplitzTable& table, std::span<const std::uint8_t> key);

/// Of up to longest_input bytes, in the order in which they are in a packet.
[[nodiscard]] std::uint32_t hash(const ToeplitzTable& table, std::span<const std::uint8_t> input);

} // namespace croft::vsp::network::steering
