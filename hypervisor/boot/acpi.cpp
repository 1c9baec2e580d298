// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/boot/acpi.hpp"

#include <cstring>

namespace hypervisor {

namespace {

struct [[gnu::packed]] Rsdp {
    char signature[8];
    std::uint8_t checksum;
    char oem_id[6];
    std::uint8_t revision;
    std::uint32_t rsdt;
    std::uint32_t length;
    std::uint64_t xsdt;
};
constexpr std::uint32_t rsdp_v1_length = 20;

struct [[gnu::packed]] Header {
    char signature[4];
    std::uint32_t length;
    std::uint8_t revision;
    std::uint8_t checksum;
    char oem_id[6];
    char oem_table_id[8];
    std::uint32_t oem_revision;
    std::uint32_t creator_id;
    std::uint32_t creator_revision;
};

constexpr std::uint32_t longest_table = 1u << 20;
constexpr std::uint32_t fadt_pm1a_control = 64;
constexpr std::uint32_t fadt_pm1b_control = 68;
constexpr std::uint32_t fadt_pm_timer = 76;
constexpr std::uint32_t madt_entries = 44;

constexpr std::uint32_t srat_entries = 48;

enum SratEntry : std::uint8_t { srat_local_apic = 0, srat_local_x2apic = 2 };
enum MadtEntry : std::uint8_t { madt_local_apic = 0, madt_io_apic = 1, madt_local_x2apic = 9 };

template <class T>
T read_at(std::uint64_t address) {
    T value;
    std::memcpy(&value, reinterpret_cast<const void*>(address), sizeof value);
    return value;
}

void add_processor(AcpiInformation& info, std::uint32_t apic_id, std::uint32_t flags) {
    constexpr std::uint32_t enabled = 1;
    if ((flags & enabled) == 0) {
        return;
    }
    if (info.processor_count == AcpiInformation::most_processors ||
        apic_id > AcpiInformation::last_apic_id) {
        ++info.left_out;
        return;
    }
    info.apic_ids[info.processor_count++] = apic_id;
}

/// Calls `f(type, size, address)` for each entry of a table, up to one that is damaged.
template <class F>
void for_each_entry(std::uint64_t begin, std::uint64_t end, F&& f) {
    for (std::uint64_t at = begin; at + 2 <= end;) {
        const auto size = read_at<std::uint8_t>(at + 1);
        if (size < 2 || at + size > end) {
            return;
        }
        f(read_at<std::uint8_t>(at), size, at);
        at += size;
    }
}

void read_madt(AcpiInformation& info, std::uint64_t table, std::uint32_t length) {
    const auto read_entry = [&info](std::uint8_t type, std::uint8_t size, std::uint64_t at) {
        if (type == madt_local_apic && size >= 8) {
            add_processor(info, read_at<std::uint8_t>(at + 3), read_at<std::uint32_t>(at + 4));
        } else if (type == madt_local_x2apic && size >= 16) {
            add_processor(info, read_at<std::uint32_t>(at + 4), read_at<std::uint32_t>(at + 8));
        } else if (type == madt_io_apic && size >= 12 &&
            info.io_apic_count < info.io_apics.size()) {
            info.io_apics[info.io_apic_count++] = read_at<std::uint32_t>(at + 4);
        }
    };
    for_each_entry(table + madt_entries, table + length, read_entry);
}

void read_srat(AcpiInformation& info, std::uint64_t table, std::uint32_t length) {
    const auto place = [&info](std::uint32_t apic_id, std::uint32_t domain, std::uint32_t flags) {
        constexpr std::uint32_t enabled = 1;
        if ((flags & enabled) != 0 && apic_id <= AcpiInformation::last_apic_id) {
            info.proximity_domains[apic_id] = domain;
        }
    };
    const auto read_entry = [&place](std::uint8_t type, std::uint8_t size, std::uint64_t at) {
        if (type == srat_local_apic && size >= 16) {
            // The domain's first byte stands apart from the others.
            const std::uint32_t high = read_at<std::uint32_t>(at + 8) & 0xffffff00;
            place(read_at<std::uint8_t>(at + 3), high | read_at<std::uint8_t>(at + 2),
                read_at<std::uint32_t>(at + 4));
        } else if (type == srat_local_x2apic && size >= 24) {
            place(read_at<std::uint32_t>(at + 8), read_at<std::uint32_t>(at + 4),
                read_at<std::uint32_t>(at + 12));
        }
    };
    for_each_entry(table + srat_entries, table + length, read_entry);
}

void read_fadt(AcpiInformation& info, std::uint64_t table, std::uint32_t length) {
    if (length < fadt_pm_timer + 4) {
        return;
    }
    info.pm1a_control =
        static_cast<std::uint16_t>(read_at<std::uint32_t>(table + fadt_pm1a_control));
    info.pm1b_control =
        static_cast<std::uint16_t>(read_at<std::uint32_t>(table + fadt_pm1b_control));
    info.pm_timer = static_cast<std::uint16_t>(read_at<std::uint32_t>(table + fadt_pm_timer));
}

void read_table(AcpiInformation& info, std::uint64_t table) {
    if (table == 0) {
        return; // firmware leaves entries of its root table empty
    }
    const auto header = read_at<Header>(table);
    if (header.length < sizeof(Header) || header.length > longest_table ||
        !acpi_checksum_ok(reinterpret_cast<const void*>(table), header.length)) {
        return;
    }
    const std::string_view signature{header.signature, sizeof header.signature};
    if (signature == "APIC") {
        read_madt(info, table, header.length);
    } else if (signature == "SRAT") {
        read_srat(info, table, header.length);
    } else if (signature == "FACP") {
        read_fadt(info, table, header.length);
    }
}

} // namespace

bool is_rsdp(const void* bytes) {
    return std::memcmp(bytes, "RSD PTR ", 8) == 0 && acpi_checksum_ok(bytes, rsdp_v1_length);
}

bool acpi_checksum_ok(const void* table, std::uint32_t length) {
    const auto* bytes = static_cast<const std::uint8_t*>(table);
    std::uint8_t sum = 0;
    for (std::uint32_t i = 0; i < length; ++i) {
        sum = static_cast<std::uint8_t>(sum + bytes[i]);
    }
    return sum == 0;
}

std::uint64_t find_rsdp() {
    constexpr std::uint64_t ebda_pointer = 0x40e; // in the BIOS data area
    const std::uint64_t ebda = std::uint64_t{read_at<std::uint16_t>(ebda_pointer)} << 4;
    for (std::uint64_t at = ebda; ebda != 0 && at < ebda + 1024; at += 16) {
        if (is_rsdp(reinterpret_cast<const void*>(at))) {
            return at;
        }
    }
    for (std::uint64_t at = 0xe0000; at < 0x100000; at += 16) {
        if (is_rsdp(reinterpret_cast<const void*>(at))) {
            return at;
        }
    }
    return 0;
}

std::expected<AcpiInformation, std::string_view> read_acpi(std::uint64_t rsdp_address) {
    const auto rsdp = read_at<Rsdp>(rsdp_address);
    const bool extended = rsdp.revision >= 2 && rsdp.xsdt != 0;
    const std::uint64_t root = extended ? rsdp.xsdt : rsdp.rsdt;
    const std::uint32_t entry_size = extended ? 8 : 4;
    const auto header = read_at<Header>(root);
    if (header.length < sizeof(Header) || header.length > longest_table ||
        !acpi_checksum_ok(reinterpret_cast<const void*>(root), header.length)) {
        return std::unexpected("the ACPI root table is damaged");
    }
    AcpiInformation info;
    for (std::uint64_t at = root + sizeof(Header); at + entry_size <= root + header.length;
         at += entry_size) {
        read_table(info, extended ? read_at<std::uint64_t>(at) : read_at<std::uint32_t>(at));
    }
    if (info.processor_count == 0) {
        return std::unexpected("the ACPI tables (MADT) name no processor");
    }
    return info;
}

} // namespace hypervisor
