// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/store.hpp"

#include <algorithm>

namespace croft::disk::tool {

// Store::next_data() of a store that nobody changes meanwhile, asked once for each run of data: to
// find its end a file system walks through all the extents that are in it, and a disk made by
// cloning has thousands. Not thread-safe.
class DataRuns {
public:
    Store::Range next(Store& store, std::uint64_t offset, std::uint64_t end) {
        if (&store != store_ || offset < asked_ || offset >= run_end_) {
            const Store::Range run = store.next_data(offset, store.size());
            store_ = &store;
            asked_ = offset;
            run_start_ = run.length != 0 ? run.offset : store.size();
            run_end_ = run_start_ + run.length;
        }
        const std::uint64_t start = std::max(offset, run_start_);
        if (start >= end)
            return {end, 0};
        return {start, std::min(end, run_end_) - start};
    }

private:
    Store* store_ = nullptr;
    // No data from where it was asked for to the start of the run.
    std::uint64_t asked_ = 0;
    std::uint64_t run_start_ = 0;
    std::uint64_t run_end_ = 0;
};

} // namespace croft::disk::tool
