/* SPDX-License-Identifier: MIT */
/*
 * What the files of the library know of each other. A program that is linked to
 * the static library has these names beside its own, so all have the prefix.
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
 * ends in padding, of which a newer program would say that it is not zero.
 */
#define FIRST_SIZE(type, last) \
	(offsetof(struct type, last) + sizeof(((struct type *)0)->last))

/**
 * struct segments - the caller's array of struct dmabufx_segment
 * @first: where it begins
 * @size: of one, as the caller knows the struct
 * @nr: how many there are
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
 * A thread that is cancelled in open(), close() or fallocate() would leave behind
 * what its caller does not know of yet. So it is cancelled later.
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
 * What a call of dmabufx returns from another driver, or from a filter that lets calls
 * of udmabuf through and not this one.
 */
static inline bool is_unknown_call(int error)
{
	return error == -ENOTTY || error == -ENOSYS || is_forbidden(error);
}

/* Notes why a request failed. Returns @error, which is negative. */
static inline int because(struct dmabufx_request *request, uint32_t segment,
			  uint32_t reason, int error)
{
	request->failed_segment = segment;
	request->reason = reason;
	request->error = error;
	return error;
}

/* Segment @i, with zeros for what the caller's version of the struct lacks. */
static inline struct dmabufx_segment segment_at(const struct segments *segments,
						uint32_t i)
{
	struct dmabufx_segment segment = { .size = 0 };

	memcpy(&segment, (const char *)segments->first + (size_t)i * segments->size,
	       smaller(segments->size, sizeof(segment)));
	return segment;
}

/* udmabuf.c: where the module is not there */
int dmabufx_udmabuf_create(int device, const struct segments *segments,
			   struct dmabufx_request *request);
int dmabufx_udmabuf_query(int device, struct dmabufx_query *query);

#endif /* DMABUFX_INTERNAL_H */
