// SPDX-License-Identifier: Apache-2.0
#include "vdev/bus.hpp"

#include "vdev/error.hpp"
#include "vdev/fake_platform.hpp"

#include <gtest/gtest.h>

namespace croft::vdev {
namespace {

/// Answers each access with what it was, and keeps the last write.
class Echo final : public PortHandler, public MmioHandler {
public:
    std::uint32_t port_read(std::uint16_t port, unsigned size) override {
        return port * 16U + size;
    }
    void port_write(std::uint16_t port, unsigned size, std::uint32_t value) override {
        writes.push_back({port, size, value});
    }
    std::uint64_t mmio_read(std::uint64_t offset, unsigned size) override {
        return offset * 16 + size;
    }
    void mmio_write(std::uint64_t offset, unsigned size, std::uint64_t value) override {
        writes.push_back({offset, size, value});
    }

    struct Write {
        std::uint64_t where;
        unsigned size;
        std::uint64_t value;
        friend bool operator==(const Write&, const Write&) = default;
    };
    std::vector<Write> writes;
};

TEST(Bus, NobodyThereReadsAsOnes) {
    Bus bus;
    EXPECT_EQ(bus.port_read(0x60, 1), 0xffU);
    EXPECT_EQ(bus.port_read(0x60, 2), 0xffffU);
    EXPECT_EQ(bus.port_read(0xffff, 4), 0xffff'ffffU);
    EXPECT_EQ(bus.mmio_read(0xfec0'0000, 4), 0xffff'ffffU);
    EXPECT_EQ(bus.mmio_read(~std::uint64_t{0}, 8), ~std::uint64_t{0});
    bus.port_write(0x60, 1, 0);
    bus.mmio_write(0xfec0'0000, 8, 0);
}

TEST(Bus, SplitsWhatIsWiderThanTheDevice) {
    Bus bus;
    Echo device;
    const Claim claim = bus.claim_ports("a", 0x10, 2, 1, device);
    EXPECT_EQ(bus.port_read(0x10, 1), 0x01U);
    EXPECT_EQ(bus.port_read(0x10, 4), 0xffff'1101U);
    bus.port_write(0x0f, 4, 0x4433'2211);
    const std::vector<Echo::Write> expected = {{0x10, 1, 0x22}, {0x11, 1, 0x33}};
    EXPECT_EQ(device.writes, expected);
}

TEST(Bus, GivesAWideDeviceWholeAccesses) {
    Bus bus;
    Echo device;
    const Claim claim = bus.claim_ports("a", 0x10, 4, 4, device);
    bus.port_write(0x10, 4, 0x4433'2211);
    bus.port_write(0x11, 4, 0x4433'2211);
    const std::vector<Echo::Write> expected = {
        {0x10, 4, 0x4433'2211}, {0x11, 2, 0x2211}, {0x13, 1, 0x33}};
    EXPECT_EQ(device.writes, expected);
}

TEST(Bus, RefusesPortsThatAreTaken) {
    Bus bus;
    Echo device;
    const Claim claim = bus.claim_ports("first", 0x3f8, 8, 1, device);
    try {
        (void)bus.claim_ports("second", 0x3ff, 8, 1, device);
        FAIL() << "claimed a port twice";
    } catch (const DeviceError& error) {
        EXPECT_NE(std::string(error.what()).find("first"), std::string::npos);
        EXPECT_NE(std::string(error.what()).find("0x3ff"), std::string::npos);
    }
    const Claim beside = bus.claim_ports("third", 0x400, 8, 1, device);
}

TEST(Bus, RefusesPortsBeyondTheEnd) {
    Bus bus;
    Echo device;
    EXPECT_THROW((void)bus.claim_ports("a", 0xffff, 2, 1, device), DeviceError);
    EXPECT_THROW((void)bus.claim_ports("a", 0, 0, 1, device), DeviceError);
    const Claim last = bus.claim_ports("a", 0xffff, 1, 1, device);
}

TEST(Bus, RefusesAddressesThatAreTaken) {
    Bus bus;
    Echo device;
    const Claim claim = bus.claim_mmio("a", 0x1000, 0x1000, device);
    EXPECT_THROW((void)bus.claim_mmio("b", 0x1fff, 1, device), DeviceError);
    EXPECT_THROW((void)bus.claim_mmio("b", 0x0, 0x1001, device), DeviceError);
    EXPECT_THROW((void)bus.claim_mmio("b", 0x0, 0x4000, device), DeviceError);
    EXPECT_THROW((void)bus.claim_mmio("b", 0x3000, ~std::uint64_t{0}, device), DeviceError);
    const Claim below = bus.claim_mmio("b", 0x0, 0x1000, device);
    const Claim above = bus.claim_mmio("b", 0x2000, 0x1000, device);
}

TEST(Bus, FindsTheDeviceAtAnAddress) {
    Bus bus;
    Echo device;
    const Claim high = bus.claim_mmio("high", 0x2000, 0x1000, device);
    const Claim low = bus.claim_mmio("low", 0x0, 0x1000, device);
    EXPECT_EQ(bus.mmio_read(0x2010, 4), 0x104U);
    EXPECT_EQ(bus.mmio_read(0xfff, 1), 0xf1U) << "cut to the size";
    EXPECT_EQ(bus.mmio_read(0xfff, 2), 0xffffU) << "it reaches beyond the device";
    EXPECT_TRUE(bus.is_mmio(0x2fff));
    EXPECT_FALSE(bus.is_mmio(0x1000));
}

TEST(Bus, GetsBackWhatIsReleased) {
    Bus bus;
    Echo device;
    {
        const Claim ports = bus.claim_ports("a", 0x10, 2, 1, device);
        const Claim memory = bus.claim_mmio("a", 0x1000, 0x1000, device);
        const InterruptLine line = bus.claim_line("a", 4);
        EXPECT_THROW((void)bus.claim_line("b", 4), DeviceError);
    }
    EXPECT_EQ(bus.port_read(0x10, 1), 0xffU);
    EXPECT_FALSE(bus.is_mmio(0x1000));
    const Claim ports = bus.claim_ports("b", 0x10, 2, 1, device);
    const InterruptLine line = bus.claim_line("b", 4);
}

TEST(Bus, RefusesALineThatIsNotThere) {
    Bus bus;
    EXPECT_THROW((void)bus.claim_line("a", Bus::line_count), DeviceError);
}

TEST(Bus, DrivesALineOnlyWhenItChanges) {
    FakePlatform fake;
    InterruptLine line = fake.bus.claim_line("a", 4);
    line.set(true);
    line.set(true);
    EXPECT_EQ(fake.controller.rises[4], 1U);
    line.set(false);
    line.assume(true);
    line.set(true);
    EXPECT_EQ(fake.controller.rises[4], 1U);
}

} // namespace
} // namespace croft::vdev
