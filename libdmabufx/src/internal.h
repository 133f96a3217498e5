/* SPDX-License-Identifier: MIT */
/*
 * The interfaces between the files of the library. Names that the linker sees have the
 * prefix dmabufx_, since they could clash with names of a statically linked program.
 */
#ifndef DMABUFX_INTERNAL_H
#define DMABUFX_INTERNAL_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "dmabufx.h"

/*
 * The size of the first version of a struct, whose last member was @last. No version
 * may end in padding: a newer program might have garbage there, which is not zero.
 */
#define FIRST_SIZE(type, last) \
	(offsetof(struct type, last) + sizeof(((struct type *)0)->last))

/**
 * struct segments - the caller's array of struct dmabufx_segment
 * @first: the first segment
 * @size: size of a segment, as the caller knows the struct
 * @nr: number of segments
 */
struct segments {
	const void *first;
	uint32_t size;
	uint32_t nr;
};

static inline size_t page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

static inline bool is_power_of_2(uint64_t n)
{
	return n && !(n & (n - 1));
}

static inline uint64_t round_up(uint64_t n, uint64_t unit)
{
	return (n + unit - 1) / unit * unit;
}

static inline size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

static inline bool is_zero(const void *bytes, size_t size)
{
	const char *byte = bytes, *end = byte + size;

	while (byte < end && !*byte)
		byte++;
	return byte == end;
}

/*
 * If a thread were cancelled in open(), close() or fallocate(), the library's descriptors
 * and memory would leak. So cancellation waits until the call is done.
 */
static inline int hold_cancellation(void)
{
	int state;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	return state;
}

static inline void release_cancellation(int state)
{
	pthread_setcancelstate(state, &state);
}

static inline bool is_forbidden(int error)
{
	return error == -EACCES || error == -EPERM;
}

/*
 * Returns true if the error of a dmabufx call can mean that another driver got it, or that
 * a seccomp filter forbids this call but perhaps not those of udmabuf.
 */
static inline bool is_unknown_call(int error)
{
	return error == -ENOTTY || error == -ENOSYS || is_forbidden(error);
}

/* Stores why a request failed. Returns @error, which is negative or 0. */
static inline int because(struct dmabufx_request *request, uint32_t segment,
			  uint32_t reason, int error)
{
	request->failed_segment = segment;
	request->reason = reason;
	request->error = error;
	return error;
}

/* Returns segment @i, with zeros for members that the caller's version lacks. */
static inline struct dmabufx_segment segment_at(const struct segments *segments,
						uint32_t i)
{
	struct dmabufx_segment segment = { .size = 0 };

	memcpy(&segment, (const char *)segments->first + (size_t)i * segments->size,
	       smaller(segments->size, sizeof(segment)));
	return segment;
}

/* udmabuf.c: used if the module is missing */
int dmabufx_udmabuf_create(int device, const struct segments *segments,
			   struct dmabufx_request *request);
int dmabufx_udmabuf_query(int device, struct dmabufx_query *query);

#endif /* DMABUFX_INTERNAL_H */
