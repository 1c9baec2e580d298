// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/chain.hpp"
#include "disk/tool/progress.hpp"

namespace croft::disk::tool {

struct CopyOptions {
    unsigned threads = 2;
    bool detect_zeros = true;    // what is zeros in the source takes no room in the target
    bool target_is_empty = true; // it reads as zeros where nothing has been written
    Progress progress{};
};

// Copies the contents of a disk onto another one that is at least as large, by several threads.
// Where both are files of one file system that shares blocks, payload is cloned instead of copied.
Result<void> copy_contents(Chain& source, Chain& target, const CopyOptions& options);

} // namespace croft::disk::tool
