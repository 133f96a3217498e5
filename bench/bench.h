/* SPDX-License-Identifier: GPL-2.0-only */
/* The interfaces between the parts of the bench. */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/udmabuf.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)

/* memory.c: memory with a chosen layout */

/* Physical layout of a buffer's memory. */
enum layout {
	FRESH,		/* a memfd that is first touched in order: neighbours are adjacent */
	SCATTERED,	/* a memfd that is touched folio by folio, in random order */
	LISTED,		/* a list of pieces of a fresh memfd, in random order */
};

/**
 * struct memory - a kind of memory
 * @name: its name in results
 * @text: its description for people
 * @folio: size of its folios, bytes
 * @hugetlb: hugetlb, not shmem
 * @layout: its physical layout
 * @user: private memory of the program instead of a memfd's
 * @max: largest buffer to measure; larger ones would take too long
 */
struct memory {
	const char *name;
	const char *text;
	size_t folio;
	bool hugetlb;
	enum layout layout;
	bool user;
	size_t max;
};

char *map_aligned(size_t size, int fd);
int memory_create(const struct memory *mem, size_t size);
void *memory_map_user(const struct memory *mem, size_t size);
struct udmabuf_create_list *memory_list(const struct memory *mem, int memfd,
					size_t size);

/* kmem.c: memory that the kernel has allocated */

bool kmem_start(void);
size_t kmem_stop(void);

#endif /* BENCH_H */
