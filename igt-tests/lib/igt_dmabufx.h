/* SPDX-License-Identifier: MIT */
/*
 * What the subtests of dmabufx share: memory of every kind, dma-bufs made of it,
 * patterns whose every word tells where it belongs, the importer module that stands
 * for a device, and what must be as before when a subtest is through.
 *
 * As everywhere in igt, __foo() returns -errno and foo() asserts that it succeeds,
 * or skips where the machine lacks something.
 */
#ifndef IGT_DMABUFX_H
#define IGT_DMABUFX_H

#include <linux/dma-buf.h>
#include <linux/dmabufx.h>
#include <linux/udmabuf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "importer.h"

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)

#define UDMABUF_DEVICE "/dev/udmabuf"

/* Units of memory, as the machine has them. */
size_t dmabufx_page_size(void);
#define PAGE dmabufx_page_size()

/*
 * Subtests
 */

/**
 * struct dmabufx_subtest - a row of a program's table
 * @name: of the subtest
 * @description: for igt_describe()
 * @run: the test; gets the open device
 */
struct dmabufx_subtest {
	const char *name;
	const char *description;
	void (*run)(int device);
};

/* Runs one, and verifies that it gave everything back. */
void dmabufx_run(void (*run)(int device), int device);

/* Every row of a table as a subtest: for the body of igt_main(). */
#define dmabufx_run_table(table, device)				\
	for (size_t row_ = 0; row_ < sizeof(table) / sizeof((table)[0]); row_++) { \
		igt_describe((table)[row_].description);		\
		igt_subtest((table)[row_].name)				\
			dmabufx_run((table)[row_].run, device);		\
	}

/*
 * The driver
 */

int __dmabufx_open(const char *device, int flags);

/* Opens /dev/dmabufx, or skips where the module is not loaded. */
int dmabufx_open(void);

/*
 * The module behind /dev/dmabufx, whose file is named by the environment variable
 * DMABUFX_MODULE; skips without it.
 */
void dmabufx_require_module_file(void);
int __dmabufx_unload(void);
void dmabufx_load(void);

/* The ioctls: a new file descriptor, or -errno. */
int __udmabuf_create(int device, int memfd, uint64_t offset, uint64_t size,
		     uint32_t flags);
int __udmabuf_create_list(int device, const struct udmabuf_create_item *items,
			  uint32_t count, uint32_t flags);
int __dmabufx_create(int device, struct dmabufx_create *create);
int __dmabufx_info(int device, int dmabuf, struct dmabufx_info *info);

struct dmabufx_create dmabufx_request(const struct dmabufx_segment *segments,
				      uint32_t nr_segments, uint32_t flags);
struct dmabufx_segment dmabufx_user_segment(const void *address, uint64_t size);

/* A dma-buf that is closed on exec; the call must succeed. */
int dmabufx_create(int device, const struct dmabufx_segment *segments,
		   uint32_t nr_segments, uint32_t flags);

/* A request that must be refused, with these words. */
void dmabufx_refused(int device, struct dmabufx_create *request, int error,
		     uint32_t reason, uint32_t failed_segment);

struct dmabufx_query dmabufx_query(int device);
struct dmabufx_info dmabufx_info(int device, int dmabuf);

/*
 * Memory
 */

enum dmabufx_kind {
	SHMEM_4K,
	SHMEM_64K,
	SHMEM_2M,
	HUGETLB_2M,
	HUGETLB_1G,
	/* Addresses of the process, no memfds. */
	ANON_4K,
	ANON_2M,
	ANON_HUGETLB_2M,
	DMABUFX_KINDS,
};

/* A set of kinds. */
#define KIND(kind) (1u << (kind))

/**
 * struct dmabufx_kind_subtest - a row of a table of subtests that take some memory
 * @name: of the subtest
 * @description: for igt_describe()
 * @kinds: KIND() of each that it is done with, as a dynamic subtest
 * @run: the test
 */
struct dmabufx_kind_subtest {
	const char *name;
	const char *description;
	unsigned int kinds;
	void (*run)(int device, enum dmabufx_kind kind);
};

/* Every kind of a row as a dynamic subtest, which gives everything back. */
void dmabufx_run_kinds(const struct dmabufx_kind_subtest *subtest, int device);

/* Every row of a table as a subtest: for the body of igt_main(). */
#define dmabufx_run_kind_table(table, device)				\
	for (size_t row_ = 0; row_ < sizeof(table) / sizeof((table)[0]); row_++) { \
		igt_describe((table)[row_].description);		\
		igt_subtest_with_dynamic((table)[row_].name)		\
			dmabufx_run_kinds(&(table)[row_], device);	\
	}

/**
 * struct dmabufx_mem - a memfd, or memory of this process
 * @kind: what it consists of
 * @folio: bytes in each of its folios
 * @fd: the memfd, sealed against shrinking; -1 for none
 * @size: bytes, a multiple of @folio
 * @map: all of it, shared and writable, aligned to @folio
 */
struct dmabufx_mem {
	enum dmabufx_kind kind;
	size_t folio;
	int fd;
	size_t size;
	char *map;
};

/* With dashes, for names of dynamic subtests. */
const char *dmabufx_kind_name(enum dmabufx_kind kind);
size_t dmabufx_kind_folio(enum dmabufx_kind kind);

/*
 * Makes memory of a kind, populated unless only holes are wanted, and verifies
 * that it consists of such folios; skips where the machine does not give them.
 */
void dmabufx_mem_init(struct dmabufx_mem *mem, enum dmabufx_kind kind, size_t size);
void dmabufx_mem_init_holes(struct dmabufx_mem *mem, enum dmabufx_kind kind,
			    size_t size);
void dmabufx_mem_fini(struct dmabufx_mem *mem);

/* A memfd of single pages, not mapped, with these seals; the caller closes it. */
int dmabufx_memfd(size_t size, unsigned int seals);

struct udmabuf_create_item dmabufx_item(const struct dmabufx_mem *mem,
					uint64_t offset, uint64_t size);
struct dmabufx_segment dmabufx_segment(const struct dmabufx_mem *mem,
				       uint64_t offset, uint64_t size);

/* Reads or writes a byte; returns the signal that this ends in, or 0. */
int dmabufx_touch(char *address, bool write);

/* The page frame behind a mapped address; 0 for none. */
uint64_t dmabufx_page_frame(const void *address);

/*
 * Patterns: every word is different, in every place of every seed's. Offsets and
 * lengths are multiples of 8.
 */

void dmabufx_pattern_fill(void *to, uint32_t seed, uint64_t offset, size_t len);

/* Fails with what was found, where, and where that belongs. */
void dmabufx_pattern_check(const void *found, uint32_t seed, uint64_t offset,
			   size_t len, const char *who);

/*
 * Buffers: memory, its dma-buf, and all ways into it
 */

enum dmabufx_way {
	WAY_MEMORY,	/* where its owner sees it */
	WAY_MMAP,	/* a mapping of the dma-buf */
	WAY_SG,		/* the pages of a device's scatterlist */
	WAY_DEVICE,	/* the device's addresses */
	WAY_VMAP,	/* the kernel's mapping */
	DMABUFX_WAYS,
};

const char *dmabufx_way_name(enum dmabufx_way way);

/**
 * struct dmabufx_buffer - a dma-buf of all of a memory
 * @mem: the memory
 * @fd: the dma-buf
 * @size: its size
 * @map: its mapping, once somebody looked through it
 * @importer: attached, mapped in both directions and vmapped likewise, or -1
 */
struct dmabufx_buffer {
	struct dmabufx_mem mem;
	int fd;
	size_t size;
	char *map;
	int importer;
};

void dmabufx_buffer_init(struct dmabufx_buffer *buf, int device,
			 enum dmabufx_kind kind, size_t size);
void dmabufx_buffer_fini(struct dmabufx_buffer *buf);

/* Write a seed's pattern through a way, or expect it there. */
void dmabufx_buffer_write(struct dmabufx_buffer *buf, enum dmabufx_way way,
			  uint32_t seed);
void dmabufx_buffer_check(struct dmabufx_buffer *buf, enum dmabufx_way way,
			  uint32_t seed);

/* Each way writes in its turn, and all of them must see it. */
void dmabufx_buffer_carries(struct dmabufx_buffer *buf);

/*
 * Writes to a dma-buf of all of @mem through a way, closes it, and has the kernel take
 * back what it holds for clean. @mem is shared or private memory that nobody wrote to
 * since it was clean, or it would not be taken back anyway.
 */
void dmabufx_survives_reclaim(const struct dmabufx_mem *mem, int dmabuf,
			      enum dmabufx_way way);

/* Maps a range of a dma-buf: shared and writable. */
char *dmabufx_mmap(int dmabuf, uint64_t offset, size_t size);

/* Whether a range can be mapped in this way: 0 or -errno. Nothing stays mapped. */
int __dmabufx_mmap(int dmabuf, int prot, int flags, uint64_t offset, size_t size);

/* DMA_BUF_IOCTL_SYNC with DMA_BUF_SYNC_* flags. */
int __dmabufx_sync(int dmabuf, uint64_t flags);
void dmabufx_sync(int dmabuf, uint64_t flags);

/* What fdinfo says after @key, into @value; false where there is no such line. */
bool dmabufx_fdinfo(int fd, const char *key, char *value, size_t size);

/*
 * The importer: a device of its own for each open file, see importer.h
 */

/* Skips where the module is not loaded. */
int importer_open(void);
int __importer_limits(int importer, uint64_t dma_mask, uint64_t seg_boundary,
		      uint32_t max_seg);
void importer_limits(int importer, uint64_t dma_mask, uint64_t seg_boundary,
		     uint32_t max_seg);
int __importer_attach(int importer, int dmabuf);
void importer_attach(int importer, int dmabuf);
int __importer_detach(int importer);
void importer_detach(int importer);
int __importer_map(int importer, uint32_t dir, struct dmabufx_importer_map *map);

/* The scatterlist must be without fault, too. */
struct dmabufx_importer_map importer_map(int importer, uint32_t dir);
void importer_unmap(int importer);
int __importer_vmap(int importer);
void importer_vmap(int importer);
void importer_vunmap(int importer);
void importer_begin(int importer, uint32_t dir);
void importer_end(int importer, uint32_t dir);
int __importer_copy(int importer, uint32_t via, uint64_t offset, const void *data,
		    size_t len, bool write);
void importer_read(int importer, uint32_t via, uint64_t offset, void *to, size_t len);
void importer_write(int importer, uint32_t via, uint64_t offset, const void *from,
		    size_t len);

/*
 * What must be as before
 */

enum dmabufx_counter {
	COUNT_PINS,		/* pages pinned, all over the machine */
	COUNT_DMA_BUFS,		/* dma-bufs alive */
	COUNT_SHMEM,		/* pages of memfds and the like */
	COUNT_FREE_HUGE,	/* free huge pages */
	COUNT_FDS,		/* open files of this process */
	COUNT_PINNED_MEMFD,	/* bytes that this user's buffers hold of memfds */
	COUNT_LOCKED,		/* bytes that count against RLIMIT_MEMLOCK */
	DMABUFX_COUNTERS,
};

struct dmabufx_counters {
	long long value[DMABUFX_COUNTERS];
};

void dmabufx_counters_read(struct dmabufx_counters *counters);

/* Waits up to twenty seconds, since much is freed late; then asserts. */
void dmabufx_counters_check(const struct dmabufx_counters *before);

/* Bytes of kernel memory in use: slab, vmalloc, stacks, page tables, per-CPU. */
long dmabufx_kernel_memory(void);

/*
 * Bytes of kernel memory that @loops calls leave behind: the least of some tries, for
 * others disturb the figure. @enough and less is taken without another try.
 */
long dmabufx_kernel_growth(void (*call)(void *arg), void *arg, int loops, long enough);

/* Asserts that they leave no more than what is counted by the page makes of nothing. */
void dmabufx_leaves_nothing(void (*call)(void *arg), void *arg, int loops);

/* The number after @key in a file, or -1; true when @text could be written to one. */
long long dmabufx_file_number(const char *path, const char *key);
bool dmabufx_file_write(const char *path, const char *text);

#endif /* IGT_DMABUFX_H */
