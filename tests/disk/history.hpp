// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

namespace croft::disk::test {

// The model of a disk that many threads change at once, where they overlap too: for each sector,
// what was written to it and when. A sector may be read as anything that no later write had
// replaced for certain. Thread-safe.
class History {
public:
    using Tag = std::uint64_t; // what a sector holds, repeated; 0 stands for zeros
    using Time = std::uint64_t;

    explicit History(std::vector<Tag> sectors) {
        for (const Tag tag : sectors)
            writes_.push_back({{tag, 0, 1, true}});
    }

    std::uint64_t sectors() const { return writes_.size(); }
    Tag new_tag() { return next_tag_.fetch_add(1) << 8U; }
    Time now() { return clock_.fetch_add(1); }

    // A write begins, at the time answered. `replaces` false is a discard: what was there before
    // may stay.
    [[nodiscard]] Time begin(std::uint64_t first, std::uint64_t count, Tag tag, bool replaces) {
        const std::lock_guard lock{mutex_};
        const Time time = now();
        for (std::uint64_t i = first; i < first + count; ++i)
            writes_[i].push_back({tag, time, never, replaces});
        return time;
    }
    // The write that began at `begun` is over. Its tag would not tell which it is: a discard and
    // zeroes may both be on their way to a sector.
    void end(std::uint64_t first, std::uint64_t count, Time begun) {
        const std::lock_guard lock{mutex_};
        const Time time = now();
        for (std::uint64_t i = first; i < first + count; ++i) {
            std::ranges::find(writes_[i], begun, &Write::begun)->end = time;
            forget(writes_[i]);
        }
    }
    // Whether a read that began at `begun` and is over may have found `tag`.
    bool allows(std::uint64_t sector, Tag tag, Time begun) {
        const std::lock_guard lock{mutex_};
        const std::vector<Write>& writes = writes_[sector];
        for (const Write& write : writes) {
            if (write.tag == tag && !replaced(write, writes, begun))
                return true;
        }
        return false;
    }

    // A read is under way, so that nothing that it may find is forgotten.
    class Reading {
    public:
        explicit Reading(History& history) : history_{history} {
            const std::lock_guard lock{history.mutex_};
            ++history.readers_;
            begun = history.now();
        }
        Reading(const Reading&) = delete;
        Reading& operator=(const Reading&) = delete;
        ~Reading() {
            const std::lock_guard lock{history_.mutex_};
            --history_.readers_;
        }
        Time begun = 0;

    private:
        History& history_;
    };

private:
    static constexpr Time never = ~Time{0};
    struct Write {
        Tag tag;
        Time begun;
        Time end;
        bool replaces;
    };

    // Whether another write took the place of this one, all of it before `time`.
    static bool replaced(const Write& write, const std::vector<Write>& writes, Time time) {
        for (const Write& other : writes) {
            if (other.replaces && other.begun > write.end && other.end < time)
                return true;
        }
        return false;
    }
    void forget(std::vector<Write>& writes) {
        if (readers_ != 0)
            return;
        std::vector<Write> kept;
        for (const Write& write : writes) {
            if (!replaced(write, writes, never))
                kept.push_back(write);
        }
        writes = std::move(kept);
    }

    std::mutex mutex_;
    std::vector<std::vector<Write>> writes_;
    std::atomic<Tag> next_tag_{1};
    std::atomic<Time> clock_{2};
    unsigned readers_ = 0;
};

} // namespace croft::disk::test
