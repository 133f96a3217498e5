/* SPDX-License-Identifier: GPL-2.0-only */
/* What the parts of the bench know of each other. */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/udmabuf.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)

/* memory.c: memory that lies as a kind of memory says */

/* How a buffer's memory comes to lie where it lies. */
enum layout {
	FRESH,		/* a memfd first touched in order: neighbours are adjacent */
	SCATTERED,	/* a memfd touched folio by folio, in random order */
	LISTED,		/* a list of pieces of a fresh memfd, in random order */
};

/**
 * struct memory - a kind of memory
 * @name: as results name it
 * @text: as people read it
 * @folio: what it consists of, bytes
 * @hugetlb: hugetlb, not shmem
 * @layout: how it lies
 * @user: the program's own memory, private, instead of a memfd's
 * @max: largest buffer that is measured; what is larger would take too long
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

/* kmem.c: what the kernel has allocated */

bool kmem_start(void);
size_t kmem_stop(void);

#endif /* BENCH_H */
