// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/scheduler/run_queue.hpp"

#include "hypervisor/debug/panic.hpp"

#include <algorithm>

namespace hypervisor {

using List = ScheduleEntity::List;

ScheduleEntity*& RunQueue::head(List list) {
    return list == List::entitled ? entitled_ : list == List::ready ? ready_ : parked_;
}

void RunQueue::insert(ScheduleEntity& entity, List list) {
    require(!entity.is_queued(), "a virtual processor is queued twice");
    const auto is_behind = [&entity, list](const ScheduleEntity& other) {
        return list == List::parked
            ? other.release > entity.release
            : ScheduleEntity::lead(other.virtual_time, entity.virtual_time) > 0;
    };
    ScheduleEntity* before = nullptr;
    ScheduleEntity* behind = head(list);
    while (behind != nullptr && !is_behind(*behind)) {
        before = behind;
        behind = behind->next;
    }
    entity.previous = before;
    entity.next = behind;
    entity.list = list;
    (before != nullptr ? before->next : head(list)) = &entity;
    if (behind != nullptr) {
        behind->previous = &entity;
    }
    size_ += list != List::parked ? 1 : 0;
    note_least();
}

void RunQueue::note_least() {
    std::uint64_t least = nobody;
    for (const ScheduleEntity* const one : {entitled_, ready_}) {
        if (one != nullptr &&
            (least == nobody || ScheduleEntity::lead(one->virtual_time, least) < 0)) {
            least = one->virtual_time;
        }
    }
    least_.store(least, std::memory_order_relaxed);
}

void RunQueue::add_preempted(ScheduleEntity& entity, std::uint64_t now) {
    if (entity.ready_since == 0) {
        entity.ready_since = now;
    }
    if (entity.is_limited && entity.cap.left(now) <= 0) {
        entity.release = entity.cap.available_at(now);
        insert(entity, List::parked);
        return;
    }
    if (entity.is_entitled(now)) {
        insert(entity, List::entitled);
        return;
    }
    if (entity.reserve.fraction() != 0) {
        review_at_ = std::min(review_at_, entity.reserve.due_at(now, entity.is_patient));
    }
    insert(entity, List::ready);
}

void RunQueue::add_woken(ScheduleEntity& entity, std::uint64_t now) {
    const std::uint64_t earliest = virtual_time() - sleeper_bonus_;
    if (ScheduleEntity::lead(entity.virtual_time, earliest) < 0) {
        entity.virtual_time = earliest;
    }
    add_preempted(entity, now);
}

void RunQueue::remove(ScheduleEntity& entity) {
    require(entity.is_queued(), "a virtual processor leaves a queue that it isn't in");
    (entity.previous != nullptr ? entity.previous->next : head(entity.list)) = entity.next;
    if (entity.next != nullptr) {
        entity.next->previous = entity.previous;
    }
    size_ -= entity.list != List::parked ? 1 : 0;
    entity.next = entity.previous = nullptr;
    entity.list = List::none;
    note_least();
}

void RunQueue::refresh(std::uint64_t now) {
    while (parked_ != nullptr && parked_->release <= now) {
        ScheduleEntity& entity = *parked_;
        remove(entity);
        add_woken(entity, now);
    }
    if (now < review_at_) {
        return;
    }
    review_at_ = Bandwidth::never;
    for (ScheduleEntity* one = ready_; one != nullptr;) {
        ScheduleEntity& entity = *one;
        one = one->next;
        if (entity.reserve.fraction() != 0) {
            remove(entity);
            add_preempted(entity, now);
        }
    }
}

ScheduleEntity* RunQueue::take_first() {
    ScheduleEntity* const entity = first();
    if (entity != nullptr) {
        advance(least());
        remove(*entity);
    }
    return entity;
}

void RunQueue::charge(ScheduleEntity& entity, std::uint64_t ticks, std::uint64_t now) {
    const std::uint64_t before = entity.virtual_time;
    entity.virtual_time += entity.weighted(ticks);
    if (entity.is_limited) {
        entity.cap.use(ticks, now);
    }
    if (entity.reserve.fraction() != 0) {
        entity.reserve.use(ticks, now);
        entity.reserve.forgive(); // it may have had the processor because nobody else wanted it
        // What is kept for it may take it ahead for as long as it is there; when it isn't any more,
        // it need not wait for the others to catch up with all of that.
        const std::uint64_t most = virtual_time() + static_cast<std::uint64_t>(most_lead(entity));
        if (least() != nobody && ScheduleEntity::lead(entity.virtual_time, most) > 0) {
            entity.virtual_time = ScheduleEntity::lead(before, most) > 0 ? before : most;
        }
    }
    const bool others = least() != nobody;
    advance(others && ScheduleEntity::lead(least(), entity.virtual_time) < 0 ? least()
                                                                             : entity.virtual_time);
}

void RunQueue::adopt(ScheduleEntity& entity) const {
    const std::int64_t ahead = ScheduleEntity::lead(entity.virtual_time, virtual_time());
    const auto most_lag = static_cast<std::int64_t>(most_lag_);
    entity.virtual_time = virtual_time() +
        static_cast<std::uint64_t>(std::clamp(ahead, -most_lag, most_lead(entity)));
}

void RunQueue::catch_up(std::uint64_t to) {
    const std::uint64_t missing = to - virtual_time();
    if (ScheduleEntity::lead(to, virtual_time()) <= 0) {
        return;
    }
    for (ScheduleEntity* const list : {entitled_, ready_, parked_}) {
        for (ScheduleEntity* one = list; one != nullptr; one = one->next) {
            one->virtual_time += missing;
        }
    }
    advance(to);
    note_least();
}

} // namespace hypervisor
