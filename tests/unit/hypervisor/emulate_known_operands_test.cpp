// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/emulate/known_operands.hpp"

#include "tests/unit/hypervisor/traced_tables.hpp"

#include <gtest/gtest.h>

namespace hypervisor {
namespace {

using Kind = PageAccess::Kind;

constexpr std::uint64_t page = 0xffffffffff5fc000;
constexpr std::uint64_t gpa = 0xfee00000;

/// A guest's tables, where the hypervisor sees them.
class KnownOperandsTest : public testing::Test {
protected:
    [[nodiscard]] WalkTrace trace(unsigned depth = WalkTrace::levels) const {
        return tables.trace(depth);
    }
    std::optional<std::uint64_t> find(const KnownOperands::Place& where) {
        return known.find(where, [this](std::uint64_t top_gpa) {
            asked_for = top_gpa;
            return other_top;
        });
    }

    TracedTables tables;
    const WalkTrace::Word* other_top = nullptr;
    std::uint64_t asked_for = 0;
    KnownOperands known;
    const KnownOperands::Place place{.page = page, .rights = 4, .cr3 = 0x5000, .epoch = 3};
};

TEST_F(KnownOperandsTest, FindsWhatItRemembers) {
    EXPECT_FALSE(find(place));
    known.remember(place, trace(), gpa);
    EXPECT_EQ(find(place), gpa);
    EXPECT_EQ(find(place), gpa);
    EXPECT_EQ(asked_for, 0u) << "nothing had to be looked up";
}

TEST_F(KnownOperandsTest, AnEmptyPlaceIsNotThePageAtZero) {
    EXPECT_FALSE(find({.page = 0, .rights = 0, .cr3 = 0, .epoch = 0}));
}

TEST_F(KnownOperandsTest, IsForOnePageOneProgramsRightsAndOneEpoch) {
    known.remember(place, trace(), gpa);
    auto other = place;
    other.page += 0x1000;
    EXPECT_FALSE(find(other));
    other = place;
    other.rights += 1;
    EXPECT_FALSE(find(other));
    other = place;
    other.epoch += 1;
    EXPECT_FALSE(find(other));
    EXPECT_EQ(find(place), gpa);
}

TEST_F(KnownOperandsTest, SeesThatATableHasChanged) {
    known.remember(place, trace(), gpa);
    for (auto& table : tables.words) {
        const std::uint64_t before = table;
        table = before & ~2ull; // no longer to be written
        EXPECT_FALSE(find(place));
        table = before;
        EXPECT_EQ(find(place), gpa);
    }
}

TEST_F(KnownOperandsTest, TakesWhatItsNewWalkHasFound) {
    known.remember(place, trace(), gpa);
    tables.words[3] = 0x9007;
    EXPECT_FALSE(find(place));
    known.remember(place, trace(), 0x9000);
    EXPECT_EQ(find(place), 0x9000u);
    tables.words[3] = 0x3007;
    EXPECT_FALSE(find(place)) << "the walk before is gone";
}

TEST_F(KnownOperandsTest, ComparesNoMoreTablesThanALargePageHas) {
    known.remember(place, trace(3), gpa);
    tables.words[3] = 0;
    EXPECT_EQ(find(place), gpa);
    tables.words[2] = 0;
    EXPECT_FALSE(find(place));
}

TEST_F(KnownOperandsTest, FollowsTheGuestToOtherTables) {
    known.remember(place, trace(), gpa);
    auto elsewhere = place;
    elsewhere.cr3 = 0x8000000000009018; // with bits that are no address
    EXPECT_FALSE(find(elsewhere)) << "there is no memory";
    EXPECT_EQ(asked_for, 0x9000 + 511 * 8u);
    WalkTrace::Word top{0x1234};
    other_top = &top;
    EXPECT_FALSE(find(elsewhere)) << "they lead elsewhere";
    top = tables.words[0].load();
    EXPECT_EQ(find(elsewhere), gpa);
    top = 0;
    EXPECT_FALSE(find(elsewhere));
}

TEST_F(KnownOperandsTest, KeepsAHandfulOfPages) {
    constexpr unsigned few = 8;
    for (unsigned round = 0; round < 3; ++round) {
        unsigned misses = 0;
        for (unsigned i = 0; i < few; ++i) {
            auto one = place;
            one.page = page + i * 0x1000;
            if (!find(one)) {
                ++misses;
                known.remember(one, trace(), gpa + i * 0x1000);
            }
            EXPECT_EQ(find(one), gpa + i * 0x1000);
        }
        EXPECT_EQ(misses, round == 0 ? few : 0);
    }
}

TEST_F(KnownOperandsTest, RightsDifferWhereAWalksResultWould) {
    const PagingState kernel{.cr0 = 1ull << 16,
        .cr4 = 1ull << 21,
        .efer = (1ull << 11) | (1ull << 10),
        .rflags = 2,
        .cpl = 0};
    const std::uint64_t rights = KnownOperands::rights_of(kernel, Kind::read);
    EXPECT_NE(KnownOperands::rights_of(kernel, Kind::write), rights);
    const auto with = [&kernel](auto&& change) {
        PagingState state = kernel;
        change(state);
        return KnownOperands::rights_of(state, Kind::read);
    };
    EXPECT_NE(with([](PagingState& s) { s.cpl = 3; }), rights);
    EXPECT_NE(with([](PagingState& s) { s.cr0 = 0; }), rights) << "write protection";
    EXPECT_NE(with([](PagingState& s) { s.cr4 = 0; }), rights) << "SMAP";
    EXPECT_NE(with([](PagingState& s) { s.cr4 |= 1ull << 20; }), rights) << "SMEP";
    EXPECT_NE(with([](PagingState& s) { s.efer = 1ull << 10; }), rights) << "no execute";
    EXPECT_NE(with([](PagingState& s) { s.rflags |= 1ull << 18; }), rights) << "AC lifts SMAP";
    EXPECT_EQ(with([](PagingState& s) { s.rflags |= 1; }), rights) << "carry counts for nothing";
}

} // namespace
} // namespace hypervisor
