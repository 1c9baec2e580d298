// SPDX-License-Identifier: Apache-2.0
#include "disk/tool/copy.hpp"

#include "disk/tool/data_runs.hpp"
#include "disk/tool/window.hpp"
#include "disk/tool/zeros.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <linux/fs.h>
#include <mutex>
#include <optional>
#include <sys/ioctl.h>
#include <thread>
#include <vector>

namespace croft::disk::tool {

namespace {

// What a thread takes at a time: a few blocks, so that a target's blocks stay nearly in order.
constexpr std::uint64_t share = 8U << 20U;
// Small enough to stay in the processor's cache between reading and writing.
constexpr std::size_t copy_buffer_size = 512U << 10U;
// The block of the file systems that share blocks, or a multiple of it.
constexpr std::size_t clone_unit = 4096;

class Copy {
public:
    Copy(Chain& source, Chain& target, const CopyOptions& options)
        : source_{source},
          target_{target},
          options_{options},
          sector_{target.top().info().logical_sector_size},
          one_writes_{!target.top().store().traits().block_device},
          may_clone_{target.top().store().descriptor() >= 0} {}

    Result<void> run();

private:
    // What each thread has of its own.
    struct Worker {
        std::vector<std::byte> buffer = std::vector<std::byte>(copy_buffer_size);
        DataRuns data{};
    };

    void work();
    Result<void> copy_share(std::uint64_t offset, std::uint64_t end, Worker& worker);
    Result<void> copy_place(const Chain::Place& place, Worker& worker);
    Result<void> copy_sector(std::uint64_t offset);
    Result<void> copy_bytes(std::uint64_t offset, std::span<const std::byte> bytes);
    Result<void> write(std::uint64_t offset, std::span<const std::byte> bytes);
    Result<void> clear(std::uint64_t offset, std::uint64_t length);
    std::uint64_t clone(
        Store& store, std::uint64_t from, std::uint64_t offset, std::uint64_t length);

    Chain& source_;
    Chain& target_;
    const CopyOptions& options_;
    const std::uint64_t sector_; // the target's
    // File systems let one thread at a time write to a file through the page cache, and who waits
    // for that in the kernel keeps a processor busy. Here it sleeps, and the processor brings in
    // what comes next, or writes back what is there.
    const bool one_writes_;
    std::mutex writing_;
    std::atomic<std::uint64_t> next_{0};
    std::atomic<std::uint64_t> done_{0};
    std::atomic<bool> stop_{false};
    std::atomic<bool> may_clone_;
    std::mutex mutex_;
    std::optional<Error> error_;
};

// What is zeros in the source.
Result<void> Copy::clear(std::uint64_t offset, std::uint64_t length) {
    if (options_.target_is_empty)
        return {};
    return target_.write_zeroes(offset, length);
}

Result<void> Copy::write(std::uint64_t offset, std::span<const std::byte> bytes) {
    std::unique_lock lock{writing_, std::defer_lock};
    if (one_writes_)
        lock.lock();
    return target_.write(offset, bytes);
}

Result<void> Copy::copy_bytes(std::uint64_t offset, std::span<const std::byte> bytes) {
    if (!options_.detect_zeros)
        return write(offset, bytes);
    while (!bytes.empty()) {
        const auto unit = [&](std::size_t at) {
            return bytes.subspan(at, std::min(zero_unit, bytes.size() - at));
        };
        const bool zeros = all_zeros(unit(0));
        std::size_t run = unit(0).size();
        while (run < bytes.size() && all_zeros(unit(run)) == zeros)
            run += unit(run).size();
        CROFT_DISK_TRY(zeros ? clear(offset, run) : write(offset, bytes.first(run)));
        offset += run;
        bytes = bytes.subspan(run);
    }
    return {};
}

// Shares the blocks of the source's file, from `from` on; answers how many bytes, which may be
// none: of another file system, or where the two places do not have the same position within a
// page.
std::uint64_t Copy::clone(
    Store& store, std::uint64_t from, std::uint64_t offset, std::uint64_t length) {
    Image& image = target_.top();
    std::uint64_t done = 0;
    while (may_clone_ && store.descriptor() >= 0 && done < length) {
        const Extent extent = image.reserve(offset + done, length - done);
        if (extent.where == Extent::Where::absent) {
            if (!image.prepare(extent.offset, extent.length, Image::Access::write))
                return done; // writing tells why
            continue;
        }
        const std::uint64_t whole = extent.length / clone_unit * clone_unit;
        bool cloned = false;
        if ((from + done) % clone_unit == 0 && extent.store_offset % clone_unit == 0 && whole > 0) {
            file_clone_range range{};
            range.src_fd = store.descriptor();
            range.src_offset = from + done;
            range.src_length = whole;
            range.dest_offset = extent.store_offset;
            cloned = ioctl(image.store().descriptor(), FICLONERANGE, &range) == 0;
            if (!cloned)
                may_clone_ = false; // this pair of files has no such thing
        }
        // What is left of an odd end is written; the whole of it counts as one piece of I/O.
        if (cloned && whole < extent.length) {
            std::array<std::byte, clone_unit> rest;
            const auto bytes = std::span{rest}.first(extent.length - whole);
            cloned = store.read(from + done + whole, bytes).has_value() &&
                image.store().write(extent.store_offset + whole, bytes).has_value();
        }
        image.finish(extent, cloned ? Image::Outcome::was_written : Image::Outcome::failed);
        if (!cloned)
            return done;
        done += extent.length;
    }
    return done;
}

Result<void> Copy::copy_place(const Chain::Place& place, Worker& worker) {
    const std::span<std::byte> buffer{worker.buffer};
    const Extent& extent = place.extent;
    Store& store = place.image->store();
    const std::uint64_t end = extent.store_offset + extent.length;
    const std::uint64_t shift = extent.offset - extent.store_offset; // from the file to the disk
    for (std::uint64_t at = extent.store_offset; at < end;) {
        const auto data =
            options_.detect_zeros ? worker.data.next(store, at, end) : Store::Range{at, end - at};
        // A hole's border is the file system's, not the disk's.
        const std::uint64_t start = data.length == 0
            ? end
            : std::max(at, (data.offset + shift) / sector_ * sector_ - shift);
        if (start > at)
            CROFT_DISK_TRY(clear(at + shift, start - at));
        if (data.length == 0)
            return {};
        const std::uint64_t stop = std::min(
            end, (data.offset + data.length + shift + sector_ - 1) / sector_ * sector_ - shift);
        at = start;
        at += clone(store, at, at + shift, stop - at);
        const Window window{store, at, static_cast<std::size_t>(stop - at)};
        for (auto bytes = window.bytes(); !bytes.empty();) {
            const auto piece = bytes.first(std::min(bytes.size(), buffer.size()));
            CROFT_DISK_TRY(copy_bytes(at + shift, piece));
            at += piece.size();
            bytes = bytes.subspan(piece.size());
        }
        while (at < stop) {
            const auto piece = buffer.first(
                static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), stop - at)));
            CROFT_DISK_TRY(store.read(at, piece));
            CROFT_DISK_TRY(copy_bytes(at + shift, piece));
            at += piece.size();
        }
    }
    return {};
}

// A sector of the target that has several of the source's, from different places, or the last of
// them.
Result<void> Copy::copy_sector(std::uint64_t offset) {
    std::vector<std::byte> sector(static_cast<std::size_t>(sector_));
    const std::uint64_t length = std::min(sector_, source_.size() - offset);
    if (!options_.target_is_empty && length < sector_)
        CROFT_DISK_TRY(target_.read(offset, sector)); // the rest of it stays
    CROFT_DISK_TRY(source_.read(offset, std::span{sector}.first(static_cast<std::size_t>(length))));
    return copy_bytes(offset, sector);
}

Result<void> Copy::copy_share(std::uint64_t offset, std::uint64_t end, Worker& worker) {
    while (offset < end) {
        const auto place = source_.locate(offset, end - offset);
        if (!place)
            return std::unexpected(place.error());
        // Whole sectors of the target, which may be larger than the source's.
        Chain::Place whole = *place;
        whole.extent.length = place->extent.length / sector_ * sector_;
        Result<void> copied;
        if (whole.extent.length != 0)
            copied = place->image == nullptr ? clear(offset, whole.extent.length)
                                             : copy_place(whole, worker);
        if (place->image != nullptr)
            place->image->finish(place->extent, Image::Outcome::was_read);
        CROFT_DISK_TRY(std::move(copied));
        if (whole.extent.length == 0)
            CROFT_DISK_TRY(copy_sector(offset));
        offset += std::max(whole.extent.length, sector_);
    }
    return {};
}

void Copy::work() {
    Worker worker;
    const std::uint64_t size = source_.size();
    while (!stop_) {
        const std::uint64_t offset = next_.fetch_add(share);
        if (offset >= size)
            return;
        const std::uint64_t end = std::min(offset + share, size);
        auto outcome = copy_share(offset, end, worker);
        const std::uint64_t done = done_ += end - offset;
        const std::lock_guard lock{mutex_};
        if (outcome)
            outcome = report(options_.progress, target_.top().store().name(), done, size);
        if (!outcome && !error_)
            error_ = std::move(outcome).error();
        if (error_)
            stop_ = true;
    }
}

Result<void> Copy::run() {
    std::vector<std::jthread> threads;
    for (unsigned i = 1; i < std::max(1U, options_.threads); ++i)
        threads.emplace_back([this] { work(); });
    work();
    threads.clear();
    if (error_)
        return std::unexpected(*std::move(error_));
    return {};
}

} // namespace

Result<void> copy_contents(Chain& source, Chain& target, const CopyOptions& options) {
    if (target.size() < source.size())
        return std::unexpected(Error::of(ErrorCode::invalid_argument, target.top().store().name(),
            "the target is smaller than the source"));
    return Copy{source, target, options}.run();
}

} // namespace croft::disk::tool
