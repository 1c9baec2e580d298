// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vdev/device.hpp"
#include "vdev/ioapic/ioapic_state.hpp"

#include <mutex>

namespace croft::vdev {

/// One interrupt on its way to local APICs, as the redirection entry describes it.
struct InterruptMessage {
    std::uint8_t vector = 0;
    /// The delivery mode's code: 0 fixed, 1 lowest priority, 2 SMI, 4 NMI, 5 INIT, 7 external.
    std::uint8_t delivery_mode = 0;
    /// An APIC id, or a logical destination.
    std::uint8_t destination = 0;
    bool logical = false;
    bool level = false;
};

/// Takes interrupts to the local APICs. Called under the sender's lock, from any thread.
class InterruptSink {
public:
    virtual ~InterruptSink() = default;
    virtual void deliver(const InterruptMessage& message) = 0;
};

/// An I/O APIC with 24 pins, as the 82093AA data sheet describes it (version 0x11, so the end of a
/// level-triggered interrupt comes from the local APIC that took it).
class IoApic final : public Device, public InterruptController, private MmioHandler {
public:
    static constexpr std::uint64_t default_address = 0xfec0'0000;
    static constexpr std::uint64_t window_size = 0x1000;

    /// `sink` outlives the device.
    explicit IoApic(InterruptSink& sink, std::uint64_t address = default_address);

    [[nodiscard]] std::string_view name() const override { return "ioapic0"; }
    void configure(Platform& platform) override;
    void start() override;
    void stop() override;
    [[nodiscard]] Record save() const override;
    void restore(const Record& record) override;
    void reset() override;
    void remove() override;

    void set_line(unsigned line, bool asserted) override;

    /// A local APIC has ended a level-triggered interrupt of this vector: pins that wait for it and
    /// are still asserted send it again.
    void end_of_interrupt(std::uint8_t vector);

private:
    std::uint64_t mmio_read(std::uint64_t offset, unsigned size) override;
    void mmio_write(std::uint64_t offset, unsigned size, std::uint64_t value) override;

    [[nodiscard]] std::uint32_t read_register() const;
    void write_register(std::uint32_t value);
    void write_redirection(unsigned pin, bool high, std::uint32_t value);
    void deliver_level(unsigned pin);
    void deliver(unsigned pin);

    InterruptSink& sink_;
    const std::uint64_t address_;
    mutable std::mutex mutex_;
    IoApicState state_;
    Bus* bus_ = nullptr;
    Claim window_;
};

} // namespace croft::vdev
