// SPDX-License-Identifier: MIT
/* Opening the device, and queries about it and about dma-bufs. */
#include <errno.h>
#include <sys/ioctl.h>

#include "internal.h"

/* Read-only is enough for all calls, and seccomp or ACLs may allow no more. */
static int open_node(const char *path)
{
	int state = hold_cancellation();
	int fd = open(path, O_RDONLY | O_CLOEXEC), ret = fd < 0 ? -errno : fd;

	release_cancellation(state);
	return ret;
}

/* Returns true if there is no driver. Its node may still exist. */
static bool is_absent(int error)
{
	return error == -ENOENT || error == -ENXIO || error == -ENODEV;
}

int dmabufx_open(void)
{
	int fd = open_node(DMABUFX_DEVICE), other;

	/* A sandbox may allow only udmabuf. It must work on when the module is installed. */
	if (!is_absent(fd) && !is_forbidden(fd))
		return fd;
	other = open_node("/dev/udmabuf");
	return is_absent(fd) || other >= 0 ? other : fd;
}

int dmabufx_query_sized(int device, struct dmabufx_query *query, uint32_t query_size)
{
	struct dmabufx_query known = { .size = query_size };
	int ret;

	if (query_size < FIRST_SIZE(dmabufx_query, user_locked))
		return -EINVAL;
	memset(query, 0, query_size);
	query->size = query_size;
	ret = ioctl(device, DMABUFX_IOC_QUERY, query) ? -errno : 0;
	if (!is_unknown_call(ret))
		return ret;
	ret = dmabufx_udmabuf_query(device, &known);
	if (!ret)
		memcpy(query, &known, smaller(query_size, sizeof(known)));
	return ret;
}

int dmabufx_info_sized(int device, int dmabuf, struct dmabufx_info *info,
		       uint32_t info_size)
{
	if (info_size < FIRST_SIZE(dmabufx_info, user_bytes))
		return -EINVAL;
	memset(info, 0, info_size);
	info->size = info_size;
	info->fd = dmabuf;
	if (!ioctl(device, DMABUFX_IOC_INFO, info))
		return 0;
	return errno == ENOTTY ? -EOPNOTSUPP : -errno;
}
