/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The trace of exits: what virtual processors have left their guests for, recorded by the logical
 * processors that ran them. None of it is in the TLFS.
 *
 * The root reads it by HvCallGetPartitionPropertyEx of its own partition. The property is one of
 * the codes below with the LP's index added, `arg` is the key that only the root's kernel and those
 * whom it lets read MSRs can know: another program that may make hypercalls for its own children
 * learns nothing of those of others.
 */
#pragma once
#pragma GCC system_header /* anonymous structs and flexible arrays are what the layouts are */

#include "abi/types.h"

/* Read by the root: the key, the same until the machine is started anew. */
#define HV_X64_MSR_EXIT_TRACE_KEY 0x4000f000u

/*
 * To read is to take out: each record is answered once, the oldest first. The first reading of an
 * LP switches its trace on, which costs the root nine pages of its deposits.
 */
#define HV_PARTITION_PROPERTY_EXIT_TRACE 0x0009ff00u
/* Switches it off, with all that nobody has read. Answers no records. */
#define HV_PARTITION_PROPERTY_EXIT_TRACE_END 0x0009ff40u
#define HV_EXIT_TRACE_MAX_LPS 64u

/* What an LP keeps; older ones are overwritten. */
#define HV_EXIT_TRACE_RING_RECORDS 512u
/* What one answer holds at most. */
#define HV_EXIT_TRACE_MAX_RECORDS 63u

enum hv_exit_trace_reason {
    HV_EXIT_TRACE_INTERRUPT = 0,
    HV_EXIT_TRACE_NMI = 1,
    HV_EXIT_TRACE_INTERRUPT_WINDOW = 2,
    HV_EXIT_TRACE_CPUID = 3,     /* detail: EAX, ECX << 32 */
    HV_EXIT_TRACE_MSR_READ = 4,  /* detail: its number */
    HV_EXIT_TRACE_MSR_WRITE = 5, /* detail: its number; value: what is written */
    HV_EXIT_TRACE_PORT = 6,      /* detail: HV_EXIT_TRACE_PORT_…; value: RAX */
    HV_EXIT_TRACE_HALT = 7,
    HV_EXIT_TRACE_HYPERCALL = 8, /* detail: control word; value: input */
    HV_EXIT_TRACE_MEMORY = 9,    /* detail: GPA; value: HV_EXIT_TRACE_MEMORY_… */
    HV_EXIT_TRACE_XCR0 = 10,     /* value: what is written */
    HV_EXIT_TRACE_CACHES = 11,
    HV_EXIT_TRACE_UNDEFINED = 12,
    HV_EXIT_TRACE_PERFORMANCE_COUNTER = 13,
    HV_EXIT_TRACE_SHUTDOWN = 14,
    HV_EXIT_TRACE_INVALID_STATE = 15,
    HV_EXIT_TRACE_EXCEPTION = 16, /* detail: vector, error code << 32; value: address */
    HV_EXIT_TRACE_UNEXPECTED = 17,
    HV_EXIT_TRACE_REASONS = 18, /* how many there are */
};

/* Of `detail` of a port: number in bits 0 to 15, bytes in 16 to 23. */
#define HV_EXIT_TRACE_PORT_IN (1ull << 24)
#define HV_EXIT_TRACE_PORT_STRING (1ull << 25)
#define HV_EXIT_TRACE_PORT_REP (1ull << 26)

#define HV_EXIT_TRACE_MEMORY_WRITE 1ull
#define HV_EXIT_TRACE_MEMORY_EXECUTE 2ull

/* What became of it. */
enum hv_exit_trace_outcome {
    HV_EXIT_TRACE_SERVED = 0,  /* by the hypervisor, and the guest went on */
    HV_EXIT_TRACE_PARENT = 1,  /* it is the parent's, who has got a message */
    HV_EXIT_TRACE_WAITS = 2,   /* the virtual processor waits for an interrupt, or to be started */
    HV_EXIT_TRACE_STOPPED = 3, /* it gave way to another, or its parent had it stop */
};

/* Times are ticks of the time-stamp counter. */
struct hv_exit_trace_record {
    uint64_t sequence; /* counts the records of the LP, from 0 */
    uint64_t time;     /* of the exit */
    uint64_t partition_id;
    uint64_t rip;
    uint64_t detail; /* by reason */
    uint64_t value;  /* by reason */
    uint16_t vp_index;
    uint8_t reason;          /* enum hv_exit_trace_reason */
    uint8_t outcome;         /* enum hv_exit_trace_outcome */
    uint32_t code;           /* the processor's own */
    uint32_t duration;       /* until the guest went on, or until it was put aside */
    uint32_t guest_duration; /* from the guest's entry to this exit */
};

/* In `duration` and `guest_duration`: longer than can be said, or not known. */
#define HV_EXIT_TRACE_DURATION_UNKNOWN 0xffffffffu

struct hv_exit_trace {
    uint32_t count;
    uint32_t lp_count;      /* of the machine */
    uint64_t lost;          /* how many were overwritten since the last reading, before these */
    uint64_t time;          /* now */
    uint64_t open_since;    /* of the oldest exit that is not recorded yet; or 0 */
    uint64_t tsc_frequency; /* ticks per second */
    struct hv_exit_trace_record records[HV_EXIT_TRACE_MAX_RECORDS];
};
