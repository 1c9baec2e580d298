// SPDX-License-Identifier: Apache-2.0
#include "vdev/serial/uart_state.hpp"

namespace croft::vdev {

namespace {
constexpr const char* uart_record = "uart16550";
constexpr std::uint32_t uart_version = 1;
} // namespace

Record UartState::save() const {
    Record record(uart_record, uart_version);
    record.set("interrupt_enable", interrupt_enable)
        .set("fifo_control", fifo_control)
        .set("line_control", line_control)
        .set("modem_control", modem_control)
        .set("scratch", scratch)
        .set("divisor", divisor)
        .set_flag("overrun", overrun)
        .set_flag("transmitter_empty_pending", transmitter_empty_pending)
        .set_bytes("received", received);
    return record;
}

UartState UartState::load(const Record& record) {
    record.expect(uart_record, uart_version);
    UartState state;
    state.interrupt_enable = record.get<std::uint8_t>("interrupt_enable", 0x0f);
    state.fifo_control = record.get<std::uint8_t>("fifo_control");
    state.line_control = record.get<std::uint8_t>("line_control");
    state.modem_control = record.get<std::uint8_t>("modem_control", 0x1f);
    state.scratch = record.get<std::uint8_t>("scratch");
    state.divisor = record.get<std::uint16_t>("divisor");
    state.overrun = record.get_flag("overrun");
    state.transmitter_empty_pending = record.get_flag("transmitter_empty_pending");
    state.received = record.get_bytes("received", fifo_size);
    return state;
}

} // namespace croft::vdev
