// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/emulate/walk_trace.hpp"

#include <array>

namespace hypervisor {

/// A guest's tables, where the hypervisor sees them, and what a walk through them leads through.
struct TracedTables {
    std::array<WalkTrace::Word, WalkTrace::levels> words{};

    TracedTables() {
        for (unsigned i = 0; i < words.size(); ++i) {
            words[i] = 0x1000 * i + 7;
        }
    }
    [[nodiscard]] WalkTrace trace(unsigned depth = WalkTrace::levels) const {
        WalkTrace result;
        for (; result.depth < depth; ++result.depth) {
            result.entries[result.depth] = &words[result.depth];
            result.values[result.depth] = words[result.depth];
        }
        return result;
    }
};

} // namespace hypervisor
