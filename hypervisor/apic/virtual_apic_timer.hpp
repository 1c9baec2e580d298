// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

namespace hypervisor {

/// The two clocks of an APIC timer at one instant: the bus clock that the divider divides, and the
/// guest's time-stamp counter. Both only grow.
struct ApicTime {
    std::uint64_t bus = 0;
    std::uint64_t tsc = 0;
};

enum class ApicTimerMode : std::uint8_t { one_shot, periodic, tsc_deadline };

/// When a timer is to be looked at again.
struct ApicTimerDeadline {
    enum class Clock : std::uint8_t { bus, tsc };
    Clock clock = Clock::bus;
    std::uint64_t at = 0;

    bool operator==(const ApicTimerDeadline&) const = default;
};

/// The counting half of a local APIC's timer (APM vol. 2, 16.4.1; SDM vol. 3, 11.5.4). It holds no
/// running count, only the instant at which the count reaches zero; so a periodic timer that is
/// served late stays on its grid, and periods that were missed altogether cost no work.
class VirtualApicTimer final {
public:
    void reset() { *this = VirtualApicTimer{}; }

    [[nodiscard]] ApicTimerMode mode() const { return mode_; }
    /// A running count goes on; to and from TSC-deadline mode the timer stops.
    void set_mode(ApicTimerMode mode);

    [[nodiscard]] std::uint32_t initial_count() const { return initial_count_; }
    /// Starts the count, zero stops it; in TSC-deadline mode the value is ignored.
    void set_initial_count(std::uint32_t count, ApicTime now);

    [[nodiscard]] std::uint32_t current_count(ApicTime now) const;
    /// Continues at a count that was saved, the initial count at most, in the mode that is set. A
    /// TSC deadline stays.
    void restore(std::uint32_t divide_configuration, std::uint32_t initial_count,
        std::uint32_t current_count, ApicTime now);

    [[nodiscard]] std::uint32_t divide_configuration() const { return divide_configuration_; }
    /// The count goes on from where it is, at the new pace.
    void set_divide_configuration(std::uint32_t value, ApicTime now);

    /// Zero if none is set, or in another mode.
    [[nodiscard]] std::uint64_t tsc_deadline() const;
    /// Zero disarms; outside TSC-deadline mode the value is ignored.
    void set_tsc_deadline(std::uint64_t value);

    [[nodiscard]] std::optional<ApicTimerDeadline> deadline() const;

    /// Whether the timer has reached zero, once or several times, since it was last asked.
    bool expire(ApicTime now);

private:
    [[nodiscard]] unsigned divisor_shift() const;
    [[nodiscard]] std::uint64_t period() const;
    void start(std::uint32_t count, ApicTime now);

    ApicTimerMode mode_ = ApicTimerMode::one_shot;
    bool armed_ = false; ///< never with an initial count of zero, but in TSC-deadline mode
    std::uint32_t initial_count_ = 0;
    std::uint32_t divide_configuration_ = 0;
    std::uint64_t zero_at_ = 0; ///< on the bus clock, or the TSC in TSC-deadline mode
};

} // namespace hypervisor
