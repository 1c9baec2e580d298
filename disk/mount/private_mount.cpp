// SPDX-License-Identifier: Apache-2.0
#include "disk/mount/private_mount.hpp"

#include "disk/mount/attach.hpp"
#include "disk/mount/loop_device.hpp"
#include "disk/mount/mount.hpp"
#include "disk/mount/presenter.hpp"

#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace croft::disk::mount {

namespace {

// An empty folder in which the name space has a file system of its own, with room for both mounts.
// Nobody has files here that could be meant by a path.
constexpr const char* base = "/run/croft/private";

std::string raw_directory() {
    return std::string{base} + "/raw";
}
std::string file_system_directory() {
    return std::string{base} + "/files";
}

Result<void> enter_name_space(const std::string& file) {
    std::error_code error;
    std::filesystem::create_directories(base, error);
    if (error)
        return std::unexpected(Error::system(base, "make", error.value()));
    if (unshare(CLONE_NEWNS) != 0)
        return std::unexpected(
            errno == EPERM ? needs_root(file) : Error::system(file, "make a name space", errno));
    if (::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("croft", base, "tmpfs", MS_NOSUID | MS_NODEV, "size=64k,mode=0700") != 0 ||
        ::mount("", base, nullptr, MS_SHARED, nullptr) != 0 || // with a helper's name space
        mkdir(raw_directory().c_str(), 0700) != 0 ||
        mkdir(file_system_directory().c_str(), 0700) != 0)
        return std::unexpected(Error::system(base, "prepare", errno));
    return {};
}

} // namespace

// What has to be taken apart, as far as it was made.
class PrivateMount::Parts {
public:
    explicit Parts(Presenter presenter) : presenter_{std::move(presenter)} {}

    Result<void> make(
        const DiskContents& contents, const Volume& volume, const PrivateOptions& options) {
        CROFT_DISK_TRY(enter_name_space(presenter_.record().file));
        CROFT_DISK_TRY(presenter_.mount_on(raw_directory()));
        raw_mounted_ = true;
        const auto loop = LoopDevice::create(
            raw_directory() + "/" + volume.raw_name(), options.write, contents.sector_size);
        if (!loop)
            return std::unexpected(loop.error());
        const auto attached = attach(loop->path(), volume.type(), file_system_directory(),
            {.write = options.write, .private_folder = base, .stopped = options.stopped});
        if (!attached)
            return std::unexpected(attached.error());
        attached_ = true;
        helper_ = attached->helper;
        return {};
    }

    Result<void> take_apart() {
        Result<void> outcome;
        if (attached_) {
            attached_ = false;
            if (umount2(file_system_directory().c_str(), 0) != 0) {
                outcome = std::unexpected(
                    Error::system(presenter_.record().file, "unmount its file system", errno));
                umount2(file_system_directory().c_str(), MNT_DETACH);
            }
            while (helper_ != 0 && waitpid(helper_, nullptr, 0) < 0 && errno == EINTR) {
            }
        }
        // The loop device may be about to let go of it.
        if (raw_mounted_)
            umount2(raw_directory().c_str(), MNT_DETACH);
        raw_mounted_ = false;
        presenter_.leave();
        auto closed = closing();
        return outcome ? closed : outcome;
    }

private:
    Result<void> closing() const {
        const Record& record = presenter_.record();
        auto left = wait_for_end(record);
        // A second wish to stop does not make the disk close any faster.
        while (!left && left.error().code == ErrorCode::interrupted)
            left = wait_for_end(record);
        if (!left)
            return std::unexpected(left.error());
        const std::optional<Record>& last = *left;
        if (!last)
            return {};
        forget(record);
        return std::unexpected(Error::of(ErrorCode::io, record.file,
            last->error.empty()
                ? fmt::format("process {} that served it ended early", record.process)
                : fmt::format("a write failed ({}), and what depends on it is lost", last->error)));
    }

    Presenter presenter_;
    pid_t helper_ = 0;
    bool raw_mounted_ = false;
    bool attached_ = false;
};

PrivateMount::PrivateMount(std::unique_ptr<Parts> parts) : parts_{std::move(parts)} {}

PrivateMount::~PrivateMount() {
    root_ = Descriptor{};
    if (parts_)
        static_cast<void>(parts_->take_apart());
}

Result<std::unique_ptr<PrivateMount>> PrivateMount::create(
    const std::string& file, const PrivateOptions& options) {
    if (geteuid() != 0)
        return std::unexpected(needs_root(file));
    const auto contents = read_contents(file, options.format);
    if (!contents)
        return std::unexpected(contents.error());
    const auto volume = contents->choose(file, options.partition);
    if (!volume)
        return std::unexpected(volume.error());
    Layout layout;
    layout.files = contents->raw_files();
    auto presenter = Presenter::start({.file = real_path(file),
                                          .directory = {},
                                          .read_write = options.write,
                                          .raw = true,
                                          .format = options.format},
        layout);
    if (!presenter)
        return std::unexpected(std::move(presenter).error());
    std::unique_ptr<PrivateMount> made{
        new PrivateMount{std::make_unique<Parts>(*std::move(presenter))}};
    CROFT_DISK_TRY(made->parts_->make(*contents, *volume, options));
    made->root_ =
        Descriptor{::open(file_system_directory().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!made->root_.valid())
        return std::unexpected(Error::system(file, "open its file system", errno));
    return made;
}

Result<void> PrivateMount::finish() {
    Result<void> outcome;
    if (syncfs(root_.get()) != 0)
        outcome = std::unexpected(Error::system("the disk's file system", "flush", errno));
    root_ = Descriptor{};
    auto ended = std::exchange(parts_, nullptr)->take_apart();
    return outcome ? ended : outcome;
}

} // namespace croft::disk::mount
