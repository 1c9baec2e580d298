// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/synic/synthetic_timers.hpp"

#include <algorithm>

namespace hypervisor {

namespace {

constexpr std::uint8_t first_valid_vector = 16;

/// A guest may ask for a period that ends when time does.
std::uint64_t later(std::uint64_t from, std::uint64_t by) {
    return by < SyntheticTimers::never - from ? from + by : SyntheticTimers::never;
}

} // namespace

void SyntheticTimers::reset() {
    for (Timer& timer : timers_) {
        timer.config.as_uint64 = 0;
        timer.count = 0;
        timer.expires = never;
        timer.undelivered = never;
    }
}

/// A period counts from now on; a one-shot count is a point in time, and one in the past is due.
void SyntheticTimers::start(Timer& timer, std::uint64_t now) {
    if (timer.config.enable == 0 || timer.count == 0) {
        timer.expires = never;
    } else if (timer.config.periodic != 0) {
        timer.expires = later(now, timer.count);
    } else {
        timer.expires = timer.count;
    }
}

/// It has expired: the next time of a periodic one is on the grid, but there is never more than one
/// expiration for what was missed.
void SyntheticTimers::advance(Timer& timer, std::uint64_t now) {
    if (timer.config.periodic != 0) {
        const std::uint64_t missed = (now - timer.expires) / timer.count;
        timer.expires = later(timer.expires + missed * timer.count, timer.count);
    } else {
        timer.expires = never;
        timer.config.enable = 0;
    }
}

bool SyntheticTimers::set_config(unsigned index, std::uint64_t value, std::uint64_t now) {
    hv_stimer_config config{};
    config.as_uint64 = value;
    if (config.reserved1 != 0 || config.reserved2 != 0 ||
        (config.direct_mode != 0 && config.apic_vector < first_valid_vector)) {
        return false;
    }
    // Without a target the timer can't be enabled: SINT 0 is not one that timers may use.
    if (config.direct_mode == 0 && config.sintx == 0) {
        config.enable = 0;
    }
    Timer& timer = timers_[index];
    timer.config = config;
    start(timer, now);
    return true;
}

void SyntheticTimers::set_count(unsigned index, std::uint64_t value, std::uint64_t now) {
    Timer& timer = timers_[index];
    timer.count = value;
    if (value == 0) {
        timer.config.enable = 0;
    } else if (timer.config.auto_enable != 0) {
        timer.config.enable = 1;
    }
    start(timer, now);
}

std::uint64_t SyntheticTimers::deadline() const {
    std::uint64_t nearest = never;
    for (const Timer& timer : timers_) {
        nearest = std::min({nearest, timer.expires, timer.undelivered});
    }
    return nearest;
}

std::optional<SyntheticTimers::Expiration> SyntheticTimers::expire(
    std::uint64_t now, std::uint64_t partition) {
    for (unsigned index = 0; index < timers_.size(); ++index) {
        Timer& timer = timers_[index];
        std::uint64_t expired = timer.undelivered;
        if (expired != never) {
            timer.undelivered = never;
        } else if (timer.expires <= now) {
            expired = timer.expires;
            advance(timer, now);
        } else {
            continue;
        }
        if (timer.config.direct_mode != 0) {
            return Expiration{
                .direct = true, .vector = static_cast<std::uint8_t>(timer.config.apic_vector)};
        }
        if (!timer.message.queued) {
            timer.message.set(HVMSG_TIMER_EXPIRED, partition,
                hv_timer_message_payload{.timer_index = index,
                    .reserved = 0,
                    .expiration_time = expired,
                    .delivery_time = now});
        }
        return Expiration{
            .sint = static_cast<std::uint8_t>(timer.config.sintx), .message = &timer.message};
    }
    return std::nullopt;
}

void SyntheticTimers::save(hv_synthetic_timers_state& state) const {
    state = {};
    for (unsigned index = 0; index < timers_.size(); ++index) {
        const Timer& timer = timers_[index];
        hv_stimer_state& to = state.timers[index];
        std::uint64_t undelivered = timer.undelivered;
        if (timer.message.queued) {
            std::memcpy(&undelivered,
                timer.message.payload.data() + offsetof(hv_timer_message_payload, expiration_time),
                sizeof undelivered);
        }
        if (undelivered != never) {
            to.undelivered_message_pending = 1;
            to.undelivered_expiration_time = undelivered;
        }
        to.config = timer.config.as_uint64;
        to.count = timer.count;
        to.adjustment = timer.config.periodic != 0 && timer.expires != never ? timer.expires : 0;
    }
}

bool SyntheticTimers::restore(const hv_synthetic_timers_state& state, std::uint64_t now) {
    const auto before = timers_;
    for (unsigned index = 0; index < timers_.size(); ++index) {
        const hv_stimer_state& from = state.timers[index];
        timers_[index].count = from.count;
        if (!set_config(index, from.config, now)) {
            timers_ = before;
            return false;
        }
        if (timers_[index].expires != never && from.adjustment != 0) {
            timers_[index].expires = from.adjustment;
        }
        timers_[index].undelivered =
            from.undelivered_message_pending != 0 ? from.undelivered_expiration_time : never;
    }
    return true;
}

} // namespace hypervisor
