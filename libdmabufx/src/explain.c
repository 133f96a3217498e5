// SPDX-License-Identifier: MIT
/* Explains in words why a dma-buf was not made. */
#include <errno.h>
#include <stdio.h>

#include "internal.h"

static const char * const reasons[] = {
	[DMABUFX_REASON_FLAGS] = "a flag that the driver does not know",
	[DMABUFX_REASON_SEGMENT_SIZE] =
		"the driver does not know segments of this size",
	[DMABUFX_REASON_NAME] = "the name is longer than 31 bytes or cannot be read",
	[DMABUFX_REASON_TOO_MANY] =
		"more segments than the driver's parameter list_limit allows",
	[DMABUFX_REASON_EMPTY] = "there are no bytes in it",
	[DMABUFX_REASON_MEMLOCK] =
		"it would lock more memory than RLIMIT_MEMLOCK (ulimit -l) allows",
	[DMABUFX_REASON_MEMFD_LIMIT] =
		"this user would pin more shared memory than the driver's parameter memfd_limit_mib allows",
	[DMABUFX_REASON_TOTAL_LIMIT] =
		"all users would pin more shared memory than the driver's parameter total_limit_mib allows",

	[DMABUFX_REASON_TYPE] = "its type is not known, or it has a descriptor and an address",
	[DMABUFX_REASON_UNALIGNED] =
		"only the first segment may start, and only the last may end, inside a page",
	[DMABUFX_REASON_WRAPS] = "offset and size go beyond 2^64",
	[DMABUFX_REASON_TOO_LARGE] =
		"with it the buffer is larger than the driver allows",
	[DMABUFX_REASON_NOT_OPEN] = "the descriptor is not open",
	[DMABUFX_REASON_NOT_MEMFD] =
		"the descriptor is no memfd (nor a file of shmem or hugetlbfs)",
	[DMABUFX_REASON_OPEN_MODE] =
		"the memfd is not opened for reading and, as the buffer is not read-only, writing",
	[DMABUFX_REASON_BEYOND_END] = "it reaches beyond the end of the memfd",
	[DMABUFX_REASON_MAY_SHRINK] = "the memfd lacks F_SEAL_SHRINK",
	[DMABUFX_REASON_WRITE_SEALED] =
		"the memfd is sealed against writing, which allows only a read-only buffer",
	[DMABUFX_REASON_NO_MEMORY] =
		"there is no memory for it, or no huge page left in the pool or for this cgroup",
	[DMABUFX_REASON_PINNED_OFTEN] =
		"one of its pages is pinned more often than can be counted",
	[DMABUFX_REASON_NOT_USER] = "it is not in the address space of programs",
	[DMABUFX_REASON_UNMAPPED] = "nothing is mapped there",
	[DMABUFX_REASON_PROTECTED] =
		"it is mapped without permission to read or, as the buffer is not read-only, to write",
	[DMABUFX_REASON_DEVICE] = "it is mapped from a device or a dma-buf",
	[DMABUFX_REASON_FILE] =
		"it is mapped from a file that is not in memory alone, which allows only a read-only buffer",
	[DMABUFX_REASON_UNPINNABLE] = "the memory there cannot be pinned",
	[DMABUFX_REASON_POISONED] = "the machine reported memory of it broken",
};

static const char *sentence(const struct dmabufx_request *request)
{
	if (request->reason == DMABUFX_REASON_UDMABUF)
		return request->flags & DMABUFX_CREATE_READ_ONLY ?
			"udmabuf makes no read-only buffers; the module dmabufx does" :
			"udmabuf takes memfds only; the module dmabufx takes any memory";
	if (request->reason == DMABUFX_REASON_MEMLOCK && request->error == -EPERM)
		return "RLIMIT_MEMLOCK (ulimit -l) is 0";
	if (request->reason < sizeof(reasons) / sizeof(reasons[0]))
		return reasons[request->reason];
	return NULL;
}

/* Reasons of segments start at TYPE. Of the library's own, only one is a segment's. */
static bool is_of_segment(const struct dmabufx_request *request)
{
	if (request->reason >= DMABUFX_REASON_UDMABUF)
		return request->reason == DMABUFX_REASON_UDMABUF &&
		       !(request->flags & DMABUFX_CREATE_READ_ONLY);
	return request->reason >= DMABUFX_REASON_TYPE;
}

int dmabufx_explain_sized(const struct dmabufx_request *request, uint32_t request_size,
			  char *text, size_t size)
{
	const char *why;
	int ret, saved = errno;

	if (request_size < FIRST_SIZE(dmabufx_request, reason))
		return -EINVAL;
	why = request->error ? sentence(request) : "no error";

	errno = -request->error;
	if (why && is_of_segment(request))
		ret = snprintf(text, size, "segment %u: %s",
			       request->failed_segment, why);
	else if (why)
		ret = snprintf(text, size, "%s", why);
	else if (request->reason == DMABUFX_REASON_NO_DEVICE)
		ret = snprintf(text, size,
			       "neither /dev/dmabufx nor /dev/udmabuf can be opened: %m");
	else if (request->reason == DMABUFX_REASON_NO_MEMFD)
		ret = snprintf(text, size, "no memfd: %m");
	else
		ret = snprintf(text, size, "%m");
	errno = saved;
	return ret;
}
