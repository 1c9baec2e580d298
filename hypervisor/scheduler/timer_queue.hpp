// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace hypervisor {

/// A point in time that something waits for, in ticks of the time-stamp counter.
struct TimerEntry {
    static constexpr std::uint64_t never = ~0ull;
    std::uint64_t deadline = never;
    TimerEntry* next = nullptr;
    bool queued = false;
};

/// One logical processor's deadlines, the nearest first.
class TimerQueue final {
public:
    constexpr TimerQueue() = default;

    [[nodiscard]] std::uint64_t next_deadline() const {
        return first_ != nullptr ? first_->deadline : TimerEntry::never;
    }
    void add(TimerEntry& entry) {
        TimerEntry** at = &first_;
        while (*at != nullptr && (*at)->deadline <= entry.deadline) {
            at = &(*at)->next;
        }
        entry.next = *at;
        entry.queued = true;
        *at = &entry;
    }
    void remove(TimerEntry& entry) {
        if (!entry.queued) {
            return;
        }
        TimerEntry** at = &first_;
        while (*at != &entry) {
            at = &(*at)->next;
        }
        *at = entry.next;
        entry.next = nullptr;
        entry.queued = false;
    }
    /// Takes one that is due at `now`, or null.
    TimerEntry* take_due(std::uint64_t now) {
        TimerEntry* const entry = first_;
        if (entry == nullptr || entry->deadline > now) {
            return nullptr;
        }
        remove(*entry);
        return entry;
    }

private:
    TimerEntry* first_ = nullptr;
};

} // namespace hypervisor
