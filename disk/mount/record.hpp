// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/file_store.hpp"
#include "disk/image.hpp"

#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

namespace croft::disk::mount {

// A file system that is mounted from a disk.
struct Attachment {
    unsigned partition = 0; // 0: the whole disk
    std::string type;       // "ext4"; what serves it, if that is not the kernel: "ntfs-3g"
    std::string directory;
    std::string device; // "/dev/loop0"
};

// What is known of a disk that a process of ours presents: one file in the folder of records,
// written by that process. It stays behind if the process dies, or could not close the disk.
struct Record {
    pid_t process = 0;
    std::string file;      // the disk's, absolute
    std::string directory; // the mount point; empty while files are copied
    bool read_write = false;
    bool raw = false;               // shows the raw files, mounts no file systems
    std::optional<Format> format{}; // what the disk was opened as, if that was said
    std::vector<Attachment> attachments{};
    std::string error{}; // what could not be written, or why the disk could not be closed
    bool alive = true;   // of a record that was read: the process is there
};

// The side of the process that presents the disk.
class OwnRecord {
public:
    static Result<OwnRecord> create(const Record& record);
    // What becomes the record's `error`. Only the process that presents the disk has a say in it.
    Result<void> set_error(const std::string& text) const;
    // Nothing is left behind.
    void remove();

private:
    std::string path_;
    Descriptor lock_; // held for as long as the process lives
};

// Replaces what a record says, but for its error. Also for the one who asked for the mount and
// attaches the rest of it.
Result<void> update(const Record& record);
std::optional<Record> read_record(pid_t process);

// All of this user's, those that were left behind too.
std::vector<Record> read_records();
// Waits until the process of a record is gone. What it left behind, read once more, if anything;
// an interrupted wait is the error `interrupted`.
Result<std::optional<Record>> wait_for_end(const Record& record);
// Removes what a process that is gone has left behind.
void forget(const Record& record);

} // namespace croft::disk::mount
