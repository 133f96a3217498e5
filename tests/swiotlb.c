// SPDX-License-Identifier: MIT
/*
 * Devices behind bounce buffers, which is normal in a confidential VM. A device reads and
 * writes copies, and data moves only when the exporter syncs. The machine has to be booted
 * with swiotlb=force.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define DEFAULT_TAGS (TAG_PEER | TAG_BOUNCED)

#include "buffer.h"
#include "harness.h"
#include "memory.h"

#define SIZE KIB(256)

/* An importer that has mapped the buffer. */
static int mapped_importer(int fd, __u32 direction)
{
	int importer = importer_open();

	importer_attach(importer, fd);
	importer_map(importer, direction);
	return importer;
}

static void device_writes(int importer, unsigned int pass,
			  const struct memory *mem, size_t size)
{
	static __u64 data[SIZE / 8];
	__u64 offset;

	for (offset = 0; offset < size; offset += SIZE) {
		size_t len = size - offset < SIZE ? size - offset : SIZE;

		pattern_fill(data, pass, mem->id, offset, len);
		importer_write(importer, DMABUFX_VIA_DEVICE, offset, data, len);
	}
}

static void device_sees(int importer, unsigned int pass,
			const struct memory *mem, size_t size)
{
	static __u64 data[SIZE / 8];
	__u64 offset;

	for (offset = 0; offset < size; offset += SIZE) {
		size_t len = size - offset < SIZE ? size - offset : SIZE;

		importer_read(importer, DMABUFX_VIA_DEVICE, offset, data, len);
		pattern_check(data, pass, mem->id, offset, len, "the device");
	}
}

static void cpu_sees(const void *map, unsigned int pass,
		     const struct memory *mem, size_t size)
{
	pattern_check(map, pass, mem->id, 0, size, "the CPU");
}

static void unmap_carries(__u32 direction)
{
	struct memory mem = memory_make_patterned(SHMEM_4K, SIZE);
	int fd = create_range(&mem, 0, SIZE);
	int importer = mapped_importer(fd, direction);

	device_writes(importer, 2, &mem, SIZE);
	/* The device must work on a copy, or this test proves nothing. */
	cpu_sees(mem.map, 1, &mem, SIZE);
	importer_do(importer, DMABUFX_IMPORTER_UNMAP, 0);
	cpu_sees(mem.map, 2, &mem, SIZE);
	cpu_sees(map_dma_buf(fd, 0, SIZE), 2, &mem, SIZE);
}

PROMISE(swiotlb_unmap_carries_device_writes,
	"unmapping copies into memory what a device wrote")
{
	unmap_carries(DMABUFX_IMPORTER_BIDIRECTIONAL);
}

PROMISE(swiotlb_unmap_carries_incoming_data,
	"the same for a mapping that is DMA_FROM_DEVICE")
{
	unmap_carries(DMABUFX_IMPORTER_FROM_DEVICE);
}

PROMISE(swiotlb_map_carries_cpu_writes,
	"the device reads what the CPU wrote before the mapping")
{
	struct memory mem = memory_make(SHMEM_4K, SIZE);
	int fd = create_range(&mem, 0, SIZE);

	pattern_fill(mem.map, 1, mem.id, 0, SIZE);
	device_sees(mapped_importer(fd, DMABUFX_IMPORTER_TO_DEVICE), 1, &mem,
		    SIZE);
}

PROMISE(swiotlb_sync_carries_device_writes,
	"while mapped, a SYNC bracket shows the CPU what the device wrote")
{
	struct memory mem = memory_make(SHMEM_4K, SIZE);
	int fd = create_range(&mem, 0, SIZE);
	char *map = map_dma_buf(fd, 0, SIZE);
	int importer = mapped_importer(fd, DMABUFX_IMPORTER_BIDIRECTIONAL);
	unsigned int pass;

	for (pass = 1; pass < 4; pass++) {
		device_writes(importer, pass, &mem, SIZE);
		sync_start(fd, DMA_BUF_SYNC_READ);
		cpu_sees(map, pass, &mem, SIZE);
		sync_end(fd, DMA_BUF_SYNC_READ);
	}
}

PROMISE(swiotlb_sync_carries_cpu_writes,
	"while mapped, a SYNC bracket shows the device what the CPU wrote")
{
	struct memory mem = memory_make(SHMEM_4K, SIZE);
	int fd = create_range(&mem, 0, SIZE);
	char *map = map_dma_buf(fd, 0, SIZE);
	int importer = mapped_importer(fd, DMABUFX_IMPORTER_BIDIRECTIONAL);
	unsigned int pass;

	for (pass = 1; pass < 4; pass++) {
		sync_start(fd, DMA_BUF_SYNC_RW);
		pattern_fill(map, pass, mem.id, 0, SIZE);
		sync_end(fd, DMA_BUF_SYNC_RW);
		device_sees(importer, pass, &mem, SIZE);
	}
}

PROMISE(swiotlb_importer_brackets_carry_data,
	"a driver's own begin and end of CPU access carry data both ways")
{
	struct memory mem = memory_make(SHMEM_4K, SIZE);
	int fd = create_range(&mem, 0, SIZE);
	int importer = mapped_importer(fd, DMABUFX_IMPORTER_BIDIRECTIONAL);

	device_writes(importer, 1, &mem, SIZE);
	importer_do(importer, DMABUFX_IMPORTER_BEGIN,
		    DMABUFX_IMPORTER_BIDIRECTIONAL);
	cpu_sees(mem.map, 1, &mem, SIZE);
	pattern_fill(mem.map, 2, mem.id, 0, SIZE);
	importer_do(importer, DMABUFX_IMPORTER_END,
		    DMABUFX_IMPORTER_BIDIRECTIONAL);
	device_sees(importer, 2, &mem, SIZE);
}

PROMISE(swiotlb_sync_reaches_every_device,
	"one SYNC bracket shows four mapped devices what the CPU wrote")
{
	struct memory mem = memory_make(SHMEM_4K, SIZE);
	int fd = create_range(&mem, 0, SIZE), importers[4], i;
	char *map = map_dma_buf(fd, 0, SIZE);

	for (i = 0; i < 4; i++)
		importers[i] = mapped_importer(fd, i % 2 ?
					       DMABUFX_IMPORTER_TO_DEVICE :
					       DMABUFX_IMPORTER_BIDIRECTIONAL);
	sync_start(fd, DMA_BUF_SYNC_RW);
	pattern_fill(map, 1, mem.id, 0, SIZE);
	sync_end(fd, DMA_BUF_SYNC_RW);
	for (i = 0; i < 4; i++)
		device_sees(importers[i], 1, &mem, SIZE);
}

PROMISE(swiotlb_sync_carries_from_device_to_device,
	"a SYNC bracket carries one device's writes to the others that read")
{
	struct memory mem = memory_make(SHMEM_4K, SIZE);
	int fd = create_range(&mem, 0, SIZE), readers[2], i;
	int writer = mapped_importer(fd, DMABUFX_IMPORTER_FROM_DEVICE);

	for (i = 0; i < 2; i++)
		readers[i] = mapped_importer(fd, DMABUFX_IMPORTER_TO_DEVICE);
	device_writes(writer, 1, &mem, SIZE);
	sync_start(fd, DMA_BUF_SYNC_RW);
	cpu_sees(mem.map, 1, &mem, SIZE);
	sync_end(fd, DMA_BUF_SYNC_RW);
	for (i = 0; i < 2; i++)
		device_sees(readers[i], 1, &mem, SIZE);
}

/* Maps runs that are longer than the largest bounce buffer, 256 KiB. */
static void contiguous(enum memory_kind kind)
{
	struct memory mem = memory_make(kind, MIB(2));
	int fd = create_range(&mem, 0, mem.size);
	int importer = importer_open();
	struct dmabufx_importer_map map;

	importer_limits(importer, ~0ull, ~0ull, ~0u);
	importer_attach(importer, fd);
	map = importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	check_eq(map.faults, 0);
	check_eq(map.bytes, mem.size);
	device_writes(importer, 1, &mem, mem.size);
	importer_do(importer, DMABUFX_IMPORTER_UNMAP, 0);
	cpu_sees(mem.map, 1, &mem, mem.size);
}

PROMISE(swiotlb_contiguous_2m_folio,
	"contiguous memory above 256 KiB can be mapped, and its data arrives")
{
	contiguous(SHMEM_2M);
}

PROMISE(swiotlb_contiguous_2m_hugetlb, "the same for a hugetlb page")
{
	contiguous(HUGETLB_2M);
}

PROMISE(swiotlb_sync_without_a_device,
	"SYNC of a buffer of 2 MiB that no device has mapped succeeds")
{
	struct memory mem = memory_make(SHMEM_2M, MIB(2));
	int fd = create_range(&mem, 0, mem.size);

	sync_start(fd, DMA_BUF_SYNC_RW);
	sync_end(fd, DMA_BUF_SYNC_RW);
}

PROMISE(swiotlb_exhaustion_is_an_error,
	"a mapping larger than all bounce buffers fails; afterwards SYNC and map work")
{
	struct memory mem = memory_make(SHMEM_4K, MIB(96));
	struct dmabufx_importer_map map = {};
	int fd = create_range(&mem, 0, mem.size);
	int importer = importer_open();

	importer_attach(importer, fd);
	check_eq(try_importer_map(importer, &map), -1);
	note("mapping 96 MiB: %s", errno_name(errno));
	sync_start(fd, DMA_BUF_SYNC_RW);
	sync_end(fd, DMA_BUF_SYNC_RW);
	must(close(importer));
	mapped_importer(create_range(&mem, 0, SIZE), DMABUFX_IMPORTER_BIDIRECTIONAL);
}
