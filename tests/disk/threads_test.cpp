// SPDX-License-Identifier: Apache-2.0
#include "disk/check.hpp"
#include "disk/stored.hpp"
#include "tests/disk/history.hpp"
#include "tests/disk/images.hpp"
#include "tests/disk/one_of_many.hpp"
#include "tests/disk/queue_driver.hpp"
#include "tests/disk/temporary.hpp"

#include <algorithm>
#include <atomic>
#include <gtest/gtest.h>
#include <random>
#include <thread>

// Eight threads with a queue each on a disk whose file grows meanwhile. Their ranges interleave in
// every block, and each knows what its own sectors hold.
namespace croft::disk::test {
namespace {

constexpr std::uint64_t disk_size = 64U << 20U;
constexpr std::uint64_t piece = 4096;
constexpr unsigned thread_count = 8;

class Threads : public testing::TestWithParam<Kind> {};

class Worker {
public:
    Worker(Disk& disk, unsigned number, const Kind& kind)
        : driver_{disk},
          number_{number},
          random_{number},
          expected_(disk_size / piece / thread_count) {
        for (std::uint64_t i = 0; i < expected_.size(); ++i)
            expected_[i] =
                kind.allocation == Allocation::differencing ? parent_byte(place(i)) : std::byte{0};
    }

    void run(int steps) {
        std::vector<std::byte> bytes(piece);
        for (int step = 0; step < steps && good_; ++step) {
            const std::uint64_t slot = random_() % expected_.size();
            switch (random_() % 8) {
            case 0:
                good_ &= driver_.simple(Operation::flush).ok();
                break;
            case 1:
                good_ &= driver_.simple(Operation::write_zeroes, place(slot), piece).ok();
                expected_[slot] = std::byte{0};
                break;
            case 2:
            case 3:
                good_ &= driver_.read(place(slot), bytes).ok() && holds(bytes, slot);
                break;
            default:
                expected_[slot] = static_cast<std::byte>(random_());
                std::ranges::fill(bytes, expected_[slot]);
                good_ &= driver_.write(place(slot), bytes).ok();
            }
        }
    }

    bool verify(Chain& chain) const {
        std::vector<std::byte> bytes(piece);
        for (std::uint64_t i = 0; i < expected_.size(); ++i) {
            if (!chain.read(place(i), bytes) || !holds(bytes, i))
                return false;
        }
        return true;
    }

    bool good() const { return good_; }

private:
    std::uint64_t place(std::uint64_t slot) const {
        return (slot * thread_count + number_) * piece;
    }
    bool holds(const std::vector<std::byte>& bytes, std::uint64_t slot) const {
        return std::ranges::all_of(bytes, [&](std::byte b) { return b == expected_[slot]; });
    }

    QueueDriver driver_;
    unsigned number_;
    std::mt19937_64 random_;
    std::vector<std::byte> expected_;
    bool good_ = true;
};

TEST_P(Threads, OverlapInEveryBlock) {
    MemoryFolder folder;
    folder.create(GetParam(), disk_size);
    Disk disk{folder.open()};
    std::vector<std::thread> threads;
    std::vector<std::unique_ptr<Worker>> workers(thread_count);
    for (unsigned i = 0; i < thread_count; ++i) {
        threads.emplace_back([&, i] {
            workers[i] = std::make_unique<Worker>(disk, i, GetParam());
            workers[i]->run(600);
        });
    }
    for (std::thread& thread : threads)
        thread.join();
    for (const auto& worker : workers) {
        EXPECT_TRUE(worker->good());
        EXPECT_TRUE(worker->verify(disk.chain()));
    }
    const auto report = check(disk.chain().top());
    ASSERT_TRUE(report) << report.error().text();
    EXPECT_TRUE(report->clean());
    workers.clear();
    EXPECT_TRUE(disk.close());
}

// Blocks are discarded and written again by their owners, so that room changes hands all the time;
// a late read or write in the wrong block would show.
TEST_P(Threads, RoomChangesHands) {
    constexpr std::uint64_t block = 1U << 20U;
    MemoryFolder folder;
    folder.create(GetParam(), disk_size);
    Disk disk{folder.open()};
    std::vector<std::thread> threads;
    std::atomic<int> wrong{0};
    for (unsigned i = 0; i < thread_count; ++i) {
        threads.emplace_back([&, i] {
            QueueDriver driver{disk};
            std::mt19937_64 random{i};
            std::vector<std::byte> bytes(8192);
            for (int step = 0; step < 60; ++step) {
                const std::uint64_t start = (random() % 8 * thread_count + i) * block;
                const auto fill = static_cast<std::byte>(1 + i);
                std::ranges::fill(bytes, fill);
                wrong += !driver.write(start + random() % 100 * 8192, bytes).ok();
                wrong += !driver.simple(Operation::write_zeroes, start, block).ok();
                wrong += !driver.write(start + 16384, bytes).ok();
                wrong += !driver.simple(Operation::flush).ok();
                wrong += !driver.read(start + 16384, bytes).ok() || bytes[100] != fill;
                wrong += !driver.read(start + 65536, bytes).ok() || bytes[100] != std::byte{0};
            }
        });
    }
    for (std::thread& thread : threads)
        thread.join();
    EXPECT_EQ(wrong, 0);
    EXPECT_TRUE(disk.close());
}

// What threads hit rarely, step by step: I/O that found a block before it was given up may still
// come, so the block's place must wait for it, and is used again after that.
TEST_P(Threads, APlaceWaitsForIoThatMayReachIt) {
    if (GetParam().format == Format::vhd && GetParam().allocation == Allocation::differencing)
        GTEST_SKIP() << "a differencing VHD gives up no block";
    MemoryFolder folder;
    folder.create(GetParam(), disk_size);
    const auto chain = folder.open();
    Image& image = chain->top();
    const std::uint64_t block = image.info().block_size;
    const std::vector<std::byte> bytes(block, std::byte{0x5a});
    ASSERT_TRUE(chain->write(0, bytes));
    ASSERT_TRUE(chain->flush());
    const Extent held = image.find(0, piece);
    ASSERT_EQ(held.where, Extent::Where::data);
    ASSERT_TRUE(chain->discard(0, block));
    const auto reused_by = [&](std::uint64_t first) {
        for (std::uint64_t number = first; number < first + 8; ++number) {
            EXPECT_TRUE(chain->flush());
            EXPECT_TRUE(chain->write(number * block, bytes));
            const Extent taken = image.find(number * block, piece);
            image.finish(taken, Image::Outcome::was_read);
            if (taken.store_offset == held.store_offset)
                return true;
        }
        return false;
    };
    EXPECT_FALSE(reused_by(1));
    image.finish(held, Image::Outcome::was_read);
    EXPECT_TRUE(reused_by(16));
}

// Each write takes a new block, so that the file grows every few of them.
TEST_P(Threads, WhileTheFileGrowsManyTimes) {
    constexpr std::uint64_t size = 4ULL << 30U;
    constexpr std::uint64_t stride = 1U << 20U;
    MemoryFolder folder;
    const Kind parent{"parent", GetParam().format, Allocation::dynamic, GetParam().sector_size};
    folder.create_one("parent", parent, size);
    folder.create_one("disk", GetParam(), size);
    Disk disk{folder.open()};
    const std::uint64_t before = disk.chain().top().store().size();
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < thread_count; ++i) {
        threads.emplace_back([&, i] {
            QueueDriver driver{disk};
            std::vector<std::byte> bytes(piece, static_cast<std::byte>(i + 1));
            for (std::uint64_t at = i * stride; at < size; at += thread_count * stride) {
                wrong += !driver.write(at + 8192, bytes).ok();
                if (at / stride % 61 == 0)
                    wrong += !driver.simple(Operation::flush).ok();
            }
        });
    }
    for (std::thread& thread : threads)
        thread.join();
    EXPECT_EQ(wrong, 0);
    EXPECT_GT(disk.chain().top().store().size(), before + 32 * (64U << 20U));
    ASSERT_TRUE(disk.close());
    const auto again = folder.open(false);
    EXPECT_TRUE(check(again->top())->clean());
    std::vector<std::byte> bytes(3 * piece);
    for (std::uint64_t at = 0; at < size; at += stride) {
        ASSERT_TRUE(again->read(at + piece, bytes));
        const auto fill = static_cast<std::byte>(at / stride % thread_count + 1);
        ASSERT_EQ(bytes[piece - 1], std::byte{0});
        ASSERT_EQ(bytes[piece], fill) << at;
        ASSERT_EQ(bytes[2 * piece - 1], fill) << at;
        ASSERT_EQ(bytes[2 * piece], std::byte{0});
    }
}

// All threads go to the same few blocks of real files.
TEST_P(Threads, AllOverEachOtherOnFiles) {
    constexpr std::uint64_t size = 12U << 20U;
    MemoryFolder folder;
    folder.create(GetParam(), size);
    const TemporaryFolder files;
    folder.write_files(files);
    auto chain = open_chain(files / "disk", {.write = true});
    ASSERT_TRUE(chain) << chain.error().text();
    const std::uint32_t sector_size = (*chain)->top().info().logical_sector_size;
    std::vector<History::Tag> sectors(size / sector_size);
    if (GetParam().allocation == Allocation::differencing) {
        for (std::uint64_t i = 0; i < sectors.size(); ++i)
            sectors[i] =
                std::to_integer<History::Tag>(parent_byte(i * sector_size)) * 0x0101010101010101U;
    }
    History history{std::move(sectors)};
    auto disk = std::make_unique<Disk>(*std::move(chain));
    std::vector<std::thread> threads;
    std::atomic<int> bad{0};
    for (unsigned i = 0; i < thread_count; ++i) {
        threads.emplace_back([&, i] {
            OneOfMany one{*disk, history, sector_size, 100 + i};
            one.run(250);
            bad += !one.good();
        });
    }
    for (std::thread& thread : threads)
        thread.join();
    EXPECT_EQ(bad, 0);
    EXPECT_TRUE(disk->close());
    disk.reset(); // lets go of the file
    const auto again = open_chain(files / "disk", {});
    ASSERT_TRUE(again) << again.error().text();
    const auto report = check((*again)->top());
    ASSERT_TRUE(report) << report.error().text();
    EXPECT_TRUE(report->clean());
    std::vector<std::byte> bytes(size);
    ASSERT_TRUE((*again)->read(0, bytes));
    for (std::uint64_t i = 0; i < history.sectors(); ++i)
        ASSERT_TRUE(history.allows(i, load<History::Tag>(bytes, i * sector_size), history.now()))
            << "sector " << i;
}

constexpr Kind kinds[] = {
    {"vhd_dynamic", Format::vhd, Allocation::dynamic},
    {"vhd_differencing", Format::vhd, Allocation::differencing},
    {"vhdx_dynamic", Format::vhdx, Allocation::dynamic},
    {"vhdx_differencing", Format::vhdx, Allocation::differencing},
    {"vhdx_differencing_4096", Format::vhdx, Allocation::differencing, 4096},
};
INSTANTIATE_TEST_SUITE_P(
    , Threads, testing::ValuesIn(kinds), [](const auto& kind) { return kind.param.name; });

} // namespace
} // namespace croft::disk::test
