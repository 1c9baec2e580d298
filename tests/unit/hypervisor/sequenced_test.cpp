// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/cpu/sequenced.hpp"

#include <gtest/gtest.h>
#include <thread>

namespace hypervisor {
namespace {

struct Pair {
    std::uint64_t one;
    std::uint64_t other;
};

TEST(Sequenced, KeepsWhatItIsGiven) {
    Sequenced<Pair> pair{{.one = 1, .other = 2}};
    EXPECT_EQ(pair.read().other, 2u);
    pair.change([](Pair& value) { value.one += 5; });
    EXPECT_EQ(pair.read().one, 6u);
    EXPECT_EQ(pair.read().other, 2u);
}

TEST(Sequenced, NobodySeesHalfAChange) {
    constexpr std::uint64_t changes = 20000;
    Sequenced<Pair> pair{{.one = 0, .other = 0}};
    const auto change = [&pair] {
        for (std::uint64_t i = 0; i < changes; ++i) {
            pair.change([](Pair& value) {
                ++value.one;
                value.other = 3 * value.one;
            });
        }
    };
    {
        std::jthread first{change};
        std::jthread second{change};
        for (std::uint64_t seen = 0; seen < changes;) {
            const Pair value = pair.read();
            ASSERT_EQ(value.other, 3 * value.one);
            ASSERT_GE(value.one, seen);
            seen = value.one;
        }
    }
    EXPECT_EQ(pair.read().one, 2 * changes);
}

} // namespace
} // namespace hypervisor
