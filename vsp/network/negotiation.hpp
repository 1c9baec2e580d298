// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vsp/network/frame.hpp"
#include "vsp/network/outcome.hpp"
#include "vsp/network/protocol/nvsp.hpp"
#include "vsp/network/shared_buffer.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

namespace croft::vsp::network {

struct NegotiationState {
    /// protocol::version_…; 0 before it is agreed on.
    std::uint32_t version = 0;
    /// Of the guest, without the Ethernet header.
    std::uint32_t mtu = default_mtu;
    /// The guest takes large frames in parts.
    bool coalesces = false;
    /// Of both buffers: 0 if there is none.
    std::uint32_t receive_gpadl = 0;
    std::uint32_t send_gpadl = 0;
    /// That the guest has asked for.
    std::uint16_t sub_channels = 0;

    friend bool operator==(const NegotiationState&, const NegotiationState&) = default;
};

/// What guest and provider agree on by NVSP, on the primary channel: version, buffers, channels.
class Negotiation {
public:
    struct Limits {
        /// Beside the primary channel.
        std::uint16_t most_sub_channels = 0;
        /// What the network takes.
        std::uint32_t mtu = default_mtu;
    };
    /// Guest memory by the number of a GPADL of the primary channel, in sections of a size; null if
    /// there is none that fits.
    using Map =
        std::function<std::shared_ptr<const SharedBuffer>(std::uint32_t gpadl, std::uint32_t size)>;

    /// The guest's; larger frames it sends from where they are.
    static constexpr std::uint32_t send_section_size = 6144;

    Negotiation(const Limits& limits, Map map) : limits_(limits), map_(std::move(map)) {}

    [[nodiscard]] const NegotiationState& state() const { return state_; }
    /// The guest's MTU, within what the network takes.
    [[nodiscard]] std::uint32_t mtu() const;
    [[nodiscard]] const std::shared_ptr<const SharedBuffer>& receive_buffer() const {
        return receive_buffer_;
    }
    [[nodiscard]] const std::shared_ptr<const SharedBuffer>& send_buffer() const {
        return send_buffer_;
    }
    /// Of the receive buffer, so many are each channel's.
    [[nodiscard]] std::uint32_t sections_per_channel() const;

    /// Answers a message.
    [[nodiscard]] Answered answer(const Request& request);
    /// A GPADL goes. Answers whether a buffer was in it.
    [[nodiscard]] bool forget(std::uint32_t gpadl);
    /// As before the first message.
    void reset();
    /// Takes a state over, whose GPADLs are there. False if it can't be.
    [[nodiscard]] bool restore(const NegotiationState& state);

private:
    [[nodiscard]] Answered init(const Request& request);
    [[nodiscard]] Answered ndis_config(const Request& request);
    [[nodiscard]] Answered receive_buffer(const Request& request);
    [[nodiscard]] Answered send_buffer(const Request& request);
    [[nodiscard]] Answered revoke(
        const Request& request, std::uint32_t& gpadl, std::shared_ptr<const SharedBuffer>& buffer);
    [[nodiscard]] Answered sub_channels(const Request& request);
    [[nodiscard]] std::uint16_t most_sub_channels() const;

    const Limits limits_;
    Map map_;
    NegotiationState state_;
    std::shared_ptr<const SharedBuffer> receive_buffer_;
    std::shared_ptr<const SharedBuffer> send_buffer_;
};

} // namespace croft::vsp::network
