// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/partition.hpp"

#include "hypervisor/cpu/logical_processor.hpp"
#include "hypervisor/partition/virtual_processor.hpp"

namespace hypervisor {

Partition::Partition(std::uint64_t id, std::uint16_t slot, bool is_root, PageRecords& records,
    PagePool* table_pool, std::uint64_t creation_flags)
    : id_{id},
      slot_{slot},
      is_root_{is_root},
      creation_flags_{creation_flags},
      records_{records},
      table_pool_{table_pool != nullptr ? table_pool : &deposits_},
      space_{records, *table_pool_, !is_root},
      clock_{is_root ? 0 : read_tsc()} {} // a child's counters begin at zero

void Partition::set_vp_table(SpaPage page) {
    vps_ = pointer_to<std::atomic<VirtualProcessor*>>(page);
}

std::optional<SpaPage> Partition::vp_table() const {
    return vps_ != nullptr ? std::optional{spa_page_of(vps_)} : std::nullopt;
}

bool Partition::add_vp(std::uint32_t index, VirtualProcessor& vp) {
    const SpinGuard guard{lock_};
    if (vps_[index].load(std::memory_order_relaxed) != nullptr || state() == State::finalized) {
        return false;
    }
    vps_[index].store(&vp, std::memory_order_release);
    ++vp_count_;
    cpuid_changed();
    return true;
}

VirtualProcessor* Partition::take_vp(std::uint32_t index) {
    const SpinGuard guard{lock_};
    VirtualProcessor* const vp = vps_ != nullptr && index < most_vps
        ? vps_[index].exchange(nullptr, std::memory_order_seq_cst)
        : nullptr;
    vp_count_ -= vp != nullptr ? 1 : 0;
    cpuid_changed();
    return vp;
}

void Partition::flush_tlb() {
    shoot_down(
        tlb_, LogicalProcessor::all(), [](LogicalProcessor& lp) { lp.kick(); }, [] { pause(); });
}

void Partition::wait_for_flushes() {
    wait_for_ended_epochs(
        tlb_, LogicalProcessor::all(), [](LogicalProcessor& lp) { lp.kick(); }, [] { pause(); });
}

void Partition::flush_and_release(ReleaseList& released) {
    flush_tlb();
    released.release(records_, *table_pool_);
}

} // namespace hypervisor
