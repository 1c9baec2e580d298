// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vsp/storage/protocol.hpp"
#include "vsp/storage/scsi/big_endian.hpp"
#include "vsp/storage/scsi/codes.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace croft::vsp::storage::scsi {

/// A command descriptor block, with zeros behind what the guest gave.
class Cdb {
public:
    Cdb() = default;
    explicit Cdb(const std::array<std::uint8_t, protocol::cdb_size>& bytes) : bytes_(bytes) {}

    [[nodiscard]] OperationCode operation() const { return static_cast<OperationCode>(bytes_[0]); }
    [[nodiscard]] std::uint8_t operator[](std::size_t offset) const { return bytes_[offset]; }
    /// The number in `size` bytes from `offset`.
    [[nodiscard]] std::uint64_t number(std::size_t offset, std::size_t size) const {
        return get_be(bytes_, offset, size);
    }
    /// How long such a command is, by the group of its operation code (SPC-4 4.2.5.1); 0 for those
    /// of variable length.
    [[nodiscard]] std::size_t length() const;

private:
    std::array<std::uint8_t, protocol::cdb_size> bytes_{};
};

/// Which way a command's data goes.
enum class Direction : std::uint8_t { none, to_guest, from_guest };

/// Logical blocks that a command is about.
struct Blocks {
    std::uint64_t first = 0;
    std::uint64_t count = 0;

    friend bool operator==(const Blocks&, const Blocks&) = default;
};

/// READ and WRITE (6), (10), (12) and (16).
struct Transfer {
    Blocks blocks;
    bool is_write = false;
    /// FUA
    bool force_unit_access = false;
    /// RDPROTECT or WRPROTECT: the guest wants protection information.
    bool wants_protection = false;
};

/// The command as a transfer, if it is one.
[[nodiscard]] std::optional<Transfer> parse_transfer(const Cdb& cdb);

/// The blocks of VERIFY, WRITE SAME and SYNCHRONIZE CACHE, by the length of the command.
[[nodiscard]] Blocks parse_blocks(const Cdb& cdb);

} // namespace croft::vsp::storage::scsi
