// SPDX-License-Identifier: MIT
/*
 * Programs that use /dev/udmabuf rely on its calls, on dmabufx and on the in-tree driver.
 * Each subtest has a dynamic subtest for either driver.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "buffer.h"
#include "harness.h"
#include "igt.h"
#include "igt_dmabufx.h"
#include "memory.h"

#define SIZE (8 * PAGE)

/* A memfd of SIZE bytes with these seals. */
static int sealed(unsigned int seals)
{
	return memfd_make(SHMEM_4K, SIZE, seals);
}

/* Makes a dma-buf of the first @size bytes of a memfd. */
static int create_all(int memfd, __u64 size)
{
	struct udmabuf_create_item all = { .memfd = memfd, .size = size };

	return must(try_create(device_open(), all, UDMABUF_FLAGS_CLOEXEC));
}

/* Both ioctls must refuse the range. */
static void refuse(int memfd, __u64 offset, __u64 size, int error)
{
	struct udmabuf_create_item item = { .memfd = memfd, .offset = offset, .size = size };

	must_fail(error, try_create(device_open(), item, 0));
	must_fail(error, try_create_list(device_open(), &item, 1, 0));
}

static void check_pattern(const char *found, const struct memory *mem, __u64 offset,
			  size_t size)
{
	pattern_check(found, 1, mem->id, offset, size, "the mapping");
}

PROMISE(create, "UDMABUF_CREATE makes a dma-buf that shows a range of a memfd")
{
	struct memory mem = memory_make_patterned(SHMEM_4K, SIZE);
	int fd = create_range(&mem, 2 * PAGE, 4 * PAGE);
	char *map = map_dma_buf(fd, 0, 4 * PAGE);

	check_eq(lseek(fd, 0, SEEK_END), 4 * PAGE);
	check_eq(lseek(fd, 0, SEEK_SET), 0);
	check_pattern(map, &mem, 2 * PAGE, 4 * PAGE);
	pattern_fill(map, 2, mem.id, 2 * PAGE, 4 * PAGE);
	pattern_check(mem.map + 2 * PAGE, 2, mem.id, 2 * PAGE, 4 * PAGE, "the memfd");
	pattern_check(mem.map, 1, mem.id, 0, 2 * PAGE, "the memfd");
}

PROMISE(create_list,
	"UDMABUF_CREATE_LIST joins ranges, in any order and repeated")
{
	struct memory one = memory_make_patterned(SHMEM_4K, SIZE);
	struct memory two = memory_make_patterned(SHMEM_4K, SIZE);
	struct udmabuf_create_item items[] = {
		list_item(&two, 3 * PAGE, 2 * PAGE),
		list_item(&one, PAGE, PAGE),
		list_item(&two, 2 * PAGE, 2 * PAGE),
	};
	int fd = must(try_create_list(device_open(), items, 3, UDMABUF_FLAGS_CLOEXEC));
	char *map = map_dma_buf(fd, 0, 5 * PAGE);

	check_eq(lseek(fd, 0, SEEK_END), 5 * PAGE);
	check_pattern(map, &two, 3 * PAGE, 2 * PAGE);
	check_pattern(map + 2 * PAGE, &one, PAGE, PAGE);
	check_pattern(map + 3 * PAGE, &two, 2 * PAGE, 2 * PAGE);
}

PROMISE(cloexec,
	"UDMABUF_FLAGS_CLOEXEC closes on exec; flags without a meaning are ignored")
{
	struct udmabuf_create_item all = {
		.memfd = sealed(F_SEAL_SHRINK),
		.size = SIZE,
	};

	check_eq(fcntl(create_all(all.memfd, SIZE), F_GETFD), FD_CLOEXEC);
	check_eq(fcntl(must(try_create(device_open(), all, ~UDMABUF_FLAGS_CLOEXEC)), F_GETFD), 0);
}

PROMISE(access_mode, "the descriptor is for reading and writing")
{
	int fd = create_all(sealed(F_SEAL_SHRINK), SIZE);

	check_eq(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDWR);
}

PROMISE(open_mode,
	"a memfd opened read-only makes a read-only descriptor, write-only none")
{
	int memfd = sealed(F_SEAL_SHRINK);
	int fd = create_all(file_reopen(memfd, O_RDONLY), SIZE);
	struct udmabuf_create_item unreadable = {
		.memfd = file_reopen(memfd, O_WRONLY),
		.size = SIZE,
	};

	check_eq(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	must_fail(EACCES, mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, fd, 0));
	must_fail(EACCES, try_create(device_open(), unreadable, 0));
}

PROMISE(exporter_name,
	"fdinfo names udmabuf as the exporter, by which compositors recognise such buffers")
{
	char name[32];

	fdinfo_line(create_all(sealed(F_SEAL_SHRINK), SIZE), "exp_name:\t", name, sizeof(name));
	check(!strcmp(name, "udmabuf"));
}

PROMISE(unaligned, "offsets and sizes that are no multiples of a page are EINVAL")
{
	int memfd = sealed(F_SEAL_SHRINK);

	refuse(memfd, 512, PAGE, EINVAL);
	refuse(memfd, PAGE, 512, EINVAL);
	refuse(memfd, PAGE - 1, PAGE + 1, EINVAL);
}

PROMISE(empty, "empty ranges and empty lists are EINVAL")
{
	refuse(sealed(F_SEAL_SHRINK), 0, 0, EINVAL);
	must_fail(EINVAL, try_create_list(device_open(), NULL, 0, 0));
}

PROMISE(beyond_end, "ranges that leave the memfd are EINVAL, offsets near 2^63 included")
{
	int memfd = sealed(F_SEAL_SHRINK);

	refuse(memfd, PAGE, SIZE, EINVAL);
	refuse(memfd, SIZE, PAGE, EINVAL);
	refuse(memfd, (1ull << 63) - PAGE, PAGE, EINVAL);
	refuse(memfd, -PAGE, PAGE, EINVAL);
}

PROMISE(may_shrink, "a memfd without F_SEAL_SHRINK is EINVAL")
{
	refuse(sealed(0), 0, SIZE, EINVAL);
	refuse(sealed(F_SEAL_GROW), 0, SIZE, EINVAL);
}

PROMISE(write_sealed, "a memfd with F_SEAL_WRITE or F_SEAL_FUTURE_WRITE is EINVAL")
{
	refuse(sealed(F_SEAL_SHRINK | F_SEAL_WRITE), 0, SIZE, EINVAL);
	refuse(sealed(F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE), 0, SIZE, EINVAL);
}

PROMISE(descriptors, "everything but a memfd is EBADFD, closed descriptors included")
{
	int ends[2];

	must(pipe2(ends, O_CLOEXEC));
	refuse(ends[0], 0, PAGE, EBADFD);
	refuse(device_open(), 0, PAGE, EBADFD);
	refuse(-1, 0, PAGE, EBADFD);
	refuse(INT32_MAX, 0, PAGE, EBADFD);
}

PROMISE(bad_pointers, "arguments outside the caller's memory are EFAULT")
{
	int device = device_open();
	struct udmabuf_create_list *list;
	char *pages = must(mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));

	must(munmap(pages + PAGE, PAGE));
	must_fail(EFAULT, ioctl(device, UDMABUF_CREATE, (void *)8));
	must_fail(EFAULT, ioctl(device, UDMABUF_CREATE, pages + PAGE - 8));
	list = (struct udmabuf_create_list *)(pages + PAGE - sizeof(*list));
	list->count = 1;
	must_fail(EFAULT, ioctl(device, UDMABUF_CREATE_LIST, list));
}

PROMISE(read_only_device,
	"a device opened for reading makes buffers, as libcamera and crosvm want")
{
	struct udmabuf_create_item all = {
		.memfd = sealed(F_SEAL_SHRINK),
		.size = SIZE,
	};

	must(try_create(file_reopen(device_open(), O_RDONLY), all, UDMABUF_FLAGS_CLOEXEC));
}

PROMISE(holes, "holes of a memfd become zeros that buffer and memfd share")
{
	struct memory mem = memory_make_holes(SHMEM_4K, SIZE);
	char *map = map_dma_buf(create_range(&mem, 0, SIZE), 0, SIZE);
	size_t i;

	for (i = 0; i < SIZE; i++)
		check_eq(map[i], 0);
	pattern_fill(map, 1, mem.id, 0, SIZE);
	pattern_check(mem.map, 1, mem.id, 0, SIZE, "the memfd");
}

PROMISE(outlives_memfd, "a buffer keeps its memory when memfd and device are closed")
{
	struct memory mem = memory_make_patterned(SHMEM_4K, SIZE);
	int fd = create_range(&mem, 0, SIZE);
	char *map;

	memory_free(&mem);
	map = map_dma_buf(fd, 0, SIZE);
	must(close(fd));
	check_pattern(map, &mem, 0, SIZE);
}

PROMISE(mmap_range, "a part of a buffer can be mapped, and nothing beyond its end")
{
	struct memory mem = memory_make_patterned(SHMEM_4K, SIZE);
	int fd = create_range(&mem, 0, SIZE);

	check_pattern(map_dma_buf(fd, 3 * PAGE, 2 * PAGE), &mem, 3 * PAGE, 2 * PAGE);
	must_fail(EINVAL, mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, fd, SIZE - PAGE));
	must_fail(EINVAL, mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, SIZE));
}

PROMISE(mmap_private, "a private mapping is EINVAL")
{
	int fd = create_all(sealed(F_SEAL_SHRINK), SIZE);

	must_fail(EINVAL, mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
}

/* Whether the mapping has this flag, two letters in /proc/self/smaps. */
static bool has_vm_flag(const char *map, const char *flag)
{
	char line[512], start[32];
	bool inside = false;
	FILE *file = fopen("/proc/self/smaps", "re");

	check(file);
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

PROMISE(mremap_grow, "a mapping cannot grow beyond the buffer, and is not in core dumps")
{
	char *map = map_dma_buf(create_all(sealed(F_SEAL_SHRINK), SIZE), 0, SIZE);

	check(has_vm_flag(map, " de "));
	check(has_vm_flag(map, " dd "));
	check(mremap(map, SIZE, SIZE + PAGE, MREMAP_MAYMOVE) == MAP_FAILED);
}

PROMISE(sync,
	"brackets around CPU access succeed in all directions; invalid flags are refused")
{
	int fd = create_all(sealed(F_SEAL_SHRINK), SIZE);
	struct dma_buf_sync none = { .flags = DMA_BUF_SYNC_START }, unknown = { .flags = ~0ull };
	__u64 direction;

	for (direction = DMA_BUF_SYNC_READ; direction <= DMA_BUF_SYNC_RW; direction++) {
		sync_start(fd, direction);
		sync_end(fd, direction);
	}
	must_fail(EINVAL, ioctl(fd, DMA_BUF_IOCTL_SYNC, &none));
	must_fail(EINVAL, ioctl(fd, DMA_BUF_IOCTL_SYNC, &unknown));
}

/* The importer must see the memory, through scatterlist and device addresses. */
static void device_sees(enum memory_kind kind, size_t size)
{
	struct memory mem = memory_make_patterned(kind, size);
	struct part all = { .mem = &mem, .size = size };
	struct buffer buf = buffer_make(&all, 1);
	struct dmabufx_importer_map map;

	buf.importer = importer_open();
	importer_attach(buf.importer, buf.fd);
	map = importer_map(buf.importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	check_eq(map.faults, 0);
	buffer_verify(&buf, &way_device, 1);
	buffer_verify(&buf, &way_sg, 1);
}

PROMISE(device, "a device gets a correct scatterlist, and the data")
{
	device_sees(SHMEM_4K, MIB(1));
}

PROMISE(device_hugetlb, "the same for huge pages")
{
	device_sees(HUGETLB_2M, MIB(4));
}

PROMISE(vmap_hugetlb, "the kernel's mapping of huge pages shows the data")
{
	struct memory mem = memory_make_patterned(HUGETLB_2M, MIB(4));
	const __u64 offset = MIB(2) + 12 * PAGE;
	int importer = importer_open();
	static char data[LARGEST_PAGE];

	importer_attach(importer, create_range(&mem, 0, mem.size));
	importer_do(importer, DMABUFX_IMPORTER_VMAP, 0);
	importer_read(importer, DMABUFX_VIA_VMAP, offset, data, PAGE);
	pattern_check(data, 1, mem.id, offset, PAGE, "vmap");
}

PROMISE(long_list, "a list may have 4096 items by default")
{
	enum { ITEMS = 4096 };
	static struct udmabuf_create_item items[ITEMS];
	int memfd = sealed(F_SEAL_SHRINK), fd, i;

	for (i = 0; i < ITEMS; i++)
		items[i] = (struct udmabuf_create_item){ .memfd = memfd, .size = PAGE };
	fd = must(try_create_list(device_open(), items, ITEMS, UDMABUF_FLAGS_CLOEXEC));
	check_eq(lseek(fd, 0, SEEK_END), ITEMS * PAGE);
}

PROMISE(large, "a buffer may have 128 MiB by default")
{
	int memfd = memfd_make(SHMEM_4K, MIB(128), F_SEAL_SHRINK);

	check_eq(lseek(create_all(memfd, MIB(128)), 0, SEEK_END), MIB(128));
}

PROMISE(write_seal_waits,
	"F_SEAL_WRITE is EBUSY while a buffer lives, and works when it is gone")
{
	int memfd = sealed(F_SEAL_SHRINK), fd = create_all(memfd, SIZE);

	must_fail(EBUSY, fcntl(memfd, F_ADD_SEALS, F_SEAL_WRITE));
	must(close(fd));
	must(fcntl(memfd, F_ADD_SEALS, F_SEAL_WRITE));
}

static const struct {
	const char *name;
	const char *node;
} drivers[] = {
	{ "dmabufx", DMABUFX_DEVICE },
	{ "udmabuf", "/dev/udmabuf" },
};

static void run_on_drivers(const struct test *test)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(drivers); i++) {
		if (access(drivers[i].node, R_OK | W_OK))
			continue;
		settings.device = drivers[i].node;
		igt_dynamic(drivers[i].name)
			dmabufx_run(test);
	}
}

int igt_main_args("", dmabufx_options, dmabufx_help, dmabufx_option, NULL)
{
	dmabufx_run_dynamic(run_on_drivers);
}
