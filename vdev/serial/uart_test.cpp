// SPDX-License-Identifier: Apache-2.0
#include "vdev/serial/uart.hpp"

#include "vdev/fake_platform.hpp"

#include <gtest/gtest.h>

namespace croft::vdev {
namespace {

constexpr std::uint16_t base = 0x3f8;
constexpr unsigned com1_line = 4;

class UartTest : public testing::Test {
protected:
    UartTest() {
        uart.configure(fake.platform);
        uart.start();
    }
    ~UartTest() override {
        uart.stop();
        uart.remove();
    }

    std::uint32_t in(unsigned offset) {
        return fake.bus.port_read(static_cast<std::uint16_t>(base + offset), 1);
    }
    void out(unsigned offset, std::uint32_t value) {
        fake.bus.port_write(static_cast<std::uint16_t>(base + offset), 1, value);
    }
    [[nodiscard]] bool line() const { return fake.controller.levels[com1_line]; }

    FakePlatform fake;
    FakeTerminal terminal;
    Uart uart{{}, terminal};
};

TEST_F(UartTest, SendsWhatIsWritten) {
    for (const char character : std::string("hello")) {
        EXPECT_EQ(in(5), 0x60U);
        out(0, static_cast<std::uint8_t>(character));
    }
    EXPECT_EQ(terminal.sent, "hello");
}

TEST_F(UartTest, KeepsTheRegistersThatOnlyStore) {
    out(7, 0x5a);
    EXPECT_EQ(in(7), 0x5aU);
    out(3, 0x1b);
    EXPECT_EQ(in(3), 0x1bU);
    out(1, 0xff);
    EXPECT_EQ(in(1), 0x0fU);
}

TEST_F(UartTest, ShowsTheDivisorBehindItsLatch) {
    out(3, 0x80);
    EXPECT_EQ(in(0), 12U);
    out(0, 0x34);
    out(1, 0x12);
    EXPECT_EQ(in(0), 0x34U);
    EXPECT_EQ(in(1), 0x12U);
    out(3, 0x03);
    EXPECT_EQ(in(1), 0U);
    EXPECT_EQ(terminal.sent, "");
}

TEST_F(UartTest, InterruptsWhenInputComesAndOnlyWithOut2) {
    out(1, 0x01);
    terminal.type("x");
    EXPECT_FALSE(line());
    EXPECT_EQ(in(2), 0x04U);
    out(4, 0x08);
    EXPECT_TRUE(line());
    EXPECT_EQ(in(5) & 1, 1U);
    EXPECT_EQ(in(0), std::uint32_t{'x'});
    EXPECT_FALSE(line());
    EXPECT_EQ(in(2), 0x01U);
}

TEST_F(UartTest, TellsATimeoutBelowTheTriggerLevel) {
    out(2, 0xc1); // FIFOs on, trigger at 14
    out(1, 0x01);
    out(4, 0x08);
    terminal.type("ab");
    EXPECT_TRUE(line());
    EXPECT_EQ(in(2), 0xccU);
    terminal.type("0123456789xy");
    EXPECT_EQ(in(2), 0xc4U);
}

TEST_F(UartTest, TakesNoMoreInputThanItsFifoHolds) {
    out(2, 0x01);
    terminal.type("0123456789abcdefgh");
    std::string read;
    while ((in(5) & 1) != 0) {
        read += static_cast<char>(in(0));
    }
    EXPECT_EQ(read, "0123456789abcdefgh");
    EXPECT_EQ(in(5) & 2, 0U) << "no overrun: the back end waited";
}

TEST_F(UartTest, TellsAnEmptyTransmitterOnce) {
    out(4, 0x08);
    out(1, 0x02);
    EXPECT_TRUE(line());
    EXPECT_EQ(in(2), 0x02U);
    EXPECT_FALSE(line());
    EXPECT_EQ(in(2), 0x01U);
    out(0, 'x');
    EXPECT_TRUE(line());
}

TEST_F(UartTest, WaitsForABackEndThatIsFull) {
    terminal.full = true;
    out(4, 0x08);
    out(1, 0x02);
    (void)in(2);
    out(0, 'x');
    EXPECT_EQ(in(5) & 0x60, 0U);
    EXPECT_FALSE(line());
    terminal.drain();
    EXPECT_EQ(in(5) & 0x60, 0x60U);
    EXPECT_TRUE(line());
}

TEST_F(UartTest, LoopsBackForThoseWhoProbeIt) {
    out(4, 0x1a);
    EXPECT_EQ(in(6) & 0xf0, 0x90U);
    out(0, 'x');
    EXPECT_EQ(in(0), std::uint32_t{'x'});
    EXPECT_EQ(terminal.sent, "");
    out(4, 0);
    EXPECT_EQ(in(6), 0xb0U);
}

TEST_F(UartTest, ShowsWhetherFifosAreOn) {
    EXPECT_EQ(in(2) & 0xc0, 0U);
    out(2, 0x07);
    EXPECT_EQ(in(2) & 0xc0, 0xc0U);
}

TEST_F(UartTest, SavesAndRestoresEverything) {
    out(2, 0x81);
    out(1, 0x05);
    out(4, 0x0b);
    out(7, 0x77);
    terminal.type("abc");
    uart.stop();
    const Record saved = uart.save();

    FakePlatform other;
    FakeTerminal other_terminal;
    Uart copy({}, other_terminal);
    copy.configure(other.platform);
    copy.restore(Record::decode(saved.encode()));
    EXPECT_EQ(copy.save(), saved);
    EXPECT_EQ(other.controller.rises[com1_line], 0U) << "the interrupt controller restores itself";
    copy.start();
    EXPECT_EQ(other.bus.port_read(base, 1), std::uint32_t{'a'});
    copy.stop();

    copy.reset();
    EXPECT_EQ(other.bus.port_read(base + 7, 1), 0U);
    copy.remove();
}

TEST_F(UartTest, RefusesAStateThatItCannotHave) {
    uart.stop();
    const Record before = uart.save();
    Record wrong = before;
    wrong.set("interrupt_enable", 0x10);
    EXPECT_THROW(uart.restore(wrong), RecordError);
    wrong = before;
    wrong.set_bytes("received", std::vector<std::uint8_t>(17));
    EXPECT_THROW(uart.restore(wrong), RecordError);
    EXPECT_EQ(uart.save(), before);
}

TEST(UartConflict, LeavesNothingClaimedWhenItCannotBeConfigured) {
    FakePlatform fake;
    FakeTerminal terminal;
    const InterruptLine taken = fake.bus.claim_line("other", com1_line);
    Uart uart({}, terminal);
    EXPECT_THROW(uart.configure(fake.platform), Error);
    EXPECT_EQ(fake.bus.port_read(base + 5, 1), 0xffU);
}

} // namespace
} // namespace croft::vdev
