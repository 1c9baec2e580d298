// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace croft::disk {

// Which file it is, however it is named and wherever its file system is mounted: the file system's
// id, the inode, and when that was made, since numbers of inodes are used again. A copy is another
// file. Empty if the file can't be asked. Device numbers wouldn't do: they follow the order in
// which the kernel finds devices.
std::string file_identity(const std::string& path);
std::string file_identity(int descriptor);

} // namespace croft::disk
