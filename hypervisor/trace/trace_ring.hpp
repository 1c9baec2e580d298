// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "abi/exit_trace.h"
#include "hypervisor/memory/page_pool.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

namespace hypervisor {

/// The last exits that one LP has seen. That LP writes, without a lock and without waiting for
/// anybody; another one may read meanwhile, one at a time. What the reader does not fetch in time
/// is overwritten, and counted.
class TraceRing final {
public:
    static constexpr std::uint64_t capacity = HV_EXIT_TRACE_RING_RECORDS;

    /// The root runs on an LP, and a child may in the place of the root: of each an exit can be
    /// under way.
    enum class Level : std::uint8_t { root, child };

    /// What it costs, taken from `pool`. \return null if there are too few pages; then none is
    /// taken.
    [[nodiscard]] static TraceRing* create(PagePool& pool);
    /// Nobody writes or reads any more.
    static void destroy(TraceRing& ring, PagePool& pool);

    TraceRing(const TraceRing&) = delete;
    TraceRing& operator=(const TraceRing&) = delete;

    // For the LP.

    /// A guest has been left: `exit` has all but sequence and durations.
    void begin(Level level, const hv_exit_trace_record& exit);
    /// The exit that is under way, if one is, has come to its end, and is recorded.
    void end(Level level, std::uint64_t now, hv_exit_trace_outcome outcome);
    /// The same, and the guest is entered.
    void enter(Level level, std::uint64_t now) {
        end(level, now, HV_EXIT_TRACE_SERVED);
        under_way(level).entered = now;
    }
    /// The exit that is under way is not recorded.
    void drop(Level level) { under_way(level).since.store(0, std::memory_order_relaxed); }

    // For a reader, one at a time.

    struct Reading {
        std::size_t count = 0;
        std::uint64_t lost = 0; ///< before the first of them
    };
    /// Takes the oldest records out, as many as `to` has room for.
    Reading read(std::span<hv_exit_trace_record> to);
    /// When the oldest exit came that is under way; 0 if none is.
    [[nodiscard]] std::uint64_t open_since() const;

private:
    static constexpr std::size_t word_count = sizeof(hv_exit_trace_record) / sizeof(std::uint64_t);
    using Words = std::array<std::uint64_t, word_count>;
    static_assert(sizeof(Words) == sizeof(hv_exit_trace_record));

    /// What the words of a record are kept in: the reader may find some that change.
    struct Slot {
        std::array<std::atomic<std::uint64_t>, word_count> words;
    };
    static constexpr std::uint64_t per_page = page_size / sizeof(Slot);
    static constexpr std::size_t pages = capacity / per_page;
    static_assert(capacity % per_page == 0);

    struct UnderWay {
        hv_exit_trace_record record{};
        std::uint64_t entered = 0;           ///< when the guest was entered; 0: not known
        std::atomic<std::uint64_t> since{0}; ///< 0: none is
    };

    TraceRing() = default;
    ~TraceRing() = default;

    UnderWay& under_way(Level level) { return under_way_[static_cast<std::size_t>(level)]; }
    [[nodiscard]] Slot& slot(std::uint64_t sequence) const {
        return pages_[sequence % capacity / per_page][sequence % per_page];
    }
    void store(const hv_exit_trace_record& record);
    [[nodiscard]] hv_exit_trace_record load(std::uint64_t sequence) const;

    std::array<Slot*, pages> pages_{};
    std::array<UnderWay, 2> under_way_{};
    /// How many have been written. What lies `capacity` behind it may be changing.
    std::atomic<std::uint64_t> written_{0};
    std::uint64_t read_ = 0; ///< how many of them have been read or lost
};

} // namespace hypervisor
