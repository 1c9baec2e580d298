// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/debug/panic.hpp"

#include "hypervisor/cpu/intrinsics.hpp"

#include <atomic>

namespace hypervisor {

namespace {

using Stopper = void (*)();
constinit Stopper stop_other_processors = nullptr;

constinit std::atomic<bool> panicking{false};

// A walk over frame pointers, bounded, within the stack that it began on.
void print_backtrace() {
    constexpr unsigned most_frames = 16;
    constexpr std::uint64_t stack_size = 0x8000;
    auto frame = reinterpret_cast<std::uint64_t>(__builtin_frame_address(0));
    const std::uint64_t stack = frame & ~(stack_size - 1);
    for (unsigned i = 0; i < most_frames; ++i) {
        if (frame < stack || frame + 16 > stack + stack_size || (frame & 7) != 0) {
            return;
        }
        const auto* words = reinterpret_cast<const std::uint64_t*>(frame);
        const console::Argument arguments[] = {console::Argument{words[1]}};
        console::print_in_panic("  called from {x}", arguments, 1);
        frame = words[0];
    }
}

} // namespace

void set_processor_stopper(void (*stop)()) {
    stop_other_processors = stop;
}

bool is_panicking() {
    return panicking.load();
}

void panic_with(
    SourceLine where, std::string_view format, const console::Argument* arguments, unsigned count) {
    if (panicking.exchange(true)) {
        stop_processor();
    }
    if (stop_other_processors != nullptr) {
        stop_other_processors();
    }
    console::print_in_panic(format, arguments, count);
    const console::Argument at[] = {
        console::Argument{where.file}, console::Argument{std::uint64_t{where.number}}};
    console::print_in_panic("  at {}:{}", at, 2);
    print_backtrace();
    stop_processor();
}

} // namespace hypervisor
