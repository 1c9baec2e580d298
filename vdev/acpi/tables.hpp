// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace croft::vdev {

/// What the ACPI tables of a VM depend on.
struct AcpiSettings {
    /// Virtual processors; number i has APIC id i.
    std::uint32_t processors = 1;
    std::uint32_t io_apic_address = 0xfec0'0000;
    /// Bit 0 for COM1, bit 1 for COM2.
    std::uint32_t serial_ports = 1;
};

/// The tables by which a guest finds the devices that can't be found otherwise (ACPI 6.5): RSDP,
/// XSDT, FADT, FACS, MADT and DSDT, in one piece that goes to a guest physical address.
class AcpiTables {
public:
    /// Lays the tables out for `address`, a multiple of 64 below 4 GiB. Errors: DeviceError if they
    /// don't fit into `room` bytes.
    AcpiTables(const AcpiSettings& settings, std::uint64_t address, std::uint64_t room);

    /// The bytes to put at the address given; the RSDP comes first.
    [[nodiscard]] std::span<const std::uint8_t> bytes() const { return bytes_; }
    [[nodiscard]] std::uint64_t rsdp() const { return address_; }

private:
    std::uint64_t address_;
    std::vector<std::uint8_t> bytes_;
};

} // namespace croft::vdev
