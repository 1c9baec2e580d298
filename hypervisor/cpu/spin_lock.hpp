// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/cpu/intrinsics.hpp"

#include <atomic>

namespace hypervisor {

/// Interrupts are disabled in the hypervisor but for the few places that ask for them and hold no
/// lock, so a lock need not care about them.
class SpinLock final {
public:
    constexpr SpinLock() = default;
    SpinLock(const SpinLock&) = delete;
    SpinLock& operator=(const SpinLock&) = delete;

    void lock() {
        while (held_.exchange(true, std::memory_order_acquire)) {
            while (held_.load(std::memory_order_relaxed)) {
                pause();
            }
        }
    }
    [[nodiscard]] bool try_lock() { return !held_.exchange(true, std::memory_order_acquire); }
    void unlock() { held_.store(false, std::memory_order_release); }

private:
    std::atomic<bool> held_{false};
};

class [[nodiscard]] SpinGuard final {
public:
    explicit SpinGuard(SpinLock& lock) : lock_{lock} { lock_.lock(); }
    ~SpinGuard() { lock_.unlock(); }
    SpinGuard(const SpinGuard&) = delete;
    SpinGuard& operator=(const SpinGuard&) = delete;

private:
    SpinLock& lock_;
};

} // namespace hypervisor
