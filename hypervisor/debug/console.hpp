// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstdint>
#include <string_view>

namespace hypervisor {

enum class LogLevel : std::uint8_t { error = 1, warning, info, debug, trace };

/// The earliest debug console: polled output on a serial port, shared with whoever owns the port
/// later. A line is written under a lock, so lines of several processors do not mix.
namespace console {

/// \param port I/O port of a 16550, or 0 for silence.
void initialise(std::uint16_t port);
void set_level(LogLevel level);
LogLevel level();

class Argument {
public:
    enum class Kind : std::uint8_t { text, number, signed_number, hexadecimal };
    constexpr Argument() = default;
    explicit constexpr Argument(std::string_view t) : kind_{Kind::text}, text_{t} {}
    explicit constexpr Argument(const char* t) : kind_{Kind::text}, text_{t} {}
    template <std::unsigned_integral T>
    explicit constexpr Argument(T n) : kind_{Kind::number},
                                       number_{n} {}
    template <std::signed_integral T>
    explicit constexpr Argument(T n)
        : kind_{Kind::signed_number},
          number_{static_cast<std::uint64_t>(std::int64_t{n})} {}
    void print(char form) const;

private:
    Kind kind_ = Kind::number;
    std::string_view text_{};
    std::uint64_t number_ = 0;
};

void print_line(LogLevel level, std::string_view format, const Argument* arguments, unsigned count);
/// Prints without taking the lock: for a processor that may have died with it.
void print_in_panic(std::string_view format, const Argument* arguments, unsigned count);

} // namespace console

/// Prints one line. `{}` stands for the next argument, `{x}` for the same in hexadecimal.
template <class... T>
void log(LogLevel level, std::string_view format, const T&... values) {
    if (level > console::level()) {
        return;
    }
    const console::Argument arguments[] = {console::Argument{values}..., console::Argument{}};
    console::print_line(level, format, arguments, sizeof...(values));
}

} // namespace hypervisor
