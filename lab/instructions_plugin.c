/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plugin of the emulator that counts the instructions that its machine executes, of all
 * privilege levels and guests: socket=PATH is where whoever connects is told how many so far. Time
 * goes on as it does without, and no instruction is where one ends that -icount puts there.
 *
 * A block of instructions that a fault ends early counts as a whole.
 *
 * The interface is QEMU's (docs/devel/tcg-plugins.rst, include/plugins/qemu-plugin.h, version 7);
 * only what is used of it stands here.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct qemu_plugin_tb;
struct qemu_plugin_scoreboard;
typedef struct {
    struct qemu_plugin_scoreboard* score;
    size_t offset;
} qemu_plugin_u64;
enum { QEMU_PLUGIN_INLINE_ADD_U64 };

struct qemu_plugin_scoreboard* qemu_plugin_scoreboard_new(size_t element_size);
uint64_t qemu_plugin_u64_sum(qemu_plugin_u64 entry);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb* block);
void qemu_plugin_register_vcpu_tb_trans_cb(
    uint64_t id, void (*translated)(struct qemu_plugin_tb* block, void* data), void* data);
void qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(
    struct qemu_plugin_tb* block, int operation, qemu_plugin_u64 entry, uint64_t value);

__attribute__((visibility("default"))) int qemu_plugin_version = 7;
__attribute__((visibility("default"))) int qemu_plugin_install(
    uint64_t id, const void* machine, int count, char** arguments);

static qemu_plugin_u64 executed;

static void translated(struct qemu_plugin_tb* block, void* data) {
    (void)data;
    qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(
        block, QEMU_PLUGIN_INLINE_ADD_U64, executed, qemu_plugin_tb_n_insns(block));
}

static void* answer(void* listener) {
    for (;;) {
        const int connection = accept((int)(intptr_t)listener, NULL, NULL);
        if (connection < 0) {
            return NULL;
        }
        (void)dprintf(connection, "%llu\n", (unsigned long long)qemu_plugin_u64_sum(executed));
        (void)close(connection);
    }
}

int qemu_plugin_install(uint64_t id, const void* machine, int count, char** arguments) {
    (void)machine;
    static const char option[] = "socket=";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const bool is_named = count == 1 && strncmp(arguments[0], option, sizeof option - 1) == 0;
    const char* const path = is_named ? arguments[0] + sizeof option - 1 : "";
    const size_t size = strlen(path) + 1;
    if (size == 1 || size > sizeof address.sun_path) {
        (void)fprintf(stderr, "instructions: expected socket=PATH\n");
        return -1;
    }
    memcpy(address.sun_path, path, size);
    const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pthread_t thread;
    if (listener < 0 || bind(listener, (struct sockaddr*)&address, sizeof address) != 0 ||
        listen(listener, 1) != 0 ||
        pthread_create(&thread, NULL, answer, (void*)(intptr_t)listener) != 0) {
        perror("instructions");
        return -1;
    }
    executed.score = qemu_plugin_scoreboard_new(sizeof(uint64_t));
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated, NULL);
    return 0;
}
