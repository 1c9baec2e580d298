// SPDX-License-Identifier: Apache-2.0
#include "disk/mount/attach.hpp"

#include "disk/file_store.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <fmt/format.h>
#include <fstream>
#include <poll.h>
#include <sched.h>
#include <span>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace croft::disk::mount {

namespace {

struct Driver {
    std::string_view type;        // as a probe names it
    std::string_view kernel_type; // as mount(2) does
    std::string_view options;
    std::string_view read_only_options; // besides, when the journal can't be replayed
    // A program for kernels without the type, with its words before the options.
    std::string_view helper;
    std::string_view stay; // the option that keeps it in the foreground
    std::string_view read_only;
    std::string_view read_write; // empty: not to be trusted with it
    // What it needs to be told to name the device in the list of mounts.
    std::string_view source;
};

// Disks are copied a lot, and XFS refuses a second one of the same UUID unless told not to.
constexpr std::array drivers = std::to_array<Driver>({
    {"ext2", "ext4", "", "noload", "", "", "", "", ""},
    {"ext3", "ext4", "", "noload", "", "", "", "", ""},
    {"ext4", "ext4", "", "noload", "", "", "", "", ""},
    {"xfs", "xfs", "nouuid", "nouuid,norecovery", "", "", "", "", ""},
    {"btrfs", "btrfs", "", "rescue=nologreplay", "", "", "", "", ""},
    {"ntfs", "ntfs3", "", "", "ntfs-3g", "no_detach", "ro", "rw", ""},
    // What fusefat 0.1a has written, mtools and fsck call damaged.
    {"vfat", "vfat", "", "", "fusefat", "-f", "ro,nonempty", "", "fsname="},
    {"exfat", "exfat", "", "", "mount.exfat-fuse", "-d", "ro,nonempty", "rw,nonempty", ""},
});

Driver driver_of(const std::string& type) {
    const auto* found = std::ranges::find(drivers, type, &Driver::type);
    return found != drivers.end() ? *found : Driver{type, type, "", "", "", "", "", "", ""};
}

bool kernel_knows(std::string_view type) {
    std::ifstream file{"/proc/filesystems"};
    for (std::string line; std::getline(file, line);) {
        if (line.substr(line.find('\t') + 1) == type)
            return true;
    }
    return false;
}

std::string program_path(std::string_view name) {
    if (name.empty())
        return {};
    for (const std::string_view folder : {"/usr/bin/", "/usr/sbin/", "/bin/", "/sbin/"}) {
        std::string path = std::string{folder} + std::string{name};
        if (access(path.c_str(), X_OK) == 0)
            return path;
    }
    return {};
}

Error error_of(const std::string& device, const std::string& type, int error) {
    Error made = Error::system(device, "mount it as " + type, error);
    if (error == EINVAL || error == EUCLEAN)
        made.what += "; the kernel's log says what is wrong with it";
    return made;
}

// The words that a failed helper has left; they are for people, and may be many lines.
std::string said(int descriptor) {
    std::array<char, 2048> bytes{};
    const ssize_t got = pread(descriptor, bytes.data(), bytes.size(), 0);
    std::string words(bytes.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    while (!words.empty() && words.back() == '\n')
        words.pop_back();
    std::ranges::replace(words, '\n', ' ');
    return words;
}

class Helper {
public:
    Helper(const Driver& driver, std::string program, std::string device, std::string directory,
        const AttachOptions& options)
        : driver_{driver},
          program_{std::move(program)},
          device_{std::move(device)},
          directory_{std::move(directory)},
          options_{options},
          output_{memfd_create("output", MFD_CLOEXEC)} {}

    // Returns when it serves the file system.
    Result<pid_t> start() {
        const Descriptor mounts{::open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC)};
        const pid_t caller = getpid();
        const pid_t process = fork();
        if (process < 0)
            return std::unexpected(Error::system(program_, "start", errno));
        if (process == 0)
            run(caller);
        const Descriptor ended{static_cast<int>(syscall(SYS_pidfd_open, process, 0))};
        while (top_mount(directory_).source != device_) {
            // The kernel tells of each change of the mounts, and of the process's end.
            std::array<pollfd, 2> events{{{mounts.get(), POLLPRI, 0}, {ended.get(), POLLIN, 0}}};
            if (poll(events.data(), events.size(), -1) < 0 && options_.stopped &&
                options_.stopped()) {
                kill(process, SIGTERM);
                waitpid(process, nullptr, 0);
                return std::unexpected(Error::of(ErrorCode::interrupted, device_, "interrupted"));
            }
            if ((events[1].revents & POLLIN) != 0) {
                waitpid(process, nullptr, 0);
                if (top_mount(directory_).source == device_)
                    break;
                return std::unexpected(
                    Error::of(ErrorCode::io, device_, program_ + " ended: " + said(output_.get())));
            }
        }
        if (!options_.private_folder.empty())
            leave_to_caller(process);
        return process;
    }

private:
    // What the helper has mounted in its own name space has come into ours.
    void leave_to_caller(pid_t helper) const {
        const std::string& folder = options_.private_folder;
        const pid_t process = fork();
        if (process == 0) {
            const Descriptor space{
                ::open(fmt::format("/proc/{}/ns/mnt", helper).c_str(), O_RDONLY | O_CLOEXEC)};
            const bool done = space.valid() && setns(space.get(), CLONE_NEWNS) == 0 &&
                ::mount("", folder.c_str(), nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                umount2(folder.c_str(), MNT_DETACH) == 0;
            _exit(done ? 0 : 1);
        }
        while (process > 0 && waitpid(process, nullptr, 0) < 0 && errno == EINTR) {
        }
    }

    [[noreturn]] void run(pid_t caller) {
        setsid();
        if (!options_.private_folder.empty()) {
            prctl(PR_SET_PDEATHSIG, SIGTERM);
            if (getppid() != caller || unshare(CLONE_NEWNS) != 0)
                _exit(1);
        }
        for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE})
            ::signal(signal, SIG_DFL);
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, nullptr);
        const int null = ::open("/dev/null", O_RDWR);
        dup2(null, STDIN_FILENO);
        dup2(output_.get(), STDOUT_FILENO);
        dup2(output_.get(), STDERR_FILENO);
        close_range(3, ~0U, 0);
        std::string mode{options_.write ? driver_.read_write : driver_.read_only};
        mode += ",nosuid,nodev,allow_other";
        if (!driver_.source.empty())
            mode += "," + std::string{driver_.source} + device_;
        std::string stay{driver_.stay};
        const bool is_option = !stay.starts_with('-');
        if (is_option)
            mode += "," + stay;
        std::vector<const char*> words{program_.c_str()};
        if (!is_option)
            words.push_back(stay.c_str());
        words.insert(
            words.end(), {"-o", mode.c_str(), device_.c_str(), directory_.c_str(), nullptr});
        execv(program_.c_str(), const_cast<char* const*>(words.data()));
        _exit(127);
    }

    Driver driver_;
    std::string program_;
    std::string device_;
    std::string directory_;
    const AttachOptions& options_;
    Descriptor output_;
};

} // namespace

std::vector<Mount> mounts_on(const std::string& directory) {
    auto mounts = read_mounts();
    std::erase_if(mounts, [&](const Mount& it) { return it.point != directory; });
    return mounts;
}

Mount top_mount(const std::string& directory) {
    auto mounts = mounts_on(directory);
    return mounts.empty() ? Mount{} : std::move(mounts.back());
}

std::string driver_for(const std::string& type) {
    const Driver driver = driver_of(type);
    if (kernel_knows(driver.kernel_type))
        return std::string{driver.kernel_type};
    return program_path(driver.helper).empty() ? std::string{} : std::string{driver.helper};
}

Result<Attached> attach(const std::string& device, const std::string& type,
    const std::string& directory, const AttachOptions& options) {
    const Driver driver = driver_of(type);
    const unsigned long flags =
        MS_NOSUID | MS_NODEV | (options.write ? 0UL : static_cast<unsigned long>(MS_RDONLY));
    const std::string kernel_type{driver.kernel_type};
    const auto by_kernel = [&](std::string_view words) {
        return ::mount(device.c_str(), directory.c_str(), kernel_type.c_str(), flags,
                   std::string{words}.c_str()) == 0
            ? 0
            : errno;
    };
    int error = by_kernel(driver.options);
    if (error == 0)
        return Attached{kernel_type};
    // On a device that may not be written, a journal that holds changes can't be replayed.
    if (!options.write && (error == EROFS || error == EACCES || error == EINVAL) &&
        !driver.read_only_options.empty()) {
        if (by_kernel(driver.read_only_options) == 0)
            return Attached{.type = kernel_type, .no_replay = true};
    }
    if (error != ENODEV)
        return std::unexpected(error_of(device, kernel_type, error));
    const std::string program = program_path(driver.helper);
    if (program.empty())
        return std::unexpected(Error::of(ErrorCode::unsupported, device,
            "the kernel does not know " + kernel_type +
                (driver.helper.empty() ? std::string{}
                                       : ", and found no " + std::string{driver.helper})));
    if (options.write && driver.read_write.empty())
        return std::unexpected(Error::of(ErrorCode::unsupported, device,
            "the kernel does not know " + kernel_type + ", and " + std::string{driver.helper} +
                " is only used for reading"));
    auto process = Helper{driver, program, device, directory, options}.start();
    if (!process)
        return std::unexpected(std::move(process).error());
    return Attached{std::string{driver.helper}, *process};
}

} // namespace croft::disk::mount
