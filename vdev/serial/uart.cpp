// SPDX-License-Identifier: Apache-2.0
#include "vdev/serial/uart.hpp"

#include <array>
#include <utility>

namespace croft::vdev {

namespace {

// Offsets of the registers, and their bits (PC16550D data sheet, table II).
enum Register : std::uint16_t {
    data = 0,
    ier = 1,
    iir_fcr = 2,
    lcr = 3,
    mcr = 4,
    lsr = 5,
    msr = 6
};

constexpr std::uint8_t ier_received = 0x01;
constexpr std::uint8_t ier_transmitter_empty = 0x02;
constexpr std::uint8_t ier_line_status = 0x04;
constexpr std::uint8_t ier_mask = 0x0f;

constexpr std::uint8_t iir_none = 0x01;
constexpr std::uint8_t iir_transmitter_empty = 0x02;
constexpr std::uint8_t iir_received = 0x04;
constexpr std::uint8_t iir_line_status = 0x06;
constexpr std::uint8_t iir_timeout = 0x0c;
constexpr std::uint8_t iir_fifos = 0xc0;

constexpr std::uint8_t fcr_enable = 0x01;
constexpr std::uint8_t fcr_clear_receiver = 0x02;
constexpr unsigned fcr_trigger_shift = 6;
constexpr std::uint8_t fcr_kept = 0xc9;

constexpr std::uint8_t lcr_divisor_latch = 0x80;

constexpr std::uint8_t mcr_out2 = 0x08;
constexpr std::uint8_t mcr_loop = 0x10;
constexpr std::uint8_t mcr_mask = 0x1f;

constexpr std::uint8_t lsr_data_ready = 0x01;
constexpr std::uint8_t lsr_overrun = 0x02;
constexpr std::uint8_t lsr_holding_empty = 0x20;
constexpr std::uint8_t lsr_transmitter_empty = 0x40;

/// Carrier, data set ready and clear to send: somebody listens.
constexpr std::uint8_t msr_connected = 0xb0;

constexpr std::array<std::size_t, 4> trigger_levels = {1, 4, 8, 14};

constexpr unsigned port_count = 8;

} // namespace

Uart::Uart(UartSettings settings, CharacterBackend& backend)
    : settings_(std::move(settings)),
      backend_(backend) {}

Uart::~Uart() = default;

void Uart::configure(Platform& platform) {
    Claim ports = platform.bus.claim_ports(name(), settings_.port, port_count, 1, *this);
    line_ = platform.bus.claim_line(name(), settings_.line);
    ports_ = std::move(ports);
}

void Uart::start() {
    backend_.connect(this);
    backend_.input_wanted();
}

void Uart::stop() {
    backend_.connect(nullptr);
}

Record Uart::save() const {
    const std::lock_guard lock(mutex_);
    return state_.save();
}

void Uart::restore(const Record& record) {
    UartState loaded = UartState::load(record);
    const std::lock_guard lock(mutex_);
    state_ = std::move(loaded);
    can_send_ = true;
    line_.assume(line_level());
}

void Uart::reset() {
    const std::lock_guard lock(mutex_);
    state_ = {};
    can_send_ = true;
    update_line();
}

void Uart::remove() {
    ports_.release();
    line_ = {};
}

bool Uart::fifo_enabled() const {
    return (state_.fifo_control & fcr_enable) != 0;
}

std::size_t Uart::receive_capacity() const {
    return fifo_enabled() ? UartState::fifo_size : 1;
}

std::uint8_t Uart::pending_interrupt() const {
    if ((state_.interrupt_enable & ier_line_status) != 0 && state_.overrun) {
        return iir_line_status;
    }
    if ((state_.interrupt_enable & ier_received) != 0 && !state_.received.empty()) {
        const std::size_t trigger =
            fifo_enabled() ? trigger_levels[state_.fifo_control >> fcr_trigger_shift] : 1;
        // Below the trigger level the receiver tells after four characters' time; here, at once.
        return state_.received.size() >= trigger ? iir_received : iir_timeout;
    }
    if ((state_.interrupt_enable & ier_transmitter_empty) != 0 &&
        state_.transmitter_empty_pending) {
        return iir_transmitter_empty;
    }
    return iir_none;
}

bool Uart::line_level() const {
    return (state_.modem_control & mcr_out2) != 0 && (state_.modem_control & mcr_loop) == 0 &&
        pending_interrupt() != iir_none;
}

void Uart::update_line() {
    line_.set(line_level());
}

std::uint8_t Uart::modem_status() const {
    if ((state_.modem_control & mcr_loop) == 0) {
        return msr_connected;
    }
    // In loopback DTR, RTS, OUT1 and OUT2 come back as DSR, CTS, RI and DCD.
    const unsigned outputs = state_.modem_control;
    const unsigned looped = ((outputs & 1U) << 5) | ((outputs & 2U) << 3) | ((outputs & 4U) << 4) |
        ((outputs & 8U) << 4);
    return static_cast<std::uint8_t>(looped);
}

std::uint8_t Uart::read_data() {
    if (state_.received.empty()) {
        return 0;
    }
    const std::uint8_t value = state_.received.front();
    state_.received.erase(state_.received.begin());
    return value;
}

std::uint8_t Uart::read_interrupt_identification() {
    const std::uint8_t pending = pending_interrupt();
    if (pending == iir_transmitter_empty) {
        state_.transmitter_empty_pending = false;
    }
    return static_cast<std::uint8_t>(pending | (fifo_enabled() ? iir_fifos : 0));
}

std::uint8_t Uart::read_line_status() {
    std::uint8_t status = 0;
    if (!state_.received.empty()) {
        status |= lsr_data_ready;
    }
    if (state_.overrun) {
        status |= lsr_overrun;
        state_.overrun = false;
    }
    if (can_send_) {
        status |= lsr_holding_empty | lsr_transmitter_empty;
    }
    return status;
}

std::uint32_t Uart::port_read(std::uint16_t port, unsigned /*size*/) {
    std::unique_lock lock(mutex_);
    const auto offset = static_cast<std::uint16_t>(port - settings_.port);
    const bool divisor = (state_.line_control & lcr_divisor_latch) != 0;
    std::uint8_t value = 0;
    bool room = false;
    switch (offset) {
    case Register::data:
        if (divisor) {
            value = static_cast<std::uint8_t>(state_.divisor);
        } else {
            room = state_.received.size() == receive_capacity();
            value = read_data();
        }
        break;
    case Register::ier:
        value = divisor ? static_cast<std::uint8_t>(state_.divisor >> 8) : state_.interrupt_enable;
        break;
    case Register::iir_fcr:
        value = read_interrupt_identification();
        break;
    case Register::lcr:
        value = state_.line_control;
        break;
    case Register::mcr:
        value = state_.modem_control;
        break;
    case Register::lsr:
        value = read_line_status();
        break;
    case Register::msr:
        value = modem_status();
        break;
    default:
        value = state_.scratch;
        break;
    }
    update_line();
    lock.unlock();
    if (room) {
        backend_.input_wanted();
    }
    return value;
}

void Uart::write_data(std::uint8_t value) {
    if ((state_.modem_control & mcr_loop) != 0) {
        queue_received(value);
    } else {
        can_send_ = backend_.send({&value, 1});
    }
    // An empty transmitter says so again after each byte.
    state_.transmitter_empty_pending = can_send_;
}

void Uart::write_interrupt_enable(std::uint8_t value) {
    const bool newly_wanted = (value & ~state_.interrupt_enable & ier_transmitter_empty) != 0;
    state_.interrupt_enable = value & ier_mask;
    if (newly_wanted && can_send_) {
        state_.transmitter_empty_pending = true;
    }
}

void Uart::write_fifo_control(std::uint8_t value) {
    const bool switched = ((value ^ state_.fifo_control) & fcr_enable) != 0;
    if (switched || (value & fcr_clear_receiver) != 0) {
        state_.received.clear();
    }
    state_.fifo_control = (value & fcr_enable) != 0 ? value & fcr_kept : 0;
}

void Uart::port_write(std::uint16_t port, unsigned /*size*/, std::uint32_t wide) {
    std::unique_lock lock(mutex_);
    const auto offset = static_cast<std::uint16_t>(port - settings_.port);
    const auto value = static_cast<std::uint8_t>(wide);
    const bool divisor = (state_.line_control & lcr_divisor_latch) != 0;
    bool room = false;
    switch (offset) {
    case Register::data:
        if (divisor) {
            state_.divisor = static_cast<std::uint16_t>((state_.divisor & 0xff00U) | value);
        } else {
            write_data(value);
        }
        break;
    case Register::ier:
        if (divisor) {
            state_.divisor = static_cast<std::uint16_t>((state_.divisor & 0xffU) | (wide << 8));
        } else {
            write_interrupt_enable(value);
        }
        break;
    case Register::iir_fcr:
        write_fifo_control(value);
        room = true;
        break;
    case Register::lcr:
        state_.line_control = value;
        break;
    case Register::mcr:
        state_.modem_control = value & mcr_mask;
        break;
    case Register::lsr:
    case Register::msr:
        break; // read only
    default:
        state_.scratch = value;
        break;
    }
    update_line();
    lock.unlock();
    if (room) {
        backend_.input_wanted();
    }
}

void Uart::queue_received(std::uint8_t value) {
    if (state_.received.size() < receive_capacity()) {
        state_.received.push_back(value);
    } else {
        state_.overrun = true;
    }
}

std::size_t Uart::receive(std::span<const std::uint8_t> bytes) {
    const std::lock_guard lock(mutex_);
    if ((state_.modem_control & mcr_loop) != 0) {
        return 0;
    }
    std::size_t taken = 0;
    while (taken < bytes.size() && state_.received.size() < receive_capacity()) {
        queue_received(bytes[taken++]);
    }
    update_line();
    return taken;
}

void Uart::output_possible() {
    const std::lock_guard lock(mutex_);
    can_send_ = true;
    state_.transmitter_empty_pending = true;
    update_line();
}

} // namespace croft::vdev
