// SPDX-License-Identifier: MIT
/*
 * Memory becomes a dma-buf: one call of dmabufx, or what udmabuf has for it.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "internal.h"

/* An iovec of so many is translated without asking for memory. */
#define FEW_SEGMENTS	16

int dmabufx_create(int device, const struct dmabufx_segment *segments,
		   uint32_t nr_segments, struct dmabufx_request *request)
{
	struct dmabufx_request unasked = { .flags = DMABUFX_CREATE_CLOEXEC };
	struct dmabufx_create create = {
		.size = sizeof(create),
		.segments = (uintptr_t)segments,
		.nr_segments = nr_segments,
		.segment_size = sizeof(*segments),
		.failed_segment = nr_segments,
	};
	int fd;

	if (!request)
		request = &unasked;
	if (device < 0)
		return because(request, nr_segments, DMABUFX_REASON_NO_DEVICE,
			       device);
	create.flags = request->flags;
	create.name = (uintptr_t)request->name;

	fd = ioctl(device, DMABUFX_IOC_CREATE, &create);
	if (fd < 0 && errno == ENOTTY)
		return udmabuf_create(device, segments, nr_segments, request);
	if (fd < 0)
		return because(request, create.failed_segment, create.reason,
			       -errno);
	request->data_offset = create.data_offset;
	request->error = 0;
	return fd;
}

/* What follows @offset, where the caller wants all of it. */
static int rest_of_memfd(int memfd, uint64_t offset, uint64_t *size,
			 struct dmabufx_request *request)
{
	struct stat stat;

	if (fstat(memfd, &stat))
		return because(request, 0, DMABUFX_REASON_NOT_OPEN, -errno);
	if (offset >= (uint64_t)stat.st_size)
		return because(request, 0, DMABUFX_REASON_BEYOND_END, -ERANGE);
	*size = stat.st_size - offset;
	return 0;
}

int dmabufx_create_memfd(int device, int memfd, uint64_t offset, uint64_t size,
			 struct dmabufx_request *request)
{
	struct dmabufx_request unasked = { .flags = DMABUFX_CREATE_CLOEXEC };
	struct dmabufx_segment segment = {
		.fd = memfd,
		.type = DMABUFX_MEMFD,
		.offset = offset,
	};
	int ret;

	if (!request)
		request = &unasked;
	if (memfd < 0 && device >= 0)
		return because(request, 1, DMABUFX_REASON_NO_MEMFD, memfd);
	if (!size && device >= 0) {
		ret = rest_of_memfd(memfd, offset, &size, request);
		if (ret)
			return ret;
	}
	segment.size = size;
	return dmabufx_create(device, &segment, 1, request);
}

int dmabufx_create_iovec(int device, const struct iovec *iov, uint32_t nr,
			 struct dmabufx_request *request)
{
	struct dmabufx_segment few[FEW_SEGMENTS] = { 0 }, *segments = few;
	uint32_t i;
	int fd;

	if (nr > FEW_SEGMENTS) {
		segments = calloc(nr, sizeof(*segments));
		if (!segments) {
			if (request)
				because(request, nr, DMABUFX_REASON_NONE,
					-ENOMEM);
			return -ENOMEM;
		}
	}
	for (i = 0; i < nr; i++)
		segments[i] = (struct dmabufx_segment) {
			.type = DMABUFX_USER,
			.address = (uintptr_t)iov[i].iov_base,
			.size = iov[i].iov_len,
		};
	fd = dmabufx_create(device, segments, nr, request);
	if (segments != few)
		free(segments);
	return fd;
}
