// SPDX-License-Identifier: Apache-2.0
#include "disk/volume/partition_table.hpp"

#include "disk/open.hpp"
#include "disk/raw_image.hpp"
#include "disk/volume/crc32.hpp"
#include "disk/volume/file_system.hpp"
#include "disk/volume/layout.hpp"
#include "tests/disk/images.hpp"
#include "tests/disk/tables.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string_view>

namespace croft::disk::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr std::uint64_t sectors = 65536;

class Partitions : public testing::Test {
protected:
    SparseBytes& bytes() { return contents_->bytes; }

    Result<PartitionTable> read() {
        auto image =
            RawImage::open(std::make_unique<MemoryStore>(contents_, true), Format::raw, 512);
        std::vector<std::unique_ptr<Image>> images;
        images.push_back(*std::move(image));
        Chain chain{std::move(images)};
        return read_partition_table(chain);
    }
    std::vector<unsigned> numbers() {
        std::vector<unsigned> found;
        const auto table = read().value();
        for (const Partition& partition : table.partitions)
            found.push_back(partition.number);
        return found;
    }
    void write(std::uint64_t offset, std::string_view text) {
        bytes().write(offset, std::as_bytes(std::span{text}));
    }

    std::shared_ptr<MemoryStore::Contents> contents_ = std::make_shared<MemoryStore::Contents>();
};

TEST(Crc32, HasTheCheckValueOfItsDefinition) {
    EXPECT_EQ(crc32(std::as_bytes(std::span{std::string_view{"123456789"}})), 0xcbf43926U);
}

TEST_F(Partitions, AnEmptyDiskHasNone) {
    bytes().resize(sectors * 512);
    EXPECT_EQ(read().value().kind, PartitionTable::Kind::none);
    bytes().resize(0);
    EXPECT_EQ(read().value().kind, PartitionTable::Kind::none);
}

TEST_F(Partitions, Gpt) {
    put_gpt(bytes(), sectors, {{2048, 4096}, {6144, 2048}});
    const auto table = read().value();
    EXPECT_EQ(table.kind, PartitionTable::Kind::gpt);
    EXPECT_THAT(table.notes, IsEmpty());
    ASSERT_THAT(table.partitions, SizeIs(2));
    EXPECT_EQ(table.partitions[0].offset, 2048U * 512);
    EXPECT_EQ(table.partitions[0].length, 4096U * 512);
    EXPECT_EQ(table.partitions[0].type_name, "Linux file system");
    EXPECT_EQ(table.partitions[1].name, "part 2");
    EXPECT_EQ(table.partitions[1].problem, "");
}

TEST_F(Partitions, GptOfLargeSectorsInARawFile) {
    put_gpt(bytes(), 4096, {{256, 256}}, 4096);
    const auto table = read().value();
    EXPECT_EQ(table.sector_size, 4096U);
    ASSERT_THAT(table.partitions, SizeIs(1));
    EXPECT_EQ(table.partitions[0].offset, 1U << 20U);
}

TEST_F(Partitions, TheBackupStandsInForADamagedPrimary) {
    for (const std::uint64_t damaged : {512U + 60U, 1024U + 40U}) {
        put_gpt(bytes(), sectors, {{2048, 4096}});
        write(damaged, "?");
        const auto table = read().value();
        EXPECT_THAT(table.partitions, SizeIs(1));
        EXPECT_THAT(table.notes, ElementsAre(HasSubstr("backup stands in")));
    }
}

TEST_F(Partitions, ADamagedBackupIsTold) {
    put_gpt(bytes(), sectors, {{2048, 4096}});
    write((sectors - 1) * 512 + 16, "?");
    const auto table = read().value();
    EXPECT_THAT(table.partitions, SizeIs(1));
    EXPECT_THAT(table.notes, ElementsAre(HasSubstr("no whole backup")));
}

TEST_F(Partitions, ADiskThatWasMadeLarger) {
    put_gpt(bytes(), sectors, {{2048, 4096}});
    bytes().resize(2 * sectors * 512);
    const auto table = read().value();
    EXPECT_THAT(table.partitions, SizeIs(1));
    EXPECT_THAT(table.notes, ElementsAre(HasSubstr("expected it in the last, 131071")));
}

TEST_F(Partitions, NoWholeCopyIsAnError) {
    put_gpt(bytes(), sectors, {{2048, 4096}});
    write(512 + 60, "?");
    write((sectors - 1) * 512 + 60, "?");
    const auto table = read();
    ASSERT_FALSE(table);
    EXPECT_EQ(table.error().code, ErrorCode::corrupt);
    EXPECT_THAT(table.error().text(), HasSubstr("checksum: found 0x"));
}

TEST_F(Partitions, GptFieldsAreChecked) {
    const auto with = [this](std::size_t field, std::uint32_t value) {
        put_gpt(bytes(), sectors, {{2048, 4096}});
        for (const std::uint64_t header : {std::uint64_t{512}, (sectors - 1) * 512}) {
            const Little<std::uint32_t> stored{value};
            bytes().write(header + field, bytes_of(stored));
            seal_gpt(bytes(), header);
        }
        const auto table = read();
        return table ? "" : table.error().text();
    };
    using volume::GptHeader;
    EXPECT_THAT(with(offsetof(GptHeader, header_size), 91), HasSubstr("size: found 91"));
    EXPECT_THAT(with(offsetof(GptHeader, header_size), 513), HasSubstr("size: found 513"));
    EXPECT_THAT(with(offsetof(GptHeader, entry_size), 100), HasSubstr("entry: found 100"));
    EXPECT_THAT(with(offsetof(GptHeader, entry_size), 64), HasSubstr("entry: found 64"));
    EXPECT_THAT(with(offsetof(GptHeader, entry_count), 0), HasSubstr("entries: found 0"));
    EXPECT_THAT(with(offsetof(GptHeader, entry_count), 1U << 31U), HasSubstr("expected 1 to 8192"));
    EXPECT_THAT(with(offsetof(GptHeader, entries_lba), 65530), HasSubstr("found 65530"));
    EXPECT_THAT(with(offsetof(GptHeader, my_lba), 7), HasSubstr("own place: found 7"));
}

TEST_F(Partitions, WhatOverlapsOrLeavesTheDiskIsNotUsed) {
    put_gpt(bytes(), sectors,
        {{2048, 4096}, {4096, 4096}, {8192, 0}, {10000, sectors}, {1, 100}, {12288, 100}});
    const auto table = read().value();
    ASSERT_THAT(table.partitions, SizeIs(6));
    EXPECT_EQ(table.partitions[0].problem, "");
    EXPECT_THAT(table.partitions[1].problem, HasSubstr("overlaps partition 1"));
    EXPECT_THAT(table.partitions[2].problem, HasSubstr("goes from sector 8192 to 8191"));
    EXPECT_THAT(table.partitions[3].problem, HasSubstr("usable"));
    EXPECT_THAT(table.partitions[4].problem, HasSubstr("usable"));
    EXPECT_EQ(table.partitions[5].problem, "");
}

TEST_F(Partitions, MbrWithLogicalOnes) {
    bytes().resize(sectors * 512);
    put_mbr_entry(bytes(), 0, 0, 0x83, {2048, 4096});
    put_mbr_entry(bytes(), 0, 2, 0x0f, {8192, 16384});
    put_mbr_entry(bytes(), 8192 * 512, 0, 0x07, {2048, 1024});
    put_mbr_entry(bytes(), 8192 * 512, 1, 0x05, {4096, 4096});
    put_mbr_entry(bytes(), (8192 + 4096) * 512, 0, 0x83, {64, 100});
    const auto table = read().value();
    EXPECT_EQ(table.kind, PartitionTable::Kind::mbr);
    EXPECT_THAT(table.notes, IsEmpty());
    EXPECT_THAT(numbers(), ElementsAre(1, 3, 5, 6));
    EXPECT_TRUE(table.partitions[1].container);
    EXPECT_EQ(table.partitions[2].offset, (8192U + 2048) * 512);
    EXPECT_EQ(table.partitions[3].offset, (8192U + 4096 + 64) * 512);
    EXPECT_EQ(table.partitions[3].length, 100U * 512);
    for (const Partition& partition : table.partitions)
        EXPECT_EQ(partition.problem, "");
}

TEST_F(Partitions, LinksOfExtendedPartitionsEnd) {
    bytes().resize(sectors * 512);
    put_mbr_entry(bytes(), 0, 0, 0x05, {8192, 16384});
    put_mbr_entry(bytes(), 8192 * 512, 0, 0x83, {64, 100});
    put_mbr_entry(bytes(), 8192 * 512, 1, 0x05, {0, 4096}); // to itself
    EXPECT_THAT(read().value().notes, ElementsAre(HasSubstr("come back")));
    put_mbr_entry(bytes(), 8192 * 512, 1, 0x05, {16384, 4096});
    EXPECT_THAT(read().value().notes, ElementsAre(HasSubstr("outside")));
    put_mbr_entry(bytes(), 8192 * 512, 1, 0x05, {300, 4096}); // to nothing
    EXPECT_THAT(read().value().notes, ElementsAre(HasSubstr("found 0x0000, expected 0xaa55")));
    for (std::uint64_t i = 0; i < 200; ++i) {
        put_mbr_entry(bytes(), (8192 + 10 * i) * 512, 0, 0x83, {1, 2});
        put_mbr_entry(bytes(), (8192 + 10 * i) * 512, 1, 0x05, {10 * (i + 1), 10});
    }
    EXPECT_THAT(read().value().notes, ElementsAre(HasSubstr("more than 128")));
    EXPECT_THAT(read().value().partitions, SizeIs(129));
}

TEST_F(Partitions, ALogicalOneStaysWithinTheExtendedOne) {
    bytes().resize(sectors * 512);
    put_mbr_entry(bytes(), 0, 0, 0x05, {8192, 1000});
    put_mbr_entry(bytes(), 8192 * 512, 0, 0x83, {64, 1000});
    EXPECT_THAT(read().value().partitions[1].problem, HasSubstr("reaches out"));
}

TEST_F(Partitions, MbrEntriesAreChecked) {
    bytes().resize(sectors * 512);
    put_mbr_entry(bytes(), 0, 0, 0x83, {2048, 0xffffffff});
    put_mbr_entry(bytes(), 0, 1, 0x83, {0, 10});
    const auto table = read().value();
    EXPECT_THAT(table.partitions[0].problem, HasSubstr("beyond the disk"));
    EXPECT_THAT(table.partitions[1].problem, HasSubstr("sector 0"));
    write(446, "\x01"); // no such status
    EXPECT_EQ(read().value().kind, PartitionTable::Kind::none);
}

TEST_F(Partitions, ABootSectorIsNoTable) {
    bytes().resize(sectors * 512);
    put_mbr_entry(bytes(), 0, 0, 0x83, {2048, 4096});
    write(3, "NTFS    ");
    EXPECT_EQ(read().value().kind, PartitionTable::Kind::none);
    write(3, "        ");
    EXPECT_EQ(read().value().kind, PartitionTable::Kind::mbr);
}

TEST_F(Partitions, FileSystemsAreKnownByTheirMarks) {
    bytes().resize(sectors * 512);
    const auto type = [this] {
        auto image =
            RawImage::open(std::make_unique<MemoryStore>(contents_, true), Format::raw, 512);
        std::vector<std::unique_ptr<Image>> images;
        images.push_back(*std::move(image));
        Chain chain{std::move(images)};
        const auto found = probe_file_system(chain, 0, chain.size()).value();
        return found ? found->type + ":" + found->label : "";
    };
    EXPECT_EQ(type(), "");
    write(3, "NTFS    ");
    EXPECT_EQ(type(), "ntfs:");
    write(1024 + 56, "\x53\xef");
    write(1024 + 120, "a\x1b\xff b  ");
    EXPECT_EQ(type(), "ext2:a?? b");
    write(1024 + 96, "\x40");
    EXPECT_EQ(type(), "ext4:a?? b");
    write(0, "XFSB");
    EXPECT_EQ(type(), "xfs:");
    write(0, "LUKS\xba\xbe");
    EXPECT_EQ(type(), "crypto_LUKS:");
}

// By way of a chain and of large sectors, like any other contents.
TEST(PartitionsOfChains, AreFound) {
    for (const Kind& kind : all_kinds) {
        SCOPED_TRACE(kind.name);
        MemoryFolder folder;
        folder.create(kind, 32U << 20U);
        const auto chain = folder.open();
        const std::uint64_t size = kind.sector_size;
        SparseBytes table;
        put_gpt(table, chain->size() / size, {{2048, 512}}, size);
        for (const std::uint64_t offset : {std::uint64_t{0}, chain->size() - (1U << 16U)}) {
            std::vector<std::byte> piece(1U << 16U);
            table.read(offset, piece);
            ASSERT_TRUE(chain->write(offset, piece));
        }
        const auto found = read_partition_table(*chain);
        ASSERT_TRUE(found) << found.error().text();
        ASSERT_THAT(found->partitions, SizeIs(1));
        EXPECT_EQ(found->partitions[0].offset, 2048 * size);
    }
}

} // namespace
} // namespace croft::disk::test
