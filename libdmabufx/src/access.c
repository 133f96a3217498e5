// SPDX-License-Identifier: MIT
/* Brackets around CPU access, and fences. */
#include <errno.h>
#include <sys/ioctl.h>

#include <linux/dma-buf.h>

#include "internal.h"

_Static_assert(DMABUFX_READ == DMA_BUF_SYNC_READ, "the kernel's numbers");
_Static_assert(DMABUFX_WRITE == DMA_BUF_SYNC_WRITE, "the kernel's numbers");

/* Since Linux 6.0; headers may be older. */
#ifndef DMA_BUF_IOCTL_EXPORT_SYNC_FILE
struct dma_buf_export_sync_file { __u32 flags; __s32 fd; };
struct dma_buf_import_sync_file { __u32 flags; __s32 fd; };
#define DMA_BUF_IOCTL_EXPORT_SYNC_FILE \
	_IOWR(DMA_BUF_BASE, 2, struct dma_buf_export_sync_file)
#define DMA_BUF_IOCTL_IMPORT_SYNC_FILE \
	_IOW(DMA_BUF_BASE, 3, struct dma_buf_import_sync_file)
#endif

/* Repeats the call after a signal, or if a driver was busy, so that no bracket stays open. */
static int patient_ioctl(int fd, unsigned long request, void *arg)
{
	while (ioctl(fd, request, arg))
		if (errno != EINTR && errno != EAGAIN)
			return -errno;
	return 0;
}

static int sync_access(int dmabuf, uint64_t when, unsigned int access)
{
	struct dma_buf_sync sync = { .flags = when | access };

	/* Other bits could turn the beginning into an end. */
	if (access & ~(DMABUFX_READ | DMABUFX_WRITE))
		return -EINVAL;
	return patient_ioctl(dmabuf, DMA_BUF_IOCTL_SYNC, &sync);
}

int dmabufx_begin_cpu_access(int dmabuf, unsigned int access)
{
	return sync_access(dmabuf, DMA_BUF_SYNC_START, access);
}

int dmabufx_end_cpu_access(int dmabuf, unsigned int access)
{
	return sync_access(dmabuf, DMA_BUF_SYNC_END, access);
}

int dmabufx_export_sync_file(int dmabuf, unsigned int access)
{
	struct dma_buf_export_sync_file sync = { .flags = access, .fd = -1 };
	int ret = patient_ioctl(dmabuf, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &sync);

	return ret ? ret : sync.fd;
}

int dmabufx_import_sync_file(int dmabuf, int sync_file, unsigned int access)
{
	struct dma_buf_import_sync_file sync = {
		.flags = access,
		.fd = sync_file,
	};

	return patient_ioctl(dmabuf, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &sync);
}
