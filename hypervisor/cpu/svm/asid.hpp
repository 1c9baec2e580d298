// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace hypervisor::svm {

/// What a virtual processor remembers of the ASID that it last ran with.
struct AsidTicket {
    std::uint64_t generation = 0; ///< of the allocator; 0 is none
    std::uint32_t lp = ~0u;       ///< the LP whose TLB the ASID tags entries of
    std::uint32_t asid = 0;
};

/// One logical processor's ASIDs. They are handed out in order; when they are used up, the whole
/// TLB is flushed and all tickets of before are void. A fresh ASID is how one guest's TLB is
/// flushed.
class AsidAllocator final {
public:
    constexpr AsidAllocator() = default;
    /// \param count of ASIDs that the processor has, the host's among them. One for guests is the
    /// least that is assumed; each change from one guest to another is a flush then.
    constexpr AsidAllocator(std::uint32_t lp, std::uint32_t count)
        : lp_{lp},
          count_{count > first ? count : first + 1} {}

    struct Result {
        std::uint32_t asid;
        bool flush_all; ///< the processor must flush all ASIDs as it enters the guest
    };

    /// ASID for the next run. \param fresh no translation of an earlier run may be used.
    constexpr Result acquire(AsidTicket& ticket, bool fresh) {
        if (!fresh && ticket.lp == lp_ && ticket.generation == generation_) {
            return {ticket.asid, false};
        }
        bool flush = false;
        if (next_ == count_) {
            next_ = first;
            ++generation_;
            flush = true;
        }
        ticket = {generation_, lp_, next_++};
        return {ticket.asid, flush};
    }

private:
    static constexpr std::uint32_t first = 1; // 0 is the host's
    std::uint32_t lp_ = 0;
    std::uint32_t count_ = first;
    std::uint32_t next_ = first;
    std::uint64_t generation_ = 1;
};

} // namespace hypervisor::svm
