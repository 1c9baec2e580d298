/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/guests/bare/bare.h"

#include <stdarg.h>

#define COM1 0x3f8u
#define COM1_LINE_STATUS (COM1 + 5u)
#define LINE_STATUS_EMPTY 0x20u

static void put(char letter) {
    while ((bare_in(COM1_LINE_STATUS) & LINE_STATUS_EMPTY) == 0) {
    }
    bare_out(COM1, (uint8_t)letter);
}

static void put_hexadecimal(uint64_t value) {
    bool begun = false;
    for (unsigned shift = 64; shift > 0;) {
        shift -= 4;
        const unsigned digit = (unsigned)(value >> shift) & 0xf;
        begun |= digit != 0 || shift == 0;
        if (begun) {
            put("0123456789abcdef"[digit]);
        }
    }
}

/* Without a division, which compilers leave to a library where the word is too long. */
static void put_decimal(uint64_t value) {
    static const uint64_t powers[] = {10000000000000000000u, 1000000000000000000u,
        100000000000000000u, 10000000000000000u, 1000000000000000u, 100000000000000u,
        10000000000000u, 1000000000000u, 100000000000u, 10000000000u, 1000000000u, 100000000u,
        10000000u, 1000000u, 100000u, 10000u, 1000u, 100u, 10u, 1u};
    bool begun = false;
    for (unsigned i = 0; i < sizeof powers / sizeof powers[0]; ++i) {
        unsigned digit = 0;
        for (; value >= powers[i]; value -= powers[i]) {
            ++digit;
        }
        begun |= digit != 0 || powers[i] == 1;
        if (begun) {
            put("0123456789"[digit]);
        }
    }
}

void bare_print(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    for (; *format != 0; ++format) {
        if (*format != '%') {
            if (*format == '\n') {
                put('\r');
            }
            put(*format);
            continue;
        }
        const bool is_long = *++format == 'l';
        format += is_long ? 2 : 0;
        if (*format == 's') {
            for (const char* text = va_arg(arguments, const char*); *text != 0; ++text) {
                put(*text);
            }
        } else {
            const uint64_t value =
                is_long ? va_arg(arguments, unsigned long long) : va_arg(arguments, unsigned);
            if (*format == 'x') {
                put_hexadecimal(value);
            } else {
                put_decimal(value);
            }
        }
    }
    va_end(arguments);
}
