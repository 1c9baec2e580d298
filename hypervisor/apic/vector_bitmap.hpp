// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace hypervisor {

/// A set of interrupt vectors, as IRR, ISR and TMR are. Every operation on one vector is one atomic
/// access, so any processor may insert while another takes out; what spans several words
/// (`highest`, `empty`, `clear`) sees each word at its own instant, as hardware's 32-bit reads of
/// these registers do.
class VectorBitmap final {
public:
    static constexpr std::size_t register_count = 8;

    VectorBitmap() = default;
    VectorBitmap(const VectorBitmap&) = delete;
    VectorBitmap& operator=(const VectorBitmap&) = delete;

    /// Whether the vector was absent before. Everything written before is visible to whoever
    /// sees the vector in the set.
    bool insert(std::uint8_t vector) {
        return (word(vector).fetch_or(bit(vector), std::memory_order_acq_rel) & bit(vector)) == 0;
    }

    /// Whether the vector was present before.
    bool erase(std::uint8_t vector) {
        return (word(vector).fetch_and(~bit(vector), std::memory_order_acq_rel) & bit(vector)) != 0;
    }

    [[nodiscard]] bool contains(std::uint8_t vector) const {
        return (words_[vector / bits_per_word].load(std::memory_order_acquire) & bit(vector)) != 0;
    }

    [[nodiscard]] bool empty() const {
        std::uint64_t all = 0;
        for (const auto& each : words_) {
            all |= each.load(std::memory_order_acquire);
        }
        return all == 0;
    }

    [[nodiscard]] std::optional<std::uint8_t> highest() const {
        for (std::size_t index = words_.size(); index-- > 0;) {
            const std::uint64_t value = words_[index].load(std::memory_order_acquire);
            if (value != 0) {
                const std::size_t top = bits_per_word - 1 - std::size_t(std::countl_zero(value));
                return std::uint8_t(index * bits_per_word + top);
            }
        }
        return std::nullopt;
    }

    void clear() {
        for (auto& each : words_) {
            each.store(0, std::memory_order_relaxed);
        }
    }

    /// The 32 vectors from 32 * `index` on, as the architectural register of that index shows them.
    [[nodiscard]] std::uint32_t load_register(std::size_t index) const {
        const std::uint64_t value = words_[index / 2].load(std::memory_order_acquire);
        return std::uint32_t(value >> (index % 2 * 32));
    }

    /// Replaces those 32 vectors; others that come in meanwhile in the same register are lost.
    void store_register(std::size_t index, std::uint32_t value) {
        const unsigned shift = index % 2 * 32;
        words_[index / 2].fetch_and(~(std::uint64_t{0xFFFFFFFF} << shift));
        words_[index / 2].fetch_or(std::uint64_t{value} << shift);
    }

private:
    static constexpr std::size_t bits_per_word = 64;

    static constexpr std::uint64_t bit(std::uint8_t vector) {
        return std::uint64_t{1} << (vector % bits_per_word);
    }

    std::atomic<std::uint64_t>& word(std::uint8_t vector) { return words_[vector / bits_per_word]; }

    std::array<std::atomic<std::uint64_t>, 256 / bits_per_word> words_{};
};

} // namespace hypervisor
