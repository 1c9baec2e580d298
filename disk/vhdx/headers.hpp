// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/store.hpp"
#include "disk/vhdx/layout.hpp"

#include <string>
#include <vector>

namespace croft::disk::vhdx {

// The header section in use: the valid header of the two with the higher sequence number.
class Headers {
public:
    // Checks the file identifier and both headers.
    static Result<Headers> read(Store& store);

    const Header& current() const { return current_; }
    const std::string& creator() const { return creator_; }
    // Where there was no valid header when the file was opened; the next update() goes there.
    const std::vector<std::uint64_t>& damaged() const { return damaged_; }

    // Makes `changed` the current header: it takes the place of the older one, so that a power cut
    // leaves one of them whole. The caller makes it durable, before the next update.
    Result<void> update(Store& store, Header changed);

    // A header's bytes, checksum and all, for a new file.
    static Header sealed(Header header);

private:
    Header current_{};
    std::size_t slot_ = 0; // which of the two places holds it
    std::string creator_;
    std::vector<std::uint64_t> damaged_;
};

} // namespace croft::disk::vhdx
