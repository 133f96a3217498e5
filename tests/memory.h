/* SPDX-License-Identifier: MIT */
/*
 * Memory of every kind that a dma-buf may consist of, memfds and other, and
 * patterns whose every word tells where it belongs.
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
	/* The same as private, anonymous memory, no memfds. */
	ANON_4K,
	ANON_64K,
	ANON_2M,
	ANON_HUGETLB_2M,
	ANON_HUGETLB_1G,
	MEMORY_KINDS,
};

/**
 * struct memory - a memfd, or memory of this process
 * @kind: what it consists of
 * @folio: bytes in each of its folios
 * @fd: sealed against shrinking; -1 where there is no memfd
 * @size: bytes, a multiple of @folio
 * @map: all of it, shared and writable, or NULL after memory_unmap()
 * @id: different for each memory of a test; part of its pattern
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
 * Makes populated memory of this kind, and verifies that its folios are what
 * was asked for. The test is skipped where the machine cannot have them. The
 * size is rounded up to whole folios.
 */
struct memory memory_make(enum memory_kind kind, size_t size);

/* The same without memory in it: holes, mapped, of ordinary pages. */
struct memory memory_make_holes(enum memory_kind kind, size_t size);

/* The same, filled with the pattern of pass 1. */
struct memory memory_make_patterned(enum memory_kind kind, size_t size);

/* A memfd of this kind with these F_SEAL_*, not populated. */
int memfd_make(enum memory_kind kind, size_t size, unsigned int seals);

/* What memfd_secret() makes; the test is skipped where the kernel has it not. */
int memfd_make_secret(size_t size);

/* Opens the file of @fd once more, with these flags and O_CLOEXEC. */
int file_reopen(int fd, int flags);

/* What is mapped at @map, as memory of its own: it has no memfd. */
struct memory memory_at(void *map, size_t size);

/* The memory of a memfd, by its addresses alone. The memfd stays @mem's. */
struct memory memory_as_user(const struct memory *mem);

/* Transparent huge pages, hence huge entries; or the test is skipped. */
bool kernel_has_thp(void);
void needs_thp(void);

/* Whether it lies in one folio from @offset on, and nothing else does. */
bool memory_is_folio(const struct memory *mem, size_t offset);

/* An unfrequented place, aligned so that large folios fit. */
void *map_at_aligned_place(int fd, size_t size, size_t align, int flags);

/* No mapping of ours is left: only the memfd. */
void memory_unmap(struct memory *mem);
void memory_free(struct memory *mem);

/* Makes this range of the memfd a hole. */
void memory_punch(const struct memory *mem, size_t offset, size_t size);

/* Bytes that are not holes. */
size_t memory_populated(const struct memory *mem);

/*
 * A file of this size that nobody else can open, on a disk of some kind: in the
 * current directory. The test is skipped where that is in memory.
 */
int file_on_disk(size_t size);

/* How many pages of the first @size bytes of a file stay in memory though they may go. */
size_t file_pages_that_stay(int file, size_t size);

/* Reads or writes a byte; returns the signal that this ends in, or 0. */
int touch(char *address, bool write);

/*
 * A page of private memory that is not there: whoever touches it waits until it is
 * given, and then has these contents. The test is skipped without userfaultfd.
 */
struct withheld {
	char *page;
	int uffd;
};

struct withheld page_withhold(char *page);
void page_give(const struct withheld *withheld, const void *contents);

/* Returns when somebody waits for it. */
void page_is_awaited(const struct withheld *withheld);

/* The page frame behind a mapped address; 0 for none. */
__u64 page_frame(const void *address);

/* Whether the kernel knows the frame to be broken. */
bool page_is_poisoned(__u64 frame);

/* Has the machine find a frame broken; the test is skipped where it cannot. */
void page_poison(__u64 frame);

/*
 * Makes a free frame good again. One that stayed marked would be handed out,
 * as a part of a larger piece of memory, to whoever asks next.
 */
void page_unpoison(__u64 frame);

/*
 * The pattern of memory @id, as written by pass @pass, from byte @offset of
 * it on. Offset and length are multiples of 8.
 */
void pattern_fill(void *to, unsigned int pass, unsigned int id,
		  __u64 offset, size_t len);

/* Fails the test with where the found words really belong. */
void pattern_check(const void *found, unsigned int pass, unsigned int id,
		   __u64 offset, size_t len, const char *who);

#endif /* TESTS_MEMORY_H */
