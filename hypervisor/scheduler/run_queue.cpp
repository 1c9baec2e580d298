// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/scheduler/run_queue.hpp"

namespace hypervisor {

void RunQueue::insert(ScheduleEntity& entity) {
    ScheduleEntity* before = nullptr;
    ScheduleEntity* behind = first_;
    while (behind != nullptr && behind->virtual_time <= entity.virtual_time) {
        before = behind;
        behind = behind->next;
    }
    entity.previous = before;
    entity.next = behind;
    entity.queued = true;
    if (before != nullptr) {
        before->next = &entity;
    } else {
        first_ = &entity;
    }
    if (behind != nullptr) {
        behind->previous = &entity;
    }
    ++size_;
}

void RunQueue::add_woken(ScheduleEntity& entity) {
    const std::uint64_t now = virtual_time();
    const std::uint64_t earliest = now > sleeper_bonus_ ? now - sleeper_bonus_ : 0;
    if (entity.virtual_time < earliest) {
        entity.virtual_time = earliest;
    }
    insert(entity);
}

void RunQueue::remove(ScheduleEntity& entity) {
    if (entity.previous != nullptr) {
        entity.previous->next = entity.next;
    } else {
        first_ = entity.next;
    }
    if (entity.next != nullptr) {
        entity.next->previous = entity.previous;
    }
    entity.next = entity.previous = nullptr;
    entity.queued = false;
    --size_;
}

ScheduleEntity* RunQueue::take_first() {
    ScheduleEntity* const entity = first_;
    if (entity != nullptr) {
        remove(*entity);
        advance(entity->virtual_time);
    }
    return entity;
}

void RunQueue::charge(ScheduleEntity& entity, std::uint64_t ticks) {
    entity.virtual_time += ticks;
    advance(first_ != nullptr && first_->virtual_time < entity.virtual_time ? first_->virtual_time
                                                                            : entity.virtual_time);
}

void RunQueue::adopt(ScheduleEntity& entity, const RunQueue& from) const {
    const std::uint64_t theirs = from.virtual_time();
    const std::uint64_t ahead = entity.virtual_time > theirs ? entity.virtual_time - theirs : 0;
    entity.virtual_time = virtual_time() + ahead;
}

} // namespace hypervisor
