// SPDX-License-Identifier: Apache-2.0
#include "worker/memory/dirty_log.hpp"

#include "hv/error.hpp"
#include "worker/error.hpp"

#include <algorithm>
#include <bit>

namespace croft::worker {

namespace {

/// The driver makes a buffer of one byte for each page that is asked for at once.
constexpr std::uint64_t pages_at_once = 1U << 18;

/// Appends the runs of ones to `ranges`.
void append(std::vector<PageRange>& ranges, std::uint64_t first_page, const PageBitmap& bitmap) {
    for (std::size_t i = 0; i < bitmap.size(); ++i) {
        for (std::uint64_t word = bitmap[i]; word != 0;) {
            const auto begin = static_cast<unsigned>(std::countr_zero(word));
            const auto count = static_cast<unsigned>(std::countr_one(word >> begin));
            const std::uint64_t first = first_page + i * pages_per_word + begin;
            if (!ranges.empty() && ranges.back().first + ranges.back().count == first) {
                ranges.back().count += count;
            } else {
                ranges.push_back({first, count});
            }
            const std::uint64_t ones = ~std::uint64_t{0} >> (pages_per_word - count);
            word &= ~(ones << begin);
        }
    }
}

} // namespace

DirtyLog::~DirtyLog() {
    try {
        stop();
    } catch (const hv::HypervisorError&) { // the partition is as it was, but for its speed
    }
}

/// The bits of the worker come last: what it has noted by then has been written.
PageBitmap DirtyLog::take(std::size_t range) {
    const std::uint64_t first_page = memory_.range(range).start >> HV_PAGE_SHIFT;
    const std::uint64_t pages = memory_.range(range).size >> HV_PAGE_SHIFT;
    PageBitmap result;
    for (std::uint64_t done = 0; done < pages;) {
        const std::uint64_t count = std::min(pages_at_once, pages - done);
        const PageBitmap part = partition_.page_access(
            hv::PageAccess::dirty, hv::PageAccessUpdate::clear, first_page + done, count);
        result.insert(result.end(), part.begin(), part.end());
        done += count;
    }
    const PageBitmap written = memory_.take_written(range);
    for (std::size_t i = 0; i < result.size(); ++i) {
        result[i] |= written[i];
    }
    return result;
}

void DirtyLog::start() {
    const std::lock_guard lock(mutex_);
    partition_.set_property(HV_PARTITION_PROPERTY_GPA_PAGE_ACCESS_TRACKING, 1);
    on_ = true;
    for (std::size_t range = 0; range < memory_.range_count(); ++range) {
        (void)take(range);
    }
}

std::vector<PageRange> DirtyLog::collect() {
    const std::lock_guard lock(mutex_);
    if (!on_) {
        throw Error("dirty log: found it off, expected start() before collect(); this is a defect "
                    "of the worker");
    }
    std::vector<PageRange> result;
    for (std::size_t range = 0; range < memory_.range_count(); ++range) {
        append(result, memory_.range(range).start >> HV_PAGE_SHIFT, take(range));
    }
    return result;
}

void DirtyLog::stop() {
    const std::lock_guard lock(mutex_);
    if (on_) {
        on_ = false;
        partition_.set_property(HV_PARTITION_PROPERTY_GPA_PAGE_ACCESS_TRACKING, 0);
    }
}

} // namespace croft::worker
