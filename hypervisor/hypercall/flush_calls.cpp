// SPDX-License-Identifier: Apache-2.0
// Translations of guests (TLFS "Virtual MMU"). A virtual processor that is to forget some forgets
// all: which are whose, the hardware doesn't say.
#include "abi/memory.h"
#include "hypervisor/hypercall/table.hpp"
#include "hypervisor/hypercall/vp_set.hpp"

namespace hypervisor::hypercall {

namespace {

/// A list by its ranges.
void count(Call& call, std::uint64_t flags) {
    const bool all_spaces = (flags & HV_FLUSH_ALL_VIRTUAL_ADDRESS_SPACES) != 0;
    VpCounters& counters = call.caller.counters;
    if (call.rep_count == 0) {
        counters.count(
            all_spaces ? VpCounter::address_domain_flushes : VpCounter::address_space_flushes);
    } else {
        counters.count(
            all_spaces ? VpCounter::global_gva_range_flushes : VpCounter::local_gva_range_flushes,
            call.rep_count - call.rep_index);
    }
}

/// Has those forget whom `for_each(f)` names by f(index); that answers false if it names nobody
/// rightly.
template <class ForEach>
Status flush(Call& call, std::uint64_t flags, ForEach&& for_each) {
    Partition& partition = call.caller.partition();
    if ((flags & HV_FLUSH_ALL_PROCESSORS) != 0) {
        partition.for_each_vp([](VirtualProcessor& vp) { vp.expire_translations(); });
    } else if (!for_each([&partition](std::uint32_t index) {
                   if (VirtualProcessor* const vp = partition.vp(index); vp != nullptr) {
                       vp->expire_translations();
                   }
               })) {
        return Status::invalid_hypercall_input;
    }
    partition.wait_for_flushes();
    count(call, flags);
    call.rep_index = call.rep_count;
    return Status::success;
}

Status flush_mask(Call& call) {
    const auto in = call.in<hv_input_flush_virtual_address_space>();
    return flush(call, in.flags, [&in](auto&& f) {
        for_each_in_mask(in.processor_mask, f);
        return true;
    });
}

Status flush_set(Call& call) {
    struct [[gnu::packed]] Header {
        std::uint64_t address_space;
        std::uint64_t flags;
        std::uint64_t format;
        std::uint64_t valid_banks;
    };
    static_assert(
        sizeof(Header) == offsetof(hv_input_flush_virtual_address_space_ex, vp_set.bank_contents));
    const auto in = call.in<Header>();
    return flush(call, in.flags, [&](auto&& f) {
        return for_each_in_set(
            call, in.format, in.valid_banks, sizeof in, sizeof in + call.variable_header, f);
    });
}

} // namespace

Status flush_virtual_address_space(Call& call) {
    return flush_mask(call);
}

Status flush_virtual_address_list(Call& call) {
    return flush_mask(call);
}

Status flush_virtual_address_space_ex(Call& call) {
    return flush_set(call);
}

Status flush_virtual_address_list_ex(Call& call) {
    return flush_set(call);
}

} // namespace hypervisor::hypercall
