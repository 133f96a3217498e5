// SPDX-License-Identifier: MIT
/*
 * Where only the in-tree udmabuf is there: what it can do of what dmabufx can,
 * with errors as precise, and by the same rules but for three: how a memfd is
 * opened is not looked at, nothing is limited, and the page that a memfd ends in
 * is not taken if it ends within it. udmabuf says EINVAL to nearly everything;
 * what is wrong is looked up afterwards.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <linux/dma-buf.h>
#include <linux/udmabuf.h>

#include "internal.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE	0x10
#endif

#define PARAMETERS	"/sys/module/udmabuf/parameters/"

/* Kernels whose udmabuf has no such limit have no such parameter. */
static uint64_t size_limit(void)
{
	uint64_t mib = number_in_file(PARAMETERS "size_limit_mb", UINT64_MAX);

	return mib > UINT64_MAX >> 20 ? UINT64_MAX : mib << 20;
}

static uint32_t list_limit(void)
{
	return number_in_file(PARAMETERS "list_limit", UINT32_MAX);
}

static int refuse(uint32_t *reason, uint32_t why, int error)
{
	*reason = why;
	return error;
}

static int check_whole(const struct dmabufx_request *request, uint32_t nr,
		       uint32_t *reason)
{
	if (request->flags & ~(DMABUFX_CREATE_CLOEXEC | DMABUFX_CREATE_READ_ONLY))
		return refuse(reason, DMABUFX_REASON_FLAGS, -EINVAL);
	if (request->flags & DMABUFX_CREATE_READ_ONLY)
		return refuse(reason, DMABUFX_REASON_UDMABUF, -EOPNOTSUPP);
	if (request->name && strnlen(request->name, NAME_SIZE) == NAME_SIZE)
		return refuse(reason, DMABUFX_REASON_NAME, -EINVAL);
	if (nr > list_limit())
		return refuse(reason, DMABUFX_REASON_TOO_MANY, -E2BIG);
	return 0;
}

static int check_segment(const struct dmabufx_segment *seg, bool is_first,
			 bool is_last, uint32_t *reason)
{
	size_t page = page_size();

	if (seg->type > DMABUFX_USER || (seg->type == DMABUFX_USER && seg->fd))
		return refuse(reason, DMABUFX_REASON_TYPE, -EINVAL);
	if (seg->type == DMABUFX_USER)
		return refuse(reason, DMABUFX_REASON_UDMABUF, -EOPNOTSUPP);
	if (!seg->size)
		return 0;
	if ((!is_first && seg->offset % page) ||
	    (!is_last && (seg->offset + seg->size) % page))
		return refuse(reason, DMABUFX_REASON_UNALIGNED, -EINVAL);
	if (seg->offset > UINT64_MAX - seg->size)
		return refuse(reason, DMABUFX_REASON_WRAPS, -EINVAL);
	if (seg->offset + seg->size > INT64_MAX - page)
		return refuse(reason, DMABUFX_REASON_BEYOND_END, -ERANGE);
	return 0;
}

/* Looks through a request as dmabufx does, before anything is done. */
static int check_request(const struct dmabufx_segment *segments, uint32_t nr,
			 struct dmabufx_request *request)
{
	uint32_t i, first = nr, last = 0, reason;
	int ret = check_whole(request, nr, &reason);

	if (ret)
		return because(request, nr, reason, ret);

	for (i = 0; i < nr; i++) {
		if (!segments[i].size)
			continue;
		if (first == nr)
			first = i;
		last = i;
	}
	for (i = 0; i < nr; i++) {
		ret = check_segment(&segments[i], i == first, i == last, &reason);
		if (ret)
			return because(request, i, reason, ret);
	}
	if (first == nr)
		return because(request, nr, DMABUFX_REASON_EMPTY, -EINVAL);
	request->data_offset = segments[first].offset % page_size();
	return 0;
}

/* The whole pages of a segment, as udmabuf wants them. */
static struct udmabuf_create_item whole_pages(const struct dmabufx_segment *seg)
{
	size_t page = page_size();
	uint64_t start = seg->offset / page * page;
	uint64_t end = (seg->offset + seg->size + page - 1) / page * page;

	return (struct udmabuf_create_item) {
		.memfd = seg->fd,
		.offset = start,
		.size = end - start,
	};
}

/* Why udmabuf may have refused a segment, as far as that can be seen. */
static int find_reason(const struct dmabufx_segment *seg, uint32_t i,
		       struct dmabufx_request *request)
{
	struct udmabuf_create_item item = whole_pages(seg);
	int seals = fcntl(seg->fd, F_GET_SEALS);
	struct stat stat;

	if (seals < 0 && errno == EBADF)
		return because(request, i, DMABUFX_REASON_NOT_OPEN, -EBADF);
	if (seals < 0 || fstat(seg->fd, &stat))
		return because(request, i, DMABUFX_REASON_NOT_MEMFD, -EBADFD);
	if (!(seals & F_SEAL_SHRINK))
		return because(request, i, DMABUFX_REASON_MAY_SHRINK, -EPERM);
	if (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
		return because(request, i, DMABUFX_REASON_WRITE_SEALED, -EPERM);
	if (item.offset + item.size > (uint64_t)stat.st_size)
		return because(request, i, DMABUFX_REASON_BEYOND_END, -ERANGE);
	return 0;
}

static int explain_refusal(const struct dmabufx_segment *segments, uint32_t nr,
			   int error, struct dmabufx_request *request)
{
	uint64_t sum = 0, limit = size_limit();
	uint32_t i;
	int ret;

	if (error != -EINVAL && error != -EBADFD)
		return because(request, nr, DMABUFX_REASON_NONE, error);

	for (i = 0; i < nr; i++) {
		if (!segments[i].size)
			continue;
		ret = find_reason(&segments[i], i, request);
		if (ret)
			return ret;
		sum += whole_pages(&segments[i]).size;
		if (sum > limit)
			return because(request, i, DMABUFX_REASON_TOO_LARGE,
				       -EFBIG);
	}
	return because(request, nr, DMABUFX_REASON_NONE, error);
}

static int create_list(int device, const struct dmabufx_segment *segments,
		       uint32_t nr, uint32_t flags)
{
	struct udmabuf_create_list *list;
	uint32_t i;
	int fd;

	list = calloc(1, sizeof(*list) + nr * sizeof(list->list[0]));
	if (!list)
		return -ENOMEM;
	list->flags = flags;
	for (i = 0; i < nr; i++)
		if (segments[i].size)
			list->list[list->count++] = whole_pages(&segments[i]);
	fd = ioctl(device, UDMABUF_CREATE_LIST, list);
	if (fd < 0)
		fd = -errno;
	free(list);
	return fd;
}

static int create_one(int device, const struct dmabufx_segment *segment,
		      uint32_t flags)
{
	struct udmabuf_create_item item = whole_pages(segment);
	struct udmabuf_create create = {
		.memfd = item.memfd,
		.flags = flags,
		.offset = item.offset,
		.size = item.size,
	};
	int fd = ioctl(device, UDMABUF_CREATE, &create);

	return fd < 0 ? -errno : fd;
}

int udmabuf_create(int device, const struct dmabufx_segment *segments,
		   uint32_t nr, struct dmabufx_request *request)
{
	uint32_t flags = request->flags & DMABUFX_CREATE_CLOEXEC ?
			 UDMABUF_FLAGS_CLOEXEC : 0;
	int fd = check_request(segments, nr, request);

	if (fd)
		return fd;

	if (nr == 1)
		fd = create_one(device, segments, flags);
	else
		fd = create_list(device, segments, nr, flags);
	if (fd < 0)
		return explain_refusal(segments, nr, fd, request);

	if (request->name && ioctl(fd, DMA_BUF_SET_NAME_B, request->name)) {
		because(request, nr, DMABUFX_REASON_NAME, -errno);
		close(fd);
		return request->error;
	}
	request->error = 0;
	return fd;
}

int udmabuf_query(int device, struct dmabufx_query *query)
{
	const struct udmabuf_create_list nothing = { .count = 0 };
	struct rlimit locked;

	/* No driver of this kind takes an empty list, others do not know it. */
	if (ioctl(device, UDMABUF_CREATE_LIST, &nothing) >= 0 || errno != EINVAL)
		return -errno;

	query->features = DMABUFX_FEATURE_MEMFD;
	query->max_size = size_limit();
	query->max_segments = list_limit();
	query->memfd_limit = UINT64_MAX;
	getrlimit(RLIMIT_MEMLOCK, &locked);
	query->user_limit = locked.rlim_cur;
	return 0;
}
