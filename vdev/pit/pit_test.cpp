// SPDX-License-Identifier: Apache-2.0
#include "vdev/pit/pit.hpp"

#include "vdev/fake_platform.hpp"

#include <gtest/gtest.h>

namespace croft::vdev {
namespace {

constexpr std::uint64_t millisecond = 1'000'000;

class PitTest : public testing::Test {
protected:
    PitTest() {
        pit.configure(fake.platform);
        pit.start();
    }

    void out(std::uint16_t port, std::uint32_t value) { fake.bus.port_write(port, 1, value); }
    std::uint32_t in(std::uint16_t port) { return fake.bus.port_read(port, 1); }
    void program(unsigned channel, unsigned mode, unsigned count) {
        out(0x43, (channel << 6) | 0x30 | (mode << 1));
        out(static_cast<std::uint16_t>(0x40 + channel), count & 0xff);
        out(static_cast<std::uint16_t>(0x40 + channel), count >> 8);
    }
    std::uint32_t count(unsigned channel) {
        out(0x43, channel << 6);
        const auto port = static_cast<std::uint16_t>(0x40 + channel);
        const std::uint32_t low = in(port);
        return low | (in(port) << 8);
    }

    FakePlatform fake;
    Pit pit;
};

TEST_F(PitTest, InterruptsAtTheRateAsked) {
    program(0, 2, 11932); // 100 Hz
    fake.time.advance(1000 * millisecond);
    EXPECT_NEAR(fake.controller.rises[Pit::line], 100, 1);
}

TEST_F(PitTest, InterruptsOnceInModeZero) {
    program(0, 0, 11932);
    fake.time.advance(9 * millisecond);
    EXPECT_EQ(fake.controller.rises[Pit::line], 0U);
    fake.time.advance(1000 * millisecond);
    EXPECT_EQ(fake.controller.rises[Pit::line], 1U);
}

TEST_F(PitTest, CountsDown) {
    program(0, 2, 0);
    fake.time.advance(10 * millisecond);
    EXPECT_NEAR(count(0), 65536 - 11932, 2);
}

TEST_F(PitTest, HoldsALatchedCountUntilItIsRead) {
    program(0, 2, 0);
    out(0x43, 0);
    fake.time.advance(10 * millisecond);
    const std::uint32_t low = in(0x40);
    EXPECT_EQ(low | (in(0x40) << 8), 0U) << "65536, of which 16 bits show";
    EXPECT_NE(count(0), 0U);
}

TEST_F(PitTest, ShowsTheOutputOfChannelTwoAtPort61) {
    out(0x61, 0);
    program(2, 0, 11932);
    out(0x61, 1);
    EXPECT_EQ(in(0x61) & 0x21, 0x01U);
    fake.time.advance(11 * millisecond);
    EXPECT_EQ(in(0x61) & 0x21, 0x21U);
}

TEST_F(PitTest, ReadsBackStatusAndCount) {
    program(0, 3, 1000);
    out(0x43, 0xc2);
    EXPECT_EQ(in(0x40), 0xb6U);
    EXPECT_EQ(in(0x40) | (in(0x40) << 8), 1000U);
}

TEST_F(PitTest, SavesAndRestores) {
    program(0, 2, 11932);
    program(2, 3, 500);
    fake.time.advance(15 * millisecond);
    pit.stop();
    EXPECT_FALSE(fake.time.is_any_armed());
    const Record saved = pit.save();
    pit.reset();
    pit.restore(Record::decode(saved.encode()));
    EXPECT_EQ(pit.save(), saved);
    pit.start();
    fake.time.advance(6 * millisecond);
    EXPECT_EQ(fake.controller.rises[Pit::line], 2U);
}

} // namespace
} // namespace croft::vdev
