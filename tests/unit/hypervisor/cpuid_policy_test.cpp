// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/cpuid_policy.hpp"

#include <gtest/gtest.h>

namespace hypervisor::cpuid_policy {

namespace {

/// A processor of the future, with every feature there could be.
constexpr CpuidResult full{~0u, ~0u, ~0u, ~0u};

CpuidResult answer_of_full(std::uint32_t /*leaf*/, std::uint32_t /*subleaf*/) {
    return full;
}
CpuidResult answer_of_none(std::uint32_t /*leaf*/, std::uint32_t /*subleaf*/) {
    return {};
}

CpuidResult child(std::uint32_t leaf, std::uint32_t subleaf = 0, DisabledFeatures disabled = {}) {
    return visible(full, leaf, subleaf, Audience::child, disabled);
}
CpuidResult root(std::uint32_t leaf, std::uint32_t subleaf = 0) {
    return visible(full, leaf, subleaf, Audience::root, {});
}
bool is_zero(const CpuidResult& r) {
    return (r.eax | r.ebx | r.ecx | r.edx) == 0;
}

TEST(CpuidPolicy, SomeLeavesHaveSubleaves) {
    for (const std::uint32_t leaf : {4u, 7u, 0xbu, 0xdu, 0x10u, 0x14u, 0x1fu, 0x24u, 0x40000001u,
             0x8000001du, 0x80000020u, 0x80000026u}) {
        EXPECT_FALSE(is_without_subleaves(leaf)) << leaf;
    }
    for (const std::uint32_t leaf :
        {0u, 1u, 2u, 5u, 6u, 0xau, 0x15u, 0x16u, 0x80000000u, 0x80000008u, 0x8000001eu}) {
        EXPECT_TRUE(is_without_subleaves(leaf)) << leaf;
    }
}

TEST(CpuidPolicy, WhatNobodyHasLookedAtIsNotThere) {
    for (const std::uint32_t leaf : {0x03u, 0x05u, 0x0au, 0x0fu, 0x10u, 0x12u, 0x14u, 0x18u, 0x1au,
             0x1du, 0x20u, 0x80000009u, 0x8000000au, 0x8000001bu, 0x8000001cu, 0x8000001fu,
             0x80000020u, 0x80000022u, 0x80000030u, 0xc0000001u}) {
        EXPECT_TRUE(is_zero(child(leaf))) << std::hex << leaf;
        EXPECT_TRUE(is_zero(root(leaf))) << std::hex << leaf;
    }
    EXPECT_TRUE(is_zero(child(7, 2)));
    EXPECT_TRUE(is_zero(root(7, 2)));
    EXPECT_EQ(child(7).eax, 1u);
}

/// Features that need something of the hypervisor that it does not do, by leaf and register.
TEST(CpuidPolicy, NeitherSeesWhatTheHypervisorDoesNotVirtualize) {
    for (const auto& r : {child(1), root(1)}) {
        EXPECT_EQ(r.ecx & (1u << 3 | 1u << 5 | 1u << 24 | 1u << 31), 0u); // MONITOR, VMX, deadline
    }
    for (const auto& r : {child(7), root(7)}) {
        EXPECT_EQ(r.ebx & (1u << 1 | 1u << 4 | 1u << 11 | 1u << 12 | 1u << 25), 0u);
        EXPECT_EQ(r.ecx & (1u << 3 | 1u << 4 | 1u << 5 | 1u << 7 | 1u << 16), 0u);
        EXPECT_EQ(r.edx >> 20, 0u); // CET, and controls of speculation
    }
    for (const auto& r : {child(0xd, 1), root(0xd, 1)}) {
        EXPECT_EQ(r.eax, 7u); // no XSAVES
        EXPECT_EQ(r.ecx | r.edx, 0u);
    }
    for (const auto& r : {child(0x80000001), root(0x80000001)}) {
        EXPECT_EQ(r.ecx & (1u << 2 | 1u << 10 | 1u << 12 | 1u << 15 | 7u << 23 | 3u << 28), 0u);
    }
    for (const auto& r : {child(0x80000008), root(0x80000008)}) {
        // INVLPGB, RDPRU, MCOMMIT, IBPB, IBRS, STIBP, SSBD
        EXPECT_EQ(r.ebx & (1u << 3 | 1u << 4 | 1u << 8 | 1u << 12 | 7u << 14 | 3u << 24), 0u);
    }
}

TEST(CpuidPolicy, OrdinaryFeaturesAreThere) {
    constexpr std::uint32_t sse42_and_avx = 1u << 20 | 1u << 28;
    EXPECT_EQ(child(1).ecx & sse42_and_avx, sse42_and_avx);
    constexpr std::uint32_t avx2 = 1u << 5;
    EXPECT_NE(child(7).ebx & avx2, 0u);
    constexpr std::uint32_t long_mode = 1u << 29;
    EXPECT_NE(child(0x80000001).edx & long_mode, 0u);
}

TEST(CpuidPolicy, OnlyTheRootManagesTheMachine) {
    EXPECT_EQ(root(6).ecx, ~0u);
    EXPECT_EQ(child(6).ecx, 0u);
    // Not what it would control by MSRs that it can't write: voltage, frequency, boost; CPPC.
    EXPECT_EQ(root(0x80000007).edx, ~(1u << 1 | 1u << 2 | 1u << 9));
    EXPECT_EQ(root(0x80000008).ebx & 1u << 27, 0u);
    EXPECT_EQ(child(0x80000007).edx, 1u << 8);
    EXPECT_TRUE(is_zero(child(0x16)));
}

TEST(CpuidPolicy, AFeatureIsTakenAway) {
    DisabledFeatures disabled;
    disabled.banks[0] = 1ull << 16 | 1ull << 41; // AES, SHA
    disabled.banks[1] = 1ull << 2;               // CLZERO
    EXPECT_EQ(child(1).ecx & ~child(1, 0, disabled).ecx, 1u << 25);
    EXPECT_EQ(child(7).ebx & ~child(7, 0, disabled).ebx, 1u << 29);
    EXPECT_EQ(child(0x80000008).ebx & ~child(0x80000008, 0, disabled).ebx, 1u << 0);
    EXPECT_EQ(child(1).edx, child(1, 0, disabled).edx);
}

TEST(CpuidPolicy, WithAvxGoesWhatStandsOnIt) {
    DisabledFeatures disabled;
    disabled.xsave = 1u << 2;
    constexpr std::uint32_t fma_avx_f16c = 1u << 12 | 1u << 28 | 1u << 29;
    EXPECT_EQ(child(1, 0, disabled).ecx & fma_avx_f16c, 0u);
    EXPECT_NE(child(1, 0, disabled).ecx & 1u << 26, 0u); // XSAVE
    EXPECT_EQ(child(7, 0, disabled).ebx & (1u << 5 | 1u << 16), 0u);
    EXPECT_EQ(child(7, 1, disabled).eax & 3u << 4, 0u);
    EXPECT_EQ(states(0xe7, disabled), 3u);
    EXPECT_EQ(states(0xe7, {}), 0xe7u);
}

TEST(CpuidPolicy, OfTheVectorExtensionsEachCanBeTakenAway) {
    DisabledFeatures disabled;
    disabled.xsave = 1u << 3 | 1u << 20; // AVX2, VAES
    EXPECT_EQ(child(7).ebx & ~child(7, 0, disabled).ebx, 1u << 5);
    EXPECT_EQ(child(7).ecx & ~child(7, 0, disabled).ecx, 1u << 9);
    EXPECT_EQ(child(1).ecx, child(1, 0, disabled).ecx);
    disabled.xsave = 1u << 6; // AVX-512 F
    EXPECT_EQ(child(7, 0, disabled).ebx & (1u << 16 | 1u << 31), 0u);
    EXPECT_NE(child(7, 0, disabled).ebx & 1u << 5, 0u);
    EXPECT_EQ(states(0xe7, disabled), 7u);
}

TEST(CpuidPolicy, WithoutXsaveThereIsNothingToSave) {
    DisabledFeatures disabled;
    disabled.xsave = 1u << 0;
    EXPECT_EQ(child(1, 0, disabled).ecx & (1u << 26 | 1u << 28), 0u);
    EXPECT_EQ(child(0xd, 1, disabled).eax & 1u, 0u);
    EXPECT_EQ(states(0xe7, disabled), 3u);
}

TEST(CpuidPolicy, PropertiesTellWhatThereIs) {
    DisabledFeatures disabled;
    disabled.banks[0] = 1ull << 16;
    disabled.xsave = 1u << 2;
    const std::uint64_t with = processor_features(0, {}, answer_of_full);
    EXPECT_EQ(with & ~processor_features(0, disabled, answer_of_full),
        1ull << 16 | 1ull << 6 | 1ull << 19 | 1ull << 20); // AES; XOP, FMA4, F16C stand on AVX
    constexpr std::uint64_t all_but_unknown = 0x41ffefdf;
    constexpr std::uint64_t without_avx = 1u << 0 | 1u << 1 | 1u << 11 | 1u << 13 | 1u << 19;
    EXPECT_EQ(xsave_features({}, answer_of_full), all_but_unknown);
    EXPECT_EQ(xsave_features(disabled, answer_of_full), without_avx);
    EXPECT_EQ(processor_features(0, {}, answer_of_none), 0u);
    EXPECT_EQ(processor_features(1, {}, answer_of_none), 0u);
}

} // namespace

} // namespace hypervisor::cpuid_policy
