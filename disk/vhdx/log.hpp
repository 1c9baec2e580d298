// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/store.hpp"
#include "disk/vhdx/layout.hpp"

#include <cstdint>
#include <map>
#include <span>
#include <vector>

// [MS-VHDX] 2.3: metadata becomes durable by way of the log, several pages in one step.
namespace croft::disk::vhdx {

// What a log that is in use would write into the file. Of a file that may not be written, the pages
// are laid over what is read from it.
class Replay {
public:
    // Reads the active sequence of the log that `header` names; nothing to do when it has none.
    static Result<Replay> read(Store& store, const Header& header);

    bool empty() const { return pages_.empty() && zeros_.empty(); }
    std::uint64_t last_file_offset() const { return last_file_offset_; }

    // Writes it all into the file, durably.
    Result<void> apply(Store& store) const;
    // Puts it over bytes that were read at `offset`.
    void lay_over(std::uint64_t offset, std::span<std::byte> bytes) const;

private:
    struct Entry;
    class Finder;
    Result<void> add(Store& store, const Header& header, const Entry& entry);
    Result<void> add_entry(
        Store& store, std::uint64_t at, std::span<const std::byte> bytes, const Entry& entry);

    std::map<std::uint64_t, std::vector<std::byte>> pages_; // by file offset, 4 KiB each
    std::map<std::uint64_t, std::uint64_t> zeros_; // offset and length; older than all of pages_
    std::uint64_t last_file_offset_ = 0;
};

// Writes entries. Each is a sequence of its own, and two places take turns, so that the one before
// stays valid until the next is whole. The caller sees to it that the pages of the one before are
// durable in the file by then.
class LogWriter {
public:
    struct Page {
        std::uint64_t file_offset;
        std::span<const std::byte> bytes; // 4 KiB
    };

    LogWriter() = default;
    LogWriter(const Header& header, const Guid& guid)
        : offset_{header.log_offset},
          slot_size_{header.log_length / 2},
          guid_{guid} {}

    // How many pages an entry can take, in a log of `log_length` bytes.
    static std::size_t capacity(std::uint32_t log_length);

    // Writes one entry; it counts once the store has been flushed.
    Result<void> write(Store& store, std::span<const Page> pages, std::uint64_t flushed_file_offset,
        std::uint64_t last_file_offset);

private:
    std::uint64_t offset_ = 0;
    std::uint32_t slot_size_ = 0;
    Guid guid_;
    std::uint64_t sequence_number_ = 0;
};

} // namespace croft::disk::vhdx
