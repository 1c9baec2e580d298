// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/emulate/known_instructions.hpp"

#include "tests/unit/hypervisor/traced_tables.hpp"

#include <algorithm>
#include <gtest/gtest.h>

namespace hypervisor {
namespace {

constexpr std::uint64_t rip = 0xffffffff81000ffa;
constexpr std::uint64_t cr3 = 0x5000;

/// A guest's tables and code, where the hypervisor sees them.
class KnownInstructionsTest : public testing::Test {
protected:
    KnownInstructionsTest() { put({0x0f, 0xa2, 0x90, 0x90}); }
    void put(std::initializer_list<unsigned> bytes) {
        std::ranges::transform(
            bytes, code.begin(), [](unsigned byte) { return static_cast<std::byte>(byte); });
    }
    [[nodiscard]] WalkTrace trace(unsigned depth = WalkTrace::levels) const {
        return tables.trace(depth);
    }
    [[nodiscard]] KnownInstructions::Instruction at(unsigned length) const {
        return {.code = code.data(), .length = static_cast<std::uint8_t>(length)};
    }
    std::optional<std::uint8_t> find(const KnownInstructions::Place& where) {
        const auto* const found = known.find(where, [this](std::uint64_t gpa) {
            asked_for = gpa;
            return other_top;
        });
        return found != nullptr ? std::optional{found->length} : std::nullopt;
    }

    TracedTables tables;
    std::array<std::byte, 8> code{};
    const WalkTrace::Word* other_top = nullptr;
    std::uint64_t asked_for = 0;
    KnownInstructions known;
    const KnownInstructions::Place place{
        .which = InterceptedInstruction::cpuid, .rip = rip, .cr3 = cr3, .epoch = 3};
};

TEST_F(KnownInstructionsTest, FindsWhatItRemembers) {
    EXPECT_FALSE(find(place));
    known.remember(place, trace(), at(2));
    EXPECT_EQ(find(place), 2);
    EXPECT_EQ(find(place), 2);
    EXPECT_EQ(asked_for, 0u) << "nothing had to be looked up";
}

TEST_F(KnownInstructionsTest, IsForOnePlaceOneInstructionAndOneEpoch) {
    known.remember(place, trace(), at(2));
    auto other = place;
    other.rip += 1;
    EXPECT_FALSE(find(other));
    other = place;
    other.which = InterceptedInstruction::rdmsr;
    EXPECT_FALSE(find(other));
    other = place;
    other.epoch += 1;
    EXPECT_FALSE(find(other));
    EXPECT_EQ(find(place), 2);
}

TEST_F(KnownInstructionsTest, TellsWhereAMemoryAccessIs) {
    auto access = place;
    access.which = InterceptedInstruction::memory_access;
    known.remember(place, trace(), at(2));
    EXPECT_FALSE(find(access)) << "that was a CPUID";
    known.remember(access, trace(), at(KnownInstructions::longest));
    EXPECT_FALSE(find(place));
    const auto* const found =
        known.find(access, [](std::uint64_t) { return static_cast<WalkTrace::Word*>(nullptr); });
    ASSERT_NE(found, nullptr);
    EXPECT_EQ(found->code, code.data());
}

TEST_F(KnownInstructionsTest, SeesThatATableHasChanged) {
    for (auto& table : tables.words) {
        known.remember(place, trace(), at(2));
        const std::uint64_t before = table;
        table = before ^ 0x8000;
        EXPECT_FALSE(find(place));
        table = before;
        EXPECT_EQ(find(place), 2);
    }
}

TEST_F(KnownInstructionsTest, SeesThatTheCodeHasChanged) {
    known.remember(place, trace(), at(2));
    put({0x0f, 0xa2, 0xcc}); // what comes behind it is of no account
    EXPECT_EQ(find(place), 2);
    put({0x66, 0x0f, 0xa2});
    EXPECT_FALSE(find(place));
}

TEST_F(KnownInstructionsTest, FollowsTheGuestToOtherTables) {
    known.remember(place, trace(), at(2));
    auto elsewhere = place;
    elsewhere.cr3 = 0x8000000000009018; // with bits that are no address
    EXPECT_FALSE(find(elsewhere)) << "there is no memory";
    EXPECT_EQ(asked_for, 0x9000 + 511 * 8u);
    WalkTrace::Word top{0x1234};
    other_top = &top;
    EXPECT_FALSE(find(elsewhere)) << "they lead elsewhere";
    top = tables.words[0].load();
    EXPECT_EQ(find(elsewhere), 2);
    asked_for = 0;
    EXPECT_EQ(find(elsewhere), 2);
    EXPECT_EQ(asked_for, 0u);
    top = 0;
    EXPECT_FALSE(find(elsewhere));
}

TEST_F(KnownInstructionsTest, KeepsTheFewThatComeAgainAndAgain) {
    constexpr unsigned few = 6;
    constexpr unsigned rounds = 100;
    constexpr unsigned most_misses = 10; // of 600
    unsigned misses = 0;
    for (std::uint64_t set = 0; set < 20; ++set) {
        KnownInstructions fresh;
        std::swap(known, fresh);
        misses = 0;
        for (unsigned i = 0; i < rounds * few; ++i) {
            auto one = place;
            one.rip = rip + set * 0x1377 + (i % few) * 0x2b;
            if (!find(one)) {
                ++misses;
                known.remember(one, trace(), at(2));
            }
        }
        EXPECT_LE(misses, most_misses) << set;
    }
}

TEST_F(KnownInstructionsTest, WhatCameBeforeDrivesNobodyOut) {
    constexpr unsigned few = 3;
    constexpr unsigned rounds = 20;
    constexpr std::uint64_t sets = 200;
    unsigned bad_sets = 0;
    for (std::uint64_t set = 0; set < sets; ++set) {
        KnownInstructions fresh;
        std::swap(known, fresh);
        for (std::uint64_t i = 0; i < 40; ++i) {
            auto one = place;
            one.rip = rip + 0x5000 + set * 0x1113 + i * 0x47;
            known.remember(one, trace(), at(2));
        }
        unsigned misses = 0;
        for (unsigned i = 0; i < rounds * few; ++i) {
            auto one = place;
            one.rip = rip + set * 0x1377 + (i % few) * 0x2b;
            if (!find(one)) {
                ++misses;
                known.remember(one, trace(), at(2));
            }
        }
        bad_sets += misses > 2 * few ? 1 : 0;
    }
    EXPECT_LE(bad_sets, sets / 50);
}

TEST_F(KnownInstructionsTest, LeavesOutWhatIsTooLong) {
    known.remember(place, trace(), at(KnownInstructions::longest + 1));
    EXPECT_FALSE(find(place));
    known.remember(place, trace(), at(KnownInstructions::longest));
    EXPECT_EQ(find(place), KnownInstructions::longest);
    code.back() = std::byte{1};
    EXPECT_FALSE(find(place));
}

} // namespace
} // namespace hypervisor
