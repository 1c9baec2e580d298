// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

namespace croft::disk::volume {

// What people call a type of partition; empty when it is none that we know.
std::string_view mbr_type_name(std::uint8_t type);
std::string_view gpt_type_name(std::string_view guid);

} // namespace croft::disk::volume
