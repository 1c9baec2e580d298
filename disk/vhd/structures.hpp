// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/image.hpp"
#include "disk/vhd/layout.hpp"

#include <string>
#include <vector>

namespace croft::disk::vhd {

// The footer of a VHD file, checked.
struct FoundFooter {
    Footer footer{};
    bool at_end = false;          // false: only the copy at the beginning is whole
    std::uint64_t end_offset = 0; // where the footer at the end is, or belongs
};

// Whether a store looks like a VHD: a cookie at either place.
bool has_footer(Store& store);
// The one of the two that is there. Errors: `corrupt` if it is none.
Result<Footer> read_footer_at(Store& store, std::uint64_t offset);
// The footer at the end, or if that is damaged the copy at the beginning.
Result<FoundFooter> read_footer(Store& store);
Result<DynamicHeader> read_dynamic_header(Store& store, const Footer& footer);
// The parent's paths, those of the locators first.
Result<std::vector<std::string>> read_parent_paths(Store& store, const DynamicHeader& header);

// What both engines say of themselves.
void describe(const Footer& footer, ImageInfo& info);

} // namespace croft::disk::vhd
