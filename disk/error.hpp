// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

namespace croft::disk {

// What went wrong, in kinds that a caller may treat differently. A new kind goes at the end: the
// numbers are shown to users as part of --json.
enum class ErrorCode : std::uint8_t {
    none = 0,
    io,               // the operating system failed a read or write; os_error says how
    no_space,         // the file system, the device or a quota is full
    corrupt,          // a structure of the file contradicts its specification
    unsupported,      // well formed, but needs a feature that this library lacks
    not_found,        // no such file
    access,           // permission denied
    in_use,           // another process or disk object holds the file
    read_only,        // the disk was opened for reading
    out_of_range,     // beyond the end of the disk
    misaligned,       // not a multiple of the sector size
    cancelled,        // cancelled before it had any effect
    exists,           // would overwrite a file
    invalid_argument, // a parameter that no disk can have
    parent_mismatch,  // the parent is not the one that the child was made from
    needs_replay,     // the log holds changes, and the file may not be written
    interrupted,      // the user stopped the operation
};

// The name of a code as it appears in JSON: "no_space".
std::string_view to_string(ErrorCode code);

// The kind that an errno value belongs to; `io` for all that have none of their own.
ErrorCode code_from_errno(int os_error);

// Outcome of one request on the data path. Small, never allocates.
struct [[nodiscard]] Status {
    ErrorCode code = ErrorCode::none;
    int os_error = 0; // errno, where the operating system gave one

    bool ok() const { return code == ErrorCode::none; }
    static Status from_errno(int os_error) { return {code_from_errno(os_error), os_error}; }
};

// Outcome of everything else: says which file, where in it, what was found and what was expected.
struct [[nodiscard]] Error {
    ErrorCode code = ErrorCode::io;
    std::string file;
    std::optional<std::uint64_t> offset; // bytes from the start of `file`
    std::string what;
    int os_error = 0;

    // "disk.vhdx: at offset 196608 (0x30000): region table signature: found …, expected …"
    std::string text() const;
    Status status() const { return {code, os_error}; }

    static Error system(std::string_view file, std::string_view doing, int os_error);
    static Error corrupt(std::string_view file, std::uint64_t offset, std::string what);
    static Error of(ErrorCode code, std::string_view file, std::string what);
};

template <class T>
using Result = std::expected<T, Error>;

} // namespace croft::disk

// Hands an error to the caller, the way a thrown exception would go, but visibly.
#define CROFT_DISK_TRY(expression)                                         \
    do {                                                                   \
        if (auto croft_disk_outcome = (expression); !croft_disk_outcome)   \
            return std::unexpected(std::move(croft_disk_outcome).error()); \
    } while (false)
