// SPDX-License-Identifier: Apache-2.0
#include "worker/memory/dirty_log.hpp"

#include "worker/error.hpp"
#include "worker/fake_hypervisor.hpp"

#include <array>
#include <gtest/gtest.h>
#include <set>
#include <thread>

namespace croft::worker {
namespace {

using Ranges = std::vector<PageRange>;

constexpr std::uint64_t high_page = (4 * gibibyte) >> 12;

class DirtyLogTest : public testing::Test {
protected:
    void guest_writes(std::uint64_t page) {
        const std::lock_guard lock(hypervisor.record.mutex);
        hypervisor.record.dirty.insert(page);
    }
    void worker_writes(std::uint64_t gpa, std::size_t size) {
        ASSERT_TRUE(memory.write(gpa, std::vector<std::uint8_t>(size)));
    }

    FakeHypervisor hypervisor;
    std::unique_ptr<hv::Partition> partition = hypervisor.create_partition(hv::PartitionSettings{});
    GuestMemory memory{{{0, 4 * mebibyte}, {4 * gibibyte, 2 * mebibyte}}};
    DirtyLog log{memory, *partition};
};

TEST_F(DirtyLogTest, UnitesWhatGuestAndWorkerWrite) {
    log.start();
    guest_writes(3);
    worker_writes(0x4000, 1);
    guest_writes(4);
    worker_writes(0x7fff, 2);
    guest_writes(1023);
    worker_writes(4 * gibibyte, 4096);
    guest_writes(high_page + 511);
    EXPECT_EQ(
        log.collect(), (Ranges{{3, 2}, {7, 2}, {1023, 1}, {high_page, 1}, {high_page + 511, 1}}));
    EXPECT_EQ(log.collect(), Ranges{});
    guest_writes(8);
    worker_writes(0x9000, 8);
    EXPECT_EQ(log.collect(), (Ranges{{8, 2}}));
}

TEST_F(DirtyLogTest, RunsOfPagesAreOneRange) {
    log.start();
    worker_writes(0, 4 * mebibyte);
    EXPECT_EQ(log.collect(), (Ranges{{0, 1024}}));
}

TEST_F(DirtyLogTest, WhatWasWrittenBeforeIsNotInIt) {
    guest_writes(5);
    worker_writes(0x6000, 1);
    log.start();
    EXPECT_EQ(log.collect(), Ranges{});
    log.stop();
    guest_writes(5);
    worker_writes(0x6000, 1);
    log.start();
    EXPECT_EQ(log.collect(), Ranges{});
}

TEST_F(DirtyLogTest, TheHypervisorTracksPagesWhileItIsOn) {
    const auto tracking = [this] {
        return partition->property(HV_PARTITION_PROPERTY_GPA_PAGE_ACCESS_TRACKING);
    };
    EXPECT_EQ(tracking(), 0U);
    {
        DirtyLog other{memory, *partition};
        other.start();
        EXPECT_EQ(tracking(), 1U);
        other.stop();
        EXPECT_EQ(tracking(), 0U);
        other.start();
        EXPECT_EQ(tracking(), 1U);
    }
    EXPECT_EQ(tracking(), 0U);
}

TEST_F(DirtyLogTest, CannotBeCollectedWhileItIsOff) {
    EXPECT_THROW((void)log.collect(), Error);
    log.start();
    log.stop();
    EXPECT_THROW((void)log.collect(), Error);
}

TEST_F(DirtyLogTest, NoWriteOfAnyThreadIsLost) {
    constexpr unsigned rounds = 2000;
    constexpr std::uint64_t pages = 64; // of one word of the bitmap
    log.start();
    // Each thread writes into pages of its own, one after the other, a number that grows.
    const auto write = [this](std::uint64_t thread) {
        for (std::uint64_t value = 1; value <= rounds; ++value) {
            const std::uint64_t page = (value * 4 + thread) % pages;
            ASSERT_TRUE(memory.store<std::uint64_t>(page * 4096, value));
        }
    };
    std::array<std::uint64_t, pages> copy{};
    const auto bring_up_to_date = [&] {
        for (const PageRange& range : log.collect()) {
            for (std::uint64_t page = range.first; page < range.first + range.count; ++page) {
                copy.at(page) = memory.load<std::uint64_t>(page * 4096).value_or(0);
            }
        }
    };
    {
        std::vector<std::jthread> threads;
        for (std::uint64_t thread = 0; thread < 4; ++thread) {
            threads.emplace_back(write, thread);
        }
        for (unsigned i = 0; i < rounds / 4; ++i) {
            bring_up_to_date();
        }
    }
    bring_up_to_date();
    for (std::uint64_t page = 0; page < pages; ++page) {
        EXPECT_EQ(copy.at(page), memory.load<std::uint64_t>(page * 4096)) << page;
    }
}

} // namespace
} // namespace croft::worker
