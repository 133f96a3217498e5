// SPDX-License-Identifier: MIT
/*
 * Threads and processes that race with each other, for about a second each. Any of them may
 * win; in all cases the data is right, nothing is left in the end, and the kernel reports
 * nothing.
 *
 * Races that belong to one subject are in its file: seals and kills in lifetime.c, SYNC in
 * cpu_access.c, orders of faults and kept vmaps in orders.c, changes of user memory while
 * it is pinned in user.c.
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEFAULT_TAGS TAG_THREADS

#include "buffer.h"
#include "harness.h"
#include "memory.h"
#include "watch.h"

#define MILLISECONDS 1000
#define MOST_MILLISECONDS 60000

#define TRACING "/sys/kernel/tracing/"
#define SYS_EXIT TRACING "events/raw_syscalls/sys_exit/"

/**
 * struct runner - something that a thread repeats until the time is over
 * @what: its name, for messages
 * @step: one round
 * @arg: argument of @step
 * @least: do at least so many rounds, within a minute
 * @rounds: number of rounds done
 */
struct runner {
	const char *what;
	void (*step)(void *arg, unsigned int round);
	void *arg;
	unsigned int least;
	atomic_uint rounds;
	pthread_t thread;
};

static atomic_bool race_is_over;

static long now_ms(void)
{
	return seconds_now() * 1000;
}

static void *run(void *arg)
{
	struct runner *runner = arg;

	while (!atomic_load(&race_is_over)) {
		runner->step(runner->arg, runner->rounds);
		atomic_fetch_add(&runner->rounds, 1);
	}
	return NULL;
}

static bool had_enough(struct runner *runners, size_t nr)
{
	size_t i;

	for (i = 0; i < nr; i++) {
		unsigned int rounds = atomic_load(&runners[i].rounds);

		if (!rounds || rounds < runners[i].least)
			return false;
	}
	return true;
}

static void race(struct runner *runners, size_t nr)
{
	long start = now_ms(), ms = 0;
	size_t i;

	atomic_store(&race_is_over, false);
	for (i = 0; i < nr; i++)
		check_eq(pthread_create(&runners[i].thread, NULL, run,
					&runners[i]), 0);
	while (ms < MILLISECONDS || (ms < MOST_MILLISECONDS && !had_enough(runners, nr))) {
		usleep(10000);
		ms = now_ms() - start;
	}
	atomic_store(&race_is_over, true);
	for (i = 0; i < nr; i++) {
		pthread_join(runners[i].thread, NULL);
		note("%s: %u rounds", runners[i].what, runners[i].rounds);
		check_le(1, runners[i].rounds);
	}
}

/* The word in each page tells which page it is. */
static __u64 stamp(__u64 offset)
{
	return 0xd3ab0f0000000000 + offset;
}

static void stamp_pages(char *map, size_t size)
{
	size_t at;

	for (at = 0; at < size; at += PAGE)
		*(volatile __u64 *)(map + at) = stamp(at);
}

static struct memory stamped(enum memory_kind kind, size_t size)
{
	struct memory mem = memory_make(kind, size);

	stamp_pages(mem.map, mem.size);
	return mem;
}

/* A buffer of two runs, so that it needs a kernel mapping. */
static int two_halves(const struct memory *mem)
{
	const struct dmabufx_segment halves[] = {
		segment(mem, mem->size / 2, mem->size / 2),
		segment(mem, 0, mem->size / 2),
	};

	return create_of(halves, 2);
}

/* A descriptor number whose buffer changes all the time. */
struct slot {
	const struct memory *mem;
	int fd;
};

static void put_another_buffer(void *arg, unsigned int round)
{
	struct slot *slot = arg;
	int fd = create_range(&slot->mem[round % 2], 0, slot->mem->size);

	must(dup3(fd, slot->fd, O_CLOEXEC));
	must(close(fd));
}

static void import_it(void *arg, unsigned int round)
{
	const struct slot *slot = arg;
	int importer = importer_open();
	__u64 word, at = round * 7 % (slot->mem->size / PAGE) * PAGE;

	importer_attach(importer, slot->fd);
	importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	if (round % 3 == 0) {
		importer_do(importer, DMABUFX_IMPORTER_UNMAP, 0);
		importer_map(importer, DMABUFX_IMPORTER_TO_DEVICE);
	}
	importer_read(importer, DMABUFX_VIA_DEVICE, at, &word, sizeof(word));
	check_eq(word, stamp(at));
	if (round % 2) {
		importer_do(importer, DMABUFX_IMPORTER_VMAP, 0);
		importer_read(importer, DMABUFX_VIA_VMAP, at, &word, sizeof(word));
		check_eq(word, stamp(at));
	}
	must(close(importer));
}

PROMISE(race_importers_against_release,
	"importers attach, map and vmap buffers whose last descriptor is closed meanwhile")
{
	struct memory mem[2] = { stamped(SHMEM_4K, MIB(1)), stamped(SHMEM_4K, MIB(1)) };
	struct slot slot = { mem, create_range(&mem[0], 0, MIB(1)) };
	struct runner runners[] = {
		{ "replace", put_another_buffer, &slot },
		{ "import", import_it, &slot },
		{ "import", import_it, &slot },
		{ "import", import_it, &slot },
	};

	race(runners, ARRAY_SIZE(runners));
}

/* Races of additions to a list and removals from it. */

/* After so many rounds, two threads have met inside a list. */
#define ENOUGH_TO_MEET 4000

/* Three threads that repeat the same step. */
static void storm(const char *what, void (*step)(void *arg, unsigned int round), void *arg)
{
	struct runner runners[] = {
		{ what, step, arg, ENOUGH_TO_MEET },
		{ what, step, arg, ENOUGH_TO_MEET },
		{ what, step, arg, ENOUGH_TO_MEET },
	};

	race(runners, ARRAY_SIZE(runners));
}

/* The driver's list has only devices that map the buffer. */
static void attach_map_detach(void *arg, unsigned int round)
{
	const int *fd = arg;
	/* Each thread has an importer that stays open. */
	static _Thread_local int importer = -1;

	(void)round;
	if (importer < 0)
		importer = importer_open();
	importer_attach(importer, *fd);
	importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	importer_do(importer, DMABUFX_IMPORTER_UNMAP, 0);
	importer_do(importer, DMABUFX_IMPORTER_DETACH, 0);
}

static void sync_once(void *arg, unsigned int round)
{
	const int *fd = arg;

	(void)round;
	sync_start(*fd, DMA_BUF_SYNC_RW);
	sync_end(*fd, DMA_BUF_SYNC_RW);
}

/* Names are one letter, repeated; a buffer may have no name. */
static void look_at_buffers(void *arg, unsigned int round)
{
	FILE *buffers = fopen("/sys/kernel/debug/dmabufx/buffers", "re");
	char line[4096], letter[2] = "";
	const char *name;

	(void)arg;
	(void)round;
	check(buffers);
	while (fgets(line, sizeof(line), buffers)) {
		name = strstr(line, " name=");
		check(name);
		name += strlen(" name=");
		letter[0] = *name;
		check_le(strcspn(name, " "), strspn(name, letter));
	}
	fclose(buffers);
}

PROMISE(race_of_attachments,
	"of devices that attach and detach at the same moment, none is lost from the list")
{
	struct memory mem = memory_make(SHMEM_4K, PAGE);
	int fd = create_range(&mem, 0, PAGE);
	struct runner runners[] = {
		{ "attach", attach_map_detach, &fd, ENOUGH_TO_MEET },
		{ "attach", attach_map_detach, &fd, ENOUGH_TO_MEET },
		{ "sync", sync_once, &fd, ENOUGH_TO_MEET / 4 },
		{ "look", look_at_buffers, NULL, ENOUGH_TO_MEET / 16 },
	};

	race(runners, ARRAY_SIZE(runners));
	/* This walks through the list. */
	sync_once(&fd, 0);
}

static void rename_it(void *arg, unsigned int round)
{
	const int *fd = arg;

	must(ioctl(*fd, DMA_BUF_SET_NAME_B,
		   round % 2 ? "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" : "bbbbbbbbbbbbbbbbbbbbbbb"));
}

PROMISE(race_of_names,
	"a buffer renamed while its name is read shows a name that it had")
{
	struct memory mem = memory_make(SHMEM_4K, PAGE);
	int fd = create_range(&mem, 0, PAGE);
	struct runner runners[] = {
		{ "rename", rename_it, &fd, ENOUGH_TO_MEET },
		{ "look", look_at_buffers, NULL, ENOUGH_TO_MEET / 16 },
	};

	race(runners, ARRAY_SIZE(runners));
}

static void create_and_close(void *arg, unsigned int round)
{
	const struct memory *mem = arg;
	static _Thread_local int device = -1;

	(void)round;
	if (device < 0)
		device = device_open();
	must_close(try_create(device, list_item(mem, 0, PAGE), 0));
}

PROMISE(race_of_small_buffers,
	"of buffers made and closed at the same moment, none is lost from list or charge")
{
	struct memory mem = memory_make(SHMEM_4K, PAGE);
	int device = device_open();
	const __u64 charged = device_query(device).memfd_pinned;

	storm("create", create_and_close, &mem);
	check_eq(device_query(device).memfd_pinned, charged);
}

static void vmap_and_vunmap(void *arg, unsigned int round)
{
	static _Thread_local int importer = -1;

	(void)round;
	if (importer < 0) {
		importer = importer_open();
		/* A buffer for each thread: the list is that of all idle mappings. */
		importer_attach(importer, two_halves(arg));
	}
	importer_do(importer, DMABUFX_IMPORTER_VMAP, 0);
	importer_do(importer, DMABUFX_IMPORTER_VUNMAP, 0);
}

PROMISE(race_of_kept_mappings,
	"idle kernel mappings that are used and released at the same moment are not lost")
{
	struct memory mem = memory_make(SHMEM_4K, 2 * PAGE);

	storm("vmap", vmap_and_vunmap, &mem);
	/* This walks through the list, too. */
	must(close(importer_that_leaves(0)));
}

static void vmap_and_release(void *arg, unsigned int round)
{
	const struct memory *mem = arg;
	int importer = importer_open(), fd = two_halves(mem);
	__u64 word, at = round * 5 % (mem->size / 2 / PAGE) * PAGE;

	importer_attach(importer, fd);
	importer_do(importer, DMABUFX_IMPORTER_VMAP, 0);
	if (round % 2)
		importer_do(importer, DMABUFX_IMPORTER_VUNMAP, 0);
	if (round % 4 == 1)
		importer_do(importer, DMABUFX_IMPORTER_VMAP, 0);
	if (round % 2 == 0) {
		importer_read(importer, DMABUFX_VIA_VMAP, at, &word, sizeof(word));
		check_eq(word, stamp(at + mem->size / 2));
	}
	must(close(fd));
	must(close(importer));
}

PROMISE(race_release_against_who_wants_room,
	"buffers may end while others take the room of their idle kernel mappings")
{
	struct memory mem = stamped(SHMEM_4K, KIB(256)), more = stamped(SHMEM_4K, KIB(256));
	struct runner runners[] = {
		{ "vmap and release", vmap_and_release, &mem },
		{ "vmap and release", vmap_and_release, &mem },
		{ "vmap", vmap_and_vunmap, &more },
	};
	/* Leaves room for three mappings, but not for four. */
	int hog = importer_that_leaves(3 * 64 + 32);

	race(runners, ARRAY_SIZE(runners));
	must(close(hog));
}

/*
 * A mapping that some threads touch while another takes it apart. At each moment, a page is
 * there with its stamp, or it is not there: that is SIGSEGV, never SIGBUS.
 */
struct ground {
	struct memory *mem;
	char *map;
	char *elsewhere;
	size_t size;
	int fd;
};

static __thread sigjmp_buf no_page;

static void on_segv(int signal)
{
	siglongjmp(no_page, signal);
}

static void touch_somewhere(void *arg, unsigned int round)
{
	const struct ground *g = arg;
	size_t at = round * 2654435761u % (g->size / PAGE) * PAGE;

	if (!sigsetjmp(no_page, 1)) {
		__u64 word = *(volatile __u64 *)(g->map + at);

		/* Zero is of the memory that move_and_come_back() puts there meanwhile. */
		if (word)
			check_eq(word, stamp(at));
	}
}

static void map_all(const struct ground *g)
{
	must(mmap(g->map, g->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		  g->fd, 0));
}

/* Unmaps the part, but keeps its addresses, so that no other mapping gets them. */
static void unmap_part(const struct ground *g, size_t at, size_t len)
{
	must(mmap(g->map + at, len, PROT_NONE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0));
}

static void move_and_come_back(const struct ground *g)
{
	must(mremap(g->map, g->size, g->size,
		    MREMAP_MAYMOVE | MREMAP_FIXED, g->elsewhere));
	must(mmap(g->map, g->size, PROT_NONE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
		  MAP_FIXED_NOREPLACE, -1, 0));
	must(mremap(g->elsewhere, g->size, g->size,
		    MREMAP_MAYMOVE | MREMAP_FIXED, g->map));
}

static void fork_and_touch(const struct ground *g)
{
	int status, child = must(fork());

	if (!child) {
		/* The child has one thread, and all of the mapping. */
		_exit(*(volatile __u64 *)g->map == stamp(0) ? 0 : 1);
	}
	must(waitpid(child, &status, 0));
	check_eq(status, 0);
}

static void take_apart(void *arg, unsigned int round)
{
	const struct ground *g = arg;
	size_t at = round * 40503u % (g->size / PAGE / 2) * PAGE;
	size_t len = (round % 9 + 1) * PAGE;

	map_all(g);
	switch (round % 6) {
	case 0:
		unmap_part(g, at, len);
		break;
	case 1:
		must(mprotect(g->map + at, len, PROT_READ));
		must(mprotect(g->map, g->size, PROT_NONE));
		must(mprotect(g->map + at, len, PROT_READ | PROT_WRITE));
		break;
	case 2:
		move_and_come_back(g);
		break;
	case 3:
		unmap_part(g, g->size - len, len);
		break;
	case 4:
		fork_and_touch(g);
		break;
	case 5:
		/* Punches a hole into the memfd; the buffer keeps its memory. */
		memory_punch(g->mem, at & -g->mem->folio, g->mem->folio);
		break;
	}
}

static void faults_against_changes(enum memory_kind kind, size_t size, size_t skew)
{
	struct memory mem = stamped(kind, size);
	size_t align = mem.folio > MIB(2) ? mem.folio : MIB(2);
	struct ground g = { .mem = &mem, .size = size, .fd = create_range(&mem, 0, size) };
	struct sigaction action = { .sa_handler = on_segv, .sa_flags = SA_NODEFER };
	struct runner runners[] = {
		{ "touch", touch_somewhere, &g },
		{ "touch", touch_somewhere, &g },
		{ "take apart", take_apart, &g, .least = 12 },
	};
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

	note("%s%s", memory_name(kind), skew ? ", misplaced" : "");
	g.map = (char *)map_at_aligned_place(-1, size + MIB(2), align, flags) + skew;
	g.elsewhere = map_at_aligned_place(-1, size, align, flags);
	map_all(&g);
	must(sigaction(SIGSEGV, &action, NULL));
	race(runners, ARRAY_SIZE(runners));
	must(munmap(g.map, size));
	must(close(g.fd));
	memory_free(&mem);
}

PROMISE(race_faults_of_small_pages,
	"faults of single pages race with unmapping, moving, protection, fork and holes")
{
	faults_against_changes(SHMEM_4K, MIB(4), 0);
}

PROMISE(race_faults_of_huge_pages,
	"the same for pages of 2 MiB, mapped by PMDs and by PTEs")
{
	faults_against_changes(HUGETLB_2M, MIB(8), 0);
	faults_against_changes(HUGETLB_2M, MIB(8), PAGE);
	faults_against_changes(SHMEM_2M, MIB(4), 0);
}

PROMISE(race_faults_of_1g_pages, "the same for a page of 1 GiB, mapped by a PUD")
{
	faults_against_changes(HUGETLB_1G, GIB(1), 0);
}

/* The module is unloaded and loaded while others try to use it. */

/* Returns the device, or -1 while the module is not loaded. */
static int device_if_there(void)
{
	int device = open(settings.device, O_RDWR | O_CLOEXEC);

	if (device < 0)
		check(errno == ENOENT || errno == ENXIO || errno == ENODEV);
	return device;
}

static void use_device(void *arg, unsigned int round)
{
	const struct memory *mem = arg;
	int device = device_if_there(), fd, importer;
	long start = now_ms();
	char *map;

	(void)round;
	if (device < 0) {
		usleep(1000);
		return;
	}
	fd = must(try_create(device, list_item(mem, 0, mem->size), 0));
	must(close(device));
	importer = importer_open();
	importer_attach(importer, fd);
	importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	map = map_dma_buf(fd, 0, mem->size);
	must(close(fd));
	check_eq(*(volatile __u64 *)(map + PAGE), stamp(PAGE));
	must(close(importer));
	must(munmap(map, mem->size));
	/* Pauses in proportion, so that the module is unused at times on slow machines, too. */
	usleep((now_ms() - start) * 3000);
}

static void unload_and_load(void *arg, unsigned int round)
{
	unsigned int *unloaded = arg;

	(void)round;
	while (module_try_unload()) {
		check_eq(errno, EWOULDBLOCK);
		if (atomic_load(&race_is_over))
			return;
		usleep(100);
	}
	module_load();
	++*unloaded;
}

PROMISE(race_unload_against_use,
	"the module is unloaded only while nobody uses it",
	TAG_ALONE)
{
	struct memory mem = stamped(SHMEM_4K, KIB(64));
	unsigned int unloaded = 0;
	struct runner runners[] = {
		{ "use", use_device, &mem, .least = 10 },
		{ "use", use_device, &mem },
		{ "unload and load", unload_and_load, &unloaded, .least = 3 },
	};

	if (!settings.module)
		skip("needs --module");
	race(runners, ARRAY_SIZE(runners));
	check_le(1, unloaded);
	close(create_range(&mem, 0, mem.size));
}

/* Children are forked, and execute programs, while descriptors are made. */

static void create_mixed(void *arg, unsigned int round)
{
	struct memory *mem = arg;
	const struct dmabufx_segment both[] = {
		segment(&mem[0], 0, mem[0].size), segment(&mem[1], 0, mem[1].size),
	};

	(void)round;
	must(close(create_of(both, 2)));
}

/* The shell looks at its own descriptors: no dma-buf may be among them. */
static void fork_and_exec(void *arg, unsigned int round)
{
	int status, child = must(fork());

	(void)arg;
	if (!child && round % 4)
		_exit(0);
	if (!child) {
		execl("/bin/sh", "sh", "-c",
		      "! ls -l /proc/$$/fd | grep -q dmabuf", NULL);
		_exit(127);
	}
	must(waitpid(child, &status, 0));
	check_eq(status, 0);
}

PROMISE(race_create_against_exec,
	"programs executed while buffers are created do not inherit them")
{
	struct memory mem[2] = { stamped(SHMEM_4K, KIB(256)), stamped(ANON_4K, KIB(64)) };
	struct runner runners[] = {
		{ "create", create_mixed, mem },
		{ "fork and exec", fork_and_exec, NULL, .least = 8 },
	};

	race(runners, ARRAY_SIZE(runners));
	/* Forks shared its pages for a moment; afterwards they are the owner's again. */
	stamp_pages(mem[1].map, mem[1].size);
	check_eq(*(volatile __u64 *)map_dma_buf(create_of_user(mem[1].map, PAGE), 0,
						PAGE), stamp(0));
}

/* Signals. */

/* Makes every call. None may fail with EINTR, for no signal here kills. */
static void call_all(int device, struct memory *holes, struct memory *untouched)
{
	const struct dmabufx_segment both[] = {
		segment(holes, 0, holes->size),
		segment(untouched, 0, untouched->size),
	};
	struct dmabufx_create req = request(both, 2, 0);
	int fd = must(try_request(device, &req)), importer = importer_open();
	struct dmabufx_info info = { .size = sizeof(info), .fd = fd };
	__u64 size = holes->size + untouched->size;
	char *map = map_dma_buf(fd, 0, size);
	__u64 word;

	device_query(device);
	must(ioctl(device, DMABUFX_IOC_INFO, &info));
	stamp_pages(map, size);
	importer_attach(importer, fd);
	sync_start(fd, DMA_BUF_SYNC_RW);
	importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	sync_end(fd, DMA_BUF_SYNC_RW);
	importer_do(importer, DMABUFX_IMPORTER_VMAP, 0);
	importer_read(importer, DMABUFX_VIA_VMAP, size - PAGE, &word, sizeof(word));
	check_eq(word, stamp(size - PAGE));
	must(close(importer));
	must(munmap(map, size));
	must(close(fd));
}

PROMISE(race_signals_against_all_calls,
	"no call fails because of signals that have handlers")
{
	struct sigaction action = { .sa_handler = ignore_signal };
	/* Handling a signal takes longer there: with more signals, no call would get done. */
	const int often = kernel_looks_closely() ? 15000 : 1500;
	struct itimerval rain = { { 0, often }, { 0, often } }, dry = {};
	long end = now_ms() + MILLISECONDS;
	int device = device_open(), rounds = 0;

	must(sigaction(SIGALRM, &action, NULL));
	while (now_ms() < end) {
		struct memory holes = memory_make_holes(SHMEM_4K, KIB(256));
		struct memory untouched = memory_make_holes(ANON_4K, KIB(256));

		must(setitimer(ITIMER_REAL, &rain, NULL));
		call_all(device, &holes, &untouched);
		must(setitimer(ITIMER_REAL, &dry, NULL));
		memory_free(&holes);
		memory_free(&untouched);
		rounds++;
	}
	note("%d rounds", rounds);
}

/* Traces ioctls that end with EINTR: a killed process cannot tell what a call returned. */
static void watch_interrupted_ioctls(const char *enable)
{
	char filter[32];

	snprintf(filter, sizeof(filter), "id == %d && ret == %d", __NR_ioctl, -EINTR);
	check(file_write(SYS_EXIT "filter", filter));
	check(file_write(SYS_EXIT "enable", enable));
}

static int interrupted_ioctls(void)
{
	FILE *trace = fopen(TRACING "trace", "re");
	char line[256];
	int n = 0;

	check(trace);
	while (fgets(line, sizeof(line), trace))
		n += !!strstr(line, "sys_exit: ");
	fclose(trace);
	return n;
}

/*
 * Kills a child when its create has filled a hole at the beginning of the list. Returns
 * whether it ended before it filled the hole at the end.
 */
static bool ends_early(struct dmabufx_segment *segments, __u32 nr)
{
	struct memory begun = memory_make_holes(SHMEM_4K, PAGE);
	struct memory ended = memory_make_holes(SHMEM_4K, PAGE);
	int before = interrupted_ioctls(), child, status;
	bool early;

	segments[nr / 10] = segment(&begun, 0, PAGE);
	segments[nr - 1] = segment(&ended, 0, PAGE);
	watch_interrupted_ioctls("1");
	child = must(fork());
	if (!child) {
		struct dmabufx_create req = request(segments, nr, 0);

		must(try_request(device_open(), &req));
		_exit(0);
	}
	while (!memory_populated(&begun))
		check_eq(waitpid(child, &status, WNOHANG), 0);
	must(kill(child, SIGKILL));
	must(waitpid(child, &status, 0));
	watch_interrupted_ioctls("0");
	early = !memory_populated(&ended) && interrupted_ioctls() == before + 1;
	memory_free(&begun);
	memory_free(&ended);
	return early;
}

static void ends_when_killed(enum memory_kind kind)
{
	struct memory mem = memory_make(kind, 16 * PAGE);
	/* So many take seconds, on a debug kernel as well. */
	const __u32 nr = kernel_looks_closely() ? 8000 : 200000;
	struct dmabufx_segment *segments = calloc(nr, sizeof(*segments));
	int left = 20;
	__u32 i;

	check(segments);
	for (i = 0; i < nr; i++)
		segments[i] = segment(&mem, i * 7 % 16 * PAGE, PAGE);
	/* On a busy machine the signal may come after the create. */
	while (!ends_early(segments, nr))
		if (!--left)
			fail("%s: no kill ends a create early", memory_name(kind));
	free(segments);
}

PROMISE(race_kill_ends_long_creates,
	"a process that is killed in a long create ends with EINTR, and leaves nothing")
{
	ends_when_killed(SHMEM_4K);
	ends_when_killed(ANON_4K);
}

static void make_and_fill(enum memory_kind kind)
{
	struct memory mem = memory_make_holes(kind, MIB(2));
	struct dmabufx_segment all = segment(&mem, 0, mem.size);
	int fd = create_of(&all, 1);
	char *map = map_dma_buf(fd, 0, mem.size);

	memset(map, 1, mem.size);
	must(munmap(map, mem.size));
	must(close(fd));
	memory_free(&mem);
}

PROMISE(race_kill_at_work,
	"processes that are killed while they make and fill buffers leave nothing")
{
	static const enum memory_kind kinds[] = { SHMEM_4K, HUGETLB_2M, ANON_4K };
	int i, child, status;

	for (i = 0; i < 36; i++) {
		child = must(fork());
		while (!child)
			make_and_fill(kinds[i % ARRAY_SIZE(kinds)]);
		usleep(10000 + i * 1300);
		must(kill(child, SIGKILL));
		must(waitpid(child, &status, 0));
		check_eq(status, SIGKILL);
	}
}

/* One descriptor is left, and several threads want it. */

struct last_one {
	struct memory mem;
	int device;
	atomic_uint won, lost;
};

static void take_the_last(void *arg, unsigned int round)
{
	struct last_one *last = arg;
	struct dmabufx_segment seg = segment(&last->mem, 0, last->mem.size);
	struct dmabufx_create req = request(&seg, 1, 0);
	int fd = round % 2 ? try_request(last->device, &req) :
		 try_create(last->device, list_item(&last->mem, 0, last->mem.size), 0);

	if (fd < 0) {
		check_eq(errno, EMFILE);
		atomic_fetch_add(&last->lost, 1);
		return;
	}
	atomic_fetch_add(&last->won, 1);
	sched_yield();
	must(close(fd));
}

PROMISE(race_for_the_last_descriptor,
	"threads that want the last free descriptor get it or EMFILE, and leak nothing")
{
	struct last_one last = {
		.mem = memory_make(SHMEM_4K, KIB(64)), .device = device_open(),
	};
	struct runner runners[] = {
		{ "take", take_the_last, &last },
		{ "take", take_the_last, &last },
		{ "take", take_the_last, &last },
	};
	struct rlimit before, one;

	must(getrlimit(RLIMIT_NOFILE, &before));
	one = before;
	one.rlim_cur = last.device + 2;
	must(setrlimit(RLIMIT_NOFILE, &one));
	race(runners, ARRAY_SIZE(runners));
	must(setrlimit(RLIMIT_NOFILE, &before));
	note("%u got it, %u did not", last.won, last.lost);
	check_le(1, last.won);
	check_le(1, last.lost);
}

/* Does everything with a buffer that another process uses, too. */
static void use_buffer(int fd, const struct memory *mem)
{
	long end = now_ms() + MILLISECONDS;
	unsigned int round;
	__u64 word;

	for (round = 0; now_ms() < end; round++) {
		size_t at = round * 7 % (mem->size / 2 / PAGE) * PAGE;
		char *map = map_dma_buf(fd, 0, mem->size);
		int importer = importer_open();

		sync_start(fd, DMA_BUF_SYNC_READ);
		check_eq(*(volatile __u64 *)(map + at), stamp(at + mem->size / 2));
		sync_end(fd, DMA_BUF_SYNC_READ);
		importer_attach(importer, fd);
		importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
		importer_do(importer, DMABUFX_IMPORTER_VMAP, 0);
		importer_read(importer, DMABUFX_VIA_VMAP, at, &word, sizeof(word));
		check_eq(word, stamp(at + mem->size / 2));
		must(munmap(map, mem->size));
		must(close(importer));
	}
}

PROMISE(race_of_two_processes,
	"two processes map, sync, attach and vmap one buffer at the same time")
{
	struct memory mem = stamped(SHMEM_4K, MIB(1));
	int fd = two_halves(&mem), child = must(fork());

	use_buffer(fd, &mem);
	if (!child)
		_exit(0);
	join_child(child);
}

PROMISE(race_of_writers,
	"when processes write parts of a buffer on different ways at once, no write is lost")
{
	static const struct way * const ways[] = {
		&way_mmap, &way_sg, &way_device, &way_vmap,
	};
	const size_t size = MIB(1), quarter = size / ARRAY_SIZE(ways);
	struct memory mem = memory_make(SHMEM_4K, size);
	struct part all = { &mem, 0, size };
	struct buffer buf = buffer_make(&all, 1);
	int children[ARRAY_SIZE(ways)];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ways); i++) {
		struct part mine = { &mem, i * quarter, quarter, i * quarter };

		children[i] = must(fork());
		if (children[i])
			continue;
		buf.parts = &mine;
		buffer_write(&buf, ways[i], 1);
		_exit(0);
	}
	for (i = 0; i < ARRAY_SIZE(ways); i++)
		join_child(children[i]);
	buffer_verify(&buf, &way_memfd, 1);
}

/* Two creates fill the same holes at the same time. */

struct holes {
	struct memory mem;
	pthread_barrier_t start;
	int device;
	int fd;
};

static void *create_at_the_same_time(void *arg)
{
	struct holes *holes = arg;

	pthread_barrier_wait(&holes->start);
	holes->fd = must(try_create(holes->device,
				    list_item(&holes->mem, 0, holes->mem.size), 0));
	return NULL;
}

static void fill_twice(struct holes *holes, enum memory_kind kind, size_t size)
{
	pthread_t thread;
	char *map, *other;
	int fd;

	holes->mem = memory_make_holes(kind, size);
	check_eq(pthread_create(&thread, NULL, create_at_the_same_time, holes), 0);
	pthread_barrier_wait(&holes->start);
	fd = must(try_create(holes->device, list_item(&holes->mem, 0, size), 0));
	pthread_join(thread, NULL);
	map = map_dma_buf(fd, 0, size);
	other = map_dma_buf(holes->fd, 0, size);
	stamp_pages(map, size);
	check(!memcmp(map, other, size));
	check(!memcmp(map, holes->mem.map, size));
	must(munmap(map, size));
	must(munmap(other, size));
	must(close(fd));
	must(close(holes->fd));
	memory_free(&holes->mem);
}

static void fill_for_a_while(enum memory_kind kind, size_t size)
{
	struct holes holes = { .device = device_open() };
	long end = now_ms() + MILLISECONDS;
	int rounds;

	pthread_barrier_init(&holes.start, NULL, 2);
	for (rounds = 0; now_ms() < end || rounds < 20; rounds++)
		fill_twice(&holes, kind, size);
	note("%s: %d rounds", memory_name(kind), rounds);
}

PROMISE(race_to_fill_holes,
	"creates that fill the same holes at the same moment get the same memory")
{
	fill_for_a_while(SHMEM_4K, KIB(256));
}

PROMISE(race_to_fill_hugetlb_holes,
	"the same for hugetlb; the pool's count of reserved pages stays")
{
	const char *reserved = "/sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages";
	long before = file_number(reserved, "");

	fill_for_a_while(HUGETLB_2M, MIB(4));
	check_eq(file_number(reserved, ""), before);
}

/* The kernel makes a huge page of small pages while a create takes one of them. */

#define COLLAPSED pmd_size()

struct collapse {
	struct memory mem;
	char *map;		/* aligned */
	pthread_barrier_t start;
	unsigned int done;	/* number of huge pages made */
	long us;		/* duration of the last collapse that succeeded */
};

/* Fails if the create pinned the page first. */
static void collapse(struct collapse *c)
{
	double begun = seconds_now();

	if (!madvise(c->map, COLLAPSED, MADV_COLLAPSE)) {
		c->done++;
		c->us = (seconds_now() - begun) * 1e6;
	}
}

static void *collapse_at_the_start(void *arg)
{
	struct collapse *c = arg;

	pthread_barrier_wait(&c->start);
	collapse(c);
	return NULL;
}

static void fill_small_pages(struct collapse *c)
{
	memory_punch(&c->mem, 0, COLLAPSED);
	stamp_pages(c->map, COLLAPSED);
}

/* Takes the first page, which the kernel copies first: this leaves the most time. */
static void create_during_collapse(struct collapse *c, unsigned int round)
{
	pthread_t thread;
	__u64 *map;
	int fd;

	fill_small_pages(c);
	check_eq(pthread_create(&thread, NULL, collapse_at_the_start, c), 0);
	pthread_barrier_wait(&c->start);
	usleep(round * 7919ul % (c->us + 1));
	fd = create_range(&c->mem, 0, PAGE);
	map = (__u64 *)map_dma_buf(fd, 0, PAGE);
	check_eq(*map, stamp(0));
	*map = round;
	pthread_join(thread, NULL);
	check_eq(*(volatile __u64 *)c->map, (__u64)round);
	must(munmap(map, PAGE));
	must(close(fd));
}

PROMISE(written_memory_survives_collapse,
	"a page taken while the kernel makes it a part of a huge page stays the memfd's",
	TAG_PEER)
{
	struct collapse c = { .mem = memory_make(SHMEM_4K, COLLAPSED) };
	long end = now_ms() + 2 * MILLISECONDS;
	unsigned int round, tries;

	needs_thp();
	c.map = map_at_aligned_place(c.mem.fd, COLLAPSED, COLLAPSED, MAP_SHARED);
	pthread_barrier_init(&c.start, NULL, 2);
	/* Without a create, to measure the time; others may hold a page for a moment. */
	for (tries = 0; !c.done && tries < 20; tries++) {
		fill_small_pages(&c);
		collapse(&c);
	}
	check_eq(c.done, 1u);
	for (round = 1; now_ms() < end || round <= 50; round++)
		create_during_collapse(&c, round);
	note("%u of %u times the huge page came", c.done - 1, round - 1);
}

/* A thread rewrites a request while the kernel reads it. */

struct shifting {
	struct memory mem;
	struct dmabufx_segment segments[16];
	struct dmabufx_create req;
	int device;
};

static void rewrite(void *arg, unsigned int round)
{
	struct shifting *s = arg;
	volatile struct dmabufx_segment *seg = &s->segments[round % 16];

	seg->size = round % 5 ? PAGE : round % 3 ? -PAGE : 0;
	seg->offset = round % 7 ? round % 64 * PAGE : 1ull << 63;
	seg->fd = round % 11 ? s->mem.fd : -1;
	*(volatile __u32 *)&s->req.nr_segments = round % 17;
	*(volatile __u32 *)&s->req.size = round % 13 ? sizeof(s->req) : round;
}

static void create_of_shifting(void *arg, unsigned int round)
{
	struct shifting *s = arg;
	int fd = ioctl(s->device, DMABUFX_IOC_CREATE, &s->req);
	__u64 size;

	(void)round;
	if (fd < 0) {
		check(errno == EINVAL || errno == EBADF || errno == ERANGE ||
		      errno == EFBIG || errno == E2BIG);
		return;
	}
	size = lseek(fd, 0, SEEK_END);
	/*
	 * The driver reads each field once. A thread may write half of a size meanwhile,
	 * but each of up to 16 segments lies within the memfd.
	 */
	check(size && size <= 16 * s->mem.size && size % PAGE == 0);
	must(munmap(map_dma_buf(fd, 0, size), size));
	must(close(fd));
}

PROMISE(race_request_changes_while_it_is_read,
	"a request that another thread rewrites is read once, and accepted or refused")
{
	struct shifting s = {
		.mem = memory_make(SHMEM_4K, KIB(256)), .device = device_open(),
	};
	struct runner runners[] = {
		{ "rewrite", rewrite, &s },
		{ "create", create_of_shifting, &s },
		{ "create", create_of_shifting, &s },
	};
	int i;

	for (i = 0; i < 16; i++)
		s.segments[i] = segment(&s.mem, i * PAGE, PAGE);
	s.req = request(s.segments, 16, 0);
	race(runners, ARRAY_SIZE(runners));
}
