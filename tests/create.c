// SPDX-License-Identifier: MIT
/*
 * DMABUFX_IOC_CREATE: what it accepts, and how it refuses. All mixtures of memory become
 * one buffer. Tests of user memory are in user.c.
 */
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buffer.h"
#include "harness.h"
#include "memory.h"
#include "watch.h"

/* Each refused call is repeated, so that a small leak adds up. */
#define ROUNDS 200

/* Verifies that the buffer shows the pattern of @mem's @offset at @at. */
static void shows_at(int fd, __u64 at, const struct memory *mem, __u64 offset,
		     size_t size)
{
	__u64 whole = lseek(fd, 0, SEEK_END);
	char *map = map_dma_buf(fd, 0, whole);

	pattern_check(map + at, 1, mem->id, offset, size, "mmap");
	must(munmap(map, whole));
}

PROMISE(create_gives_a_dma_buf,
	"DMABUFX_IOC_CREATE makes a dma-buf of a memfd, and of malloc'ed memory")
{
	struct memory file = memory_make_patterned(SHMEM_4K, KIB(64));
	struct memory own = memory_at(malloc(KIB(64)), KIB(64));
	struct dmabufx_segment of_file = segment(&file, PAGE, KIB(32));
	struct dmabufx_segment of_own = segment(&own, 0, KIB(64));
	int device = must(open(settings.device, O_RDONLY | O_CLOEXEC));
	struct dmabufx_create req = request(&of_file, 1, 0);
	int fd = must(try_request(device, &req));

	check_eq(req.data_offset, 0);
	check_eq(lseek(fd, 0, SEEK_END), KIB(32));
	shows_at(fd, 0, &file, PAGE, KIB(32));

	pattern_fill(own.map, 1, own.id, 0, KIB(64));
	req = request(&of_own, 1, 0);
	fd = must(try_request(device, &req));
	check_eq(req.data_offset, (uintptr_t)own.map % PAGE);
	shows_at(fd, req.data_offset, &own, 0, KIB(64));
}

/* A request with space for later fields behind it. */
union long_request {
	struct dmabufx_create create;
	char bytes[2 * LARGEST_PAGE];
};

PROMISE(create_struct_may_not_be_smaller,
	"a size below the first version's is EINVAL, and nothing is written")
{
	struct memory mem = memory_make(SHMEM_4K, PAGE);
	struct dmabufx_segment seg = segment(&mem, 0, PAGE);
	struct dmabufx_create req = request(&seg, 1, 0), before;
	int device = device_open();

	for (req.size = 0; req.size < sizeof(req); req.size++) {
		before = req;
		must_fail(EINVAL, ioctl(device, DMABUFX_IOC_CREATE, &req));
		check(!memcmp(&before, &req, sizeof(req)));
	}
	must(try_request(device, &req));
}

PROMISE(create_struct_may_be_larger,
	"unknown fields of a larger struct must be zero, otherwise it is E2BIG")
{
	struct memory mem = memory_make(SHMEM_4K, PAGE);
	struct dmabufx_segment seg = segment(&mem, 0, PAGE);
	union long_request req = { .create = request(&seg, 1, 0) }, before;
	size_t first = sizeof(req.create), byte;
	int device = device_open();

	for (byte = first; byte < PAGE; byte += byte < first + 16 ? 1 : 509) {
		req.create.size = byte + 1;
		must_close(try_request(device, &req.create));
		req.bytes[byte] = 1;
		before = req;
		must_fail(E2BIG, ioctl(device, DMABUFX_IOC_CREATE, &req));
		check(!memcmp(&before, &req, sizeof(req)));
		req.bytes[byte] = 0;
	}

	req.create.size = PAGE;
	must(try_request(device, &req.create));
	req.create.size = PAGE + 1;
	must_fail(E2BIG, ioctl(device, DMABUFX_IOC_CREATE, &req));
	req.create.size = ~0u;
	must_fail(E2BIG, ioctl(device, DMABUFX_IOC_CREATE, &req));
}

/* Whether the driver has logged anything since kernel_log_open(). */
static bool driver_logged(int log)
{
	char record[2048];
	ssize_t len;

	while ((len = read(log, record, sizeof(record) - 1)) > 0) {
		record[len] = 0;
		if (strstr(record, ";dmabufx: "))
			return true;
	}
	check_eq(errno, EAGAIN);
	return false;
}

PROMISE(create_flags_are_known_or_refused,
	"every flag bit without a meaning is EINVAL, with its reason; none fills the log")
{
	struct memory mem = memory_make(SHMEM_4K, PAGE);
	struct dmabufx_segment seg = segment(&mem, 0, PAGE);
	__u32 known = DMABUFX_CREATE_CLOEXEC | DMABUFX_CREATE_READ_ONLY, bit;
	int device = device_open(), log = kernel_log_open();
	struct dmabufx_create req;

	for (bit = 1; bit; bit <<= 1) {
		req = request(&seg, 1, bit);
		if (bit & known)
			must_close(try_request(device, &req));
		else
			refused(EINVAL, DMABUFX_REASON_FLAGS, 1, device, &req);
	}
	req = request(&seg, 1, ~0u);
	refused(EINVAL, DMABUFX_REASON_FLAGS, 1, device, &req);
	check(!driver_logged(log));
}

PROMISE(create_segment_size_is_known_or_refused,
	"a segment_size other than this version's is EINVAL, with its reason")
{
	static const __u32 wrong[] = { 0, 1, 16, 23, 25, 32, 48, 1u << 31, ~0u };
	struct memory mem = memory_make(SHMEM_4K, PAGE);
	struct dmabufx_segment seg = segment(&mem, 0, PAGE);
	struct dmabufx_create req = request(&seg, 1, 0);
	int device = device_open();
	size_t i;

	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		req.segment_size = wrong[i];
		refused(EINVAL, DMABUFX_REASON_SEGMENT_SIZE, 1, device, &req);
	}
}

/* Two pages, of which the second is not mapped. */
static char *page_before_a_hole(void)
{
	char *pages = must(mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));

	must(munmap(pages + PAGE, PAGE));
	return pages;
}

static bool bufinfo_has(const char *text)
{
	FILE *file = fopen("/sys/kernel/debug/dma_buf/bufinfo", "re");
	bool found = false;
	char line[512];

	check(file);
	while (!found && fgets(line, sizeof(line), file))
		found = strstr(line, text);
	fclose(file);
	return found;
}

static void named(int device, struct dmabufx_create req, const char *name)
{
	char shown[64];
	int fd;

	req.name = (uintptr_t)name;
	fd = must(try_request(device, &req));
	fdinfo_line(fd, "name:\t", shown, sizeof(shown));
	if (strcmp(shown, name))
		fail("the name '%s' is shown as '%s'", name, shown);
	check(bufinfo_has(name));
	must(close(fd));
}

PROMISE(create_names_the_buffer,
	"a name of up to 31 bytes is seen in fdinfo and bufinfo; others are refused")
{
	struct memory mem = memory_make(SHMEM_4K, PAGE);
	struct dmabufx_segment seg = segment(&mem, 0, PAGE);
	struct dmabufx_create req = request(&seg, 1, 0);
	char *end = page_before_a_hole() + PAGE;
	int device = device_open();

	named(device, req, "");
	named(device, req, "a-name-for-a-test");
	named(device, req, "0123456789abcdef0123456789abcde");
	/* The name ends at the end of a page. */
	memcpy(end - 8, "at-edge", 8);
	named(device, req, end - 8);

	req.name = (uintptr_t)"0123456789abcdef0123456789abcdef";
	refused(EINVAL, DMABUFX_REASON_NAME, 1, device, &req);
	req.name = (uintptr_t)end;
	refused(EFAULT, DMABUFX_REASON_NAME, 1, device, &req);
	end[-1] = 'x';
	req.name = (uintptr_t)end - 8;
	refused(EFAULT, DMABUFX_REASON_NAME, 1, device, &req);
	req.name = -PAGE;
	refused(EFAULT, DMABUFX_REASON_NAME, 1, device, &req);
}

PROMISE(create_name_may_change,
	"DMA_BUF_SET_NAME gives a buffer a name, or another name")
{
	struct memory mem = memory_make(SHMEM_4K, PAGE);
	struct dmabufx_segment seg = segment(&mem, 0, PAGE);
	struct dmabufx_create req = request(&seg, 1, 0);
	char shown[64];
	int fd;

	req.name = (uintptr_t)"one";
	fd = must(try_request(device_open(), &req));
	must(ioctl(fd, DMA_BUF_SET_NAME_B, "another"));
	fdinfo_line(fd, "name:\t", shown, sizeof(shown));
	check(!strcmp(shown, "another"));
	fd = create_of(&seg, 1);
	must(ioctl(fd, DMA_BUF_SET_NAME_B, "first"));
	fdinfo_line(fd, "name:\t", shown, sizeof(shown));
	check(!strcmp(shown, "first"));
}

PROMISE(create_says_who_exports,
	"exp_name is dmabufx for buffers of the new call, udmabuf for those of the old ones")
{
	struct memory mem = memory_make(SHMEM_4K, PAGE);
	struct udmabuf_create_item all = list_item(&mem, 0, PAGE);
	struct dmabufx_segment seg = segment(&mem, 0, PAGE);
	char exporter[64];

	fdinfo_line(create_of(&seg, 1), "exp_name:\t", exporter,
		    sizeof(exporter));
	check(!strcmp(exporter, "dmabufx"));
	fdinfo_line(create_range(&mem, 0, PAGE), "exp_name:\t", exporter,
		    sizeof(exporter));
	check(!strcmp(exporter, "udmabuf"));
	fdinfo_line(must(try_create_list(device_open(), &all, 1, 0)),
		    "exp_name:\t", exporter, sizeof(exporter));
	check(!strcmp(exporter, "udmabuf"));
}

PROMISE(create_cloexec_is_what_was_asked,
	"the fd is closed on exec if DMABUFX_CREATE_CLOEXEC is set, and only then")
{
	struct memory mem = memory_make(SHMEM_4K, PAGE);
	struct dmabufx_segment seg = segment(&mem, 0, PAGE);
	struct dmabufx_create plain = request(&seg, 1, 0);
	struct dmabufx_create cloexec = request(&seg, 1, DMABUFX_CREATE_CLOEXEC);
	int device = device_open(), fd = must(try_request(device, &plain));

	check_eq(must(fcntl(fd, F_GETFD)) & FD_CLOEXEC, 0);
	check_eq(must(fcntl(fd, F_GETFL)) & O_ACCMODE, O_RDWR);
	fd = must(try_request(device, &cloexec));
	check_eq(must(fcntl(fd, F_GETFD)) & FD_CLOEXEC, FD_CLOEXEC);
}

#ifdef __x86_64__
struct low_memory {
	struct dmabufx_create req;
	struct dmabufx_segment segments[2];
	char name[16];
};

PROMISE(create_serves_32_bit_programs,
	"the 32-bit system call works, with the same layout")
{
	struct memory mem = memory_make_patterned(SHMEM_4K, KIB(64));
	struct memory own;
	struct low_memory *low;
	int device = device_open(), fd;
	char name[16];

	low = must(mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0));
	own = memory_at((char *)low + PAGE, 2 * PAGE);
	pattern_fill(own.map, 1, own.id, 0, own.size);
	low->segments[0] = segment(&own, 512, own.size - 512);
	low->segments[1] = segment(&mem, KIB(16), KIB(32));
	memcpy(low->name, "thirty-two", sizeof("thirty-two"));
	low->req = request(low->segments, 2, 0);
	low->req.name = (uintptr_t)low->name;

	fd = ioctl_32(device, DMABUFX_IOC_CREATE, &low->req);
	check_le(0, fd);
	check_eq(low->req.data_offset, 512);
	fdinfo_line(fd, "name:\t", name, sizeof(name));
	check(!strcmp(name, "thirty-two"));
	shows_at(fd, 512, &own, 512, own.size - 512);
	shows_at(fd, own.size, &mem, KIB(16), KIB(32));

	low->segments[1].fd = -1;
	check_eq(ioctl_32(device, DMABUFX_IOC_CREATE, &low->req), -EBADF);
	check_eq(low->req.failed_segment, 1);
	check_eq(low->req.reason, DMABUFX_REASON_NOT_OPEN);
}

PROMISE(create_by_a_32_bit_program,
	"a program compiled for 32 bits makes every call with its own structs")
{
	char self[2048] = "", path[4096];
	int status, child;

	/* Both programs are in the same folder. */
	must(readlink("/proc/self/exe", self, sizeof(self) - 1));
	snprintf(path, sizeof(path), "%.*s/program-32",
		 (int)(strrchr(self, '/') - self), self);
	if (access(path, X_OK))
		skip("needs program-32 beside this program");
	child = must(fork());
	if (!child) {
		execl(path, path, NULL);
		_exit(255);
	}
	must(waitpid(child, &status, 0));
	check(WIFEXITED(status));
	check_eq(WEXITSTATUS(status), 0);
}
#endif

/* A call that must be refused. */
struct refusal {
	int line;
	int error;
	__u32 reason;
	__u32 failed_segment;
	__u32 flags;
	__u32 nr;
	struct dmabufx_segment segments[3];
};

#define REFUSAL(error, reason, failed, nr, ...) \
	{ __LINE__, error, DMABUFX_REASON_ ## reason, failed, 0, nr, \
	  { __VA_ARGS__ } }

struct refusals {
	int device;
	const struct refusal *list;
	size_t nr;
};

static void call_refusals(void *arg)
{
	struct refusals *all = arg;
	size_t i;

	for (i = 0; i < all->nr; i++) {
		const struct refusal *one = &all->list[i];
		struct dmabufx_create req = request(one->segments, one->nr,
						    one->flags);

		req.name = (uintptr_t)"a-name-that-nobody-will-see";
		refused_at(one->line, one->error, one->reason,
			   one->failed_segment, all->device, &req);
	}
}

static void refuses_all(const struct refusal *list, size_t nr)
{
	struct refusals all = { device_open(), list, nr };

	leaves_nothing(call_refusals, &all, ROUNDS);
}

static struct dmabufx_segment of_fd(int fd, __u64 size)
{
	return (struct dmabufx_segment){ .fd = fd, .size = size };
}

PROMISE(create_refuses_wrong_types,
	"an unknown type, or an fd in a segment of user memory, is EINVAL")
{
	struct memory mem = memory_make(SHMEM_4K, KIB(64));
	struct memory own = memory_make(ANON_4K, KIB(64));
	struct dmabufx_segment file = segment(&mem, 0, PAGE);
	struct dmabufx_segment user = segment(&own, 0, PAGE);
	struct dmabufx_segment type_2 = { .type = 2, .fd = mem.fd, .size = PAGE };
	struct dmabufx_segment type_max = { .type = ~0u, .fd = mem.fd, .size = PAGE };
	struct dmabufx_segment fd_1 = {
		.type = DMABUFX_USER, .fd = mem.fd, .address = user.address, .size = PAGE,
	};
	struct dmabufx_segment fd_minus_1 = {
		.type = DMABUFX_USER, .fd = -1, .address = user.address, .size = PAGE,
	};
	/* An unknown type is refused in an empty segment, too. */
	struct dmabufx_segment empty = { .type = 2 };
	const struct refusal list[] = {
		REFUSAL(EINVAL, TYPE, 0, 1, type_2),
		REFUSAL(EINVAL, TYPE, 0, 2, type_max, file),
		REFUSAL(EINVAL, TYPE, 1, 2, user, type_2),
		REFUSAL(EINVAL, TYPE, 1, 3, file, fd_1, user),
		REFUSAL(EINVAL, TYPE, 2, 3, file, user, fd_minus_1),
		REFUSAL(EINVAL, TYPE, 1, 2, file, empty),
	};

	refuses_all(list, ARRAY_SIZE(list));
}

PROMISE(create_refuses_inner_borders_in_pages,
	"borders inside pages are EINVAL, except the first start and the last end")
{
	struct memory mem = memory_make(SHMEM_4K, KIB(64));
	struct memory own = memory_make(ANON_4K, KIB(64));
	struct dmabufx_segment file = segment(&mem, 0, KIB(16));
	struct dmabufx_segment user = segment(&own, 0, KIB(16));
	struct dmabufx_segment empty = segment(&own, 8, 0);
	struct dmabufx_segment late = segment(&mem, 512, KIB(16) - 512);
	struct dmabufx_segment late_user = segment(&own, 8, KIB(16) - 8);
	struct dmabufx_segment early = segment(&mem, 0, KIB(16) - 1);
	struct dmabufx_segment early_user = segment(&own, 0, 1);
	const struct refusal list[] = {
		REFUSAL(EINVAL, UNALIGNED, 1, 2, file, late),
		REFUSAL(EINVAL, UNALIGNED, 1, 2, user, late_user),
		REFUSAL(EINVAL, UNALIGNED, 0, 2, early, user),
		REFUSAL(EINVAL, UNALIGNED, 0, 2, early_user, file),
		REFUSAL(EINVAL, UNALIGNED, 1, 3, late, early, file),
		REFUSAL(EINVAL, UNALIGNED, 2, 3, user, empty, late_user),
		REFUSAL(EINVAL, UNALIGNED, 1, 3, empty, early_user, user),
	};

	refuses_all(list, ARRAY_SIZE(list));
}

PROMISE(create_refuses_impossible_sizes,
	"offsets and sizes that wrap are EINVAL, more than 2^32 - 1 pages EFBIG")
{
	struct memory mem = memory_make(SHMEM_4K, 16 * PAGE);
	struct memory own = memory_make(ANON_4K, 16 * PAGE);
	struct dmabufx_segment file = segment(&mem, 0, 4 * PAGE);
	struct dmabufx_segment user = segment(&own, 0, 4 * PAGE);
	struct dmabufx_segment wraps = segment(&own, 0, -PAGE);
	struct dmabufx_segment wraps_file = segment(&mem, -PAGE, 2 * PAGE);
	struct dmabufx_segment ends_at_0 = user_segment((void *)-PAGE, PAGE);
	struct dmabufx_segment huge = segment(&own, 0, PAGE << 32);
	struct dmabufx_segment half = segment(&mem, 0, 1ull << 63);
	struct dmabufx_segment most = segment(&mem, 0, ((1ull << 32) - 1) * PAGE);
	const struct refusal list[] = {
		REFUSAL(EINVAL, WRAPS, 0, 1, wraps),
		REFUSAL(EINVAL, WRAPS, 1, 2, user, wraps_file),
		REFUSAL(EINVAL, WRAPS, 1, 2, file, ends_at_0),
		REFUSAL(EFBIG, TOO_LARGE, 0, 1, huge),
		REFUSAL(EFBIG, TOO_LARGE, 1, 3, file, half, half),
		REFUSAL(EFBIG, TOO_LARGE, 1, 2, most, user),
		REFUSAL(ERANGE, BEYOND_END, 0, 1, most),
	};

	refuses_all(list, ARRAY_SIZE(list));
}

PROMISE(create_refuses_descriptors,
	"each descriptor that cannot be taken has its errno and its reason")
{
	struct memory mem = memory_make(SHMEM_4K, 16 * PAGE);
	struct memory own = memory_make(ANON_4K, 16 * PAGE);
	struct dmabufx_segment file = segment(&mem, 0, 4 * PAGE);
	struct dmabufx_segment user = segment(&own, 0, 4 * PAGE);
	const struct refusal list[] = {
		REFUSAL(EBADF, NOT_OPEN, 0, 1, of_fd(-1, PAGE)),
		REFUSAL(EBADF, NOT_OPEN, 1, 2, user, of_fd(900, PAGE)),
		REFUSAL(EBADF, NOT_OPEN, 2, 3, user, file,
			of_fd(file_reopen(mem.fd, O_PATH), PAGE)),
		REFUSAL(EBADFD, NOT_MEMFD, 0, 1,
			of_fd(must(open("/", O_RDONLY)), PAGE)),
		REFUSAL(EBADFD, NOT_MEMFD, 1, 2, file,
			of_fd(must(eventfd(0, 0)), PAGE)),
		REFUSAL(EBADFD, NOT_MEMFD, 1, 2, user,
			of_fd(create_range(&mem, 0, PAGE), PAGE)),
		REFUSAL(EACCES, OPEN_MODE, 0, 1,
			of_fd(file_reopen(mem.fd, O_RDONLY), PAGE)),
		REFUSAL(EACCES, OPEN_MODE, 1, 2, file,
			of_fd(file_reopen(mem.fd, O_WRONLY), PAGE)),
		REFUSAL(ERANGE, BEYOND_END, 1, 2, user,
			segment(&mem, 15 * PAGE, 2 * PAGE)),
		REFUSAL(ERANGE, BEYOND_END, 0, 2,
			segment(&mem, 16 * PAGE, PAGE), user),
		REFUSAL(EPERM, MAY_SHRINK, 1, 2, file,
			of_fd(memfd_make(SHMEM_4K, PAGE, F_SEAL_GROW), PAGE)),
		REFUSAL(EPERM, WRITE_SEALED, 0, 1,
			of_fd(memfd_make(SHMEM_4K, PAGE, F_SEAL_SHRINK | F_SEAL_WRITE), PAGE)),
		REFUSAL(EPERM, WRITE_SEALED, 2, 3, user, file,
			of_fd(memfd_make(SHMEM_4K, PAGE, F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE),
			      PAGE)),
	};

	refuses_all(list, ARRAY_SIZE(list));
}

PROMISE(create_refuses_secret_memory,
	"a memfd of memfd_secret() is EBADFD")
{
	const struct refusal list[] = {
		REFUSAL(EBADFD, NOT_MEMFD, 0, 1, of_fd(memfd_make_secret(PAGE), PAGE)),
	};

	refuses_all(list, ARRAY_SIZE(list));
}

PROMISE(create_refuses_empty_requests,
	"a request without segments, or with empty ones only, is EINVAL with its reason")
{
	struct memory mem = memory_make(SHMEM_4K, KIB(64));
	struct dmabufx_segment empty = segment(&mem, 0, 0);
	struct dmabufx_segment user = user_segment(mem.map + 3, 0);
	struct dmabufx_segment unopened = of_fd(-1, 0);
	const struct refusal list[] = {
		REFUSAL(EINVAL, EMPTY, 0, 0),
		REFUSAL(EINVAL, EMPTY, 1, 1, empty),
		REFUSAL(EINVAL, EMPTY, 3, 3, empty, user, unopened),
	};
	struct dmabufx_create req = request(NULL, 0, 0);

	refuses_all(list, ARRAY_SIZE(list));
	refused(EINVAL, DMABUFX_REASON_EMPTY, 0, device_open(), &req);
}

PROMISE(create_refuses_too_many_segments,
	"more segments than list_limit, which QUERY tells, are E2BIG, before any is read")
{
	const char *limit = "/sys/module/dmabufx/parameters/list_limit";
	struct dmabufx_create req = request(NULL, LIST_LIMIT + 1, 0);
	int device = device_open();

	refused(E2BIG, DMABUFX_REASON_TOO_MANY, LIST_LIMIT + 1, device, &req);
	req.nr_segments = ~0u;
	refused(E2BIG, DMABUFX_REASON_TOO_MANY, ~0u, device, &req);
	req.nr_segments = 1u << 31;
	refused(E2BIG, DMABUFX_REASON_TOO_MANY, 1u << 31, device, &req);

	check(file_write(limit, "2"));
	check_eq(device_query(device).max_segments, 2);
	req.nr_segments = 3;
	refused(E2BIG, DMABUFX_REASON_TOO_MANY, 3, device, &req);
	check(file_write(limit, "262144"));
}

struct unreadable {
	int device;
	char *end;
	struct dmabufx_segment good;
};

static void call_unreadable(void *arg)
{
	struct unreadable *u = arg;
	struct dmabufx_segment *list = (void *)(u->end - 2 * sizeof(*list));
	struct dmabufx_create req = request(list, 3, 0), *cut;

	list[0] = u->good;
	list[1] = u->good;
	refused(EFAULT, DMABUFX_REASON_NONE, 3, u->device, &req);
	req.segments = 0;
	refused(EFAULT, DMABUFX_REASON_NONE, 3, u->device, &req);
	req.segments = -PAGE;
	refused(EFAULT, DMABUFX_REASON_NONE, 3, u->device, &req);

	/* The struct is not readable. */
	must_fail(EFAULT, ioctl(u->device, DMABUFX_IOC_CREATE, NULL));
	must_fail(EFAULT, ioctl(u->device, DMABUFX_IOC_CREATE, u->end));
	must_fail(EFAULT, ioctl(u->device, DMABUFX_IOC_CREATE, -PAGE));
	cut = (void *)(u->end - sizeof(*cut) + 8);
	memcpy(cut, &req, sizeof(*cut) - 8);
	must_fail(EFAULT, ioctl(u->device, DMABUFX_IOC_CREATE, cut));
	/* The later part of the struct is not readable. */
	cut = (void *)(u->end - sizeof(*cut));
	*cut = request(&u->good, 1, 0);
	cut->size += 8;
	must_fail(EFAULT, ioctl(u->device, DMABUFX_IOC_CREATE, cut));
}

PROMISE(create_refuses_what_it_cannot_read,
	"structs and lists that are not all in the caller's memory are EFAULT")
{
	struct memory mem = memory_make(SHMEM_4K, PAGE);
	struct unreadable u = {
		device_open(), page_before_a_hole() + PAGE,
		segment(&mem, 0, PAGE),
	};

	leaves_nothing(call_unreadable, &u, ROUNDS);
}

struct unwritable {
	int device;
	struct dmabufx_create *fixed;
};

static void call_unwritable(void *arg)
{
	struct unwritable *u = arg;

	must_fail(EFAULT, ioctl(u->device, DMABUFX_IOC_CREATE, u->fixed));
	/* The call fails with the right errno even if it cannot write the reason. */
	must_fail(EINVAL, ioctl(u->device, DMABUFX_IOC_CREATE, u->fixed + 1));
}

static int lowest_free_fd(void)
{
	int fd = must(dup(0));

	must(close(fd));
	return fd;
}

PROMISE(create_needs_a_struct_it_can_write,
	"a struct that cannot be written is EFAULT, and no buffer stays behind")
{
	struct memory mem = memory_make(SHMEM_4K, PAGE);
	struct dmabufx_segment seg = segment(&mem, 0, PAGE);
	struct dmabufx_create *fixed = must(mmap(NULL, PAGE,
						 PROT_READ | PROT_WRITE,
						 MAP_PRIVATE | MAP_ANONYMOUS,
						 -1, 0));
	struct unwritable u = { device_open(), fixed };
	int next;

	fixed[0] = request(&seg, 1, 0);
	fixed[1] = request(&seg, 0, 0);
	must(mprotect(fixed, PAGE, PROT_READ));
	next = lowest_free_fd();
	leaves_nothing(call_unwritable, &u, ROUNDS);
	/* No descriptor is left open. */
	check_eq(lowest_free_fd(), next);
	must(munmap(mem.map, mem.size));
	/* Nothing is pinned. */
	must(fcntl(mem.fd, F_ADD_SEALS, F_SEAL_WRITE));
}

static void call_without_fds(void *arg)
{
	struct dmabufx_segment *segments = arg;
	struct dmabufx_create req = request(segments, 2, 0);
	int device = device_open();
	struct rlimit before, none;

	/* All descriptors up to the device's are open. */
	must(getrlimit(RLIMIT_NOFILE, &before));
	none = before;
	none.rlim_cur = device + 1;
	must(setrlimit(RLIMIT_NOFILE, &none));
	check_eq(try_request(device, &req), -1);
	check_eq(errno, EMFILE);
	must(setrlimit(RLIMIT_NOFILE, &before));
	close(device);
	check_eq(req.data_offset, 0x0123456789abcdef);
}

PROMISE(create_without_a_free_fd_is_emfile,
	"without a free fd the call is EMFILE, and everything is freed exactly once")
{
	struct memory mem = memory_make(SHMEM_4K, KIB(64));
	struct memory own = memory_make(ANON_4K, KIB(64));
	struct dmabufx_segment segments[] = {
		segment(&own, 0, own.size), segment(&mem, 0, mem.size),
	};

	leaves_nothing(call_without_fds, segments, ROUNDS);
	memory_unmap(&mem);
	must(fcntl(mem.fd, F_ADD_SEALS, F_SEAL_WRITE));
}

PROMISE(create_skips_empty_segments,
	"empty segments are skipped anywhere, whatever their other fields are")
{
	struct memory mem = memory_make_patterned(SHMEM_4K, KIB(64));
	struct memory own = memory_make_patterned(ANON_4K, KIB(64));
	struct dmabufx_segment unaligned = user_segment((void *)~0ul, 0);
	struct dmabufx_segment segments[] = {
		unaligned,
		of_fd(-1, 0),
		segment(&own, 40, PAGE - 40),
		of_fd(0, 0),
		segment(&mem, PAGE, 2 * PAGE),
		segment(&own, 7, 0),
		segment(&own, KIB(32), 800),
		unaligned,
	};
	struct dmabufx_create req = request(segments, ARRAY_SIZE(segments), 0);
	int fd = must(try_request(device_open(), &req));

	check_eq(req.data_offset, 40);
	check_eq(lseek(fd, 0, SEEK_END), 4 * PAGE);
	shows_at(fd, 40, &own, 40, PAGE - 40);
	shows_at(fd, PAGE, &mem, PAGE, 2 * PAGE);
	shows_at(fd, 3 * PAGE, &own, KIB(32), 800);
}

static void starts_and_ends_in_pages(const struct memory *mem)
{
	struct dmabufx_segment both = segment(mem, PAGE + 8, 16);
	struct dmabufx_segment across = segment(mem, PAGE - 8, 16);
	struct dmabufx_segment long_one = segment(mem, 72, 12 * PAGE + 8);
	struct dmabufx_segment pair[] = {
		segment(mem, PAGE - 8, 8), segment(mem, 8 * PAGE, 8),
	};
	int device = device_open(), fd;
	struct dmabufx_create req;

	req = request(&both, 1, 0);
	fd = must(try_request(device, &req));
	check_eq(req.data_offset, 8);
	check_eq(lseek(fd, 0, SEEK_END), PAGE);
	/* The buffer has the rest of the page, too. */
	shows_at(fd, 0, mem, PAGE, PAGE);

	req = request(&across, 1, 0);
	fd = must(try_request(device, &req));
	check_eq(req.data_offset, PAGE - 8);
	check_eq(lseek(fd, 0, SEEK_END), 2 * PAGE);
	shows_at(fd, 0, mem, 0, 2 * PAGE);

	req = request(&long_one, 1, 0);
	fd = must(try_request(device, &req));
	check_eq(req.data_offset, 72);
	check_eq(lseek(fd, 0, SEEK_END), 13 * PAGE);
	shows_at(fd, 72, mem, 72, 12 * PAGE + 8);

	req = request(pair, 2, 0);
	fd = must(try_request(device, &req));
	check_eq(req.data_offset, PAGE - 8);
	check_eq(lseek(fd, 0, SEEK_END), 2 * PAGE);
	shows_at(fd, 0, mem, 0, PAGE);
	shows_at(fd, PAGE, mem, 8 * PAGE, PAGE);
}

PROMISE(create_rounds_the_ends_to_pages,
	"the first segment may start inside a page, and the last end inside one: see data_offset")
{
	struct memory file = memory_make_patterned(SHMEM_4K, 16 * PAGE);
	struct memory large = memory_make_patterned(SHMEM_2M, MIB(2));
	struct memory own = memory_make_patterned(ANON_4K, 16 * PAGE);

	starts_and_ends_in_pages(&file);
	starts_and_ends_in_pages(&large);
	starts_and_ends_in_pages(&own);
}

/* Returns the error of mapping this segment for a device that reads and writes it. */
static int error_of_writer(const struct dmabufx_segment *seg)
{
	struct dmabufx_importer_map map = { .dir = DMABUFX_IMPORTER_BIDIRECTIONAL };
	int fd = create_of(seg, 1), importer = importer_open(), error;

	importer_attach(importer, fd);
	error = try_importer_map(importer, &map) ? errno : 0;
	map.dir = DMABUFX_IMPORTER_FROM_DEVICE;
	if (error)
		check_eq(try_importer_map(importer, &map) ? errno : 0, error);
	else
		importer_do(importer, DMABUFX_IMPORTER_UNMAP, 0);
	/* A device that only reads can have it in any case. */
	importer_map(importer, DMABUFX_IMPORTER_TO_DEVICE);
	must(close(importer));
	must(close(fd));
	return error;
}

PROMISE(create_ends_in_pages_reach_devices,
	"memory that ends inside a page is for devices that read, or see the CPU's writes at once")
{
	struct memory own = memory_make_patterned(ANON_4K, 16 * PAGE);
	struct dmabufx_segment seg = segment(&own, 64, 16 * PAGE - 128);
	int fd = create_of(&seg, 1), importer = importer_open();
	/* To Linux, the test importers of arm64 have caches that are not coherent. */
#ifdef __x86_64__
	const int error = 0;
#else
	const int error = EOPNOTSUPP;
#endif
	char data[PAGE];

	importer_attach(importer, fd);
	importer_map(importer, DMABUFX_IMPORTER_TO_DEVICE);
	importer_read(importer, DMABUFX_VIA_DEVICE, 64, data, PAGE - 64);
	pattern_check(data, 1, own.id, 64, PAGE - 64, "the device");
	check_eq(error_of_writer(&seg), error);
}

PROMISE(create_ends_in_pages_that_no_bounced_device_writes,
	"memory that ends in a page is for no bounced device that writes: what is beside it stays",
	TAG_BOUNCED)
{
	struct memory own = memory_make_patterned(ANON_4K, 16 * PAGE);
	struct memory file = memory_make_patterned(SHMEM_4K, 16 * PAGE);
	const struct dmabufx_segment shared[] = {
		segment(&own, 64, 16 * PAGE - 64), segment(&own, 0, 16 * PAGE - 64),
		segment(&own, PAGE + 64, 64), segment(&file, 64, 16 * PAGE - 64),
		segment(&file, 0, 16 * PAGE - 64),
	};
	const struct dmabufx_segment all = segment(&own, 0, 16 * PAGE);
	/* There is nothing behind the end of a memfd. */
	const struct dmabufx_segment to_the_end = {
		.fd = memfd_make(SHMEM_4K, 16 * PAGE - 64, F_SEAL_SHRINK), .size = 16 * PAGE - 64,
	};
	const char *in_use = "/sys/kernel/debug/swiotlb/io_tlb_used";
	__s64 bounce_buffers = file_number(in_use, "");
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(shared); i++)
		check_eq(error_of_writer(&shared[i]), EOPNOTSUPP);
	check_eq(file_number(in_use, ""), bounce_buffers);
	pattern_check(own.map, 1, own.id, 0, 16 * PAGE, "the program");
	pattern_check(file.map, 1, file.id, 0, 16 * PAGE, "the program");
	check_eq(error_of_writer(&all), 0);
	check_eq(error_of_writer(&to_the_end), 0);
}

PROMISE(create_takes_all_of_a_memfd_that_ends_in_a_page,
	"a memfd that ends inside a page can be taken to its end, or to the end of the page")
{
	struct memory mem = memory_make(SHMEM_4K, 16 * PAGE);
	struct dmabufx_segment all = segment(&mem, 0, 16 * PAGE + 800);
	struct dmabufx_segment page = segment(&mem, 0, 17 * PAGE);
	struct dmabufx_segment more = segment(&mem, 0, 17 * PAGE + 1);
	struct dmabufx_create req;
	char *zeros = calloc(1, PAGE);
	int device = device_open();

	must(ftruncate(mem.fd, 16 * PAGE + 800));
	pattern_fill(mem.map, 1, mem.id, 0, mem.size);
	req = request(&more, 1, 0);
	refused(ERANGE, DMABUFX_REASON_BEYOND_END, 0, device, &req);
	shows_at(create_of(&all, 1), 0, &mem, 0, mem.size);
	/* The page exists as a whole, so the buffer has all of it in both cases. */
	shows_at(create_of(&page, 1), 0, &mem, 0, mem.size);
	check(zeros);
	check(!memcmp(map_dma_buf(create_of(&page, 1), 0, 17 * PAGE) + 16 * PAGE, zeros, PAGE));
	free(zeros);
}

PROMISE(create_mixes_all_memory,
	"a buffer can mix all kinds of memfds and user memory, in any order, also overlapping")
{
	struct memory single = memory_make(SHMEM_4K, 256 * PAGE);
	struct memory large = memory_make(SHMEM_2M, MIB(4));
	struct memory huge = memory_make(HUGETLB_2M, MIB(4));
	struct memory own = memory_make(ANON_4K, MIB(1));
	struct memory middle = memory_make(ANON_64K, MIB(1));
	struct memory thp = memory_make(ANON_2M, MIB(4));
	struct memory private = memory_make(ANON_HUGETLB_2M, MIB(4));
	struct part parts[] = {
		{ &own, 16 * PAGE, PAGE },
		{ &huge, MIB(2) - PAGE, 2 * PAGE },
		{ &single, 128 * PAGE, 16 * PAGE },
		{ &thp, MIB(2) - KIB(16), KIB(64) },
		{ &private, MIB(1), MIB(2) },
		{ &own, 0, 15 * PAGE },
		{ &large, MIB(2) + PAGE, KIB(64) },
		{ &own, 0, PAGE },
		{ &own, 0, PAGE },
		{ &middle, 15 * PAGE, 18 * PAGE },
		{ &single, 0, PAGE },
		{ &thp, 0, MIB(4) },
		{ &thp, MIB(1), MIB(1) },
		{ &private, MIB(4) - PAGE, PAGE },
		{ &middle, KIB(32), KIB(256) },
		{ &large, 0, PAGE },
		{ &own, KIB(32), KIB(128) },
		{ &single, 127 * PAGE, 2 * PAGE },
	};
	struct buffer buf = buffer_make_from(parts, ARRAY_SIZE(parts));

	buffer_carries(&buf, all_ways);
}

PROMISE(create_mixes_many_pages,
	"4000 pages, of a memfd and of user memory by turns, stay in their order")
{
	static struct part parts[4000];
	unsigned int n = repeats(ARRAY_SIZE(parts)), i;
	struct memory file = memory_make(SHMEM_4K, n / 2 * PAGE);
	struct memory own = memory_make(ANON_4K, n / 2 * PAGE);
	struct buffer buf;

	for (i = 0; i < n; i++)
		parts[i] = (struct part){ i % 2 ? &own : &file,
					  i * 7 / 2 % (n / 2) * PAGE, PAGE };
	buf = buffer_make_from(parts, n);
	buffer_write(&buf, &way_memfd, 1);
	buffer_verify(&buf, &way_mmap, 1);
	buffer_verify(&buf, &way_sg, 1);
	buffer_write(&buf, &way_device, 2);
	buffer_verify(&buf, &way_memfd, 2);
	buffer_verify(&buf, &way_vmap, 2);
}

PROMISE(create_without_huge_pages_is_enomem,
	"a hole that the pool of huge pages cannot fill is ENOMEM, with its reason")
{
	const char *pool = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
	struct memory own = memory_make(ANON_4K, PAGE);
	long size = MIB(2) * (1 + file_number(pool, ""));
	struct memory huge = { .fd = memfd_make(HUGETLB_2M, size, F_SEAL_SHRINK) };
	struct dmabufx_segment segments[] = {
		segment(&own, 0, PAGE), segment(&huge, 0, size),
	};
	struct dmabufx_create req = request(segments, 2, 0);

	refused(ENOMEM, DMABUFX_REASON_NO_MEMORY, 1, device_open(), &req);
}

PROMISE(create_limits_how_often_a_page_is_pinned,
	"a page listed a million times is EMLINK, or ENOMEM of a udmabuf call")
{
	struct dmabufx_segment *segments = calloc(LIST_LIMIT, sizeof(*segments));
	struct dmabufx_create req = request(segments, LIST_LIMIT, 0), more;
	struct memory mem = memory_make(SHMEM_4K, PAGE);
	struct dmabufx_segment ways[2] = { segment(&mem, 0, PAGE), user_segment(mem.map, PAGE) };
	struct udmabuf_create_item again = list_item(&mem, 0, PAGE);
	int device = device_open(), nr = 0, fds[8];
	unsigned int i;

	if (kernel_looks_closely())
		skip("this kernel takes minutes to pin a page that often");
	check(segments);
	for (i = 0; i < LIST_LIMIT; i++)
		segments[i] = ways[0];
	while ((fds[nr] = try_request(device, &req)) >= 0)
		check_le(++nr, ARRAY_SIZE(fds) - 1);
	check_eq(errno, EMLINK);
	check_eq(req.reason, DMABUFX_REASON_PINNED_OFTEN);
	check(req.failed_segment < LIST_LIMIT);
	/* As often as it can be, and then not once more, in any way. */
	req = request(segments, req.failed_segment, 0);
	fds[nr++] = must(try_request(device, &req));
	for (i = 0; i < ARRAY_SIZE(ways); i++) {
		more = request(&ways[i], 1, 0);
		refused(EMLINK, DMABUFX_REASON_PINNED_OFTEN, 0, device, &more);
	}
	/* Segments of memfds are items of the old call, which has no such error. */
	must_fail(ENOMEM, try_create_list(device, &again, 1, 0));
	while (nr--)
		must(close(fds[nr]));
	/* And then it can be pinned again. */
	for (i = 0; i < ARRAY_SIZE(ways); i++)
		must(close(create_of(&ways[i], 1)));
	free(segments);
}

PROMISE(create_refuses_unknown_ioctls,
	"unknown ioctl numbers, and known ones with another size, are ENOTTY")
{
	struct memory mem = memory_make(SHMEM_4K, PAGE);
	struct dmabufx_segment seg = segment(&mem, 0, PAGE);
	struct dmabufx_create req = request(&seg, 1, 0);
	int device = device_open(), nr;

	for (nr = 0; nr < 256; nr++)
		if (nr < 0x60 || nr > 0x62)
			must_fail(ENOTTY, ioctl(device, _IO('u', nr), &req));
	must_fail(ENOTTY, ioctl(device, _IOWR('u', 0x60, req), &req));
	must_fail(ENOTTY, ioctl(device, _IOW('u', 0x60, req), &req));
}
