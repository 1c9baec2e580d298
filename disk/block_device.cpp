// SPDX-License-Identifier: Apache-2.0
#include "disk/block_device.hpp"

#include "disk/file_identity.hpp"

#include <array>
#include <charconv>
#include <fstream>
#include <sys/stat.h>
#include <sys/sysmacros.h>

namespace croft::disk {

namespace {

std::string folder_of(dev_t device) {
    return "/sys/dev/block/" + std::to_string(major(device)) + ":" + std::to_string(minor(device)) +
        "/";
}

// The line that an attribute has; empty without one.
std::string attribute(const std::string& path) {
    std::ifstream file{path};
    std::string line;
    std::getline(file, line);
    return line;
}

std::string identity_in(const std::string& folder) {
    for (const char* name : {"wwid", "device/wwid", "dm/uuid", "md/uuid", "serial"}) {
        if (std::string found = attribute(folder + name); !found.empty())
            return found;
    }
    const std::string backing = attribute(folder + "loop/backing_file");
    return backing.empty() ? std::string{} : file_identity(backing);
}

} // namespace

std::uint64_t queue_limit(dev_t device, const std::string& name) {
    std::string text = attribute(folder_of(device) + "queue/" + name);
    if (text.empty())
        text = attribute(folder_of(device) + "../queue/" + name);
    std::uint64_t limit = 0;
    std::from_chars(text.data(), text.data() + text.size(), limit);
    return limit;
}

std::string device_identity(dev_t device) {
    const std::string folder = folder_of(device);
    const std::string partition = attribute(folder + "partition");
    if (partition.empty())
        return identity_in(folder);
    const std::string disk = identity_in(folder + "../");
    return disk.empty() ? disk : disk + " partition " + partition;
}

} // namespace croft::disk
