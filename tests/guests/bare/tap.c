/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/guests/bare/tap.h"

#include "tests/guests/bare/bare.h"

static unsigned count;

static void say_found(const char* what, uint64_t found, const char* expected, uint64_t value) {
    bare_print("not ok %u - %s: found %llx, expected %s%llx\n", count, what,
        (unsigned long long)found, expected, (unsigned long long)value);
}

void check(const char* what, bool holds) {
    bare_print("%s %u - %s\n", holds ? "ok" : "not ok", ++count, what);
}

void check_equal(const char* what, uint64_t found, uint64_t expected) {
    if (found == expected) {
        check(what, true);
        return;
    }
    ++count;
    say_found(what, found, "", expected);
}

void check_at_least(const char* what, uint64_t found, uint64_t least) {
    if (found >= least) {
        check(what, true);
        return;
    }
    ++count;
    say_found(what, found, "at least ", least);
}

void check_skipped(const char* what, const char* reason) {
    bare_print("ok %u - %s # SKIP %s\n", ++count, what, reason);
}

static char words[128];

static unsigned append(unsigned size, const char* part) {
    while (*part != 0 && size < sizeof words - 1) {
        words[size++] = *part++;
    }
    words[size] = 0;
    return size;
}

const char* check_words(const char* subject, const char* what) {
    (void)append(append(append(0, subject), " "), what);
    return words;
}

void check_plan(void) {
    bare_print("1..%u\ndone\n", count);
}
