/* SPDX-License-Identifier: MIT */
/* Memory that is also a dma-buf: the CPU writes to the memfd, devices get the dma-buf. */
#ifndef MEMFD_DMABUF_H
#define MEMFD_DMABUF_H

#include <stddef.h>

#define DEFAULT_DEVICE "/dev/dmabufx"

struct memfd_dmabuf {
	int dmabuf;	/* pass this to EGL, DRM, V4L2, ... */
	void *mem;	/* the memfd, mapped */
	size_t size;	/* bytes, whole pages */
};

/* Makes at least @size bytes, all zero. @device is /dev/dmabufx or /dev/udmabuf. */
void memfd_dmabuf_create(struct memfd_dmabuf *buf, const char *device, size_t size);

/* Takes over a dma-buf that somebody else made; maps that instead of a memfd. */
void memfd_dmabuf_adopt(struct memfd_dmabuf *buf, int dmabuf);

/* Writes the first @len bytes, so that devices see them. */
void memfd_dmabuf_write(const struct memfd_dmabuf *buf, const void *data, size_t len);

/* Reads the first @len bytes, as devices have written them. */
void memfd_dmabuf_read(const struct memfd_dmabuf *buf, void *data, size_t len);

void memfd_dmabuf_destroy(struct memfd_dmabuf *buf);

#endif
