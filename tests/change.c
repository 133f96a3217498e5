// SPDX-License-Identifier: MIT
/*
 * Memory changes under a buffer, or becomes short: pages break, or have to move; memory
 * cgroups have limits; the kernel reclaims.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/memfd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "blocks.h"
#include "buffer.h"
#include "harness.h"
#include "memory.h"
#include "watch.h"

/* Verifies that the buffer shows the range by mmap, to a device and to the kernel. */
static void all_ways_show(int fd, const struct memory *mem, __u64 offset, __u64 size)
{
	char *map = map_dma_buf(fd, offset, size), *data = malloc(size);
	int importer = importer_open();

	check(data);
	pattern_check(map, 1, mem->id, offset, size, "mmap");
	must(munmap(map, size));
	importer_attach(importer, fd);
	importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	importer_read(importer, DMABUFX_VIA_DEVICE, offset, data, size);
	pattern_check(data, 1, mem->id, offset, size, "the device");
	importer_do(importer, DMABUFX_IMPORTER_VMAP, 0);
	importer_read(importer, DMABUFX_VIA_VMAP, offset, data, size);
	pattern_check(data, 1, mem->id, offset, size, "vmap");
	must(close(importer));
	free(data);
}

/* Broken pages. */

/* Makes a mapped page of this process break, as if by hardware; survives the signal. */
static void break_page(char *page)
{
	struct sigaction action = { .sa_handler = ignore_signal };

	must(sigaction(SIGBUS, &action, NULL));
	/* Other errors say that something, here the buffer, still holds the page. */
	if (madvise(page, PAGE, MADV_HWPOISON) && errno == EINVAL)
		skip("the kernel cannot be told of broken pages");
}

/* Looks at a buffer with one broken page. */
static void judge_broken(int fd, char *map, const struct memory *mem, __u64 bad,
			 int *signals)
{
	char *fresh = map_dma_buf(fd, 0, mem->size);

	signals[0] = touch(map + bad, false);
	signals[1] = touch(map + bad, true);
	signals[2] = touch(fresh + bad, false);
	pattern_check(map, 1, mem->id, 0, KIB(64), "mmap");
	pattern_check(fresh + mem->size - KIB(64), 1, mem->id, mem->size - KIB(64),
		      KIB(64), "mmap");
	/* Faults beside the page have not mapped it. */
	signals[3] = touch(fresh + bad, false);
	must(munmap(fresh, mem->size));
}

static void breaks_under_a_buffer(enum memory_kind kind, size_t size)
{
	struct memory mem = memory_make_patterned(kind, size);
	const __u64 bad = mem.size / 2;
	struct dmabufx_segment seg = segment(&mem, 0, mem.size);
	int fd = create_of(&seg, 1), importer = importer_open();
	char *map = map_dma_buf(fd, 0, mem.size);
	/* After the create, which may move pages. */
	__u64 frame = page_frame(mem.map + bad);
	int signals[4] = {}, i;

	note("%s", memory_name(kind));
	importer_attach(importer, fd);
	importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	break_page(mem.map + bad);
	check(page_is_poisoned(frame));
	judge_broken(fd, map, &mem, bad, signals);

	/* Cleans up before it judges, for the sake of later tests. */
	must(close(importer));
	must(munmap(map, mem.size));
	must(close(fd));
	memory_free(&mem);
	page_unpoison(frame);
	for (i = 0; i < 4; i++)
		check_eq(signals[i], SIGBUS);
}

PROMISE(change_page_breaks_under_a_buffer,
	"a page that breaks under a buffer is SIGBUS from then on, its neighbours are not")
{
	breaks_under_a_buffer(SHMEM_4K, MIB(2));
	breaks_under_a_buffer(ANON_4K, MIB(2));
}

PROMISE(change_page_of_a_folio_breaks_under_a_buffer,
	"the same for a page within a folio of 2 MiB")
{
	breaks_under_a_buffer(SHMEM_2M, MIB(2));
	breaks_under_a_buffer(ANON_2M, MIB(2));
}

/* Kinds of memory whose pages can break, with and without a memfd. */
static const enum memory_kind breakable[] = {
	SHMEM_4K, SHMEM_64K, SHMEM_2M, HUGETLB_2M,
	ANON_4K, ANON_64K, ANON_2M, ANON_HUGETLB_2M,
};

static bool is_hugetlb(enum memory_kind kind)
{
	return kind == HUGETLB_2M || kind == ANON_HUGETLB_2M;
}

/* The page to break: the first of a huge page, else one in the middle of a folio. */
static __u64 bad_page(enum memory_kind kind, __u64 start)
{
	return start + (is_hugetlb(kind) ? 0 : 21 * PAGE);
}

/* The result of a request: 0, or an error with reason and segment. */
struct answer {
	int error;
	__u32 reason;
	__u32 segment;
};

static struct answer ask(const struct dmabufx_segment *segments, __u32 nr, __u32 flags)
{
	struct dmabufx_create req = request(segments, nr, flags);
	int device = device_open(), fd = try_request(device, &req);
	struct answer answer = { fd < 0 ? errno : 0, req.reason, req.failed_segment };

	if (fd >= 0)
		must(close(fd));
	must(close(device));
	return answer;
}

static void is_refused(struct answer answer, __u32 segment)
{
	check_eq(answer.error, EHWPOISON);
	check_eq(answer.reason, DMABUFX_REASON_POISONED);
	check_eq(answer.segment, segment);
}

static int error_of_udmabuf(const struct memory *mem)
{
	int device = device_open(), error = EHWPOISON;

	if (mem->fd >= 0) {
		int fd = try_create(device, list_item(mem, 0, mem->size), 0);

		error = fd < 0 ? errno : 0;
		if (fd >= 0)
			must(close(fd));
	}
	must(close(device));
	return error;
}

/* @held: another buffer has the page, so that its folio stays whole. */
static void broken_makes_no_buffer(enum memory_kind kind, bool held)
{
	struct memory mem = memory_make_patterned(kind, MIB(4));
	const __u64 bad = bad_page(kind, MIB(2));
	struct dmabufx_segment halves[] = {
		segment(&mem, 0, MIB(2)), segment(&mem, MIB(2), MIB(2)),
	};
	struct dmabufx_segment beside[] = {
		segment(&mem, bad + PAGE, PAGE), segment(&mem, MIB(4) - PAGE, PAGE),
	};
	struct answer writable, read_only, good, neighbours;
	int fd = held ? create_of(halves, 2) : -1, old;
	const __u64 frame = page_frame(mem.map + bad);

	note("%s%s", memory_name(kind), held ? ", held" : "");
	if (mem.fd >= 0)
		memory_unmap(&mem);
	page_poison(frame);
	writable = ask(halves, 2, 0);
	read_only = ask(halves, 2, DMABUFX_CREATE_READ_ONLY);
	good = ask(halves, 1, 0);
	neighbours = ask(beside, 2, 0);
	old = error_of_udmabuf(&mem);

	/* Cleans up before it judges, for the sake of later tests. */
	if (held)
		must(close(fd));
	memory_free(&mem);
	page_unpoison(frame);
	is_refused(writable, 1);
	is_refused(read_only, 1);
	check_eq(good.error, 0);
	check_eq(old, EHWPOISON);
	/* A hugetlb page breaks as a whole. */
	if (is_hugetlb(kind))
		is_refused(neighbours, 0);
	else
		check_eq(neighbours.error, 0);
}

PROMISE(change_broken_memory_makes_no_buffer,
	"a request with a broken page is EHWPOISON and names the segment; pages beside it work")
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(breakable); i++) {
		/* Otherwise the kernel would take such a page out of the pool for good. */
		if (breakable[i] != ANON_HUGETLB_2M)
			broken_makes_no_buffer(breakable[i], false);
		broken_makes_no_buffer(breakable[i], true);
	}
}

static int error_of_map(int importer)
{
	struct dmabufx_importer_map map = { .dir = DMABUFX_IMPORTER_TO_DEVICE };

	return try_importer_map(importer, &map) ? errno : 0;
}

static int error_of_vmap(int importer)
{
	return ioctl(importer, DMABUFX_IMPORTER_VMAP, 0) ? errno : 0;
}

static void broken_is_mapped_no_more(enum memory_kind kind)
{
	struct memory mem = memory_make_patterned(kind, MIB(4));
	struct memory other = memory_make_patterned(kind, MIB(4));
	struct dmabufx_segment halves[] = {
		segment(&mem, MIB(2), MIB(2)), segment(&mem, 0, MIB(2)),
	};
	struct dmabufx_segment whole = segment(&other, 0, MIB(4));
	int fd = create_of(halves, 2), fine = create_of(&whole, 1);
	const __u64 frame = page_frame(mem.map + bad_page(kind, 0));
	int fresh = importer_open(), used = importer_open();
	int errors[5], i, kept;

	note("%s", memory_name(kind));
	importer_attach(fresh, fd);
	importer_attach(used, fd);
	importer_do(used, DMABUFX_IMPORTER_VMAP, 0);
	importer_do(used, DMABUFX_IMPORTER_VUNMAP, 0);
	importer_map(used, DMABUFX_IMPORTER_BIDIRECTIONAL);
	importer_do(used, DMABUFX_IMPORTER_UNMAP, 0);
	check_eq(kernel_mappings(MIB(4) / PAGE), 1);
	if (mem.fd >= 0)
		memory_unmap(&mem);
	page_poison(frame);
	errors[0] = error_of_map(fresh);
	errors[1] = error_of_vmap(fresh);
	kept = kernel_mappings(MIB(4) / PAGE);
	errors[2] = error_of_map(used);
	errors[3] = error_of_vmap(used);
	errors[4] = error_of_map(fresh);
	/* Memory of other buffers is good. */
	all_ways_show(fine, &other, 0, MIB(4));

	/* Cleans up before it judges, for the sake of later tests. */
	must(close(fresh));
	must(close(used));
	must(close(fd));
	must(close(fine));
	memory_free(&other);
	memory_free(&mem);
	page_unpoison(frame);
	for (i = 0; i < 5; i++)
		check_eq(errors[i], EHWPOISON);
	check_eq(kept, 0);
}

PROMISE(change_broken_memory_is_mapped_no_more,
	"a buffer with a page that broke can no longer be mapped by a device or the kernel")
{
	size_t i;

	/* The kernel reports every failure of an exporter's vmap. */
	expect_report(" dma_buf_vmap+");
	for (i = 0; i < ARRAY_SIZE(breakable); i++)
		broken_is_mapped_no_more(breakable[i]);
}

/* The buffer has parts of the page without its beginning, which has the mark. */
static void huge_page_breaks(enum memory_kind kind)
{
	struct memory mem = memory_make(kind, GIB(1));
	const __u64 frame = page_frame(mem.map);
	struct dmabufx_segment part = segment(&mem, MIB(600), 4 * PAGE);
	int fd = create_of(&part, 1), importer = importer_open(), device, vmap, old;
	struct answer writable, read_only;

	note("%s", memory_name(kind));
	importer_attach(importer, fd);
	if (mem.fd >= 0)
		memory_unmap(&mem);
	page_poison(frame);
	writable = ask(&part, 1, 0);
	read_only = ask(&part, 1, DMABUFX_CREATE_READ_ONLY);
	old = error_of_udmabuf(&mem);
	device = error_of_map(importer);
	vmap = error_of_vmap(importer);

	/* Cleans up before it judges, for the sake of later tests. */
	must(close(importer));
	must(close(fd));
	memory_free(&mem);
	page_unpoison(frame);
	is_refused(writable, 0);
	is_refused(read_only, 0);
	check_eq(old, EHWPOISON);
	check_eq(device, EHWPOISON);
	check_eq(vmap, EHWPOISON);
}

PROMISE(change_broken_page_of_1g_is_refused,
	"a 1 GiB page that broke makes no buffer, and cannot be mapped, whichever part it is")
{
	expect_report(" dma_buf_vmap+");
	huge_page_breaks(HUGETLB_1G);
	huge_page_breaks(ANON_HUGETLB_1G);
}

/* Maps a file on a disk with the pattern. */
static struct memory file_mapped(int *file)
{
	struct memory source = memory_make_patterned(ANON_4K, 16 * PAGE), mem = source;

	*file = file_on_disk(mem.size);
	check_eq(pwrite(*file, source.map, mem.size, 0), mem.size);
	must(fsync(*file));
	mem.map = must(mmap(NULL, mem.size, PROT_READ | PROT_WRITE, MAP_SHARED, *file, 0));
	memory_free(&source);
	pattern_check(mem.map, 1, mem.id, 0, mem.size, "the file");
	return mem;
}

PROMISE(change_broken_page_of_a_file_is_refused,
	"a broken page of a mapped file makes no read-only buffer; pages beside it do")
{
	int file;
	struct memory mem = file_mapped(&file);
	const __u64 bad = 5 * PAGE;
	struct dmabufx_segment segments[] = {
		segment(&mem, 0, bad), segment(&mem, bad, mem.size - bad),
	};
	struct answer broken, beside;
	__u64 frame;

	/* The page must be dirty: a clean one would be read again from the disk. */
	*(volatile __u64 *)(mem.map + bad) = 1;
	frame = page_frame(mem.map + bad);
	page_poison(frame);
	broken = ask(segments, 2, DMABUFX_CREATE_READ_ONLY);
	beside = ask(segments, 1, DMABUFX_CREATE_READ_ONLY);

	/* Cleans up before it judges, for the sake of later tests. */
	memory_free(&mem);
	must(ftruncate(file, 0));
	/* The write to the broken page is lost, so close() may fail. */
	close(file);
	page_unpoison(frame);
	is_refused(broken, 1);
	check_eq(beside.error, 0);
}

/* Whether a buffer of the segment can be made, and has this frame at @offset. */
static bool is_in_a_buffer(const struct dmabufx_segment *seg, __u64 offset, __u64 frame)
{
	struct dmabufx_create req = request(seg, 1, DMABUFX_CREATE_READ_ONLY);
	int device = device_open(), fd = try_request(device, &req);
	bool found = false;
	char *map;

	if (fd >= 0) {
		map = must(mmap(NULL, seg->size, PROT_READ, MAP_SHARED, fd, 0));
		found = touch(map + offset, false) || page_frame(map + offset) == frame;
		must(munmap(map, seg->size));
		must(close(fd));
	} else {
		check_eq(errno, EHWPOISON);
	}
	must(close(device));
	return found;
}

/* The page may be read again from the disk into another frame, which is good. */
PROMISE(change_broken_page_of_a_file_is_mapped_no_more,
	"a buffer with a file's page that broke cannot be mapped; no new buffer gets the page")
{
	int file;
	struct memory mem = file_mapped(&file);
	const __u64 bad = 5 * PAGE;
	struct dmabufx_segment seg = segment(&mem, 0, mem.size);
	struct dmabufx_create req = request(&seg, 1, DMABUFX_CREATE_READ_ONLY);
	int device = device_open(), fd = must(try_request(device, &req));
	int importer = importer_open(), before, after, vmap;
	__u64 frame = page_frame(mem.map + bad);
	bool spread;

	importer_attach(importer, fd);
	before = error_of_map(importer);
	importer_do(importer, DMABUFX_IMPORTER_UNMAP, 0);
	page_poison(frame);
	after = error_of_map(importer);
	vmap = error_of_vmap(importer);
	spread = is_in_a_buffer(&seg, bad, frame);

	/* Cleans up before it judges, for the sake of later tests. */
	must(close(importer));
	must(close(fd));
	must(close(device));
	memory_free(&mem);
	must(ftruncate(file, 0));
	must(close(file));
	page_unpoison(frame);
	check_eq(before, 0);
	check_eq(after, EHWPOISON);
	check(vmap);
	check(!spread);
}

/* Memory that must leave its place. */

/* Makes memory that lies in the block in part, and a buffer, which moves it out. */
static int moved_out(struct memory *mem, enum memory_kind kind, int block, size_t *n)
{
	struct dmabufx_segment seg;
	int fd;

	*mem = memory_make_patterned(kind, BLOCK_SAMPLE);
	*n += block_pages_of(block, mem);
	seg = segment(mem, 0, mem->size);
	fd = create_of(&seg, 1);
	check_eq(block_pages_of(block, mem), 0);
	return fd;
}

PROMISE(change_movable_memory_can_be_taken_out,
	"a memory block can leave the machine while buffers live whose memory was in it")
{
	static const enum memory_kind kinds[] = { SHMEM_4K, SHMEM_2M, ANON_4K };
	int block = block_make_movable(), fds[ARRAY_SIZE(kinds)];
	struct memory mem[ARRAY_SIZE(kinds)];
	size_t n = 0, i;
	bool out;

	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		fds[i] = moved_out(&mem[i], kinds[i], block, &n);
	out = block_can_go(block);
	note("%zu pages were in the block", n);
	check(out);
	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		all_ways_show(fds[i], &mem[i], 0, mem[i].size);
	check_le(1, n);
}

PROMISE(change_broken_page_that_cannot_move_is_refused,
	"a broken page in ZONE_MOVABLE is refused; Linux would try for ever to move it")
{
	int block = block_make_movable();
	struct memory mem = memory_make_patterned(SHMEM_4K, BLOCK_SAMPLE);
	size_t n = block_pages_of(block, &mem), bad = block_last_page_of(block, &mem);
	struct dmabufx_segment seg = segment(&mem, 0, mem.size);
	__u64 frame = page_frame(mem.map + bad);
	struct answer all;

	if (n) {
		memory_unmap(&mem);
		page_poison(frame);
		all = ask(&seg, 1, 0);
	}
	memory_free(&mem);
	if (n)
		page_unpoison(frame);
	check(block_can_go(block));
	check_le(1, n);
	is_refused(all, 0);
}

PROMISE(change_cma_areas_stay_free,
	"a CMA area can be claimed while buffers live")
{
	struct memory mem[8];
	char path[256], number[32];
	glob_t areas;
	long pages;
	bool allocated;
	int fds[8], i;

	if (glob("/sys/kernel/debug/cma/*", 0, NULL, &areas))
		skip("needs an area of CMA (cma=) and CMA_DEBUGFS");
	snprintf(path, sizeof(path), "%s/count", areas.gl_pathv[0]);
	pages = file_number(path, "");
	for (i = 0; i < 8; i++) {
		struct dmabufx_segment seg;

		mem[i] = memory_make_patterned(i % 2 ? ANON_4K : SHMEM_4K, MIB(16));
		seg = segment(&mem[i], 0, mem[i].size);
		fds[i] = create_of(&seg, 1);
	}
	snprintf(number, sizeof(number), "%ld", pages / 2);
	snprintf(path, sizeof(path), "%s/alloc", areas.gl_pathv[0]);
	/* Something may hold a page for a moment. */
	allocated = comes_true(file_write(path, number));
	check(allocated);
	snprintf(path, sizeof(path), "%s/free", areas.gl_pathv[0]);
	check(file_write(path, number));
	for (i = 0; i < 8; i++)
		all_ways_show(fds[i], &mem[i], 0, mem[i].size);
	globfree(&areas);
}

/* Memory cgroups. */

#define CGROUPS "/sys/fs/cgroup/"
#define GROUP CGROUPS "dmabufx-tests"

static void group_set(const char *file, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), GROUP "/%s", file);
	if (!file_write(path, value))
		fail("%s: %s", path, errno_name(errno));
}

/* Processes of the group may take a moment to end. */
static void group_remove(void)
{
	bool removed = comes_true(!rmdir(GROUP) || errno != EBUSY);

	if (!removed)
		note("there are still processes in " GROUP);
}

/* A group that nothing was charged to. A test that failed may have left its own. */
static void group_make(void)
{
	file_write(CGROUPS "cgroup.subtree_control", "+memory");
	group_remove();
	if (mkdir(GROUP, 0755)) {
		check(errno != EEXIST);
		skip(GROUP ": %s", errno_name(errno));
	}
	if (access(GROUP "/memory.max", W_OK))
		skip("needs memory cgroups");
}

/* Runs a child, which puts itself into the group, and waits for it. */
static void group_run(void (*run)(const struct memory *mem), const struct memory *mem)
{
	int child = must(fork());

	if (!child) {
		run(mem);
		_exit(0);
	}
	join_child(child);
}

/*
 * The group's kernel memory. What a group shows may be hundreds of pages behind: Linux brings
 * it up to date when it is read only if there were many changes since the last time. So this
 * makes many, as a process of the group.
 */
static long group_kernel_memory(void)
{
	char *pages = must(mmap(NULL, MIB(4), PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0));

	must(munmap(pages, MIB(4)));
	return file_number(GROUP "/memory.stat", "kernel ");
}

/* Waits until it is from LEAST to MOST bytes. */
static void kernel_memory_becomes(const char *what, long least, long most)
{
	long bytes = 0;
	bool became = comes_true((bytes = group_kernel_memory()) >= least && bytes <= most);

	note("%s: %ld bytes", what, bytes);
	if (!became)
		fail("%s: %ld bytes instead of %ld to %ld", what, bytes, least, most);
}

/*
 * Number of runs. COUNTED is less than MANY, for each CPU charges a few pages in advance.
 */
#define MANY 61000
#define COUNTED 60000

/* Each segment is the same page: no page follows itself, so runs do not merge. */
static struct dmabufx_segment *many_segments(const struct memory *mem)
{
	struct dmabufx_segment *segments = calloc(MANY, sizeof(*segments));
	__u32 i;

	check(segments);
	for (i = 0; i < MANY; i++)
		segments[i] = segment(mem, 0, PAGE);
	return segments;
}

static void count_metadata(const struct memory *mem)
{
	struct dmabufx_segment *segments = many_segments(mem);
	/* A run takes 12 bytes, an entry of a device's table 32. */
	const long table = COUNTED * 12, list = COUNTED * 32;
	int fd, importer = importer_open();

	group_set("cgroup.procs", "0");
	close(create_of(segments, 2));
	kernel_memory_becomes("before", 0, table / 4);
	fd = create_of(segments, MANY);
	kernel_memory_becomes("the buffer", table, table + table / 2);
	importer_attach(importer, fd);
	importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	kernel_memory_becomes("with its mapping", table + list, 2 * (table + list));
	must(close(importer));
	must(close(fd));
	kernel_memory_becomes("afterwards", 0, table / 4);
}

PROMISE(change_metadata_is_charged,
	"a buffer's run table and mappings count for its maker's memory cgroup")
{
	struct memory mem = memory_make(SHMEM_4K, KIB(64));

	group_make();
	group_run(count_metadata, &mem);
	group_remove();
}

PROMISE(change_lists_are_charged,
	"the kernel's copy of a list of segments counts for the caller's memory cgroup")
{
	const size_t size = LIST_LIMIT * sizeof(struct dmabufx_segment);
	struct dmabufx_segment *list = must(mmap(NULL, size, PROT_READ | PROT_WRITE,
						 MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE,
						 -1, 0));
	int device = device_open(), child;

	group_make();
	if (access(GROUP "/memory.peak", R_OK))
		skip("needs memory.peak");
	child = must(fork());
	if (!child) {
		struct dmabufx_create req = request(list, LIST_LIMIT, 0);

		group_set("cgroup.procs", "0");
		check_le(file_number(GROUP "/memory.peak", ""), (long)size / 2);
		refused(EINVAL, DMABUFX_REASON_EMPTY, LIST_LIMIT, device, &req);
		check_le((long)size, file_number(GROUP "/memory.peak", ""));
		_exit(0);
	}
	join_child(child);
	group_remove();
}

static void refused_for_memory(const struct dmabufx_segment *segments, __u32 nr)
{
	struct dmabufx_create req = request(segments, nr, 0);
	int device = device_open();

	must_fail(ENOMEM, try_request(device, &req));
	check(req.reason == DMABUFX_REASON_NO_MEMORY ||
	      req.reason == DMABUFX_REASON_NONE);
	must(close(device));
}

/* Creates beyond the group's limit; no process may be killed for it. */
static void create_too_much(const struct memory *mem)
{
	struct memory holes = memory_make_holes(SHMEM_4K, MIB(16));
	struct memory untouched = memory_make_holes(ANON_4K, MIB(16));
	struct dmabufx_segment *many = many_segments(mem);
	struct dmabufx_segment too_much[] = {
		segment(mem, 0, KIB(64)), segment(&holes, 0, holes.size),
	};

	check(file_write("/proc/self/oom_score_adj", "-1000"));
	group_set("cgroup.procs", "0");
	close(create_of(too_much, 1));
	refused_for_memory(too_much, 2);
	must(close(holes.fd));
	must(munmap(holes.map, holes.size));
	too_much[1] = segment(&untouched, 0, untouched.size);
	refused_for_memory(too_much, 2);
	must(munmap(untouched.map, untouched.size));
	/* All memory was given back: smaller creates succeed. */
	close(create_of(too_much, 1));
	close(create_of(many, 1000));
}

PROMISE(change_full_cgroup_is_enomem,
	"a create beyond its memory cgroup's limit is ENOMEM, and kills no process")
{
	struct memory mem = memory_make_patterned(SHMEM_4K, KIB(64));
	int fd = create_range(&mem, 0, KIB(64));

	group_make();
	group_set("memory.max", "6M");
	if (!access(GROUP "/memory.swap.max", W_OK))
		group_set("memory.swap.max", "0");
	group_run(create_too_much, &mem);
	all_ways_show(fd, &mem, 0, KIB(64));
	all_ways_show(create_range(&mem, 0, KIB(64)), &mem, 0, KIB(64));
	group_remove();
}

/* The table takes more than the group has left, unless memory of the group is swapped out. */
static void create_while_group_is_full(const struct memory *mem)
{
	struct dmabufx_segment *many = many_segments(mem);
	char *filler = must(mmap(NULL, MIB(16), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0));

	group_set("cgroup.procs", "0");
	pattern_fill(filler, 1, mem->id, 0, MIB(16));
	must(close(create_of(many, MANY)));
	pattern_check(filler, 1, mem->id, 0, MIB(16), "memory that was swapped out");
}

PROMISE(change_full_cgroup_swaps_for_tables,
	"a run table's memory comes from what its maker's memory cgroup can swap out",
	TAG_SWAP)
{
	struct memory mem = memory_make(SHMEM_4K, KIB(64));

	group_make();
	group_set("memory.max", "6M");
	group_run(create_while_group_is_full, &mem);
	group_remove();
}

static struct memory unmapped_hugetlb(size_t size)
{
	return (struct memory) {
		.kind = HUGETLB_2M,
		.folio = MIB(2),
		.size = size,
		.fd = memfd_make(HUGETLB_2M, size, F_SEAL_SHRINK),
	};
}

/* First the group may have two huge pages, in an empty file or not; then none. */
static void fill_hugetlb_in_group(void)
{
	struct memory mem = unmapped_hugetlb(MIB(8));
	struct dmabufx_segment all = segment(&mem, 0, MIB(8)), half = segment(&mem, 0, MIB(4));
	struct dmabufx_create req = request(&all, 1, 0);
	int device = device_open();

	group_set("cgroup.procs", "0");
	refused(ENOMEM, DMABUFX_REASON_NO_MEMORY, 0, device, &req);
	check_le(memory_populated(&mem), MIB(4));
	memory_punch(&mem, 0, MIB(8));
	check_eq(file_number(GROUP "/hugetlb.2MB.current", ""), 0);
	must(close(create_of(&half, 1)));
	check_eq(file_number(GROUP "/hugetlb.2MB.current", ""), MIB(4));
	/* Nor may the group's third page fill a file that has two. */
	refused(ENOMEM, DMABUFX_REASON_NO_MEMORY, 0, device, &req);
	check_eq(memory_populated(&mem), MIB(4));
	must(close(mem.fd));
	check_eq(file_number(GROUP "/hugetlb.2MB.current", ""), 0);

	group_set("hugetlb.2MB.rsvd.max", "0");
	mem = unmapped_hugetlb(MIB(8));
	all.fd = mem.fd;
	refused(ENOMEM, DMABUFX_REASON_NO_MEMORY, 0, device, &req);
	check_eq(memory_populated(&mem), 0);
	group_set("hugetlb.2MB.rsvd.max", "max");
	group_set("hugetlb.2MB.max", "0");
	refused(ENOMEM, DMABUFX_REASON_NO_MEMORY, 0, device, &req);
	check_eq(memory_populated(&mem), 0);
	must(close(mem.fd));
}

PROMISE(change_hugetlb_cgroup_limits_holes,
	"holes of hugetlb that a create fills count for its maker's hugetlb cgroup and its limit")
{
	int child;

	file_write(CGROUPS "cgroup.subtree_control", "+hugetlb");
	group_make();
	if (access(GROUP "/hugetlb.2MB.rsvd.max", W_OK))
		skip("needs hugetlb cgroups");
	group_set("hugetlb.2MB.max", "4M");
	child = must(fork());
	if (!child) {
		fill_hugetlb_in_group();
		_exit(0);
	}
	join_child(child);
	group_remove();
}

PROMISE(change_reclaim_leaves_buffers_alone,
	"memory in a buffer stays in place while the kernel reclaims all that it can",
	TAG_SWAP)
{
	struct memory mem = memory_make_patterned(SHMEM_4K, MIB(4));
	struct memory user = memory_make_patterned(ANON_4K, MIB(4));
	const struct dmabufx_segment both[] = {
		segment(&mem, 0, mem.size), segment(&user, 0, user.size),
	};
	int fd = create_of(both, 2), i;
	__u64 frame = page_frame(mem.map + MIB(1));
	__u64 user_frame = page_frame(user.map + MIB(1));
	char *map;

	for (i = 0; i < 3; i++) {
		madvise(mem.map, mem.size, MADV_PAGEOUT);
		madvise(user.map, user.size, MADV_PAGEOUT);
		check(file_write("/proc/sys/vm/compact_memory", "1"));
		check(file_write("/proc/sys/vm/drop_caches", "3"));
	}
	/* The kernel may have unmapped the pages; faults must find them again. */
	pattern_check(mem.map, 1, mem.id, 0, MIB(4), "the memfd");
	pattern_check(user.map, 1, user.id, 0, MIB(4), "the owner");
	check_eq(page_frame(mem.map + MIB(1)), frame);
	check_eq(page_frame(user.map + MIB(1)), user_frame);
	map = map_dma_buf(fd, 0, MIB(8));
	pattern_check(map, 1, mem.id, 0, MIB(4), "mmap");
	pattern_check(map + MIB(4), 1, user.id, 0, MIB(4), "mmap");
}
