// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/partition.hpp"

#include "hypervisor/cpu/logical_processor.hpp"
#include "hypervisor/partition/virtual_processor.hpp"

#include <algorithm>
#include <cstring>

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

std::byte* Partition::accessible(GpaPage gpa, std::uint32_t needed) {
    // The root has its memory where it lies, whole, but for what overlays cover.
    if (is_root_ && !space_.may_have_overlay(gpa) &&
        records_.kind(SpaPage{gpa.number()}) == PageKind::root) {
        return pointer_to<std::byte>(SpaPage{gpa.number()});
    }
    const Slat::Mapping mapping = space_.lookup(gpa);
    // What is mapped but is no memory (registers of a device) is not for copying.
    return mapping.access == Slat::Access::mapped && (mapping.map_flags & needed) == needed &&
            records_.kind(mapping.page) != PageKind::device
        ? pointer_to<std::byte>(mapping.page)
        : nullptr;
}

template <class F>
bool Partition::for_each_piece(std::uint64_t gpa, std::size_t size, std::uint32_t needed, F&& f) {
    while (size > 0) {
        const std::size_t piece = std::min<std::size_t>(size, page_size - (gpa & (page_size - 1)));
        const SpinGuard guard{space_lock_};
        std::byte* const memory = accessible(GpaPage::containing(gpa), needed);
        if (memory == nullptr) {
            return false;
        }
        f(memory + (gpa & (page_size - 1)), piece);
        if ((needed & HV_MAP_GPA_WRITABLE) != 0 &&
            !is_root_) { // nobody asks what the root has written
            space_.slat().note_written(GpaPage::containing(gpa));
        }
        gpa += piece;
        size -= piece;
    }
    return true;
}

const std::byte* Partition::memory_at(std::uint64_t gpa) {
    const std::byte* at = nullptr;
    (void)for_each_piece(gpa, 1, HV_MAP_GPA_READABLE,
        [&at](const std::byte* memory, std::size_t /*size*/) { at = memory; });
    return at;
}

bool Partition::read_gpa(std::uint64_t gpa, std::span<std::byte> to) {
    std::byte* at = to.data();
    return for_each_piece(
        gpa, to.size(), HV_MAP_GPA_READABLE, [&at](const std::byte* memory, std::size_t size) {
            std::memcpy(at, memory, size);
            at += size;
        });
}

bool Partition::is_writable(std::uint64_t gpa, std::size_t size) {
    constexpr std::uint32_t needed = HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE;
    const SpinGuard guard{space_lock_};
    for (GpaPage page = GpaPage::containing(gpa); page.address() < gpa + size; page = page + 1) {
        if (accessible(page, needed) == nullptr) {
            return false;
        }
    }
    return true;
}

bool Partition::write_gpa(std::uint64_t gpa, std::span<const std::byte> from) {
    const std::byte* at = from.data();
    return for_each_piece(gpa, from.size(), HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE,
        [&at](std::byte* memory, std::size_t size) {
            std::memcpy(memory, at, size);
            at += size;
        });
}

} // namespace hypervisor
