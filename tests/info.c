// SPDX-License-Identifier: MIT
/* The driver tells about itself (QUERY) and about a dma-buf (INFO). */
#include <fcntl.h>
#include <linux/memfd.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "buffer.h"
#include "harness.h"
#include "memory.h"
#include "watch.h"

static struct dmabufx_info info(int fd)
{
	struct dmabufx_info info = { .size = sizeof(info), .fd = fd };
	int device = device_open();

	must(ioctl(device, DMABUFX_IOC_INFO, &info));
	close(device);
	return info;
}

PROMISE(query_tells_the_parameters,
	"QUERY tells version, features and limits of the module")
{
	struct dmabufx_query q = device_query(device_open());

	check_eq(q.version, 0x1);
	check_eq(q.features, 0x7);
	check_eq(q.max_size, 0xffffffffULL * PAGE);
	check_eq(q.max_segments, LIST_LIMIT);
	/* Root has no limits. */
	check_eq(q.memfd_limit, -1);
	check_eq(q.user_limit, -1);
}

PROMISE(query_tells_what_is_left, "QUERY tells what the user's buffers have pinned")
{
	struct memory mem = memory_make(SHMEM_4K, MIB(2));
	char *user = must(mmap(NULL, MIB(1), PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	const struct dmabufx_segment segments[] = {
		segment(&mem, 0, MIB(2)),
		user_segment(user, MIB(1)),
		segment(&mem, 0, MIB(1)),
	};
	int device = device_open();
	struct dmabufx_query before = device_query(device), during, after;
	int fd = create_of(segments, 3);

	during = device_query(device);
	must(close(fd));
	after = device_query(device);
	check_eq(during.memfd_pinned - before.memfd_pinned, MIB(3));
	check_eq(after.memfd_pinned, before.memfd_pinned);
	/* Root's memory counts, though there is no limit. */
	check_eq(during.user_locked, before.user_locked + MIB(1));
	check_eq(after.user_locked, before.user_locked);
}

PROMISE(query_refuses_bad_structs,
	"QUERY refuses wrong sizes and reserved fields, and writes nothing then")
{
	struct { struct dmabufx_query q; __u64 more; } s = {};
	struct dmabufx_query *fixed;
	int device = device_open();

	must_fail(EINVAL, ioctl(device, DMABUFX_IOC_QUERY, &s));
	s.q.size = sizeof(s.q) - 1;
	must_fail(EINVAL, ioctl(device, DMABUFX_IOC_QUERY, &s));
	s.q.size = sizeof(s);
	s.more = 1;
	must_fail(E2BIG, ioctl(device, DMABUFX_IOC_QUERY, &s));
	s.q.size = -1;
	must_fail(E2BIG, ioctl(device, DMABUFX_IOC_QUERY, &s));
	s.q.size = sizeof(s.q);
	s.q.reserved = 1;
	must_fail(EINVAL, ioctl(device, DMABUFX_IOC_QUERY, &s));
	check_eq(s.q.max_size, 0);
	must_fail(EFAULT, ioctl(device, DMABUFX_IOC_QUERY, NULL));
	fixed = must(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0));
	fixed->size = sizeof(*fixed);
	must(mprotect(fixed, PAGE, PROT_READ));
	must_fail(EFAULT, ioctl(device, DMABUFX_IOC_QUERY, fixed));
	s.q.reserved = 0;
	s.q.size = sizeof(s);
	s.more = 0;
	must(ioctl(device, DMABUFX_IOC_QUERY, &s));
	check_eq(s.q.max_size, 0xffffffffULL * PAGE);
}

PROMISE(info_tells_what_is_in_a_buffer,
	"INFO tells runs, folios, sources and flags of a buffer")
{
	struct memory huge = memory_make(HUGETLB_2M, MIB(4));
	struct memory small = memory_make(SHMEM_4K, MIB(1));
	struct memory own = memory_make(ANON_4K, MIB(1));
	const struct dmabufx_segment segments[] = {
		segment(&huge, 0, MIB(2)),
		user_segment(huge.map + MIB(2), MIB(1)),
		segment(&small, 0, PAGE),
		user_segment(own.map, KIB(512)),
	};
	struct dmabufx_create req = request(segments, 4, DMABUFX_CREATE_READ_ONLY);
	struct dmabufx_info i = info(must(try_request(device_open(), &req)));

	check_eq(i.flags, DMABUFX_INFO_READ_ONLY | DMABUFX_INFO_MEMFD | DMABUFX_INFO_USER);
	check_eq(i.bytes, MIB(3) + KIB(512) + PAGE);
	check_eq(i.smallest_folio, PAGE);
	check_eq(i.largest_folio, MIB(2));
	/* Memory of a memfd counts as such, though an address named it. */
	check_eq(i.memfd_bytes, MIB(3) + PAGE);
	check_eq(i.user_bytes, KIB(512));
	check_le(2, i.runs);
	check_le(i.runs, 3 + KIB(512) / PAGE);
	check_le(MIB(2), i.longest_run);
}

PROMISE(info_knows_udmabuf_calls, "INFO knows buffers of the udmabuf calls")
{
	struct memory mem = memory_make(HUGETLB_2M, MIB(2));
	struct dmabufx_info i = info(create_range(&mem, PAGE, MIB(1)));

	check_eq(i.flags, DMABUFX_INFO_MEMFD);
	check_eq(i.runs, 1);
	check_eq(i.longest_run, MIB(1));
	check_eq(i.largest_folio, MIB(2));
}

/* Counts runs of pages that are neighbours in physical memory. */
static unsigned int runs_by_frames(const struct memory *mem)
{
	unsigned int runs = 0;
	__u64 frame, next = 0;
	size_t at;

	for (at = 0; at < mem->size; at += mem->folio) {
		frame = page_frame(mem->map + at);
		runs += frame != next;
		next = frame + mem->folio / PAGE;
	}
	return runs;
}

static void counts_runs(enum memory_kind kind, size_t size)
{
	struct memory mem = memory_make(kind, size);
	/* The second segment continues the first one: their border ends no run. */
	const struct dmabufx_segment segments[] = {
		segment(&mem, 0, PAGE), segment(&mem, PAGE, size - PAGE),
	};
	int fd = create_of(segments, 2);

	note("%s", memory_name(kind));
	check_eq(info(fd).runs, runs_by_frames(&mem));
	must(close(fd));
	memory_free(&mem);
}

PROMISE(info_counts_runs, "neighbouring pages are one run, even of different folios")
{
	static const enum memory_kind kinds[] = {
		SHMEM_4K, ANON_4K, HUGETLB_2M, ANON_HUGETLB_2M,
		SHMEM_64K, ANON_64K, SHMEM_2M, ANON_2M,
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		counts_runs(kinds[i], memory_folio(kinds[i]) < MIB(2) ? MIB(1) : MIB(8));
}

PROMISE(info_counts_a_1g_page_once, "a page of 1 GiB is one run, private or shared")
{
	counts_runs(HUGETLB_1G, GIB(1));
	counts_runs(ANON_HUGETLB_1G, GIB(1));
}

/* Drops all rights, or gets all capabilities in a new user namespace. */
static void become_nobody(bool root_of_a_namespace)
{
	must(setresgid(65534, 65534, 65534));
	must(setresuid(65534, 65534, 65534));
	if (root_of_a_namespace)
		must(unshare(CLONE_NEWUSER));
}

static void info_for_nobody(int device, int fd, bool root_of_a_namespace)
{
	struct dmabufx_info i = { .size = sizeof(i), .fd = fd, .runs = 9, .longest_run = 9 };
	int child = must(fork());

	if (!child) {
		become_nobody(root_of_a_namespace);
		must(ioctl(device, DMABUFX_IOC_INFO, &i));
		check_eq(i.runs, 0);
		check_eq(i.longest_run, 0);
		/* The owner knows these anyway. */
		check_eq(i.bytes, MIB(2));
		check_eq(i.smallest_folio, MIB(2));
		check_eq(i.largest_folio, MIB(2));
		_exit(0);
	}
	join_child(child);
}

PROMISE(info_keeps_the_layout_to_itself,
	"INFO tells only an administrator which pages are neighbours in memory")
{
	struct memory mem = memory_make(HUGETLB_2M, MIB(2));
	int device = device_open(), fd = create_range(&mem, 0, MIB(2));

	check_eq(info(fd).runs, 1);
	check_eq(info(fd).longest_run, MIB(2));
	info_for_nobody(device, fd, false);
	info_for_nobody(device, fd, true);
}

PROMISE(info_refuses_others, "INFO refuses other files, and dma-bufs of other drivers")
{
	struct memory mem = memory_make(SHMEM_4K, MIB(1));
	struct dmabufx_info i = { .size = sizeof(i), .fd = 9999 };
	int device = device_open(), udmabuf;

	must_fail(EBADF, ioctl(device, DMABUFX_IOC_INFO, &i));
	i.fd = mem.fd;
	must_fail(EINVAL, ioctl(device, DMABUFX_IOC_INFO, &i));
	udmabuf = must(open("/dev/udmabuf", O_RDWR | O_CLOEXEC));
	i.fd = must(try_create(udmabuf, list_item(&mem, 0, MIB(1)), 0));
	must_fail(EINVAL, ioctl(device, DMABUFX_IOC_INFO, &i));
	i.size = 8;
	must_fail(EINVAL, ioctl(device, DMABUFX_IOC_INFO, &i));
	i.size = -1;
	must_fail(E2BIG, ioctl(device, DMABUFX_IOC_INFO, &i));
	must_fail(EFAULT, ioctl(device, DMABUFX_IOC_INFO, NULL));
	check_eq(i.bytes, 0);
}
