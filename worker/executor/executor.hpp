// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/executor/io_loop.hpp"
#include "worker/executor/vm_clock.hpp"

#include <thread>

namespace croft::worker {

/// Who owns which thread of a worker:
///
///     main       the control loop: signals, control socket, what happens to the VM as a whole
///     devices    the device loop: consoles, disks, network, the devices' timers
///     vp N       runs virtual processor N and answers its intercepts; does no I/O, but queues it
///
/// Each loop has one io_uring, used by its own thread only.
class Executor {
public:
    /// Errors: SystemError without io_uring.
    Executor();
    /// Ends and joins the devices' thread.
    ~Executor();
    Executor(const Executor&) = delete;
    Executor& operator=(const Executor&) = delete;

    [[nodiscard]] VmClock& clock() { return clock_; }
    [[nodiscard]] IoLoop& control() { return control_; }
    [[nodiscard]] IoLoop& devices() { return devices_; }

    /// Starts the devices' thread.
    void start();

private:
    VmClock clock_;
    IoLoop control_{clock_};
    IoLoop devices_{clock_};
    std::thread device_thread_;
};

} // namespace croft::worker
