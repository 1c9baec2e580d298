// SPDX-License-Identifier: Apache-2.0
#include "disk/file_store.hpp"

#include "disk/block_device.hpp"
#include "disk/file_identity.hpp"
#include "disk/file_lock.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

namespace croft::disk {

namespace {

constexpr std::uint32_t smallest_discard = 4096; // bytes: what file systems give back at least

Error not_a_disk(const std::string& path, mode_t mode) {
    const char* found = S_ISDIR(mode) ? "a folder"
        : S_ISFIFO(mode)              ? "a pipe"
        : S_ISSOCK(mode)              ? "a socket"
        : S_ISCHR(mode)               ? "a character device"
                                      : "something else";
    return Error::of(ErrorCode::unsupported, path,
        std::string{"found "} + found + ", expected a regular file or a block device");
}

} // namespace

Descriptor::~Descriptor() {
    if (number_ >= 0)
        ::close(number_);
}

FileStore::~FileStore() {
    if (lender_ >= 0)
        share_lock(lender_);
}

// By its descriptor, since the name may mean another file by now.
Result<std::unique_ptr<Store>> FileStore::open_for_writing() {
    const bool was_locked = locked_;
    if (was_locked) {
        if (auto locked = lock_file(file_.get(), name_, true); !locked) {
            share_lock(file_.get()); // the attempt may have lost it
            return std::unexpected(std::move(locked).error());
        }
    }
    auto opened = open("/proc/self/fd/" + std::to_string(file_.get()),
        {.write = true,
            .direct = traits_.direct,
            .lock = false,
            .durable = durable_,
            .ordered = ordered_});
    if (!opened) {
        if (was_locked)
            share_lock(file_.get());
        opened.error().file = name_;
        return std::unexpected(std::move(opened).error());
    }
    (*opened)->name_ = name_;
    (*opened)->lender_ = was_locked ? file_.get() : -1;
    return *std::move(opened);
}

Result<std::unique_ptr<FileStore>> FileStore::open(
    const std::string& path, const Options& options) {
    std::unique_ptr<FileStore> store{new FileStore{path}};
    // A pipe would have us wait for its other end, and some devices do things when they are opened.
    int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (options.write ? O_RDWR : O_RDONLY);
    struct stat status {};
    const bool exists = stat(path.c_str(), &status) == 0;
    if (exists && !S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
        return std::unexpected(not_a_disk(path, status.st_mode));
    if (options.create)
        flags |= O_CREAT | (options.replace ? 0 : O_EXCL);
    else if (options.write && options.lock && exists && S_ISBLK(status.st_mode))
        flags |= O_EXCL; // of a device: fails while it is mounted
    store->durable_ = options.durable;
    store->ordered_ = options.ordered;
    store->file_ = Descriptor{::open(path.c_str(), flags, 0666)};
    if (!store->file_.valid() && errno == EBUSY)
        return std::unexpected(claimed_device(path));
    if (!store->file_.valid())
        return std::unexpected(Error::system(path, options.create ? "create" : "open", errno));
    CROFT_DISK_TRY(store->measure(options));
    if (options.lock) {
        CROFT_DISK_TRY(lock_file(store->file_.get(), path, options.write));
        store->locked_ = true;
        CROFT_DISK_TRY(store->measure(options)); // whoever had it may have changed its size
    }
    // Not of one that is empty: ext4 takes any cut to nothing for the beginning of "replace by
    // truncating", and writes all of the file to the disk when it is closed.
    if (options.create && options.replace && !store->traits_.block_device && store->size() > 0)
        CROFT_DISK_TRY(store->resize(0));
    if (options.direct)
        CROFT_DISK_TRY(store->open_direct(path, options));
    store->look_for_discard();
    return store;
}

Result<void> FileStore::measure(const Options& options) {
    struct stat status {};
    if (fstat(file_.get(), &status) != 0)
        return std::unexpected(Error::system(name_, "stat", errno));
    traits_.read_only = !options.write;
    // For opening only: io_uring would give up where it has to wait.
    if (const int flags = fcntl(file_.get(), F_GETFL);
        flags < 0 || fcntl(file_.get(), F_SETFL, flags & ~O_NONBLOCK) != 0)
        return std::unexpected(Error::system(name_, "open", errno));
    if (S_ISBLK(status.st_mode)) {
        traits_.block_device = true;
        return measure_device();
    }
    if (!S_ISREG(status.st_mode))
        return std::unexpected(not_a_disk(name_, status.st_mode));
    size_ = static_cast<std::uint64_t>(status.st_size);
    return {};
}

Result<void> FileStore::measure_device() {
    std::uint64_t bytes = 0;
    if (ioctl(file_.get(), BLKGETSIZE64, &bytes) != 0)
        return std::unexpected(Error::system(name_, "ask the device's size", errno));
    size_ = bytes;
    return {};
}

// Of a file it is tried where there is nothing: file systems have no other way of telling.
void FileStore::look_for_discard() {
    struct stat status {};
    if (traits_.read_only || fstat(file_.get(), &status) != 0)
        return;
    if (traits_.block_device) {
        const bool discards = queue_limit(status.st_rdev, "discard_max_bytes") != 0;
        traits_.discard_granularity = discards
            ? static_cast<std::uint32_t>(std::max<std::uint64_t>(
                  queue_limit(status.st_rdev, "discard_granularity"), smallest_discard))
            : 0;
        traits_.zero_gives_back = queue_limit(status.st_rdev, "write_zeroes_max_bytes") != 0;
        return;
    }
    const auto end =
        static_cast<off_t>((size() + smallest_discard - 1) / smallest_discard * smallest_discard);
    traits_.zero_gives_back = fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                  end, smallest_discard) == 0;
    traits_.discard_granularity = traits_.zero_gives_back ? smallest_discard : 0;
}

Result<void> FileStore::open_direct(const std::string& path, const Options& options) {
    direct_ = Descriptor{
        ::open(path.c_str(), O_CLOEXEC | O_DIRECT | (options.write ? O_RDWR : O_RDONLY))};
    if (!direct_.valid())
        return std::unexpected(Error::system(name_, "open without page cache", errno));
    traits_.direct = true;
    traits_.memory_alignment = traits_.offset_alignment = 4096;
    if (traits_.block_device) {
        int logical = 0;
        if (ioctl(file_.get(), BLKSSZGET, &logical) == 0 && logical > 0)
            traits_.memory_alignment = traits_.offset_alignment =
                static_cast<std::uint32_t>(logical);
        return {};
    }
    struct statx extended {};
    if (statx(direct_.get(), "", AT_EMPTY_PATH, STATX_DIOALIGN, &extended) == 0 &&
        (extended.stx_mask & STATX_DIOALIGN) != 0 && extended.stx_dio_offset_align != 0) {
        traits_.memory_alignment = extended.stx_dio_mem_align;
        traits_.offset_alignment = extended.stx_dio_offset_align;
    }
    return {};
}

// As the kernel knows it: what another machine does to a file is not asked for.
std::uint64_t FileStore::end() const {
    struct statx extended {};
    if (traits_.block_device ||
        statx(file_.get(), "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_SIZE, &extended) != 0)
        return size();
    return extended.stx_size;
}

Result<void> FileStore::read(std::uint64_t offset, std::span<std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t got =
            pread(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            Error error = Error::system(name_, "read", errno);
            error.offset = offset;
            return std::unexpected(std::move(error));
        }
        if (got == 0)
            return std::unexpected(Error::corrupt(name_, offset,
                "the file ends here, expected " + std::to_string(bytes.size()) + " bytes more"));
        offset += static_cast<std::uint64_t>(got);
        bytes = bytes.subspan(static_cast<std::size_t>(got));
    }
    return {};
}

// From the page cache, that is; some file systems can't say, and have it read the other way.
bool FileStore::read_at_once(std::uint64_t offset, std::span<std::byte> bytes) {
    const iovec whole{bytes.data(), bytes.size()};
    return preadv2(file_.get(), &whole, 1, static_cast<off_t>(offset), RWF_NOWAIT) ==
        static_cast<ssize_t>(bytes.size());
}

Result<void> FileStore::write(std::uint64_t offset, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t put =
            pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            Error error = Error::system(name_, "write", put < 0 ? errno : ENOSPC);
            error.offset = offset;
            return std::unexpected(std::move(error));
        }
        offset += static_cast<std::uint64_t>(put);
        bytes = bytes.subspan(static_cast<std::size_t>(put));
        grown_to(offset);
    }
    return {};
}

void FileStore::grown_to(std::uint64_t end) noexcept {
    std::uint64_t size = size_.load(std::memory_order_relaxed);
    while (size < end && !size_.compare_exchange_weak(size, end, std::memory_order_acq_rel)) {
    }
}

Result<void> FileStore::flush() {
    return durable_ ? sync() : Result<void>{};
}

Result<void> FileStore::order() {
    return ordered_ ? sync() : Result<void>{};
}

Result<void> FileStore::sync() {
    if (flush_failed_ == 0 && fdatasync(file_.get()) != 0)
        flush_failed_ = errno;
    if (flush_failed_ != 0)
        return std::unexpected(Error::system(name_, "flush", flush_failed_));
    return {};
}

Result<void> FileStore::resize(std::uint64_t size) {
    if (traits_.block_device) {
        CROFT_DISK_TRY(measure_device());
        if (size <= size_)
            return {};
        return std::unexpected(Error::of(ErrorCode::no_space, name_,
            "the device has " + std::to_string(size_) + " bytes, needed are " +
                std::to_string(size)));
    }
    if (ftruncate(file_.get(), static_cast<off_t>(size)) != 0)
        return std::unexpected(Error::system(name_, "set the size", errno));
    size_ = size;
    return {};
}

Result<void> FileStore::zero(std::uint64_t offset, std::uint64_t length) {
    if (length == 0)
        return {};
    const auto start = static_cast<off_t>(offset);
    const auto bytes = static_cast<off_t>(length);
    if (fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, start, bytes) == 0)
        return {};
    if (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL)
        return std::unexpected(Error::system(name_, "zero a range", errno));
    if (fallocate(file_.get(), FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, start, bytes) == 0)
        return {};
    return write_zeros(offset, length);
}

Result<void> FileStore::discard(std::uint64_t offset, std::uint64_t length) {
    if (length == 0 || traits_.discard_granularity == 0)
        return {};
    if (traits_.block_device)
        return discard_of_device(offset, length);
    if (fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
            static_cast<off_t>(offset), static_cast<off_t>(length)) == 0 ||
        errno == EOPNOTSUPP)
        return {};
    return std::unexpected(Error::system(name_, "discard a range", errno));
}

// Whole sectors of the device, which may be larger than the disk's.
Result<void> FileStore::discard_of_device(std::uint64_t offset, std::uint64_t length) {
    int logical = 0;
    if (ioctl(file_.get(), BLKSSZGET, &logical) != 0 || logical <= 0)
        return std::unexpected(Error::system(name_, "ask the device's sector size", errno));
    const auto sector = static_cast<std::uint64_t>(logical);
    const std::uint64_t first = (offset + sector - 1) / sector * sector;
    const std::uint64_t end = (offset + length) / sector * sector;
    if (first >= end)
        return {};
    std::array<std::uint64_t, 2> range = {first, end - first};
    if (ioctl(file_.get(), BLKDISCARD, range.data()) == 0 || errno == EOPNOTSUPP)
        return {};
    return std::unexpected(Error::system(name_, "discard a range", errno));
}

Result<void> FileStore::remeasure() {
    if (traits_.block_device)
        return measure_device();
    struct stat status {};
    if (fstat(file_.get(), &status) != 0)
        return std::unexpected(Error::system(name_, "stat", errno));
    size_ = static_cast<std::uint64_t>(status.st_size);
    return {};
}

std::string FileStore::identity() const {
    struct stat status {};
    if (fstat(file_.get(), &status) != 0)
        return {};
    return traits_.block_device ? device_identity(status.st_rdev) : file_identity(file_.get());
}

Result<void> FileStore::allocate(std::uint64_t offset, std::uint64_t length) {
    if (traits_.block_device || length == 0)
        return {};
    if (fallocate(file_.get(), 0, static_cast<off_t>(offset), static_cast<off_t>(length)) == 0) {
        grown_to(offset + length);
        return {};
    }
    if (errno == EOPNOTSUPP || errno == ENOSYS)
        return {};
    return std::unexpected(Error::system(name_, "allocate room", errno));
}

Result<void> FileStore::write_zeros(std::uint64_t offset, std::uint64_t length) {
    const std::vector<std::byte> zeros(
        static_cast<std::size_t>(std::min<std::uint64_t>(length, 1U << 20U)));
    while (length > 0) {
        const auto step = std::min<std::uint64_t>(length, zeros.size());
        CROFT_DISK_TRY(write(offset, std::span{zeros}.first(static_cast<std::size_t>(step))));
        offset += step;
        length -= step;
    }
    return {};
}

Store::Range FileStore::next_data(std::uint64_t offset, std::uint64_t end) {
    end = std::min<std::uint64_t>(end, size());
    if (offset >= end)
        return {offset, 0};
    const off_t data = lseek(file_.get(), static_cast<off_t>(offset), SEEK_DATA);
    if (data < 0)
        return errno == ENXIO ? Range{end, 0} : Range{offset, end - offset};
    const auto start = static_cast<std::uint64_t>(data);
    if (start >= end)
        return {end, 0};
    const off_t hole = lseek(file_.get(), data, SEEK_HOLE);
    const auto stop =
        hole < 0 ? end : std::min<std::uint64_t>(static_cast<std::uint64_t>(hole), end);
    return {start, stop - start};
}

std::optional<std::int64_t> FileStore::modified() const {
    struct stat status {};
    if (fstat(file_.get(), &status) != 0 || !S_ISREG(status.st_mode))
        return std::nullopt;
    return status.st_mtim.tv_sec;
}

// The kernel keeps both views of the file coherent, so a misaligned transfer needs no copy of ours.
int FileStore::data_descriptor(
    std::uint64_t offset, std::span<const iovec> segments) const noexcept {
    if (!direct_.valid())
        return file_.get();
    const auto aligned = [this](const iovec& segment) {
        return std::bit_cast<std::uintptr_t>(segment.iov_base) % traits_.memory_alignment == 0 &&
            segment.iov_len % traits_.offset_alignment == 0;
    };
    const bool all =
        offset % traits_.offset_alignment == 0 && std::ranges::all_of(segments, aligned);
    return all ? direct_.get() : file_.get();
}

void FileStore::start_read(Ring& ring, std::uint64_t offset, std::span<const iovec> segments,
    Completion& completion) noexcept {
    ring.read(data_descriptor(offset, segments), segments, offset, completion);
}

void FileStore::start_write(Ring& ring, std::uint64_t offset, std::span<const iovec> segments,
    Completion& completion) noexcept {
    ring.write(data_descriptor(offset, segments), segments, offset, completion);
}

} // namespace croft::disk
