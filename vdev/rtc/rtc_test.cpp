// SPDX-License-Identifier: Apache-2.0
#include "vdev/rtc/rtc.hpp"

#include "vdev/fake_platform.hpp"

#include <gtest/gtest.h>

namespace croft::vdev {
namespace {

constexpr std::int64_t second = 1'000'000'000;

class RtcTest : public testing::Test {
protected:
    RtcTest() {
        fake.time.wall_start =
            std::int64_t{1'709'251'199} * second; // 2024-02-29 23:59:59, Thursday
        rtc.configure(fake.platform);
        rtc.start();
    }

    std::uint32_t read(std::uint32_t index) {
        fake.bus.port_write(0x70, 1, index);
        return fake.bus.port_read(0x71, 1);
    }
    void write(std::uint32_t index, std::uint32_t value) {
        fake.bus.port_write(0x70, 1, index);
        fake.bus.port_write(0x71, 1, value);
    }

    FakePlatform fake;
    Rtc rtc;
};

TEST_F(RtcTest, ShowsTheWorldsTimeInBcd) {
    EXPECT_EQ(read(0), 0x59U);
    EXPECT_EQ(read(2), 0x59U);
    EXPECT_EQ(read(4), 0x23U);
    EXPECT_EQ(read(6), 5U);
    EXPECT_EQ(read(7), 0x29U);
    EXPECT_EQ(read(8), 0x02U);
    EXPECT_EQ(read(9), 0x24U);
    EXPECT_EQ(read(0x32), 0x20U);
    EXPECT_EQ(read(13), 0x80U);
    fake.time.advance(second);
    EXPECT_EQ(read(0), 0U);
    EXPECT_EQ(read(4), 0U);
    EXPECT_EQ(read(7), 0x01U);
    EXPECT_EQ(read(8), 0x03U);
}

TEST_F(RtcTest, ShowsItInBinaryAndInTwelveHours) {
    write(11, 0x04);
    EXPECT_EQ(read(0), 59U);
    EXPECT_EQ(read(4), 0x80U | 11U);
    fake.time.advance(second);
    EXPECT_EQ(read(4), 12U);
}

TEST_F(RtcTest, AnnouncesAnUpdate) {
    EXPECT_EQ(read(10) & 0x80, 0U);
    fake.time.advance(second - 100'000);
    EXPECT_EQ(read(10) & 0x80, 0x80U);
    fake.time.advance(100'000);
    EXPECT_EQ(read(10) & 0x80, 0U);
}

TEST_F(RtcTest, CanBeSetAndGoesOnFromThere) {
    write(11, 0x82);
    write(0, 0x30);
    write(2, 0x15);
    write(4, 0x12);
    write(7, 0x31);
    write(8, 0x12);
    write(9, 0x99);
    write(0x32, 0x19);
    fake.time.advance(5 * second);
    EXPECT_EQ(read(0), 0x30U) << "stands still while it is set";
    write(11, 0x02);
    fake.time.advance(second);
    EXPECT_EQ(read(0), 0x31U);
    EXPECT_EQ(read(9), 0x99U);
    EXPECT_EQ(read(0x32), 0x19U);
    EXPECT_EQ(read(6), 6U) << "1999-12-31 was a Friday";
}

TEST_F(RtcTest, TakesNoDateThatIsNone) {
    write(11, 0x82);
    write(8, 0x13);
    write(11, 0x02);
    EXPECT_EQ(read(8), 0x02U);
}

TEST_F(RtcTest, InterruptsAtEachUpdate) {
    write(11, 0x12);
    fake.time.advance(second);
    EXPECT_TRUE(fake.controller.levels[8]);
    EXPECT_EQ(read(12) & 0x90, 0x90U);
    EXPECT_FALSE(fake.controller.levels[8]);
    fake.time.advance(2 * second);
    EXPECT_EQ(fake.controller.rises[8], 2U);
}

TEST_F(RtcTest, InterruptsPeriodically) {
    write(10, 0x26); // 1024 Hz
    write(11, 0x42);
    unsigned seen = 0;
    for (int step = 0; step < 2000; ++step) {
        fake.time.advance(second / 2000);
        if (fake.controller.levels[8]) {
            EXPECT_NE(read(12) & 0x40, 0U);
            ++seen;
        }
    }
    EXPECT_NEAR(seen, 1024, 2);
}

TEST_F(RtcTest, RingsItsAlarm) {
    write(1, 0x10);
    write(3, 0x00);
    write(5, 0xc0); // any hour
    write(11, 0x22);
    fake.time.advance(10 * second);
    EXPECT_FALSE(fake.controller.levels[8]);
    fake.time.advance(second);
    EXPECT_TRUE(fake.controller.levels[8]);
    EXPECT_EQ(read(12) & 0xa0, 0xa0U);
}

TEST_F(RtcTest, KeepsItsMemoryOverAReset) {
    write(0x50, 0xab);
    write(11, 0x72);
    rtc.stop();
    rtc.reset();
    rtc.start();
    EXPECT_EQ(read(0x50), 0xabU);
    EXPECT_EQ(read(11), 0x02U);
}

TEST_F(RtcTest, SavesAndRestores) {
    write(0x50, 0xab);
    write(11, 0x12);
    rtc.stop();
    EXPECT_FALSE(fake.time.is_any_armed());
    const Record saved = rtc.save();
    FakePlatform other;
    other.time.wall_start = fake.time.wall_start + 100 * second;
    Rtc copy;
    copy.configure(other.platform);
    copy.restore(Record::decode(saved.encode()));
    other.bus.port_write(0x70, 1, 0x50);
    EXPECT_EQ(other.bus.port_read(0x71, 1), 0xabU);
    other.bus.port_write(0x70, 1, 0);
    EXPECT_EQ(other.bus.port_read(0x71, 1), 0x39U);
    Record wrong = saved;
    wrong.set_bytes("memory", std::vector<std::uint8_t>(5));
    EXPECT_THROW(copy.restore(wrong), RecordError);
}

} // namespace
} // namespace croft::vdev
