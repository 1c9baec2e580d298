// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/partition/partition.hpp"

#include <cstdint>
#include <optional>

namespace hypervisor {

/// Keeps a partition from being deleted while it is used.
class [[nodiscard]] PartitionReference final {
public:
    PartitionReference() = default;
    explicit PartitionReference(Partition& partition) : partition_{&partition} {}
    PartitionReference(PartitionReference&& other) noexcept : partition_{other.partition_} {
        other.partition_ = nullptr;
    }
    PartitionReference& operator=(PartitionReference&&) = delete;
    PartitionReference(const PartitionReference&) = delete;
    PartitionReference& operator=(const PartitionReference&) = delete;
    ~PartitionReference() {
        if (partition_ != nullptr) {
            partition_->references.fetch_sub(1);
        }
    }
    explicit operator bool() const { return partition_ != nullptr; }
    Partition* operator->() const { return partition_; }
    Partition& operator*() const { return *partition_; }

private:
    Partition* partition_ = nullptr;
};

/// All partitions of the machine, by id.
namespace partition_table {

inline constexpr std::uint64_t root_id = 1;
inline constexpr unsigned most = 512;

Partition* root();
void set_root(Partition& root);

/// Reserves an id and its slot. \return nothing if there are too many partitions.
struct Place {
    std::uint64_t id;
    std::uint16_t slot;
};
std::optional<Place> reserve();
void insert(Partition& partition);
/// Nobody finds the partition any more; waits until nobody uses it but the caller, who holds one
/// reference. With no lock held. \return false if somebody else has hidden it.
[[nodiscard]] bool hide(Partition& partition);
/// Then either it is found again, or its slot is free for another.
void show(Partition& partition);
void remove(Partition& partition);

PartitionReference find(std::uint64_t id);
unsigned count();

/// The partition in a slot, if there is one; for walking over all.
PartitionReference at(unsigned slot);
template <class F>
void for_each(F&& f) {
    for (unsigned slot = 0; slot < most; ++slot) {
        if (const PartitionReference partition = at(slot); partition) {
            f(*partition);
        }
    }
}

} // namespace partition_table

} // namespace hypervisor
