// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/error.hpp"

#include <string>

namespace croft::disk {

// Holds an open file against others for as long as it is open: against users of this library by
// flock(2), against QEMU by the locks on bytes that QEMU takes itself, and looks whether a loop
// device lies over it. Readers tolerate readers. The error says who is in the way.
// A reader may become a writer by asking again.
Result<void> lock_file(int descriptor, const std::string& name, bool writing);

// Makes a reader of a writer.
void share_lock(int descriptor);

// The error for a block device that something else has claimed.
Error claimed_device(const std::string& path);

} // namespace croft::disk
