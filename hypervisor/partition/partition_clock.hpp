// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/cpu/clock.hpp"
#include "hypervisor/cpu/sequenced.hpp"

#include <cstdint>
#include <optional>

namespace hypervisor {

/// What a counter shows, in units of 100 ns, when the reference time is `reference_time`, which is
/// `offset` ahead of it, or behind if that is negative: as after a pause, whose time the guest
/// doesn't get. 0 for what was before the counter began, ~0 for what comes after its end.
[[nodiscard]] constexpr std::uint64_t counter_at(
    std::uint64_t reference_time, std::int64_t offset) {
    if (offset < 0) {
        const std::uint64_t behind = 0 - static_cast<std::uint64_t>(offset);
        const std::uint64_t sum = reference_time + behind;
        return sum < behind ? ~std::uint64_t{0} : sum;
    }
    const auto ahead = static_cast<std::uint64_t>(offset);
    return reference_time > ahead ? reference_time - ahead : 0;
}

/// A partition's time. Its ticks are those of the processors' time-stamp counters, which stand at
/// `host` where this class asks, but for the time in which it stands still. A virtual processor's
/// own counter shows the ticks and its offset, which is its parent's to set; the reference time
/// follows the counter that all of them have, as the reference TSC page says, or the one that they
/// had last. From any LP.
class PartitionClock final {
public:
    static constexpr std::uint64_t never = ~std::uint64_t{0};

    /// \param begin when the ticks begin.
    explicit PartitionClock(std::uint64_t begin)
        : state_{State{.begin = begin, .frozen_at = never, .tsc_offset = 0, .reference = 0}},
          begin_{begin} {}

    [[nodiscard]] std::uint64_t ticks(std::uint64_t host) const {
        return state_.read().ticks(host);
    }
    [[nodiscard]] std::uint64_t reference_time(std::uint64_t host) const {
        return state_.read().reference_time(host);
    }
    /// The offset of the counter that reference time follows: a new virtual processor's too.
    [[nodiscard]] std::uint64_t tsc_offset() const { return state_.read().tsc_offset; }
    /// What a processor is to add to its own counter for a guest's with this offset.
    [[nodiscard]] std::uint64_t hardware_offset(std::uint64_t tsc_offset) const {
        return tsc_offset - begin_.load(std::memory_order_relaxed);
    }

    /// When the ticks, or the reference time, will be these, or were; `never` while it stands
    /// still.
    [[nodiscard]] std::uint64_t host_at_ticks(std::uint64_t ticks) const {
        return state_.read().host_at(ticks);
    }
    [[nodiscard]] std::uint64_t host_at_reference_time(std::uint64_t reference_time) const {
        if (reference_time == never) {
            return never;
        }
        const State now = state_.read();
        const std::uint64_t counter =
            clock::from_100ns(counter_at(reference_time, static_cast<std::int64_t>(now.reference)));
        return now.host_at_counter(counter, now.tsc_offset);
    }
    /// The same of a counter with an offset of its own.
    [[nodiscard]] std::uint64_t host_at_counter(
        std::uint64_t counter, std::uint64_t tsc_offset) const {
        return state_.read().host_at_counter(counter, tsc_offset);
    }

    [[nodiscard]] bool stands_still() const { return state_.read().frozen_at != never; }
    void stop(std::uint64_t host) {
        state_.change([host](State& state) { state.frozen_at = state.ticks(host); });
    }
    void go_on(std::uint64_t host) {
        state_.change([this, host](State& state) {
            state.begin = host - state.ticks(host);
            state.frozen_at = never;
            begin_.store(state.begin, std::memory_order_relaxed);
        });
    }

    void set_reference_time(std::uint64_t value, std::uint64_t host) {
        state_.change(
            [value, host](State& state) { state.reference += value - state.reference_time(host); });
    }
    /// The virtual processors' counters have another offset in common, or none: the reference time
    /// goes on as it was.
    void follow(std::optional<std::uint64_t> tsc_offset, std::uint64_t host) {
        has_common_.store(tsc_offset.has_value(), std::memory_order_release);
        if (!tsc_offset) {
            return;
        }
        state_.change([tsc_offset, host](State& state) {
            const std::uint64_t now = state.reference_time(host);
            state.tsc_offset = *tsc_offset;
            state.reference += now - state.reference_time(host);
        });
    }

    /// What is to be added to the time that the guest's counter shows (TLFS "Partition Reference
    /// TSC Mechanism"); nothing while not all counters show the same.
    [[nodiscard]] std::optional<std::uint64_t> page_offset() const {
        return has_common_.load(std::memory_order_acquire) ? std::optional{state_.read().reference}
                                                           : std::nullopt;
    }

private:
    struct State {
        std::uint64_t begin;
        std::uint64_t frozen_at; ///< the ticks at which it stands still, or `never`
        std::uint64_t tsc_offset;
        std::uint64_t reference; ///< what the reference time is ahead of the counter

        [[nodiscard]] std::uint64_t ticks(std::uint64_t host) const {
            return frozen_at != never ? frozen_at : host - begin;
        }
        [[nodiscard]] std::uint64_t reference_time(std::uint64_t host) const {
            return clock::to_100ns(ticks(host) + tsc_offset) + reference;
        }
        [[nodiscard]] std::uint64_t host_at(std::uint64_t at) const {
            // What lies beyond the counter's end never comes; it must not come round to the past.
            return frozen_at == never && at < latest ? at + begin : never;
        }
        [[nodiscard]] std::uint64_t host_at_counter(
            std::uint64_t counter, std::uint64_t offset) const {
            if (counter >= latest) {
                return never;
            }
            const std::uint64_t at = counter - offset;
            return host_at(static_cast<std::int64_t>(at) < 0 ? 0 : at);
        }
    };
    static constexpr std::uint64_t latest = never >> 1;

    Sequenced<State> state_;
    std::atomic<std::uint64_t> begin_; ///< as in the state: what is asked for whenever one runs
    std::atomic<bool> has_common_{true};
};

} // namespace hypervisor
