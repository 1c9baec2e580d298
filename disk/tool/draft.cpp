// SPDX-License-Identifier: Apache-2.0
#include "disk/tool/draft.hpp"

#include "disk/file_lock.hpp"

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <unistd.h>

namespace croft::disk::tool {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view draft_infix = ".croft-"; // between the target's name and our process id

Error wrong_kind(const std::string& path, const char* found) {
    return Error::of(ErrorCode::invalid_argument, path,
        std::string{"found "} + found + ", expected a file or nothing");
}

// The process that a draft of `target` is the work of; 0 if it is no such thing.
pid_t maker_of(const std::string& path, const std::string& prefix) {
    if (!path.starts_with(prefix))
        return 0;
    const char* end = path.data() + path.size();
    pid_t maker = 0;
    const auto [stop, error] = std::from_chars(path.data() + prefix.size(), end, maker);
    return error == std::errc{} && stop == end ? maker : 0;
}

// What processes left behind that were killed while they made the same file. Two things have to
// tell that one is dead, since a process of another container can be alive without being seen, and
// a draft isn't locked at each moment.
void remove_stale(const std::string& target, const std::string& prefix) {
    std::error_code error;
    const fs::path folder = fs::absolute(target, error).parent_path();
    for (fs::directory_iterator entry{folder, error}, end; !error && entry != end;
         entry.increment(error)) {
        const std::string name = entry->path().filename().string();
        const pid_t maker = maker_of(name, prefix);
        if (maker <= 0 || kill(maker, 0) == 0 || errno != ESRCH)
            continue;
        const std::string path = entry->path().string();
        // A draft is a regular file that has nothing but this name.
        struct stat status {};
        if (lstat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode) || status.st_nlink != 1)
            continue;
        const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)};
        if (file.valid() && lock_file(file.get(), path, true))
            unlink(path.c_str());
    }
}

} // namespace

bool is_block_device(const std::string& path) {
    struct stat status {};
    return stat(path.c_str(), &status) == 0 && S_ISBLK(status.st_mode);
}

Draft::~Draft() {
    if (!path_.empty())
        unlink(path_.c_str());
}

Result<Draft> Draft::begin(const std::string& target, Existing existing) {
    Draft made;
    made.named_ = made.target_ = target;
    made.existing_ = existing;
    struct stat status {};
    if (lstat(target.c_str(), &status) == 0 && S_ISLNK(status.st_mode)) {
        std::error_code error;
        made.target_ = fs::canonical(target, error);
        if (error)
            return std::unexpected(
                wrong_kind(target, "a symbolic link that does not lead to a file"));
    }
    if (stat(made.target_.c_str(), &status) == 0)
        CROFT_DISK_TRY(made.admit(status));
    const std::string prefix = made.target_ + std::string{draft_infix};
    remove_stale(made.target_, fs::path{prefix}.filename().string());
    made.path_ = prefix + std::to_string(getpid());
    return made;
}

Result<void> Draft::admit(const struct stat& status) {
    if (existing_ == Existing::refused)
        return std::unexpected(Error::of(
            ErrorCode::exists, named_, "found a file, expected nothing; --replace replaces it"));
    if (!S_ISREG(status.st_mode))
        return std::unexpected(wrong_kind(named_,
            S_ISBLK(status.st_mode)       ? "a block device"
                : S_ISDIR(status.st_mode) ? "a directory"
                                          : "something else"));
    if (existing_ == Existing::replaced_by_user)
        return {};
    // Readers may be there: they keep the old file. What somebody writes would be lost with it.
    lock_ = Descriptor{::open(target_.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!lock_.valid())
        return std::unexpected(Error::system(named_, "open", errno));
    return lock_file(lock_.get(), named_, false);
}

Result<void> Draft::keep() {
    struct stat status {};
    if (existing_ != Existing::refused && stat(target_.c_str(), &status) == 0) {
        static_cast<void>(!chown(path_.c_str(), status.st_uid, status.st_gid));
        static_cast<void>(chmod(path_.c_str(), status.st_mode & 07777U));
    }
    const unsigned flags = existing_ == Existing::refused ? RENAME_NOREPLACE : 0;
    if (renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, target_.c_str(), flags) != 0)
        return std::unexpected(Error::system(named_, "give the new file its name", errno));
    path_.clear();
    return {};
}

} // namespace croft::disk::tool
