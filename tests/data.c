// SPDX-License-Identifier: MIT
/*
 * Data that is written into a buffer through one way is read through all others, whatever
 * memory the buffer consists of.
 */
#include <fcntl.h>
#include <linux/memfd.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define DEFAULT_TAGS TAG_PEER

#include "buffer.h"
#include "harness.h"
#include "memory.h"

static const struct way * const ways_but_vmap[] = {
	&way_memfd, &way_mmap, &way_sg, &way_device, NULL
};

static const struct way * const memfd_and_vmap[] = {
	&way_memfd, &way_vmap, NULL
};

/* Two and a half folios; the range begins and ends inside a folio. */
static void carries_kind(enum memory_kind kind, const struct way * const *ways)
{
	size_t folio = memory_folio(kind);
	size_t size = folio < MIB(2) ? MIB(1) : 3 * folio;
	struct memory mem = memory_make(kind, size);
	struct part part = { &mem, PAGE, size - 4 * PAGE };
	struct buffer buf = buffer_make(&part, 1);

	buffer_carries(&buf, ways);
	buffer_free(&buf);
	memory_free(&mem);
}

/* The machine has one such page: takes a range that touches neither of its ends. */
static void carries_1g(const struct way * const *ways)
{
	struct memory mem = memory_make(HUGETLB_1G, GIB(1));
	struct part part = { &mem, PAGE, GIB(1) - 3 * PAGE };
	struct buffer buf = buffer_make(&part, 1);

	buffer_carries(&buf, ways);
	buffer_free(&buf);
	memory_free(&mem);
}

PROMISE(data_in_4k_pages,
	"4 KiB pages: memfd, mmap, scatterlist and device see the same data")
{
	carries_kind(SHMEM_4K, ways_but_vmap);
}

PROMISE(data_in_64k_folios, "the same for a range within 64 KiB shmem folios")
{
	carries_kind(SHMEM_64K, ways_but_vmap);
}

PROMISE(data_in_2m_folios, "the same for a range within 2 MiB shmem folios")
{
	carries_kind(SHMEM_2M, ways_but_vmap);
}

PROMISE(data_in_2m_hugetlb, "the same for a range within 2 MiB hugetlb pages")
{
	carries_kind(HUGETLB_2M, ways_but_vmap);
}

PROMISE(data_in_1g_hugetlb, "the same for a range within a 1 GiB hugetlb page")
{
	carries_1g(ways_but_vmap);
}

PROMISE(vmap_of_4k_pages, "the kernel mapping of 4 KiB pages shows the memfd")
{
	carries_kind(SHMEM_4K, memfd_and_vmap);
}

PROMISE(vmap_of_64k_folios, "the kernel mapping of 64 KiB folios shows the memfd")
{
	carries_kind(SHMEM_64K, memfd_and_vmap);
}

PROMISE(vmap_of_2m_folios, "the kernel mapping of 2 MiB folios shows the memfd")
{
	carries_kind(SHMEM_2M, memfd_and_vmap);
}

PROMISE(vmap_of_2m_hugetlb,
	"the kernel mapping of 2 MiB hugetlb pages shows the memfd")
{
	carries_kind(HUGETLB_2M, memfd_and_vmap);
}

PROMISE(vmap_of_1g_hugetlb,
	"the kernel mapping of a 1 GiB hugetlb page shows the memfd")
{
	carries_1g(memfd_and_vmap);
}

PROMISE(vmap_of_one_page_inside_a_folio,
	"a single page of a large folio is mapped as itself, not as the folio's head")
{
	struct memory mem = memory_make(SHMEM_2M, MIB(2));
	struct part part = { &mem, MIB(1) + PAGE, PAGE };
	struct buffer buf = buffer_make(&part, 1);

	buffer_carries(&buf, all_ways);
}

PROMISE(vmap_twice,
	"a second kernel mapping shows the same data, as does one made after all have ended")
{
	struct memory mem = memory_make(SHMEM_4K, MIB(1));
	struct part part = { &mem, 0, mem.size };
	struct buffer buf = buffer_make(&part, 1);
	int second = importer_open();
	__u64 word, expected;

	pattern_fill(&expected, 1, mem.id, mem.size - PAGE, sizeof(expected));
	buffer_write(&buf, &way_vmap, 1);
	importer_attach(second, buf.fd);
	importer_do(second, DMABUFX_IMPORTER_VMAP, 0);
	importer_do(buf.importer, DMABUFX_IMPORTER_VUNMAP, 0);
	importer_read(second, DMABUFX_VIA_VMAP, mem.size - PAGE, &word, 8);
	check_eq(word, expected);

	importer_do(second, DMABUFX_IMPORTER_VUNMAP, 0);
	importer_do(buf.importer, DMABUFX_IMPORTER_VMAP, 0);
	buffer_verify(&buf, &way_vmap, 1);
}

/*
 * Ranges of all kinds: unordered, repeated, overlapping, with borders inside folios.
 * Overlapping ranges have the same pattern.
 */
static void carries_mixed(const struct way * const *ways)
{
	struct memory single = memory_make(SHMEM_4K, 256 * PAGE);
	struct memory middle = memory_make(SHMEM_64K, MIB(1));
	struct memory large = memory_make(SHMEM_2M, MIB(4));
	struct memory huge = memory_make(HUGETLB_2M, MIB(4));
	struct part parts[] = {
		{ &huge, MIB(2) - PAGE, 2 * PAGE },
		{ &single, 128 * PAGE, 16 * PAGE },
		{ &large, MIB(2) + PAGE, KIB(64) },
		{ &middle, 15 * PAGE, 18 * PAGE },
		{ &huge, 0, MIB(2) },
		{ &single, 0, PAGE },
		{ &single, 0, PAGE },
		{ &large, KIB(512), MIB(2) },
		{ &middle, KIB(32), KIB(256) },
		{ &huge, MIB(1), MIB(2) },
		{ &single, 127 * PAGE, 4 * PAGE },
		{ &large, 0, PAGE },
		{ &huge, MIB(4) - PAGE, PAGE },
	};
	struct buffer buf = buffer_make(parts, ARRAY_SIZE(parts));

	buffer_carries(&buf, ways);
	buffer_free(&buf);
}

PROMISE(data_in_mixed_memory,
	"lists of all kinds of memory, unordered, repeated and overlapping, carry data")
{
	carries_mixed(ways_but_vmap);
}

PROMISE(vmap_of_mixed_memory, "the kernel mapping of such lists shows the memfds")
{
	carries_mixed(memfd_and_vmap);
}

/* A buffer of all pages of a folio: every @step-th page first, then the pages after them. */
static void carries_pages_of(enum memory_kind kind, unsigned int step)
{
	struct memory mem = memory_make(kind, MIB(2));
	unsigned int n = MIB(2) / PAGE, page, i;
	struct part *parts = calloc(n, sizeof(*parts));
	struct buffer buf;

	check(parts);
	for (i = 0, page = 0; i < n; i++) {
		parts[i] = (struct part){ &mem, page * PAGE, PAGE };
		page += step;
		if (page >= n)
			page = page % step + 1;
	}
	buf = buffer_make(parts, n);
	buffer_write(&buf, &way_memfd, 1);
	buffer_verify(&buf, &way_mmap, 1);
	buffer_verify(&buf, &way_sg, 1);
	buffer_free(&buf);
	memory_free(&mem);
	free(parts);
}

PROMISE(data_in_pages_of_a_folio,
	"a folio listed page by page, in any order, is pinned and released correctly")
{
	carries_pages_of(SHMEM_2M, 1);
	carries_pages_of(SHMEM_2M, 3);
	carries_pages_of(HUGETLB_2M, 1);
	carries_pages_of(HUGETLB_2M, 5);
}

PROMISE(data_in_mixed_memory_with_1g,
	"pieces of a 1 GiB page between pages of other kinds carry data")
{
	struct memory single = memory_make(SHMEM_4K, KIB(64));
	struct memory large = memory_make(SHMEM_2M, MIB(2));
	struct memory giant = memory_make(HUGETLB_1G, GIB(1));
	struct part parts[] = {
		{ &giant, GIB(1) - PAGE, PAGE },
		{ &single, PAGE, KIB(16) },
		{ &giant, MIB(512) - PAGE, MIB(1) },
		{ &large, PAGE, KIB(64) },
		{ &giant, MIB(512), MIB(1) },
		{ &giant, 0, PAGE },
	};
	struct buffer buf = buffer_make(parts, ARRAY_SIZE(parts));

	buffer_carries(&buf, ways_but_vmap);
}

static void holes_appear(enum memory_kind kind, size_t size)
{
	struct memory mem = memory_make_holes(kind, size);
	struct part part = { &mem, 0, mem.size };
	/* Looks at some pages of a gigabyte only, to save time. */
	const size_t step = mem.folio > MIB(2) ? MIB(4) : PAGE;
	char *zeros = calloc(1, PAGE);
	struct buffer buf;
	size_t offset;

	check(zeros);
	check_eq(memory_populated(&mem), 0);
	buf = buffer_make(&part, 1);
	check_eq(memory_populated(&mem), mem.size);
	buffer_mmap(&buf);
	for (offset = 0; offset < mem.size; offset += step)
		check(!memcmp(buf.map + offset, zeros, PAGE));
	buffer_carries(&buf, ways_but_vmap);
	buffer_free(&buf);
	memory_free(&mem);
	free(zeros);
}

PROMISE(holes_become_memory,
	"holes are filled with zeros, and memfd and buffer share the new memory")
{
	holes_appear(SHMEM_4K, MIB(1));
}

PROMISE(hugetlb_holes_become_memory, "the same for holes of a hugetlb memfd")
{
	holes_appear(HUGETLB_2M, MIB(4));
}

PROMISE(hole_of_1g_becomes_memory, "the same for a hole that a page of 1 GiB fills")
{
	struct memory there = memory_make(HUGETLB_1G, GIB(1));

	memory_free(&there);
	holes_appear(HUGETLB_1G, GIB(1));
}

PROMISE(unreserved_hugetlb_holes_become_memory,
	"a hugetlb memfd that was never mapped or written can be exported")
{
	struct memory mem = { .fd = memfd_make(HUGETLB_2M, MIB(4), F_SEAL_SHRINK) };

	close(create_range(&mem, MIB(2), MIB(2)));
	check_eq(memory_populated(&mem), MIB(2));
}

/* Fills free memory with data. */
static void dirty_free_memory(size_t size)
{
	char *memory = must(mmap(NULL, size, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));

	memset(memory, 0x5a, size);
	must(munmap(memory, size));
}

PROMISE(stale_memory_is_cleared,
	"memory from fallocate() on a memfd shows no old data",
	TAG_STALE)
{
	struct memory mem = { .size = MIB(16) };
	char *zeros = calloc(1, PAGE), *map;
	size_t offset;
	int fd;

	check(zeros);
	dirty_free_memory(MIB(512));
	mem.fd = must(memfd_create("dmabufx-tests", MFD_CLOEXEC | MFD_ALLOW_SEALING));
	must(fallocate(mem.fd, 0, 0, mem.size));
	must(fcntl(mem.fd, F_ADD_SEALS, F_SEAL_SHRINK));
	fd = create_range(&mem, 0, mem.size);
	map = must(mmap(NULL, mem.size, PROT_READ, MAP_SHARED, fd, 0));
	for (offset = 0; offset < mem.size; offset += PAGE)
		if (memcmp(map + offset, zeros, PAGE))
			fail("old data at byte %zu", offset);
	free(zeros);
}

static void survives_reclaim(const struct way *way)
{
	struct memory mem = memory_make_holes(SHMEM_4K, MIB(1));
	struct part part = { &mem, 0, mem.size };
	struct buffer buf = buffer_make(&part, 1);

	note("written by %s", way->name);
	writes_survive_reclaim(&buf, way, &mem);
	memory_free(&mem);
}

PROMISE(written_memory_survives_reclaim,
	"data written through the dma-buf into holes survives reclaim")
{
	survives_reclaim(&way_mmap);
	survives_reclaim(&way_device);
	survives_reclaim(&way_vmap);
}

static void shuffle(struct part *parts, unsigned int n)
{
	unsigned int i;

	srandom(1);
	for (i = n - 1; i; i--) {
		unsigned int j = random() % (i + 1);
		struct part part = parts[i];

		parts[i] = parts[j];
		parts[j] = part;
	}
}

PROMISE(data_in_shuffled_pages,
	"8192 single pages in random order keep their order on every way")
{
	unsigned int n = repeats(8192), i;
	struct part *parts = calloc(n, sizeof(*parts));
	struct memory mem = memory_make(SHMEM_4K, n * PAGE);
	struct buffer buf;

	check(parts);
	for (i = 0; i < n; i++)
		parts[i] = (struct part){ &mem, i * PAGE, PAGE };
	shuffle(parts, n);
	buf = buffer_make(parts, n);

	buffer_write(&buf, &way_memfd, 1);
	buffer_verify(&buf, &way_mmap, 1);
	buffer_verify(&buf, &way_vmap, 1);
	buffer_write(&buf, &way_device, 2);
	buffer_verify(&buf, &way_memfd, 2);
}

/*
 * Frees page @page of @spare and the page with the next frame, and lets @mem allocate two
 * pages: a processor hands out first what it freed last. Returns whether that worked.
 */
static bool take_neighbours(const struct memory *spare, const __u64 *frames,
			    unsigned int page, const struct memory *mem,
			    size_t first, size_t second)
{
	unsigned int other;

	for (other = 0; other < spare->size / PAGE; other++)
		if (frames[other] == frames[page] + 1)
			break;
	if (other == spare->size / PAGE)
		return false;

	memory_punch(mem, first, PAGE);
	memory_punch(mem, second, PAGE);
	memory_punch(spare, other * PAGE, PAGE);
	memory_punch(spare, page * PAGE, PAGE);
	mem->map[first] = 1;
	mem->map[second] = 1;
	return page_frame(mem->map + second) == page_frame(mem->map + first) + 1;
}

PROMISE(data_ends_with_its_last_page,
	"a page that follows the buffer's last one in memory does not become a part of it")
{
	/*
	 * The driver pins 248 pages at a time. Where the second batch ends, the array still has
	 * page 10 of the first.
	 */
	const size_t early = 10 * PAGE, last = (248 + 9) * PAGE, size = last + PAGE;
	__u64 frames[256];
	struct memory spare = memory_make(SHMEM_4K, ARRAY_SIZE(frames) * PAGE);
	struct memory mem = memory_make(SHMEM_4K, size);
	struct part whole = { .mem = &mem, .size = size };
	unsigned int page;
	struct buffer buf;
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(0, &one);
	must(sched_setaffinity(0, sizeof(one), &one));
	for (page = 0; page < ARRAY_SIZE(frames); page++)
		frames[page] = page_frame(spare.map + page * PAGE);
	page = 0;
	while (!take_neighbours(&spare, frames, page, &mem, last, early))
		if (++page == ARRAY_SIZE(frames))
			skip("the kernel gives no two pages in a row");
	note("after %u tries", page + 1);
	pattern_fill(mem.map, 1, mem.id, 0, size);
	buf = buffer_make(&whole, 1);
	check_eq(lseek(buf.fd, 0, SEEK_END), (off_t)size);
	buffer_write(&buf, &way_memfd, 1);
	buffer_verify(&buf, &way_mmap, 1);
	buffer_verify(&buf, &way_device, 1);
}

/*
 * Linux (6.15) splits a huge page around a hole into folios as large as possible. Then
 * single pages lie right before larger folios, in the file and in memory.
 */
PROMISE(data_in_pieces_of_a_folio,
	"single pages, and larger folios that follow them in memory, carry data")
{
	struct memory mem = memory_make(SHMEM_2M, MIB(2));
	const unsigned int holes[] = { 0, 17, 255 };
	struct part part = { &mem, PAGE, MIB(2) - PAGE };
	struct buffer buf;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(holes); i++)
		memory_punch(&mem, holes[i] * PAGE, PAGE);
	buf = buffer_make(&part, 1);

	buffer_carries(&buf, all_ways);
}

PROMISE(data_in_256m, "256 MiB of 4 KiB pages in one buffer carry data")
{
	struct memory mem = memory_make(SHMEM_4K, MIB(256));
	struct part part = { &mem, 0, mem.size };
	struct buffer buf = buffer_make(&part, 1);

	buffer_carries(&buf, all_ways);
}

/* Maps @parts for a device, and verifies the last MiB of the buffer by mmap. */
static void maps_whole(struct part *parts, unsigned int n)
{
	struct buffer buf = buffer_make(parts, n);
	struct part *last = &parts[n - 1];
	struct dmabufx_importer_map map;
	char *shown;

	buf.importer = importer_open();
	importer_limits(buf.importer, ~0ull, ~0ull, ~0u);
	importer_attach(buf.importer, buf.fd);
	map = importer_map(buf.importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	check_eq(map.faults, 0);
	check_eq(map.bytes, buf.size);
	check_eq(lseek(buf.fd, 0, SEEK_END), buf.size);

	buffer_write(&buf, &way_device, 1);
	shown = map_dma_buf(buf.fd, buf.size - MIB(1), MIB(1));
	pattern_check(shown + MIB(1) - PAGE, 1, last->mem->id,
		      last->offset + last->size - PAGE, PAGE, "mmap");
	note("%llu MiB in %u entries for the device", map.bytes >> 20,
	     map.nents);
	must(munmap(shown, MIB(1)));
	buffer_free(&buf);
}

PROMISE(buffer_beyond_4g_of_2m_pages,
	"a buffer of more than 4 GiB, of repeated 2 MiB pages, has the right length and data")
{
	struct memory mem = memory_make(HUGETLB_2M, MIB(4));
	unsigned int n = 2100, i;
	struct part *parts = calloc(n, sizeof(*parts));

	check(parts);
	for (i = 0; i < n; i++)
		parts[i] = (struct part){ &mem, i % 2 ? 0 : MIB(2), MIB(2) };
	maps_whole(parts, n);
}

PROMISE(buffer_beyond_4g_of_1g_pages,
	"a buffer of five times the same 1 GiB page has the right length and data")
{
	struct memory mem = memory_make(HUGETLB_1G, GIB(1));
	struct part parts[5];
	unsigned int i;

	for (i = 0; i < 5; i++)
		parts[i] = (struct part){ &mem, 0, GIB(1) };
	maps_whole(parts, 5);
}
