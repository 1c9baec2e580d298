// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace croft::worker {

/// Whether this host has `size` bytes to give to a VM at this moment. Guest memory comes page by
/// page, so too little would otherwise show only when the guest runs. Errors: SystemError if not.
void check_host_memory(std::uint64_t size);

} // namespace croft::worker
