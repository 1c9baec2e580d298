// SPDX-License-Identifier: Apache-2.0
#include "disk/holders.hpp"

#include "disk/mount_list.hpp"

#include <algorithm>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <functional>
#include <optional>
#include <sstream>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace croft::disk {

namespace {

namespace fs = std::filesystem;

// Calls visit(path) for each entry of a folder until it answers true; what vanishes or may not be
// seen is passed over.
template <class Visit>
bool any_entry(const fs::path& folder, Visit&& visit) {
    std::error_code error;
    fs::directory_iterator entry{folder, error};
    for (; !error && entry != fs::directory_iterator{}; entry.increment(error)) {
        if (visit(entry->path()))
            return true;
    }
    return false;
}

std::string line_of(const fs::path& file) {
    std::string line;
    std::getline(std::ifstream{file}, line);
    return line;
}

// The processes there are until visit(folder) answers true.
pid_t find_process(const std::function<bool(const fs::path&)>& visit) {
    pid_t found = 0;
    any_entry("/proc", [&](const fs::path& folder) {
        const std::string name = folder.filename();
        if (!std::ranges::all_of(name, [](char c) { return c >= '0' && c <= '9'; }))
            return false;
        const auto process = static_cast<pid_t>(std::strtol(name.c_str(), nullptr, 10));
        if (!visit(folder))
            return false;
        found = process;
        return true;
    });
    return found;
}

bool is_file(const fs::path& path, dev_t device, ino_t inode) {
    struct stat status {};
    return stat(path.c_str(), &status) == 0 && status.st_dev == device && status.st_ino == inode;
}

bool is_on(const fs::path& path, dev_t device) {
    struct stat status {};
    return stat(path.c_str(), &status) == 0 && status.st_dev == device;
}

std::string mount_point_of(dev_t device) {
    const auto mounts = read_mounts();
    const auto found = std::ranges::find(mounts, device, &Mount::device);
    return found == mounts.end() ? std::string{} : found->point;
}

dev_t device_of(const fs::path& block) {
    unsigned major_number = 0;
    unsigned minor_number = 0;
    char colon = 0;
    std::istringstream{line_of(block / "dev")} >> major_number >> colon >> minor_number;
    return makedev(major_number, minor_number);
}

struct LoopDevice {
    fs::path block; // its folder in /sys
    std::string backing;
};

std::vector<LoopDevice> loop_devices() {
    std::vector<LoopDevice> found;
    any_entry("/sys/block", [&](const fs::path& block) {
        std::string backing = line_of(block / "loop/backing_file");
        if (!backing.empty())
            found.push_back({block, std::move(backing)});
        return false;
    });
    return found;
}

std::string node_of(const LoopDevice& loop) {
    return "/dev/" + loop.block.filename().string();
}

} // namespace

std::string describe_process(pid_t process) {
    std::ifstream file{fmt::format("/proc/{}/cmdline", process)};
    std::string words{std::istreambuf_iterator<char>{file}, {}};
    while (!words.empty() && words.back() == '\0')
        words.pop_back();
    if (const auto name = words.substr(0, words.find('\0')); name.find('/') != std::string::npos)
        words.erase(0, name.rfind('/') + 1);
    std::ranges::replace_if(
        words, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, ' ');
    constexpr std::size_t shown = 120;
    if (words.size() > shown)
        words = words.substr(0, shown) + "…";
    if (words.empty()) // a thread of the kernel, or one that is ending
        words = line_of(fmt::format("/proc/{}/comm", process));
    return fmt::format("process {}{}", process, words.empty() ? "" : " (" + words + ")");
}

// Not by /proc/locks: of a lock that belongs to an open file, as QEMU takes it, that tells no
// process, and of one that was handed on by fork() the wrong one.
std::string lock_holder(dev_t device, ino_t inode, int descriptor) {
    const fs::path asking = fmt::format("/proc/{}/fd/{}", getpid(), descriptor);
    const pid_t holder = find_process([&](const fs::path& process) {
        return any_entry(process / "fd", [&](const fs::path& open_file) {
            if (open_file == asking || !is_file(open_file, device, inode))
                return false;
            std::ifstream info{process / "fdinfo" / open_file.filename()};
            for (std::string line; std::getline(info, line);) {
                if (line.starts_with("lock:"))
                    return true;
            }
            return false;
        });
    });
    return holder != 0 ? describe_process(holder) : std::string{};
}

std::string mount_user(dev_t device) {
    const fs::path asking = fmt::format("/proc/{}", getpid());
    const pid_t user = find_process([&](const fs::path& process) {
        if (process == asking)
            return false;
        return is_on(process / "cwd", device) || is_on(process / "root", device) ||
            any_entry(process / "fd",
                [&](const fs::path& descriptor) { return is_on(descriptor, device); }) ||
            any_entry(process / "map_files",
                [&](const fs::path& mapping) { return is_on(mapping, device); });
    });
    return user != 0 ? describe_process(user) : std::string{};
}

std::string loop_device_over(int descriptor, bool writing_only) {
    struct stat status {};
    if (fstat(descriptor, &status) != 0)
        return {};
    const auto loops = loop_devices();
    const auto mounts = read_mounts(); // after them, so that it has those that their files are on
    const Mount* const own = mount_of(mounts, descriptor);
    for (const LoopDevice& loop : loops) {
        const Mount* const there = mount_of(mounts, loop.backing);
        if (own != nullptr && there != nullptr && own->device != there->device)
            continue;
        if (!is_file(loop.backing, status.st_dev, status.st_ino) ||
            (writing_only && line_of(loop.block / "ro") != "0"))
            continue;
        const std::string point = mount_point_of(device_of(loop.block));
        return "loop device " + node_of(loop) + (point.empty() ? "" : ", mounted on " + point);
    }
    return {};
}

std::string loop_device_on(dev_t device, std::span<const std::string> except) {
    const auto loops = loop_devices();
    const auto mounts = read_mounts();
    for (const LoopDevice& loop : loops) {
        const Mount* const there = mount_of(mounts, loop.backing);
        if (there != nullptr && there->device == device &&
            std::ranges::find(except, node_of(loop)) == except.end())
            return "loop device " + node_of(loop);
    }
    return {};
}

std::string device_user(dev_t device) {
    const fs::path asking = fmt::format("/proc/{}", getpid());
    const pid_t user = find_process([&](const fs::path& process) {
        return process != asking && any_entry(process / "fd", [&](const fs::path& descriptor) {
            struct stat status {};
            return stat(descriptor.c_str(), &status) == 0 && S_ISBLK(status.st_mode) &&
                status.st_rdev == device;
        });
    });
    return user != 0 ? describe_process(user) : std::string{};
}

std::string device_claimant(dev_t device) {
    const std::string point = mount_point_of(device);
    if (!point.empty())
        return "the file system mounted on " + point;
    std::string found;
    any_entry(fmt::format("/sys/dev/block/{}:{}/holders", major(device), minor(device)),
        [&](const fs::path& holder) {
            found = "/dev/" + holder.filename().string();
            return true;
        });
    return found;
}

} // namespace croft::disk
