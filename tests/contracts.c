// SPDX-License-Identifier: MIT
/* Importers can rely on some rules, and importers that break them do no harm. */
#include <sys/ioctl.h>
#include <unistd.h>

#include "buffer.h"
#include "harness.h"
#include "memory.h"

#define SIZE KIB(64)

static void device_has(int importer, const struct memory *mem, unsigned int pass)
{
	static __u64 data[SIZE / 8];

	importer_read(importer, DMABUFX_VIA_DEVICE, 0, data, SIZE);
	pattern_check(data, pass, mem->id, 0, SIZE, "the device");
}

/* The importer maps, reads and writes, and ends its mapping, as if nothing had happened. */
static void device_works(int importer, int fd, struct memory *mem,
			 unsigned int pass)
{
	importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	sync_start(fd, DMA_BUF_SYNC_RW);
	pattern_fill(mem->map, pass, mem->id, 0, SIZE);
	sync_end(fd, DMA_BUF_SYNC_RW);
	device_has(importer, mem, pass);
	importer_do(importer, DMABUFX_IMPORTER_UNMAP, 0);
	pattern_check(mem->map, pass, mem->id, 0, SIZE, "the CPU");
}

static void abused(unsigned long how, const char *report)
{
	struct memory mem = memory_make(SHMEM_4K, SIZE);
	int fd = create_range(&mem, 0, SIZE), importer = importer_open(), pass;

	expect_report(report);
	/* The kernel reports this once; the driver must be safe each time. */
	for (pass = 1; pass < 4; pass++) {
		importer_attach(importer, fd);
		importer_do(importer, DMABUFX_IMPORTER_ABUSE, how);
		if (how == DMABUFX_DETACH_MAPPED)
			importer_attach(importer, fd);
		device_works(importer, fd, &mem, pass);
		importer_do(importer, DMABUFX_IMPORTER_DETACH, 0);
	}
}

PROMISE(hostile_importer_unmaps_twice,
	"an importer that ends a mapping twice is reported, and does no harm")
{
	abused(DMABUFX_UNMAP_TWICE, "dmabufx_unmap+");
}

PROMISE(hostile_importer_unmaps_another,
	"an importer that ends a mapping of another device is reported, and does no harm")
{
	abused(DMABUFX_UNMAP_ANOTHER, "dmabufx_unmap+");
}

PROMISE(hostile_importer_detaches_mapped,
	"an importer that detaches before it unmaps is reported, and the mapping ends")
{
	abused(DMABUFX_DETACH_MAPPED, "dmabufx_detach+");
}

PROMISE(hostile_importer_spoils_pages,
	"an importer that changes the pages in its scatterlist does no harm (DMABUF_DEBUG)")
{
	struct memory mem = memory_make(SHMEM_4K, SIZE);
	int fd = create_range(&mem, 0, SIZE), importer = importer_open(), pass;

	importer_attach(importer, fd);
	for (pass = 1; pass < 4; pass++) {
		if (ioctl(importer, DMABUFX_IMPORTER_ABUSE, DMABUFX_SPOIL_PAGES)) {
			check_eq(errno, EOPNOTSUPP);
			skip("needs DMABUF_DEBUG");
		}
		device_works(importer, fd, &mem, pass);
	}
}

PROMISE(create_dynamic_importer,
	"a dynamic importer works as others; a read-only buffer mapped at attach is EACCES")
{
	struct memory mem = memory_make_patterned(SHMEM_4K, SIZE);
	struct dmabufx_segment seg = segment(&mem, 0, SIZE);
	struct dmabufx_create req = request(&seg, 1, DMABUFX_CREATE_CLOEXEC |
						     DMABUFX_CREATE_READ_ONLY);
	int device = device_open(), importer = importer_open();

	importer_do(importer, DMABUFX_IMPORTER_ATTACH_DYNAMIC,
		    create_of(&seg, 1));
	importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	device_has(importer, &mem, 1);
	must(close(importer));

	importer = importer_open();
	if (ioctl(importer, DMABUFX_IMPORTER_ATTACH_DYNAMIC,
		  must(try_request(device, &req)))) {
		check_eq(errno, EACCES);
		note("refused: Linux maps when it is attached");
		return;
	}
	importer_map(importer, DMABUFX_IMPORTER_TO_DEVICE);
	device_has(importer, &mem, 1);
}
