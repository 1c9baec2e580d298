// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "abi/synic.h"
#include "hypervisor/synic/synic.hpp"

#include <array>
#include <cstdint>
#include <optional>

namespace hypervisor {

/// The four synthetic timers of a virtual processor (TLFS "Timers"). All times are the partition's
/// reference time, in 100 ns. Owned by the VP's LP.
class SyntheticTimers final {
public:
    static constexpr std::uint64_t never = ~0ull;

    struct Expiration {
        bool direct = false; ///< raises a vector; else a message is posted
        std::uint8_t vector = 0;
        std::uint8_t sint = 0;
        SynicMessage* message = nullptr;
    };

    void reset();

    [[nodiscard]] std::uint64_t config(unsigned timer) const {
        return timers_[timer].config.as_uint64;
    }
    [[nodiscard]] std::uint64_t count(unsigned timer) const { return timers_[timer].count; }
    /// \return false if the value is not allowed.
    bool set_config(unsigned timer, std::uint64_t value, std::uint64_t now);
    void set_count(unsigned timer, std::uint64_t value, std::uint64_t now);

    [[nodiscard]] std::uint64_t deadline() const;
    /// One timer that is due at `now`, or nothing. `partition` names the sender of the message.
    std::optional<Expiration> expire(std::uint64_t now, std::uint64_t partition);

    void save(hv_synthetic_timers_state& state) const;
    /// \return false if the state has a timer that no guest could have set; nothing changes then.
    [[nodiscard]] bool restore(const hv_synthetic_timers_state& state, std::uint64_t now);

    /// Messages of timers may still be queued when the VP goes away.
    SynicMessage& message(unsigned timer) { return timers_[timer].message; }

private:
    struct Timer {
        hv_stimer_config config{};
        std::uint64_t count = 0;
        std::uint64_t expires = never;
        /// When it expired, if that was before the state was restored and its message is still due.
        std::uint64_t undelivered = never;
        SynicMessage message{};
    };

    static void start(Timer& timer, std::uint64_t now);
    static void advance(Timer& timer, std::uint64_t now);

    std::array<Timer, HV_SYNIC_STIMER_COUNT> timers_{};
};

} // namespace hypervisor
