// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vsp/storage/protocol.hpp"

#include <cstdint>
#include <optional>

namespace croft::vsp::storage {

/// How far a guest has got.
enum class Stage : std::uint8_t {
    begin_initialization,
    query_protocol_version,
    query_properties,
    end_initialization,
    ready,
};

struct NegotiationState {
    Stage stage = Stage::begin_initialization;
    /// protocol::version_…, once agreed on.
    std::uint16_t version = 0;
    /// That the guest has asked for.
    std::uint16_t sub_channels = 0;

    friend bool operator==(const NegotiationState&, const NegotiationState&) = default;
};

/// What guest and provider agree on before the first command, on the primary channel. What comes
/// out of order is refused, and changes nothing.
class Negotiation {
public:
    explicit Negotiation(std::uint16_t most_sub_channels, const NegotiationState& state = {})
        : most_sub_channels_(most_sub_channels),
          state_(state) {}

    [[nodiscard]] const NegotiationState& state() const { return state_; }
    [[nodiscard]] bool is_ready() const { return state_.stage == Stage::ready; }

    /// Answers one of the operations that belong here: the status, with the body changed to what
    /// the guest is to see.
    [[nodiscard]] std::uint32_t answer(protocol::Packet& packet);

private:
    [[nodiscard]] std::uint32_t query_version(protocol::Packet& packet);
    [[nodiscard]] std::uint32_t query_properties(protocol::Packet& packet);
    [[nodiscard]] std::uint32_t create_sub_channels(const protocol::Packet& packet);

    std::uint16_t most_sub_channels_;
    NegotiationState state_;
};

} // namespace croft::vsp::storage
