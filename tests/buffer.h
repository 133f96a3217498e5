/* SPDX-License-Identifier: MIT */
/*
 * Dma-bufs under test: how they are made, and the ways into them. What a
 * buffer must show is known from its parts: ranges of memory, in order.
 */
#ifndef TESTS_BUFFER_H
#define TESTS_BUFFER_H

#include <linux/dma-buf.h>
#include <linux/dmabufx.h>
#include <stdbool.h>

#include "importer.h"
#include "memory.h"

/* Items that a list may have by default. */
#define LIST_LIMIT 262144

struct part {
	struct memory *mem;
	__u64 offset;		/* in the memory */
	__u64 size;
	__u64 start;		/* in the buffer; who makes that fills it in */
};

/**
 * struct buffer - a dma-buf and the ways into it that are open
 * @parts: @nr_parts of them, the caller's
 * @size: their sum
 * @fd: the dma-buf
 * @map: all of it, shared and writable, or NULL before buffer_mmap()
 * @importer: attached and mapped in both directions, or -1
 * @vmapped: whether the importer has the kernel mapping, too
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

/* The UDMABUF ioctls themselves: a new fd, or -1 and errno. */
int try_create(int device, struct udmabuf_create_item item, __u32 flags);
int try_create_list(int device, const struct udmabuf_create_item *items,
		    __u32 count, __u32 flags);

/* One range of one memfd, which must succeed: a close-on-exec dma-buf. */
int create_range(const struct memory *mem, __u64 offset, __u64 size);

/* The same memfd range, as an item of a list. */
struct udmabuf_create_item list_item(const struct memory *mem, __u64 offset,
				     __u64 size);

struct buffer buffer_make(struct part *parts, unsigned int nr_parts);

/* DMABUFX_IOC_CREATE's argument: by memfd where there is one, or by address. */
struct dmabufx_segment segment(const struct memory *mem, __u64 offset,
			       __u64 size);
struct dmabufx_segment user_segment(const void *address, __u64 size);
struct dmabufx_create request(const struct dmabufx_segment *segments,
			      __u32 nr_segments, __u32 flags);

/*
 * The ioctl itself: a new fd, or -1 and errno. Verifies that it writes what it
 * may: data_offset on success, failed_segment and reason on failure.
 */
int try_request(int device, struct dmabufx_create *request);

#ifdef __x86_64__
/* The ioctl of a 32-bit program: returns what the kernel does, -errno included. */
int ioctl_32(int fd, unsigned int request, void *arg);
#endif

/* A request that must be refused, with this to say. */
#define refused(error, why, segment, device, request)			\
	refused_at(__LINE__, error, why, segment, device, request)
void refused_at(int line, int error, __u32 reason, __u32 failed_segment,
		int device, struct dmabufx_create *request);

/* DMABUFX_IOC_QUERY, which must succeed. */
struct dmabufx_query device_query(int device);

/* A request that must succeed: a close-on-exec dma-buf. */
int create_of(const struct dmabufx_segment *segments, __u32 nr_segments);
int create_of_user(const void *address, __u64 size);

/*
 * The same as buffer_make() by DMABUFX_IOC_CREATE. The first part may start
 * inside a page, and the last may end there.
 */
struct buffer buffer_make_from(struct part *parts, unsigned int nr_parts);

/* A line of the fd's fdinfo that starts with @key, without that; or fails. */
void fdinfo_line(int fd, const char *key, char *value, size_t size);

void buffer_free(struct buffer *buf);

/* Map a dma-buf's range into this process: shared and writable. */
char *map_dma_buf(int fd, __u64 offset, size_t size);
void buffer_mmap(struct buffer *buf);

/* DMA_BUF_IOCTL_SYNC */
void sync_start(int fd, __u64 direction);
void sync_end(int fd, __u64 direction);

/* The importer's ioctls, see importer.h. */
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

/* Kernel mappings that dmabufx has: of this many pages, or all for 0. */
int kernel_mappings(__u64 pages);

/*
 * An importer with a kernel mapping of so many pages of a little memory that beside it
 * there is room for @pages of others.
 */
int importer_that_leaves(__u64 pages);

/**
 * struct way - a way into a buffer's memory
 * @name: for messages
 * @open: makes the way ready, or NULL
 * @copy: moves bytes that lie in one part: into the buffer with @write, else
 *	out of it
 */
struct way {
	const char *name;
	void (*open)(struct buffer *buf);
	void (*copy)(struct buffer *buf, const struct part *part,
		     __u64 offset, void *data, size_t len, bool write);
};

/* The memfd is also what has none: memory where its owner sees it. */
extern const struct way way_memfd, way_mmap, way_sg, way_device, way_vmap;

/* memfd, mmap, sg, device, vmap; then NULL. */
extern const struct way * const all_ways[];

/*
 * Writes the pattern of @pass through a way, or verifies that it is seen
 * through one. Small buffers as a whole; of larger ones the surroundings of
 * every border of a part or a folio, and some places inside.
 */
void buffer_write(struct buffer *buf, const struct way *way, unsigned int pass);
void buffer_verify(struct buffer *buf, const struct way *way,
		   unsigned int pass);

/*
 * Writes all of @mem, which @buf has been made of, through a way, and frees @buf: then
 * the owner sees it, also after reclaim.
 */
void writes_survive_reclaim(struct buffer *buf, const struct way *way,
			    const struct memory *mem);

/* Each way writes in its turn, and all of them must see it. */
void buffer_carries(struct buffer *buf, const struct way * const *ways);

#endif /* TESTS_BUFFER_H */
