// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace croft::worker {

/// Reads a whole regular file. `role` says in messages what it is, `option` how it is given.
/// Errors: LoadError if it can't be read or is larger than `largest` bytes.
[[nodiscard]] std::vector<std::uint8_t> read_input_file(
    const std::string& path, std::string_view role, std::string_view option, std::uint64_t largest);

} // namespace croft::worker
