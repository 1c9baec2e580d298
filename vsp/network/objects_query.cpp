// SPDX-License-Identifier: Apache-2.0
#include "vsp/network/objects.hpp"

#include "vsp/network/protocol/nvsp.hpp"
#include "vsp/network/protocol/rndis.hpp"

#include <array>
#include <cstring>
#include <numeric>
#include <optional>
#include <string_view>

namespace croft::vsp::network {

using protocol::Oid;

namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::array known_objects = {Oid::supported_list, Oid::hardware_status,
    Oid::media_supported, Oid::media_in_use, Oid::maximum_lookahead, Oid::maximum_frame_size,
    Oid::link_speed, Oid::transmit_buffer_space, Oid::receive_buffer_space,
    Oid::transmit_block_size, Oid::receive_block_size, Oid::vendor_id, Oid::vendor_description,
    Oid::current_packet_filter, Oid::current_lookahead, Oid::driver_version,
    Oid::maximum_total_size, Oid::protocol_options, Oid::mac_options, Oid::media_connect_status,
    Oid::maximum_send_packets, Oid::vendor_driver_version, Oid::network_layer_addresses,
    Oid::receive_scale_capabilities, Oid::receive_scale_parameters, Oid::max_link_speed,
    Oid::link_state, Oid::config_parameter, Oid::xmit_ok, Oid::rcv_ok, Oid::xmit_error,
    Oid::rcv_error, Oid::rcv_no_buffer, Oid::directed_bytes_xmit, Oid::directed_frames_xmit,
    Oid::multicast_bytes_xmit, Oid::multicast_frames_xmit, Oid::broadcast_bytes_xmit,
    Oid::broadcast_frames_xmit, Oid::directed_bytes_rcv, Oid::directed_frames_rcv,
    Oid::multicast_bytes_rcv, Oid::multicast_frames_rcv, Oid::broadcast_bytes_rcv,
    Oid::broadcast_frames_rcv, Oid::friendly_name, Oid::bytes_rcv, Oid::bytes_xmit,
    Oid::permanent_address, Oid::current_address, Oid::multicast_list, Oid::maximum_list_size,
    Oid::rcv_error_alignment, Oid::xmit_one_collision, Oid::xmit_more_collisions,
    Oid::offload_encapsulation, Oid::offload_current_config, Oid::offload_parameters,
    Oid::offload_hardware_capabilities};

template <typename T>
Bytes bytes_of(const T& value) {
    Bytes bytes(sizeof(value));
    std::memcpy(bytes.data(), &value, sizeof(value));
    return bytes;
}

Bytes number(std::uint32_t value) {
    return bytes_of(value);
}

/// Of 32 or 64 bits, as the guest likes.
Bytes count(std::uint64_t value, std::size_t room) {
    return room != 0 && room < sizeof(value) ? bytes_of(static_cast<std::uint32_t>(value))
                                             : bytes_of(value);
}

template <typename Number>
Number sum_of(const std::array<Number, cast_count>& numbers) {
    return std::accumulate(numbers.begin(), numbers.end(), Number{0});
}

Bytes utf16(std::u16string_view text) {
    Bytes bytes(text.size() * sizeof(char16_t));
    std::memcpy(bytes.data(), text.data(), bytes.size());
    return bytes;
}

std::optional<std::uint64_t> statistic(Oid oid, const Statistics& statistics) {
    const auto of = [](const std::array<std::uint64_t, cast_count>& numbers, Cast cast) {
        return numbers.at(static_cast<std::size_t>(cast));
    };
    const auto& [sent, received] = statistics;
    switch (oid) {
    case Oid::xmit_ok:
        return sum_of(sent.frames);
    case Oid::rcv_ok:
        return sum_of(received.frames);
    case Oid::xmit_error:
        return sent.errors + sent.no_buffer;
    case Oid::rcv_error:
        return received.errors;
    case Oid::rcv_no_buffer:
        return received.no_buffer;
    case Oid::directed_bytes_xmit:
        return of(sent.bytes, Cast::directed);
    case Oid::directed_frames_xmit:
        return of(sent.frames, Cast::directed);
    case Oid::multicast_bytes_xmit:
        return of(sent.bytes, Cast::multicast);
    case Oid::multicast_frames_xmit:
        return of(sent.frames, Cast::multicast);
    case Oid::broadcast_bytes_xmit:
        return of(sent.bytes, Cast::broadcast);
    case Oid::broadcast_frames_xmit:
        return of(sent.frames, Cast::broadcast);
    case Oid::directed_bytes_rcv:
        return of(received.bytes, Cast::directed);
    case Oid::directed_frames_rcv:
        return of(received.frames, Cast::directed);
    case Oid::multicast_bytes_rcv:
        return of(received.bytes, Cast::multicast);
    case Oid::multicast_frames_rcv:
        return of(received.frames, Cast::multicast);
    case Oid::broadcast_bytes_rcv:
        return of(received.bytes, Cast::broadcast);
    case Oid::broadcast_frames_rcv:
        return of(received.frames, Cast::broadcast);
    case Oid::bytes_rcv:
        return sum_of(received.bytes);
    case Oid::bytes_xmit:
        return sum_of(sent.bytes);
    case Oid::rcv_error_alignment:
    case Oid::xmit_one_collision:
    case Oid::xmit_more_collisions:
        return 0;
    default:
        return std::nullopt;
    }
}

/// `rsc`: of the two, those that are meant.
Bytes offloads(const AdapterFacts& facts, Coalescing rsc) {
    constexpr std::uint32_t checksums = protocol::checksum_ip_options |
        protocol::checksum_tcp_options | protocol::checksum_tcp | protocol::checksum_udp;
    protocol::Offload offload{};
    std::size_t size = protocol::offload_size_1;
    std::uint8_t revision = 1;
    if (facts.version >= protocol::version_5) {
        size = protocol::offload_size_3;
        revision = 3;
    } else if (facts.version >= protocol::version_4) {
        size = protocol::offload_size_2;
        revision = 2;
    }
    offload.header = {protocol::object_offload, revision, static_cast<std::uint16_t>(size)};
    offload.ipv4_send_encapsulation = protocol::encapsulation_802_3;
    offload.ipv4_send_checksums = checksums | protocol::checksum_ip;
    offload.ipv4_receive_encapsulation = protocol::encapsulation_802_3;
    offload.ipv4_receive_checksums = checksums;
    offload.ipv6_send_encapsulation = protocol::encapsulation_802_3;
    offload.ipv6_send_checksums = checksums;
    offload.ipv6_receive_encapsulation = protocol::encapsulation_802_3;
    offload.ipv6_receive_checksums = checksums;
    constexpr std::uint32_t largest = 62780; // as Hyper-V's
    offload.large_send_ipv4_encapsulation = protocol::encapsulation_802_3;
    offload.large_send_ipv4_size = largest;
    offload.large_send_ipv4_segments = 2;
    offload.large_send_ipv6_encapsulation = protocol::encapsulation_802_3;
    offload.large_send_ipv6_size = largest;
    offload.large_send_ipv6_segments = 2;
    offload.large_send_ipv6_options = protocol::large_send_options;
    offload.rsc_ipv4 = rsc.ipv4 ? 1 : 0;
    offload.rsc_ipv6 = rsc.ipv6 ? 1 : 0;
    Bytes bytes = bytes_of(offload);
    bytes.resize(size);
    return bytes;
}

Bytes encapsulation() {
    const protocol::OffloadEncapsulation found{
        {protocol::object_offload_encapsulation, 1, sizeof(found)}, 1,
        protocol::encapsulation_802_3, ethernet_header_size, 1, protocol::encapsulation_802_3,
        ethernet_header_size};
    return bytes_of(found);
}

Bytes receive_scale_capabilities(std::uint16_t channels) {
    protocol::ReceiveScaleCapabilities found{};
    found.header = {protocol::object_rss_capabilities, 2,
        std::uint16_t{protocol::receive_scale_capabilities_size}};
    found.flags = protocol::hash_toeplitz | protocol::hash_capability_tcp_ipv4 |
        protocol::hash_capability_tcp_ipv6;
    found.interrupt_messages = 1;
    found.receive_queues = channels;
    found.table_entries = protocol::receive_scale_table_entries;
    Bytes bytes = bytes_of(found);
    bytes.resize(protocol::receive_scale_capabilities_size);
    return bytes;
}

Bytes link_state(bool connected) {
    protocol::LinkState found{};
    found.header = {protocol::object_default, 1, sizeof(found)};
    found.connect_state = connected ? 1 : 2;
    found.duplex_state = 2; // full
    found.transmit_speed = link_speed;
    found.receive_speed = link_speed;
    return bytes_of(found);
}

Bytes supported_list() {
    Bytes bytes(sizeof(known_objects));
    std::memcpy(bytes.data(), known_objects.data(), bytes.size());
    return bytes;
}

Bytes addresses(const std::vector<MacAddress>& list) {
    Bytes bytes;
    for (const MacAddress& address : list) {
        bytes.insert(bytes.end(), address.bytes.begin(), address.bytes.end());
    }
    return bytes;
}

} // namespace

std::expected<Bytes, std::uint32_t> query_object(
    Oid oid, std::size_t room, const AdapterFacts& facts, const RndisState& state) {
    if (const auto found = statistic(oid, facts.statistics)) {
        return count(*found, room);
    }
    constexpr std::string_view vendor = "Undercroft";
    const Coalescing can{facts.coalesces, facts.coalesces};
    switch (oid) {
    case Oid::supported_list:
        return supported_list();
    case Oid::hardware_status: // ready
    case Oid::media_supported:
    case Oid::media_in_use:
    case Oid::protocol_options:
        return number(0);
    case Oid::maximum_lookahead:
    case Oid::current_lookahead:
    case Oid::maximum_frame_size:
        return number(facts.mtu);
    case Oid::maximum_total_size:
    case Oid::transmit_block_size:
    case Oid::receive_block_size:
        return number(facts.mtu + std::uint32_t{ethernet_header_size});
    case Oid::link_speed:
        return number(link_speed / 100);
    case Oid::max_link_speed:
        return bytes_of(std::array{link_speed, link_speed});
    case Oid::transmit_buffer_space:
    case Oid::receive_buffer_space:
        return number(256 * 1024);
    case Oid::vendor_id:
        return number(0xffffff); // of nobody who has registered
    case Oid::vendor_description:
        return Bytes(vendor.begin(), vendor.end());
    case Oid::driver_version:
    case Oid::vendor_driver_version:
        return bytes_of(std::uint16_t{0x0100});
    case Oid::current_packet_filter:
        return number(state.filter);
    case Oid::mac_options:
        return number(0x01 | 0x08 | 0x40 | 0x200); // no loop back, priorities and VLANs
    case Oid::media_connect_status:
        return number(facts.connected ? protocol::media_connected : protocol::media_disconnected);
    case Oid::maximum_send_packets:
        return number(~std::uint32_t{0});
    case Oid::friendly_name:
        return utf16(u"Network Adapter");
    case Oid::permanent_address:
        return addresses({facts.permanent_address});
    case Oid::current_address:
        return addresses({facts.address});
    case Oid::multicast_list:
        return addresses(state.multicast);
    case Oid::maximum_list_size:
        return number(most_multicast);
    case Oid::link_state:
        return link_state(facts.connected);
    case Oid::receive_scale_capabilities:
        return receive_scale_capabilities(facts.channels);
    case Oid::offload_hardware_capabilities:
        return offloads(facts, can);
    case Oid::offload_current_config:
        return offloads(facts, state.coalescing);
    case Oid::offload_encapsulation:
        return encapsulation();
    default:
        return std::unexpected(protocol::rndis_not_supported);
    }
}

} // namespace croft::vsp::network
