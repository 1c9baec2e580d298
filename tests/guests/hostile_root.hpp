// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <random>

namespace croft::guests {

/// A program in the root that may open /dev/mshv and asks for everything, in every state of a
/// partition, with whatever arguments; several threads on the same few partitions.
class HostileRoot {
public:
    struct Counts {
        std::uint64_t calls = 0;
        std::uint64_t granted = 0;
        std::uint64_t hypercalls = 0;
        std::uint64_t hypercalls_granted = 0;
    };

    explicit HostileRoot(std::uint64_t seed);
    ~HostileRoot();
    HostileRoot(const HostileRoot&) = delete;
    HostileRoot& operator=(const HostileRoot&) = delete;

    Counts run_for(std::chrono::seconds time);

private:
    class Thread;
    static constexpr std::size_t slots = 4;
    static constexpr std::size_t memory_size = 4u << 20;

    /// A partition and one of its processors, or -1.
    struct Slot {
        std::atomic<int> partition{-1};
        std::atomic<int> vp{-1};
    };

    std::uint64_t seed_;
    int device_;
    std::byte* memory_;
    std::array<Slot, slots> slots_{};
    std::atomic<bool> ends_{false};
};

} // namespace croft::guests
