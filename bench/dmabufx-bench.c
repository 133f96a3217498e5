// SPDX-License-Identifier: GPL-2.0-only
/*
 * The bench: does the same work with the in-tree udmabuf, with dmabufx, and with
 * the kernel's own primitives (the floor), for each kind of memory and each size.
 *
 * Results are lines "who memory size operation value", one for each repetition,
 * written at once. Values are nanoseconds, which are instructions if the clock
 * counts those; "memory" is bytes, "folios" and "nents" are counts.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/dma-buf.h>

#include "../examples/number.h"
#include "../uapi/linux/dmabufx.h"
#include "bench.h"
#include "kernel/dmabufx-bench.h"

static const struct memory memories[] = {
	{ "4k-fresh", "4 KiB pages", 4 * KIB, false, FRESH, false, GIB },
	{ "64k-fresh", "64 KiB mTHP", 64 * KIB, false, FRESH, false, GIB },
	{ "2m-fresh", "2 MiB THP", 2 * MIB, false, FRESH, false, GIB },
	{ "2m-scattered", "2 MiB THP, scattered", 2 * MIB, false, SCATTERED, false, GIB },
	{ "hugetlb-2m", "2 MiB hugetlb", 2 * MIB, true, FRESH, false, GIB },
	{ "hugetlb-1g", "1 GiB hugetlb", GIB, true, FRESH, false, GIB },
	{ "4k-pieces", "4 KiB pages, in pieces", 4 * KIB, false, LISTED, false, 256 * MIB },
	{ "4k-scattered", "4 KiB pages, scattered", 4 * KIB, false, SCATTERED, false, 256 * MIB },
	{ "4k-user", "4 KiB pages, a program's own", 4 * KIB, false, FRESH, true, 256 * MIB },
	{ "2m-user", "2 MiB THP, a program's own", 2 * MIB, false, FRESH, true, GIB },
};

/* 2 MiB is needed to compare one folio of 2 MiB with one of 1 GiB. */
static const size_t sizes[] = {
	MIB, 2 * MIB, 4 * MIB, 16 * MIB, 64 * MIB, 256 * MIB, GIB
};

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static struct {
	unsigned int repetitions;
	size_t max_size;
	const char *only;
	FILE *results;
} options = { .repetitions = 3, .max_size = GIB };

/* /dev/dmabufx-bench, or -1 if it is missing; then operations that need it are skipped. */
static int kernel = -1;

/* The current subject of measurement, for the results. */
struct subject {
	const char *who;
	const struct memory *mem;
	size_t size;
	/* The buffer's memory: ranges of a memfd, or the program's own memory. */
	struct udmabuf_create_list *list;
	void *user;
};

static void result(const struct subject *subject, const char *operation,
		   uint64_t value)
{
	fprintf(options.results, "%s\t%s\t%zu\t%s\t%llu\n", subject->who,
		subject->mem->name, subject->size, operation,
		(unsigned long long)value);
}

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* Lets the kernel finish work that the previous step has deferred. */
static void settle(void)
{
	usleep(3000);
}

/* Processes */

static uint64_t time_touch(const volatile char *addr, size_t size)
{
	size_t page = sysconf(_SC_PAGESIZE);
	uint64_t start = now();

	for (size_t i = 0; i < size; i += page)
		(void)addr[i];
	return now() - start;
}

static uint64_t time_munmap(char *addr, size_t size)
{
	uint64_t start = now();

	munmap(addr, size);
	return now() - start;
}

static void measure_mmap(const struct subject *subject, int fd)
{
	char *addr = map_aligned(subject->size, fd);

	if (addr == MAP_FAILED)
		err(EXIT_FAILURE, "mmap of %s", subject->who);
	result(subject, "first-byte", time_touch(addr, 1));
	munmap(addr, subject->size);

	settle();
	addr = map_aligned(subject->size, fd);
	if (addr == MAP_FAILED)
		err(EXIT_FAILURE, "mmap of %s", subject->who);
	result(subject, "touch", time_touch(addr, subject->size));
	result(subject, "touch-again", time_touch(addr, subject->size));
	result(subject, "munmap", time_munmap(addr, subject->size));
	settle();
}

/*
 * Maps the buffer in @nr windows side by side, of a page each, or as a whole. Neighbours
 * are no neighbours in the buffer, so that each window stays an area of its own.
 */
static char *map_windows(const struct subject *subject, int fd, unsigned int nr)
{
	size_t page = sysconf(_SC_PAGESIZE), pages = subject->size / page;
	char *addr;

	if (nr == 1)
		return map_aligned(subject->size, fd);
	addr = map_aligned(nr * page, -1);
	for (unsigned int i = 0; addr != MAP_FAILED && i < nr; i++)
		if (mmap(addr + i * page, page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			 fd, (pages - 1 - i % pages) * page) == MAP_FAILED)
			err(EXIT_FAILURE, "mmap of a window");
	return addr;
}

static uint64_t time_fork(void)
{
	uint64_t start = now(), cost;
	pid_t pid = fork();

	if (pid < 0)
		err(EXIT_FAILURE, "fork");
	if (!pid)
		_exit(0);
	cost = now() - start;
	waitpid(pid, NULL, 0);
	return cost;
}

static uint64_t time_mprotect(char *addr, size_t size)
{
	uint64_t start = now();

	if (mprotect(addr, size, PROT_READ) || mprotect(addr, size, PROT_READ | PROT_WRITE))
		err(EXIT_FAILURE, "mprotect");
	return now() - start;
}

static void measure_windows(const struct subject *subject, int fd, unsigned int nr)
{
	size_t page = sysconf(_SC_PAGESIZE), size = nr == 1 ? subject->size : nr * page;
	char *addr = map_windows(subject, fd, nr);

	if (addr == MAP_FAILED)
		err(EXIT_FAILURE, "mmap of %s", subject->who);
	time_touch(addr, size);
	result(subject, nr == 1 ? "fork" : "fork-1000", time_fork());
	settle();
	time_touch(addr, size);
	result(subject, nr == 1 ? "mprotect" : "mprotect-1000", time_mprotect(addr, size));
	munmap(addr, size);
	settle();
}

static void measure_untouched(const struct subject *subject, int fd)
{
	uint64_t start = now();
	char *addr = mmap(NULL, subject->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (addr == MAP_FAILED)
		err(EXIT_FAILURE, "mmap of %s", subject->who);
	munmap(addr, subject->size);
	result(subject, "mmap", now() - start);
}

static void synchronise(int fd)
{
	struct dma_buf_sync sync = { DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW };

	if (ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync))
		err(EXIT_FAILURE, "DMA_BUF_IOCTL_SYNC");
	sync.flags = DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW;
	if (ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync))
		err(EXIT_FAILURE, "DMA_BUF_IOCTL_SYNC");
}

static void hold(const struct subject *subject, int fd, unsigned int count)
{
	struct dmabufx_bench_hold hold = { .fd = fd, .count = count };

	if (ioctl(kernel, DMABUFX_BENCH_HOLD, &hold))
		err(EXIT_FAILURE, "%s: attach and map", subject->who);
	if (!count)
		result(subject, "attach", hold.attach);
}

/* The first bracket is not measured: udmabuf maps the buffer for itself then. */
static void measure_sync(const struct subject *subject, int fd, const char *operation)
{
	uint64_t start;

	synchronise(fd);
	start = now();
	synchronise(fd);
	result(subject, operation, now() - start);
}

/* What programs do for each frame and each window. */
static void measure_frames(const struct subject *subject, int fd)
{
	measure_sync(subject, fd, "sync");
	if (kernel >= 0) {
		hold(subject, fd, 1);
		measure_sync(subject, fd, "sync-1");
		hold(subject, fd, 16);
		measure_sync(subject, fd, "sync-16");
		hold(subject, fd, 0);
	}
	measure_untouched(subject, fd);
	measure_windows(subject, fd, 1);
	measure_windows(subject, fd, 1000);
}

/* An exporter: udmabuf or dmabufx */

static int create_of_user(int device, const struct subject *subject)
{
	struct dmabufx_segment segment = {
		.type = DMABUFX_USER,
		.address = (uintptr_t)subject->user,
		.size = subject->size,
	};
	struct dmabufx_create request = {
		.size = sizeof(request),
		.flags = DMABUFX_CREATE_CLOEXEC,
		.segments = (uintptr_t)&segment,
		.nr_segments = 1,
		.segment_size = sizeof(segment),
	};

	return ioctl(device, DMABUFX_IOC_CREATE, &request);
}

static int create_of_memfd(int device, const struct subject *subject)
{
	struct udmabuf_create request = {
		.memfd = subject->list->list[0].memfd,
		.flags = subject->list->flags,
		.size = subject->size,
	};

	return subject->list->count > 1 ?
		ioctl(device, UDMABUF_CREATE_LIST, subject->list) :
		ioctl(device, UDMABUF_CREATE, &request);
}

static int create(int device, const struct subject *subject)
{
	return subject->user ? create_of_user(device, subject) :
			       create_of_memfd(device, subject);
}

static uint64_t time_close(int fd)
{
	uint64_t start = now();

	close(fd);
	return now() - start;
}

static void measure_map(const struct subject *subject, int dmabuf)
{
	struct dmabufx_bench_map map = { .fd = dmabuf };

	if (ioctl(kernel, DMABUFX_BENCH_MAP, &map))
		err(EXIT_FAILURE, "%s: attach and map", subject->who);
	result(subject, "map", map.first);
	result(subject, "map-next", map.next);
	result(subject, "unmap", map.last);
	result(subject, "nents", map.nents);
	settle();
}

static void measure_vmap(const struct subject *subject, int dmabuf)
{
	struct dmabufx_bench_vmap vmap = { .fd = dmabuf };

	if (ioctl(kernel, DMABUFX_BENCH_VMAP, &vmap))
		err(EXIT_FAILURE, "%s: vmap", subject->who);
	result(subject, "vmap", vmap.first);
	result(subject, "vunmap", vmap.vunmap);
	result(subject, "vmap-next", vmap.next);
	settle();
}

static int must_create(int device, const struct subject *subject)
{
	int dmabuf = create(device, subject);

	if (dmabuf < 0)
		err(EXIT_FAILURE, "%s: create", subject->who);
	return dmabuf;
}

/*
 * Makes three buffers: "release" is measured with one that was never vmapped, and that
 * udmabuf has not mapped for itself, as SYNC makes it do.
 */
static void measure_exporter(int device, const struct subject *subject)
{
	uint64_t start = now();
	int dmabuf = must_create(device, subject);

	result(subject, "create", now() - start);
	settle();
	if (kernel >= 0)
		measure_map(subject, dmabuf);
	measure_mmap(subject, dmabuf);
	result(subject, "release", time_close(dmabuf));
	settle();

	dmabuf = must_create(device, subject);
	measure_frames(subject, dmabuf);
	close(dmabuf);
	settle();
	if (kernel < 0)
		return;

	dmabuf = must_create(device, subject);
	settle();
	measure_vmap(subject, dmabuf);
	result(subject, "release-vmapped", time_close(dmabuf));
	settle();
}

/* Measures kernel memory for a buffer, less that for an empty dma-buf. */
static void measure_memory(int device, const struct subject *subject)
{
	size_t empty;
	int dmabuf;

	if (kernel < 0 || !kmem_start())
		return;
	dmabuf = ioctl(kernel, DMABUFX_BENCH_EXPORT);
	empty = kmem_stop();
	close(dmabuf);

	kmem_start();
	dmabuf = create(device, subject);
	result(subject, "memory", kmem_stop() - empty);
	close(dmabuf);
	settle();
}

/* The floor */

static void floor_pin_and_map(const struct subject *subject, uint64_t *pin)
{
	struct dmabufx_bench_floor floor = {
		.list = (uintptr_t)subject->list->list,
		.count = subject->list->count,
	};

	if (ioctl(kernel, DMABUFX_BENCH_FLOOR, &floor))
		err(EXIT_FAILURE, "the kernel's primitives");
	*pin = floor.pin;
	result(subject, "map", floor.map_first);
	result(subject, "map-next", floor.map_next);
	result(subject, "unmap", floor.map_last);
	result(subject, "nents", floor.runs);
	result(subject, "folios", floor.folios);
	result(subject, "vmap", floor.vmap);
	result(subject, "vunmap", floor.vunmap);
	settle();
}

/* The rest has no floor: it does not depend on where a run comes from. */
static void measure_user_floor(const struct subject *subject)
{
	struct dmabufx_bench_pin pin = {
		.address = (uintptr_t)subject->user,
		.size = subject->size,
	};

	if (ioctl(kernel, DMABUFX_BENCH_PIN, &pin))
		err(EXIT_FAILURE, "cannot pin user memory");
	result(subject, "create", pin.pin);
	result(subject, "release", pin.unpin);
	settle();
}

static void measure_floor(const struct subject *subject)
{
	uint64_t pin, unpin, start, export;
	int dmabuf;

	floor_pin_and_map(subject, &pin);

	start = now();
	dmabuf = ioctl(kernel, DMABUFX_BENCH_EXPORT);
	export = now() - start;
	if (dmabuf < 0)
		err(EXIT_FAILURE, "cannot export an empty dma-buf");
	result(subject, "create", pin + export);
	settle();

	measure_mmap(subject, kernel);

	if (ioctl(kernel, DMABUFX_BENCH_UNPIN, &unpin))
		err(EXIT_FAILURE, "cannot unpin");
	result(subject, "release", unpin + time_close(dmabuf));
	settle();
}

/* All of it */

static void measure_device(const char *path, struct subject *subject)
{
	int device, dmabuf;

	subject->who = path + strlen("/dev/");
	if (subject->user && strcmp(subject->who, "dmabufx"))
		return;
	device = open(path, O_RDWR | O_CLOEXEC);
	if (device < 0)
		return;
	dmabuf = create(device, subject);
	if (dmabuf < 0) {
		printf(" (%s: %m)", subject->who);
	} else {
		close(dmabuf);
		settle();
		for (unsigned int i = 0; i < options.repetitions; i++)
			measure_exporter(device, subject);
		measure_memory(device, subject);
	}
	close(device);
}

static void measure_size(const struct memory *mem, int memfd, void *user,
			 size_t size)
{
	struct subject subject = {
		.mem = mem,
		.size = size,
		.list = user ? NULL : memory_list(mem, memfd, size),
		.user = user,
	};

	if (size < GIB)
		printf(" %zu", size / MIB);
	else
		printf(" %zu MiB", size / MIB);
	fflush(stdout);

	measure_device("/dev/udmabuf", &subject);
	measure_device("/dev/dmabufx", &subject);
	subject.who = "floor";
	for (unsigned int i = 0; kernel >= 0 && i < options.repetitions; i++) {
		if (user)
			measure_user_floor(&subject);
		else
			measure_floor(&subject);
	}
	free(subject.list);
	fflush(options.results);
}

/* Makes one memfd, or private memory, of the largest size; smaller buffers are its beginning. */
static void measure_memory_kind(const struct memory *mem)
{
	size_t max = mem->max < options.max_size ? mem->max : options.max_size;
	size_t min = mem->folio == GIB ? 256 * MIB : mem->folio;
	size_t whole = max < mem->folio ? mem->folio : max;
	void *user = NULL;
	int memfd = -1;

	if (max < min)
		return;
	printf("%s:", mem->text);
	fflush(stdout);
	if (mem->user)
		user = memory_map_user(mem, whole);
	else
		memfd = memory_create(mem, whole);
	if (user == MAP_FAILED || (!user && memfd < 0)) {
		printf(" not measured, there is no such memory (%m)\n");
		return;
	}

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		if (sizes[i] >= min && sizes[i] <= max)
			measure_size(mem, memfd, user, sizes[i]);
	putchar('\n');
	if (user)
		munmap(user, whole);
	else
		close(memfd);
}

static void print_usage(FILE *file)
{
	fputs("usage: dmabufx-bench [OPTION...]\n"
	      "\n"
	      "Does the same work on /dev/udmabuf, on /dev/dmabufx and, with dmabufx-bench.ko,\n"
	      "by the kernel's own primitives, and writes down what each step took.\n"
	      "\n"
	      "  -o, --output FILE     results, a line each (default: standard output)\n"
	      "  -r, --repetitions N   default 3\n"
	      "  -s, --size MIB        largest size (default 1024)\n"
	      "  -m, --memory NAME     only this kind of memory:\n",
	      file);
	for (size_t i = 0; i < ARRAY_SIZE(memories); i++)
		fprintf(file, "                          %-14s %s\n",
			memories[i].name, memories[i].text);
}

static void parse_options(int argc, char **argv)
{
	static const struct option list[] = {
		{ "output", required_argument, NULL, 'o' },
		{ "repetitions", required_argument, NULL, 'r' },
		{ "size", required_argument, NULL, 's' },
		{ "memory", required_argument, NULL, 'm' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	int option;

	options.results = stdout;
	while ((option = getopt_long(argc, argv, "o:r:s:m:h", list, NULL)) != -1) {
		switch (option) {
		case 'o':
			options.results = fopen(optarg, "we");
			if (!options.results)
				err(EXIT_FAILURE, "%s", optarg);
			break;
		case 'r':
			options.repetitions = parse_number(optarg, 1, UINT_MAX);
			break;
		case 's':
			options.max_size = parse_number(optarg, 1, SIZE_MAX / MIB) * MIB;
			break;
		case 'm':
			options.only = optarg;
			break;
		case 'h':
			print_usage(stdout);
			exit(EXIT_SUCCESS);
		default:
			print_usage(stderr);
			exit(EXIT_FAILURE);
		}
	}
}

int main(int argc, char **argv)
{
	bool any = false;

	parse_options(argc, argv);
	kernel = open("/dev/dmabufx-bench", O_RDWR | O_CLOEXEC);

	for (size_t i = 0; i < ARRAY_SIZE(memories); i++) {
		if (options.only && strcmp(options.only, memories[i].name))
			continue;
		measure_memory_kind(&memories[i]);
		any = true;
	}
	if (!any)
		errx(EXIT_FAILURE, "no memory is called %s; --help lists them",
		     options.only);
	return EXIT_SUCCESS;
}
