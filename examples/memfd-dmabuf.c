// SPDX-License-Identifier: MIT
/*
 * From a memfd to a dma-buf and back to the CPU: the code to copy into your program.
 *
 * The memory stays an ordinary memfd all the time. Making the dma-buf copies nothing,
 * and every importer of the dma-buf sees data that is written to the memfd later.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/dma-buf.h>
#include <linux/udmabuf.h>

#include "memfd-dmabuf.h"

static size_t round_up_to_pages(size_t size)
{
	size_t page = sysconf(_SC_PAGESIZE);

	return (size + page - 1) / page * page;
}

/* The seal guarantees that ftruncate() never takes away memory that a device uses. */
static int create_memfd(size_t size)
{
	int memfd = memfd_create(program_invocation_short_name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (memfd < 0)
		err(EXIT_FAILURE, "memfd_create");
	if (ftruncate(memfd, size) < 0)
		err(EXIT_FAILURE, "cannot make a memfd of %zu bytes", size);
	if (fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK) < 0)
		err(EXIT_FAILURE, "cannot seal the memfd");
	return memfd;
}

static int open_device(const char *device)
{
	int fd = open(device, O_RDWR | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT)
		errx(EXIT_FAILURE, "%s is not there\n"
		     "  Load the module (modprobe dmabufx), or name another device: --device PATH",
		     device);
	if (fd < 0)
		errx(EXIT_FAILURE, "cannot open %s: %m\n"
		     "  Only root and the owner or group of the device may open it.", device);
	return fd;
}

static int create_dmabuf(const char *device, int memfd, size_t size)
{
	struct udmabuf_create create = {
		.memfd = memfd,
		.flags = UDMABUF_FLAGS_CLOEXEC,
		.offset = 0,
		.size = size,
	};
	int device_fd = open_device(device);
	int dmabuf = ioctl(device_fd, UDMABUF_CREATE, &create);

	if (dmabuf < 0)
		errx(EXIT_FAILURE, "%s makes no dma-buf of %zu bytes: %m\n"
		     "  It may be more than the driver's limit for one buffer.", device, size);
	close(device_fd);
	return dmabuf;
}

void memfd_dmabuf_create(struct memfd_dmabuf *buf, const char *device, size_t size)
{
	int memfd;

	buf->size = round_up_to_pages(size);
	memfd = create_memfd(buf->size);
	buf->dmabuf = create_dmabuf(device, memfd, buf->size);
	buf->mem = mmap(NULL, buf->size, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	if (buf->mem == MAP_FAILED)
		err(EXIT_FAILURE, "cannot map the memfd");
	close(memfd);	/* The mapping and the dma-buf keep the memory. */
}

void memfd_dmabuf_adopt(struct memfd_dmabuf *buf, int dmabuf)
{
	off_t size = lseek(dmabuf, 0, SEEK_END);

	if (size <= 0)
		err(EXIT_FAILURE, "descriptor %d is no dma-buf", dmabuf);
	buf->size = size;
	buf->dmabuf = dmabuf;
	buf->mem = mmap(NULL, buf->size, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);
	if (buf->mem == MAP_FAILED)
		err(EXIT_FAILURE, "cannot map the dma-buf");
}

/* Waits for the devices that use the buffer, and synchronises their caches and the CPU's. */
static void sync_cpu_access(int dmabuf, uint64_t flags)
{
	struct dma_buf_sync sync = { .flags = flags };

	while (ioctl(dmabuf, DMA_BUF_IOCTL_SYNC, &sync) < 0)
		if (errno != EINTR && errno != EAGAIN)
			err(EXIT_FAILURE, "DMA_BUF_IOCTL_SYNC");
}

void memfd_dmabuf_write(const struct memfd_dmabuf *buf, const void *data, size_t len)
{
	sync_cpu_access(buf->dmabuf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE);
	memcpy(buf->mem, data, len);
	sync_cpu_access(buf->dmabuf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_WRITE);
}

void memfd_dmabuf_read(const struct memfd_dmabuf *buf, void *data, size_t len)
{
	sync_cpu_access(buf->dmabuf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ);
	memcpy(data, buf->mem, len);
	sync_cpu_access(buf->dmabuf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ);
}

void memfd_dmabuf_destroy(struct memfd_dmabuf *buf)
{
	munmap(buf->mem, buf->size);
	close(buf->dmabuf);
}
