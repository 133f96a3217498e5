// SPDX-License-Identifier: MIT
/*
 * The library in programs that are not simple: with other threads, with limits and filters
 * on system calls, with 32 bits, or built for another version of it.
 */
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "library_help.h"
#include "memory.h"
#include "watch.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE	23
#endif

static void *really_mmap(void *addr, size_t length, int prot, int flags, int fd,
			 off_t offset)
{
#ifdef SYS_mmap2
	return (void *)syscall(SYS_mmap2, addr, length, prot, flags, fd,
			       (unsigned long)(offset >> 12));
#else
	return (void *)syscall(SYS_mmap, addr, length, prot, flags, fd, offset);
#endif
}

/*
 * Acts as another thread that maps a page where the library wants to map @fd, as soon as
 * the place is free: before or after the library's call. The library must not replace the
 * page.
 */
static struct {
	int fd;
	unsigned int *pages[4];
	unsigned int nr;
	long long balance;	/* bytes mapped, less bytes unmapped */
	long long most;		/* maximum of balance */
} other = { .fd = -1 };

static void other_maps_at(void *place)
{
	void *page;

	if (!place || other.nr == ARRAY_SIZE(other.pages))
		return;
	page = really_mmap(place, PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (page == MAP_FAILED)
		return;
	other.pages[other.nr] = page;
	*other.pages[other.nr++] = 0x5eed;
}

/* A free address for @length bytes that is not aligned to a huge page. */
static void *odd_place(size_t length)
{
	char *area = really_mmap(NULL, length + MIB(4), PROT_NONE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	must(syscall(SYS_munmap, area, length + MIB(4)));
	return area + (MIB(2) - (uintptr_t)area % MIB(2)) + PAGE;
}

/*
 * These replace mmap() and munmap() in the library, too. If it maps @fd without an address,
 * the mapping goes to an address that is not aligned.
 */
void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	bool watched = other.fd >= 0 && fd == other.fd;
	void *map;
	int error;

	if (watched)
		other_maps_at(addr);
	if (watched && !addr)
		addr = odd_place(length);
	map = really_mmap(addr, length, prot, flags, fd, offset);
	error = errno;
	if (watched && map == MAP_FAILED)
		other_maps_at(addr);
	errno = error;
	/* MAP_FIXED replaces what is mapped there. */
	if (map != MAP_FAILED && !(flags & MAP_FIXED))
		other.balance += length;
	if (other.most < other.balance)
		other.most = other.balance;
	return map;
}

int munmap(void *addr, size_t length)
{
	int ret = syscall(SYS_munmap, addr, length);

	if (!ret)
		other.balance -= length;
	return ret;
}

/* Verifies that the other thread's pages are still mapped. */
static void other_lost_nothing(void)
{
	unsigned int i;

	for (i = 0; i < other.nr; i++)
		if (*other.pages[i] != 0x5eed)
			fail("another thread's page at %p was replaced", other.pages[i]);
}

/* A dma-buf of @size, which repeats a little memory. */
static int large_dmabuf(uint64_t size)
{
	int memfd = good(dmabufx_memfd("piece", MIB(64), 0)), dmabuf;
	uint32_t i, nr = (size + MIB(64) - 1) / MIB(64);
	struct dmabufx_segment *segments = calloc(nr, sizeof(*segments));

	for (i = 0; i < nr; i++)
		segments[i] = (struct dmabufx_segment) { .fd = memfd, .size = MIB(64) };
	segments[nr - 1].size = size - (nr - 1) * MIB(64);
	dmabuf = good(dmabufx_create(device(), segments, nr, NULL));
	free(segments);
	must(close(memfd));
	return dmabuf;
}

PROMISE(library_map_replaces_nothing,
	"dmabufx_map() replaces nothing that another thread maps meanwhile")
{
	int memfd = filled_memfd(1, 2 * pmd_size());
	int dmabuf = good(dmabufx_create_memfd(device(), memfd, 0, 0, NULL));
	void *map;

	other.fd = dmabuf;
	bad(EINVAL, dmabufx_map(dmabuf, 0, 4 * pmd_size(), PROT_READ, &map));
	good(dmabufx_map(dmabuf, 0, 2 * pmd_size(), PROT_READ, &map));
	other.fd = -1;
	check_le(1, other.nr);
	other_lost_nothing();
	pattern_check(map, 0, 1, 0, 2 * pmd_size(), "the mapping");
}

PROMISE(library_map_leaves_no_addresses,
	"dmabufx_map() leaves no reserved addresses behind, also if it fails")
{
	int memfd = filled_memfd(1, MIB(4));
	int dmabuf = good(dmabufx_create_memfd(device(), memfd, 0, 0, NULL));
	long long before = other.balance;
	void *map;

	bad(EINVAL, dmabufx_map(dmabuf, 8, MIB(2), PROT_READ, &map));
	bad(EINVAL, dmabufx_map(dmabuf, 8, 0, PROT_READ, &map));
	bad(EINVAL, dmabufx_map(dmabuf, 1ULL << 63, MIB(2), PROT_READ, &map));
	bad(EINVAL, dmabufx_map(dmabuf, 0, MIB(8), PROT_READ, &map));
	check_eq(other.balance, before);
	good(dmabufx_map(dmabuf, MIB(1), MIB(3), PROT_READ, &map));
	good(dmabufx_unmap(map, MIB(3)));
	check_eq(other.balance, before);
}

/* Otherwise another thread's allocation may fail because of RLIMIT_AS. */
PROMISE(library_map_takes_no_more_addresses,
	"dmabufx_map() never takes more addresses than it is asked for")
{
	int memfd = filled_memfd(1, 2 * pmd_size()), i;
	int dmabuf = good(dmabufx_create_memfd(device(), memfd, 0, 0, NULL));
	void *map;

	for (i = 0; i < 8; i++) {
		other.most = other.balance;
		good(dmabufx_map(dmabuf, 0, 2 * pmd_size(), PROT_READ, &map));
		check_eq(other.most, other.balance);
		/* valgrind chooses addresses in another order. */
		if (!under_valgrind())
			check_eq((uintptr_t)map % pmd_size(), 0);
		/* Leaves unaligned holes for the next round. */
		if (i % 2)
			good(dmabufx_unmap(map, 2 * pmd_size()));
		must(mmap(NULL, (2 * i + 1) * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0));
	}
}

PROMISE(library_map_leaves_positions_alone,
	"dmabufx_map() does not change the file position of a memfd")
{
	int memfd = good(dmabufx_memfd("m", MIB(1), PAGE));
	void *map;

	must(lseek(memfd, 4, SEEK_SET));
	good(dmabufx_map(memfd, 0, 0, PROT_READ, &map));
	check_eq(must(lseek(memfd, 0, SEEK_CUR)), 4);
}

PROMISE(library_unmaps_no_failure, "dmabufx_unmap() of NULL is EINVAL")
{
	bad(EINVAL, dmabufx_unmap(NULL, MIB(8)));
}

PROMISE(library_sizes_have_64_bits,
	"sizes beyond the address space are refused, not truncated")
{
	const uint64_t sizes[] = { GIB(4), GIB(4) + PAGE, GIB(6) };
	unsigned int i;
	int dmabuf;
	void *map;

	bad(EINVAL, dmabufx_memfd("m", PAGE, GIB(4) + PAGE));
	bad(ENODEV, dmabufx_memfd("m", PAGE, GIB(4)));
	if (is_udmabuf(device()))
		return;
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		dmabuf = large_dmabuf(sizes[i]);
		bad(EINVAL, dmabufx_map(dmabuf, 0, sizes[i] + PAGE, PROT_READ, &map));
		bad(EINVAL, dmabufx_map(dmabuf, 0, 1ULL << 60, PROT_READ, &map));
		bad(EINVAL, dmabufx_map(dmabuf, PAGE, UINT64_MAX, PROT_READ, &map));
		if (sizeof(void *) == 4) {
			bad(ENOMEM, dmabufx_map(dmabuf, 0, 0, PROT_READ, &map));
			bad(ENOMEM, dmabufx_map(dmabuf, 0, sizes[i], PROT_READ, &map));
			bad(EINVAL, dmabufx_unmap(&map, sizes[i]));
			/* The end of the buffer can be mapped. */
			good(dmabufx_map(dmabuf, sizes[i] - PAGE, 0, PROT_READ, &map));
			good(dmabufx_unmap(map, PAGE));
		} else {
			good(dmabufx_map(dmabuf, 0, 0, PROT_READ, &map));
			check_eq(((char *)map)[sizes[i] - 1], 0);
			good(dmabufx_unmap(map, sizes[i]));
		}
		must(close(dmabuf));
	}
}

/* No machine that runs this has 2^47 bytes. */
PROMISE(library_memfd_asks_the_machine,
	"dmabufx_memfd() of more than the machine has is ENOMEM, before it takes memory")
{
	int before = open_fds();

	bad(ENOMEM, dmabufx_memfd("m", 1ULL << 47, 0));
	bad(ENOMEM, dmabufx_memfd("m", 1ULL << 47, PAGE));
	check_eq(open_fds(), before);
}

static void memfd_is_filled(uint64_t size, uint64_t page_size)
{
	int memfd = good(dmabufx_memfd("m", size, page_size));
	struct stat stat;

	must(fstat(memfd, &stat));
	check_eq(stat.st_size, size);
	check_eq(stat.st_blocks * 512, size);
	must(close(memfd));
}

/* 8 MiB may be locked: enough for a buffer of 4 MiB and its memfd. */
PROMISE(library_locks_no_more_than_it_maps,
	"mlockall() in a program does not make the library lock more than it maps")
{
	int fd = device(), memfd, dmabuf;
	void *map;

	if (under_valgrind())
		skip("valgrind would lock its own memory");
	limit(RLIMIT_MEMLOCK, MIB(8));
	must(seteuid(NOBODY));
	must(mlockall(MCL_FUTURE));
	memfd = good(dmabufx_memfd("m", MIB(4), 0));
	dmabuf = good(dmabufx_create_memfd(fd, memfd, 0, 0, NULL));
	good(dmabufx_map(dmabuf, 0, 0, PROT_READ | PROT_WRITE, &map));
	good(dmabufx_unmap(map, MIB(4)));
	/* The library populates more memory than may be locked without mapping it. */
	memfd_is_filled(MIB(16), PAGE);
	must(munlockall());
	must(seteuid(0));
}

PROMISE(library_memfd_respects_the_file_limit,
	"dmabufx_memfd() is EFBIG beyond RLIMIT_FSIZE; it does not kill the process")
{
	int before = open_fds();

	if (under_valgrind())
		skip("valgrind has files of its own");
	limit(RLIMIT_FSIZE, MIB(1));
	bad(EFBIG, dmabufx_memfd("m", MIB(2), 0));
	bad(EFBIG, dmabufx_memfd("m", 1, MIB(2)));
	check_eq(open_fds(), before);
	good(dmabufx_memfd("m", MIB(1), 0));
}

/*
 * System call @nr gets @action from now on if its argument @arg is @value. Compares the
 * lower 32 bits, on a little-endian machine.
 */
static void filter_calls(unsigned int nr, unsigned int arg, uint32_t value, uint32_t action)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, args) + arg * sizeof(uint64_t)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { ARRAY_SIZE(code), code };

	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0));
}

PROMISE(library_memfd_does_without_populating,
	"dmabufx_memfd() works without MADV_POPULATE_WRITE")
{
	const int errors[] = { EINVAL, ENOSYS, EPERM, EACCES };
	unsigned int i;
	pid_t child;

	if (under_valgrind())
		skip("valgrind's own calls would be filtered");
	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		child = must(fork());
		if (!child) {
			filter_calls(SYS_madvise, 2, MADV_POPULATE_WRITE,
				     SECCOMP_RET_ERRNO | errors[i]);
			memfd_is_filled(MIB(5), PAGE);
			memfd_is_filled(MIB(5), 0);
			memfd_is_filled(MIB(6), MIB(2));
			bad(ENOMEM, dmabufx_memfd("m", GIB(1), MIB(2)));
			_exit(0);
		}
		join_child(child);
	}
}

static void everything_but_opening(int fd)
{
	int memfd = good(dmabufx_memfd("m", MIB(4), 0)), dmabuf;
	const struct dmabufx_segment segments[] = {
		{ .fd = memfd, .size = PAGE },
		{ .fd = memfd, .size = PAGE },
	};
	void *map;

	dmabuf = good(dmabufx_create_memfd(fd, memfd, 0, 0, NULL));
	good(dmabufx_map(dmabuf, 0, 0, PROT_READ | PROT_WRITE, &map));
	good(dmabufx_begin_cpu_access(dmabuf, DMABUFX_WRITE));
	good(dmabufx_end_cpu_access(dmabuf, DMABUFX_WRITE));
	good(dmabufx_unmap(map, MIB(4)));
	good(dmabufx_create(fd, segments, 2, NULL));
}

PROMISE(library_opens_no_file,
	"the library opens no files but the device, so a filter may forbid it")
{
	int fd = device();
	pid_t child;

	if (under_valgrind())
		skip("valgrind's own calls would be filtered");
	child = must(fork());
	if (!child) {
		filter_calls(SYS_openat, 0, AT_FDCWD, SECCOMP_RET_KILL_PROCESS);
		everything_but_opening(fd);
		_exit(0);
	}
	join_child(child);
}

static struct {
	int device, memfd;
	unsigned int came_to;
} cancelled;

/* Makes all calls that get descriptors or addresses; some of them fail. */
static void *is_cancelled(void *arg)
{
	struct dmabufx_segment none = { .fd = CLOSED, .size = PAGE };
	int dmabuf;
	void *map;

	(void)arg;
	pthread_cancel(pthread_self());
	dmabuf = dmabufx_create_memfd(cancelled.device, cancelled.memfd, 0, 0, NULL);
	cancelled.came_to = 1;
	dmabufx_map(dmabuf, 0, 0, PROT_READ, &map);
	cancelled.came_to = 2;
	syscall(SYS_close, dmabufx_memfd("m", MIB(2), 0));
	dmabufx_memfd("m", GIB(1), MIB(2));
	cancelled.came_to = 3;
	dmabufx_create(cancelled.device, &none, 1, NULL);
	cancelled.came_to = 4;
	syscall(SYS_close, dmabufx_open());
	dmabufx_query(cancelled.device, &(struct dmabufx_query) { .size = 0 });
	dmabufx_begin_cpu_access(dmabuf, DMABUFX_READ);
	dmabufx_end_cpu_access(dmabuf, DMABUFX_READ);
	cancelled.came_to = 5;
	dmabufx_unmap(map, MIB(1));
	syscall(SYS_close, dmabuf);
	pthread_testcancel();
	cancelled.came_to = 6;
	return NULL;
}

static void comes_to_the_end(void)
{
	int before = open_fds();
	pthread_t thread;
	void *ret;

	must(pthread_create(&thread, NULL, is_cancelled, NULL) ? -1 : 0);
	pthread_join(thread, &ret);
	check_eq(cancelled.came_to, 5);
	check(ret == PTHREAD_CANCELED);
	check_eq(open_fds(), before);
}

PROMISE(library_is_not_cancelled,
	"pthread_cancel() does not end a function midway, so nothing leaks")
{
	pid_t child;

	cancelled.device = device();
	cancelled.memfd = filled_memfd(1, MIB(1));
	comes_to_the_end();
	if (under_valgrind())
		return;
	/* The same if the kernel cannot populate. */
	child = must(fork());
	if (!child) {
		filter_calls(SYS_madvise, 2, MADV_POPULATE_WRITE, SECCOMP_RET_ERRNO | EINVAL);
		comes_to_the_end();
		_exit(0);
	}
	join_child(child);
}

/* Filters that know only udmabuf refuse the calls of dmabufx with these errors. */
PROMISE(library_does_with_calls_of_udmabuf,
	"the library works if a filter forbids the calls of dmabufx")
{
	int fd = device(), memfd = filled_memfd(1, MIB(1)), dmabuf;
	struct dmabufx_query query;
	pid_t child;

	if (under_valgrind())
		skip("valgrind's own calls would be filtered");
	child = must(fork());
	if (!child) {
		filter_calls(SYS_ioctl, 1, DMABUFX_IOC_CREATE, SECCOMP_RET_ERRNO | EPERM);
		filter_calls(SYS_ioctl, 1, DMABUFX_IOC_QUERY, SECCOMP_RET_ERRNO | ENOSYS);
		dmabuf = good(dmabufx_create_memfd(fd, memfd, PAGE, 0, NULL));
		shows(dmabuf, 0, 1, PAGE, MIB(1) - PAGE);
		good(dmabufx_query(fd, &query));
		check_eq(query.version, 0);
		check_eq(query.features, DMABUFX_FEATURE_MEMFD);
		_exit(0);
	}
	join_child(child);
}

/* Sets the modes of both nodes in a private /dev. */
static void nodes(mode_t dmabufx, mode_t udmabuf)
{
	must(chmod("/dev/dmabufx", dmabufx));
	must(chmod("/dev/udmabuf", udmabuf));
}

PROMISE(library_opens_what_it_may,
	"dmabufx_open() opens udmabuf if it may not open dmabufx")
{
	struct stat ours, theirs;
	int fd;

	if (stat("/dev/dmabufx", &ours) || stat("/dev/udmabuf", &theirs))
		skip("one of the two is not there");
	must(unshare(CLONE_NEWNS));
	must(mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL));
	must(mount("tmpfs", "/dev", "tmpfs", 0, NULL));
	must(mknod("/dev/dmabufx", S_IFCHR | 0600, ours.st_rdev));
	must(mknod("/dev/udmabuf", S_IFCHR | 0600, theirs.st_rdev));

	nodes(0600, 0666);
	must(seteuid(NOBODY));
	fd = good(dmabufx_open());
	check_eq(is_udmabuf(fd), true);
	must(seteuid(0));
	nodes(0666, 0600);
	must(seteuid(NOBODY));
	check_eq(is_udmabuf(good(dmabufx_open())), false);
	must(seteuid(0));
	nodes(0600, 0600);
	must(seteuid(NOBODY));
	bad(EACCES, dmabufx_open());
	/* The error is that of the node that exists. */
	must(seteuid(0));
	must(unlink("/dev/udmabuf"));
	must(seteuid(NOBODY));
	bad(EACCES, dmabufx_open());
}

PROMISE(library_images_fit_into_64_bits, "sizes of images fit into 64 bits, or are refused")
{
	struct dmabufx_image image, none = { .size = 0 };
	const uint32_t yu24 = 'Y' | 'U' << 8 | '2' << 16 | (uint32_t)'4' << 24;
	const uint32_t xr4h = 'X' | 'R' << 8 | '4' << 16 | (uint32_t)'H' << 24;

	memset(&image, 0xff, sizeof(image));
	bad(EOVERFLOW, dmabufx_image_layout(&image, yu24, 2669533952U, 2303366356U));
	check(!memcmp(&image, &none, sizeof(image)));
	bad(EOVERFLOW, dmabufx_image_layout(&image, yu24, UINT32_MAX - 255, UINT32_MAX));
	bad(EOVERFLOW, dmabufx_image_layout(&image, xr4h, UINT32_MAX, UINT32_MAX));
	good(dmabufx_image_layout(&image, yu24, UINT32_MAX - 511, 1U << 30));
	check_eq(image.size, 3 * (uint64_t)(UINT32_MAX - 511 + 1) / 256 * 256 * (1U << 30));
}

PROMISE(library_request_is_told_of_success,
	"a success clears the error of an earlier failure from the request")
{
	struct dmabufx_request request = { .flags = DMABUFX_CREATE_CLOEXEC };
	int fd = device(), memfd = filled_memfd(1, PAGE);

	bad(EBADF, dmabufx_create_memfd(fd, CLOSED, 0, PAGE, &request));
	check_eq(request.reason, DMABUFX_REASON_NOT_OPEN);
	good(dmabufx_create_memfd(fd, memfd, 0, 0, &request));
	check_eq(request.error, 0);
	check_eq(request.reason, DMABUFX_REASON_NONE);
	check_eq(request.failed_segment, 1);
}

/* Structs with bytes behind them that the library must not change. */
struct guarded_query { struct dmabufx_query s; unsigned char guard[64]; };
struct guarded_info { struct dmabufx_info s; unsigned char guard[64]; };
struct guarded_image { struct dmabufx_image s; unsigned char guard[64]; };
struct guarded_request { struct dmabufx_request s; unsigned char guard[64]; };
struct guarded_segment { struct dmabufx_segment s; unsigned char guard[64]; };

#define guard(guarded) memset((guarded).guard, 0x5a, sizeof((guarded).guard))

static void guard_is_intact(const unsigned char *guard)
{
	unsigned int i;

	for (i = 0; i < 64; i++)
		check_eq(guard[i], 0x5a);
}

PROMISE(library_writes_what_the_program_knows,
	"the library writes nothing behind the program's structs")
{
	int fd = device(), memfd = filled_memfd(1, PAGE), dmabuf;
	struct guarded_query query;
	struct guarded_info info;
	struct guarded_image image;
	struct guarded_request request = { .s = { .flags = 0 } };

	guard(query);
	guard(info);
	guard(image);
	guard(request);
	good(dmabufx_query(fd, &query.s));
	check_eq(query.s.size, sizeof(query.s));
	guard_is_intact(query.guard);
	dmabuf = good(dmabufx_create_memfd(fd, memfd, 0, 0, &request.s));
	guard_is_intact(request.guard);
	bad(EBADF, dmabufx_create_memfd(fd, CLOSED, 0, 0, &request.s));
	guard_is_intact(request.guard);
	dmabufx_info(fd, dmabuf, &info.s);
	check_eq(info.s.size, sizeof(info.s));
	guard_is_intact(info.guard);
	good(dmabufx_image_layout(&image.s, 'R' | '8' << 8 | ' ' << 16 | ' ' << 24, 1, 1));
	guard_is_intact(image.guard);
}

/* The program is of a later version: its structs are 64 bytes longer. */
PROMISE(library_serves_newer_programs,
	"larger structs of newer programs work if they need nothing unknown")
{
	int fd = device(), memfd = filled_memfd(1, PAGE);
	struct guarded_query query;
	struct guarded_image image;
	struct guarded_request request = { .s = { .flags = 0 } };
	struct guarded_segment segments[2] = {
		{ .s = { .fd = memfd, .size = PAGE } },
		{ .s = { .fd = memfd, .size = PAGE } },
	};

	guard(query);
	guard(image);
	good(dmabufx_query_sized(fd, &query.s, sizeof(query)));
	check_eq(query.guard[0] | query.guard[63], 0);
	good(dmabufx_image_layout_sized(&image.s, sizeof(image),
					'R' | '8' << 8 | ' ' << 16 | ' ' << 24, 1, 1));
	check_eq(image.guard[0] | image.guard[63], 0);
	good(dmabufx_create_sized(fd, &segments[0].s, sizeof(segments[0]), 2, &request.s,
				  sizeof(request)));

	segments[1].guard[63] = 1;
	bad(E2BIG, dmabufx_create_sized(fd, &segments[0].s, sizeof(segments[0]), 2,
					&request.s, sizeof(request)));
	told(&request.s, E2BIG, 2, "the driver does not know segments of this size");
	request.guard[63] = 1;
	bad(E2BIG, dmabufx_create_memfd_sized(fd, memfd, 0, 0, &request.s, sizeof(request)));
	check_eq(request.s.error, -E2BIG);
}

PROMISE(library_knows_its_first_version,
	"structs smaller than in the first version are EINVAL, and not written")
{
	struct { uint64_t words[2]; } small = { { ~0ULL, ~0ULL } };
	int fd = device(), memfd = filled_memfd(1, PAGE);
	char text[8];

	bad(EINVAL, dmabufx_query_sized(fd, (void *)&small, sizeof(small)));
	bad(EINVAL, dmabufx_info_sized(fd, memfd, (void *)&small, sizeof(small)));
	bad(EINVAL, dmabufx_image_layout_sized((void *)&small, sizeof(small), 0, 1, 1));
	bad(EINVAL, dmabufx_create_memfd_sized(fd, memfd, 0, 0, (void *)&small,
					       sizeof(small)));
	bad(EINVAL, dmabufx_create_iovec_sized(fd, NULL, 0, (void *)&small, sizeof(small)));
	bad(EINVAL, dmabufx_create_sized(fd, (void *)&small, sizeof(small), 1, NULL, 0));
	bad(EINVAL, dmabufx_explain_sized((void *)&small, sizeof(small), text, sizeof(text)));
	check(small.words[0] == ~0ULL && small.words[1] == ~0ULL);
}
