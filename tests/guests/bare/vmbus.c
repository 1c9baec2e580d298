/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/guests/bare/vmbus.h"

#include "abi/hypercall.h"
#include "abi/message.h"
#include "abi/msr.h"
#include "abi/status.h"
#include "abi/synic.h"
#include "hv/c/croft_hv.h"

#define MESSAGE_CONNECTION 4u /* from version 5.0 */
#define MESSAGE_TYPE 1u
#define MESSAGE_SINT 2u
#define SINT_MASKED (1ull << 16)
#define SINT_VECTOR 0x50u

enum {
    OFFER_CHANNEL = 1,
    REQUEST_OFFERS = 3,
    ALL_OFFERS_DELIVERED = 4,
    OPEN_CHANNEL = 5,
    OPEN_CHANNEL_RESULT = 6,
    CLOSE_CHANNEL = 7,
    GPADL_HEADER = 8,
    GPADL_CREATED = 10,
    GPADL_TEARDOWN = 11,
    GPADL_TORNDOWN = 12,
    INITIATE_CONTACT = 14,
    VERSION_RESPONSE = 15,
};

/* All messages are of words of 32 bits, the first of which says what they are. */
#define MESSAGE_WORDS (HV_MESSAGE_PAYLOAD_BYTE_COUNT / 4)

#define MOST_CHANNELS 8u

static _Alignas(BARE_PAGE_SIZE) char hypercall_page[BARE_PAGE_SIZE];
static _Alignas(BARE_PAGE_SIZE) volatile struct hv_message_page message_page;
static _Alignas(BARE_PAGE_SIZE) volatile uint32_t post_input[BARE_PAGE_SIZE / 4];
static _Alignas(BARE_PAGE_SIZE) struct vmbus_ring rings[2 * MOST_CHANNELS];
static unsigned rings_used;
static struct croft_hv hv;

static uint64_t address_of(const volatile void* at) {
    return (uintptr_t)at;
}

/* ---- Waiting: what doesn't come within half a minute won't ---- */

#define PATIENCE 300000000ull /* in 100 ns */

static uint64_t wait_begun;

static void begin_to_wait(void) {
    wait_begun = bare_read_msr(HV_X64_MSR_TIME_REF_COUNT);
}

static bool may_wait(void) {
    bare_pause();
    return bare_read_msr(HV_X64_MSR_TIME_REF_COUNT) - wait_begun < PATIENCE;
}

/* ---- Messages ---- */

static bool post(const uint32_t* message, unsigned words) {
    post_input[0] = MESSAGE_CONNECTION;
    post_input[1] = 0;
    post_input[2] = MESSAGE_TYPE;
    post_input[3] = words * 4;
    for (unsigned i = 0; i < words; ++i) {
        post_input[4 + i] = message[i];
    }
    begin_to_wait();
    uint16_t status = 0;
    do {
        status =
            croft_hv_status(croft_hv_call(&hv, HVCALL_POST_MESSAGE, 0, address_of(post_input), 0));
    } while (status == HV_STATUS_INSUFFICIENT_BUFFERS && may_wait());
    return status == HV_STATUS_SUCCESS;
}

/* The next message, and its slot is free again. */
static bool take_message(uint32_t* message) {
    volatile struct hv_message* const slot = &message_page.sint_message[MESSAGE_SINT];
    begin_to_wait();
    while (slot->header.message_type == HVMSG_NONE) {
        if (!may_wait()) {
            return false;
        }
    }
    for (unsigned i = 0; i < MESSAGE_WORDS; ++i) {
        message[i] = ((const volatile uint32_t*)slot->payload)[i];
    }
    slot->header.message_type = HVMSG_NONE;
    bare_write_msr(HV_X64_MSR_EOM, 0);
    return true;
}

/* The next message of that type; others are passed over. */
static bool wait_for_message(uint32_t type, uint32_t* message) {
    do {
        if (!take_message(message)) {
            return false;
        }
    } while (message[0] != type);
    return true;
}

bool vmbus_connect(uint32_t version) {
    if (croft_hv_find(NULL) != CROFT_HV_OK ||
        croft_hv_set_up(&hv, hypercall_page, address_of(hypercall_page),
            croft_hv_open_source_identity(0x7f, 0, 1, 0)) != CROFT_HV_OK) {
        return false;
    }
    bare_write_msr(HV_X64_MSR_SIMP, address_of(&message_page) | HV_MSR_PAGE_ENABLE);
    bare_write_msr(HV_X64_MSR_SINT0 + MESSAGE_SINT, SINT_MASKED | SINT_VECTOR);
    bare_write_msr(HV_X64_MSR_SCONTROL, 1);
    /* The host's messages to this processor, by that SINT; no monitor pages. */
    const uint32_t contact[10] = {INITIATE_CONTACT, 0, version, 0, MESSAGE_SINT};
    uint32_t answer[MESSAGE_WORDS];
    return post(contact, 10) && wait_for_message(VERSION_RESPONSE, answer) &&
        (answer[2] & 0xff) == 1;
}

unsigned vmbus_request_offers(struct vmbus_channel* channels, unsigned most) {
    const uint32_t request[2] = {REQUEST_OFFERS};
    uint32_t message[MESSAGE_WORDS] = {0};
    unsigned count = 0;
    bool more = post(request, 2);
    while (more && take_message(message) && message[0] != ALL_OFFERS_DELIVERED) {
        if (message[0] == OFFER_CHANNEL && count < most) {
            channels[count++] = (struct vmbus_channel){
                .interface_type = message[2], .relid = message[46], .connection = message[48]};
        }
    }
    return message[0] == ALL_OFFERS_DELIVERED ? count : 0;
}

/* ---- Channels ---- */

bool vmbus_make_rings(struct vmbus_channel* channel) {
    if (channel->out == NULL) {
        if (rings_used == 2 * MOST_CHANNELS) {
            return false;
        }
        channel->out = &rings[rings_used++];
        channel->in = &rings[rings_used++];
    }
    for (unsigned i = 0; i < 2; ++i) {
        struct vmbus_ring* const ring = i == 0 ? channel->out : channel->in;
        ring->write_index = ring->read_index = 0;
        ring->interrupt_mask = ring->pending_send_size = 0;
        ring->feature_bits = 1;
    }
    return true;
}

/* Of both rings, which follow each other; its number is the channel's. */
static bool make_gpadl(const struct vmbus_channel* channel) {
    enum { pages = 2 * VMBUS_RING_PAGES, range_bytes = 8 + 8 * pages };
    uint32_t message[5 + range_bytes / 4] = {GPADL_HEADER, 0, channel->relid, channel->relid,
        range_bytes | 1u << 16, pages * BARE_PAGE_SIZE, 0};
    for (uint32_t i = 0; i < pages; ++i) {
        message[7 + 2 * i] = (uint32_t)(address_of(channel->out) / BARE_PAGE_SIZE) + i;
    }
    uint32_t answer[MESSAGE_WORDS];
    return post(message, sizeof message / 4) && wait_for_message(GPADL_CREATED, answer) &&
        answer[4] == 0;
}

bool vmbus_open(struct vmbus_channel* channel) {
    if (!make_gpadl(channel)) {
        return false;
    }
    const uint32_t message[37] = {
        OPEN_CHANNEL, 0, channel->relid, 0, channel->relid, 0, VMBUS_RING_PAGES};
    uint32_t answer[MESSAGE_WORDS];
    return post(message, 37) && wait_for_message(OPEN_CHANNEL_RESULT, answer) && answer[4] == 0;
}

bool vmbus_close(struct vmbus_channel* channel) {
    const uint32_t close[3] = {CLOSE_CHANNEL, 0, channel->relid};
    const uint32_t teardown[4] = {GPADL_TEARDOWN, 0, channel->relid, channel->relid};
    uint32_t answer[MESSAGE_WORDS];
    return post(close, 3) && post(teardown, 4) && wait_for_message(GPADL_TORNDOWN, answer);
}

/* ---- Packets ---- */

static uint32_t advance(uint32_t index, uint32_t bytes) {
    return (index + bytes) % VMBUS_RING_BYTES;
}

static uint32_t put(struct vmbus_ring* ring, uint32_t index, uint64_t word) {
    ring->data[index / 8] = word;
    return advance(index, 8);
}

void vmbus_send(struct vmbus_channel* channel, const struct vmbus_packet* packet) {
    struct vmbus_ring* const ring = channel->out;
    const uint32_t start = ring->write_index;
    const uint64_t offset8 = 2 + packet->header_words;
    const uint64_t length8 = offset8 + packet->payload_words;
    uint32_t index = put(
        ring, start, packet->type | offset8 << 16 | length8 << 32 | (uint64_t)packet->flags << 48);
    index = put(ring, index, packet->transaction);
    for (unsigned i = 0; i < packet->header_words; ++i) {
        index = put(ring, index, packet->header[i]);
    }
    for (unsigned i = 0; i < packet->payload_words; ++i) {
        index = put(ring, index, packet->payload[i]);
    }
    index = put(ring, index, (uint64_t)start << 32);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    ring->write_index = index;
    vmbus_signal(channel);
}

void vmbus_signal(const struct vmbus_channel* channel) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    (void)croft_hv_call_fast(&hv, HVCALL_SIGNAL_EVENT, channel->connection, 0);
}

unsigned vmbus_receive(struct vmbus_channel* channel, uint64_t* payload, unsigned most_words) {
    struct vmbus_ring* const ring = channel->in;
    const uint32_t start = ring->read_index;
    begin_to_wait();
    while (ring->write_index == start) {
        if (!may_wait()) {
            return 0;
        }
    }
    const uint64_t descriptor = ring->data[start / 8];
    const unsigned offset8 = (unsigned)(descriptor >> 16) & 0xffff;
    const unsigned length8 = (unsigned)(descriptor >> 32) & 0xffff;
    for (unsigned i = offset8; i < length8 && i - offset8 < most_words; ++i) {
        payload[i - offset8] = ring->data[advance(start, 8 * i) / 8];
    }
    ring->read_index = advance(start, 8 * (length8 + 1));
    return (unsigned)descriptor & 0xffff;
}
