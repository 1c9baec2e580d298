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
    virtual_processors = 4,
};
enum LpCounter : unsigned {
    global_time = 1,
    total_run_time = 2,
    hardware_interrupts = 4,
    context_switches = 5,
    root_vp_index = 19,
};
enum PartitionCounter : unsigned {
    partition_virtual_processors = 1,
    deposited_pages = 5,
    gpa_pages = 6,
    partition_id = 26,
};

constinit StatisticsPage of_hypervisor{nullptr};
constinit std::array<StatisticsPage, LogicalProcessor::most> of_lps{};
constinit std::array<StatisticsPage, partition_table::most> of_partitions{};

void refresh_lp(const LogicalProcessor& lp, std::uint64_t* page) {
    page[global_time] = clock::to_100ns(read_tsc());
    page[total_run_time] = clock::to_100ns(lp.guest_time);
    page[hardware_interrupts] = lp.hardware_interrupts;
    page[context_switches] = lp.context_switches;
    page[root_vp_index] = lp.index();
}

void write_partition(Partition& partition, std::uint64_t* page) {
    page[partition_virtual_processors] = partition.vp_count();
    page[deposited_pages] = partition.deposits().balance().total;
    page[gpa_pages] = partition.space().mapped_pages();
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
    if (std::uint64_t* const page = of_partitions[partition.slot()]; page != nullptr) {
        write_partition(partition, page);
    }
}

void refresh() {
    std::uint64_t vps = 0;
    partition_table::for_each([&vps](Partition& partition) {
        vps += partition.vp_count();
        refresh(partition);
    });
    for (const LogicalProcessor* const lp : LogicalProcessor::all()) {
        if (std::uint64_t* const page = of_lps[lp->index()]; page != nullptr) {
            refresh_lp(*lp, page);
        }
    }
    if (std::uint64_t* const page = of_hypervisor; page != nullptr) {
        page[logical_processors] = LogicalProcessor::all().size();
        page[partitions] = partition_table::count();
        page[virtual_processors] = vps;
    }
}

} // namespace hypervisor::machine_statistics
