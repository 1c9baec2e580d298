// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace croft::vdev {

/// What answers at I/O ports. Called from any VP's thread, several at a time: the device locks
/// itself.
class PortHandler {
public:
    virtual ~PortHandler() = default;
    /// `size` is 1, 2 or 4 bytes, never more than the claim allows; the access lies in the claim.
    virtual std::uint32_t port_read(std::uint16_t port, unsigned size) = 0;
    virtual void port_write(std::uint16_t port, unsigned size, std::uint32_t value) = 0;
};

/// What answers in a range of guest physical addresses. Called as PortHandler is.
class MmioHandler {
public:
    virtual ~MmioHandler() = default;
    /// `offset` is in bytes from the start of the claim; `size` is 1, 2, 4 or 8 bytes.
    virtual std::uint64_t mmio_read(std::uint64_t offset, unsigned size) = 0;
    virtual void mmio_write(std::uint64_t offset, unsigned size, std::uint64_t value) = 0;
};

/// What the interrupt lines end in.
class InterruptController {
public:
    virtual ~InterruptController() = default;
    /// The line `line` (a global system interrupt of ACPI) is now asserted or not.
    virtual void set_line(unsigned line, bool asserted) = 0;
};

class Bus;

/// A range or a line that a device holds. It goes back to the bus when the object is destroyed, and
/// not before the last access to it has ended.
class Claim {
public:
    Claim() = default;
    Claim(Claim&& other) noexcept;
    Claim& operator=(Claim&& other) noexcept;
    Claim(const Claim&) = delete;
    Claim& operator=(const Claim&) = delete;
    ~Claim();

    void release();

private:
    friend class Bus;
    Claim(Bus& bus, std::uint64_t id) : bus_(&bus), id_(id) {}

    Bus* bus_ = nullptr;
    std::uint64_t id_ = 0;
};

/// A line to the interrupt controller, held by one device.
class InterruptLine {
public:
    InterruptLine() = default;

    /// Drives the line. Repeating the state that it has does nothing.
    void set(bool asserted);

    /// Takes over a state that the interrupt controller has restored for itself; drives nothing.
    void assume(bool asserted) { asserted_ = asserted; }

private:
    friend class Bus;
    InterruptLine(Bus& bus, unsigned line, Claim claim)
        : bus_(&bus),
          line_(line),
          claim_(std::move(claim)) {}

    Bus* bus_ = nullptr;
    unsigned line_ = 0;
    bool asserted_ = false;
    Claim claim_;
};

/// The VM's ports, addresses and interrupt lines, and which device holds each. Two devices never
/// hold the same; what nobody holds reads as all ones and ignores writes, as a bus without a device
/// does.
class Bus {
public:
    static constexpr unsigned line_count = 24;

    Bus();
    ~Bus();
    Bus(const Bus&) = delete;
    Bus& operator=(const Bus&) = delete;

    /// Claims `count` ports from `first`. An access wider than `widest` (1, 2 or 4 bytes) is split,
    /// as a bridge does. Errors: DeviceError if a port is taken or above 0xffff.
    [[nodiscard]] Claim claim_ports(std::string_view owner, std::uint16_t first, unsigned count,
        unsigned widest, PortHandler& handler);

    /// Claims `size` bytes of guest physical addresses. Errors: DeviceError if one is taken.
    [[nodiscard]] Claim claim_mmio(
        std::string_view owner, std::uint64_t first, std::uint64_t size, MmioHandler& handler);

    /// Claims an interrupt line, 0 to 23. Errors: DeviceError if it is taken or out of range.
    [[nodiscard]] InterruptLine claim_line(std::string_view owner, unsigned line);

    /// Says where the lines end. Null disconnects them.
    void connect(InterruptController* controller);

    [[nodiscard]] std::uint32_t port_read(std::uint16_t port, unsigned size);
    void port_write(std::uint16_t port, unsigned size, std::uint32_t value);

    /// Whether any device holds the byte at `address`.
    [[nodiscard]] bool is_mmio(std::uint64_t address) const;
    [[nodiscard]] std::uint64_t mmio_read(std::uint64_t address, unsigned size);
    void mmio_write(std::uint64_t address, unsigned size, std::uint64_t value);

private:
    friend class Claim;
    friend class InterruptLine;

    struct PortRange {
        std::uint64_t id;
        std::string owner;
        unsigned first;
        unsigned count;
        unsigned widest;
        PortHandler* handler;
    };
    struct MmioRange {
        std::uint64_t id;
        std::string owner;
        std::uint64_t first;
        std::uint64_t last;
        MmioHandler* handler;
    };
    struct LineOwner {
        std::uint64_t id = 0;
        std::string owner;
    };

    void release(std::uint64_t id);
    void set_line(unsigned line, bool asserted);
    [[nodiscard]] const PortRange* port_range(unsigned port) const;
    [[nodiscard]] const MmioRange* mmio_range(std::uint64_t address) const;

    /// Held shared while a handler runs, so that a claim ends only when nobody is in it.
    mutable std::shared_mutex mutex_;
    std::uint64_t next_id_ = 1;
    /// For each port, 1 + its range's place in `ports_`; 0 where nobody is.
    std::unique_ptr<std::array<std::uint16_t, 65536>> port_index_;
    std::vector<std::unique_ptr<PortRange>> ports_;
    /// Sorted by `first`.
    std::vector<MmioRange> mmio_;
    std::array<LineOwner, line_count> lines_;
    std::atomic<InterruptController*> controller_ = nullptr;
};

} // namespace croft::vdev
