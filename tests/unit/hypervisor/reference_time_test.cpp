// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/reference_time.hpp"

#include <gtest/gtest.h>
#include <limits>

namespace hypervisor {
namespace {

constexpr std::uint64_t never = ~std::uint64_t{0};

TEST(ReferenceTimeTest, RunsWithTheCounter) {
    EXPECT_EQ(counter_at(0, 0), 0U);
    EXPECT_EQ(counter_at(1000, 0), 1000U);
    EXPECT_EQ(counter_at(never, 0), never);
}

TEST(ReferenceTimeTest, IsAheadOfIt) {
    EXPECT_EQ(counter_at(1000, 300), 700U);
    EXPECT_EQ(counter_at(300, 300), 0U);
    EXPECT_EQ(counter_at(100, 300), 0U) << "before it began";
    EXPECT_EQ(counter_at(never, 300), never - 300);
}

/// As after a pause.
TEST(ReferenceTimeTest, IsBehindIt) {
    EXPECT_EQ(counter_at(1000, -300), 1300U);
    EXPECT_EQ(counter_at(0, -300), 300U);
    EXPECT_EQ(counter_at(never - 300, -300), never);
    EXPECT_EQ(counter_at(never - 100, -300), never) << "beyond its end";
    EXPECT_EQ(counter_at(0, std::numeric_limits<std::int64_t>::min()), std::uint64_t{1} << 63);
}

} // namespace
} // namespace hypervisor
