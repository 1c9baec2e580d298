// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vsp/network/exchange.hpp"

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <vector>

namespace croft::vsp::network {

/// What comes of a request.
struct Outcome {
    std::vector<Reply> replies;
    /// The channels are to work by other settings from now on.
    bool changes_settings = false;
    /// So many sub-channels are wanted.
    std::optional<std::uint16_t> sub_channels;
    /// Why the answer is no, if the guest has asked for what can't be.
    std::string refusal;
};

/// Or how it broke the protocol: what was found and what was expected.
using Answered = std::expected<Outcome, std::string>;

} // namespace croft::vsp::network
