// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <sys/types.h>
#include <vector>

// What this process sees mounted, as /proc/self/mountinfo tells it. Nothing here touches a mounted
// file system: it might never answer, and whoever unmounts it at this moment would find it busy.
namespace croft::disk {

struct Mount {
    int id = 0;       // as statx() tells it of the files there
    dev_t device = 0; // the file system's own, which stat() tells of most
    std::string point;
    std::string type;
    std::string source;
};

// A later one lies over an earlier one of the same point.
std::vector<Mount> read_mounts();

// The mount that a path leads into, judged by its words alone; it has no links in it. Null if there
// is none.
const Mount* mount_of(const std::vector<Mount>& mounts, const std::string& path);

// The mount that an open file is on. Null if it isn't among them.
const Mount* mount_of(const std::vector<Mount>& mounts, int descriptor);

} // namespace croft::disk
