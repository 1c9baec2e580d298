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
    root_vp_index = 19,
};
enum PartitionCounter : unsigned {
    partition_virtual_processors = 1,
    deposited_pages = 5,
    gpa_pages = 6,
    gpa_pages_4k = 10,
    gpa_pages_2m = 11,
    partition_id = 26,
};

/// What the hypervisor's page adds up over all partitions.
struct Share {
    std::uint64_t id = 0; ///< the partition, or 0
    std::uint64_t pages = 0;
    std::uint64_t free_pages = 0;
    std::uint64_t vps = 0;
};

constinit StatisticsPage of_hypervisor{nullptr};
constinit std::array<StatisticsPage, LogicalProcessor::most> of_lps{};
constinit std::array<StatisticsPage, partition_table::most> of_partitions{};

constinit SpinLock lock{};
constinit std::array<Share, partition_table::most> shares{};
constinit Share sum{};

/// Under `lock`: a partition's share is another one now.
void replace(std::uint16_t slot, const Share& share) {
    Share& old = shares[slot];
    sum.pages += share.pages - old.pages;
    sum.free_pages += share.free_pages - old.free_pages;
    sum.vps += share.vps - old.vps;
    old = share;
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

void write_partition(Partition& partition, const Share& share, std::uint64_t* page) {
    page[partition_virtual_processors] = share.vps;
    page[deposited_pages] = share.pages;
    page[gpa_pages] = partition.space().mapped_pages();
    page[gpa_pages_4k] =
        partition.space().mapped_pages() - partition.space().mapped_large() * pages_per_large_page;
    page[gpa_pages_2m] = partition.space().mapped_large();
    page[partition_id] = partition.id();
}

} // namespace

StatisticsPage& hypervisor_page() {
    return of_hypervisor;
}
StatisticsPage& lp_page(std::uint32_t index) {
    return of_lps[index];
}
StatisticsPage& partition_page(Partition& partition) {
    return of_partitions[partition.slot()];
}

void refresh(Partition& partition) {
    const SpinGuard guard{lock};
    const auto balance = partition.deposits().balance();
    const Share share{.id = partition.id(),
        .pages = balance.total,
        .free_pages = balance.free,
        .vps = partition.vp_count()};
    replace(partition.slot(), share);
    if (std::uint64_t* const page = of_partitions[partition.slot()]; page != nullptr) {
        write_partition(partition, share, page);
    }
}

void forget(std::uint16_t slot, std::uint64_t id) {
    const SpinGuard guard{lock};
    // Another one may have come into its slot.
    replace(slot, shares[slot].id == id ? Share{} : shares[slot]);
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
    page[root_vp_index] = lp.index();
}

void refresh() {
    partition_table::for_each([](Partition& partition) { refresh(partition); });
    for (const LogicalProcessor* const lp : LogicalProcessor::all()) {
        refresh(*lp);
    }
}

} // namespace hypervisor::machine_statistics
