// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vsp/network/mac_address.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace croft::worker {

/// From six numbers in hexadecimal with colons or hyphens between them; none if it isn't that, or
/// is no address of a single adapter.
[[nodiscard]] std::optional<vsp::network::MacAddress> parse_mac(std::string_view text);
[[nodiscard]] std::string text_of(const vsp::network::MacAddress& address);

/// Of a NIC that is given none: always the same for that number in a VM of that name, of the
/// addresses that Hyper-V makes up (00:15:5d).
[[nodiscard]] vsp::network::MacAddress default_address(
    std::string_view machine, std::uint32_t number);

} // namespace croft::worker
