// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/chain.hpp"

#include <cstddef>
#include <cstdint>
#include <shared_mutex>
#include <span>

namespace croft::disk::mount {

// A disk as bytes, for users that know no sectors. May be called from any thread at any time.
class ByteDisk {
public:
    explicit ByteDisk(Chain& chain)
        : chain_{chain},
          sector_{chain.top().info().logical_sector_size} {}

    Result<void> read(std::uint64_t offset, std::span<std::byte> bytes);
    Result<void> write(std::uint64_t offset, std::span<const std::byte> bytes);
    // The range reads as zeros afterwards, and what can be given back of its room is.
    Result<void> zero(std::uint64_t offset, std::uint64_t length);
    Result<void> flush() { return chain_.flush(); }

    // Whether zero() gives room back.
    bool gives_back() const;
    // Bytes, what zero() had best be aligned to.
    std::uint32_t unit() const;
    // The first byte from `offset` on that has a place in a file, or that has none; `end` if there
    // is no such one before.
    Result<std::uint64_t> seek(std::uint64_t offset, std::uint64_t end, bool data);

private:
    bool whole_sectors(std::uint64_t offset, std::uint64_t length) const {
        return offset % sector_ == 0 && length % sector_ == 0;
    }
    Result<void> write_part(std::uint64_t offset, std::span<const std::byte> bytes);
    Result<void> zero_in_place(std::uint64_t offset, std::uint64_t length);

    Chain& chain_;
    std::uint64_t sector_;
    // A write of part of a sector reads the rest first; no other write may come in between.
    std::shared_mutex parts_;
};

} // namespace croft::disk::mount
