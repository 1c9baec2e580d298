// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hv/hypervisor.hpp"
#include "worker/settings/settings.hpp"

namespace croft::worker {

/// Runs one VM in this process until it is over: powered off by its guest or from outside, or
/// unable to go on. Answers the exit code: 0 for an end that somebody wanted. Errors: Error, for
/// what keeps the VM from starting or from going on; all of the VM is gone by then and the terminal
/// as it was.
[[nodiscard]] int run_worker(const Settings& settings, hv::Hypervisor& hypervisor);

} // namespace croft::worker
