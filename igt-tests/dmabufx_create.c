// SPDX-License-Identifier: MIT
/**
 * TEST: dmabufx create
 * Category: Core
 * Mega feature: General Core features
 * Sub-category: dmabuf
 * Description: DMABUFX_IOC_CREATE: what it makes, what it refuses and with which words,
 *	what a user may pin
 * Functionality: dmabuf test
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "igt.h"
#include "igt_dmabufx.h"

IGT_TEST_DESCRIPTION("How dma-bufs are made of memory, and what is refused");

#define SIZE (4 * PAGE)
#define PARAMETERS "/sys/module/dmabufx/parameters/"

/* One segment that must be refused, for itself. */
static void refuse_segment(int device, struct dmabufx_segment segment, uint32_t flags,
			   int error, uint32_t reason)
{
	struct dmabufx_create request = dmabufx_request(&segment, 1, flags);

	dmabufx_refused(device, &request, error, reason, 0);
}

/* The same of a memfd with these seals. */
static void refuse_seals(int device, unsigned int seals, int error, uint32_t reason)
{
	struct dmabufx_segment segment = {
		.fd = dmabufx_memfd(SIZE, seals),
		.size = SIZE,
	};

	refuse_segment(device, segment, 0, error, reason);
	close(segment.fd);
}

static void buffer_is_made(int device, enum dmabufx_kind kind, uint32_t info_flags)
{
	struct dmabufx_segment segment;
	struct dmabufx_info info;
	struct dmabufx_mem mem;
	char *map, name[32];
	int fd;

	dmabufx_mem_init(&mem, kind, SIZE);
	dmabufx_pattern_fill(mem.map, 1, 0, mem.size);
	segment = dmabufx_segment(&mem, 0, mem.size);
	fd = dmabufx_create(device, &segment, 1, 0);
	igt_assert_eq_s64(lseek(fd, 0, SEEK_END), mem.size);
	igt_assert(dmabufx_fdinfo(fd, "exp_name:\t", name, sizeof(name)));
	igt_assert(!strcmp(name, "dmabufx"));
	info = dmabufx_info(device, fd);
	igt_assert_eq_u64(info.bytes, mem.size);
	igt_assert_eq_u32(info.flags, info_flags);
	map = dmabufx_mmap(fd, 0, mem.size);
	dmabufx_pattern_check(map, 1, 0, mem.size, "mmap");
	munmap(map, mem.size);
	close(fd);
	dmabufx_mem_fini(&mem);
}

/**
 * SUBTEST: memfd
 * Description: A range of a memfd becomes a dma-buf of that size with its data
 */
static void test_memfd(int device)
{
	buffer_is_made(device, SHMEM_4K, DMABUFX_INFO_MEMFD);
}

/**
 * SUBTEST: user-memory
 * Description: The caller's own memory becomes a dma-buf of that size with its data
 */
static void test_user_memory(int device)
{
	buffer_is_made(device, ANON_4K, DMABUFX_INFO_USER);
}

/**
 * SUBTEST: cloexec
 * Description: The descriptor is closed on exec if the flag says so, and only then
 */
static void test_cloexec(int device)
{
	int memfd = dmabufx_memfd(SIZE, F_SEAL_SHRINK);
	struct dmabufx_segment segment = { .fd = memfd, .size = SIZE };
	uint32_t flags;

	for (flags = 0; flags <= DMABUFX_CREATE_CLOEXEC; flags += DMABUFX_CREATE_CLOEXEC) {
		struct dmabufx_create request = dmabufx_request(&segment, 1, flags);
		int fd = __dmabufx_create(device, &request);

		igt_assert_lte(0, fd);
		igt_assert_eq(fcntl(fd, F_GETFD), flags ? FD_CLOEXEC : 0);
		close(fd);
	}
	close(memfd);
}

/**
 * SUBTEST: name
 * Description: A name of up to 31 bytes is the dma-buf's, a longer one is refused
 */
static void test_name(int device)
{
	int memfd = dmabufx_memfd(SIZE, F_SEAL_SHRINK), fd;
	struct dmabufx_segment segment = { .fd = memfd, .size = SIZE };
	struct dmabufx_create request = dmabufx_request(&segment, 1, 0);
	char name[33], found[64];

	memset(name, 'n', sizeof(name));
	name[32] = 0;
	request.name = (uintptr_t)name;
	dmabufx_refused(device, &request, EINVAL, DMABUFX_REASON_NAME, 1);

	name[31] = 0;
	fd = __dmabufx_create(device, &request);
	igt_assert_lte(0, fd);
	igt_assert(dmabufx_fdinfo(fd, "name:\t", found, sizeof(found)));
	igt_assert(!strcmp(found, name));
	close(fd);

	request.name = 8;
	dmabufx_refused(device, &request, EFAULT, DMABUFX_REASON_NAME, 1);
	close(memfd);
}

/**
 * SUBTEST: data-offset
 * Description: The first segment may start in a page and the last may end in one; the
 *	buffer has whole pages, and data_offset tells where the first byte lies
 */
static void test_data_offset(int device)
{
	struct dmabufx_segment segment;
	struct dmabufx_create request;
	struct dmabufx_mem mem;
	char *map;
	int fd;

	dmabufx_mem_init(&mem, ANON_4K, SIZE);
	dmabufx_pattern_fill(mem.map, 1, 0, mem.size);
	segment = dmabufx_user_segment(mem.map + 520, 2 * PAGE);
	request = dmabufx_request(&segment, 1, DMABUFX_CREATE_CLOEXEC);
	fd = __dmabufx_create(device, &request);
	igt_assert_lte(0, fd);
	igt_assert_eq_u64(request.data_offset, 520);
	igt_assert_eq_s64(lseek(fd, 0, SEEK_END), 3 * PAGE);
	map = dmabufx_mmap(fd, 0, 3 * PAGE);
	dmabufx_pattern_check(map, 1, 0, 3 * PAGE, "mmap");
	munmap(map, 3 * PAGE);
	close(fd);
	dmabufx_mem_fini(&mem);
}

/* A page whose last bytes are the argument, so that what is beyond is not there. */
static void *at_end_of_page(char *page, const void *from, size_t size)
{
	return memcpy(page + PAGE - size, from, size);
}

/**
 * SUBTEST: struct-size
 * Description: A struct smaller than the first version's is refused; of a larger one the
 *	unknown part must be zero; one that is cut by the end of memory is EFAULT
 */
static void test_struct_size(int device)
{
	int memfd = dmabufx_memfd(SIZE, F_SEAL_SHRINK), fd;
	struct dmabufx_segment segment = { .fd = memfd, .size = SIZE };
	struct {
		struct dmabufx_create known;
		uint64_t unknown;
	} larger = { dmabufx_request(&segment, 1, DMABUFX_CREATE_CLOEXEC) };
	struct dmabufx_create smaller = larger.known;
	char *page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	igt_assert(page != MAP_FAILED);
	munmap(page + PAGE, PAGE);
	smaller.size -= 8;
	dmabufx_refused(device, &smaller, EINVAL, smaller.reason, smaller.failed_segment);

	larger.known.size = sizeof(larger);
	fd = __dmabufx_create(device, &larger.known);
	igt_assert_lte(0, fd);
	close(fd);
	larger.unknown = 1;
	igt_assert_eq(__dmabufx_create(device, &larger.known), -E2BIG);

	larger.unknown = 0;
	igt_assert_eq(__dmabufx_create(device, at_end_of_page(page, &larger.known, 40)),
		      -EFAULT);
	munmap(page, PAGE);
	close(memfd);
}

/**
 * SUBTEST: unknown-flags
 * Description: Every flag without a meaning is refused, with its reason
 */
static void test_unknown_flags(int device)
{
	int memfd = dmabufx_memfd(SIZE, F_SEAL_SHRINK), bit;
	struct dmabufx_segment segment = { .fd = memfd, .size = SIZE };

	for (bit = 2; bit < 32; bit++) {
		struct dmabufx_create request = dmabufx_request(&segment, 1, 1u << bit);

		dmabufx_refused(device, &request, EINVAL, DMABUFX_REASON_FLAGS, 1);
	}
	close(memfd);
}

/**
 * SUBTEST: segment-size
 * Description: Any other segment_size than this version's is refused, with its reason
 */
static void test_segment_size(int device)
{
	static const uint32_t sizes[] = { 0, 8, 23, 25, 32, UINT32_MAX };
	int memfd = dmabufx_memfd(SIZE, F_SEAL_SHRINK);
	struct dmabufx_segment segment = { .fd = memfd, .size = SIZE };
	size_t i;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct dmabufx_create request = dmabufx_request(&segment, 1, 0);

		request.segment_size = sizes[i];
		dmabufx_refused(device, &request, EINVAL, DMABUFX_REASON_SEGMENT_SIZE, 1);
	}
	close(memfd);
}

/**
 * SUBTEST: segment-type
 * Description: A type that is not known, and a descriptor where none belongs, are refused
 */
static void test_segment_type(int device)
{
	int memfd = dmabufx_memfd(SIZE, F_SEAL_SHRINK);
	struct dmabufx_segment segment = { .fd = memfd, .type = 2, .size = SIZE };

	refuse_segment(device, segment, 0, EINVAL, DMABUFX_REASON_TYPE);
	segment.type = UINT32_MAX;
	refuse_segment(device, segment, 0, EINVAL, DMABUFX_REASON_TYPE);
	segment.type = DMABUFX_USER;
	refuse_segment(device, segment, 0, EINVAL, DMABUFX_REASON_TYPE);
	close(memfd);
}

/**
 * SUBTEST: empty
 * Description: A request of nothing is refused; empty segments between others are skipped
 */
static void test_empty(int device)
{
	int memfd = dmabufx_memfd(SIZE, F_SEAL_SHRINK), fd;
	struct dmabufx_segment segments[] = {
		{ .fd = -1, .offset = 1 },
		{ .fd = memfd, .offset = PAGE, .size = PAGE },
		{ .fd = memfd, .offset = SIZE },
		{ .fd = memfd, .size = PAGE },
		{ .type = 77 },
	};
	struct dmabufx_create request = dmabufx_request(segments, 0, 0);

	dmabufx_refused(device, &request, EINVAL, DMABUFX_REASON_EMPTY, 0);
	request = dmabufx_request(segments, 1, 0);
	dmabufx_refused(device, &request, EINVAL, DMABUFX_REASON_EMPTY, 1);

	fd = dmabufx_create(device, segments, 3, 0);
	igt_assert_eq_s64(lseek(fd, 0, SEEK_END), PAGE);
	close(fd);
	fd = dmabufx_create(device, segments, 4, 0);
	igt_assert_eq_s64(lseek(fd, 0, SEEK_END), 2 * PAGE);
	close(fd);
	close(memfd);
}

/**
 * SUBTEST: unaligned
 * Description: Borders inside of pages are refused but for the first start and the last end
 */
static void test_unaligned(int device)
{
	int memfd = dmabufx_memfd(SIZE, F_SEAL_SHRINK);
	struct dmabufx_segment segments[] = {
		{ .fd = memfd, .offset = 512, .size = PAGE },
		{ .fd = memfd, .size = PAGE },
		{ .fd = memfd, .offset = 512, .size = PAGE - 512 },
	};
	struct dmabufx_create request = dmabufx_request(segments, 2, 0);

	dmabufx_refused(device, &request, EINVAL, DMABUFX_REASON_UNALIGNED, 0);
	request = dmabufx_request(segments + 1, 2, 0);
	dmabufx_refused(device, &request, EINVAL, DMABUFX_REASON_UNALIGNED, 1);
	close(memfd);
}

/**
 * SUBTEST: sizes-that-wrap
 * Description: Offset and size beyond 2^64 are refused, and buffers of more than 2^32 - 1
 *	pages: no sum overflows
 */
static void test_sizes_that_wrap(int device)
{
	int memfd = dmabufx_memfd(SIZE, F_SEAL_SHRINK);
	struct dmabufx_segment segments[] = {
		{ .fd = memfd, .offset = -PAGE, .size = 2 * PAGE },
		{ .fd = memfd, .size = -PAGE },
		{ .fd = memfd, .size = PAGE },
		{ .fd = memfd, .size = (1ull << 32) * PAGE },
	};
	struct dmabufx_create request;

	refuse_segment(device, segments[0], 0, EINVAL, DMABUFX_REASON_WRAPS);
	refuse_segment(device, segments[1], 0, EFBIG, DMABUFX_REASON_TOO_LARGE);
	refuse_segment(device, segments[3], 0, EFBIG, DMABUFX_REASON_TOO_LARGE);
	request = dmabufx_request(segments + 2, 2, 0);
	dmabufx_refused(device, &request, EFBIG, DMABUFX_REASON_TOO_LARGE, 1);
	close(memfd);
}

/**
 * SUBTEST: descriptors
 * Description: What is no memfd is refused, closed descriptors and dma-bufs included
 */
static void test_descriptors(int device)
{
	struct dmabufx_buffer buf;
	int ends[2], path;

	igt_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	path = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	igt_assert_lte(0, path);
	dmabufx_buffer_init(&buf, device, SHMEM_4K, SIZE);
	refuse_segment(device, (struct dmabufx_segment){ .fd = -1, .size = PAGE }, 0,
		       EBADF, DMABUFX_REASON_NOT_OPEN);
	refuse_segment(device, (struct dmabufx_segment){ .fd = INT32_MAX, .size = PAGE }, 0,
		       EBADF, DMABUFX_REASON_NOT_OPEN);
	refuse_segment(device, (struct dmabufx_segment){ .fd = ends[0], .size = PAGE }, 0,
		       EBADFD, DMABUFX_REASON_NOT_MEMFD);
	refuse_segment(device, (struct dmabufx_segment){ .fd = path, .size = PAGE }, 0,
		       EBADFD, DMABUFX_REASON_NOT_MEMFD);
	refuse_segment(device, (struct dmabufx_segment){ .fd = buf.fd, .size = PAGE }, 0,
		       EBADFD, DMABUFX_REASON_NOT_MEMFD);
	refuse_segment(device, (struct dmabufx_segment){ .fd = device, .size = PAGE }, 0,
		       EBADFD, DMABUFX_REASON_NOT_MEMFD);
	dmabufx_buffer_fini(&buf);
	close(ends[0]);
	close(ends[1]);
	close(path);
}

/**
 * SUBTEST: open-mode
 * Description: A memfd opened read-only makes a read-only buffer, and no other
 */
static void test_open_mode(int device)
{
	int memfd = dmabufx_memfd(SIZE, F_SEAL_SHRINK), fd;
	struct dmabufx_segment segment = { .size = SIZE };
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", memfd);
	segment.fd = open(path, O_RDONLY | O_CLOEXEC);
	igt_assert_lte(0, segment.fd);
	refuse_segment(device, segment, 0, EACCES, DMABUFX_REASON_OPEN_MODE);
	fd = dmabufx_create(device, &segment, 1, DMABUFX_CREATE_READ_ONLY);
	close(fd);
	close(segment.fd);
	close(memfd);
}

/**
 * SUBTEST: beyond-end
 * Description: A range that leaves its memfd is refused, offsets near 2^63 included
 */
static void test_beyond_end(int device)
{
	int memfd = dmabufx_memfd(SIZE, F_SEAL_SHRINK);
	uint64_t offsets[] = {
		PAGE, SIZE, 1ull << 40, (1ull << 63) - SIZE, 1ull << 63, -(2 * SIZE),
	};
	size_t i;

	for (i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		struct dmabufx_segment segment = {
			.fd = memfd,
			.offset = offsets[i],
			.size = SIZE,
		};

		refuse_segment(device, segment, 0, ERANGE, DMABUFX_REASON_BEYOND_END);
	}
	close(memfd);
}

/**
 * SUBTEST: may-shrink
 * Description: A memfd that may shrink is refused, whatever other seals it has
 */
static void test_may_shrink(int device)
{
	refuse_seals(device, 0, EPERM, DMABUFX_REASON_MAY_SHRINK);
	refuse_seals(device, F_SEAL_GROW | F_SEAL_SEAL, EPERM, DMABUFX_REASON_MAY_SHRINK);
}

/**
 * SUBTEST: write-sealed
 * Description: A memfd that is sealed against writing makes no writable buffer
 */
static void test_write_sealed(int device)
{
	refuse_seals(device, F_SEAL_SHRINK | F_SEAL_WRITE, EPERM,
		     DMABUFX_REASON_WRITE_SEALED);
	refuse_seals(device, F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE, EPERM,
		     DMABUFX_REASON_WRITE_SEALED);
}

/**
 * SUBTEST: bad-pointers
 * Description: Structs and lists outside the caller's memory are EFAULT
 */
static void test_bad_pointers(int device)
{
	struct dmabufx_segment segment = { .size = PAGE };
	struct dmabufx_create request = dmabufx_request(&segment, 1, 0);

	request.segments = 8;
	dmabufx_refused(device, &request, EFAULT, DMABUFX_REASON_NONE, 1);
	request.segments = -PAGE;
	dmabufx_refused(device, &request, EFAULT, DMABUFX_REASON_NONE, 1);
	igt_assert_eq(__dmabufx_create(device, (struct dmabufx_create *)8), -EFAULT);
	refuse_segment(device, dmabufx_user_segment((void *)4096, PAGE), 0, EFAULT,
		       DMABUFX_REASON_UNMAPPED);
	refuse_segment(device, dmabufx_user_segment((void *)(1ul << 63), PAGE), 0, EFAULT,
		       DMABUFX_REASON_NOT_USER);
}

/**
 * SUBTEST: struct-not-writable
 * Description: A struct that cannot be written is EFAULT, and neither a buffer nor the
 *	place of its descriptor stays behind
 */
static void test_struct_not_writable(int device)
{
	int memfd = dmabufx_memfd(SIZE, F_SEAL_SHRINK);
	struct dmabufx_segment segment = { .fd = memfd, .size = SIZE };
	struct dmabufx_create *request = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
					      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int next = dup(memfd), again;

	igt_assert(request != MAP_FAILED);
	close(next);
	*request = dmabufx_request(&segment, 1, 0);
	igt_assert_eq(mprotect(request, PAGE, PROT_READ), 0);
	igt_assert_eq(__dmabufx_create(device, request), -EFAULT);
	again = dup(memfd);
	igt_assert_eq(again, next);
	close(again);
	munmap(request, PAGE);
	close(memfd);
}

static void write_parameter(const char *name, long long value)
{
	char path[128], text[32];

	snprintf(path, sizeof(path), PARAMETERS "%s", name);
	snprintf(text, sizeof(text), "%lld", value);
	igt_require_f(dmabufx_file_write(path, text), "%s cannot be set\n", path);
}

static long long read_parameter(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), PARAMETERS "%s", name);
	return dmabufx_file_number(path, "");
}

/**
 * SUBTEST: too-many-segments
 * Description: More segments than list_limit are refused, before any is read
 */
static void test_too_many_segments(int device)
{
	long long limit = read_parameter("list_limit");
	struct dmabufx_create request = dmabufx_request(NULL, 3, 0);

	write_parameter("list_limit", 2);
	igt_assert_eq_u32(dmabufx_query(device).max_segments, 2);
	dmabufx_refused(device, &request, E2BIG, DMABUFX_REASON_TOO_MANY, 3);
	write_parameter("list_limit", limit);
}

/* Without CAP_IPC_LOCK, which lifts limits: for a child, since it is gone for good. */
static void lose_ipc_lock(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	igt_assert_eq(syscall(SYS_capget, &header, data), 0);
	data[0].effective &= ~(1u << CAP_IPC_LOCK);
	data[0].permitted &= ~(1u << CAP_IPC_LOCK);
	igt_assert_eq(syscall(SYS_capset, &header, data), 0);
}

/* A memfd of this size, as a whole: a dma-buf or -errno. */
static int create_of_size(int device, uint64_t size)
{
	int memfd = dmabufx_memfd(size, F_SEAL_SHRINK);
	int fd = __udmabuf_create(device, memfd, 0, size, UDMABUF_FLAGS_CLOEXEC);

	close(memfd);
	return fd;
}

/* One that is refused for its memfd gives back what it counted of own memory. */
static void refuse_mixed(int device)
{
	char *own = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct dmabufx_segment segments[] = {
		dmabufx_user_segment(own, PAGE),
		{ .fd = dmabufx_memfd(MIB(4), F_SEAL_SHRINK), .size = MIB(4) },
	};
	struct dmabufx_create request = dmabufx_request(segments, 2, 0);
	uint64_t locked = dmabufx_query(device).user_locked;

	igt_assert(own != MAP_FAILED);
	dmabufx_refused(device, &request, EDQUOT, DMABUFX_REASON_MEMFD_LIMIT, 2);
	igt_assert_eq_u64(dmabufx_query(device).user_locked, locked);
	close(segments[1].fd);
	munmap(own, PAGE);
}

/**
 * SUBTEST: memfd-limit
 * Description: What a user's buffers may pin of memfds is limited, to the byte, and given
 *	back when they go
 */
static void test_memfd_limit(int device)
{
	long long limit = read_parameter("memfd_limit_mib");
	struct dmabufx_query query;

	write_parameter("memfd_limit_mib", 2);
	igt_fork(child, 1) {
		int first, second;

		lose_ipc_lock();
		query = dmabufx_query(device);
		igt_assert_eq_u64(query.memfd_limit, MIB(2));
		igt_assert_eq(create_of_size(device, MIB(2) + PAGE), -EDQUOT);
		first = create_of_size(device, MIB(2) - PAGE);
		igt_assert_lte(0, first);
		igt_assert_eq_u64(dmabufx_query(device).memfd_pinned,
				  query.memfd_pinned + MIB(2) - PAGE);
		igt_assert_eq(create_of_size(device, 2 * PAGE), -EDQUOT);
		second = create_of_size(device, PAGE);
		igt_assert_lte(0, second);
		close(first);
		close(second);
		igt_assert_eq_u64(dmabufx_query(device).memfd_pinned, query.memfd_pinned);
		refuse_mixed(device);
	}
	igt_waitchildren();
	write_parameter("memfd_limit_mib", limit);
}

/**
 * SUBTEST: memfd-limit-in-mib
 * Description: A limit of 4 GiB and more is no small one: MiB become bytes in 64 bits
 */
static void test_memfd_limit_in_mib(int device)
{
	long long limit = read_parameter("memfd_limit_mib");

	write_parameter("memfd_limit_mib", 4097);
	igt_fork(child, 1) {
		int fd;

		lose_ipc_lock();
		igt_assert_eq_u64(dmabufx_query(device).memfd_limit, MIB(4097));
		fd = create_of_size(device, MIB(2));
		igt_assert_lte(0, fd);
		close(fd);
	}
	igt_waitchildren();
	write_parameter("memfd_limit_mib", limit);
}

/**
 * SUBTEST: memfd-limit-by-default
 * Description: Unless told otherwise a user's buffers may have half of the memory, which
 *	is enough for guests of QEMU and for compositors
 */
static void test_memfd_limit_by_default(int device)
{
	uint64_t memory = KIB(dmabufx_file_number("/proc/meminfo", "MemTotal:"));

	igt_fork(child, 1) {
		int fd;

		lose_ipc_lock();
		/* In whole MiB; and memory may have come or gone since. */
		igt_assert_lte_u64(memory / 2 - memory / 16, dmabufx_query(device).memfd_limit);
		fd = create_of_size(device, memory / 16 / PAGE * PAGE);
		igt_assert_lte(0, fd);
		close(fd);
	}
	igt_waitchildren();
}

static void within_memlock(int device, struct dmabufx_mem *mem)
{
	struct rlimit limit = { 2 * PAGE, 2 * PAGE };
	uint64_t locked = dmabufx_query(device).user_locked;
	struct dmabufx_segment segment = dmabufx_user_segment(mem->map, mem->size);
	struct dmabufx_create request = dmabufx_request(&segment, 1, 0);
	int fd;

	/* What others of this user have locked counts, too. */
	limit.rlim_cur += locked;
	limit.rlim_max = limit.rlim_cur;
	igt_assert_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
	/* It does not bind the privileged. */
	close(dmabufx_create(device, &segment, 1, 0));
	lose_ipc_lock();
	dmabufx_refused(device, &request, ENOMEM, DMABUFX_REASON_MEMLOCK, 1);
	segment.size = 2 * PAGE;
	fd = dmabufx_create(device, &segment, 1, 0);
	igt_assert_eq_u64(dmabufx_query(device).user_locked, locked + 2 * PAGE);
	segment.size = PAGE;
	dmabufx_refused(device, &request, ENOMEM, DMABUFX_REASON_MEMLOCK, 1);
	close(fd);
	fd = dmabufx_create(device, &segment, 1, 0);
	close(fd);
}

/**
 * SUBTEST: memlock-limit
 * Description: A process's own memory counts against RLIMIT_MEMLOCK before it is pinned,
 *	but for those with CAP_IPC_LOCK
 */
static void test_memlock_limit(int device)
{
	struct dmabufx_mem mem;

	dmabufx_mem_init(&mem, ANON_4K, SIZE);
	igt_fork(child, 1) {
		struct dmabufx_segment segment = dmabufx_user_segment(mem.map, PAGE);
		struct dmabufx_create request = dmabufx_request(&segment, 1, 0);

		/* The charge is for the request as a whole. */
		lose_ipc_lock();
		setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){ 0, MIB(1) });
		dmabufx_refused(device, &request, EPERM, DMABUFX_REASON_MEMLOCK, 1);
	}
	igt_waitchildren();
	igt_fork(child, 1)
		within_memlock(device, &mem);
	igt_waitchildren();
	dmabufx_mem_fini(&mem);
}

/* Several buffers at a time, made of what is free: none is another one. */
static void buffers_are_apart(int device)
{
	struct dmabufx_buffer bufs[8];
	uint32_t i;

	for (i = 0; i < 8; i++) {
		dmabufx_buffer_init(&bufs[i], device, SHMEM_4K, SIZE);
		dmabufx_buffer_write(&bufs[i], WAY_MEMORY, i + 1);
	}
	for (i = 0; i < 8; i++)
		dmabufx_buffer_check(&bufs[i], WAY_MMAP, i + 1);
	for (i = 0; i < 8; i++)
		dmabufx_buffer_fini(&bufs[i]);
}

/**
 * SUBTEST: no-fd-left
 * Description: Without a free descriptor a create is EMFILE, and what it took is given back
 *	once
 */
static void test_no_fd_left(int device)
{
	int memfd = dmabufx_memfd(SIZE, F_SEAL_SHRINK), i;
	struct dmabufx_segment segment = { .fd = memfd, .size = SIZE };
	struct rlimit old, none;

	igt_assert_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = 0;
	igt_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	for (i = 0; i < 100; i++) {
		struct dmabufx_create request = dmabufx_request(&segment, 1, 0);
		int created = __dmabufx_create(device, &request);
		int made = __udmabuf_create(device, memfd, 0, SIZE, 0);

		if (created == -EMFILE && made == -EMFILE)
			continue;
		setrlimit(RLIMIT_NOFILE, &old);
		igt_assert_eq(created, -EMFILE);
		igt_assert_eq(made, -EMFILE);
	}
	igt_assert_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	close(memfd);
	/* What was given back twice is handed out twice. */
	buffers_are_apart(device);
}

/**
 * SUBTEST: fragmented
 * Description: A buffer of 32768 single pages in no order at all can be made, and has them
 *	in that order
 */
static void test_fragmented(int device)
{
	enum { PAGES = 32768, STEP = 12345 };
	struct dmabufx_segment *segments = calloc(PAGES, sizeof(*segments));
	struct dmabufx_mem mem;
	char *map;
	int fd, i;

	dmabufx_mem_init_holes(&mem, SHMEM_4K, PAGES * PAGE);
	for (i = 0; i < PAGES; i++) {
		*(int *)(mem.map + i * PAGE) = i;
		segments[i] = dmabufx_segment(&mem, (uint64_t)i * STEP % PAGES * PAGE, PAGE);
	}
	fd = dmabufx_create(device, segments, PAGES, 0);
	map = dmabufx_mmap(fd, 0, PAGES * PAGE);
	for (i = 0; i < PAGES; i++)
		igt_assert_eq(*(int *)(map + i * PAGE), (int)((long)i * STEP % PAGES));
	munmap(map, PAGES * PAGE);
	close(fd);
	dmabufx_mem_fini(&mem);
	free(segments);
}

#define CGROUP "/sys/fs/cgroup/igt-dmabufx"

static void require_memory_cgroup(void)
{
	dmabufx_file_write("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	igt_require_f(!mkdir(CGROUP, 0755) || errno == EEXIST, "no cgroups\n");
	igt_require_f(!access(CGROUP "/memory.stat", R_OK), "no memory cgroups\n");
}

static long long cgroup_kernel_memory(void)
{
	return dmabufx_file_number(CGROUP "/memory.stat", "kernel ");
}

/*
 * In a cgroup of its own, where 33000 pieces are more than 512 KiB of runs: a page does not
 * follow itself, so none are merged.
 */
static void create_in_cgroup(int device, const struct dmabufx_mem *mem)
{
	enum { PIECES = 33000 };
	struct dmabufx_segment *segments = calloc(PIECES, sizeof(*segments));
	long long before;
	int fd, i;

	igt_assert(segments);
	for (i = 0; i < PIECES; i++)
		segments[i] = dmabufx_segment(mem, 0, PAGE);
	igt_assert(dmabufx_file_write(CGROUP "/cgroup.procs", "0"));
	before = cgroup_kernel_memory();
	fd = dmabufx_create(device, segments, PIECES, 0);
	igt_assert_lte_s64(before + KIB(512), cgroup_kernel_memory());
	close(fd);
	igt_assert_lte_s64(cgroup_kernel_memory(), before + KIB(256));
	free(segments);
}

/**
 * SUBTEST: metadata-is-charged
 * Description: What the kernel holds for a buffer counts for its maker's memory cgroup
 */
static void test_metadata_is_charged(int device)
{
	struct dmabufx_mem mem;
	int tries;

	dmabufx_mem_init(&mem, SHMEM_4K, SIZE);
	require_memory_cgroup();
	igt_fork(child, 1)
		create_in_cgroup(device, &mem);
	igt_waitchildren();
	/* Who was in it may take a moment to be gone. */
	for (tries = 0; rmdir(CGROUP) && tries < 100; tries++)
		usleep(20000);
	dmabufx_mem_fini(&mem);
}

/**
 * SUBTEST: hugetlb-holes
 * Description: A hugetlb memfd that nobody ever touched becomes a buffer of zeros
 */
static void test_hugetlb_holes(int device)
{
	struct dmabufx_segment segment;
	struct dmabufx_mem mem;
	size_t i;
	char *map;
	int fd;

	dmabufx_mem_init_holes(&mem, HUGETLB_2M, MIB(4));
	segment = dmabufx_segment(&mem, 0, mem.size);
	fd = dmabufx_create(device, &segment, 1, 0);
	map = dmabufx_mmap(fd, 0, mem.size);
	for (i = 0; i < mem.size; i += 64)
		igt_assert_eq(map[i], 0);
	dmabufx_pattern_fill(map, 1, 0, mem.size);
	dmabufx_pattern_check(mem.map, 1, 0, mem.size, "memfd");
	munmap(map, mem.size);
	close(fd);
	dmabufx_mem_fini(&mem);
}

/**
 * SUBTEST: no-huge-page-left
 * Description: A hole that the pool of huge pages cannot fill is ENOMEM, with its reason
 */
static void test_no_huge_page_left(int device)
{
	static const char pool[] =
		"/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
	struct dmabufx_segment segment = { .size = MIB(2) };
	long long pages = dmabufx_file_number(pool, "");
	struct dmabufx_mem all;

	igt_require(pages > 0);
	dmabufx_mem_init(&all, HUGETLB_2M, pages * MIB(2));
	segment.fd = memfd_create("igt-dmabufx", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB |
				  MFD_HUGE_2MB);
	igt_assert_lte(0, segment.fd);
	igt_assert_eq(ftruncate(segment.fd, MIB(2)), 0);
	igt_assert_eq(fcntl(segment.fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	refuse_segment(device, segment, 0, ENOMEM, DMABUFX_REASON_NO_MEMORY);
	close(segment.fd);
	dmabufx_mem_fini(&all);
}

struct late_failure {
	int device;
	struct dmabufx_segment segments[2];
};

/* Fails at the second segment, when the first is pinned already. */
static void fail_late(void *arg)
{
	struct late_failure *late = arg;
	struct dmabufx_create request = dmabufx_request(late->segments, 2, 0);

	igt_assert_eq(__dmabufx_create(late->device, &request), -EFAULT);
	igt_assert_eq(request.failed_segment, 1);
}

/**
 * SUBTEST: failures-leave-nothing
 * Description: Creates that fail when memory is pinned already give all of it back
 */
static void test_failures_leave_nothing(int device)
{
	int memfd = dmabufx_memfd(SIZE, F_SEAL_SHRINK);
	/* All that can be seen before is, but not that a file has no such page. */
	char *map = mmap(NULL, SIZE + PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	struct late_failure late = { device, {
		{ .fd = memfd, .size = SIZE },
		dmabufx_user_segment(map + SIZE, PAGE),
	} };

	igt_assert(map != MAP_FAILED);

	dmabufx_leaves_nothing(fail_late, &late, 1000);
	munmap(map, SIZE + PAGE);
	close(memfd);
}

/**
 * SUBTEST: query
 * Description: The driver tells its version, features and limits; what is reserved must be
 *	zero
 */
static void test_query(int device)
{
	struct dmabufx_query query = dmabufx_query(device);

	igt_assert_eq_u64(query.features & 7, DMABUFX_FEATURE_MEMFD | DMABUFX_FEATURE_USER |
			  DMABUFX_FEATURE_READ_ONLY);
	igt_assert_eq_u64(query.max_size, UINT32_MAX * (uint64_t)PAGE);
	igt_assert_eq_u32(query.max_segments, read_parameter("list_limit"));
	/* Whom limits do not bind. */
	igt_assert_eq_u64(query.memfd_limit, UINT64_MAX);

	query.reserved = 1;
	igt_assert_eq(ioctl(device, DMABUFX_IOC_QUERY, &query), -1);
	igt_assert_eq(errno, EINVAL);
}

/**
 * SUBTEST: info
 * Description: The driver tells of its own dma-bufs what is in them, and of nothing else
 */
static void test_info(int device)
{
	struct dmabufx_buffer buf;
	struct dmabufx_info info;

	dmabufx_buffer_init(&buf, device, HUGETLB_2M, MIB(2));
	info = dmabufx_info(device, buf.fd);
	igt_assert_eq_u64(info.bytes, MIB(2));
	igt_assert_eq_u32(info.runs, 1);
	igt_assert_eq_u64(info.longest_run, MIB(2));
	igt_assert_eq_u64(info.smallest_folio, MIB(2));
	igt_assert_eq_u64(info.largest_folio, MIB(2));
	igt_assert_eq_u64(info.memfd_bytes, MIB(2));
	igt_assert_eq_u64(info.user_bytes, 0);
	igt_assert_eq(__dmabufx_info(device, buf.mem.fd, &info), -EINVAL);
	igt_assert_eq(__dmabufx_info(device, -1, &info), -EBADF);
	dmabufx_buffer_fini(&buf);
}

#ifdef __x86_64__
/* ioctl() as a program of 32 bits calls it, whose addresses are below 4 GiB. */
static int ioctl_of_32_bits(int device, unsigned int request, void *arg)
{
	enum { IOCTL = 54 };
	int ret;

	asm volatile("int $0x80"
		     : "=a" (ret)
		     : "a" (IOCTL), "b" (device), "c" (request), "d" (arg)
		     : "memory", "r8", "r9", "r10", "r11");
	return ret;
}

/**
 * SUBTEST: 32-bit-callers
 * Description: Programs of 32 bits make the same calls with the same structs
 */
static void test_32_bit_callers(int device)
{
	struct low {
		struct dmabufx_query query;
		struct dmabufx_create create;
		struct dmabufx_segment segment;
		struct dmabufx_info info;
		struct udmabuf_create udmabuf;
	} *low = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	int memfd = dmabufx_memfd(SIZE, F_SEAL_SHRINK), fd, ret;

	igt_assert(low != MAP_FAILED);
	low->query.size = sizeof(low->query);
	ret = ioctl_of_32_bits(device, DMABUFX_IOC_QUERY, &low->query);
	igt_assert_eq(ret, 0);
	igt_assert_eq_u64(low->query.max_size, UINT32_MAX * (uint64_t)PAGE);
	low->segment = (struct dmabufx_segment){ .fd = memfd, .offset = PAGE, .size = PAGE };
	low->create = dmabufx_request(&low->segment, 1, DMABUFX_CREATE_CLOEXEC);
	fd = ioctl_of_32_bits(device, DMABUFX_IOC_CREATE, &low->create);
	igt_assert_lte(0, fd);
	low->info = (struct dmabufx_info){ .size = sizeof(low->info), .fd = fd };
	ret = ioctl_of_32_bits(device, DMABUFX_IOC_INFO, &low->info);
	igt_assert_eq(ret, 0);
	igt_assert_eq_u64(low->info.bytes, PAGE);
	close(fd);
	low->udmabuf = (struct udmabuf_create){ .memfd = memfd, .size = SIZE };
	fd = ioctl_of_32_bits(device, UDMABUF_CREATE, &low->udmabuf);
	igt_assert_lte(0, fd);
	igt_assert_eq_s64(lseek(fd, 0, SEEK_END), SIZE);
	close(fd);
	close(memfd);
	munmap(low, PAGE);
}
#endif

/**
 * SUBTEST: unknown-ioctls
 * Description: Numbers that are no calls of the driver are ENOTTY
 */
static void test_unknown_ioctls(int device)
{
	uint64_t space[32] = { };
	unsigned int nr;

	for (nr = 0; nr < 256; nr++) {
		if (nr == 0x60 || nr == 0x61 || nr == 0x62)
			continue;
		igt_assert_eq(ioctl(device, _IO('u', nr), space), -1);
		igt_assert_eq(errno, ENOTTY);
	}
	igt_assert_eq(ioctl(device, _IOWR('u', 0x60, struct dmabufx_create), space), -1);
	igt_assert_eq(errno, ENOTTY);
}

static const struct dmabufx_subtest subtests[] = {
	{ "memfd", "Check that a memfd becomes a dma-buf", test_memfd },
	{ "user-memory", "Check that a process's own memory becomes a dma-buf",
	  test_user_memory },
	{ "cloexec", "Check that descriptors are inherited only if wanted", test_cloexec },
	{ "name", "Check that a dma-buf can be named when it is made", test_name },
	{ "data-offset", "Check that memory need not start or end with a page",
	  test_data_offset },
	{ "struct-size", "Check that older and newer programs are understood or refused",
	  test_struct_size },
	{ "unknown-flags", "Check that flags of the future are refused", test_unknown_flags },
	{ "segment-size", "Check that segments of the future are refused", test_segment_size },
	{ "segment-type", "Check that unknown kinds of memory are refused", test_segment_type },
	{ "empty", "Check that nothing makes no buffer, and does no harm between other things",
	  test_empty },
	{ "unaligned", "Check that a buffer consists of whole pages", test_unaligned },
	{ "sizes-that-wrap", "Check that no sum of sizes overflows", test_sizes_that_wrap },
	{ "descriptors", "Check that only memfds are taken for memfds", test_descriptors },
	{ "open-mode", "Check that a memfd opened for reading cannot be written",
	  test_open_mode },
	{ "beyond-end", "Check that no range leaves its memfd", test_beyond_end },
	{ "may-shrink", "Check that memory cannot be taken away from a buffer", test_may_shrink },
	{ "write-sealed", "Check that sealed memory cannot be written", test_write_sealed },
	{ "bad-pointers", "Check that bad pointers are errors", test_bad_pointers },
	{ "struct-not-writable", "Check that a failure to answer leaves nothing behind",
	  test_struct_not_writable },
	{ "too-many-segments", "Check that the limit of segments is kept and told",
	  test_too_many_segments },
	{ "memfd-limit", "Check that a user cannot pin all memory by memfds", test_memfd_limit },
	{ "memfd-limit-in-mib", "Check that large limits are large", test_memfd_limit_in_mib },
	{ "memfd-limit-by-default", "Check that what users do works without setting limits",
	  test_memfd_limit_by_default },
	{ "memlock-limit", "Check that RLIMIT_MEMLOCK binds", test_memlock_limit },
	{ "no-fd-left", "Check that a create without a free descriptor undoes itself",
	  test_no_fd_left },
	{ "fragmented", "Check that memory in many pieces makes a buffer", test_fragmented },
	{ "metadata-is-charged", "Check that the kernel's memory is paid for, too",
	  test_metadata_is_charged },
	{ "hugetlb-holes", "Check that huge pages need not be populated", test_hugetlb_holes },
	{ "no-huge-page-left", "Check that an empty pool is an error that says so",
	  test_no_huge_page_left },
	{ "failures-leave-nothing", "Check that failed creates leak nothing",
	  test_failures_leave_nothing },
	{ "query", "Check that programs can ask for limits and features", test_query },
	{ "info", "Check that programs can ask what a dma-buf consists of", test_info },
#ifdef __x86_64__
	{ "32-bit-callers", "Check that programs of 32 bits work", test_32_bit_callers },
#endif
	{ "unknown-ioctls", "Check that unknown calls are refused", test_unknown_ioctls },
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
