// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/debug/console.hpp"

namespace hypervisor {

/// What a panic does first, once there are other processors: it stops them.
void set_processor_stopper(void (*stop)());

/// Whether some processor has panicked.
bool is_panicking();

/// Where a line of the source stands. (std::source_location has the function's name too, at twice
/// the memory of all the rest; the addresses of the callers lead to it.)
struct SourceLine {
    const char* file;
    std::uint32_t number;
};

[[noreturn]] void panic_with(
    SourceLine where, std::string_view format, const console::Argument* arguments, unsigned count);

/// A format together with the place that it was written at.
struct PanicFormat {
    template <class T>
    constexpr PanicFormat( // NOLINT(google-explicit-constructor): made where the format stands
        const T& text, const char* file = __builtin_FILE(), std::uint32_t line = __builtin_LINE())
        : format{text},
          where{file, line} {}
    std::string_view format;
    SourceLine where;
};

/// The hypervisor cannot go on: says why and where, and stops the machine.
template <class... T>
[[noreturn]] void panic(PanicFormat format, const T&... values) {
    const console::Argument arguments[] = {console::Argument{values}..., console::Argument{}};
    panic_with(format.where, format.format, arguments, sizeof...(values));
}

/// What must hold whatever guests do: an assertion that is compiled in always.
inline void require(bool condition, PanicFormat what) {
    if (!condition) [[unlikely]] {
        panic_with(what.where, what.format, nullptr, 0);
    }
}

} // namespace hypervisor
