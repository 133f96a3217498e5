// SPDX-License-Identifier: MIT
/*
 * Every allocation and every copy to or from user space fails once.
 *
 * A sweep calls an operation that succeeds again and again. The first allocation or copy
 * in the call fails, then the second, and so on until there are no more (fail-nth). Each
 * call either succeeds, with the right data, or fails as <linux/dmabufx.h> says. After a
 * failure, descriptors, pins, charges, dma-bufs and memory are as before. The end of this
 * file has other means for allocations that are tried again after a failure.
 *
 * This needs a kernel with fault injection. Kernel memory that is lost is found by
 * kmemleak after all tests (guest-run).
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DEFAULT_TAGS TAG_FAIL_NTH

#include "buffer.h"
#include "harness.h"
#include "kexport.h"
#include "memory.h"
#include "watch.h"

#define DEBUGFS "/sys/kernel/debug/"
#define MOST_PARTS 128

/* More steps than any operation has: a sweep that gets this far would never end. */
#define ENDLESS 2000

/*
 * Values that must be as before. @counters and @pinned_kib take long to read, so they are
 * compared only after a sweep.
 */
struct state {
	int device;
	int free_fd;
	struct dmabufx_query query;
	struct counters counters;
	long pinned_kib;
};

static void state_read(struct state *s)
{
	s->query = device_query(s->device);
	/* A higher number means that a descriptor was not closed. */
	s->free_fd = must(dup(s->device));
	must(close(s->free_fd));
}

static void state_read_all(struct state *s)
{
	state_read(s);
	s->pinned_kib = file_number("/proc/self/status", "VmPin:");
	counters_read(&s->counters);
}

static void state_check(const char *what, unsigned int n,
			const struct state *before)
{
	struct state now = *before;

	state_read(&now);
	if (now.free_fd != before->free_fd)
		fail("%s, failure %u: descriptor %d is not free", what, n,
		     before->free_fd);
	if (memcmp(&now.query, &before->query, sizeof(now.query)))
		fail("%s, failure %u: charges were %lld and %lld, are %lld and %lld",
		     what, n, before->query.memfd_pinned,
		     before->query.user_locked, now.query.memfd_pinned,
		     now.query.user_locked);
}

/* Returns what differs from @before, or NULL. */
static const char *state_differs(const struct state *before)
{
	struct state now = *before;
	int leak;

	state_read_all(&now);
	if (now.pinned_kib != before->pinned_kib)
		return "VmPin";
	leak = counters_settle(&before->counters, &now.counters);
	return leak < 0 ? NULL : counter_name[leak];
}

/* Fault injection. */

static void set(const char *file, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), DEBUGFS "%s", file);
	if (!file_write(path, value))
		skip("needs fault injection: %s: %s", path, errno_name(errno));
}

/* Opens this thread's fail-nth. All allocations may fail, and the log stays silent. */
static int fail_nth_open(void)
{
	int fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		skip("needs a kernel with fault injection");
	set("failslab/verbose", "0");
	set("failslab/ignore-gfp-wait", "N");
	set("failslab/cache-filter", "N");
	set("fail_page_alloc/verbose", "0");
	set("fail_page_alloc/ignore-gfp-wait", "N");
	set("fail_page_alloc/ignore-gfp-highmem", "N");
	set("fail_page_alloc/min-order", "0");
	set("fail_usercopy/verbose", "0");
	return fd;
}

static void inject(int fail_nth, unsigned int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", n);

	check_eq(pwrite(fail_nth, text, len, 0), len);
}

/*
 * Ends the injection; returns whether something has failed. Reading and writing this file
 * can fail, too: after all steps of the operation, the read itself is the next step.
 */
static bool injected(int fail_nth)
{
	char left[16] = "";
	bool happened = pread(fail_nth, left, sizeof(left), 0) > 0 &&
			atoi(left) == 0;

	while (pwrite(fail_nth, "0", 1, 0) < 0)
		;
	return happened;
}

/**
 * struct operation - a call that is made with failures in it
 * @what: its name, for messages
 * @prepare: makes the call possible, or NULL
 * @call: the operation; returns -1 and errno, or another result
 * @finish: verifies and undoes a success, or NULL
 * @explain: verifies what a failure says besides errno, or NULL
 * @clean: undoes lasting effects of a call, failed or not, or NULL
 * @arg: argument of all of them
 * @errors: allowed errors, ended by 0
 */
struct operation {
	const char *what;
	void (*prepare)(void *arg);
	int (*call)(void *arg);
	void (*finish)(void *arg, int result);
	void (*explain)(void *arg, int error);
	void (*clean)(void *arg);
	void *arg;
	int errors[4];
};

static void check_error(const struct operation *op, unsigned int n, int error)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(op->errors) && op->errors[i]; i++)
		if (op->errors[i] == error)
			return;
	fail("%s, failure %u: %s", op->what, n, errno_name(error));
}

/**
 * struct sweep - calls of an operation
 * @op: the operation
 * @fail_nth: this thread's file
 * @careful: compare everything after each call
 * @before: the state to compare with
 * @failures: how many calls failed
 */
struct sweep {
	const struct operation *op;
	int fail_nth;
	bool careful;
	struct state before;
	unsigned int failures;
};

static void judge_call(struct sweep *s, unsigned int n, bool happened, int result,
		       int error)
{
	const struct operation *op = s->op;

	if (result >= 0) {
		if (op->finish)
			op->finish(op->arg, result);
		return;
	}
	check_error(op, n, error);
	if (!happened)
		fail("%s: %s, without an injected failure", op->what,
		     errno_name(error));
	s->failures++;
	if (op->explain)
		op->explain(op->arg, error);
}

/* One call, with its @n-th step failing. Returns whether there was such a step. */
static bool call_failing(struct sweep *s, unsigned int n)
{
	const struct operation *op = s->op;
	const char *what;
	int result, error;
	bool happened;

	if (op->prepare)
		op->prepare(op->arg);
	inject(s->fail_nth, n);
	result = op->call(op->arg);
	error = errno;
	happened = injected(s->fail_nth);

	judge_call(s, n, happened, result, error);
	if (op->clean)
		op->clean(op->arg);
	state_check(op->what, n, &s->before);
	what = s->careful ? state_differs(&s->before) : NULL;
	if (what)
		fail("%s, failure %u: %s", op->what, n, what);
	return happened;
}

/* Returns how many steps there are. */
static unsigned int sweep_once(struct sweep *s)
{
	unsigned int n = 0;

	s->failures = 0;
	state_read_all(&s->before);
	while (call_failing(s, ++n))
		check_le(n, ENDLESS);
	return n - 1;
}

static void sweep(const struct operation *op)
{
	struct sweep s = { op, fail_nth_open(), .before.device = device_open() };
	unsigned int steps = sweep_once(&s);
	const char *what = state_differs(&s.before);

	if (what) {
		/* Repeat it to find the step. */
		s.careful = true;
		sweep_once(&s);
		fail("%s: %s", op->what, what);
	}
	close(s.before.device);
	close(s.fail_nth);
	note("%s: %u steps, %u calls failed", op->what, steps, s.failures);
	/* A sweep without an injected failure proves nothing. */
	if (!steps && op->errors[0])
		fail("%s: nothing was injected", op->what);
}

/* Sources of memory, and the calls that make buffers. */

/**
 * struct source - a buffer to be made
 * @parts: @nr_parts of them, with the pattern of pass 1 unless @untouched
 * @untouched: the memory is not allocated yet; the create fills it with zeros
 * @flags: of DMABUFX_IOC_CREATE
 * @name: the buffer's name, or NULL
 * @req: the last request
 * @device: the node
 */
struct source {
	struct part parts[MOST_PARTS];
	unsigned int nr_parts;
	bool untouched;
	__u32 flags;
	const char *name;
	struct dmabufx_create req;
	int device;
};

enum { SCATTERED_PAGES = 96 };

/*
 * Neighbouring pages of this memory are allocated at different times, so that few are
 * neighbours in physical memory. The second part is longer than the first, so that the
 * run table grows in the middle of a batch.
 */
static struct source source_of_scattered(struct memory *mem)
{
	const __u64 first = 8 * PAGE;
	enum { STEP = 35 };
	struct source s = { .device = device_open(), .nr_parts = 2 };
	unsigned int pages = mem->size / PAGE, i, runs = 1;

	check(pages % 5 && pages % 7);
	for (i = 0; i < pages; i++)
		mem->map[i * STEP % pages * PAGE] = 1;
	for (i = 1; i < pages; i++)
		runs += page_frame(mem->map + i * PAGE) !=
			page_frame(mem->map + (i - 1) * PAGE) + 1;
	note("%s: %u runs", memory_name(mem->kind), runs);
	check_le(pages * 3 / 4, runs);

	pattern_fill(mem->map, 1, mem->id, 0, mem->size);
	s.parts[0] = (struct part){ mem, 0, first };
	s.parts[1] = (struct part){ mem, first, mem->size - first };
	return s;
}

/* Two thirds of the memory, in two parts that are not neighbours. */
static void source_add(struct source *s, struct memory *mem)
{
	__u64 third = mem->size / 3 & -PAGE;

	s->parts[s->nr_parts++] = (struct part){ .mem = mem, .size = third };
	s->parts[s->nr_parts++] = (struct part){
		.mem = mem,
		.offset = 2 * third,
		.size = third,
	};
}

static struct source source_of(struct memory *mem)
{
	struct source s = { .device = device_open() };

	source_add(&s, mem);
	return s;
}

static __u64 source_size(const struct source *s)
{
	__u64 size = 0;
	unsigned int i;

	for (i = 0; i < s->nr_parts; i++)
		size += s->parts[i].size;
	return size;
}

static void check_zeros(const char *map, __u64 size)
{
	static const char zeros[LARGEST_PAGE];
	__u64 at;

	for (at = 0; at < size; at += PAGE)
		check(!memcmp(map + at, zeros, PAGE));
}

/* Verifies the contents of a mapping of the buffer. */
static void source_shown(const struct source *s, const char *map)
{
	unsigned int i;

	for (i = 0; i < s->nr_parts; i++) {
		const struct part *part = &s->parts[i];

		if (s->untouched)
			check_zeros(map, part->size);
		else
			pattern_check(map, 1, part->mem->id, part->offset,
				      part->size, "mmap");
		map += part->size;
	}
}

static void show_and_close(void *arg, int fd)
{
	const struct source *s = arg;
	__u64 size = source_size(s);
	char *map = must(mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0));

	check_eq(lseek(fd, 0, SEEK_END), size);
	source_shown(s, map);
	must(munmap(map, size));
	must(close(fd));
}

/* Frees the memory that the create has allocated. */
static void untouch(void *arg)
{
	const struct source *s = arg;
	unsigned int i;

	for (i = 0; s->untouched && i < s->nr_parts; i++) {
		const struct part *part = &s->parts[i];
		size_t folio = part->mem->folio;
		size_t size = (part->size + folio - 1) & -folio;

		if (part->mem->fd >= 0)
			memory_punch(part->mem, part->offset & -folio,
				     size + folio);
		else
			must(madvise(part->mem->map + part->offset, part->size,
				     MADV_DONTNEED));
	}
}

static int call_create(void *arg)
{
	const struct source *s = arg;
	const struct part *part = &s->parts[0];

	return try_create(s->device, list_item(part->mem, part->offset, part->size),
			  0);
}

static int call_create_list(void *arg)
{
	const struct source *s = arg;
	struct udmabuf_create_item items[MOST_PARTS] = {};
	unsigned int i;

	for (i = 0; i < s->nr_parts; i++)
		items[i] = list_item(s->parts[i].mem, s->parts[i].offset,
				     s->parts[i].size);
	return try_create_list(s->device, items, s->nr_parts, 0);
}

static int call_request(void *arg)
{
	struct source *s = arg;
	struct dmabufx_segment segments[MOST_PARTS];
	unsigned int i;

	for (i = 0; i < s->nr_parts; i++)
		segments[i] = segment(s->parts[i].mem, s->parts[i].offset,
				      s->parts[i].size);
	s->req = request(segments, s->nr_parts, s->flags);
	s->req.name = (uintptr_t)s->name;
	return try_request(s->device, &s->req);
}

/* Verifies that the reason and the segment fit the error, as the header says. */
static void reason_given(void *arg, int error)
{
	const struct source *s = arg;
	__u32 reason = s->req.reason, failed = s->req.failed_segment;

	/* If the driver could not read the struct, it has not changed it. */
	if (error == EFAULT && reason == 0xfeedface && failed == 0xdeadbeef)
		return;
	/* The request as a whole is to blame, or its name. */
	if (failed == s->nr_parts && (reason == DMABUFX_REASON_NONE ||
				      (error == EFAULT && reason == DMABUFX_REASON_NAME)))
		return;
	if (failed < s->nr_parts && error == ENOMEM &&
	    reason == DMABUFX_REASON_NO_MEMORY)
		return;
	fail("%s, reason %u, segment %u of %u", errno_name(error), reason, failed,
	     s->nr_parts);
}

/* Sweeps over UDMABUF_CREATE with the first part alone. */
static void sweep_create(struct source s)
{
	s.nr_parts = 1;
	sweep(&(struct operation){
		.what = "UDMABUF_CREATE",
		.call = call_create,
		.finish = show_and_close,
		.clean = untouch,
		.arg = &s,
		.errors = { ENOMEM, EFAULT },
	});
}

static void sweep_list(struct source *s)
{
	sweep(&(struct operation){
		.what = "UDMABUF_CREATE_LIST",
		.call = call_create_list,
		.finish = show_and_close,
		.clean = untouch,
		.arg = s,
		.errors = { ENOMEM, EFAULT },
	});
}

static void sweep_request(struct source *s)
{
	sweep(&(struct operation){
		.what = "DMABUFX_IOC_CREATE",
		.call = call_request,
		.finish = show_and_close,
		.explain = reason_given,
		.clean = untouch,
		.arg = s,
		.errors = { ENOMEM, EFAULT },
	});
}

static void sweep_memfd(enum memory_kind kind, size_t size)
{
	struct memory mem = memory_make_patterned(kind, size);
	struct source s = source_of(&mem);

	note("%s", memory_name(kind));
	sweep_create(s);
	sweep_list(&s);
	sweep_request(&s);
	close(s.device);
	memory_free(&mem);
}

PROMISE(fail_create_of_4k_pages,
	"creates of a memfd's pages survive every failure, and say what failed")
{
	sweep_memfd(SHMEM_4K, KIB(256));
}

PROMISE(fail_create_of_folios, "the same for folios of 64 KiB and of 2 MiB")
{
	sweep_memfd(SHMEM_64K, KIB(256));
	sweep_memfd(SHMEM_2M, MIB(4));
}

PROMISE(fail_create_of_hugetlb, "the same for hugetlb pages")
{
	sweep_memfd(HUGETLB_2M, MIB(4));
}

PROMISE(fail_create_of_1g_hugetlb, "the same for a 1 GiB hugetlb page")
{
	struct memory mem = memory_make(HUGETLB_1G, GIB(1));
	struct source s = { .device = device_open(), .nr_parts = 1 };

	s.parts[0] = (struct part){ &mem, MIB(512) - PAGE, 3 * PAGE };
	pattern_fill(mem.map + MIB(512) - PAGE, 1, mem.id, MIB(512) - PAGE,
		     3 * PAGE);
	sweep_create(s);
	sweep_request(&s);
}

PROMISE(fail_create_fills_holes,
	"creates that fill a memfd's holes survive every failure, shmem and hugetlb")
{
	struct memory shmem = memory_make_holes(SHMEM_4K, KIB(48));
	struct memory huge = memory_make_holes(HUGETLB_2M, MIB(4));
	struct source s = source_of(&shmem), h = { .device = s.device };

	s.untouched = true;
	h.untouched = true;
	h.nr_parts = 1;
	h.parts[0] = (struct part){ .mem = &huge, .offset = MIB(1), .size = MIB(1) };
	/* A punched hole does not give back pages that a mapping has reserved. */
	memory_unmap(&huge);
	sweep_create(s);
	sweep_list(&s);
	sweep_request(&s);
	sweep_create(h);
	sweep_request(&h);
}

static void sweep_user(enum memory_kind kind, size_t size)
{
	struct memory mem = memory_make_patterned(kind, size);
	struct source s = source_of(&mem);

	note("%s", memory_name(kind));
	sweep_request(&s);
	s.flags = DMABUFX_CREATE_READ_ONLY;
	sweep_request(&s);
	close(s.device);
	memory_free(&mem);
}

PROMISE(fail_create_of_user_memory,
	"writable and read-only buffers of all private memory survive every failure")
{
	sweep_user(ANON_4K, KIB(256));
	sweep_user(ANON_64K, KIB(256));
	sweep_user(ANON_2M, MIB(4));
	sweep_user(ANON_HUGETLB_2M, MIB(4));
}

static struct memory shared_memory(size_t size)
{
	struct memory mem = memory_at(must(mmap(NULL, size, PROT_READ | PROT_WRITE,
						MAP_SHARED | MAP_ANONYMOUS, -1, 0)),
				      size);

	pattern_fill(mem.map, 1, mem.id, 0, size);
	return mem;
}

PROMISE(fail_create_of_shared_memory, "the same for shared memory, anonymous or of a memfd")
{
	struct memory mem = shared_memory(KIB(256));
	struct memory huge = memory_make(HUGETLB_2M, MIB(4));
	struct memory user = memory_as_user(&huge);
	struct source s = source_of(&mem), h = source_of(&user);

	sweep_request(&s);
	pattern_fill(user.map, 1, user.id, 0, user.size);
	sweep_request(&h);
}

PROMISE(fail_create_of_untouched_memory,
	"the same for private memory that the create itself allocates")
{
	struct memory mem = memory_make_holes(ANON_4K, KIB(48));
	struct source s = source_of(&mem);

	s.untouched = true;
	sweep_request(&s);
}

PROMISE(fail_create_of_mixed_memory,
	"named buffers of memfds and user memory, writable or read-only, survive every failure")
{
	struct memory shmem = memory_make_patterned(SHMEM_4K, KIB(48));
	struct memory user = memory_make_patterned(ANON_4K, KIB(48));
	struct memory huge = memory_make_patterned(HUGETLB_2M, MIB(2));
	struct source s = source_of(&shmem);

	source_add(&s, &user);
	s.parts[s.nr_parts++] = (struct part){ &huge, MIB(1), PAGE };
	s.name = "every step fails";
	s.flags = DMABUFX_CREATE_CLOEXEC;
	sweep_request(&s);
	s.flags = DMABUFX_CREATE_READ_ONLY;
	sweep_request(&s);
}

/* Operations on a buffer. */

/**
 * struct subject - a buffer, and its importer
 * @source: the memory that it is made of
 * @fd: the dma-buf
 * @importer: an importer's descriptor
 * @map: a mapping, for @fault and @unmap
 * @place: where to map: a multiple of 2 MiB, or the page after one
 */
struct subject {
	struct source source;
	int fd;
	int importer;
	char *map;
	char *place;
};

static void subject_open(void *arg)
{
	struct subject *s = arg;

	s->fd = must(call_request(&s->source));
	s->importer = importer_open();
}

static void subject_attach(void *arg)
{
	struct subject *s = arg;

	subject_open(s);
	importer_attach(s->importer, s->fd);
}

static void subject_map(void *arg)
{
	struct subject *s = arg;

	subject_attach(s);
	importer_map(s->importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
}

static void subject_vmap(void *arg)
{
	struct subject *s = arg;

	subject_map(s);
	importer_do(s->importer, DMABUFX_IMPORTER_VMAP, 0);
}

/* Closing the importer ends its mapping and its attachment. */
static void subject_close(void *arg)
{
	struct subject *s = arg;

	must(close(s->importer));
	must(close(s->fd));
}

static int importer_call(void *arg, unsigned long request, unsigned long value)
{
	struct subject *s = arg;

	return ioctl(s->importer, request, value);
}

static int call_attach(void *arg)
{
	return importer_call(arg, DMABUFX_IMPORTER_ATTACH,
			     ((struct subject *)arg)->fd);
}

static int call_detach(void *arg)
{
	return importer_call(arg, DMABUFX_IMPORTER_DETACH, 0);
}

static int call_map(void *arg)
{
	struct dmabufx_importer_map map = {};

	return importer_call(arg, DMABUFX_IMPORTER_MAP, (uintptr_t)&map);
}

static int call_unmap(void *arg)
{
	return importer_call(arg, DMABUFX_IMPORTER_UNMAP, 0);
}

static int call_vmap(void *arg)
{
	return importer_call(arg, DMABUFX_IMPORTER_VMAP, 0);
}

static int call_vunmap(void *arg)
{
	return importer_call(arg, DMABUFX_IMPORTER_VUNMAP, 0);
}

static int call_begin(void *arg)
{
	return importer_call(arg, DMABUFX_IMPORTER_BEGIN, 0);
}

static int call_end(void *arg)
{
	return importer_call(arg, DMABUFX_IMPORTER_END, 0);
}

static void read_via(struct subject *s, __u32 via)
{
	__u64 size = source_size(&s->source);
	char *data = malloc(size);

	check(data);
	importer_read(s->importer, via, 0, data, size);
	source_shown(&s->source, data);
	free(data);
}

static void mapped_right(void *arg, int result)
{
	check_eq(result, 0);
	read_via(arg, DMABUFX_VIA_DEVICE);
}

static void vmapped_right(void *arg, int result)
{
	check_eq(result, 0);
	read_via(arg, DMABUFX_VIA_VMAP);
}

/* The memory has many runs: run tables and page tables have to be allocated. */
static struct subject subject_make(void)
{
	static struct memory mem, huge;
	struct subject s = {};

	mem = memory_make_patterned(SHMEM_4K, KIB(256));
	huge = memory_make_patterned(HUGETLB_2M, MIB(2));
	s.source = source_of(&mem);
	source_add(&s.source, &huge);
	return s;
}

static void sweep_importer(const char *what, void (*prepare)(void *arg),
			   int (*call)(void *arg),
			   void (*finish)(void *arg, int result), int error)
{
	struct subject s = subject_make();

	sweep(&(struct operation){
		.what = what,
		.prepare = prepare,
		.call = call,
		.finish = finish,
		.clean = subject_close,
		.arg = &s,
		.errors = { error, error == ENOMEM ? EFAULT : 0 },
	});
}

PROMISE(fail_attach, "attaching survives every failure; detaching never fails")
{
	sweep_importer("attach", subject_open, call_attach, NULL, ENOMEM);
	sweep_importer("detach", subject_attach, call_detach, NULL, 0);
}

PROMISE(fail_map, "mapping for a device survives every failure; unmapping never fails")
{
	sweep_importer("map", subject_attach, call_map, mapped_right, ENOMEM);
	sweep_importer("unmap", subject_map, call_unmap, NULL, 0);
}

/* dma_buf_vmap() of Linux 7.3 warns about every failure of an exporter's vmap. */
PROMISE(fail_vmap, "mapping for the kernel survives every failure; unmapping never fails")
{
	expect_report(" dma_buf_vmap+");
	sweep_importer("vmap", subject_attach, call_vmap, vmapped_right, ENOMEM);
	sweep_importer("vunmap", subject_vmap, call_vunmap, NULL, 0);
}

static int call_sync_start(void *arg)
{
	struct dma_buf_sync sync = { DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW };

	return ioctl(((struct subject *)arg)->fd, DMA_BUF_IOCTL_SYNC, &sync);
}

static int call_sync_end(void *arg)
{
	struct dma_buf_sync sync = { DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW };

	return ioctl(((struct subject *)arg)->fd, DMA_BUF_IOCTL_SYNC, &sync);
}

PROMISE(fail_cpu_access,
	"SYNC fails with EFAULT when it cannot be read; importers' brackets never fail")
{
	sweep_importer("begin", subject_map, call_begin, NULL, 0);
	sweep_importer("end", subject_map, call_end, NULL, 0);
	sweep_importer("SYNC start", subject_map, call_sync_start, NULL, EFAULT);
	sweep_importer("SYNC end", subject_map, call_sync_end, NULL, EFAULT);
}

static int call_close(void *arg)
{
	return close(((struct subject *)arg)->fd);
}

static void close_importer(void *arg)
{
	must(close(((struct subject *)arg)->importer));
}

static int call_close_all(void *arg)
{
	subject_close(arg);
	return 0;
}

PROMISE(fail_release, "the end of a buffer, in use or not, never fails")
{
	struct subject s = subject_make();

	sweep(&(struct operation){
		.what = "close",
		.prepare = subject_open,
		.call = call_close,
		.clean = close_importer,
		.arg = &s,
	});
	sweep(&(struct operation){
		.what = "close all",
		.prepare = subject_vmap,
		.call = call_close_all,
		.arg = &s,
	});
}

static int call_mmap(void *arg)
{
	struct subject *s = arg;

	s->map = mmap(s->place, source_size(&s->source), PROT_READ | PROT_WRITE,
		      MAP_SHARED | (s->place ? MAP_FIXED : 0), s->fd, 0);
	return s->map == MAP_FAILED ? -1 : 0;
}

static int call_munmap(void *arg)
{
	struct subject *s = arg;

	return munmap(s->map, source_size(&s->source));
}

static void shown_and_unmapped(void *arg, int result)
{
	struct subject *s = arg;

	check_eq(result, 0);
	source_shown(&s->source, s->map);
	must(call_munmap(s));
}

static void subject_mmap(void *arg)
{
	must(call_mmap(arg));
}

/* Touches each 2 MiB, so that a fault that may fail makes each entry. */
static int call_touch(void *arg)
{
	const struct subject *s = arg;
	__u64 at;

	for (at = 0; at < source_size(&s->source); at += MIB(2))
		*(volatile char *)(s->map + at);
	return 0;
}

static void sweep_mmap(struct subject *s)
{
	s->fd = must(call_request(&s->source));
	sweep(&(struct operation){
		.what = "mmap",
		.call = call_mmap,
		.finish = shown_and_unmapped,
		.arg = s,
		.errors = { ENOMEM },
	});
	/* The kernel repeats a fault that found no memory. */
	sweep(&(struct operation){
		.what = "fault",
		.prepare = subject_mmap,
		.call = call_touch,
		.finish = shown_and_unmapped,
		.arg = s,
	});
	must(close(s->fd));
}

/* Returns room for 4 MiB at a multiple of 2 MiB. */
static char *place_for_4m(void)
{
	return map_at_aligned_place(-1, MIB(6), MIB(2),
				    MAP_PRIVATE | MAP_ANONYMOUS);
}

PROMISE(fail_mmap_of_small_pages, "mmap and faults of single pages survive every failure")
{
	struct subject s = subject_make();

	sweep_mmap(&s);
}

PROMISE(fail_mmap_of_huge_pages,
	"mmap and faults of huge pages survive every failure, by PMDs and by PTEs")
{
	struct memory mem = memory_make_patterned(HUGETLB_2M, MIB(4));
	struct subject s = {
		.source = { .device = device_open(), .nr_parts = 1 },
		.place = place_for_4m(),
	};

	s.source.parts[0] = (struct part){ .mem = &mem, .size = MIB(4) };
	sweep_mmap(&s);
	s.place += PAGE;
	sweep_mmap(&s);
}

PROMISE(fail_mmap_of_1g_pages, "mmap and faults of a 1 GiB page survive every failure")
{
	struct memory mem = memory_make(HUGETLB_1G, GIB(1));
	char *place = map_at_aligned_place(-1, GIB(1), GIB(1),
					   MAP_PRIVATE | MAP_ANONYMOUS |
					   MAP_NORESERVE);
	int fd = create_range(&mem, 0, GIB(1)), fail_nth = fail_nth_open();
	bool happened = true;
	unsigned int n;

	for (n = 1; happened; n++) {
		char *map = must(mmap(place, GIB(1), PROT_READ | PROT_WRITE,
				      MAP_SHARED | MAP_FIXED, fd, 0));

		inject(fail_nth, n);
		*(volatile char *)(map + MIB(700)) = n;
		happened = injected(fail_nth);
		check_eq(mem.map[MIB(700)], (char)n);
		must(munmap(map, GIB(1)));
		check_le(n, ENDLESS);
	}
}

/* Calls that only read. */

static int call_query(void *arg)
{
	struct dmabufx_query query = { .size = sizeof(query) };

	return ioctl(*(int *)arg, DMABUFX_IOC_QUERY, &query);
}

struct asked {
	int device, fd;
};

static int call_info(void *arg)
{
	const struct asked *asked = arg;
	struct dmabufx_info info = { .size = sizeof(info), .fd = asked->fd };

	return ioctl(asked->device, DMABUFX_IOC_INFO, &info);
}

PROMISE(fail_query_and_info,
	"QUERY and INFO are EFAULT when a copy fails, and leave nothing behind")
{
	struct memory mem = memory_make(SHMEM_4K, KIB(64));
	struct asked asked = { device_open(), create_range(&mem, 0, KIB(64)) };

	sweep(&(struct operation){
		.what = "DMABUFX_IOC_QUERY",
		.call = call_query,
		.arg = &asked.device,
		.errors = { EFAULT },
	});
	sweep(&(struct operation){
		.what = "DMABUFX_IOC_INFO",
		.call = call_info,
		.arg = &asked,
		.errors = { EFAULT },
	});
}

/* Exports of other modules. */

struct export {
	int debugfs;
	struct kexport_get get;
};

static int call_export(void *arg)
{
	struct export *e = arg;

	return ioctl(e->debugfs, KEXPORT_GET, &e->get);
}

static void show_export(void *arg, int fd)
{
	const struct export *e = arg;
	char *map = must(mmap(NULL, e->get.size, PROT_READ, MAP_SHARED, fd, 0));

	check_zeros(map, e->get.size);
	must(munmap(map, e->get.size));
	must(close(fd));
}

static int open_kexport(const char *name)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), DEBUGFS "kexport/%s", name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		skip("needs the sample module kexport");
	return fd;
}

static void sweep_export(const char *kind, struct kexport_get get)
{
	struct export e = { .debugfs = open_kexport(kind), .get = get };

	sweep(&(struct operation){
		.what = kind,
		.call = call_export,
		.finish = show_export,
		.arg = &e,
		.errors = { ENOMEM, EFAULT },
	});
	close(e.debugfs);
}

PROMISE(fail_exports_of_modules,
	"exports of a module's iterators and files survive every failure")
{
	struct memory mem = memory_make(SHMEM_4K, KIB(64));
	struct kexport_get get = { .size = KIB(64), .file = mem.fd };

	sweep_export("kvmalloc", get);
	sweep_export("vmalloc", get);
	sweep_export("pages", get);
	sweep_export("file", get);
	get.offset = (uintptr_t)mem.map;
	sweep_export("user", get);
}

struct peek {
	int debugfs;
	const struct memory *mem;
	struct kexport_peek what;
	char seen[SCATTERED_PAGES * LARGEST_PAGE];
};

static int call_peek(void *arg)
{
	struct peek *p = arg;

	return ioctl(p->debugfs, KEXPORT_PEEK, &p->what);
}

static void compare_peek(void *arg, int result)
{
	struct peek *p = arg;

	check_eq(result, 0);
	check(!memcmp(p->seen, p->mem->map + p->what.offset, p->what.size));
	memset(p->seen, 0, p->what.size);
}

PROMISE(fail_vmap_file,
	"the kernel address of a file survives every failure")
{
	struct memory mem = memory_make_holes(SHMEM_4K, SCATTERED_PAGES * PAGE);
	struct source scattered = source_of_scattered(&mem);
	static struct peek p;

	p.mem = &mem;
	p.debugfs = open_kexport("peek");
	p.what = (struct kexport_peek) {
		.size = mem.size - 2,
		.offset = 1,
		.to = (uintptr_t)p.seen,
		.file = mem.fd,
	};
	sweep(&(struct operation){
		.what = "dmabufx_vmap_file",
		.call = call_peek,
		.finish = compare_peek,
		.arg = &p,
		.errors = { ENOMEM, EFAULT },
	});
	close(p.debugfs);
	close(scattered.device);
}

/*
 * fail-nth cannot test an allocation that is tried again after a failure, nor one that it
 * does not see. Here the first 1, 2, 3, … allocations of one kind fail, then all.
 */

/**
 * struct kind_of_failure - failures of one kind
 * @attributes: its folder in debugfs
 * @on: allows failures of this kind only
 * @off: restores the settings
 */
struct kind_of_failure {
	const char *attributes;
	void (*on)(void);
	void (*off)(void);
};

static void set_in(const char *folder, const char *file, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", folder, file);
	set(path, value);
}

static void begin_failures(const struct kind_of_failure *kind, int times)
{
	char number[16];

	snprintf(number, sizeof(number), "%d", times);
	kind->on();
	set_in(kind->attributes, "verbose", "0");
	set_in(kind->attributes, "interval", "1");
	set_in(kind->attributes, "task-filter", "Y");
	set_in(kind->attributes, "times", number);
	check(file_write("/proc/self/make-it-fail", "1"));
	set_in(kind->attributes, "probability", "100");
}

static void end_failures(const struct kind_of_failure *kind)
{
	set_in(kind->attributes, "probability", "0");
	set_in(kind->attributes, "task-filter", "N");
	check(file_write("/proc/self/make-it-fail", "0"));
	kind->off();
}

/* Returns whether the call failed. */
static bool fails_with(const struct kind_of_failure *kind, int times,
		       struct sweep *s)
{
	const struct operation *op = s->op;
	int result, error;

	begin_failures(kind, times);
	result = op->call(op->arg);
	error = errno;
	end_failures(kind);
	judge_call(s, times, true, result, error);
	if (op->clean)
		op->clean(op->arg);
	state_check(op->what, times, &s->before);
	return result < 0;
}

static void operation_fails_with(const struct kind_of_failure *kind,
				 const struct operation *op, int device,
				 const int *times)
{
	struct sweep sweep = { op, -1, .before.device = device };
	const char *what;
	bool failed;

	state_read_all(&sweep.before);
	do {
		failed = fails_with(kind, *times, &sweep);
		note("%d failures: %s", *times, failed ? "ENOMEM" : "a buffer");
	} while (*times++ != -1);
	/* The last call, in which all fail, cannot succeed. */
	check(failed);
	what = state_differs(&sweep.before);
	if (what)
		fail("%s: %s", op->what, what);
}

static void create_fails_with(const struct kind_of_failure *kind,
			      struct source *s, const int *times)
{
	operation_fails_with(kind, &(struct operation){
		.what = "DMABUFX_IOC_CREATE",
		.call = call_request,
		.finish = show_and_close,
		.clean = untouch,
		.arg = s,
		.errors = { ENOMEM },
	}, s->device, times);
}

/* The same for a create that fails when it has pinned memory already. */
static void create_fails_midway(const struct kind_of_failure *kind, struct source *s,
				const int *times)
{
	__s64 pins = file_number("/proc/vmstat", "nr_foll_pin_acquired ");

	create_fails_with(kind, s, times);
	check_le(pins + SCATTERED_PAGES / 2,
		 file_number("/proc/vmstat", "nr_foll_pin_acquired "));
}

/* Lets only objects of one cache fail. */
static void cache_on(const char *failslab)
{
	set("failslab/ignore-gfp-wait", "N");
	set("failslab/cache-filter", "Y");
	check(file_write(failslab, "1"));
}

static void cache_off(const char *failslab)
{
	check(file_write(failslab, "0"));
	set("failslab/cache-filter", "N");
}

/*
 * The cache of leaves of 86 to 170 runs: the next size after one of 64 runs. With a smaller
 * one, this kernel would not get as far as the table: struct dmabufx_buf is as large.
 */
#define TABLES "/sys/kernel/slab/kmalloc-cg-2k/failslab"

static void tables_on(void)
{
	cache_on(TABLES);
}

static void tables_off(void)
{
	cache_off(TABLES);
}

/* Every second page is a part, so that there are as many runs. */
static struct source source_of_pages(struct memory *mem)
{
	struct source s = { .device = device_open() };
	__u64 offset;

	for (offset = 0; s.nr_parts < MOST_PARTS; offset += 2 * PAGE)
		s.parts[s.nr_parts++] = (struct part){ mem, offset, PAGE };
	return s;
}

/* The cache of the tree's nodes. */
#define TREE "/sys/kernel/slab/kmalloc-cg-256/failslab"

static void tree_on(void)
{
	cache_on(TREE);
}

static void tree_off(void)
{
	cache_off(TREE);
}

PROMISE(fail_table_of_runs,
	"if its run table cannot be allocated, or cannot grow, a create gives back all it took")
{
	static const struct kind_of_failure tables = {
		"failslab", tables_on, tables_off
	};
	static const struct kind_of_failure tree = {
		"failslab", tree_on, tree_off
	};
	static const int times[] = { 1, 2, 3, 4, -1 };
	/* A third of it is a part, which has room in one leaf. */
	struct memory mem = memory_make_patterned(SHMEM_4K, 3 * MOST_PARTS * PAGE);
	struct memory user = memory_make_patterned(ANON_4K, 2 * MOST_PARTS * PAGE);
	struct source whole = source_of(&mem), pages = source_of_pages(&mem);
	struct source user_pages = source_of_pages(&user);
	struct memory apart = memory_make_holes(SHMEM_4K, SCATTERED_PAGES * PAGE);
	struct memory user_apart = memory_make_holes(ANON_4K, SCATTERED_PAGES * PAGE);
	struct source scattered = source_of_scattered(&apart);
	struct source user_scattered = source_of_scattered(&user_apart);
	/* A leaf has 341 runs. */
	struct memory many = memory_make_holes(SHMEM_4K, 768 * PAGE);
	struct source leaves = source_of_scattered(&many);

	if (access(TABLES, W_OK))
		skip("needs a kernel with fault injection");
	create_fails_with(&tables, &whole, times);
	create_fails_with(&tables, &pages, times);
	create_fails_with(&tables, &user_pages, times);
	create_fails_midway(&tables, &scattered, times);
	create_fails_midway(&tables, &user_scattered, times);
	create_fails_midway(&tree, &leaves, times);
}

/* The cache of the table of a single run. */
#define FIRST_TABLE "/sys/kernel/slab/kmalloc-cg-16/failslab"

static void first_table_on(void)
{
	cache_on(FIRST_TABLE);
}

static void first_table_off(void)
{
	cache_off(FIRST_TABLE);
}

PROMISE(fail_export_of_page_cache,
	"exports of a file's page cache survive every failure, and keep no page of it")
{
	static const struct kind_of_failure first_table = {
		"failslab", first_table_on, first_table_off
	};
	static const int times[] = { 1, 2, -1 };
	char data[KIB(64)];
	struct export e = {
		.debugfs = open_kexport("file"),
		.get = {
			.size = sizeof(data),
			.file = file_on_disk(sizeof(data)),
			.read_only = 1,
		},
	};
	struct operation op = {
		.what = "an export",
		.call = call_export,
		.finish = show_export,
		.arg = &e,
		.errors = { ENOMEM, EFAULT },
	};

	/* Fill the page cache first: otherwise the file system's allocations fail. */
	must(pread(e.get.file, data, sizeof(data), 0));
	sweep(&op);
	operation_fails_with(&first_table, &op, device_open(), times);
	check_eq(file_pages_that_stay(e.get.file, sizeof(data)), 0u);
}

#define RADIX_TREE_NODES "/sys/kernel/slab/radix_tree_node/failslab"

static void nodes_on(void)
{
	cache_on(RADIX_TREE_NODES);
}

static void nodes_off(void)
{
	cache_off(RADIX_TREE_NODES);
}

PROMISE(fail_nodes_of_page_cache,
	"a create that fills holes survives it if the page cache cannot grow")
{
	static const struct kind_of_failure nodes = {
		"failslab", nodes_on, nodes_off
	};
	static const int times[] = { 1, 2, 3, 4, 6, 8, -1 };
	struct memory mem = memory_make_holes(SHMEM_4K, MIB(1));
	struct source s = source_of(&mem);

	if (access(RADIX_TREE_NODES, W_OK))
		skip("needs a kernel with fault injection");
	s.untouched = true;
	create_fails_with(&nodes, &s, times);
}

#define INSERTION "__filemap_add_folio"

static void insertion_on(void)
{
	set("fail_function/inject", INSERTION);
	set("fail_function/" INSERTION "/retval", "0xfffffffffffffff4");
}

static void insertion_off(void)
{
	set("fail_function/inject", "!" INSERTION);
}

PROMISE(fail_insertion_of_huge_page,
	"if the page cache refuses a page for a hole of hugetlb, the pool keeps its count")
{
	static const struct kind_of_failure insertion = {
		"fail_function", insertion_on, insertion_off
	};
	static const int times[] = { 1, 2, -1 };
	const char *reserved = "/sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages";
	long before = file_number(reserved, "");
	struct memory mem = memory_make_holes(HUGETLB_2M, MIB(4));
	struct source s = { .device = device_open(), .nr_parts = 1,
			    .untouched = true };

	if (access(DEBUGFS "fail_function/inject", W_OK))
		skip("needs a kernel with fault injection");
	memory_unmap(&mem);
	s.parts[0] = (struct part){ .mem = &mem, .offset = MIB(1), .size = MIB(2) };
	create_fails_with(&insertion, &s, times);
	must(close(mem.fd));
	check_eq(file_number(reserved, ""), before);
}

/* Loading the module. A program may use its nodes before the module is loaded fully. */

#define NR_KINDS 3

static void fail_between(const char *start, const char *end)
{
	static const char * const kinds[NR_KINDS] = {
		DEBUGFS "failslab", DEBUGFS "fail_page_alloc", DEBUGFS "fail_usercopy",
	};
	size_t i;

	for (i = 0; i < NR_KINDS; i++) {
		char path[128];

		snprintf(path, sizeof(path), "%s/require-start", kinds[i]);
		check(file_write(path, start));
		snprintf(path, sizeof(path), "%s/require-end", kinds[i]);
		check(file_write(path, end));
	}
}

/* Restricts failures to this function of the kernel and the functions that it calls. */
static void fail_only_in(const char *function)
{
	FILE *symbols = fopen("/proc/kallsyms", "re");
	unsigned long long address, start = 0, end = ~0ULL;
	char line[512], name[256], from[32], to[32];

	check(symbols);
	while (fgets(line, sizeof(line), symbols))
		if (sscanf(line, "%llx %*c %255s", &address, name) == 2 &&
		    !strcmp(name, function))
			start = address;
	check_eq(fseek(symbols, 0, SEEK_SET), 0);
	while (fgets(line, sizeof(line), symbols)) {
		address = strtoull(line, NULL, 16);
		if (address > start && address < end)
			end = address;
	}
	fclose(symbols);
	check(start);
	snprintf(from, sizeof(from), "%#llx", start);
	snprintf(to, sizeof(to), "%#llx", end);
	fail_between(from, to);
}

/* Whether the module has created a node since the last call. */
static bool node_was_seen(int watch)
{
	char events[4096] __attribute__((aligned(8)));
	bool seen = false;
	ssize_t size, at;

	while ((size = read(watch, events, sizeof(events))) > 0) {
		for (at = 0; at < size;) {
			struct inotify_event *event = (void *)(events + at);

			seen |= !strcmp(event->name, "dmabufx");
			at += sizeof(*event) + event->len;
		}
	}
	return seen;
}

static void load_works(void)
{
	struct memory mem = memory_make(SHMEM_4K, KIB(64));

	close(create_range(&mem, 0, mem.size));
	memory_free(&mem);
	must(module_try_unload());
}

PROMISE(fail_loading_leaves_nobody_behind,
	"loading the module fails, if at all, before anybody can open its nodes",
	TAG_ALONE)
{
	int fail_nth = fail_nth_open(), watch, file, n, loaded = 0, failed = 0, ret;
	bool happened = true;

	if (!settings.module)
		skip("needs --module");
	file = must(open(settings.module, O_RDONLY | O_CLOEXEC));
	watch = must(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
	must(inotify_add_watch(watch, "/dev", IN_CREATE));
	must(module_try_unload());
	fail_only_in("misc_register");
	for (n = 1; happened && n < ENDLESS; n++) {
		inject(fail_nth, n);
		ret = syscall(SYS_finit_module, file, "serve_udmabuf=1", 0);
		happened = injected(fail_nth);
		if (node_was_seen(watch) && ret)
			fail("failure %d came when there was a node", n);
		if (!ret)
			load_works();
		loaded += !ret;
		failed += !!ret;
	}
	fail_between("0", "0xffffffffffffffff");
	check_le(n, ENDLESS - 1);
	note("%d failures end the loading, %d do not", failed, loaded - 1);
	check_le(1, failed);
	module_load();
}
