// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vsp/network/back_end.hpp"
#include "vsp/network/counters.hpp"
#include "vsp/network/frame.hpp"
#include "vsp/network/mac_address.hpp"
#include "vsp/network/shared_buffer.hpp"

#include <cstdint>
#include <memory>
#include <vector>

namespace croft::vsp::network {

/// Which frames a guest wants.
struct PacketFilter {
    /// protocol::filter_…
    std::uint32_t types = 0;
    MacAddress address;
    std::vector<MacAddress> multicast;

    [[nodiscard]] bool wants(const MacAddress& destination) const;

    friend bool operator==(const PacketFilter&, const PacketFilter&) = default;
};

[[nodiscard]] Cast cast_of(const MacAddress& destination);

/// What the channels of an adapter work by. It never changes: they get another one.
struct DataSettings {
    std::shared_ptr<const SharedBuffer> receive_buffer;
    std::shared_ptr<const SharedBuffer> send_buffer;
    /// How many of the receive buffer's sections each channel has, from channel 0 on.
    std::uint32_t sections_per_channel = 0;
    PacketFilter filter;
    Coalescing coalescing;
    bool plugged = false;
};

// In a section of the receive buffer is a message, and in it at one place always a frame, or a part
// of one: `first_bytes` of its start that were looked at come before `frame_offset`, and from there
// on the back end writes itself.
constexpr std::size_t frame_offset = 128;
constexpr std::size_t first_bytes = 16;

/// As large as a frame by that MTU needs, and not less than Hyper-V's.
[[nodiscard]] constexpr std::uint32_t receive_section_size(std::uint32_t mtu) {
    constexpr std::uint32_t least = 1728;
    constexpr std::uint32_t unit = 64;
    constexpr std::uint32_t around =
        frame_offset - first_bytes + ethernet_header_size + vlan_tag_size;
    const std::uint32_t size = (mtu + around + unit - 1) / unit * unit;
    return size > least ? size : least;
}

} // namespace croft::vsp::network
