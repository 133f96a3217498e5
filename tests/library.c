// SPDX-License-Identifier: MIT
/*
 * libdmabufx does what its manual pages promise, each error included, on dmabufx and on
 * udmabuf. This is a program of its own, to run under valgrind and to be compiled with
 * sanitizers.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <unistd.h>

#include <dmabufx.h>

#include "harness.h"
#include "library_help.h"
#include "memory.h"
#include "vgem.h"
#include "watch.h"

PROMISE(library_opens_dmabufx, "dmabufx_open() opens dmabufx if it is there")
{
	struct dmabufx_query query;
	int fd = good(dmabufx_open());

	good(dmabufx_query(fd, &query));
	check_eq(!query.version, access("/dev/dmabufx", F_OK) != 0);
	check_eq(must(fcntl(fd, F_GETFD)), FD_CLOEXEC);
}

PROMISE(library_falls_back_to_udmabuf,
	"without dmabufx, dmabufx_open() opens udmabuf, and says so")
{
	struct dmabufx_query query;
	struct stat node;
	int fd;

	if (stat("/dev/udmabuf", &node))
		skip("there is no /dev/udmabuf");
	must(unshare(CLONE_NEWNS));
	must(mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL));
	must(mount("tmpfs", "/dev", "tmpfs", 0, NULL));
	bad(ENOENT, dmabufx_open());

	must(mknod("/dev/udmabuf", S_IFCHR | 0600, node.st_rdev));
	fd = good(dmabufx_open());
	good(dmabufx_query(fd, &query));
	check_eq(query.version, 0);
	check_eq(query.features, DMABUFX_FEATURE_MEMFD);

	/* No driver answers on this node. */
	must(mknod("/dev/dmabufx", S_IFCHR | 0600, makedev(10, 254)));
	check_eq(is_udmabuf(good(dmabufx_open())), true);

	must(seteuid(NOBODY));
	bad(EACCES, dmabufx_open());
}

PROMISE(library_query_is_truthful,
	"dmabufx_query() tells the features and limits of the driver")
{
	struct dmabufx_query query;
	int fd = device();

	good(dmabufx_query(fd, &query));
	if (query.version) {
		check_eq(query.features, DMABUFX_FEATURE_MEMFD |
			 DMABUFX_FEATURE_USER | DMABUFX_FEATURE_READ_ONLY);
		check_eq(query.max_size, 0xffffffffULL * PAGE);
	} else {
		check_eq(query.features, DMABUFX_FEATURE_MEMFD);
		check_eq(query.max_size,
			 MIB(file_number("/sys/module/udmabuf/parameters/size_limit_mb", "")));
		check_eq(query.max_segments,
			 file_number("/sys/module/udmabuf/parameters/list_limit", ""));
		check_eq(query.memfd_limit, UINT64_MAX);
	}
	bad(EBADF, dmabufx_query(-1, &query));
	bad(ENOTTY, dmabufx_query(must(open("/dev/null", O_RDWR)), &query));
}

PROMISE(library_info_tells_of_a_buffer,
	"dmabufx_info() tells about a buffer, or fails if the driver cannot")
{
	int fd = device(), memfd = filled_memfd(1, MIB(1));
	int dmabuf = good(dmabufx_create_memfd(fd, memfd, 0, 0, NULL));
	struct dmabufx_info info;

	if (is_udmabuf(fd)) {
		bad(EOPNOTSUPP, dmabufx_info(fd, dmabuf, &info));
		return;
	}
	good(dmabufx_info(fd, dmabuf, &info));
	check_eq(info.bytes, MIB(1));
	check_eq(info.memfd_bytes, MIB(1));
	check_eq(info.flags, DMABUFX_INFO_MEMFD);
	bad(EINVAL, dmabufx_info(fd, memfd, &info));
	bad(EBADF, dmabufx_info(fd, -1, &info));
	bad(EBADF, dmabufx_info(-1, dmabuf, &info));
	bad(EOPNOTSUPP, dmabufx_info(must(open("/dev/null", O_RDWR)), dmabuf, &info));
}

static void is_sealed_memory(int memfd, size_t size)
{
	struct stat stat;

	must(fstat(memfd, &stat));
	check_eq(stat.st_size, size);
	check_eq(stat.st_blocks * 512, size);
	check(must(fcntl(memfd, F_GET_SEALS)) & F_SEAL_SHRINK);
	check_eq(must(fcntl(memfd, F_GETFD)), FD_CLOEXEC);
}

PROMISE(library_memfd_is_sealed_and_there,
	"dmabufx_memfd() makes a sealed, populated memfd of whole pages")
{
	int ordinary = good(dmabufx_memfd("a", PAGE + 1, PAGE));
	int huge = good(dmabufx_memfd("b", 1, MIB(2)));
	int any = good(dmabufx_memfd("c", PAGE + 1, 0));
	struct stat stat;

	is_sealed_memory(ordinary, 2 * PAGE);
	is_sealed_memory(any, 2 * PAGE);
	is_sealed_memory(huge, MIB(2));
	must(fstat(huge, &stat));
	check_eq(stat.st_blksize, MIB(2));
	fill(ordinary, 1, PAGE);
	must(fcntl(ordinary, F_ADD_SEALS, F_SEAL_WRITE));
}

PROMISE(library_memfd_takes_huge_pages,
	"dmabufx_memfd() uses huge pages where shared memory may have them")
{
	const char *enabled = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
	int fd = device(), memfd, ordinary;
	struct dmabufx_info info;

	if (is_udmabuf(fd))
		skip("udmabuf does not tell");
	must(file_write(enabled, "advise") ? 0 : -1);
	memfd = dmabufx_memfd("thp", 2 * pmd_size(), 0);
	ordinary = dmabufx_memfd("small", MIB(4), PAGE);
	must(file_write(enabled, "never") ? 0 : -1);

	good(dmabufx_info(fd, good(dmabufx_create_memfd(fd, good(memfd), 0, 0, NULL)),
			  &info));
	check_eq(info.smallest_folio, pmd_size());
	good(dmabufx_info(fd, good(dmabufx_create_memfd(fd, good(ordinary), 0, 0, NULL)),
			  &info));
	check_eq(info.largest_folio, PAGE);
}

PROMISE(library_memfd_errors,
	"each failure of dmabufx_memfd() has its error and leaves nothing behind")
{
	char name[300];
	int before;

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	before = open_fds();
	bad(EINVAL, dmabufx_memfd("m", 0, 0));
	bad(EINVAL, dmabufx_memfd("m", PAGE, PAGE / 2));
	bad(EINVAL, dmabufx_memfd("m", PAGE, 3 * PAGE));
	bad(EINVAL, dmabufx_memfd(name, PAGE, 0));
	bad(EFBIG, dmabufx_memfd("m", UINT64_MAX, 0));
	bad(ENODEV, dmabufx_memfd("m", PAGE, 2 * PAGE));
	bad(ENOMEM, dmabufx_memfd("m", GIB(1), MIB(2)));
	check_eq(open_fds(), before);
}

PROMISE(library_memfd_needs_no_addresses,
	"dmabufx_memfd() populates memory in a process that has no addresses left")
{
	uint64_t kinds[] = { 0, PAGE };
	struct stat stat;
	int i, memfd;

	limit(RLIMIT_AS, file_number("/proc/self/statm", "") * PAGE + MIB(8));
	for (i = 0; i < 2; i++) {
		memfd = good(dmabufx_memfd("m", MIB(64), kinds[i]));
		must(fstat(memfd, &stat));
		check_eq(stat.st_blocks * 512, MIB(64));
	}
}

static void name_is(int dmabuf, const char *name)
{
	char path[64], line[128], wanted[64];
	bool found = false;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", dmabuf);
	snprintf(wanted, sizeof(wanted), "name:\t%s\n", name);
	file = fopen(path, "r");
	if (!file)
		fail("%s: %s", path, errno_name(errno));
	while (fgets(line, sizeof(line), file))
		found |= !strcmp(line, wanted);
	fclose(file);
	check(found);
}

PROMISE(library_creates_from_a_memfd,
	"a buffer can be made of all or a part of a memfd, with a name and flags")
{
	struct dmabufx_request request = { .name = "frame" };
	int fd = device(), memfd = filled_memfd(1, MIB(1)), dmabuf;

	dmabuf = good(dmabufx_create_memfd(fd, memfd, 4 * PAGE, 8 * PAGE, &request));
	check_eq(must(lseek(dmabuf, 0, SEEK_END)), 8 * PAGE);
	check_eq(must(fcntl(dmabuf, F_GETFD)), 0);
	check_eq(request.error, 0);
	check_eq(request.data_offset, 0);
	name_is(dmabuf, "frame");
	shows(dmabuf, 0, 1, 4 * PAGE, 8 * PAGE);

	dmabuf = good(dmabufx_create_memfd(fd, memfd, PAGE, 0, NULL));
	check_eq(must(lseek(dmabuf, 0, SEEK_END)), MIB(1) - PAGE);
	check_eq(must(fcntl(dmabuf, F_GETFD)), FD_CLOEXEC);
	shows(dmabuf, 0, 1, PAGE, MIB(1) - PAGE);

	dmabuf = good(dmabufx_create_memfd(fd, memfd, PAGE + 100, PAGE + 904, &request));
	check_eq(request.data_offset, 100);
	check_eq(must(lseek(dmabuf, 0, SEEK_END)), 2 * PAGE);
	shows(dmabuf, 0, 1, PAGE, 2 * PAGE);
}

PROMISE(library_creates_from_segments,
	"a buffer has its segments in order, without the empty ones")
{
	int fd = device(), a = filled_memfd(1, MIB(1)), b = filled_memfd(2, MIB(1));
	const struct dmabufx_segment segments[] = {
		{ .fd = b, .offset = 9 * PAGE },
		{ .fd = b, .offset = 9 * PAGE + 64, .size = PAGE - 64 },
		{ .fd = a, .offset = 3 * PAGE, .size = 2 * PAGE },
		{ .fd = b, .offset = 9 * PAGE, .size = PAGE + 1 },
	};
	struct dmabufx_request request = {};
	int dmabuf = good(dmabufx_create(fd, segments, 4, &request));

	check_eq(request.data_offset, 64);
	check_eq(must(lseek(dmabuf, 0, SEEK_END)), 5 * PAGE);
	shows(dmabuf, 0, 2, 9 * PAGE, PAGE);
	shows(dmabuf, PAGE, 1, 3 * PAGE, 2 * PAGE);
	shows(dmabuf, 3 * PAGE, 2, 9 * PAGE, 2 * PAGE);
}

PROMISE(library_creates_from_an_iovec,
	"a buffer can be made of an iovec, short or long, if the driver can")
{
	struct dmabufx_request request = {};
	unsigned int i, counts[] = { 3, 40 };
	int fd = device(), dmabuf;
	struct iovec iov[40];
	char *memory;

	memory = must(mmap(NULL, 80 * PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	pattern_fill(memory, 0, 1, 0, 80 * PAGE);
	for (i = 0; i < 40; i++)
		iov[i] = (struct iovec) { memory + 2 * i * PAGE, PAGE };

	for (i = 0; i < 2; i++) {
		unsigned int nr = counts[i];

		dmabuf = dmabufx_create_iovec(fd, iov, nr, &request);
		if (is_udmabuf(fd)) {
			told(&request, EOPNOTSUPP, 0,
			     "segment 0: udmabuf takes memfds only; the module dmabufx takes any memory");
			continue;
		}
		check_eq(must(lseek(good(dmabuf), 0, SEEK_END)), nr * PAGE);
		shows(dmabuf, (nr - 1) * PAGE, 1, 2 * (nr - 1) * PAGE, PAGE);
	}
}

PROMISE(library_makes_read_only_buffers,
	"nobody can map a read-only buffer for writing, if the driver has such")
{
	struct dmabufx_request request = { .flags = DMABUFX_CREATE_READ_ONLY };
	int fd = device(), memfd = filled_memfd(1, MIB(1)), dmabuf;
	void *map;

	must(fcntl(memfd, F_ADD_SEALS, F_SEAL_WRITE));
	dmabuf = dmabufx_create_memfd(fd, memfd, 0, 0, &request);
	if (is_udmabuf(fd)) {
		told(&request, EOPNOTSUPP, 1,
		     "udmabuf makes no read-only buffers; the module dmabufx does");
		return;
	}
	shows(good(dmabuf), 0, 1, 0, MIB(1));
	bad(EACCES, dmabufx_map(dmabuf, 0, 0, PROT_READ | PROT_WRITE, &map));
	check(!map);
}

PROMISE(library_explains_bad_requests,
	"a bad request is explained, in the same words with each driver")
{
	struct dmabufx_request request = { .flags = 0x80 };
	int fd = device(), memfd = filled_memfd(1, PAGE), null;
	struct dmabufx_segment *many, empty = { .fd = memfd };
	const unsigned int nr = 262145;

	bad(EINVAL, dmabufx_create_memfd(fd, memfd, 0, 0, &request));
	told(&request, EINVAL, 1, "a flag that the driver does not know");
	request.flags = 0;

	request.name = "a name that is longer than it can be";
	bad(EINVAL, dmabufx_create_memfd(fd, memfd, 0, 0, &request));
	told(&request, EINVAL, 1, "the name is longer than 31 bytes or cannot be read");
	request.name = NULL;

	bad(EINVAL, dmabufx_create(fd, &empty, 1, &request));
	told(&request, EINVAL, 1, "there are no bytes in it");
	bad(EINVAL, dmabufx_create(fd, NULL, 0, &request));
	told(&request, EINVAL, 0, "there are no bytes in it");
	bad(EINVAL, dmabufx_create_iovec(fd, NULL, 0, &request));
	told(&request, EINVAL, 0, "there are no bytes in it");

	many = calloc(nr, sizeof(*many));
	bad(E2BIG, dmabufx_create(fd, many, nr, &request));
	told(&request, E2BIG, nr,
	     "more segments than the driver's parameter list_limit allows");
	free(many);

	bad(EBADF, dmabufx_create_memfd(CLOSED, memfd, 0, 0, &request));
	told(&request, EBADF, 1, strerror(EBADF));
	null = must(open("/dev/null", O_RDWR));
	bad(ENOTTY, dmabufx_create_memfd(null, memfd, 0, 0, &request));
	told(&request, ENOTTY, 1, strerror(ENOTTY));

	good(dmabufx_create_memfd(fd, memfd, 0, 0, &request));
	told(&request, 0, 1, "no error");
}

/* Creates a buffer of a bad segment between two good ones. */
static void refuses(struct dmabufx_segment segment, int error, const char *why)
{
	int fd = device(), memfd = filled_memfd(1, PAGE);
	const struct dmabufx_segment fine = { .fd = memfd, .size = PAGE };
	const struct dmabufx_segment segments[] = { fine, segment, fine };
	struct dmabufx_request request = {};
	int before = open_fds();
	char sentence[256];

	snprintf(sentence, sizeof(sentence), "segment 1: %s", why);
	bad(error, dmabufx_create(fd, segments, 3, &request));
	told(&request, error, 1, sentence);
	check_eq(open_fds(), before);
}

PROMISE(library_explains_bad_segments,
	"a bad segment is explained by index and reason, the same with each driver")
{
	int memfd = filled_memfd(1, 4 * PAGE), sealed = filled_memfd(2, PAGE);
	int shrinks = memfd_make(SHMEM_4K, PAGE, 0);
	const uint64_t far = INT64_MAX / PAGE * PAGE;
	int pipes[2];

	must(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE));
	must(pipe(pipes));

	refuses((struct dmabufx_segment){ .fd = memfd, .type = 7, .size = PAGE }, EINVAL,
		"its type is not known, or it has a descriptor and an address");
	refuses((struct dmabufx_segment){ .fd = memfd, .offset = 8, .size = PAGE }, EINVAL,
		"only the first segment may start, and only the last may end, inside a page");
	refuses((struct dmabufx_segment){ .fd = memfd, .offset = -PAGE, .size = 2 * PAGE },
		EINVAL, "offset and size go beyond 2^64");
	refuses((struct dmabufx_segment){ .fd = -1, .size = PAGE }, EBADF,
		"the descriptor is not open");
	refuses((struct dmabufx_segment){ .fd = pipes[0], .size = PAGE }, EBADFD,
		"the descriptor is no memfd (nor a file of shmem or hugetlbfs)");
	refuses((struct dmabufx_segment){ .fd = memfd, .offset = PAGE, .size = 4 * PAGE },
		ERANGE, "it reaches beyond the end of the memfd");
	refuses((struct dmabufx_segment){ .fd = memfd, .offset = far, .size = PAGE }, ERANGE,
		"it reaches beyond the end of the memfd");
	refuses((struct dmabufx_segment){ .fd = shrinks, .size = PAGE }, EPERM,
		"the memfd lacks F_SEAL_SHRINK");
	refuses((struct dmabufx_segment){ .fd = sealed, .size = PAGE }, EPERM,
		"the memfd is sealed against writing, which allows only a read-only buffer");
}

PROMISE(library_explains_a_bad_range,
	"a bad range of size 0, which means up to the memfd's end, is explained")
{
	struct dmabufx_request request = {};
	int fd = device(), memfd = filled_memfd(1, PAGE), pipes[2];

	bad(ERANGE, dmabufx_create_memfd(fd, memfd, PAGE, 0, &request));
	told(&request, ERANGE, 0, "segment 0: it reaches beyond the end of the memfd");
	bad(EBADF, dmabufx_create_memfd(fd, CLOSED, 0, 0, &request));
	told(&request, EBADF, 0, "segment 0: the descriptor is not open");
	must(pipe(pipes));
	bad(EBADFD, dmabufx_create_memfd(fd, pipes[0], 0, 0, &request));
	told(&request, EBADFD, 0,
	     "segment 0: the descriptor is no memfd (nor a file of shmem or hugetlbfs)");
	bad(ERANGE, dmabufx_create_memfd(fd, memfd, PAGE, 0, NULL));
}

/* Returns a sentence, followed by the C library's words for the error. */
static const char *and_why(const char *sentence, int error)
{
	static char text[128];

	snprintf(text, sizeof(text), "%s: %s", sentence, strerror(error));
	return text;
}

PROMISE(library_hands_errors_on,
	"errors of dmabufx_open() and dmabufx_memfd() are passed on and explained")
{
	const char *no_device = "neither /dev/dmabufx nor /dev/udmabuf can be opened";
	struct dmabufx_request request = {};
	int fd = device();

	bad(ENOENT, dmabufx_create_memfd(-ENOENT, -ENOMEM, 0, 0, &request));
	told(&request, ENOENT, 1, and_why(no_device, ENOENT));
	bad(EPERM, dmabufx_create_iovec(-EPERM, NULL, 0, &request));
	told(&request, EPERM, 0, and_why(no_device, EPERM));
	bad(ENOMEM, dmabufx_create_memfd(fd, -ENOMEM, 0, 0, &request));
	told(&request, ENOMEM, 1, and_why("no memfd", ENOMEM));
	bad(ENOMEM, dmabufx_create_memfd(fd, -ENOMEM, 0, 0, NULL));
}

PROMISE(library_explains_bad_addresses,
	"bad addresses, modes and sizes, which udmabuf does not know, are explained")
{
	int fd = device(), memfd = filled_memfd(1, PAGE), reading;
	struct dmabufx_segment huge[2] = {
		{ .fd = memfd, .size = PAGE },
		{ .fd = memfd, .size = 0xffffffffULL * PAGE },
	};
	struct dmabufx_request request = {};
	struct iovec iov;
	int dmabuf;

	if (is_udmabuf(fd))
		skip("udmabuf takes no addresses");

	iov = (struct iovec) { (void *)(uintptr_t)PAGE, PAGE };
	bad(EFAULT, dmabufx_create_iovec(fd, &iov, 1, &request));
	told(&request, EFAULT, 0, "segment 0: nothing is mapped there");
	iov.iov_base = (void *)(UINTPTR_MAX & ~(uintptr_t)(2 * PAGE - 1));
	bad(EFAULT, dmabufx_create_iovec(fd, &iov, 1, &request));
	/* In a 32-bit program, all values may be addresses of programs. */
	if (sizeof(void *) == 8)
		told(&request, EFAULT, 0,
		     "segment 0: it is not in the address space of programs");

	iov.iov_base = must(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1,
				 0));
	bad(EACCES, dmabufx_create_iovec(fd, &iov, 1, &request));
	told(&request, EACCES, 0,
	     "segment 0: it is mapped without permission to read or, as the buffer is not read-only, to write");

	dmabuf = good(dmabufx_create_memfd(fd, memfd, 0, 0, NULL));
	good(dmabufx_map(dmabuf, 0, 0, PROT_READ | PROT_WRITE, &iov.iov_base));
	bad(EOPNOTSUPP, dmabufx_create_iovec(fd, &iov, 1, &request));
	told(&request, EOPNOTSUPP, 0,
	     "segment 0: it is mapped from a device or a dma-buf");

	bad(EFBIG, dmabufx_create(fd, huge, 2, &request));
	told(&request, EFBIG, 1,
	     "segment 1: with it the buffer is larger than the driver allows");

	reading = file_reopen(memfd, O_RDONLY);
	bad(EACCES, dmabufx_create_memfd(fd, reading, 0, 0, &request));
	told(&request, EACCES, 0,
	     "segment 0: the memfd is not opened for reading and, as the buffer is not read-only, writing");
}

PROMISE(library_explains_udmabufs_size_limit,
	"udmabuf's size limit is explained, though its error is EINVAL")
{
	const char *limit_mb = "/sys/module/udmabuf/parameters/size_limit_mb";
	struct dmabufx_request request = {};
	int fd = device(), memfd = filled_memfd(1, MIB(2));
	char before[32];
	int ret;

	if (!is_udmabuf(fd))
		skip("dmabufx has no such limit");
	snprintf(before, sizeof(before), "%ld", file_number(limit_mb, ""));
	must(file_write(limit_mb, "1") ? 0 : -1);
	ret = dmabufx_create_memfd(fd, memfd, 0, 0, &request);
	must(file_write(limit_mb, before) ? 0 : -1);
	bad(EFBIG, ret);
	told(&request, EFBIG, 0,
	     "segment 0: with it the buffer is larger than the driver allows");
}

PROMISE(library_explains_limits, "limits of users and of memory are explained")
{
	const char *limit_mib = "/sys/module/dmabufx/parameters/memfd_limit_mib";
	struct dmabufx_request request = {};
	int fd = device(), memfd = filled_memfd(1, MIB(2)), ret;
	struct iovec iov;
	char before[32];

	if (is_udmabuf(fd))
		skip("udmabuf has no limits of users");
	iov.iov_base = must(mmap(NULL, MIB(1), PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	iov.iov_len = MIB(1);

	snprintf(before, sizeof(before), "%ld", file_number(limit_mib, ""));
	must(file_write(limit_mib, "1") ? 0 : -1);
	must(seteuid(NOBODY));
	ret = dmabufx_create_memfd(fd, memfd, 0, 0, &request);
	must(seteuid(0));
	must(file_write(limit_mib, before) ? 0 : -1);
	bad(EDQUOT, ret);
	told(&request, EDQUOT, 1,
	     "this user would pin more shared memory than the driver's parameter memfd_limit_mib allows");

	must(seteuid(NOBODY));
	limit(RLIMIT_MEMLOCK, KIB(512));
	bad(ENOMEM, dmabufx_create_iovec(fd, &iov, 1, &request));
	told(&request, ENOMEM, 1,
	     "it would lock more memory than RLIMIT_MEMLOCK (ulimit -l) allows");
	limit(RLIMIT_MEMLOCK, 0);
	bad(EPERM, dmabufx_create_iovec(fd, &iov, 1, &request));
	told(&request, EPERM, 1, "RLIMIT_MEMLOCK (ulimit -l) is 0");
	must(seteuid(0));
}

PROMISE(library_passes_on_its_own_full_table,
	"calls are EMFILE if the process has no free descriptor")
{
	struct dmabufx_request request = {};
	int fd = device(), memfd = filled_memfd(1, PAGE);
	int dmabuf = good(dmabufx_create_memfd(fd, memfd, 0, 0, NULL));

	if (under_valgrind())
		skip("valgrind keeps that limit from the kernel");
	limit(RLIMIT_NOFILE, 0);
	bad(EMFILE, dmabufx_memfd("m", PAGE, 0));
	bad(EMFILE, dmabufx_create_memfd(fd, memfd, 0, 0, &request));
	told(&request, EMFILE, 1, strerror(EMFILE));
	bad(EMFILE, dmabufx_export_sync_file(dmabuf, DMABUFX_READ));
}

PROMISE(library_passes_on_full_tables, "calls are ENFILE if the system has no free file")
{
	struct dmabufx_request request = {};
	int fd = device(), memfd = filled_memfd(1, PAGE), ret;
	const char *max = "/proc/sys/fs/file-max";
	char before[32];
	FILE *file = fopen(max, "r");

	check(file && fgets(before, sizeof(before), file));
	fclose(file);
	must(file_write(max, "1") ? 0 : -1);
	must(seteuid(NOBODY));
	ret = dmabufx_create_memfd(fd, memfd, 0, 0, &request);
	must(seteuid(0));
	must(file_write(max, before) ? 0 : -1);
	bad(ENFILE, ret);
	told(&request, ENFILE, 1, strerror(ENFILE));
}

PROMISE(library_sentences_fit,
	"explanations are short, and cut off at the end of the caller's buffer")
{
	struct dmabufx_request request = {
		.error = -EPERM,
		.failed_segment = 3,
		.reason = DMABUFX_REASON_MAY_SHRINK,
	};
	char text[8] = "", longest[256];
	uint32_t reason;

	check_eq(dmabufx_explain(&request, NULL, 0),
		 strlen("segment 3: the memfd lacks F_SEAL_SHRINK"));
	dmabufx_explain(&request, text, sizeof(text));
	check(!strcmp(text, "segment"));
	request.failed_segment = UINT32_MAX;
	for (reason = 0; reason < 40; reason++) {
		request.reason = reason ? reason : DMABUFX_REASON_UDMABUF;
		check(dmabufx_explain(&request, longest, sizeof(longest)) < 160);
	}
}

PROMISE(library_map_errors,
	"each failure of dmabufx_map() has its error, and gives no address")
{
	int fd = device(), memfd = filled_memfd(1, MIB(1)), pipes[2];
	int dmabuf = good(dmabufx_create_memfd(fd, memfd, 0, 0, NULL));
	void *map = &map;

	must(pipe(pipes));
	bad(EBADF, dmabufx_map(-1, 0, 0, PROT_READ, &map));
	check(!map);
	bad(EINVAL, dmabufx_map(dmabuf, 8, PAGE, PROT_READ, &map));
	bad(EINVAL, dmabufx_map(dmabuf, MIB(1), 0, PROT_READ, &map));
	bad(EINVAL, dmabufx_map(dmabuf, 0, MIB(1) + PAGE, PROT_READ, &map));
	bad(ENODEV, dmabufx_map(pipes[0], 0, PAGE, PROT_READ, &map));
	bad(EINVAL, dmabufx_map(memfd, 0, MIB(1) + PAGE, PROT_READ, &map));
	bad(EINVAL, dmabufx_map(memfd, MIB(2), PAGE, PROT_READ, &map));
	check(!map);
	good(dmabufx_map(dmabuf, PAGE, 0, PROT_READ, &map));
	bad(EINVAL, dmabufx_unmap((char *)map + 1, PAGE));
	bad(EINVAL, dmabufx_unmap(map, 0));
	good(dmabufx_unmap(map, MIB(1) - PAGE));
}

PROMISE(library_access_errors, "each failure of CPU access and of sync files has its error")
{
	int fd = device(), memfd = filled_memfd(1, PAGE);
	int dmabuf = good(dmabufx_create_memfd(fd, memfd, 0, 0, NULL));
	int i, wrong[] = { 0, 4, 7, 8 };

	for (i = 0; i < 4; i++) {
		bad(EINVAL, dmabufx_begin_cpu_access(dmabuf, wrong[i]));
		bad(EINVAL, dmabufx_end_cpu_access(dmabuf, wrong[i]));
		bad(EINVAL, dmabufx_export_sync_file(dmabuf, wrong[i]));
		bad(EINVAL, dmabufx_import_sync_file(dmabuf, memfd, wrong[i]));
	}
	bad(EINVAL, dmabufx_import_sync_file(dmabuf, memfd, DMABUFX_READ));
	bad(EBADF, dmabufx_begin_cpu_access(-1, DMABUFX_READ));
	bad(EBADF, dmabufx_end_cpu_access(-1, DMABUFX_READ));
	bad(EBADF, dmabufx_export_sync_file(-1, DMABUFX_READ));
	bad(EBADF, dmabufx_import_sync_file(-1, memfd, DMABUFX_READ));
	bad(ENOTTY, dmabufx_begin_cpu_access(memfd, DMABUFX_READ));
	bad(ENOTTY, dmabufx_end_cpu_access(memfd, DMABUFX_READ));
	bad(ENOTTY, dmabufx_export_sync_file(memfd, DMABUFX_READ));
	bad(ENOTTY, dmabufx_import_sync_file(memfd, dmabuf, DMABUFX_READ));
}

/* Signals to the waiting thread, and whether it has begun to wait. */
static atomic_int alarms;
static atomic_bool waits;

static void count_alarm(int sig)
{
	(void)sig;
	atomic_fetch_add(&alarms, 1);
}

/* Ends the device's work after five signals, or before vgem gives up, which takes 10 s. */
static void *work_ends_after_alarms(void *arg)
{
	int left = 800;

	while (left-- && (!atomic_load(&waits) || atomic_load(&alarms) < 5))
		usleep(10000);
	fence_signal(arg);
	return NULL;
}

PROMISE(library_waits_for_devices,
	"CPU access waits for devices, despite signals; sync files tell when they are done")
{
	const struct itimerval often = { { 0, 20000 }, { 0, 20000 } }, never = {};
	const struct sigaction action = { .sa_handler = count_alarm };
	int fd = device(), memfd = filled_memfd(1, PAGE), sync, other;
	int dmabuf = good(dmabufx_create_memfd(fd, memfd, 0, 0, NULL));
	struct pollfd ready = { .events = POLLIN };
	struct fence work;
	sigset_t signals;
	pthread_t thread;

	/* Under valgrind each call takes long the first time, and vgem gives up after 10 s. */
	sync = good(dmabufx_export_sync_file(dmabuf, DMABUFX_READ));
	good(dmabufx_import_sync_file(dmabuf, sync, DMABUFX_WRITE));
	good(dmabufx_begin_cpu_access(dmabuf, DMABUFX_WRITE));
	good(dmabufx_end_cpu_access(dmabuf, DMABUFX_WRITE));
	must(close(sync));

	work = fence_attach(dmabuf, true);
	sync = good(dmabufx_export_sync_file(dmabuf, DMABUFX_READ));
	check_eq(must(fcntl(sync, F_GETFD)), FD_CLOEXEC);
	ready.fd = sync;
	check_eq(must(poll(&ready, 1, 0)), 0);

	/* Another buffer can wait for the sync file, too. */
	other = good(dmabufx_create_memfd(fd, memfd, 0, 0, NULL));
	good(dmabufx_import_sync_file(other, sync, DMABUFX_WRITE));
	ready.fd = good(dmabufx_export_sync_file(other, DMABUFX_WRITE));
	check_eq(must(poll(&ready, 1, 0)), 0);

	/* Only this thread gets the signals. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGALRM);
	must(sigaction(SIGALRM, &action, NULL));
	must(pthread_sigmask(SIG_BLOCK, &signals, NULL) ? -1 : 0);
	must(pthread_create(&thread, NULL, work_ends_after_alarms, &work) ? -1 : 0);
	must(pthread_sigmask(SIG_UNBLOCK, &signals, NULL) ? -1 : 0);
	must(setitimer(ITIMER_REAL, &often, NULL));
	atomic_store(&alarms, 0);
	atomic_store(&waits, true);
	good(dmabufx_begin_cpu_access(dmabuf, DMABUFX_WRITE));
	must(setitimer(ITIMER_REAL, &never, NULL));
	check_eq(must(poll(&ready, 1, 0)), 1);
	check_le(5, alarms);
	good(dmabufx_end_cpu_access(dmabuf, DMABUFX_WRITE));
	pthread_join(thread, NULL);
}

static uint32_t code_of(const char *text)
{
	return (uint32_t)text[0] | (uint32_t)text[1] << 8 |
	       (uint32_t)text[2] << 16 | (uint32_t)text[3] << 24;
}

PROMISE(library_lays_images_out,
	"images have rows that GPUs accept, and one plane behind the other")
{
	static const struct {
		const char *code;
		uint32_t width, height, planes;
		uint32_t stride[3];
		uint64_t offset[3], size;
	} wanted[] = {
		{ "XR24", 1920, 1080, 1, { 7680 }, {}, 7680 * 1080 },
		{ "AB24", 1366, 768, 1, { 5632 }, {}, 5632 * 768 },
		{ "R8  ", 1, 1, 1, { 256 }, {}, 256 },
		{ "R8  ", 257, 3, 1, { 512 }, {}, 512 * 3 },
		{ "RG24", 100, 10, 1, { 512 }, {}, 5120 },
		{ "BG24", 256, 10, 1, { 768 }, {}, 7680 },
		{ "AR4H", 64, 2, 1, { 512 }, {}, 1024 },
		{ "YUYV", 641, 480, 1, { 1536 }, {}, 1536 * 480 },
		{ "NV12", 1920, 1080, 2, { 2048, 2048 }, { 0, 2048 * 1080 },
		  2048 * 1620 },
		{ "NV12", 255, 3, 2, { 256, 256 }, { 0, 768 }, 768 + 512 },
		{ "NV16", 640, 480, 2, { 768, 768 }, { 0, 768 * 480 }, 768 * 960 },
		{ "NV24", 300, 2, 2, { 512, 1024 }, { 0, 1024 }, 3072 },
		{ "P010", 1920, 1080, 2, { 3840, 3840 }, { 0, 3840 * 1080 },
		  3840 * 1620 },
		{ "YU12", 300, 7, 3, { 512, 256, 256 }, { 0, 3584, 4608 }, 5632 },
		{ "YV16", 1, 2, 3, { 512, 256, 256 }, { 0, 1024, 1536 }, 2048 },
		{ "YU24", 300, 2, 3, { 512, 512, 512 }, { 0, 1024, 2048 }, 3072 },
	};
	struct dmabufx_image image;
	unsigned int i, p;

	for (i = 0; i < ARRAY_SIZE(wanted); i++) {
		good(dmabufx_image_layout(&image, code_of(wanted[i].code), wanted[i].width,
					  wanted[i].height));
		if (image.size != wanted[i].size || image.nr_planes != wanted[i].planes)
			fail("%s of %u x %u: %u planes, %llu bytes", wanted[i].code,
			     wanted[i].width, wanted[i].height, image.nr_planes,
			     (unsigned long long)image.size);
		for (p = 0; p < image.nr_planes; p++)
			if (image.planes[p].stride != wanted[i].stride[p] ||
			    image.planes[p].offset != wanted[i].offset[p])
				fail("plane %u of %s, %u wide: stride %u, offset %llu", p,
				     wanted[i].code, wanted[i].width,
				     image.planes[p].stride,
				     (unsigned long long)image.planes[p].offset);
	}

	bad(EINVAL, dmabufx_image_layout(&image, code_of("XR24"), 0, 1));
	bad(EINVAL, dmabufx_image_layout(&image, code_of("XR24"), 1, 0));
	bad(EOPNOTSUPP, dmabufx_image_layout(&image, code_of("R24A"), 1, 1));
	bad(EOPNOTSUPP, dmabufx_image_layout(&image, 0, 1, 1));
	bad(EOVERFLOW, dmabufx_image_layout(&image, code_of("XR24"), 1U << 31, 1));
	bad(EOVERFLOW, dmabufx_image_layout(&image, code_of("NV24"), 1U << 31, 1));
	good(dmabufx_image_layout(&image, code_of("XR24"), 16383, UINT32_MAX));
	check_eq(image.size, 65536ULL * UINT32_MAX);
}

static void *makes_buffers(void *arg)
{
	unsigned int id = (uintptr_t)arg, i;
	struct dmabufx_request request = {};
	int fd = good(dmabufx_open()), memfd = filled_memfd(id, 4 * PAGE), dmabuf;
	char path[32], text[256], wanted[64];

	snprintf(wanted, sizeof(wanted), "segment 0: the descriptor is not open");
	snprintf(path, sizeof(path), "thread %u", id);
	request.name = path;
	for (i = 0; i < 8; i++) {
		dmabuf = good(dmabufx_create_memfd(fd, memfd, PAGE, 0, &request));
		shows(dmabuf, 0, id, PAGE, 3 * PAGE);
		name_is(dmabuf, path);
		must(close(dmabuf));
		bad(EBADF, dmabufx_create_memfd(fd, CLOSED, 0, PAGE, &request));
		dmabufx_explain(&request, text, sizeof(text));
		check(!strcmp(text, wanted));
	}
	return NULL;
}

PROMISE(library_serves_threads,
	"threads can make buffers at once, and each gets its own errors")
{
	pthread_t threads[4];
	uintptr_t i;

	for (i = 0; i < 4; i++)
		must(pthread_create(&threads[i], NULL, makes_buffers, (void *)(i + 1)) ?
		     -1 : 0);
	for (i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}
