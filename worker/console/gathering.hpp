// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>

namespace croft::worker {

/// Output is gathered this long, so that a line costs one write and not one for each character.
/// Nobody sees the delay.
constexpr std::uint64_t gather_time = 10'000'000; // nanoseconds

/// How long `drain` waits for somebody to read the last output.
constexpr std::chrono::seconds drain_timeout{2};

} // namespace croft::worker
