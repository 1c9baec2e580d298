// SPDX-License-Identifier: Apache-2.0
#include "disk/check.hpp"
#include "tests/disk/images.hpp"
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

constexpr Kind kinds[] = {
    {"vhd_dynamic", Format::vhd, Allocation::dynamic},
    {"vhd_differencing", Format::vhd, Allocation::differencing},
    {"vhdx_dynamic", Format::vhdx, Allocation::dynamic},
    {"vhdx_differencing", Format::vhdx, Allocation::differencing},
};
INSTANTIATE_TEST_SUITE_P(
    , Threads, testing::ValuesIn(kinds), [](const auto& kind) { return kind.param.name; });

} // namespace
} // namespace croft::disk::test
