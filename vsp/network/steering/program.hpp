// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vsp/network/steering/toeplitz.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <linux/bpf.h>
#include <vector>

namespace croft::vsp::network::steering {

/// What the program goes by: the one value of a BPF map, which is written here while it runs there.
struct Rules {
    static constexpr std::size_t entries = 128;

    /// By a frame's hash, its lowest bits: a queue of the device.
    std::array<std::uint8_t, entries> queues;
    /// Of frames that are not hashed.
    std::uint8_t other_queue;
    std::array<std::uint8_t, 3> padding;
    /// protocol::hash_…: what is hashed.
    std::uint32_t hashed;
    ToeplitzTable toeplitz;
};
static_assert(offsetof(Rules, toeplitz) + sizeof(ToeplitzTable) == sizeof(Rules));

/// A socket filter that answers the number of the queue which a frame, from its Ethernet header on,
/// is to go by. `map`: the descriptor of an array whose value is Rules.
[[nodiscard]] std::vector<bpf_insn> make_program(int map);

} // namespace croft::vsp::network::steering
