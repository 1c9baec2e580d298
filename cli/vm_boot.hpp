// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/settings/settings.hpp"

#include <string>

namespace croft::cli {

// What a VM boots, as long as no firmware finds it: files that this process has open, and so has a
// worker that it starts.
class GuestBoot {
public:
    // Copies kernel and initial RAM disk out of the disk's file systems, which are mounted where
    // nobody else sees them. Errors: VmError if there are none, or they can't be read.
    static GuestBoot find(const worker::DriveSettings& disk);

    GuestBoot(GuestBoot&& other) noexcept;
    GuestBoot& operator=(GuestBoot&& other) = delete;
    GuestBoot(const GuestBoot&) = delete;
    GuestBoot& operator=(const GuestBoot&) = delete;
    ~GuestBoot();

    // Paths that mean these files to a worker that this process starts; "" for none.
    std::string kernel() const;
    std::string initial_ram_disk() const;
    const std::string& command_line() const { return command_line_; }

private:
    GuestBoot();

    int kernel_;
    int initial_ram_disk_;
    std::string command_line_;
};

// For a kernel that was given: console, and the root if the disk has one Linux file system only.
std::string default_command_line(const worker::DriveSettings& disk);

} // namespace croft::cli
