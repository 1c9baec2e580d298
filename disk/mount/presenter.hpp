// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/file_store.hpp"
#include "disk/mount/export.hpp"
#include "disk/mount/record.hpp"

#include <sys/types.h>

namespace croft::disk::mount {

// The process that has a disk open and serves it by FUSE, seen from the one that starts it. It ends
// when it is unmounted; it closes the disk then, and says in its record if that failed. One that
// shows file systems unmounts itself as soon as the last of them is gone.
class Presenter {
public:
    // Forks: no other thread may be running. The record's `file`, `format`, `directory`,
    // `read_write` and `raw` say what is wanted; an empty directory stands for one that is private
    // to the caller.
    static Result<Presenter> start(Record wanted, const Layout& layout);
    Presenter(Presenter&&) = default;
    Presenter& operator=(Presenter&&) = default;

    // Mounts, as root where the caller says (which may be in a mount name space of the caller's
    // own), else by fusermount3 on the record's directory.
    Result<void> mount_on(const std::string& directory);
    // The caller is done: from now on the end of the last file system is the end.
    void leave() { socket_ = Descriptor{}; }

    const Record& record() const { return record_; }
    Record& record() { return record_; }

private:
    Presenter() = default;

    Record record_;
    Descriptor socket_;
    Descriptor fuse_; // of root's: /dev/fuse, to be mounted by the caller
};

// Writes all of a file system to its disk. Unmounting does the same, but keeps to itself what could
// not be written.
Result<void> flush_file_system(const std::string& directory);

// Unmounts a file system, or an export. The error `in_use` names who uses it.
Result<void> unmount_one(const std::string& directory, bool detach = false);

} // namespace croft::disk::mount
