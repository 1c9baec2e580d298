// SPDX-License-Identifier: Apache-2.0
// Guest memory: how it is mapped, that it goes when it is unmapped, and which pages were used.
#include "tests/guests/child_statistics.hpp"
#include "tests/guests/guest_code.hpp"
#include "tests/guests/guest_machine.hpp"
#include "worker/memory/dirty_log.hpp"

#include <gtest/gtest.h>
#include <linux/mman.h>
#include <sys/mman.h>
#include <vector>

GUEST(writes_pages)
GUEST(reads_twice)

namespace croft::guests {

namespace {

using worker::DirtyLog;
using worker::GuestMemory;
using worker::PageRange;
using Ranges = std::vector<PageRange>;
using Numbers = std::vector<std::uint64_t>;

constexpr std::uint64_t mebibyte = 1u << 20;
constexpr std::uint64_t gibibyte = 1u << 30;
constexpr std::uint64_t large_page = 2 * mebibyte;

/// A guest without paging, which so writes nothing but what it is told to.
class Writer {
public:
    Writer() { machine_.start_in_protected_mode(); }

    void write(const std::vector<std::uint32_t>& addresses) {
        std::uint64_t at = GuestMachine::data_gpa;
        for (const std::uint32_t address : addresses) {
            store(at, address);
            at += sizeof address;
        }
        store(at, 0);
        machine_.set(HV_X64_REGISTER_RDI, GuestMachine::data_gpa);
        EXPECT_EQ(machine_.report(), 1u);
    }
    void store(std::uint64_t gpa, std::uint32_t value) {
        EXPECT_TRUE(memory.store<std::uint32_t>(gpa, value));
    }
    void set(std::uint32_t name, std::uint64_t value) { machine_.set(name, value); }
    hv::Partition& partition() { return machine_.partition(); }

    GuestMemory memory{{{0, 64 * mebibyte}}};

private:
    GuestMachine machine_{memory.mappings().front(), CODE(writes_pages)};
};

TEST(Memory, ThatTheHostHasInLargePagesIsMappedInLargePages) {
    Writer writer;
    writer.memory.populate({0, 64 * mebibyte});
    writer.write({4 * mebibyte, 20 * mebibyte});
    const auto large = partition_counters("PtGpaPages2M");
    ASSERT_EQ(large.size(), 1u);
    EXPECT_GE(large[0], 2u);
}

TEST(Memory, ThatIsUnmappedIsAnIntercept) {
    constexpr std::uint64_t gpa = 0x10000000;
    GuestMemory second{{{gpa, 4 * mebibyte}}};
    ASSERT_TRUE(second.store<std::uint64_t>(gpa + 0x1000, 0x1234));
    GuestMachine machine;
    const auto before = partition_counters("PtGpaPages");
    machine.partition().map_memory(second.mappings().front());
    machine.load(CODE(reads_twice));
    machine.start_in_long_mode();
    machine.set(HV_X64_REGISTER_RDI, gpa + 0x1000);
    EXPECT_EQ(machine.report(), 0x1234u);
    const auto between = partition_counters("PtGpaPages");
    machine.partition().unmap_memory(second.mappings().front());
    ASSERT_EQ(machine.report(), std::nullopt);
    EXPECT_EQ(machine.message().header.message_type, HVMSG_UNMAPPED_GPA);
    EXPECT_EQ(
        machine.payload<hv_x64_memory_intercept_message>().guest_physical_address, gpa + 0x1000);
    const auto after = partition_counters("PtGpaPages");
    ASSERT_EQ(between.size(), 1u);
    ASSERT_EQ(after.size(), 1u);
    ASSERT_EQ(before.size(), 1u);
    EXPECT_GT(between[0], after[0]);
}

TEST(DirtyPages, AreExactlyThoseThatGuestAndWorkerHaveWritten) {
    Writer writer;
    writer.memory.populate({0, 64 * mebibyte});
    // All of it has been written, in large pages.
    writer.write({0x400000, 0x600000, 0x800000, 0x2000000, 0x3000000});
    ASSERT_GE(partition_counters("PtGpaPages2M").at(0), 1u);
    DirtyLog log{writer.memory, writer.partition()};
    log.start();
    EXPECT_EQ(partition_counters("PtGpaPages2M"), Numbers{0});
    EXPECT_EQ(log.collect(), Ranges{});

    // The worker writes what to write into page 3.
    writer.write({0x400000, 0x402ffc, 0x403000, 0x5ff000, 0x2000ffc, 0x3fff000});
    writer.store(0x700000, 1);
    writer.store(0x403004, 1);
    EXPECT_EQ(log.collect(),
        (Ranges{{3, 1}, {0x400, 1}, {0x402, 2}, {0x5ff, 1}, {0x700, 1}, {0x2000, 1}, {0x3fff, 1}}));
    EXPECT_EQ(log.collect(), Ranges{});

    writer.write({0x402000, 0x800000});
    EXPECT_EQ(log.collect(), (Ranges{{3, 1}, {0x402, 1}, {0x800, 1}}));
    EXPECT_EQ(log.collect(), Ranges{});
    log.stop();
}

TEST(DirtyPages, CanBeLookedAtWithoutChange) {
    constexpr auto dirty = hv::PageAccess::dirty;
    Writer writer;
    hv::Partition& partition = writer.partition();
    writer.write({0x400000});
    partition.set_property(HV_PARTITION_PROPERTY_GPA_PAGE_ACCESS_TRACKING, 1);
    (void)partition.page_access(dirty, hv::PageAccessUpdate::clear, 0, 64 * mebibyte >> 12);
    EXPECT_EQ(partition.property(HV_PARTITION_PROPERTY_GPA_PAGE_ACCESS_TRACKING), 1u);
    writer.write({0x405000});
    for (unsigned i = 0; i < 2; ++i) {
        EXPECT_EQ(partition.page_access(dirty, hv::PageAccessUpdate::keep, 0x400, 64), Numbers{32});
    }
    EXPECT_EQ(partition.page_access(dirty, hv::PageAccessUpdate::clear, 0x400, 64), Numbers{32});
    EXPECT_EQ(partition.page_access(dirty, hv::PageAccessUpdate::keep, 0x400, 64), Numbers{0});
}

/// A guest that reads a page, twice; its own pages are below those that are asked about.
TEST(AccessedPages, AreThoseThatTheGuestHasReadSinceTheyWereCleared) {
    constexpr std::uint64_t first = 0x100;
    constexpr std::uint64_t count = 64;
    constexpr std::uint64_t page = 5;
    using hv::PageAccess;
    using hv::PageAccessUpdate;
    GuestMachine machine;
    machine.load(CODE(reads_twice));
    machine.store<std::uint64_t>((first + page) << HV_PAGE_SHIFT, 0x1234);
    machine.start_in_long_mode();
    machine.set(HV_X64_REGISTER_RDI, (first + page) << HV_PAGE_SHIFT);
    const auto pages = [&machine](PageAccess access, PageAccessUpdate update) {
        return machine.partition().page_access(access, update, first, count);
    };
    machine.partition().set_property(HV_PARTITION_PROPERTY_GPA_PAGE_ACCESS_TRACKING, 1);
    (void)pages(PageAccess::accessed, PageAccessUpdate::clear);
    (void)pages(PageAccess::dirty, PageAccessUpdate::clear);
    EXPECT_EQ(pages(PageAccess::accessed, PageAccessUpdate::keep), Numbers{0});
    for (unsigned i = 0; i < 2; ++i) {
        EXPECT_EQ(machine.report(), 0x1234u);
        for (const auto update :
            {PageAccessUpdate::keep, PageAccessUpdate::keep, PageAccessUpdate::clear}) {
            EXPECT_EQ(pages(PageAccess::accessed, update), Numbers{1u << page});
        }
        EXPECT_EQ(pages(PageAccess::accessed, PageAccessUpdate::keep), Numbers{0});
        EXPECT_EQ(pages(PageAccess::dirty, PageAccessUpdate::keep), Numbers{0});
    }
}

/// 1 GiB in one piece of the root's memory, which it has if its kernel was told to keep one.
class Gibibyte {
public:
    Gibibyte()
        : at_{mmap(nullptr, gibibyte, PROT_READ | PROT_WRITE,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_1GB, -1, 0)} {}
    ~Gibibyte() {
        if (exists()) {
            munmap(at_, gibibyte);
        }
    }
    Gibibyte(const Gibibyte&) = delete;
    Gibibyte& operator=(const Gibibyte&) = delete;

    [[nodiscard]] bool exists() const { return at_ != MAP_FAILED; }
    [[nodiscard]] hv::MemoryMapping mapping(std::uint64_t gpa) const {
        return {.gpa = gpa, .size = gibibyte, .address = at_};
    }
    [[nodiscard]] volatile std::uint32_t& word(std::uint64_t offset) const {
        return *reinterpret_cast<volatile std::uint32_t*>(static_cast<std::byte*>(at_) + offset);
    }

private:
    void* at_;
};

/// A guest that has written to each 2 MiB of such memory.
class HugeMemory : public testing::Test {
protected:
    static constexpr std::uint32_t gpa = gibibyte;
    /// In the middle of one of its 2 MiB.
    static constexpr std::uint32_t place = 0x12345000;
    static constexpr std::uint32_t value = 0x1000;

    void SetUp() override {
        if (!memory_.exists()) {
            GTEST_SKIP() << "the root has no memory of 1 GiB in one piece";
        }
        for (const std::uint32_t offset : {place - 0x1000, place, place + 0x1000}) {
            memory_.word(offset) = value;
        }
        writer_.partition().map_memory(memory_.mapping(gpa));
        std::vector<std::uint32_t> everywhere;
        for (std::uint64_t at = 0; at < gibibyte; at += large_page) {
            everywhere.push_back(static_cast<std::uint32_t>(gpa + at));
        }
        writer_.write(everywhere);
        ASSERT_EQ(partition_counters("PtGpaPages1G"), Numbers{1});
    }

    Gibibyte memory_;
    Writer writer_;
};

TEST_F(HugeMemory, IsTakenApartByAPageThatLiesOverIt) {
    constexpr std::uint64_t enabled = 1;
    const auto write = [this] {
        writer_.write({gpa + place - 0x1000, gpa + place, gpa + place + 0x1000});
    };
    write();
    writer_.set(HV_REGISTER_SIMP, (gpa + place) | enabled);
    EXPECT_EQ(partition_counters("PtGpaPages1G"), Numbers{0});
    write();
    EXPECT_EQ(memory_.word(place - 0x1000), value + 2);
    EXPECT_EQ(memory_.word(place), value + 1) << "it is hidden";
    EXPECT_EQ(memory_.word(place + 0x1000), value + 2);
    writer_.set(HV_REGISTER_SIMP, 0);
    write();
    EXPECT_EQ(memory_.word(place), value + 2);
    for (std::uint64_t at = 0; at < gibibyte; at += large_page) {
        ASSERT_EQ(memory_.word(at), 1u) << at;
    }
}

TEST_F(HugeMemory, IsTakenApartWhereWrittenPagesAreSought) {
    constexpr std::uint64_t pages = gibibyte >> HV_PAGE_SHIFT;
    constexpr std::uint64_t first = gpa >> HV_PAGE_SHIFT;
    constexpr std::uint64_t page = place >> HV_PAGE_SHIFT;
    hv::Partition& partition = writer_.partition();
    partition.set_property(HV_PARTITION_PROPERTY_GPA_PAGE_ACCESS_TRACKING, 1);
    EXPECT_EQ(partition_counters("PtGpaPages1G"), Numbers{0});
    EXPECT_EQ(partition_counters("PtGpaPages2M"), Numbers{0});
    const auto written = [&] {
        return partition.page_access(
            hv::PageAccess::dirty, hv::PageAccessUpdate::clear, first, pages);
    };
    (void)written();
    writer_.write({gpa + place});
    Numbers expected(pages / 64);
    expected[page / 64] = std::uint64_t{1} << (page % 64);
    EXPECT_EQ(written(), expected);
    EXPECT_EQ(memory_.word(place), value + 1);
    for (std::uint64_t at = 0; at < gibibyte; at += large_page) {
        ASSERT_EQ(memory_.word(at), 1u) << at;
    }
}

} // namespace

} // namespace croft::guests
