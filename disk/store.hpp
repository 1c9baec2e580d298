// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/error.hpp"
#include "disk/ring.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace croft::disk {

// What a disk's bytes are kept in: a file, a block device, and in tests memory that loses power.
// Knows nothing of formats. All of it may be called from any thread at any time; calls that overlap
// in range have no order among themselves unless the caller makes one.
class Store {
public:
    struct Traits {
        bool block_device = false;
        bool read_only = false;
        bool direct = false; // aligned asynchronous calls go past the page cache, others do not
        std::uint32_t memory_alignment = 1; // bytes, of each segment's address
        std::uint32_t offset_alignment = 1; // bytes, of the offset and of each segment's length
        // Bytes, what discard() gives back at a time; 0 when it gives nothing back.
        std::uint32_t discard_granularity = 0;
        bool zero_gives_back = false; // zero() makes a hole; otherwise it writes
    };

    Store() = default;
    Store(const Store&) = delete;
    Store& operator=(const Store&) = delete;
    virtual ~Store() = default;

    virtual const std::string& name() const = 0;
    virtual const Traits& traits() const = 0;
    virtual std::uint64_t size() const = 0; // bytes
    // Where it ends at this moment: nearer than by its size if somebody else has cut it off.
    virtual std::uint64_t end() const { return size(); }

    // Blocking, for metadata and tools. All or an error: a short transfer is continued.
    virtual Result<void> read(std::uint64_t offset, std::span<std::byte> bytes) = 0;
    // The same if that takes no waiting; false if it would, or fails.
    virtual bool read_at_once(std::uint64_t, std::span<std::byte>) { return false; }
    virtual Result<void> write(std::uint64_t offset, std::span<const std::byte> bytes) = 0;
    // What completed before is durable after, the size too. Once it failed, it fails forever: the
    // kernel drops pages that it could not write, so a later success would prove nothing.
    virtual Result<void> flush() = 0;
    // What completed before is durable before what begins after. Formats live by it; it is flush()
    // unless whoever opened the store asked for no durability.
    virtual Result<void> order() { return flush(); }
    // Grows with zeros, or cuts. A block device only accepts what it has.
    virtual Result<void> resize(std::uint64_t size) = 0;
    // Makes a range within the size read as zeros, giving its space back where that is possible.
    virtual Result<void> zero(std::uint64_t offset, std::uint64_t length) = 0;
    // Gives back what it can of a range that nobody needs any more, and writes nothing. What the
    // range reads as afterwards is not known.
    virtual Result<void> discard(std::uint64_t offset, std::uint64_t length) = 0;
    // Looks again how large it is, as a device may have grown.
    virtual Result<void> remeasure() { return {}; }
    // Which store it is, the same whenever and by whatever name it is opened; empty if unknown.
    virtual std::string identity() const { return {}; }

    // Has the file system set room aside for a range, which then can't run out of space. Its
    // contents stay; where that is impossible nothing happens.
    virtual Result<void> allocate(std::uint64_t offset, std::uint64_t length) = 0;

    struct Range {
        std::uint64_t offset;
        std::uint64_t length;
    };
    // The first range at or after `offset` that may hold other bytes than zeros; a length of 0 says
    // that there is none before `end`. A store that can't tell answers all of it.
    virtual Range next_data(std::uint64_t offset, std::uint64_t end) = 0;
    // How many bytes of a range those are.
    std::uint64_t count_data(std::uint64_t offset, std::uint64_t end);

    // When the contents were last modified, in seconds since 1970-01-01 UTC, if that is known.
    virtual std::optional<std::int64_t> modified() const { return std::nullopt; }

    // The same contents for writing, of a store that was opened for reading: refused while somebody
    // else has them. Of the two only the new one is used from then on; this one has to outlive it.
    virtual Result<std::unique_ptr<Store>> open_for_writing() = 0;

    // For copy_file_range and the like between two files; -1 when there is no such thing.
    virtual int descriptor() const { return -1; }

    // The data path: result by way of `completion` on the ring's thread, bytes or -errno, and maybe
    // fewer bytes than were asked for.
    virtual void start_read(Ring& ring, std::uint64_t offset, std::span<const iovec> segments,
        Completion& completion) noexcept = 0;
    virtual void start_write(Ring& ring, std::uint64_t offset, std::span<const iovec> segments,
        Completion& completion) noexcept = 0;
};

} // namespace croft::disk
