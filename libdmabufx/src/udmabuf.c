// SPDX-License-Identifier: MIT
/*
 * Does with the in-tree udmabuf what that can do of dmabufx's calls, with the same precise
 * errors and the same rules, except that the open mode of a memfd is not checked, there
 * are no limits, and the last page of a memfd is not taken if the memfd ends inside it.
 * udmabuf returns EINVAL for nearly every error; the cause is looked up afterwards.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <linux/dma-buf.h>
#include <linux/udmabuf.h>

#include "internal.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE	0x10
#endif

/* Since Linux 5.9 or so; headers may be older. */
#ifndef DMA_BUF_SET_NAME_B
#define DMA_BUF_SET_NAME_B	_IOW(DMA_BUF_BASE, 1, __u64)
#endif

#define PARAMETERS	"/sys/module/udmabuf/parameters/"

/* Limits of a udmabuf without parameters, up to Linux 5.4 or so. */
#define FIRST_LIST_LIMIT	1024
#define FIRST_SIZE_LIMIT_MB	64

/*
 * Gets the number that a file below /sys begins with, false if there is none. A filter may
 * kill a program for opening files, which must not happen as long as all goes well. So
 * this is called only by dmabufx_query(), after a refusal, or for a very long list.
 */
static bool find_parameter(const char *path, uint64_t *number)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[32] = "";
	ssize_t len;

	if (fd < 0)
		return false;
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	*number = strtoull(text, NULL, 10);
	return len > 0;
}

static uint32_t list_limit(void)
{
	uint64_t limit;

	return find_parameter(PARAMETERS "list_limit", &limit) ? limit : FIRST_LIST_LIMIT;
}

static uint64_t size_limit(void)
{
	uint64_t mib;

	if (!find_parameter(PARAMETERS "size_limit_mb", &mib))
		mib = FIRST_SIZE_LIMIT_MB;
	return mib > UINT64_MAX >> 20 ? UINT64_MAX : mib << 20;
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
	if (nr > FIRST_LIST_LIMIT && nr > list_limit())
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
	if (seg->offset + seg->size > (uint64_t)INT64_MAX - page)
		return refuse(reason, DMABUFX_REASON_BEYOND_END, -ERANGE);
	return 0;
}

/* Checks the segments as dmabufx does, before anything is done. */
static int check_segments(const struct segments *segments, struct dmabufx_request *request)
{
	uint32_t i, nr = segments->nr, first = nr, last = 0, reason;
	struct dmabufx_segment segment;
	int ret;

	for (i = 0; i < nr; i++) {
		if (!segment_at(segments, i).size)
			continue;
		if (first == nr)
			first = i;
		last = i;
	}
	for (i = 0; i < nr; i++) {
		segment = segment_at(segments, i);
		ret = check_segment(&segment, i == first, i == last, &reason);
		if (ret)
			return because(request, i, reason, ret);
	}
	if (first == nr)
		return because(request, nr, DMABUFX_REASON_EMPTY, -EINVAL);
	request->data_offset = segment_at(segments, first).offset % page_size();
	return 0;
}

/* Returns the whole pages of a segment, which udmabuf needs. */
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

/* Finds out why udmabuf may have refused a segment. */
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

/* Finds out why udmabuf returned EINVAL or EBADFD. */
static int explain_refusal(const struct segments *segments, int error,
			   struct dmabufx_request *request)
{
	uint64_t sum = 0, limit = size_limit();
	uint32_t i, nr = segments->nr;
	struct dmabufx_segment segment;
	int ret;

	for (i = 0; i < nr; i++) {
		segment = segment_at(segments, i);
		if (!segment.size)
			continue;
		ret = find_reason(&segment, i, request);
		if (ret)
			return ret;
		sum += whole_pages(&segment).size;
		if (sum > limit)
			return because(request, i, DMABUFX_REASON_TOO_LARGE,
				       -EFBIG);
	}
	if (nr > 1 && nr > list_limit())
		return because(request, nr, DMABUFX_REASON_TOO_MANY, -E2BIG);
	return because(request, nr, DMABUFX_REASON_NONE, error);
}

static int create_list(int device, const struct segments *segments, uint32_t flags)
{
	struct udmabuf_create_list *list;
	struct dmabufx_segment segment;
	size_t size;
	uint32_t i;
	int fd;

	if (__builtin_mul_overflow(segments->nr, sizeof(list->list[0]), &size) ||
	    __builtin_add_overflow(size, sizeof(*list), &size))
		return -ENOMEM;
	list = calloc(1, size);
	if (!list)
		return -ENOMEM;
	list->flags = flags;
	for (i = 0; i < segments->nr; i++) {
		segment = segment_at(segments, i);
		if (segment.size)
			list->list[list->count++] = whole_pages(&segment);
	}
	fd = ioctl(device, UDMABUF_CREATE_LIST, list);
	if (fd < 0)
		fd = -errno;
	free(list);
	return fd;
}

static int create_one(int device, const struct segments *segments, uint32_t flags)
{
	const struct dmabufx_segment segment = segment_at(segments, 0);
	struct udmabuf_create_item item = whole_pages(&segment);
	struct udmabuf_create create = {
		.memfd = item.memfd,
		.flags = flags,
		.offset = item.offset,
		.size = item.size,
	};
	int fd = ioctl(device, UDMABUF_CREATE, &create);

	return fd < 0 ? -errno : fd;
}

static int check_and_create(int device, const struct segments *segments,
			    struct dmabufx_request *request)
{
	uint32_t flags = request->flags & DMABUFX_CREATE_CLOEXEC ?
			 UDMABUF_FLAGS_CLOEXEC : 0;
	int fd = check_segments(segments, request);

	if (fd)
		return fd;
	if (segments->nr == 1)
		fd = create_one(device, segments, flags);
	else
		fd = create_list(device, segments, flags);
	if (fd == -EINVAL || fd == -EBADFD)
		return explain_refusal(segments, fd, request);
	return fd < 0 ? because(request, segments->nr, DMABUFX_REASON_NONE, fd) : fd;
}

/* Names the dma-buf. EINVAL and EFAULT of the kernel are about the name itself. */
static int name_it(int dmabuf, uint32_t nr, struct dmabufx_request *request)
{
	int error;

	if (!request->name || !ioctl(dmabuf, DMA_BUF_SET_NAME_B, request->name))
		return 0;
	error = -errno;
	return because(request, nr, error == -EINVAL || error == -EFAULT ?
		       DMABUFX_REASON_NAME : DMABUFX_REASON_NONE, error);
}

static int create_and_name(int device, const struct segments *segments,
			   struct dmabufx_request *request)
{
	uint32_t reason, nr = segments->nr;
	int ret = check_whole(request, nr, &reason), fd;

	if (ret)
		return because(request, nr, reason, ret);
	fd = check_and_create(device, segments, request);
	if (fd < 0)
		return fd;
	ret = name_it(fd, nr, request);
	if (ret) {
		close(fd);
		return ret;
	}
	because(request, nr, DMABUFX_REASON_NONE, 0);
	return fd;
}

int dmabufx_udmabuf_create(int device, const struct segments *segments,
			   struct dmabufx_request *request)
{
	int state = hold_cancellation();
	int fd = create_and_name(device, segments, request);

	release_cancellation(state);
	return fd;
}

/*
 * Finds out whether the driver is udmabuf, by asking for an empty list. udmabuf returns
 * EINVAL, a very old one makes a dma-buf, and other drivers do not know the call.
 */
static int ask_for_nothing(int device)
{
	const struct udmabuf_create_list nothing = { .flags = UDMABUF_FLAGS_CLOEXEC };
	int fd = ioctl(device, UDMABUF_CREATE_LIST, &nothing);

	if (fd >= 0)
		close(fd);
	return fd >= 0 || errno == EINVAL ? 0 : -errno;
}

int dmabufx_udmabuf_query(int device, struct dmabufx_query *query)
{
	struct rlimit locked = { .rlim_cur = RLIM_INFINITY };
	int state = hold_cancellation();
	int ret = ask_for_nothing(device);

	if (!ret) {
		getrlimit(RLIMIT_MEMLOCK, &locked);
		query->features = DMABUFX_FEATURE_MEMFD;
		query->max_size = size_limit();
		query->max_segments = list_limit();
		query->memfd_limit = UINT64_MAX;
		query->user_limit = locked.rlim_cur;
	}
	release_cancellation(state);
	return ret;
}
