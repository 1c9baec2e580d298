// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/memory/guest_pages.hpp"
#include "vmbus/ring/packet.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <sys/uio.h>
#include <vector>

// A command's data where the guest has it.
namespace croft::vsp::storage {

/// Puts the first `length` bytes of a range, which has as many, into `segments`, neighbours as one.
/// False if some of it isn't memory of the guest.
[[nodiscard]] bool map_range(const vmbus::PageRange& range, std::uint32_t length,
    const vmbus::GuestPages& memory, std::vector<iovec>& segments);

/// Takes off what is beyond the first `length` bytes, of which there are as many.
void shorten(std::vector<iovec>& segments, std::size_t length);

/// Copies the first bytes of what there is, once each, into `bytes`.
void copy_from_guest(std::span<const iovec> segments, std::span<std::uint8_t> bytes);
/// Whether the bytes from `offset` on, of which there are as many, are these.
[[nodiscard]] bool is_equal(
    std::span<const iovec> segments, std::size_t offset, std::span<const std::uint8_t> bytes);
void copy_to_guest(std::span<const iovec> segments, std::span<const std::uint8_t> bytes);

} // namespace croft::vsp::storage
