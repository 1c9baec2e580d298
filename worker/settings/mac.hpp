// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vsp/network/mac_address.hpp"
#include "worker/settings/settings.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace croft::worker {

/// From six numbers in hexadecimal with colons or hyphens between them; none if it isn't that, or
/// is no address of a single adapter.
[[nodiscard]] std::optional<vsp::network::MacAddress> parse_mac(std::string_view text);
[[nodiscard]] std::string text_of(const vsp::network::MacAddress& address);

/// The NIC's own: what the settings say, or else always the same for that place in a VM of that
/// name, of the addresses that Hyper-V makes up (00:15:5d).
[[nodiscard]] vsp::network::MacAddress address_of(const Settings& settings, std::size_t index);

} // namespace croft::worker
