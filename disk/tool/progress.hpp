// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/error.hpp"

#include <cstdint>
#include <functional>

namespace croft::disk::tool {

// Told how far an operation is, in bytes of the disk. Answering false stops it; it then fails with
// `interrupted` and leaves what was there before, or a state that the same call takes up again.
using Progress = std::function<bool(std::uint64_t done, std::uint64_t total)>;

inline Result<void> report(
    const Progress& progress, std::string_view file, std::uint64_t done, std::uint64_t total) {
    if (progress && !progress(done, total))
        return std::unexpected(Error::of(ErrorCode::interrupted, file, "interrupted"));
    return {};
}

} // namespace croft::disk::tool
