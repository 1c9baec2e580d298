// SPDX-License-Identifier: Apache-2.0
#include "disk/mount/tree_copy.hpp"

#include "disk/file_store.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <memory>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

namespace croft::disk::mount {

namespace {

constexpr std::size_t buffer_size = 1U << 20U;
constexpr mode_t plain_mode = 0777;
constexpr mode_t whole_mode = 07777;

Descriptor open_place(const Place& place, int flags) {
    flags |= O_CLOEXEC;
    if (place.root < 0)
        return Descriptor{::open(place.path.c_str(), flags)};
    open_how how{};
    how.flags = static_cast<unsigned>(flags);
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    return Descriptor{
        static_cast<int>(syscall(SYS_openat2, place.root, place.path.c_str(), &how, sizeof how))};
}

Error failed(const std::string& shown, std::string_view doing) {
    return Error::system(shown, doing, errno);
}

// The path without its last name, and that name; it is empty for "/", "." and "..".
std::pair<std::string, std::string> split(std::string path) {
    while (path.size() > 1 && path.back() == '/')
        path.pop_back();
    const std::size_t slash = path.rfind('/');
    std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
    std::string parent = slash == std::string::npos ? "." : path.substr(0, slash + 1);
    if (name == "." || name == "..")
        name.clear();
    return {std::move(parent), std::move(name)};
}

// A directory entry on one side.
struct Entry {
    int directory;
    std::string name;
    std::string shown;
};

Entry inside(int directory, const Entry& parent, const std::string& name) {
    return {directory, name, parent.shown + (parent.shown.ends_with('/') ? "" : "/") + name};
}

class TreeCopy {
public:
    explicit TreeCopy(const TreeCopyOptions& options) : options_{options}, buffer_(buffer_size) {}

    Result<void> copy(const Entry& from, const Entry& to);
    Result<void> copy_contents(int from, const Entry& from_name, int to, const Entry& to_name);
    Result<void> keep_attributes(int from, int to, const struct stat& status, const Entry& name);

    CopyCounts counts;

private:
    Result<Descriptor> open_source(const Entry& from) const;
    Result<void> copy_file(const Entry& from, const Entry& to);
    Result<void> copy_bytes(int from, const Entry& from_name, int to, const Entry& to_name);
    Result<void> copy_data(
        int from, const Entry& from_name, int to, const Entry& to_name, off_t start, off_t end);
    Result<void> copy_directory(const Entry& from, const Entry& to, const struct stat& status);
    Result<void> copy_link(const Entry& from, const Entry& to, const struct stat& status);
    Result<void> copy_node(const Entry& from, const Entry& to, const struct stat& status);
    Result<void> go_on(const Entry& entry) const {
        if (options_.stopped && options_.stopped())
            return std::unexpected(Error::of(ErrorCode::interrupted, entry.shown, "interrupted"));
        return {};
    }

    const TreeCopyOptions& options_;
    std::vector<std::byte> buffer_;
    unsigned temporary_ = 0;
};

Result<void> TreeCopy::copy(const Entry& from, const Entry& to) {
    CROFT_DISK_TRY(go_on(from));
    struct stat status {};
    if (fstatat(from.directory, from.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0)
        return std::unexpected(failed(from.shown, "look at"));
    if (S_ISDIR(status.st_mode))
        return copy_directory(from, to, status);
    if (S_ISREG(status.st_mode))
        return copy_file(from, to);
    if (S_ISLNK(status.st_mode))
        return copy_link(from, to, status);
    return copy_node(from, to, status);
}

// Opening may wait: for somebody's lease, for a server far away.
Result<Descriptor> TreeCopy::open_source(const Entry& from) const {
    for (;;) {
        Descriptor source{
            openat(from.directory, from.name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC)};
        if (source.valid())
            return source;
        if (errno != EINTR)
            return std::unexpected(failed(from.shown, "open"));
        CROFT_DISK_TRY(go_on(from));
    }
}

// Under a name of its own until it is complete.
Result<void> TreeCopy::copy_file(const Entry& from, const Entry& to) {
    const auto opened = open_source(from);
    if (!opened)
        return std::unexpected(opened.error());
    const Descriptor& source = *opened;
    struct stat status {};
    if (fstat(source.get(), &status) != 0)
        return std::unexpected(failed(from.shown, "look at"));
    struct stat existing {};
    if (fstatat(to.directory, to.name.c_str(), &existing, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISDIR(existing.st_mode))
        return std::unexpected(Error::of(
            ErrorCode::exists, to.shown, "found a directory, expected a file or nothing"));
    const Entry fresh{to.directory, fmt::format(".croft-{}-{}", getpid(), ++temporary_), to.shown};
    const Descriptor target{openat(to.directory, fresh.name.c_str(),
        O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600)};
    if (!target.valid())
        return std::unexpected(failed(to.shown, "create"));
    auto outcome = copy_bytes(source.get(), from, target.get(), to);
    if (outcome)
        outcome = keep_attributes(source.get(), target.get(), status, to);
    if (outcome &&
        renameat(fresh.directory, fresh.name.c_str(), to.directory, to.name.c_str()) != 0)
        outcome = std::unexpected(failed(to.shown, "rename"));
    if (!outcome)
        unlinkat(fresh.directory, fresh.name.c_str(), 0);
    else
        ++counts.files;
    return outcome;
}

// Holes stay holes.
Result<void> TreeCopy::copy_bytes(int from, const Entry& from_name, int to, const Entry& to_name) {
    struct stat status {};
    if (fstat(from, &status) != 0)
        return std::unexpected(failed(from_name.shown, "look at"));
    posix_fadvise(from, 0, 0, POSIX_FADV_SEQUENTIAL);
    for (off_t at = 0; at < status.st_size;) {
        off_t start = lseek(from, at, SEEK_DATA);
        if (start < 0 && errno == ENXIO)
            break;
        off_t end = start < 0 ? -1 : lseek(from, start, SEEK_HOLE);
        if (start < 0 || end < 0) {
            start = at;
            end = status.st_size;
        }
        end = std::min(end, status.st_size);
        if (start >= end)
            break;
        CROFT_DISK_TRY(copy_data(from, from_name, to, to_name, start, end));
        at = end;
    }
    if (ftruncate(to, status.st_size) != 0)
        return std::unexpected(failed(to_name.shown, "set the size"));
    return {};
}

Result<void> TreeCopy::copy_data(
    int from, const Entry& from_name, int to, const Entry& to_name, off_t start, off_t end) {
    while (start < end) {
        CROFT_DISK_TRY(go_on(from_name));
        const auto want =
            std::min<std::size_t>(buffer_.size(), static_cast<std::size_t>(end - start));
        const ssize_t got = pread(from, buffer_.data(), want, start);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return std::unexpected(failed(from_name.shown, "read"));
        if (got == 0)
            break; // it became shorter meanwhile
        for (ssize_t done = 0; done < got;) {
            const ssize_t put = pwrite(
                to, buffer_.data() + done, static_cast<std::size_t>(got - done), start + done);
            if (put < 0 && errno != EINTR)
                return std::unexpected(failed(to_name.shown, "write"));
            done += std::max<ssize_t>(put, 0);
        }
        start += got;
        counts.bytes += static_cast<std::uint64_t>(got);
    }
    return {};
}

Result<void> TreeCopy::copy_directory(
    const Entry& from, const Entry& to, const struct stat& status) {
    if (mkdirat(to.directory, to.name.c_str(), 0700) != 0 && errno != EEXIST)
        return std::unexpected(failed(to.shown, "create"));
    constexpr int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    const Descriptor source{openat(from.directory, from.name.c_str(), flags)};
    if (!source.valid())
        return std::unexpected(failed(from.shown, "open"));
    const Descriptor target{openat(to.directory, to.name.c_str(), flags)};
    if (!target.valid())
        return std::unexpected(failed(to.shown, "open"));
    CROFT_DISK_TRY(copy_contents(source.get(), from, target.get(), to));
    return keep_attributes(source.get(), target.get(), status, to);
}

Result<void> TreeCopy::copy_contents(
    int from, const Entry& from_name, int to, const Entry& to_name) {
    struct stat target {};
    if (fstat(to, &target) != 0)
        return std::unexpected(failed(to_name.shown, "look at"));
    std::vector<std::string> names;
    {
        const int own = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        const std::unique_ptr<DIR, int (*)(DIR*)> listing{fdopendir(own), closedir};
        if (!listing)
            return std::unexpected(failed(from_name.shown, "list"));
        errno = 0;
        while (const dirent* entry = readdir(listing.get())) {
            const std::string name = entry->d_name;
            if (name != "." && name != "..")
                names.push_back(name);
        }
        if (errno != 0)
            return std::unexpected(failed(from_name.shown, "list"));
    }
    for (const std::string& name : names) {
        struct stat status {};
        // A directory that is copied into itself would have no end.
        if (fstatat(from, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            status.st_dev == target.st_dev && status.st_ino == target.st_ino)
            continue;
        CROFT_DISK_TRY(copy(inside(from, from_name, name), inside(to, to_name, name)));
    }
    return {};
}

Result<void> TreeCopy::copy_link(const Entry& from, const Entry& to, const struct stat& status) {
    std::array<char, PATH_MAX> text{};
    const ssize_t length =
        readlinkat(from.directory, from.name.c_str(), text.data(), text.size() - 1);
    if (length < 0)
        return std::unexpected(failed(from.shown, "read the link"));
    unlinkat(to.directory, to.name.c_str(), 0);
    if (symlinkat(text.data(), to.directory, to.name.c_str()) != 0)
        return std::unexpected(failed(to.shown, "create the link"));
    const timespec times[2] = {status.st_atim, status.st_mtim};
    utimensat(to.directory, to.name.c_str(), times, AT_SYMLINK_NOFOLLOW);
    if (options_.archive)
        static_cast<void>(!fchownat(
            to.directory, to.name.c_str(), status.st_uid, status.st_gid, AT_SYMLINK_NOFOLLOW));
    ++counts.files;
    return {};
}

Result<void> TreeCopy::copy_node(const Entry& from, const Entry& to, const struct stat& status) {
    if (!options_.archive || S_ISSOCK(status.st_mode)) {
        if (options_.note)
            options_.note(from.shown + ": left out, it is no file, directory or symbolic link");
        return {};
    }
    unlinkat(to.directory, to.name.c_str(), 0);
    if (mknodat(to.directory, to.name.c_str(), status.st_mode, status.st_rdev) != 0)
        return std::unexpected(failed(to.shown, "create the node"));
    static_cast<void>(!fchownat(
        to.directory, to.name.c_str(), status.st_uid, status.st_gid, AT_SYMLINK_NOFOLLOW));
    ++counts.files;
    return {};
}

// File systems without owners or attributes refuse them; that is no reason to fail.
Result<void> TreeCopy::keep_attributes(
    int from, int to, const struct stat& status, const Entry& name) {
    const auto refused = [] {
        return errno != EPERM && errno != EOPNOTSUPP && errno != EINVAL;
    };
    if (options_.archive) {
        if (fchown(to, status.st_uid, status.st_gid) != 0 && refused())
            return std::unexpected(failed(name.shown, "set the owner"));
        std::vector<char> names(64U << 10U);
        const ssize_t length = flistxattr(from, names.data(), names.size());
        std::vector<char> value(64U << 10U);
        for (ssize_t at = 0; at < length;) {
            const std::string attribute{names.data() + at};
            at += static_cast<ssize_t>(attribute.size()) + 1;
            const ssize_t size = fgetxattr(from, attribute.c_str(), value.data(), value.size());
            if (size >= 0 &&
                fsetxattr(to, attribute.c_str(), value.data(), static_cast<std::size_t>(size), 0) !=
                    0 &&
                refused())
                return std::unexpected(failed(name.shown, "set " + attribute));
        }
    }
    if (fchmod(to, status.st_mode & (options_.archive ? whole_mode : plain_mode)) != 0 && refused())
        return std::unexpected(failed(name.shown, "set the mode"));
    const timespec times[2] = {status.st_atim, status.st_mtim};
    if (futimens(to, times) != 0 && refused())
        return std::unexpected(failed(name.shown, "set the times"));
    return {};
}

// A source that the command names, which may be a symbolic link to what is meant.
Result<void> copy_source(
    TreeCopy& copy, const Place& source, const Place& destination, bool must_be_directory) {
    const auto [parent, name] = split(source.path);
    struct stat status {};
    const Descriptor found = open_place(source, O_PATH);
    if (!found.valid() || fstat(found.get(), &status) != 0)
        return std::unexpected(failed(source.shown, "open"));
    Descriptor into = open_place(destination, O_RDONLY | O_DIRECTORY);
    std::string as = name;
    if (!into.valid() && (errno != ENOENT && errno != ENOTDIR))
        return std::unexpected(failed(destination.shown, "open"));
    if (!into.valid()) {
        if (must_be_directory || destination.path.ends_with('/'))
            return std::unexpected(failed(destination.shown, "open the directory"));
        const auto [folder, last] = split(destination.path);
        into = open_place({destination.root, folder, {}}, O_RDONLY | O_DIRECTORY);
        if (!into.valid())
            return std::unexpected(failed(destination.shown, "open its directory"));
        as = last;
    }
    Entry to{into.get(), as, destination.shown};
    if (as == name && !as.empty() && split(destination.path).second != as)
        to.shown += (to.shown.ends_with('/') ? "" : "/") + as;
    if (S_ISDIR(status.st_mode)) {
        const Descriptor folder = open_place(source, O_RDONLY | O_DIRECTORY);
        if (!folder.valid())
            return std::unexpected(failed(source.shown, "open"));
        const Entry from{folder.get(), ".", source.shown};
        if (as.empty()) // "/" or ".": what is in it goes into the destination itself
            return copy.copy_contents(folder.get(), from, into.get(), to);
        if (mkdirat(into.get(), as.c_str(), 0700) != 0 && errno != EEXIST)
            return std::unexpected(failed(to.shown, "create"));
        const Descriptor made{
            openat(into.get(), as.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
        if (!made.valid())
            return std::unexpected(failed(to.shown, "open"));
        CROFT_DISK_TRY(copy.copy_contents(folder.get(), from, made.get(), to));
        return copy.keep_attributes(folder.get(), made.get(), status, to);
    }
    // By way of what was found, so that a link on the command line is followed, within its root.
    const std::string real = [&] {
        std::array<char, PATH_MAX> text{};
        const ssize_t length = readlink(
            fmt::format("/proc/self/fd/{}", found.get()).c_str(), text.data(), text.size() - 1);
        return std::string{text.data(), static_cast<std::size_t>(std::max<ssize_t>(length, 0))};
    }();
    const Descriptor folder{::open(split(real).first.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!folder.valid())
        return std::unexpected(failed(source.shown, "open its directory"));
    return copy.copy({folder.get(), split(real).second, source.shown}, to);
}

} // namespace

Result<CopyCounts> copy_trees(
    const std::vector<Place>& sources, const Place& destination, const TreeCopyOptions& options) {
    TreeCopy copy{options};
    for (const Place& source : sources)
        CROFT_DISK_TRY(copy_source(copy, source, destination, sources.size() > 1));
    return copy.counts;
}

} // namespace croft::disk::mount
