// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>

namespace hypervisor {

/// What the scheduler knows of a virtual processor: its share of time so far. Times are ticks of
/// the time-stamp counter.
struct ScheduleEntity {
    std::uint64_t virtual_time = 0;
    ScheduleEntity* next = nullptr;
    ScheduleEntity* previous = nullptr;
    bool queued = false;
};

/// One logical processor's virtual processors that are ready to run, the one that has had the least
/// time first. Virtual time of a queue never goes back; who has slept comes in at most
/// `sleeper_bonus` behind, so that sleeping saves up no right to hog the processor.
class RunQueue final {
public:
    constexpr RunQueue() = default;
    explicit constexpr RunQueue(std::uint64_t sleeper_bonus) : sleeper_bonus_{sleeper_bonus} {}

    [[nodiscard]] bool empty() const { return first_ == nullptr; }
    [[nodiscard]] unsigned size() const { return size_; }
    [[nodiscard]] const ScheduleEntity* first() const { return first_; }
    [[nodiscard]] std::uint64_t virtual_time() const {
        return virtual_time_.load(std::memory_order_relaxed);
    }

    /// Adds one that has slept or is new here.
    void add_woken(ScheduleEntity& entity);
    /// Adds one that has run until now.
    void add_preempted(ScheduleEntity& entity) { insert(entity); }
    void remove(ScheduleEntity& entity);
    /// Takes the one that is to run next, or null.
    ScheduleEntity* take_first();
    /// Charges the one that ran.
    void charge(ScheduleEntity& entity, std::uint64_t ticks);
    /// Translates an entity's time from another queue's to this one's. The other need not be
    /// locked.
    void adopt(ScheduleEntity& entity, const RunQueue& from) const;

private:
    void insert(ScheduleEntity& entity);
    void advance(std::uint64_t to) {
        if (to > virtual_time()) {
            virtual_time_.store(to, std::memory_order_relaxed);
        }
    }

    ScheduleEntity* first_ = nullptr;
    unsigned size_ = 0;
    std::atomic<std::uint64_t> virtual_time_{0};
    std::uint64_t sleeper_bonus_ = 0;
};

} // namespace hypervisor
