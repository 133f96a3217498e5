/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memfds of every kind of memory that a dma-buf may consist of, and patterns
 * whose every word tells where it belongs.
 */
#ifndef TESTS_MEMORY_H
#define TESTS_MEMORY_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#define KIB(n) ((__u64)(n) << 10)
#define MIB(n) ((__u64)(n) << 20)
#define GIB(n) ((__u64)(n) << 30)
#define PAGE KIB(4)

enum memory_kind {
	SHMEM_4K,	/* single pages */
	SHMEM_64K,	/* large folios smaller than a PMD's (mTHP) */
	SHMEM_2M,	/* transparent huge pages */
	HUGETLB_2M,
	HUGETLB_1G,
	MEMORY_KINDS,
};

/**
 * struct memory - a memfd
 * @kind: what it consists of
 * @folio: bytes in each of its folios
 * @fd: sealed against shrinking
 * @size: bytes, a multiple of @folio
 * @map: all of it, shared and writable, or NULL after memory_unmap()
 * @id: different for each memfd of a test; part of its pattern
 */
struct memory {
	enum memory_kind kind;
	size_t folio;
	int fd;
	size_t size;
	char *map;
	unsigned int id;
};

const char *memory_name(enum memory_kind kind);
size_t memory_folio(enum memory_kind kind);

/*
 * Makes a populated memfd of this kind, and verifies that its folios are what
 * was asked for. The test is skipped where the machine cannot have them. The
 * size is rounded up to whole folios.
 */
struct memory memory_make(enum memory_kind kind, size_t size);

/* The same without memory in it: holes, mapped, of ordinary pages. */
struct memory memory_make_holes(enum memory_kind kind, size_t size);

/* No mapping of ours is left: only the memfd. */
void memory_unmap(struct memory *mem);
void memory_free(struct memory *mem);

/* Bytes that are not holes. */
size_t memory_populated(const struct memory *mem);

/* The page frame behind a mapped address; 0 for none. */
__u64 page_frame(const void *address);

/* Whether the kernel knows the frame to be broken. */
bool page_is_poisoned(__u64 frame);

/*
 * The pattern of memfd @id, as written by pass @pass, from byte @offset of
 * the memfd on. Offset and length are multiples of 8.
 */
void pattern_fill(void *to, unsigned int pass, unsigned int id,
		  __u64 offset, size_t len);

/* Fails the test with where the found words really belong. */
void pattern_check(const void *found, unsigned int pass, unsigned int id,
		   __u64 offset, size_t len, const char *who);

#endif /* TESTS_MEMORY_H */
