// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace croft::vsp::network {

/// A number that one thread at a time counts up and any reads.
class Counter {
public:
    void add(std::uint64_t count) {
        value_.store(value_.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
    }
    void set(std::uint64_t value) { value_.store(value, std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

private:
    std::atomic<std::uint64_t> value_ = 0;
};

/// Whom a frame is for, as statistics tell it.
enum class Cast : std::uint8_t { directed, multicast, broadcast };
constexpr std::size_t cast_count = 3;

template <typename Number>
struct Traffic {
    std::array<Number, cast_count> frames{};
    std::array<Number, cast_count> bytes{};
    /// Frames that the network didn't take, or that the guest can't get.
    Number errors{};
    /// Frames that were lost because the guest had no room.
    Number no_buffer{};
};

/// Of one channel. Sent and received are meant from the guest's side.
struct Counters {
    Traffic<Counter> sent;
    Traffic<Counter> received;
};

/// Of an adapter, at a moment.
struct Statistics {
    Traffic<std::uint64_t> sent;
    Traffic<std::uint64_t> received;
};

} // namespace croft::vsp::network
