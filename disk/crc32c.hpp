// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace croft::disk {

// CRC-32C (Castagnoli), as [MS-VHDX] uses it: start with 0, hand the result back in to go on.
std::uint32_t crc32c(std::uint32_t crc, std::span<const std::byte> bytes);

} // namespace croft::disk
