// SPDX-License-Identifier: MIT
/**
 * TEST: dmabufx attach
 * Category: Core
 * Mega feature: General Core features
 * Sub-category: dmabuf
 * Description: What devices get: scatterlists within their limits, through a module that
 *	imports dma-bufs as a driver does
 * Functionality: dmabuf test
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "igt.h"
#include "igt_dmabufx.h"

IGT_TEST_DESCRIPTION("Attachments, mappings and kernel mappings of dma-bufs");

#define UNLIMITED UINT64_MAX

/* A buffer with a bit of everything: single pages between pieces of huge pages. */
struct patchwork {
	struct dmabufx_mem small;
	struct dmabufx_mem huge;
	int fd;
};

#define SMALL MIB(1)
#define HUGE MIB(4)

static void patchwork_init(struct patchwork *work, int device)
{
	struct udmabuf_create_item items[4];

	dmabufx_mem_init(&work->small, SHMEM_4K, SMALL);
	dmabufx_mem_init(&work->huge, HUGETLB_2M, HUGE);
	dmabufx_pattern_fill(work->small.map, 1, 0, SMALL);
	dmabufx_pattern_fill(work->huge.map, 2, 0, HUGE);
	items[0] = dmabufx_item(&work->small, SMALL / 2, SMALL / 2);
	items[1] = dmabufx_item(&work->huge, PAGE, HUGE - PAGE);
	items[2] = dmabufx_item(&work->small, 0, SMALL / 2);
	items[3] = dmabufx_item(&work->huge, 0, PAGE);
	work->fd = __udmabuf_create_list(device, items, 4, UDMABUF_FLAGS_CLOEXEC);
	igt_assert_lte(0, work->fd);
}

/* That a device which has it mapped finds everything where it belongs. */
static void patchwork_check(int importer)
{
	static uint64_t data[HUGE / 8];

	importer_read(importer, DMABUFX_VIA_DEVICE, 0, data, SMALL / 2);
	dmabufx_pattern_check(data, 1, SMALL / 2, SMALL / 2, "device");
	importer_read(importer, DMABUFX_VIA_DEVICE, SMALL / 2, data, HUGE - PAGE);
	dmabufx_pattern_check(data, 2, PAGE, HUGE - PAGE, "device");
	importer_read(importer, DMABUFX_VIA_DEVICE, SMALL / 2 + HUGE - PAGE, data, SMALL / 2);
	dmabufx_pattern_check(data, 1, 0, SMALL / 2, "device");
	importer_read(importer, DMABUFX_VIA_DEVICE, SMALL + HUGE - PAGE, data, PAGE);
	dmabufx_pattern_check(data, 2, 0, PAGE, "device");
}

static void patchwork_fini(struct patchwork *work)
{
	close(work->fd);
	dmabufx_mem_fini(&work->small);
	dmabufx_mem_fini(&work->huge);
}

/* A scatterlist for a device of such limits has no fault, and leads to the data. */
static void check_limits(int device, uint64_t mask, uint64_t boundary, uint32_t max_seg)
{
	struct dmabufx_importer_map map;
	struct patchwork work;
	int importer = importer_open();

	importer_limits(importer, mask, boundary, max_seg);
	patchwork_init(&work, device);
	importer_attach(importer, work.fd);
	map = importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	igt_assert_eq_u64(map.bytes, SMALL + HUGE);
	igt_assert_lte_u64(map.longest, max_seg);
	patchwork_check(importer);
	close(importer);
	patchwork_fini(&work);
}

/**
 * SUBTEST: default-limits
 * Description: A device that sets no limits gets segments of no more than 64 KiB
 */
static void test_default_limits(int device)
{
	struct dmabufx_importer_map map;
	struct patchwork work;
	int importer = importer_open();

	patchwork_init(&work, device);
	importer_attach(importer, work.fd);
	map = importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	igt_assert_lte_u64(map.longest, KIB(64));
	patchwork_check(importer);
	close(importer);
	patchwork_fini(&work);
}

/**
 * SUBTEST: unlimited
 * Description: A device that takes all gets as few entries as there are runs
 */
static void test_unlimited(int device)
{
	check_limits(device, UNLIMITED, UNLIMITED, UINT32_MAX);
}

/**
 * SUBTEST: segments-of-a-page
 * Description: A device whose segments are pages gets pages
 */
static void test_segments_of_a_page(int device)
{
	check_limits(device, UNLIMITED, UNLIMITED, PAGE);
}

/**
 * SUBTEST: segments-of-odd-length
 * Description: A limit that is no multiple of a page is rounded down to one
 */
static void test_segments_of_odd_length(int device)
{
	check_limits(device, UNLIMITED, UNLIMITED, 5 * PAGE + 1234);
}

/**
 * SUBTEST: segment-boundary
 * Description: No segment crosses a boundary that the device has
 */
static void test_segment_boundary(int device)
{
	check_limits(device, UNLIMITED, KIB(64) - 1, UINT32_MAX);
}

/**
 * SUBTEST: boundary-and-length
 * Description: A boundary and a length that do not fit to each other are both kept to
 */
static void test_boundary_and_length(int device)
{
	check_limits(device, UNLIMITED, MIB(1) - 1, KIB(384));
}

/**
 * SUBTEST: addresses-of-32-bits
 * Description: A device that reaches 4 GiB gets addresses below, and its data arrives
 */
static void test_addresses_of_32_bits(int device)
{
	check_limits(device, UINT32_MAX, UNLIMITED, UINT32_MAX);
}

/**
 * SUBTEST: segments-below-a-page
 * Description: A device whose segments are shorter than a page is refused, again and
 *	again, and nobody else notices
 */
static void test_segments_below_a_page(int device)
{
	struct dmabufx_importer_map map;
	struct dmabufx_buffer buf;
	int importer = importer_open();

	importer_limits(importer, UNLIMITED, UNLIMITED, PAGE / 2);
	dmabufx_buffer_init(&buf, device, SHMEM_4K, PAGE);
	importer_attach(importer, buf.fd);
	igt_assert_eq(__importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL, &map), -EINVAL);
	dmabufx_sync(buf.fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW);
	dmabufx_sync(buf.fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW);
	igt_assert_eq(__importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL, &map), -EINVAL);
	dmabufx_buffer_write(&buf, WAY_DEVICE, 1);
	dmabufx_buffer_check(&buf, WAY_MEMORY, 1);
	close(importer);
	dmabufx_buffer_fini(&buf);
}

/* For a device without limits, the entries are the buffer's runs. */
static void entries_are_runs(int device, enum dmabufx_kind kind, size_t size)
{
	struct dmabufx_importer_map map;
	struct dmabufx_buffer buf;
	int importer = importer_open();

	importer_limits(importer, UNLIMITED, UNLIMITED, UINT32_MAX);
	dmabufx_buffer_init(&buf, device, kind, size);
	importer_attach(importer, buf.fd);
	map = importer_map(importer, DMABUFX_IMPORTER_TO_DEVICE);
	igt_assert_eq_u32(map.orig_nents, dmabufx_info(device, buf.fd).runs);
	igt_assert_lte_u64(map.orig_nents, buf.size / buf.mem.folio);
	close(importer);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: entries-of-pages
 * Description: Single pages that are neighbours share an entry
 */
static void test_entries_of_pages(int device)
{
	entries_are_runs(device, SHMEM_4K, MIB(4));
}

/**
 * SUBTEST: entries-of-huge-pages
 * Description: A huge page is no more than one entry
 */
static void test_entries_of_huge_pages(int device)
{
	entries_are_runs(device, HUGETLB_2M, MIB(16));
}

/**
 * SUBTEST: entry-of-1g
 * Description: A page of 1 GiB is one entry
 */
static void test_entry_of_1g(int device)
{
	entries_are_runs(device, HUGETLB_1G, GIB(1));
}

/**
 * SUBTEST: beyond-4g
 * Description: In a buffer of more than 4 GiB no length overflows, and its end is right
 */
static void test_beyond_4g(int device)
{
	enum { TIMES = 2049 };
	struct dmabufx_segment *segments = calloc(TIMES, sizeof(*segments));
	struct dmabufx_importer_map map;
	struct dmabufx_mem mem;
	static char data[4096];
	int importer = importer_open(), fd, i;

	igt_assert(segments);
	dmabufx_mem_init(&mem, HUGETLB_2M, MIB(2));
	dmabufx_pattern_fill(mem.map, 1, 0, mem.size);
	for (i = 0; i < TIMES; i++)
		segments[i] = dmabufx_segment(&mem, 0, MIB(2));
	fd = dmabufx_create(device, segments, TIMES, 0);
	igt_assert_eq_s64(lseek(fd, 0, SEEK_END), TIMES * MIB(2));
	importer_limits(importer, UNLIMITED, UNLIMITED, UINT32_MAX);
	importer_attach(importer, fd);
	map = importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	igt_assert_eq_u64(map.bytes, TIMES * MIB(2));
	importer_read(importer, DMABUFX_VIA_DEVICE, TIMES * MIB(2) - sizeof(data), data,
		      sizeof(data));
	dmabufx_pattern_check(data, 1, MIB(2) - sizeof(data), sizeof(data), "device");
	close(importer);
	close(fd);
	dmabufx_mem_fini(&mem);
	free(segments);
}

/**
 * SUBTEST: directions
 * Description: A buffer can be mapped in each direction, one after the other
 */
static void test_directions(int device)
{
	struct dmabufx_buffer buf;
	int importer = importer_open();
	uint32_t dir;

	dmabufx_buffer_init(&buf, device, SHMEM_4K, MIB(1));
	importer_attach(importer, buf.fd);
	for (dir = DMABUFX_IMPORTER_BIDIRECTIONAL; dir <= DMABUFX_IMPORTER_FROM_DEVICE; dir++) {
		igt_assert_eq_u64(importer_map(importer, dir).bytes, buf.size);
		importer_unmap(importer);
	}
	importer_detach(importer);
	close(importer);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: many-devices
 * Description: 32 devices have a buffer mapped at once, and each sees what each wrote
 */
static void test_many_devices(int device)
{
	enum { DEVICES = 32 };
	static uint64_t data[4096 / 8];
	struct dmabufx_buffer buf;
	int importers[DEVICES], i;

	dmabufx_buffer_init(&buf, device, SHMEM_4K, DEVICES * PAGE);
	for (i = 0; i < DEVICES; i++) {
		importers[i] = importer_open();
		importer_attach(importers[i], buf.fd);
		importer_map(importers[i], DMABUFX_IMPORTER_BIDIRECTIONAL);
	}
	for (i = 0; i < DEVICES; i++) {
		dmabufx_pattern_fill(data, i, 0, sizeof(data));
		importer_write(importers[i], DMABUFX_VIA_DEVICE, i * PAGE, data, sizeof(data));
	}
	for (i = 0; i < DEVICES * DEVICES; i++) {
		importer_read(importers[i / DEVICES], DMABUFX_VIA_DEVICE, i % DEVICES * PAGE,
			      data, sizeof(data));
		dmabufx_pattern_check(data, i % DEVICES, 0, sizeof(data), "device");
	}
	for (i = 0; i < DEVICES; i++)
		close(importers[i]);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: other-limits-beside
 * Description: Devices of different limits have a buffer mapped at once, each with a
 *	scatterlist of its own
 */
static void test_other_limits_beside(int device)
{
	int strict = importer_open(), lax = importer_open();
	struct dmabufx_importer_map few, many;
	struct dmabufx_buffer buf;

	importer_limits(strict, UNLIMITED, UNLIMITED, PAGE);
	importer_limits(lax, UNLIMITED, UNLIMITED, UINT32_MAX);
	dmabufx_buffer_init(&buf, device, HUGETLB_2M, MIB(2));
	importer_attach(strict, buf.fd);
	importer_attach(lax, buf.fd);
	few = importer_map(lax, DMABUFX_IMPORTER_BIDIRECTIONAL);
	many = importer_map(strict, DMABUFX_IMPORTER_BIDIRECTIONAL);
	igt_assert_eq_u32(few.orig_nents, 1);
	igt_assert_eq_u32(many.orig_nents, MIB(2) / PAGE);
	close(strict);
	close(lax);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: close-undoes
 * Description: A driver that goes away with a buffer attached, mapped and in the kernel's
 *	address space leaves nothing
 */
static void test_close_undoes(int device)
{
	struct dmabufx_buffer buf;
	int importer = importer_open();

	dmabufx_buffer_init(&buf, device, SHMEM_4K, MIB(1));
	importer_attach(importer, buf.fd);
	importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	importer_vmap(importer);
	dmabufx_buffer_fini(&buf);
	/* Buffer and memory live on by the attachment alone, until: */
	igt_assert_eq(__importer_detach(importer), -EBUSY);
	close(importer);
}

/**
 * SUBTEST: outlives-fd
 * Description: A device keeps a buffer whose descriptor and memfd are closed
 */
static void test_outlives_fd(int device)
{
	static uint64_t data[4096 / 8];
	struct dmabufx_buffer buf;
	int importer = importer_open();

	dmabufx_buffer_init(&buf, device, SHMEM_4K, KIB(64));
	dmabufx_buffer_write(&buf, WAY_MEMORY, 1);
	importer_attach(importer, buf.fd);
	dmabufx_buffer_fini(&buf);
	importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	importer_read(importer, DMABUFX_VIA_DEVICE, KIB(32), data, sizeof(data));
	dmabufx_pattern_check(data, 1, KIB(32), sizeof(data), "device");
	close(importer);
}

/**
 * SUBTEST: cpu-access
 * Description: A driver's brackets around CPU access succeed in every direction, mapped
 *	and not, and data goes both ways
 */
static void test_cpu_access(int device)
{
	struct dmabufx_buffer buf;
	uint32_t dir;

	dmabufx_buffer_init(&buf, device, SHMEM_4K, KIB(64));
	dmabufx_buffer_write(&buf, WAY_DEVICE, 1);
	for (dir = DMABUFX_IMPORTER_BIDIRECTIONAL; dir <= DMABUFX_IMPORTER_FROM_DEVICE; dir++) {
		importer_begin(buf.importer, dir);
		dmabufx_buffer_check(&buf, WAY_MEMORY, 1 + dir);
		dmabufx_buffer_write(&buf, WAY_MEMORY, 2 + dir);
		importer_end(buf.importer, dir);
		dmabufx_buffer_check(&buf, WAY_DEVICE, 2 + dir);
	}
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: vmap-beside
 * Description: Two drivers have the kernel's mapping at once; that of one outlives the
 *	other's
 */
static void test_vmap_beside(int device)
{
	static uint64_t data[4096 / 8];
	struct dmabufx_buffer buf;
	int one = importer_open(), two = importer_open();

	dmabufx_buffer_init(&buf, device, SHMEM_4K, KIB(256));
	dmabufx_buffer_write(&buf, WAY_MEMORY, 1);
	importer_attach(one, buf.fd);
	importer_attach(two, buf.fd);
	importer_vmap(one);
	importer_vmap(two);
	importer_vunmap(one);
	importer_read(two, DMABUFX_VIA_VMAP, KIB(128), data, sizeof(data));
	dmabufx_pattern_check(data, 1, KIB(128), sizeof(data), "vmap");
	importer_vunmap(two);
	importer_vmap(one);
	importer_read(one, DMABUFX_VIA_VMAP, KIB(64), data, sizeof(data));
	dmabufx_pattern_check(data, 1, KIB(64), sizeof(data), "vmap");
	close(one);
	close(two);
	dmabufx_buffer_fini(&buf);
}

/* How many mappings of its own the module has in the kernel's address space. */
static int kernel_mappings(void)
{
	char line[512];
	int count = 0;
	FILE *file = fopen("/proc/vmallocinfo", "re");

	igt_require(file);
	while (fgets(line, sizeof(line), file))
		count += strstr(line, "[dmabufx]") && strstr(line, " vmap");
	fclose(file);
	return count;
}

/* Has the kernel map as many pages as the machine has, of a little memory. */
static void want_all_room(int device)
{
	uint64_t size = dmabufx_file_number("/proc/meminfo", "MemTotal:") * KIB(1);
	uint32_t nr = (size + MIB(2) - 1) / MIB(2), i;
	struct dmabufx_segment *segments = calloc(nr, sizeof(*segments));
	int importer = importer_open(), fd;
	struct dmabufx_mem mem;

	dmabufx_mem_init(&mem, HUGETLB_2M, MIB(4));
	/* Backwards, so that they stay apart. */
	for (i = 0; i < nr; i++, size -= MIB(2))
		segments[i] = dmabufx_segment(&mem, i % 2 ? 0 : MIB(2),
					      size < MIB(2) ? size : MIB(2));
	fd = dmabufx_create(device, segments, nr, 0);
	importer_attach(importer, fd);
	importer_vmap(importer);
	close(importer);
	close(fd);
	dmabufx_mem_fini(&mem);
	free(segments);
}

/**
 * SUBTEST: vmap-is-kept
 * Description: The kernel's mapping is kept for the next user, goes when another one wants
 *	its room, and the one after that shows the data
 */
static void test_vmap_is_kept(int device)
{
	struct dmabufx_buffer buf;
	int before;

	dmabufx_buffer_init(&buf, device, SHMEM_4K, MIB(2));
	dmabufx_buffer_write(&buf, WAY_MEMORY, 1);
	/* Of one piece, it would have an address already. */
	igt_require(dmabufx_info(device, buf.fd).runs > 1);
	before = kernel_mappings();
	dmabufx_buffer_check(&buf, WAY_VMAP, 1);
	importer_vunmap(buf.importer);
	igt_assert_eq(kernel_mappings(), before + 1);
	want_all_room(device);
	igt_assert_lte(kernel_mappings(), before);
	importer_vmap(buf.importer);
	dmabufx_buffer_check(&buf, WAY_VMAP, 1);
	dmabufx_buffer_fini(&buf);
	igt_assert_lte(kernel_mappings(), before);
}

/**
 * SUBTEST: vmap-of-one-piece
 * Description: Memory of one piece is at the address that the kernel has for it anyway:
 *	no mapping is made
 */
static void test_vmap_of_one_piece(int device)
{
	int before = kernel_mappings();
	struct dmabufx_buffer buf;

	dmabufx_buffer_init(&buf, device, HUGETLB_2M, MIB(2));
	dmabufx_buffer_write(&buf, WAY_VMAP, 1);
	dmabufx_buffer_check(&buf, WAY_MEMORY, 1);
	igt_assert_eq(kernel_mappings(), before);
	dmabufx_buffer_fini(&buf);
}

struct round {
	int importer;
	int fd;
};

static void attach_and_map(void *arg)
{
	const struct round *round = arg;

	importer_attach(round->importer, round->fd);
	importer_map(round->importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	importer_unmap(round->importer);
	importer_detach(round->importer);
}

/**
 * SUBTEST: rounds-leave-nothing
 * Description: 1000 attachments, mapped and let go, leave no kernel memory behind
 */
static void test_rounds_leave_nothing(int device)
{
	struct round round = { .importer = importer_open() };
	struct dmabufx_buffer buf;

	dmabufx_buffer_init(&buf, device, HUGETLB_2M, MIB(2));
	round.fd = buf.fd;
	dmabufx_leaves_nothing(attach_and_map, &round, 1000);
	close(round.importer);
	dmabufx_buffer_fini(&buf);
}

static void vmap_and_vunmap(void *arg)
{
	const struct round *round = arg;

	importer_vmap(round->importer);
	importer_vunmap(round->importer);
}

/**
 * SUBTEST: vmaps-leave-nothing
 * Description: 1000 kernel mappings leave no kernel memory behind
 */
static void test_vmaps_leave_nothing(int device)
{
	struct round round = { .importer = importer_open() };
	struct dmabufx_buffer buf;

	dmabufx_buffer_init(&buf, device, SHMEM_4K, KIB(256));
	importer_attach(round.importer, buf.fd);
	dmabufx_leaves_nothing(vmap_and_vunmap, &round, 1000);
	close(round.importer);
	dmabufx_buffer_fini(&buf);
}

static const struct dmabufx_subtest subtests[] = {
	{ "default-limits", "Check what a device gets that asks for nothing",
	  test_default_limits },
	{ "unlimited", "Check what a device gets that takes all", test_unlimited },
	{ "segments-of-a-page", "Check the shortest segments", test_segments_of_a_page },
	{ "segments-of-odd-length", "Check segments of no whole pages",
	  test_segments_of_odd_length },
	{ "segment-boundary", "Check that segments do not cross boundaries",
	  test_segment_boundary },
	{ "boundary-and-length", "Check that two limits hold at once",
	  test_boundary_and_length },
	{ "addresses-of-32-bits", "Check that addresses can be reached",
	  test_addresses_of_32_bits },
	{ "segments-below-a-page", "Check that what cannot be is refused",
	  test_segments_below_a_page },
	{ "entries-of-pages", "Check that neighbours are merged", test_entries_of_pages },
	{ "entries-of-huge-pages", "Check that huge pages stay whole",
	  test_entries_of_huge_pages },
	{ "entry-of-1g", "Check that the largest pages stay whole", test_entry_of_1g },
	{ "beyond-4g", "Check that nothing overflows at 4 GiB", test_beyond_4g },
	{ "directions", "Check that all directions can be mapped", test_directions },
	{ "many-devices", "Check that devices share a buffer", test_many_devices },
	{ "other-limits-beside", "Check that each device's limits are its own",
	  test_other_limits_beside },
	{ "close-undoes", "Check that nothing is left of a driver that goes away",
	  test_close_undoes },
	{ "outlives-fd", "Check that an attachment keeps the buffer", test_outlives_fd },
	{ "cpu-access", "Check a driver's own brackets around CPU access", test_cpu_access },
	{ "vmap-beside", "Check that drivers share the kernel's mapping", test_vmap_beside },
	{ "vmap-is-kept", "Check that a second mapping costs nothing, nor room for ever",
	  test_vmap_is_kept },
	{ "vmap-of-one-piece", "Check that memory of one piece needs no mapping",
	  test_vmap_of_one_piece },
	{ "rounds-leave-nothing", "Check that attachments leak nothing",
	  test_rounds_leave_nothing },
	{ "vmaps-leave-nothing", "Check that kernel mappings leak nothing",
	  test_vmaps_leave_nothing },
};

int igt_main()
{
	int device = -1;

	igt_fixture()
		device = dmabufx_open();

	dmabufx_run_table(subtests, device);

	igt_fixture()
		close(device);
}
