// SPDX-License-Identifier: Apache-2.0
#include "disk/check.hpp"
#include "tests/disk/images.hpp"

#include <algorithm>
#include <gtest/gtest.h>
#include <random>

// Random operations on each kind of image, against a plain array.
namespace croft::disk::test {
namespace {

constexpr std::uint64_t disk_size = (6U << 20U) + 64 * 1024; // the last block is not whole

class Model : public testing::TestWithParam<Kind> {
protected:
    void SetUp() override {
        folder_.create(GetParam(), disk_size);
        array_.resize(disk_size);
        if (GetParam().allocation == Allocation::differencing) {
            for (std::uint64_t at = 0; at < disk_size; ++at)
                array_[at] = parent_byte(at);
        }
        open();
    }

    void open() { chain_ = folder_.open(); }

    void reopen() {
        ASSERT_TRUE(chain_->close());
        chain_.reset();
        open();
        ASSERT_NE(chain_, nullptr);
    }

    void compare() {
        std::vector<std::byte> back(array_.size());
        const auto read = chain_->read(0, back);
        ASSERT_TRUE(read) << read.error().text();
        const auto [ours, theirs] = std::ranges::mismatch(back, array_);
        ASSERT_EQ(ours - back.begin(), std::ssize(array_)) << "first difference";
        const auto report = check(chain_->top());
        ASSERT_TRUE(report) << report.error().text();
        ASSERT_TRUE(report->clean()) << report->findings.front().what;
    }

    std::uint64_t sectors() const { return array_.size() / GetParam().sector_size; }
    std::pair<std::uint64_t, std::uint64_t> range(std::uint64_t most) {
        const std::uint64_t sector = GetParam().sector_size;
        const std::uint64_t first = random_() % sectors();
        const std::uint64_t count = 1 + random_() % std::min(most / sector, sectors() - first);
        return {first * sector, std::min(count, sectors() - first) * sector};
    }

    void write() {
        const auto [offset, length] = range(random_() % 8 == 0 ? 2U << 20U : 64U << 10U);
        std::vector<std::byte> bytes(length);
        std::ranges::generate(bytes, [this] { return static_cast<std::byte>(random_()); });
        const auto written = chain_->write(offset, bytes);
        ASSERT_TRUE(written) << written.error().text();
        std::ranges::copy(bytes, array_.begin() + static_cast<std::ptrdiff_t>(offset));
    }

    void write_zeroes() {
        const auto [offset, length] = range(3U << 20U);
        const auto written = chain_->write_zeroes(offset, length);
        ASSERT_TRUE(written) << written.error().text();
        std::fill_n(array_.begin() + static_cast<std::ptrdiff_t>(offset), length, std::byte{0});
    }

    // Whole blocks of what the format can forget read as zeros; the rest may stay.
    void discard() {
        const auto [offset, length] = range(3U << 20U);
        ASSERT_TRUE(chain_->discard(offset, length));
        std::vector<std::byte> now(length);
        ASSERT_TRUE(chain_->read(offset, now));
        for (std::size_t i = 0; i < length; ++i) {
            if (now[i] != array_[offset + i]) {
                ASSERT_EQ(now[i], std::byte{0}) << "at " << offset + i;
            }
            array_[offset + i] = now[i];
        }
    }

    void resize() {
        std::uint64_t size = disk_size / 2 + random_() % 64 * 64 * 1024;
        const bool is_child = GetParam().allocation == Allocation::differencing;
        if (is_child) // of whole blocks; the rest of the last one may be zeros
            size = size / (1U << 20U) * (1U << 20U);
        const auto resized = chain_->top().resize(size);
        ASSERT_TRUE(resized) << resized.error().text();
        const std::uint64_t before = array_.size();
        array_.resize(size);
        if (is_child && before < size)
            came_back(before);
    }

    // The parent's, as if nothing had ever been there; but the rest of a block may be zeros.
    void came_back(std::uint64_t before) {
        std::vector<std::byte> now(array_.size() - before);
        ASSERT_TRUE(chain_->read(before, now));
        for (std::size_t i = 0; i < now.size(); ++i) {
            const std::uint64_t at = before + i;
            array_[at] = at < disk_size ? parent_byte(at) : std::byte{0};
            if (at / (1U << 20U) == before / (1U << 20U) && before % (1U << 20U) != 0 &&
                now[i] == std::byte{0})
                array_[at] = now[i];
        }
    }

    MemoryFolder folder_;
    std::unique_ptr<Chain> chain_;
    std::vector<std::byte> array_;
    std::mt19937_64 random_{7};
};

TEST_P(Model, RandomOperations) {
    for (int step = 0; step < 400; ++step) {
        switch (random_() % 12) {
        case 0:
            write_zeroes();
            break;
        case 1:
            ASSERT_TRUE(chain_->flush());
            break;
        case 2:
            if (step % 4 == 0)
                reopen();
            break;
        case 3:
            if (step % 8 == 0)
                resize();
            break;
        case 4:
            discard();
            break;
        default:
            write();
        }
        if (HasFatalFailure())
            return;
        if (step % 40 == 39)
            compare();
    }
    reopen();
    compare();
}

TEST_P(Model, WhatIsFlushedIsThereWithoutClosing) {
    for (int step = 0; step < 50; ++step)
        write();
    ASSERT_TRUE(chain_->flush());
    chain_.reset(); // as in a power cut; a reader lays the log over the file, a writer replays it
    chain_ = folder_.open(false);
    ASSERT_NE(chain_, nullptr);
    compare();
    open();
    ASSERT_NE(chain_, nullptr);
    compare();
}

INSTANTIATE_TEST_SUITE_P(
    , Model, testing::ValuesIn(all_kinds), [](const auto& kind) { return kind.param.name; });

} // namespace
} // namespace croft::disk::test
