// SPDX-License-Identifier: Apache-2.0
// The root partition: built at boot from what the machine has.
#pragma once

#include "hypervisor/boot/acpi.hpp"
#include "hypervisor/boot/boot_information.hpp"
#include "hypervisor/boot/linux_image.hpp"
#include "hypervisor/hypercall/status.hpp"
#include "hypervisor/memory/page_pool.hpp"
#include "hypervisor/memory/page_records.hpp"

#include <cstdint>

namespace hypervisor::root {

/// Builds the partition with its address space and its first virtual processor.
/// \param reserve pages of the hypervisor's for the root's tables and virtual processors.
void create(PageRecords& records, PagePool& reserve, const AcpiInformation& acpi);

/// HvCallCreateVp for the root: `lp` is the index of the LP that the virtual processor belongs to.
Status create_vp(std::uint32_t index, std::uint64_t lp);

/// Loads the kernel and lets the first virtual processor enter it. \return or what is wrong.
const char* start(const BootInformation& boot, std::uint64_t rsdp);

/// Bytes of reserve that the root's tables and virtual processors can need.
std::uint64_t reserve_bytes(std::uint64_t memory_end, unsigned processors);

/// Pages kept for overlays of the root: taken from the reserve, but mapped in the root.
inline constexpr unsigned overlay_pages_per_vp = 4;
inline constexpr unsigned overlay_pages = 2;

} // namespace hypervisor::root
