/* SPDX-License-Identifier: MIT */
/*
 * Signals tell what a program made the kernel do: it reached a place in dmabufx (KCOV), or a
 * call had a result that it did not have before. Without KCOV there are only the latter.
 */
#ifndef FUZZ_COVER_H
#define FUZZ_COVER_H

#include <linux/types.h>
#include <stdbool.h>

#define MAX_TEXT	(2u << 20)	/* bytes of code in the module */
#define MAX_OUTCOMES	(64u * 256)
#define NR_SIGNALS	(MAX_TEXT + MAX_OUTCOMES)

/* Finds the module's code; called once. Returns whether there is KCOV. */
bool cover_init(void);

/* Called once in each worker, for that many threads. */
void cover_open(unsigned int threads);

/* A thread calls these before its first and after its last call. */
void cover_start(unsigned int thread);
void cover_stop(void);

/* A child made by fork() calls this, for KCOV does not follow it. */
void cover_forget(void);

/* Called before and after each call. */
void cover_before_call(void);
void cover_after_call(unsigned int type, long ret);

/**
 * struct signals - signals of many programs
 * @seen: whether each was given, by number
 */
struct signals {
	__u8 seen[NR_SIGNALS];
};

/* Collects the signals of all later programs here. */
void cover_collect_into(struct signals *signals);

#define MAX_FRESH	4096

/**
 * struct fresh - new signals of a program
 * @nr: how many
 * @places: how many of them are places in the module
 * @signal: their numbers
 */
struct fresh {
	unsigned int nr;
	unsigned int places;
	__u32 signal[MAX_FRESH];
};

/* Begins a program; returns its new signals. */
void cover_program(void);
struct fresh cover_fresh(void);

/* Whether the program since cover_program() gave all these signals. */
bool cover_reached(const struct fresh *fresh);

/* The number of signals that are places in the module. */
unsigned int cover_places(const struct signals *signals);

#endif /* FUZZ_COVER_H */
