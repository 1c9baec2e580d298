// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/machine_statistics.hpp"

#include "hypervisor/cpu/clock.hpp"
#include "hypervisor/cpu/logical_processor.hpp"
#include "hypervisor/partition/partition_table.hpp"

#include <array>

namespace hypervisor::machine_statistics {

namespace {

// Indices as in the kernel's drivers/hv/mshv_debugfs_counters.c.
enum HypervisorCounter : unsigned {
    logical_processors = 1,
    partitions = 2,
    total_pages = 3,
    virtual_processors = 4,
    /// Pages without content: those that are free in the pools of partitions.
    nonessential_pages_for_dump = 11,
};
enum LpCounter : unsigned {
    global_time = 1,
    total_run_time = 2,
    hypervisor_run_time = 3,
    hardware_interrupts = 4,
    context_switches = 5,
    inter_processor_interrupts = 6,
    scheduler_interrupts = 7,
    timer_interrupts = 8,
    inter_processor_interrupts_sent = 9,
    processor_halts = 10,
    c1_transitions = 13, ///< a halt is C1, and there is no other sleep
    c1_run_time = 14,
    root_vp_index = 19,
};
enum PartitionCounter : unsigned {
    partition_virtual_processors = 1,
    deposited_pages = 5,
    gpa_pages = 6,
    gpa_space_modifications = 7,
    gpa_pages_4k = 10,
    gpa_pages_2m = 11,
    gpa_pages_1g = 12,
    device_interrupt_mappings = 19,
    partition_id = 26,
    pages_shattered = 31,
    pages_recombined = 32,
    active_child_partitions = 46,
};

constinit StatisticsPage of_hypervisor{nullptr};
constinit std::array<StatisticsPage, LogicalProcessor::most> of_lps{};

constinit SpinLock lock{};
constinit StatisticsShare sum{}; ///< of all partitions

/// Under `lock`: a partition's share is another one now.
void replace(Partition& partition, const StatisticsShare& share) {
    StatisticsShare& old = partition.statistics_share;
    sum.pages += share.pages - old.pages;
    sum.free_pages += share.free_pages - old.free_pages;
    sum.vps += share.vps - old.vps;
    sum.active_children += share.active_children - old.active_children;
    old = share;
    Partition* const root = partition_table::root(); // not yet there when it is made itself
    if (std::uint64_t* const page = root != nullptr ? root->statistics_page.load() : nullptr;
        page != nullptr) {
        page[active_child_partitions] = sum.active_children;
    }
    std::uint64_t* const page = of_hypervisor;
    if (page == nullptr) {
        return;
    }
    page[logical_processors] = LogicalProcessor::all().size();
    page[partitions] = partition_table::count();
    page[total_pages] = sum.pages;
    page[virtual_processors] = sum.vps;
    page[nonessential_pages_for_dump] = sum.free_pages;
}

void write_partition(Partition& partition, std::uint64_t* page) {
    const StatisticsShare& share = partition.statistics_share;
    page[partition_virtual_processors] = share.vps;
    page[deposited_pages] = share.pages;
    const AddressSpace& space = partition.space();
    page[gpa_pages] = space.mapped_pages();
    page[gpa_pages_4k] = space.mapped_pages() - space.mapped_large() * pages_per_large_page -
        space.mapped_huge() * pages_per_huge_page;
    page[gpa_pages_2m] = space.mapped_large();
    page[gpa_pages_1g] = space.mapped_huge();
    page[gpa_space_modifications] = space.slat().modifications();
    page[device_interrupt_mappings] = partition.device_interrupts.load(std::memory_order_relaxed);
    page[pages_shattered] = space.slat().shattered();
    page[pages_recombined] = space.slat().recombined();
    page[partition_id] = partition.id();
}

} // namespace

StatisticsPage& hypervisor_page() {
    return of_hypervisor;
}
StatisticsPage& lp_page(std::uint32_t index) {
    return of_lps[index];
}

void refresh(Partition& partition) {
    const SpinGuard guard{lock};
    const auto balance = partition.deposits().balance();
    const bool is_active =
        !partition.is_root() && partition.state() == Partition::State::initialized;
    replace(partition,
        {.pages = balance.total,
            .free_pages = balance.free,
            .vps = partition.vp_count(),
            .active_children = is_active ? 1u : 0u});
    if (std::uint64_t* const page = partition.statistics_page; page != nullptr) {
        write_partition(partition, page);
    }
}

void forget(Partition& partition) {
    const SpinGuard guard{lock};
    replace(partition, {});
}

void refresh(const LogicalProcessor& lp) {
    std::uint64_t* const page = of_lps[lp.index()];
    if (page == nullptr) {
        return;
    }
    const std::uint64_t now = read_tsc();
    const std::uint64_t since = lp.running() != nullptr ? lp.running_since() : now;
    page[global_time] = clock::to_100ns(now);
    const std::uint64_t hypervisor = lp.hypervisor_time(now);
    page[total_run_time] =
        clock::to_100ns(lp.guest_time + (now > since ? now - since : 0) + hypervisor);
    page[hypervisor_run_time] = clock::to_100ns(hypervisor);
    page[hardware_interrupts] = lp.hardware_interrupts;
    page[context_switches] = lp.context_switches;
    page[inter_processor_interrupts] = lp.processor_interrupts;
    page[scheduler_interrupts] = lp.scheduler_interrupts;
    page[timer_interrupts] = lp.timer_interrupts;
    page[inter_processor_interrupts_sent] = lp.interrupts_sent;
    page[processor_halts] = lp.halts;
    page[c1_transitions] = lp.halts;
    page[c1_run_time] = clock::to_100ns(lp.sleep_time());
    page[root_vp_index] = lp.index();
}

void refresh() {
    partition_table::for_each([](Partition& partition) { refresh(partition); });
    for (const LogicalProcessor* const lp : LogicalProcessor::all()) {
        refresh(*lp);
    }
}

} // namespace hypervisor::machine_statistics
