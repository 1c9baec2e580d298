// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/file_store.hpp"

#include <string>

namespace croft::disk::mount {

// A loop device over a raw file of an export. It goes when its last user has closed it, this object
// being one of them.
class LoopDevice {
public:
    static Result<LoopDevice> create(
        const std::string& path, bool write, std::uint32_t sector_size);

    const std::string& path() const { return path_; }

private:
    Result<LoopDevice> keep_for_reading() &&;

    std::string path_;
    Descriptor device_;
};

} // namespace croft::disk::mount
