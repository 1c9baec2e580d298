// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vsp/network/objects.hpp"
#include "vsp/network/outcome.hpp"
#include "vsp/network/rndis_state.hpp"

#include <cstdint>
#include <span>

namespace croft::vsp::network {

/// RNDIS beside frames: initialize, halt, objects.
class RndisControl {
public:
    explicit RndisControl(const MacAddress& permanent_address)
        : permanent_address_(permanent_address),
          address_(permanent_address) {}

    [[nodiscard]] const RndisState& state() const { return state_; }
    /// The guest's choice, or the permanent one.
    [[nodiscard]] const MacAddress& address() const { return address_; }
    [[nodiscard]] const MacAddress& permanent_address() const { return permanent_address_; }

    /// Answers a message.
    [[nodiscard]] Answered answer(std::span<const std::uint8_t> message, const AdapterFacts& facts);
    /// As before the first message. The address stays: drivers begin anew without setting it again.
    void halt() { state_ = {}; }
    void restore(const RndisState& state, const MacAddress& address);
    /// The permanent address again.
    void reset_address() { address_ = permanent_address_; }

private:
    [[nodiscard]] Outcome initialize(std::uint32_t request_id);
    [[nodiscard]] Outcome query(
        std::span<const std::uint8_t> body, std::uint32_t request_id, const AdapterFacts& facts);
    [[nodiscard]] Outcome set(
        std::span<const std::uint8_t> body, std::uint32_t request_id, const AdapterFacts& facts);
    [[nodiscard]] Outcome reset_device();

    MacAddress permanent_address_;
    MacAddress address_;
    RndisState state_;
};

} // namespace croft::vsp::network
