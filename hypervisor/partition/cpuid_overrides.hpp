// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/cpu/intrinsics.hpp"
#include "hypervisor/memory/paged_table.hpp"

#include <cstdint>

namespace hypervisor {

/// What a parent has registered as CPUID's answer in a leaf: of each register the bits of a mask.
struct CpuidOverride {
    std::uint32_t leaf = 0;
    std::uint32_t subleaf = 0;
    CpuidResult value{};
    CpuidResult mask{};
    bool subleaf_specific = false; ///< else it is for all subleaves
    bool always = false;           ///< else only where there is an answer other than zeros
    bool in_use = false;

    [[nodiscard]] bool is_about(const CpuidOverride& other) const {
        return in_use && leaf == other.leaf && subleaf_specific == other.subleaf_specific &&
            (!subleaf_specific || subleaf == other.subleaf);
    }
};

/// All that are registered for a virtual processor, or for all of a partition. Read when an answer
/// is put together, not each time that it is given.
class CpuidOverrides final {
public:
    static constexpr unsigned most = 1024;

    enum class Added : std::uint8_t { yes, too_many, no_memory };

    /// Takes the place of an earlier one about the same.
    Added add(const CpuidOverride& one, PagePool& pool) {
        CpuidOverride* at =
            table_.find([&one](const CpuidOverride& entry) { return entry.is_about(one); });
        if (at == nullptr) {
            if (count_ == most) {
                return Added::too_many;
            }
            at = table_.add(pool);
            if (at == nullptr) {
                return Added::no_memory;
            }
            ++count_;
        }
        *at = one;
        at->in_use = true;
        return Added::yes;
    }

    /// \return false if there is none about the same.
    bool remove(const CpuidOverride& one) {
        CpuidOverride* const at =
            table_.find([&one](const CpuidOverride& entry) { return entry.is_about(one); });
        if (at == nullptr) {
            return false;
        }
        at->in_use = false;
        --count_;
        return true;
    }

    /// Changes `result`; `own` is what the hypervisor answers by itself. What is about a subleaf
    /// comes after what is about all.
    void apply(
        std::uint32_t leaf, std::uint32_t subleaf, const CpuidResult& own, CpuidResult& result) {
        if (count_ == 0) {
            return;
        }
        for (const bool specific : {false, true}) {
            const CpuidOverride* const found = table_.find([&](const CpuidOverride& entry) {
                return entry.is_about(
                    {.leaf = leaf, .subleaf = subleaf, .subleaf_specific = specific});
            });
            if (found != nullptr && (found->always || is_an_answer(own))) {
                merge(*found, result);
            }
        }
    }

    void release(PagePool& pool) {
        table_.release(pool);
        count_ = 0;
    }

private:
    static bool is_an_answer(const CpuidResult& r) { return (r.eax | r.ebx | r.ecx | r.edx) != 0; }
    static void merge(const CpuidOverride& from, CpuidResult& to) {
        to = {.eax = (to.eax & ~from.mask.eax) | (from.value.eax & from.mask.eax),
            .ebx = (to.ebx & ~from.mask.ebx) | (from.value.ebx & from.mask.ebx),
            .ecx = (to.ecx & ~from.mask.ecx) | (from.value.ecx & from.mask.ecx),
            .edx = (to.edx & ~from.mask.edx) | (from.value.edx & from.mask.edx)};
    }

    PagedTable<CpuidOverride> table_{};
    unsigned count_ = 0;
};

} // namespace hypervisor
