// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hv/hypervisor.hpp"
#include "worker/settings/settings.hpp"

#include <chrono>

namespace croft::worker {

/// Runs one VM in this process until it is over: powered off by its guest or from outside, or
/// unable to go on. Answers the exit code: 0 for an end that somebody wanted. Errors: Error, for
/// what keeps the VM from starting or from going on; all of the VM is gone by then and the terminal
/// as it was.
///
/// Whoever tells it to end (a signal, "stop", Ctrl-] q) doesn't wait for longer than `patience`:
/// then the process ends, with status 1, without waiting for what still keeps it.
[[nodiscard]] int run_worker(const Settings& settings, hv::Hypervisor& hypervisor,
    std::chrono::milliseconds patience = std::chrono::seconds(10));

} // namespace croft::worker
