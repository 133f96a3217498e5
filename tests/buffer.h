/* SPDX-License-Identifier: MIT */
/*
 * Dma-bufs under test: how to make one, and the ways into it. Its contents are known from
 * its parts, which are ranges of memory, in order.
 */
#ifndef TESTS_BUFFER_H
#define TESTS_BUFFER_H

#include <linux/dma-buf.h>
#include <linux/dmabufx.h>
#include <stdbool.h>

#include "importer.h"
#include "memory.h"

/* The default of list_limit. */
#define LIST_LIMIT 262144

struct part {
	struct memory *mem;
	__u64 offset;		/* in the memory */
	__u64 size;
	__u64 start;		/* in the buffer; buffer_make() sets it */
};

/**
 * struct buffer - a dma-buf and the ways into it that are open
 * @parts: @nr_parts of them; they belong to the caller
 * @size: the sum of their sizes
 * @fd: the dma-buf
 * @map: a shared, writable mapping of all of it, or NULL before buffer_mmap()
 * @importer: attached and mapped in both directions, or -1
 * @vmapped: whether the importer has a kernel mapping, too
 */
struct buffer {
	struct part *parts;
	unsigned int nr_parts;
	__u64 size;
	int fd;
	char *map;
	int importer;
	bool vmapped;
};

/* Opens the node under test. */
int device_open(void);

/* The UDMABUF ioctls: return a new descriptor, or -1 and errno. */
int try_create(int device, struct udmabuf_create_item item, __u32 flags);
int try_create_list(int device, const struct udmabuf_create_item *items,
		    __u32 count, __u32 flags);

/* Makes a close-on-exec dma-buf of one range of a memfd. */
int create_range(const struct memory *mem, __u64 offset, __u64 size);

/* A range of a memfd as an item of a list. */
struct udmabuf_create_item list_item(const struct memory *mem, __u64 offset,
				     __u64 size);

struct buffer buffer_make(struct part *parts, unsigned int nr_parts);

/* A segment of DMABUFX_IOC_CREATE: by memfd where there is one, else by address. */
struct dmabufx_segment segment(const struct memory *mem, __u64 offset,
			       __u64 size);
struct dmabufx_segment user_segment(const void *address, __u64 size);
struct dmabufx_create request(const struct dmabufx_segment *segments,
			      __u32 nr_segments, __u32 flags);

/*
 * DMABUFX_IOC_CREATE: returns a new descriptor, or -1 and errno. Verifies that it writes
 * only data_offset on success, and only failed_segment and reason on failure.
 */
int try_request(int device, struct dmabufx_create *request);

#ifdef __x86_64__
/* The same ioctl in a 32-bit program; returns the kernel's result, -errno included. */
int ioctl_32(int fd, unsigned int request, void *arg);
#endif

/* A request that must fail with this error, reason and segment. */
#define refused(error, why, segment, device, request)			\
	refused_at(__LINE__, error, why, segment, device, request)
void refused_at(int line, int error, __u32 reason, __u32 failed_segment,
		int device, struct dmabufx_create *request);

/* DMABUFX_IOC_QUERY, which must succeed. */
struct dmabufx_query device_query(int device);

/* DMABUFX_IOC_CREATE, which must succeed: a close-on-exec dma-buf. */
int create_of(const struct dmabufx_segment *segments, __u32 nr_segments);
int create_of_user(const void *address, __u64 size);

/*
 * buffer_make() by DMABUFX_IOC_CREATE. The first part may start inside a page, and the
 * last may end inside one.
 */
struct buffer buffer_make_from(struct part *parts, unsigned int nr_parts);

/* Copies the rest of the fdinfo line that starts with @key; fails without one. */
void fdinfo_line(int fd, const char *key, char *value, size_t size);

void buffer_free(struct buffer *buf);

/* Maps a range of a dma-buf, shared and writable. */
char *map_dma_buf(int fd, __u64 offset, size_t size);
void buffer_mmap(struct buffer *buf);

/* DMA_BUF_IOCTL_SYNC */
void sync_start(int fd, __u64 direction);
void sync_end(int fd, __u64 direction);

/* The ioctls of the test importer, see importer.h. */
int importer_open(void);
void importer_limits(int importer, __u64 dma_mask, __u64 seg_boundary,
		     __u32 max_seg);
void importer_attach(int importer, int dma_buf);
struct dmabufx_importer_map importer_map(int importer, __u32 direction);
int try_importer_map(int importer, struct dmabufx_importer_map *map);
void importer_do(int importer, unsigned long request, unsigned long arg);
void importer_read(int importer, __u32 via, __u64 offset, void *to,
		   size_t len);
void importer_write(int importer, __u32 via, __u64 offset,
		    const void *from, size_t len);

/* The number of dmabufx's kernel mappings of @pages pages; of any size for 0. */
int kernel_mappings(__u64 pages);

/*
 * An importer with a kernel mapping so large that only @pages more pages fit into the room
 * for kernel mappings. The mapping repeats a little memory.
 */
int importer_that_leaves(__u64 pages);

/**
 * struct way - a way into a buffer's memory
 * @name: for messages
 * @open: opens the way, or NULL
 * @copy: copies bytes of one part, into the buffer if @write, else out of it
 */
struct way {
	const char *name;
	void (*open)(struct buffer *buf);
	void (*copy)(struct buffer *buf, const struct part *part,
		     __u64 offset, void *data, size_t len, bool write);
};

/* way_memfd accesses the memory where its owner does, also if it has no memfd. */
extern const struct way way_memfd, way_mmap, way_sg, way_device, way_vmap;

/* memfd, mmap, sg, device, vmap; then NULL. */
extern const struct way * const all_ways[];

/*
 * Writes the pattern of @pass through a way, or verifies it. A small buffer is covered as
 * a whole; of a larger one, both sides of each border of a part or a folio, and some
 * places in between.
 */
void buffer_write(struct buffer *buf, const struct way *way, unsigned int pass);
void buffer_verify(struct buffer *buf, const struct way *way,
		   unsigned int pass);

/*
 * Writes all of @mem, which @buf is made of, through a way, and frees @buf. Fails unless
 * the owner sees this, also after reclaim.
 */
void writes_survive_reclaim(struct buffer *buf, const struct way *way,
			    const struct memory *mem);

/* Writes through each way in turn, and verifies through all of them each time. */
void buffer_carries(struct buffer *buf, const struct way * const *ways);

#endif /* TESTS_BUFFER_H */
