// SPDX-License-Identifier: Apache-2.0
#include "disk/mount/export.hpp"

#define FUSE_USE_VERSION 312

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <fuse_lowlevel.h>
#include <linux/falloc.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace croft::disk::mount {

namespace {

// Nothing but the contents of the files ever changes.
constexpr double forever = 86400.0 * 365;
constexpr unsigned threads_max = 16;
constexpr unsigned background_max = 64;
constexpr std::size_t request_max = 2U << 20U; // what a read from FUSE wants room for, and more

int errno_of(const Error& error) {
    switch (error.code) {
    case ErrorCode::no_space:
        return ENOSPC;
    case ErrorCode::read_only:
        return EROFS;
    default:
        return error.os_error != 0 ? error.os_error : EIO;
    }
}

} // namespace

// The file system: a fixed set of nodes, numbered in the order they are made.
class Export::Operations {
public:
    Operations(Chain& chain, const Layout& layout, Events events)
        : disk_{chain},
          size_{chain.size()},
          read_only_{chain.top().info().read_only},
          events_{std::move(events)} {
        clock_gettime(CLOCK_REALTIME, &now_);
        add(FUSE_ROOT_ID, "", nullptr);
        const fuse_ino_t files_in =
            layout.raw_aside ? add(FUSE_ROOT_ID, raw_folder, nullptr) : FUSE_ROOT_ID;
        for (const RawFile& file : layout.files)
            add(files_in, file.name, &file);
        for (const std::string& folder : layout.folders)
            add(FUSE_ROOT_ID, folder, nullptr);
    }

    static const fuse_lowlevel_ops& table();
    bool idle() const { return open_files_ == 0; }

private:
    struct Node {
        fuse_ino_t parent;
        std::string name;
        bool is_file;
        RawFile file;
    };

    fuse_ino_t add(fuse_ino_t parent, const std::string& name, const RawFile* file) {
        nodes_.push_back({parent, name, file != nullptr, file != nullptr ? *file : RawFile{}});
        return nodes_.size();
    }
    const RawFile& file(fuse_ino_t number) const { return nodes_[number - 1].file; }

    struct stat attributes(fuse_ino_t number) const {
        const Node& it = nodes_[number - 1];
        struct stat made {};
        made.st_ino = number;
        made.st_uid = getuid();
        made.st_gid = getgid();
        made.st_mtim = made.st_atim = made.st_ctim = now_;
        if (it.is_file) {
            made.st_mode = S_IFREG | (read_only_ ? 0400U : 0600U);
            made.st_nlink = 1;
            made.st_size = static_cast<off_t>(it.file.length);
            made.st_blocks = static_cast<blkcnt_t>(it.file.length / 512);
            made.st_blksize = 1 << 20;
        } else {
            made.st_mode = S_IFDIR | (it.name == raw_folder ? 0700U : 0755U);
            made.st_nlink = 2;
        }
        return made;
    }

    void lookup(fuse_req_t request, fuse_ino_t parent, const char* name) const {
        for (fuse_ino_t number = 2; number <= nodes_.size(); ++number) {
            if (nodes_[number - 1].parent != parent || nodes_[number - 1].name != name)
                continue;
            fuse_entry_param entry{};
            entry.ino = number;
            entry.attr = attributes(number);
            entry.attr_timeout = entry.entry_timeout = forever;
            fuse_reply_entry(request, &entry);
            return;
        }
        fuse_reply_err(request, ENOENT);
    }

    void read_folder(fuse_req_t request, fuse_ino_t number, std::size_t room, off_t from) const {
        std::vector<char> bytes(room);
        std::size_t used = 0;
        const auto put = [&](off_t position, const char* name, fuse_ino_t which) {
            if (position <= from)
                return true;
            const struct stat shown = attributes(which);
            const std::size_t more = fuse_add_direntry(
                request, bytes.data() + used, room - used, name, &shown, position);
            if (more > room - used)
                return false;
            used += more;
            return true;
        };
        bool going_on = put(1, ".", number) && put(2, "..", nodes_[number - 1].parent);
        for (fuse_ino_t child = 2; going_on && child <= nodes_.size(); ++child) {
            if (nodes_[child - 1].parent == number)
                going_on =
                    put(static_cast<off_t>(child + 1), nodes_[child - 1].name.c_str(), child);
        }
        fuse_reply_buf(request, bytes.data(), used);
    }

    void open(fuse_req_t request, fuse_file_info* info) {
        if (read_only_ && (info->flags & O_ACCMODE) != O_RDONLY) {
            fuse_reply_err(request, EROFS);
            return;
        }
        if (read_only_)
            info->keep_cache = 1;
        else
            info->direct_io = 1;
        ++open_files_;
        if (fuse_reply_open(request, info) != 0)
            released(); // whoever opened it is gone
    }

    void released() {
        if (--open_files_ == 0)
            events_.released();
    }

    // Answers a request that changes the disk.
    bool succeeded(fuse_req_t request, const Result<void>& outcome) const {
        if (outcome)
            return true;
        events_.failed(outcome.error());
        fuse_reply_err(request, errno_of(outcome.error()));
        return false;
    }

    void read(fuse_req_t request, fuse_ino_t number, std::size_t size, off_t offset) {
        const auto at = static_cast<std::uint64_t>(offset);
        const std::uint64_t length = file(number).length;
        size =
            at >= length ? 0 : static_cast<std::size_t>(std::min<std::uint64_t>(size, length - at));
        thread_local std::vector<std::byte> buffer;
        if (buffer.size() < size)
            buffer.resize(size);
        const auto bytes = std::span{buffer}.first(size);
        const auto outcome = disk_.read(file(number).offset + at, bytes);
        if (!outcome)
            fuse_reply_err(request, errno_of(outcome.error()));
        else
            fuse_reply_buf(request, reinterpret_cast<const char*>(bytes.data()), size);
    }

    void write(fuse_req_t request, fuse_ino_t number, std::span<const char> bytes, off_t offset) {
        const auto at = static_cast<std::uint64_t>(offset);
        const std::uint64_t length = file(number).length;
        if (at >= length || bytes.size() > length - at) {
            fuse_reply_err(request, ENOSPC);
            return;
        }
        if (succeeded(request, disk_.write(file(number).offset + at, std::as_bytes(bytes))))
            fuse_reply_write(request, bytes.size());
    }

    void allocate(fuse_req_t request, fuse_ino_t number, int mode, off_t offset, off_t count) {
        const bool zeroes = mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE) ||
            mode == (FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE) || mode == FALLOC_FL_ZERO_RANGE;
        const auto at = static_cast<std::uint64_t>(offset);
        const std::uint64_t length = file(number).length;
        if (!zeroes || !disk_.gives_back()) {
            fuse_reply_err(request, EOPNOTSUPP); // the caller writes zeros, or does without
            return;
        }
        if (at >= length) {
            fuse_reply_err(request, 0);
            return;
        }
        const std::uint64_t bytes = std::min(static_cast<std::uint64_t>(count), length - at);
        if (succeeded(request, disk_.zero(file(number).offset + at, bytes)))
            fuse_reply_err(request, 0);
    }

    void seek(fuse_req_t request, fuse_ino_t number, off_t offset, int whence) {
        const RawFile& it = file(number);
        const auto at = static_cast<std::uint64_t>(offset);
        if (at >= it.length) {
            fuse_reply_err(request, ENXIO);
            return;
        }
        const auto found = disk_.seek(it.offset + at, it.offset + it.length, whence == SEEK_DATA);
        if (!found)
            fuse_reply_err(request, errno_of(found.error()));
        else if (whence == SEEK_DATA && *found == it.offset + it.length)
            fuse_reply_err(request, ENXIO);
        else
            fuse_reply_lseek(request, static_cast<off_t>(*found - it.offset));
    }

    void flush(fuse_req_t request) {
        if (succeeded(request, disk_.flush()))
            fuse_reply_err(request, 0);
    }

    void statistics(fuse_req_t request) const {
        struct statvfs made {};
        // A loop device takes it for the unit of discarding.
        made.f_bsize = made.f_frsize = disk_.unit();
        made.f_blocks = size_ / made.f_frsize;
        made.f_namemax = 255;
        fuse_reply_statfs(request, &made);
    }

    ByteDisk disk_;
    std::uint64_t size_;
    bool read_only_;
    Events events_;
    timespec now_{};
    std::vector<Node> nodes_;
    std::atomic<unsigned> open_files_{0};

    static Operations& of(fuse_req_t request) {
        return *static_cast<Operations*>(fuse_req_userdata(request));
    }
};

const fuse_lowlevel_ops& Export::Operations::table() {
    static const fuse_lowlevel_ops operations = [] {
        fuse_lowlevel_ops ops{};
        ops.init = [](void*, fuse_conn_info* connection) {
            connection->want |= connection->capable & (FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO);
            connection->want &= ~static_cast<unsigned>(FUSE_CAP_AUTO_INVAL_DATA |
                FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
            connection->max_background = background_max;
            connection->congestion_threshold = background_max * 3 / 4;
        };
        ops.lookup = [](fuse_req_t request, fuse_ino_t parent, const char* name) {
            of(request).lookup(request, parent, name);
        };
        ops.getattr = [](fuse_req_t request, fuse_ino_t number, fuse_file_info*) {
            const struct stat made = of(request).attributes(number);
            fuse_reply_attr(request, &made, forever);
        };
        // As of a block device, times and owners are nobody's business, and truncation to nothing
        // (a shell's ">") does nothing. No other size can be set.
        ops.setattr = [](fuse_req_t request, fuse_ino_t number, struct stat* wanted, int which,
                          fuse_file_info*) {
            const struct stat made = of(request).attributes(number);
            if ((which & FUSE_SET_ATTR_SIZE) != 0 && wanted->st_size != made.st_size &&
                wanted->st_size != 0)
                fuse_reply_err(request, EPERM);
            else
                fuse_reply_attr(request, &made, forever);
        };
        ops.readdir = [](fuse_req_t request, fuse_ino_t number, std::size_t room, off_t from,
                          fuse_file_info*) {
            of(request).read_folder(request, number, room, from);
        };
        ops.open = [](fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
            of(request).open(request, info);
        };
        ops.release = [](fuse_req_t request, fuse_ino_t, fuse_file_info*) {
            Operations& self = of(request);
            fuse_reply_err(request, 0);
            self.released();
        };
        ops.read = [](fuse_req_t request, fuse_ino_t number, std::size_t size, off_t offset,
                       fuse_file_info*) {
            of(request).read(request, number, size, offset);
        };
        ops.write = [](fuse_req_t request, fuse_ino_t number, const char* bytes, std::size_t size,
                        off_t offset, fuse_file_info*) {
            of(request).write(request, number, {bytes, size}, offset);
        };
        ops.fsync = [](fuse_req_t request, fuse_ino_t, int, fuse_file_info*) {
            of(request).flush(request);
        };
        ops.fallocate = [](fuse_req_t request, fuse_ino_t number, int mode, off_t offset,
                            off_t length, fuse_file_info*) {
            of(request).allocate(request, number, mode, offset, length);
        };
        ops.lseek = [](fuse_req_t request, fuse_ino_t number, off_t offset, int whence,
                        fuse_file_info*) {
            of(request).seek(request, number, offset, whence);
        };
        ops.statfs = [](fuse_req_t request, fuse_ino_t) {
            of(request).statistics(request);
        };
        return ops;
    }();
    return operations;
}

Export::Export(Chain& chain, const Layout& layout, Events events)
    : operations_{std::make_unique<Operations>(chain, layout, std::move(events))} {}

Export::~Export() {
    if (session_ == nullptr)
        return;
    if (mounted_here_)
        fuse_session_unmount(session_);
    fuse_session_destroy(session_);
}

bool Export::idle() const {
    return operations_->idle();
}

Result<void> Export::make_session(const std::string& options) {
    fuse_args arguments = FUSE_ARGS_INIT(0, nullptr);
    fuse_opt_add_arg(&arguments, "croft");
    if (!options.empty()) {
        fuse_opt_add_arg(&arguments, "-o");
        fuse_opt_add_arg(&arguments, options.c_str());
    }
    session_ = fuse_session_new(
        &arguments, &Operations::table(), sizeof(fuse_lowlevel_ops), operations_.get());
    fuse_opt_free_args(&arguments);
    if (session_ == nullptr)
        return std::unexpected(Error::of(ErrorCode::io, "libfuse", "could not make a session"));
    return {};
}

Result<void> Export::adopt(Descriptor fuse) {
    CROFT_DISK_TRY(make_session({}));
    const int number = dup(fuse.get()); // the session closes it
    if (number < 0 || fuse_session_mount(session_, fmt::format("/dev/fd/{}", number).c_str()) != 0)
        return std::unexpected(Error::system("/dev/fuse", "hand over to libfuse", errno));
    return {};
}

Result<void> Export::mount(const std::string& source, const std::string& directory) {
    std::string name;
    for (const char letter : source) {
        if (letter == ',' || letter == '\\')
            name += '\\';
        name += letter;
    }
    CROFT_DISK_TRY(make_session("fsname=" + name + ",subtype=croft-disk,default_permissions"));
    if (fuse_session_mount(session_, directory.c_str()) != 0)
        return std::unexpected(Error::of(ErrorCode::access, directory,
            "fusermount3 could not mount on it; expected a folder of yours, and /dev/fuse"));
    mounted_here_ = true;
    return {};
}

namespace {

// A request that is taken at the moment of the unmount fails as all do after an abort
// (fuse_dev_do_read). Which of the two it was shows when the connection is down.
bool was_unmounted(int fuse) {
    pollfd connection{fuse, 0, 0};
    while (poll(&connection, 1, -1) < 0 && errno == EINTR) {
    }
    std::vector<std::byte> buffer(request_max);
    return read(fuse, buffer.data(), buffer.size()) < 0 && errno == ENODEV;
}

} // namespace

Result<void> Export::serve() {
    fuse_loop_config* config = fuse_loop_cfg_create();
    fuse_loop_cfg_set_clone_fd(config, 1);
    fuse_loop_cfg_set_max_threads(config, threads_max);
    const int outcome = fuse_session_loop_mt(session_, config);
    fuse_loop_cfg_destroy(config);
    if (outcome < 0 && !(outcome == -ECONNABORTED && was_unmounted(fuse_session_fd(session_))))
        return std::unexpected(Error::system("/dev/fuse", "serve", -outcome));
    return {};
}

} // namespace croft::disk::mount
