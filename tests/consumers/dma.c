// SPDX-License-Identifier: MIT
/*
 * DMA by hardware: QEMU's device "edu" reads and writes memory, through an IOMMU or bounce
 * buffers if the machine has them. It does so in both directions, and again in the same
 * mapping.
 */
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define DEFAULT_TAGS TAG_EDU

#include "buffer.h"
#include "canvas.h"
#include "harness.h"
#include "operations.h"

/* An importer that has mapped the canvas for the hardware. */
static int map_for_hardware(const struct canvas *canvas)
{
	int importer = importer_open();
	struct dmabufx_importer_map map;

	if (ioctl(importer, DMABUFX_IMPORTER_HARDWARE))
		skip("needs QEMU's device edu: %s", errno_name(errno));
	operations_watch();
	importer_attach(importer, canvas->fd);
	map = importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	check_eq(map.bytes, canvas->size);
	return importer;
}

/* A page takes the device 0.2 s: tries pages at the ends, and some in between. */
static void for_some_pages(int importer, struct canvas *canvas,
			   void (*move)(int importer, struct canvas *canvas,
					size_t offset))
{
	size_t pages = canvas->size / PAGE;

	move(importer, canvas, 0);
	move(importer, canvas, PAGE);
	move(importer, canvas, pages / 2 * PAGE);
	move(importer, canvas, (pages - 1) * PAGE);
}

static unsigned int the_pass;

/* Bytes to move at a time: the device has no more memory of its own. */
#define MOVED KIB(4)

static void device_reads(int importer, struct canvas *canvas, size_t offset)
{
	char data[MOVED];

	importer_read(importer, DMABUFX_VIA_DEVICE, offset, data, MOVED);
	pattern_check(data, the_pass, canvas->mem.id, offset, MOVED,
		      "the device");
}

static void device_writes(int importer, struct canvas *canvas, size_t offset)
{
	pattern_fill(canvas->want + offset, the_pass, canvas->mem.id, offset,
		     MOVED);
	importer_write(importer, DMABUFX_VIA_DEVICE, offset,
		       canvas->want + offset, MOVED);
}

/* The device reads what the CPU writes, twice in one mapping. */
static void hardware_reads(struct backing backing, size_t size)
{
	struct canvas canvas = canvas_make_on(backing, size);
	int importer = map_for_hardware(&canvas);

	for (the_pass = 1; the_pass <= 2; the_pass++) {
		pattern_fill(canvas.want, the_pass, canvas.mem.id, 0,
			     canvas.size);
		canvas_put(&canvas);
		for_some_pages(importer, &canvas, device_reads);
	}
	operations_check(canvas.fd,
			 "attach map begin_cpu_access end_cpu_access");
	close(importer);
	canvas_free(&canvas);
}

/* The CPU reads what the device writes, after a bracket and after the end of the mapping. */
static void hardware_writes(struct backing backing, size_t size)
{
	struct canvas canvas = canvas_make_on(backing, size);
	int importer = map_for_hardware(&canvas);

	for (the_pass = 1; the_pass <= 2; the_pass++) {
		for_some_pages(importer, &canvas, device_writes);
		canvas_check(&canvas, "the device");
	}
	for_some_pages(importer, &canvas, device_writes);
	importer_do(importer, DMABUFX_IMPORTER_UNMAP, 0);
	canvas_check(&canvas, "the device, unmapped,");
	operations_check(canvas.fd,
			 "attach map unmap begin_cpu_access end_cpu_access");
	close(importer);
	canvas_free(&canvas);
}

static const struct backing pages = { SHMEM_4K, SHUFFLED };
static const struct backing folio = { SHMEM_2M, IN_ORDER };
static const struct backing hugetlb = { HUGETLB_2M, SHUFFLED };
static const struct backing user_memory = { ANON_4K, SHUFFLED };

PROMISE(dma_reads_shuffled_pages,
	"hardware reads 4 KiB pages of a memfd in any order, also when rewritten", TAG_PEER)
{
	hardware_reads(pages, KIB(300));
}

PROMISE(dma_writes_shuffled_pages,
	"hardware writes 4 KiB pages of a memfd in any order, and no others", TAG_PEER)
{
	hardware_writes(pages, KIB(300));
}

PROMISE(dma_reads_contiguous_memory, "hardware reads 2 MiB in one piece", TAG_PEER)
{
	hardware_reads(folio, MIB(2));
}

PROMISE(dma_writes_contiguous_memory, "hardware writes 2 MiB in one piece", TAG_PEER)
{
	hardware_writes(folio, MIB(2));
}

PROMISE(dma_reads_shuffled_hugetlb,
	"hardware reads shuffled pieces of a hugetlb page", TAG_PEER)
{
	hardware_reads(hugetlb, KIB(300));
}

PROMISE(dma_writes_shuffled_hugetlb,
	"hardware writes shuffled pieces of a hugetlb page", TAG_PEER)
{
	hardware_writes(hugetlb, KIB(300));
}

PROMISE(dma_reads_user_memory, "hardware reads private memory of a process")
{
	hardware_reads(user_memory, KIB(300));
}

PROMISE(dma_writes_user_memory, "hardware writes private memory of a process")
{
	hardware_writes(user_memory, KIB(300));
}
