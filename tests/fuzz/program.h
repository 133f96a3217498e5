/* SPDX-License-Identifier: MIT */
/*
 * Programs, which the fuzzer runs, mutates, keeps and prints.
 *
 * A program is a list of calls with numbers as arguments. Every number is valid: for a
 * slot (of a memfd, a buffer, a view, an importer) it is taken modulo the number of slots,
 * and an empty slot is a bad descriptor. So anything may be added, removed or changed.
 *
 * As text, a call is a line; "# ..." is a remark, and empty lines separate the programs of
 * a file:
 *
 *	memfd m0 0x0 0x4000 0x2
 *	udmabuf d0 m0 0x1 0x0 0x4000
 *	1: close d0
 *
 * Calls of thread 0 before the first call of another thread are made first. From there on
 * the threads run side by side.
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
 * struct rng - random numbers from a seed
 * @state: not 0
 */
struct rng {
	__u64 state;
};

/* The numbers differ for each seed, and for each stream of a seed. */
struct rng rng_make(__u64 seed, __u64 stream);

/* Returns a number below @limit, or any number if that is 0. */
__u64 rng_below(struct rng *rng, __u64 limit);

/* Makes a new program. */
void program_generate(struct program *p, struct rng *rng);

/* Appends @other, as far as there is room. */
void program_join(struct program *p, const struct program *other);

/* Changes @p a little, or appends a part of @other. */
void program_mutate(struct program *p, const struct program *other,
		    struct rng *rng);

void program_remove(struct program *p, unsigned int call);

void program_write(const struct program *p, FILE *to);

/*
 * Reads the next program of a file. Returns 1, 0 at the end, or -1 after it printed what is
 * wrong. @line counts lines for that message.
 */
int program_read(struct program *p, FILE *from, const char *name,
		 unsigned int *line);

#endif /* FUZZ_PROGRAM_H */
