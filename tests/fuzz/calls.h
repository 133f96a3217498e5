/* SPDX-License-Identifier: MIT */
/*
 * The calls that programs are made of, and the slots that they work on: memfds,
 * dma-bufs, views (places in the address space) and importers.
 */
#ifndef FUZZ_CALLS_H
#define FUZZ_CALLS_H

#include <setjmp.h>
#include <stdbool.h>

#include "program.h"

/**
 * struct call_type - a kind of call
 * @name: in a program's text
 * @args: what each argument is:
 *	m, d, v, i	a slot of a memfd, buffer, view, importer
 *	o, s		an offset, a size, in bytes
 *	p		PROT_*
 *	k		a small number
 *	x		flags: few bits
 *	q		what is wrong with the request, mostly nothing (0)
 *	r		any number, the likes of which break things
 * @weight: how often it is generated
 * @run: makes the call; at least 0, or -errno
 */
struct call_type {
	const char *name;
	const char *args;
	unsigned int weight;
	long (*run)(const __u64 *arg);
};

extern const struct call_type call_types[];
extern const unsigned int nr_call_types;

/* The index of the one called @name, or -1. */
int call_type_find(const char *name);

/*
 * Once for each process that runs programs: opens what it needs for as long as
 * it lives. @huge: the descriptor of a populated memfd of 1 GiB pages, or -1.
 */
void calls_prepare(int huge);

/* Before and after each program. */
void calls_begin(void);
void calls_end(void);

/* The calls that are not made by a function: "fork N MICROSECONDS". */
extern int fork_type;

#endif /* FUZZ_CALLS_H */
