// SPDX-License-Identifier: MIT
/*
 * Each fault maps as much as it can, and the kernel's walks through such mappings do no
 * harm. For dmabufx only, for its tracepoint counts faults. The library chooses addresses.
 */
#include <elf.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <dmabufx.h>

#include "buffer.h"
#include "harness.h"
#include "memory.h"
#include "watch.h"

static char *library_map(int fd, __u64 offset, size_t size)
{
	void *map;

	check_eq(dmabufx_map(fd, offset, size, PROT_READ | PROT_WRITE, &map), 0);
	return map;
}

/* Writes a different word into each page. */
static void mark_pages(char *map, size_t size, __u64 seed)
{
	size_t at;

	for (at = 0; at < size; at += PAGE)
		*(volatile __u64 *)(map + at) = seed + at;
}

static void check_pages(const char *map, size_t size, __u64 seed)
{
	size_t at;

	for (at = 0; at < size; at += PAGE)
		check_eq(*(const volatile __u64 *)(map + at), seed + at);
}

/* Numbers of faults are known only there. */
static void needs_pmd_of_2m(void)
{
	if (pmd_size() != MIB(2))
		skip("a PMD maps %llu MiB on this kernel", pmd_size() / MIB(1));
}

PROMISE(order_of_huge_pages_is_a_pmd,
	"one fault maps a whole huge page if the address is aligned to it")
{
	struct memory mem = memory_make(HUGETLB_2M, MIB(8));
	char *map = library_map(create_range(&mem, 0, mem.size), 0, mem.size);

	needs_thp();
	needs_pmd_of_2m();
	trace_faults();
	mark_pages(map, mem.size, 1);
	check_eq(faults_mapped(PMD), 4);
	check_eq(faults_mapped(PTE), 0);
	check_pages(mem.map, mem.size, 1);
}

PROMISE(order_follows_the_offset,
	"in a mapping that begins inside a huge page, the others are mapped whole")
{
	struct memory mem = memory_make(HUGETLB_2M, MIB(8));
	char *map = library_map(create_range(&mem, 0, mem.size), MIB(1), MIB(6));

	needs_thp();
	needs_pmd_of_2m();
	mark_pages(mem.map, mem.size, 2);
	trace_faults();
	check_pages(map, MIB(6), 2 + MIB(1));
	check_eq(faults_mapped(PMD), 2);
	check_eq(faults_mapped(PTE), 2);
}

PROMISE(order_of_misplaced_memory_is_a_pte,
	"where address and memory are aligned differently, a fault fills one page table")
{
	struct memory mem = memory_make(HUGETLB_2M, MIB(8));
	char *map = library_map(create_range(&mem, PAGE, MIB(6)), 0, MIB(6));

	needs_pmd_of_2m();
	mark_pages(mem.map, mem.size, 3);
	trace_faults();
	check_pages(map, MIB(6), 3 + PAGE);
	check_eq(faults_mapped(PMD), 0);
	check_eq(faults_mapped(PTE), 3);
}

PROMISE(order_ends_with_the_memory,
	"a huge page whose last page is not in the buffer is not mapped as a whole")
{
	struct memory huge = memory_make(HUGETLB_2M, MIB(2));
	struct memory other = memory_make(SHMEM_4K, PAGE);
	struct udmabuf_create_item list[] = {
		list_item(&huge, 0, MIB(2) - PAGE), list_item(&other, 0, PAGE),
	};
	char *map = library_map(must(try_create_list(device_open(), list, 2, 0)), 0, MIB(2));

	mark_pages(huge.map, huge.size, 4);
	mark_pages(other.map, other.size, 4 + MIB(2) - PAGE);
	*(volatile __u64 *)(huge.map + MIB(2) - PAGE) = 0;
	trace_faults();
	check_pages(map, MIB(2), 4);
	check_eq(faults_mapped(PMD), 0);
	check_eq(faults_mapped(PTE), 1);
}

PROMISE(order_ends_with_the_area,
	"a huge page whose last page was unmapped is not mapped as a whole")
{
	struct memory mem = memory_make(HUGETLB_2M, MIB(2));
	char *map = library_map(create_range(&mem, 0, mem.size), 0, mem.size);

	mark_pages(mem.map, mem.size, 5);
	must(munmap(map + MIB(2) - PAGE, PAGE));
	trace_faults();
	check_pages(map, MIB(2) - PAGE, 5);
	check_eq(faults_mapped(PMD), 0);
	check_eq(faults_mapped(PTE), 1);
	check_eq(touch(map + MIB(2) - PAGE, false), SIGSEGV);
}

PROMISE(order_of_small_pages_is_a_pte,
	"a fault on 4 KiB pages fills the rest of its page table, and no other")
{
	struct memory mem = memory_make(SHMEM_4K, MIB(8));
	struct udmabuf_create_item list[8];
	unsigned int i;
	char *map;

	needs_pmd_of_2m();
	/* No page follows itself, so no two MiB are contiguous even in contiguous memory. */
	for (i = 0; i < 4; i++) {
		list[2 * i] = list_item(&mem, i * MIB(2), MIB(1));
		list[2 * i + 1] = list_item(&mem, i * MIB(2) + MIB(1) - PAGE, MIB(1));
	}
	map = map_at_aligned_place(must(try_create_list(device_open(), list, 8, 0)),
				   mem.size, MIB(2), MAP_SHARED);

	trace_faults();
	mark_pages(map + MIB(2), MIB(2), 4);
	check_eq(faults_mapped(PTE), 1);
	mark_pages(map, mem.size, 4);
	check_eq(faults_mapped(PTE), 4);
	for (i = 0; i < 4; i++) {
		check_pages(mem.map + list[2 * i].offset, MIB(1) - PAGE, 4 + i * MIB(2));
		check_pages(mem.map + list[2 * i + 1].offset, MIB(1),
			    4 + i * MIB(2) + MIB(1));
	}
}

/* In Linux 6.12 to 7.3, among the architectures that were tried. */
static bool has_pud_entries(void)
{
#ifdef __x86_64__
	return true;
#else
	return false;
#endif
}

/* So many faults have mapped 1 GiB. On other architectures, entries are smaller. */
static void check_puds(int nr)
{
	check_eq(faults_mapped(PUD), has_pud_entries() ? nr : 0);
	if (has_pud_entries())
		check_eq(faults_mapped(PMD) + faults_mapped(PTE), 0);
}

PROMISE(order_of_1g_pages_is_a_pud,
	"one fault maps a whole page of 1 GiB, where the processor has such entries")
{
	struct memory mem = memory_make(HUGETLB_1G, GIB(1));
	char *map = library_map(create_range(&mem, 0, mem.size), 0, mem.size);

	needs_thp();
	trace_faults();
	mark_pages(map, MIB(64), 5);
	check_pages(map + GIB(1) - PAGE, PAGE, *(__u64 *)(map + GIB(1) - PAGE));
	check_puds(1);
	if (!has_pud_entries())
		check_eq(faults_mapped(PMD), MIB(64) / pmd_size() + 1);
	check_pages(mem.map, MIB(64), 5);
}

/* All faults map entries of this order: a PMD, or a page table for each 2 MiB. */
static void maps_by(unsigned int order, struct memory mem)
{
	int fd = create_of_user(mem.map, mem.size);
	char *map = library_map(fd, 0, mem.size);

	trace_faults();
	mark_pages(map, mem.size, 6);
	check_eq(faults_mapped(order), mem.size / MIB(2));
	check_eq(faults_mapped(PMD) + faults_mapped(PTE), mem.size / MIB(2));
	check_pages(mem.map, mem.size, 6);
	check_eq(dmabufx_unmap(map, mem.size), 0);
	must(close(fd));
}

/*
 * The memory's owner has entries of its own, and Linux's page table check allows no second
 * writable entry for anonymous memory.
 */
PROMISE(order_of_anonymous_memory_is_a_pte,
	"huge pages of shared memory are mapped by huge entries, those of private memory are not")
{
	struct memory thp = memory_make(ANON_2M, MIB(4));
	struct memory private, shared;

	needs_pmd_of_2m();
	maps_by(PTE, thp);
	memory_free(&thp);
	private = memory_make(ANON_HUGETLB_2M, MIB(4));
	maps_by(PTE, private);
	memory_free(&private);
	shared = memory_make(HUGETLB_2M, MIB(4));
	maps_by(PMD, memory_as_user(&shared));
}

PROMISE(order_of_anonymous_1g_pages_is_a_pte,
	"a private page of 1 GiB is not mapped by a huge entry")
{
	struct memory mem = memory_make(ANON_HUGETLB_1G, GIB(1));
	char *map = library_map(create_of_user(mem.map, mem.size), 0, mem.size);

	needs_pmd_of_2m();
	trace_faults();
	mark_pages(map, MIB(4), 7);
	check_eq(faults_mapped(PTE), 2);
	check_eq(faults_mapped(PUD) + faults_mapped(PMD), 0);
	check_pages(mem.map, MIB(4), 7);
}

/*
 * Fills the memory as a hostile owner would, to look like a page table. A kernel that walks
 * through an entry for a huge page takes it for one. Every other entry is for 2 MiB, which
 * such a walk clears to make small ones.
 */
static void write_page_table(char *memory)
{
	size_t at;

	for (at = 0; at < PAGE; at += sizeof(__u64))
		*(__u64 *)(memory + at) = at % 16 ? 0x0e7 : 0x067;
}

/* Splits and moves a mapping in all ways, at an odd page. */
static void split_and_move(const struct memory *mem, char *map)
{
	size_t half = mem->size / 2;
	char *there, *expected = malloc(PAGE);

	check(expected);
	write_page_table(mem->map);
	memcpy(expected, mem->map, PAGE);

	check(!memcmp(map, expected, PAGE));
	must(mprotect(map + 3 * PAGE, PAGE, PROT_READ));
	check(!memcmp(map, expected, PAGE));
	must(mprotect(map + 3 * PAGE, PAGE, PROT_READ | PROT_WRITE));

	/* Moves the rest to a place where nothing is aligned. */
	there = must(mmap(NULL, mem->size, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	must(mremap(map + half, half, half, MREMAP_MAYMOVE | MREMAP_FIXED,
		    there + PAGE));
	*(volatile __u64 *)(there + PAGE) = 7;
	check_eq(*(volatile __u64 *)(mem->map + half), 7);
	must(munmap(map + 5 * PAGE, PAGE));
	check(!memcmp(map, expected, PAGE));
	free(expected);
}

static void moves_as_a_whole(const struct memory *mem, char *map)
{
	char *there = must(mmap(NULL, mem->size + PAGE, PROT_NONE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));

	write_page_table(mem->map);
	*(volatile __u64 *)map = 8;
	if ((unsigned long)there % MIB(2) == 0)
		there += PAGE;
	map = must(mremap(map, mem->size, mem->size,
			  MREMAP_MAYMOVE | MREMAP_FIXED, there));
	check_eq(*(volatile __u64 *)map, 8);
	*(volatile __u64 *)(map + mem->size - PAGE) = 9;
	check_eq(*(volatile __u64 *)(mem->map + mem->size - PAGE), 9);
	must(munmap(map, mem->size));
}

static void survives_walks(enum memory_kind kind, size_t size)
{
	struct memory mem = memory_make(kind, size);
	int fd = create_range(&mem, 0, mem.size);

	split_and_move(&mem, library_map(fd, 0, mem.size));
	moves_as_a_whole(&mem, library_map(fd, 0, mem.size));
}

PROMISE(order_pmd_may_be_split_and_moved,
	"splitting and moving a map of 2 MiB pages keeps its data")
{
	survives_walks(HUGETLB_2M, MIB(8));
}

PROMISE(order_pud_may_be_split_and_moved,
	"splitting and moving a map of a 1 GiB page keeps its data, even a false page table")
{
	survives_walks(HUGETLB_1G, GIB(1));
}

/* A move of an aligned part splits no entry at its ends, but moves entries between them. */
PROMISE(order_pud_may_be_moved_in_part,
	"moving one of two pages of 1 GiB, to any place, keeps the data of both")
{
	struct memory mem = memory_make(HUGETLB_1G, GIB(1));
	struct udmabuf_create_item twice[] = {
		list_item(&mem, 0, GIB(1)), list_item(&mem, 0, GIB(1)),
	};
	int fd = must(try_create_list(device_open(), twice, 2, 0));
	char *map = library_map(fd, 0, GIB(2));
	char *there = map_at_aligned_place(-1, GIB(3), GIB(1), MAP_PRIVATE | MAP_ANONYMOUS |
					   MAP_NORESERVE);
	char expected[PAGE];

	needs_thp();
	write_page_table(mem.map);
	memcpy(expected, mem.map, PAGE);
	trace_faults();
	check(!memcmp(map, expected, PAGE));
	check(!memcmp(map + GIB(1), expected, PAGE));
	check_puds(2);

	/* Moves one page to where no huge entry fits, and the other to where one fits again. */
	must(mremap(map + GIB(1), GIB(1), GIB(1), MREMAP_MAYMOVE | MREMAP_FIXED,
		    there + PAGE));
	check_eq(touch(map + GIB(1), false), SIGSEGV);
	check(!memcmp(there + PAGE, expected, PAGE));
	check(!memcmp(map, expected, PAGE));
	check_eq(faults_mapped(PUD), has_pud_entries() ? 2 : 0);
	must(mremap(map, GIB(1), GIB(1), MREMAP_MAYMOVE | MREMAP_FIXED, there + GIB(2)));
	there[GIB(2) + PAGE] = 7;
	check_eq(there[2 * PAGE], 7);
	check(!memcmp(there + GIB(2), expected, PAGE));
	check_eq(faults_mapped(PUD), has_pud_entries() ? 3 : 0);
}

/* The kernel warns when it changes an entry again that cannot be accessed. */
PROMISE(order_pud_may_be_protected,
	"a 1 GiB page that was made inaccessible and accessible again is mapped again")
{
	struct memory mem = memory_make(HUGETLB_1G, GIB(1));
	char *map = library_map(create_range(&mem, 0, mem.size), 0, mem.size);

	needs_thp();
	trace_faults();
	mark_pages(map, MIB(1), 8);
	must(mprotect(map, mem.size, PROT_NONE));
	check_eq(touch(map, false), SIGSEGV);
	must(mprotect(map, mem.size, PROT_READ));
	check_pages(map, MIB(1), 8);
	check_eq(touch(map, true), SIGSEGV);
	must(mprotect(map, mem.size, PROT_NONE));
	must(mprotect(map, mem.size, PROT_READ | PROT_WRITE));
	mark_pages(map, MIB(1), 9);
	check_pages(mem.map, MIB(1), 9);
	check_puds(3);
}

static void survives_fork(enum memory_kind kind, size_t size)
{
	struct memory mem = memory_make(kind, size);
	char *map = library_map(create_range(&mem, 0, mem.size), 0, mem.size);
	int pid;

	mark_pages(map, MIB(2), 10);
	trace_faults();
	pid = must(fork());
	if (!pid) {
		check_pages(map, MIB(2), 10);
		check_eq(faults_mapped(PUD) + faults_mapped(PMD) + faults_mapped(PTE), 0);
		mark_pages(map, MIB(2), 11);
		must(munmap(map + PAGE, PAGE));
		check_pages(map + 2 * PAGE, MIB(1), 11 + 2 * PAGE);
		_exit(0);
	}
	join_child(pid);
	check_pages(map, MIB(2), 11);
	/* The parent still has its entries. */
	check_eq(faults_mapped(PUD) + faults_mapped(PMD) + faults_mapped(PTE), 0);
}

PROMISE(order_pmd_is_shared_by_fork, "a child shares the entries of 2 MiB pages")
{
	survives_fork(HUGETLB_2M, MIB(4));
}

PROMISE(order_pud_is_shared_by_fork, "a child shares the entry of a 1 GiB page")
{
	survives_fork(HUGETLB_1G, GIB(1));
}

static double cpu_time(void)
{
	struct timespec time;

	must(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time));
	return time.tv_sec + time.tv_nsec / 1e9;
}

/* A buffer of 1 GiB that repeats the 2 MiB of @mem. */
static int create_1g(const struct memory *mem)
{
	struct udmabuf_create_item list[512];
	int i;

	for (i = 0; i < 512; i++)
		list[i] = list_item(mem, 0, MIB(2));
	return must(try_create_list(device_open(), list, 512, 0));
}

/* The shortest of some forks of a process with @n mappings of pages of @fd. */
static double fork_time(int fd, int n)
{
	char *room = must(mmap(NULL, 2 * n * PAGE, PROT_NONE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
	double shortest = 1e9, begin, took;
	int i, pid;

	for (i = 0; i < n; i++)
		must(mmap(room + 2 * i * PAGE, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED,
			  fd, 0));
	for (i = 0; i < 5; i++) {
		begin = cpu_time();
		pid = must(fork());
		if (!pid)
			_exit(0);
		took = cpu_time() - begin;
		join_child(pid);
		shortest = took < shortest ? took : shortest;
	}
	must(munmap(room, 2 * n * PAGE));
	return shortest;
}

/*
 * If each mapping cost as many steps as there are mappings, a fork would take two thousand
 * times as many steps. The host's speed and its other work do not matter beside that.
 */
PROMISE(order_windows_cost_a_fork_what_files_do,
	"a fork with thousands of small mappings of a buffer is as fast as with those of a file")
{
	struct memory mem = memory_make(SHMEM_2M, MIB(2));
	int fd = create_1g(&mem), n = repeats(6000);
	double file = fork_time(mem.fd, n), ours = fork_time(fd, n);

	note("%d windows: %.1f ms, of a file %.1f ms", n, ours * 1e3, file * 1e3);
	/* A walk over all areas for each mapping would take hundreds of times as long. */
	check_le(ours * 1e6, 30 * file * 1e6);
}

/* Splits a mapping of 1 GiB @n times, and returns the seconds of the fastest try. */
static double split_time(int fd, int n)
{
	double shortest = 1e9, begin, took;
	int i, tries;

	for (tries = 0; tries < 3; tries++) {
		char *map = library_map(fd, 0, GIB(1));

		begin = cpu_time();
		for (i = 0; i < n; i++)
			must(mprotect(map + 2 * i * PAGE, PAGE, PROT_READ));
		took = cpu_time() - begin;
		shortest = took < shortest ? took : shortest;
		check_eq(dmabufx_unmap(map, GIB(1)), 0);
	}
	return shortest;
}

PROMISE(order_splits_cost_what_files_do,
	"splitting a mapping of a buffer thousands of times is as fast as one of a file")
{
	struct memory mem = memory_make(SHMEM_2M, MIB(2));
	struct memory holes = memory_make_holes(SHMEM_4K, GIB(1));
	int fd = create_1g(&mem), n = repeats(8000);
	double file = split_time(holes.fd, n), ours = split_time(fd, n);

	note("%d splits: %.1f ms, of a file %.1f ms", n, ours * 1e3, file * 1e3);
	check_le(ours * 1e6, 30 * file * 1e6);
}

struct race {
	char *map;
	size_t size;
	unsigned int seed;
	bool stop;
};

static void *fault_at_random(void *arg)
{
	struct race *race = arg;
	unsigned int seed = __atomic_add_fetch(&race->seed, 1, __ATOMIC_SEQ_CST);
	int i;

	for (i = repeats(20000); i; i--) {
		size_t at = rand_r(&seed) % (race->size / PAGE) * PAGE;

		check_eq(*(volatile __u64 *)(race->map + at), 14 + at);
	}
	return NULL;
}

/* Allows and denies huge entries, again and again. */
static void *toggle_huge(void *arg)
{
	struct race *race = arg;
	int disable = 0;

	while (!__atomic_load_n(&race->stop, __ATOMIC_SEQ_CST))
		must(prctl(PR_SET_THP_DISABLE, disable ^= 1, 0, 0, 0));
	return NULL;
}

PROMISE(order_races_do_no_harm,
	"threads that fault at the same address get its page, whatever order each is allowed",
	TAG_THREADS)
{
	struct memory mem = memory_make(HUGETLB_2M, MIB(32));
	int fd = create_range(&mem, 0, mem.size), round, i;
	pthread_t threads[4], toggler;

	mark_pages(mem.map, mem.size, 14);
	for (round = 0; round < 10; round++) {
		struct race race = {
			.map = library_map(fd, 0, mem.size),
			.size = mem.size,
		};

		pthread_create(&toggler, NULL, toggle_huge, &race);
		for (i = 0; i < 4; i++)
			pthread_create(&threads[i], NULL, fault_at_random, &race);
		for (i = 0; i < 4; i++)
			pthread_join(threads[i], NULL);
		__atomic_store_n(&race.stop, true, __ATOMIC_SEQ_CST);
		pthread_join(toggler, NULL);
		check_eq(dmabufx_unmap(race.map, mem.size), 0);
	}
}

struct dispute {
	char *map;
	size_t go;	/* bytes that the other thread may touch */
	size_t done;	/* bytes that it has touched */
};

static void wait_for(size_t *value, size_t least)
{
	while (__atomic_load_n(value, __ATOMIC_SEQ_CST) < least)
		;
}

static void *fault_when_told_but_denied(void *arg)
{
	struct dispute *dispute = arg;
	size_t at, pause;

	for (at = 0; at < MIB(128); at += MIB(2)) {
		wait_for(&dispute->go, at + MIB(2));
		/* Waits for varying times, to come between the other thread's steps. */
		for (pause = at / MIB(2); pause; pause--)
			__atomic_load_n(&dispute->go, __ATOMIC_SEQ_CST);
		must(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
		check_eq(*(volatile __u64 *)(dispute->map + at), 15);
		__atomic_store_n(&dispute->done, at + MIB(2), __ATOMIC_SEQ_CST);
	}
	return NULL;
}

/* In each 2 MiB, one thread is denied a huge entry when the other was just offered it. */
static void dispute_entries(char *map)
{
	struct dispute dispute = { .map = map };
	pthread_t other;
	size_t at;

	pthread_create(&other, NULL, fault_when_told_but_denied, &dispute);
	for (at = 0; at < MIB(128); at += MIB(2)) {
		must(prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0));
		__atomic_store_n(&dispute.go, at + MIB(2), __ATOMIC_SEQ_CST);
		check_eq(*(volatile __u64 *)(map + at), 15);
		wait_for(&dispute.done, at + MIB(2));
	}
	pthread_join(other, NULL);
}

/*
 * A thread that is denied a huge entry may find one that another thread has just made. The
 * fault then looks as if memory were short: a line in the log, or an error of a system call.
 */
PROMISE(order_disputes_are_no_lack_of_memory,
	"threads that are allowed entries of different orders both get the page",
	TAG_THREADS)
{
	struct memory mem = memory_make(HUGETLB_2M, MIB(2));
	struct udmabuf_create_item list[64];
	int fd, round, i;

	for (i = 0; i < 64; i++)
		list[i] = list_item(&mem, 0, MIB(2));
	fd = must(try_create_list(device_open(), list, 64, 0));
	*(volatile __u64 *)mem.map = 15;

	trace_faults_without_memory();
	for (round = 0; round < 5; round++) {
		char *map = library_map(fd, 0, MIB(128));

		dispute_entries(map);
		check_eq(dmabufx_unmap(map, MIB(128)), 0);
	}
	check_eq(faults_without_memory(), 0);
}

/* An importer of a buffer of @pages pages, in two pieces. */
static int import_halves(const struct memory *mem, __u64 pages)
{
	const __u64 half = pages / 2 * PAGE;
	struct udmabuf_create_item items[2] = {
		list_item(mem, half, pages * PAGE - half), list_item(mem, 0, half),
	};
	int importer = importer_open(), device = device_open();
	int fd = must(try_create_list(device, items, 2, 0));

	importer_attach(importer, fd);
	must(close(fd));
	must(close(device));
	return importer;
}

static void read_halves(int importer, __u64 pages, __u64 mark)
{
	const __u64 half = pages / 2 * PAGE;
	__u64 word;

	importer_read(importer, DMABUFX_VIA_VMAP, 0, &word, sizeof(word));
	check_eq(word, mark + half);
	importer_read(importer, DMABUFX_VIA_VMAP, pages * PAGE - half, &word,
		      sizeof(word));
	check_eq(word, mark);
}

PROMISE(order_vmap_is_kept_until_its_room_is_wanted,
	"a kernel mapping stays for the next user, and goes when another needs its room")
{
	struct memory mem = memory_make(SHMEM_4K, 1024 * PAGE);
	int one = import_halves(&mem, 1024), other = import_halves(&mem, 1000), i;
	const int before = kernel_mappings(0);
	int hog;

	mark_pages(mem.map, mem.size, 15);
	for (i = 0; i < 3; i++) {
		importer_do(one, DMABUFX_IMPORTER_VMAP, 0);
		check_eq(kernel_mappings(0), before + 1);
		read_halves(one, 1024, 15);
		if (i < 2)
			importer_do(one, DMABUFX_IMPORTER_VUNMAP, 0);
		check_eq(kernel_mappings(0), before + 1);
	}

	/* A mapping in use stays, an unused one goes. */
	hog = importer_that_leaves(1024);
	check_eq(kernel_mappings(1024), 1);
	expect_report(" dma_buf_vmap+");
	must_fail(ENOMEM, ioctl(other, DMABUFX_IMPORTER_VMAP, 0));
	read_halves(one, 1024, 15);
	importer_do(one, DMABUFX_IMPORTER_VUNMAP, 0);
	check_eq(kernel_mappings(1024), 1);
	importer_do(other, DMABUFX_IMPORTER_VMAP, 0);
	check_eq(kernel_mappings(1024), 0);
	check_eq(kernel_mappings(1000), 1);
	read_halves(other, 1000, 15);
	must_fail(ENOMEM, ioctl(one, DMABUFX_IMPORTER_VMAP, 0));
	importer_do(other, DMABUFX_IMPORTER_VUNMAP, 0);
	importer_do(one, DMABUFX_IMPORTER_VMAP, 0);
	read_halves(one, 1024, 15);
	must(close(hog));
	importer_do(other, DMABUFX_IMPORTER_VMAP, 0);
	check_eq(kernel_mappings(1024), 1);
	must(close(one));
	must(close(other));
	check_le(kernel_mappings(0), before);
}

PROMISE(order_oldest_vmap_goes_first,
	"of kernel mappings that nobody uses, the one unused for longest goes first")
{
	static const __u64 sizes[] = { 250, 251, 252 };
	struct memory mem = memory_make(SHMEM_4K, 256 * PAGE);
	int importers[4], hog = importer_that_leaves(3 * 256);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		importers[i] = import_halves(&mem, sizes[i]);
		importer_do(importers[i], DMABUFX_IMPORTER_VMAP, 0);
		importer_do(importers[i], DMABUFX_IMPORTER_VUNMAP, 0);
	}
	/* Using the first one makes it the most recently used. */
	importer_do(importers[0], DMABUFX_IMPORTER_VMAP, 0);
	importer_do(importers[0], DMABUFX_IMPORTER_VUNMAP, 0);
	importers[3] = import_halves(&mem, 256);
	importer_do(importers[3], DMABUFX_IMPORTER_VMAP, 0);
	check_eq(kernel_mappings(250), 1);
	check_eq(kernel_mappings(251), 0);
	check_eq(kernel_mappings(252), 1);
	check_eq(kernel_mappings(256), 1);
	must(close(hog));
	for (i = 0; i < ARRAY_SIZE(importers); i++)
		must(close(importers[i]));
}

/* Returns a file's contents in allocated memory. */
static char *file_contents(const char *path, size_t *size)
{
	int file = must(open(path, O_RDONLY | O_CLOEXEC));
	char *contents;

	*size = must(lseek(file, 0, SEEK_END));
	contents = must(mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0));
	must(close(file));
	return contents;
}

/* Finds the section of an object file that has memory but no contents. */
static Elf64_Shdr *zeroed_section(char *object)
{
	const Elf64_Ehdr *head = (void *)object;
	Elf64_Shdr *section = (void *)(object + head->e_shoff);
	int i;

	for (i = 0; i < head->e_shnum; i++, section++)
		if (section->sh_type == SHT_NOBITS && section->sh_flags & SHF_WRITE)
			return section;
	fail("the module has no such section");
}

/*
 * Makes the kernel search for addresses in vain: loads a module that needs more addresses
 * than there are for modules. It is a copy of ours with another name.
 */
static void make_addresses_short(void)
{
	size_t size;
	char *module = file_contents(settings.module, &size);
	char *name = memmem(module, size, "\0dmabufx\0", 9);

	for (; name; name = memmem(name, module + size - name, "\0dmabufx\0", 9))
		name[7] = 'y';
	zeroed_section(module)->sh_size = GIB(2);
	must_fail(ENOMEM, syscall(SYS_init_module, module, size, ""));
	must(munmap(module, size));
}

PROMISE(order_vmap_goes_when_addresses_are_short,
	"when the kernel is short of addresses, kernel mappings that nobody uses go")
{
	static const __u64 sizes[] = { 250, 251, 252, 253 };
	struct memory mem = memory_make(SHMEM_4K, 256 * PAGE);
	int importers[ARRAY_SIZE(sizes)];
	size_t i;

	if (!settings.module)
		skip("needs the module's file");
	if (file_number("/proc/meminfo", "MemTotal:") * KIB(1) < GIB(2))
		skip("needs more memory than a module is to have");
	mark_pages(mem.map, mem.size, 18);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		importers[i] = import_halves(&mem, sizes[i]);
		importer_do(importers[i], DMABUFX_IMPORTER_VMAP, 0);
		if (i)
			importer_do(importers[i], DMABUFX_IMPORTER_VUNMAP, 0);
		check_eq(kernel_mappings(sizes[i]), 1);
	}

	make_addresses_short();
	/* The mapping in use stays. */
	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		check_eq(kernel_mappings(sizes[i]), !i);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		if (i)
			importer_do(importers[i], DMABUFX_IMPORTER_VMAP, 0);
		read_halves(importers[i], sizes[i], 18);
		must(close(importers[i]));
	}
}

PROMISE(order_more_than_the_memory_has_no_vmap,
	"a buffer larger than the machine's memory, by repetition, gets no kernel mapping")
{
	struct memory mem = memory_make(HUGETLB_2M, MIB(4));
	unsigned int nr = file_number("/proc/meminfo", "MemTotal:") / 2048 + 2, i;
	struct udmabuf_create_item *items = calloc(nr, sizeof(*items));
	int importer = importer_open();

	check(items);
	for (i = 0; i < nr; i++)
		items[i] = list_item(&mem, i % 2 ? 0 : MIB(2), MIB(2));
	importer_attach(importer, must(try_create_list(device_open(), items, nr, 0)));
	must_fail(EINVAL, ioctl(importer, DMABUFX_IMPORTER_VMAP, 0));
	must(close(importer));
	free(items);
}

/* Finds two single pages of a memfd that are neighbours in memory. */
static void find_neighbours(const struct memory *mem,
			    struct udmabuf_create_item *pages)
{
	size_t i, j, nr = mem->size / PAGE;
	__u64 frames[nr];

	for (i = 0; i < nr; i++)
		frames[i] = page_frame(mem->map + i * PAGE);
	for (i = 0; i < nr; i++) {
		for (j = 0; j < nr; j++) {
			if (frames[i] + 1 != frames[j])
				continue;
			pages[0] = list_item(mem, i * PAGE, PAGE);
			pages[1] = list_item(mem, j * PAGE, PAGE);
			return;
		}
	}
	skip("no two of %zu pages are neighbours", nr);
}

PROMISE(order_neighbouring_pages_need_no_vmap,
	"contiguous pages are vmapped at their address in the direct map; copies may cross pages")
{
	struct memory mem = memory_make(SHMEM_4K, MIB(1)), huge = memory_make(HUGETLB_2M, MIB(2));
	__u64 words[2] = { 17, 18 }, found[2];
	int importer = importer_open(), before = kernel_mappings(0);
	struct udmabuf_create_item pages[2];

	importer_attach(importer, create_range(&huge, 0, huge.size));
	importer_do(importer, DMABUFX_IMPORTER_VMAP, 0);
	importer_write(importer, DMABUFX_VIA_VMAP, MIB(1), words, 16);
	check_eq(*(__u64 *)(huge.map + MIB(1)), 17);
	check_eq(kernel_mappings(0), before);
	must(close(importer));

	importer = importer_open();
	find_neighbours(&mem, pages);
	importer_attach(importer,
			must(try_create_list(device_open(), pages, 2, 0)));
	importer_do(importer, DMABUFX_IMPORTER_VMAP, 0);
	check_eq(kernel_mappings(0), before);

	importer_write(importer, DMABUFX_VIA_VMAP, PAGE - 8, words, 16);
	check_eq(*(__u64 *)(mem.map + pages[0].offset + PAGE - 8), 17);
	check_eq(*(__u64 *)(mem.map + pages[1].offset), 18);
	importer_read(importer, DMABUFX_VIA_VMAP, PAGE - 8, found, 16);
	check_eq(found[0], 17);
	check_eq(found[1], 18);
}

struct vmap_race {
	const struct memory *mem;
	int fd;
	bool stop;
};

static void *vmap_again_and_again(void *arg)
{
	struct vmap_race *race = arg;
	int importer = importer_open(), i;
	__u64 word;

	importer_attach(importer, race->fd);
	for (i = repeats(3000); i; i--) {
		importer_do(importer, DMABUFX_IMPORTER_VMAP, 0);
		importer_read(importer, DMABUFX_VIA_VMAP, i % 512 * PAGE, &word,
			      sizeof(word));
		check_eq(word, 16 + (i % 512 + 512) * PAGE);
		importer_do(importer, DMABUFX_IMPORTER_VUNMAP, 0);
	}
	close(importer);
	return NULL;
}

/* Two mappings in turn. Beside the importers' mapping there is room for one of them. */
static void *want_room(void *arg)
{
	struct vmap_race *race = arg;
	const int wanting[2] = {
		import_halves(race->mem, 1000), import_halves(race->mem, 1001),
	};
	int i;

	for (i = 0; !__atomic_load_n(&race->stop, __ATOMIC_SEQ_CST); i ^= 1) {
		importer_do(wanting[i], DMABUFX_IMPORTER_VMAP, 0);
		importer_do(wanting[i], DMABUFX_IMPORTER_VUNMAP, 0);
	}
	close(wanting[0]);
	close(wanting[1]);
	return NULL;
}

PROMISE(order_vmap_races_do_no_harm,
	"several importers vmap and vunmap while others need the room of unused mappings",
	TAG_THREADS)
{
	struct memory mem = memory_make(SHMEM_4K, 1024 * PAGE);
	struct udmabuf_create_item items[2] = {
		list_item(&mem, 512 * PAGE, 512 * PAGE), list_item(&mem, 0, 512 * PAGE),
	};
	struct vmap_race race = {
		.mem = &mem,
		.fd = must(try_create_list(device_open(), items, 2, 0)),
	};
	int hog = importer_that_leaves(1024 + 1001 + 500), i;
	pthread_t importers[3], wanting;

	mark_pages(mem.map, mem.size, 16);
	pthread_create(&wanting, NULL, want_room, &race);
	for (i = 0; i < 3; i++)
		pthread_create(&importers[i], NULL, vmap_again_and_again, &race);
	for (i = 0; i < 3; i++)
		pthread_join(importers[i], NULL);
	__atomic_store_n(&race.stop, true, __ATOMIC_SEQ_CST);
	pthread_join(wanting, NULL);
	must(close(hog));
}
