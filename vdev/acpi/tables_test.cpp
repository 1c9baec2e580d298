// SPDX-License-Identifier: Apache-2.0
#include "vdev/acpi/tables.hpp"

#include "vdev/error.hpp"
#include "vdev/power/power.hpp"
#include "vdev/rtc/rtc.hpp"
#include "vdev/serial/uart.hpp"

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <map>
#include <numeric>
#include <sstream>
#include <string>

namespace croft::vdev {
namespace {

constexpr std::uint64_t address = 0xe0000;
constexpr std::uint64_t room = 0x20000;

using Table = std::span<const std::uint8_t>;

unsigned sum(Table bytes) {
    return std::accumulate(bytes.begin(), bytes.end(), 0U) & 0xffU;
}

template <typename T>
T field(Table table, std::size_t offset) {
    T value{};
    std::memcpy(&value, table.data() + offset, sizeof(T));
    return value;
}

Table table_at(const AcpiTables& tables, std::uint64_t where) {
    const Table from = tables.bytes().subspan(where - address);
    return from.first(field<std::uint32_t>(from, 4));
}

std::string signature(Table table) {
    return {table.begin(), table.begin() + 4};
}

/// All tables that a guest finds from the RSDP, by signature.
std::map<std::string, Table> find_all(const AcpiTables& tables) {
    std::map<std::string, Table> found;
    const Table xsdt = table_at(tables, field<std::uint64_t>(tables.bytes(), 24));
    found.emplace("XSDT", xsdt);
    for (std::size_t at = 36; at < xsdt.size(); at += 8) {
        const Table table = table_at(tables, field<std::uint64_t>(xsdt, at));
        found.emplace(signature(table), table);
    }
    const Table fadt = found.at("FACP");
    found.emplace("DSDT", table_at(tables, field<std::uint64_t>(fadt, 140)));
    found.emplace("FACS", table_at(tables, field<std::uint64_t>(fadt, 132)));
    return found;
}

TEST(AcpiTables, HaveRightChecksums) {
    const AcpiTables tables({}, address, room);
    EXPECT_EQ(std::string(tables.bytes().begin(), tables.bytes().begin() + 8), "RSD PTR ");
    EXPECT_EQ(sum(tables.bytes().first(20)), 0U);
    EXPECT_EQ(sum(tables.bytes().first(36)), 0U);
    for (const auto& [name, table] : find_all(tables)) {
        if (name != "FACS") { // has none
            EXPECT_EQ(sum(table), 0U) << name;
        }
    }
}

TEST(AcpiTables, DescribeTheFixedHardwareWhereItIs) {
    const AcpiTables tables({}, address, room);
    const Table fadt = find_all(tables).at("FACP");
    EXPECT_EQ(fadt.size(), 276U);
    EXPECT_EQ(field<std::uint16_t>(fadt, 46), PowerLayout::sci_line);
    EXPECT_EQ(field<std::uint32_t>(fadt, 56), PowerLayout::event_port);
    EXPECT_EQ(field<std::uint32_t>(fadt, 64), PowerLayout::control_port);
    EXPECT_EQ(field<std::uint32_t>(fadt, 76), PowerLayout::timer_port);
    EXPECT_EQ(fadt[88], 4U);
    EXPECT_EQ(fadt[89], 2U);
    EXPECT_EQ(fadt[91], 4U);
    EXPECT_EQ(fadt[108], Rtc::century_index);
    EXPECT_EQ(field<std::uint32_t>(fadt, 112) & (1U << 10), 1U << 10);
    EXPECT_EQ(field<std::uint64_t>(fadt, 120), PowerLayout::reset_port);
    EXPECT_EQ(fadt[128], PowerLayout::reset_value);
    EXPECT_EQ(field<std::uint64_t>(fadt, 152), PowerLayout::event_port);
    EXPECT_EQ(field<std::uint64_t>(fadt, 176), PowerLayout::control_port);
    EXPECT_EQ(field<std::uint64_t>(fadt, 212), PowerLayout::timer_port);
}

/// How many entries of each type an MADT has; fails the test if they don't fill it exactly.
std::map<unsigned, unsigned> entries(Table madt) {
    std::map<unsigned, unsigned> counts;
    std::size_t at = 44;
    while (at + 2 <= madt.size() && madt[at + 1] >= 2) {
        ++counts[madt[at]];
        at += madt[at + 1];
    }
    EXPECT_EQ(at, madt.size());
    return counts;
}

TEST(AcpiTables, ListEachProcessor) {
    for (const std::uint32_t processors : {1U, 4U, 255U, 300U, 2048U}) {
        AcpiSettings settings;
        settings.processors = processors;
        const AcpiTables tables(settings, address, room);
        auto counts = entries(find_all(tables).at("APIC"));
        EXPECT_EQ(counts[0] + counts[9], processors);
        EXPECT_EQ(counts[1], 1U);
        EXPECT_EQ(counts[2], 2U);
    }
}

TEST(AcpiTables, RefuseTooLittleRoom) {
    AcpiSettings settings;
    settings.processors = 2048;
    EXPECT_THROW(AcpiTables(settings, address, 0x1000), DeviceError);
}

TEST(AcpiTables, AreAlignedForTheFacs) {
    const AcpiTables tables({}, address, room);
    const Table fadt = find_all(tables).at("FACP");
    EXPECT_EQ(field<std::uint64_t>(fadt, 132) % 64, 0U);
}

/// Disassembles a table with iasl and answers its text.
std::string disassemble(const std::string& name, Table table) {
    const std::filesystem::path folder = testing::TempDir();
    const std::filesystem::path file = folder / (name + ".croft.aml");
    std::ofstream(file, std::ios::binary)
        .write(
            std::bit_cast<const char*>(table.data()), static_cast<std::streamsize>(table.size()));
    const std::string command =
        fmt::format("{} -d {} >{}.log 2>&1", CROFT_IASL, file.string(), file.string());
    EXPECT_EQ(std::system(command.c_str()), 0) << name;
    std::ifstream text(folder / (name + ".croft.dsl"));
    std::ostringstream all;
    all << text.rdbuf();
    return all.str();
}

TEST(AcpiTables, CanBeReadByTheReferenceDisassembler) {
    const AcpiTables tables({}, address, room);
    for (const auto& [name, table] : find_all(tables)) {
        const std::string text = disassemble(name, table);
        EXPECT_FALSE(text.empty()) << name;
        EXPECT_EQ(text.find("Incorrect checksum"), std::string::npos) << text;
        EXPECT_EQ(text.find("Error"), std::string::npos) << text;
    }
}

TEST(AcpiTables, GiveTheDevicesTheirOwnPorts) {
    const AcpiTables tables({}, address, room);
    const std::string dsdt = disassemble("DSDT", find_all(tables).at("DSDT"));
    const UartSettings com1;
    EXPECT_NE(dsdt.find(fmt::format("0x{:04X},             // Range Minimum", com1.port)),
        std::string::npos);
    EXPECT_NE(dsdt.find(fmt::format("0x{:04X},             // Range Minimum", Rtc::port + 0)),
        std::string::npos);
    EXPECT_NE(dsdt.find(fmt::format(
                  "0x{:04X},             // Range Minimum", PowerLayout::event_port + 0)),
        std::string::npos);
    EXPECT_NE(dsdt.find("Name (SERP, 0x00000001)"), std::string::npos) << dsdt;
}

} // namespace
} // namespace croft::vdev
