// SPDX-License-Identifier: Apache-2.0
// The static ACPI tables that say which processors there are and where, and how the machine is
// switched off (ACPI 6.4: 5.2.5 RSDP, 5.2.9 FADT, 5.2.12 MADT, 5.2.16 SRAT). Nothing is
// interpreted.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <string_view>

namespace hypervisor {

struct AcpiInformation {
    static constexpr unsigned most_processors = 64;
    static constexpr std::uint32_t last_apic_id = 254;
    std::array<std::uint32_t, most_processors> apic_ids{};
    unsigned processor_count = 0;
    unsigned left_out = 0; ///< processors beyond most_processors, or whose APIC id is above 254
    /// By APIC id; 0 where nothing is said.
    std::array<std::uint32_t, last_apic_id + 1> proximity_domains{};
    [[nodiscard]] std::uint32_t proximity_domain_of(std::uint32_t apic_id) const {
        return apic_id <= last_apic_id ? proximity_domains[apic_id] : 0;
    }
    std::array<std::uint64_t, 8> io_apics{};
    unsigned io_apic_count = 0;
    std::uint16_t pm1a_control = 0; ///< I/O port, 0 if there is none
    std::uint16_t pm1b_control = 0;
    std::uint16_t pm_timer = 0;
};

/// Reads the tables that the RSDP at `rsdp` leads to.
std::expected<AcpiInformation, std::string_view> read_acpi(std::uint64_t rsdp);

/// Looks for the RSDP where a BIOS keeps it. \return 0 if it is not there.
std::uint64_t find_rsdp();

/// Whether there is an RSDP, of which at least the 20 bytes of its first version can be read.
bool is_rsdp(const void* bytes);

/// Whether the bytes of a table add up to zero.
bool acpi_checksum_ok(const void* table, std::uint32_t length);

} // namespace hypervisor
