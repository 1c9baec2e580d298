// SPDX-License-Identifier: Apache-2.0
// Whom a call is about, and whether the caller may ask for it.
#pragma once

#include "hypervisor/hypercall/call.hpp"
#include "hypervisor/partition/partition_table.hpp"
#include "hypervisor/partition/virtual_processor.hpp"

#include <expected>
#include <utility>

namespace hypervisor::hypercall {

/// A partition that was found, or why there is none.
class Target final {
public:
    Target(PartitionReference partition, Status error)
        : partition_{std::move(partition)},
          error_{error} {}
    explicit operator bool() const { return error_ == Status::success; }
    [[nodiscard]] Status error() const { return error_; }
    Partition* operator->() const { return &*partition_; }
    Partition& operator*() const { return *partition_; }

private:
    PartitionReference partition_;
    Status error_;
};

/// The partition with this id: the caller's own, or a child of it. Only the root has children.
Target find_target(const Call& call, std::uint64_t id);
/// A child of the caller's.
Target find_child(const Call& call, std::uint64_t id);
/// One that is initialized, and not finalized. It may be finalized meanwhile: what costs its pages
/// looks again, under the lock under which they are given back.
Target find_active_child(const Call& call, std::uint64_t id);

/// A virtual processor of a child's, and what keeps it from going; or why there is none.
class TargetVp final {
public:
    TargetVp(Target partition, std::uint32_t index)
        : partition_{std::move(partition)},
          vp_{partition_ ? partition_->vp(index) : nullptr} {}
    explicit operator bool() const { return vp_ != nullptr; }
    [[nodiscard]] Status error() const {
        return partition_ ? Status::invalid_vp_index : partition_.error();
    }
    [[nodiscard]] Partition& partition() const { return *partition_; }
    VirtualProcessor* operator->() const { return vp_; }
    VirtualProcessor& operator*() const { return *vp_; }

private:
    Target partition_;
    VirtualProcessor* vp_;
};

TargetVp find_childs_vp(const Call& call, std::uint64_t id, std::uint32_t index);

/// The virtual processor of a partition whose state a call is about: any of a child, or the caller
/// itself, which HV_VP_INDEX_SELF says too. Not another one of the caller's partition: two that
/// stop each other would wait for ever, while from parent to child no waiting comes back.
std::expected<VirtualProcessor*, Status> find_vp(
    const Call& call, Partition& partition, std::uint32_t index);

} // namespace hypervisor::hypercall
