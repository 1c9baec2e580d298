// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hv/exit_trace.hpp"

#include <memory>

namespace croft::cli {

// The hypervisor's trace of exits; or, for tests, what answers on the socket CROFT_TRACE/socket: it
// gets the number of a property, and gives a status of 32 bits and, if that is 0, the answer.
// Errors: hv::HypervisorError that says what to do.
[[nodiscard]] std::unique_ptr<hv::ExitTrace> open_trace_source();

} // namespace croft::cli
