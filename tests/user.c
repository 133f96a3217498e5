// SPDX-License-Identifier: MIT
/*
 * The caller's own addresses as memory of a buffer: which addresses are accepted, what
 * happens when the caller changes its memory later, and how all others are refused.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "blocks.h"
#include "buffer.h"
#include "harness.h"
#include "memory.h"
#include "watch.h"

#define ROUNDS 200

static char *map_anonymous(size_t size, int flags)
{
	return must(mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_ANONYMOUS | flags, -1, 0));
}

/* Verifies that device and kernel see the pattern of pass @pass of memory @id. */
static void importers_see(int fd, unsigned int pass, unsigned int id, __u64 offset,
			  size_t size)
{
	__u64 *data = malloc(size);
	int importer = importer_open();

	check(data);
	importer_attach(importer, fd);
	importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	importer_read(importer, DMABUFX_VIA_DEVICE, 0, data, size);
	pattern_check(data, pass, id, offset, size, "the device");
	importer_do(importer, DMABUFX_IMPORTER_VMAP, 0);
	importer_read(importer, DMABUFX_VIA_VMAP, 0, data, size);
	pattern_check(data, pass, id, offset, size, "vmap");
	must(close(importer));
	free(data);
}

static void device_writes(int fd, unsigned int pass, unsigned int id,
			  __u64 offset, size_t size)
{
	__u64 *data = malloc(size);
	int importer = importer_open();

	check(data);
	pattern_fill(data, pass, id, offset, size);
	importer_attach(importer, fd);
	importer_map(importer, DMABUFX_IMPORTER_FROM_DEVICE);
	importer_write(importer, DMABUFX_VIA_DEVICE, 0, data, size);
	must(close(importer));
	free(data);
}

/* The number of runs: a device without limits has an entry for each. */
static unsigned int count_runs(int fd)
{
	struct dmabufx_importer_map map;
	int importer = importer_open();

	importer_limits(importer, ~0ull, ~0ull, ~0u);
	importer_attach(importer, fd);
	map = importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	check_eq(map.faults, 0);
	must(close(importer));
	return map.orig_nents;
}

/* Data. */

/* Verifies all but the first and last page of some folios, in one part and in several. */
static void carries(struct memory *mem)
{
	struct part parts[] = {
		{ mem, PAGE, mem->size - 2 * PAGE },
		{ mem, 0, PAGE },
	};
	struct buffer buf = buffer_make_from(parts, ARRAY_SIZE(parts));

	buffer_carries(&buf, all_ways);
	buffer_free(&buf);
}

static void carries_kind(enum memory_kind kind)
{
	size_t folio = memory_folio(kind);
	struct memory mem = memory_make(kind, folio < MIB(2) ? MIB(1) : 2 * folio);
	struct memory user = memory_as_user(&mem);

	carries(&user);
	memory_free(&mem);
}

PROMISE(user_data_in_4k_pages,
	"private pages: their owner, mmap, device and kernel see the same data")
{
	carries_kind(ANON_4K);
}

PROMISE(user_data_in_64k_folios, "the same for anonymous 64 KiB folios")
{
	carries_kind(ANON_64K);
}

PROMISE(user_data_in_2m_folios, "the same for transparent huge pages")
{
	carries_kind(ANON_2M);
}

PROMISE(user_data_in_2m_hugetlb, "the same for private hugetlb pages")
{
	carries_kind(ANON_HUGETLB_2M);
}

static void carries_1g(enum memory_kind kind)
{
	struct memory mem = memory_make(kind, GIB(1));
	struct memory user = memory_as_user(&mem);
	struct part part = { &user, PAGE, GIB(1) - 3 * PAGE };
	struct buffer buf = buffer_make_from(&part, 1);

	check_eq(count_runs(buf.fd), 1);
	buffer_write(&buf, &way_memfd, 1);
	buffer_verify(&buf, &way_device, 1);
	buffer_write(&buf, &way_vmap, 2);
	buffer_verify(&buf, &way_memfd, 2);
	buffer_verify(&buf, &way_mmap, 2);
	buffer_free(&buf);
	memory_free(&mem);
}

PROMISE(user_data_in_1g_hugetlb,
	"the same for a 1 GiB hugetlb page, private or shared; it is one run")
{
	carries_1g(ANON_HUGETLB_1G);
	carries_1g(HUGETLB_1G);
}

PROMISE(user_data_in_mapped_memfds,
	"the same for mappings of memfds of every kind")
{
	enum memory_kind kind;

	for (kind = SHMEM_4K; kind <= HUGETLB_2M; kind++)
		carries_kind(kind);
}

PROMISE(user_data_in_shared_memory, "the same for shared anonymous memory")
{
	struct memory mem = memory_at(map_anonymous(MIB(1), MAP_SHARED), MIB(1));

	carries(&mem);
}

PROMISE(user_data_in_privately_mapped_file,
	"the same for a private mapping of a file; the file does not change")
{
	int file = file_on_disk(MIB(1));
	struct memory mem = memory_at(must(mmap(NULL, MIB(1),
						PROT_READ | PROT_WRITE,
						MAP_PRIVATE, file, 0)), MIB(1));
	__u64 word = 1;

	must(pwrite(file, &word, sizeof(word), 0));
	carries(&mem);
	must(pread(file, &word, sizeof(word), 0));
	check_eq(word, 1);
	must(pread(file, &word, sizeof(word), KIB(64)));
	check_eq(word, 0);
}

static void holes_become_memory(enum memory_kind kind)
{
	struct memory mem = memory_make_holes(kind, MIB(1));
	int fd = create_of_user(mem.map, mem.size);
	char *zeros = calloc(1, MIB(1)), *map = map_dma_buf(fd, 0, mem.size);

	check(!memcmp(map, zeros, MIB(1)));
	check(!memcmp(map + mem.size - MIB(1), zeros, MIB(1)));
	device_writes(fd, 1, mem.id, 0, MIB(1));
	pattern_check(mem.map, 1, mem.id, 0, MIB(1), "the owner");
	must(munmap(map, mem.size));
	must(close(fd));
	memory_free(&mem);
	free(zeros);
}

PROMISE(user_holes_become_memory,
	"memory that was never touched becomes zeros, in the process and in the buffer")
{
	holes_become_memory(ANON_4K);
	holes_become_memory(ANON_HUGETLB_2M);
}

PROMISE(user_hole_of_1g_becomes_memory, "the same for a private page of 1 GiB")
{
	struct memory there = memory_make(ANON_HUGETLB_1G, GIB(1));

	memory_free(&there);
	holes_become_memory(ANON_HUGETLB_1G);
}

/* Memory that the kernel thinks is clean: it was only read, or has MADV_FREE. */
static struct memory clean_memory(enum memory_kind kind)
{
	struct memory mem;
	size_t at;

	if (kind != SHMEM_4K) {
		mem = memory_make(kind, MIB(2));
		must(madvise(mem.map, mem.size, MADV_FREE));
		return mem;
	}
	mem = memory_make_holes(kind, MIB(1));
	for (at = 0; at < mem.size; at += PAGE)
		check_eq(touch(mem.map + at, false), 0);
	return mem;
}

static void survives_reclaim(enum memory_kind kind, const struct way *way)
{
	struct memory mem = clean_memory(kind), user = memory_as_user(&mem);
	struct part part = { &user, 0, user.size };
	struct buffer buf = buffer_make_from(&part, 1);

	note("%s, written by %s", memory_name(kind), way->name);
	writes_survive_reclaim(&buf, way, &user);
	memory_free(&mem);
}

PROMISE(user_written_memory_survives_reclaim,
	"data written through the dma-buf into clean memory survives reclaim")
{
	static const enum memory_kind kinds[] = { SHMEM_4K, ANON_4K, ANON_2M };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		survives_reclaim(kinds[i], &way_mmap);
		survives_reclaim(kinds[i], &way_device);
		survives_reclaim(kinds[i], &way_vmap);
	}
}

/* Parts of folios, in any order. */

PROMISE(user_parts_of_huge_pages,
	"ranges and single pages of huge pages are pinned and released correctly")
{
	enum memory_kind kinds[] = { ANON_2M, ANON_HUGETLB_2M };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct memory mem = memory_make(kinds[i], MIB(8));
		struct part parts[] = {
			{ &mem, MIB(2) - KIB(64), KIB(128) },
			{ &mem, MIB(1), PAGE },
			{ &mem, MIB(5), MIB(2) },
			{ &mem, MIB(1) + PAGE, PAGE },
			{ &mem, MIB(3), PAGE },
			{ &mem, MIB(3) - PAGE, PAGE },
			{ &mem, MIB(2), MIB(2) },
			{ &mem, MIB(8) - PAGE, PAGE },
		};
		struct buffer buf = buffer_make_from(parts, ARRAY_SIZE(parts));

		buffer_carries(&buf, all_ways);
		buffer_free(&buf);
		memory_free(&mem);
	}
}

PROMISE(user_huge_page_page_by_page,
	"a huge page listed page by page, in any order, is pinned and released correctly")
{
	struct part parts[MIB(2) / PAGE];
	struct memory mem = memory_make(ANON_2M, MIB(2));
	unsigned int n = ARRAY_SIZE(parts), step, i;
	struct buffer buf;

	for (step = 1; step <= 5; step += 2) {
		for (i = 0; i < n; i++)
			parts[i] = (struct part){ &mem, i * step % n * PAGE,
						  PAGE };
		buf = buffer_make_from(parts, n);
		if (step == 1)
			check_eq(count_runs(buf.fd), 1);
		buffer_write(&buf, &way_memfd, step);
		buffer_verify(&buf, &way_device, step);
		buffer_verify(&buf, &way_mmap, step);
		buffer_free(&buf);
	}
}

PROMISE(user_page_replaced_in_a_huge_page,
	"a huge page with another page in its middle is three runs, with the right data")
{
	struct memory mem = memory_make(ANON_2M, MIB(2));
	struct part part = { &mem, 0, MIB(2) };
	struct buffer buf;

	check(memory_is_folio(&mem, 0));
	must(mmap(mem.map + MIB(1), PAGE, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	mem.map[MIB(1)] = 1;
	buf = buffer_make_from(&part, 1);
	check_eq(count_runs(buf.fd), 3);
	buffer_carries(&buf, all_ways);
}

PROMISE(user_page_copied_in_a_huge_page,
	"a huge page whose middle was copied on a write after a fork is three runs, too")
{
	struct memory mem = memory_make_patterned(ANON_2M, MIB(4));
	struct part part = { &mem, 0, MIB(4) };
	int child = must(fork());
	struct buffer buf;

	/* The child keeps the old page until the parent has its copy and has pinned it. */
	if (!child) {
		pause();
		_exit(0);
	}
	memset(mem.map + MIB(1), 0, PAGE);
	pattern_fill(mem.map + MIB(1), 1, mem.id, MIB(1), PAGE);
	buf = buffer_make_from(&part, 1);
	buffer_verify(&buf, &way_device, 1);
	buffer_verify(&buf, &way_mmap, 1);
	must(kill(child, SIGKILL));
	must(waitpid(child, NULL, 0));
	buffer_carries(&buf, all_ways);
}

PROMISE(user_pages_of_a_huge_page_moved,
	"pages of a huge page that were moved to other addresses are found there")
{
	struct memory mem = memory_make(ANON_2M, MIB(2)), moved;
	char *there = must(mmap(NULL, MIB(2), PROT_NONE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	unsigned int i, n = 64;

	check(memory_is_folio(&mem, 0));
	/* Moves the pages one by one, into the reverse order. */
	for (i = 0; i < n; i++)
		must(mremap(mem.map + i * PAGE, PAGE, PAGE,
			    MREMAP_MAYMOVE | MREMAP_FIXED,
			    there + (n - 1 - i) * PAGE));
	moved = memory_at(there, n * PAGE);
	carries(&moved);
	mem.map = NULL;
}

PROMISE(user_runs_of_huge_pages,
	"256 MiB of huge pages are 128 runs or fewer, and carry data")
{
	struct memory mem = memory_make(ANON_2M, MIB(256));
	struct part part = { &mem, 0, mem.size };
	struct buffer buf = buffer_make_from(&part, 1);
	unsigned int runs = count_runs(buf.fd);

	note("256 MiB of %s in %u runs", memory_name(ANON_2M), runs);
	check_le(runs, 128);
	buffer_write(&buf, &way_memfd, 1);
	buffer_verify(&buf, &way_device, 1);
	buffer_verify(&buf, &way_mmap, 1);
	buffer_write(&buf, &way_device, 2);
	buffer_verify(&buf, &way_memfd, 2);
}

/* Maps the same memory @times times, one mapping after the other. */
static char *repeat(const struct memory *mem, unsigned int times)
{
	char *room = map_at_aligned_place(-1, mem->size * times, MIB(2),
					  MAP_PRIVATE | MAP_ANONYMOUS |
					  MAP_NORESERVE);
	unsigned int i;

	for (i = 0; i < times; i++)
		must(mmap(room + i * mem->size, mem->size,
			  PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			  mem->fd, 0));
	return room;
}

PROMISE(user_segment_beyond_4g,
	"a range of more than 4 GiB is pinned to its end")
{
	struct memory mem = memory_make_patterned(HUGETLB_2M, MIB(256));
	unsigned int times = 17;
	__u64 size = mem.size * times;
	char *room = repeat(&mem, times), *map;
	int fd = create_of_user(room, size);

	check_eq(lseek(fd, 0, SEEK_END), size);
	check_le(count_runs(fd), 128 * times);
	map = map_dma_buf(fd, size - 2 * mem.size, 2 * mem.size);
	pattern_check(map + mem.size - MIB(1), 1, mem.id, mem.size - MIB(1),
		      MIB(1), "mmap");
	pattern_check(map + mem.size, 1, mem.id, 0, MIB(1), "mmap");
	pattern_check(map + 2 * mem.size - PAGE, 1, mem.id, mem.size - PAGE,
		      PAGE, "mmap");
}

PROMISE(user_many_small_segments,
	"5000 single pages in random order keep their order")
{
	static struct part parts[5000];
	const unsigned int n = ARRAY_SIZE(parts);
	unsigned int i;
	struct memory mem = memory_make(ANON_4K, n * PAGE);
	struct buffer buf;

	for (i = 0; i < n; i++)
		parts[i] = (struct part){ &mem, i * 7919ull % n * PAGE, PAGE };
	buf = buffer_make_from(parts, n);
	buffer_write(&buf, &way_memfd, 1);
	buffer_verify(&buf, &way_device, 1);
	buffer_verify(&buf, &way_mmap, 1);
}

/* After the create: forks, and memory that is unmapped. */

static void child_writes(const struct memory *mem)
{
	int child = must(fork());

	if (!child) {
		pattern_check(mem->map, 1, mem->id, 0, mem->size, "the child");
		pattern_fill(mem->map, 7, mem->id, 0, mem->size);
		pattern_check(mem->map, 7, mem->id, 0, mem->size, "the child");
		_exit(0);
	}
	join_child(child);
}

/*
 * Linux 6.12 to 7.3 may lose the child's copy of private hugetlb pages that are not of the
 * size of a PMD, whether or not they are in a buffer: see docs/security.md.
 */
static bool fork_keeps_hugetlb(void)
{
	return pmd_size() == MIB(2);
}

static void fork_leaves_data_to_parent(enum memory_kind kind, bool parent_first)
{
	struct memory mem = memory_make_patterned(kind, MIB(2));
	int fd = create_of_user(mem.map, mem.size), child, ends[2];
	char byte = 0;

	must(pipe(ends));
	child = must(fork());
	if (!child) {
		must(close(ends[1]));
		if (parent_first)
			must(read(ends[0], &byte, 1));
		/* The child has the old data, and its own copy from here on. */
		pattern_check(mem.map, 1, mem.id, 0, mem.size, "the child");
		pattern_fill(mem.map, 7, mem.id, 0, mem.size);
		_exit(0);
	}
	if (!parent_first)
		join_child(child);
	importers_see(fd, 1, mem.id, 0, mem.size);

	pattern_fill(mem.map, 2, mem.id, 0, mem.size);
	importers_see(fd, 2, mem.id, 0, mem.size);
	must(close(ends[1]));
	if (parent_first)
		join_child(child);
	importers_see(fd, 2, mem.id, 0, mem.size);
	device_writes(fd, 3, mem.id, 0, mem.size);
	pattern_check(mem.map, 3, mem.id, 0, mem.size, "the owner");

	must(close(ends[0]));
	must(close(fd));
	memory_free(&mem);
}

PROMISE(user_fork_leaves_the_data_to_the_parent,
	"after a fork the parent's memory is the buffer's, whoever writes first")
{
	static const enum memory_kind kinds[] = {
		ANON_4K, ANON_64K, ANON_2M, ANON_HUGETLB_2M,
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kinds) - !fork_keeps_hugetlb(); i++) {
		fork_leaves_data_to_parent(kinds[i], false);
		fork_leaves_data_to_parent(kinds[i], true);
	}
}

static void made_after_fork(enum memory_kind kind, bool read_only)
{
	struct memory mem = memory_make_patterned(kind, MIB(2));
	struct dmabufx_segment seg = segment(&mem, 0, mem.size);
	struct dmabufx_create req = request(&seg, 1, read_only ?
					    DMABUFX_CREATE_READ_ONLY : 0);
	int ends[2], child, fd;
	char *map, byte;

	must(pipe(ends));
	child = must(fork());
	if (!child) {
		must(close(ends[1]));
		must(read(ends[0], &byte, 1));
		pattern_check(mem.map, 1, mem.id, 0, mem.size, "the child");
		_exit(0);
	}
	/* The child still shares the memory. */
	fd = must(try_request(device_open(), &req));
	pattern_fill(mem.map, 2, mem.id, 0, mem.size);
	map = must(mmap(NULL, mem.size, PROT_READ, MAP_SHARED, fd, 0));
	pattern_check(map, 2, mem.id, 0, mem.size, "mmap");
	must(close(ends[1]));
	join_child(child);
	pattern_fill(mem.map, 3, mem.id, 0, mem.size);
	pattern_check(map, 3, mem.id, 0, mem.size, "mmap");
	must(munmap(map, mem.size));
	must(close(ends[0]));
	must(close(fd));
	memory_free(&mem);
}

PROMISE(user_memory_shared_with_a_child_is_made_its_own,
	"a buffer of memory shared since a fork belongs to its owner, not to the child")
{
	made_after_fork(ANON_4K, false);
	made_after_fork(ANON_4K, true);
	made_after_fork(ANON_2M, false);
	made_after_fork(ANON_2M, true);
	if (!fork_keeps_hugetlb())
		return;
	made_after_fork(ANON_HUGETLB_2M, false);
	made_after_fork(ANON_HUGETLB_2M, true);
}

PROMISE(user_fork_shares_shared_memory,
	"shared memory is the buffer's in both parent and child")
{
	struct memory mem = memory_at(map_anonymous(MIB(1), MAP_SHARED), MIB(1));
	int fd = create_of_user(mem.map, MIB(1));

	pattern_fill(mem.map, 1, mem.id, 0, MIB(1));
	child_writes(&mem);
	importers_see(fd, 7, mem.id, 0, MIB(1));
}

/* Ways in which the owner may drop or change the memory of a buffer. */
static void go_unmap(struct memory *mem)
{
	must(munmap(mem->map, mem->size));
}

static void go_remap(struct memory *mem)
{
	must(mmap(mem->map, mem->size, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	memset(mem->map, 0xee, mem->size);
}

static void go_drop(struct memory *mem)
{
	must(madvise(mem->map, mem->size, MADV_DONTNEED));
	memset(mem->map, 0xee, mem->size);
}

static void go_drop_some(struct memory *mem)
{
	/* A hugetlb page is dropped as a whole. */
	madvise(mem->map + MIB(1), PAGE, MADV_DONTNEED);
	go_unmap(mem);
}

static void go_protect(struct memory *mem)
{
	must(mprotect(mem->map, mem->size, PROT_NONE));
}

static void go_swap(struct memory *mem)
{
	/* There may be no swap, so this may fail. */
	madvise(mem->map, mem->size, MADV_PAGEOUT);
	madvise(mem->map, mem->size, MADV_COLD);
}

/* The kernel hands out first what was freed last, so this overwrites freed pages. */
static void dirty_free_memory(void)
{
	char *memory = map_anonymous(MIB(4), MAP_PRIVATE);

	memset(memory, 0x5a, MIB(4));
	must(munmap(memory, MIB(4)));
}

static void outlives(enum memory_kind kind, void (*go)(struct memory *mem))
{
	struct memory mem = memory_make_patterned(kind, MIB(2));
	int fd = create_of_user(mem.map, mem.size);

	go(&mem);
	dirty_free_memory();
	importers_see(fd, 1, mem.id, 0, mem.size);
	device_writes(fd, 2, mem.id, 0, mem.size);
	importers_see(fd, 2, mem.id, 0, mem.size);
	must(close(fd));
	munmap(mem.map, mem.size);
}

PROMISE(user_memory_outlives_its_mapping,
	"a buffer keeps memory that is unmapped, remapped, dropped or protected")
{
	static void (* const ways_to_go[])(struct memory *mem) = {
		go_unmap, go_remap, go_drop, go_drop_some, go_protect, go_swap,
	};
	static const enum memory_kind kinds[] = {
		ANON_4K, ANON_64K, ANON_2M, ANON_HUGETLB_2M,
	};
	size_t i, k;

	for (k = 0; k < ARRAY_SIZE(kinds); k++)
		for (i = 0; i < ARRAY_SIZE(ways_to_go); i++)
			outlives(kinds[k], ways_to_go[i]);
}

PROMISE(user_memory_outlives_its_file,
	"a buffer keeps memory whose memfd is truncated, punched and closed")
{
	struct memory mem = memory_at(NULL, MIB(1));
	int memfd = must(memfd_create("dmabufx-tests", MFD_CLOEXEC)), fd;

	must(ftruncate(memfd, MIB(1)));
	mem.map = must(mmap(NULL, MIB(1), PROT_READ | PROT_WRITE, MAP_SHARED,
			    memfd, 0));
	pattern_fill(mem.map, 1, mem.id, 0, MIB(1));
	fd = create_of_user(mem.map, MIB(1));
	must(fallocate(memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
		       KIB(64)));
	must(ftruncate(memfd, 0));
	must(close(memfd));
	must(munmap(mem.map, MIB(1)));
	dirty_free_memory();
	importers_see(fd, 1, mem.id, 0, MIB(1));
}

static int fd_of(int pid, int fd)
{
	int pidfd = must(syscall(SYS_pidfd_open, pid, 0));
	int got = must(syscall(SYS_pidfd_getfd, pidfd, fd, 0));

	must(close(pidfd));
	return got;
}

struct handover {
	atomic_int fd;
	unsigned int id;
};

static void made_by_another(enum memory_kind kind)
{
	struct handover *hand = (void *)map_anonymous(PAGE, MAP_SHARED);
	int child = must(fork()), fd;

	if (!child) {
		struct memory mem = memory_make_patterned(kind, MIB(2));

		hand->id = mem.id;
		atomic_store(&hand->fd, create_of_user(mem.map, MIB(2)));
		pause();
		_exit(0);
	}
	while (!atomic_load(&hand->fd))
		if (waitpid(child, NULL, WNOHANG))
			fail("the other process ended");
	fd = fd_of(child, atomic_load(&hand->fd));
	must(kill(child, SIGKILL));
	must(waitpid(child, NULL, 0));
	dirty_free_memory();
	importers_see(fd, 1, hand->id, 0, MIB(2));
	device_writes(fd, 2, hand->id, 0, MIB(2));
	importers_see(fd, 2, hand->id, 0, MIB(2));
	must(close(fd));
}

PROMISE(user_memory_outlives_its_process,
	"a buffer lives on after the process is killed whose memory it has")
{
	made_by_another(ANON_4K);
	if (kernel_has_thp())
		made_by_another(ANON_2M);
	made_by_another(ANON_HUGETLB_2M);
}

/* Places where pages must not be pinned. */

/* Memory of which some pages lie in the block. */
static struct memory memory_in_block(enum memory_kind kind, int block)
{
	struct memory mem = memory_make(kind, BLOCK_SAMPLE);

	if (!block_pages_of(block, &mem))
		note("no %s in the movable block", memory_name(kind));
	return mem;
}

static size_t leaves_the_movable_block(enum memory_kind kind, int block)
{
	struct memory mem = memory_in_block(kind, block);
	struct memory user = memory_as_user(&mem);
	size_t before = block_pages_of(block, &user);
	int fd;

	pattern_fill(user.map, 1, user.id, 0, user.size);
	fd = create_of_user(user.map, user.size);
	check_eq(block_pages_of(block, &user), 0);
	importers_see(fd, 1, user.id, 0, user.size);
	device_writes(fd, 2, user.id, 0, user.size);
	pattern_check(user.map, 2, user.id, 0, user.size, "the owner");
	must(close(fd));
	memory_free(&mem);
	return before;
}

PROMISE(user_memory_leaves_movable_zones,
	"pages in ZONE_MOVABLE are moved to another zone, with their data, before they are pinned")
{
	int block = block_make_movable();
	size_t n;

	n = leaves_the_movable_block(ANON_4K, block);
	note("%zu single pages were in ZONE_MOVABLE", n);
	if (kernel_has_thp())
		n += leaves_the_movable_block(ANON_2M, block);
	n += leaves_the_movable_block(SHMEM_4K, block);
	/* The block can leave only if it has no pinned pages. */
	check(block_can_go(block));
	check_le(1, n);
}

/* Refused addresses. */

struct refusal {
	int line;
	int error;
	__u32 reason;
	struct dmabufx_segment bad;
	__u32 flags;
};

struct refusals {
	int device;
	struct dmabufx_segment good;
	const struct refusal *list;
	size_t nr;
};

/* Refuses each segment alone, and after a segment that is pinned by then. */
static void call_refusals(void *arg)
{
	struct refusals *all = arg;
	size_t i;

	for (i = 0; i < all->nr; i++) {
		const struct refusal *one = &all->list[i];
		struct dmabufx_segment after_good[] = { all->good, one->bad };
		struct dmabufx_create req = request(&one->bad, 1, one->flags);

		refused_at(one->line, one->error, one->reason, 0, all->device,
			   &req);
		req = request(after_good, 2, one->flags);
		refused_at(one->line, one->error, one->reason, 1, all->device,
			   &req);
	}
}

static void refuses_all(const struct refusal *list, size_t nr)
{
	struct memory mem = memory_make(ANON_4K, KIB(64));
	struct refusals all = { device_open(), segment(&mem, 0, KIB(64)), list,
				nr };

	leaves_nothing(call_refusals, &all, ROUNDS);
}

#define REFUSAL(error, reason, ...) \
	{ __LINE__, error, DMABUFX_REASON_ ## reason, __VA_ARGS__ }
#define AT(address, size) user_segment((const void *)(address), size)

PROMISE(user_addresses_of_the_kernel_are_refused,
	"addresses beyond user space are EFAULT, also at the end of a range")
{
	char *page = map_anonymous(PAGE, MAP_PRIVATE);
	const struct refusal list[] = {
		REFUSAL(EFAULT, NOT_USER, AT(0xffff888000000000, PAGE)),
		REFUSAL(EFAULT, NOT_USER, AT(0xffffffff81000000, PAGE)),
		REFUSAL(EFAULT, NOT_USER, AT(0xffffffffff600000, PAGE)),
		REFUSAL(EFAULT, NOT_USER, AT(0x8000000000000000, PAGE)),
		REFUSAL(EFAULT, NOT_USER, AT(-2 * PAGE, PAGE)),
		REFUSAL(EFAULT, UNMAPPED, AT(0, PAGE)),
		REFUSAL(EFAULT, UNMAPPED, AT((1ull << 47) - 2 * PAGE, PAGE)),
	};
	struct dmabufx_segment wraps = AT(page, -(uintptr_t)page);
	struct dmabufx_create req = request(&wraps, 1, 0);

	refuses_all(list, ARRAY_SIZE(list));
	/* Up to the last address, which is more than a buffer may have. */
	check_eq(try_request(device_open(), &req), -1);
	check(errno == EFBIG || errno == EINVAL);
}

PROMISE(user_holes_are_refused,
	"unmapped pages at the start, in the middle or at the end are EFAULT")
{
	char *pages = map_anonymous(MIB(5), MAP_PRIVATE);
	char *high = map_at_aligned_place(-1, MIB(6), MIB(2),
					  MAP_PRIVATE | MAP_ANONYMOUS);
	const struct refusal list[] = {
		REFUSAL(EFAULT, UNMAPPED, AT(pages, KIB(16))),
		REFUSAL(EFAULT, UNMAPPED, AT(pages + PAGE, MIB(4))),
		REFUSAL(EFAULT, UNMAPPED, AT(pages + MIB(4), MIB(1))),
		REFUSAL(EFAULT, UNMAPPED, AT(pages + MIB(2) + PAGE, PAGE)),
		REFUSAL(EFAULT, UNMAPPED, AT(high, MIB(6))),
		REFUSAL(EFAULT, UNMAPPED, AT(high + PAGE, MIB(2))),
	};
	struct refusals all = { device_open(), AT(pages + PAGE, PAGE), list,
				ARRAY_SIZE(list) };

	must(munmap(pages, PAGE));
	must(munmap(pages + MIB(2) + PAGE, PAGE));
	must(munmap(pages + MIB(5) - PAGE, PAGE));
	/* The hole lies exactly between two batches of pins. */
	must(munmap(high + MIB(2), MIB(2)));
	/* Fewer rounds, for each pins and unpins up to 1000 pages. */
	leaves_nothing(call_refusals, &all, 20);
}

PROMISE(user_holes_below_a_stack_are_refused,
	"addresses into which a stack may grow are EFAULT, and nothing is logged")
{
	char *stack = must(mmap(NULL, MIB(1), PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN, -1,
				0));
	struct dmabufx_segment below = AT(stack - KIB(16), KIB(16));
	struct dmabufx_segment across = AT(stack - PAGE, KIB(16));
	struct dmabufx_create req = request(&below, 1, 0);
	int device = device_open();

	stack[0] = 1;
	refused(EFAULT, DMABUFX_REASON_UNMAPPED, 0, device, &req);
	req = request(&across, 1, 0);
	refused(EFAULT, DMABUFX_REASON_UNMAPPED, 0, device, &req);
}

static char *protected(size_t size, int prot)
{
	char *pages = map_anonymous(size, MAP_PRIVATE);

	memset(pages, 1, size);
	must(mprotect(pages, size, prot));
	return pages;
}

PROMISE(user_protection_is_obeyed,
	"memory that the process cannot write is EACCES for a writable buffer")
{
	char *none = protected(KIB(64), PROT_NONE);
	char *reads = protected(KIB(64), PROT_READ);
	char *partly = protected(KIB(64), PROT_READ | PROT_WRITE);
	char *shared = must(mmap(NULL, KIB(64), PROT_READ, MAP_SHARED,
				 memfd_make(SHMEM_4K, KIB(64), F_SEAL_SHRINK), 0));
	const struct refusal list[] = {
		REFUSAL(EACCES, PROTECTED, AT(none, KIB(64))),
		REFUSAL(EACCES, PROTECTED, AT(none, KIB(64)),
			DMABUFX_CREATE_READ_ONLY),
		REFUSAL(EACCES, PROTECTED, AT(reads, KIB(64))),
		REFUSAL(EACCES, PROTECTED, AT(partly, KIB(64))),
		REFUSAL(EACCES, PROTECTED, AT(shared, KIB(64))),
	};

	must(mprotect(partly + KIB(32), PAGE, PROT_READ));
	refuses_all(list, ARRAY_SIZE(list));
}

PROMISE(user_device_memory_is_refused,
	"mappings of devices and of dma-bufs are EOPNOTSUPP, also for read-only buffers")
{
	struct memory mem = memory_make(SHMEM_4K, KIB(64));
	int dev = open("/dev/mem", O_RDONLY | O_CLOEXEC);
	int peer = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	struct udmabuf_create_item all = list_item(&mem, 0, KIB(64));
	char *ours = map_dma_buf(create_range(&mem, 0, KIB(64)), 0, KIB(64));
	char *user = map_dma_buf(create_of_user(mem.map, KIB(64)), 0, KIB(64));
	char *theirs = peer < 0 ? ours :
		       map_dma_buf(must(try_create(peer, all, 0)), 0, KIB(64));
	char *bios = mmap(NULL, KIB(64), PROT_READ, MAP_SHARED, dev, 0xf0000);
	const struct refusal list[] = {
		REFUSAL(EOPNOTSUPP, DEVICE, AT(ours, KIB(64))),
		REFUSAL(EOPNOTSUPP, DEVICE, AT(user, PAGE)),
		REFUSAL(EOPNOTSUPP, DEVICE, AT(theirs, PAGE)),
		REFUSAL(EOPNOTSUPP, DEVICE, AT(ours, KIB(64)),
			DMABUFX_CREATE_READ_ONLY),
		REFUSAL(EOPNOTSUPP, DEVICE, AT(bios, PAGE),
			DMABUFX_CREATE_READ_ONLY),
	};

	if (bios == MAP_FAILED)
		note("/dev/mem cannot be mapped: %s", errno_name(errno));
	refuses_all(list, ARRAY_SIZE(list) - (bios == MAP_FAILED));
}

PROMISE(user_shared_files_are_refused,
	"a shared, writable mapping of a file on a disk is EOPNOTSUPP")
{
	int file = file_on_disk(MIB(1));
	char *map = must(mmap(NULL, MIB(1), PROT_READ | PROT_WRITE, MAP_SHARED,
			      file, 0));
	const struct refusal list[] = {
		REFUSAL(EOPNOTSUPP, FILE, AT(map, PAGE)),
		REFUSAL(EOPNOTSUPP, FILE, AT(map + PAGE, KIB(64))),
	};

	map[0] = 1;
	refuses_all(list, ARRAY_SIZE(list));
	/* The file still works. */
	map[PAGE] = 2;
	must(msync(map, MIB(1), MS_SYNC));
	must(ftruncate(file, 0));
}

PROMISE(user_files_beyond_their_end_are_refused,
	"mapped pages beyond the end of a file are EFAULT, and nothing stays pinned")
{
	struct memory mem = memory_make(SHMEM_4K, 16 * PAGE);
	int file = file_on_disk(PAGE);
	char *of_memfd = must(mmap(NULL, 32 * PAGE, PROT_READ | PROT_WRITE,
				   MAP_SHARED, mem.fd, 0));
	char *of_file = must(mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE, file, 0));
	const struct refusal list[] = {
		REFUSAL(EFAULT, UNPINNABLE, AT(of_memfd, 32 * PAGE)),
		REFUSAL(EFAULT, UNPINNABLE, AT(of_memfd + 16 * PAGE, PAGE)),
		REFUSAL(EFAULT, UNPINNABLE, AT(of_file, 4 * PAGE)),
		REFUSAL(EFAULT, UNPINNABLE, AT(of_file, 4 * PAGE),
			DMABUFX_CREATE_READ_ONLY),
	};

	refuses_all(list, ARRAY_SIZE(list));
}

PROMISE(user_secret_memory_is_refused,
	"memory of memfd_secret() is EFAULT, and stays hidden from the kernel")
{
	char *secret = must(mmap(NULL, KIB(16), PROT_READ | PROT_WRITE, MAP_SHARED,
				 memfd_make_secret(KIB(16)), 0));
	const struct refusal list[] = {
		REFUSAL(EFAULT, UNPINNABLE, AT(secret, KIB(16))),
		REFUSAL(EFAULT, UNPINNABLE, AT(secret, PAGE),
			DMABUFX_CREATE_READ_ONLY),
	};

	memset(secret, 1, KIB(16));
	refuses_all(list, ARRAY_SIZE(list));
}

PROMISE(user_broken_memory_is_refused,
	"a page with a memory error cannot be exported, its neighbours can")
{
	struct memory mem = memory_make_patterned(ANON_4K, KIB(64));
	__u64 frame = page_frame(mem.map + KIB(32));
	struct dmabufx_segment all = segment(&mem, 0, KIB(64));
	struct dmabufx_create req = request(&all, 1, 0);
	int device = device_open(), fd, error;

	page_poison(frame);
	fd = try_request(device, &req);
	error = errno;
	importers_see(create_of_user(mem.map, KIB(32)), 1, mem.id, 0, KIB(32));

	/* Cleans up before it judges, for the sake of later tests. */
	memory_free(&mem);
	page_unpoison(frame);
	check_eq(fd, -1);
	check_eq(error, EHWPOISON);
	check_eq(req.reason, DMABUFX_REASON_POISONED);
	check_eq(req.failed_segment, 0);
}

PROMISE(user_memory_that_breaks_is_sigbus,
	"a pinned page that gets a memory error is SIGBUS in the buffer's mappings")
{
	struct memory mem = memory_make_patterned(ANON_4K, KIB(64));
	int fd = create_of_user(mem.map, KIB(64)), before, after;
	__u64 frame = page_frame(mem.map + KIB(32));
	char *map = map_dma_buf(fd, 0, KIB(64));

	memory_unmap(&mem);
	page_poison(frame);
	before = touch(map + KIB(32), false);
	pattern_check(map, 1, mem.id, 0, KIB(32), "mmap");
	after = touch(map + KIB(32), false);
	must(munmap(map, KIB(64)));
	must(close(fd));
	page_unpoison(frame);
	check_eq(before, SIGBUS);
	check_eq(after, SIGBUS);
}

/*
 * Events while a create waits for a page in the middle. It has already found the pages
 * before. userfaultfd withholds the page until the event is over.
 */
struct stopped {
	struct memory mem;
	struct dmabufx_create req;
	struct dmabufx_segment seg;
	struct withheld hole;
	pthread_t thread;
	int device;
	int fd, error;
};

#define STOP_AT KIB(32)

static void *create_in_thread(void *arg)
{
	struct stopped *s = arg;

	s->fd = try_request(s->device, &s->req);
	s->error = errno;
	return NULL;
}

static void prepare_stop(struct stopped *s)
{
	s->mem = memory_make_patterned(ANON_4K, KIB(64));
	s->hole = page_withhold(s->mem.map + STOP_AT);
	s->device = device_open();
	s->seg = segment(&s->mem, 0, KIB(64));
	s->req = request(&s->seg, 1, 0);
}

static void stop_in_create(struct stopped *s)
{
	prepare_stop(s);
	check_eq(pthread_create(&s->thread, NULL, create_in_thread, s), 0);
	page_is_awaited(&s->hole);
}

static void go_on(struct stopped *s)
{
	static __u64 page[LARGEST_PAGE / 8];

	pattern_fill(page, 1, s->mem.id, STOP_AT, PAGE);
	page_give(&s->hole, page);
	pthread_join(s->thread, NULL);
}

PROMISE(user_create_waits_for_memory,
	"a create waits for a page (userfaultfd), and then succeeds",
	TAG_THREADS)
{
	struct stopped s;

	stop_in_create(&s);
	go_on(&s);
	check_le(0, s.fd);
	importers_see(s.fd, 1, s.mem.id, 0, KIB(64));
}

PROMISE(user_pins_nothing_while_it_waits,
	"while a create waits for a page, whole huge pages of which it pinned parts are charged",
	TAG_THREADS)
{
	struct memory huge[2] = { memory_make(ANON_2M, MIB(2)), memory_make(ANON_2M, MIB(2)) };
	struct stopped s;
	__u64 before, locked;
	int i;

	prepare_stop(&s);
	for (i = 0; i < 2; i++)
		must(mremap(huge[i].map + KIB(64), PAGE, PAGE,
			    MREMAP_MAYMOVE | MREMAP_FIXED, s.mem.map + i * PAGE));
	before = device_query(s.device).user_locked;
	check_eq(pthread_create(&s.thread, NULL, create_in_thread, &s), 0);
	page_is_awaited(&s.hole);
	locked = device_query(s.device).user_locked;
	go_on(&s);
	check_le(0, s.fd);
	check_le(2 * MIB(2) + KIB(64), locked - before);
	must(close(s.fd));
	check_eq(device_query(s.device).user_locked, before);
}

/* Address space with an area for each page: no two neighbours have the same flags. */
static char *many_areas(unsigned int nr)
{
	char *map = map_anonymous((size_t)nr * PAGE, MAP_PRIVATE);
	unsigned int i;

	for (i = 0; i < nr; i += 2)
		must(madvise(map + i * PAGE, PAGE, MADV_DONTDUMP));
	return map;
}

PROMISE(user_killed_while_it_looks,
	"a create of many segments, each of thousands of areas, can be killed at any time",
	TAG_THREADS)
{
	enum { AREAS = 10000 };
	struct dmabufx_segment *list = calloc(LIST_LIMIT, sizeof(*list));
	char *map = many_areas(AREAS);
	struct dmabufx_create req = request(list, LIST_LIMIT, 0);
	int device = device_open(), begun[2], child, i;
	char byte;

	check(list);
	for (i = 0; i < LIST_LIMIT; i++)
		list[i] = user_segment(map, AREAS * PAGE);
	must(pipe(begun));
	child = must(fork());
	if (!child) {
		must(write(begun[1], "", 1));
		try_request(device, &req);
		_exit(0);
	}
	must(read(begun[0], &byte, 1));
	/* The call has much work left whenever this happens. */
	usleep(100000);
	check(child_dies(child));
}

PROMISE(user_memory_unmapped_during_create,
	"memory unmapped during a create is EFAULT, and the rest is unpinned",
	TAG_THREADS)
{
	struct stopped s;

	stop_in_create(&s);
	must(munmap(s.mem.map + STOP_AT, KIB(32)));
	go_on(&s);
	check_eq(s.fd, -1);
	check_eq(s.error, EFAULT);
	check_eq(s.req.reason, DMABUFX_REASON_UNMAPPED);
	check_eq(s.req.failed_segment, 0);
}

PROMISE(user_memory_protected_during_create,
	"memory that becomes read-only during a create is EACCES", TAG_THREADS)
{
	struct stopped s;

	stop_in_create(&s);
	must(mprotect(s.mem.map + STOP_AT, KIB(32), PROT_READ));
	go_on(&s);
	check_eq(s.fd, -1);
	check_eq(s.error, EACCES);
	check_eq(s.req.reason, DMABUFX_REASON_PROTECTED);
}

PROMISE(user_fork_during_create,
	"after a fork during a create the parent's memory is the buffer's",
	TAG_THREADS)
{
	struct stopped s;
	int child;

	stop_in_create(&s);
	child = must(fork());
	if (!child) {
		/* Not the withheld page: the child has no userfaultfd. */
		pattern_fill(s.mem.map, 7, s.mem.id, 0, STOP_AT);
		_exit(0);
	}
	join_child(child);
	go_on(&s);
	check_le(0, s.fd);
	importers_see(s.fd, 1, s.mem.id, 0, KIB(64));
	pattern_fill(s.mem.map, 2, s.mem.id, 0, KIB(64));
	importers_see(s.fd, 2, s.mem.id, 0, KIB(64));
}

PROMISE(user_killed_during_create,
	"a process killed while its create waits for a page ends and leaves nothing",
	TAG_THREADS)
{
	int stopped[2], child;
	char byte;

	must(pipe(stopped));
	child = must(fork());
	if (!child) {
		struct stopped s;

		stop_in_create(&s);
		must(write(stopped[1], "", 1));
		pthread_join(s.thread, NULL);
		_exit(0);
	}
	check_eq(read(stopped[0], &byte, 1), 1);
	check(child_dies(child));
}

/* The same at random times: another thread changes memory during creates. */
struct player {
	struct memory mem;
	atomic_bool stop;
};

static void *play(void *arg)
{
	struct player *p = arg;
	unsigned int round = 0;

	while (!atomic_load(&p->stop)) {
		char *page = p->mem.map + round * 37 % 64 * PAGE;

		switch (round++ % 4) {
		case 0:
			munmap(page, PAGE);
			mmap(page, PAGE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
			break;
		case 1:
			mprotect(page, PAGE, PROT_READ);
			mprotect(page, PAGE, PROT_READ | PROT_WRITE);
			break;
		case 2:
			madvise(page, PAGE, MADV_DONTNEED);
			break;
		case 3:
			if (round % 64)
				break;
			if (!fork())
				_exit(0);
			while (waitpid(-1, NULL, WNOHANG) > 0)
				;
		}
	}
	while (waitpid(-1, NULL, 0) > 0)
		;
	return NULL;
}

PROMISE(user_memory_changes_during_creates,
	"a thread that unmaps, protects and forks makes creates fail, and does no other harm",
	TAG_THREADS)
{
	struct player p = { .mem = memory_make(ANON_4K, 64 * PAGE) };
	int device = device_open(), made = 0, rounds = repeats(1500), i;
	struct dmabufx_segment seg = segment(&p.mem, 0, 64 * PAGE);
	pthread_t thread;

	check_eq(pthread_create(&thread, NULL, play, &p), 0);
	for (i = 0; i < rounds; i++) {
		struct dmabufx_create req = request(&seg, 1, 0);
		int fd = try_request(device, &req);

		if (fd < 0) {
			check(errno == EFAULT || errno == EACCES);
			check_eq(req.failed_segment, 0);
			continue;
		}
		made++;
		must(close(fd));
	}
	atomic_store(&p.stop, true);
	pthread_join(thread, NULL);
	note("%d of %d creates succeeded", made, rounds);
	/* Nothing disturbs this create, so it succeeds. */
	must(close(create_of(&seg, 1)));
}

struct cycle {
	int device;
	struct memory mem;
	struct memory thp;
};

static void create_and_close(void *arg)
{
	struct cycle *c = arg;
	struct dmabufx_segment segments[3] = {
		segment(&c->mem, 8, KIB(64) - 8),
		segment(&c->thp, MIB(1), KIB(256)),
		segment(&c->mem, 0, KIB(32)),
	};
	struct dmabufx_create req = request(segments, 3, 0);

	must_close(try_request(c->device, &req));
}

PROMISE(user_creates_leave_nothing,
	"2000 creates and closes of user memory leave no memory and no pin behind")
{
	struct cycle cycle = {
		device_open(), memory_make(ANON_4K, KIB(64)),
		memory_make(ANON_2M, MIB(2)),
	};

	leaves_nothing(create_and_close, &cycle, 2000);
}
