// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/emulate/guest_page_walk.hpp"

#include <functional>
#include <gtest/gtest.h>
#include <map>
#include <vector>

namespace hypervisor {
namespace {

using Kind = PageFault::Kind;
using AccessKind = PageAccess::Kind;

constexpr std::uint64_t present = 1;
constexpr std::uint64_t writable = 2;
constexpr std::uint64_t user = 4;
constexpr std::uint64_t accessed = 0x20;
constexpr std::uint64_t dirty = 0x40;
constexpr std::uint64_t large = 0x80;
constexpr std::uint64_t no_execute = std::uint64_t{1} << 63;
constexpr std::uint64_t all_rights = present | writable | user;

constexpr std::uint64_t cr0_wp = 1U << 16;
constexpr std::uint64_t cr0_pg = 1U << 31;
constexpr std::uint64_t cr4_pse = 1U << 4;
constexpr std::uint64_t cr4_pae = 1U << 5;
constexpr std::uint64_t cr4_la57 = 1U << 12;
constexpr std::uint64_t cr4_smep = 1U << 20;
constexpr std::uint64_t cr4_smap = 1U << 21;
constexpr std::uint64_t efer_lma = 1U << 10;
constexpr std::uint64_t efer_nxe = 1U << 11;
constexpr std::uint64_t rflags_ac = 1U << 18;

class FakeMemory final {
public:
    std::map<std::uint64_t, std::uint64_t> entries;
    unsigned size = 8;
    unsigned reads = 0;
    bool read_only = false;
    std::function<void()> before_exchange;

    std::optional<std::uint64_t> read_entry(std::uint64_t gpa, unsigned entry_size) {
        EXPECT_EQ(entry_size, size);
        EXPECT_EQ(gpa % size, 0U);
        ++reads;
        const auto found = entries.find(gpa);
        return found == entries.end() ? std::nullopt : std::optional{found->second};
    }

    std::optional<bool> compare_exchange_entry(
        std::uint64_t gpa, unsigned entry_size, std::uint64_t expected, std::uint64_t desired) {
        EXPECT_EQ(entry_size, size);
        if (before_exchange) {
            before_exchange();
        }
        const auto found = entries.find(gpa);
        if (read_only || found == entries.end()) {
            return std::nullopt;
        }
        if (found->second != expected) {
            return false;
        }
        found->second = desired;
        return true;
    }
};

static_assert(GuestMemoryReader<FakeMemory>);

PagingState long_mode() {
    return {.cr0 = cr0_pg | cr0_wp,
        .cr3 = 0x1000,
        .cr4 = cr4_pae,
        .efer = efer_lma | efer_nxe,
        .physical_bits = 48};
}

PagingState pae_mode() {
    PagingState state = long_mode();
    state.efer = efer_nxe;
    return state;
}

PagingState two_level() {
    return {.cr0 = cr0_pg | cr0_wp, .cr3 = 0x1000, .cr4 = cr4_pse, .physical_bits = 40};
}

std::expected<Translation, PageFault> translate(const PagingState& state, std::uint64_t address,
    FakeMemory& memory, AccessKind kind = AccessKind::read,
    AccessedDirty policy = AccessedDirty::leave) {
    return translate_guest_address(state, address, {.kind = kind}, policy, memory);
}

/// The address whose indices into the tables of long mode are these.
constexpr std::uint64_t address_of(std::uint64_t level4, std::uint64_t level3, std::uint64_t level2,
    std::uint64_t level1, std::uint64_t offset) {
    return level4 << 39 | level3 << 30 | level2 << 21 | level1 << 12 | offset;
}

constexpr std::uint64_t test_address = address_of(5, 6, 7, 8, 0x123);

/// 5/6/7/8 in tables at 0x1000, 0x2000, 0x3000 and 0x4000.
FakeMemory long_mode_tables() {
    FakeMemory memory;
    memory.entries[0x1000 + 5 * 8] = 0x2000 | all_rights;
    memory.entries[0x2000 + 6 * 8] = 0x3000 | all_rights;
    memory.entries[0x3000 + 7 * 8] = 0x4000 | all_rights;
    memory.entries[0x4000 + 8 * 8] = 0x123456789000 | all_rights;
    return memory;
}

PageFault fault(Kind kind, std::uint32_t code) {
    return {.kind = kind, .error_code = code};
}

TEST(GuestPageWalk, LeavesAddressesAloneWithoutPaging) {
    FakeMemory memory;
    const auto result = translate({}, 0xFFFFFFFF12345678, memory, AccessKind::write);
    ASSERT_TRUE(result);
    EXPECT_EQ(*result,
        (Translation{.gpa = 0x12345678,
            .page_size = 0x1000,
            .writable = true,
            .user = true,
            .executable = true}));
    EXPECT_EQ(memory.reads, 0U);
}

TEST(GuestPageWalk, GoesThroughFourLevels) {
    FakeMemory memory = long_mode_tables();
    const auto result = translate(long_mode(), test_address, memory);
    ASSERT_TRUE(result);
    EXPECT_EQ(result->gpa, 0x123456789123U);
    EXPECT_EQ(result->page_size, 0x1000U);
    EXPECT_EQ(memory.reads, 4U);
}

TEST(GuestPageWalk, GoesThroughFiveLevels) {
    FakeMemory memory = long_mode_tables();
    memory.entries[0x8000 + 9 * 8] = 0x1000 | all_rights;
    PagingState state = long_mode();
    state.cr4 |= cr4_la57;
    state.cr3 = 0x8018; // PCD and PWT of CR3 are no address
    const auto result = translate(state, test_address | std::uint64_t{9} << 48, memory);
    ASSERT_TRUE(result);
    EXPECT_EQ(result->gpa, 0x123456789123U);
    EXPECT_EQ(memory.reads, 5U);
    EXPECT_EQ(translate(state, std::uint64_t{1} << 56, memory),
        std::unexpected(fault(Kind::non_canonical, 0)));
}

TEST(GuestPageWalk, FindsLargePagesOfLongMode) {
    FakeMemory memory = long_mode_tables();
    memory.entries[0x3000 + 7 * 8] = 0xAAA00000U | 0x1000U | large | all_rights;
    auto result = translate(long_mode(), test_address, memory);
    ASSERT_TRUE(result);
    EXPECT_EQ(result->gpa, 0xAAA00000U + 0x8123U);
    EXPECT_EQ(result->page_size, 0x200000U);
    EXPECT_TRUE(result->pat);
    memory.entries[0x2000 + 6 * 8] = 0x1C0000000 | large | all_rights;
    result = translate(long_mode(), test_address, memory);
    ASSERT_TRUE(result);
    EXPECT_EQ(result->gpa, 0x1C0000000 + 7 * 0x200000 + 0x8123U);
    EXPECT_EQ(result->page_size, 0x40000000U);
    EXPECT_FALSE(result->pat);
    PagingState state = long_mode();
    state.gigabyte_pages = false;
    EXPECT_EQ(
        translate(state, test_address, memory), std::unexpected(fault(Kind::reserved_bit, 9)));
}

TEST(GuestPageWalk, GoesThroughThePaeTables) {
    FakeMemory memory;
    memory.entries[0x1020 + 3 * 8] = 0x2000 | present;
    memory.entries[0x2000 + 5 * 8] = 0x3000 | all_rights;
    memory.entries[0x3000 + 6 * 8] = 0x987654000 | all_rights;
    PagingState state = pae_mode();
    state.cr3 = 0x1020; // 32-byte granularity
    const std::uint64_t address = 0xC0000000 + 5 * 0x200000 + 6 * 0x1000 + 0x77;
    auto result = translate(state, address | 0xFFFFFFFF00000000, memory);
    ASSERT_TRUE(result);
    EXPECT_EQ(result->gpa, 0x987654077U);
    EXPECT_EQ(memory.reads, 3U);

    state.pdptes = std::array<std::uint64_t, 4>{0, 0, 0, 0x5000 | present};
    memory.entries[0x5000 + 5 * 8] = 0x40000000U | large | all_rights;
    result = translate(state, address, memory);
    ASSERT_TRUE(result);
    EXPECT_EQ(result->gpa, 0x40006077U);
    EXPECT_EQ(result->page_size, 0x200000U);
    EXPECT_EQ(memory.reads, 4U);
    EXPECT_EQ(translate(state, 0x1000, memory), std::unexpected(fault(Kind::not_present, 0)));
}

TEST(GuestPageWalk, GoesThroughTwoLevels) {
    FakeMemory memory;
    memory.size = 4;
    memory.entries[0x1000 + 0x300 * 4] = 0x2000 | all_rights;
    memory.entries[0x2000 + 0x0AB * 4] = 0xFEDCB000 | all_rights;
    const std::uint64_t address = 0xC00AB456;
    auto result = translate(two_level(), address, memory);
    ASSERT_TRUE(result);
    EXPECT_EQ(result->gpa, 0xFEDCB456U);
    EXPECT_EQ(result->page_size, 0x1000U);

    memory.entries[0x1000 + 0x300 * 4] = 0x80400000U | 0x2000U | large | all_rights;
    result = translate(two_level(), address, memory);
    ASSERT_TRUE(result);
    EXPECT_EQ(result->gpa, 0x180400000 + 0xAB456U) << "bits 20 to 13 are above bit 31";
    EXPECT_EQ(result->page_size, 0x400000U);

    PagingState state = two_level();
    state.cr4 = 0; // without the extension the bit means nothing
    memory.entries[0x80402000 + 0x0AB * 4] = 0x1000 | all_rights;
    result = translate(state, address, memory);
    ASSERT_TRUE(result);
    EXPECT_EQ(result->gpa, 0x1456U);
}

TEST(GuestPageWalk, ReportsHowThePageIsCached) {
    for (std::uint64_t bits = 0; bits < 8; ++bits) {
        FakeMemory memory = long_mode_tables();
        memory.entries[0x4000 + 8 * 8] |= bits << 3 & 0x18;
        memory.entries[0x4000 + 8 * 8] |= (bits & 4) != 0 ? 0x80U : 0U;
        const auto result = translate(long_mode(), test_address, memory);
        ASSERT_TRUE(result);
        EXPECT_EQ(result->write_through, (bits & 1) != 0);
        EXPECT_EQ(result->cache_disable, (bits & 2) != 0);
        EXPECT_EQ(result->pat, (bits & 4) != 0);
    }
}

TEST(GuestPageWalk, KnowsCanonicalAddresses) {
    FakeMemory memory;
    for (const std::uint64_t address :
        {0x800000000000U, 0xFFFF7FFFFFFFFFFFU, 0x8000000000000000U}) {
        EXPECT_EQ(translate(long_mode(), address, memory),
            std::unexpected(fault(Kind::non_canonical, 0)));
    }
    for (const std::uint64_t address : {0x7FFFFFFFFFFFU, 0xFFFF800000000000U}) {
        EXPECT_EQ(translate(long_mode(), address, memory),
            std::unexpected(fault(Kind::table_unreadable, 0)));
    }
}

TEST(GuestPageWalk, StopsAtAnAbsentEntryOfAnyLevel) {
    const FakeMemory whole = long_mode_tables();
    for (const auto& [gpa, value] : whole.entries) {
        FakeMemory memory = whole;
        memory.entries[gpa] = ~present; // whatever else there is
        EXPECT_EQ(translate(long_mode(), test_address, memory),
            std::unexpected(fault(Kind::not_present, 0)));
        EXPECT_EQ(translate(long_mode(), test_address, memory, AccessKind::write),
            std::unexpected(fault(Kind::not_present, 2)));
        EXPECT_EQ(translate(long_mode(), test_address, memory, AccessKind::execute),
            std::unexpected(fault(Kind::not_present, 16)));
        PagingState state = long_mode();
        state.cpl = 3;
        EXPECT_EQ(
            translate(state, test_address, memory), std::unexpected(fault(Kind::not_present, 4)));
        memory.entries.erase(gpa);
        EXPECT_EQ(translate(long_mode(), test_address, memory),
            std::unexpected(fault(Kind::table_unreadable, 0)));
    }
}

/// Which single bits of the entry at `gpa` make it a reserved-bit fault.
std::uint64_t reserved_found(
    const PagingState& state, std::uint64_t address, const FakeMemory& tables, std::uint64_t gpa) {
    std::uint64_t found = 0;
    for (unsigned number = 1; number < tables.size * 8; ++number) {
        FakeMemory memory = tables;
        const std::uint64_t bit = std::uint64_t{1} << number;
        memory.entries[gpa] |= bit;
        const auto result = translate(state, address, memory);
        if (!result && result.error() == fault(Kind::reserved_bit, 9)) {
            found |= bit;
        }
    }
    return found;
}

TEST(GuestPageWalk, ChecksReservedBitsOfLongMode) {
    PagingState state = long_mode();
    state.physical_bits = 40;
    FakeMemory memory = long_mode_tables();
    memory.entries[0x4000 + 8 * 8] = 0x5000 | all_rights;
    constexpr std::uint64_t beyond = 0x000FFF0000000000;
    const auto found = [&](std::uint64_t gpa) {
        return reserved_found(state, test_address, memory, gpa);
    };
    EXPECT_EQ(found(0x1000 + 5 * 8), beyond | large);
    // As large pages these two would have the address of a table, which isn't aligned for one.
    EXPECT_EQ(found(0x2000 + 6 * 8), beyond | large);
    EXPECT_EQ(found(0x3000 + 7 * 8), beyond | large);
    EXPECT_EQ(found(0x4000 + 8 * 8), beyond);
    state.efer = efer_lma;
    EXPECT_EQ(found(0x4000 + 8 * 8), beyond | no_execute);
    state.physical_bits = 52;
    EXPECT_EQ(found(0x4000 + 8 * 8), no_execute);
    memory.entries[0x3000 + 7 * 8] = large | all_rights;
    EXPECT_EQ(found(0x3000 + 7 * 8), no_execute | 0x1FE000);
    memory.entries[0x2000 + 6 * 8] = large | all_rights;
    EXPECT_EQ(found(0x2000 + 6 * 8), no_execute | 0x3FFFE000);
}

TEST(GuestPageWalk, ChecksReservedBitsOfPae) {
    PagingState state = pae_mode();
    state.physical_bits = 36;
    FakeMemory memory;
    memory.entries[0x1000] = 0x2000 | present;
    memory.entries[0x2000] = 0x3000 | all_rights;
    memory.entries[0x3000] = 0x4000 | all_rights;
    constexpr std::uint64_t beyond = 0x7FFFFFF000000000;
    EXPECT_EQ(reserved_found(state, 0, memory, 0x1000), beyond | no_execute | 0x1C6);
    EXPECT_EQ(reserved_found(state, 0, memory, 0x2000), beyond | large) << "misaligned as a page";
    EXPECT_EQ(reserved_found(state, 0, memory, 0x3000), beyond);
    memory.entries[0x2000] = large | all_rights;
    EXPECT_EQ(reserved_found(state, 0, memory, 0x2000), beyond | 0x1FE000);
}

TEST(GuestPageWalk, ChecksReservedBitsOfTwoLevels) {
    PagingState state = two_level();
    FakeMemory memory;
    memory.size = 4;
    memory.entries[0x1000] = 0x2000 | all_rights;
    memory.entries[0x2000] = 0x3000 | all_rights;
    EXPECT_EQ(reserved_found(state, 0, memory, 0x1000), 0U);
    EXPECT_EQ(reserved_found(state, 0, memory, 0x2000), 0U);
    memory.entries[0x1000] = large | all_rights;
    EXPECT_EQ(reserved_found(state, 0, memory, 0x1000), 0x200000U);
    state.physical_bits = 36;
    EXPECT_EQ(reserved_found(state, 0, memory, 0x1000), 0x3E0000U);
    state.physical_bits = 52;
    EXPECT_EQ(reserved_found(state, 0, memory, 0x1000), 0x200000U);
}

/// One combination of what decides about an access, and the answer by the rules of SDM vol.
/// 3, 4.6.1, written down rule by rule.
struct Rights {
    bool page_writable, page_user, page_no_execute;
    bool wp, smep, smap, ac, user_mode;
    AccessKind kind;

    [[nodiscard]] bool allowed() const {
        if (user_mode) {
            return page_user && (kind != AccessKind::write || page_writable) &&
                (kind != AccessKind::execute || !page_no_execute);
        }
        if (kind == AccessKind::execute) {
            return page_user ? !page_no_execute && !smep : !page_no_execute;
        }
        if (page_user && smap && !ac) {
            return false;
        }
        return kind == AccessKind::read || !wp || page_writable;
    }
};

void check(const Rights& rights, std::uint64_t gpa) {
    FakeMemory memory = long_mode_tables();
    std::uint64_t& entry = memory.entries[gpa];
    entry &= ~(rights.page_writable ? 0 : writable);
    entry &= ~(rights.page_user ? 0 : user);
    entry |= rights.page_no_execute ? no_execute : 0;
    PagingState state = long_mode();
    state.cr0 = cr0_pg | (rights.wp ? cr0_wp : 0);
    state.cr4 |= (rights.smep ? cr4_smep : 0) | (rights.smap ? cr4_smap : 0);
    state.rflags = rights.ac ? rflags_ac : 0;
    state.cpl = rights.user_mode ? 3 : 0;
    const auto before = memory.entries;
    const auto result = translate(state, test_address, memory, rights.kind, AccessedDirty::update);
    ASSERT_EQ(result.has_value(), rights.allowed());
    if (result) {
        EXPECT_EQ(result->writable, rights.page_writable);
        EXPECT_EQ(result->user, rights.page_user);
        EXPECT_EQ(result->executable, !rights.page_no_execute);
        return;
    }
    const std::uint32_t code = 1U | (rights.kind == AccessKind::write ? 2U : 0U) |
        (rights.user_mode ? 4U : 0U) | (rights.kind == AccessKind::execute ? 16U : 0U);
    EXPECT_EQ(result.error(), fault(Kind::protection, code));
    EXPECT_EQ(memory.entries, before) << "nothing is marked";
}

TEST(GuestPageWalk, GrantsWhatTheRulesGrant) {
    for (unsigned bits = 0; bits < 256; ++bits) {
        const auto flag = [bits](unsigned number) {
            return (bits >> number & 1) != 0;
        };
        for (const auto kind : {AccessKind::read, AccessKind::write, AccessKind::execute}) {
            // One level that takes a right away is enough, whichever it is.
            for (const std::uint64_t gpa : {0x1028U, 0x2030U, 0x3038U, 0x4040U}) {
                check(
                    {flag(0), flag(1), flag(2), flag(3), flag(4), flag(5), flag(6), flag(7), kind},
                    gpa);
            }
        }
    }
}

TEST(GuestPageWalk, TakesImplicitAccessesForTheSupervisors) {
    FakeMemory memory = long_mode_tables();
    PagingState state = long_mode();
    state.cpl = 3;
    state.rflags = rflags_ac;
    state.cr4 |= cr4_smap;
    const PageAccess access{.kind = AccessKind::read, .implicit_supervisor = true};
    const auto policy = AccessedDirty::leave;
    EXPECT_EQ(translate_guest_address(state, test_address, access, policy, memory),
        std::unexpected(fault(Kind::protection, 1)));
    memory.entries[0x4040] &= ~user;
    EXPECT_TRUE(translate_guest_address(state, test_address, access, policy, memory));
}

TEST(GuestPageWalk, CanIgnorePermissions) {
    FakeMemory memory = long_mode_tables();
    memory.entries[0x4040] = 0x5000 | present | no_execute;
    PagingState state = long_mode();
    state.cpl = 3;
    const auto policy = AccessedDirty::leave;
    const PageAccess access{.kind = AccessKind::write, .ignore_permissions = true};
    const auto result = translate_guest_address(state, test_address, access, policy, memory);
    ASSERT_TRUE(result);
    EXPECT_EQ(result->gpa, 0x5123U);
    EXPECT_FALSE(result->writable || result->user || result->executable);
    memory.entries[0x4040] = 0;
    EXPECT_FALSE(translate_guest_address(state, test_address, access, policy, memory));
}

TEST(GuestPageWalk, TellsFetchesOnlyWhereTheyMatter) {
    FakeMemory memory;
    memory.size = 4;
    memory.entries[0x1000] = 0;
    PagingState state = two_level();
    state.efer = efer_nxe; // nothing in tables of two levels
    EXPECT_EQ(translate(state, 0, memory, AccessKind::execute).error().error_code, 0U);
    state.cr4 |= cr4_smep;
    EXPECT_EQ(translate(state, 0, memory, AccessKind::execute).error().error_code, 16U);
}

TEST(GuestPageWalk, MarksWhatItUsed) {
    for (const auto kind : {AccessKind::read, AccessKind::write}) {
        FakeMemory memory = long_mode_tables();
        auto expected = memory.entries;
        ASSERT_TRUE(translate(long_mode(), test_address, memory, kind));
        EXPECT_EQ(memory.entries, expected) << "not asked to";
        ASSERT_TRUE(translate(long_mode(), test_address, memory, kind, AccessedDirty::update));
        for (auto& [gpa, value] : expected) {
            value |= accessed;
        }
        expected[0x4040] |= kind == AccessKind::write ? dirty : 0;
        EXPECT_EQ(memory.entries, expected);
        memory.before_exchange = [] {
            ADD_FAILURE() << "there is nothing left to mark";
        };
        ASSERT_TRUE(translate(long_mode(), test_address, memory, kind, AccessedDirty::update));
    }
}

/// Some processors mark them, though that bit is reserved.
TEST(GuestPageWalk, GoesThroughADirectoryPointerOfPaeThatIsMarked) {
    FakeMemory memory;
    memory.entries[0x1000] = 0x2000 | present | accessed;
    memory.entries[0x2000] = 0x3000 | all_rights;
    memory.entries[0x3000] = 0x5000 | all_rights;
    const auto result = translate(pae_mode(), 0x10, memory);
    ASSERT_TRUE(result);
    EXPECT_EQ(result->gpa, 0x5010U);
}

TEST(GuestPageWalk, MarksNoDirectoryPointerOfPae) {
    FakeMemory memory;
    memory.entries[0x1000] = 0x2000 | present;
    memory.entries[0x2000] = 0x400000U | large | all_rights;
    ASSERT_TRUE(translate(pae_mode(), 0x10, memory, AccessKind::write, AccessedDirty::update));
    EXPECT_EQ(memory.entries[0x1000], 0x2000U | present);
    EXPECT_EQ(memory.entries[0x2000], 0x400000U | large | all_rights | accessed | dirty);
}

TEST(GuestPageWalk, MarksATableThatContainsItself) {
    FakeMemory memory;
    memory.entries[0x1000] = 0x1000 | all_rights;
    const auto result =
        translate(long_mode(), 0x678, memory, AccessKind::write, AccessedDirty::update);
    ASSERT_TRUE(result);
    EXPECT_EQ(result->gpa, 0x1678U);
    EXPECT_EQ(memory.entries[0x1000], 0x1000 | all_rights | accessed | dirty);
}

TEST(GuestPageWalk, LooksAgainWhenATableChanges) {
    FakeMemory memory = long_mode_tables();
    unsigned changes = 0;
    memory.before_exchange = [&] {
        if (changes++ == 0) {
            memory.entries[0x1028] = 0x7000 | all_rights;
            memory.entries[0x7030] = 0x40000000U | large | all_rights;
        }
    };
    const auto result =
        translate(long_mode(), test_address, memory, AccessKind::read, AccessedDirty::update);
    ASSERT_TRUE(result);
    EXPECT_EQ(result->page_size, 0x40000000U);
}

TEST(GuestPageWalk, GivesUpOnTablesThatChangeAllTheTime) {
    FakeMemory memory = long_mode_tables();
    memory.before_exchange = [&] {
        memory.entries[0x1028] ^= 0x200;
    };
    EXPECT_EQ(translate(long_mode(), test_address, memory, AccessKind::read, AccessedDirty::update),
        std::unexpected(fault(Kind::table_unstable, 0)));
    EXPECT_LT(memory.reads, 100U);
}

TEST(GuestPageWalk, CannotMarkReadOnlyTables) {
    FakeMemory memory = long_mode_tables();
    memory.read_only = true;
    EXPECT_TRUE(translate(long_mode(), test_address, memory));
    EXPECT_EQ(translate(long_mode(), test_address, memory, AccessKind::read, AccessedDirty::update),
        std::unexpected(fault(Kind::table_unreadable, 0)));
}

} // namespace
} // namespace hypervisor
