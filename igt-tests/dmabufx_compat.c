// SPDX-License-Identifier: MIT
/**
 * TEST: dmabufx compat
 * Category: Core
 * Mega feature: General Core features
 * Sub-category: dmabuf
 * Description: What programs that use /dev/udmabuf rely on, of /dev/dmabufx and of
 *	/dev/udmabuf itself: each subtest has a dynamic one for either driver
 * Functionality: dmabuf test
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "igt.h"
#include "igt_dmabufx.h"

IGT_TEST_DESCRIPTION("The calls of udmabuf, on dmabufx and on udmabuf");

#define SIZE (8 * PAGE)

/* All of a memfd, which must succeed. */
static int create(int device, const struct dmabufx_mem *mem)
{
	int fd = __udmabuf_create(device, mem->fd, 0, mem->size, UDMABUF_FLAGS_CLOEXEC);

	igt_assert_f(fd >= 0, "UDMABUF_CREATE: %s\n", strerror(-fd));
	return fd;
}

static void refuse(int device, int memfd, uint64_t offset, uint64_t size, int error)
{
	struct udmabuf_create_item item = { .memfd = memfd, .offset = offset, .size = size };

	igt_assert_eq(__udmabuf_create(device, memfd, offset, size, 0), -error);
	igt_assert_eq(__udmabuf_create_list(device, &item, 1, 0), -error);
}

/* A memfd with the pattern of a seed. */
static void make_memory(struct dmabufx_mem *mem, enum dmabufx_kind kind, size_t size,
			uint32_t seed)
{
	dmabufx_mem_init(mem, kind, size);
	dmabufx_pattern_fill(mem->map, seed, 0, mem->size);
}

/**
 * SUBTEST: create
 * Description: UDMABUF_CREATE makes a dma-buf that shows a range of a memfd
 */
static void test_create(int device)
{
	struct dmabufx_mem mem;
	char *map;
	int fd;

	make_memory(&mem, SHMEM_4K, SIZE, 1);
	fd = __udmabuf_create(device, mem.fd, 2 * PAGE, 4 * PAGE, UDMABUF_FLAGS_CLOEXEC);
	igt_assert_lte(0, fd);
	igt_assert_eq_s64(lseek(fd, 0, SEEK_END), 4 * PAGE);
	igt_assert_eq_s64(lseek(fd, 0, SEEK_SET), 0);
	map = dmabufx_mmap(fd, 0, 4 * PAGE);
	dmabufx_pattern_check(map, 1, 2 * PAGE, 4 * PAGE, "mmap");
	dmabufx_pattern_fill(map, 2, 2 * PAGE, 4 * PAGE);
	dmabufx_pattern_check(mem.map + 2 * PAGE, 2, 2 * PAGE, 4 * PAGE, "memfd");
	dmabufx_pattern_check(mem.map, 1, 0, 2 * PAGE, "memfd");
	munmap(map, 4 * PAGE);
	close(fd);
	dmabufx_mem_fini(&mem);
}

/**
 * SUBTEST: create-list
 * Description: UDMABUF_CREATE_LIST strings ranges together, in any order and repeated
 */
static void test_create_list(int device)
{
	struct dmabufx_mem one, two;
	struct udmabuf_create_item items[3];
	char *map;
	int fd;

	make_memory(&one, SHMEM_4K, SIZE, 1);
	make_memory(&two, SHMEM_4K, SIZE, 2);
	items[0] = dmabufx_item(&two, 3 * PAGE, 2 * PAGE);
	items[1] = dmabufx_item(&one, PAGE, PAGE);
	items[2] = dmabufx_item(&two, 2 * PAGE, 2 * PAGE);
	fd = __udmabuf_create_list(device, items, 3, UDMABUF_FLAGS_CLOEXEC);
	igt_assert_lte(0, fd);
	igt_assert_eq_s64(lseek(fd, 0, SEEK_END), 5 * PAGE);
	map = dmabufx_mmap(fd, 0, 5 * PAGE);
	dmabufx_pattern_check(map, 2, 3 * PAGE, 2 * PAGE, "mmap");
	dmabufx_pattern_check(map + 2 * PAGE, 1, PAGE, PAGE, "mmap");
	dmabufx_pattern_check(map + 3 * PAGE, 2, 2 * PAGE, 2 * PAGE, "mmap");
	munmap(map, 5 * PAGE);
	close(fd);
	dmabufx_mem_fini(&one);
	dmabufx_mem_fini(&two);
}

/**
 * SUBTEST: cloexec
 * Description: UDMABUF_FLAGS_CLOEXEC is what it says; flags without a meaning are ignored
 */
static void test_cloexec(int device)
{
	int memfd = dmabufx_memfd(SIZE, F_SEAL_SHRINK), fd;

	fd = __udmabuf_create(device, memfd, 0, SIZE, UDMABUF_FLAGS_CLOEXEC);
	igt_assert_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
	fd = __udmabuf_create(device, memfd, 0, SIZE, ~UDMABUF_FLAGS_CLOEXEC);
	igt_assert_eq(fcntl(fd, F_GETFD), 0);
	close(fd);
	close(memfd);
}

/**
 * SUBTEST: access-mode
 * Description: The descriptor is for reading and writing
 */
static void test_access_mode(int device)
{
	int memfd = dmabufx_memfd(SIZE, F_SEAL_SHRINK), fd;

	fd = __udmabuf_create(device, memfd, 0, SIZE, UDMABUF_FLAGS_CLOEXEC);
	igt_assert_lte(0, fd);
	igt_assert_eq(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDWR);
	close(fd);
	close(memfd);
}

/**
 * SUBTEST: open-mode
 * Description: A memfd opened read-only makes a descriptor that is read-only, and one
 *	opened write-only makes none
 */
static void test_open_mode(int device)
{
	int memfd = dmabufx_memfd(SIZE, F_SEAL_SHRINK), only, fd;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", memfd);
	only = open(path, O_RDONLY | O_CLOEXEC);
	igt_assert_lte(0, only);
	fd = __udmabuf_create(device, only, 0, SIZE, UDMABUF_FLAGS_CLOEXEC);
	igt_assert_lte(0, fd);
	igt_assert_eq(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	igt_assert_eq(__dmabufx_mmap(fd, PROT_WRITE, MAP_SHARED, 0, PAGE), -EACCES);
	close(fd);
	close(only);

	only = open(path, O_WRONLY | O_CLOEXEC);
	igt_assert_lte(0, only);
	igt_assert_eq(__udmabuf_create(device, only, 0, SIZE, 0), -EACCES);
	close(only);
	close(memfd);
}

/**
 * SUBTEST: exporter-name
 * Description: fdinfo names udmabuf as the exporter, by which compositors know such buffers
 */
static void test_exporter_name(int device)
{
	struct dmabufx_mem mem;
	char name[32];
	int fd;

	dmabufx_mem_init(&mem, SHMEM_4K, SIZE);
	fd = create(device, &mem);
	igt_assert(dmabufx_fdinfo(fd, "exp_name:\t", name, sizeof(name)));
	igt_assert(!strcmp(name, "udmabuf"));
	close(fd);
	dmabufx_mem_fini(&mem);
}

/**
 * SUBTEST: unaligned
 * Description: Offsets and sizes inside of pages are EINVAL
 */
static void test_unaligned(int device)
{
	int memfd = dmabufx_memfd(SIZE, F_SEAL_SHRINK);

	refuse(device, memfd, 512, PAGE, EINVAL);
	refuse(device, memfd, PAGE, 512, EINVAL);
	refuse(device, memfd, PAGE - 1, PAGE + 1, EINVAL);
	close(memfd);
}

/**
 * SUBTEST: empty
 * Description: Ranges and lists of nothing are EINVAL
 */
static void test_empty(int device)
{
	int memfd = dmabufx_memfd(SIZE, F_SEAL_SHRINK);

	refuse(device, memfd, 0, 0, EINVAL);
	igt_assert_eq(__udmabuf_create_list(device, NULL, 0, 0), -EINVAL);
	close(memfd);
}

/**
 * SUBTEST: beyond-end
 * Description: Ranges that leave the memfd are EINVAL, offsets near 2^63 included
 */
static void test_beyond_end(int device)
{
	int memfd = dmabufx_memfd(SIZE, F_SEAL_SHRINK);

	refuse(device, memfd, PAGE, SIZE, EINVAL);
	refuse(device, memfd, SIZE, PAGE, EINVAL);
	refuse(device, memfd, (1ull << 63) - PAGE, PAGE, EINVAL);
	refuse(device, memfd, -PAGE, PAGE, EINVAL);
	close(memfd);
}

static void refuse_seals(int device, unsigned int seals)
{
	int memfd = dmabufx_memfd(SIZE, seals);

	refuse(device, memfd, 0, SIZE, EINVAL);
	close(memfd);
}

/**
 * SUBTEST: may-shrink
 * Description: A memfd without F_SEAL_SHRINK is EINVAL
 */
static void test_may_shrink(int device)
{
	refuse_seals(device, 0);
	refuse_seals(device, F_SEAL_GROW);
}

/**
 * SUBTEST: write-sealed
 * Description: A memfd with F_SEAL_WRITE or F_SEAL_FUTURE_WRITE is EINVAL
 */
static void test_write_sealed(int device)
{
	refuse_seals(device, F_SEAL_SHRINK | F_SEAL_WRITE);
	refuse_seals(device, F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE);
}

/**
 * SUBTEST: descriptors
 * Description: What is no memfd is EBADFD, closed descriptors included
 */
static void test_descriptors(int device)
{
	int ends[2];

	igt_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	refuse(device, ends[0], 0, PAGE, EBADFD);
	refuse(device, device, 0, PAGE, EBADFD);
	refuse(device, -1, 0, PAGE, EBADFD);
	refuse(device, INT32_MAX, 0, PAGE, EBADFD);
	close(ends[0]);
	close(ends[1]);
}

/**
 * SUBTEST: bad-pointers
 * Description: Arguments outside the caller's memory are EFAULT
 */
static void test_bad_pointers(int device)
{
	struct udmabuf_create_list *list;
	char *pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	igt_assert(pages != MAP_FAILED);
	munmap(pages + PAGE, PAGE);
	igt_assert_eq(ioctl(device, UDMABUF_CREATE, (void *)8), -1);
	igt_assert_eq(errno, EFAULT);
	igt_assert_eq(ioctl(device, UDMABUF_CREATE, pages + PAGE - 8), -1);
	igt_assert_eq(errno, EFAULT);
	list = (struct udmabuf_create_list *)(pages + PAGE - sizeof(*list));
	list->count = 1;
	igt_assert_eq(ioctl(device, UDMABUF_CREATE_LIST, list), -1);
	igt_assert_eq(errno, EFAULT);
	munmap(pages, PAGE);
}

/**
 * SUBTEST: read-only-device
 * Description: A device opened for reading makes buffers, as libcamera and crosvm want
 */
static void test_read_only_device(int device)
{
	int memfd = dmabufx_memfd(SIZE, F_SEAL_SHRINK), again, fd;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", device);
	again = open(path, O_RDONLY | O_CLOEXEC);
	igt_assert_lte(0, again);
	fd = __udmabuf_create(again, memfd, 0, SIZE, UDMABUF_FLAGS_CLOEXEC);
	igt_assert_lte(0, fd);
	close(fd);
	close(again);
	close(memfd);
}

/**
 * SUBTEST: holes
 * Description: Holes of a memfd become zeros that buffer and memfd share
 */
static void test_holes(int device)
{
	struct dmabufx_mem mem;
	char *map;
	size_t i;
	int fd;

	dmabufx_mem_init_holes(&mem, SHMEM_4K, SIZE);
	fd = create(device, &mem);
	map = dmabufx_mmap(fd, 0, SIZE);
	for (i = 0; i < SIZE; i++)
		igt_assert_eq(map[i], 0);
	dmabufx_pattern_fill(map, 1, 0, SIZE);
	dmabufx_pattern_check(mem.map, 1, 0, SIZE, "memfd");
	munmap(map, SIZE);
	close(fd);
	dmabufx_mem_fini(&mem);
}

/**
 * SUBTEST: outlives-memfd
 * Description: A buffer keeps its memory when memfd and device are closed
 */
static void test_outlives_memfd(int device)
{
	struct dmabufx_mem mem;
	char *map;
	int fd;

	make_memory(&mem, SHMEM_4K, SIZE, 1);
	fd = create(device, &mem);
	dmabufx_mem_fini(&mem);
	map = dmabufx_mmap(fd, 0, SIZE);
	close(fd);
	dmabufx_pattern_check(map, 1, 0, SIZE, "mmap");
	munmap(map, SIZE);
}

/**
 * SUBTEST: mmap-range
 * Description: A part of a buffer can be mapped, and nothing beyond its end
 */
static void test_mmap_range(int device)
{
	struct dmabufx_mem mem;
	char *map;
	int fd;

	make_memory(&mem, SHMEM_4K, SIZE, 1);
	fd = create(device, &mem);
	map = dmabufx_mmap(fd, 3 * PAGE, 2 * PAGE);
	dmabufx_pattern_check(map, 1, 3 * PAGE, 2 * PAGE, "mmap");
	munmap(map, 2 * PAGE);
	igt_assert_eq(__dmabufx_mmap(fd, PROT_READ, MAP_SHARED, SIZE - PAGE, 2 * PAGE),
		      -EINVAL);
	igt_assert_eq(__dmabufx_mmap(fd, PROT_READ, MAP_SHARED, SIZE, PAGE), -EINVAL);
	close(fd);
	dmabufx_mem_fini(&mem);
}

/**
 * SUBTEST: mmap-private
 * Description: A private mapping is refused
 */
static void test_mmap_private(int device)
{
	struct dmabufx_mem mem;
	int fd;

	dmabufx_mem_init(&mem, SHMEM_4K, SIZE);
	fd = create(device, &mem);
	igt_assert_eq(__dmabufx_mmap(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0, SIZE),
		      -EINVAL);
	close(fd);
	dmabufx_mem_fini(&mem);
}

/* Whether a mapping has one of the flags that /proc/self/smaps names by two letters. */
static bool has_vm_flag(const char *map, const char *flag)
{
	char line[512], start[32];
	bool inside = false;
	FILE *file = fopen("/proc/self/smaps", "re");

	igt_assert(file);
	snprintf(start, sizeof(start), "%lx-", (unsigned long)map);
	while (fgets(line, sizeof(line), file)) {
		if (!strncmp(line, start, strlen(start)))
			inside = true;
		else if (inside && !strncmp(line, "VmFlags:", 8))
			break;
	}
	fclose(file);
	return inside && strstr(line, flag);
}

/**
 * SUBTEST: mremap-grow
 * Description: A mapping cannot be made to reach beyond the buffer, and nobody dumps it
 */
static void test_mremap_grow(int device)
{
	struct dmabufx_mem mem;
	void *grown;
	char *map;
	int fd;

	dmabufx_mem_init(&mem, SHMEM_4K, SIZE);
	fd = create(device, &mem);
	map = dmabufx_mmap(fd, 0, SIZE);
	igt_assert(has_vm_flag(map, " de "));
	igt_assert(has_vm_flag(map, " dd "));
	grown = mremap(map, SIZE, SIZE + PAGE, MREMAP_MAYMOVE);
	igt_assert(grown == MAP_FAILED);
	munmap(map, SIZE);
	close(fd);
	dmabufx_mem_fini(&mem);
}

/**
 * SUBTEST: sync
 * Description: Brackets around CPU access succeed in all directions, and refuse others
 */
static void test_sync(int device)
{
	struct dmabufx_mem mem;
	int fd, dir;

	dmabufx_mem_init(&mem, SHMEM_4K, SIZE);
	fd = create(device, &mem);
	for (dir = DMA_BUF_SYNC_READ; dir <= DMA_BUF_SYNC_RW; dir++) {
		dmabufx_sync(fd, DMA_BUF_SYNC_START | dir);
		dmabufx_sync(fd, DMA_BUF_SYNC_END | dir);
	}
	igt_assert_eq(__dmabufx_sync(fd, DMA_BUF_SYNC_START), -EINVAL);
	igt_assert_eq(__dmabufx_sync(fd, ~0ull), -EINVAL);
	close(fd);
	dmabufx_mem_fini(&mem);
}

/* A dma-buf of a kind's memory, as a device sees it. */
static void device_sees(int device, enum dmabufx_kind kind, size_t size)
{
	struct dmabufx_buffer buf;

	dmabufx_buffer_init(&buf, device, kind, size);
	dmabufx_buffer_write(&buf, WAY_MEMORY, 1);
	dmabufx_buffer_check(&buf, WAY_DEVICE, 1);
	dmabufx_buffer_check(&buf, WAY_SG, 1);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: device
 * Description: A device gets a scatterlist without fault, and the data
 */
static void test_device(int device)
{
	device_sees(device, SHMEM_4K, MIB(1));
}

/**
 * SUBTEST: device-hugetlb
 * Description: The same for huge pages
 */
static void test_device_hugetlb(int device)
{
	device_sees(device, HUGETLB_2M, MIB(4));
}

/**
 * SUBTEST: vmap-hugetlb
 * Description: The kernel's mapping of huge pages shows the data
 */
static void test_vmap_hugetlb(int device)
{
	struct dmabufx_buffer buf;
	static char data[4096];
	int importer = importer_open();

	dmabufx_buffer_init(&buf, device, HUGETLB_2M, MIB(4));
	dmabufx_buffer_write(&buf, WAY_MEMORY, 1);
	importer_attach(importer, buf.fd);
	importer_vmap(importer);
	importer_read(importer, DMABUFX_VIA_VMAP, MIB(2) + 12 * PAGE, data, sizeof(data));
	dmabufx_pattern_check(data, 1, MIB(2) + 12 * PAGE, sizeof(data), "vmap");
	close(importer);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: long-list
 * Description: A list may have 4096 items by default
 */
static void test_long_list(int device)
{
	enum { ITEMS = 4096 };
	struct udmabuf_create_item *items = calloc(ITEMS, sizeof(*items));
	int memfd = dmabufx_memfd(SIZE, F_SEAL_SHRINK), fd, i;

	for (i = 0; i < ITEMS; i++)
		items[i] = (struct udmabuf_create_item){ .memfd = memfd, .size = PAGE };
	fd = __udmabuf_create_list(device, items, ITEMS, UDMABUF_FLAGS_CLOEXEC);
	free(items);
	close(memfd);
	igt_assert_lte(0, fd);
	igt_assert_eq_s64(lseek(fd, 0, SEEK_END), ITEMS * PAGE);
	close(fd);
}

/**
 * SUBTEST: large
 * Description: A buffer may have 128 MiB by default
 */
static void test_large(int device)
{
	int memfd = dmabufx_memfd(MIB(128), F_SEAL_SHRINK);
	int fd = __udmabuf_create(device, memfd, 0, MIB(128), UDMABUF_FLAGS_CLOEXEC);

	close(memfd);
	igt_assert_lte(0, fd);
	igt_assert_eq_s64(lseek(fd, 0, SEEK_END), MIB(128));
	close(fd);
}

/**
 * SUBTEST: write-seal-waits
 * Description: F_SEAL_WRITE is EBUSY while a buffer lives, and works when it is gone
 */
static void test_write_seal_waits(int device)
{
	int memfd = dmabufx_memfd(SIZE, F_SEAL_SHRINK);
	int fd = __udmabuf_create(device, memfd, 0, SIZE, UDMABUF_FLAGS_CLOEXEC);

	igt_assert_lte(0, fd);
	igt_assert_eq(fcntl(memfd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	igt_assert_eq(errno, EBUSY);
	close(fd);
	igt_assert_eq(fcntl(memfd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	close(memfd);
}

static const struct dmabufx_subtest subtests[] = {
	{ "create", "Check that a range of a memfd becomes a dma-buf", test_create },
	{ "create-list", "Check that ranges are strung together in order", test_create_list },
	{ "cloexec", "Check what flags mean", test_cloexec },
	{ "access-mode", "Check that buffers can be written", test_access_mode },
	{ "open-mode", "Check that a memfd's mode is the buffer's", test_open_mode },
	{ "exporter-name", "Check the name that compositors look for", test_exporter_name },
	{ "unaligned", "Check that buffers consist of whole pages", test_unaligned },
	{ "empty", "Check that nothing makes no buffer", test_empty },
	{ "beyond-end", "Check that no range leaves its memfd", test_beyond_end },
	{ "may-shrink", "Check that memory cannot be taken away from a buffer", test_may_shrink },
	{ "write-sealed", "Check that sealed memory cannot be written", test_write_sealed },
	{ "descriptors", "Check that only memfds are taken", test_descriptors },
	{ "bad-pointers", "Check that bad pointers are errors", test_bad_pointers },
	{ "read-only-device", "Check that who opens the device for reading makes buffers",
	  test_read_only_device },
	{ "holes", "Check that holes are filled", test_holes },
	{ "outlives-memfd", "Check that a buffer and a mapping keep their memory",
	  test_outlives_memfd },
	{ "mmap-range", "Check that parts can be mapped, and nothing else", test_mmap_range },
	{ "mmap-private", "Check that mappings are shared", test_mmap_private },
	{ "mremap-grow", "Check that mappings end with the buffer", test_mremap_grow },
	{ "sync", "Check brackets around CPU access", test_sync },
	{ "device", "Check what a device sees", test_device },
	{ "device-hugetlb", "Check what a device sees of huge pages", test_device_hugetlb },
	{ "vmap-hugetlb", "Check what the kernel sees of huge pages", test_vmap_hugetlb },
	{ "long-list", "Check that lists may be long", test_long_list },
	{ "large", "Check that buffers may be large", test_large },
	{ "write-seal-waits", "Check that a seal cannot lie about a buffer",
	  test_write_seal_waits },
};

/* The drivers; -1 for one that is not there. */
static struct {
	const char *name;
	const char *node;
	int device;
} drivers[] = {
	{ "dmabufx", DMABUFX_DEVICE, -1 },
	{ "udmabuf", UDMABUF_DEVICE, -1 },
};

static void run_on_drivers(void (*run)(int device))
{
	size_t i;

	for (i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++) {
		if (drivers[i].device < 0)
			continue;
		igt_dynamic(drivers[i].name)
			dmabufx_run(run, drivers[i].device);
	}
}

int igt_main()
{
	size_t i;

	igt_fixture() {
		for (i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++)
			drivers[i].device = __dmabufx_open(drivers[i].node, O_RDWR);
	}

	for (i = 0; i < sizeof(subtests) / sizeof(subtests[0]); i++) {
		igt_describe(subtests[i].description);
		igt_subtest_with_dynamic(subtests[i].name)
			run_on_drivers(subtests[i].run);
	}
}
