// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/error.hpp"
#include "disk/guid.hpp"
#include "disk/store.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace croft::disk {

enum class Format : std::uint8_t { raw, vhd, vhdx, iso };
enum class Allocation : std::uint8_t { fixed, dynamic, differencing };

std::string_view to_string(Format format);
std::string_view to_string(Allocation allocation);

// What an image says of itself; constant while it is open.
struct ImageInfo {
    Format format = Format::raw;
    Allocation allocation = Allocation::fixed;
    std::uint32_t logical_sector_size = 512;   // bytes
    std::uint32_t physical_sector_size = 4096; // bytes
    std::uint32_t block_size = 0; // bytes, the unit of allocation; 0 when there is none
    bool read_only = false;
    std::optional<Guid> disk_id; // which disk it is, if the format tells
    std::string identity; // of the contents, as a child remembers it; empty when there is none
    std::vector<std::string> parent_identities; // the parent's `identity` has to be one of these
    // When the parent was modified last before this image was made from it, as seconds since
    // 1970-01-01 UTC, if the format tells.
    std::optional<std::int64_t> parent_modified{};
    // Where the parent may be, most trustworthy first; paths of this host, absolute or relative to
    // the image's own folder.
    std::vector<std::string> parent_paths;
    std::string creator; // the program that made the file, as the file says
};

// Where a piece of a disk is, in the eyes of one image of its chain.
struct Extent {
    enum class Where : std::uint8_t {
        data,   // in the store, at `store_offset`
        zero,   // nowhere: it reads as zeros
        parent, // not here: ask the next image of the chain
        absent, // unknown: the metadata that tells is not in memory, prepare() brings it
    };
    Where where = Where::zero;
    std::uint64_t offset = 0;       // in the disk
    std::uint64_t length = 0;       // bytes, never 0
    std::uint64_t store_offset = 0; // of `data` only
    // The image's own: keep the place from being used again, and the page to be changed in memory.
    std::uint32_t ticket = 0;
    void* pin = nullptr;
};

// One file of a chain: a format's engine. It says where things are and keeps its metadata; moving
// the payload is the caller's. That keeps one data path for all formats, asynchronous or blocking,
// with no copy in it.
//
// Every call may come from any thread. find(), reserve(), finish() and prepare_at_once() never
// block on I/O; the others do and take turns. Offsets and lengths are multiples of the logical
// sector size.
//
// What is written is durable once flush() says so, and not before. Metadata becomes durable in one
// step, after the payload that it points to.
class Image {
public:
    enum class Access : std::uint8_t { read, write };

    explicit Image(std::unique_ptr<Store> store) : store_{std::move(store)} {}
    Image(const Image&) = delete;
    Image& operator=(const Image&) = delete;
    virtual ~Image() = default;

    Store& store() { return *store_; }
    const Store& store() const { return *store_; }
    const ImageInfo& info() const { return info_; }
    // What who opened the image noticed; check() tells it.
    const std::vector<std::string>& notes() const { return notes_; }
    void add_note(std::string note) { notes_.push_back(std::move(note)); }
    // Bytes that the guest sees; changed by resize() only.
    std::uint64_t size() const { return size_.load(std::memory_order_acquire); }

    // Where the bytes from `offset` are, as far as one answer holds. A `data` extent is the
    // caller's until finish().
    virtual Extent find(std::uint64_t offset, std::uint64_t length) = 0;
    // The same for writing: makes room, so that the answer is `data` or `absent`.
    virtual Extent reserve(std::uint64_t offset, std::uint64_t length) = 0;
    enum class Outcome : std::uint8_t { was_read, was_written, failed };
    // Gives an extent back when its I/O is over. What `was_written` is found from now on.
    virtual void finish(const Extent& extent, Outcome outcome) = 0;

    // Brings metadata into memory, so that the same find() or reserve() gets on by at least one
    // step.
    virtual Result<void> prepare(std::uint64_t offset, std::uint64_t length, Access access) = 0;
    // The same for reading if that takes no waiting, neither for I/O nor for whose turn it is;
    // false if it might. It may bring a part of what is missing.
    virtual bool prepare_at_once(std::uint64_t) { return false; }
    virtual Result<void> flush() = 0;
    // Forgets the whole allocation units within the range; they read as zeros from then on, and
    // their space is used again. Answers by way of `skipped` what was left as it is, because the
    // format can't say "zeros" of it: the edges, or all.
    virtual Result<void> discard(
        std::uint64_t offset, std::uint64_t length, std::vector<Store::Range>& skipped) = 0;
    // Gives back what it can of a range that the guest needs no more, and writes no zeros for it;
    // what the range reads as afterwards is not known.
    virtual Result<void> trim(std::uint64_t offset, std::uint64_t length);
    // Bytes, what trim() gives back at a time; 0 when it gives nothing back.
    std::uint32_t discard_granularity() const;
    // Which disk it is, the same as long as it lives; empty if nothing tells.
    std::string disk_identity() const;
    // Of a differencing image: gives up all that it holds itself, so that its parent shows
    // everywhere; durable when it returns. Nobody may use the image meanwhile. After an error some
    // of it may be given up.
    virtual Result<void> forget_all();
    // Changes the size of the disk. Cutting off data is the caller's responsibility.
    virtual Result<void> resize(std::uint64_t size) = 0;
    // Of a disk that is all of its store: takes the size that the store has now.
    virtual Result<void> take_all();
    // Flushes, and marks the file as cleanly closed. Nothing but destruction may follow.
    virtual Result<void> close() = 0;

protected:
    ImageInfo& mutable_info() { return info_; }
    void set_size(std::uint64_t size) { size_.store(size, std::memory_order_release); }

private:
    std::unique_ptr<Store> store_;
    ImageInfo info_;
    std::vector<std::string> notes_;
    std::atomic<std::uint64_t> size_{0};
};

} // namespace croft::disk
