// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/testing/model_guest.hpp"
#include "vmbus/testing/test_vm.hpp"
#include "vsp/network/protocol/ndis.hpp"
#include "vsp/network/protocol/nvsp.hpp"
#include "vsp/network/protocol/rndis.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <vector>

namespace croft::vsp::network::testing {

using Bytes = std::vector<std::uint8_t>;

template <typename... Parts>
[[nodiscard]] Bytes concatenate(const Parts&... parts) {
    Bytes bytes;
    const auto append = [&](const auto& part) {
        const auto* const first = reinterpret_cast<const std::uint8_t*>(&part);
        bytes.insert(bytes.end(), first, first + sizeof(part));
    };
    (append(parts), ...);
    return bytes;
}
template <typename T>
[[nodiscard]] T take_from(std::span<const std::uint8_t> bytes, std::size_t offset = 0) {
    T value{};
    if (offset + sizeof(value) <= bytes.size()) {
        std::memcpy(&value, bytes.data() + offset, sizeof(value));
    }
    return value;
}

/// An RNDIS message with a body, its length put right.
[[nodiscard]] Bytes rndis_message(protocol::RndisType type, const Bytes& body);
/// One with a frame, and per-packet information by type.
[[nodiscard]] Bytes rndis_packet(
    const Bytes& frame, const std::map<std::uint32_t, std::uint32_t>& info = {});
/// A message of NVSP, padded to its size.
[[nodiscard]] Bytes nvsp_message(protocol::MessageType type, const Bytes& body);

/// What a guest has received.
struct ReceivedFrame {
    Bytes bytes;
    std::map<std::uint32_t, std::uint32_t> info;
    std::size_t parts = 0;
};

/// A driver that speaks Linux's half (drivers/net/hyperv/netvsc.c, rndis_filter.c) on a model
/// guest's channel.
class NetworkGuest {
public:
    using Channel = vmbus::testing::ModelGuest::Channel;
    using GuestPacket = vmbus::testing::GuestPacket;

    static constexpr std::size_t receive_pages = 256;
    static constexpr std::size_t send_pages = 16;

    NetworkGuest(vmbus::testing::TestVm& vm, vmbus::testing::ModelGuest& guest)
        : vm_(vm),
          guest_(guest) {}

    // NVSP
    /// Sends a message and answers its completion's payload.
    std::optional<Bytes> ask(Channel& channel, const Bytes& message);
    void tell(Channel& channel, const Bytes& message);
    /// The status of INIT.
    std::uint32_t negotiate(Channel& channel, std::uint32_t version);
    void configure(Channel& channel, std::uint32_t mtu, std::uint64_t capabilities);
    protocol::ReceiveBufferComplete give_receive_buffer(
        Channel& channel, std::size_t pages = receive_pages);
    protocol::SendBufferComplete give_send_buffer(Channel& channel);
    /// Tears their GPADLs down, of those that there are.
    bool take_back_receive_buffer(const Channel& channel);
    bool take_back_send_buffer(const Channel& channel);
    /// All of it, up to RNDIS's INITIALIZE and a packet filter; false if something was refused.
    bool initialize(Channel& channel, std::uint32_t version = protocol::version_6_1,
        std::uint32_t mtu = 1500, std::uint32_t filter = 0x0d);

    // RNDIS
    /// Sends a request and answers the message that comes for it.
    std::optional<Bytes> request(Channel& channel, const Bytes& message);
    std::optional<Bytes> query(Channel& channel, protocol::Oid oid, std::uint32_t room = 0);
    std::uint32_t query_status(Channel& channel, protocol::Oid oid);
    std::uint32_t set(Channel& channel, protocol::Oid oid, const Bytes& value);
    /// The next message of RNDIS that isn't a frame.
    std::optional<Bytes> control(Channel& channel);

    // Frames
    /// Sends RNDIS messages by a section of the send buffer, by pages, or the first bytes by the
    /// one and the rest by the others; answers the status of the completion.
    std::optional<std::uint32_t> send_by_section(
        Channel& channel, const Bytes& message, std::uint32_t section = 0);
    std::optional<std::uint32_t> send_by_pages(Channel& channel, const Bytes& message);
    std::optional<std::uint32_t> send_by_both(
        Channel& channel, const Bytes& message, std::size_t in_section);
    /// The packet that sends a message, for tests that change it.
    GuestPacket packet_by_pages(const Bytes& message, std::uint32_t rndis_channel = 0);
    GuestPacket packet_by_section(const Bytes& message, std::uint32_t section);
    std::optional<std::uint32_t> send(Channel& channel, GuestPacket packet);

    /// The next frame; it is completed at once if `completes`.
    std::optional<ReceivedFrame> receive(Channel& channel);
    void set_completes(bool completes) { completes_ = completes; }
    /// Completes what was received and not completed.
    void complete_all(Channel& channel);
    void complete(Channel& channel, std::uint64_t transaction);

    /// Notices that came.
    [[nodiscard]] const std::vector<Bytes>& notices() const { return notices_; }
    /// What the guest has in the receive buffer.
    [[nodiscard]] Bytes receive_buffer(std::size_t offset, std::size_t size) const;

private:
    bool pump(Channel& channel);
    void take_pages(Channel& channel, const GuestPacket& packet);
    void take_frame(const Bytes& message);
    std::optional<Bytes> completion(Channel& channel, std::uint64_t transaction);
    void write_pages(
        const std::vector<std::uint64_t>& pages, std::size_t offset, const Bytes& bytes);
    std::uint32_t make_gpadl(const Channel& channel, const std::vector<std::uint64_t>& pages);

    vmbus::testing::TestVm& vm_;
    vmbus::testing::ModelGuest& guest_;
    std::uint64_t next_transaction_ = 1;
    std::uint32_t next_request_ = 1;
    std::vector<std::uint64_t> receive_pages_;
    std::vector<std::uint64_t> send_pages_;
    std::vector<std::uint64_t> message_pages_;
    std::uint32_t receive_gpadl_ = 0;
    std::uint32_t send_gpadl_ = 0;
    bool completes_ = true;
    std::deque<std::uint64_t> held_;
    std::map<std::uint64_t, Bytes> completions_;
    std::deque<Bytes> controls_;
    std::deque<ReceivedFrame> frames_;
    std::optional<ReceivedFrame> partial_;
    std::vector<Bytes> notices_;
};

} // namespace croft::vsp::network::testing
