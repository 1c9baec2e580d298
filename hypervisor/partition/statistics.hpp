// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace hypervisor {

/// Where the counters stand in a virtual processor's statistics page (the kernel's
/// drivers/hv/mshv_debugfs_counters.c).
enum class VpCounter : std::uint16_t {
    total_run_time = 1,
    hypercalls = 7,
    io_instructions = 13,
    hlt_instructions = 15,
    cpuid_instructions = 19,
    msr_accesses = 21,
    other_intercepts = 23,
    external_interrupts = 25,
    emulated_instructions = 29,
    apic_mmio_accesses = 39,
    io_intercept_messages = 40,
    memory_intercept_messages = 41,
    apic_eoi_accesses = 42,
    other_messages = 43,
    synthetic_interrupts = 58,
    virtual_interrupts = 59,
    apic_ipis_sent = 60,
    nested_page_faults = 71,
    lp_dispatches = 74,
};

/// A virtual processor's counters: a page shared with the root once that has asked for it. The root
/// can write what it likes there; nothing is decided by it.
class VpCounters final {
public:
    [[nodiscard]] std::uint64_t* page() const { return page_; }
    /// Where the pointer to the page is kept.
    std::uint64_t** place() { return &page_; }
    void count(VpCounter counter) {
        if (page_ != nullptr) {
            ++page_[static_cast<unsigned>(counter)];
        }
    }
    void set(VpCounter counter, std::uint64_t value) {
        if (page_ != nullptr) {
            page_[static_cast<unsigned>(counter)] = value;
        }
    }

private:
    std::uint64_t* page_ = nullptr;
};

} // namespace hypervisor
