// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/boot/memory_map.hpp"

#include <array>
#include <gtest/gtest.h>
#include <random>

namespace hypervisor {
namespace {

constexpr auto usable = MemoryType::usable;
constexpr auto reserved = MemoryType::reserved;

void expect_well_formed(const MemoryMap& map) {
    std::uint64_t last = 0;
    std::optional<MemoryType> type;
    for (const MemoryRange& range : map.ranges()) {
        ASSERT_LT(range.begin, range.end);
        ASSERT_GE(range.begin, last) << "ranges ascend and do not overlap";
        ASSERT_FALSE(range.begin == last && range.type == type) << "neighbours of one type are one";
        last = range.end;
        type = range.type;
    }
}

TEST(MemoryMap, IsEmptyAtFirst) {
    const MemoryMap map;
    EXPECT_TRUE(map.ranges().empty());
    EXPECT_EQ(map.usable_end(), 0u);
    EXPECT_EQ(map.usable_bytes(), 0u);
    EXPECT_FALSE(map.find_highest(1, 1, ~0ull));
    EXPECT_FALSE(map.find_lowest(1, 1, 0));
}

TEST(MemoryMap, AnEmptyRangeIsNone) {
    MemoryMap map;
    EXPECT_TRUE(map.add(5, 5, usable));
    EXPECT_TRUE(map.add(7, 5, reserved));
    EXPECT_TRUE(map.ranges().empty());
}

TEST(MemoryMap, WhatIsReservedIsNotUsableWhoeverSaysItFirst) {
    for (const bool reserved_first : {false, true}) {
        MemoryMap map;
        if (reserved_first) {
            ASSERT_TRUE(map.add(40, 60, reserved));
        }
        ASSERT_TRUE(map.add(0, 100, usable));
        if (!reserved_first) {
            ASSERT_TRUE(map.add(40, 60, reserved));
        }
        expect_well_formed(map);
        EXPECT_EQ(map.usable_bytes(), 80u);
        EXPECT_EQ(map.usable_end(), 100u);
        EXPECT_EQ(map.find_lowest(41, 1, 0), std::nullopt);
        EXPECT_EQ(map.find_lowest(40, 1, 1), 60u);
        EXPECT_EQ(map.find_highest(40, 1, 100), 60u);
        EXPECT_EQ(map.find_highest(40, 1, 99), 0u);
    }
}

TEST(MemoryMap, AgreesWithAListOfBytes) {
    constexpr std::size_t size = 200;
    std::mt19937 random{17};
    for (int run = 0; run < 3000; ++run) {
        MemoryMap map;
        std::array<unsigned, size> types{}; // a bit for each type that was ever said of a byte
        for (int i = 0; i < 12; ++i) {
            const std::uint64_t a = random() % size;
            const std::uint64_t b = a + random() % (random() % 2 != 0 ? 10 : size - a + 1);
            const auto type =
                random() % 2 != 0 ? usable : static_cast<MemoryType>(1 + random() % 5);
            const std::uint64_t end = b < size ? b : size;
            ASSERT_TRUE(map.add(a, end, type));
            for (std::uint64_t at = a; at < end; ++at) {
                types[at] |= 1u << static_cast<unsigned>(type);
            }
            expect_well_formed(map);
        }
        std::array<unsigned, size> seen{};
        for (const MemoryRange& range : map.ranges()) {
            ASSERT_LE(range.end, size);
            for (std::uint64_t at = range.begin; at < range.end; ++at) {
                seen[at] = 1u << static_cast<unsigned>(range.type);
            }
        }
        constexpr unsigned usable_bit = 1u << static_cast<unsigned>(usable);
        std::uint64_t bytes = 0;
        std::uint64_t end = 0;
        for (std::uint64_t at = 0; at < size; ++at) {
            ASSERT_EQ(seen[at] == 0, types[at] == 0) << "byte " << at;
            ASSERT_EQ(seen[at] & ~types[at], 0u) << "a type that no one said of byte " << at;
            ASSERT_EQ(seen[at] == usable_bit, types[at] == usable_bit) << "byte " << at;
            bytes += seen[at] == usable_bit ? 1u : 0u;
            end = seen[at] == usable_bit ? at + 1 : end;
        }
        ASSERT_EQ(map.usable_bytes(), bytes);
        ASSERT_EQ(map.usable_end(), end);

        // A place is found just if there is one.
        const std::uint64_t wanted = 1 + random() % 20;
        const std::uint64_t alignment = 1ull << random() % 5;
        const std::uint64_t limit = random() % size;
        std::optional<std::uint64_t> lowest;
        std::optional<std::uint64_t> highest;
        for (const MemoryRange& range : map.ranges()) {
            for (std::uint64_t at = range.begin; at + wanted <= range.end; ++at) {
                if (range.type != usable || at % alignment != 0) {
                    continue;
                }
                lowest = !lowest && at >= limit ? at : lowest;
                highest = at + wanted <= limit ? at : highest;
            }
        }
        ASSERT_EQ(map.find_lowest(wanted, alignment, limit), lowest);
        ASSERT_EQ(map.find_highest(wanted, alignment, limit), highest);
    }
}

TEST(MemoryMap, SaysWhenItIsFull) {
    MemoryMap map;
    std::uint64_t i = 0;
    while (map.add(i * 10, i * 10 + 5, usable)) {
        ASSERT_LE(++i, MemoryMap::capacity);
        expect_well_formed(map);
    }
    EXPECT_EQ(i, MemoryMap::capacity);
    EXPECT_EQ(map.ranges().size(), MemoryMap::capacity);
    EXPECT_EQ(map.usable_bytes(), MemoryMap::capacity * 5);
    // Nothing is lost or written beyond the end.
    EXPECT_FALSE(map.add(2, 3, reserved));
    expect_well_formed(map);
    EXPECT_LE(map.ranges().size(), MemoryMap::capacity);
}

TEST(MemoryMap, HundredsOfNeighboursAreOneRange) {
    MemoryMap map;
    for (std::uint64_t i = 0; i < 1000; ++i) {
        const std::uint64_t at = i % 2 == 0 ? i / 2 : 999 - i / 2;
        ASSERT_TRUE(map.add(at * 10, at * 10 + 10, at < 500 ? usable : reserved)) << i;
        expect_well_formed(map);
    }
    ASSERT_EQ(map.ranges().size(), 2u);
    EXPECT_EQ(map.ranges()[0].end, 5000u);
    EXPECT_EQ(map.ranges()[1].end, 10000u);
}

TEST(MemoryMap, StaysSoundAtTheEndOfTheAddressSpace) {
    constexpr std::uint64_t top = ~0ull;
    MemoryMap map;
    ASSERT_TRUE(map.add(top - 0xfff, top, usable));
    EXPECT_EQ(map.usable_end(), top);
    // Aligned up, this would begin behind the end of all addresses.
    EXPECT_EQ(map.find_lowest(16, 0x200000, 0), std::nullopt);
    EXPECT_EQ(map.find_lowest(16, 1, top - 4), std::nullopt);
    EXPECT_EQ(map.find_lowest(16, 16, 0), top - 0xfff);
    EXPECT_EQ(map.find_highest(16, 16, top), top - 0x1f);
    EXPECT_EQ(map.find_highest(top, 1, top), std::nullopt);
    EXPECT_EQ(map.find_lowest(top, 1, 0), std::nullopt);
}

} // namespace
} // namespace hypervisor
