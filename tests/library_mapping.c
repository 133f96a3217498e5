// SPDX-License-Identifier: MIT
/*
 * Which system calls accept a mapping of a dma-buf, and which only one of the memfd itself,
 * as dmabufx_map(3) and dmabufx_create(3) say.
 */
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "library_help.h"
#include "memory.h"

#ifndef SO_ZEROCOPY
#define SO_ZEROCOPY	60
#endif
#ifndef MSG_ZEROCOPY
#define MSG_ZEROCOPY	0x4000000
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif

/* Passes the page at an address to the kernel; returns 0 or the error. */
typedef int (*taking)(void *page);

static int result(long ret)
{
	return ret < 0 ? errno : 0;
}

static int direct_io(void *page)
{
	int disk = must(open("/dev/zram0", O_RDWR | O_DIRECT)), ret;

	ret = result(pwrite(disk, page, PAGE, 0));
	must(close(disk));
	return ret;
}

static int io_uring_buffer(void *page)
{
	struct io_uring_params params = { .flags = 0 };
	struct iovec buffer = { page, PAGE };
	int ring = must(syscall(SYS_io_uring_setup, 1, &params)), ret;

	ret = result(syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &buffer, 1));
	must(close(ring));
	return ret;
}

static int spliced(void *page)
{
	struct iovec iov = { page, PAGE };
	int ends[2], ret;

	must(pipe(ends));
	ret = result(vmsplice(ends[1], &iov, 1, 0));
	must(close(ends[0]));
	must(close(ends[1]));
	return ret;
}

/* Sends in a new network namespace, whose loopback is up. */
static int sent_without_copy(void *page)
{
	struct sockaddr_in self = { .sin_family = AF_INET, .sin_port = htons(4242),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct ifreq loopback = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int sock, one = 1, ret;

	must(unshare(CLONE_NEWNET));
	sock = must(socket(AF_INET, SOCK_DGRAM, 0));
	must(ioctl(sock, SIOCSIFFLAGS, &loopback));
	must(bind(sock, (struct sockaddr *)&self, sizeof(self)));
	must(connect(sock, (struct sockaddr *)&self, sizeof(self)));
	must(setsockopt(sock, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)));
	ret = result(send(sock, page, PAGE, MSG_ZEROCOPY));
	must(close(sock));
	return ret;
}

static int read_as_another_process(void *page)
{
	static char to[64];
	struct iovec here = { to, sizeof(to) }, there = { page, sizeof(to) };

	return result(process_vm_readv(getpid(), &here, 1, &there, 1, 0));
}

static int populated(void *page)
{
	return result(madvise(page, PAGE, MADV_POPULATE_READ));
}

static const struct {
	const char *name;
	taking take;
	int error;
} pinning[] = {
	{ "O_DIRECT", direct_io, EFAULT },
	{ "a registered buffer of io_uring", io_uring_buffer, EFAULT },
	{ "vmsplice()", spliced, EFAULT },
	{ "MSG_ZEROCOPY", sent_without_copy, EFAULT },
	{ "process_vm_readv()", read_as_another_process, EFAULT },
	{ "MADV_POPULATE_READ", populated, EINVAL },
};

PROMISE(library_mapping_is_of_page_frames,
	"calls that pin pages refuse the dma-buf's mapping, and accept the memfd's")
{
	int memfd = filled_memfd(1, MIB(1));
	int dmabuf = good(dmabufx_create_memfd(device(), memfd, 0, 0, NULL));
	void *frames, *pages;
	unsigned int i;
	int error;

	good(dmabufx_map(dmabuf, 0, 0, PROT_READ | PROT_WRITE, &frames));
	good(dmabufx_map(memfd, 0, 0, PROT_READ | PROT_WRITE, &pages));
	/* Touch every page, so that it is in the page table. */
	pattern_check(frames, 0, 1, 0, MIB(1), "the mapping");
	for (i = 0; i < ARRAY_SIZE(pinning); i++) {
		error = pinning[i].take(frames);
		if (error != pinning[i].error)
			fail("%s of the dma-buf: %s", pinning[i].name, errno_name(error));
		error = pinning[i].take(pages);
		if (error)
			fail("%s of the memfd: %s", pinning[i].name, errno_name(error));
	}
	/* valgrind answers mremap() itself. */
	if (!under_valgrind())
		must_fail(EFAULT, mremap(frames, MIB(1), MIB(2), MREMAP_MAYMOVE));
}

PROMISE(library_mapping_is_copied_from,
	"read(), write() and debuggers can access a mapping")
{
	int memfd = filled_memfd(1, MIB(1)), ends[2], self;
	int dmabuf = good(dmabufx_create_memfd(device(), memfd, 0, 0, NULL));
	static char text[LARGEST_PAGE] __attribute__((aligned(8)));
	char *map;

	good(dmabufx_map(dmabuf, 0, 0, PROT_READ | PROT_WRITE, (void **)&map));
	must(pipe(ends));
	check_eq(must(write(ends[1], map + PAGE, PAGE)), PAGE);
	check_eq(must(read(ends[0], map, PAGE)), PAGE);
	pattern_check(map, 0, 1, PAGE, PAGE, "what went through a pipe");
	if (is_udmabuf(device()))
		return;
	self = must(open("/proc/self/mem", O_RDONLY | O_CLOEXEC));
	check_eq(must(pread(self, text, PAGE, (uintptr_t)map)), PAGE);
	pattern_check(text, 0, 1, PAGE, PAGE, "what a debugger sees");
}

/* Registers @map; the descriptor that is returned gets its page faults. */
static int register_userfaultfd(void *map, size_t size)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register all = {
		.range = { (uintptr_t)map, size },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (uffd < 0)
		skip("userfaultfd: %s", errno_name(errno));
	must(ioctl(uffd, UFFDIO_API, &api));
	must(ioctl(uffd, UFFDIO_REGISTER, &all));
	return uffd;
}

PROMISE(library_fills_what_userfaultfd_misses,
	"a create fills holes that userfaultfd watches with zeros, and does not wait")
{
	int memfd = memfd_make(SHMEM_4K, MIB(1), F_SEAL_SHRINK), uffd;
	struct pollfd asked = { .events = POLLIN };
	char *map, *seen;
	size_t i;

	map = must(mmap(NULL, MIB(1), PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0));
	uffd = register_userfaultfd(map, MIB(1));
	good(dmabufx_map(good(dmabufx_create_memfd(device(), memfd, 0, 0, NULL)), 0, 0,
			 PROT_READ, (void **)&seen));
	for (i = 0; i < MIB(1); i += PAGE)
		check_eq(seen[i] | map[i], 0);
	asked.fd = uffd;
	check_eq(must(poll(&asked, 1, 0)), 0);
}
