/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks of a bare guest, said in TAP, the Test Anything Protocol (https://testanything.org). The
 * words say what is to hold, and no other check of the program has the same.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

void check(const char* what, bool holds);
void check_equal(const char* what, uint64_t found, uint64_t expected);
void check_at_least(const char* what, uint64_t found, uint64_t least);
/* One that can't be made, and why. */
void check_skipped(const char* what, const char* reason);

/* Words for the checks of one of several subjects: good until the next call. */
const char* check_words(const char* subject, const char* what);

/* The plan, which is what says that all checks were made; then "done". */
void check_plan(void);
