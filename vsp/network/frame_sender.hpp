// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vsp/network/back_end.hpp"
#include "vsp/network/counters.hpp"
#include "vsp/network/frame.hpp"
#include "vsp/network/gather.hpp"
#include "vsp/network/protocol/rndis.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace croft::vsp::network {

/// How a guest breaks a protocol: what was found and what was expected.
using Reason = std::string;
using Checked = std::expected<void, Reason>;

/// Takes frames out of a guest's RNDIS messages and sends them by a queue, from where the guest has
/// them. One thread at a time.
class FrameSender {
public:
    /// In one message, and as many more as Linux adds before it looks.
    static constexpr unsigned most_packets = 8;
    static constexpr unsigned most_packets_taken = 2 * most_packets;

    FrameSender(Queue& queue, Counters& counters) : queue_(queue), traffic_(counters.sent) {}

    /// Sends the frames of a message, which is one RNDIS message or several one after the other.
    /// Without `plugged` they are lost.
    [[nodiscard]] Checked send(std::span<const iovec> message, bool plugged);

private:
    /// The per-packet information that counts.
    struct Info {
        std::optional<std::uint32_t> checksum;
        std::optional<std::uint32_t> large_send;
        std::optional<std::uint32_t> vlan;
    };
    /// What the start of a frame may be, up to the end of TCP's header without its options.
    static constexpr std::size_t largest_head = 512;
    static constexpr std::size_t largest_info = 256;
    /// What the kernel takes at a time (IOV_MAX).
    static constexpr std::size_t most_segments = 1024;

    [[nodiscard]] std::expected<protocol::RndisHeader, Reason> send_packet(
        const Cursor& message, bool plugged);
    [[nodiscard]] std::expected<Info, Reason> read_info(
        Cursor message, const protocol::RndisHeader& header, const protocol::RndisPacket& packet);
    [[nodiscard]] Checked prepare(Cursor& data, const Info& info);
    [[nodiscard]] Checked prepare_checksum(Cursor& data, std::uint32_t value);
    [[nodiscard]] Checked prepare_large_send(Cursor& data, std::uint32_t value);
    [[nodiscard]] Checked complete_ipv4(std::size_t tcp_offset);
    [[nodiscard]] Checked complete_ipv6(std::size_t tcp_offset);
    [[nodiscard]] Checked prepare_ip_checksum(Cursor& data);
    void copy_head(Cursor& data, std::size_t size);
    [[nodiscard]] Checked send_frame(Cursor& data, std::optional<std::uint32_t> vlan, bool plugged);
    void count(int result);

    Queue& queue_;
    Traffic<Counter>& traffic_;

    // The frame at hand.
    FrameHeader header_{};
    std::size_t length_ = 0;
    /// A private copy of its start, which is sent in the place of the guest's.
    std::array<std::uint8_t, largest_head> head_{};
    std::size_t head_size_ = 0;
    std::array<std::uint8_t, vlan_tag_size> tag_{};
    std::array<std::uint8_t, largest_info> info_{};
    std::vector<iovec> segments_;
};

} // namespace croft::vsp::network
