// SPDX-License-Identifier: MIT
/*
 * The exporter for other modules, as examples/kexport uses it: dma-bufs of kernel memory
 * and of files, and kernel addresses of files.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DEFAULT_TAGS TAG_KEXPORT

#include "blocks.h"
#include "buffer.h"
#include "harness.h"
#include "kexport.h"
#include "memory.h"
#include "watch.h"

#define FOLDER "/sys/kernel/debug/kexport/"
#define CACHE "/sys/kernel/slab/kexport/"

static int open_kind(const char *kind)
{
	char path[128];

	snprintf(path, sizeof(path), FOLDER "%s", kind);
	return must(open(path, O_RDWR | O_CLOEXEC));
}

static int try_get(const char *kind, struct kexport_get get)
{
	int debugfs = open_kind(kind);
	int fd = ioctl(debugfs, KEXPORT_GET, &get);
	int error = errno;

	close(debugfs);
	errno = error;
	return fd;
}

/* Gets kernel memory as a buffer with one part, which has a pattern but no memfd. */
static struct buffer get_buffer(const char *kind, struct memory *mem,
				struct part *part)
{
	*part = (struct part){ .mem = mem, .size = mem->size };
	return (struct buffer) {
		.parts = part,
		.nr_parts = 1,
		.size = mem->size,
		.fd = must(try_get(kind, (struct kexport_get) { .size = mem->size })),
		.importer = -1,
	};
}

static void shows_on_all_ways(const char *kind, __u64 size, bool mappable)
{
	struct memory mem = { .folio = PAGE, .fd = -1, .size = size, .id = 77 };
	struct part part;
	struct buffer buf = get_buffer(kind, &mem, &part);

	buffer_write(&buf, &way_device, 1);
	buffer_verify(&buf, &way_sg, 1);
	buffer_verify(&buf, &way_vmap, 1);
	buffer_write(&buf, &way_vmap, 2);
	buffer_verify(&buf, &way_device, 2);
	if (mappable) {
		buffer_verify(&buf, &way_mmap, 2);
		buffer_write(&buf, &way_mmap, 3);
		buffer_verify(&buf, &way_sg, 3);
	} else {
		must_fail(EPERM, mmap(NULL, size, PROT_READ, MAP_SHARED, buf.fd, 0));
	}
	buffer_free(&buf);
}

PROMISE(export_kvmalloc, "memory of kvmalloc() shows the same data on every way")
{
	shows_on_all_ways("kvmalloc", KIB(64), true);
	shows_on_all_ways("kvmalloc", MIB(5) + PAGE, true);
}

PROMISE(export_slab_is_not_for_processes,
	"devices can use memory of the slab allocator, but processes cannot map it")
{
	shows_on_all_ways("kvmalloc", PAGE, false);
}

static void slab_is_seen_by_vmap(const char *kind, __u64 size)
{
	struct memory mem = { .folio = PAGE, .fd = -1, .size = size, .id = 78 };
	const int before = kernel_mappings(size / PAGE);
	struct part part;
	struct buffer buf = get_buffer(kind, &mem, &part);

	buffer_write(&buf, &way_device, 1);
	importer_do(buf.importer, DMABUFX_IMPORTER_VMAP, 0);
	check_eq(kernel_mappings(size / PAGE), before + 1);
	importer_do(buf.importer, DMABUFX_IMPORTER_VUNMAP, 0);
	buffer_verify(&buf, &way_vmap, 1);
	buffer_free(&buf);
	check_eq(kernel_mappings(size / PAGE), before);
}

/* Hardened usercopy kills a process that copies across the end of an object there. */
PROMISE(export_slab_is_not_seen_in_the_direct_map,
	"memory of the slab allocator gets a kernel mapping of its own: copies may cross objects")
{
	slab_is_seen_by_vmap("kvmalloc", PAGE);
	slab_is_seen_by_vmap("kvmalloc", 2 * PAGE);
	slab_is_seen_by_vmap("slab", 64 * PAGE);
}

static __u64 runs_of(int fd)
{
	struct dmabufx_info info = { .size = sizeof(info), .fd = fd };
	int device = device_open();

	must(ioctl(device, DMABUFX_IOC_INFO, &info));
	must(close(device));
	return info.runs;
}

/* A fresh cache has no holes, so some of these objects are neighbours. */
PROMISE(export_neighbours_of_the_slab,
	"neighbouring slab objects become one run, and each byte is where it belongs")
{
	const bool in_a_row = file_number(CACHE "slab_size", "") == (__s64)PAGE;
	int fd = must(try_get("slab", (struct kexport_get) { .size = 64 * PAGE }));

	note("%llu pieces of 64 objects", runs_of(fd));
	check_le(runs_of(fd), in_a_row ? 63 : 64);
	must(close(fd));
	shows_on_all_ways("slab", 64 * PAGE, false);
	shows_on_all_ways("slab", 2 * PAGE, false);
	shows_on_all_ways("slab", PAGE, false);
}

PROMISE(export_vmalloc, "memory of vmalloc() shows the same data on every way")
{
	shows_on_all_ways("vmalloc", PAGE, true);
	shows_on_all_ways("vmalloc", MIB(3) + 3 * PAGE, true);
}

PROMISE(export_pages, "pages of a bvec show the same data on every way")
{
	shows_on_all_ways("pages", PAGE, true);
	shows_on_all_ways("pages", MIB(3) + 3 * PAGE, true);
}

static void needs_memory_types(void)
{
#ifndef __x86_64__
	skip("memory of a type of its own is x86's");
#endif
}

static bool is_write_combined(int importer, const char *address)
{
	struct dmabufx_importer_entry entry = { .addr = (uintptr_t)address };

	importer_do(importer, DMABUFX_IMPORTER_ENTRY, (uintptr_t)&entry);
	return entry.write_combined;
}

static void is_mapped_as(const char *kind, bool write_combined)
{
	const size_t size = 20 * PAGE;
	int importer = importer_open(), fd;
	char *map;
	size_t at;

	fd = must(try_get(kind, (struct kexport_get) { .size = size }));
	map = map_dma_buf(fd, 0, size);
	/* One fault maps all pages. */
	check_eq(map[7 * PAGE], 0);
	for (at = 0; at < size; at += PAGE)
		check_eq(is_write_combined(importer, map + at), write_combined);
	must(munmap(map, size));
	must(close(fd));
}

PROMISE(export_memory_keeps_its_type,
	"processes map each page with the memory type of the kernel's mapping (write-combined)")
{
	needs_memory_types();
	is_mapped_as("wc", true);
	is_mapped_as("pages", false);
	shows_on_all_ways("wc", MIB(1), true);
}

/* Pages of another memory type may be anywhere, and a page table entry has one type. */
PROMISE(export_memory_is_mapped_page_by_page,
	"kernel memory is not mapped by huge entries where memory types are tracked")
{
	char *map;
	size_t at;
	int fd;

	needs_memory_types();
	fd = must(try_get("kvmalloc", (struct kexport_get) { .size = MIB(4) }));
	map = map_at_aligned_place(fd, MIB(4), MIB(2), MAP_SHARED);
	trace_faults();
	for (at = 0; at < MIB(4); at += PAGE)
		check_eq(map[at], 0);
	check_eq(faults_mapped(PMD), 0);
	check_eq(faults_mapped(PTE), 2);
}

static struct kexport_get memory_of_ours(const struct memory *mem)
{
	return (struct kexport_get) {
		.size = mem->size,
		.offset = (uintptr_t)mem->map,
	};
}

/* The charge of the user: private memory and shared memory. */
static __u64 user_pinned(void)
{
	int device = device_open();
	struct dmabufx_query q = device_query(device);

	must(close(device));
	return q.user_locked + q.memfd_pinned;
}

static void shows_our_memory(enum memory_kind kind, __u64 size)
{
	struct memory mem = memory_make_patterned(kind, size);
	struct part part = { .mem = &mem, .size = mem.size };
	struct buffer buf = { .parts = &part, .nr_parts = 1, .size = mem.size, .importer = -1 };
	__u64 pinned = user_pinned();

	buf.fd = must(try_get("user", memory_of_ours(&mem)));
	check_eq(user_pinned(), pinned + mem.size);
	buffer_verify(&buf, &way_mmap, 1);
	buffer_verify(&buf, &way_device, 1);
	pattern_fill(buf.map, 2, mem.id, 0, mem.size);
	buffer_verify(&buf, &way_vmap, 2);
	pattern_check(mem.map, 2, mem.id, 0, mem.size, "the owner");
	buffer_free(&buf);
	check_eq(user_pinned(), pinned);
	memory_free(&mem);
}

PROMISE(export_user_memory,
	"a program's memory that a module exports shows on every way, and is charged to its user")
{
	shows_our_memory(ANON_4K, MIB(1));
	shows_our_memory(ANON_2M, MIB(4));
	shows_our_memory(SHMEM_4K, MIB(1));
	shows_our_memory(ANON_HUGETLB_2M, MIB(2));
}

PROMISE(export_user_memory_is_refused,
	"a module can export only whole, writable pages of a program")
{
	struct memory mem = memory_make_patterned(ANON_4K, MIB(1));
	struct kexport_get get = memory_of_ours(&mem);
	__u64 pinned = user_pinned();
	int fd;

	get.size -= PAGE;
	get.offset += 8;
	must_fail(EINVAL, try_get("user", get));
	get = memory_of_ours(&mem);
	must(mprotect(mem.map + KIB(512), PAGE, PROT_READ));
	must_fail(EACCES, try_get("user", get));
	get.read_only = 1;
	fd = must(try_get("user", get));
	must_fail(EACCES, mmap(NULL, MIB(1), PROT_WRITE, MAP_SHARED, fd, 0));
	must(close(fd));
	must(munmap(mem.map + KIB(512), PAGE));
	must_fail(EFAULT, try_get("user", get));
	get.offset = 0xffff888000000000;
	must_fail(EFAULT, try_get("user", get));
	get.offset = -MIB(1);
	must_fail(EFAULT, try_get("user", get));
	check_eq(user_pinned(), pinned);
}

PROMISE(export_outlives_the_descriptor,
	"a mapping keeps memory, module and dma-buf; the memory is freed once")
{
	long live = file_number(FOLDER "live", "");
	int fd = must(try_get("vmalloc", (struct kexport_get) { .size = MIB(1) }));
	char *map = map_dma_buf(fd, 0, MIB(1));

	must(close(fd));
	check_eq(file_number(FOLDER "live", ""), live + 1);
	must_fail(EAGAIN, syscall(SYS_delete_module, "kexport", O_NONBLOCK));
	must_fail(EAGAIN, syscall(SYS_delete_module, "dmabufx", O_NONBLOCK));
	pattern_fill(map, 1, 5, 0, MIB(1));
	pattern_check(map, 1, 5, 0, MIB(1), "the mapping");
	must(munmap(map, MIB(1)));
	check_eq(file_number(FOLDER "live", ""), live);
}

static void get_and_close(void *kind)
{
	must_close(try_get(kind, (struct kexport_get) { .size = KIB(256) }));
}

static void get_too_much(void *kind)
{
	must_fail(ENOMEM, try_get(kind, (struct kexport_get) { .size = 1ULL << 42 }));
}

PROMISE(export_leaves_nothing,
	"a thousand exports, good and bad, leave no memory and no module reference behind")
{
	static char kinds[][16] = { "kvmalloc", "vmalloc", "slab", "pages" };
	long holders = file_number("/sys/module/kexport/refcnt", "");
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		check_le(kernel_memory_growth(get_and_close, kinds[i], 300, KIB(64)),
			 KIB(64));
		check_le(kernel_memory_growth(get_too_much, kinds[i], 30, KIB(64)),
			 KIB(64));
	}
	must_fail(EINVAL, try_get("file", (struct kexport_get) {
		.size = PAGE,
		.offset = 1ULL << 63,
		.file = must(memfd_create("", MFD_CLOEXEC)),
	}));
	check_eq(file_number(FOLDER "live", ""), 0);
	check_eq(file_number("/sys/module/kexport/refcnt", ""), holders);
}

static void writable_by_nobody(int fd, __u64 size)
{
	struct dmabufx_importer_map map = { .dir = DMABUFX_IMPORTER_BIDIRECTIONAL };
	int importer = importer_open();

	must_fail(EACCES, mmap(NULL, size, PROT_WRITE, MAP_SHARED, fd, 0));
	importer_attach(importer, fd);
	must_fail(EACCES, try_importer_map(importer, &map));
	must_fail(EINVAL, ioctl(importer, DMABUFX_IMPORTER_VMAP, 0));
	must(close(importer));
}

/* Reads the buffer of a read-only descriptor as a device. */
static void read_by_importer(int fd, void *to, size_t size, __u32 via)
{
	int importer = importer_open();

	importer_attach(importer, fd);
	importer_map(importer, DMABUFX_IMPORTER_TO_DEVICE);
	importer_read(importer, via, 0, to, size);
	must(close(importer));
}

/* Opens this program: a file on a file system with a page cache. */
static int open_program(__u64 *size)
{
	int file = must(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
	struct stat stat;

	must(fstat(file, &stat));
	*size = (stat.st_size + PAGE - 1) / PAGE * PAGE;
	return file;
}

PROMISE(export_file_shows_the_file,
	"a buffer of a file's page cache shows what read() returns, on every way")
{
	__u64 size, offset = 3 * PAGE;
	int file = open_program(&size), fd;
	char *want, *got, *map;

	size -= offset;
	want = calloc(1, size);
	got = malloc(size);
	check(want && got);
	must(pread(file, want, size, offset));
	fd = must(try_get("file", (struct kexport_get) {
			.size = size, .offset = offset, .file = file, .read_only = 1 }));

	map = must(mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0));
	check(!memcmp(map, want, size));
	read_by_importer(fd, got, size, DMABUFX_VIA_SG);
	check(!memcmp(got, want, size));
	read_by_importer(fd, got, size, DMABUFX_VIA_DEVICE);
	check(!memcmp(got, want, size));
	writable_by_nobody(fd, size);
}

#define CACHED MIB(1)

PROMISE(export_file_gives_the_pages_back,
	"pages of a file's page cache stay while the buffer lives, and can go afterwards")
{
	int file = file_on_disk(CACHED), fd;

	must(fsync(file));
	fd = must(try_get("file", (struct kexport_get) {
		.size = CACHED,
		.file = file,
		.read_only = 1,
	}));
	check_eq(file_pages_that_stay(file, CACHED), CACHED / PAGE);
	must(close(fd));
	check_eq(file_pages_that_stay(file, CACHED), 0u);
}

/* Reads the file into the page cache; returns how many of its pages lie in the block. */
static size_t cached_in_block(int file, size_t size, int block)
{
	char *map = must(mmap(NULL, size, PROT_READ, MAP_SHARED, file, 0));
	struct memory cached = memory_at(map, size);
	size_t at, n;

	for (at = 0; at < size; at += PAGE)
		((volatile char *)map)[at];
	n = block_pages_of(block, &cached);
	must(munmap(map, size));
	return n;
}

PROMISE(export_file_is_read_where_it_may_stay,
	"a file that is read for a buffer is not read into ZONE_MOVABLE")
{
	const size_t size = BLOCK_SAMPLE;
	int file = file_on_disk(size), block, fd;
	size_t before;

	must(fsync(file));
	block = block_make_movable();
	before = cached_in_block(file, size, block);
	check_eq(file_pages_that_stay(file, size), 0u);
	fd = must(try_get("file", (struct kexport_get) {
		.size = size,
		.file = file,
		.read_only = 1,
	}));
	check_eq(cached_in_block(file, size, block), 0);
	check(block_can_go(block));
	must(close(fd));
	note("read by a program, %zu pages lie in the movable block", before);
	check_le(1, before);
}

PROMISE(export_file_refuses_what_it_cannot,
	"writable buffers of page cache, ranges beyond the end and files without pages fail")
{
	__u64 size;
	int file = open_program(&size);
	struct kexport_get get = { .size = size, .file = file, .read_only = 1 };
	int pipe_fds[2];

	get.read_only = 0;
	must_fail(EACCES, try_get("file", get));
	get.read_only = 1;
	get.size = size + PAGE;
	must_fail(ERANGE, try_get("file", get));
	get.size = PAGE;
	get.offset = size;
	must_fail(ERANGE, try_get("file", get));
	get.offset = 1;
	must_fail(EINVAL, try_get("file", get));
	get.offset = -PAGE;
	must_fail(EINVAL, try_get("file", get));
	get.offset = (1ULL << 63) - PAGE;
	must_fail(ERANGE, try_get("file", get));
	get.offset = 0;
	get.file = must(open("/proc/self/status", O_RDONLY));
	must_fail(EOPNOTSUPP, try_get("file", get));
	get.file = must(open("/dev/zero", O_RDWR));
	must_fail(EOPNOTSUPP, try_get("file", get));
	must(pipe(pipe_fds));
	get.file = pipe_fds[0];
	must_fail(EOPNOTSUPP, try_get("file", get));
	get.file = 9999;
	must_fail(EBADF, try_get("file", get));
}

static void file_of_memory(enum memory_kind kind, size_t size)
{
	struct memory mem = memory_make(kind, size);
	struct part part = { .mem = &mem, .size = mem.size };
	struct buffer buf = {
		.parts = &part,
		.nr_parts = 1,
		.size = mem.size,
		.importer = -1,
	};

	buf.fd = must(try_get("file", (struct kexport_get) {
				.size = mem.size, .file = mem.fd }));
	buffer_write(&buf, &way_memfd, 1);
	buffer_verify(&buf, &way_mmap, 1);
	buffer_verify(&buf, &way_vmap, 1);
	buffer_write(&buf, &way_device, 2);
	buffer_verify(&buf, &way_memfd, 2);
	buffer_free(&buf);
	memory_free(&mem);
}

PROMISE(export_file_of_memory, "shmem and hugetlb files can be written, too")
{
	file_of_memory(SHMEM_4K, MIB(1));
	file_of_memory(SHMEM_2M, MIB(4));
	file_of_memory(HUGETLB_2M, MIB(4));
}

static int try_peek(int file, __u64 offset, void *to, __u64 size)
{
	int debugfs = open_kind("peek");
	struct kexport_peek peek = {
		.size = size,
		.offset = offset,
		.to = (uintptr_t)to,
		.file = file,
	};
	int ret = ioctl(debugfs, KEXPORT_PEEK, &peek);
	int error = errno;

	close(debugfs);
	errno = error;
	return ret;
}

/* In ramfs, a page that is broken and in a buffer stays in its file. */
static int file_in_ramfs(void)
{
	must(unshare(CLONE_NEWNS));
	must(mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL));
	must(mount("none", "/tmp", "ramfs", 0, NULL));
	return must(open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
}

/* Breaks a page in the middle of a file of 1 MiB with the pattern of @id. */
static void broken_is_refused(int file, unsigned int id, bool writable)
{
	struct kexport_get get = { .size = MIB(1), .file = file, .read_only = 1 };
	char *map = must(mmap(NULL, MIB(1), PROT_READ, MAP_SHARED | MAP_POPULATE, file, 0));
	int fd = must(try_get("file", get)), errors[3] = {};
	__u64 frame = page_frame(map + KIB(512));
	char *text = malloc(MIB(1));

	check(text);
	must(munmap(map, MIB(1)));
	page_poison(frame);
	errors[0] = try_get("file", get) < 0 ? errno : 0;
	errors[1] = try_peek(file, KIB(512) - 1, text, 2) < 0 ? errno : 0;
	get.read_only = 0;
	errors[2] = try_get("file", get) < 0 ? errno : 0;
	must(try_peek(file, 0, text, KIB(512)));
	pattern_check(text, 1, id, 0, KIB(512), "the kernel");

	/* Cleans up before it judges, for the sake of later tests. */
	must(close(fd));
	must(close(file));
	page_unpoison(frame);
	check_eq(errors[0], EHWPOISON);
	check_eq(errors[1], EHWPOISON);
	check_eq(errors[2], writable ? EHWPOISON : EACCES);
	free(text);
}

PROMISE(export_broken_memory_is_refused,
	"a file with a broken page makes no dma-buf and gets no kernel address")
{
	struct memory mem = memory_make_patterned(SHMEM_4K, MIB(1));
	int file = file_in_ramfs();

	check_eq(write(file, mem.map, MIB(1)), MIB(1));
	memory_unmap(&mem);
	broken_is_refused(file, mem.id, false);
	broken_is_refused(mem.fd, mem.id, true);
}

PROMISE(export_file_keeps_what_is_cut_off,
	"memory that is punched out of a file, or cut off, stays in the buffer")
{
	struct memory mem = memory_make(SHMEM_4K, MIB(1));
	int other = must(memfd_create("may shrink", MFD_CLOEXEC));
	char *map;
	int fd;

	must(ftruncate(other, MIB(1)));
	map = must(mmap(NULL, MIB(1), PROT_READ | PROT_WRITE, MAP_SHARED, other, 0));
	pattern_fill(map, 1, mem.id, 0, MIB(1));
	must(munmap(map, MIB(1)));
	fd = must(try_get("file", (struct kexport_get) { .size = MIB(1), .file = other }));
	must(ftruncate(other, 0));
	pattern_check(map_dma_buf(fd, 0, MIB(1)), 1, mem.id, 0, MIB(1), "the buffer");
}

PROMISE(export_file_respects_seals, "a memfd sealed against writing is exported read-only")
{
	struct memory mem = memory_make(SHMEM_4K, MIB(1));
	struct kexport_get get = { .size = MIB(1), .file = mem.fd };
	char *map;
	int fd;

	pattern_fill(mem.map, 1, mem.id, 0, MIB(1));
	memory_unmap(&mem);
	must(fcntl(mem.fd, F_ADD_SEALS, F_SEAL_WRITE));
	must_fail(EPERM, try_get("file", get));
	get.read_only = 1;
	fd = must(try_get("file", get));
	map = must(mmap(NULL, MIB(1), PROT_READ, MAP_SHARED, fd, 0));
	pattern_check(map, 1, mem.id, 0, MIB(1), "the buffer");
	writable_by_nobody(fd, MIB(1));
}

/* Peeks at every pair of borders near pages and folios, from one byte on. */
static void peek_everywhere(int file, const char *want, __u64 size, __u64 folio)
{
	const __u64 borders[] = {
		0, 1, PAGE - 1, PAGE, PAGE + 1, folio - 1, folio, folio + 1,
		2 * folio - PAGE, 2 * folio, size - 1, size,
	};
	char *got = malloc(size);
	size_t i, j;

	check(got);
	for (i = 0; i < ARRAY_SIZE(borders); i++) {
		for (j = 0; j < ARRAY_SIZE(borders); j++) {
			__u64 from = borders[i], to = borders[j];

			if (from >= to || to > size)
				continue;
			must(try_peek(file, from, got, to - from));
			check(!memcmp(got, want + from, to - from));
		}
	}
	free(got);
}

static void peek_at_memory(enum memory_kind kind)
{
	struct memory mem = memory_make(kind, 3 * memory_folio(kind));

	pattern_fill(mem.map, 1, mem.id, 0, mem.size);
	peek_everywhere(mem.fd, mem.map, mem.size, mem.folio);
	memory_free(&mem);
}

PROMISE(export_peek_sees_any_range,
	"any range of a file has the right data at its kernel address")
{
	__u64 size;
	int file = open_program(&size);
	char *want = calloc(1, size);

	peek_at_memory(SHMEM_4K);
	peek_at_memory(SHMEM_64K);
	peek_at_memory(SHMEM_2M);
	peek_at_memory(HUGETLB_2M);
	check(want);
	must(pread(file, want, size, 0));
	peek_everywhere(file, want, size, 5 * PAGE);
}

PROMISE(export_peek_refuses_bad_ranges,
	"kernel addresses of empty ranges, wrapping ones, and those beyond the end fail")
{
	struct memory mem = memory_make(SHMEM_4K, MIB(1));
	char to[8];

	must_fail(EINVAL, try_peek(mem.fd, 0, to, 0));
	must_fail(EINVAL, try_peek(mem.fd, 0, to, -1));
	must_fail(EINVAL, try_peek(mem.fd, -1, to, 8));
	must_fail(ERANGE, try_peek(mem.fd, MIB(1) - 7, to, 8));
	must_fail(ERANGE, try_peek(mem.fd, MIB(1), to, 1));
	must_fail(ERANGE, try_peek(mem.fd, (1ULL << 63) - 1, to, 8));
	must_fail(ERANGE, try_peek(mem.fd, 0, to, 1ULL << 62));
	must_fail(EOPNOTSUPP, try_peek(must(open("/dev/zero", O_RDWR)), 0, to, 1));
}

PROMISE(export_takes_a_file_to_its_end,
	"of a memfd that ends inside a page, all of that page can be taken, nothing beyond")
{
	int file = must(memfd_create("odd", MFD_CLOEXEC));
	char want[2 * PAGE], got[2 * PAGE];
	struct kexport_get get = { .size = 2 * PAGE, .file = file };
	int fd;

	memset(want, 0, sizeof(want));
	pattern_fill(want, 1, 1, 0, PAGE + 1000);
	check_eq(must(write(file, want, PAGE + 1000)), PAGE + 1000);
	must(try_peek(file, 8, got, PAGE + 992));
	check(!memcmp(got, want + 8, PAGE + 992));
	must(try_peek(file, 0, got, 2 * PAGE));
	check(!memcmp(got, want, 2 * PAGE));
	must_fail(ERANGE, try_peek(file, PAGE, got, PAGE + 1));

	fd = must(try_get("file", get));
	check(!memcmp(map_dma_buf(fd, 0, 2 * PAGE), want, 2 * PAGE));
	get.size = 3 * PAGE;
	must_fail(ERANGE, try_get("file", get));
}

PROMISE(export_takes_a_file_of_any_size,
	"of the largest possible file the beginning can be exported, and nothing beyond its end")
{
	struct kexport_get get = { .size = PAGE, .file = memfd_create("huge", MFD_CLOEXEC) };
	char got[8];

	must(get.file);
	must(ftruncate(get.file, INT64_MAX));
	must_close(try_get("file", get));
	must(try_peek(get.file, 0, got, 8));
	get.offset = 1ULL << 63;
	must_fail(EINVAL, try_get("file", get));
	get.offset = (1ULL << 63) - PAGE;
	get.size = 2 * PAGE;
	must_fail(ERANGE, try_get("file", get));
}

/* The number of pages of the mapping that are not in memory. */
static unsigned int pages_out(char *map, size_t size)
{
	unsigned char in[MIB(1) / PAGE];
	unsigned int nr = 0;
	size_t i;

	check_le(size, MIB(1));
	must(mincore(map, size, in));
	for (i = 0; i < size / PAGE; i++)
		nr += !(in[i] & 1);
	return nr;
}

/* Reclaims the pages; a page that something holds for a moment needs another try. */
static void page_out(char *map, size_t size)
{
	int tries;

	for (tries = 0; tries < 10 && pages_out(map, size) < size / PAGE / 2; tries++)
		must(madvise(map, size, MADV_PAGEOUT));
	check_le(size / PAGE / 2, pages_out(map, size));
}

PROMISE(export_brings_back_what_is_swapped_out,
	"tmpfs pages in swap are read back for a kernel address and for a dma-buf", TAG_SWAP)
{
	struct memory mem = memory_make(SHMEM_4K, MIB(1));
	char *got = malloc(MIB(1));
	int fd;

	check(got);
	pattern_fill(mem.map, 1, mem.id, 0, MIB(1));
	page_out(mem.map, MIB(1));
	must(try_peek(mem.fd, 0, got, MIB(1)));
	pattern_check(got, 1, mem.id, 0, MIB(1), "the kernel address");

	/* MADV_PAGEOUT works on pages that are mapped here. */
	pattern_check(mem.map, 1, mem.id, 0, MIB(1), "the memfd");
	page_out(mem.map, MIB(1));
	fd = must(try_get("file", (struct kexport_get) { .size = MIB(1), .file = mem.fd }));
	pattern_check(map_dma_buf(fd, 0, MIB(1)), 1, mem.id, 0, MIB(1), "the buffer");
}
