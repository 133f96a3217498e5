/* SPDX-License-Identifier: MIT */
/*
 * What a program made the kernel do, as signals: a place in dmabufx that was
 * reached (KCOV), or a call with an outcome that it did not have before. Where
 * the kernel has no KCOV there are only the latter.
 */
#ifndef FUZZ_COVER_H
#define FUZZ_COVER_H

#include <linux/types.h>
#include <stdbool.h>

#define MAX_TEXT	(2u << 20)	/* bytes of code in the module */
#define MAX_OUTCOMES	(64u * 256)
#define NR_SIGNALS	(MAX_TEXT + MAX_OUTCOMES)

/* Once: finds the module's code. Returns whether there is KCOV. */
bool cover_init(void);

/* Once in each worker, for that many threads. */
void cover_open(unsigned int threads);

/* In a thread that makes calls, before the first and after the last of them. */
void cover_start(unsigned int thread);
void cover_stop(void);

/* In a child made by fork(), which KCOV does not follow. */
void cover_forget(void);

/* Before and after a call. */
void cover_before_call(void);
void cover_after_call(unsigned int type, long ret);

/**
 * struct signals - what was seen, over many programs
 * @seen: by number
 */
struct signals {
	__u8 seen[NR_SIGNALS];
};

/* Where signals of the programs from here on are put down. */
void cover_collect_into(struct signals *signals);

#define MAX_FRESH	4096

/**
 * struct fresh - what was new in a program
 * @nr: signals
 * @places: of them, places in the module
 * @signal: which
 */
struct fresh {
	unsigned int nr;
	unsigned int places;
	__u32 signal[MAX_FRESH];
};

/* A program begins; what was new in it. */
void cover_program(void);
struct fresh cover_fresh(void);

/* Whether the program since cover_program() reached all of these. */
bool cover_reached(const struct fresh *fresh);

/* Places in the module among signals. */
unsigned int cover_places(const struct signals *signals);

#endif /* FUZZ_COVER_H */
