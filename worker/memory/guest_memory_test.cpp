// SPDX-License-Identifier: Apache-2.0
#include "worker/memory/guest_memory.hpp"

#include "worker/error.hpp"

#include <array>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <vector>

namespace croft::worker {
namespace {

class GuestMemoryTest : public testing::Test {
protected:
    GuestMemory memory{{{0, 4 * mebibyte}, {4 * gibibyte, 2 * mebibyte}}};
};

TEST_F(GuestMemoryTest, ReadsWhatWasWrittenInEachRange) {
    for (const std::uint64_t gpa : {std::uint64_t{0}, 4 * mebibyte - 3, 4 * gibibyte + 5}) {
        const std::array<std::uint8_t, 3> bytes = {1, 2, 3};
        ASSERT_TRUE(memory.write(gpa, bytes));
        std::array<std::uint8_t, 3> copy{};
        ASSERT_TRUE(memory.read(gpa, copy));
        EXPECT_EQ(copy, bytes);
    }
}

TEST_F(GuestMemoryTest, RefusesWhatIsNotAllInside) {
    std::array<std::uint8_t, 4> bytes{};
    EXPECT_FALSE(memory.read(4 * mebibyte - 3, bytes));
    EXPECT_FALSE(memory.write(4 * mebibyte, bytes));
    EXPECT_FALSE(memory.read(4 * gibibyte - 1, bytes));
    EXPECT_FALSE(memory.read(~std::uint64_t{0} - 1, bytes));
    EXPECT_FALSE(memory.contains(0, 5 * mebibyte));
    EXPECT_FALSE(memory.contains(0, ~std::uint64_t{0}));
    EXPECT_TRUE(memory.contains(0, 4 * mebibyte));
}

TEST_F(GuestMemoryTest, LoadsAndStoresAlignedValuesOnly) {
    EXPECT_TRUE(memory.store<std::uint32_t>(0x1000, 0x1234'5678));
    EXPECT_EQ(memory.load<std::uint32_t>(0x1000), 0x1234'5678U);
    EXPECT_EQ(memory.load<std::uint16_t>(0x1002), 0x1234U);
    EXPECT_FALSE(memory.load<std::uint32_t>(0x1002).has_value());
    EXPECT_FALSE(memory.store<std::uint64_t>(0x1004, 0));
    EXPECT_FALSE(memory.load<std::uint8_t>(4 * mebibyte).has_value());
}

TEST_F(GuestMemoryTest, IsSharedWithOthersWhoCannotShrinkIt) {
    ASSERT_TRUE(memory.store<std::uint32_t>(0x1000, 1));
    ASSERT_TRUE(memory.store<std::uint32_t>(4 * gibibyte + 0x1000, 2));
    const vmbus::MemoryFile file = memory.file();
    const auto other = vmbus::MappedMemory::map(file.file, file.ranges);
    ASSERT_TRUE(other) << other.error();
    EXPECT_EQ(*(*other)->page(1), 1);
    EXPECT_EQ(*(*other)->page(4 * gibibyte / 4096 + 1), 2);
    EXPECT_EQ((*other)->page(4 * mebibyte / 4096), nullptr);
    EXPECT_NE(ftruncate(file.file, 4096), 0);
    EXPECT_NE(ftruncate(file.file, static_cast<off_t>(16 * mebibyte)), 0);
    EXPECT_NE(fcntl(file.file, F_ADD_SEALS, F_SEAL_WRITE), 0);
    memory.populate(memory.range(1));
    memory.clear();
    EXPECT_EQ(*(*other)->page(1), 0);
    EXPECT_EQ(*(*other)->page(4 * gibibyte / 4096 + 1), 0);
}

TEST_F(GuestMemoryTest, KnowsWhatTheWorkerHasWrittenUntilItIsTaken) {
    ASSERT_EQ(memory.range_count(), 2U);
    ASSERT_TRUE(memory.write(0x2000, std::array<std::uint8_t, 3>{}));
    ASSERT_TRUE(memory.store<std::uint64_t>(0x4ff8, 1));
    // From the end of page 62 to the beginning of page 130.
    ASSERT_TRUE(memory.write(63 * 4096 - 1, std::vector<std::uint8_t>(67 * 4096 + 2)));
    ASSERT_TRUE(memory.write(4 * gibibyte + 0x1000, std::array<std::uint8_t, 4096>{}));
    ASSERT_TRUE(memory.write(0x100000, {}));
    EXPECT_FALSE(memory.write(4 * mebibyte - 1, std::array<std::uint8_t, 2>{}));
    EXPECT_EQ(memory.load<std::uint64_t>(0x8000), 0U);
    PageBitmap low(16);
    low[0] = (1U << 2) | (1U << 4) | (3ULL << 62);
    low[1] = ~std::uint64_t{0};
    low[2] = 7;
    EXPECT_EQ(memory.take_written(0), low);
    PageBitmap high(8);
    high[0] = 1U << 1;
    EXPECT_EQ(memory.take_written(1), high);
    EXPECT_EQ(memory.take_written(0), PageBitmap(16));
    EXPECT_EQ(memory.take_written(1), PageBitmap(8));
}

TEST_F(GuestMemoryTest, IsZeroAfterItIsCleared) {
    ASSERT_TRUE(memory.store<std::uint64_t>(4 * gibibyte, 7));
    memory.populate({0, 2 * mebibyte});
    memory.clear();
    EXPECT_EQ(memory.load<std::uint64_t>(4 * gibibyte), 0U);
}

TEST_F(GuestMemoryTest, IsMappedWhereLargePagesCanBe) {
    for (const hv::MemoryMapping& mapping : memory.mappings()) {
        EXPECT_EQ(reinterpret_cast<std::uint64_t>(mapping.address) % (2 * mebibyte), 0U);
        EXPECT_EQ(mapping.gpa % (2 * mebibyte), 0U);
    }
    EXPECT_EQ(memory.size(), 6 * mebibyte);
}

TEST(MemoryLayout, LeavesRoomForDevicesBelow4GiB) {
    const MemoryLayout small(512 * mebibyte);
    EXPECT_EQ(small.ranges(), (std::vector<MemoryRange>{{0, 512 * mebibyte}}));
    const MemoryLayout large(4 * gibibyte);
    EXPECT_EQ(
        large.ranges(), (std::vector<MemoryRange>{{0, 3 * gibibyte}, {4 * gibibyte, gibibyte}}));
    EXPECT_EQ(large.map().size(), 4U);
    EXPECT_EQ(large.map().back().range.start, 4 * gibibyte);
}

TEST(MemoryLayout, RefusesSizesThatCannotBe) {
    for (const std::uint64_t size : {std::uint64_t{0}, mebibyte, 3 * mebibyte, 1024 * gibibyte}) {
        EXPECT_THROW(MemoryLayout{size}, SettingsError) << size;
    }
}

} // namespace
} // namespace croft::worker
