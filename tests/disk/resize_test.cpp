// SPDX-License-Identifier: Apache-2.0
#include "disk/check.hpp"
#include "tests/disk/images.hpp"
#include "tests/disk/one_of_many.hpp"

#include <atomic>
#include <gtest/gtest.h>
#include <thread>

// Disks become larger and smaller, also while they are in use.
namespace croft::disk::test {
namespace {

constexpr std::uint64_t gibibyte = 1U << 30U;

std::byte byte_at(Chain& chain, std::uint64_t offset) {
    std::vector<std::byte> bytes(512);
    EXPECT_TRUE(chain.read(offset, bytes));
    return bytes[0];
}

// What is cut off is gone: after growing again, the parent shows.
void cut_and_grow(std::uint64_t size, std::uint64_t less) {
    Kind kind{"vhdx", Format::vhdx, Allocation::dynamic};
    MemoryFolder folder;
    folder.create_one("parent", kind, size);
    {
        const auto parent = folder.open(true, "parent");
        ASSERT_TRUE(parent->write(size - 2 * mebibyte, filled(8192, 7)) && parent->close());
    }
    kind.allocation = Allocation::differencing;
    folder.create_one("disk", kind, size);
    const auto chain = folder.open();
    const std::uint64_t place = size - 2 * mebibyte;
    ASSERT_TRUE(chain->write(0, filled(512, 1)));
    ASSERT_TRUE(chain->write(place, filled(512, 8)) && chain->flush());
    ASSERT_TRUE(chain->top().resize(less) && chain->top().resize(size));
    for (int i = 0; i < 4; ++i)
        ASSERT_TRUE(chain->flush());
    EXPECT_EQ(byte_at(*chain, place), std::byte{7});
    ASSERT_TRUE(chain->write(place + 2048, filled(512, 9)));
    EXPECT_EQ(byte_at(*chain, place), std::byte{7});
    EXPECT_EQ(byte_at(*chain, place + 2048), std::byte{9});
    EXPECT_EQ(byte_at(*chain, 0), std::byte{1});
    EXPECT_TRUE(check(chain->top())->clean());
}

TEST(Resize, WithinAChunkNothingComesBack) {
    cut_and_grow(2 * gibibyte, gibibyte);
}

TEST(Resize, AcrossChunksNothingComesBack) {
    cut_and_grow(12 * gibibyte, 3 * gibibyte);
}

// The table of 512 bytes fills its sector, and the bitmap of a block that is being written follows.
TEST(Resize, ATableThatMovesLeavesABitmapInUse) {
    Kind kind{"vhd", Format::vhd, Allocation::dynamic, 512, 512U << 10U};
    MemoryFolder folder;
    folder.create_one("parent", kind, 64 * mebibyte);
    kind.allocation = Allocation::differencing;
    folder.create_one("disk", kind, 64 * mebibyte);
    auto chain = folder.open();
    Image& image = chain->top();
    ASSERT_TRUE(chain->write(0, filled(512, 5)) && chain->flush());
    const Extent extent = image.reserve(4096, 512);
    ASSERT_EQ(extent.where, Extent::Where::data);
    ASSERT_TRUE(image.store().write(extent.store_offset, filled(512, 6)));
    ASSERT_TRUE(image.resize(128 * mebibyte));
    image.finish(extent, Image::Outcome::was_written);
    ASSERT_TRUE(chain->flush() && chain->close());
    chain = folder.open();
    EXPECT_EQ(byte_at(*chain, 4096), std::byte{6});
    EXPECT_TRUE(check(chain->top())->clean());
}

TEST(Resize, AFixedVhdStoppedWhileItBecameSmaller) {
    MemoryFolder folder;
    folder.create({"vhd", Format::vhd, Allocation::fixed}, 8 * mebibyte);
    auto chain = folder.open();
    ASSERT_TRUE(chain->write(0, filled(8 * mebibyte, 3)));
    folder.file("disk")->fault = [](const Event& call, std::size_t&) {
        return call.kind == Event::Kind::resize ? EIO : 0;
    };
    EXPECT_FALSE(chain->top().resize(4 * mebibyte));
    folder.file("disk")->fault = nullptr;
    chain = folder.open();
    ASSERT_EQ(chain->size(), 4 * mebibyte);
    ASSERT_TRUE(chain->top().resize(6 * mebibyte));
    EXPECT_EQ(byte_at(*chain, 4 * mebibyte - 512), std::byte{3});
    EXPECT_EQ(byte_at(*chain, 4 * mebibyte), std::byte{0});
    EXPECT_EQ(byte_at(*chain, 6 * mebibyte - 512), std::byte{0});
    EXPECT_EQ(folder.open()->size(), 6 * mebibyte);
}

class LiveResize : public testing::TestWithParam<Kind> {
protected:
    // Part of the disk is in use all the time; what is beyond comes and goes.
    static constexpr std::uint64_t used = 12 * mebibyte;

    static std::uint64_t size_at(unsigned round) {
        const bool table_moves =
            GetParam().format != Format::raw && GetParam().allocation != Allocation::fixed;
        if (table_moves && round % 4 == 3)
            return (150 + round) * gibibyte;
        return used + round * 7 % 5 * 3 * mebibyte + 65536;
    }
};

TEST_P(LiveResize, WhileEightThreadsUseTheDisk) {
    MemoryFolder folder;
    folder.create(GetParam(), used);
    const std::uint32_t sector = GetParam().sector_size;
    History history{first_contents(GetParam(), used / sector)};
    {
        Disk disk{folder.open()};
        std::atomic<bool> over{false};
        std::atomic<int> bad{0};
        std::vector<std::thread> threads;
        for (unsigned i = 0; i < 8; ++i) {
            threads.emplace_back([&, i] {
                OneOfMany one{disk, history, sector, 300 + i};
                do
                    one.run(10);
                while (!over && one.good());
                bad += !one.good();
            });
        }
        for (unsigned round = 0; round < 16; ++round) {
            const auto resized = disk.resize(size_at(round));
            EXPECT_TRUE(resized) << resized.error().text();
        }
        over = true;
        for (std::thread& thread : threads)
            thread.join();
        EXPECT_EQ(bad, 0);
        EXPECT_TRUE(disk.close());
    }
    const auto again = folder.open();
    ASSERT_EQ(again->size(), size_at(15));
    const auto report = check(again->top());
    ASSERT_TRUE(report) << report.error().text();
    EXPECT_TRUE(report->clean()) << report->findings.front().what;
    std::vector<std::byte> bytes(used);
    ASSERT_TRUE(again->read(0, bytes));
    for (std::uint64_t i = 0; i < history.sectors(); ++i)
        ASSERT_TRUE(history.allows(i, load<History::Tag>(bytes, i * sector), history.now()))
            << "sector " << i;
}

INSTANTIATE_TEST_SUITE_P(
    , LiveResize, testing::ValuesIn(all_kinds), [](const auto& kind) { return kind.param.name; });

} // namespace
} // namespace croft::disk::test
