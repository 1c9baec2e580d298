// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/partition_table.hpp"

#include "hypervisor/cpu/logical_processor.hpp"

#include <array>

namespace hypervisor::partition_table {

namespace {

// An id is a slot and how often the slot has been used, so an old id finds nothing.
struct Slot {
    Partition* partition = nullptr;
    std::uint64_t uses : 63 = 0;
    std::uint64_t is_reserved : 1 = false;
};

constinit SpinLock lock{};
constinit std::array<Slot, most> slots{};
constinit Partition* the_root = nullptr;
constinit unsigned partitions = 0;

} // namespace

Partition* root() {
    return the_root;
}

void set_root(Partition& root) {
    slots[root.slot()] = {.partition = &root, .uses = 0, .is_reserved = true};
    the_root = &root;
    partitions = 1;
}

std::optional<Place> reserve() {
    const SpinGuard guard{lock};
    for (unsigned i = 0; i < most; ++i) {
        Slot& slot = slots[i];
        if (slot.is_reserved || i == root_id) {
            continue;
        }
        slot.is_reserved = true;
        slot.uses = slot.uses + 1;
        return Place{slot.uses * most + i, static_cast<std::uint16_t>(i)};
    }
    return std::nullopt;
}

void insert(Partition& partition) {
    const SpinGuard guard{lock};
    slots[partition.slot()].partition = &partition;
    ++partitions;
}

bool hide(Partition& partition) {
    {
        const SpinGuard guard{lock};
        if (slots[partition.slot()].partition != &partition) {
            return false;
        }
        slots[partition.slot()].partition = nullptr;
        --partitions;
    }
    const LogicalProcessor::WaitsForOthers waits;
    while (partition.references.load() > 1) {
        pause();
    }
    return true;
}

void show(Partition& partition) {
    insert(partition);
}

void remove(Partition& partition) {
    const SpinGuard guard{lock};
    slots[partition.slot()].is_reserved = false;
}

PartitionReference find(std::uint64_t id) {
    const SpinGuard guard{lock};
    Partition* const partition = slots[id % most].partition;
    if (partition == nullptr || partition->id() != id) {
        return {};
    }
    partition->references.fetch_add(1);
    return PartitionReference{*partition};
}

PartitionReference at(unsigned slot) {
    const SpinGuard guard{lock};
    Partition* const partition = slots[slot].partition;
    if (partition == nullptr) {
        return {};
    }
    partition->references.fetch_add(1);
    return PartitionReference{*partition};
}

unsigned count() {
    const SpinGuard guard{lock};
    return partitions;
}

} // namespace hypervisor::partition_table
