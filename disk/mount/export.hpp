// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/file_store.hpp"
#include "disk/mount/byte_disk.hpp"

#include <functional>
#include <memory>
#include <string>
#include <vector>

struct fuse_session;

namespace croft::disk::mount {

// A file of the export: a range of the disk.
struct RawFile {
    std::string name; // "disk", "p1"
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
};

// What a FUSE mount of a disk shows. With `folders`, these are empty folders to mount on, and the
// raw files are out of the way in ".raw"; without, the raw files are at the top.
struct Layout {
    std::vector<RawFile> files;
    std::vector<std::string> folders;
    bool raw_aside = false;
};

inline constexpr const char* raw_folder = ".raw";
inline constexpr const char* fuse_type = "fuse.croft-disk";

// Serves a disk by FUSE. Requests come in on several threads, and each goes to the disk on the
// thread it came on.
//
// Written to, nothing is cached here, so that "disk" and "p1" never show different things; the file
// system over a loop device has the cache. A disk that is only read can't change: the kernel keeps
// all that it has seen.
class Export {
public:
    // Called on any of its threads.
    struct Events {
        std::function<void()> released; // the last raw file that was open is closed
        // Something could not be written. Who wrote it need not hear of that: the file system above
        // may have been told long after it took the data.
        std::function<void(const Error&)> failed;
    };
    Export(Chain& chain, const Layout& layout, Events events);
    Export(const Export&) = delete;
    Export& operator=(const Export&) = delete;
    ~Export();

    // Serves /dev/fuse, which is mounted already.
    Result<void> adopt(Descriptor fuse);
    // Mounts by way of fusermount3, which needs no privileges.
    Result<void> mount(const std::string& source, const std::string& directory);
    // Until it is unmounted.
    Result<void> serve();
    // No raw file is open.
    bool idle() const;

private:
    class Operations;
    Result<void> make_session(const std::string& options);

    std::unique_ptr<Operations> operations_;
    fuse_session* session_ = nullptr;
    bool mounted_here_ = false;
};

} // namespace croft::disk::mount
