/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hypervisor as a guest's kernel sees it, in plain C: find it, set up the hypercall page, make
 * hypercalls (TLFS "Feature and Interface Discovery", "Hypercall Interface"). For any operating
 * system, on x86 with 64 or with 32 bits, at CPL 0; needs no other library, allocates nothing, and
 * keeps nothing but what the caller passes. Functions of one `struct croft_hv` may be called on all
 * processors at a time, but for croft_hv_set_up and croft_hv_take_down.
 *
 * croft_hv(3) describes all of it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What CPUID says of the hypervisor. */
struct croft_hv_information {
    char vendor[13];       /* "Microsoft Hv", as the interface wants it, and a NUL */
    uint32_t largest_leaf; /* the last of its CPUID leaves, 0x40000005 or more */
    uint32_t build;        /* of the hypervisor's version, 0 where it doesn't tell */
    uint16_t major;
    uint16_t minor;
    uint64_t privileges;      /* HV_PARTITION_PRIVILEGE_MASK */
    uint32_t features;        /* EDX of the features' leaf */
    uint32_t recommendations; /* EAX of the leaf with recommendations */
};

/* A hypercall page that has been set up. */
struct croft_hv {
    const void* page;
};

enum croft_hv_error {
    CROFT_HV_OK = 0,
    CROFT_HV_NONE,        /* there is no hypervisor, or one without the interface "Hv#1" */
    CROFT_HV_DENIED,      /* the partition may not set up a hypercall page */
    CROFT_HV_NO_IDENTITY, /* the guest's identity is 0, or was not taken */
    CROFT_HV_NOT_ALIGNED, /* the page does not begin at a multiple of 4096 */
    CROFT_HV_LOCKED,      /* a page is set up elsewhere, and locked */
    CROFT_HV_REFUSED,     /* the page was not taken: there is no such guest physical page */
};

/* One clear sentence about an error, or about a status of a hypercall (HV_STATUS_…). */
const char* croft_hv_error_text(enum croft_hv_error error);
const char* croft_hv_status_text(uint16_t status);

/* Looks for the hypervisor; fills in `information`, which may be null, if there is one. */
enum croft_hv_error croft_hv_find(struct croft_hv_information* information);

/*
 * A guest's identity in the form for open-source systems (TLFS "Guest OS Identity for Open-Source
 * Operating Systems"). type: 1 Linux, 2 FreeBSD, 3 Xen, 4 illumos …, up to 0x7f.
 */
uint64_t croft_hv_open_source_identity(
    uint8_t type, uint8_t kind, uint32_t version, uint16_t build);

/*
 * Tells the hypervisor who the guest is, and has it lay its code over the page. `page`, 4096 bytes
 * at such a multiple, is mapped executable at guest physical address `gpa`; what is in it is hidden
 * from then on. If a page is set up already, by firmware for instance, it moves.
 */
enum croft_hv_error croft_hv_set_up(
    struct croft_hv* hv, const void* page, uint64_t gpa, uint64_t identity);

/* Undoes it: the page is the guest's again. */
void croft_hv_take_down(struct croft_hv* hv);

/*
 * Hypercalls answer the result word; these take it apart. croft_hv_status is HV_STATUS_SUCCESS, 0,
 * if all went well.
 */
static inline uint16_t croft_hv_status(uint64_t result) {
    return (uint16_t)result;
}
static inline unsigned croft_hv_reps_completed(uint64_t result) {
    return (unsigned)(result >> 32) & 0xfff;
}

/*
 * A simple hypercall: `input` and `output` are guest physical addresses, multiples of 8, of what
 * lies within one page each; 0 where the call has none. `variable_header` is the size of the
 * input's variable part in units of 8 bytes.
 */
uint64_t croft_hv_call(const struct croft_hv* hv, uint16_t code, unsigned variable_header,
    uint64_t input, uint64_t output);

/* A simple hypercall with up to 16 bytes of input and no output, in registers. */
uint64_t croft_hv_call_fast(
    const struct croft_hv* hv, uint16_t code, uint64_t first, uint64_t second);

/*
 * A rep hypercall, which goes on from where the hypervisor has left off until all of `count` (1 to
 * 4095) elements are done or one fails. The result has all that are completed, failed or not.
 */
uint64_t croft_hv_call_rep(const struct croft_hv* hv, uint16_t code, unsigned variable_header,
    unsigned count, uint64_t input, uint64_t output);

/* Any hypercall, by its control word. */
uint64_t croft_hv_call_word(
    const struct croft_hv* hv, uint64_t control, uint64_t input, uint64_t output);

#ifdef __cplusplus
}
#endif
