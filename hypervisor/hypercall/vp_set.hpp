// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "abi/types.h"
#include "hypervisor/hypercall/call.hpp"
#include "hypervisor/partition/partition.hpp"
#include "hypervisor/partition/virtual_processor.hpp"

#include <bit>
#include <cstddef>
#include <cstdint>

namespace hypervisor::hypercall {

/// Calls `f(index)` for each member of a mask of the virtual processors 0 to 63.
template <class F>
void for_each_in_mask(std::uint64_t mask, F&& f) {
    for (; mask != 0; mask &= mask - 1) {
        f(static_cast<std::uint32_t>(std::countr_zero(mask)));
    }
}

/// Calls `f(index)` for each member of a set of the caller's virtual processors (TLFS "Virtual
/// Processor Sets") whose banks are in the input from `banks` on to `end`.
/// \return false if there are fewer banks than the mask says, or the format is unknown.
template <class F>
bool for_each_in_set(const Call& call, std::uint64_t format, std::uint64_t valid_banks,
    std::size_t banks, std::size_t end, F&& f) {
    if (format == HV_GENERIC_SET_ALL) {
        call.caller.partition().for_each_vp([&f](VirtualProcessor& vp) { f(vp.index()); });
        return true;
    }
    if (format != HV_GENERIC_SET_SPARSE_4K ||
        banks + static_cast<unsigned>(std::popcount(valid_banks)) * sizeof(std::uint64_t) > end) {
        return false;
    }
    for_each_in_mask(valid_banks, [&](std::uint32_t bank) {
        for_each_in_mask(call.in<std::uint64_t>(banks),
            [&](std::uint32_t member) { f(bank * HV_VPS_PER_SPARSE_BANK + member); });
        banks += sizeof(std::uint64_t);
    });
    return true;
}

} // namespace hypervisor::hypercall
