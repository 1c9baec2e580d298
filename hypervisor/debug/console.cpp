// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/debug/console.hpp"

#include "hypervisor/cpu/intrinsics.hpp"
#include "hypervisor/cpu/spin_lock.hpp"

namespace hypervisor::console {

namespace {

constexpr std::uint16_t uart_line_control = 3;
constexpr std::uint16_t uart_fifo_control = 2;
constexpr std::uint16_t uart_line_status = 5;
constexpr std::uint8_t uart_transmitter_empty = 0x20;
// A port that never gets ready is not there; after this many polls the character is dropped.
constexpr unsigned uart_patience = 100000;

constinit std::uint16_t uart = 0;
constinit LogLevel threshold = LogLevel::info;
constinit SpinLock lock{};

void put(char c) {
    if (uart == 0) {
        return;
    }
    for (unsigned i = 0; i < uart_patience; ++i) {
        if ((in8(static_cast<std::uint16_t>(uart + uart_line_status)) & uart_transmitter_empty) !=
            0) {
            break;
        }
    }
    out8(uart, static_cast<std::uint8_t>(c));
}

void put(std::string_view text) {
    for (const char c : text) {
        if (c == '\n') {
            put('\r');
        }
        put(c);
    }
}

void put_number(std::uint64_t n, unsigned base) {
    char digits[20];
    unsigned count = 0;
    do {
        digits[count++] = "0123456789abcdef"[n % base];
        n /= base;
    } while (n != 0);
    while (count > 0) {
        put(digits[--count]);
    }
}

void format_line(std::string_view format, const Argument* arguments, unsigned count) {
    unsigned next = 0;
    for (std::size_t i = 0; i < format.size(); ++i) {
        const bool plain = format.substr(i).starts_with("{}");
        const bool hexadecimal = format.substr(i).starts_with("{x}");
        if ((plain || hexadecimal) && next < count) {
            arguments[next++].print(hexadecimal ? 'x' : ' ');
            i += plain ? 1 : 2;
        } else {
            put(format[i]);
        }
    }
    put("\n");
}

} // namespace

void Argument::print(char form) const {
    if (kind_ == Kind::text) {
        put(text_);
    } else if (form == 'x') {
        put("0x");
        put_number(number_, 16);
    } else if (kind_ == Kind::signed_number && static_cast<std::int64_t>(number_) < 0) {
        put('-');
        put_number(~number_ + 1, 10);
    } else {
        put_number(number_, 10);
    }
}

void initialise(std::uint16_t port) {
    uart = port;
    if (uart != 0) {
        out8(static_cast<std::uint16_t>(uart + uart_line_control), 0x03); // 8 bits, no parity
        out8(static_cast<std::uint16_t>(uart + uart_fifo_control), 0x07); // FIFOs on and empty
    }
}

void set_level(LogLevel level) {
    threshold = level;
}
LogLevel level() {
    return threshold;
}

void print_line(
    LogLevel level, std::string_view format, const Argument* arguments, unsigned count) {
    constexpr std::string_view prefixes[] = {"", "undercroft: error: ", "undercroft: warning: ",
        "undercroft: ", "undercroft: ", "undercroft: "};
    const SpinGuard guard{lock};
    put(prefixes[static_cast<unsigned>(level)]);
    format_line(format, arguments, count);
}

void print_in_panic(std::string_view format, const Argument* arguments, unsigned count) {
    put("undercroft: panic: ");
    format_line(format, arguments, count);
}

} // namespace hypervisor::console
