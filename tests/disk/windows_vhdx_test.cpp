// SPDX-License-Identifier: Apache-2.0
#include "tests/disk/images.hpp"
#include "tests/disk/windows_vhdx.hpp"

#include "disk/check.hpp"
#include "disk/file_store.hpp"
#include "disk/tool/convert.hpp"
#include "disk/vhdx/image.hpp"
#include "tests/disk/temporary.hpp"

#include <gtest/gtest.h>

// Files as Windows makes them are read, written and checked, and what they hold besides is kept.
namespace croft::disk::test {
namespace {

using namespace vhdx;

constexpr std::uint64_t block = 32U << 20U;

class WindowsVhdxTest : public testing::Test {
protected:
    void expect_at(Chain& chain, std::uint64_t offset, unsigned value) {
        std::vector<std::byte> bytes(file_.sector_size);
        const auto read = chain.read(offset, bytes);
        ASSERT_TRUE(read) << read.error().text();
        for (const std::byte found : bytes)
            ASSERT_EQ(std::to_integer<unsigned>(found), value) << "at " << offset;
    }
    void expect_sound(Chain& chain) {
        const auto report = check(chain.top());
        ASSERT_TRUE(report) << report.error().text();
        EXPECT_TRUE(report->clean()) << report->findings.front().what;
    }
    Error refused(const std::string& name = "disk") {
        const auto chain = open_chain(name, {}, folder_.opener());
        EXPECT_FALSE(chain);
        return chain ? Error{} : chain.error();
    }
    std::uint64_t place(std::uint64_t number) const { return (16 + number * 32) * mebibyte; }

    MemoryFolder folder_;
    WindowsVhdx file_;
};

// 127 GiB in blocks of 32 MiB: a chunk has 128 of them, and each is followed by the entry of its
// sector bitmap, which counts even where there is none.
TEST_F(WindowsVhdxTest, BlocksLieBeyondBitmapEntries) {
    const std::uint64_t numbers[] = {0, 127, 128, 129, 300, 4063};
    file_.file_size = place(std::size(numbers)) + 5 * mebibyte; // padding at the end
    unsigned value = 1;
    for (const std::uint64_t number : numbers)
        file_.entries[number + number / 128] = bat_entry(
            BlockState::fully_present, place(std::size(numbers) - value++)); // last one first
    SparseBytes& bytes = file_.write(folder_);
    value = 1;
    for ([[maybe_unused]] const std::uint64_t number : numbers) {
        bytes.write(place(std::size(numbers) - value) + 4096, filled(4096, value));
        ++value;
    }
    {
        const auto chain = folder_.open(true);
        ASSERT_NE(chain, nullptr);
        EXPECT_EQ(chain->size(), 127ULL << 30U);
        EXPECT_EQ(chain->top().info().creator, "Microsoft Windows 10.0.20348.0");
        value = 1;
        for (const std::uint64_t number : numbers)
            expect_at(*chain, number * block + 4096, value++);
        expect_at(*chain, 1 * block, 0);
        ASSERT_TRUE(chain->write(200 * block + 512, filled(512, 77)));
        ASSERT_TRUE(chain->write(4063 * block + 8192, filled(512, 78)));
        ASSERT_TRUE(chain->close());
    }
    const auto chain = folder_.open(false);
    ASSERT_NE(chain, nullptr);
    expect_at(*chain, 200 * block + 512, 77);
    expect_at(*chain, 4063 * block + 4096, 6);
    expect_at(*chain, 4063 * block + 8192, 78);
    expect_sound(*chain);
}

TEST_F(WindowsVhdxTest, ChunksOfLargeSectors) {
    file_.sector_size = 4096; // 1024 blocks of 32 MiB in a chunk
    file_.file_size = place(2);
    file_.entries[1025] = bat_entry(BlockState::fully_present, place(0)); // block 1024
    file_.entries[1023] = bat_entry(BlockState::fully_present, place(1));
    SparseBytes& bytes = file_.write(folder_);
    bytes.write(place(0), filled(4096, 5));
    bytes.write(place(1), filled(4096, 6));
    const auto chain = folder_.open(false);
    ASSERT_NE(chain, nullptr);
    expect_at(*chain, 1024 * block, 5);
    expect_at(*chain, 1023 * block, 6);
    expect_sound(*chain);
}

TEST_F(WindowsVhdxTest, EveryStateOfABlock) {
    file_.file_size = place(4);
    for (unsigned state = 0; state < 4; ++state) // with an offset that means nothing
        file_.entries[state] = bat_entry(static_cast<BlockState>(state), place(state));
    SparseBytes& bytes = file_.write(folder_);
    for (unsigned state = 0; state < 4; ++state)
        bytes.write(place(state), filled(4096, 9));
    {
        const auto chain = folder_.open();
        ASSERT_NE(chain, nullptr);
        for (std::uint64_t number = 0; number < 4; ++number) {
            expect_at(*chain, number * block, 0);
            // What is not written stays zeros, whatever is at the old offset.
            ASSERT_TRUE(chain->write(number * block + 512, filled(512, 3)));
            expect_at(*chain, number * block, 0);
            expect_at(*chain, number * block + 512, 3);
        }
        ASSERT_TRUE(chain->close());
    }
    for (const unsigned state : {4U, 5U, 7U}) {
        file_.entries.clear();
        file_.entries[1] = bat_entry(static_cast<BlockState>(state), place(0));
        MemoryFolder folder;
        file_.write(folder);
        const auto chain = folder.open(false);
        ASSERT_NE(chain, nullptr);
        std::vector<std::byte> sector(512);
        const auto read = chain->read(block, sector);
        ASSERT_FALSE(read) << "state " << state;
        EXPECT_EQ(read.error().code, ErrorCode::corrupt);
        EXPECT_EQ(read.error().offset, file_.bat_at + 8);
        EXPECT_NE(read.error().what.find("state " + std::to_string(state)), std::string::npos)
            << read.error().what;
        expect_at(*chain, 0, 0); // the others are read
    }
}

TEST_F(WindowsVhdxTest, ABlockWithinARegionOrBeyondTheFileIsRefused) {
    const Guid other = Guid::parse("abcdabcd-0000-0000-0000-000000000001").value();
    file_.regions.push_back({other, 5 * mebibyte, mebibyte, false});
    file_.file_size = place(1);
    for (const std::uint64_t offset :
        {0 * mebibyte, 1 * mebibyte, 3 * mebibyte, 5 * mebibyte, 8 * mebibyte, place(1)}) {
        file_.entries[0] = bat_entry(BlockState::fully_present, offset);
        file_.block_size = mebibyte;
        MemoryFolder folder;
        file_.write(folder);
        const auto chain = folder.open(false);
        ASSERT_NE(chain, nullptr);
        std::vector<std::byte> sector(512);
        EXPECT_FALSE(chain->read(0, sector)) << offset;
    }
}

// A log in use: older entries of another log, a sequence that goes round the end with data and zero
// descriptors, of which later ones win, and an entry at its end that never became whole.
class WindowsLog : public WindowsVhdxTest, public testing::WithParamInterface<std::uint32_t> {};

TEST_P(WindowsLog, SequenceIsReplayed) {
    file_.log_length = GetParam();
    file_.metadata_at = file_.log_offset + file_.log_length + mebibyte;
    file_.bat_at = file_.metadata_at + 3 * mebibyte;
    const std::uint64_t first = file_.bat_at + 8 * mebibyte;
    const std::uint64_t last = first + 3 * block;
    file_.file_size = first + 2 * block; // the third block lies beyond: the log says how far
    file_.entries[5] = bat_entry(BlockState::fully_present, first); // the log takes it away
    SparseBytes& bytes = file_.write(folder_);
    bytes.write(first, filled(4096, 1));
    bytes.write(first + block, filled(4096, 2));

    const auto page = [](std::initializer_list<std::pair<std::size_t, std::uint64_t>> entries) {
        std::vector<std::byte> made(4096);
        for (const auto& [index, entry] : entries)
            save(made, index * 8, Little<std::uint64_t>{entry});
        return made;
    };
    file_.log_guid = Guid::parse("aaaaaaaa-2222-3333-4444-555555555555").value();
    file_.write_log_entry(bytes, 64 * 1024, 64 * 1024, 999,
        {{file_.bat_at, page({{0, bat_entry(BlockState::zero, 0)}})}}, file_.file_size);
    file_.log_guid = Guid::parse("bbbbbbbb-2222-3333-4444-555555555555").value();
    const std::uint32_t tail = file_.log_length - 12 * 1024;
    std::uint32_t at = tail;
    const std::uint64_t sequence = 0xffffffff; // its halves change within the sequence
    // Two pages of the table, the second one only to be taken back.
    at = file_.write_log_entry(bytes, at, tail, sequence,
        {{file_.bat_at, page({{0, bat_entry(BlockState::fully_present, first + block)}})},
            {file_.bat_at + 4096, page({{0, bat_entry(BlockState::fully_present, first)}})}},
        last);
    ASSERT_LT(at, tail) << "it should have gone round";
    at = file_.write_log_entry(
        bytes, at, tail, sequence + 1, {{file_.bat_at + 4096, {}, 8192}}, last);
    at = file_.write_log_entry(bytes, at, tail, sequence + 2, {}, last);
    at = file_.write_log_entry(bytes, at, tail, sequence + 3,
        {{file_.bat_at, {}, 4096},
            {file_.bat_at,
                page({{0, bat_entry(BlockState::fully_present, first + block)},
                    {1, bat_entry(BlockState::fully_present, first)},
                    {3, bat_entry(BlockState::fully_present, first + 2 * block)}})}},
        last);
    file_.write_log_entry(bytes, at, tail, sequence + 4, {{file_.bat_at, {}, 4096}}, last, false);
    file_.write_headers(bytes, 7);

    for (const bool write : {false, true, false}) {
        const auto chain = folder_.open(write);
        ASSERT_NE(chain, nullptr);
        expect_at(*chain, 0, 2);
        expect_at(*chain, block, 1);
        expect_at(*chain, 5 * block, 0);
        expect_at(*chain, 512 * block, 0); // the page that the log cleared
        if (write) {
            expect_at(*chain, 3 * block, 0);
            EXPECT_GE(chain->top().store().size(), last);
            expect_sound(*chain);
            ASSERT_TRUE(chain->write(3 * block, filled(512, 8)));
            ASSERT_TRUE(chain->close());
        }
    }
    const auto chain = folder_.open(false);
    expect_at(*chain, 3 * block, 8);
    expect_sound(*chain);
}
INSTANTIATE_TEST_SUITE_P(, WindowsLog, testing::Values(mebibyte, 2 * mebibyte, 64 * mebibyte),
    [](const auto& length) { return std::to_string(length.param >> 20U) + "MiB"; });

TEST_F(WindowsVhdxTest, ALogWithoutAWholeSequenceIsRefused) {
    SparseBytes& bytes = file_.write(folder_);
    file_.log_guid = Guid::parse("bbbbbbbb-2222-3333-4444-555555555555").value();
    file_.write_headers(bytes, 7);
    EXPECT_EQ(refused().code, ErrorCode::corrupt);
    file_.write_log_entry(bytes, 4096, 0, 5, {}, file_.file_size); // its tail is not there
    const Error error = refused();
    EXPECT_EQ(error.code, ErrorCode::corrupt);
    EXPECT_EQ(error.offset, file_.log_offset);
    // A log that says the file was longer than it is: it has lost its end.
    file_.file_size += 4096;
    file_.write_log_entry(bytes, 4096, 4096, 6, {}, file_.file_size);
    EXPECT_NE(refused().what.find("cut"), std::string::npos) << refused().what;
}

TEST_F(WindowsVhdxTest, WhatIsUnknownAndOptionalStays) {
    const Guid region = Guid::parse("abcdabcd-0000-0000-0000-000000000001").value();
    const Guid user = Guid::parse("abcdabcd-0000-0000-0000-000000000002").value();
    const Guid system = Guid::parse("abcdabcd-0000-0000-0000-000000000003").value();
    const Guid empty = Guid::parse("abcdabcd-0000-0000-0000-000000000004").value();
    file_.size = 4ULL << 30U;
    file_.regions.push_back({region, 5 * mebibyte, 2 * mebibyte, false});
    file_.items = {{user, filled(1000, 0x11), metadata_is_user}, {system, filled(77, 0x22), 0},
        {empty, {}, metadata_is_user | metadata_is_virtual_disk}};
    SparseBytes& bytes = file_.write(folder_);
    bytes.write(5 * mebibyte, filled(2 * mebibyte, 0x33));
    std::vector<std::byte> metadata(mebibyte);
    bytes.read(file_.metadata_at, metadata);
    {
        const auto chain = folder_.open();
        ASSERT_NE(chain, nullptr);
        for (std::uint64_t i = 0; i < 100; ++i)
            ASSERT_TRUE(chain->write(i * block, filled(512, 1)));
        ASSERT_TRUE(chain->flush());
        ASSERT_TRUE(chain->close());
    }
    std::vector<std::byte> after(mebibyte);
    bytes.read(file_.metadata_at, after);
    EXPECT_TRUE(after == metadata);
    {
        const auto chain = folder_.open(); // beyond the room of the table, which moves
        ASSERT_TRUE(chain->top().resize(60ULL << 40U));
        ASSERT_TRUE(chain->close());
    }
    const auto chain = folder_.open(false);
    ASSERT_NE(chain, nullptr);
    EXPECT_EQ(chain->size(), 60ULL << 40U);
    expect_at(*chain, 99 * block, 1);
    expect_sound(*chain);
    std::vector<std::byte> kept(2 * mebibyte);
    bytes.read(5 * mebibyte, kept);
    EXPECT_TRUE(kept == filled(2 * mebibyte, 0x33));
    bytes.read(file_.metadata_at + metadata_table_size, after);
    EXPECT_TRUE(std::ranges::search(after, filled(1000, 0x11)));
}

TEST_F(WindowsVhdxTest, CompactTakesAlongWhatIsUnknown) {
    const Guid region = Guid::parse("abcdabcd-0000-0000-0000-000000000001").value();
    const Guid user = Guid::parse("abcdabcd-0000-0000-0000-000000000002").value();
    const Guid empty = Guid::parse("abcdabcd-0000-0000-0000-000000000004").value();
    file_.size = 1ULL << 30U;
    file_.regions.push_back({region, 5 * mebibyte, 2 * mebibyte, false});
    file_.items = {{user, filled(900'000, 0x11), metadata_is_user},
        {empty, {}, metadata_is_user | metadata_is_virtual_disk}};
    SparseBytes& bytes = file_.write(folder_);
    bytes.write(5 * mebibyte, filled(2 * mebibyte, 0x33));
    const TemporaryFolder folder;
    const std::string path = folder / "disk.vhdx";
    {
        auto store = FileStore::open(path, {.write = true, .create = true});
        ASSERT_TRUE(store) << store.error().text();
        std::vector<std::byte> all(bytes.size());
        bytes.read(0, all);
        ASSERT_TRUE((*store)->write(0, all));
    }
    {
        const auto chain = open_chain(path, {.write = true});
        ASSERT_TRUE(chain) << chain.error().text();
        for (std::uint64_t i = 0; i < 20; ++i)
            ASSERT_TRUE((*chain)->write(i * block, filled(512, i % 2 == 0 ? 7 : 0)));
        ASSERT_TRUE((*chain)->close());
    }
    const auto freed = tool::compact(path, {});
    ASSERT_TRUE(freed) << freed.error().text();
    EXPECT_GE(*freed, 9 * block);
    const auto chain = open_chain(path, {});
    ASSERT_TRUE(chain) << chain.error().text();
    expect_at(**chain, 18 * block, 7);
    expect_at(**chain, 17 * block, 0);
    expect_sound(**chain);
    const auto& image = dynamic_cast<const VhdxImage&>((*chain)->top());
    const auto regions = image.regions().unknown();
    ASSERT_EQ(regions.size(), 1U);
    EXPECT_EQ(regions[0].guid, region);
    std::vector<std::byte> kept(2 * mebibyte);
    ASSERT_TRUE((*chain)->top().store().read(regions[0].offset, kept));
    EXPECT_TRUE(kept == filled(2 * mebibyte, 0x33));
    const auto& items = image.metadata().unknown;
    ASSERT_EQ(items.size(), 2U);
    EXPECT_EQ(items[0].id, user);
    EXPECT_EQ(items[0].flags, metadata_is_user);
    EXPECT_EQ(items[1].id, empty);
    EXPECT_EQ(items[1].length, 0U);
    EXPECT_EQ(items[1].flags, metadata_is_user | metadata_is_virtual_disk);
    kept.resize(items[0].length);
    ASSERT_TRUE((*chain)->top().store().read(items[0].offset, kept));
    EXPECT_TRUE(kept == filled(900'000, 0x11));
}

TEST_F(WindowsVhdxTest, ItemsThatAreMoreThanTheirRegionAreRefused) {
    const Guid user = Guid::parse("abcdabcd-0000-0000-0000-000000000002").value();
    file_.items = {{user, filled(1000, 0x11), metadata_is_user}};
    SparseBytes& bytes = file_.write(folder_);
    MetadataTableEntry entry{user, metadata_table_size,
        static_cast<std::uint32_t>(mebibyte - metadata_table_size), metadata_is_user,
        std::uint32_t{0}};
    std::vector<std::byte> table(metadata_table_size);
    bytes.read(file_.metadata_at, table);
    const std::uint32_t count = load<MetadataTableHeader>(table).entry_count;
    save(table, sizeof(MetadataTableHeader) + (count - 1) * sizeof entry, entry);
    bytes.write(file_.metadata_at, table);
    const Error error = refused();
    EXPECT_EQ(error.code, ErrorCode::corrupt);
    EXPECT_EQ(error.offset, file_.metadata_at);
}

TEST_F(WindowsVhdxTest, WhatIsUnknownAndRequiredIsRefused) {
    const Guid unknown = Guid::parse("abcdabcd-0000-0000-0000-000000000001").value();
    for (const std::uint32_t flags : {metadata_is_required, metadata_is_required | metadata_is_user,
             metadata_is_required | metadata_is_virtual_disk}) {
        file_.items = {{unknown, filled(8, 1), flags}};
        MemoryFolder folder;
        file_.write(folder);
        const auto chain = open_chain("disk", {}, folder.opener());
        ASSERT_FALSE(chain);
        EXPECT_EQ(chain.error().code, ErrorCode::unsupported);
        EXPECT_NE(chain.error().what.find(unknown.text()), std::string::npos);
    }
    file_.items.clear();
    file_.regions.push_back({unknown, 5 * mebibyte, mebibyte, true});
    file_.write(folder_);
    const Error error = refused();
    EXPECT_EQ(error.code, ErrorCode::unsupported);
    EXPECT_NE(error.what.find(unknown.text()), std::string::npos);
}

TEST_F(WindowsVhdxTest, RegionsThatOverlapAreRefused) {
    const Guid region = Guid::parse("abcdabcd-0000-0000-0000-000000000001").value();
    for (const std::uint64_t offset : {file_.log_offset, file_.bat_at, file_.metadata_at}) {
        file_.regions = {{region, offset, mebibyte, false}};
        MemoryFolder folder;
        file_.write(folder);
        const auto chain = open_chain("disk", {}, folder.opener());
        ASSERT_FALSE(chain) << offset;
        EXPECT_EQ(chain.error().code, ErrorCode::corrupt);
    }
}

TEST_F(WindowsVhdxTest, EitherHeaderWillDoAndAnotherVersionWillNot) {
    SparseBytes& bytes = file_.write(folder_);
    for (const std::uint64_t offset : header_offsets) {
        bytes.write(offset + 100, filled(1, 0xee)); // in what is reserved, under the checksum
        if (offset == header_offsets[0]) {
            EXPECT_TRUE(open_chain("disk", {}, folder_.opener()));
        }
    }
    EXPECT_NE(refused().what.find("checksum"), std::string::npos);
    file_.version = 2;
    file_.write_headers(bytes, 7);
    EXPECT_NE(refused().what.find("version: found 2, expected 1"), std::string::npos);
}

// The paths of a child that Hyper-V made, and the parent where it is found here.
TEST_F(WindowsVhdxTest, ParentLocatorsWithBackslashes) {
    file_.size = 64ULL << 20U;
    file_.entries[0] = bat_entry(BlockState::fully_present, place(0));
    file_.file_size = place(1);
    const std::string linkage = "{11111111-2222-3333-4444-555555555555}";
    const std::string stranger = "{01111111-2222-3333-4444-555555555555}";
    struct Case {
        const char* parent;
        std::vector<std::pair<std::string, std::string>> pairs;
        bool found;
    };
    const Case cases[] = {
        {"base/parent.vhdx",
            {{"parent_linkage", linkage}, {"relative_path", "..\\base\\parent.vhdx"}}, true},
        {"vm/parent.vhdx", {{"relative_path", ".\\parent.vhdx"}, {"parent_linkage", linkage}},
            true},
        // The file has come along: only its name is of use.
        {"vm/parent.vhdx",
            {{"parent_linkage", linkage},
                {"volume_path",
                    "\\\\?\\Volume{26a21bda-a627-11d7-9931-806e6f6e6963}\\vm\\parent.vhdx"}},
            true},
        {"vm/parent.vhdx",
            {{"parent_linkage", linkage}, {"absolute_win32_path", "\\\\?\\C:\\VMs\\parent.vhdx"}},
            true},
        {"vm/parent.vhdx",
            {{"parent_linkage", linkage}, {"absolute_win32_path", "D:\\VMs\\parent.vhdx"},
                {"relative_path", "..\\gone\\parent.vhdx"}},
            true},
        // Merging was under way on Windows.
        {"vm/parent.vhdx",
            {{"parent_linkage", stranger}, {"parent_linkage2", linkage},
                {"relative_path", ".\\parent.vhdx"}},
            true},
        {"vm/parent.vhdx", {{"parent_linkage", stranger}, {"relative_path", ".\\parent.vhdx"}},
            false},
        {"other/parent.vhdx", {{"parent_linkage", linkage}, {"relative_path", ".\\parent.vhdx"}},
            false},
    };
    for (const Case& one : cases) {
        MemoryFolder folder;
        file_.write(folder, one.parent).write(place(0), filled(4096, 42));
        WindowsVhdx child;
        child.size = file_.size;
        child.flags = has_parent;
        child.data_write_guid = Guid::parse("21111111-2222-3333-4444-555555555555").value();
        child.items = {{parent_locator_item, make_parent_locator(one.pairs), metadata_is_required}};
        child.write(folder, "vm/child.avhdx");
        const auto chain = open_chain("vm/child.avhdx", {.write = true}, folder.opener());
        ASSERT_EQ(chain.has_value(), one.found)
            << one.pairs.back().second << (chain ? "" : ": " + chain.error().text());
        if (!chain)
            continue;
        expect_at(**chain, 512, 42);
        ASSERT_TRUE((*chain)->write(512, filled(512, 43)));
        ASSERT_TRUE((*chain)->flush());
        expect_at(**chain, 512, 43);
        expect_at(**chain, 0, 42);
        expect_sound(**chain);
    }
}

// A differencing disk with sector bitmaps, blocks of every state, over a parent full of 42.
TEST_F(WindowsVhdxTest, SectorBitmapsOfAChild) {
    file_.size = 256ULL << 20U;
    file_.file_size = place(8);
    for (unsigned i = 0; i < 8; ++i)
        file_.entries[i] = bat_entry(BlockState::fully_present, place(i));
    SparseBytes& parent = file_.write(folder_, "parent.vhdx");
    for (std::uint64_t i = 0; i < 8; ++i)
        parent.write(place(i), filled(4096, 42));
    WindowsVhdx child;
    child.size = file_.size;
    child.flags = has_parent;
    child.data_write_guid = Guid::parse("21111111-2222-3333-4444-555555555555").value();
    child.items = {{parent_locator_item,
        make_parent_locator({{"parent_linkage", "{11111111-2222-3333-4444-555555555555}"},
            {"relative_path", ".\\parent.vhdx"}}),
        metadata_is_required}};
    child.file_size = place(3);
    child.entries[0] = bat_entry(BlockState::not_present, 0);
    child.entries[1] = bat_entry(BlockState::undefined, 0);
    child.entries[2] = bat_entry(BlockState::zero, 0);
    child.entries[3] = bat_entry(BlockState::unmapped, 0);
    child.entries[4] = bat_entry(BlockState::fully_present, place(0));
    child.entries[5] = bat_entry(BlockState::partially_present, place(1));
    child.entries[128] = 13 * mebibyte | 6; // the bitmap of the first chunk
    SparseBytes& bytes = child.write(folder_, "disk");
    bytes.write(place(0), filled(4096, 7));
    bytes.write(place(1), filled(4096, 8));
    bytes.write(13 * mebibyte + 5 * block / 512 / 8, filled(1, 0x0a)); // sectors 1 and 3
    {
        const auto chain = folder_.open();
        ASSERT_NE(chain, nullptr);
        expect_at(*chain, 0, 42);
        for (std::uint64_t number = 1; number < 4; ++number)
            expect_at(*chain, number * block, 0); // the parent does not show
        expect_at(*chain, 4 * block, 7);
        for (std::uint64_t sector = 0; sector < 5; ++sector)
            expect_at(*chain, 5 * block + sector * 512, sector == 1 || sector == 3 ? 8 : 42);
        ASSERT_TRUE(chain->write(5 * block + 1024, filled(512, 9)));
        ASSERT_TRUE(chain->write(512, filled(512, 10)));
        ASSERT_TRUE(chain->write(2 * block + 512, filled(512, 11)));
        ASSERT_TRUE(chain->close());
    }
    const auto chain = folder_.open(false);
    ASSERT_NE(chain, nullptr);
    expect_at(*chain, 5 * block + 512, 8);
    expect_at(*chain, 5 * block + 1024, 9);
    expect_at(*chain, 5 * block + 2048, 42);
    expect_at(*chain, 0, 42);
    expect_at(*chain, 512, 10);
    expect_at(*chain, 2 * block, 0);
    expect_at(*chain, 2 * block + 512, 11);
    expect_sound(*chain);
}

} // namespace
} // namespace croft::disk::test
