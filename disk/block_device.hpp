// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <sys/types.h>

// What the kernel tells of a block device beside its contents (/sys/dev/block).
namespace croft::disk {

// A limit of its queue, as "discard_max_bytes", in bytes; 0 if it has none. A partition has its
// disk's.
std::uint64_t queue_limit(dev_t device, const std::string& name);

// Which device it is, by what it or its driver says, wherever it is found: its world-wide name or
// serial number, the UUID of a mapped device, the file behind a loop device. Empty if nothing says.
std::string device_identity(dev_t device);

} // namespace croft::disk
