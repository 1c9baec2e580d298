// SPDX-License-Identifier: Apache-2.0
// Offsets as ACPI 6.4 gives them: 5.2.5.3 RSDP, 5.2.6 header, 5.2.9 FADT, 5.2.12 MADT, 5.2.16 SRAT.
#include "hypervisor/boot/acpi.hpp"

#include "tests/unit/hypervisor/low_memory.hpp"

#include <algorithm>
#include <array>
#include <gtest/gtest.h>
#include <memory>
#include <random>
#include <vector>

namespace hypervisor {
namespace {

using Bytes = std::vector<std::uint8_t>;

template <class T>
void append(Bytes& to, T value) {
    const auto* const bytes = reinterpret_cast<const std::uint8_t*>(&value);
    to.insert(to.end(), bytes, bytes + sizeof value);
}

Bytes local_apic(std::uint8_t id, std::uint32_t flags) {
    Bytes entry{0, 8, 0, id};
    append(entry, flags);
    return entry;
}
Bytes local_x2apic(std::uint32_t id, std::uint32_t flags) {
    Bytes entry{9, 16, 0, 0};
    append(entry, id);
    append(entry, flags);
    append(entry, std::uint32_t{0});
    return entry;
}
Bytes io_apic(std::uint32_t address) {
    Bytes entry{1, 12, 0, 0};
    append(entry, address);
    append(entry, std::uint32_t{0});
    return entry;
}

Bytes place_of_local_apic(std::uint8_t id, std::uint32_t domain, std::uint32_t flags) {
    Bytes entry{0, 16, static_cast<std::uint8_t>(domain), id};
    append(entry, flags);
    entry.push_back(0);
    for (const unsigned shift : {8u, 16u, 24u}) {
        entry.push_back(static_cast<std::uint8_t>(domain >> shift));
    }
    append(entry, std::uint32_t{0});
    return entry;
}
Bytes place_of_local_x2apic(std::uint32_t id, std::uint32_t domain, std::uint32_t flags) {
    Bytes entry{2, 24, 0, 0};
    for (const std::uint32_t word : {domain, id, flags, 0u, 0u}) {
        append(entry, word);
    }
    return entry;
}

/// Tables in low memory, each at the end of what is mapped: who reads behind a table crashes.
class Acpi : public testing::Test {
protected:
    static void fix_checksum(std::uint8_t* table, std::size_t length) {
        table[9] = 0;
        std::uint8_t sum = 0;
        for (std::size_t i = 0; i < length; ++i) {
            sum = static_cast<std::uint8_t>(sum + table[i]);
        }
        table[9] = static_cast<std::uint8_t>(-sum);
    }
    std::uint64_t table(std::string_view signature, const Bytes& content) {
        memory_.push_back(std::make_unique<LowMemory>(36 + content.size()));
        const LowMemory& memory = *memory_.back();
        const std::uint64_t at = memory.end() - 36 - content.size();
        memory.put_text(at, signature);
        memory.put(at + 4, static_cast<std::uint32_t>(36 + content.size()));
        std::ranges::copy(content, reinterpret_cast<std::uint8_t*>(at + 36));
        fix_checksum(reinterpret_cast<std::uint8_t*>(at), 36 + content.size());
        return at;
    }
    std::uint64_t madt(const std::vector<Bytes>& entries) {
        Bytes content(8);
        for (const Bytes& entry : entries) {
            content.insert(content.end(), entry.begin(), entry.end());
        }
        return table("APIC", content);
    }
    std::uint64_t srat(const std::vector<Bytes>& entries) {
        Bytes content(12);
        for (const Bytes& entry : entries) {
            content.insert(content.end(), entry.begin(), entry.end());
        }
        return table("SRAT", content);
    }
    std::uint64_t fadt() {
        Bytes content(244 - 36);
        content[64 - 36] = 0x04;
        content[65 - 36] = 0x06;
        content[68 - 36] = 0x14;
        content[69 - 36] = 0x06;
        content[76 - 36] = 0x08;
        content[77 - 36] = 0x06;
        return table("FACP", content);
    }
    std::uint64_t rsdp(std::uint64_t root, bool extended) {
        memory_.push_back(std::make_unique<LowMemory>(36));
        const LowMemory& memory = *memory_.back();
        const std::uint64_t at = memory.end() - 48; // on a boundary of 16
        memory.put_text(at, "RSD PTR ");
        memory.put(at + 15, static_cast<std::uint8_t>(extended ? 2 : 0));
        if (extended) {
            memory.put(at + 20, std::uint32_t{36});
            memory.put(at + 24, root);
        } else {
            memory.put(at + 16, static_cast<std::uint32_t>(root));
        }
        std::uint8_t sum = 0;
        for (unsigned i = 0; i < 20; ++i) {
            sum = static_cast<std::uint8_t>(sum + reinterpret_cast<std::uint8_t*>(at)[i]);
        }
        memory.put(at + 8, static_cast<std::uint8_t>(-sum));
        return at;
    }
    std::uint64_t by_rsdt(const std::vector<std::uint64_t>& tables) {
        Bytes content;
        for (const std::uint64_t one : tables) {
            append(content, static_cast<std::uint32_t>(one));
        }
        return rsdp(table("RSDT", content), false);
    }
    std::uint64_t by_xsdt(const std::vector<std::uint64_t>& tables) {
        Bytes content;
        for (const std::uint64_t one : tables) {
            append(content, one);
        }
        return rsdp(table("XSDT", content), true);
    }

    std::vector<std::unique_ptr<LowMemory>> memory_{};
};

TEST(AcpiChecksum, TheBytesAddUpToZero) {
    const std::array<std::uint8_t, 4> bytes{1, 2, 253, 1};
    EXPECT_TRUE(acpi_checksum_ok(bytes.data(), 3));
    EXPECT_FALSE(acpi_checksum_ok(bytes.data(), 4));
    EXPECT_FALSE(acpi_checksum_ok(bytes.data(), 1));
    EXPECT_TRUE(acpi_checksum_ok(bytes.data(), 0));
}

TEST_F(Acpi, IsReadByEitherRoot) {
    const std::vector<std::uint64_t> tables{table("HPET", Bytes(20)), fadt(),
        madt({local_apic(0, 1), local_apic(1, 1), io_apic(0xfec00000)})};
    for (const std::uint64_t root : {by_rsdt(tables), by_xsdt(tables)}) {
        const auto info = read_acpi(root);
        ASSERT_TRUE(info) << info.error();
        ASSERT_EQ(info->processor_count, 2u);
        EXPECT_EQ(info->apic_ids[0], 0u);
        EXPECT_EQ(info->apic_ids[1], 1u);
        EXPECT_EQ(info->left_out, 0u);
        ASSERT_EQ(info->io_apic_count, 1u);
        EXPECT_EQ(info->io_apics[0], 0xfec00000u);
        EXPECT_EQ(info->pm1a_control, 0x604);
        EXPECT_EQ(info->pm1b_control, 0x614);
        EXPECT_EQ(info->pm_timer, 0x608);
    }
}

TEST_F(Acpi, OnlyProcessorsThatCanBeUsedCount) {
    const auto info = read_acpi(by_xsdt({madt(
        {local_apic(7, 1), local_apic(8, 0), local_apic(9, 2), // could be enabled later, is not now
            local_apic(255, 1), local_x2apic(16, 1), local_x2apic(300, 1), local_x2apic(17, 0)})}));
    ASSERT_TRUE(info);
    ASSERT_EQ(info->processor_count, 2u);
    EXPECT_EQ(info->apic_ids[0], 7u);
    EXPECT_EQ(info->apic_ids[1], 16u);
    EXPECT_EQ(info->left_out, 2u) << "255 is no processor's id, and 300 can't be addressed";
}

TEST_F(Acpi, SaysWhereProcessorsAre) {
    const std::vector<Bytes> entries{place_of_local_apic(1, 0x01020304, 1),
        Bytes{1, 40, 0, 0, 7}, // memory; its length is made up below
        place_of_local_x2apic(2, 5, 1), place_of_local_apic(3, 6, 0),
        place_of_local_x2apic(255, 7, 1), place_of_local_apic(254, 8, 1)};
    std::vector<Bytes> padded = entries;
    padded[1].resize(40);
    const auto info =
        read_acpi(by_xsdt({madt({local_apic(0, 1)}), srat(padded), srat({Bytes{0, 1}})}));
    ASSERT_TRUE(info) << info.error();
    EXPECT_EQ(info->proximity_domain_of(0), 0u) << "nothing is said of it";
    EXPECT_EQ(info->proximity_domain_of(1), 0x01020304u);
    EXPECT_EQ(info->proximity_domain_of(2), 5u);
    EXPECT_EQ(info->proximity_domain_of(3), 0u) << "the entry is not in use";
    EXPECT_EQ(info->proximity_domain_of(254), 8u);
    EXPECT_EQ(info->proximity_domain_of(255), 0u);
}

TEST_F(Acpi, MoreProcessorsAndIoApicsThanThereIsRoomFor) {
    std::vector<Bytes> entries;
    for (unsigned i = 0; i < 100; ++i) {
        entries.push_back(local_apic(static_cast<std::uint8_t>(i), 1));
        entries.push_back(io_apic(0xfec00000 + 0x1000 * i));
    }
    const auto info = read_acpi(by_xsdt({madt(entries)}));
    ASSERT_TRUE(info);
    EXPECT_EQ(info->processor_count, AcpiInformation::most_processors);
    EXPECT_EQ(info->left_out, 100 - AcpiInformation::most_processors);
    EXPECT_EQ(info->io_apic_count, info->io_apics.size());
}

TEST_F(Acpi, DamagedTablesArePassedOver) {
    const std::uint64_t good = madt({local_apic(1, 1)});
    const std::uint64_t bad = madt({local_apic(2, 1)});
    *reinterpret_cast<std::uint8_t*>(bad + 47) ^= 1;
    const std::uint64_t bad_fadt = fadt();
    *reinterpret_cast<std::uint8_t*>(bad_fadt + 64) ^= 1;
    const auto info = read_acpi(by_xsdt({bad, good, bad_fadt}));
    ASSERT_TRUE(info);
    EXPECT_EQ(info->processor_count, 1u);
    EXPECT_EQ(info->apic_ids[0], 1u);
    EXPECT_EQ(info->pm1a_control, 0);
}

TEST_F(Acpi, AnEmptyEntryOfTheRootIsPassedOver) {
    const auto info = read_acpi(by_xsdt({0, madt({local_apic(1, 1)}), 0}));
    ASSERT_TRUE(info);
    EXPECT_EQ(info->processor_count, 1u);
}

TEST_F(Acpi, ADamagedRootOrNoProcessorIsSaidSo) {
    EXPECT_FALSE(read_acpi(by_xsdt({})));
    EXPECT_FALSE(read_acpi(by_xsdt({fadt()})));
    EXPECT_FALSE(read_acpi(by_xsdt({madt({local_apic(0, 0)})})));
    const std::uint64_t root = table("XSDT", Bytes(8));
    *reinterpret_cast<std::uint8_t*>(root + 20) ^= 1;
    const auto info = read_acpi(rsdp(root, true));
    ASSERT_FALSE(info);
    EXPECT_FALSE(info.error().empty());
}

TEST_F(Acpi, LengthsThatCannotBeAreNotFollowed) {
    for (const std::uint32_t length : {0u, 1u, 35u, 0x100001u, 0x7fffffffu, 0xffffffffu}) {
        const std::uint64_t odd = madt({local_apic(5, 1)});
        std::memcpy(reinterpret_cast<void*>(odd + 4), &length, 4);
        const auto info = read_acpi(by_xsdt({odd, madt({local_apic(1, 1)})}));
        ASSERT_TRUE(info) << length;
        EXPECT_EQ(info->processor_count, 1u);
        const std::uint64_t root = table("XSDT", Bytes(8));
        std::memcpy(reinterpret_cast<void*>(root + 4), &length, 4);
        EXPECT_FALSE(read_acpi(rsdp(root, true))) << length;
    }
    // Tables too short for what is read of them, though their sums are right.
    for (std::size_t size = 0; size < 8; ++size) {
        (void)read_acpi(by_xsdt({table("APIC", Bytes(size)), table("FACP", Bytes(size * 6))}));
    }
    // A root table whose length is no whole number of entries.
    Bytes content;
    append(content, madt({local_apic(1, 1)}));
    content.insert(content.end(), 7, 0xff);
    ASSERT_TRUE(read_acpi(rsdp(table("XSDT", content), true)));
}

TEST_F(Acpi, EntriesThatCannotBeEndTheWalk) {
    for (const std::uint8_t size : {std::uint8_t{0}, std::uint8_t{1}, std::uint8_t{255}}) {
        Bytes odd = local_apic(5, 1);
        odd[1] = size;
        const auto info = read_acpi(by_xsdt({madt({local_apic(1, 1), odd, local_apic(2, 1)})}));
        ASSERT_TRUE(info);
        EXPECT_EQ(info->processor_count, 1u) << int{size};
    }
    // Shorter than its kind: passed over, and nothing behind the table is read for it.
    for (const std::uint8_t type : {std::uint8_t{0}, std::uint8_t{1}, std::uint8_t{9}}) {
        for (std::uint8_t size = 2; size < 16; ++size) {
            Bytes odd(size);
            odd[0] = type;
            odd[1] = size;
            const auto info = read_acpi(by_xsdt({madt({local_apic(1, 1), odd})}));
            ASSERT_TRUE(info);
            EXPECT_EQ(info->processor_count, 1u);
        }
    }
}

TEST_F(Acpi, RubbishInAMadtEndsAndStaysInside) {
    std::mt19937 random{4};
    for (int run = 0; run < 1000; ++run) {
        Bytes content(8 + random() % 100);
        for (std::uint8_t& byte : content) {
            byte = static_cast<std::uint8_t>(random() % 3 == 0 ? random() : random() % 20);
        }
        const auto info = read_acpi(by_xsdt({table("APIC", content)}));
        if (info) {
            ASSERT_LE(info->processor_count, AcpiInformation::most_processors);
            ASSERT_LE(info->io_apic_count, info->io_apics.size());
        }
        memory_.clear();
    }
}

} // namespace
} // namespace hypervisor
