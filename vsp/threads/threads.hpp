// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/ring.hpp"

#include <functional>
#include <vector>

namespace croft::vsp {

/// The threads that a provider works on. They outlive it.
struct Threads {
    /// Each is the ring of a thread that runs it; at least one. Channel n is served by the n-th,
    /// beginning again when there are fewer: so they share the work of a guest that spreads it.
    std::vector<disk::Ring*> rings;
    /// Runs a function on the bus's thread, soon and in the order of calls; from any thread, and
    /// never within the call.
    std::function<void(std::function<void()>)> post_to_bus;
};

} // namespace croft::vsp
