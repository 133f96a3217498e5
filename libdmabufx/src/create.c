// SPDX-License-Identifier: MIT
/*
 * Makes dma-bufs, by one call of dmabufx, or by udmabuf.
 *
 * The caller's structs may be of another version than the library's. read_request(),
 * write_request() and fit_segments() convert them; all other functions work on structs
 * as the library knows them.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "internal.h"

/* Up to this many, the segments of an iovec are on the stack. */
#define FEW_SEGMENTS	16

/* Converts the caller's request for a buffer of @nr segments. */
static int read_request(struct dmabufx_request *known,
			const struct dmabufx_request *request, uint32_t size, uint32_t nr)
{
	*known = (struct dmabufx_request) { .flags = DMABUFX_CREATE_CLOEXEC };
	if (!request)
		return 0;
	if (size < FIRST_SIZE(dmabufx_request, reason))
		return -EINVAL;
	*known = (struct dmabufx_request) { 0 };
	memcpy(known, request, smaller(size, sizeof(*known)));
	if (size > sizeof(*known) && !is_zero(request + 1, size - sizeof(*known)))
		return because(known, nr, DMABUFX_REASON_NONE, -E2BIG);
	return 0;
}

static void write_request(struct dmabufx_request *request, uint32_t size,
			  const struct dmabufx_request *known)
{
	if (request && size >= FIRST_SIZE(dmabufx_request, reason))
		memcpy(request, known, smaller(size, sizeof(*known)));
}

static const char *nth_segment(const struct segments *segments, uint32_t i)
{
	return (const char *)segments->first + (size_t)i * segments->size;
}

/* Returns how many bytes of the segments are in use: all up to the last that is not 0. */
static size_t bytes_in_use(const struct segments *segments)
{
	size_t used = FIRST_SIZE(dmabufx_segment, size), n;
	uint32_t i;

	for (i = 0; i < segments->nr; i++)
		for (n = segments->size; n > used; n--)
			if (nth_segment(segments, i)[n - 1])
				used = n;
	return used;
}

/*
 * Each driver accepts segments of the sizes that it knows, and all know that of the first
 * version. So if no segment uses later members, pass segments of the first size. Otherwise
 * shorten them to the library's size, if that loses nothing. The caller frees *@copy in
 * any case.
 */
static int fit_segments(struct segments *segments, char **copy,
			struct dmabufx_request *request)
{
	const size_t first = FIRST_SIZE(dmabufx_segment, size);
	const size_t known = sizeof(struct dmabufx_segment);
	size_t used, size;
	uint32_t i;

	if (segments->size == first)
		return 0;
	if (segments->size < first)
		return because(request, segments->nr, DMABUFX_REASON_SEGMENT_SIZE,
			       -EINVAL);
	used = bytes_in_use(segments);
	if (used > known)
		return because(request, segments->nr, DMABUFX_REASON_SEGMENT_SIZE,
			       -E2BIG);
	size = used > first ? smaller(segments->size, known) : first;
	if (segments->size == size)
		return 0;

	*copy = calloc(segments->nr, size);
	if (!*copy && segments->nr)
		return because(request, segments->nr, DMABUFX_REASON_NONE, -ENOMEM);
	for (i = 0; i < segments->nr; i++)
		memcpy(*copy + i * size, nth_segment(segments, i), size);
	segments->first = *copy;
	segments->size = size;
	return 0;
}

static int create_fitting(int device, const struct segments *segments,
			  struct dmabufx_request *request)
{
	struct dmabufx_create create = {
		.size = sizeof(create),
		.flags = request->flags,
		.segments = (uintptr_t)segments->first,
		.nr_segments = segments->nr,
		.segment_size = segments->size,
		.name = (uintptr_t)request->name,
		.failed_segment = segments->nr,
	};
	int fd = ioctl(device, DMABUFX_IOC_CREATE, &create), error = -errno;

	/* If EPERM or EACCES comes from dmabufx, there is a reason. */
	if (fd < 0 && !create.reason && is_unknown_call(error)) {
		fd = dmabufx_udmabuf_create(device, segments, request);
		/* A filter forbade dmabufx's call. Do not say that the module is missing. */
		if (request->reason == DMABUFX_REASON_UDMABUF && error != -ENOTTY)
			fd = because(request, segments->nr, DMABUFX_REASON_NONE, error);
		return fd;
	}
	if (fd < 0)
		return because(request, create.failed_segment, create.reason, error);
	request->data_offset = create.data_offset;
	because(request, segments->nr, DMABUFX_REASON_NONE, 0);
	return fd;
}

static int create_any(int device, struct segments segments, struct dmabufx_request *request)
{
	char *copy = NULL;
	int ret;

	if (device < 0)
		return because(request, segments.nr, DMABUFX_REASON_NO_DEVICE, device);
	ret = fit_segments(&segments, &copy, request);
	if (!ret)
		ret = create_fitting(device, &segments, request);
	free(copy);
	return ret;
}

int dmabufx_create_sized(int device, const struct dmabufx_segment *segments,
			 uint32_t segment_size, uint32_t nr_segments,
			 struct dmabufx_request *request, uint32_t request_size)
{
	const struct segments all = { segments, segment_size, nr_segments };
	struct dmabufx_request known;
	int ret = read_request(&known, request, request_size, nr_segments);

	if (!ret)
		ret = create_any(device, all, &known);
	write_request(request, request_size, &known);
	return ret;
}

/* Sets @size to the size of the memfd after @offset. */
static int rest_of_memfd(int memfd, uint64_t offset, uint64_t *size,
			 struct dmabufx_request *request)
{
	struct stat stat;

	if (fstat(memfd, &stat))
		return because(request, 0, DMABUFX_REASON_NOT_OPEN, -errno);
		/* Any size: the driver finds out that it is no memfd. */
	*size = page_size();
	if (!S_ISREG(stat.st_mode))
		return 0;
	if (offset >= (uint64_t)stat.st_size)
		return because(request, 0, DMABUFX_REASON_BEYOND_END, -ERANGE);
	*size = stat.st_size - offset;
	return 0;
}

static int create_memfd(int device, int memfd, uint64_t offset, uint64_t size,
			struct dmabufx_request *request)
{
	struct dmabufx_segment segment = {
		.fd = memfd,
		.type = DMABUFX_MEMFD,
		.offset = offset,
	};
	const struct segments one = { &segment, sizeof(segment), 1 };
	int ret;

	if (memfd < 0 && device >= 0)
		return because(request, 1, DMABUFX_REASON_NO_MEMFD, memfd);
	if (!size && device >= 0) {
		ret = rest_of_memfd(memfd, offset, &size, request);
		if (ret)
			return ret;
	}
	segment.size = size;
	return create_any(device, one, request);
}

int dmabufx_create_memfd_sized(int device, int memfd, uint64_t offset, uint64_t size,
			       struct dmabufx_request *request, uint32_t request_size)
{
	struct dmabufx_request known;
	int ret = read_request(&known, request, request_size, 1);

	if (!ret)
		ret = create_memfd(device, memfd, offset, size, &known);
	write_request(request, request_size, &known);
	return ret;
}

static int create_iovec(int device, const struct iovec *iov, uint32_t nr,
			struct dmabufx_request *request)
{
	struct dmabufx_segment few[FEW_SEGMENTS] = { 0 }, *segments = few;
	uint32_t i;
	int fd;

	if (nr > FEW_SEGMENTS)
		segments = calloc(nr, sizeof(*segments));
	if (!segments)
		return because(request, nr, DMABUFX_REASON_NONE, -ENOMEM);
	for (i = 0; i < nr; i++)
		segments[i] = (struct dmabufx_segment) {
			.type = DMABUFX_USER,
			.address = (uintptr_t)iov[i].iov_base,
			.size = iov[i].iov_len,
		};
	fd = create_any(device, (struct segments) { segments, sizeof(*segments), nr }, request);
	if (segments != few)
		free(segments);
	return fd;
}

int dmabufx_create_iovec_sized(int device, const struct iovec *iov, uint32_t nr,
			       struct dmabufx_request *request, uint32_t request_size)
{
	struct dmabufx_request known;
	int ret = read_request(&known, request, request_size, nr);

	if (!ret)
		ret = create_iovec(device, iov, nr, &known);
	write_request(request, request_size, &known);
	return ret;
}
