// SPDX-License-Identifier: Apache-2.0
// x87, SSE, AVX … state. The hypervisor itself uses none of it, so between two exits of one guest
// it stays where it is; it is saved when another virtual processor takes the LP.
#pragma once

#include <cstdint>

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
bool has_supervisor_states();
/// The bits of MXCSR that the processors have. After enable().
std::uint32_t mxcsr_mask();

/// Fills a page with the state after power-up.
void reset(std::uint8_t* area);
void load(const std::uint8_t* area, std::uint64_t xcr0);
/// All supported states are saved, whatever the guest has in XCR0.
void save(std::uint8_t* area);

/// What XCR0 holds on this processor.
std::uint64_t current_xcr0();
/// What may be written to XCR0: nothing without XSAVE.
std::uint64_t allowed_xcr0();

} // namespace hypervisor::extended_state
