// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "abi/partition.h"
#include "hypervisor/memory/paged_table.hpp"

#include <atomic>
#include <cstdint>

namespace hypervisor {

/// What a parent has asked to be told of (HvCallInstallIntercept), beyond what its children leave
/// to it in any case, and what it has decided about MSRs that nobody implements
/// (HvCallRegisterInterceptResult). Flags may be read at any time; the lists are under their
/// owner's lock. Knows nothing of the processor.
class Intercepts final {
public:
    static constexpr unsigned most = 1024; ///< entries of each list

    enum class Added : std::uint8_t { yes, too_many, no_memory };
    /// What happens to an access to an MSR.
    enum class MsrFate : std::uint8_t { served, intercepted, fault, ignored };

    // Exceptions, a bit for each vector.

    [[nodiscard]] std::uint32_t exceptions() const {
        return exceptions_.load(std::memory_order_acquire);
    }
    void set_exception(std::uint8_t vector, bool on) {
        const std::uint32_t bit = 1u << vector;
        if (on) {
            exceptions_.fetch_or(bit, std::memory_order_acq_rel);
        } else {
            exceptions_.fetch_and(~bit, std::memory_order_acq_rel);
        }
    }

    /// Calls that the hypervisor doesn't know.
    [[nodiscard]] bool unknown_hypercalls() const {
        return unknown_hypercalls_.load(std::memory_order_relaxed);
    }
    void set_unknown_hypercalls(bool on) { unknown_hypercalls_ = on; }

    // CPUID.

    /// Whether there may be an intercept of CPUID; if not, is_intercepted() need not be asked.
    [[nodiscard]] bool any_cpuid() const { return any_cpuid_.load(std::memory_order_acquire); }
    [[nodiscard]] bool is_intercepted(std::uint32_t leaf) {
        return all_cpuid_ || find(leaves_, leaf) != nullptr;
    }
    void set_all_cpuid(bool on) {
        all_cpuid_ = on;
        any_cpuid_ = all_cpuid_ || leaf_count_ != 0;
    }
    Added set_cpuid(std::uint32_t leaf, bool on, PagePool& pool) {
        const Added added = set_leaf(leaf, on, pool);
        any_cpuid_ = all_cpuid_ || leaf_count_ != 0;
        return added;
    }

    // MSRs. Accesses are bits of HV_INTERCEPT_ACCESS_MASK_….

    /// Whether there may be something about single MSRs: one that is, must be asked about.
    [[nodiscard]] bool any_msr() const { return any_msr_.load(std::memory_order_acquire); }
    /// Whether accesses are intercepted of which the guest's processor would take no notice.
    [[nodiscard]] bool single_msrs() const { return intercepted_msrs_.load() != 0; }
    /// All MSRs that nobody implements.
    void set_unknown_msrs(std::uint8_t accesses) { unknown_msrs_ = accesses; }
    [[nodiscard]] std::uint8_t unknown_msrs() const { return unknown_msrs_.load(); }

    Added set_msr(std::uint32_t msr, std::uint8_t accesses, PagePool& pool) {
        if (accesses == 0 && find(msrs_, msr) == nullptr) {
            return Added::yes;
        }
        Msr* const entry = reach(msr, pool);
        if (entry == nullptr) {
            return msr_count_ == most ? Added::too_many : Added::no_memory;
        }
        intercepted_msrs_ += (accesses != 0 ? 1u : 0u) - (entry->intercepted != 0 ? 1u : 0u);
        entry->intercepted = accesses;
        settle(*entry);
        return Added::yes;
    }
    Added decide_msr(std::uint32_t msr, std::uint8_t accesses, bool fault, PagePool& pool) {
        Msr* const entry = reach(msr, pool);
        if (entry == nullptr) {
            return msr_count_ == most ? Added::too_many : Added::no_memory;
        }
        const auto others = static_cast<std::uint8_t>(~accesses);
        entry->faulting =
            static_cast<std::uint8_t>((entry->faulting & others) | (fault ? accesses : 0));
        entry->ignored =
            static_cast<std::uint8_t>((entry->ignored & others) | (fault ? 0 : accesses));
        return Added::yes;
    }
    /// \return false if nothing has been decided for one of them.
    bool forget_msr(std::uint32_t msr, std::uint8_t accesses) {
        Msr* const entry = find(msrs_, msr);
        if (entry == nullptr || ((entry->faulting | entry->ignored) & accesses) != accesses) {
            return false;
        }
        entry->faulting &= static_cast<std::uint8_t>(~accesses);
        entry->ignored &= static_cast<std::uint8_t>(~accesses);
        settle(*entry);
        return true;
    }

    /// Before the hypervisor serves an access.
    [[nodiscard]] bool is_intercepted(std::uint32_t msr, std::uint8_t access) {
        const Msr* const entry = find(msrs_, msr);
        return entry != nullptr && (entry->intercepted & access) != 0;
    }
    /// Of an access to an MSR that nobody implements; `served` if nothing has been said of it.
    [[nodiscard]] MsrFate fate(std::uint32_t msr, std::uint8_t access) {
        const Msr* const entry = find(msrs_, msr);
        if (entry != nullptr && ((entry->faulting | entry->ignored) & access) != 0) {
            return (entry->faulting & access) != 0 ? MsrFate::fault : MsrFate::ignored;
        }
        return (unknown_msrs_ & access) != 0 ? MsrFate::intercepted : MsrFate::served;
    }

    void release(PagePool& pool) {
        leaves_.release(pool);
        msrs_.release(pool);
        leaf_count_ = 0;
        msr_count_ = 0;
        intercepted_msrs_ = 0;
        any_cpuid_ = all_cpuid_;
        any_msr_ = false;
    }

private:
    struct Leaf {
        std::uint32_t number = 0;
        bool in_use = false;
    };
    struct Msr {
        std::uint32_t number = 0;
        bool in_use = false;
        std::uint8_t intercepted = 0;
        std::uint8_t faulting = 0; ///< if nobody implements it
        std::uint8_t ignored = 0;  ///< the same
    };

    template <class T>
    static T* find(PagedTable<T>& table, std::uint32_t number) {
        return table.find([number](const T& one) { return one.in_use && one.number == number; });
    }

    Added set_leaf(std::uint32_t number, bool on, PagePool& pool) {
        Leaf* leaf = find(leaves_, number);
        if (!on) {
            if (leaf != nullptr) {
                leaf->in_use = false;
                --leaf_count_;
            }
            return Added::yes;
        }
        if (leaf != nullptr) {
            return Added::yes;
        }
        if (leaf_count_ == most) {
            return Added::too_many;
        }
        leaf = leaves_.add(pool);
        if (leaf == nullptr) {
            return Added::no_memory;
        }
        leaf->number = number;
        ++leaf_count_;
        return Added::yes;
    }

    Msr* reach(std::uint32_t number, PagePool& pool) {
        Msr* entry = find(msrs_, number);
        if (entry == nullptr && msr_count_ < most) {
            entry = msrs_.add(pool);
            if (entry != nullptr) {
                entry->number = number;
                ++msr_count_;
                any_msr_ = true;
            }
        }
        return entry;
    }
    /// An entry that says nothing goes.
    void settle(Msr& entry) {
        if ((entry.intercepted | entry.faulting | entry.ignored) == 0) {
            entry.in_use = false;
            --msr_count_;
            any_msr_ = msr_count_ != 0;
        }
    }

    std::atomic<std::uint32_t> exceptions_{0};
    std::atomic<bool> unknown_hypercalls_{false};
    std::atomic<bool> any_cpuid_{false};
    std::atomic<bool> any_msr_{false};
    bool all_cpuid_ = false;
    std::atomic<std::uint8_t> unknown_msrs_{0};
    unsigned leaf_count_ = 0;
    unsigned msr_count_ = 0;
    std::atomic<unsigned> intercepted_msrs_{0};
    PagedTable<Leaf> leaves_{};
    PagedTable<Msr> msrs_{};
};

} // namespace hypervisor
