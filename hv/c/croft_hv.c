/* SPDX-License-Identifier: Apache-2.0 */
#include "hv/c/croft_hv.h"

#include "abi/cpuid.h"
#include "abi/hypercall.h"
#include "abi/msr.h"
#include "abi/status.h"

#include <stddef.h>

#define CPUID_FEATURES 1u
#define CPUID_FEATURES_ECX_HYPERVISOR (1u << 31)
#define LEAST_LARGEST_LEAF HV_CPUID_IMPLEMENTATION_LIMITS
#define PAGE_OFFSET_MASK 0xfffu

struct leaf {
    uint32_t eax, ebx, ecx, edx;
};

static struct leaf cpuid(uint32_t number) {
    struct leaf leaf;
    __asm__ volatile("cpuid"
                     : "=a"(leaf.eax), "=b"(leaf.ebx), "=c"(leaf.ecx), "=d"(leaf.edx)
                     : "a"(number), "c"(0));
    return leaf;
}

static uint64_t read_msr(uint32_t number) {
    uint32_t low;
    uint32_t high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(number));
    return low | (uint64_t)high << 32;
}

static void write_msr(uint32_t number, uint64_t value) {
    __asm__ volatile("wrmsr"
                     :
                     : "c"(number), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
}

static void put_word(char* to, uint32_t word) {
    for (unsigned i = 0; i < 4; ++i) {
        to[i] = (char)(word >> (8 * i));
    }
}

enum croft_hv_error croft_hv_find(struct croft_hv_information* information) {
    if ((cpuid(CPUID_FEATURES).ecx & CPUID_FEATURES_ECX_HYPERVISOR) == 0) {
        return CROFT_HV_NONE;
    }
    const struct leaf vendor = cpuid(HV_CPUID_VENDOR_AND_MAX_FUNCTION);
    if (vendor.eax < LEAST_LARGEST_LEAF ||
        cpuid(HV_CPUID_INTERFACE).eax != HV_CPUID_INTERFACE_SIGNATURE) {
        return CROFT_HV_NONE;
    }
    if (information == NULL) {
        return CROFT_HV_OK;
    }
    put_word(information->vendor, vendor.ebx);
    put_word(information->vendor + 4, vendor.ecx);
    put_word(information->vendor + 8, vendor.edx);
    information->vendor[12] = 0;
    information->largest_leaf = vendor.eax;
    const struct leaf version = cpuid(HV_CPUID_VERSION);
    information->build = version.eax;
    information->major = (uint16_t)(version.ebx >> 16);
    information->minor = (uint16_t)version.ebx;
    const struct leaf features = cpuid(HV_CPUID_FEATURES);
    information->privileges = features.eax | (uint64_t)features.ebx << 32;
    information->features = features.edx;
    information->recommendations = cpuid(HV_CPUID_ENLIGHTENMENT_INFO).eax;
    return CROFT_HV_OK;
}

uint64_t croft_hv_open_source_identity(
    uint8_t type, uint8_t kind, uint32_t version, uint16_t build) {
    return 1ull << 63 | (uint64_t)(type & 0x7f) << 56 | (uint64_t)kind << 48 |
        (uint64_t)version << 16 | build;
}

enum croft_hv_error croft_hv_set_up(
    struct croft_hv* hv, const void* page, uint64_t gpa, uint64_t identity) {
    struct croft_hv_information information;
    const enum croft_hv_error found = croft_hv_find(&information);
    if (found != CROFT_HV_OK) {
        return found;
    }
    if ((information.privileges & HV_ACCESS_HYPERCALL_MSRS) == 0) {
        return CROFT_HV_DENIED;
    }
    if (((uintptr_t)page & PAGE_OFFSET_MASK) != 0 || (gpa & PAGE_OFFSET_MASK) != 0) {
        return CROFT_HV_NOT_ALIGNED;
    }
    write_msr(HV_X64_MSR_GUEST_OS_ID, identity);
    if (identity == 0 || read_msr(HV_X64_MSR_GUEST_OS_ID) != identity) {
        return CROFT_HV_NO_IDENTITY;
    }
    const uint64_t before = read_msr(HV_X64_MSR_HYPERCALL);
    const uint64_t wanted = gpa | HV_MSR_PAGE_ENABLE;
    if ((before & HV_MSR_HYPERCALL_LOCKED) != 0) {
        if ((before & ~HV_MSR_HYPERCALL_LOCKED) != wanted) {
            return CROFT_HV_LOCKED;
        }
    } else {
        /* Bits 11..2 are to be kept. */
        const uint64_t kept = before & PAGE_OFFSET_MASK & ~HV_MSR_PAGE_ENABLE;
        write_msr(HV_X64_MSR_HYPERCALL, wanted | kept);
        if ((read_msr(HV_X64_MSR_HYPERCALL) & (HV_MSR_PAGE_ADDRESS_MASK | HV_MSR_PAGE_ENABLE)) !=
            wanted) {
            return CROFT_HV_REFUSED;
        }
    }
    hv->page = page;
    return CROFT_HV_OK;
}

void croft_hv_take_down(struct croft_hv* hv) {
    const uint64_t now = read_msr(HV_X64_MSR_HYPERCALL);
    if ((now & HV_MSR_HYPERCALL_LOCKED) == 0) {
        write_msr(HV_X64_MSR_HYPERCALL, now & ~HV_MSR_PAGE_ENABLE);
        write_msr(HV_X64_MSR_GUEST_OS_ID, 0);
    }
    hv->page = NULL;
}

uint64_t croft_hv_call_word(
    const struct croft_hv* hv, uint64_t control, uint64_t input, uint64_t output) {
#ifdef __x86_64__
    /* The page's code keeps all registers but these (TLFS "Hypercall Interface"); XMM0 to 5 are
       its to change as well, which a kernel that uses none of them doesn't see. */
    uint64_t result;
    register uint64_t r8 __asm__("r8") = output;
    __asm__ volatile("call *%[page]"
                     : "=a"(result), "+c"(control), "+d"(input), "+r"(r8)
                     : [page] "r"(hv->page)
                     : "r9", "r10", "r11", "cc", "memory");
    return result;
#else
    /* EBX may be the compiler's own (position-independent code), and EBP, too. */
    struct {
        uint32_t eax, edx, ecx, ebx, esi, edi, page;
    } words = {(uint32_t)control, (uint32_t)(control >> 32), (uint32_t)input,
        (uint32_t)(input >> 32), (uint32_t)output, (uint32_t)(output >> 32),
        (uint32_t)(uintptr_t)hv->page};
    __asm__ volatile("push %%ebp\n\t"
                     "push %%ebx\n\t"
                     "mov %0, %%ebp\n\t"
                     "mov (%%ebp), %%eax\n\t"
                     "mov 4(%%ebp), %%edx\n\t"
                     "mov 8(%%ebp), %%ecx\n\t"
                     "mov 12(%%ebp), %%ebx\n\t"
                     "mov 16(%%ebp), %%esi\n\t"
                     "mov 20(%%ebp), %%edi\n\t"
                     "call *24(%%ebp)\n\t"
                     "mov %%eax, (%%ebp)\n\t"
                     "mov %%edx, 4(%%ebp)\n\t"
                     "pop %%ebx\n\t"
                     "pop %%ebp"
                     :
                     : "r"(&words)
                     : "eax", "ecx", "edx", "esi", "edi", "cc", "memory");
    return words.eax | (uint64_t)words.edx << 32;
#endif
}

static uint64_t header_field(unsigned variable_header) {
    return ((uint64_t)variable_header & HV_HYPERCALL_VARIABLE_HEADER_MASK)
        << HV_HYPERCALL_VARIABLE_HEADER_SHIFT;
}

uint64_t croft_hv_call(const struct croft_hv* hv, uint16_t code, unsigned variable_header,
    uint64_t input, uint64_t output) {
    return croft_hv_call_word(hv, code | header_field(variable_header), input, output);
}

uint64_t croft_hv_call_fast(
    const struct croft_hv* hv, uint16_t code, uint64_t first, uint64_t second) {
    return croft_hv_call_word(hv, code | HV_HYPERCALL_FAST, first, second);
}

uint64_t croft_hv_call_rep(const struct croft_hv* hv, uint16_t code, unsigned variable_header,
    unsigned count, uint64_t input, uint64_t output) {
    const uint64_t control = code | header_field(variable_header) |
        ((uint64_t)count & HV_HYPERCALL_REP_COUNT_MASK) << HV_HYPERCALL_REP_COUNT_SHIFT;
    uint64_t result;
    unsigned done = 0;
    for (;;) {
        result = croft_hv_call_word(
            hv, control | (uint64_t)done << HV_HYPERCALL_REP_START_SHIFT, input, output);
        const unsigned now = croft_hv_reps_completed(result);
        /* One that succeeds without getting anywhere would do so for ever. */
        if (croft_hv_status(result) != HV_STATUS_SUCCESS || now >= count || now <= done) {
            return result;
        }
        done = now;
    }
}
