// SPDX-License-Identifier: Apache-2.0
#include "disk/mount/byte_disk.hpp"

#include "disk/check.hpp"
#include "tests/disk/images.hpp"

#include <algorithm>
#include <gtest/gtest.h>
#include <random>
#include <thread>

// A disk as bytes against a plain array.
namespace croft::disk::test {
namespace {

using mount::ByteDisk;

constexpr std::uint64_t disk_size = 8U << 20U;

class Bytes : public testing::TestWithParam<Kind> {
protected:
    void SetUp() override {
        folder_.create(GetParam(), disk_size);
        chain_ = folder_.open();
        model_.resize(static_cast<std::size_t>(chain_->size()));
        ASSERT_TRUE(chain_->read(0, model_));
    }
    void expect_same() {
        std::vector<std::byte> found(model_.size());
        ASSERT_TRUE(chain_->read(0, found));
        const auto [here, there] = std::ranges::mismatch(model_, found);
        EXPECT_EQ(here, model_.end()) << "at byte " << here - model_.begin();
    }

    MemoryFolder folder_;
    std::unique_ptr<Chain> chain_;
    std::vector<std::byte> model_;
};

TEST_P(Bytes, AnyRangeIsWrittenReadAndZeroed) {
    ByteDisk disk{*chain_};
    std::mt19937 random{7};
    const std::array<std::size_t, 6> lengths{1, 511, 512, 4096, 70001, 3U << 20U};
    for (unsigned step = 0; step < 300; ++step) {
        const std::size_t at = random() % model_.size();
        const std::size_t length = std::min(lengths[random() % lengths.size()], model_.size() - at);
        const auto expected = std::span{model_}.subspan(at, length);
        switch (random() % 3) {
        case 0:
            std::ranges::fill(expected, static_cast<std::byte>(step | 1U));
            ASSERT_TRUE(disk.write(at, expected));
            break;
        case 1:
            std::ranges::fill(expected, std::byte{0});
            ASSERT_TRUE(disk.zero(at, length));
            break;
        default: {
            std::vector<std::byte> found(length);
            ASSERT_TRUE(disk.read(at, found));
            ASSERT_TRUE(std::ranges::equal(found, expected)) << "step " << step;
        }
        }
    }
    expect_same();
    ASSERT_TRUE(chain_->close());
    chain_ = folder_.open(false);
    expect_same();
    EXPECT_TRUE(check(chain_->top()).value().clean());
}

// Neighbours in one sector must not undo each other.
TEST_P(Bytes, ThreadsShareSectors) {
    ByteDisk disk{*chain_};
    constexpr std::size_t area = 64U << 10U;
    constexpr std::size_t piece = 100;
    constexpr unsigned threads = 4;
    std::vector<std::thread> all;
    for (unsigned number = 0; number < threads; ++number)
        all.emplace_back([&disk, number] {
            const std::vector<std::byte> bytes(piece, static_cast<std::byte>(number + 1));
            for (std::size_t at = number * piece; at + piece <= area; at += threads * piece)
                EXPECT_TRUE(disk.write(at, bytes));
        });
    for (std::thread& thread : all)
        thread.join();
    for (std::size_t at = 0; at + piece <= area; at += piece)
        std::fill_n(model_.begin() + static_cast<std::ptrdiff_t>(at), piece,
            static_cast<std::byte>(at / piece % threads + 1));
    expect_same();
}

TEST_P(Bytes, DataAndHolesAreFound) {
    ByteDisk disk{*chain_};
    for (std::uint64_t at = 0; at < disk_size;) {
        const std::uint64_t data = disk.seek(at, disk_size, true).value();
        const std::uint64_t hole = disk.seek(data, disk_size, false).value();
        EXPECT_TRUE(std::all_of(model_.begin() + static_cast<std::ptrdiff_t>(at),
            model_.begin() + static_cast<std::ptrdiff_t>(data),
            [](std::byte byte) { return byte == std::byte{0}; }));
        ASSERT_TRUE(hole > at);
        at = hole;
    }
}

INSTANTIATE_TEST_SUITE_P(Kinds, Bytes, testing::ValuesIn(all_kinds),
    [](const auto& kind) { return std::string{kind.param.name}; });

} // namespace
} // namespace croft::disk::test
