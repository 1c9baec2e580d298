// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace croft::disk {

// Between UTF-8 and the UTF-16 of Windows. What is malformed becomes U+FFFD; reading stops at a
// NUL.
std::string utf8_from_utf16(std::span<const std::byte> bytes, bool big_endian = false);
std::vector<std::byte> utf16_from_utf8(std::string_view text, bool big_endian = false);

} // namespace croft::disk
