// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

// A ring in guest memory (Linux, include/linux/hyperv.h, struct hv_ring_buffer): one page of header
// and then the data. Offsets of the header's fields, each 32 bits.
namespace croft::vmbus::protocol {

/// Where the next packet goes, in bytes from the start of the data. The writer's.
constexpr std::size_t ring_write_index = 0;
/// Where the next packet is read, in bytes from the start of the data. The reader's.
constexpr std::size_t ring_read_index = 4;
/// Not zero: the reader is awake and wants no signal. The reader's.
constexpr std::size_t ring_interrupt_mask = 8;
/// Not zero: the writer waits until more bytes than this are free, and wants a signal then. The
/// writer's.
constexpr std::size_t ring_pending_send_size = 12;
/// What the writer can do. The writer's.
constexpr std::size_t ring_feature_bits = 64;

/// The writer sets ring_pending_send_size; and in the ring of the other direction it looks at that
/// field when it has read.
constexpr std::uint32_t ring_feature_pending_send_size = 1;

/// Packets begin and end at multiples of this.
constexpr std::uint32_t ring_granule = 8;

} // namespace croft::vmbus::protocol
