// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/sleep_request.hpp"

#include <gtest/gtest.h>

namespace hypervisor::power {

namespace {

constexpr std::uint16_t control = 0x604;
constexpr std::uint32_t type_5_enabled = 5u << 10 | 1u << 13;

TEST(SleepRequestTest, IsTheTypeWithTheEnableBit) {
    EXPECT_EQ(sleep_type_asked(control, {control, 2, type_5_enabled}), 5);
    EXPECT_EQ(sleep_type_asked(control, {control, 2, 1u << 13}), 0);
    EXPECT_EQ(sleep_type_asked(control, {control, 2, 5u << 10 | 1}), std::nullopt);
}

TEST(SleepRequestTest, IsFoundInWritesOfAnySizeThatReachTheSecondByte) {
    EXPECT_EQ(sleep_type_asked(control, {control + 1, 1, type_5_enabled >> 8}), 5);
    EXPECT_EQ(sleep_type_asked(control, {control, 4, type_5_enabled}), 5);
    EXPECT_EQ(sleep_type_asked(control, {control - 2, 4, type_5_enabled << 16}), 5);
    EXPECT_EQ(sleep_type_asked(control, {control - 1, 4, type_5_enabled << 8}), 5);
}

TEST(SleepRequestTest, IsNotInWritesBesideIt) {
    EXPECT_EQ(sleep_type_asked(control, {control, 1, 0xff}), std::nullopt);
    EXPECT_EQ(sleep_type_asked(control, {control + 2, 2, 0xffff}), std::nullopt);
    EXPECT_EQ(sleep_type_asked(control, {control - 3, 4, 0xffffffff}), std::nullopt);
    // Bytes above those that are written mean nothing.
    EXPECT_EQ(sleep_type_asked(control, {control, 1, type_5_enabled}), std::nullopt);
}

TEST(SleepRequestTest, ARegisterThatIsNotThereAsksForNothing) {
    EXPECT_EQ(sleep_type_asked(0, {0, 2, type_5_enabled}), std::nullopt);
}

} // namespace

} // namespace hypervisor::power
