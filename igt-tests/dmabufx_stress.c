// SPDX-License-Identifier: MIT
/**
 * TEST: dmabufx stress
 * Category: Core
 * Mega feature: General Core features
 * Sub-category: dmabuf
 * Description: Many processes and threads do everything at once, are interrupted and killed,
 *	while memory is moved and taken back
 * Functionality: dmabuf test
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "igt.h"
#include "igt_dmabufx.h"

IGT_TEST_DESCRIPTION("What must hold with many at work at once");

#define WORKERS 4
#define SIZE MIB(1)

/**
 * SUBTEST: create-and-close
 * Description: Processes create, use and close buffers of one memfd at once
 */
static void test_create_and_close(int device)
{
	struct dmabufx_mem mem;

	dmabufx_mem_init(&mem, HUGETLB_2M, MIB(4));
	igt_fork(child, WORKERS) {
		int round;

		for (round = 0; round < 50; round++) {
			int at = (child + round) % 256;
			int fd = __udmabuf_create(device, mem.fd, at * PAGE, SIZE, 0);
			char *map = dmabufx_mmap(fd, 0, SIZE);

			map[child] = child;
			igt_assert_eq(mem.map[at * PAGE + child], child);
			munmap(map, SIZE);
			close(fd);
		}
	}
	igt_waitchildren();
	dmabufx_mem_fini(&mem);
}

/**
 * SUBTEST: share
 * Description: Processes write parts of one buffer at once, each on another way, and all
 *	of it is there
 */
static void test_share(int device)
{
	static uint64_t data[4096 / 8];
	struct dmabufx_buffer buf;
	int i;

	dmabufx_buffer_init(&buf, device, SHMEM_4K, SIZE);
	igt_fork(child, WORKERS) {
		static const uint32_t via[] = { DMABUFX_VIA_DEVICE, DMABUFX_VIA_VMAP };
		int importer = importer_open();
		char *map = dmabufx_mmap(buf.fd, 0, SIZE);
		size_t at;

		importer_attach(importer, buf.fd);
		importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
		importer_vmap(importer);
		for (at = child * PAGE; at < SIZE; at += WORKERS * PAGE) {
			dmabufx_pattern_fill(data, child, at, PAGE);
			if (child < 2)
				importer_write(importer, via[child], at, data, PAGE);
			else
				memcpy(map + at, data, PAGE);
		}
	}
	igt_waitchildren();
	for (i = 0; i < SIZE / PAGE; i++)
		dmabufx_pattern_check(buf.mem.map + i * PAGE, i % WORKERS, i * PAGE, PAGE,
				      "memfd");
	dmabufx_buffer_fini(&buf);
}

/* Threads that last: what ends with a thread is freed much later. */
struct sync_crowd {
	pthread_barrier_t start;
	pthread_barrier_t done;
	int device;
	int memfd;
	int fd;
	int error;
};

/* Brackets each buffer that there is at the start of a round, until there is none. */
static void *sync_each(void *arg)
{
	struct sync_crowd *crowd = arg;
	int error;

	while (pthread_barrier_wait(&crowd->start), crowd->fd >= 0) {
		error = __dmabufx_sync(crowd->fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW);
		if (!error)
			error = __dmabufx_sync(crowd->fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW);
		if (error)
			crowd->error = error;
		pthread_barrier_wait(&crowd->done);
	}
	return NULL;
}

/* All threads bracket a buffer that nobody bracketed before. */
static void sync_fresh_buffer(void *arg)
{
	struct sync_crowd *crowd = arg;

	crowd->fd = __udmabuf_create(crowd->device, crowd->memfd, 0, KIB(256), 0);
	igt_assert_lte(0, crowd->fd);
	pthread_barrier_wait(&crowd->start);
	pthread_barrier_wait(&crowd->done);
	close(crowd->fd);
	igt_assert_eq(crowd->error, 0);
}

/**
 * SUBTEST: sync-fresh-buffers
 * Description: Threads that are the first to SYNC a buffer, all at once, leak nothing
 */
static void test_sync_fresh_buffers(int device)
{
	/* Where a failure leaves this function, they go on looking at it. */
	static struct sync_crowd crowd;
	pthread_t threads[WORKERS];
	int i;

	crowd = (struct sync_crowd){ .device = device };
	crowd.memfd = dmabufx_memfd(KIB(256), F_SEAL_SHRINK);
	pthread_barrier_init(&crowd.start, NULL, WORKERS + 1);
	pthread_barrier_init(&crowd.done, NULL, WORKERS + 1);
	for (i = 0; i < WORKERS; i++)
		igt_assert_eq(pthread_create(&threads[i], NULL, sync_each, &crowd), 0);

	dmabufx_leaves_nothing(sync_fresh_buffer, &crowd, 150);

	crowd.fd = -1;
	pthread_barrier_wait(&crowd.start);
	for (i = 0; i < WORKERS; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&crowd.start);
	pthread_barrier_destroy(&crowd.done);
	close(crowd.memfd);
}

static void sync_at_once(int fd)
{
	int round;

	for (round = 0; round < 100; round++) {
		dmabufx_sync(fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW);
		dmabufx_sync(fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW);
	}
}

/* 100 times, and for as long as others synchronise. */
static void attach_at_once(int fd, const int *synchronising)
{
	int importer = importer_open(), round;

	for (round = 0; round < 100 || __atomic_load_n(synchronising, __ATOMIC_SEQ_CST);
	     round++) {
		importer_attach(importer, fd);
		importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
		importer_unmap(importer);
		importer_detach(importer);
	}
}

/**
 * SUBTEST: attach-and-sync
 * Description: Devices come and go while the CPU's brackets synchronise those mapped
 */
static void test_attach_and_sync(int device)
{
	int *synchronising = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct dmabufx_buffer buf;

	igt_assert(synchronising != MAP_FAILED);
	*synchronising = WORKERS / 2;
	dmabufx_buffer_init(&buf, device, SHMEM_4K, KIB(256));
	igt_fork(child, WORKERS) {
		if (child % 2) {
			sync_at_once(buf.fd);
			__atomic_fetch_sub(synchronising, 1, __ATOMIC_SEQ_CST);
		} else {
			attach_at_once(buf.fd, synchronising);
		}
	}
	igt_waitchildren();
	dmabufx_buffer_fini(&buf);
	munmap(synchronising, PAGE);
}

struct faults {
	pthread_barrier_t start;
	char *map;
	size_t size;
	uint64_t sum;
};

static void *touch_all(void *arg)
{
	struct faults *faults = arg;
	uint64_t sum = 0;
	size_t at;

	pthread_barrier_wait(&faults->start);
	for (at = 0; at < faults->size; at += PAGE)
		sum += *(volatile uint64_t *)(faults->map + at);
	__atomic_fetch_add(&faults->sum, sum, __ATOMIC_SEQ_CST);
	return NULL;
}

/* All threads fault the same mapping in at once, and see the same. */
static void fault_at_once(int device, enum dmabufx_kind kind, size_t size)
{
	struct faults faults = { .size = size };
	struct dmabufx_buffer buf;
	pthread_t threads[WORKERS];
	uint64_t sum = 0;
	size_t at;
	int round, i;

	dmabufx_buffer_init(&buf, device, kind, size);
	for (at = 0; at < size; at += PAGE) {
		*(uint64_t *)(buf.mem.map + at) = at + 1;
		sum += at + 1;
	}
	pthread_barrier_init(&faults.start, NULL, WORKERS);
	for (round = 0; round < 10; round++) {
		faults.sum = 0;
		faults.map = dmabufx_mmap(buf.fd, 0, size);
		for (i = 0; i < WORKERS; i++)
			igt_assert_eq(pthread_create(&threads[i], NULL, touch_all, &faults), 0);
		for (i = 0; i < WORKERS; i++)
			pthread_join(threads[i], NULL);
		munmap(faults.map, size);
		igt_assert_eq_u64(faults.sum, WORKERS * sum);
	}
	pthread_barrier_destroy(&faults.start);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: fault-pages
 * Description: Threads that fault the same single pages in at once all see them
 */
static void test_fault_pages(int device)
{
	fault_at_once(device, SHMEM_4K, MIB(4));
}

/**
 * SUBTEST: fault-huge-pages
 * Description: The same for huge pages
 */
static void test_fault_huge_pages(int device)
{
	fault_at_once(device, HUGETLB_2M, MIB(4));
}

static void on_alarm(int signal)
{
}

/* Creates until @enough have come to an end, one way or the other. */
static int create_in_rain(int device, int enough)
{
	int made = 0, i;

	for (i = 0; i < enough; i++) {
		int memfd = dmabufx_memfd(MIB(2), F_SEAL_SHRINK);
		int fd = __udmabuf_create(device, memfd, 0, MIB(2), 0);

		if (fd >= 0)
			close(fd);
		close(memfd);
		igt_assert(fd >= 0 || fd == -EINTR);
		made += fd >= 0;
	}
	return made;
}

/**
 * SUBTEST: signals
 * Description: A create under a rain of signals succeeds or is EINTR, and leaks nothing
 */
static void test_signals(int device)
{
	struct sigaction action = { .sa_handler = on_alarm }, old;
	struct itimerval rain = { { 0, 1000 }, { 0, 1000 } }, none = { };
	int made;

	sigaction(SIGALRM, &action, &old);
	setitimer(ITIMER_REAL, &rain, NULL);
	made = create_in_rain(device, 40);
	setitimer(ITIMER_REAL, &none, NULL);
	sigaction(SIGALRM, &old, NULL);
	igt_info("%d of 40 creates were not interrupted\n", made);
}

/* Creates, writes through and closes buffers of fresh memory until it is killed. */
static void work_until_killed(int device, enum dmabufx_kind kind)
{
	for (;;) {
		struct dmabufx_segment segment;
		struct dmabufx_mem mem;
		char *map;
		int fd;

		dmabufx_mem_init_holes(&mem, kind, MIB(2));
		segment = dmabufx_segment(&mem, 0, MIB(2));
		fd = dmabufx_create(device, &segment, 1, 0);
		map = dmabufx_mmap(fd, 0, MIB(2));
		memset(map, 1, MIB(2));
		munmap(map, MIB(2));
		close(fd);
		dmabufx_mem_fini(&mem);
	}
}

/* Processes that are killed at any moment leave nothing. */
static void kill_at_work(int device, enum dmabufx_kind kind)
{
	int i, status;

	for (i = 0; i < 12; i++) {
		pid_t pid = fork();

		igt_assert_lte(0, pid);
		if (!pid)
			work_until_killed(device, kind);
		usleep(10000 + i * 3700);
		kill(pid, SIGKILL);
		igt_assert_eq(waitpid(pid, &status, 0), pid);
		igt_assert_eq(status, SIGKILL);
	}
}

/**
 * SUBTEST: kill-memfd
 * Description: Processes that are killed while they make buffers of memfds leave nothing
 */
static void test_kill_memfd(int device)
{
	kill_at_work(device, SHMEM_4K);
}

/**
 * SUBTEST: kill-hugetlb
 * Description: The same for huge pages
 */
static void test_kill_hugetlb(int device)
{
	kill_at_work(device, HUGETLB_2M);
}

/**
 * SUBTEST: kill-user-memory
 * Description: The same for own memory
 */
static void test_kill_user_memory(int device)
{
	kill_at_work(device, ANON_4K);
}

/**
 * SUBTEST: compaction
 * Description: Memory that the kernel would like to move stays where devices know it
 */
static void test_compaction(int device)
{
	struct dmabufx_buffer buf;
	uint64_t frames[64];
	int i;

	dmabufx_buffer_init(&buf, device, SHMEM_4K, SIZE);
	dmabufx_buffer_write(&buf, WAY_DEVICE, 1);
	for (i = 0; i < 64; i++)
		frames[i] = dmabufx_page_frame(buf.mem.map + i * PAGE);
	igt_require(dmabufx_file_write("/proc/sys/vm/compact_memory", "1"));
	dmabufx_buffer_check(&buf, WAY_MEMORY, 1);
	dmabufx_buffer_check(&buf, WAY_DEVICE, 1);
	for (i = 0; i < 64; i++)
		igt_assert_eq_u64(dmabufx_page_frame(buf.mem.map + i * PAGE), frames[i]);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: drop-caches
 * Description: The kernel's mappings are taken back while others make and use them
 */
static void test_drop_caches(int device)
{
	struct dmabufx_buffer buf;

	dmabufx_buffer_init(&buf, device, SHMEM_4K, SIZE);
	dmabufx_buffer_write(&buf, WAY_MEMORY, 1);
	igt_fork(child, WORKERS) {
		static uint64_t data[4096 / 8];
		int importer = importer_open(), round;

		importer_attach(importer, buf.fd);
		for (round = 0; round < 40; round++) {
			if (!child && round % 4 == 0)
				dmabufx_file_write("/proc/sys/vm/drop_caches", "2");
			importer_vmap(importer);
			importer_read(importer, DMABUFX_VIA_VMAP, round * PAGE, data, PAGE);
			dmabufx_pattern_check(data, 1, round * PAGE, PAGE, "vmap");
			importer_vunmap(importer);
		}
	}
	igt_waitchildren();
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: punch-holes
 * Description: Holes are punched into a memfd while buffers are made of it: each buffer is
 *	whole, and keeps what is written through it
 */
static void test_punch_holes(int device)
{
	struct dmabufx_mem mem;

	dmabufx_mem_init(&mem, SHMEM_4K, SIZE);
	igt_fork(child, WORKERS) {
		int round;

		for (round = 0; round < 60; round++) {
			char *map;
			int fd;

			if (child % 2) {
				fallocate(mem.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					  round % 4 * SIZE / 4, SIZE / 4);
				continue;
			}
			fd = __udmabuf_create(device, mem.fd, 0, SIZE, 0);
			map = dmabufx_mmap(fd, 0, SIZE);
			/* The other maker may have the same pages: each its own words. */
			map[round * PAGE + child] = round + 1;
			igt_assert_eq(map[round * PAGE + child], round + 1);
			igt_assert_eq_s64(lseek(fd, 0, SEEK_END), SIZE);
			munmap(map, SIZE);
			close(fd);
		}
	}
	igt_waitchildren();
	dmabufx_mem_fini(&mem);
}

/* Reads all of a file, for what the kernel has to do for it. */
static void read_all(const char *path)
{
	static char text[65536];
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	igt_assert_lte(0, fd);
	while (read(fd, text, sizeof(text)) > 0)
		;
	close(fd);
}

/**
 * SUBTEST: watched
 * Description: Somebody reads all that the kernel tells of buffers, while they come and go
 */
static void test_watched(int device)
{
	igt_fork(child, WORKERS) {
		int round;

		for (round = 0; round < 60; round++) {
			struct dmabufx_info info;
			int fd, memfd;

			if (child == 0) {
				read_all("/sys/kernel/debug/dmabufx/buffers");
				read_all("/sys/kernel/debug/dmabufx/runs");
				read_all("/sys/kernel/debug/dma_buf/bufinfo");
				continue;
			}
			memfd = dmabufx_memfd(KIB(64), F_SEAL_SHRINK);
			fd = __udmabuf_create(device, memfd, 0, KIB(64), 0);
			info = dmabufx_info(device, fd);
			igt_assert_eq_u64(info.bytes, KIB(64));
			close(fd);
			close(memfd);
		}
	}
	igt_waitchildren();
}

/**
 * SUBTEST: exhaust-fds
 * Description: Processes that use up their descriptors at once get EMFILE, and leave nothing
 */
static void test_exhaust_fds(int device)
{
	igt_fork(child, WORKERS) {
		int memfd = dmabufx_memfd(PAGE, F_SEAL_SHRINK), fd;

		do {
			fd = __udmabuf_create(device, memfd, 0, PAGE, 0);
		} while (fd >= 0);
		igt_assert_eq(fd, -EMFILE);
	}
	igt_waitchildren();
}

static const struct dmabufx_subtest subtests[] = {
	{ "create-and-close", "Check that buffers come and go at once", test_create_and_close },
	{ "share", "Check that all ways into a buffer work at once", test_share },
	{ "sync-fresh-buffers", "Check that the first SYNC may come from several threads",
	  test_sync_fresh_buffers },
	{ "attach-and-sync", "Check that devices may come and go while others are at work",
	  test_attach_and_sync },
	{ "fault-pages", "Check that faults meet", test_fault_pages },
	{ "fault-huge-pages", "Check that faults of huge pages meet", test_fault_huge_pages },
	{ "signals", "Check that signals interrupt cleanly", test_signals },
	{ "kill-memfd", "Check that SIGKILL leaves nothing of memfds", test_kill_memfd },
	{ "kill-hugetlb", "Check that SIGKILL leaves nothing of huge pages", test_kill_hugetlb },
	{ "kill-user-memory", "Check that SIGKILL leaves nothing of own memory",
	  test_kill_user_memory },
	{ "compaction", "Check that memory stays where it is", test_compaction },
	{ "drop-caches", "Check that kept mappings may go at any moment", test_drop_caches },
	{ "punch-holes", "Check that memfds may change meanwhile", test_punch_holes },
	{ "watched", "Check that watching is no danger", test_watched },
	{ "exhaust-fds", "Check that running out of descriptors is harmless",
	  test_exhaust_fds },
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
