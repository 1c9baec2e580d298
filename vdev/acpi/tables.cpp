// SPDX-License-Identifier: Apache-2.0
#include "vdev/acpi/tables.hpp"

#include "vdev/acpi/dsdt.hpp"
#include "vdev/error.hpp"
#include "vdev/power/power.hpp"
#include "vdev/rtc/rtc.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <fmt/format.h>
#include <numeric>
#include <string_view>

namespace croft::vdev {

namespace {

using Bytes = std::vector<std::uint8_t>;

/// Writes a table field by field, in the order of the specification's tables.
class TableWriter {
public:
    /// A table with the common header (ACPI 6.5, 5.2.6).
    TableWriter(std::string_view signature, std::uint8_t revision) {
        text(signature, 4).u32(0).u8(revision).u8(0).text("CROFT", 6).text("CROFTVM", 8).u32(1);
        text("CRFT", 4).u32(1);
    }
    TableWriter() = default;

    TableWriter& u8(std::uint8_t value) { return integer(value, 1); }
    TableWriter& u16(std::uint16_t value) { return integer(value, 2); }
    TableWriter& u32(std::uint32_t value) { return integer(value, 4); }
    TableWriter& u64(std::uint64_t value) { return integer(value, 8); }
    TableWriter& zeros(std::size_t count) {
        bytes_.resize(bytes_.size() + count);
        return *this;
    }
    TableWriter& text(std::string_view value, std::size_t width) {
        bytes_.insert(bytes_.end(), value.begin(), value.end());
        return zeros(width - value.size());
    }
    /// A generic address of a register in the I/O space (ACPI 6.5, 5.2.3.2).
    TableWriter& port(std::uint16_t address, std::uint8_t bits, std::uint8_t access) {
        constexpr std::uint8_t system_io = 1;
        return u8(system_io).u8(bits).u8(0).u8(access).u64(address);
    }
    TableWriter& no_register() { return zeros(12); }

    [[nodiscard]] std::size_t size() const { return bytes_.size(); }

    /// The table with its length and checksum filled in.
    [[nodiscard]] Bytes finish() const;
    [[nodiscard]] const Bytes& raw() const { return bytes_; }

private:
    TableWriter& integer(std::uint64_t value, unsigned width) {
        for (unsigned at = 0; at < width; ++at) {
            bytes_.push_back(static_cast<std::uint8_t>(value >> (at * 8)));
        }
        return *this;
    }

    Bytes bytes_;
};

constexpr std::size_t length_offset = 4;
constexpr std::size_t checksum_offset = 9;

/// The value that makes all bytes add up to zero.
std::uint8_t checksum(std::span<const std::uint8_t> bytes) {
    const unsigned sum = std::accumulate(bytes.begin(), bytes.end(), 0U);
    return static_cast<std::uint8_t>(0U - sum);
}

void seal(Bytes& table) {
    const auto length = static_cast<std::uint32_t>(table.size());
    std::memcpy(table.data() + length_offset, &length, sizeof(length));
    table[checksum_offset] = 0;
    table[checksum_offset] = checksum(table);
}

Bytes TableWriter::finish() const {
    Bytes table = bytes_;
    seal(table);
    return table;
}

/// ACPI 6.5, 5.2.10: its signature and length, everything else zero.
Bytes make_facs() {
    constexpr std::uint32_t length = 64;
    constexpr std::size_t version_offset = 32;
    Bytes table = TableWriter().text("FACS", 4).u32(length).zeros(length - 8).raw();
    table[version_offset] = 2;
    return table;
}

/// The compiled DSDT with the serial ports that this VM has.
Bytes make_dsdt(std::uint32_t serial_ports) {
    Bytes table(std::begin(dsdt_aml), std::end(dsdt_aml));
    // Name (SERP, 0xFFFFFFFF) is NameOp, the name, DWordPrefix, the value (ACPI 6.5, 20.2).
    constexpr std::array<std::uint8_t, 6> pattern = {0x08, 'S', 'E', 'R', 'P', 0x0c};
    const auto found = std::search(table.begin(), table.end(), pattern.begin(), pattern.end());
    if (table.end() - found < 10) {
        throw DeviceError("the compiled DSDT has no SERP; rebuild the program");
    }
    std::memcpy(&*found + pattern.size(), &serial_ports, sizeof(serial_ports));
    seal(table);
    return table;
}

/// ACPI 6.5, 5.2.9.
Bytes make_fadt(std::uint64_t facs, std::uint64_t dsdt) {
    constexpr std::uint8_t profile_desktop = 1;
    constexpr std::uint16_t no_c_state = 0xffff;
    constexpr std::uint8_t byte_access = 1;
    constexpr std::uint8_t word_access = 2;
    constexpr std::uint8_t dword_access = 3;
    // IA-PC boot flags: neither keyboard controller nor VGA; no MSI restriction.
    constexpr std::uint16_t boot_vga_absent = 1U << 2;
    // Fixed feature flags: WBINVD works, the PM timer has 32 bits, there are no sleep button and no
    // RTC wake, the reset register works.
    constexpr std::uint32_t flag_wbinvd = 1U << 0;
    constexpr std::uint32_t flag_c1 = 1U << 2;
    constexpr std::uint32_t flag_no_sleep_button = 1U << 5;
    constexpr std::uint32_t flag_no_fixed_rtc = 1U << 6;
    constexpr std::uint32_t flag_timer_32 = 1U << 8;
    constexpr std::uint32_t flag_reset = 1U << 10;

    TableWriter fadt("FACP", 6);
    fadt.u32(static_cast<std::uint32_t>(facs)).u32(static_cast<std::uint32_t>(dsdt));
    fadt.u8(0).u8(profile_desktop).u16(PowerLayout::sci_line);
    fadt.u32(0).zeros(4); // no SMI command port: always in ACPI mode
    fadt.u32(PowerLayout::event_port).u32(0).u32(PowerLayout::control_port).u32(0);
    fadt.u32(0).u32(PowerLayout::timer_port).u32(0).u32(0);
    fadt.u8(4).u8(2).u8(0).u8(4).u8(0).u8(0).u8(0).u8(0);
    fadt.u16(no_c_state).u16(no_c_state).u16(0).u16(0).u8(0).u8(0);
    fadt.u8(0).u8(0).u8(Rtc::century_index);
    fadt.u16(boot_vga_absent).u8(0);
    fadt.u32(flag_wbinvd | flag_c1 | flag_no_sleep_button | flag_no_fixed_rtc | flag_timer_32 |
        flag_reset);
    fadt.port(PowerLayout::reset_port, 8, byte_access).u8(PowerLayout::reset_value);
    fadt.u16(0).u8(5);
    // The 64-bit fields repeat those above; zero would do, but some guests read only these.
    fadt.u64(facs).u64(dsdt);
    fadt.port(PowerLayout::event_port, 32, word_access).no_register();
    fadt.port(PowerLayout::control_port, 16, word_access).no_register();
    fadt.no_register().port(PowerLayout::timer_port, 32, dword_access);
    fadt.no_register().no_register().no_register().no_register();
    fadt.u64(0);
    return fadt.finish();
}

/// ACPI 6.5, 5.2.12.
Bytes make_madt(const AcpiSettings& settings) {
    constexpr std::uint32_t local_apic_address = 0xfee0'0000;
    constexpr std::uint32_t no_dual_8259 = 0;
    constexpr std::uint32_t enabled = 1;
    constexpr std::uint32_t first_x2apic_only_id = 255;
    constexpr std::uint8_t io_apic_id = 0;
    constexpr std::uint16_t as_the_bus = 0;
    constexpr std::uint16_t active_high_level = 0x0d;
    constexpr std::uint8_t all_processors = 0xff;
    constexpr std::uint32_t all_x2apic_processors = 0xffff'ffff;
    constexpr std::uint8_t nmi_pin = 1;

    TableWriter madt("APIC", 5);
    madt.u32(local_apic_address).u32(no_dual_8259);
    for (std::uint32_t id = 0; id < settings.processors; ++id) {
        if (id < first_x2apic_only_id) {
            const auto small = static_cast<std::uint8_t>(id);
            madt.u8(0).u8(8).u8(small).u8(small).u32(enabled);
        } else {
            madt.u8(9).u8(16).u16(0).u32(id).u32(enabled).u32(id);
        }
    }
    madt.u8(1).u8(12).u8(io_apic_id).u8(0).u32(settings.io_apic_address).u32(0);
    // The PIT's line 0 is at pin 2, and the SCI is level-triggered.
    madt.u8(2).u8(10).u8(0).u8(0).u32(2).u16(as_the_bus);
    madt.u8(2).u8(10).u8(0).u8(PowerLayout::sci_line).u32(PowerLayout::sci_line);
    madt.u16(active_high_level);
    madt.u8(4).u8(6).u8(all_processors).u16(as_the_bus).u8(nmi_pin);
    if (settings.processors > first_x2apic_only_id) {
        madt.u8(10).u8(12).u16(as_the_bus).u32(all_x2apic_processors).u8(nmi_pin).zeros(3);
    }
    return madt.finish();
}

Bytes make_xsdt(std::span<const std::uint64_t> tables) {
    TableWriter xsdt("XSDT", 1);
    for (const std::uint64_t table : tables) {
        xsdt.u64(table);
    }
    return xsdt.finish();
}

/// ACPI 6.5, 5.2.5.3: a checksum over its first 20 bytes and one over all.
Bytes make_rsdp(std::uint64_t xsdt) {
    constexpr std::size_t first_part = 20;
    constexpr std::size_t first_checksum = 8;
    constexpr std::size_t second_checksum = 32;
    constexpr std::uint8_t revision = 2;
    Bytes table = TableWriter()
                      .text("RSD PTR ", 8)
                      .u8(0)
                      .text("CROFT", 6)
                      .u8(revision)
                      .u32(0)
                      .u32(36)
                      .u64(xsdt)
                      .zeros(4)
                      .raw();
    table[first_checksum] = checksum(std::span(table).first(first_part));
    table[second_checksum] = checksum(table);
    return table;
}

constexpr std::size_t alignment = 64;

/// Appends a table at the next multiple of 64 and answers its offset.
std::size_t append(Bytes& all, const Bytes& table) {
    all.resize((all.size() + alignment - 1) / alignment * alignment);
    const std::size_t offset = all.size();
    all.insert(all.end(), table.begin(), table.end());
    return offset;
}

} // namespace

AcpiTables::AcpiTables(const AcpiSettings& settings, std::uint64_t address, std::uint64_t room)
    : address_(address) {
    constexpr std::size_t rsdp_size = 36;
    bytes_.resize(rsdp_size);
    const std::uint64_t facs = address + append(bytes_, make_facs());
    const std::uint64_t dsdt = address + append(bytes_, make_dsdt(settings.serial_ports));
    const std::array<std::uint64_t, 2> listed = {
        address + append(bytes_, make_fadt(facs, dsdt)),
        address + append(bytes_, make_madt(settings)),
    };
    const std::uint64_t xsdt = address + append(bytes_, make_xsdt(listed));
    const Bytes rsdp = make_rsdp(xsdt);
    std::copy(rsdp.begin(), rsdp.end(), bytes_.begin());
    if (bytes_.size() > room) {
        throw DeviceError(fmt::format("ACPI tables: found {} bytes for {} processors, expected at "
                                      "most {}; give the VM fewer processors",
            bytes_.size(), settings.processors, room));
    }
}

} // namespace croft::vdev
