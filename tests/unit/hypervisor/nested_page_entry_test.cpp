// SPDX-License-Identifier: Apache-2.0
// Against AMD64 APM vol. 2, 15.25.5 "Nested Table Walk" and figures 5-20 to 5-25: the bits as
// numbers.
#include "hypervisor/memory/nested_page_entry.hpp"

#include <gtest/gtest.h>

namespace hypervisor {
namespace {

constexpr std::uint64_t bit(unsigned number) {
    return 1ull << number;
}
constexpr std::uint64_t p = bit(0);
constexpr std::uint64_t rw = bit(1);
constexpr std::uint64_t us = bit(2);
constexpr std::uint64_t pwt = bit(3);
constexpr std::uint64_t pcd = bit(4);
constexpr std::uint64_t ps = bit(7);
constexpr std::uint64_t nx = bit(63);
/// What the processor reads of a present entry; bits 11..9 are the system's.
constexpr std::uint64_t processor_bits = ~(bit(9) | bit(10) | bit(11));

constexpr std::uint32_t r = HV_MAP_GPA_READABLE;
constexpr std::uint32_t w = HV_MAP_GPA_WRITABLE;
constexpr std::uint32_t x = HV_MAP_GPA_EXECUTABLE;

TEST(NestedPageEntry, IsWhatTheProcessorReads) {
    const SpaPage page{0x12345};
    // Every nested walk is a user access, so each level must allow those.
    EXPECT_EQ(NestedPageEntry::table(page).raw(), 0x12345000 | p | rw | us);
    EXPECT_EQ(NestedPageEntry::leaf(page, r | w | x, false).raw(), 0x12345000 | p | rw | us);
    EXPECT_EQ(NestedPageEntry::leaf(page, r | x, false).raw(), 0x12345000 | p | us);
    EXPECT_EQ(NestedPageEntry::leaf(page, r | w, false).raw(), 0x12345000 | p | rw | us | nx);
    EXPECT_EQ(NestedPageEntry::leaf(page, r, false).raw(), 0x12345000 | p | us | nx);
    EXPECT_EQ(NestedPageEntry::leaf(page, r | w | x | HV_MAP_GPA_NOT_CACHED, false).raw(),
        0x12345000 | p | rw | us | pwt | pcd);
    EXPECT_EQ(NestedPageEntry::leaf(SpaPage{0x40000}, r | w | x, true).raw(),
        0x40000000 | p | rw | us | ps);
    EXPECT_EQ(
        NestedPageEntry::overlay(page, true).raw() & processor_bits, 0x12345000 | p | rw | us);
    EXPECT_EQ(NestedPageEntry::overlay(page, false).raw() & processor_bits, 0x12345000 | p | us);
}

TEST(NestedPageEntry, ExecutesForUserAndKernelOrNeither) {
    // A nested page table has one bit for both.
    EXPECT_EQ(
        NestedPageEntry::leaf(SpaPage{1}, r | HV_MAP_GPA_KERNEL_EXECUTABLE, false).raw() & nx, 0u);
    EXPECT_EQ(
        NestedPageEntry::leaf(SpaPage{1}, r | HV_MAP_GPA_USER_EXECUTABLE, false).raw() & nx, 0u);
}

TEST(NestedPageEntry, GivesBackWhatItWasMadeOf) {
    for (const std::uint32_t flags : {r, r | w, r | x, r | w | x, r | HV_MAP_GPA_NOT_CACHED,
             r | w | x | HV_MAP_GPA_NOT_CACHED}) {
        for (const std::uint64_t number :
            {0ull, 1ull, 0x200ull, 0xffff'ffff'feull, 0xffff'ffff'ffull}) {
            for (const bool large : {false, true}) {
                if (large && number % 512 != 0) {
                    continue;
                }
                const auto entry = NestedPageEntry::leaf(SpaPage{number}, flags, large);
                EXPECT_TRUE(entry.is_present());
                EXPECT_EQ(entry.is_large(), large);
                EXPECT_FALSE(entry.is_overlay());
                EXPECT_FALSE(entry.is_no_access());
                EXPECT_EQ(entry.page().number(), number);
                EXPECT_EQ(entry.map_flags(), flags);
            }
        }
    }
}

TEST(NestedPageEntry, WithoutAccessIsNotPresent) {
    EXPECT_TRUE(NestedPageEntry::no_access().is_no_access());
    EXPECT_FALSE(NestedPageEntry::no_access().is_present());
    EXPECT_FALSE(NestedPageEntry{}.is_no_access());
    EXPECT_FALSE(NestedPageEntry{}.is_present());
    for (std::uint64_t first = 0; first < 512; first += 73) {
        for (std::uint64_t count = 1; first + count <= 512; count += 51) {
            const auto entry = NestedPageEntry::no_access_range(first, count);
            EXPECT_TRUE(entry.is_no_access());
            EXPECT_FALSE(entry.is_present());
            EXPECT_FALSE(entry.is_overlay());
            EXPECT_EQ(entry.range_first(), first);
            EXPECT_EQ(entry.range_count(), count);
        }
    }
    const auto whole = NestedPageEntry::no_access_range(0, 512);
    EXPECT_EQ(whole.range_first(), 0u);
    EXPECT_EQ(whole.range_count(), 512u);
}

} // namespace
} // namespace hypervisor
