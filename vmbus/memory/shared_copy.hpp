// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

// Access to memory that a guest writes at the same time. Each word is read or written once, as an
// atomic, so that whatever the other side does a copy holds one value and the compiler can't go
// back for another.
namespace croft::vmbus {

/// `place` is a multiple of 4.
[[nodiscard]] inline std::uint32_t load_shared(const std::uint8_t* place) {
    return __atomic_load_n(
        static_cast<const std::uint32_t*>(static_cast<const void*>(place)), __ATOMIC_SEQ_CST);
}

/// `place` is a multiple of 4.
inline void store_shared(std::uint8_t* place, std::uint32_t value) {
    __atomic_store_n(
        static_cast<std::uint32_t*>(static_cast<void*>(place)), value, __ATOMIC_SEQ_CST);
}

/// Copies whole words out; `from` is a multiple of 8. Who needs an order gets it by load_shared.
inline void copy_words_from_shared(std::span<std::uint64_t> to, const std::uint8_t* from) {
    const auto* words = static_cast<const std::uint64_t*>(static_cast<const void*>(from));
    for (std::uint64_t& word : to) {
        word = __atomic_load_n(words++, __ATOMIC_RELAXED);
    }
}

/// Copies bytes in, filled up with zeros to a whole word; `to` is a multiple of 8.
inline void copy_to_shared_words(std::uint8_t* to, std::span<const std::uint8_t> from) {
    auto* words = static_cast<std::uint64_t*>(static_cast<void*>(to));
    while (!from.empty()) {
        std::uint64_t word = 0;
        const std::size_t size = from.size() < sizeof(word) ? from.size() : sizeof(word);
        std::memcpy(&word, from.data(), size);
        __atomic_store_n(words++, word, __ATOMIC_RELAXED);
        from = from.subspan(size);
    }
}

} // namespace croft::vmbus
