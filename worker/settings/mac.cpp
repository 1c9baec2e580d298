// SPDX-License-Identifier: Apache-2.0
#include "worker/settings/mac.hpp"

#include "worker/hash.hpp"

#include <charconv>
#include <fmt/format.h>

namespace croft::worker {

using vsp::network::MacAddress;

std::optional<MacAddress> parse_mac(std::string_view text) {
    MacAddress address;
    constexpr std::size_t length = 17;
    if (text.size() != length) {
        return std::nullopt;
    }
    for (std::size_t i = 0; i < address.bytes.size(); ++i) {
        const char* const digits = text.data() + 3 * i;
        const auto [end, error] = std::from_chars(digits, digits + 2, address.bytes.at(i), 16);
        const bool is_last = i + 1 == address.bytes.size();
        if (error != std::errc() || end != digits + 2 ||
            (!is_last && digits[2] != ':' && digits[2] != '-')) {
            return std::nullopt;
        }
    }
    return address.is_group() || address == MacAddress() ? std::nullopt : std::optional(address);
}

std::string text_of(const MacAddress& address) {
    return fmt::format("{:02x}", fmt::join(address.bytes, ":"));
}

MacAddress default_address(std::string_view machine, std::uint32_t number) {
    const std::uint64_t hash = hash_of(fmt::format("{}/nic{}", machine, number));
    return {{0x00, 0x15, 0x5d, static_cast<std::uint8_t>(hash >> 16),
        static_cast<std::uint8_t>(hash >> 8), static_cast<std::uint8_t>(hash)}};
}

} // namespace croft::worker
