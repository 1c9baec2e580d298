// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vdev/device.hpp"
#include "vdev/serial/character_backend.hpp"
#include "vdev/serial/uart_state.hpp"

#include <mutex>
#include <string>

namespace croft::vdev {

/// Where a serial port stands. The defaults are COM1.
struct UartSettings {
    std::string name = "serial0";
    std::uint16_t port = 0x3f8;
    unsigned line = 4;
};

/// A 16550A with its FIFOs, as described in the data sheet of the PC16550D. Its transmitter is as
/// fast as its back end; the line's speed and format are stored and mean nothing.
class Uart final : public Device, private PortHandler, private CharacterSink {
public:
    /// `backend` outlives the device.
    Uart(UartSettings settings, CharacterBackend& backend);
    ~Uart() override;

    [[nodiscard]] std::string_view name() const override { return settings_.name; }
    void configure(Platform& platform) override;
    void start() override;
    void stop() override;
    [[nodiscard]] Record save() const override;
    void restore(const Record& record) override;
    void reset() override;
    void remove() override;

private:
    std::uint32_t port_read(std::uint16_t port, unsigned size) override;
    void port_write(std::uint16_t port, unsigned size, std::uint32_t value) override;
    std::size_t receive(std::span<const std::uint8_t> bytes) override;
    void output_possible() override;

    [[nodiscard]] bool fifo_enabled() const;
    [[nodiscard]] std::size_t receive_capacity() const;
    [[nodiscard]] std::uint8_t pending_interrupt() const;
    [[nodiscard]] std::uint8_t modem_status() const;
    [[nodiscard]] bool line_level() const;
    std::uint8_t read_data();
    std::uint8_t read_interrupt_identification();
    std::uint8_t read_line_status();
    void write_data(std::uint8_t value);
    void write_interrupt_enable(std::uint8_t value);
    void write_fifo_control(std::uint8_t value);
    void queue_received(std::uint8_t value);
    void update_line();

    const UartSettings settings_;
    CharacterBackend& backend_;
    mutable std::mutex mutex_;
    UartState state_;
    /// The back end takes output; false from its first refusal until `output_possible`.
    bool can_send_ = true;
    Claim ports_;
    InterruptLine line_;
};

} // namespace croft::vdev
