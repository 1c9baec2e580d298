// SPDX-License-Identifier: Apache-2.0
// How a child's time is changed: all that shows it follows.
#pragma once

#include <cstdint>

namespace hypervisor {

class Partition;
class VirtualProcessor;

namespace time {

/// Virtual processors, their counters, reference time and timers stand still, or go on where they
/// were.
void stand_still(Partition& partition, bool still);
/// A new virtual processor joins a partition whose time may stand still; it is suspended.
void join(VirtualProcessor& vp);

/// The reference time, where registers tell it, on the page that does, and for timers.
void set_reference(Partition& partition, std::uint64_t value);

/// The time-stamp counter of a virtual processor, which is held. The reference time goes on as it
/// was; the page that tells it by the counter is void until all of the partition show the same
/// again.
void set_tsc(VirtualProcessor& vp, std::uint64_t value);

} // namespace time

} // namespace hypervisor
