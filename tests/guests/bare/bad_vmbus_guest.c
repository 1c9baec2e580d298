/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that breaks one channel of VMBus after the other: rings that are no rings when they are
 * opened, and later, a packet longer than the ring has, a frame of RNDIS that lies outside its
 * message, a SCSI command longer than its field. It says which channel it is each time, and a line
 * on its console has it go on: the disk, which others' ends haven't disturbed, is opened anew.
 *
 * Layouts as in Linux, drivers/scsi/storvsc_drv.c and drivers/net/hyperv/hyperv_net.h.
 */
#include "tests/guests/bare/bare.h"
#include "tests/guests/bare/tap.h"
#include "tests/guests/bare/vmbus.h"

static struct vmbus_channel channels[16];
static unsigned channel_count;

/* The `number`th of that interface. */
static struct vmbus_channel* find(uint32_t interface_type, unsigned number) {
    for (unsigned i = 0; i < channel_count; ++i) {
        if (channels[i].interface_type == interface_type && number-- == 0) {
            return &channels[i];
        }
    }
    return NULL;
}

static struct vmbus_channel* opened(const char* name, uint32_t interface_type, unsigned number) {
    struct vmbus_channel* const channel = find(interface_type, number);
    const bool is_open = channel != NULL && vmbus_make_rings(channel) && vmbus_open(channel);
    check(check_words(name, "is opened"), is_open);
    return is_open ? channel : NULL;
}

static void say_broken(const char* how, const struct vmbus_channel* channel) {
    bare_print("%s: channel %u\n", how, (unsigned)channel->relid);
}

/* ---- Storage ---- */

enum {
    EXECUTE_SRB = 3,
    BEGIN_INITIALIZATION = 7,
    END_INITIALIZATION = 8,
    QUERY_VERSION = 9,
    QUERY_PROPERTIES = 10,
};
#define STORAGE_VERSION 0x0602u
#define STORAGE_WORDS 8u /* of struct vstor_packet */
#define SCSI_READ_10 0x28u
#define BLOCK_BYTES 512u
#define DATA_IN 1u

static _Alignas(BARE_PAGE_SIZE) volatile uint64_t block[BARE_PAGE_SIZE / 8];

/* Sends a packet whose first words are these; \return whether it is completed without an error. */
static bool ask(struct vmbus_channel* disk, uint64_t operation, uint64_t body) {
    /* The operation and its flags, then the status, with the body's first 4 bytes above it. */
    const uint64_t words[STORAGE_WORDS] = {operation, body << 32};
    vmbus_send(disk,
        &(struct vmbus_packet){.type = VMBUS_PACKET_IN_BAND,
            .flags = VMBUS_COMPLETION_REQUESTED,
            .transaction = operation,
            .payload = words,
            .payload_words = STORAGE_WORDS});
    uint64_t answer[STORAGE_WORDS] = {0};
    return vmbus_receive(disk, answer, STORAGE_WORDS) == VMBUS_PACKET_COMPLETION &&
        (uint32_t)answer[1] == 0;
}

static bool negotiate(struct vmbus_channel* disk) {
    return ask(disk, BEGIN_INITIALIZATION, 0) && ask(disk, QUERY_VERSION, STORAGE_VERSION) &&
        ask(disk, QUERY_PROPERTIES, 0) && ask(disk, END_INITIALIZATION, 0);
}

/* Reads the first block of the first unit, with a CDB of so many bytes by its own account. */
static void send_read(struct vmbus_channel* disk, uint8_t cdb_bytes) {
    const uint64_t ranges[3] = {1ull << 32, BLOCK_BYTES, (uintptr_t)block / BARE_PAGE_SIZE};
    uint64_t words[STORAGE_WORDS] = {EXECUTE_SRB};
    uint8_t* const request = (uint8_t*)words + 12; /* struct vmscsi_request */
    request[0] = 52;
    request[8] = cdb_bytes;
    request[9] = 20; /* room for sense data */
    request[10] = DATA_IN;
    request[12] = (uint8_t)BLOCK_BYTES;
    request[13] = BLOCK_BYTES >> 8;
    request[16] = SCSI_READ_10;
    request[16 + 8] = 1; /* block */
    vmbus_send(disk,
        &(struct vmbus_packet){.type = VMBUS_PACKET_GPA_DIRECT,
            .flags = VMBUS_COMPLETION_REQUESTED,
            .transaction = EXECUTE_SRB,
            .header = ranges,
            .header_words = 3,
            .payload = words,
            .payload_words = STORAGE_WORDS});
}

/* Whether the disk holds what it was given. Its first answer may be that it is new. */
static bool holds(struct vmbus_channel* disk, const char* text) {
    for (unsigned attempts = 0; attempts < 3; ++attempts) {
        block[0] = 0;
        send_read(disk, 10);
        uint64_t answer[STORAGE_WORDS] = {0};
        if (vmbus_receive(disk, answer, STORAGE_WORDS) != VMBUS_PACKET_COMPLETION) {
            return false;
        }
        const uint8_t scsi_status = ((const uint8_t*)answer)[12 + 3];
        if (scsi_status == 0) {
            const volatile char* found = (const volatile char*)block;
            while (*text != 0 && *text == *found) {
                ++text;
                ++found;
            }
            return *text == 0;
        }
    }
    return false;
}

#define CONTENTS "1\n2\n3\n4\n"

/* ---- What is broken ---- */

static void open_without_rings(void) {
    struct vmbus_channel* const channel = find(VMBUS_HEARTBEAT, 0);
    if (channel == NULL || !vmbus_make_rings(channel)) {
        check("there is a heartbeat", false);
        return;
    }
    channel->out->read_index = 5;
    check("a ring with a bad index isn't opened", !vmbus_open(channel));
    say_broken("bad index at the open", channel);
}

static void lose_an_index(void) {
    struct vmbus_channel* const channel = opened("network 0", VMBUS_NETWORK, 0);
    if (channel != NULL) {
        channel->out->write_index = VMBUS_RING_BYTES;
        vmbus_signal(channel);
        say_broken("bad index", channel);
    }
}

static void send_too_much(void) {
    struct vmbus_channel* const channel = opened("shutdown", VMBUS_SHUTDOWN, 0);
    if (channel != NULL) {
        channel->out->data[0] = VMBUS_PACKET_IN_BAND | 2ull << 16 | 0x700ull << 32;
        channel->out->write_index = 64;
        vmbus_signal(channel);
        say_broken("packet beyond the ring", channel);
    }
}

static _Alignas(BARE_PAGE_SIZE) uint64_t frame[BARE_PAGE_SIZE / 8];

static void send_no_frame(void) {
    enum { message_bytes = 44 + 64, data_offset = 0x10000 };
    struct vmbus_channel* const channel = opened("network 1", VMBUS_NETWORK, 1);
    if (channel == NULL) {
        return;
    }
    /* A packet of RNDIS; its data isn't in it. */
    frame[0] = 1 | (uint64_t)message_bytes << 32;
    frame[1] = data_offset | 64ull << 32;
    const uint64_t ranges[3] = {1ull << 32, message_bytes, (uintptr_t)frame / BARE_PAGE_SIZE};
    /* NVSP_MSG1_TYPE_SEND_RNDIS_PKT, of data, in no section of the send buffer. */
    const uint64_t words[2] = {107, 0xffffffff};
    vmbus_send(channel,
        &(struct vmbus_packet){.type = VMBUS_PACKET_GPA_DIRECT,
            .flags = VMBUS_COMPLETION_REQUESTED,
            .header = ranges,
            .header_words = 3,
            .payload = words,
            .payload_words = 2});
    say_broken("frame beyond its message", channel);
}

static void wait_for_a_key(void) {
    enum { com1 = 0x3f8, line_status = com1 + 5, has_data = 1 };
    while ((bare_in(line_status) & has_data) == 0) {
        bare_pause();
    }
    (void)bare_in(com1);
}

void bare_program(void) {
    check("the host takes version 5.3", vmbus_connect(VMBUS_VERSION_5_3));
    channel_count = vmbus_request_offers(channels, sizeof channels / sizeof channels[0]);
    check_at_least("channels are offered", channel_count, 7);
    struct vmbus_channel* const disk = opened("the disk", VMBUS_SCSI, 0);
    if (disk != NULL) {
        check("the disk's driver is taken", negotiate(disk));
        check("the disk holds what it was given", holds(disk, CONTENTS));
        open_without_rings();
        lose_an_index();
        send_too_much();
        send_no_frame();
        check("the disk goes on when others have ended", holds(disk, CONTENTS));
        send_read(disk, 200);
        say_broken("command beyond its field", disk);
        bare_print("all are broken\n");
        wait_for_a_key();
        check("the disk's memory comes back", vmbus_close(disk));
        check("the disk is opened again", vmbus_make_rings(disk) && vmbus_open(disk));
        check("the disk's driver is taken again", negotiate(disk));
        check("the disk still holds what it was given", holds(disk, CONTENTS));
    }
    check_plan();
}
