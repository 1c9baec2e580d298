// SPDX-License-Identifier: Apache-2.0
#include "vdev/power/power.hpp"

#include "vdev/fake_platform.hpp"

#include <gtest/gtest.h>

namespace croft::vdev {
namespace {

class PowerTest : public testing::Test {
protected:
    PowerTest() {
        power.configure(fake.platform);
        power.start();
    }

    FakePlatform fake;
    int power_offs = 0;
    int resets = 0;
    Power power{{[this] { ++power_offs; },
        [this] {
            ++resets;
        }}};
};

TEST_F(PowerTest, PowersOffByTheSleepTypeOfS5Only) {
    EXPECT_EQ(fake.bus.port_read(0x604, 2), 1U) << "always in ACPI mode";
    fake.bus.port_write(0x604, 2, 5U << 10);
    EXPECT_EQ(power_offs, 0);
    fake.bus.port_write(0x604, 2, (1U << 13) | (3U << 10));
    EXPECT_EQ(power_offs, 0);
    fake.bus.port_write(0x604, 2, (1U << 13) | (5U << 10));
    EXPECT_EQ(power_offs, 1);
}

TEST_F(PowerTest, ResetsThroughTheResetRegister) {
    fake.bus.port_write(0xcf9, 1, 0x02);
    EXPECT_EQ(resets, 0);
    fake.bus.port_write(0xcf9, 1, 0x06);
    EXPECT_EQ(resets, 1);
}

TEST_F(PowerTest, TellsThePowerButtonByTheSci) {
    power.press_button();
    EXPECT_EQ(fake.bus.port_read(0x600, 2), 0x100U);
    EXPECT_FALSE(fake.controller.levels[9]);
    fake.bus.port_write(0x602, 2, 0x100);
    EXPECT_TRUE(fake.controller.levels[9]);
    fake.bus.port_write(0x600, 2, 0x100);
    EXPECT_FALSE(fake.controller.levels[9]);
    EXPECT_EQ(fake.bus.port_read(0x600, 2), 0U);
}

TEST_F(PowerTest, WritesBothWordsOfTheEventBlockAtOnce) {
    power.press_button();
    fake.bus.port_write(0x600, 4, 0x0100'0000);
    EXPECT_TRUE(fake.controller.levels[9]);
    EXPECT_EQ(fake.bus.port_read(0x600, 4), 0x0100'0100U);
    fake.bus.port_write(0x601, 1, 0x01);
    EXPECT_FALSE(fake.controller.levels[9]);
}

TEST_F(PowerTest, CountsAtThePmTimersFrequency) {
    const std::uint32_t before = fake.bus.port_read(0x608, 4);
    fake.time.advance(nanoseconds_per_second);
    EXPECT_EQ(fake.bus.port_read(0x608, 4) - before, 3'579'545U);
    fake.bus.port_write(0x608, 4, 0);
    EXPECT_EQ(fake.bus.port_read(0x608, 4) - before, 3'579'545U);
}

TEST_F(PowerTest, TellsTheTimersCarry) {
    fake.bus.port_write(0x602, 2, 1);
    fake.time.advance(599 * nanoseconds_per_second);
    EXPECT_FALSE(fake.controller.levels[9]);
    fake.time.advance(2 * nanoseconds_per_second);
    EXPECT_TRUE(fake.controller.levels[9]);
    EXPECT_EQ(fake.bus.port_read(0x600, 2), 1U);
}

TEST_F(PowerTest, SavesAndRestores) {
    fake.bus.port_write(0x602, 2, 0x100);
    power.press_button();
    power.stop();
    const Record saved = power.save();
    power.reset();
    EXPECT_EQ(fake.bus.port_read(0x600, 4), 0U);
    power.restore(Record::decode(saved.encode()));
    EXPECT_EQ(power.save(), saved);
    EXPECT_EQ(fake.bus.port_read(0x600, 4), 0x0100'0100U);
    EXPECT_FALSE(fake.time.is_any_armed());
    power.remove();
    EXPECT_EQ(fake.bus.port_read(0x600, 4), 0xffff'ffffU);
}

} // namespace
} // namespace croft::vdev
