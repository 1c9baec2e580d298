// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/cpu/intrinsics.hpp"

#include <array>
#include <cstdint>

namespace hypervisor {

/// What CPUID has answered a virtual processor, but for what follows its state: to put an answer
/// together again takes longer than all the rest of the exit. Its own.
class CpuidCache final {
public:
    /// The answer, or null. \param generation of what answers depend on: those of before are void.
    [[nodiscard]] const CpuidResult* find(
        std::uint32_t leaf, std::uint32_t subleaf, std::uint32_t generation) const {
        const Entry& entry = entries_[place(leaf, subleaf)];
        return generation == generation_ && entry.leaf == leaf && entry.subleaf == subleaf
            ? &entry.result
            : nullptr;
    }
    void remember(std::uint32_t leaf, std::uint32_t subleaf, std::uint32_t generation,
        const CpuidResult& result) {
        if (generation != generation_) {
            entries_ = {};
            generation_ = generation;
        }
        entries_[place(leaf, subleaf)] = {.leaf = leaf, .subleaf = subleaf, .result = result};
    }

private:
    struct Entry {
        std::uint32_t leaf = no_leaf;
        std::uint32_t subleaf = 0;
        CpuidResult result{};
    };
    static constexpr unsigned count = 64;
    static constexpr std::uint32_t no_leaf = ~0u; // which is none that answers

    /// The ranges of leaves that are in use, from 0, 0x40000000 and 0x80000000 on, lie apart.
    static constexpr unsigned place(std::uint32_t leaf, std::uint32_t subleaf) {
        constexpr unsigned range = 16;
        constexpr unsigned spread = 37;
        return (leaf + (leaf >> 30) * range + subleaf * spread) % count;
    }

    std::uint32_t generation_ = 0; ///< no generation is 0
    std::array<Entry, count> entries_{};
};

} // namespace hypervisor
