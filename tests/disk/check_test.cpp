// SPDX-License-Identifier: Apache-2.0
#include "disk/check.hpp"
#include "disk/vhd/create.hpp"
#include "disk/vhd/dynamic_image.hpp"
#include "disk/vhdx/image.hpp"
#include "tests/disk/images.hpp"

#include <algorithm>
#include <gtest/gtest.h>

// Damage is told, with what a repair gives up, and a repair leaves a disk that is in order.
namespace croft::disk::test {
namespace {

constexpr std::uint64_t disk_size = 16 * mebibyte;

class Check : public testing::Test {
protected:
    // A disk of that kind whose blocks 0 to 3 are written, and where the table of its blocks is.
    std::uint64_t make(const Kind& kind) {
        folder_ = {};
        folder_.create(kind, disk_size);
        const auto chain = folder_.open();
        block_size_ = chain->top().info().block_size;
        for (unsigned i = 0; i < 4; ++i) {
            const std::vector<std::byte> bytes(4096, static_cast<std::byte>(0xa0 + i));
            EXPECT_TRUE(chain->write(i * block_size_, bytes));
        }
        EXPECT_TRUE(chain->close());
        if (auto* vhd = dynamic_cast<vhd::DynamicImage*>(&chain->top()))
            return vhd->header().table_offset;
        return dynamic_cast<vhdx::VhdxImage&>(chain->top()).regions().bat.offset;
    }

    template <class Entry>
    Entry get(std::uint64_t offset) {
        Entry entry{};
        folder_.file("disk")->bytes.read(offset, std::as_writable_bytes(std::span{&entry, 1}));
        return entry;
    }
    template <class Entry>
    void put(std::uint64_t offset, const Entry& entry) {
        folder_.file("disk")->bytes.write(offset, bytes_of(entry));
    }

    CheckReport look() {
        const auto chain = folder_.open(false);
        auto report = check(chain->top());
        EXPECT_TRUE(report);
        return *std::move(report);
    }

    // What there was, what became of it, and that the blocks that are not `lost` are as before.
    void mend(std::uint64_t findings, const std::vector<unsigned>& lost) {
        const CheckReport before = look();
        EXPECT_FALSE(before.clean());
        EXPECT_EQ(before.lost, lost.size() * block_size_);
        {
            const auto chain = folder_.open();
            const auto report = repair(chain->top());
            ASSERT_TRUE(report) << report.error().text();
            EXPECT_EQ(report->lost, lost.size() * block_size_);
            EXPECT_EQ(report->found, findings);
            ASSERT_TRUE(chain->close());
        }
        const CheckReport after = look();
        EXPECT_TRUE(after.clean()) << after.findings.front().what;
        EXPECT_EQ(after.lost, 0U);
        const auto chain = folder_.open();
        std::vector<std::byte> bytes(4096);
        for (unsigned i = 0; i < 4; ++i) {
            const bool is_lost = std::ranges::find(lost, i) != lost.end();
            ASSERT_TRUE(chain->read(i * block_size_, bytes));
            EXPECT_EQ(bytes[0] == static_cast<std::byte>(0xa0 + i), !is_lost) << "block " << i;
        }
    }

    MemoryFolder folder_;
    std::uint64_t block_size_ = 0;
};

using VhdEntry = Big<std::uint32_t>;
using VhdxEntry = Little<std::uint64_t>;
constexpr Kind vhd_kind{"vhd", Format::vhd, Allocation::dynamic};
constexpr Kind vhdx_kind{"vhdx", Format::vhdx, Allocation::dynamic};
constexpr Kind child_kind{"vhdx", Format::vhdx, Allocation::differencing};

TEST_F(Check, AVhdsBlocksThatAreNowhere) {
    const std::uint64_t table = make(vhd_kind);
    put(table + 4, VhdEntry{0});
    put(table + 8, VhdEntry{0x7fffffff});
    mend(2, {1, 2});
}

TEST_F(Check, AVhdsBlocksThatOverlap) {
    const std::uint64_t table = make(vhd_kind);
    put(table + 12, get<VhdEntry>(table));
    const CheckReport report = look();
    ASSERT_EQ(report.findings.size(), 1U);
    EXPECT_EQ(report.findings[0].severity, Finding::Severity::loss);
    EXPECT_NE(report.findings[0].what.find("belongs to another one"), std::string::npos);
    mend(1, {3});
}

TEST_F(Check, AVhdsFooters) {
    for (const bool at_end : {true, false}) {
        make(vhd_kind);
        auto& bytes = folder_.file("disk")->bytes;
        bytes.zero(at_end ? bytes.size() - 512 : 0, 512);
        mend(1, {});
    }
}

TEST_F(Check, AVhdsFooterIsPutRightByWhoWrites) {
    for (const bool at_end : {true, false}) {
        make(vhd_kind);
        auto& bytes = folder_.file("disk")->bytes;
        bytes.zero(at_end ? bytes.size() - 512 : 0, 512);
        EXPECT_FALSE(look().clean());
        const auto chain = folder_.open();
        EXPECT_TRUE(check(chain->top())->clean());
        EXPECT_TRUE(look().clean());
    }
}

TEST_F(Check, AVhdxsBlocksThatAreNowhereOrOverlap) {
    const std::uint64_t table = make(vhdx_kind);
    put(table + 8, VhdxEntry{6});
    put(table + 16, VhdxEntry{5});
    put(table + 24, get<VhdxEntry>(table));
    mend(3, {1, 2, 3});
}

TEST_F(Check, AVhdxsMissingBitmap) {
    const std::uint64_t table = make(child_kind);
    const vhdx::BatShape shape{mebibyte, 512, true};
    put(table + shape.bitmap_entry(0) * 8, VhdxEntry{0});
    const CheckReport report = look();
    EXPECT_EQ(report.findings[0].severity, Finding::Severity::loss);
    EXPECT_NE(report.findings[0].what.find("no sector bitmap"), std::string::npos);
    mend(4, {0, 1, 2, 3});
}

TEST_F(Check, TheWorstAreShownAndAllAreCounted) {
    CheckReport report;
    for (unsigned i = 0; i < 3000; ++i)
        report.add({Finding::Severity::note, i, "note", 0, false});
    EXPECT_TRUE(report.clean());
    EXPECT_FALSE(report.wants(Finding::Severity::note));
    report.add({Finding::Severity::damage, 0, "damage", 0, true});
    EXPECT_FALSE(report.clean());
    for (unsigned i = 0; i < 2000; ++i)
        report.add({Finding::Severity::loss, i, "loss", 10, true});
    EXPECT_EQ(report.findings.size(), CheckReport::findings_max);
    EXPECT_TRUE(std::ranges::all_of(
        report.findings, [](const Finding& f) { return f.severity == Finding::Severity::loss; }));
    EXPECT_FALSE(report.wants(Finding::Severity::loss));
    report.count(10);
    EXPECT_EQ(report.found, 5002U);
    EXPECT_EQ(report.lost, 20010U);
}

// A few KiB that claim 50 million blocks, none of which is right.
TEST_F(Check, ManyDamagedBlocksTakeLittleTime) {
    const auto contents = folder_.file("disk");
    constexpr std::uint64_t size = 200ULL << 30U;
    {
        MemoryStore store{contents};
        ASSERT_TRUE(vhd::create(store, {.size = 4 * mebibyte, .block_size = 4096}));
    }
    vhd::Footer footer{};
    contents->bytes.read(0, std::as_writable_bytes(std::span{&footer, 1}));
    vhd::DynamicHeader header{};
    contents->bytes.read(512, std::as_writable_bytes(std::span{&header, 1}));
    footer.current_size = size;
    header.max_table_entries = size / 4096;
    header.table_offset = mebibyte;
    contents->bytes.resize(2 * mebibyte + size / 4096 * 4);
    put(0, vhd::sealed(footer));
    put(512, vhd::sealed(header));
    put(contents->bytes.size() - 512, vhd::sealed(footer));
    // To look through all that was found for each would take hours, which no test is given.
    const CheckReport report = look();
    EXPECT_GE(report.found, size / 4096);
    EXPECT_EQ(report.lost, size);
}

} // namespace
} // namespace croft::disk::test
