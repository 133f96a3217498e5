// SPDX-License-Identifier: MIT
/*
 * A user may pin a limited amount of memory: RLIMIT_MEMLOCK limits the caller's own memory,
 * the parameter memfd_limit_mib limits memfds. Tests run as root; the limited user is a
 * child with another uid and without capabilities.
 */
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "blocks.h"
#include "buffer.h"
#include "harness.h"
#include "memory.h"
#include "watch.h"

/* Users without other processes. */
#define ALICE 4001
#define BOB 4002

#define PARAMETERS "/sys/module/dmabufx/parameters/"
#define PARAMETER PARAMETERS "memfd_limit_mib"
#define TOTAL PARAMETERS "total_limit_mib"

/* The objects of a limited process, which root opens. */
struct world {
	int device;
	struct memory memfd;	/* of 8 MiB */
	struct memory own;	/* likewise */
};

static struct world make_world(void)
{
	return (struct world) {
		.device = device_open(),
		.memfd = memory_make(SHMEM_4K, MIB(8)),
		.own = memory_make(ANON_4K, MIB(8)),
	};
}

static void set_memlock(size_t bytes)
{
	struct rlimit limit = { bytes, bytes };

	must(setrlimit(RLIMIT_MEMLOCK, &limit));
}

static void become(unsigned int uid, size_t memlock)
{
	set_memlock(memlock);
	must(setresgid(uid, uid, uid));
	must(setresuid(uid, uid, uid));
	/* Otherwise /proc/self would belong to root. */
	must(prctl(PR_SET_DUMPABLE, 1));
}

#define NOTHING (-1)

/* The same with this capability only. */
static void become_with(unsigned int uid, size_t memlock, int capability)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2] = {};

	must(prctl(PR_SET_KEEPCAPS, 1));
	become(uid, memlock);
	if (capability != NOTHING) {
		data[0].effective = 1u << capability;
		data[0].permitted = 1u << capability;
	}
	must(syscall(SYS_capset, &header, data));
}

/* Returns true in a child that is @uid, then false in the parent, once the child is done. */
static bool is_other(unsigned int uid, size_t memlock)
{
	int child = must(fork());

	if (child)
		join_child(child);
	else
		become(uid, memlock);
	return !child;
}

/* A child runs the statement as @uid with @memlock; if it fails, the test fails. */
#define run_as(uid, memlock) \
	for (; is_other(uid, memlock); _exit(0))

static int try_pin(const struct world *w, const struct memory *mem, size_t size)
{
	struct dmabufx_segment seg = segment(mem, 0, size);
	struct dmabufx_create req = request(&seg, 1, 0);

	return try_request(w->device, &req);
}

static int pin(const struct world *w, const struct memory *mem, size_t size)
{
	return must(try_pin(w, mem, size));
}

/* Unlike with run_as(), the process can become root again. */
static void take_turn_as(unsigned int uid)
{
	must(setresuid(0, 0, 0));
	must(setresuid(uid, uid, 0));
}

PROMISE(limit_counts_users_who_take_turns,
	"what a user has pinned is counted while other users pin and release")
{
	struct world w = make_world();
	int fd;

	take_turn_as(ALICE);
	must(close(pin(&w, &w.memfd, MIB(1))));
	fd = pin(&w, &w.memfd, MIB(2));
	take_turn_as(BOB);
	must(close(pin(&w, &w.memfd, MIB(4))));
	check_eq(device_query(w.device).memfd_pinned, 0);
	take_turn_as(ALICE);
	check_eq(device_query(w.device).memfd_pinned, MIB(2));
	must(close(fd));
	check_eq(device_query(w.device).memfd_pinned, 0);
}

static void one_buffer_of_a_new_user(void *world)
{
	static unsigned int uid = ALICE;
	const struct world *w = world;

	take_turn_as(uid++);
	must(close(pin(w, &w->memfd, MIB(1))));
	take_turn_as(0);
}

PROMISE(limit_leaves_nothing_of_users,
	"users who had a buffer once leave no memory behind")
{
	struct world w = make_world();

	leaves_nothing(one_buffer_of_a_new_user, &w, 600);
}

/* Forks a process of @uid that keeps @size bytes pinned until let_go(). */
static int holder(const struct world *w, unsigned int uid, size_t memlock,
		  int capability, const struct memory *mem, size_t size)
{
	int ends[2], child;
	char byte;

	must(pipe(ends));
	child = must(fork());
	if (!child) {
		become_with(uid, memlock, capability);
		pin(w, mem, size);
		must(write(ends[1], "", 1));
		pause();
		_exit(0);
	}
	must(close(ends[1]));
	/* If the child failed, so does the test. */
	if (read(ends[0], &byte, 1) != 1)
		join_child(child);
	must(close(ends[0]));
	return child;
}

static void let_go(int child)
{
	must(kill(child, SIGKILL));
	must(waitpid(child, NULL, 0));
}

#define is_over(error, why, w, mem, size)				\
	is_over_at(__LINE__, error, DMABUFX_REASON_ ## why, w, mem, size)

static void is_over_at(int line, int error, __u32 reason, const struct world *w,
		       const struct memory *mem, size_t size)
{
	struct dmabufx_segment seg = segment(mem, 0, size);
	struct dmabufx_create req = request(&seg, 1, 0);

	/* The request as a whole is to blame, not its segment. */
	refused_at(line, error, reason, 1, w->device, &req);
}

static long pinned_kib(void)
{
	return file_number("/proc/self/status", "VmPin:");
}

/* RLIMIT_MEMLOCK */

PROMISE(limit_memlock_counts_user_memory,
	"an unprivileged user can pin RLIMIT_MEMLOCK bytes of its memory, and no page more")
{
	struct world w = make_world();

	run_as(ALICE, MIB(4)) {
		int first = pin(&w, &w.own, MIB(2)), second;

		check_eq(pinned_kib(), 2048);
		is_over(ENOMEM, MEMLOCK, &w, &w.own, MIB(2) + PAGE);
		/* The same memory counts again. */
		second = pin(&w, &w.own, MIB(2));
		check_eq(pinned_kib(), 4096);
		check_eq(device_query(w.device).user_locked, MIB(4));
		is_over(ENOMEM, MEMLOCK, &w, &w.own, 1);

		must(close(first));
		check_eq(pinned_kib(), 2048);
		pin(&w, &w.own, MIB(1));
		is_over(ENOMEM, MEMLOCK, &w, &w.own, MIB(1) + 1);
		must(close(second));
		pin(&w, &w.own, MIB(3));
		check_eq(pinned_kib(), 4096);
	}
}

PROMISE(limit_memlock_counts_whole_pages,
	"whole pages count where memory begins or ends inside a page; repeats count, too")
{
	struct world w = make_world();
	struct dmabufx_segment across = user_segment(w.own.map + PAGE - 1, 2);
	struct dmabufx_segment thrice[] = {
		segment(&w.own, 0, PAGE), segment(&w.own, 0, PAGE),
		segment(&w.own, 0, PAGE),
	};
	struct dmabufx_create req;

	run_as(ALICE, 2 * PAGE) {
		req = request(&across, 1, 0);
		must_close(try_request(w.device, &req));
		req = request(thrice, 3, 0);
		refused(ENOMEM, DMABUFX_REASON_MEMLOCK, 3, w.device, &req);
	}
	run_as(ALICE, 2 * PAGE - 1) {
		req = request(&across, 1, 0);
		refused(ENOMEM, DMABUFX_REASON_MEMLOCK, 1, w.device, &req);
	}
}

PROMISE(limit_memlock_is_charged_before_memory_is_taken,
	"a request beyond the limit does not touch its memory")
{
	unsigned char there[MIB(2) / PAGE];
	struct world w = make_world();
	struct memory mem = memory_make_holes(ANON_4K, MIB(2));
	struct dmabufx_segment seg = segment(&mem, 0, MIB(2));
	struct dmabufx_create req = request(&seg, 1, 0);
	size_t i;

	run_as(ALICE, MIB(2) - PAGE) {
		refused(ENOMEM, DMABUFX_REASON_MEMLOCK, 1, w.device, &req);
		must(mincore(mem.map, MIB(2), there));
		for (i = 0; i < ARRAY_SIZE(there); i++)
			check_eq(there[i] & 1, 0);
	}
}

PROMISE(limit_memlock_0_is_eperm,
	"with RLIMIT_MEMLOCK 0 a request is EPERM, unless it is of memfds only")
{
	struct world w = make_world();

	run_as(ALICE, 0) {
		is_over(EPERM, MEMLOCK, &w, &w.own, PAGE);
		pin(&w, &w.memfd, MIB(2));
		check_eq(pinned_kib(), 0);
	}
}

PROMISE(limit_memlock_is_the_users,
	"all processes of a user share the limit; other users have their own")
{
	struct world w = make_world();
	int child = holder(&w, ALICE, MIB(4), NOTHING, &w.own, MIB(3));

	run_as(ALICE, MIB(4)) {
		is_over(ENOMEM, MEMLOCK, &w, &w.own, MIB(1) + PAGE);
		check_eq(pinned_kib(), 0);
		pin(&w, &w.own, MIB(1));
	}
	run_as(BOB, MIB(4))
		pin(&w, &w.own, MIB(4));
	let_go(child);
	run_as(ALICE, MIB(4))
		pin(&w, &w.own, MIB(4));
}

PROMISE(limit_memlock_is_shared_with_io_uring,
	"buffers that io_uring has pinned count against the same limit")
{
	struct world w = make_world();
	struct iovec buffer = { w.own.map, MIB(3) };
	int ring;

	run_as(ALICE, MIB(4)) {
		struct io_uring_params params = {};

		ring = syscall(SYS_io_uring_setup, 1, &params);
		if (ring < 0)
			skip("io_uring: %s", errno_name(errno));
		must(syscall(SYS_io_uring_register, ring,
			     IORING_REGISTER_BUFFERS, &buffer, 1));
		is_over(ENOMEM, MEMLOCK, &w, &w.own, MIB(1) + PAGE);
		must(syscall(SYS_io_uring_register, ring,
			     IORING_UNREGISTER_BUFFERS, NULL, 0));
		pin(&w, &w.own, MIB(3));
		must_fail(ENOMEM, syscall(SYS_io_uring_register, ring,
					  IORING_REGISTER_BUFFERS, &buffer, 1));
	}
}

PROMISE(limit_cap_ipc_lock_is_exempt,
	"with CAP_IPC_LOCK there is no limit, but memory counts")
{
	struct world w = make_world();
	int child = holder(&w, ALICE, 0, CAP_IPC_LOCK, &w.own, MIB(8));

	/* A process without the capability is limited by all of the user's pins. */
	run_as(ALICE, MIB(8)) {
		check_eq(device_query(w.device).user_locked, MIB(8));
		is_over(ENOMEM, MEMLOCK, &w, &w.own, PAGE);
	}
	let_go(child);
	run_as(ALICE, MIB(8))
		pin(&w, &w.own, MIB(8));
}

PROMISE(limit_holds_in_user_namespaces,
	"root in a user namespace has the user's limits")
{
	struct world w = make_world();

	run_as(ALICE, MIB(4)) {
		if (unshare(CLONE_NEWUSER))
			skip("no user namespace: %s", errno_name(errno));
		is_over(ENOMEM, MEMLOCK, &w, &w.own, MIB(4) + PAGE);
		pin(&w, &w.own, MIB(4));
		is_over(ENOMEM, MEMLOCK, &w, &w.own, PAGE);
	}
}

struct fails {
	struct world w;
	struct dmabufx_segment segments[3];
};

static void call_that_fails(void *arg)
{
	struct fails *f = arg;
	struct dmabufx_create req = request(f->segments, 3, 0);

	refused(EFAULT, DMABUFX_REASON_UNPINNABLE, 2, f->w.device, &req);
}

PROMISE(limit_failed_creates_charge_nothing,
	"1000 creates that fail late leave no charge and no memory behind")
{
	struct fails f = { .w = make_world() };

	f.segments[0] = segment(&f.w.own, 0, KIB(64));
	f.segments[1] = segment(&f.w.memfd, 0, KIB(64));
	/* The third segment fails late: its mapped file has no such page. */
	f.segments[2] = user_segment(must(mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
					       MAP_SHARED, memory_make(SHMEM_4K, PAGE).fd,
					       0)) + PAGE, PAGE);
	leaves_nothing(call_that_fails, &f, 1000);
	run_as(ALICE, KIB(64)) {
		int i;

		for (i = 0; i < 100; i++)
			call_that_fails(&f);
		check_eq(pinned_kib(), 0);
		check_eq(device_query(f.w.device).user_locked, 0);
		check_eq(device_query(f.w.device).memfd_pinned, 0);
		pin(&f.w, &f.w.own, KIB(64));
	}
}

/* Another process gets a descriptor of all memory that may be pinned, and closes it last. */
static void other_holds_last(struct world *w, int fd)
{
	int done[2], child;
	char byte;

	must(pipe2(done, O_CLOEXEC));
	child = must(fork());
	if (!child) {
		must(close(done[1]));
		_exit(must(read(done[0], &byte, 1)));
	}
	must(close(fd));
	must(close(done[0]));
	is_over(ENOMEM, MEMLOCK, w, &w->own, PAGE);
	must(close(done[1]));
	join_child(child);
}

PROMISE(limit_is_uncharged_once,
	"creates and closes, also by another process's fd, leave no charge")
{
	struct world w = make_world();

	run_as(ALICE, MIB(1)) {
		int i, fd;

		for (i = 0; i < 200; i++) {
			fd = pin(&w, &w.own, MIB(1));
			if (i % 50 == 0)
				other_holds_last(&w, fd);
			else
				must(close(fd));
		}
		check_eq(pinned_kib(), 0);
		check_eq(device_query(w.device).user_locked, 0);
		pin(&w, &w.own, MIB(1));
		is_over(ENOMEM, MEMLOCK, &w, &w.own, PAGE);
	}
}

PROMISE(limit_outlives_the_process,
	"a buffer counts until it ends, even after its process has ended")
{
	struct world w = make_world();
	atomic_int *number = must(mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				       MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	int child = must(fork()), pidfd, fd;

	if (!child) {
		become(ALICE, MIB(4));
		atomic_store(number, pin(&w, &w.own, MIB(3)));
		pause();
		_exit(0);
	}
	while (!atomic_load(number))
		if (waitpid(child, NULL, WNOHANG))
			fail("who should make a buffer ended");
	pidfd = must(syscall(SYS_pidfd_open, child, 0));
	fd = must(syscall(SYS_pidfd_getfd, pidfd, atomic_load(number), 0));
	must(kill(child, SIGKILL));
	must(waitpid(child, NULL, 0));
	run_as(ALICE, MIB(4))
		is_over(ENOMEM, MEMLOCK, &w, &w.own, MIB(1) + PAGE);
	must(close(fd));
	run_as(ALICE, MIB(4)) {
		check_eq(device_query(w.device).user_locked, 0);
		pin(&w, &w.own, MIB(4));
	}
}

#define PASSERS_BY 100

/* Whether the records go away; some processes may end late. */
static bool are_forgotten(const char *cache, long before)
{
	bool forgotten = comes_true(slab_objects(cache) < before + PASSERS_BY / 2);

	if (!forgotten)
		note("%s: %ld objects before %d passed by, %ld afterwards", cache, before,
		     PASSERS_BY, slab_objects(cache));
	return forgotten;
}

PROMISE(limit_forgets_who_is_gone,
	"the kernel keeps no record of processes and users after their buffers have ended")
{
	struct world w = make_world();
	long processes = slab_objects("mm_struct"), users = slab_objects("uid_cache");
	unsigned int i;

	for (i = 0; i < PASSERS_BY; i++)
		run_as(BOB + 1 + i, MIB(4)) {
			pin(&w, &w.own, PAGE);
			pin(&w, &w.memfd, PAGE);
		}
	check(are_forgotten("mm_struct", processes));
	check(are_forgotten("uid_cache", users));
}

/* memfd_limit_mib */

/* Runs @run in a child with the parameter set; resets it even if the child fails. */
static void in_world_with(struct world *w, const char *parameter, const char *mib,
			  void (*run)(struct world *w))
{
	int child, status;

	check(file_write(parameter, mib));
	child = must(fork());
	if (!child) {
		run(w);
		_exit(0);
	}
	must(waitpid(child, &status, 0));
	check(file_write(parameter, "default"));
	if (status)
		fail("a child ended with status %#x", status);
}

static void with_parameter(const char *parameter, const char *mib,
			   void (*run)(struct world *w))
{
	struct world w = make_world();

	in_world_with(&w, parameter, mib, run);
}

static void with_limit(const char *mib, void (*run)(struct world *w))
{
	with_parameter(PARAMETER, mib, run);
}

static void by_all_calls(struct world *w)
{
	struct udmabuf_create_item two = list_item(&w->memfd, 0, MIB(2));
	struct udmabuf_create_item one = list_item(&w->memfd, 0, MIB(1));
	struct dmabufx_segment twice[] = {
		segment(&w->memfd, 0, KIB(512)), segment(&w->memfd, 0, KIB(516)),
	};
	struct dmabufx_create req = request(twice, 2, 0);
	int fd;

	run_as(ALICE, MIB(4)) {
		is_over(EDQUOT, MEMFD_LIMIT, w, &w->memfd, MIB(4) + PAGE);
		must_fail(EDQUOT, try_create(w->device,
					     list_item(&w->memfd, 0, MIB(4) + PAGE),
					     0));
		fd = pin(w, &w->memfd, MIB(3));
		check_eq(device_query(w->device).memfd_limit, MIB(4));
		check_eq(device_query(w->device).memfd_pinned, MIB(3));
		must_fail(EDQUOT, try_create(w->device, two, 0));
		must_fail(EDQUOT, try_create_list(w->device, &two, 1, 0));
		is_over(EDQUOT, MEMFD_LIMIT, w, &w->memfd, MIB(2));
		refused(EDQUOT, DMABUFX_REASON_MEMFD_LIMIT, 2, w->device, &req);
		/* Only memfds count. */
		pin(w, &w->own, MIB(4));

		must(try_create(w->device, one, 0));
		is_over(EDQUOT, MEMFD_LIMIT, w, &w->memfd, 1);
		run_as(ALICE, 0)
			must_fail(EDQUOT, try_create(w->device, one, 0));
		must(close(fd));
		check_eq(device_query(w->device).memfd_pinned, MIB(1));
		must(try_create_list(w->device, &two, 1, 0));
		is_over(EDQUOT, MEMFD_LIMIT, w, &w->memfd, MIB(1) + PAGE);
	}
	run_as(ALICE, 0)
		check_eq(device_query(w->device).memfd_pinned, 0);
}

PROMISE(limit_of_memfds_binds_all_calls,
	"a user can pin memfd_limit_mib by all calls together; more is EDQUOT")
{
	with_limit("4", by_all_calls);
}

static void by_others(struct world *w)
{
	int child = holder(w, ALICE, 0, NOTHING, &w->memfd, MIB(4));

	run_as(ALICE, 0)
		is_over(EDQUOT, MEMFD_LIMIT, w, &w->memfd, PAGE);
	run_as(BOB, 0)
		pin(w, &w->memfd, MIB(4));
	/* Root has no limit. */
	must(close(pin(w, &w->memfd, MIB(8))));
	let_go(child);
	child = holder(w, ALICE, 0, CAP_IPC_LOCK, &w->memfd, MIB(8));
	run_as(ALICE, 0)
		is_over(EDQUOT, MEMFD_LIMIT, w, &w->memfd, PAGE);
	let_go(child);
	run_as(ALICE, 0)
		pin(w, &w->memfd, MIB(4));
}

PROMISE(limit_of_memfds_is_each_users,
	"each user has memfd_limit_mib for all its processes; root has no limit")
{
	with_limit("4", by_others);
}

static void both_limits(struct world *w)
{
	struct dmabufx_segment both[] = {
		segment(&w->own, 0, MIB(2)), segment(&w->memfd, 0, MIB(2)),
	};
	struct dmabufx_create req = request(both, 2, 0);

	run_as(ALICE, MIB(2)) {
		refused(EDQUOT, DMABUFX_REASON_MEMFD_LIMIT, 2, w->device, &req);
		check_eq(pinned_kib(), 0);
		check_eq(device_query(w->device).user_locked, 0);
		pin(w, &w->own, MIB(2));
		refused(ENOMEM, DMABUFX_REASON_MEMLOCK, 2, w->device, &req);
		check_eq(device_query(w->device).memfd_pinned, 0);
		pin(w, &w->memfd, MIB(1));
	}
}

PROMISE(limit_hit_gives_back_the_other,
	"a request that exceeds one limit is not charged to the other")
{
	with_limit("1", both_limits);
}

static void pins_all(struct world *w)
{
	run_as(ALICE, 0) {
		pin(w, &w->memfd, MIB(8));
		must(try_create(w->device, list_item(&w->memfd, 0, MIB(8)), 0));
	}
}

static void pins_nothing(struct world *w)
{
	run_as(ALICE, 0) {
		is_over(EDQUOT, MEMFD_LIMIT, w, &w->memfd, 1);
		must_fail(EDQUOT, try_create(w->device,
					     list_item(&w->memfd, 0, PAGE), 0));
	}
}

PROMISE(limit_of_memfds_may_be_any_number,
	"huge values of memfd_limit_mib do not wrap; 0 allows nothing")
{
	static const char * const huge[] = {
		"18446744073709551615", "17592186044416", "17592186044415",
		"72057594037927936", "72057594037927937", "4503599627370496",
		"4294967296", "8796093022208", "4097",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(huge); i++)
		with_limit(huge[i], pins_all);
	with_limit("0", pins_nothing);
	check(!file_write(PARAMETER, "18446744073709551616"));
	check(!file_write(PARAMETER, "-1"));
	check(!file_write(PARAMETER, "much"));
}

PROMISE(limit_of_memfds_is_half_of_memory,
	"by default memfd_limit_mib is half of the memory, total_limit_mib three quarters")
{
	long quarter = file_number("/proc/meminfo", "MemTotal:") / 4096;
	struct memory holes = memory_make_holes(SHMEM_4K, MIB(128));
	struct world w = { .device = device_open() };

	/* The parameters are rounded to MiB. */
	check_le(2 * quarter - 2, file_number(PARAMETER, ""));
	check_le(file_number(PARAMETER, ""), 2 * quarter + 2);
	check_le(3 * quarter - 3, file_number(TOTAL, ""));
	check_le(file_number(TOTAL, ""), 3 * quarter + 3);
	/* A user may pin twice as much as one buffer of the in-tree driver may have. */
	run_as(ALICE, 0) {
		check_eq(device_query(w.device).memfd_limit / MIB(1), file_number(PARAMETER, ""));
		pin(&w, &holes, holes.size);
	}
}

PROMISE(limit_by_default_follows_the_memory,
	"memory that is plugged in or out changes the default limits")
{
	long memory, before = file_number(PARAMETER, ""), after, all;
	int block = block_take_out();

	memory = file_number("/proc/meminfo", "MemTotal:");
	after = file_number(PARAMETER, "");
	all = file_number(TOTAL, "");
	block_put_back(block);
	check_le(after, before - 1);
	check_le(after, memory / 2048);
	check_le(memory / 2048 - 2, after);
	check_le(memory / 4096 * 3 - 3, all);
	check_le(all, memory / 4096 * 3 + 3);
	check_eq(file_number(PARAMETER, ""), before);
}

static void by_many_users(struct world *w)
{
	int alice = holder(w, ALICE, 0, NOTHING, &w->memfd, MIB(3)), bob;

	run_as(BOB, 0) {
		/* Keeps a buffer, or the refusal would end the record of BOB's charge. */
		pin(w, &w->memfd, PAGE);
		is_over(EDQUOT, TOTAL_LIMIT, w, &w->memfd, MIB(3));
		must_fail(EDQUOT, try_create(w->device, list_item(&w->memfd, 0, MIB(4)), 0));
		check_eq(device_query(w->device).memfd_pinned, PAGE);
	}
	bob = holder(w, BOB, 0, NOTHING, &w->memfd, MIB(3));
	run_as(BOB + 1, 0)
		is_over(EDQUOT, TOTAL_LIMIT, w, &w->memfd, PAGE);
	/* Root has no limit, but its pins count. */
	must(close(pin(w, &w->memfd, MIB(8))));
	let_go(alice);
	run_as(BOB + 1, 0) {
		is_over(EDQUOT, TOTAL_LIMIT, w, &w->memfd, MIB(3) + PAGE);
		pin(w, &w->memfd, MIB(3));
	}
	let_go(bob);
}

PROMISE(limit_of_all_users_together,
	"users within their own limits cannot pin more than total_limit_mib together")
{
	with_parameter(TOTAL, "6", by_many_users);
}

/* Large folios with one or two pages in buffers. */

/* A request for the page at @offset of each of the first folios of @mem. */
static struct dmabufx_create pages_of_folios(const struct memory *mem, __u64 offset,
					     __u32 nr)
{
	struct dmabufx_segment *segments = calloc(nr, sizeof(*segments));
	__u32 i;

	check(segments);
	for (i = 0; i < nr; i++)
		segments[i] = segment(mem, i * mem->folio + offset, PAGE);
	return request(segments, nr, 0);
}

#define FOLIOS 8

static void hold_folios(const struct world *w, const struct memory *mem, int error,
			__u32 reason)
{
	struct dmabufx_create four = pages_of_folios(mem, 16 * PAGE, 4);
	struct dmabufx_create five = pages_of_folios(mem, 16 * PAGE, 5);
	struct dmabufx_create others = pages_of_folios(mem, 17 * PAGE, 4);
	int first, second;

	refused(error, reason, 5, w->device, &five);
	first = must(try_request(w->device, &four));
	/* A page of another folio is too much; more pages of these folios are not. */
	refused(error, reason, 5, w->device, &five);
	second = must(try_request(w->device, &others));
	must(close(first));
	refused(error, reason, 5, w->device, &five);
	must_close(try_request(w->device, &four));
	must(close(second));
	must_close(try_request(w->device, &four));
}

static void hold_memfds(struct world *w)
{
	const struct memory *mem = &w->memfd;

	run_as(ALICE, 0) {
		hold_folios(w, mem, EDQUOT, DMABUFX_REASON_MEMFD_LIMIT);
		check_eq(device_query(w->device).memfd_pinned, 0);
	}
}

/* with_limit() with this kind of memory. */
static void with_limit_and(enum memory_kind kind, const char *mib,
			   void (*run)(struct world *w))
{
	struct memory mem = memory_make(kind, FOLIOS * memory_folio(kind));
	struct world w = { .device = device_open(), .memfd = mem, .own = mem };

	in_world_with(&w, PARAMETER, mib, run);
	memory_free(&mem);
}

PROMISE(limit_counts_whole_folios_of_memfds,
	"a page of a huge page counts for itself and, once for each user, for the huge page")
{
	with_limit_and(SHMEM_2M, "9", hold_memfds);
	with_limit_and(HUGETLB_2M, "9", hold_memfds);
}

static void hold_own_folios(enum memory_kind kind)
{
	/* The process that pins the memory makes it: a child has no private pages of its parent. */
	struct memory mem = memory_make(kind, FOLIOS * MIB(2));
	struct world w = { .device = device_open() };
	struct dmabufx_create four = pages_of_folios(&mem, 0, 4);
	int fd;

	become(ALICE, MIB(9));
	hold_folios(&w, &mem, ENOMEM, DMABUFX_REASON_MEMLOCK);
	check_eq(device_query(w.device).user_locked, 0);
	fd = must(try_request(w.device, &four));
	memory_free(&mem);
	check_eq(device_query(w.device).user_locked, MIB(8) + 4 * PAGE);
	check_eq(pinned_kib(), 4 * PAGE / 1024);
	must(close(fd));
	check_eq(device_query(w.device).user_locked, 0);
}

PROMISE(limit_counts_whole_folios_of_own_memory,
	"so does a page of a private huge page, which munmap() would otherwise free")
{
	enum memory_kind kinds[] = { ANON_2M, ANON_HUGETLB_2M };
	size_t i;

	needs_thp();
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		int child = must(fork());

		if (!child) {
			hold_own_folios(kinds[i]);
			_exit(0);
		}
		join_child(child);
	}
}

static void parts_of_a_gigabyte(struct world *w)
{
	run_as(ALICE, 0) {
		struct dmabufx_segment seg = segment(&w->memfd, MIB(512), PAGE);
		struct dmabufx_create req = request(&seg, 1, 0);

		refused(EDQUOT, DMABUFX_REASON_MEMFD_LIMIT, 1, w->device, &req);
		check_eq(device_query(w->device).memfd_pinned, 0);
	}
}

PROMISE(limit_counts_a_gigabyte_for_its_page,
	"a small page of a 1 GiB page counts 1 GiB")
{
	struct memory mem = memory_make(HUGETLB_1G, GIB(1));
	struct world w = { .device = device_open(), .memfd = mem };

	check(file_write(PARAMETER, "1023"));
	parts_of_a_gigabyte(&w);
	check(file_write(PARAMETER, "1025"));
	run_as(ALICE, 0) {
		struct dmabufx_segment seg = segment(&mem, MIB(512), PAGE);
		struct dmabufx_create req = request(&seg, 1, 0);
		int first = must(try_request(w.device, &req));

		check_eq(device_query(w.device).memfd_pinned, GIB(1) + PAGE);
		must(try_request(w.device, &req));
		check_eq(device_query(w.device).memfd_pinned, GIB(1) + 2 * PAGE);
		must(close(first));
		check_eq(device_query(w.device).memfd_pinned, GIB(1) + PAGE);
	}
	check(file_write(PARAMETER, "default"));
}

/* Compares the charge with the first buffer, with both, with the second, and with none. */
static void counts(struct world *w, struct dmabufx_create *first, __u64 one,
		   struct dmabufx_create *second, __u64 both, __u64 other)
{
	int fd = must(try_request(w->device, first)), fd2;

	check_eq(device_query(w->device).memfd_pinned, one);
	fd2 = must(try_request(w->device, second));
	check_eq(device_query(w->device).memfd_pinned, both);
	must(close(fd));
	check_eq(device_query(w->device).memfd_pinned, other);
	must(close(fd2));
	check_eq(device_query(w->device).memfd_pinned, 0);
}

static void scattered_in_folios(struct world *w)
{
	/* The even pages of two folios, then the odd ones. */
	const __u32 nr = MIB(4) / PAGE;
	struct dmabufx_segment *segments = calloc(nr, sizeof(*segments));
	struct dmabufx_create half = request(segments, nr / 2, 0);
	struct dmabufx_create all = request(segments, nr, 0);
	__u32 i;

	check(segments);
	for (i = 0; i < nr; i++)
		segments[i] = segment(&w->memfd, i * 2 % nr * PAGE + i / (nr / 2) * PAGE,
				      PAGE);
	/* Two whole folios, and in addition their pages in each buffer. */
	run_as(ALICE, 0)
		counts(w, &half, MIB(4) + MIB(2), &all, MIB(4) + MIB(2) + MIB(4),
		       MIB(4) + MIB(4));
}

PROMISE(limit_counts_scattered_folios_once,
	"a buffer scattered over huge pages counts its pages, and each huge page once")
{
	with_limit_and(SHMEM_2M, "12", scattered_in_folios);
	with_limit_and(HUGETLB_2M, "12", scattered_in_folios);
}

static void pieces_that_follow(struct world *w)
{
	/* Two folios in 64 pieces, in order; and the pages at their border. */
	enum { NR = 64 };
	struct dmabufx_segment pieces[NR], border = segment(&w->memfd, MIB(2) - PAGE,
							    2 * PAGE);
	struct dmabufx_create req = request(pieces, NR, 0), two = request(&border, 1, 0);
	int i;

	for (i = 0; i < NR; i++)
		pieces[i] = segment(&w->memfd, i * KIB(64), KIB(64));
	run_as(ALICE, 0)
		counts(w, &req, MIB(4), &two, MIB(4) + MIB(4) + 2 * PAGE,
		       MIB(4) + 2 * PAGE);
}

PROMISE(limit_counts_pieces_that_make_a_folio_as_pages,
	"segments that together cover whole folios count by page, as a single segment does")
{
	with_limit_and(SHMEM_2M, "16", pieces_that_follow);
	with_limit_and(HUGETLB_2M, "16", pieces_that_follow);
}

static void halves_of_folios(struct world *w)
{
	struct dmabufx_segment pieces[2 * FOLIOS] = {};
	struct dmabufx_create req = request(pieces, 2 * FOLIOS, 0);
	int i;

	for (i = 0; i < 2 * FOLIOS; i++)
		pieces[i] = segment(&w->memfd, i * MIB(1), MIB(1));
	run_as(ALICE, 0) {
		must_close(try_request(w->device, &req));
		pieces[2 * FOLIOS - 1].size -= PAGE;
		refused(EDQUOT, DMABUFX_REASON_MEMFD_LIMIT, 2 * FOLIOS, w->device, &req);
	}
}

/* A small page comes first, so that no batch of 512 pages ends where the huge page does. */
static void own_folio_behind_a_page(void)
{
	int device = device_open();
	char *area = map_at_aligned_place(-1, MIB(4), MIB(2), MAP_PRIVATE | MAP_ANONYMOUS);
	struct dmabufx_segment seg = user_segment(area + MIB(2) - PAGE, MIB(2) + PAGE);
	struct dmabufx_create req = request(&seg, 1, 0);

	become(ALICE, MIB(2) + PAGE);
	must(madvise(area, MIB(2), MADV_NOHUGEPAGE));
	must(madvise(area + MIB(2), MIB(2), MADV_HUGEPAGE));
	memset(area + MIB(2) - PAGE, 1, MIB(2) + PAGE);
	must_close(try_request(device, &req));
}

PROMISE(limit_needs_no_more_than_the_buffer,
	"a buffer of whole huge pages, in pieces or in batches, may be as large as the limit")
{
	int child;

	needs_thp();
	with_limit_and(SHMEM_2M, "16", halves_of_folios);
	with_limit_and(HUGETLB_2M, "16", halves_of_folios);
	child = must(fork());
	if (!child) {
		own_folio_behind_a_page();
		_exit(0);
	}
	join_child(child);
}

static void shared_by_address(struct world *w)
{
	struct memory user = memory_as_user(&w->memfd);
	struct memory sealed = memory_make(SHMEM_4K, MIB(1));
	char *readable = must(mmap(NULL, MIB(1), PROT_READ, MAP_SHARED, sealed.fd, 0));
	struct dmabufx_segment mixed[] = {
		segment(&user, MIB(4), MIB(1)),
		user_segment(w->own.map, MIB(1)),
		user_segment(readable, MIB(1)),
	};
	struct dmabufx_create req = request(mixed, 3, DMABUFX_CREATE_READ_ONLY);

	run_as(ALICE, 0) {
		int fd = pin(w, &user, MIB(4));

		check_eq(device_query(w->device).memfd_pinned, MIB(4));
		check_eq(device_query(w->device).user_locked, 0);
		check_eq(pinned_kib(), 0);
		is_over(EDQUOT, MEMFD_LIMIT, w, &user, PAGE);
		must(close(fd));
		check_eq(device_query(w->device).memfd_pinned, 0);
	}
	run_as(ALICE, MIB(1)) {
		must(try_request(w->device, &req));
		check_eq(device_query(w->device).memfd_pinned, MIB(2));
		check_eq(device_query(w->device).user_locked, MIB(1));
		check_eq(pinned_kib(), 1024);
	}
}

PROMISE(limit_of_memfds_binds_their_addresses,
	"shared memory named by address counts as a memfd")
{
	with_limit("4", shared_by_address);
}

/* Another thread maps private memory and the memfd at this place, by turns. */
struct changing {
	char *place;
	const struct memory *memfd;
	atomic_bool end;
};

static void *change_kind(void *arg)
{
	struct changing *c = arg;

	while (!atomic_load(&c->end)) {
		must(mmap(c->place, MIB(1), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
		must(mmap(c->place, MIB(1), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_FIXED, c->memfd->fd, 0));
	}
	return NULL;
}

static void kinds_that_change(struct world *w)
{
	struct changing c = { .memfd = &w->memfd };
	struct dmabufx_segment seg = {};
	struct dmabufx_create req = request(&seg, 1, 0);
	int made = 0, tries, fd;
	pthread_t thread;

	run_as(ALICE, MIB(1)) {
		c.place = must(mmap(NULL, MIB(1), PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
		seg = user_segment(c.place, MIB(1));
		check_eq(pthread_create(&thread, NULL, change_kind, &c), 0);
		for (tries = 0; tries < repeats(1000); tries++) {
			fd = try_request(w->device, &req);
			made += fd >= 0;
			if (fd >= 0)
				must(close(fd));
		}
		atomic_store(&c.end, true);
		pthread_join(thread, NULL);
		note("%d of %d made", made, tries);
		check_eq(device_query(w->device).user_locked, 0);
		check_eq(device_query(w->device).memfd_pinned, 0);
		check_eq(pinned_kib(), 0);
	}
}

PROMISE(limit_is_right_while_mappings_change,
	"memory that becomes shared or private during a create counts as the kind that is pinned",
	TAG_THREADS)
{
	with_limit("1", kinds_that_change);
}

#define RIGHT_WAS_USED 0x100	/* PF_SUPERPRIV */

static long own_flags(void)
{
	char stat[512], *at;
	long flags = 0;
	int fd = must(open("/proc/self/stat", O_RDONLY));
	ssize_t len = must(read(fd, stat, sizeof(stat) - 1));

	must(close(fd));
	stat[len] = 0;
	at = strrchr(stat, ')');
	check(at);
	if (sscanf(at, ") %*c %*d %*d %*d %*d %*d %ld", &flags) != 1)
		fail("what is %s", stat);
	return flags;
}

static void uses_no_right(struct world *w)
{
	int child = must(fork());

	if (!child) {
		pin(w, &w->memfd, MIB(1));
		pin(w, &w->own, PAGE);
		check_eq(own_flags() & RIGHT_WAS_USED, 0);
		pin(w, &w->memfd, MIB(4));
		check_eq(own_flags() & RIGHT_WAS_USED, RIGHT_WAS_USED);
		_exit(0);
	}
	join_child(child);
}

PROMISE(limit_asks_for_rights_only_when_it_is_hit,
	"a process within the limits is not recorded as having used CAP_IPC_LOCK")
{
	set_memlock(MIB(1));
	with_limit("4", uses_no_right);
}

/* Processes of one user that pin and unpin as fast as they can. */
struct race {
	const struct memory *mem;
	size_t size;		/* of a buffer; two are allowed at a time */
	int rounds;
	int error;
	atomic_int held;
	atomic_int most;
	atomic_int refused;
	atomic_int in_vain;	/* refusals since the last success */
};

#define RACERS 4

static void take_and_give_back(const struct world *w, struct race *race)
{
	int made = 0;

	while (made < race->rounds) {
		int fd = try_pin(w, race->mem, race->size), held;

		if (fd < 0) {
			check_eq(errno, race->error);
			atomic_fetch_add(&race->refused, 1);
			/* If a charge is lost, all calls fail from then on. */
			check_le(atomic_fetch_add(&race->in_vain, 1), 200000);
			sched_yield();
			continue;
		}
		made++;
		atomic_store(&race->in_vain, 0);
		held = atomic_fetch_add(&race->held, 1) + 1;
		if (held > atomic_load(&race->most))
			atomic_store(&race->most, held);
		if (made % 4 == 0)
			sched_yield();
		atomic_fetch_sub(&race->held, 1);
		must(close(fd));
	}
}

static void races(const struct world *w, struct race how)
{
	struct race *race = must(mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				      MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	int children[RACERS], i;

	*race = how;
	for (i = 0; i < RACERS; i++) {
		children[i] = must(fork());
		if (children[i])
			continue;
		become(ALICE, 2 * how.size);
		take_and_give_back(w, race);
		_exit(0);
	}
	for (i = 0; i < RACERS; i++)
		join_child(children[i]);
	note("%d refused, and %d buffers at most at a time",
	     atomic_load(&race->refused), atomic_load(&race->most));
	check_le(atomic_load(&race->most), 2);
	run_as(ALICE, 2 * how.size) {
		check_eq(device_query(w->device).user_locked, 0);
		check_eq(device_query(w->device).memfd_pinned, 0);
		pin(w, how.mem, 2 * how.size);
	}
}

static void races_for_memfds(struct world *w)
{
	int rounds = kernel_looks_closely() ? 50 : 200;

	races(w, (struct race){ &w->memfd, KIB(512), rounds, EDQUOT });
}

static void races_for_folios(struct world *w)
{
	int rounds = kernel_looks_closely() ? 50 : 200, children[RACERS], i, k, fd;
	struct dmabufx_create req = pages_of_folios(&w->memfd, 0, FOLIOS);

	for (i = 0; i < RACERS; i++) {
		children[i] = must(fork());
		if (children[i])
			continue;
		become(ALICE, 0);
		for (k = 0; k < rounds; k++) {
			fd = must(try_request(w->device, &req));
			check_le(FOLIOS * MIB(2), device_query(w->device).memfd_pinned);
			must(close(fd));
		}
		_exit(0);
	}
	for (i = 0; i < RACERS; i++)
		join_child(children[i]);
	run_as(ALICE, 0)
		check_eq(device_query(w->device).memfd_pinned, 0);
}

PROMISE(limit_holds_when_processes_share_folios,
	"four processes of a user that pin pages of the same huge pages lose no charge",
	TAG_THREADS)
{
	with_limit_and(SHMEM_2M, "64", races_for_folios);
}

static void races_for_memory(struct world *w)
{
	int rounds = kernel_looks_closely() ? 300 : 1000;

	races(w, (struct race){ &w->own, PAGE, rounds, ENOMEM });
}

PROMISE(limit_holds_when_processes_race,
	"four processes that pin and unpin never exceed the limit, and lose no charge", TAG_THREADS)
{
	with_limit("1", races_for_memory);
	with_limit("1", races_for_memfds);
}
