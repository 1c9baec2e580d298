// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace hypervisor {

/// What a partition's time-stamp counter shows, in units of 100 ns, when its reference time is
/// `reference_time`, which is `offset` ahead of it, or behind if that is negative: as after a
/// pause, whose time the guest doesn't get. 0 for what was before the counter began, ~0 for what
/// comes after its end.
[[nodiscard]] constexpr std::uint64_t counter_at(
    std::uint64_t reference_time, std::int64_t offset) {
    if (offset < 0) {
        const std::uint64_t behind = 0 - static_cast<std::uint64_t>(offset);
        const std::uint64_t sum = reference_time + behind;
        return sum < behind ? ~std::uint64_t{0} : sum;
    }
    const auto ahead = static_cast<std::uint64_t>(offset);
    return reference_time > ahead ? reference_time - ahead : 0;
}

} // namespace hypervisor
