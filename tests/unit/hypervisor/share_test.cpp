// SPDX-License-Identifier: Apache-2.0
// What weight, cap and reserve come to on one processor, over time.
#include "hypervisor/scheduler/run_queue.hpp"

#include <algorithm>
#include <array>
#include <gtest/gtest.h>
#include <vector>

namespace hypervisor {
namespace {

// As the scheduler has them, in microseconds.
constexpr std::uint64_t slice = 5000;
constexpr std::uint64_t period = 20'000;
constexpr std::uint64_t bonus = 2000;
constexpr std::uint64_t lag = 10'000;
constexpr std::uint64_t long_time = 10'000'000;

/// One processor, and virtual processors that never sleep.
class Processor {
public:
    explicit Processor(std::size_t count) : entities_(count), ran_(count) {}

    ScheduleEntity& operator[](std::size_t i) { return entities_[i]; }
    void cap(std::size_t i, std::uint32_t fraction) {
        entities_[i].cap.set(fraction, period, now_);
        entities_[i].is_limited = true;
    }
    void reserve(std::size_t i, std::uint32_t fraction) {
        entities_[i].reserve.set(fraction, period, now_);
    }
    void run(std::uint64_t time) {
        for (ScheduleEntity& entity : entities_) {
            if (!entity.is_queued()) {
                queue_.add_woken(entity, now_);
            }
        }
        for (const std::uint64_t end = now_ + time; now_ < end;) {
            queue_.refresh(now_);
            ScheduleEntity* const next = queue_.take_first();
            if (next == nullptr) {
                const std::uint64_t until = std::min(queue_.next_release(), end);
                idle_ += until - now_;
                now_ = until;
                continue;
            }
            std::uint64_t ticks = queue_.empty() ? end - now_ : slice;
            if (next->is_limited) {
                ticks = std::min(ticks, static_cast<std::uint64_t>(next->cap.left(now_)));
            }
            ticks = std::min(ticks, queue_.next_release() - now_);
            now_ += ticks;
            ran_[static_cast<std::size_t>(next - entities_.data())] += ticks;
            queue_.charge(*next, ticks, now_);
            queue_.add_preempted(*next, now_);
        }
    }
    /// For so long there are no others, and it is not interrupted.
    void run_alone(std::size_t i, std::uint64_t time) {
        queue_.add_woken(entities_[i], now_);
        (void)queue_.take_first();
        now_ += time;
        queue_.charge(entities_[i], time, now_);
        begin_ = now_;
    }
    [[nodiscard]] double share(std::size_t i) const {
        return static_cast<double>(ran_[i]) / static_cast<double>(now_ - begin_);
    }
    [[nodiscard]] double idle() const {
        return static_cast<double>(idle_) / static_cast<double>(now_ - begin_);
    }

private:
    RunQueue queue_{bonus, lag};
    std::vector<ScheduleEntity> entities_;
    std::vector<std::uint64_t> ran_;
    std::uint64_t now_ = 1'000'000'000;
    std::uint64_t begin_ = now_;
    std::uint64_t idle_ = 0;
};

constexpr std::uint32_t percent(unsigned of) {
    return Bandwidth::whole * of / 100;
}

TEST(Share, FollowsWeight) {
    Processor processor{3};
    processor[0].weight = 100;
    processor[1].weight = 200;
    processor[2].weight = 700;
    processor.run(long_time);
    EXPECT_NEAR(processor.share(0), 0.1, 0.002);
    EXPECT_NEAR(processor.share(1), 0.2, 0.002);
    EXPECT_NEAR(processor.share(2), 0.7, 0.002);
}

TEST(Share, OfTheLeastWeightIsSmallButThere) {
    Processor processor{2};
    processor[0].weight = 1;
    processor[1].weight = 10'000;
    processor.run(1000 * long_time);
    EXPECT_NEAR(processor.share(0), 0.0001, 0.00002);
}

TEST(Share, IsLimitedByACapThoughTheProcessorIsIdle) {
    Processor processor{1};
    processor.cap(0, percent(25));
    processor.run(long_time);
    EXPECT_NEAR(processor.share(0), 0.25, 0.001);
    EXPECT_NEAR(processor.idle(), 0.75, 0.001);
}

TEST(Share, ThatACapLeavesIsTheOthers) {
    Processor processor{2};
    processor[0].weight = 10'000;
    processor.cap(0, percent(40));
    processor.run(long_time);
    EXPECT_NEAR(processor.share(0), 0.4, 0.002);
    EXPECT_NEAR(processor.share(1), 0.6, 0.002);
}

TEST(Share, IsAtLeastTheReserve) {
    Processor processor{4};
    processor.reserve(0, percent(50));
    processor.run(long_time);
    EXPECT_NEAR(processor.share(0), 0.5, 0.01);
    for (const std::size_t other : {1u, 2u, 3u}) {
        EXPECT_NEAR(processor.share(other), 0.5 / 3, 0.01);
    }
}

TEST(Share, OfAReserveThatIsLessThanTheWeightGivesIsByWeight) {
    Processor processor{2};
    processor.reserve(0, percent(10));
    processor.run(long_time);
    EXPECT_NEAR(processor.share(0), 0.5, 0.01);
}

TEST(Share, TwoReservesAreKept) {
    Processor processor{3};
    processor.reserve(0, percent(40));
    processor.reserve(1, percent(35));
    processor[2].weight = 10'000;
    processor.run(long_time);
    EXPECT_NEAR(processor.share(0), 0.4, 0.01);
    EXPECT_NEAR(processor.share(1), 0.35, 0.01);
}

/// As the root is beside children with all the weight there is.
TEST(Share, ThePatientGetTheirReserveToo) {
    Processor processor{4};
    processor.reserve(0, percent(25));
    processor[0].is_patient = true;
    for (const std::size_t other : {1u, 2u, 3u}) {
        processor[other].weight = 10'000;
    }
    processor.run(long_time);
    EXPECT_GT(processor.share(0), 0.24);
}

TEST(Share, OfOneThatWasAloneIsItsReserveFromThenOn) {
    Processor processor{3};
    processor.reserve(0, percent(50));
    processor.run_alone(0, long_time);
    processor.run(period * 10);
    EXPECT_GT(processor.share(0), 0.4);
}

TEST(Share, AReserveThatEndsLeavesNoDebt) {
    Processor processor{2};
    processor.reserve(0, percent(90));
    processor.run(long_time);
    const double before = processor.share(0);
    EXPECT_NEAR(before, 0.9, 0.01);
    processor.reserve(0, 0);
    processor.run(long_time);
    EXPECT_NEAR(processor.share(0), (0.9 + 0.5) / 2, 0.01);
}

} // namespace
} // namespace hypervisor
