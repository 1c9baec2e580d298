// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vdev/serial/character_backend.hpp"

namespace croft::worker {

/// Where a serial port goes to.
class Console : public vdev::CharacterBackend {
public:
    /// Begins to take input. The loop's thread, or before it runs.
    virtual void start() = 0;
    /// Waits until all output is written, or for a while if nobody takes it. Not the loop's thread.
    virtual void drain() = 0;
};

} // namespace croft::worker
