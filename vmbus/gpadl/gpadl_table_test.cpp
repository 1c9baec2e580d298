// SPDX-License-Identifier: Apache-2.0
#include "vmbus/gpadl/gpadl_table.hpp"

#include "vmbus/testing/test_memory.hpp"

#include <cstring>
#include <gtest/gtest.h>

namespace croft::vmbus {
namespace {

class GpadlTableTest : public ::testing::Test {
protected:
    static std::vector<std::uint8_t> bytes(const std::vector<std::uint64_t>& words) {
        std::vector<std::uint8_t> result(words.size() * 8);
        std::memcpy(result.data(), words.data(), result.size());
        return result;
    }
    static protocol::GpadlHeader header(
        std::uint32_t relid, std::uint32_t id, std::size_t words, std::uint16_t ranges = 1) {
        protocol::GpadlHeader result{};
        result.relid = relid;
        result.gpadl = id;
        result.range_size = static_cast<std::uint16_t>(words * 8);
        result.range_count = ranges;
        return result;
    }
    static std::uint64_t range(std::uint32_t count, std::uint32_t offset = 0) {
        return count | std::uint64_t{offset} << 32;
    }

    testing::TestMemory memory_{64};
    GpadlTable table_{{.per_channel = 4, .per_vm = 6, .pages = 100}};
};

TEST_F(GpadlTableTest, OneMessage) {
    ASSERT_TRUE(table_.begin(header(1, 7, 3), bytes({range(8192), 20, 21})));
    EXPECT_TRUE(table_.is_complete({1, 7}));
    ASSERT_TRUE(table_.parse({1, 7}, memory_.pages()));
    EXPECT_EQ(table_.find({1, 7})->gpadl, (Gpadl{7, {{8192, 0, {20, 21}}}}));
    EXPECT_FALSE(table_.find({2, 7}));
}

TEST_F(GpadlTableTest, HeaderAndBodiesOfSeveralRanges) {
    ASSERT_TRUE(table_.begin(header(1, 7, 6, 2), bytes({range(4096), 20})));
    EXPECT_FALSE(table_.is_complete({1, 7}));
    EXPECT_EQ(table_.append(8, bytes({1})).error(), GpadlError::unknown);
    ASSERT_EQ(table_.append(7, bytes({range(5000, 96)})).value(), (GpadlTable::Key{1, 7}));
    EXPECT_FALSE(table_.is_complete({1, 7}));
    ASSERT_TRUE(table_.append(7, bytes({21, 22, 23, 24, 25}))) << "too much is left out";
    EXPECT_TRUE(table_.is_complete({1, 7}));
    EXPECT_EQ(table_.append(7, bytes({1})).error(), GpadlError::unknown) << "it is complete";
    EXPECT_EQ(table_.parse({1, 7}, memory_.pages()).error(), GpadlError::bad_ranges)
        << "three pages for two";
}

TEST_F(GpadlTableTest, RefusesHolesAndNonsense) {
    const auto parse = [&](const std::vector<std::uint64_t>& words, std::uint16_t ranges = 1) {
        table_.clear();
        EXPECT_TRUE(table_.begin(header(1, 1, words.size(), ranges), bytes(words)));
        const auto parsed = table_.parse({1, 1}, memory_.pages());
        return parsed ? std::optional<GpadlError>() : parsed.error();
    };
    EXPECT_FALSE(parse({range(4096), 16}));
    EXPECT_EQ(parse({range(4096), 15}), GpadlError::not_memory);
    EXPECT_EQ(parse({range(4096), 16 + 64}), GpadlError::not_memory);
    EXPECT_EQ(parse({range(4096), 0xffffffffffffffff}), GpadlError::not_memory);
    EXPECT_EQ(parse({range(0), 16}), GpadlError::bad_ranges);
    EXPECT_EQ(parse({range(4097), 16}), GpadlError::bad_ranges);
    EXPECT_EQ(parse({range(1, 4096), 16, 17}), GpadlError::bad_ranges);
    EXPECT_EQ(parse({range(0xffffffff, 0xffffffff), 16}), GpadlError::bad_ranges);
    EXPECT_EQ(parse({range(4096), 16, 17}), GpadlError::bad_ranges) << "a page too many";
    EXPECT_FALSE(parse({range(4096), 16, range(1), 17}, 2));
    EXPECT_EQ(parse({range(12288), 16, 17, 18}, 2), GpadlError::bad_ranges) << "a range too few";

    table_.clear();
    EXPECT_EQ(table_.begin(header(1, 1, 2, 0), {}).error(), GpadlError::bad_ranges);
    EXPECT_EQ(table_.begin(header(1, 1, 2, 2), {}).error(), GpadlError::bad_ranges);
    auto odd = header(1, 1, 2);
    odd.range_size = 17;
    EXPECT_EQ(table_.begin(odd, {}).error(), GpadlError::bad_ranges);
}

TEST_F(GpadlTableTest, Duplicates) {
    ASSERT_TRUE(table_.begin(header(1, 7, 2), {}));
    EXPECT_EQ(table_.begin(header(1, 7, 2), {}).error(), GpadlError::duplicate);
    EXPECT_EQ(table_.begin(header(2, 7, 2), {}).error(), GpadlError::duplicate)
        << "a body couldn't tell them apart";
    ASSERT_TRUE(table_.append(7, bytes({range(4096), 20})));
    EXPECT_EQ(table_.begin(header(1, 7, 2), {}).error(), GpadlError::duplicate);
    EXPECT_TRUE(table_.begin(header(2, 7, 2), {}));
    table_.remove({2, 7});
    EXPECT_EQ(table_.append(7, bytes({1})).error(), GpadlError::unknown);
    EXPECT_TRUE(table_.find({1, 7}));
}

TEST_F(GpadlTableTest, Limits) {
    for (std::uint32_t id = 0; id < 4; ++id) {
        ASSERT_TRUE(table_.begin(header(1, id, 2), bytes({range(4096), 20})));
    }
    EXPECT_EQ(table_.begin(header(1, 4, 2), {}).error(), GpadlError::too_many);
    ASSERT_TRUE(table_.begin(header(2, 4, 2), {}));
    EXPECT_EQ(table_.begin(header(3, 5, 91), {}).error(), GpadlError::too_many_pages)
        << "promised pages count";
    ASSERT_TRUE(table_.begin(header(3, 5, 90), {}));
    EXPECT_EQ(table_.begin(header(4, 6, 2), {}).error(), GpadlError::too_many);
    table_.remove({3, 5});
    ASSERT_TRUE(table_.begin(header(4, 6, 90), {}));
    EXPECT_EQ(table_.of_channel(1).size(), 4U);
}

} // namespace
} // namespace croft::vmbus
