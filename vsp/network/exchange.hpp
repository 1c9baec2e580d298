// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

// What goes between a channel and the adapter beside frames, and by the channel to the guest.
namespace croft::vsp::network {

/// What a guest asks: a copy.
struct Request {
    enum class Kind : std::uint8_t { nvsp, rndis };

    /// RSS's parameters are the longest that drivers send.
    static constexpr std::size_t longest = 4096;

    Kind kind = Kind::nvsp;
    /// Of nvsp: whether the guest waits for a completion, with which transaction.
    bool wants_completion = false;
    std::uint64_t transaction_id = 0;
    std::vector<std::uint8_t> bytes;
};

/// What the guest gets for it, or unasked.
struct Reply {
    enum class Kind : std::uint8_t {
        /// The completion of a transaction.
        completion,
        /// A message of NVSP.
        notice,
        /// A message of RNDIS, by the receive buffer.
        rndis,
    };

    static constexpr std::size_t longest = 1024;

    Kind kind = Kind::completion;
    std::uint64_t transaction_id = 0;
    std::vector<std::uint8_t> bytes;

    friend bool operator==(const Reply&, const Reply&) = default;
};

} // namespace croft::vsp::network
