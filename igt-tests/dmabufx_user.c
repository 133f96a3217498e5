// SPDX-License-Identifier: MIT
/**
 * TEST: dmabufx user
 * Category: Core
 * Mega feature: General Core features
 * Sub-category: dmabuf
 * Description: Buffers of the caller's own addresses: which may be exported, what happens
 *	when the caller does something else with them, and who pays
 * Functionality: dmabuf test
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "igt.h"
#include "igt_dmabufx.h"

IGT_TEST_DESCRIPTION("Dma-bufs of memory that a process has at its own addresses");

#define SIZE KIB(64)

static char *map_anonymous(size_t size, int flags)
{
	char *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1, 0);

	igt_assert(map != MAP_FAILED);
	return map;
}

/* In the place of what is mapped there. */
static char *map_anonymous_at(char *place, size_t size, int flags)
{
	char *map = mmap(place, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | flags, -1, 0);

	igt_assert(map == place);
	return map;
}

static int export(int device, const void *address, size_t size, uint32_t flags)
{
	struct dmabufx_segment segment = dmabufx_user_segment(address, size);

	return dmabufx_create(device, &segment, 1, flags);
}

static void refused(int device, const void *address, size_t size, uint32_t flags,
		    int error, uint32_t reason)
{
	struct dmabufx_segment segment = dmabufx_user_segment(address, size);
	struct dmabufx_create request = dmabufx_request(&segment, 1, flags);

	dmabufx_refused(device, &request, error, reason, 0);
}

/* All see the same data in what is mapped at @map, whatever it is. */
static void carries(int device, char *map, size_t size)
{
	struct dmabufx_buffer buf = {
		.mem = { .kind = SHMEM_4K, .folio = PAGE, .fd = -1, .size = size, .map = map },
		.size = size,
		.importer = -1,
	};

	buf.fd = export(device, map, size, 0);
	dmabufx_buffer_carries(&buf);
	munmap(buf.map, size);
	close(buf.importer);
	close(buf.fd);
}

/**
 * SUBTEST: anonymous
 * Description: Owner, mappings, devices and kernel see the same data in private memory
 */
static void test_anonymous(int device, enum dmabufx_kind kind)
{
	struct dmabufx_mem mem;

	dmabufx_mem_init(&mem, kind, MIB(2));
	carries(device, mem.map, mem.size);
	/* A part that neither begins nor ends where a folio does. */
	carries(device, mem.map + PAGE, mem.size / 2);
	dmabufx_mem_fini(&mem);
}

/**
 * SUBTEST: mapped-memfd
 * Description: So they do in mappings of memfds, which need no seals for that
 */
static void test_mapped_memfd(int device, enum dmabufx_kind kind)
{
	struct dmabufx_mem mem;

	dmabufx_mem_init(&mem, kind, MIB(2));
	carries(device, mem.map + PAGE, mem.size / 2);
	dmabufx_mem_fini(&mem);
}

/**
 * SUBTEST: shared-anonymous
 * Description: So they do in memory that is shared with children, who see it too
 */
static void test_shared_anonymous(int device)
{
	char *map = map_anonymous(SIZE, MAP_SHARED), *view;
	int fd;

	carries(device, map, SIZE);
	fd = export(device, map, SIZE, 0);
	igt_fork(child, 1)
		dmabufx_pattern_fill(map, 7, 0, SIZE);
	igt_waitchildren();
	view = dmabufx_mmap(fd, 0, SIZE);
	dmabufx_pattern_check(view, 7, 0, SIZE, "mmap");
	munmap(view, SIZE);
	close(fd);
	munmap(map, SIZE);
}

/**
 * SUBTEST: never-touched
 * Description: Memory that was never touched is there, as zeros, for both sides
 */
static void test_never_touched(int device)
{
	char *map = map_anonymous(SIZE, MAP_PRIVATE), *view;
	int fd = export(device, map, SIZE, 0);
	size_t at;

	view = dmabufx_mmap(fd, 0, SIZE);
	for (at = 0; at < SIZE; at += 8)
		igt_assert(!*(uint64_t *)(view + at));
	dmabufx_pattern_fill(view, 1, 0, SIZE);
	dmabufx_pattern_check(map, 1, 0, SIZE, "the owner");
	munmap(view, SIZE);
	close(fd);
	munmap(map, SIZE);
}

/*
 * Memory that is mapped to be written and clean: a memfd's that was only read, or the
 * process's own of which it said that it may go.
 */
static void make_clean(struct dmabufx_mem *mem, enum dmabufx_kind kind)
{
	size_t at;

	if (kind == SHMEM_4K) {
		dmabufx_mem_init_holes(mem, kind, MIB(1));
		for (at = 0; at < mem->size; at += PAGE)
			igt_assert_eq(dmabufx_touch(mem->map + at, false), 0);
		return;
	}
	dmabufx_mem_init(mem, kind, MIB(2));
	igt_assert_eq(madvise(mem->map, mem->size, MADV_FREE), 0);
}

/**
 * SUBTEST: written-survives-reclaim
 * Description: What devices, mappings and kernel write through the buffer is not taken for
 *	clean, and dropped, when the kernel takes memory back
 */
static void test_written_survives_reclaim(int device, enum dmabufx_kind kind)
{
	static const enum dmabufx_way ways[] = { WAY_MMAP, WAY_DEVICE, WAY_VMAP };
	struct dmabufx_mem mem;
	size_t i;

	for (i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		make_clean(&mem, kind);
		dmabufx_survives_reclaim(&mem, export(device, mem.map, mem.size, 0),
					 ways[i]);
		dmabufx_mem_fini(&mem);
	}
}

/* A file that is not in memory alone, already without a name. */
static int file_on_disk(size_t size)
{
	static const char name[] = "dmabufx-user.file";
	struct statfs fs;
	int fd;

	igt_assert_eq(statfs(".", &fs), 0);
	igt_require_f(fs.f_type != TMPFS_MAGIC, "the current directory is in memory\n");
	fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	igt_require_f(fd >= 0, "no file in the current directory: %s\n", strerror(errno));
	unlink(name);
	igt_assert_eq(ftruncate(fd, size), 0);
	return fd;
}

/**
 * SUBTEST: private-file
 * Description: A private mapping of a file on a disk is memory like any other; the file
 *	stays as it was
 */
static void test_private_file(int device)
{
	int file = file_on_disk(SIZE);
	char *map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
	uint64_t word;

	igt_assert(map != MAP_FAILED);
	carries(device, map, SIZE);
	igt_assert_eq(pread(file, &word, sizeof(word), SIZE / 2), sizeof(word));
	igt_assert_eq_u64(word, 0);
	munmap(map, SIZE);
	close(file);
}

/**
 * SUBTEST: shared-file
 * Description: A shared mapping of a file on a disk is refused, as nobody would know what
 *	to write back
 */
static void test_shared_file(int device)
{
	int file = file_on_disk(SIZE);
	char *map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);

	igt_assert(map != MAP_FAILED);
	map[0] = 1;
	refused(device, map, SIZE, 0, EOPNOTSUPP, DMABUFX_REASON_FILE);
	refused(device, map + PAGE, PAGE, 0, EOPNOTSUPP, DMABUFX_REASON_FILE);
	munmap(map, SIZE);
	close(file);
}

/**
 * SUBTEST: beyond-end-of-file
 * Description: Pages that are mapped and that the file does not have are refused
 */
static void test_beyond_end_of_file(int device)
{
	int memfd = dmabufx_memfd(SIZE / 2, 0);
	char *map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);

	igt_assert(map != MAP_FAILED);
	refused(device, map, SIZE, 0, EFAULT, DMABUFX_REASON_UNPINNABLE);
	refused(device, map + SIZE / 2, PAGE, 0, EFAULT, DMABUFX_REASON_UNPINNABLE);
	close(export(device, map, SIZE / 2, 0));
	munmap(map, SIZE);
	close(memfd);
}

/**
 * SUBTEST: protected
 * Description: What its owner may not write, or not read, is refused, one page of many too
 */
static void test_protected(int device)
{
	char *map = map_anonymous(SIZE, MAP_PRIVATE);
	int memfd = dmabufx_memfd(SIZE, 0);
	char *shared = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, memfd, 0);

	igt_assert(shared != MAP_FAILED);
	memset(map, 1, SIZE);
	igt_assert_eq(mprotect(map + SIZE / 2, PAGE, PROT_READ), 0);
	refused(device, map, SIZE, 0, EACCES, DMABUFX_REASON_PROTECTED);
	refused(device, shared, SIZE, 0, EACCES, DMABUFX_REASON_PROTECTED);
	igt_assert_eq(mprotect(map + SIZE / 2, PAGE, PROT_NONE), 0);
	refused(device, map, SIZE, 0, EACCES, DMABUFX_REASON_PROTECTED);
	refused(device, map, SIZE, DMABUFX_CREATE_READ_ONLY, EACCES,
		DMABUFX_REASON_PROTECTED);
	munmap(map, SIZE);
	munmap(shared, SIZE);
	close(memfd);
}

/**
 * SUBTEST: unmapped
 * Description: Unmapped pages at the start, in the middle or at the end are refused, and
 *	what was pinned of the others is given back
 */
static void test_unmapped(int device)
{
	char *map = map_anonymous(MIB(4), MAP_PRIVATE);

	munmap(map, PAGE);
	munmap(map + MIB(3), PAGE);
	refused(device, map, SIZE, 0, EFAULT, DMABUFX_REASON_UNMAPPED);
	refused(device, map + PAGE, MIB(3), 0, EFAULT, DMABUFX_REASON_UNMAPPED);
	refused(device, map + MIB(3), PAGE, 0, EFAULT, DMABUFX_REASON_UNMAPPED);
	refused(device, map + MIB(1), MIB(3), 0, EFAULT, DMABUFX_REASON_UNMAPPED);
	refused(device, NULL, PAGE, 0, EFAULT, DMABUFX_REASON_UNMAPPED);
	close(export(device, map + PAGE, MIB(3) - PAGE, 0));
	munmap(map + PAGE, MIB(4) - PAGE);
}

/**
 * SUBTEST: below-a-stack
 * Description: The room that a stack may grow into is refused without a word in the log
 */
static void test_below_a_stack(int device)
{
	char *room = map_anonymous(MIB(1), MAP_PRIVATE | MAP_NORESERVE), *stack;

	munmap(room, MIB(1));
	stack = map_anonymous_at(room + MIB(1) - SIZE, SIZE, MAP_GROWSDOWN);
	stack[0] = 1;
	refused(device, stack - SIZE, SIZE, 0, EFAULT, DMABUFX_REASON_UNMAPPED);
	refused(device, stack - PAGE, SIZE, 0, EFAULT, DMABUFX_REASON_UNMAPPED);
	munmap(stack, SIZE);
}

/**
 * SUBTEST: kernel-addresses
 * Description: Addresses that are not user space's are refused as such
 */
static void test_kernel_addresses(int device)
{
	static const uint64_t addresses[] = {
		1ull << 63, 0xffff888000000000, 0xffffffff81000000, 0xffffffffff600000,
		0xffffffffffffe000,
	};
	size_t i;

	for (i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++)
		refused(device, (void *)(uintptr_t)addresses[i], PAGE, 0, EFAULT,
			DMABUFX_REASON_NOT_USER);
}

/**
 * SUBTEST: device-memory
 * Description: What is mapped from a device, another dma-buf included, is refused, to read
 *	as well
 */
static void test_device_memory(int device)
{
	struct dmabufx_buffer buf;
	char *map;

	dmabufx_buffer_init(&buf, device, SHMEM_4K, SIZE);
	map = dmabufx_mmap(buf.fd, 0, SIZE);
	refused(device, map, SIZE, 0, EOPNOTSUPP, DMABUFX_REASON_DEVICE);
	map[0] = 1;
	refused(device, map, SIZE, 0, EOPNOTSUPP, DMABUFX_REASON_DEVICE);
	refused(device, map, PAGE, DMABUFX_CREATE_READ_ONLY, EOPNOTSUPP,
		DMABUFX_REASON_DEVICE);
	munmap(map, SIZE);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: secret-memory
 * Description: Memory that is hidden from the kernel itself stays out of buffers
 */
static void test_secret_memory(int device)
{
	int fd = syscall(SYS_memfd_secret, 0);
	char *map;

	igt_require_f(fd >= 0, "memfd_secret: %s\n", strerror(errno));
	igt_assert_eq(ftruncate(fd, SIZE), 0);
	map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	igt_assert(map != MAP_FAILED);
	map[0] = 1;
	refused(device, map, PAGE, 0, EFAULT, DMABUFX_REASON_UNPINNABLE);
	refused(device, map, SIZE, DMABUFX_CREATE_READ_ONLY, EFAULT,
		DMABUFX_REASON_UNPINNABLE);
	munmap(map, SIZE);
	close(fd);
}

/**
 * SUBTEST: unaligned
 * Description: The first segment may start in a page and the last may end in one; inner
 *	borders may not. The buffer has whole pages, and devices see them
 */
static void test_unaligned(int device)
{
	char *map = map_anonymous(SIZE, MAP_PRIVATE);
	struct dmabufx_segment segments[] = {
		dmabufx_user_segment(map + 3 * PAGE - 24, PAGE + 24),
		dmabufx_user_segment(map, PAGE),
		dmabufx_user_segment(map + 8 * PAGE, PAGE + 8),
	};
	struct dmabufx_create request = dmabufx_request(segments, 3, 0);
	char *found = malloc(5 * PAGE);
	int fd, importer = importer_open();

	igt_assert(found);
	dmabufx_pattern_fill(map, 1, 0, SIZE);
	fd = __dmabufx_create(device, &request);
	igt_assert_lte(0, fd);
	igt_assert_eq_u64(request.data_offset, PAGE - 24);
	igt_assert_eq_s64(lseek(fd, 0, SEEK_END), 5 * PAGE);
	importer_attach(importer, fd);
	importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	importer_read(importer, DMABUFX_VIA_DEVICE, 0, found, 5 * PAGE);
	dmabufx_pattern_check(found, 1, 2 * PAGE, 2 * PAGE, "the device");
	dmabufx_pattern_check(found + 2 * PAGE, 1, 0, PAGE, "the device");
	dmabufx_pattern_check(found + 3 * PAGE, 1, 8 * PAGE, 2 * PAGE, "the device");
	free(found);
	close(importer);
	close(fd);

	segments[1].size -= 8;
	request = dmabufx_request(segments, 3, 0);
	dmabufx_refused(device, &request, EINVAL, DMABUFX_REASON_UNALIGNED, 1);
	segments[0].size -= 8;
	request = dmabufx_request(segments, 3, 0);
	dmabufx_refused(device, &request, EINVAL, DMABUFX_REASON_UNALIGNED, 0);
	munmap(map, SIZE);
}

/**
 * SUBTEST: page-replaced
 * Description: A huge page with another page in its place somewhere is exported as it is
 *	mapped
 */
static void test_page_replaced(int device)
{
	struct dmabufx_mem mem;
	char *page;

	dmabufx_mem_init(&mem, ANON_2M, MIB(2));
	page = map_anonymous_at(mem.map + MIB(1), PAGE, 0);
	page[0] = 1;
	carries(device, mem.map, mem.size);
	dmabufx_mem_fini(&mem);
}

/* What devices see of the buffer. */
static void device_sees(int dmabuf, uint32_t seed, size_t size)
{
	static uint64_t data[KIB(64) / 8];
	int importer = importer_open();
	size_t at;

	importer_attach(importer, dmabuf);
	importer_map(importer, DMABUFX_IMPORTER_TO_DEVICE);
	for (at = 0; at < size; at += sizeof(data)) {
		importer_read(importer, DMABUFX_VIA_DEVICE, at, data, sizeof(data));
		dmabufx_pattern_check(data, seed, at, sizeof(data), "the device");
	}
	close(importer);
}

/**
 * SUBTEST: fork
 * Description: After a fork the buffer is the parent's memory, whoever writes first, and
 *	the child has a copy
 */
static void test_fork(int device, enum dmabufx_kind kind)
{
	struct dmabufx_mem mem;
	int fd;

	dmabufx_mem_init(&mem, kind, MIB(2));
	dmabufx_pattern_fill(mem.map, 1, 0, mem.size);
	fd = export(device, mem.map, mem.size, 0);
	igt_fork(child, 1) {
		dmabufx_pattern_check(mem.map, 1, 0, mem.size, "the child");
		dmabufx_pattern_fill(mem.map, 7, 0, mem.size);
	}
	igt_waitchildren();
	device_sees(fd, 1, mem.size);
	dmabufx_pattern_check(mem.map, 1, 0, mem.size, "the parent");
	dmabufx_pattern_fill(mem.map, 2, 0, mem.size);
	device_sees(fd, 2, mem.size);
	close(fd);
	dmabufx_mem_fini(&mem);
}

/**
 * SUBTEST: made-after-fork
 * Description: A buffer of memory that a fork left shared is the memory of who made it,
 *	when it writes there, and not the child's
 */
static void test_made_after_fork(int device, enum dmabufx_kind kind)
{
	static const uint32_t flags[] = { 0, DMABUFX_CREATE_READ_ONLY };
	struct dmabufx_mem mem;
	int fd, ends[2];
	size_t i;
	char byte;

	dmabufx_mem_init(&mem, kind, MIB(2));
	for (i = 0; i < 2; i++) {
		dmabufx_pattern_fill(mem.map, 1, 0, mem.size);
		igt_assert_eq(pipe(ends), 0);
		igt_fork(child, 1) {
			close(ends[1]);
			/* Ends when the parent closes its end. */
			igt_assert_eq(read(ends[0], &byte, 1), 0);
			dmabufx_pattern_check(mem.map, 1, 0, mem.size, "the child");
		}
		fd = export(device, mem.map, mem.size, flags[i]);
		dmabufx_pattern_fill(mem.map, 2, 0, mem.size);
		device_sees(fd, 2, mem.size);
		close(ends[1]);
		igt_waitchildren();
		close(ends[0]);
		close(fd);
	}
	dmabufx_mem_fini(&mem);
}

/**
 * SUBTEST: outlives-mapping
 * Description: A buffer keeps its memory when the owner drops it, maps something else
 *	there, or unmaps it
 */
static void test_outlives_mapping(int device, enum dmabufx_kind kind)
{
	struct dmabufx_mem mem;
	int fd;

	dmabufx_mem_init(&mem, kind, MIB(2));
	dmabufx_pattern_fill(mem.map, 1, 0, mem.size);
	fd = export(device, mem.map, mem.size, 0);
	igt_assert_eq(madvise(mem.map, mem.size, MADV_DONTNEED), 0);
	mem.map[0] = 9;
	device_sees(fd, 1, mem.size);
	mem.map = map_anonymous_at(mem.map, mem.size, 0);
	memset(mem.map, 9, mem.size);
	device_sees(fd, 1, mem.size);
	dmabufx_mem_fini(&mem);
	device_sees(fd, 1, mem.size);
	close(fd);
}

/**
 * SUBTEST: charge
 * Description: Memory counts as locked for its user and as pinned for its process, each
 *	time that it is in a buffer, until the last user of the buffer is gone
 */
static void test_charge(int device)
{
	uint64_t locked = dmabufx_query(device).user_locked;
	long long pinned = dmabufx_file_number("/proc/self/status", "VmPin:");
	char *map = map_anonymous(SIZE, MAP_PRIVATE), *view;
	/* Two whole pages, though less was asked for. */
	int first = export(device, map + 8, PAGE, 0);
	int second = export(device, map, SIZE, DMABUFX_CREATE_READ_ONLY);

	igt_assert_eq_u64(dmabufx_query(device).user_locked, locked + SIZE + 2 * PAGE);
	igt_assert_eq_s64(dmabufx_file_number("/proc/self/status", "VmPin:"),
			  pinned + (SIZE + 2 * PAGE) / 1024);
	view = dmabufx_mmap(first, 0, PAGE);
	close(first);
	close(second);
	igt_assert_eq_u64(dmabufx_query(device).user_locked, locked + 2 * PAGE);
	munmap(view, PAGE);
	munmap(map, SIZE);
	igt_assert_eq_u64(dmabufx_query(device).user_locked, locked);
	igt_assert_eq_s64(dmabufx_file_number("/proc/self/status", "VmPin:"), pinned);
}

/**
 * SUBTEST: charge-of-the-dead
 * Description: What a process had pinned is its user's to pay when the process is gone
 *	and another has the buffer
 */
static void test_charge_of_the_dead(int device)
{
	uint64_t locked = dmabufx_query(device).user_locked;
	int *shared = (int *)map_anonymous(PAGE, MAP_SHARED);
	int ends[2], pidfd, fd;
	char byte;

	igt_assert_eq(pipe(ends), 0);
	igt_fork(child, 1) {
		shared[0] = export(device, map_anonymous(SIZE, MAP_PRIVATE), SIZE, 0);
		__atomic_store_n(&shared[1], getpid(), __ATOMIC_SEQ_CST);
		close(ends[1]);
		igt_assert_eq(read(ends[0], &byte, 1), 0);
	}
	while (!__atomic_load_n(&shared[1], __ATOMIC_SEQ_CST))
		usleep(1000);
	pidfd = syscall(SYS_pidfd_open, shared[1], 0);
	fd = syscall(SYS_pidfd_getfd, pidfd, shared[0], 0);
	igt_assert_lte(0, fd);
	close(pidfd);
	close(ends[1]);
	igt_waitchildren();
	close(ends[0]);
	igt_assert_eq_u64(dmabufx_query(device).user_locked, locked + SIZE);
	close(fd);
	igt_assert_eq_u64(dmabufx_query(device).user_locked, locked);
	munmap(shared, PAGE);
}

static const struct dmabufx_subtest subtests[] = {
	{ "shared-anonymous", "Check buffers of memory shared with children",
	  test_shared_anonymous },
	{ "never-touched", "Check buffers of memory that is not there yet",
	  test_never_touched },
	{ "private-file", "Check buffers of privately mapped files", test_private_file },
	{ "shared-file", "Check that files on disks are refused", test_shared_file },
	{ "beyond-end-of-file", "Check that what files do not have is refused",
	  test_beyond_end_of_file },
	{ "protected", "Check that protection is obeyed", test_protected },
	{ "unmapped", "Check that holes are refused", test_unmapped },
	{ "below-a-stack", "Check that holes below a stack are refused",
	  test_below_a_stack },
	{ "kernel-addresses", "Check that the kernel's addresses are refused",
	  test_kernel_addresses },
	{ "device-memory", "Check that memory of devices is refused", test_device_memory },
	{ "secret-memory", "Check that secret memory is refused", test_secret_memory },
	{ "unaligned", "Check where segments may start and end", test_unaligned },
	{ "page-replaced", "Check that huge pages in pieces are exported right",
	  test_page_replaced },
	{ "charge", "Check that pinned memory is paid for", test_charge },
	{ "charge-of-the-dead", "Check that it is after its process is gone",
	  test_charge_of_the_dead },
};

#define ANONYMOUS (KIND(ANON_4K) | KIND(ANON_2M) | KIND(ANON_HUGETLB_2M))

static const struct dmabufx_kind_subtest of_kinds[] = {
	{ "anonymous", "Check buffers of private memory", ANONYMOUS, test_anonymous },
	{ "mapped-memfd", "Check buffers of mapped memfds",
	  KIND(SHMEM_4K) | KIND(SHMEM_2M) | KIND(HUGETLB_2M), test_mapped_memfd },
	{ "written-survives-reclaim", "Check that what is written is known to be",
	  KIND(SHMEM_4K) | KIND(ANON_4K) | KIND(ANON_2M), test_written_survives_reclaim },
	{ "fork", "Check that the buffer stays the parent's", ANONYMOUS, test_fork },
	{ "made-after-fork", "Check that the buffer becomes the maker's", ANONYMOUS,
	  test_made_after_fork },
	{ "outlives-mapping", "Check that the buffer keeps its memory", ANONYMOUS,
	  test_outlives_mapping },
};

int igt_main()
{
	int device = -1;

	igt_fixture()
		device = dmabufx_open();

	dmabufx_run_kind_table(of_kinds, device);
	dmabufx_run_table(subtests, device);

	igt_fixture()
		close(device);
}
