/* SPDX-License-Identifier: MIT */
/*
 * What must be as it was when no program runs: pins, dma-bufs, memory, and what
 * the user is charged for. And what the kernel has said.
 */
#ifndef FUZZ_STATE_H
#define FUZZ_STATE_H

#include <stdbool.h>

/* Takes the present state for the right one from here on, and the log for read. */
void state_init(void);

/* Whether the kernel has reported trouble since; prints it. */
bool state_log_is_bad(void);

/* Waits for the state to be right again. Prints what is not. */
bool state_is_bad(void);

/*
 * The last word of a kernel that watches: unreferenced memory, locks that are no
 * longer checked. Takes some seconds, or none on other kernels.
 */
bool state_conclusion_is_bad(void);

#endif /* FUZZ_STATE_H */
