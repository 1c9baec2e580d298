// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/lifecycle.hpp"

#include "hypervisor/cpu/logical_processor.hpp"
#include "hypervisor/cpu/native_cpu.hpp"
#include "hypervisor/debug/panic.hpp"
#include "hypervisor/partition/machine_statistics.hpp"
#include "hypervisor/partition/partition_table.hpp"
#include "hypervisor/partition/time.hpp"
#include "hypervisor/scheduler/policy.hpp"
#include "hypervisor/scheduler/scheduler.hpp"

#include <array>
#include <new>

namespace hypervisor::lifecycle {

namespace {

constexpr std::uint32_t full_access =
    HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE | HV_MAP_GPA_EXECUTABLE;

/// Several pages of a pool, or none.
template <std::size_t Count>
class PageSet final {
public:
    explicit PageSet(PagePool& pool) : pool_{pool} {
        for (SpaPage& page : pages_) {
            const auto one = pool.allocate();
            if (!one) {
                return;
            }
            page = *one;
            ++count_;
        }
    }
    ~PageSet() {
        for (; !kept_ && count_ > 0; --count_) {
            pool_.free(pages_[count_ - 1]);
        }
    }
    PageSet(const PageSet&) = delete;
    PageSet& operator=(const PageSet&) = delete;

    explicit operator bool() const { return count_ == Count; }
    const std::array<SpaPage, Count>& keep() {
        kept_ = true;
        return pages_;
    }

private:
    PagePool& pool_;
    std::array<SpaPage, Count> pages_{};
    std::size_t count_ = 0;
    bool kept_ = false;
};

/// What of a virtual processor has a page beside its own.
struct ProcessorPage {
    NativeCpu cpu;
    KnownInstructions known_instructions{};
    CpuidCache cpuid_cache{};
};
static_assert(sizeof(ProcessorPage) <= page_size);

void remove_overlay(Partition& partition, Overlay& overlay) {
    {
        const SpinGuard guard{partition.space_lock()};
        partition.space().lift(overlay);
    }
    if (!partition.is_root() && overlay.page != SpaPage{}) {
        partition.flush_tlb(); // others of the partition may be running
        partition.deposits().free(overlay.page);
        overlay.page = SpaPage{};
    }
}

void free_vp(VirtualProcessor& vp, PagePool& pool) {
    const NativeCpu& cpu = vp.cpu();
    const std::array pages{
        spa_page_of(&vp), spa_page_of(&cpu), cpu.vmcb_page(), cpu.extended_state_page()};
    vp.~VirtualProcessor();
    for (const SpaPage page : pages) {
        pool.free(page);
    }
}

} // namespace

Status map_in_root(SpaPage page) {
    Partition& root = *partition_table::root();
    ReleaseList released;
    const SpinGuard guard{root.space_lock()};
    return root.space().slat().map(GpaPage{page.number()}, page, full_access, released);
}

Status unmap_from_root(SpaPage page) {
    Partition& root = *partition_table::root();
    ReleaseList released;
    const SpinGuard guard{root.space_lock()};
    return root.space().slat().unmap(GpaPage{page.number()}, released);
}

std::optional<SpaPage> share_page(PagePool& pool) {
    const auto page = pool.allocate();
    if (!page) {
        return std::nullopt;
    }
    partition_table::root()->records().set_shared(*page, true);
    if (map_in_root(*page) != Status::success) {
        partition_table::root()->records().set_shared(*page, false);
        pool.free(*page);
        return std::nullopt;
    }
    return page;
}

void unshare_page(PagePool& pool, SpaPage page) {
    const Status unmapped = unmap_from_root(page);
    require(unmapped == Status::success, "the reserve for the root's page tables is used up");
    partition_table::root()->flush_tlb();
    partition_table::root()->records().set_shared(page, false);
    pool.free(page);
}

std::expected<Partition*, Status> create_partition(Partition& payer, std::uint64_t creation_flags) {
    PageSet<2> pages{payer.deposits()};
    if (!pages) {
        return std::unexpected(Status::insufficient_memory);
    }
    const auto place = partition_table::reserve();
    if (!place) {
        return std::unexpected(Status::no_resources);
    }
    const auto [object, vps] = pages.keep();
    auto* const partition = new (pointer_to<void>(object))
        Partition{place->id, place->slot, false, payer.records(), nullptr, creation_flags};
    partition->set_vp_table(vps);
    partition_table::insert(*partition);
    machine_statistics::refresh(*partition);
    machine_statistics::refresh(payer);
    return partition;
}

Status initialize(Partition& partition) {
    const SpinGuard guard{partition.space_lock()};
    if (partition.state() != Partition::State::created) {
        return Status::invalid_partition_state;
    }
    if (!partition.space().create()) {
        return Status::insufficient_memory;
    }
    constexpr std::uint64_t wants_huge = HV_PARTITION_CREATION_FLAG_GPA_SUPER_PAGES_ENABLED;
    if ((partition.creation_flags() & wants_huge) != 0 && virtualization::has_huge_pages()) {
        partition.space().slat().allow_huge();
    }
    partition.set_state(Partition::State::initialized);
    machine_statistics::refresh(partition);
    return Status::success;
}

bool finalize(Partition& partition) {
    {
        // Whoever finds it initialized under this lock has a space until he lets go.
        const SpinGuard guard{partition.space_lock()};
        if (!partition.begin_finalizing()) {
            return false;
        }
    }
    for (std::uint32_t i = 0; i < Partition::most_vps; ++i) {
        (void)destroy_vp(partition, i);
    }
    remove_overlay(partition, partition.hypercall_overlay);
    remove_overlay(partition, partition.reference_tsc_overlay);
    {
        const SpinGuard guard{partition.space_lock()};
        partition.space().destroy();
    }
    {
        const SpinGuard guard{partition.ports().lock};
        partition.ports().doorbells.release(partition.deposits());
        partition.ports().ports.release(partition.deposits());
    }
    {
        const SpinGuard guard{partition.cpuid_lock};
        partition.cpuid_overrides.release(partition.deposits());
    }
    {
        const SpinGuard guard{partition.intercepts_lock};
        partition.intercepts.release(partition.deposits());
    }
    const auto balance = partition.deposits().balance();
    if (balance.free != balance.total) {
        log(LogLevel::error, "partition {} has ended, but {} of its {} deposited pages are missing",
            partition.id(), balance.total - balance.free, balance.total);
    }
    machine_statistics::refresh(partition);
    return true;
}

Status delete_partition(Partition& payer, Partition& partition) {
    if (partition.state() == Partition::State::initialized) {
        return Status::invalid_partition_state;
    }
    if (!partition_table::hide(partition)) {
        return Status::invalid_partition_id; // somebody else deletes it
    }
    // Only now nobody can deposit any more.
    if (partition.deposits().balance().total != 0) {
        partition_table::show(partition);
        return Status::operation_denied;
    }
    // Nor does anybody find its page of statistics, which is the payer's, once who has looked for
    // it is through.
    LogicalProcessor::wait_until_all_have_passed();
    if (const auto* const page = partition.statistics_page.exchange(nullptr); page != nullptr) {
        unshare_page(payer.deposits(), spa_page_of(page));
    }
    partition_table::remove(partition);
    const SpaPage object = spa_page_of(&partition);
    const auto vps = partition.vp_table();
    machine_statistics::forget(partition);
    partition.~Partition();
    payer.deposits().free(object);
    if (vps) {
        payer.deposits().free(*vps);
    }
    machine_statistics::refresh(payer);
    return Status::success;
}

std::expected<VirtualProcessor*, Status> create_vp(Partition& partition, std::uint32_t index,
    LogicalProcessor& lp, PagePool& pool, bool is_bootstrap) {
    PageSet<4> pages{pool};
    if (!pages) {
        return std::unexpected(Status::insufficient_memory);
    }
    const auto [object, cpu_page, vmcb, extended_state] = pages.keep();
    auto* const processor = new (pointer_to<void>(cpu_page))
        ProcessorPage{.cpu{vmcb, extended_state, partition.is_root()}};
    auto* const vp = new (pointer_to<void>(object)) VirtualProcessor{partition, index,
        processor->cpu, processor->known_instructions, processor->cpuid_cache, lp, is_bootstrap};
    if (!partition.is_root()) {
        vp->set_block(VirtualProcessor::explicit_suspend);
    }
    if (!partition.add_vp(index, *vp)) {
        free_vp(*vp, pool);
        return std::unexpected(Status::invalid_vp_index);
    }
    time::join(*vp);
    policy::join(*vp);
    machine_statistics::refresh(partition);
    return vp;
}

bool destroy_vp(Partition& partition, std::uint32_t index) {
    VirtualProcessor* const taken = partition.take_vp(index);
    if (taken == nullptr) {
        return false;
    }
    VirtualProcessor& vp = *taken;
    PagePool& pool = partition.deposits();
    vp.set_block(VirtualProcessor::removed);
    scheduler::stop(vp);
    vp.disarm();
    policy::leave(vp);
    // Others may have found it before: an interrupt on its way, a timer that has just expired.
    LogicalProcessor::wait_until_all_have_passed();
    // The parent's slot may still hold back this VP's message.
    partition_table::root()->for_each_vp([&vp](VirtualProcessor& root_vp) {
        root_vp.synic().withdraw(HV_SYNIC_INTERCEPTION_SINT, vp.intercept_notification());
    });
    for (Overlay* const overlay : {&vp.overlays.message, &vp.overlays.event_flags,
             &vp.overlays.event_ring, &vp.overlays.vp_assist}) {
        remove_overlay(partition, *overlay);
    }
    if (vp.intercept_page != nullptr) {
        unshare_page(pool, spa_page_of(vp.intercept_page));
    }
    if (vp.register_page != nullptr) {
        unshare_page(pool, spa_page_of(vp.register_page));
    }
    if (const std::uint64_t* const page = vp.counters.page().load(); page != nullptr) {
        unshare_page(partition_table::root()->deposits(), spa_page_of(page));
    }
    vp.cpuid_overrides.release(pool);
    free_vp(vp, pool);
    machine_statistics::refresh(partition);
    machine_statistics::refresh(*partition_table::root());
    return true;
}

} // namespace hypervisor::lifecycle
