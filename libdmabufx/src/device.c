// SPDX-License-Identifier: MIT
/* The device, and what it tells of itself and of dma-bufs. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "internal.h"

uint64_t number_in_file(const char *path, uint64_t otherwise)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[32] = "";
	ssize_t len;

	if (fd < 0)
		return otherwise;
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	return len > 0 ? strtoull(text, NULL, 10) : otherwise;
}

/* Reading is all that its calls need, and seccomp or ACLs may allow no more. */
static int open_node(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return fd;
}

int dmabufx_open(void)
{
	int fd = open_node(DMABUFX_DEVICE);

	/* A node may outlive its driver. */
	if (fd == -ENOENT || fd == -ENXIO || fd == -ENODEV)
		fd = open_node("/dev/udmabuf");
	return fd;
}

int dmabufx_query(int device, struct dmabufx_query *query)
{
	*query = (struct dmabufx_query) { .size = sizeof(*query) };
	if (!ioctl(device, DMABUFX_IOC_QUERY, query))
		return 0;
	return errno == ENOTTY ? udmabuf_query(device, query) : -errno;
}

int dmabufx_info(int device, int dmabuf, struct dmabufx_info *info)
{
	*info = (struct dmabufx_info) { .size = sizeof(*info), .fd = dmabuf };
	if (!ioctl(device, DMABUFX_IOC_INFO, info))
		return 0;
	return errno == ENOTTY ? -EOPNOTSUPP : -errno;
}
