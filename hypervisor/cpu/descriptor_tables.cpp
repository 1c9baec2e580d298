// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/cpu/descriptor_tables.hpp"

#include "hypervisor/cpu/fixed_registers.hpp"
#include "hypervisor/cpu/intrinsics.hpp"
#include "hypervisor/cpu/logical_processor.hpp"
#include "hypervisor/debug/panic.hpp"

extern "C" {
extern const std::uint8_t interrupt_stubs[];
struct Fixup {
    std::uint64_t faulting;
    std::uint64_t resume;
};
extern const Fixup fixups_begin[];
extern const Fixup fixups_end[];
}

namespace hypervisor {

namespace {

struct Gate {
    std::uint16_t offset_low;
    std::uint16_t selector;
    std::uint8_t stack;
    std::uint8_t type;
    std::uint16_t offset_middle;
    std::uint32_t offset_high;
    std::uint32_t reserved;
};

constexpr unsigned stub_size = 16;
constexpr std::uint8_t interrupt_gate = 0x8e;

constinit Gate table[256] = {};

struct [[gnu::packed]] TablePointer {
    std::uint16_t limit;
    std::uint64_t base;
};

/// What interrupts.S has pushed.
struct Frame {
    std::uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    std::uint64_t vector;
    std::uint64_t error_code;
    std::uint64_t rip, cs, rflags, rsp, ss;
};

bool resume_at_fixup(Frame& frame) {
    for (const Fixup* fixup = fixups_begin; fixup != fixups_end; ++fixup) {
        if (fixup->faulting == frame.rip) {
            frame.rip = fixup->resume;
            frame.rbx = 1;
            return true;
        }
    }
    return false;
}

void handle_exception(Frame& frame) {
    if (frame.vector == exception_nmi) {
        LogicalProcessor::current().handle_nmi();
        return;
    }
    if (frame.vector == exception_general_protection && resume_at_fixup(frame)) {
        return;
    }
    panic("exception {} (error code {x}) at {x}, CR2 {x}, RSP {x}, RAX {x}, RDI {x}", frame.vector,
        frame.error_code, frame.rip, read_cr2(), frame.rsp, frame.rax, frame.rdi);
}

} // namespace

extern "C" void handle_interrupt(Frame* frame);
void handle_interrupt(Frame* frame) {
    constexpr std::uint64_t exceptions = 32;
    if (frame->vector < exceptions) {
        handle_exception(*frame);
    } else {
        LogicalProcessor::current().handle_interrupt(static_cast<std::uint8_t>(frame->vector));
    }
}

namespace descriptor_tables {

void initialise() {
    for (unsigned vector = 0; vector < 256; ++vector) {
        const auto stub = reinterpret_cast<std::uint64_t>(&interrupt_stubs[vector * stub_size]);
        table[vector] = {.offset_low = static_cast<std::uint16_t>(stub),
            .selector = code_selector,
            .stack = 0,
            .type = interrupt_gate,
            .offset_middle = static_cast<std::uint16_t>(stub >> 16),
            .offset_high = static_cast<std::uint32_t>(stub >> 32),
            .reserved = 0};
    }
}

void load() {
    const TablePointer pointer{sizeof table - 1, reinterpret_cast<std::uint64_t>(table)};
    asm volatile("lidt %0" : : "m"(pointer) : "memory");
}

} // namespace descriptor_tables

} // namespace hypervisor
