// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/tool/copy.hpp"
#include "disk/tool/create.hpp"

#include <optional>
#include <string>

namespace croft::disk::tool {

struct ConvertOptions {
    NewDisk target{}; // its size is the source's, rounded up as the format needs
    std::optional<Format> source_format{};
    bool into_existing = false; // the target is there already, and large enough; it is written into
    bool replace = false;       // an existing target gives way once the new one is complete
    bool flush = false;         // the target is durable when this returns
    bool azure = false;         // a fixed VHD of whole MiB
    unsigned threads = 2;
    Progress progress{};
};

// Copies a disk with all its ancestors into a new one. The target gets its name when it is
// complete.
Result<void> convert(
    const std::string& source, const std::string& target, const ConvertOptions& options);

// Writes the image anew without what it does not need, in the place of the old file: same contents,
// same identity, same parent. Answers how many bytes the file became shorter.
Result<std::uint64_t> compact(
    const std::string& path, const Progress& progress, std::optional<Format> format = {});

} // namespace croft::disk::tool
