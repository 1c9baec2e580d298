// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/disk.hpp"
#include "disk/tool/progress.hpp"

#include <string>

namespace croft::disk::tool {

// merge() of a disk whose queues go on being used: writes the top image's contents into its parent,
// which is then the disk's top image, and answers the child's path. The child is closed and empty
// by then: it shows what the parent holds.
//
// Blocks; requests go on meanwhile but for two moments, so threads with requests in flight have to
// run their rings. Stopped by `progress`, by an error or a power cut, the child is the top image
// and shows the same as before, and merging again goes on. What writes go to the disk not by its
// queues is not seen.
Result<std::string> merge(Disk& disk, const Progress& progress);

} // namespace croft::disk::tool
