// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/cpu/xsave_layout.hpp"

#include "hypervisor/cpu/register_rules.hpp"

#include <array>
#include <cstring>
#include <gtest/gtest.h>

namespace hypervisor {
namespace {

constexpr std::uint64_t x87_and_sse = 3;
constexpr unsigned avx = 2;
constexpr unsigned opmask = 5;
constexpr unsigned keys = 9;
constexpr std::uint64_t states = x87_and_sse | 1u << avx | 1u << opmask | 1u << keys;
constexpr std::size_t page = 4096;
using Area = std::array<std::byte, page>;

/// As processors have them, but for one that is aligned.
XsaveLayout layout() {
    XsaveLayout result;
    result.set(avx, {.offset = 576, .size = 256});
    result.set(opmask, {.offset = 1088, .size = 72});
    result.set(keys, {.offset = 2688, .size = 8, .aligned = true});
    return result;
}

template <class T>
void put(Area& area, std::size_t at, T value) {
    std::memcpy(area.data() + at, &value, sizeof value);
}
template <class T>
T get(const Area& area, std::size_t at) {
    T value;
    std::memcpy(&value, area.data() + at, sizeof value);
    return value;
}

Area full(std::uint64_t in_use) {
    Area area{};
    put<std::uint16_t>(area, 0, 0x37f);
    put<std::uint32_t>(area, 24, 0x1fa0);
    put<std::uint64_t>(area, 160, 0x1111);
    put(area, 512, in_use);
    put<std::uint64_t>(area, 576, 0x2222);
    put<std::uint64_t>(area, 1088, 0x5555);
    put<std::uint64_t>(area, 2688, 0x9999);
    return area;
}

TEST(XsaveLayout, HasTheSizesOfBothForms) {
    EXPECT_EQ(layout().standard_size(x87_and_sse), 576u);
    EXPECT_EQ(layout().standard_size(states), 2696u);
    EXPECT_EQ(layout().compacted_size(x87_and_sse), 576u);
    EXPECT_EQ(layout().compacted_size(states), 576u + 256 + 72 + 56 + 8);
    EXPECT_EQ(layout().compacted_size(1u << opmask), 576u + 72);
}

TEST(XsaveLayout, CompactsAndExpandsAgain) {
    const Area standard = full(states);
    Area compacted;
    compacted.fill(std::byte{0xa5});
    layout().compact(standard, states, compacted);
    EXPECT_EQ(get<std::uint64_t>(compacted, 512), states);
    EXPECT_EQ(get<std::uint64_t>(compacted, 520), states | XsaveLayout::compacted);
    EXPECT_EQ(get<std::uint64_t>(compacted, 528), 0u);
    EXPECT_EQ(get<std::uint64_t>(compacted, 576), 0x2222u);
    EXPECT_EQ(get<std::uint64_t>(compacted, 576 + 256), 0x5555u);
    EXPECT_EQ(get<std::uint64_t>(compacted, 960), 0x9999u) << "aligned";
    EXPECT_TRUE(is_valid_extended_state(compacted, states, 0xffff));
    Area again;
    again.fill(std::byte{0x5a});
    layout().expand(compacted, again);
    EXPECT_EQ(again, standard);
}

TEST(XsaveLayout, WhatIsNotInUseIsInItsInitialState) {
    Area compacted;
    layout().compact(full(1u << opmask), states, compacted);
    EXPECT_EQ(get<std::uint64_t>(compacted, 512), 1u << opmask | 2u) << "MXCSR is a part of SSE";
    EXPECT_EQ(get<std::uint64_t>(compacted, 576), 0u);
    put<std::uint64_t>(compacted, 512, 1u << opmask);
    Area standard;
    layout().expand(compacted, standard);
    EXPECT_EQ(get<std::uint16_t>(standard, 0), 0x37fu);
    EXPECT_EQ(get<std::uint32_t>(standard, 24), 0x1f80u);
    EXPECT_EQ(get<std::uint64_t>(standard, 160), 0u);
    EXPECT_EQ(get<std::uint64_t>(standard, 1088), 0x5555u);
}

TEST(XsaveLayout, SettlesWhatSavingHasLeftOut) {
    constexpr std::size_t st0 = 32;
    const auto settled = [](std::uint64_t in_use) {
        Area area = full(in_use);
        put<std::uint16_t>(area, 0, 0x27f);
        put<std::uint64_t>(area, st0, 0x8888);
        XsaveLayout::settle(area);
        return area;
    };
    const Area nothing = settled(1u << opmask);
    EXPECT_EQ(get<std::uint16_t>(nothing, 0), 0x37fu);
    EXPECT_EQ(get<std::uint64_t>(nothing, st0), 0u);
    EXPECT_EQ(get<std::uint64_t>(nothing, 160), 0u);
    EXPECT_EQ(get<std::uint32_t>(nothing, 24), 0x1fa0u) << "MXCSR is saved with any";
    EXPECT_EQ(get<std::uint64_t>(nothing, 1088), 0x5555u);
    EXPECT_EQ(get<std::uint64_t>(settled(1), st0), 0x8888u);
    EXPECT_EQ(get<std::uint64_t>(settled(1), 160), 0u);
    EXPECT_EQ(get<std::uint16_t>(settled(2), 0), 0x37fu);
    EXPECT_EQ(get<std::uint64_t>(settled(2), 160), 0x1111u);
}

TEST(XsaveLayout, TakesOtherFormatsThanItsOwn) {
    Area area = full(1u << opmask);
    put<std::uint64_t>(area, 520, XsaveLayout::compacted | 1u << opmask);
    put<std::uint64_t>(area, 576, 0x7777);
    EXPECT_TRUE(is_valid_extended_state(area, states, 0xffff));
    Area standard;
    layout().expand(area, standard);
    EXPECT_EQ(get<std::uint64_t>(standard, 1088), 0x7777u);
}

TEST(XsaveLayout, TakesTheStandardForm) {
    const Area area = full(states);
    EXPECT_TRUE(is_valid_extended_state(area, states, 0xffff));
    Area standard;
    layout().expand(area, standard);
    EXPECT_EQ(standard, area);
}

TEST(XsaveLayout, RefusesWhatTheProcessorWould) {
    const auto is_valid = [](std::uint64_t in_use, std::uint64_t format, std::uint64_t rest = 0) {
        Area area = full(in_use);
        put(area, 520, format);
        put(area, 528, rest);
        return is_valid_extended_state(area, states, 0xffff);
    };
    EXPECT_TRUE(is_valid(1, XsaveLayout::compacted | 3));
    EXPECT_FALSE(is_valid(4, XsaveLayout::compacted | 3)) << "in use, with no place";
    EXPECT_FALSE(is_valid(1, XsaveLayout::compacted | 1u << 17)) << "a state that isn't there";
    EXPECT_FALSE(is_valid(1, 3)) << "neither form";
    EXPECT_FALSE(is_valid(1, XsaveLayout::compacted | 3, 1));
    EXPECT_FALSE(is_valid(1u << 17, 0));
}

} // namespace
} // namespace hypervisor
