// SPDX-License-Identifier: Apache-2.0
#include "disk/check.hpp"
#include "disk/file_store.hpp"
#include "disk/open.hpp"
#include "disk/tool/create.hpp"
#include "disk/tool/merge.hpp"
#include "disk/vhd/create.hpp"
#include "disk/vhd/dynamic_image.hpp"
#include "disk/vhdx/image.hpp"
#include "tests/disk/images.hpp"
#include "tests/disk/temporary.hpp"

#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/stat.h>

// By what a child knows its parent, and when that changes.
namespace croft::disk::test {
namespace {

constexpr std::uint64_t size = 16U << 20U;

std::vector<std::byte> full_sector(unsigned value) {
    return std::vector<std::byte>(4096, static_cast<std::byte>(value));
}

struct Guids {
    Guid file;
    Guid data;
};

Guids guids_in(const std::string& path) {
    auto store = FileStore::open(path, {.lock = false});
    EXPECT_TRUE(store);
    const auto headers = vhdx::Headers::read(**store);
    EXPECT_TRUE(headers);
    return {headers->current().file_write_guid, headers->current().data_write_guid};
}

// base <- middle <- top, each with something of its own.
class Identity : public testing::Test {
protected:
    void SetUp() override { make(Format::vhdx); }

    void make(Format format) {
        std::string parent;
        for (const char* name : {"base", "middle", "top"}) {
            tool::NewDisk disk{.format = format, .size = size};
            disk.parent = parent.empty() ? parent : path(parent);
            const auto made = tool::create_file(path(name), disk, true);
            ASSERT_TRUE(made) << made.error().text();
            parent = name;
        }
        write("base", 0, 1, false);
        write("middle", 4096, 2, false);
        write("top", 8192, 3, false);
    }

    std::string path(const std::string& name) const { return files_ / name; }

    void write(const std::string& name, std::uint64_t offset, unsigned value, bool own = true) {
        auto chain = open_chain(path(name), {.write = true, .with_parents = false});
        ASSERT_TRUE(chain) << chain.error().text();
        // As when the children were made afterwards.
        if (auto* vhdx = dynamic_cast<vhdx::VhdxImage*>(&(*chain)->top()); vhdx && !own)
            vhdx->use_data_write_guid(vhdx->headers().current().data_write_guid);
        ASSERT_TRUE((*chain)->write(offset, full_sector(value)) && (*chain)->close());
    }

    // What the top shows is the same as ever.
    void expect_top() {
        auto chain = open_chain(path("top"), {});
        ASSERT_TRUE(chain) << chain.error().text();
        std::vector<std::byte> bytes(12288);
        ASSERT_TRUE((*chain)->read(0, bytes));
        for (unsigned i = 0; i < 3; ++i)
            EXPECT_EQ(bytes[i * 4096], static_cast<std::byte>(i + 1));
    }

    // What an operation does to the identifiers of a file.
    void expect_change(const std::string& name, bool file, bool data) {
        const Guids now = guids_in(path(name));
        EXPECT_EQ(now.file != before_[name].file, file) << name << ": FileWriteGuid";
        EXPECT_EQ(now.data != before_[name].data, data) << name << ": DataWriteGuid";
    }
    void look() {
        for (const char* name : {"base", "middle", "top"})
            before_[name] = guids_in(path(name));
    }

    TemporaryFolder files_;
    std::map<std::string, Guids> before_;
};

TEST_F(Identity, ReadingChangesNothing) {
    look();
    expect_top();
    for (const char* name : {"base", "middle", "top"})
        expect_change(name, false, false);
}

TEST_F(Identity, OpeningForWritingChangesNothing) {
    look();
    {
        auto chain = open_chain(path("top"), {.write = true});
        ASSERT_TRUE(chain && (*chain)->flush() && (*chain)->close());
    }
    expect_change("top", false, false);
}

TEST_F(Identity, WritingChangesBoth) {
    look();
    write("top", 0, 9);
    expect_change("top", true, true);
}

TEST_F(Identity, DiscardAndResizeChangeBoth) {
    for (const bool discard : {false, true}) {
        look();
        auto chain = open_chain(path("top"), {.write = true});
        ASSERT_TRUE(chain);
        ASSERT_TRUE(discard ? (*chain)->discard(0, size) : (*chain)->top().resize(2 * size));
        ASSERT_TRUE((*chain)->close());
        chain->reset();
        expect_change("top", true, true);
    }
}

TEST_F(Identity, ReplayChangesTheFilesFirst) {
    {
        auto chain = open_chain(path("top"), {.write = true});
        ASSERT_TRUE(chain && (*chain)->write(8U << 20U, full_sector(4)) && (*chain)->flush());
    } // not closed
    look();
    expect_top();
    expect_change("top", false, false);
    {
        auto chain = open_chain(path("top"), {.write = true});
        ASSERT_TRUE(chain && (*chain)->close());
    }
    expect_change("top", true, false);
    expect_top();
}

// [MS-VHDX] 2.2.2: before anything else of the file.
TEST(IdentityInMemory, HeadersComeFirst) {
    MemoryFolder folder;
    folder.create({"vhdx", Format::vhdx, Allocation::dynamic}, size);
    for (const bool replay : {false, true}) {
        const auto contents = folder.file("disk");
        contents->events.clear();
        contents->record = true;
        const auto chain = folder.open();
        if (!replay) {
            ASSERT_TRUE(chain->write(0, full_sector(1)) && chain->flush());
        }
        contents->record = false;
        ASSERT_GT(contents->events.size(), 2U);
        EXPECT_EQ(contents->events[0].kind, Event::Kind::write);
        EXPECT_TRUE(contents->events[0].offset == vhdx::header_offsets[0] ||
            contents->events[0].offset == vhdx::header_offsets[1]);
        EXPECT_EQ(contents->events[1].kind, Event::Kind::flush);
    }
}

TEST_F(Identity, RepairOfWhatIsInOrderWritesNothing) {
    look();
    {
        auto chain = open_chain(path("middle"), {.write = true, .with_parents = false});
        ASSERT_TRUE(chain);
        const auto report = repair((*chain)->top());
        ASSERT_TRUE(report && report->clean() && (*chain)->close());
    }
    expect_change("middle", false, false);
    expect_top();
}

TEST_F(Identity, RepairOfAHeaderLeavesTheContents) {
    look();
    for (const std::uint64_t offset : {vhdx::header_offsets[0], vhdx::region_table_offsets[1]}) {
        {
            auto store = FileStore::open(path("middle"), {.write = true});
            ASSERT_TRUE(store && (*store)->write(offset, full_sector(0)));
        }
        auto chain = open_chain(path("middle"), {.write = true, .with_parents = false});
        ASSERT_TRUE(chain) << chain.error().text();
        const auto report = repair((*chain)->top());
        ASSERT_TRUE(report);
        EXPECT_FALSE(report->clean());
        EXPECT_EQ(report->lost, 0U);
        ASSERT_TRUE((*chain)->close());
        EXPECT_TRUE(check((*chain)->top())->clean());
    }
    expect_change("middle", true, false);
    expect_top();
}

TEST_F(Identity, AnotherParentLeavesTheContents) {
    for (const bool only_locator : {true, false}) {
        look();
        const auto rebased =
            tool::rebase(path("middle"), std::nullopt, path("base"), only_locator, {});
        ASSERT_TRUE(rebased) << rebased.error().text();
        expect_change("middle", true, false);
        expect_top();
    }
}

// The middle shows what it showed before, so its children are still its children.
TEST_F(Identity, MergingTheMiddle) {
    look();
    const auto merged = tool::merge(path("middle"), std::nullopt, {});
    ASSERT_TRUE(merged) << merged.error().text();
    expect_change("base", true, true);
    expect_change("middle", true, false);
    expect_change("top", false, false);
    expect_top();
    // And of the one that holds it all now, once they are told.
    ASSERT_TRUE(tool::rebase(path("top"), std::nullopt, path("base"), true, {}));
    std::filesystem::remove(path("middle"));
    expect_top();
}

TEST_F(Identity, MergingIntoAShorterParentShowsNoGrandparent) {
    for (const Format format : {Format::vhdx, Format::vhd}) {
        make(format);
        write("base", size - 4096, 9, false);
        for (const auto& [name, wanted] : {std::pair{"middle", size / 2}, std::pair{"top", size}}) {
            auto chain = open_chain(path(name), {.write = true, .with_parents = false});
            ASSERT_TRUE(chain);
            if (auto* vhdx = dynamic_cast<vhdx::VhdxImage*>(&(*chain)->top()))
                vhdx->use_data_write_guid(vhdx->headers().current().data_write_guid);
            ASSERT_TRUE((*chain)->top().resize(wanted) && (*chain)->close());
        }
        const auto merged = tool::merge(path("top"), std::nullopt, {});
        ASSERT_TRUE(merged) << merged.error().text();
        for (const char* name : {"top", "middle"}) {
            auto chain = open_chain(path(name), {});
            ASSERT_TRUE(chain) << chain.error().text();
            std::vector<std::byte> bytes(size);
            ASSERT_TRUE((*chain)->read(0, bytes));
            EXPECT_EQ(bytes[8192], std::byte{3});
            EXPECT_EQ(bytes[size - 4096], std::byte{0}) << name;
            EXPECT_TRUE(check((*chain)->top())->clean());
        }
    }
}

TEST_F(Identity, AVhdKnowsWhenItsParentWasModified) {
    make(Format::vhd);
    const auto rebased = tool::rebase(path("middle"), std::nullopt, path("base"), true, {});
    ASSERT_TRUE(rebased) << rebased.error().text();
    const auto notes = [this] {
        auto chain = open_chain(path("middle"), {});
        EXPECT_TRUE(chain);
        const auto report = check((*chain)->top());
        EXPECT_TRUE(report && report->clean());
        return report->findings.size();
    };
    struct stat status {};
    ASSERT_EQ(stat(path("base").c_str(), &status), 0);
    {
        auto chain = open_chain(path("middle"), {});
        ASSERT_TRUE(chain);
        const auto& header = dynamic_cast<vhd::DynamicImage&>((*chain)->top()).header();
        EXPECT_EQ(vhd::host_seconds_of(header.parent_time_stamp), status.st_mtim.tv_sec);
    }
    EXPECT_EQ(notes(), 0U);
    const timespec earlier[2]{{1000000000, 0}, {1000000000, 0}};
    ASSERT_EQ(utimensat(AT_FDCWD, path("base").c_str(), earlier, 0), 0);
    EXPECT_EQ(notes(), 1U);
    EXPECT_EQ(vhd::time_stamp_of(946684800 + 7), 7U);
    EXPECT_EQ(vhd::time_stamp_of(7), 0U);
}

TEST(Chains, OfSixAndInALoop) {
    for (const Format format : {Format::vhdx, Format::vhd}) {
        const Kind kind{"chain", format, Allocation::differencing};
        MemoryFolder folder;
        folder.create_one("0", {"base", format, Allocation::dynamic}, size);
        for (unsigned i = 0; i < 6; ++i) {
            const std::string name = std::to_string(i);
            if (i > 0)
                folder.create_one(name, kind, size, std::to_string(i - 1));
            auto chain = folder.open(true, name);
            ASSERT_EQ(chain->images().size(), i + 1);
            ASSERT_TRUE(chain->write(i * 65536, full_sector(i + 1)) && chain->close());
            if (i > 0) { // what was read of the parents is right at each depth
                std::vector<std::byte> bytes(4096);
                for (unsigned k = 0; k <= i; ++k) {
                    ASSERT_TRUE(folder.open(false, name)->read(k * 65536, bytes));
                    ASSERT_EQ(bytes[0], static_cast<std::byte>(k + 1));
                }
            }
        }
        // The third one is made its own grandparent's parent.
        const auto third = folder.open(false, "3")->top().info().identity;
        auto first = open_chain("1", {.write = true, .with_parents = false}, folder.opener());
        ASSERT_TRUE(first);
        if (auto* vhdx = dynamic_cast<vhdx::VhdxImage*>(&(*first)->top())) {
            ASSERT_TRUE(vhdx->set_parent_locator(
                {{"parent_linkage", "{" + third + "}"}, {"relative_path", ".\\3"}}));
        } else {
            ASSERT_TRUE(dynamic_cast<vhd::DynamicImage&>((*first)->top())
                            .set_parent(Guid::parse(third).value(), 0, ".\\3", ""));
        }
        ASSERT_TRUE((*first)->close());
        const auto loop = open_chain("5", {}, folder.opener());
        ASSERT_FALSE(loop);
        EXPECT_EQ(loop.error().code, ErrorCode::corrupt);
        EXPECT_NE(loop.error().text().find("comes back"), std::string::npos) << loop.error().text();
    }
}

TEST(FileStore, WhatIsNoDiskIsRefusedAtOnce) {
    const TemporaryFolder folder;
    ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
    for (const std::string& path : {folder / "pipe", folder / "", std::string{"/dev/zero"}}) {
        for (const bool write : {false, true}) {
            const auto store = FileStore::open(path, {.write = write});
            ASSERT_FALSE(store) << path;
            EXPECT_EQ(store.error().code, ErrorCode::unsupported) << store.error().text();
        }
    }
    // Nor does opening a file leave it in a mode in which I/O gives up instead of waiting.
    const auto store = FileStore::open(folder / "file", {.write = true, .create = true});
    ASSERT_TRUE(store);
    EXPECT_EQ(fcntl((*store)->descriptor(), F_GETFL) & O_NONBLOCK, 0);
}

std::string disk_identity_of(const std::string& path, Format format) {
    const auto chain = open_chain(path, {.format = format});
    EXPECT_TRUE(chain);
    return chain ? (*chain)->top().disk_identity() : std::string{};
}

TEST(DiskIdentity, ARawDiskIsItsFile) {
    const TemporaryFolder folder;
    const std::string path = folder / "disk";
    std::ofstream{path} << std::string(4096, 'x');
    const std::string identity = disk_identity_of(path, Format::raw);
    EXPECT_FALSE(identity.empty());
    std::filesystem::copy_file(path, folder / "copy");
    EXPECT_NE(disk_identity_of(folder / "copy", Format::raw), identity);
    std::filesystem::rename(path, folder / "renamed");
    EXPECT_EQ(disk_identity_of(folder / "renamed", Format::raw), identity);
}

TEST(DiskIdentity, AnImageSaysItself) {
    const TemporaryFolder folder;
    for (const Format format : {Format::vhdx, Format::vhd}) {
        const std::string path = folder / std::string{to_string(format)};
        ASSERT_TRUE(tool::create_file(path, {.format = format, .size = size}, false));
        const std::string identity = disk_identity_of(path, format);
        EXPECT_TRUE(Guid::parse(identity));
        std::filesystem::copy_file(path, folder / "copy");
        EXPECT_EQ(disk_identity_of(folder / "copy", format), identity);
        std::filesystem::remove(folder / "copy");
    }
}

TEST(FileStoreTest, DiscardGivesBackAndWritesNothing) {
    const TemporaryFolder folder;
    const std::string path = folder / "disk";
    std::ofstream{path} << std::string(1U << 20U, 'x');
    auto store = FileStore::open(path, {.write = true});
    ASSERT_TRUE(store);
    ASSERT_TRUE((*store)->flush());
    const auto blocks = [&] {
        struct stat status {};
        EXPECT_EQ(stat(path.c_str(), &status), 0);
        return status.st_blocks;
    };
    const auto before = blocks();
    ASSERT_TRUE((*store)->discard(0, 1U << 19U));
    ASSERT_TRUE((*store)->flush());
    if ((*store)->traits().discard_granularity != 0)
        EXPECT_LE(blocks(), before / 2);
    else
        EXPECT_EQ(blocks(), before);
    EXPECT_EQ((*store)->size(), 1U << 20U);
}

} // namespace
} // namespace croft::disk::test
