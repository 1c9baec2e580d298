// SPDX-License-Identifier: Apache-2.0
#include "vdev/ioapic/ioapic.hpp"

#include "vdev/fake_platform.hpp"

#include <gtest/gtest.h>

namespace croft::vdev {
namespace {

class Recorder final : public InterruptSink {
public:
    void deliver(const InterruptMessage& message) override { messages.push_back(message); }
    std::vector<InterruptMessage> messages;
};

class IoApicTest : public testing::Test {
protected:
    IoApicTest() { io_apic.configure(fake.platform); }

    std::uint32_t read(std::uint32_t index) {
        fake.bus.mmio_write(base, 4, index);
        return static_cast<std::uint32_t>(fake.bus.mmio_read(base + 0x10, 4));
    }
    void write(std::uint32_t index, std::uint32_t value) {
        fake.bus.mmio_write(base, 4, index);
        fake.bus.mmio_write(base + 0x10, 4, value);
    }
    void redirect(unsigned pin, std::uint32_t low, std::uint32_t high = 0) {
        write(0x11 + pin * 2, high);
        write(0x10 + pin * 2, low);
    }

    static constexpr std::uint64_t base = IoApic::default_address;
    static constexpr std::uint32_t level = 1U << 15;
    static constexpr std::uint32_t masked = 1U << 16;

    FakePlatform fake;
    Recorder sink;
    IoApic io_apic{sink};
};

TEST_F(IoApicTest, SaysWhatItIs) {
    EXPECT_EQ(read(1), 0x0017'0011U);
    write(0, 0x0500'0000);
    EXPECT_EQ(read(0), 0x0500'0000U);
    EXPECT_EQ(read(0x10), masked);
    EXPECT_EQ(read(0x40), 0U);
    EXPECT_EQ(read(0xff), 0U);
}

TEST_F(IoApicTest, DeliversAnEdgeAsTheEntrySays) {
    redirect(4, 0x0931, 0x0300'0000); // logical, lowest priority
    io_apic.set_line(4, true);
    ASSERT_EQ(sink.messages.size(), 1U);
    EXPECT_EQ(sink.messages[0].vector, 0x31U);
    EXPECT_EQ(sink.messages[0].delivery_mode, 1U);
    EXPECT_EQ(sink.messages[0].destination, 3U);
    EXPECT_TRUE(sink.messages[0].logical);
    EXPECT_FALSE(sink.messages[0].level);
    io_apic.set_line(4, true);
    EXPECT_EQ(sink.messages.size(), 1U);
    io_apic.set_line(4, false);
    io_apic.set_line(4, true);
    EXPECT_EQ(sink.messages.size(), 2U);
}

TEST_F(IoApicTest, LosesAnEdgeAtAMaskedPin) {
    io_apic.set_line(4, true);
    redirect(4, 0x31);
    EXPECT_TRUE(sink.messages.empty());
}

TEST_F(IoApicTest, SendsALevelAgainOnlyAfterItsEnd) {
    redirect(9, level | 0x40);
    io_apic.set_line(9, true);
    ASSERT_EQ(sink.messages.size(), 1U);
    EXPECT_TRUE(sink.messages[0].level);
    EXPECT_EQ(read(0x10 + 18) & (1U << 14), 1U << 14);
    io_apic.set_line(9, false);
    io_apic.set_line(9, true);
    EXPECT_EQ(sink.messages.size(), 1U);
    io_apic.end_of_interrupt(0x41);
    EXPECT_EQ(sink.messages.size(), 1U);
    io_apic.end_of_interrupt(0x40);
    EXPECT_EQ(sink.messages.size(), 2U);
    io_apic.set_line(9, false);
    io_apic.end_of_interrupt(0x40);
    EXPECT_EQ(sink.messages.size(), 2U);
    EXPECT_EQ(read(0x10 + 18) & (1U << 14), 0U);
}

TEST_F(IoApicTest, SendsALevelThatWaitedForTheMask) {
    redirect(9, masked | level | 0x40);
    io_apic.set_line(9, true);
    EXPECT_TRUE(sink.messages.empty());
    redirect(9, level | 0x40);
    EXPECT_EQ(sink.messages.size(), 1U);
}

TEST_F(IoApicTest, ForgetsAnUnendedLevelWhenThePinBecomesEdgeTriggered) {
    redirect(9, level | 0x40);
    io_apic.set_line(9, true);
    redirect(9, masked | 0x40);
    redirect(9, level | 0x40);
    EXPECT_EQ(sink.messages.size(), 2U);
}

TEST_F(IoApicTest, CannotHaveItsStatusBitsWritten) {
    redirect(5, 0xffff'ffff, 0xffff'ffff);
    EXPECT_EQ(read(0x10 + 10), 0x0001'afffU);
    EXPECT_EQ(read(0x11 + 10), 0xff00'0000U);
}

TEST_F(IoApicTest, SavesAndRestoresWithoutSendingAnything) {
    redirect(9, level | 0x40);
    redirect(4, 0x31, 0x0100'0000);
    io_apic.set_line(9, true);
    const Record saved = io_apic.save();

    FakePlatform other;
    Recorder other_sink;
    IoApic copy(other_sink);
    copy.configure(other.platform);
    copy.restore(Record::decode(saved.encode()));
    EXPECT_TRUE(other_sink.messages.empty());
    EXPECT_EQ(copy.save(), saved);
    copy.end_of_interrupt(0x40);
    EXPECT_EQ(other_sink.messages.size(), 1U);
    copy.reset();
    copy.end_of_interrupt(0x40);
    EXPECT_EQ(other_sink.messages.size(), 1U);
}

TEST_F(IoApicTest, IgnoresALineThatItDoesNotHave) {
    io_apic.set_line(24, true);
    EXPECT_TRUE(sink.messages.empty());
}

} // namespace
} // namespace croft::vdev
