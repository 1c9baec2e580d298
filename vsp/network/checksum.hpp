// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <sys/uio.h>

// The Internet checksum (RFC 1071).
namespace croft::vsp::network {

/// A sum that grows by pieces, each but the last of an even number of bytes or not.
class Checksum {
public:
    void add(std::span<const std::uint8_t> bytes);
    /// Memory of a guest, which may change meanwhile.
    void add(std::span<const iovec> segments);
    /// A number of a pseudo-header.
    void add_number(std::uint32_t value) { sum_ += (value >> 16) + (value & 0xffff); }

    /// The sum so far, not complemented: what is put in the place of a checksum that somebody else
    /// is to complete.
    [[nodiscard]] std::uint16_t partial() const;
    /// The checksum, big endian in memory as the bytes were.
    [[nodiscard]] std::uint16_t result() const { return static_cast<std::uint16_t>(~partial()); }

private:
    /// Of big-endian numbers of 16 bits.
    std::uint64_t sum_ = 0;
    bool is_odd_ = false;
};

} // namespace croft::vsp::network
