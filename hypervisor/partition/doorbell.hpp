// SPDX-License-Identifier: Apache-2.0
// Doorbells: how a child's write or signal reaches an eventfd of the root without a stop of the VP.
#pragma once

#include "hypervisor/hypercall/status.hpp"

#include <cstdint>

namespace hypervisor {

class Partition;
class VirtualProcessor;

namespace doorbell {

/// Whether any doorbell is at the address, outside the signal window.
bool exists(Partition& child, std::uint64_t gpa);
/// \return false if no doorbell is triggered by the write.
bool ring_by_write(Partition& child, std::uint64_t gpa, unsigned size, std::uint64_t value);
/// HvSignalEvent. \return false if the connection is none.
bool ring_by_signal(Partition& child, std::uint32_t connection_id);
/// An event ring of the root for the SINT has been emptied: rings again what found it full.
void ring_empty(unsigned sint);

} // namespace doorbell

} // namespace hypervisor
