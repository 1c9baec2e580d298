// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>

namespace hypervisor {

/// A word that one processor writes and any processor may read at any time. It orders nothing: a
/// reader on another processor gets the value of a moment ago.
class OwnedWord final {
public:
    OwnedWord() = default;
    OwnedWord(const OwnedWord&) = delete;
    OwnedWord& operator=(const OwnedWord&) = delete;

    [[nodiscard]] std::uint32_t get() const { return value_.load(std::memory_order_relaxed); }
    void set(std::uint32_t value) { value_.store(value, std::memory_order_relaxed); }

private:
    std::atomic<std::uint32_t> value_{0};
};

} // namespace hypervisor
