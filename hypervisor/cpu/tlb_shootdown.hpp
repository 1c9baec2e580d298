// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>

namespace hypervisor {

/// Which translations are still good: those that were made since its epoch last changed. There is
/// one for a partition, whose guest physical pages change, and one for each virtual processor,
/// whose guest changes its page tables.
class TlbDomain final {
public:
    [[nodiscard]] std::uint64_t epoch() const { return epoch_.load(std::memory_order_seq_cst); }
    /// Ends the epoch. \return the new one.
    std::uint64_t advance() { return epoch_.fetch_add(1, std::memory_order_seq_cst) + 1; }

private:
    std::atomic<std::uint64_t> epoch_{1}; // 0 is before all
};

/// Whether a logical processor may be in a guest, and which translations it may be using there.
class GuestPresence final {
public:
    /// A domain, and its epoch when the virtual processor last entered.
    struct View {
        const TlbDomain& domain;
        std::uint64_t& seen;
    };

    /// Between this and leave() the processor may use translations of both domains; what they have
    /// seen is brought up to date.
    /// \return whether what it remembers from then must be dropped.
    [[nodiscard]] bool enter(View partition, View vp) {
        // First the domains, then the look at their epochs: who ends one in between finds this
        // processor, and either sees the new epoch here or waits.
        vp_domain_.store(&vp.domain, std::memory_order_release);
        partition_domain_.store(&partition.domain, std::memory_order_seq_cst);
        const std::uint64_t partition_epoch = partition.domain.epoch();
        const std::uint64_t vp_epoch = vp.domain.epoch();
        partition_epoch_.store(partition_epoch, std::memory_order_release);
        vp_epoch_.store(vp_epoch, std::memory_order_release);
        const bool stale = partition_epoch != partition.seen || vp_epoch != vp.seen;
        partition.seen = partition_epoch;
        vp.seen = vp_epoch;
        return stale;
    }
    void leave() {
        partition_epoch_.store(0, std::memory_order_release);
        vp_epoch_.store(0, std::memory_order_release);
        partition_domain_.store(nullptr, std::memory_order_release);
    }

    // From any processor.

    [[nodiscard]] bool is_in_guest() const {
        return partition_domain_.load(std::memory_order_seq_cst) != nullptr;
    }
    [[nodiscard]] bool is_in_guest_of(const TlbDomain& partition) const {
        return partition_domain_.load(std::memory_order_seq_cst) == &partition;
    }
    /// Whether it may use translations of the partition that were made before `epoch`.
    [[nodiscard]] bool may_use_older(const TlbDomain& partition, std::uint64_t epoch) const {
        return is_in_guest_of(partition) &&
            partition_epoch_.load(std::memory_order_acquire) < epoch;
    }
    /// The same of a virtual processor of the partition.
    [[nodiscard]] bool may_use_older(
        const TlbDomain& partition, const TlbDomain& vp, std::uint64_t epoch) const {
        return is_in_guest_of(partition) && vp_domain_.load(std::memory_order_acquire) == &vp &&
            vp_epoch_.load(std::memory_order_acquire) < epoch;
    }
    /// The domain of the partition's virtual processor that is here; null if there is none.
    [[nodiscard]] const TlbDomain* vp_of(const TlbDomain& partition) const {
        return is_in_guest_of(partition) ? vp_domain_.load(std::memory_order_acquire) : nullptr;
    }

private:
    std::atomic<const TlbDomain*> partition_domain_{nullptr};
    std::atomic<const TlbDomain*> vp_domain_{nullptr};
    std::atomic<std::uint64_t> partition_epoch_{0};
    std::atomic<std::uint64_t> vp_epoch_{0};
};

/// Ends the use of all translations that were made until now; returns when no processor has one any
/// more. \param processors a range of pointers to what has `presence()`. \param kick makes one
/// leave its guest soon. \param pause is called while it waits.
template <class Processors, class Kick, class Pause>
void shoot_down(TlbDomain& domain, const Processors& processors, Kick&& kick, Pause&& pause) {
    const std::uint64_t epoch = domain.advance();
    for (auto* const processor : processors) {
        if (processor->presence().may_use_older(domain, epoch)) {
            kick(*processor);
        }
    }
    for (auto* const processor : processors) {
        while (processor->presence().may_use_older(domain, epoch)) {
            pause();
        }
    }
}

/// Returns when no processor uses translations of a virtual processor of the partition whose epoch
/// had ended before the call. The virtual processors don't go away meanwhile.
template <class Processors, class Kick, class Pause>
void wait_for_ended_epochs(
    const TlbDomain& partition, const Processors& processors, Kick&& kick, Pause&& pause) {
    for (auto* const processor : processors) {
        const TlbDomain* const vp = processor->presence().vp_of(partition);
        if (vp != nullptr && processor->presence().may_use_older(partition, *vp, vp->epoch())) {
            kick(*processor);
        }
    }
    for (auto* const processor : processors) {
        const TlbDomain* const vp = processor->presence().vp_of(partition);
        // Others may end more epochs meanwhile, which is theirs to wait for.
        const std::uint64_t epoch = vp != nullptr ? vp->epoch() : 0;
        while (vp != nullptr && processor->presence().may_use_older(partition, *vp, epoch)) {
            pause();
        }
    }
}

} // namespace hypervisor
