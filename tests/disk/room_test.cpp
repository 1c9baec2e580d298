// SPDX-License-Identifier: Apache-2.0
#include "disk/check.hpp"
#include "disk/vhdx/image.hpp"
#include "tests/disk/images.hpp"

#include <cerrno>
#include <gtest/gtest.h>

// How room is found and given up: in the file, in the log and in memory.
namespace croft::disk::test {
namespace {

constexpr Kind dynamic_vhdx{"vhdx", Format::vhdx, Allocation::dynamic};

// The first block was written in an earlier session; reads of it begin before this one's first
// write.
struct Begun {
    explicit Begun(MemoryFolder& folder) {
        folder.create(dynamic_vhdx, 64 * mebibyte);
        {
            const auto earlier = folder.open();
            EXPECT_TRUE(earlier->write(0, filled(mebibyte, 1)) && earlier->close());
        }
        chain = folder.open();
        EXPECT_TRUE(chain->top().prepare(0, 4096, Image::Access::read));
        before = chain->top().find(0, 4096);
        EXPECT_EQ(before.where, Extent::Where::data);
        EXPECT_TRUE(chain->write(mebibyte, filled(mebibyte, 2)));
    }
    std::unique_ptr<Chain> chain;
    Extent before;
};

TEST(Room, APlaceWaitsForIoThatBeganBeforeTheFirstWrite) {
    MemoryFolder folder;
    const Begun begun{folder};
    Chain& chain = *begun.chain;
    Image& image = chain.top();
    image.finish(begun.before, Image::Outcome::was_read);
    const Extent held = image.find(0, 4096);
    ASSERT_TRUE(chain.discard(0, mebibyte));
    for (std::uint64_t block = 2; block < 10; ++block) {
        ASSERT_TRUE(chain.flush());
        ASSERT_TRUE(chain.write(block * mebibyte, filled(mebibyte, 9)));
        const Extent taken = image.find(block * mebibyte, 4096);
        image.finish(taken, Image::Outcome::was_read);
        ASSERT_NE(taken.store_offset, held.store_offset) << "block " << block;
    }
    image.finish(held, Image::Outcome::was_read);
}

TEST(Room, IsUsedAgainAfterIoThatBeganBeforeTheFirstWrite) {
    MemoryFolder folder;
    const Begun begun{folder};
    Chain& chain = *begun.chain;
    chain.top().finish(begun.before, Image::Outcome::was_read);
    const std::uint64_t size = chain.top().store().size();
    for (int i = 0; i < 200; ++i) {
        ASSERT_TRUE(chain.write(2 * mebibyte, filled(mebibyte, 3)) && chain.flush());
        ASSERT_TRUE(chain.discard(2 * mebibyte, mebibyte) && chain.flush());
    }
    EXPECT_LE(chain.top().store().size(), size + 64 * mebibyte);
}

// A child with sector bitmaps so far apart that each piece dirties a page of its own.
class Log : public testing::Test {
protected:
    static constexpr unsigned pieces = 512;
    static constexpr std::uint64_t step = 16 * mebibyte;

    void SetUp() override {
        Kind kind{"vhdx", Format::vhdx, Allocation::dynamic, 512, 2U << 20U};
        folder_.create_one("parent", kind, pieces * step);
        kind.allocation = Allocation::differencing;
        folder_.create_one("disk", kind, pieces * step);
        chain_ = folder_.open();
        for (unsigned i = 0; i < pieces; ++i)
            ASSERT_TRUE(chain_->write(i * step, filled(512, 1)));
        ASSERT_TRUE(chain_->flush());
        for (unsigned i = 0; i < pieces; ++i) {
            auto place = chain_->locate(i * step, 512);
            ASSERT_TRUE(place);
            place->image->finish(place->extent, Image::Outcome::was_read);
        }
    }

    // As a queue does: what is absent has to wait.
    bool touch(unsigned piece) {
        Image& image = chain_->top();
        const Extent extent = image.reserve(piece * step + 4096, 512);
        if (extent.where != Extent::Where::data)
            return false;
        image.finish(extent, Image::Outcome::was_written);
        return true;
    }

    MemoryFolder folder_;
    std::unique_ptr<Chain> chain_;
};

TEST_F(Log, AnEntryFitsItsPlaceAfterACommitThatFailed) {
    const auto& header = dynamic_cast<vhdx::VhdxImage&>(chain_->top()).headers().current();
    const std::uint64_t log = header.log_offset;
    const std::uint64_t slot = header.log_length / 2;
    for (unsigned i = 0; i < pieces && touch(i);)
        ++i;
    unsigned failures = 0;
    bool beyond = false;
    folder_.file("disk")->fault = [&](const Event& call, std::size_t& length) {
        if (call.kind != Event::Kind::write || call.offset < log || call.offset >= log + 2 * slot)
            return 0;
        beyond |= call.length > slot || (call.offset != log && call.offset != log + slot);
        if (failures++ > 2)
            return 0;
        for (unsigned i = 0; i < pieces; ++i)
            static_cast<void>(touch(i));
        length = 0;
        return ENOSPC;
    };
    EXPECT_FALSE(chain_->flush());
    EXPECT_FALSE(chain_->flush());
    EXPECT_FALSE(chain_->flush());
    EXPECT_TRUE(chain_->flush());
    folder_.file("disk")->fault = nullptr;
    EXPECT_EQ(failures, 4U);
    EXPECT_FALSE(beyond);
    chain_.reset();
    ASSERT_NE(folder_.open(), nullptr);
}

TEST_F(Log, RefusesAnEntryLargerThanItsPlace) {
    MemoryStore store{folder_.file("disk")};
    vhdx::Header header{};
    header.log_offset = mebibyte;
    header.log_length = static_cast<std::uint32_t>(mebibyte);
    vhdx::LogWriter log{header, Guid::random()};
    const auto bytes = filled(4096, 1);
    const std::size_t most = vhdx::LogWriter::capacity(header.log_length);
    std::vector<vhdx::LogWriter::Page> pages(most + 1, {mebibyte * 5, bytes});
    EXPECT_FALSE(log.write(store, pages, store.size(), store.size()));
    pages.pop_back();
    EXPECT_TRUE(log.write(store, pages, store.size(), store.size()));
}

// A change that could not be made durable is none: the next flush must not make it so.
TEST(Room, AResizeThatFailedDoesNotComeLater) {
    for (const std::uint64_t size : {32 * mebibyte, 96 * mebibyte, 200 * 1024 * mebibyte}) {
        MemoryFolder folder;
        folder.create(dynamic_vhdx, 64 * mebibyte);
        auto chain = folder.open();
        ASSERT_TRUE(chain->write(60 * mebibyte, filled(4096, 7)) && chain->flush());
        unsigned entries = 0;
        folder.file("disk")->fault = [&](const Event& call, std::size_t&) {
            const bool of_log = call.kind == Event::Kind::write && call.offset >= mebibyte &&
                call.offset < 2 * mebibyte;
            entries += of_log;
            return of_log ? ENOSPC : 0;
        };
        EXPECT_FALSE(chain->top().resize(size));
        EXPECT_GT(entries, 0U);
        folder.file("disk")->fault = nullptr;
        EXPECT_EQ(chain->size(), 64 * mebibyte);
        ASSERT_TRUE(chain->write(61 * mebibyte, filled(4096, 8)) && chain->flush());
        chain = folder.open();
        ASSERT_EQ(chain->size(), 64 * mebibyte);
        std::vector<std::byte> bytes(4096);
        ASSERT_TRUE(chain->read(61 * mebibyte, bytes));
        EXPECT_EQ(bytes[0], std::byte{8});
        EXPECT_TRUE(check(chain->top())->clean());
    }
}

// The smallest cache there is: slow, but it works, also where one block has more bitmap pages than
// that.
TEST(Room, ATinyCacheIsEnough) {
    for (const Kind& kind : {Kind{"vhdx", Format::vhdx, Allocation::dynamic},
             Kind{"vhdx", Format::vhdx, Allocation::differencing, 512, 256U << 20U},
             Kind{"vhd", Format::vhd, Allocation::differencing, 512, 256U << 20U},
             Kind{"vhd", Format::vhd, Allocation::dynamic, 512, 4096}}) {
        MemoryFolder folder;
        Kind parent = kind;
        parent.allocation = Allocation::dynamic;
        folder.create_one("parent", parent, 4096 * mebibyte);
        folder.create_one("disk", kind, 4096 * mebibyte);
        auto chain = open_chain("disk", {.write = true, .cache_bytes = 1}, folder.opener());
        ASSERT_TRUE(chain);
        for (unsigned i = 0; i < 1000; ++i)
            ASSERT_TRUE((*chain)->write(i * 977U % 1024 * 4 * mebibyte, filled(4096, i % 255 + 1)));
        std::vector<std::byte> bytes(4096);
        for (std::uint64_t i = 0; i < 1000; ++i) {
            ASSERT_TRUE((*chain)->read(i * 977 % 1024 * 4 * mebibyte, bytes));
            ASSERT_EQ(bytes[4095], static_cast<std::byte>(i % 255 + 1));
        }
        ASSERT_TRUE((*chain)->close());
    }
}

TEST(Room, TheCacheStaysWithinItsBudget) {
    PageCache cache{512, 64, 32};
    const std::vector<std::byte> bytes(512);
    for (std::uint64_t i = 0; i < 1000; ++i) {
        PageCache::Page& page = cache.insert(i * 512, bytes);
        if (cache.may_dirty(page) && i % 3 == 0)
            cache.mark_dirty(page);
    }
    std::size_t present = 0;
    for (std::uint64_t i = 0; i < 1000; ++i)
        present += cache.find(i * 512) != nullptr;
    EXPECT_EQ(present, 64U);
    EXPECT_FALSE(cache.has_room());
    const auto pages = cache.begin_commit();
    EXPECT_EQ(pages.size(), 32U);
    EXPECT_FALSE(cache.has_room()); // they may come back
    cache.commit_done(pages, true);
    EXPECT_TRUE(cache.has_room(32));
    cache.set_aside(4);
    EXPECT_FALSE(cache.has_room(29));
    cache.take_back(4);
    EXPECT_TRUE(cache.has_room(32));
}

TEST(Room, TheLastSectorOf64TiB) {
    constexpr std::uint64_t size = 64ULL << 40U;
    for (const Allocation allocation : {Allocation::dynamic, Allocation::differencing}) {
        Kind kind{"vhdx", Format::vhdx, Allocation::dynamic, 512, 32U << 20U};
        MemoryFolder folder;
        folder.create_one("parent", kind, size);
        kind.allocation = allocation;
        folder.create_one("disk", kind, size);
        const auto chain = folder.open();
        ASSERT_TRUE(chain->write(size - 512, filled(512, 5)) && chain->close());
        const auto again = folder.open(false);
        std::vector<std::byte> bytes(1024);
        ASSERT_TRUE(again->read(size - 1024, bytes));
        EXPECT_EQ(bytes[0], std::byte{0});
        EXPECT_EQ(bytes[1023], std::byte{5});
        EXPECT_FALSE(again->read(size - 512, bytes));
        EXPECT_TRUE(check(again->top())->clean());
    }
}

} // namespace
} // namespace croft::disk::test
