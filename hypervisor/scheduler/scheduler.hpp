// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace hypervisor {

class LogicalProcessor;
class VirtualProcessor;

/// Which virtual processor runs where. A root VP belongs to its LP; a child's goes to the LP with
/// the least load of those that it may run on, and one that gets less than its share elsewhere is
/// taken by an LP that has less to do (balance.hpp).
namespace scheduler {

/// The time that a virtual processor runs before others that wait get their turn, 100 ns units.
inline constexpr std::uint64_t slice_100ns = 5 * 10'000;
/// How far ahead one that wakes must be of the one that runs, to take its place at once.
inline constexpr std::uint64_t wake_granularity_100ns = 10'000;
/// In what time caps and reserves are kept.
inline constexpr std::uint64_t period_100ns = 20 * 10'000;
/// By how much one that has slept is behind at most.
inline constexpr std::uint64_t sleeper_bonus_100ns = 20'000;
/// By how much one may be behind on its LP before another LP takes it, if that has time.
inline constexpr std::uint64_t balance_lag_100ns = 2 * slice_100ns;

/// Whether the root schedules its children (root_dispatch.hpp); decided at boot. The root's own
/// virtual processors are scheduled here in any case.
[[nodiscard]] bool root_schedules();
void set_root_schedules(bool on);

/// Something has changed that may let the virtual processor run. From any LP.
void wake(VirtualProcessor& vp);
/// The virtual processor may no longer run: takes it off its queue or its LP and waits until it has
/// stopped. What forbids it to run has been set before. Only a parent does this to a child's, so
/// that no two wait for each other; and with no lock held.
void stop(VirtualProcessor& vp);

/// What a virtual processor may have; see SchedulePolicy.
struct Share {
    std::uint32_t weight;
    std::uint32_t cap;
    std::uint32_t reserve;
};
/// It has that from now on, and is where its partition's placement allows it. From any LP.
void set_share(VirtualProcessor& vp, const Share& share);

/// Who runs next, and for how long at most (ticks of the time-stamp counter; TimerEntry::never if
/// there is no limit).
struct Turn {
    VirtualProcessor* vp = nullptr;
    std::uint64_t most = 0;
};

/// What an LP has done before: behind a turn that was used up it looks whether another LP has one
/// that is more in need than its own.
enum class Before : std::uint8_t { part_of_a_turn, whole_turn, sleep };

/// For LogicalProcessor: the next one to run, or null.
Turn pick(LogicalProcessor& lp, Before before);
/// What is to be done when it has stopped.
void put_back(LogicalProcessor& lp, VirtualProcessor& vp, std::uint64_t ran);

} // namespace scheduler

} // namespace hypervisor
