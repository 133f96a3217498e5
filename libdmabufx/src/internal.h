/* SPDX-License-Identifier: MIT */
/* What the files of the library know of each other; the map keeps it inside. */
#ifndef DMABUFX_INTERNAL_H
#define DMABUFX_INTERNAL_H

#include <stdbool.h>
#include <unistd.h>

#include "dmabufx.h"

/* As DMA_BUF_SET_NAME has it, with the NUL. */
#define NAME_SIZE	32

static inline size_t page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

static inline bool is_power_of_2(size_t n)
{
	return n && !(n & (n - 1));
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

/* The number that a file below /sys begins with, or @otherwise. */
uint64_t number_in_file(const char *path, uint64_t otherwise);

/* udmabuf.c: where the module is not there */
int udmabuf_create(int device, const struct dmabufx_segment *segments,
		   uint32_t nr, struct dmabufx_request *request);
int udmabuf_query(int device, struct dmabufx_query *query);

#endif /* DMABUFX_INTERNAL_H */
