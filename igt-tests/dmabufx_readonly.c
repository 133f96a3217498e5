// SPDX-License-Identifier: MIT
/**
 * TEST: dmabufx readonly
 * Category: Core
 * Mega feature: General Core features
 * Sub-category: dmabuf
 * Description: Read-only buffers: of memory that may be written, and of memory that may
 *	not. Nobody writes through them, and everybody can read
 * Functionality: dmabuf test
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "igt.h"
#include "igt_dmabufx.h"

IGT_TEST_DESCRIPTION("Dma-bufs that nobody can write");

#define SIZE KIB(64)

static int export(int device, struct dmabufx_segment segment)
{
	return dmabufx_create(device, &segment, 1, DMABUFX_CREATE_READ_ONLY);
}

/* A read-only buffer of memory that its owner may write, with the pattern. */
static void make_buffer(struct dmabufx_buffer *buf, int device, enum dmabufx_kind kind,
			size_t size)
{
	*buf = (struct dmabufx_buffer){ .importer = -1 };
	dmabufx_mem_init(&buf->mem, kind, size);
	buf->size = buf->mem.size;
	dmabufx_pattern_fill(buf->mem.map, 1, 0, buf->size);
	buf->fd = export(device, dmabufx_segment(&buf->mem, 0, buf->size));
}

static char *map_to_read(int dmabuf, size_t size)
{
	char *map = mmap(NULL, size, PROT_READ, MAP_SHARED, dmabuf, 0);

	igt_assert(map != MAP_FAILED);
	return map;
}

static void mmap_shows(int dmabuf, uint32_t seed, size_t size)
{
	char *map = map_to_read(dmabuf, size);

	dmabufx_pattern_check(map, seed, 0, size, "mmap");
	munmap(map, size);
}

/* What a device sees. */
static void others_see(int dmabuf, uint32_t seed, size_t size)
{
	static uint64_t data[SIZE / 8];
	int importer = importer_open();

	igt_assert_lte_u64(size, sizeof(data));
	importer_attach(importer, dmabuf);
	importer_map(importer, DMABUFX_IMPORTER_TO_DEVICE);
	importer_read(importer, DMABUFX_VIA_DEVICE, 0, data, size);
	dmabufx_pattern_check(data, seed, 0, size, "the device");
	close(importer);
}

/**
 * SUBTEST: descriptor
 * Description: The descriptor is opened for reading; nothing makes it or a copy of it
 *	writable, reopening it in /proc included
 */
static void test_descriptor(int device)
{
	static const int modes[] = { O_RDWR, O_WRONLY, O_RDWR | O_TRUNC };
	struct dmabufx_buffer buf;
	char path[64];
	size_t i;
	int copy;

	make_buffer(&buf, device, SHMEM_4K, SIZE);
	igt_assert_eq(fcntl(buf.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	fcntl(buf.fd, F_SETFL, O_RDWR);
	igt_assert_eq(fcntl(buf.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	copy = dup(buf.fd);
	igt_assert_eq(fcntl(copy, F_GETFL) & O_ACCMODE, O_RDONLY);
	close(copy);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", buf.fd);
	for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		igt_assert_eq(open(path, modes[i]), -1);
	igt_assert_eq(pwrite(buf.fd, path, sizeof(path), 0), -1);
	igt_assert_eq(ftruncate(buf.fd, 0), -1);
	igt_assert_eq(fallocate(buf.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SIZE),
		      -1);
	igt_assert_eq_u32(dmabufx_info(device, buf.fd).flags, DMABUFX_INFO_READ_ONLY |
			  DMABUFX_INFO_MEMFD);
	mmap_shows(buf.fd, 1, SIZE);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: mmap
 * Description: A mapping to write is refused, one to read shows the data
 */
static void test_mmap(int device)
{
	const int both = PROT_READ | PROT_WRITE;
	struct dmabufx_buffer buf;

	make_buffer(&buf, device, SHMEM_4K, SIZE);
	igt_assert_eq(__dmabufx_mmap(buf.fd, both, MAP_SHARED, 0, SIZE), -EACCES);
	igt_assert_eq(__dmabufx_mmap(buf.fd, PROT_WRITE, MAP_SHARED, 0, PAGE), -EACCES);
	igt_assert_eq(__dmabufx_mmap(buf.fd, both, MAP_SHARED_VALIDATE, 0, PAGE), -EACCES);
	igt_assert_eq(__dmabufx_mmap(buf.fd, both, MAP_PRIVATE, 0, PAGE), -EINVAL);
	igt_assert_eq(__dmabufx_mmap(buf.fd, PROT_READ, MAP_PRIVATE, 0, PAGE), -EINVAL);
	mmap_shows(buf.fd, 1, SIZE);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: mprotect
 * Description: A mapping does not become writable later, touched before or not
 */
static void test_mprotect(int device, enum dmabufx_kind kind)
{
	struct dmabufx_buffer buf;
	char *map;

	make_buffer(&buf, device, kind, MIB(2));
	map = map_to_read(buf.fd, buf.size);
	igt_assert_eq(dmabufx_touch(map, false), 0);
	igt_assert_eq(mprotect(map, buf.size, PROT_READ | PROT_WRITE), -1);
	igt_assert_eq(errno, EACCES);
	igt_assert_eq(mprotect(map + PAGE, PAGE, PROT_WRITE), -1);
	igt_assert_eq(errno, EACCES);
	igt_assert_eq(dmabufx_touch(map, true), SIGSEGV);
	igt_assert_eq(dmabufx_touch(map + PAGE, true), SIGSEGV);
	igt_assert_eq(dmabufx_touch(map + buf.size - 1, true), SIGSEGV);
	dmabufx_pattern_check(map, 1, 0, buf.size, "mmap");
	munmap(map, buf.size);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: through-the-kernel
 * Description: Nor does the kernel write there on behalf of a process: debuggers, read(),
 *	MADV_POPULATE_WRITE
 */
static void test_through_the_kernel(int device)
{
	static char bytes[64];
	struct iovec from = { bytes, sizeof(bytes) }, to = { .iov_len = sizeof(bytes) };
	int mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	int zeros = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	struct dmabufx_buffer buf;
	char *map;

	make_buffer(&buf, device, SHMEM_4K, SIZE);
	map = map_to_read(buf.fd, SIZE);
	to.iov_base = map;
	igt_assert_eq(pwrite(mem, bytes, sizeof(bytes), (uintptr_t)map), -1);
	igt_assert_eq(process_vm_writev(getpid(), &from, 1, &to, 1, 0), -1);
	igt_assert_eq(read(zeros, map, PAGE), -1);
	igt_assert_eq(errno, EFAULT);
	igt_assert_eq(madvise(map, SIZE, MADV_POPULATE_WRITE), -1);
	dmabufx_pattern_check(map, 1, 0, SIZE, "mmap");
	munmap(map, SIZE);
	close(zeros);
	close(mem);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: device
 * Description: A device can map it to read, and in no direction in which it would write
 */
static void test_device(int device, enum dmabufx_kind kind)
{
	static uint64_t data[SIZE / 8];
	struct dmabufx_importer_map map;
	struct dmabufx_buffer buf;
	int importer = importer_open(), round;

	make_buffer(&buf, device, kind, MIB(2));
	importer_attach(importer, buf.fd);
	/* The second time there is a table that was made for reading. */
	for (round = 0; round < 2; round++) {
		igt_assert_eq(__importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL, &map),
			      -EACCES);
		igt_assert_eq(__importer_map(importer, DMABUFX_IMPORTER_FROM_DEVICE, &map),
			      -EACCES);
		importer_map(importer, DMABUFX_IMPORTER_TO_DEVICE);
		importer_read(importer, DMABUFX_VIA_DEVICE, MIB(1), data, SIZE);
		dmabufx_pattern_check(data, 1, MIB(1), SIZE, "the device");
		importer_unmap(importer);
	}
	close(importer);
	dmabufx_buffer_fini(&buf);
}

static void vmap_is_refused(int dmabuf)
{
	int importer = importer_open(), round;

	importer_attach(importer, dmabuf);
	for (round = 0; round < 2; round++)
		igt_assert_eq(__importer_vmap(importer), -EINVAL);
	close(importer);
}

/**
 * SUBTEST: vmap
 * Description: The kernel maps none of it, whose drivers may write: not all of it, nor one
 *	page or folio, for which the kernel has a writable mapping anyway
 */
static void test_vmap(int device, enum dmabufx_kind kind)
{
	struct dmabufx_buffer buf;
	int fd;

	make_buffer(&buf, device, kind, MIB(2));
	vmap_is_refused(buf.fd);
	fd = export(device, dmabufx_segment(&buf.mem, 0, PAGE));
	vmap_is_refused(fd);
	close(fd);
	mmap_shows(buf.fd, 1, buf.size);
	dmabufx_buffer_fini(&buf);
}

/* A memfd with the pattern, and these seals. */
static int sealed_memfd(unsigned int seals)
{
	int memfd = dmabufx_memfd(SIZE, F_SEAL_SHRINK);
	char *map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);

	igt_assert(map != MAP_FAILED);
	dmabufx_pattern_fill(map, 1, 0, SIZE);
	munmap(map, SIZE);
	igt_assert_eq(fcntl(memfd, F_ADD_SEALS, seals), 0);
	return memfd;
}

static void sealed_is_exported(int device, unsigned int seal)
{
	struct dmabufx_segment segment = { .fd = sealed_memfd(seal), .size = SIZE };
	struct dmabufx_create request = dmabufx_request(&segment, 1, 0);
	int fd = export(device, segment);

	igt_assert_eq(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	mmap_shows(fd, 1, SIZE);
	others_see(fd, 1, SIZE);
	igt_assert_eq(__dmabufx_mmap(fd, PROT_WRITE, MAP_SHARED, 0, PAGE), -EACCES);
	close(fd);
	dmabufx_refused(device, &request, EPERM, DMABUFX_REASON_WRITE_SEALED, 0);
	close(segment.fd);
}

/**
 * SUBTEST: sealed
 * Description: A memfd that nobody may write, now or in future, can be exported to read,
 *	and only so
 */
static void test_sealed(int device)
{
	sealed_is_exported(device, F_SEAL_WRITE);
	sealed_is_exported(device, F_SEAL_FUTURE_WRITE);
	sealed_is_exported(device, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SEAL);
}

/**
 * SUBTEST: open-mode
 * Description: A memfd opened for reading is enough; one opened for writing alone is not
 */
static void test_open_mode(int device)
{
	int memfd = sealed_memfd(0), fd;
	struct dmabufx_segment segment = { .size = SIZE };
	struct dmabufx_create request;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", memfd);
	segment.fd = open(path, O_RDONLY | O_CLOEXEC);
	igt_assert_lte(0, segment.fd);
	fd = export(device, segment);
	mmap_shows(fd, 1, SIZE);
	others_see(fd, 1, SIZE);
	close(fd);
	request = dmabufx_request(&segment, 1, 0);
	dmabufx_refused(device, &request, EACCES, DMABUFX_REASON_OPEN_MODE, 0);
	close(segment.fd);

	segment.fd = open(path, O_WRONLY | O_CLOEXEC);
	igt_assert_lte(0, segment.fd);
	request = dmabufx_request(&segment, 1, DMABUFX_CREATE_READ_ONLY);
	dmabufx_refused(device, &request, EACCES, DMABUFX_REASON_OPEN_MODE, 0);
	close(segment.fd);
	close(memfd);
}

/**
 * SUBTEST: read-only-memory
 * Description: Memory that its owner may only read can be exported, and follows the owner
 *	who may write it later
 */
static void test_read_only_memory(int device, enum dmabufx_kind kind)
{
	struct dmabufx_mem mem;
	int fd;

	dmabufx_mem_init(&mem, kind, MIB(2));
	dmabufx_pattern_fill(mem.map, 1, 0, mem.size);
	igt_assert_eq(mprotect(mem.map, mem.size, PROT_READ), 0);
	fd = export(device, dmabufx_user_segment(mem.map, mem.size));
	mmap_shows(fd, 1, mem.size);
	igt_assert_eq(mprotect(mem.map, mem.size, PROT_READ | PROT_WRITE), 0);
	dmabufx_pattern_fill(mem.map, 2, 0, mem.size);
	mmap_shows(fd, 2, mem.size);
	close(fd);
	dmabufx_mem_fini(&mem);
}

/**
 * SUBTEST: never-touched
 * Description: Memory that was never touched follows its owner, too: it is not the page of
 *	zeros that everybody shares
 */
static void test_never_touched(int device)
{
	char *map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			 0);
	int fd;

	igt_assert(map != MAP_FAILED);
	/* Half of it is read: it is the shared page then. */
	igt_assert_eq(dmabufx_touch(map, false), 0);
	fd = export(device, dmabufx_user_segment(map, SIZE));
	dmabufx_pattern_fill(map, 2, 0, SIZE);
	mmap_shows(fd, 2, SIZE);
	others_see(fd, 2, SIZE);
	close(fd);
	munmap(map, SIZE);
}

/**
 * SUBTEST: file
 * Description: A shared mapping of a file on a disk can be exported to read, and only so
 */
static void test_file(int device)
{
	struct dmabufx_create request;
	struct dmabufx_segment segment;
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), fd;
	char *map = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, file, 0), *view;

	igt_assert(map != MAP_FAILED);
	segment = dmabufx_user_segment(map, 4 * PAGE);
	fd = export(device, segment);
	view = map_to_read(fd, 4 * PAGE);
	igt_assert(!memcmp(view, "\177ELF", 4));
	igt_assert(!memcmp(view, map, 4 * PAGE));
	munmap(view, 4 * PAGE);
	close(fd);
	request = dmabufx_request(&segment, 1, 0);
	dmabufx_refused(device, &request, EACCES, DMABUFX_REASON_PROTECTED, 0);
	munmap(map, SIZE);
	close(file);
}

/**
 * SUBTEST: owner-writes
 * Description: What the owner writes to its memory all see through the read-only buffer,
 *	and so they do what comes through a writable one
 */
static void test_owner_writes(int device)
{
	struct dmabufx_segment segment;
	struct dmabufx_buffer buf;
	char *map;
	int fd;

	make_buffer(&buf, device, SHMEM_4K, SIZE);
	others_see(buf.fd, 1, SIZE);
	dmabufx_pattern_fill(buf.mem.map, 2, 0, SIZE);
	mmap_shows(buf.fd, 2, SIZE);
	others_see(buf.fd, 2, SIZE);
	segment = dmabufx_segment(&buf.mem, 0, SIZE);
	fd = dmabufx_create(device, &segment, 1, 0);
	map = dmabufx_mmap(fd, 0, SIZE);
	dmabufx_pattern_fill(map, 3, 0, SIZE);
	mmap_shows(buf.fd, 3, SIZE);
	others_see(buf.fd, 3, SIZE);
	munmap(map, SIZE);
	close(fd);
	dmabufx_buffer_fini(&buf);
}

static const struct dmabufx_subtest subtests[] = {
	{ "descriptor", "Check that the descriptor is one for reading", test_descriptor },
	{ "mmap", "Check that mappings are for reading", test_mmap },
	{ "through-the-kernel", "Check that the kernel does not write for others",
	  test_through_the_kernel },
	{ "sealed", "Check that sealed memory can be read", test_sealed },
	{ "open-mode", "Check that memfds need not be writable", test_open_mode },
	{ "never-touched", "Check that memory may not be there yet", test_never_touched },
	{ "file", "Check that mapped files can be read", test_file },
	{ "owner-writes", "Check that the owner may write", test_owner_writes },
};

static const struct dmabufx_kind_subtest of_kinds[] = {
	{ "mprotect", "Check that mappings stay for reading",
	  KIND(SHMEM_4K) | KIND(HUGETLB_2M) | KIND(ANON_4K), test_mprotect },
	{ "device", "Check that devices do not write",
	  KIND(SHMEM_4K) | KIND(HUGETLB_2M) | KIND(ANON_2M), test_device },
	{ "vmap", "Check that the kernel maps none of it",
	  KIND(SHMEM_4K) | KIND(HUGETLB_2M) | KIND(ANON_2M), test_vmap },
	{ "read-only-memory", "Check that memory need not be writable",
	  KIND(ANON_4K) | KIND(ANON_2M), test_read_only_memory },
};

int igt_main()
{
	int device = -1;

	igt_fixture()
		device = dmabufx_open();

	dmabufx_run_table(subtests, device);
	dmabufx_run_kind_table(of_kinds, device);

	igt_fixture()
		close(device);
}
