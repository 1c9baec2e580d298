// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "abi/synic.h"

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace hypervisor {

/// The promise to a guest that the interrupt it gets needs no EOI: it takes a mark off its VP
/// assist page instead, without an exit (TLFS "EOI Assist"). Given with the last interrupt that is
/// requested, and good until the next exit, so whatever looks at the local APIC finds it as it
/// should be; renewed behind the exit, if nothing has changed. (A timer's handler sets the timer
/// before it ends the interrupt.) The page is the guest's to write: by it a guest ends its own
/// interrupts, and nothing else.
class EoiAssist final {
public:
    /// Null while the page is disabled.
    void set_page(hv_vp_assist_page* page) { page_ = page; }

    void promise() {
        if (page_ != nullptr) {
            word().fetch_or(no_eoi_required, std::memory_order_relaxed);
            promised_ = true;
            is_broken_ = false;
        }
    }
    [[nodiscard]] bool promised() const { return promised_; }
    /// \return whether the guest has ended the interrupt.
    [[nodiscard]] bool take_back() {
        promised_ = false;
        const bool has_ended = page_ != nullptr &&
            (word().fetch_and(~no_eoi_required, std::memory_order_relaxed) & no_eoi_required) == 0;
        is_broken_ = !has_ended;
        return has_ended;
    }
    /// Whether it was taken back before the guest had ended the interrupt, which is still the last.
    [[nodiscard]] bool is_broken() const { return is_broken_; }
    /// The interrupt has ended otherwise, or there is another one behind it.
    void forget() { is_broken_ = false; }

private:
    static constexpr std::uint32_t no_eoi_required = 1;

    // It is aligned in its page, though its type does not say so.
    [[nodiscard]] std::atomic_ref<std::uint32_t> word() const {
        static_assert(offsetof(hv_vp_assist_page, apic_assist) == 0);
        void* const at = page_;
        return std::atomic_ref{*static_cast<std::uint32_t*>(at)};
    }

    hv_vp_assist_page* page_ = nullptr;
    bool promised_ = false;
    bool is_broken_ = false;
};

} // namespace hypervisor
