// SPDX-License-Identifier: MIT
/*
 * A 32-bit program that makes every call of the driver, with structs as its compiler lays
 * them out. It needs no C library, which would have to be a 32-bit one. Its exit status is
 * 0, or the number of checks up to the one that failed.
 */
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/memfd.h>

#include "../uapi/linux/dmabufx.h"

/* Numbers of i386's system calls; asm/unistd_32.h clashes with 64-bit headers. */
enum { EXIT = 1, OPEN = 5, IOCTL = 54, FTRUNCATE = 93, FCNTL = 55, MEMFD_CREATE = 356 };

/* Only x86 runs this. */
#define PAGE 4096ull

static char own[2 * PAGE] __attribute__((aligned(PAGE))) = "not zero";
static int done;

static long call(long number, long a, long b, long c)
{
	long ret;

	asm volatile("int $0x80"
		     : "=a" (ret)
		     : "a" (number), "b" (a), "c" (b), "d" (c)
		     : "memory");
	return ret;
}

static void expect(int right)
{
	if (!right)
		call(EXIT, done + 1, 0, 0);
	done++;
}

static int good(long ret)
{
	expect(ret >= 0);
	return ret;
}

static void check_query(int device)
{
	struct { struct dmabufx_query q; __u32 more[2]; } s = { { .size = sizeof(s) } };

	good(call(IOCTL, device, DMABUFX_IOC_QUERY, (long)&s));
	expect(s.q.features == (DMABUFX_FEATURE_MEMFD | DMABUFX_FEATURE_USER |
				DMABUFX_FEATURE_READ_ONLY));
	expect(s.q.max_size == 0xffffffffULL * PAGE);
	expect(s.q.user_limit == ~0ULL);
	s.more[1] = 1;
	expect(call(IOCTL, device, DMABUFX_IOC_QUERY, (long)&s) == -E2BIG);
	s.q.size = sizeof(s.q) - 1;
	expect(call(IOCTL, device, DMABUFX_IOC_QUERY, (long)&s) == -EINVAL);
}

static void check_create(int device, int memfd)
{
	struct dmabufx_segment segments[] = {
		{
			.type = DMABUFX_USER,
			.address = (unsigned long)own + 8,
			.size = sizeof(own) - 8,
		},
		{ .fd = memfd, .offset = PAGE, .size = PAGE },
	};
	struct { struct dmabufx_create c; __u32 more[2]; } s = { {
		.size = sizeof(s),
		.flags = DMABUFX_CREATE_CLOEXEC,
		.segments = (unsigned long)segments,
		.nr_segments = 2,
		.segment_size = sizeof(*segments),
		.name = (unsigned long)"thirty-two",
	} };
	struct { struct dmabufx_info i; __u32 more[2]; } t = { { .size = sizeof(t) } };

	t.i.fd = good(call(IOCTL, device, DMABUFX_IOC_CREATE, (long)&s));
	expect(s.c.data_offset == 8);
	good(call(IOCTL, device, DMABUFX_IOC_INFO, (long)&t));
	expect(t.i.bytes == 3 * PAGE);
	expect(t.i.memfd_bytes == PAGE);
	expect(t.i.user_bytes == 2 * PAGE);

	segments[1].fd = -1;
	expect(call(IOCTL, device, DMABUFX_IOC_CREATE, (long)&s) == -EBADF);
	expect(s.c.failed_segment == 1);
	expect(s.c.reason == DMABUFX_REASON_NOT_OPEN);

	s.more[0] = 1;
	expect(call(IOCTL, device, DMABUFX_IOC_CREATE, (long)&s) == -E2BIG);
	s.c.size = sizeof(s.c) - 1;
	expect(call(IOCTL, device, DMABUFX_IOC_CREATE, (long)&s) == -EINVAL);
	t.more[1] = 1;
	expect(call(IOCTL, device, DMABUFX_IOC_INFO, (long)&t) == -E2BIG);
	t.i.size = sizeof(t.i) - 1;
	expect(call(IOCTL, device, DMABUFX_IOC_INFO, (long)&t) == -EINVAL);
}

static void check_udmabuf_calls(int device, int memfd)
{
	struct udmabuf_create one = { .memfd = memfd, .offset = PAGE, .size = PAGE };
	struct {
		struct udmabuf_create_list head;
		struct udmabuf_create_item items[2];
	} list = {
		.head.count = 2,
		.items = { { memfd, 0, 0, PAGE }, { memfd, 0, PAGE, PAGE } },
	};

	good(call(IOCTL, device, UDMABUF_CREATE, (long)&one));
	good(call(IOCTL, device, UDMABUF_CREATE_LIST, (long)&list));
	list.items[1].offset = 2 * PAGE;
	expect(call(IOCTL, device, UDMABUF_CREATE_LIST, (long)&list) == -EINVAL);
}

void _start(void)
{
	int device = good(call(OPEN, (long)DMABUFX_DEVICE, O_RDWR, 0));
	int memfd = good(call(MEMFD_CREATE, (long)"32", MFD_ALLOW_SEALING, 0));

	good(call(FTRUNCATE, memfd, 2 * PAGE, 0));
	good(call(FCNTL, memfd, F_ADD_SEALS, F_SEAL_SHRINK));
	check_query(device);
	check_create(device, memfd);
	check_udmabuf_calls(device, memfd);
	call(EXIT, 0, 0, 0);
}
