/* SPDX-License-Identifier: MIT */
/*
 * Programs: what the fuzzer runs, mutates, keeps and prints.
 *
 * A program is a list of calls, each with numbers for arguments. Whatever the
 * numbers are, a call can be made: what is a slot (of a memfd, a buffer, a view,
 * an importer) is taken modulo the number of slots, and an empty slot is a bad
 * descriptor. So anything may be added, removed or changed.
 *
 * As text, a call is a line; "# ..." is a remark, and programs in one file are
 * separated by empty lines:
 *
 *	memfd m0 0x0 0x4000 0x2
 *	udmabuf d0 m0 0x1 0x0 0x4000
 *	1: close d0
 *
 * Calls of thread 0 before the first of another thread are made first; from
 * there on the threads run beside each other.
 */
#ifndef FUZZ_PROGRAM_H
#define FUZZ_PROGRAM_H

#include <linux/types.h>
#include <stdbool.h>
#include <stdio.h>

#define MAX_CALLS	64
#define MAX_ARGS	6
#define MAX_THREADS	3

struct call {
	__u8 type;	/* index into call_types */
	__u8 thread;
	__u64 arg[MAX_ARGS];
};

struct program {
	unsigned int nr;
	struct call call[MAX_CALLS];
};

/**
 * struct rng - random numbers that a seed decides
 * @state: not 0
 */
struct rng {
	__u64 state;
};

/* Different for each seed and each of its streams. */
struct rng rng_make(__u64 seed, __u64 stream);

/* A number below @limit, or any if that is 0. */
__u64 rng_below(struct rng *rng, __u64 limit);

/* A program from nothing. */
void program_generate(struct program *p, struct rng *rng);

/* What @other does, after @p, as far as there is room. */
void program_join(struct program *p, const struct program *other);

/* Changes @p a little, or joins it to a piece of @other. */
void program_mutate(struct program *p, const struct program *other,
		    struct rng *rng);

void program_remove(struct program *p, unsigned int call);

void program_write(const struct program *p, FILE *to);

/*
 * Reads the next program of a file: 1, 0 at its end, or -1 after saying what is
 * wrong. @line counts lines, for that.
 */
int program_read(struct program *p, FILE *from, const char *name,
		 unsigned int *line);

#endif /* FUZZ_PROGRAM_H */
