// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>

namespace hypervisor {

/// Which translations of one address space are still good: those that were made since its epoch
/// last changed.
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
    /// Between this and leave() the processor may use translations of the domain.
    /// \param seen the domain's epoch when the virtual processor last entered; brought up to date.
    /// \return whether what it remembers from then must be dropped.
    [[nodiscard]] bool enter(const TlbDomain& domain, std::uint64_t& seen) {
        // First the domain, then the look at its epoch: who ends that in between finds this
        // processor, and either sees the new epoch here or waits.
        domain_.store(&domain, std::memory_order_seq_cst);
        const std::uint64_t now = domain.epoch();
        epoch_.store(now, std::memory_order_release);
        const bool stale = now != seen;
        seen = now;
        return stale;
    }
    void leave() {
        epoch_.store(0, std::memory_order_release);
        domain_.store(nullptr, std::memory_order_release);
    }

    // From any processor.

    [[nodiscard]] bool is_in_guest() const {
        return domain_.load(std::memory_order_seq_cst) != nullptr;
    }
    /// Whether it may use translations of the domain that were made before `epoch`.
    [[nodiscard]] bool may_use_older(const TlbDomain& domain, std::uint64_t epoch) const {
        return domain_.load(std::memory_order_seq_cst) == &domain &&
            epoch_.load(std::memory_order_acquire) < epoch;
    }

private:
    std::atomic<const TlbDomain*> domain_{nullptr};
    std::atomic<std::uint64_t> epoch_{0};
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

} // namespace hypervisor
