// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace croft::guests {

/// xorshift64*. Inlined always: one of its users is copied into a guest, and can't call it.
class Random {
public:
    [[gnu::always_inline]] explicit Random(std::uint64_t seed) : state_{seed * 2 + 1} {}
    [[gnu::always_inline]] std::uint64_t next() {
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return state_ * 0x2545f4914f6cdd1d;
    }
    /// 0 … `end` - 1
    [[gnu::always_inline]] std::uint64_t below(std::uint64_t end) { return (next() >> 16) % end; }
    [[gnu::always_inline]] bool one_in(std::uint64_t n) { return below(n) == 0; }

private:
    std::uint64_t state_;
};

} // namespace croft::guests
