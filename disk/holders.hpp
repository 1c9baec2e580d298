// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <sys/types.h>

// Who has something open, for messages that say why a disk can't be had. All of it is as far as
// /proc and /sys tell the caller; an empty answer means that they don't.
namespace croft::disk {

// "process 4711 (croft disk mount disk.vhdx /mnt)"
std::string describe_process(pid_t process);

// The process that has locked a file, other than by our own `descriptor`.
std::string lock_holder(dev_t device, ino_t inode, int descriptor);

// A process that uses a file of a mounted file system, or works in one of its folders.
std::string mount_user(dev_t device);

// The loop device over an open file, and where it is mounted: "loop device /dev/loop0, mounted on
// /mnt".
std::string loop_device_over(int descriptor, bool writing_only);

// The loop device over one of the files of a mounted file system, other than `except`. `device` is
// the file system's own.
std::string loop_device_on(dev_t device, std::span<const std::string> except);

// A process that has a block device open.
std::string device_user(dev_t device);

// What claims a block device: where it is mounted, or the device that is made of it.
std::string device_claimant(dev_t device);

} // namespace croft::disk
