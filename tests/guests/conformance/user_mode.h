/* SPDX-License-Identifier: Apache-2.0 */
/* Code at CPL 3, on the first processor. */
#pragma once

/* Makes all of memory the user's as well, and gives the processor what it needs to come back. */
void user_mode_allow(void);
/* Calls `code` at CPL 3; \return the exception that this has led to. */
int user_mode_call(const void* code);
