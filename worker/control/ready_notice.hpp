// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace croft::worker {

/// Tells whoever has started the worker that its VM runs, as sd_notify(3) describes it: READY=1 to
/// the socket that NOTIFY_SOCKET names. Nobody who waits is no error.
void send_ready_notice();

} // namespace croft::worker
