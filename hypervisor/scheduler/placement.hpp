// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>

namespace hypervisor {

/// Where a partition's virtual processors may run, and where they had better: sets of logical
/// processors, a bit for each. From any LP; who reads an old one puts right what follows when he
/// next looks.
class Placement final {
public:
    static constexpr std::uint64_t everywhere = ~0ull;

    [[nodiscard]] bool allows(std::uint32_t lp) const {
        return ((allowed_.load(std::memory_order_relaxed) >> lp) & 1) != 0;
    }
    [[nodiscard]] bool prefers(std::uint32_t lp) const {
        return ((preferred_.load(std::memory_order_relaxed) >> lp) & 1) != 0;
    }
    void set(std::uint64_t allowed, std::uint64_t preferred) {
        allowed_.store(allowed, std::memory_order_relaxed);
        preferred_.store(preferred, std::memory_order_relaxed);
    }

    /// What it costs to run on an LP where `load` are ready or running: one more there is as good
    /// as none where they had better not be, and one more.
    [[nodiscard]] unsigned cost(std::uint32_t lp, unsigned load) const {
        constexpr unsigned not_allowed = ~0u;
        return allows(lp) ? 2 * load + (prefers(lp) ? 0 : 3) : not_allowed;
    }

private:
    std::atomic<std::uint64_t> allowed_{everywhere};
    std::atomic<std::uint64_t> preferred_{everywhere};
};

} // namespace hypervisor
