/* SPDX-License-Identifier: MIT */
/* Memory of ours that is a dma-buf as well: the CPU writes the memfd, devices get the dma-buf. */
#ifndef MEMFD_DMABUF_H
#define MEMFD_DMABUF_H

#include <stddef.h>

#define DEFAULT_DEVICE "/dev/dmabufx"

struct memfd_dmabuf {
	int dmabuf;	/* hand this one to EGL, DRM, V4L2, ... */
	void *mem;	/* the memfd, mapped */
	size_t size;	/* bytes, whole pages */
};

/* Makes at least @size bytes, all zero. @device is /dev/dmabufx or /dev/udmabuf. */
void memfd_dmabuf_create(struct memfd_dmabuf *buf, const char *device, size_t size);

/* Takes a dma-buf over that somebody else made; its own mapping takes the memfd's place. */
void memfd_dmabuf_adopt(struct memfd_dmabuf *buf, int dmabuf);

/* Replaces the first @len bytes in such a way that devices see them. */
void memfd_dmabuf_write(const struct memfd_dmabuf *buf, const void *data, size_t len);

/* Takes the first @len bytes, as devices have left them. */
void memfd_dmabuf_read(const struct memfd_dmabuf *buf, void *data, size_t len);

void memfd_dmabuf_destroy(struct memfd_dmabuf *buf);

#endif
