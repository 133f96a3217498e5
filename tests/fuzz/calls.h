/* SPDX-License-Identifier: MIT */
/*
 * The calls of programs, and the slots that they work on: memfds, dma-bufs, views (places
 * in the address space) and importers.
 */
#ifndef FUZZ_CALLS_H
#define FUZZ_CALLS_H

#include <setjmp.h>
#include <stdbool.h>

#include "program.h"

/**
 * struct call_type - a kind of call
 * @name: its name in the text of a program
 * @args: the kind of each argument:
 *	m, d, v, i	a slot of a memfd, buffer, view, importer
 *	o, s		an offset, a size, in bytes
 *	p		PROT_*
 *	k		a small number
 *	x		flags: few bits
 *	q		an error in the request, mostly none (0)
 *	r		any number, preferably one that breaks something
 * @weight: how often it is generated
 * @run: makes the call; returns a number from 0 on, or -errno
 */
struct call_type {
	const char *name;
	const char *args;
	unsigned int weight;
	long (*run)(const __u64 *arg);
};

extern const struct call_type call_types[];
extern const unsigned int nr_call_types;

/* The index of the type called @name, or -1. */
int call_type_find(const char *name);

/*
 * Opens what calls need, once for each process that runs programs. @huge: descriptor of a
 * populated memfd of 1 GiB pages, or -1.
 */
void calls_prepare(int huge);

/* Call these before and after each program. */
void calls_begin(void);
void calls_end(void);

/* The type of the call "fork N MICROSECONDS", which has no function. */
extern int fork_type;

#endif /* FUZZ_CALLS_H */
