// SPDX-License-Identifier: Apache-2.0
#include "cli/vm_guest_files.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <memory>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace croft::cli {

namespace {

constexpr std::string_view kernel_prefix = "vmlinuz-";

// Far above any that boots; what is copied is in memory.
constexpr off_t largest = off_t{1} << 30;

} // namespace

int GuestFiles::open(const std::string& path, int flags) const {
    open_how how{};
    how.flags = static_cast<unsigned>(flags | O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    return static_cast<int>(syscall(SYS_openat2, root_, path.c_str(), &how, sizeof how));
}

bool GuestFiles::has(const std::string& path) const {
    const int file = open(path, 0);
    struct stat status {};
    const bool found = file >= 0 && fstat(file, &status) == 0 && S_ISREG(status.st_mode);
    if (file >= 0)
        close(file);
    return found;
}

bool GuestFiles::copy(const std::string& path, int target) const {
    const int file = open(path, 0);
    struct stat status {};
    bool done = file >= 0 && fstat(file, &status) == 0 && S_ISREG(status.st_mode) &&
        status.st_size <= largest;
    for (off_t left = done ? status.st_size : 0; done && left > 0;) {
        std::array<char, 65536> buffer;
        const ssize_t got = read(file, buffer.data(), buffer.size());
        done = got > 0 && write(target, buffer.data(), static_cast<std::size_t>(got)) == got;
        left -= got;
    }
    if (file >= 0)
        close(file);
    return done;
}

// Names in a folder that begin as a kernel's does, the newest version first.
std::vector<std::string> GuestFiles::kernels_in(const std::string& folder) const {
    std::vector<std::string> names;
    const int directory = open(folder, O_DIRECTORY);
    const std::unique_ptr<DIR, int (*)(DIR*)> entries{
        directory >= 0 ? fdopendir(directory) : nullptr, closedir};
    while (entries) {
        const dirent* const entry = readdir(entries.get());
        if (entry == nullptr)
            break;
        if (std::string_view{entry->d_name}.starts_with(kernel_prefix))
            names.emplace_back(entry->d_name);
    }
    std::ranges::sort(names, [](const std::string& one, const std::string& other) {
        return strverscmp(one.c_str(), other.c_str()) > 0;
    });
    return names;
}

std::optional<GuestFiles::Kernel> GuestFiles::find_kernel() const {
    // Debian's and Ubuntu's links, which follow what is installed and removed.
    for (const std::string folder : {"", "boot/"}) {
        if (has(folder + "vmlinuz"))
            return Kernel{folder + "vmlinuz",
                has(folder + "initrd.img") ? folder + "initrd.img" : std::string{}};
    }
    // A system's /boot, or a partition that is one.
    for (const std::string folder : {"boot/", "./"}) {
        for (const std::string& name : kernels_in(folder)) {
            const std::string version = name.substr(kernel_prefix.size());
            for (const std::string& ram_disk :
                {"initrd.img-" + version, "initramfs-" + version + ".img", "initrd-" + version}) {
                if (has(folder + ram_disk))
                    return Kernel{folder + name, folder + ram_disk};
            }
            if (has(folder + name))
                return Kernel{folder + name, {}};
        }
    }
    return std::nullopt;
}

} // namespace croft::cli
