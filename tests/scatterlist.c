// SPDX-License-Identifier: MIT
/* Scatterlists that a device's driver gets when it maps a buffer. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define DEFAULT_TAGS TAG_PEER

#include "buffer.h"
#include "harness.h"
#include "memory.h"
#include "watch.h"

#define ALL_ADDRESSES (~0ull)
#define NO_BOUNDARY (~0ull)

struct limits {
	__u64 dma_mask;
	__u64 seg_boundary;
	__u32 max_seg;
};

/* Maps the buffer with these limits; fails if the scatterlist breaks a rule. */
static struct dmabufx_importer_map map_within(struct buffer *buf,
					      struct limits limits)
{
	struct dmabufx_importer_map map;

	buf->importer = importer_open();
	importer_limits(buf->importer, limits.dma_mask, limits.seg_boundary,
			limits.max_seg);
	importer_attach(buf->importer, buf->fd);
	map = importer_map(buf->importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	if (map.faults)
		fail("scatterlist with faults %#x: %u entries, longest %u bytes",
		     map.faults, map.nents, map.longest);
	check_eq(map.bytes, buf->size);
	check_le(map.longest, limits.max_seg);
	return map;
}

/* Parts of all kinds of memory that begin inside folios, and pages out of order. */
static void maps_all_kinds(struct limits limits)
{
	enum memory_kind kind;

	for (kind = SHMEM_4K; kind <= HUGETLB_2M; kind++) {
		struct memory mem = memory_make(kind, MIB(4));
		struct part parts[] = {
			{ &mem, PAGE, MIB(2) + KIB(512) },
			{ &mem, PAGE, PAGE },
			{ &mem, 0, PAGE },
			{ &mem, MIB(4) - PAGE, PAGE },
		};
		struct buffer buf = buffer_make(parts, 4);

		map_within(&buf, limits);
		buffer_write(&buf, &way_device, 1);
		importer_do(buf.importer, DMABUFX_IMPORTER_UNMAP, 0);
		buffer_verify(&buf, &way_memfd, 1);
		buffer_free(&buf);
		memory_free(&mem);
	}
}

PROMISE(sg_with_default_limits,
	"a device that sets no limits gets a correct scatterlist")
{
	enum memory_kind kind;

	for (kind = SHMEM_4K; kind <= HUGETLB_2M; kind++) {
		struct memory mem = memory_make(kind, MIB(4));
		struct part part = { &mem, PAGE, MIB(2) + KIB(512) };
		struct buffer buf = buffer_make(&part, 1);
		struct dmabufx_importer_map map;

		buf.importer = importer_open();
		importer_attach(buf.importer, buf.fd);
		map = importer_map(buf.importer, DMABUFX_IMPORTER_TO_DEVICE);
		if (map.faults)
			fail("%s: scatterlist with faults %#x",
			     memory_name(kind), map.faults);
		check_eq(map.bytes, buf.size);
		buffer_free(&buf);
		memory_free(&mem);
	}
}

PROMISE(sg_with_unlimited_segments,
	"a device with the largest possible limits gets a correct scatterlist")
{
	maps_all_kinds((struct limits){ ALL_ADDRESSES, NO_BOUNDARY, ~0u });
}

PROMISE(sg_with_segments_of_a_page, "no segment is longer than a limit of one page")
{
	maps_all_kinds((struct limits){ ALL_ADDRESSES, NO_BOUNDARY, PAGE });
}

PROMISE(sg_with_segments_of_64k, "no segment is longer than a limit of 64 KiB")
{
	maps_all_kinds((struct limits){ ALL_ADDRESSES, NO_BOUNDARY, KIB(64) });
}

PROMISE(sg_with_segments_of_odd_length,
	"a limit that is no multiple of a page is rounded down to one")
{
	const __u32 odd = 3 * PAGE + 512;

	maps_all_kinds((struct limits){ ALL_ADDRESSES, NO_BOUNDARY, odd });
}

PROMISE(sg_with_segment_boundary, "no segment crosses a boundary of 64 KiB")
{
	maps_all_kinds((struct limits){ ALL_ADDRESSES, KIB(64) - 1, ~0u });
}

PROMISE(sg_with_boundary_and_length,
	"a boundary of 1 MiB and a limit of 384 KiB hold together")
{
	maps_all_kinds((struct limits){ ALL_ADDRESSES, MIB(1) - 1, KIB(384) });
}

PROMISE(sg_with_32_bit_addresses,
	"a device with 32-bit addresses gets addresses that it can reach, and the data")
{
	maps_all_kinds((struct limits){ 0xffffffff, NO_BOUNDARY, ~0u });
}

PROMISE(sg_with_segments_below_a_page,
	"a device whose limit is below a page gets EINVAL, and other devices notice nothing")
{
	struct dmabufx_importer_map map = {};
	struct memory mem = memory_make(SHMEM_4K, KIB(64));
	struct part part = { &mem, 0, mem.size };
	struct buffer buf = buffer_make(&part, 1);
	int importer = importer_open(), round;

	importer_limits(importer, ALL_ADDRESSES, NO_BOUNDARY, PAGE / 2);
	importer_attach(importer, buf.fd);
	for (round = 0; round < 2; round++) {
		must_fail(EINVAL, try_importer_map(importer, &map));
		sync_start(buf.fd, DMA_BUF_SYNC_RW);
		sync_end(buf.fd, DMA_BUF_SYNC_RW);
	}
	buffer_write(&buf, &way_device, 1);
	buffer_verify(&buf, &way_memfd, 1);
}

PROMISE(sg_of_each_device_is_its_own,
	"devices with different limits map a buffer at once, each within its own limits")
{
	struct memory mem = memory_make(HUGETLB_2M, MIB(2));
	int fd = create_range(&mem, 0, mem.size), strict = importer_open(), lax = importer_open();
	struct dmabufx_importer_map few, many;

	importer_limits(strict, ALL_ADDRESSES, NO_BOUNDARY, PAGE);
	importer_limits(lax, ALL_ADDRESSES, NO_BOUNDARY, ~0u);
	importer_attach(strict, fd);
	importer_attach(lax, fd);
	few = importer_map(lax, DMABUFX_IMPORTER_BIDIRECTIONAL);
	many = importer_map(strict, DMABUFX_IMPORTER_BIDIRECTIONAL);
	check_eq(few.faults, 0);
	check_eq(few.orig_nents, 1);
	check_eq(many.faults, 0);
	check_eq(many.orig_nents, MIB(2) / PAGE);
}

static unsigned int entries_of(enum memory_kind kind, __u64 size)
{
	struct memory mem = memory_make(kind, size);
	struct part part = { &mem, 0, size };
	struct buffer buf = buffer_make(&part, 1);
	struct dmabufx_importer_map map;

	map = map_within(&buf, (struct limits){ ALL_ADDRESSES, NO_BOUNDARY, ~0u });
	note("%llu KiB of %s: %u entries", size >> 10, memory_name(kind),
	     map.orig_nents);
	buffer_free(&buf);
	memory_free(&mem);
	return map.orig_nents;
}

PROMISE(sg_entry_for_a_folio,
	"a folio is one entry, however large: 64 KiB, 2 MiB, 2 MiB hugetlb")
{
	check_le(entries_of(SHMEM_64K, KIB(64)), 1);
	check_le(entries_of(SHMEM_2M, MIB(2)), 1);
	check_le(entries_of(HUGETLB_2M, MIB(2)), 1);
}

PROMISE(sg_entry_for_a_1g_page, "a 1 GiB page is one entry")
{
	check_le(entries_of(HUGETLB_1G, GIB(1)), 1);
}

PROMISE(sg_entries_are_few,
	"neighbouring folios share entries: never more entries than folios")
{
	check_le(entries_of(SHMEM_2M, MIB(64)), 32);
	check_le(entries_of(HUGETLB_2M, MIB(64)), 32);
	check_le(entries_of(SHMEM_4K, MIB(16)), 4096);
}

PROMISE(many_attachments,
	"32 devices map a buffer at once, and each reads what the others write")
{
	struct memory mem = memory_make(SHMEM_64K, MIB(1));
	int fd = create_range(&mem, PAGE, KIB(512));
	int importers[32], nr = ARRAY_SIZE(importers);
	__u64 word;
	int i;

	for (i = 0; i < nr; i++) {
		importers[i] = importer_open();
		importer_attach(importers[i], fd);
		importer_map(importers[i], DMABUFX_IMPORTER_BIDIRECTIONAL);
	}
	for (i = 0; i < nr; i++) {
		word = i + 1;
		importer_write(importers[i], DMABUFX_VIA_DEVICE, i * PAGE,
			       &word, sizeof(word));
		importer_read(importers[(i + 7) % nr], DMABUFX_VIA_SG,
			      i * PAGE, &word, sizeof(word));
		check_eq(word, i + 1);
	}
	/* After half of them are closed, the others still work. */
	for (i = 0; i < nr; i += 2)
		must(close(importers[i]));
	importer_read(importers[1], DMABUFX_VIA_DEVICE, (nr - 1) * PAGE, &word, 8);
	check_eq(word, nr);
}

PROMISE(maps_again_and_again,
	"an attachment can be mapped and unmapped a hundred times, in each direction")
{
	struct memory mem = memory_make(SHMEM_4K, MIB(1));
	int fd = create_range(&mem, 0, mem.size);
	int importer = importer_open();
	__u64 word = 0;
	__u32 i;

	importer_attach(importer, fd);
	for (i = 0; i < 100; i++) {
		importer_map(importer, i % 3);
		importer_read(importer, DMABUFX_VIA_SG, 0, &word, 8);
		importer_do(importer, DMABUFX_IMPORTER_UNMAP, 0);
	}
}

/* So many entries that filling the table pauses twice. */
#define MANY 9000

/* An importer of a buffer of @nr pages, none of which follows its neighbour in memory. */
static int importer_of_pages(unsigned int nr, const struct limits *limits)
{
	struct memory mem = memory_make(SHMEM_4K, PAGE);
	struct udmabuf_create_item *items = calloc(nr, sizeof(*items));
	int importer = importer_open(), device = device_open(), fd;
	unsigned int i;

	check(items);
	for (i = 0; i < nr; i++)
		items[i] = list_item(&mem, 0, PAGE);
	fd = must(try_create_list(device, items, nr, 0));
	importer_limits(importer, limits->dma_mask, limits->seg_boundary,
			limits->max_seg);
	importer_attach(importer, fd);
	must(close(fd));
	must(close(device));
	memory_free(&mem);
	free(items);
	return importer;
}

static void map_while_killed(void *arg)
{
	const struct limits *limits = arg;
	int importer = importer_of_pages(MANY, limits);

	must_fail(EINTR, ioctl(importer, DMABUFX_IMPORTER_MAP_KILLED, 0));
	must(close(importer));
}

static void is_filled_killably(struct limits limits)
{
	int importer = importer_of_pages(MANY, &limits);
	struct dmabufx_importer_map map;

	must_fail(EINTR, ioctl(importer, DMABUFX_IMPORTER_MAP_KILLED, 0));
	/* A task that is not killed gets the whole table afterwards. */
	map = importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	check_eq(map.faults, 0);
	check_eq(map.nents, MANY);
	importer_do(importer, DMABUFX_IMPORTER_UNMAP, 0);
	/* The table exists already: there is nothing to wait for. */
	importer_do(importer, DMABUFX_IMPORTER_MAP_KILLED, 0);
	must(close(importer));

	importer = importer_of_pages(16, &limits);
	importer_do(importer, DMABUFX_IMPORTER_MAP_KILLED, 0);
	must(close(importer));
	leaves_nothing(map_while_killed, &limits, 10);
}

PROMISE(sg_is_filled_killably,
	"a task killed while it fills a long scatterlist gets EINTR and leaves nothing")
{
	/* An entry for each run, and runs that are split: the code differs. */
	is_filled_killably((struct limits){ ALL_ADDRESSES, NO_BOUNDARY, KIB(64) });
	is_filled_killably((struct limits){ ALL_ADDRESSES, PAGE - 1, KIB(64) });
}
