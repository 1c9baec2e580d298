// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/trace/trace_ring.hpp"

#include <algorithm>
#include <bit>
#include <new>

namespace hypervisor {

namespace {

std::uint32_t duration(std::uint64_t from, std::uint64_t to) {
    const std::uint64_t ticks = to > from ? to - from : 0;
    return static_cast<std::uint32_t>(
        std::min<std::uint64_t>(ticks, HV_EXIT_TRACE_DURATION_UNKNOWN));
}

} // namespace

TraceRing* TraceRing::create(PagePool& pool) {
    static_assert(sizeof(TraceRing) <= page_size);
    const auto own = pool.allocate();
    if (!own) {
        return nullptr;
    }
    auto* const ring = new (pointer_to<void>(*own)) TraceRing;
    for (Slot*& slots : ring->pages_) {
        const auto page = pool.allocate();
        if (!page) {
            destroy(*ring, pool);
            return nullptr;
        }
        slots = pointer_to<Slot>(*page);
    }
    return ring;
}

void TraceRing::destroy(TraceRing& ring, PagePool& pool) {
    for (Slot* const slots : ring.pages_) {
        if (slots != nullptr) {
            pool.free(spa_page_of(slots));
        }
    }
    pool.free(spa_page_of(&ring));
}

void TraceRing::begin(Level level, const hv_exit_trace_record& exit) {
    UnderWay& exits = under_way(level);
    exits.record = exit;
    exits.record.guest_duration =
        exits.entered != 0 ? duration(exits.entered, exit.time) : HV_EXIT_TRACE_DURATION_UNKNOWN;
    exits.since.store(exit.time, std::memory_order_relaxed);
}

void TraceRing::end(Level level, std::uint64_t now, hv_exit_trace_outcome outcome) {
    UnderWay& exits = under_way(level);
    if (exits.since.load(std::memory_order_relaxed) == 0) {
        return;
    }
    exits.record.duration = duration(exits.record.time, now);
    exits.record.outcome = static_cast<std::uint8_t>(outcome);
    store(exits.record);
    exits.since.store(0, std::memory_order_release);
}

// Who finds a word of a new record finds that all before it have been written, and so that the old
// record in its place is gone.
void TraceRing::store(const hv_exit_trace_record& record) {
    const std::uint64_t sequence = written_.load(std::memory_order_relaxed);
    auto all = std::bit_cast<Words>(record);
    all[0] = sequence;
    Slot& to = slot(sequence);
    for (std::size_t i = 0; i < word_count; ++i) {
        to.words[i].store(all[i], std::memory_order_release);
    }
    written_.store(sequence + 1, std::memory_order_release);
}

hv_exit_trace_record TraceRing::load(std::uint64_t sequence) const {
    const Slot& from = slot(sequence);
    Words all;
    for (std::size_t i = 0; i < word_count; ++i) {
        all[i] = from.words[i].load(std::memory_order_acquire);
    }
    return std::bit_cast<hv_exit_trace_record>(all);
}

TraceRing::Reading TraceRing::read(std::span<hv_exit_trace_record> to) {
    const std::uint64_t written = written_.load(std::memory_order_acquire);
    const std::uint64_t begin = read_;
    std::uint64_t first = std::max(begin, written > capacity ? written - capacity : 0);
    const std::size_t count = std::min<std::uint64_t>(written - first, to.size());
    for (std::size_t i = 0; i < count; ++i) {
        to[i] = load(first + i);
    }
    // What has been overwritten meanwhile, or is about to be, is no record any more.
    const std::uint64_t written_since = written_.load(std::memory_order_relaxed);
    const std::uint64_t whole = written_since >= capacity ? written_since - capacity + 1 : 0;
    const std::size_t torn =
        whole > first ? std::min<std::uint64_t>(whole - first, count) : std::size_t{0};
    std::ranges::copy(to.first(count).subspan(torn), to.begin());
    read_ = first + count;
    return {.count = count - torn, .lost = first + torn - begin};
}

std::uint64_t TraceRing::open_since() const {
    std::uint64_t oldest = 0;
    for (const UnderWay& exits : under_way_) {
        const std::uint64_t since = exits.since.load(std::memory_order_acquire);
        oldest = since != 0 && (oldest == 0 || since < oldest) ? since : oldest;
    }
    return oldest;
}

} // namespace hypervisor
