// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace hypervisor {

class LogicalProcessor;
class VirtualProcessor;

/// Which virtual processor runs where. A root VP belongs to its LP; a child's goes to the LP with
/// the least load, and an LP without work takes one that waits elsewhere.
namespace scheduler {

/// The time that a virtual processor runs before others that wait get their turn, 100 ns units.
inline constexpr std::uint64_t slice_100ns = 5 * 10'000;
/// How far ahead one that wakes must be of the one that runs, to take its place at once.
inline constexpr std::uint64_t wake_granularity_100ns = 10'000;

/// Ticks of the time-stamp counter.
std::uint64_t slice();

/// Something has changed that may let the virtual processor run. From any LP.
void wake(VirtualProcessor& vp);
/// The virtual processor may no longer run: takes it off its queue or its LP and waits until it has
/// stopped. What forbids it to run has been set before. Only a parent does this to a child's, so
/// that no two wait for each other; and with no lock held.
void stop(VirtualProcessor& vp);

/// For LogicalProcessor: the next one to run, or null; and what is to be done when it has stopped.
VirtualProcessor* pick(LogicalProcessor& lp);
void put_back(LogicalProcessor& lp, VirtualProcessor& vp, std::uint64_t ran);

} // namespace scheduler

} // namespace hypervisor
