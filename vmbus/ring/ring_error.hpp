// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <expected>
#include <string_view>

namespace croft::vmbus {

/// What a guest can do wrong with its rings and what is in them. After one of these the ring is not
/// touched any more: the channel is to be ended.
enum class RingError : std::uint8_t {
    not_memory,
    bad_size,
    bad_write_index,
    bad_read_index,
    packet_cut_off,
    packet_too_large,
    bad_descriptor,
    bad_flags,
    bad_ranges,
};

template <typename T>
using RingResult = std::expected<T, RingError>;

/// For the log.
[[nodiscard]] constexpr std::string_view name_of(RingError error) {
    switch (error) {
    case RingError::not_memory:
        return "a page of the ring isn't memory";
    case RingError::bad_size:
        return "a ring has no page of data";
    case RingError::bad_write_index:
        return "the write index is out of range";
    case RingError::bad_read_index:
        return "the read index is out of range";
    case RingError::packet_cut_off:
        return "a packet is longer than what was written";
    case RingError::packet_too_large:
        return "a packet is larger than this device takes";
    case RingError::bad_descriptor:
        return "a packet's descriptor contradicts itself";
    case RingError::bad_flags:
        return "a packet has unknown flags";
    case RingError::bad_ranges:
        return "a packet's ranges contradict its length";
    }
    return "unknown";
}

} // namespace croft::vmbus
