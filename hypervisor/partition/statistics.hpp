// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
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
    pending_interrupts = 27,
    emulated_instructions = 29,
    apic_mmio_accesses = 39,
    io_intercept_messages = 40,
    memory_intercept_messages = 41,
    apic_eoi_accesses = 42,
    other_messages = 43,
    lp_migrations = 45,
    address_domain_flushes = 48,
    address_space_flushes = 49,
    global_gva_range_flushes = 50,
    local_gva_range_flushes = 51,
    synthetic_interrupts = 58,
    virtual_interrupts = 59,
    apic_ipis_sent = 60,
    apic_self_ipis_sent = 61, ///< by the shorthand, or the register for them
    // Of the hypercalls that are implemented, each under one of these and deposit_hypercalls.
    gpa_space_hypercalls = 62,
    logical_processor_hypercalls = 63,
    long_spin_wait_hypercalls = 64,
    other_hypercalls = 65,
    synthetic_interrupt_hypercalls = 66,
    virtual_interrupt_hypercalls = 67,
    virtual_mmu_hypercalls = 68,
    virtual_processor_hypercalls = 69,
    nested_page_faults = 71,
    lp_dispatches = 74,
    waiting_for_cpu_time = 75,
    deposit_hypercalls = 198,
    root_dispatch_thread_blocked = 202,
};

/// The page of a statistics object, shared with the root once that has asked for it, or null. It
/// goes away as all does that others may have found: see LogicalProcessor.
using StatisticsPage = std::atomic<std::uint64_t*>;

/// What a partition adds to the hypervisor's page.
struct StatisticsShare {
    std::uint64_t pages = 0;
    std::uint64_t free_pages = 0;
    std::uint64_t vps = 0;
    std::uint64_t active_children = 0; ///< 1 for one that has been initialized and not finalized
};

/// A virtual processor's counters. The root can write what it likes on their page; nothing is
/// decided by it.
class VpCounters final {
public:
    StatisticsPage& page() { return page_; }
    void count(VpCounter counter, std::uint64_t times = 1) {
        if (std::uint64_t* const page = page_.load(std::memory_order_relaxed); page != nullptr) {
            page[static_cast<unsigned>(counter)] += times;
        }
    }
    void set(VpCounter counter, std::uint64_t value) {
        if (std::uint64_t* const page = page_.load(std::memory_order_relaxed); page != nullptr) {
            page[static_cast<unsigned>(counter)] = value;
        }
    }

private:
    StatisticsPage page_{nullptr};
};

} // namespace hypervisor
