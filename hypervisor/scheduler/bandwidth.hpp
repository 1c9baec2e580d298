// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

namespace hypervisor {

/// A fraction of a processor's time, granted in periods: a limit, or what is kept for one. What was
/// used beyond it is missing in the periods that follow, so that over many it is exact; what was
/// not used is not saved up. Times are ticks of the time-stamp counter.
class Bandwidth final {
public:
    /// All of a processor's time, as fractions are counted (CPU reserve and cap of the TLFS).
    static constexpr std::uint32_t whole = 1u << 16;
    static constexpr std::uint64_t never = ~0ull;

    constexpr Bandwidth() = default;

    [[nodiscard]] std::uint32_t fraction() const { return fraction_; }
    /// A period begins.
    void set(std::uint32_t fraction, std::uint64_t period, std::uint64_t now) {
        fraction_ = fraction;
        period_ = period;
        grant_ = static_cast<std::int64_t>((period * fraction) / whole);
        left_ = grant_;
        end_ = now + period;
    }
    /// What is left at `now`; less than 0 if more was used than there was.
    [[nodiscard]] std::int64_t left(std::uint64_t now) {
        advance(now);
        return left_;
    }
    /// `ticks` were used until `now`.
    void use(std::uint64_t ticks, std::uint64_t now) {
        left_ -= static_cast<std::int64_t>(ticks); // of the periods in which they were used
        advance(now);
    }
    /// No more than what one period grants is missing later.
    void forgive() { left_ = std::max(left_, -grant_); }
    /// Whether what is left is to be had first of all: at once, or, by one who is `patient`, when
    /// half of the rest of the period would not be enough.
    [[nodiscard]] bool is_due(std::uint64_t now, bool patient) {
        return left(now) > 0 && (!patient || last_moment() <= now);
    }
    /// When that will be so, or may be.
    [[nodiscard]] std::uint64_t due_at(std::uint64_t now, bool patient) {
        return left(now) > 0 && patient ? std::max(now, last_moment()) : available_at(now);
    }
    /// When there is something left: at `now`, or at the beginning of a later period.
    [[nodiscard]] std::uint64_t available_at(std::uint64_t now) {
        advance(now);
        if (left_ > 0) {
            return now;
        }
        if (grant_ == 0) {
            return never;
        }
        const std::int64_t periods = -left_ / grant_ + 1;
        return end_ + static_cast<std::uint64_t>(periods - 1) * period_;
    }

private:
    [[nodiscard]] std::uint64_t last_moment() const {
        return end_ - 2 * static_cast<std::uint64_t>(left_);
    }
    void advance(std::uint64_t now) {
        if (now < end_ || period_ == 0) {
            return;
        }
        const std::uint64_t periods = (now - end_) / period_ + 1;
        end_ += periods * period_;
        left_ = std::min(grant_, left_ + static_cast<std::int64_t>(periods) * grant_);
    }

    std::uint32_t fraction_ = 0;
    std::uint64_t period_ = 0;
    std::int64_t grant_ = 0; ///< of a period
    std::int64_t left_ = 0;  ///< of this one
    std::uint64_t end_ = 0;  ///< of this one
};

} // namespace hypervisor
