// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/trace/trace_ring.hpp"

#include "tests/unit/hypervisor/host_pages.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <gtest/gtest.h>
#include <thread>

namespace hypervisor {
namespace {

using enum TraceRing::Level;

constexpr std::size_t cost = 9;

hv_exit_trace_record exit_at(std::uint64_t time) {
    hv_exit_trace_record record{};
    record.time = time;
    record.partition_id = 7;
    record.rip = time * 2;
    record.detail = time * 3;
    record.value = time * 5;
    record.vp_index = 1;
    record.reason = HV_EXIT_TRACE_CPUID;
    record.code = 0x72;
    return record;
}

class TraceRingTest : public testing::Test {
protected:
    TraceRingTest() {
        pages_.add_to(pool_);
        ring_ = TraceRing::create(pool_);
    }
    ~TraceRingTest() override { TraceRing::destroy(*ring_, pool_); }

    /// One that the hypervisor serves, after as many ticks as it is old.
    void record(std::uint64_t time) {
        ring_->begin(child, exit_at(time));
        ring_->enter(child, time + 3);
    }
    TraceRing::Reading read(std::size_t most = HV_EXIT_TRACE_MAX_RECORDS) {
        return ring_->read(std::span{records_}.first(most));
    }

    const HostPages pages_{cost};
    PagePool pool_{};
    TraceRing* ring_ = nullptr;
    std::array<hv_exit_trace_record, TraceRing::capacity> records_{};
};

TEST(TraceRing, CostsPagesThatComeBack) {
    const HostPages pages{cost};
    PagePool pool;
    pages.add_to(pool);
    TraceRing* const ring = TraceRing::create(pool);
    ASSERT_NE(ring, nullptr);
    EXPECT_EQ(pool.balance().free, 0u);
    EXPECT_EQ(TraceRing::create(pool), nullptr);
    TraceRing::destroy(*ring, pool);
    EXPECT_EQ(pool.balance().free, cost);
}

TEST(TraceRing, WithTooFewPagesNoneIsTaken) {
    const HostPages pages{cost - 1};
    PagePool pool;
    pages.add_to(pool);
    EXPECT_EQ(TraceRing::create(pool), nullptr);
    EXPECT_EQ(pool.balance().free, cost - 1);
}

TEST_F(TraceRingTest, AnswersEachRecordOnceInOrder) {
    EXPECT_EQ(read().count, 0u);
    for (std::uint64_t time = 10; time <= 50; time += 10) {
        record(time);
    }
    const auto reading = read(3);
    ASSERT_EQ(reading.count, 3u);
    EXPECT_EQ(reading.lost, 0u);
    EXPECT_EQ(records_[0].time, 10u);
    EXPECT_EQ(records_[2].time, 30u);
    ASSERT_EQ(read(3).count, 2u);
    EXPECT_EQ(records_[0].time, 40u);
    EXPECT_EQ(records_[1].time, 50u);
    EXPECT_EQ(read().count, 0u);
}

TEST_F(TraceRingTest, ARecordIsWhatWasGivenAndWhenItEnded) {
    ring_->enter(child, 90);
    ring_->begin(child, exit_at(100));
    ring_->end(child, 140, HV_EXIT_TRACE_PARENT);
    ASSERT_EQ(read().count, 1u);
    const hv_exit_trace_record& found = records_[0];
    EXPECT_EQ(found.sequence, 0u);
    EXPECT_EQ(found.time, 100u);
    EXPECT_EQ(found.partition_id, 7u);
    EXPECT_EQ(found.rip, 200u);
    EXPECT_EQ(found.detail, 300u);
    EXPECT_EQ(found.value, 500u);
    EXPECT_EQ(found.vp_index, 1u);
    EXPECT_EQ(found.reason, HV_EXIT_TRACE_CPUID);
    EXPECT_EQ(found.code, 0x72u);
    EXPECT_EQ(found.outcome, HV_EXIT_TRACE_PARENT);
    EXPECT_EQ(found.duration, 40u);
    EXPECT_EQ(found.guest_duration, 10u);
}

TEST_F(TraceRingTest, WhatIsNotKnownOrTooLongIsSaid) {
    constexpr std::uint64_t long_time = std::uint64_t{1} << 40;
    ring_->begin(child, exit_at(100)); // it was not seen how the guest was entered
    ring_->enter(child, 100 + long_time);
    ring_->begin(child, exit_at(100 + 2 * long_time));
    ring_->enter(child, 90); // processors' counters may differ a little
    ASSERT_EQ(read().count, 2u);
    EXPECT_EQ(records_[0].guest_duration, HV_EXIT_TRACE_DURATION_UNKNOWN);
    EXPECT_EQ(records_[0].duration, HV_EXIT_TRACE_DURATION_UNKNOWN);
    EXPECT_EQ(records_[1].guest_duration, HV_EXIT_TRACE_DURATION_UNKNOWN);
    EXPECT_EQ(records_[1].duration, 0u);
}

TEST_F(TraceRingTest, AnExitIsRecordedOnceAndOnlyAtItsEnd) {
    ring_->end(child, 5, HV_EXIT_TRACE_STOPPED); // none is under way
    ring_->enter(child, 6);
    ring_->begin(child, exit_at(10));
    EXPECT_EQ(read().count, 0u);
    EXPECT_EQ(ring_->open_since(), 10u);
    ring_->enter(child, 12);
    ring_->enter(child, 14); // the LP has looked once more before it went in
    ring_->end(child, 16, HV_EXIT_TRACE_STOPPED);
    EXPECT_EQ(ring_->open_since(), 0u);
    ASSERT_EQ(read().count, 1u);
    EXPECT_EQ(records_[0].duration, 2u);
    EXPECT_EQ(records_[0].outcome, HV_EXIT_TRACE_SERVED);
}

TEST_F(TraceRingTest, OneThatIsDroppedIsNotRecorded) {
    ring_->begin(root, exit_at(10));
    ring_->drop(root);
    ring_->enter(root, 12);
    EXPECT_EQ(ring_->open_since(), 0u);
    EXPECT_EQ(read().count, 0u);
}

TEST_F(TraceRingTest, AChildRunsWithinAnExitOfTheRoot) {
    ring_->begin(root, exit_at(100));
    ring_->enter(child, 110);
    ring_->begin(child, exit_at(120));
    EXPECT_EQ(ring_->open_since(), 100u);
    ring_->end(child, 130, HV_EXIT_TRACE_PARENT);
    ring_->enter(root, 150);
    ASSERT_EQ(read().count, 2u);
    EXPECT_EQ(records_[0].time, 120u);
    EXPECT_EQ(records_[0].duration, 10u);
    EXPECT_EQ(records_[0].guest_duration, 10u);
    EXPECT_EQ(records_[1].time, 100u);
    EXPECT_EQ(records_[1].duration, 50u);
    EXPECT_EQ(records_[1].sequence, 1u);
}

TEST_F(TraceRingTest, WhatIsOverwrittenIsCounted) {
    constexpr std::uint64_t written = TraceRing::capacity * 3 + 17;
    for (std::uint64_t time = 1; time <= written; ++time) {
        record(time);
    }
    std::uint64_t lost = 0;
    std::uint64_t next = 0;
    for (;;) {
        const auto reading = read();
        lost += reading.lost;
        next += reading.lost;
        if (reading.count == 0) {
            break;
        }
        for (std::size_t i = 0; i < reading.count; ++i) {
            ASSERT_EQ(records_[i].sequence, next);
            ASSERT_EQ(records_[i].time, next + 1);
            ++next;
        }
    }
    EXPECT_EQ(next, written);
    // One place is where the LP may be writing.
    EXPECT_EQ(lost, written - TraceRing::capacity + 1);
    record(written + 1);
    const auto reading = read();
    EXPECT_EQ(reading.count, 1u);
    EXPECT_EQ(reading.lost, 0u);
}

TEST_F(TraceRingTest, WhoReadsMeanwhileSeesNoHalfRecord) {
    constexpr std::uint64_t written = 300'000;
    std::atomic<std::uint64_t> progress{0};
    const std::jthread lp{[&] {
        for (std::uint64_t time = 1; time <= written; ++time) {
            record(time);
            progress.store(time, std::memory_order_relaxed);
        }
    }};
    std::uint64_t next = 0;
    while (next < written) {
        // So late that what is read first is overwritten meanwhile.
        while (progress.load(std::memory_order_relaxed) <
            std::min(written, next + TraceRing::capacity)) {
        }
        const auto reading = read(records_.size());
        next += reading.lost;
        for (std::size_t i = 0; i < reading.count; ++i) {
            const hv_exit_trace_record& one = records_[i];
            ASSERT_EQ(one.sequence, next);
            ASSERT_EQ(one.time, next + 1);
            ASSERT_EQ(one.rip, 2 * one.time);
            ASSERT_EQ(one.detail, 3 * one.time);
            ASSERT_EQ(one.value, 5 * one.time);
            ASSERT_EQ(one.duration, 3u);
            ++next;
        }
    }
    EXPECT_EQ(next, written);
}

} // namespace
} // namespace hypervisor
