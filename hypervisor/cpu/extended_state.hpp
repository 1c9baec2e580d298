// SPDX-License-Identifier: Apache-2.0
// x87, SSE, AVX … state. The hypervisor itself uses none of it, so between two exits of one guest
// it stays where it is; it is saved when another virtual processor takes the LP.
#pragma once

#include "hypervisor/cpu/xsave_layout.hpp"

#include <cstdint>
#include <span>

namespace hypervisor::extended_state {

/// Finds out what the processors have, once.
void initialise();
/// Allows the instructions on this processor.
void enable();

/// The states (bits of XCR0) that guests may use.
std::uint64_t supported();
/// Bytes of the standard layout for all supported states; at most a page.
std::uint32_t size();
/// The same for some of them.
std::uint32_t size(std::uint64_t of_states);
/// Bytes of the compacted form, which the interface has.
std::uint32_t compacted_size(std::uint64_t of_states);
/// Makes that form of an area, for some of the states.
void compact(std::uint8_t* area, std::uint64_t of_states, std::span<std::byte> to);
/// Fills an area from either form, which has been checked.
void expand(std::span<const std::byte> from, std::uint8_t* area);
bool has_supervisor_states();
/// The bits of MXCSR that the processors have. After enable().
std::uint32_t mxcsr_mask();

/// Fills a page with the state after power-up.
void reset(std::uint8_t* area);
/// States whose content has been written must be marked, or the processor takes their initial
/// values.
void mark_in_use(std::uint8_t* area, std::uint64_t of_states);
inline constexpr std::uint64_t x87 = 1u << 0;
inline constexpr std::uint64_t sse = 1u << 1;
void load(const std::uint8_t* area, std::uint64_t xcr0);
/// All supported states are saved, whatever the guest has in XCR0. Where the processor can, only
/// those that the guest has changed since they were loaded from the same area.
void save(std::uint8_t* area);

/// What XCR0 holds on this processor.
std::uint64_t current_xcr0();
/// What may be written to XCR0: nothing without XSAVE.
std::uint64_t allowed_xcr0();

} // namespace hypervisor::extended_state
