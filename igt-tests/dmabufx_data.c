// SPDX-License-Identifier: MIT
/**
 * TEST: dmabufx data
 * Category: Core
 * Mega feature: General Core features
 * Sub-category: dmabuf
 * Description: Memory of every kind, as its owner, processes, devices and the kernel see it
 *	through a dma-buf
 * Functionality: dmabuf test
 */
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "igt.h"
#include "igt_dmabufx.h"

IGT_TEST_DESCRIPTION("The right data, in every order of every kind of memory, on every way");

/* The longest range that is looked at in one piece. */
#define LONGEST KIB(64)

/**
 * struct part - a range of memory that a buffer has at some place
 * @mem: the memory, whose pattern's seed is its kind, plus one
 * @offset: in the memory
 * @size: bytes
 */
struct part {
	const struct dmabufx_mem *mem;
	uint64_t offset;
	uint64_t size;
};

static uint32_t seed_of(const struct dmabufx_mem *mem)
{
	return mem->kind + 1;
}

static void make_patterned(struct dmabufx_mem *mem, enum dmabufx_kind kind, size_t size)
{
	dmabufx_mem_init(mem, kind, size);
	dmabufx_pattern_fill(mem->map, seed_of(mem), 0, mem->size);
}

/* What a way shows of a part that begins at @start of the buffer. */
static void check_part(int importer, const char *map, const struct part *part,
		       uint64_t start)
{
	static uint64_t data[LONGEST / 8];
	size_t len = part->size < LONGEST ? part->size : LONGEST;
	uint64_t in_part[] = { 0, part->size - len };
	uint32_t via;
	size_t i;

	for (i = 0; i < 2; i++) {
		uint64_t at = part->offset + in_part[i];

		dmabufx_pattern_check(map + start + in_part[i], seed_of(part->mem), at, len,
				      "mmap");
		for (via = DMABUFX_VIA_DEVICE; via <= DMABUFX_VIA_VMAP; via++) {
			importer_read(importer, via, start + in_part[i], data, len);
			dmabufx_pattern_check(data, seed_of(part->mem), at, len,
					      via == DMABUFX_VIA_VMAP ? "vmap" : "device");
		}
	}
}

/* A buffer of these parts, in this order, has their data on every way. */
static void check_parts(int device, const struct part *parts, size_t nr)
{
	struct dmabufx_segment *segments = calloc(nr, sizeof(*segments));
	int importer = importer_open(), fd;
	uint64_t size = 0, start = 0;
	size_t i;
	char *map;

	igt_assert(segments);
	for (i = 0; i < nr; i++) {
		segments[i] = dmabufx_segment(parts[i].mem, parts[i].offset, parts[i].size);
		size += parts[i].size;
	}
	fd = dmabufx_create(device, segments, nr, 0);
	map = dmabufx_mmap(fd, 0, size);
	importer_attach(importer, fd);
	importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	importer_vmap(importer);
	for (i = 0; i < nr; i++) {
		check_part(importer, map, &parts[i], start);
		start += parts[i].size;
	}
	close(importer);
	munmap(map, size);
	close(fd);
	free(segments);
}

/**
 * SUBTEST: all-ways
 * Description: What is written on any way is seen on all others, for each kind of memory
 */
static void test_all_ways(int device, enum dmabufx_kind kind)
{
	struct dmabufx_buffer buf;

	dmabufx_buffer_init(&buf, device, kind, 2 * dmabufx_kind_folio(kind) <= MIB(4) ?
			    2 * dmabufx_kind_folio(kind) : dmabufx_kind_folio(kind));
	dmabufx_buffer_carries(&buf);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: part-of-folio
 * Description: A range that starts and ends within folios has the data from there, not
 *	from where the folios begin
 */
static void test_part_of_folio(int device, enum dmabufx_kind kind)
{
	size_t folio = dmabufx_kind_folio(kind);
	struct dmabufx_mem mem;
	struct part parts[2];

	igt_require_f(folio > PAGE, "pages are no larger than what a range consists of\n");
	make_patterned(&mem, kind, folio <= MIB(2) ? 2 * folio : folio);
	parts[0] = (struct part){ &mem, mem.size - 5 * PAGE, 2 * PAGE };
	parts[1] = (struct part){ &mem, 3 * PAGE, mem.size - 7 * PAGE };
	check_parts(device, parts, 2);
	dmabufx_mem_fini(&mem);
}

/**
 * SUBTEST: runs
 * Description: Neighbouring pages are one run, whatever folios they are of, and others
 *	are not: counted from their page frames
 */
static void test_runs(int device, enum dmabufx_kind kind)
{
	size_t folio = dmabufx_kind_folio(kind), offset;
	struct dmabufx_buffer buf;
	uint64_t last = 0;
	uint32_t runs = 0;

	dmabufx_buffer_init(&buf, device, kind, folio < MIB(2) ? MIB(1) :
			    folio == MIB(2) ? MIB(8) : folio);
	for (offset = 0; offset < buf.size; offset += folio) {
		uint64_t frame = dmabufx_page_frame(buf.mem.map + offset);

		igt_assert(frame);
		runs += frame != last + 1;
		last = frame + folio / PAGE - 1;
	}
	igt_assert_eq_u32(dmabufx_info(device, buf.fd).runs, runs);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: holes
 * Description: Memory that nobody touched is zero on every way, and then shared
 */
static void test_holes(int device, enum dmabufx_kind kind)
{
	static const char zeros[4096];
	struct dmabufx_segment segment;
	struct dmabufx_mem mem;
	static char data[4096];
	int importer, fd;

	dmabufx_mem_init_holes(&mem, kind, 4 * dmabufx_kind_folio(kind) <= MIB(8) ?
			       4 * dmabufx_kind_folio(kind) : dmabufx_kind_folio(kind));
	segment = dmabufx_segment(&mem, 0, mem.size);
	fd = dmabufx_create(device, &segment, 1, 0);
	importer = importer_open();
	importer_attach(importer, fd);
	importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	importer_read(importer, DMABUFX_VIA_DEVICE, mem.size / 2, data, sizeof(data));
	igt_assert(!memcmp(data, zeros, sizeof(data)));
	dmabufx_pattern_fill(data, 1, 0, sizeof(data));
	importer_write(importer, DMABUFX_VIA_DEVICE, mem.size / 2, data, sizeof(data));
	dmabufx_pattern_check(mem.map + mem.size / 2, 1, 0, sizeof(data), "owner");
	igt_assert(!memcmp(mem.map, zeros, sizeof(zeros)));
	close(importer);
	close(fd);
	dmabufx_mem_fini(&mem);
}

/**
 * SUBTEST: written-survives-reclaim
 * Description: What devices, mappings and kernel write into holes through the buffer is
 *	not taken for clean, and dropped, when the kernel takes memory back
 */
static void test_written_survives_reclaim(int device)
{
	static const enum dmabufx_way ways[] = { WAY_MMAP, WAY_DEVICE, WAY_VMAP };
	struct dmabufx_segment segment;
	struct dmabufx_mem mem;
	size_t i;

	for (i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		dmabufx_mem_init_holes(&mem, SHMEM_4K, MIB(1));
		segment = dmabufx_segment(&mem, 0, mem.size);
		dmabufx_survives_reclaim(&mem, dmabufx_create(device, &segment, 1, 0),
					 ways[i]);
		dmabufx_mem_fini(&mem);
	}
}

/**
 * SUBTEST: neighbours
 * Description: Pieces of a huge page that are listed one after the other are one run, and
 *	let go of the page as often as they held it
 */
static void test_neighbours(int device)
{
	enum { PIECES = 16 };
	static struct part parts[PIECES];
	struct udmabuf_create_item items[PIECES];
	struct dmabufx_mem mem;
	int fd, i;

	make_patterned(&mem, HUGETLB_2M, MIB(2));
	for (i = 0; i < PIECES; i++) {
		parts[i] = (struct part){ &mem, (i + 1) * 3 * PAGE, 3 * PAGE };
		items[i] = dmabufx_item(&mem, parts[i].offset, parts[i].size);
	}
	check_parts(device, parts, PIECES);
	fd = __udmabuf_create_list(device, items, PIECES, UDMABUF_FLAGS_CLOEXEC);
	igt_assert_lte(0, fd);
	igt_assert_eq_u32(dmabufx_info(device, fd).runs, 1);
	close(fd);
	dmabufx_mem_fini(&mem);
}

/**
 * SUBTEST: reversed
 * Description: Pages listed from the last to the first are in that order on every way
 */
static void test_reversed(int device)
{
	enum { PAGES = 128 };
	static struct part parts[PAGES];
	struct dmabufx_mem mem;
	int i;

	make_patterned(&mem, SHMEM_4K, PAGES * PAGE);
	for (i = 0; i < PAGES; i++)
		parts[i] = (struct part){ &mem, (PAGES - 1 - i) * PAGE, PAGE };
	check_parts(device, parts, PAGES);
	dmabufx_mem_fini(&mem);
}

/**
 * SUBTEST: pages-of-huge-pages
 * Description: Single pages from the tails of different huge pages, by turns, are stitched
 *	together right
 */
static void test_pages_of_huge_pages(int device)
{
	enum { PAGES = 64 };
	static struct part parts[PAGES];
	struct dmabufx_mem mem;
	int i;

	make_patterned(&mem, HUGETLB_2M, MIB(8));
	for (i = 0; i < PAGES; i++)
		parts[i] = (struct part){ &mem, i % 4 * MIB(2) + (i * 7 + 1) * PAGE, PAGE };
	check_parts(device, parts, PAGES);
	dmabufx_mem_fini(&mem);
}

/**
 * SUBTEST: repeated
 * Description: A page that is listed three times is the same page in three places
 */
static void test_repeated(int device)
{
	struct dmabufx_mem mem;
	struct udmabuf_create_item items[3];
	char *map;
	int fd, i;

	make_patterned(&mem, SHMEM_4K, 2 * PAGE);
	for (i = 0; i < 3; i++)
		items[i] = dmabufx_item(&mem, PAGE, PAGE);
	fd = __udmabuf_create_list(device, items, 3, UDMABUF_FLAGS_CLOEXEC);
	igt_assert_lte(0, fd);
	map = dmabufx_mmap(fd, 0, 3 * PAGE);
	for (i = 0; i < 3; i++) {
		dmabufx_pattern_fill(map + i * PAGE, 20 + i, 0, PAGE);
		dmabufx_pattern_check(map, 20 + i, 0, PAGE, "first");
		dmabufx_pattern_check(map + PAGE, 20 + i, 0, PAGE, "second");
		dmabufx_pattern_check(map + 2 * PAGE, 20 + i, 0, PAGE, "third");
		dmabufx_pattern_check(mem.map + PAGE, 20 + i, 0, PAGE, "memfd");
	}
	munmap(map, 3 * PAGE);
	close(fd);
	dmabufx_mem_fini(&mem);
}

/**
 * SUBTEST: overlapping
 * Description: Ranges that overlap, within and across huge pages, carry data
 */
static void test_overlapping(int device)
{
	struct dmabufx_mem mem;
	struct part parts[3];

	make_patterned(&mem, HUGETLB_2M, MIB(4));
	parts[0] = (struct part){ &mem, PAGE, MIB(3) };
	parts[1] = (struct part){ &mem, 0, 2 * PAGE };
	parts[2] = (struct part){ &mem, MIB(2) - PAGE, MIB(1) };
	check_parts(device, parts, 3);
	dmabufx_mem_fini(&mem);
}

/**
 * SUBTEST: mixed
 * Description: Memfds and the process's own memory of different folios in one buffer
 */
static void test_mixed(int device)
{
	static const enum dmabufx_kind kinds[] = {
		SHMEM_4K, ANON_4K, HUGETLB_2M, SHMEM_64K, ANON_HUGETLB_2M,
	};
	enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };
	struct dmabufx_mem mem[KINDS];
	struct part parts[2 * KINDS];
	int i;

	for (i = 0; i < KINDS; i++) {
		make_patterned(&mem[i], kinds[i], KIB(128));
		parts[i] = (struct part){ &mem[i], 2 * PAGE, 3 * PAGE };
		parts[2 * KINDS - 1 - i] = (struct part){ &mem[i], 0, KIB(64) };
	}
	check_parts(device, parts, 2 * KINDS);
	for (i = 0; i < KINDS; i++)
		dmabufx_mem_fini(&mem[i]);
}

/**
 * SUBTEST: by-turns
 * Description: 512 pages of a memfd and of own memory by turns stay in their order
 */
static void test_by_turns(int device)
{
	enum { PAGES = 512 };
	static struct part parts[PAGES];
	struct dmabufx_mem mem[2];
	int i;

	make_patterned(&mem[0], SHMEM_4K, PAGES / 2 * PAGE);
	make_patterned(&mem[1], ANON_4K, PAGES / 2 * PAGE);
	for (i = 0; i < PAGES; i++)
		parts[i] = (struct part){ &mem[i % 2], i / 2 * PAGE, PAGE };
	check_parts(device, parts, PAGES);
	dmabufx_mem_fini(&mem[0]);
	dmabufx_mem_fini(&mem[1]);
}

/**
 * SUBTEST: parts-of-pages
 * Description: Own memory that starts and ends within pages is where data_offset says, for
 *	a device too
 */
static void test_parts_of_pages(int device)
{
	struct dmabufx_segment segment;
	struct dmabufx_create request;
	struct dmabufx_mem mem;
	static char data[4096];
	int importer = importer_open(), fd;

	make_patterned(&mem, ANON_4K, 4 * PAGE);
	segment = dmabufx_user_segment(mem.map + PAGE + 1000, 4096);
	request = dmabufx_request(&segment, 1, DMABUFX_CREATE_CLOEXEC);
	fd = __dmabufx_create(device, &request);
	igt_assert_lte(0, fd);
	importer_attach(importer, fd);
	importer_map(importer, DMABUFX_IMPORTER_TO_DEVICE);
	importer_read(importer, DMABUFX_VIA_DEVICE, request.data_offset, data, sizeof(data));
	dmabufx_pattern_check(data, seed_of(&mem), PAGE + 1000, sizeof(data), "device");
	close(importer);
	close(fd);
	dmabufx_mem_fini(&mem);
}

/**
 * SUBTEST: large
 * Description: 256 MiB of single pages carry data
 */
static void test_large(int device)
{
	struct dmabufx_buffer buf;

	dmabufx_buffer_init(&buf, device, SHMEM_4K, MIB(256));
	dmabufx_buffer_write(&buf, WAY_MEMORY, 1);
	dmabufx_buffer_check(&buf, WAY_MMAP, 1);
	dmabufx_buffer_check(&buf, WAY_DEVICE, 1);
	dmabufx_buffer_check(&buf, WAY_VMAP, 1);
	dmabufx_buffer_fini(&buf);
}

/* What 32 buffers of the same 64 MiB hold of the kernel's memory. */
static long held_by_buffers(int device, const struct dmabufx_mem *mem)
{
	struct dmabufx_segment segments[16];
	int fds[32], i;
	long before;

	for (i = 0; i < 16; i++)
		segments[i] = dmabufx_segment(mem, 0, MIB(4));
	before = dmabufx_kernel_memory();
	for (i = 0; i < 32; i++)
		fds[i] = dmabufx_create(device, segments, 16, 0);
	before = dmabufx_kernel_memory() - before;
	for (i = 0; i < 32; i++)
		close(fds[i]);
	return before;
}

/**
 * SUBTEST: metadata
 * Description: What the kernel holds for a buffer grows with its runs, not with its pages
 */
static void test_metadata(int device)
{
	struct dmabufx_mem mem;
	long held, least;
	int i;

	make_patterned(&mem, HUGETLB_2M, MIB(4));
	least = held_by_buffers(device, &mem);
	for (i = 0; i < 4; i++) {
		held = held_by_buffers(device, &mem);
		if (held < least)
			least = held;
	}
	igt_info("32 buffers of 64 MiB hold %ld bytes\n", least);
	/* An array of pages would have 4 MiB. */
	igt_assert_lte(least, KIB(256));
	dmabufx_mem_fini(&mem);
}

/*
 * A range that makes room for as many runs as pages, and its last page again and again:
 * a page does not follow itself, so none are merged.
 */
static int create_in_pieces(int device, const struct dmabufx_mem *mem, uint32_t pieces)
{
	struct dmabufx_segment *segments = calloc(pieces, sizeof(*segments));
	uint32_t i;
	int fd;

	igt_assert(segments);
	segments[0] = dmabufx_segment(mem, 0, mem->size);
	for (i = 1; i < pieces; i++)
		segments[i] = dmabufx_segment(mem, mem->size - PAGE, PAGE);
	fd = dmabufx_create(device, segments, pieces, 0);
	free(segments);
	return fd;
}

/**
 * SUBTEST: metadata-of-pieces
 * Description: A buffer in many pieces costs 16 bytes for each, and does not keep what its
 *	table took more while it grew
 */
static void test_metadata_of_pieces(int device)
{
	/*
	 * A table that begins with room for a batch of 248 folios and doubles has room for
	 * 63488 runs then, which is a MiB; 16 bytes for each run are half of that.
	 */
	enum { FIRST = 248, PIECES = 32500 };
	struct dmabufx_mem mem;
	long least = LONG_MAX;
	int tries, fd;

	make_patterned(&mem, SHMEM_4K, FIRST * PAGE);
	for (tries = 0; tries < 4 && least > KIB(512); tries++) {
		long before = dmabufx_kernel_memory();

		fd = create_in_pieces(device, &mem, PIECES);
		before = dmabufx_kernel_memory() - before;
		if (before < least)
			least = before;
		igt_assert_lte_u64(PIECES, dmabufx_info(device, fd).runs);
		close(fd);
	}
	igt_info("a buffer of %d pieces holds %ld bytes\n", PIECES, least);
	/* The page allocator deals in powers of two. */
	igt_assert_lte(least, KIB(512 + 64));
	dmabufx_mem_fini(&mem);
}

static const struct dmabufx_subtest subtests[] = {
	{ "written-survives-reclaim", "Check that what is written is known to be",
	  test_written_survives_reclaim },
	{ "neighbours", "Check that pieces of a huge page become one again", test_neighbours },
	{ "reversed", "Check that pages are in the order of the list", test_reversed },
	{ "pages-of-huge-pages", "Check that pieces of huge pages are stitched together",
	  test_pages_of_huge_pages },
	{ "repeated", "Check that memory may be listed more than once", test_repeated },
	{ "overlapping", "Check that ranges may overlap", test_overlapping },
	{ "mixed", "Check that all kinds of memory make one buffer", test_mixed },
	{ "by-turns", "Check that kinds of memory may alternate", test_by_turns },
	{ "parts-of-pages", "Check that memory need not be whole pages", test_parts_of_pages },
	{ "large", "Check a large buffer of single pages", test_large },
	{ "metadata", "Check that large buffers of huge pages cost little", test_metadata },
	{ "metadata-of-pieces", "Check that many pieces cost no more than they must",
	  test_metadata_of_pieces },
};

/* Those that have a dynamic subtest for each kind of memory. */
static const struct {
	const char *name;
	const char *description;
	void (*run)(int device, enum dmabufx_kind kind);
} of_each_kind[] = {
	{ "all-ways", "Check that all see the same data", test_all_ways },
	{ "part-of-folio", "Check that ranges begin where they should", test_part_of_folio },
	{ "runs", "Check that contiguous memory is known to be", test_runs },
	{ "holes", "Check that memory need not be populated", test_holes },
};

static void run_for_kinds(void (*run)(int device, enum dmabufx_kind kind), int device)
{
	struct dmabufx_counters before;
	enum dmabufx_kind kind;

	for (kind = 0; kind < DMABUFX_KINDS; kind++) {
		igt_dynamic(dmabufx_kind_name(kind)) {
			dmabufx_counters_read(&before);
			run(device, kind);
			dmabufx_counters_check(&before);
		}
	}
}

int igt_main()
{
	int device = -1;
	size_t i;

	igt_fixture()
		device = dmabufx_open();

	for (i = 0; i < sizeof(of_each_kind) / sizeof(of_each_kind[0]); i++) {
		igt_describe(of_each_kind[i].description);
		igt_subtest_with_dynamic(of_each_kind[i].name)
			run_for_kinds(of_each_kind[i].run, device);
	}

	dmabufx_run_table(subtests, device);

	igt_fixture()
		close(device);
}
