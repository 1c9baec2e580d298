// SPDX-License-Identifier: Apache-2.0
// The instructions that C++ has no words for.
#pragma once

#include <cstdint>

namespace hypervisor {

struct CpuidResult {
    std::uint32_t eax, ebx, ecx, edx;

    bool operator==(const CpuidResult&) const = default;
};

inline CpuidResult cpuid(std::uint32_t leaf, std::uint32_t subleaf = 0) {
    CpuidResult r;
    asm volatile("cpuid"
                 : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
                 : "a"(leaf), "c"(subleaf));
    return r;
}

inline std::uint64_t read_msr(std::uint32_t msr) {
    std::uint32_t low;
    std::uint32_t high;
    asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
    return (std::uint64_t{high} << 32) | low;
}

inline void write_msr(std::uint32_t msr, std::uint64_t value) {
    asm volatile("wrmsr"
                 :
                 : "c"(msr), "a"(static_cast<std::uint32_t>(value)),
                 "d"(static_cast<std::uint32_t>(value >> 32))
                 : "memory");
}

/// Drops this processor's translation of a page.
inline void invalidate_page(std::uint64_t address) {
    asm volatile("invlpg (%0)" : : "r"(address) : "memory");
}

/// Reads an MSR that the processor may not have. \return false if it answered with #GP.
inline bool try_read_msr(std::uint32_t msr, std::uint64_t& value) {
    std::uint32_t low = 0;
    std::uint32_t high = 0;
    std::uint32_t failed = 0;
    asm volatile("1: rdmsr\n"
                 "2:\n"
                 ".pushsection .fixups, \"a\"\n"
                 ".quad 1b, 2b\n"
                 ".popsection"
                 : "+a"(low), "+d"(high), "+b"(failed)
                 : "c"(msr)
                 : "memory");
    value = (std::uint64_t{high} << 32) | low;
    return failed == 0;
}

/// Writes an MSR that the processor may not have, or not with this value. \return false on #GP.
inline bool try_write_msr(std::uint32_t msr, std::uint64_t value) {
    std::uint32_t failed = 0;
    asm volatile("1: wrmsr\n"
                 "2:\n"
                 ".pushsection .fixups, \"a\"\n"
                 ".quad 1b, 2b\n"
                 ".popsection"
                 : "+b"(failed)
                 : "c"(msr), "a"(static_cast<std::uint32_t>(value)),
                 "d"(static_cast<std::uint32_t>(value >> 32))
                 : "memory");
    return failed == 0;
}

inline std::uint64_t read_tsc() {
    std::uint32_t low;
    std::uint32_t high;
    asm volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (std::uint64_t{high} << 32) | low;
}

inline std::uint64_t read_cr0() {
    std::uint64_t v;
    asm volatile("mov %%cr0, %0" : "=r"(v));
    return v;
}
inline std::uint64_t read_cr2() {
    std::uint64_t v;
    asm volatile("mov %%cr2, %0" : "=r"(v));
    return v;
}
inline std::uint64_t read_cr3() {
    std::uint64_t v;
    asm volatile("mov %%cr3, %0" : "=r"(v));
    return v;
}
inline std::uint64_t read_cr4() {
    std::uint64_t v;
    asm volatile("mov %%cr4, %0" : "=r"(v));
    return v;
}
inline void write_cr0(std::uint64_t v) {
    asm volatile("mov %0, %%cr0" : : "r"(v) : "memory");
}
inline void write_cr3(std::uint64_t v) {
    asm volatile("mov %0, %%cr3" : : "r"(v) : "memory");
}
inline void write_cr4(std::uint64_t v) {
    asm volatile("mov %0, %%cr4" : : "r"(v) : "memory");
}

inline std::uint8_t in8(std::uint16_t port) {
    std::uint8_t v;
    asm volatile("inb %1, %0" : "=a"(v) : "Nd"(port) : "memory");
    return v;
}
inline std::uint16_t in16(std::uint16_t port) {
    std::uint16_t v;
    asm volatile("inw %1, %0" : "=a"(v) : "Nd"(port) : "memory");
    return v;
}
inline std::uint32_t in32(std::uint16_t port) {
    std::uint32_t v;
    asm volatile("inl %1, %0" : "=a"(v) : "Nd"(port) : "memory");
    return v;
}
inline void out8(std::uint16_t port, std::uint8_t v) {
    asm volatile("outb %0, %1" : : "a"(v), "Nd"(port) : "memory");
}
inline void out16(std::uint16_t port, std::uint16_t v) {
    asm volatile("outw %0, %1" : : "a"(v), "Nd"(port) : "memory");
}
inline void out32(std::uint16_t port, std::uint32_t v) {
    asm volatile("outl %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

inline std::uint64_t read_xcr0() {
    std::uint32_t low;
    std::uint32_t high;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (std::uint64_t{high} << 32) | low;
}
inline void write_xcr0(std::uint64_t value) {
    asm volatile("xsetbv"
                 :
                 : "c"(0), "a"(static_cast<std::uint32_t>(value)),
                 "d"(static_cast<std::uint32_t>(value >> 32))
                 : "memory");
}

inline void pause() {
    asm volatile("pause" : : : "memory");
}

/// Takes the interrupts that are pending, and goes on with interrupts disabled.
inline void take_pending_interrupts() {
    asm volatile("sti\n\tnop\n\tcli" : : : "memory");
}

/// Waits for an interrupt and takes it. Interrupts are disabled before and after.
inline void wait_for_interrupt() {
    asm volatile("sti\n\thlt\n\tcli" : : : "memory");
}

[[noreturn]] inline void stop_processor() {
    for (;;) {
        asm volatile("cli\n\thlt" : : : "memory");
    }
}

} // namespace hypervisor
