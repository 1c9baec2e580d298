// SPDX-License-Identifier: Apache-2.0
#include "disk/mount/mount.hpp"

#include "disk/holders.hpp"
#include "disk/mount/attach.hpp"
#include "disk/mount/loop_device.hpp"
#include "disk/mount/presenter.hpp"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fmt/format.h>
#include <iterator>
#include <ranges>
#include <sys/stat.h>
#include <unistd.h>

namespace croft::disk::mount {

namespace {

namespace fs = std::filesystem;

// A mount in the making; unless it is kept, it is taken apart again.
class Making {
public:
    Making(Presenter presenter, const DiskContents& contents, const MountOptions& options)
        : presenter_{std::move(presenter)},
          contents_{contents},
          options_{options} {}
    Making(const Making&) = delete;
    Making& operator=(const Making&) = delete;
    ~Making() {
        if (kept_)
            return;
        const Record& record = presenter_.record();
        for (const Attachment& it : std::views::reverse(record.attachments))
            static_cast<void>(unmount_one(it.directory, true));
        if (mounted_)
            static_cast<void>(unmount_one(record.directory, true));
        presenter_.leave();
        if (const auto left = wait_for_end(record); left && *left)
            forget(record);
    }

    Result<void> mount_export() {
        CROFT_DISK_TRY(presenter_.mount_on(presenter_.record().directory));
        mounted_ = true;
        return {};
    }

    Result<void> attach_volume(const Volume& volume, const std::string& on) {
        Record& record = presenter_.record();
        const std::string raw =
            fmt::format("{}/{}/{}", record.directory, raw_folder, volume.raw_name());
        const auto loop = LoopDevice::create(raw, options_.write, contents_.sector_size);
        if (!loop)
            return std::unexpected(loop.error());
        const auto attached = attach(loop->path(), volume.type(), on,
            {.write = options_.write, .stopped = options_.stopped});
        if (!attached)
            return std::unexpected(attached.error());
        record.attachments.push_back({volume.partition.number, attached->type, on, loop->path()});
        CROFT_DISK_TRY(update(record)); // whoever has to take it apart finds all of it there
        if (attached->no_replay)
            notes_.push_back(fmt::format("{}: its journal holds changes; read-only, they are not "
                                         "seen",
                volume.raw_name()));
        return {};
    }

    Mounted keep() {
        kept_ = true;
        presenter_.leave();
        return Mounted{presenter_.record(), notes_};
    }

    std::vector<std::string>& notes() { return notes_; }

private:
    Presenter presenter_;
    const DiskContents& contents_;
    const MountOptions& options_;
    std::vector<std::string> notes_;
    bool mounted_ = false;
    bool kept_ = false;
};

Result<void> check_directory(const std::string& directory) {
    struct stat status {};
    if (stat(directory.c_str(), &status) != 0)
        return std::unexpected(Error::system(directory, "open", errno));
    if (!S_ISDIR(status.st_mode))
        return std::unexpected(Error::of(
            ErrorCode::invalid_argument, directory, "found a file, expected a directory"));
    const Mount top = top_mount(directory);
    if (top.type == fuse_type)
        return std::unexpected(
            Error::of(ErrorCode::in_use, directory, top.source + " is mounted on it"));
    return {};
}

// What is to be seen, and where.
struct Plan {
    Layout layout;
    std::vector<Volume> volumes;
    bool in_folders = false;
};

Result<Plan> make_plan(
    const std::string& file, const DiskContents& contents, const MountOptions& options) {
    Plan plan;
    plan.layout.files = contents.raw_files();
    if (options.raw)
        return plan;
    plan.layout.raw_aside = true;
    plan.in_folders = !options.partition && contents.table.kind != PartitionTable::Kind::none;
    if (!plan.in_folders || std::ranges::none_of(contents.volumes, &Volume::mountable)) {
        auto volume = contents.choose(file, options.partition);
        if (!volume)
            return std::unexpected(std::move(volume).error());
        plan.volumes.push_back(*std::move(volume));
        return plan;
    }
    for (const Volume& volume : contents.volumes) {
        if (!volume.mountable())
            continue;
        plan.volumes.push_back(volume);
        plan.layout.folders.push_back(volume.raw_name());
    }
    return plan;
}

Result<Record> find_record(const std::string& target) {
    const std::string path = real_path(target);
    std::vector<Record> found;
    for (Record& record : read_records()) {
        // One without a directory is a process's own affair, until that is gone.
        const bool is_ours = !record.directory.empty() || !record.alive;
        if (is_ours && (record.directory == path || record.file == path))
            found.push_back(std::move(record));
        else if (std::ranges::any_of(record.attachments,
                     [&path](const Attachment& it) { return it.directory == path; }))
            return std::unexpected(Error::of(ErrorCode::invalid_argument, target,
                "is a part of " + record.directory + ", which is unmounted as a whole"));
    }
    if (found.empty())
        return std::unexpected(Error::of(ErrorCode::not_found, target,
            "no disk is mounted here, nor from this file; croft disk mount lists what is"));
    // Several mounts of a file that is only read.
    if (found.size() > 1)
        return std::unexpected(Error::of(ErrorCode::invalid_argument, target,
            fmt::format("is mounted {} times; say where, on {} or {}", found.size(),
                found[0].directory, found[1].directory)));
    return found.front();
}

Result<void> unmount_ours(const std::string& directory, const std::string& source, bool alive) {
    const auto mounts = mounts_on(directory);
    if (std::ranges::find(mounts, source, &Mount::source) == mounts.end())
        return {}; // whoever unmounted by hand was before us
    if (mounts.back().source != source)
        return std::unexpected(Error::of(ErrorCode::in_use, directory,
            fmt::format(
                "found {} mounted over {}; unmount that first", mounts.back().source, source)));
    auto outcome = unmount_one(directory);
    if (outcome || top_mount(directory).source != source)
        return {};
    // With nobody behind it, nothing can be saved by waiting.
    return alive ? outcome : unmount_one(directory, true);
}

// The raw files beside the file systems: while somebody uses one, the disk can't be closed.
Result<void> check_unused(const Record& record) {
    const Mount top = top_mount(record.directory);
    if (top.type != fuse_type || top.source != record.file)
        return {}; // a file system lies over them
    std::vector<std::string> ours;
    std::ranges::transform(record.attachments, std::back_inserter(ours),
        [](const Attachment& it) { return it.device; });
    std::string user = mount_user(top.device);
    if (user.empty())
        user = loop_device_on(top.device, ours);
    if (user.empty())
        return {};
    return std::unexpected(Error::of(ErrorCode::in_use, record.directory, "in use by " + user));
}

// A loop device lets go of its raw file when the last one who has the device open closes it, and
// that may be somebody who just looks at it, or a helper that is ending.
void tell_who_is_late(const Record& record, const UnmountOptions& options) {
    for (const Attachment& it : record.attachments) {
        struct stat status {};
        if (!options.note || stat(it.device.c_str(), &status) != 0)
            continue;
        const std::string user = device_user(status.st_rdev);
        if (!user.empty())
            options.note(
                fmt::format("{}: waiting for {}, which has {} open", record.file, user, it.device));
    }
}

// Brings to the disk what is only in memory yet, while somebody can still do something about it.
Result<void> write_out(const Record& record) {
    std::string lost;
    for (const Attachment& it : record.attachments) {
        if (top_mount(it.directory).source != it.device)
            continue;
        if (const auto flushed = flush_file_system(it.directory); !flushed && lost.empty())
            lost = flushed.error().text();
    }
    // The kernel tells of each failure once, and its file system may have told somebody else.
    if (const auto last = read_record(record.process); last && !last->error.empty())
        lost = last->error;
    if (lost.empty())
        return {};
    return std::unexpected(Error::of(ErrorCode::io, record.file,
        fmt::format("found a write that failed ({}), expected all to be on the disk; everything "
                    "stays mounted: copy away what must not be lost, then umount --force",
            lost)));
}

} // namespace

std::string real_path(const std::string& path) {
    std::error_code error;
    const fs::path whole = fs::canonical(path, error);
    if (!error)
        return whole;
    fs::path absolute = fs::absolute(path).lexically_normal();
    if (!absolute.has_filename())
        absolute = absolute.parent_path();
    return fs::weakly_canonical(absolute.parent_path(), error) / absolute.filename();
}

Error needs_root(const std::string& file) {
    return Error::of(ErrorCode::access, file,
        "mounting file systems takes root's rights: use sudo, or --raw to see the partitions as "
        "files");
}

Result<Mounted> mount_disk(
    const std::string& file, const std::string& directory, const MountOptions& options) {
    if (geteuid() != 0 && !options.raw)
        return std::unexpected(needs_root(file));
    const std::string on = real_path(directory);
    CROFT_DISK_TRY(check_directory(on));
    const auto contents = read_contents(file, options.format);
    if (!contents)
        return std::unexpected(contents.error());
    const auto plan = make_plan(file, *contents, options);
    if (!plan)
        return std::unexpected(plan.error());
    auto presenter = Presenter::start({.file = real_path(file),
                                          .directory = on,
                                          .read_write = options.write,
                                          .raw = options.raw,
                                          .format = options.format},
        plan->layout);
    if (!presenter)
        return std::unexpected(std::move(presenter).error());
    Making making{*std::move(presenter), *contents, options};
    CROFT_DISK_TRY(making.mount_export());
    std::optional<Error> first;
    std::size_t done = 0;
    for (const Volume& volume : plan->volumes) {
        auto attached =
            making.attach_volume(volume, plan->in_folders ? on + "/" + volume.raw_name() : on);
        if (attached) {
            ++done;
            continue;
        }
        if (attached.error().code == ErrorCode::interrupted)
            return std::unexpected(std::move(attached).error());
        making.notes().push_back(volume.raw_name() + ": " + attached.error().text());
        if (!first)
            first = std::move(attached).error();
    }
    if (first && done == 0)
        return std::unexpected(*std::move(first));
    return making.keep();
}

Result<Record> unmount_disk(const std::string& target, const UnmountOptions& options) {
    const auto record = find_record(target);
    if (!record)
        return std::unexpected(record.error());
    if (record->alive && record->read_write && !options.force)
        CROFT_DISK_TRY(write_out(*record));
    if (record->alive && !record->raw)
        CROFT_DISK_TRY(check_unused(*record));
    for (const Attachment& it : std::views::reverse(record->attachments))
        CROFT_DISK_TRY(unmount_ours(it.directory, it.device, record->alive));
    // One that shows file systems ends by itself when the last raw file is closed.
    if (record->raw || !record->alive || record->attachments.empty())
        CROFT_DISK_TRY(unmount_ours(record->directory, record->file, record->alive));
    else
        tell_who_is_late(*record, options);
    const auto left = wait_for_end(*record);
    if (!left)
        return std::unexpected(left.error());
    const std::optional<Record>& last = *left;
    if (!last)
        return *record;
    forget(*record);
    return std::unexpected(Error::of(ErrorCode::io, record->file,
        last->error.empty()
            ? fmt::format("process {} that served it ended early; what was not flushed is lost, "
                          "and croft disk check says whether the disk is whole",
                  record->process)
            : fmt::format(
                  "unmounted, but a write failed ({}), and what depends on it is lost; croft "
                  "disk check looks at the disk, fsck at its file systems",
                  last->error)));
}

} // namespace croft::disk::mount
