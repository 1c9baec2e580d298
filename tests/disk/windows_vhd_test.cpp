// SPDX-License-Identifier: Apache-2.0
#include "disk/check.hpp"
#include "disk/utf16.hpp"
#include "disk/vhd/layout.hpp"
#include "tests/disk/images.hpp"

#include <algorithm>
#include <gtest/gtest.h>

// VHD files as Windows and its forerunners make them, put together by hand, field by field from the
// "Virtual Hard Disk Image Format Specification".
namespace croft::disk::test {
namespace {

using namespace vhd;

constexpr std::uint64_t disk_size = 20U << 20U;
constexpr std::uint32_t block = 2U << 20U;

class WindowsVhd : public testing::Test {
protected:
    static Footer footer(DiskType type, std::uint64_t header_at = no_offset) {
        Footer made{};
        made.cookie = footer_cookie;
        made.features = 2U;
        made.file_format_version = supported_version;
        made.data_offset = header_at;
        made.time_stamp = 0x12345678U;
        made.creator_application = {'w', 'i', 'n', ' '};
        made.creator_version = 0x000a0000U;
        made.creator_host_os = {'W', 'i', '2', 'k'};
        made.original_size = disk_size / 2; // it was made larger later
        made.current_size = disk_size;
        made.cylinders = std::uint16_t{77}; // has nothing to do with the size
        made.heads = 3;
        made.sectors_per_track = 9;
        made.disk_type = static_cast<std::uint32_t>(type);
        made.unique_id = Guid::parse("31111111-2222-3333-4444-555555555555").value();
        return made;
    }

    struct Locator {
        std::uint32_t platform;
        std::string path;
        bool space_in_bytes = false;
    };

    // The header at `header_at`, the table at `table_at`, blocks where `entries` says; the footer
    // at the end has `footer_length` bytes.
    static void write(SparseBytes& file, DiskType type, std::uint64_t header_at,
        std::uint64_t table_at, const std::vector<std::uint32_t>& entries,
        const std::vector<Locator>& locators = {}, std::uint64_t footer_length = 512,
        Guid id = Guid::parse("31111111-2222-3333-4444-555555555555").value()) {
        Footer made = footer(type, header_at);
        made.unique_id = id;
        made = sealed(made);
        std::uint64_t end = table_at + 4096;
        DynamicHeader header{};
        header.cookie = header_cookie;
        header.data_offset = no_offset;
        header.table_offset = table_at;
        header.header_version = supported_version;
        header.max_table_entries = 1000U; // more than the size needs
        header.block_size = block;
        header.parent_unique_id = Guid::parse("31111111-2222-3333-4444-555555555555").value();
        std::vector<std::byte> table(4096, std::byte{0xff});
        for (std::size_t i = 0; i < entries.size(); ++i) {
            save(table, i * 4, Big<std::uint32_t>{entries[i]});
            if (entries[i] != unused_block)
                end = std::max(end, entries[i] * std::uint64_t{512} + 512 + block);
        }
        file.resize(end);
        file.write(table_at, table);
        std::uint64_t place = 40960;
        for (std::size_t i = 0; i < locators.size(); ++i) {
            const auto bytes = utf16_from_utf8(locators[i].path);
            ParentLocator& locator = header.parent_locators[i + 1]; // the first one is empty
            locator.platform_code = locators[i].platform;
            locator.platform_data_space = locators[i].space_in_bytes ? 512U : 1U;
            locator.platform_data_length = static_cast<std::uint32_t>(bytes.size());
            locator.platform_data_offset = place;
            file.write(place, bytes);
            place += 512;
        }
        header = sealed(header);
        file.write(header_at, bytes_of(header));
        file.write(0, bytes_of(made));
        file.write(end, bytes_of(made).first(footer_length));
    }

    void expect_at(Chain& chain, std::uint64_t offset, unsigned value) {
        std::vector<std::byte> bytes(512);
        const auto read = chain.read(offset, bytes);
        ASSERT_TRUE(read) << read.error().text();
        ASSERT_TRUE(bytes == filled(512, value)) << "at " << offset;
    }
    void expect_sound(Chain& chain) {
        const auto report = check(chain.top());
        ASSERT_TRUE(report) << report.error().text();
        EXPECT_TRUE(report->clean()) << report->findings.front().what;
    }

    MemoryFolder folder_;
};

// Also with the footer of 511 bytes that versions before Virtual PC 2004 wrote.
TEST_F(WindowsVhd, FixedWithFootersOfBothLengths) {
    for (const std::uint64_t length : {512U, 511U}) {
        MemoryFolder folder;
        SparseBytes& file = folder.file("disk")->bytes;
        file.resize(disk_size);
        file.write(512, filled(512, 4));
        const Footer made = sealed(footer(DiskType::fixed));
        file.write(disk_size, bytes_of(made).first(length));
        const auto chain = folder.open();
        ASSERT_NE(chain, nullptr) << length;
        EXPECT_EQ(chain->size(), disk_size);
        EXPECT_EQ(chain->top().info().creator, "win ");
        expect_at(*chain, 512, 4);
        ASSERT_TRUE(chain->write(disk_size - 512, filled(512, 5)));
        ASSERT_TRUE(chain->close());
        const auto again = folder.open(false);
        ASSERT_NE(again, nullptr);
        expect_at(*again, disk_size - 512, 5);
        EXPECT_EQ(again->size(), disk_size);
    }
}

TEST_F(WindowsVhd, DynamicWithTablesAnywhere) {
    for (const std::uint64_t length : {512U, 511U}) {
        MemoryFolder folder;
        SparseBytes& file = folder.file("disk")->bytes;
        // The table before the header, blocks backwards, one with hardly a bit set: of a dynamic
        // disk what was never written is zeros in the file, too.
        const std::uint32_t first = 1024 * 1024 / 512;
        const std::uint32_t second = first + 512 / 512 + block / 512;
        write(file, DiskType::dynamic, 8192, 1024, {second, unused_block, first}, {}, length);
        file.write(std::uint64_t{second} * 512, filled(1, 0x40)); // sector 1
        file.write(std::uint64_t{second} * 512 + 512 + 512, filled(512, 6));
        file.write(std::uint64_t{first} * 512, filled(512, 0xff));
        file.write(std::uint64_t{first} * 512 + 512, filled(block, 7));
        {
            const auto chain = folder.open();
            ASSERT_NE(chain, nullptr);
            expect_at(*chain, 0, 0);
            expect_at(*chain, 512, 6);
            expect_at(*chain, block, 0);
            expect_at(*chain, 2 * block + 4096, 7);
            ASSERT_TRUE(chain->write(block + 512, filled(512, 8)));
            ASSERT_TRUE(chain->write(1024, filled(512, 9)));
            ASSERT_TRUE(chain->write(disk_size - 512, filled(512, 10)));
            ASSERT_TRUE(chain->close());
        }
        const auto chain = folder.open(false);
        ASSERT_NE(chain, nullptr);
        expect_at(*chain, 512, 6);
        expect_at(*chain, 1024, 9);
        expect_at(*chain, block, 0);
        expect_at(*chain, block + 512, 8);
        expect_at(*chain, 3 * block - 512, 7);
        expect_at(*chain, disk_size - 512, 10);
        expect_sound(*chain);
    }
}

TEST_F(WindowsVhd, LocatorsOfAChild) {
    struct Case {
        const char* parent;
        std::vector<Locator> locators;
        bool found;
    };
    const Case cases[] = {
        {"vm/parent.vhd", {{platform_relative, ".\\parent.vhd"}}, true},
        {"base/parent.vhd", {{platform_relative, "..\\base\\parent.vhd", true}}, true},
        {"vm/parent.vhd", {{platform_absolute, "C:\\VMs\\parent.vhd"}}, true},
        {"vm/parent.vhd",
            {{platform_absolute, "\\\\server\\share\\parent.vhd"},
                {platform_relative, "..\\gone\\parent.vhd"}},
            true},
        {"vm/other.vhd", {{platform_relative, ".\\parent.vhd"}}, false},
        {"vm/parent.vhd", {{0x4d616358U, "file:///x"}}, false}, // MacX alone
    };
    const std::uint32_t at = 1024 * 1024 / 512;
    for (const Case& one : cases) {
        MemoryFolder folder;
        SparseBytes& parent = folder.file(one.parent)->bytes;
        write(parent, DiskType::dynamic, 512, 2048, {at});
        parent.write(std::uint64_t{at} * 512 + 512, filled(block, 42));
        SparseBytes& child = folder.file("vm/child.avhd")->bytes;
        write(child, DiskType::differencing, 1024, 4096, {at}, one.locators, 512,
            Guid::parse("41111111-2222-3333-4444-555555555555").value());
        child.write(std::uint64_t{at} * 512, filled(1, 0x40)); // sector 1
        child.write(std::uint64_t{at} * 512 + 512 + 512, filled(512, 43));
        const auto chain = open_chain("vm/child.avhd", {.write = true}, folder.opener());
        ASSERT_EQ(chain.has_value(), one.found)
            << one.locators.back().path << (chain ? "" : ": " + chain.error().text());
        if (!chain)
            continue;
        expect_at(**chain, 0, 42);
        expect_at(**chain, 512, 43);
        ASSERT_TRUE((*chain)->write(1024, filled(512, 44)));
        ASSERT_TRUE((*chain)->flush());
        expect_at(**chain, 1024, 44);
        expect_at(**chain, 1536, 42);
        expect_sound(**chain);
    }
}

// Each field that can be wrong, with the words that tell it.
TEST_F(WindowsVhd, WhatIsWrongIsTold) {
    struct Case {
        const char* words;
        void (*spoil)(Footer& footer, DynamicHeader& header);
    };
    const Case cases[] = {
        {"file format version: found 0x20000",
            [](Footer& f, DynamicHeader&) {
                f.file_format_version = 0x20000U;
            }},
        {"disk type: found 5",
            [](Footer& f, DynamicHeader&) {
                f.disk_type = 5U;
            }},
        {"current size: found 513",
            [](Footer& f, DynamicHeader&) {
                f.current_size = 513U;
            }},
        {"current size: found 0",
            [](Footer& f, DynamicHeader&) {
                f.current_size = 0U;
            }},
        {"lies outside the file",
            [](Footer& f, DynamicHeader&) {
                f.data_offset = std::uint64_t{1} << 50U;
            }},
        {"lies outside the file",
            [](Footer& f, DynamicHeader&) {
                f.data_offset = 513U;
            }},
        {"header cookie",
            [](Footer& f, DynamicHeader&) {
                f.data_offset = 0U;
            }},
        {"header version: found 0x20000",
            [](Footer&, DynamicHeader& h) {
                h.header_version = 0x20000U;
            }},
        {"block size: found 1000",
            [](Footer&, DynamicHeader& h) {
                h.block_size = 1000U;
            }},
        {"block size: found 0",
            [](Footer&, DynamicHeader& h) {
                h.block_size = 0U;
            }},
        {"found 9 entries, expected at least 10",
            [](Footer&, DynamicHeader& h) {
                h.max_table_entries = 9U;
            }},
        {"outside the file",
            [](Footer&, DynamicHeader& h) {
                h.table_offset = std::uint64_t{1} << 60U;
            }},
        {"outside the file",
            [](Footer&, DynamicHeader& h) {
                h.table_offset = 1000U;
            }},
    };
    for (const Case& one : cases) {
        MemoryFolder folder;
        SparseBytes& file = folder.file("disk")->bytes;
        write(file, DiskType::dynamic, 512, 2048, {4096});
        Footer spoilt = footer(DiskType::dynamic, 512);
        DynamicHeader header{};
        file.read(512, std::as_writable_bytes(std::span{&header, 1}));
        one.spoil(spoilt, header);
        spoilt = sealed(spoilt);
        header = sealed(header);
        file.write(512, bytes_of(header));
        file.write(0, bytes_of(spoilt));
        file.write(file.size() - 512, bytes_of(spoilt));
        const auto chain = open_chain("disk", {}, folder.opener());
        ASSERT_FALSE(chain) << one.words;
        EXPECT_EQ(chain.error().code, ErrorCode::corrupt);
        EXPECT_TRUE(chain.error().offset.has_value());
        EXPECT_NE(chain.error().what.find(one.words), std::string::npos) << chain.error().text();
    }
}

} // namespace
} // namespace croft::disk::test
