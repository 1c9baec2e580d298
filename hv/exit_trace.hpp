// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hv/abi.hpp"

#include <memory>

namespace croft::hv {

/// What virtual processors leave their guests for, of all partitions: abi/exit_trace.h. There is
/// one reader on a machine; another process that has taken this object over by a fork is the same
/// one.
class ExitTrace {
public:
    ExitTrace() = default;
    ExitTrace(const ExitTrace&) = delete;
    ExitTrace& operator=(const ExitTrace&) = delete;
    virtual ~ExitTrace() = default;

    /// What logical processor `lp` has recorded and nobody has read; the first reading switches its
    /// trace on. Errors: HypervisorError; HV_STATUS_INVALID_LP_INDEX if there is no such one.
    [[nodiscard]] virtual hv_exit_trace read(unsigned lp) = 0;

    /// Switches it off, also if it was on before this object was made. The answer holds no records.
    /// Errors: as of read.
    virtual hv_exit_trace end(unsigned lp) = 0;
};

/// For a user who may read the processor's MSRs, in the root partition. The object's trace is off
/// only if nobody has left it on. Errors: HypervisorError that says what to do.
[[nodiscard]] std::unique_ptr<ExitTrace> open_exit_trace();

} // namespace croft::hv
