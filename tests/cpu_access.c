// SPDX-License-Identifier: MIT
/* DMA_BUF_IOCTL_SYNC, and importers' brackets of CPU access. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define DEFAULT_TAGS TAG_PEER

#include "buffer.h"
#include "harness.h"
#include "memory.h"
#include "watch.h"

PROMISE(sync_brackets_every_direction,
	"SYNC start and end succeed for reading, writing and both, mapped or not")
{
	static const __u64 directions[] = {
		DMA_BUF_SYNC_READ, DMA_BUF_SYNC_WRITE, DMA_BUF_SYNC_RW,
	};
	struct memory mem = memory_make(SHMEM_4K, MIB(1));
	struct part part = { &mem, PAGE, KIB(512) };
	struct buffer buf = buffer_make(&part, 1);
	int i, mapped;

	for (mapped = 0; mapped < 2; mapped++) {
		for (i = 0; i < 3; i++) {
			sync_start(buf.fd, directions[i]);
			sync_end(buf.fd, directions[i]);
		}
		buffer_write(&buf, &way_device, 1);
	}
}

PROMISE(importers_bracket_access,
	"a driver may begin and end CPU access before and while it has a mapping")
{
	struct memory mem = memory_make(SHMEM_2M, MIB(2));
	int fd = create_range(&mem, PAGE, MIB(1));
	int importer = importer_open();
	int mapped, dir;

	importer_attach(importer, fd);
	for (mapped = 0; mapped < 2; mapped++) {
		for (dir = 0; dir < 3; dir++) {
			importer_do(importer, DMABUFX_IMPORTER_BEGIN, dir);
			importer_do(importer, DMABUFX_IMPORTER_END, dir);
		}
		if (!mapped)
			importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	}
}

/* The scatterlist is so long, 2 MiB, that threads meet while one makes it. */
#define ITEMS 65536
#define MOST_TRIES 5
#define MOST_GROWTH ((long)MIB(1))
#define MOST_THREADS 8

/* One thread for each CPU. All of them SYNC each fresh buffer at the same moment. */
struct crowd {
	int device;
	struct udmabuf_create_item *items;
	unsigned int nr_items;
	unsigned int threads;
	int fd;			/* the buffer; -1 tells the threads to end */
	atomic_uint round;	/* the number of the buffer */
	atomic_uint done;	/* how many threads are done with it */
};

static void sync_once(struct crowd *crowd)
{
	sync_start(crowd->fd, DMA_BUF_SYNC_RW);
	sync_end(crowd->fd, DMA_BUF_SYNC_RW);
	atomic_fetch_add(&crowd->done, 1);
}

static void wait_for(atomic_uint *number, unsigned int value)
{
	/* Does not sleep: a thread that has to be woken comes too late to meet others. */
	while (atomic_load(number) != value)
		sched_yield();
}

static void *sync_with_others(void *arg)
{
	struct crowd *crowd = arg;
	unsigned int round;

	for (round = 1;; round++) {
		wait_for(&crowd->round, round);
		if (crowd->fd < 0)
			return NULL;
		sync_once(crowd);
	}
}

static void sync_fresh_buffer(void *arg)
{
	struct crowd *crowd = arg;

	crowd->fd = must(try_create_list(crowd->device, crowd->items,
					 crowd->nr_items, 0));
	atomic_store(&crowd->done, 0);
	atomic_fetch_add(&crowd->round, 1);
	sync_once(crowd);
	wait_for(&crowd->done, crowd->threads);
	must(close(crowd->fd));
}

static void stay_on_cpu(pthread_t thread, int cpu)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	pthread_setaffinity_np(thread, sizeof(cpus), &cpus);
}

/* The number of bytes that @buffers buffers leave behind. */
static long crowd_growth(struct crowd *crowd, int buffers)
{
	long before;

	/* The first buffer fills the caches that all later ones use. */
	sync_fresh_buffer(crowd);
	before = memory_of_nobody();
	while (buffers--)
		sync_fresh_buffer(crowd);
	return memory_of_nobody() - before;
}

static int by_value(const void *a, const void *b)
{
	long x = *(const long *)a, y = *(const long *)b;

	return (x > y) - (x < y);
}

/*
 * Returns the median of some tries: other work of the kernel disturbs a try, and in some
 * tries no threads meet. Makes no more tries than it takes to know on which side of
 * MOST_GROWTH the median is.
 */
static long crowd_run(struct crowd *crowd, int buffers, unsigned int tries)
{
	unsigned int threads = crowd->threads, tried = 0, much = 0, i;
	pthread_t others[MOST_THREADS];
	long growth[MOST_TRIES] = {};

	stay_on_cpu(pthread_self(), 0);
	for (i = 1; i < threads; i++) {
		check(!pthread_create(&others[i], NULL, sync_with_others,
				      crowd));
		stay_on_cpu(others[i], i);
	}
	while (much <= tries / 2 && tried - much <= tries / 2) {
		growth[tried] = crowd_growth(crowd, buffers);
		much += growth[tried++] > MOST_GROWTH;
	}
	qsort(growth, tried, sizeof(growth[0]), by_value);
	crowd->fd = -1;
	atomic_fetch_add(&crowd->round, 1);
	for (i = 1; i < threads; i++)
		pthread_join(others[i], NULL);
	return growth[tried / 2];
}

PROMISE(sync_from_threads_leaks_nothing,
	"threads that SYNC a fresh buffer at the same moment leave no memory behind",
	TAG_THREADS)
{
	/* A debug kernel needs memory for records, and kmemleak finds what is lost. */
	const bool closely = kernel_looks_closely();
	struct memory mem = memory_make(SHMEM_4K, 4 * PAGE);
	struct udmabuf_create_item *items = calloc(ITEMS, sizeof(*items));
	long cpus = sysconf(_SC_NPROCESSORS_ONLN), growth;
	struct crowd crowd = {
		.device = device_open(),
		.items = items,
		.nr_items = closely ? 1024 : ITEMS,
		.threads = cpus < MOST_THREADS ? cpus : MOST_THREADS,
	};
	const int buffers = closely ? 1 : 4;
	int i;

	if (cpus < 2)
		skip("needs two CPUs");
	check(items);
	/* All items are the same page: runs do not merge, so the table is large. */
	for (i = 0; i < ITEMS; i++)
		items[i] = list_item(&mem, 0, PAGE);
	growth = crowd_run(&crowd, buffers, closely ? 1 : MOST_TRIES);
	note("%d buffers leave %ld KiB of memory behind", buffers,
	     growth / 1024);
	if (!closely)
		check_le(growth, MOST_GROWTH);
}

static void *sync_in_a_loop(void *fd)
{
	int i;

	for (i = repeats(500); i; i--) {
		sync_start(*(int *)fd, DMA_BUF_SYNC_RW);
		sync_end(*(int *)fd, DMA_BUF_SYNC_RW);
	}
	return NULL;
}

PROMISE(sync_while_devices_come_and_go,
	"SYNC from two threads succeeds while importers map and unmap", TAG_THREADS)
{
	struct memory mem = memory_make(SHMEM_4K, KIB(256));
	int fd = create_range(&mem, 0, mem.size), i;
	pthread_t threads[2];

	for (i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, sync_in_a_loop, &fd);
	for (i = repeats(200); i; i--) {
		int importer = importer_open();

		importer_attach(importer, fd);
		importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
		must(close(importer));
	}
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
}

/* Each process has its brackets in this many buffers, because a fork takes long. */
#define AT_ONCE 32

/* If records were left, they would be 1600, of 32 bytes each: more than twice the limit. */
static void records_leave_nothing(void (*call)(void *), struct memory *mem)
{
	leaves_at_most(call, mem, 1600 / AT_ONCE, KIB(20));
}

/* A child begins and dies, so the buffers have records of two processes. */
static void write_and_die(void *arg)
{
	int fds[AT_ONCE], pid, i;

	for (i = 0; i < AT_ONCE; i++) {
		fds[i] = create_range(arg, 0, PAGE);
		sync_start(fds[i], DMA_BUF_SYNC_WRITE);
	}
	pid = must(fork());
	if (!pid) {
		for (i = 0; i < AT_ONCE; i++)
			sync_start(fds[i], DMA_BUF_SYNC_WRITE);
		_exit(0);
	}
	join_child(pid);
	for (i = 0; i < AT_ONCE; i++) {
		sync_start(fds[i], DMA_BUF_SYNC_WRITE);
		must(close(fds[i]));
	}
}

PROMISE(sync_of_the_dead_leaves_nothing,
	"open brackets, and processes that die in a bracket, leave no memory behind")
{
	struct memory mem = memory_make(SHMEM_4K, PAGE);

	records_leave_nothing(write_and_die, &mem);
}

static void end_what_nobody_began(void *arg)
{
	int fds[AT_ONCE], pid, i;

	for (i = 0; i < AT_ONCE; i++)
		fds[i] = create_range(arg, 0, PAGE);
	for (i = 0; i < 3 * AT_ONCE; i++)
		sync_end(fds[i % AT_ONCE], DMA_BUF_SYNC_RW);
	pid = must(fork());
	if (!pid) {
		for (i = 0; i < 3 * AT_ONCE; i++)
			sync_start(fds[i % AT_ONCE], DMA_BUF_SYNC_WRITE);
		_exit(0);
	}
	join_child(pid);
	for (i = 0; i < 5 * AT_ONCE; i++)
		sync_end(fds[i % AT_ONCE], DMA_BUF_SYNC_WRITE);
	for (i = 0; i < AT_ONCE; i++)
		must(close(fds[i]));
}

PROMISE(sync_ends_without_begin,
	"an end without a begin, also of another process's bracket, does no harm")
{
	struct memory mem = memory_make(SHMEM_4K, PAGE);

	records_leave_nothing(end_what_nobody_began, &mem);
}
