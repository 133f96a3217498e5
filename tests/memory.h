/* SPDX-License-Identifier: MIT */
/*
 * Makes all kinds of memory that a dma-buf may consist of, with and without a memfd, and
 * fills it with patterns: each word of a pattern tells where it belongs.
 */
#ifndef TESTS_MEMORY_H
#define TESTS_MEMORY_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <unistd.h>

#define KIB(n) ((__u64)(n) << 10)
#define MIB(n) ((__u64)(n) << 20)
#define GIB(n) ((__u64)(n) << 30)
#define PAGE page_size()
/* The most that a page has, for arrays whose size must be known earlier. */
#define LARGEST_PAGE KIB(64)

/* Bytes in a page of this kernel. */
static inline __attribute__((const)) __u64 page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

enum memory_kind {
	SHMEM_4K,	/* single pages */
	SHMEM_64K,	/* large folios smaller than a PMD's (mTHP) */
	SHMEM_2M,	/* transparent huge pages */
	HUGETLB_2M,
	HUGETLB_1G,
	/* The same as private, anonymous memory, without memfds. */
	ANON_4K,
	ANON_64K,
	ANON_2M,
	ANON_HUGETLB_2M,
	ANON_HUGETLB_1G,
	MEMORY_KINDS,
};

/**
 * struct memory - a memfd, or memory of this process
 * @kind: its folios
 * @folio: size of each folio, bytes
 * @fd: a memfd with F_SEAL_SHRINK, or -1
 * @size: bytes, a multiple of @folio
 * @map: a shared, writable mapping of all of it, or NULL after memory_unmap()
 * @id: differs for each memory of a test; part of its pattern
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
 * Makes memory of this kind and populates it, and verifies that it has such folios. Skips
 * the test where the machine cannot have them. Rounds the size up to whole folios.
 */
struct memory memory_make(enum memory_kind kind, size_t size);

/* The same, mapped but not populated: a memfd of holes, or addresses without memory. */
struct memory memory_make_holes(enum memory_kind kind, size_t size);

/* The same, filled with the pattern of pass 1. */
struct memory memory_make_patterned(enum memory_kind kind, size_t size);

/* A memfd of this kind with these F_SEAL_*, not populated; skips the test without one. */
int memfd_make(enum memory_kind kind, size_t size, unsigned int seals);

/* A descriptor of memfd_secret(); skips the test where the kernel lacks the call. */
int memfd_make_secret(size_t size);

/* Opens the file of @fd again, with these flags and O_CLOEXEC. */
int file_reopen(int fd, int flags);

/* Describes what is mapped at @map as memory without a memfd. */
struct memory memory_at(void *map, size_t size);

/* The same memory of a memfd, to be named by address. @mem keeps the memfd. */
struct memory memory_as_user(const struct memory *mem);

/* Whether the kernel has transparent huge pages. Without them it makes no huge entries. */
bool kernel_has_thp(void);

/* Skips the test without them. */
void needs_thp(void);

/* The memory that one entry of a table of page tables maps: 2 MiB with pages of 4 KiB. */
__u64 pmd_size(void);

/* Whether the memory at @offset is exactly one folio. */
bool memory_is_folio(const struct memory *mem, size_t offset);

/* Maps @fd, or anonymous memory for -1, at an address aligned to @align. */
void *map_at_aligned_place(int fd, size_t size, size_t align, int flags);

/* Unmaps the memory, so that only the memfd keeps it. */
void memory_unmap(struct memory *mem);
void memory_free(struct memory *mem);

/* Makes this range of the memfd a hole. */
void memory_punch(const struct memory *mem, size_t offset, size_t size);

/* The number of bytes that are not holes. */
size_t memory_populated(const struct memory *mem);

/*
 * A file of this size on a disk, in the current directory, that nobody else can open.
 * Skips the test where the current directory is in memory.
 */
int file_on_disk(size_t size);

/* How many pages of the first @size bytes of a file cannot leave the page cache. */
size_t file_pages_that_stay(int file, size_t size);

/* Reads or writes a byte; returns the signal that it raised, or 0. */
int touch(char *address, bool write);

/*
 * A page of private memory that is withheld: whoever accesses it waits until page_give(),
 * and then finds these contents. Skips the test without userfaultfd.
 */
struct withheld {
	char *page;
	int uffd;
};

struct withheld page_withhold(char *page);
void page_give(const struct withheld *withheld, const void *contents);

/* Returns when somebody waits for the page. */
void page_is_awaited(const struct withheld *withheld);

/* The page frame behind a mapped address, or 0. */
__u64 page_frame(const void *address);

/* Whether the frame belongs to a hugetlb page that begins before it. */
bool page_is_inside_hugetlb(__u64 frame);

/* Whether the kernel knows that the frame is broken. */
bool page_is_poisoned(__u64 frame);

/* Makes the machine report a frame as broken; skips the test where it cannot. */
void page_poison(__u64 frame);

/*
 * Makes a free frame good again. Otherwise the kernel might hand it out as a part of a
 * large folio.
 */
void page_unpoison(__u64 frame);

/*
 * Writes the pattern of memory @id in pass @pass, from byte @offset on. Offset and length
 * are multiples of 8.
 */
void pattern_fill(void *to, unsigned int pass, unsigned int id,
		  __u64 offset, size_t len);

/* Compares with the pattern; a failure says where the words that are found belong. */
void pattern_check(const void *found, unsigned int pass, unsigned int id,
		   __u64 offset, size_t len, const char *who);

#endif /* TESTS_MEMORY_H */
