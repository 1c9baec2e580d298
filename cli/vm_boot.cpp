// SPDX-License-Identifier: Apache-2.0
#include "cli/vm_boot.hpp"

#include "cli/output.hpp"
#include "cli/vm_client.hpp"
#include "cli/vm_guest_files.hpp"
#include "disk/mount/contents.hpp"
#include "disk/mount/private_mount.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <optional>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace croft::cli {

namespace {

namespace mount = disk::mount;
using nlohmann::json;

constexpr const char* console = "console=ttyS0";

std::optional<disk::Format> format_of(const worker::DriveSettings& drive) {
    if (drive.format == "raw")
        return disk::Format::raw;
    if (drive.format == "vhd")
        return disk::Format::vhd;
    if (drive.format == "vhdx")
        return disk::Format::vhdx;
    return std::nullopt;
}

bool can_be_linux(const mount::Volume& volume) {
    constexpr std::array types = {"ext2", "ext3", "ext4", "xfs", "btrfs"};
    return volume.mountable() && std::ranges::find(types, volume.type()) != types.end();
}

std::string command_line_for(const mount::Volume& root) {
    return fmt::format("root=UUID={} ro {}", root.file_system->id, console);
}

mount::DiskContents contents_of(const worker::DriveSettings& drive) {
    auto contents = mount::read_contents(drive.path, format_of(drive));
    if (!contents)
        throw VmError(contents.error().text());
    return *std::move(contents);
}

// A file in memory, which a worker inherits.
int memory_file(const char* name) {
    const int file = memfd_create(name, 0);
    if (file < 0)
        throw VmError(fmt::format("{}: {}", name, std::strerror(errno)));
    return file;
}

std::string path_of(int file) {
    struct stat status {};
    if (file < 0 || fstat(file, &status) != 0 || status.st_size == 0)
        return {};
    return fmt::format("/proc/self/fd/{}", file);
}

// What one file system has for a boot. In a process of its own: the mount is its alone.
json inspect(const worker::DriveSettings& drive, unsigned partition, int kernel, int ram_disk) {
    mount::PrivateOptions options{.format = format_of(drive), .stopped = [] {
                                      return interrupted.load();
                                  }};
    if (partition != 0)
        options.partition = partition;
    auto mounted = mount::PrivateMount::create(drive.path, options);
    if (!mounted)
        return {{"error", mounted.error().text()}};
    json found = json::object();
    {
        const GuestFiles files{(*mounted)->root()};
        found["system"] = files.has("etc/os-release") || files.has("usr/lib/os-release");
        found["kernel"] = false;
        if (const auto boot = files.find_kernel(); boot && kernel >= 0)
            found["kernel"] = files.copy(boot->kernel, kernel) &&
                (boot->ram_disk.empty() || files.copy(boot->ram_disk, ram_disk));
    }
    if (const auto finished = (*mounted)->finish(); !finished)
        found["error"] = finished.error().text();
    return found;
}

// The same in another process.
json inspect_apart(
    const worker::DriveSettings& drive, unsigned partition, int kernel, int ram_disk) {
    const int answer = memory_file("answer");
    const pid_t process = fork();
    if (process == 0) {
        const std::string text = inspect(drive, partition, kernel, ram_disk)
                                     .dump(-1, ' ', false, json::error_handler_t::replace);
        const bool written =
            write(answer, text.data(), text.size()) == static_cast<ssize_t>(text.size());
        _exit(written ? 0 : 1);
    }
    while (process > 0 && waitpid(process, nullptr, 0) < 0 && errno == EINTR) {
    }
    std::array<char, 65536> text;
    const ssize_t size = pread(answer, text.data(), text.size(), 0);
    close(answer);
    json found = json::parse(text.data(), text.data() + std::max<ssize_t>(size, 0), nullptr, false);
    if (!found.is_object())
        throw VmError(fmt::format("{}: the process that looked for its kernel ended early; give "
                                  "one as --kernel",
            drive.path));
    return found;
}

} // namespace

GuestBoot::GuestBoot()
    : kernel_{memory_file("kernel")},
      initial_ram_disk_{memory_file("initial RAM disk")} {}

GuestBoot::GuestBoot(GuestBoot&& other) noexcept
    : kernel_{std::exchange(other.kernel_, -1)},
      initial_ram_disk_{std::exchange(other.initial_ram_disk_, -1)},
      command_line_{std::move(other.command_line_)} {}

GuestBoot::~GuestBoot() {
    for (const int file : {kernel_, initial_ram_disk_}) {
        if (file >= 0)
            close(file);
    }
}

std::string GuestBoot::kernel() const {
    return path_of(kernel_);
}

std::string GuestBoot::initial_ram_disk() const {
    return path_of(initial_ram_disk_);
}

GuestBoot GuestBoot::find(const worker::DriveSettings& disk) {
    GuestBoot boot;
    std::string seen;
    std::string problem;
    bool has_kernel = false;
    for (const mount::Volume& volume : contents_of(disk).volumes) {
        if (!can_be_linux(volume))
            continue;
        const json found = inspect_apart(
            disk, volume.partition.number, has_kernel ? -1 : boot.kernel_, boot.initial_ram_disk_);
        if (found.contains("error"))
            problem = found.at("error");
        has_kernel = has_kernel || found.value("kernel", false);
        if (boot.command_line_.empty() && found.value("system", false))
            boot.command_line_ = command_line_for(volume);
        seen +=
            fmt::format("{}{} ({})", seen.empty() ? "" : ", ", volume.raw_name(), volume.type());
    }
    if (!has_kernel && !problem.empty())
        throw VmError(
            fmt::format("{}; until its kernel can be read, give one as --kernel", problem));
    if (!has_kernel)
        throw VmError(fmt::format("{}: found no Linux kernel in {}, expected /vmlinuz or "
                                  "/boot/vmlinuz-*; give one as --kernel",
            disk.path, seen.empty() ? "it, which has no file system of Linux" : seen));
    if (boot.command_line_.empty())
        throw VmError(fmt::format("{}: found a kernel, but in {} no system for it to start; give "
                                  "--kernel, --initrd and --cmdline",
            disk.path, seen));
    return boot;
}

std::string default_command_line(const worker::DriveSettings& disk) {
    const mount::DiskContents contents = contents_of(disk);
    if (std::ranges::count_if(contents.volumes, can_be_linux) != 1)
        return console;
    return command_line_for(*std::ranges::find_if(contents.volumes, can_be_linux));
}

} // namespace croft::cli
