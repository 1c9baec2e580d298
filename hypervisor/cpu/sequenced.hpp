// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/cpu/intrinsics.hpp"
#include "hypervisor/cpu/spin_lock.hpp"

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace hypervisor {

/// A few words that belong together, read often and from any LP, changed rarely: readers take no
/// lock, and look again if a change has come between.
template <class T>
class Sequenced final {
public:
    explicit Sequenced(const T& value) { store(value); }
    Sequenced(const Sequenced&) = delete;
    Sequenced& operator=(const Sequenced&) = delete;

    [[nodiscard]] T read() const {
        for (;;) {
            const std::uint64_t before = sequence_.load(std::memory_order_acquire);
            const T value = load();
            if (before % 2 == 0 && sequence_.load(std::memory_order_relaxed) == before) {
                return value;
            }
            pause();
        }
    }

    /// Calls `f(T&)`; one at a time.
    template <class F>
    void change(F&& f) {
        const SpinGuard guard{lock_};
        T value = load();
        f(value);
        sequence_.fetch_add(1, std::memory_order_relaxed);
        store(value);
        sequence_.fetch_add(1, std::memory_order_release);
    }

private:
    static constexpr std::size_t count = sizeof(T) / sizeof(std::uint64_t);
    static_assert(sizeof(T) == count * sizeof(std::uint64_t));
    using Words = std::array<std::uint64_t, count>;

    // The sequence is looked at after the words, and is odd before one changes.
    [[nodiscard]] T load() const {
        Words words;
        for (std::size_t i = 0; i < count; ++i) {
            words[i] = words_[i].load(std::memory_order_acquire);
        }
        return std::bit_cast<T>(words);
    }
    void store(const T& value) {
        const auto words = std::bit_cast<Words>(value);
        for (std::size_t i = 0; i < count; ++i) {
            words_[i].store(words[i], std::memory_order_release);
        }
    }

    SpinLock lock_{};
    std::atomic<std::uint64_t> sequence_{0};
    std::array<std::atomic<std::uint64_t>, count> words_{};
};

} // namespace hypervisor
