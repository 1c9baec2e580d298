// SPDX-License-Identifier: Apache-2.0
// A guest that tries everything: hypercalls, MSRs, CPUID, the APIC's page, overlay pages, memory
// that it has not, instructions that guests don't have. Code of one section, copied into the guest
// as it is: it has no data, and calls nothing outside.
#include "tests/guests/hostile_guest.hpp"
#include "abi/hypercall.h"
#include "abi/msr.h"
#include "tests/guests/random.hpp"

#define GUEST_CODE [[gnu::section("hostile_code"), gnu::noinline]]

namespace croft::guests::hostile {

namespace {

/// Where to go on when the instruction that follows faults. Registers keep what they have then.
#define RESUME "lea 1f(%%rip), %%rax\n\tmov %%rax, %%gs:0\n\tmov %%rsp, %%gs:8\n\t"
#define EVERYTHING \
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc"

[[gnu::always_inline]] inline std::uint64_t scratch_page(Random& random) {
    return scratch_gpa + (random.below(scratch_size >> 12) << 12);
}

/// What finds mistakes: ends of ranges, single bits, small numbers, addresses.
GUEST_CODE std::uint64_t value(Random& random) {
    const std::uint64_t kind = random.below(8);
    if (kind == 0) {
        return 0;
    }
    if (kind == 1) {
        return ~std::uint64_t{0} - random.below(3);
    }
    if (kind == 2) {
        return std::uint64_t{1} << random.below(64);
    }
    if (kind == 3) {
        return random.below(64);
    }
    if (kind == 4) {
        return scratch_page(random) | 1; // an overlay, switched on
    }
    if (kind == 5) {
        return random.next() >> 32;
    }
    return kind == 6 ? scratch_page(random) + random.below(4096) : random.next();
}

/// Where a parameter is; never where the guest's own code and tables are.
GUEST_CODE std::uint64_t parameter(Random& random) {
    const std::uint64_t kind = random.below(16);
    if (kind == 0) {
        return scratch_gpa | random.next();
    }
    if (kind == 1) {
        return scratch_page(random) + random.below(4096);
    }
    return scratch_page(random) + (kind < 6 ? random.below(512) * 8 : 0);
}

/// The hypercall page may lie there, which can't be written.
GUEST_CODE void store(std::uint64_t gpa, std::uint64_t word) {
    asm volatile("mov %0, %%rcx\n\tmov %1, %%rdx\n\t" RESUME "mov %%rdx, (%%rcx)\n1:"
                 :
                 : "m"(gpa), "m"(word)
                 : EVERYTHING);
}

GUEST_CODE void fill(Random& random, std::uint64_t gpa) {
    const std::uint64_t words = gpa & ~std::uint64_t{7};
    for (unsigned i = 0; i < 8; ++i) {
        store(words + 8 * i, value(random));
    }
    if (!random.one_in(4)) {
        store(words, random.one_in(2) ? ~std::uint64_t{0} : random.below(6)); // a partition
    }
    if (!random.one_in(4)) {
        // One of its processors.
        store(words + 8, random.one_in(4) ? 0xfffffffe : random.below(4));
    }
}

GUEST_CODE void call(std::uint64_t control, std::uint64_t input, std::uint64_t output) {
    asm volatile("mov %0, %%rcx\n\tmov %1, %%rdx\n\tmov %2, %%r8\n\t" RESUME "vmmcall\n1:"
                 :
                 : "m"(control), "m"(input), "m"(output)
                 : EVERYTHING);
}

GUEST_CODE void hypercall(Random& random) {
    constexpr std::uint64_t known_codes = 0x110;
    std::uint64_t control = random.one_in(4) ? random.below(0x10000) : random.below(known_codes);
    const bool fast = random.one_in(3);
    control |= fast ? HV_HYPERCALL_FAST : 0;
    if (random.one_in(4)) {
        control |= random.below(random.one_in(2) ? 16 : 0x400)
            << HV_HYPERCALL_VARIABLE_HEADER_SHIFT;
    }
    if (random.one_in(2)) {
        control |= random.below(random.one_in(2) ? 4 : 0x1000) << HV_HYPERCALL_REP_COUNT_SHIFT;
        control |= (random.one_in(4) ? random.below(0x1000) : 0) << HV_HYPERCALL_REP_START_SHIFT;
    }
    control ^= random.one_in(32) ? value(random) : 0;
    const std::uint64_t input = fast ? value(random) : parameter(random);
    const std::uint64_t output = fast ? value(random) : parameter(random);
    if (!fast && input >= scratch_gpa && input < scratch_gpa + scratch_size - 4096) {
        fill(random, input);
    }
    call(control, input, output);
}

/// Another one's registers, with nothing wrong: who is asked may ask the same of who asks.
GUEST_CODE void ask_for_registers(Random& random) {
    constexpr std::uint64_t rip = 0x00020010;
    const std::uint64_t code = random.one_in(2) ? HVCALL_GET_VP_REGISTERS : HVCALL_SET_VP_REGISTERS;
    const std::uint64_t input = scratch_page(random);
    store(input, ~std::uint64_t{0});
    store(input + 8, random.below(4));
    store(input + 16, random.one_in(2) ? rip : random.below(0x20));
    store(input + 24, value(random));
    call(code | std::uint64_t{1} << HV_HYPERCALL_REP_COUNT_SHIFT, input, scratch_page(random));
}

GUEST_CODE std::uint32_t some_msr(Random& random) {
    const std::uint64_t kind = random.below(8);
    if (kind < 4) {
        return static_cast<std::uint32_t>(0x40000000 + random.below(0x120));
    }
    if (kind == 4) {
        return static_cast<std::uint32_t>(0x800 + random.below(0x100));
    }
    if (kind == 5) {
        return static_cast<std::uint32_t>(random.below(0x400));
    }
    if (kind == 6) {
        return static_cast<std::uint32_t>(
            (random.one_in(2) ? 0xc0000080 : 0xc0010000) + random.below(0x130));
    }
    return static_cast<std::uint32_t>(random.next());
}

GUEST_CODE void read_msr(Random& random) {
    const std::uint64_t msr = some_msr(random);
    asm volatile("mov %0, %%rcx\n\t" RESUME "rdmsr\n1:" : : "m"(msr) : EVERYTHING);
}

GUEST_CODE void write_msr(std::uint64_t msr, std::uint64_t what) {
    asm volatile("mov %0, %%rcx\n\tmov %1, %%rbx\n\t" RESUME
                 "mov %%rbx, %%rax\n\tmov %%rbx, %%rdx\n\t"
                 "shr $32, %%rdx\n\twrmsr\n1:"
                 :
                 : "m"(msr), "m"(what)
                 : EVERYTHING);
}

/// Not those that its own running rests on.
GUEST_CODE void write_some_msr(Random& random) {
    constexpr std::uint32_t efer = 0xc0000080;
    constexpr std::uint32_t fs_base = 0xc0000100;
    constexpr std::uint32_t kernel_gs_base = 0xc0000102;
    constexpr std::uint32_t command = 0x830;
    const std::uint32_t msr = some_msr(random);
    std::uint64_t what = value(random);
    if (msr == efer || (msr >= fs_base && msr <= kernel_gs_base)) {
        return;
    }
    if (msr == command && !random.one_in(16)) {
        what &= ~std::uint64_t{0x700}; // seldom a start-up or an NMI
    }
    const bool is_overlay = msr == HV_X64_MSR_HYPERCALL || msr == HV_X64_MSR_REFERENCE_TSC ||
        msr == HV_X64_MSR_VP_ASSIST_PAGE || msr == HV_X64_MSR_SIMP || msr == HV_X64_MSR_SIEFP;
    if (is_overlay) {
        what = (random.one_in(8) ? scratch_gpa | what : scratch_page(random)) |
            (random.one_in(4) ? 0 : 1);
        what &= ~std::uint64_t{2}; // the hypercall page's lock
    }
    write_msr(msr, what);
}

GUEST_CODE void establish_hypercalls() {
    write_msr(HV_X64_MSR_GUEST_OS_ID, 1);
    write_msr(HV_X64_MSR_HYPERCALL, scratch_gpa | 1);
}

GUEST_CODE void ask_cpuid(Random& random) {
    const std::uint64_t kind = random.below(4);
    const std::uint64_t leaf = kind == 0 ? random.below(0x20)
        : kind == 1                      ? 0x40000000 + random.below(0x10)
        : kind == 2                      ? 0x80000000 + random.below(0x20)
                                         : random.next();
    const std::uint64_t subleaf = value(random);
    asm volatile("mov %0, %%rax\n\tmov %1, %%rcx\n\tcpuid"
                 :
                 : "m"(leaf), "m"(subleaf)
                 : EVERYTHING);
}

GUEST_CODE void touch(Random& random, std::uint64_t at) {
    const std::uint64_t what = value(random);
    if (random.one_in(2)) {
        asm volatile("mov %0, %%rbx\n\t" RESUME "mov (%%rbx), %%ecx\n1:" : : "m"(at) : EVERYTHING);
    } else {
        asm volatile("mov %0, %%rbx\n\tmov %1, %%rcx\n\t" RESUME "mov %%ecx, (%%rbx)\n1:"
                     :
                     : "m"(at), "m"(what)
                     : EVERYTHING);
    }
}

GUEST_CODE void run_what_guests_have_not(Random& random) {
    const std::uint64_t kind = random.below(12);
    const std::uint64_t what = value(random);
#define TRY(number, instruction)                                                                \
    if (kind == (number)) {                                                                     \
        asm volatile("mov %0, %%rbx\n\t" RESUME                                                 \
                     "mov %%rbx, %%rax\n\tmov %%rbx, %%rdx\n\txor %%ecx, %%ecx\n\t" instruction \
                     "\n1:"                                                                     \
                     :                                                                          \
                     : "m"(what)                                                                \
                     : EVERYTHING);                                                             \
    }
    TRY(0, "vmrun")
    TRY(1, "vmload")
    TRY(2, "vmsave")
    TRY(3, "stgi")
    TRY(4, "clgi")
    TRY(5, "skinit")
    TRY(6, "invlpga")
    TRY(7, "monitor")
    TRY(8, "mwait")
    TRY(9, "xsetbv")
    TRY(10, "mov %%rax, %%dr0\n\tmov %%rax, %%dr6")
    TRY(11, "wbinvd")
#undef TRY
}

} // namespace

extern "C" GUEST_CODE void hostile_guest(Area* area) {
    Random random{area->seed + area->rounds};
    establish_hypercalls();
    for (;;) {
        asm volatile("sti" : : : "memory");
        area->rounds = area->rounds + 1;
        const std::uint64_t kind = random.below(32);
        if (kind < 12) {
            area->calls = area->calls + 1;
        }
        if (kind < 10) {
            hypercall(random);
        } else if (kind < 12) {
            ask_for_registers(random);
        } else if (kind < 16) {
            read_msr(random);
        } else if (kind < 22) {
            write_some_msr(random);
        } else if (kind < 25) {
            ask_cpuid(random);
        } else if (kind < 27) {
            touch(random, scratch_page(random) + random.below(1024) * 4);
        } else if (kind < 29) {
            touch(random, apic_gpa + random.below(1024) * (random.one_in(8) ? 1 : 16));
        } else if (kind < 30) {
            run_what_guests_have_not(random);
        } else if (kind == 30) {
            establish_hypercalls();
        } else if (random.one_in(8)) {
            touch(random, memory_size + random.below(0x10000000));
        }
    }
}

} // namespace croft::guests::hostile
