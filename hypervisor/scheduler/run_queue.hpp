// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/scheduler/bandwidth.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <utility>

namespace hypervisor {

/// What the scheduler knows of a virtual processor: its share of time so far, and what it may have.
/// Times are ticks of the time-stamp counter; virtual time passes the slower the more weight one
/// has.
struct ScheduleEntity {
    static constexpr std::uint32_t usual_weight = 100;
    enum class List : std::uint8_t {
        none,
        entitled, ///< ready, and is to have now what is kept for it
        ready,
        parked, ///< ready, but has had all that it may have: waits for a time
    };

    std::uint64_t virtual_time = 0;
    std::uint32_t weight = usual_weight;
    Bandwidth cap{}; ///< a limit if its fraction is less than the whole
    Bandwidth reserve{};
    std::uint64_t release = 0; ///< when it is parked: until when
    ScheduleEntity* next = nullptr;
    ScheduleEntity* previous = nullptr;
    List list = List::none;
    bool is_limited = false;
    bool is_patient = false;       ///< about its reserve
    std::uint64_t ready_since = 0; ///< waits for its turn since then, on whatever queue, or 0
    std::uint64_t waited = 0;      ///< in all, until its last turn

    [[nodiscard]] bool is_queued() const { return list != List::none; }
    /// \return `ticks` as virtual time.
    [[nodiscard]] std::uint64_t weighted(std::uint64_t ticks) const {
        return ticks * usual_weight / weight;
    }
    [[nodiscard]] bool is_entitled(std::uint64_t now) {
        return reserve.fraction() != 0 && reserve.is_due(now, is_patient);
    }
    /// It gets its turn, or may no longer have one.
    void end_wait(std::uint64_t now) {
        const std::uint64_t since = std::exchange(ready_since, 0);
        waited += since != 0 && now > since ? now - since : 0;
    }
    /// How far `a` is ahead of `b` in virtual time.
    static std::int64_t lead(std::uint64_t a, std::uint64_t b) {
        return static_cast<std::int64_t>(a - b);
    }
};

/// One logical processor's virtual processors that are ready to run: first those that have not had
/// their reserve, then the others; among each the one that has had the least time for its weight.
/// Virtual time of a queue never goes back; who has slept comes in at most `sleeper_bonus` behind,
/// so that sleeping saves up no right to hog the processor. The queues of busy processors go by one
/// time: who is behind on one is behind on another.
class RunQueue final {
public:
    static constexpr std::uint64_t nobody = ~0ull;

    constexpr RunQueue() = default;
    /// \param most_lag by how much one that comes from another queue is behind or ahead at most
    constexpr RunQueue(std::uint64_t sleeper_bonus, std::uint64_t most_lag)
        : sleeper_bonus_{sleeper_bonus},
          most_lag_{most_lag} {}

    /// Whether none may run now; there may be ones that are parked.
    [[nodiscard]] bool empty() const { return first() == nullptr; }
    /// How many may run now.
    [[nodiscard]] unsigned size() const { return size_; }
    [[nodiscard]] ScheduleEntity* first() const {
        return entitled_ != nullptr ? entitled_ : ready_;
    }
    [[nodiscard]] std::uint64_t virtual_time() const {
        return virtual_time_.load(std::memory_order_relaxed);
    }
    /// The least virtual time of those that may run now, or `nobody`. The queue need not be locked.
    [[nodiscard]] std::uint64_t least() const { return least_.load(std::memory_order_relaxed); }
    /// The first that may run now and of which `f` says yes, or null.
    template <class F>
    [[nodiscard]] ScheduleEntity* find(F&& f) const {
        for (ScheduleEntity* const list : {entitled_, ready_}) {
            for (ScheduleEntity* one = list; one != nullptr; one = one->next) {
                if (f(*one)) {
                    return one;
                }
            }
        }
        return nullptr;
    }
    /// When the next one that is parked may run again, or Bandwidth::never.
    [[nodiscard]] std::uint64_t next_release() const {
        return parked_ != nullptr ? parked_->release : Bandwidth::never;
    }

    /// Adds one that has slept or is new here.
    void add_woken(ScheduleEntity& entity, std::uint64_t now);
    /// Adds one that has run until now.
    void add_preempted(ScheduleEntity& entity, std::uint64_t now);
    void remove(ScheduleEntity& entity);
    /// Lets go who has been parked until now, and puts those first for whom a new period of their
    /// reserve has begun.
    void refresh(std::uint64_t now);
    /// Takes the one that is to run next, or null.
    ScheduleEntity* take_first();
    /// Charges the one that ran.
    void charge(ScheduleEntity& entity, std::uint64_t ticks, std::uint64_t now);
    /// One that was in another queue comes to this one.
    void adopt(ScheduleEntity& entity) const;
    /// Nobody ran here for a while, and time has gone on elsewhere: all here go along.
    void catch_up(std::uint64_t to);

private:
    ScheduleEntity*& head(ScheduleEntity::List list);
    void insert(ScheduleEntity& entity, ScheduleEntity::List list);
    void note_least();
    [[nodiscard]] std::int64_t most_lead(const ScheduleEntity& entity) const {
        return static_cast<std::int64_t>(std::max(most_lag_, entity.weighted(most_lag_)));
    }
    void advance(std::uint64_t to) {
        if (ScheduleEntity::lead(to, virtual_time()) > 0) {
            virtual_time_.store(to, std::memory_order_relaxed);
        }
    }

    ScheduleEntity* entitled_ = nullptr;
    ScheduleEntity* ready_ = nullptr;
    ScheduleEntity* parked_ = nullptr;
    unsigned size_ = 0;
    std::uint64_t review_at_ = Bandwidth::never; ///< somebody's reserve begins anew
    std::atomic<std::uint64_t> virtual_time_{0};
    std::atomic<std::uint64_t> least_{nobody};
    std::uint64_t sleeper_bonus_ = 0;
    std::uint64_t most_lag_ = 0;
};

} // namespace hypervisor
