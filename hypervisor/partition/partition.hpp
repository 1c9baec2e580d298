// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "abi/cpuid.h"
#include "abi/partition.h"
#include "hypervisor/cpu/extended_state.hpp"
#include "hypervisor/cpu/spin_lock.hpp"
#include "hypervisor/cpu/tlb_shootdown.hpp"
#include "hypervisor/hypercall/status.hpp"
#include "hypervisor/memory/address_space.hpp"
#include "hypervisor/memory/page_pool.hpp"
#include "hypervisor/partition/cpuid_overrides.hpp"
#include "hypervisor/partition/cpuid_policy.hpp"
#include "hypervisor/partition/intercepts.hpp"
#include "hypervisor/partition/partition_clock.hpp"
#include "hypervisor/partition/ports.hpp"
#include "hypervisor/partition/statistics.hpp"
#include "hypervisor/scheduler/placement.hpp"
#include "hypervisor/scheduler/policy.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>

namespace hypervisor {

class VirtualProcessor;

/// A partition: an address space, virtual processors, memory to pay for them, and what its parent
/// has decided about it. One page large; the table of virtual processors is another one.
class Partition final {
public:
    static constexpr unsigned most_vps = page_size / sizeof(VirtualProcessor*);

    enum class State : std::uint8_t { created, initialized, finalized };

    Partition(std::uint64_t id, std::uint16_t slot, bool is_root, PageRecords& records,
        PagePool* table_pool, std::uint64_t creation_flags);
    Partition(const Partition&) = delete;
    Partition& operator=(const Partition&) = delete;

    [[nodiscard]] std::uint64_t id() const { return id_; }
    [[nodiscard]] std::uint16_t slot() const { return slot_; }
    [[nodiscard]] bool is_root() const { return is_root_; }
    [[nodiscard]] State state() const { return state_.load(std::memory_order_acquire); }
    void set_state(State state) { state_.store(state, std::memory_order_release); }
    /// Of one that has been initialized; only one succeeds.
    [[nodiscard]] bool begin_finalizing() {
        State expected = State::initialized;
        return state_.compare_exchange_strong(expected, State::finalized);
    }
    [[nodiscard]] std::uint64_t creation_flags() const { return creation_flags_; }
    [[nodiscard]] bool has_privilege(std::uint64_t mask) const {
        return (privileges_ & mask) == mask;
    }
    [[nodiscard]] std::uint64_t privileges() const { return privileges_; }
    /// A mask of HV_SYNTHETIC_….
    [[nodiscard]] bool has_feature(std::uint64_t mask) const {
        return (synthetic_features & mask) == mask;
    }
    void set_privileges(std::uint64_t mask) {
        privileges_ = mask;
        cpuid_changed();
    }

    /// Pages that have been deposited for the partition.
    PagePool& deposits() { return deposits_; }
    /// Pages for its nested page tables: the deposits, or the root's reserve.
    PagePool& table_pool() { return *table_pool_; }

    // Virtual processors. One that was found stays until this LP enters a guest or sleeps.

    [[nodiscard]] VirtualProcessor* vp(std::uint32_t index) const {
        return index < most_vps && vps_ != nullptr ? vps_[index].load(std::memory_order_acquire)
                                                   : nullptr;
    }
    [[nodiscard]] unsigned vp_count() const { return vp_count_.load(std::memory_order_relaxed); }
    void set_vp_table(SpaPage page);
    [[nodiscard]] std::optional<SpaPage> vp_table() const;
    /// \return false if there is one of that index, or the partition has been finalized.
    [[nodiscard]] bool add_vp(std::uint32_t index, VirtualProcessor& vp);
    /// Takes it out, so that nobody finds it any more. \return null if there is none.
    [[nodiscard]] VirtualProcessor* take_vp(std::uint32_t index);
    /// Calls `f(VirtualProcessor&)` for each.
    template <class F>
    void for_each_vp(F&& f) const {
        for (std::uint32_t i = 0, left = vp_count(); left > 0 && i < most_vps; ++i) {
            if (VirtualProcessor* const one = vp(i); one != nullptr) {
                f(*one);
                --left;
            }
        }
    }

    // Address space, under space_lock().

    SpinLock& space_lock() { return space_lock_; }
    AddressSpace& space() { return space_; }
    PageRecords& records() { return records_; }
    /// Makes every LP drop its translations of the space before it goes on; returns when all have.
    void flush_tlb();
    /// Returns when none of its virtual processors uses translations any more that have expired.
    void wait_for_flushes();
    [[nodiscard]] const TlbDomain& tlb() const { return tlb_; }
    /// Flushes, then releases what changes to the space have set free.
    void flush_and_release(ReleaseList& released);

    /// Copies from or to guest physical memory; both ends within mapped memory that allows it.
    /// \return false if it isn't; then nothing can be said of what was copied.
    bool read_gpa(std::uint64_t gpa, std::span<std::byte> to);
    bool write_gpa(std::uint64_t gpa, std::span<const std::byte> from);
    /// Whether write_gpa() would do it now.
    [[nodiscard]] bool is_writable(std::uint64_t gpa, std::size_t size);

    // Time; how it is changed is in partition/time.hpp.

    [[nodiscard]] const PartitionClock& clock() const { return clock_; }
    PartitionClock& clock() { return clock_; }
    [[nodiscard]] std::uint64_t reference_time() const { return clock_.reference_time(read_tsc()); }
    /// Held while the clock is stopped, set going, or made to follow other counters.
    SpinLock& time_lock() { return time_lock_; }

    PortTable& ports() { return ports_; }

    // CPUID: what the parent has registered for all virtual processors, under cpuid_lock.

    SpinLock cpuid_lock{};
    CpuidOverrides cpuid_overrides{};
    /// Of what its answers depend on beside a virtual processor's state; never 0.
    [[nodiscard]] std::uint32_t cpuid_generation() const {
        return cpuid_generation_.load(std::memory_order_acquire);
    }
    void cpuid_changed() {
        if (cpuid_generation_.fetch_add(1, std::memory_order_acq_rel) + 1 == 0) {
            cpuid_changed();
        }
    }

    /// What the parent has asked to be told of; the lists under intercepts_lock.
    SpinLock intercepts_lock{};
    Intercepts intercepts{};

    // Registers that the virtual processors share (TLFS "Hypercall Interface", "Timers").
    std::uint64_t guest_os_id = 0;
    std::uint64_t hypercall_page = 0;
    std::uint64_t reference_tsc_page = 0;
    std::uint32_t reference_tsc_sequence = 0; ///< under space_lock()
    std::atomic<std::uint64_t> tsc_invariant_control{0};
    Overlay hypercall_overlay{.is_writable = false};
    Overlay reference_tsc_overlay{};

    // Properties.
    std::uint64_t synthetic_features = ~std::uint64_t{0}; ///< the root has all
    std::uint64_t unimplemented_msr_action = HV_UNIMPLEMENTED_MSR_ACTION_FAULT;
    /// The parent answers HvRetargetDeviceInterrupt.
    std::atomic<bool> parent_retargets_interrupts{false};
    /// What the topology of CPUID shows as one package; 0 for all.
    std::uint32_t processors_per_socket = 0;
    /// Set before there is a virtual processor, then never changed.
    cpuid_policy::DisabledFeatures disabled_features{};
    /// The states of XCR0 that virtual processors may use.
    [[nodiscard]] std::uint64_t states() const {
        return cpuid_policy::states(extended_state::supported(), disabled_features);
    }

    // Its share of the processors; see policy.hpp.
    SchedulePolicy schedule_policy{};
    unsigned schedule_members = 0; ///< virtual processors that count
    Placement placement{};

    // For machine_statistics.
    StatisticsPage statistics_page{nullptr};
    StatisticsShare statistics_share{};
    std::atomic<std::uint64_t> device_interrupts{0}; ///< that are mapped to it

    /// Held by those who have looked the partition up.
    std::atomic<std::uint32_t> references{0};

    /// Where guest physical memory that can be read lies for the hypervisor, up to the end of its
    /// page; null if there is none. What is read there may be no longer the guest's when the epoch
    /// of tlb() has ended since, and then means nothing.
    [[nodiscard]] const std::byte* memory_at(std::uint64_t gpa);

private:
    /// Memory that a page is, if it may be accessed so; null else. Under space_lock().
    std::byte* accessible(GpaPage gpa, std::uint32_t needed);

    const std::uint64_t id_;
    const std::uint16_t slot_;
    const bool is_root_;
    std::atomic<State> state_{State::created};
    std::uint64_t creation_flags_;
    std::uint64_t privileges_ = 0;
    PageRecords& records_;
    PagePool deposits_{};
    PagePool* table_pool_;
    SpinLock lock_{};
    SpinLock space_lock_{};
    AddressSpace space_;
    TlbDomain tlb_{};
    std::atomic<VirtualProcessor*>* vps_ = nullptr;
    std::atomic<unsigned> vp_count_{0};
    std::atomic<std::uint32_t> cpuid_generation_{1};
    PartitionClock clock_;
    SpinLock time_lock_{};
    PortTable ports_{};
};
static_assert(sizeof(Partition) <= page_size);

} // namespace hypervisor
