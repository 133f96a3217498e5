// SPDX-License-Identifier: MIT
/* The kernel memory that a buffer costs, beside the memory that it consists of. */
#include <stdlib.h>
#include <unistd.h>

#define DEFAULT_TAGS TAG_PEER

#include "buffer.h"
#include "harness.h"
#include "memory.h"
#include "watch.h"

#define SIZE MIB(256)
#define MANY 800

/*
 * Bytes of kernel memory for each of many buffers of the same memfd. It takes many, for the
 * kernel counts memory by the page.
 */
static long cost_of_a_buffer(const struct memory *mem, int buffers)
{
	long before, cost;
	int fds[MANY], i;

	stay_on_one_cpu();
	before = kernel_memory();
	for (i = 0; i < buffers; i++)
		fds[i] = create_range(mem, 0, mem->size);
	cost = (kernel_memory() - before) / buffers;
	for (i = 0; i < buffers; i++)
		close(fds[i]);
	return cost;
}

static long median(long a, long b, long c)
{
	if (a > b)
		return median(b, a, c);
	return b < c ? b : a > c ? a : c;
}

static void needs_exact_records(void)
{
	if (kernel_looks_closely())
		skip("this kernel's own records cost more than what they are of");
}

static void costs_at_most(enum memory_kind kind, int buffers, long limit)
{
	struct memory mem;
	long cost;

	needs_exact_records();
	mem = memory_make(kind, SIZE);
	cost = cost_of_a_buffer(&mem, buffers);
	note("256 MiB of %s cost %ld bytes of kernel memory a buffer",
	     memory_name(kind), cost);
	check_le(cost, limit);
}

PROMISE(metadata_of_2m_folios,
	"a buffer of 256 MiB in 2 MiB folios costs at most 4 KiB of kernel memory")
{
	costs_at_most(SHMEM_2M, MANY, KIB(4));
}

PROMISE(metadata_of_2m_hugetlb,
	"a buffer of 256 MiB in hugetlb pages costs at most 4 KiB of kernel memory")
{
	costs_at_most(HUGETLB_2M, MANY, KIB(4));
}

/* Neighbouring pages are one run, which is one entry for a device without limits. */
static unsigned int count_runs(const struct memory *mem)
{
	struct dmabufx_importer_map map;
	int importer = importer_open();
	int fd = create_range(mem, 0, mem->size);

	importer_limits(importer, ~0ull, ~0ull, ~0u);
	importer_attach(importer, fd);
	map = importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	must(close(importer));
	must(close(fd));
	return map.orig_nents;
}

PROMISE(metadata_of_4k_pages,
	"a buffer of 64 MiB of 4 KiB pages costs 12 bytes for each run, rounded up")
{
	struct memory mem;
	unsigned int runs;
	long cost;

	needs_exact_records();
	mem = memory_make(SHMEM_4K, MIB(64));
	runs = count_runs(&mem);
	/*
	 * Few buffers, for each has 16,384 pages to pin. The kernel's threads may allocate or
	 * free something meanwhile.
	 */
	cost = median(cost_of_a_buffer(&mem, 8), cost_of_a_buffer(&mem, 8),
		      cost_of_a_buffer(&mem, 8));
	note("64 MiB of 4 KiB pages in %u runs cost %ld bytes a buffer", runs,
	     cost);
	/* The slab rounds sizes up to a power of two. */
	check_le(cost, KIB(4) + 2 * 12 * runs);
}

/* A table reserves room for a batch of 248 folios; one run of them remains. */
#define BATCH 248
#define PIECES 32500
#define BUFFERS 8

PROMISE(metadata_of_pieces,
	"a buffer of many runs costs 12 bytes for each; the space in which it grew is freed")
{
	struct udmabuf_create_item *items = calloc(PIECES, sizeof(*items));
	int device = device_open(), i, fds[BUFFERS];
	struct memory mem;
	long before, cost, left;

	needs_exact_records();
	check(items);
	mem = memory_make(SHMEM_4K, BATCH * PAGE);
	items[0] = list_item(&mem, 0, mem.size);
	/* No page follows itself, so runs do not merge. */
	for (i = 1; i < PIECES; i++)
		items[i] = list_item(&mem, mem.size - PAGE, PAGE);
	stay_on_one_cpu();
	must_close(try_create_list(device, items, PIECES, 0));
	/* The table is in pages that no counter of the kernel's names. */
	before = memory_of_nobody();
	for (i = 0; i < BUFFERS; i++)
		fds[i] = must(try_create_list(device, items, PIECES, 0));
	cost = (memory_of_nobody() - before) / BUFFERS;
	for (i = 0; i < BUFFERS; i++)
		must(close(fds[i]));
	left = (memory_of_nobody() - before) / BUFFERS;
	note("a buffer of %d pieces costs %ld bytes, and %ld afterwards", PIECES, cost,
	     left);
	/* The limits leave room for the tree that leads to the runs, and for other records. */
	check_le(cost, 12 * PIECES + KIB(96));
	check_le(12 * PIECES - KIB(96), cost);
	check_le(left, KIB(96));
	free(items);
}
