/* SPDX-License-Identifier: MIT */
/*
 * State that must be as before when no program runs: pins, dma-bufs, memory, and the
 * user's charges. And the kernel's log.
 */
#ifndef FUZZ_STATE_H
#define FUZZ_STATE_H

#include <stdbool.h>

/* Takes the present state as the right one, and ignores the log so far. */
void state_init(void);

/* Whether the kernel has reported anything since; prints the reports. */
bool state_log_is_bad(void);

/* Waits for the right state. Prints what differs. */
bool state_is_bad(void);

/*
 * The checks of a debug kernel at the end: lost memory, locks that are no longer checked.
 * Takes some seconds there, no time on other kernels.
 */
bool state_conclusion_is_bad(void);

#endif /* FUZZ_STATE_H */
