/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's half of VMBus for bare guests, one thing after the other: connects, sees what is
 * offered, opens channels, sends packets and waits for their completions. Whatever isn't so by
 * itself is checked nowhere, so that a program can send what no driver would. Layouts as in Linux,
 * include/linux/hyperv.h. Nothing interrupts: the slot of the SynIC and the rings are looked at.
 */
#pragma once

#include "tests/guests/bare/bare.h"

#define VMBUS_VERSION_5_3 0x00050003u

/* The first 32 bits of the interface types' GUIDs. */
#define VMBUS_SCSI 0xba6163d9u
#define VMBUS_NETWORK 0xf8615163u
#define VMBUS_HEARTBEAT 0x57164f39u
#define VMBUS_SHUTDOWN 0x0e0b6031u

#define VMBUS_RING_PAGES 4u
#define VMBUS_RING_BYTES ((VMBUS_RING_PAGES - 1) * BARE_PAGE_SIZE)

#define VMBUS_PACKET_IN_BAND 6u
#define VMBUS_PACKET_GPA_DIRECT 9u
#define VMBUS_PACKET_COMPLETION 11u
#define VMBUS_COMPLETION_REQUESTED 1u

/* The header's page of a ring, and what it holds. */
struct vmbus_ring {
    volatile uint32_t write_index;
    volatile uint32_t read_index;
    volatile uint32_t interrupt_mask;
    volatile uint32_t pending_send_size;
    volatile uint32_t reserved[12];
    volatile uint32_t feature_bits;
    volatile uint8_t rest[BARE_PAGE_SIZE - 68];
    volatile uint64_t data[VMBUS_RING_BYTES / 8];
};

struct vmbus_channel {
    uint32_t interface_type;
    uint32_t relid;
    uint32_t connection;
    /* Of the guest to the host and back, as they lie in its memory. */
    struct vmbus_ring* out;
    struct vmbus_ring* in;
};

/* Sets hypercalls and the SynIC up, and makes contact; \return whether the host agrees. */
bool vmbus_connect(uint32_t version);

/* What is offered, in that order; \return how many, or 0 if the end of the list doesn't come. */
unsigned vmbus_request_offers(struct vmbus_channel* channels, unsigned most);

/*
 * Gives the channel's rings, which the program has filled, to the host under the number of the
 * channel, and opens it; \return whether it is open. Without memory for one more: false.
 */
bool vmbus_open(struct vmbus_channel* channel);
/* Empty rings, of its own for each channel; false if there is no memory for one more. */
bool vmbus_make_rings(struct vmbus_channel* channel);
/* Closes it, and waits until its rings are the guest's again; \return whether they are. */
bool vmbus_close(struct vmbus_channel* channel);

struct vmbus_packet {
    uint16_t type;
    uint16_t flags;
    uint64_t transaction;
    /* Behind the descriptor, in words of 8 bytes. */
    const uint64_t* header;
    unsigned header_words;
    const uint64_t* payload;
    unsigned payload_words;
};

/* Writes it, whether there is room or not, and signals the host. */
void vmbus_send(struct vmbus_channel* channel, const struct vmbus_packet* packet);
void vmbus_signal(const struct vmbus_channel* channel);
/*
 * Waits for the next packet from the host; \return its type, or 0 if none comes. As much of its
 * payload as there is room for is copied.
 */
unsigned vmbus_receive(struct vmbus_channel* channel, uint64_t* payload, unsigned most_words);
