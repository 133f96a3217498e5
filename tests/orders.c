// SPDX-License-Identifier: MIT
/*
 * How much a fault maps, and that the kernel's walks through what it mapped do
 * no harm. dmabufx only: faults are counted by its tracepoint. Buffers are
 * mapped by the library, which chooses the address.
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

/* A word in each page, that no other page has. */
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

PROMISE(order_of_huge_pages_is_a_pmd,
	"a huge page that lies right is mapped by one fault")
{
	struct memory mem = memory_make(HUGETLB_2M, MIB(8));
	char *map = library_map(create(&mem, 0, mem.size), 0, mem.size);

	needs_thp();
	trace_faults();
	mark_pages(map, mem.size, 1);
	check_eq(faults_mapped(PMD), 4);
	check_eq(faults_mapped(PTE), 0);
	check_pages(mem.map, mem.size, 1);
}

PROMISE(order_follows_the_offset,
	"a map that begins inside a huge page still maps the others whole")
{
	struct memory mem = memory_make(HUGETLB_2M, MIB(8));
	char *map = library_map(create(&mem, 0, mem.size), MIB(1), MIB(6));

	needs_thp();
	mark_pages(mem.map, mem.size, 2);
	trace_faults();
	check_pages(map, MIB(6), 2 + MIB(1));
	check_eq(faults_mapped(PMD), 2);
	check_eq(faults_mapped(PTE), 2);
}

PROMISE(order_of_misplaced_memory_is_a_pte,
	"where address and memory differ, a fault fills one page table")
{
	struct memory mem = memory_make(HUGETLB_2M, MIB(8));
	char *map = library_map(create(&mem, PAGE, MIB(6)), 0, MIB(6));

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
		item(&huge, 0, MIB(2) - PAGE), item(&other, 0, PAGE),
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
	char *map = library_map(create(&mem, 0, mem.size), 0, mem.size);

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

	/* No page follows itself: no two MiB are contiguous, even where all of memory is. */
	for (i = 0; i < 4; i++) {
		list[2 * i] = item(&mem, i * MIB(2), MIB(1));
		list[2 * i + 1] = item(&mem, i * MIB(2) + MIB(1) - PAGE, MIB(1));
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

PROMISE(order_of_1g_pages_is_a_pud, "a page of 1 GiB is mapped by one fault")
{
	struct memory mem = memory_make(HUGETLB_1G, GIB(1));
	char *map = library_map(create(&mem, 0, mem.size), 0, mem.size);

	needs_thp();
	trace_faults();
	mark_pages(map, MIB(64), 5);
	check_pages(map + GIB(1) - PAGE, PAGE, *(__u64 *)(map + GIB(1) - PAGE));
	check_eq(faults_mapped(PUD), 1);
	check_eq(faults_mapped(PMD) + faults_mapped(PTE), 0);
	check_pages(mem.map, MIB(64), 5);
}

/* By one entry for each 2 MiB, or by a page table for each. */
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
 * Its owner has mapped it by entries of its own, which Linux's page table check
 * allows no second writable one beside.
 */
PROMISE(order_of_anonymous_memory_is_a_pte,
	"huge pages of a program's private memory are not mapped as such, shared ones are")
{
	struct memory thp = memory_make(ANON_2M, MIB(4));
	struct memory private, shared;

	maps_by(PTE, thp);
	memory_free(&thp);
	private = memory_make(ANON_HUGETLB_2M, MIB(4));
	maps_by(PTE, private);
	memory_free(&private);
	shared = memory_make(HUGETLB_2M, MIB(4));
	maps_by(PMD, memory_as_user(&shared));
}

PROMISE(order_of_anonymous_1g_pages_is_a_pte,
	"a page of 1 GiB of a program's private memory is not mapped as such")
{
	struct memory mem = memory_make(ANON_HUGETLB_1G, GIB(1));
	char *map = library_map(create_of_user(mem.map, mem.size), 0, mem.size);

	trace_faults();
	mark_pages(map, MIB(4), 7);
	check_eq(faults_mapped(PTE), 2);
	check_eq(faults_mapped(PUD) + faults_mapped(PMD), 0);
	check_pages(mem.map, MIB(4), 7);
}

/*
 * What a hostile owner would write there: it looks like a page table, which
 * the kernel takes it for if it walks through an entry for a huge page. Every
 * other entry is one for 2 MiB, which such a walk clears to make small ones.
 */
static void write_page_table(char *memory)
{
	size_t at;

	for (at = 0; at < PAGE; at += sizeof(__u64))
		*(__u64 *)(memory + at) = at % 16 ? 0x0e7 : 0x067;
}

/* Everything that splits or moves a mapping, at an odd page. */
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

	/* The rest of it, to a place where nothing is aligned any more. */
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
	int fd = create(&mem, 0, mem.size);

	split_and_move(&mem, library_map(fd, 0, mem.size));
	moves_as_a_whole(&mem, library_map(fd, 0, mem.size));
}

PROMISE(order_pmd_may_be_split_and_moved,
	"splitting and moving a map of 2 MiB pages keeps its data")
{
	survives_walks(HUGETLB_2M, MIB(8));
}

PROMISE(order_pud_may_be_split_and_moved,
	"splitting and moving a map of a 1 GiB page keeps its data, whatever it is")
{
	survives_walks(HUGETLB_1G, GIB(1));
}

/*
 * A move of an aligned part cuts no entry at its ends: what moves is between them.
 */
PROMISE(order_pud_may_be_moved_in_part,
	"moving one of two pages of 1 GiB, to any place, keeps the data of both")
{
	struct memory mem = memory_make(HUGETLB_1G, GIB(1));
	struct udmabuf_create_item twice[] = {
		item(&mem, 0, GIB(1)), item(&mem, 0, GIB(1)),
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
	check_eq(faults_mapped(PUD), 2);

	/* To where it is a huge page no more; the other one to where it is one again. */
	must(mremap(map + GIB(1), GIB(1), GIB(1), MREMAP_MAYMOVE | MREMAP_FIXED,
		    there + PAGE));
	check(!memcmp(there + PAGE, expected, PAGE));
	check(!memcmp(map, expected, PAGE));
	check_eq(faults_mapped(PUD), 2);
	must(mremap(map, GIB(1), GIB(1), MREMAP_MAYMOVE | MREMAP_FIXED, there + GIB(2)));
	there[GIB(2) + PAGE] = 7;
	check_eq(there[2 * PAGE], 7);
	check(!memcmp(there + GIB(2), expected, PAGE));
	check_eq(faults_mapped(PUD), 3);
}

/* The kernel warns of an entry that cannot be accessed when it changes it again. */
PROMISE(order_pud_may_be_protected,
	"a map of a 1 GiB page that was made inaccessible is mapped again when it is accessed")
{
	struct memory mem = memory_make(HUGETLB_1G, GIB(1));
	char *map = library_map(create(&mem, 0, mem.size), 0, mem.size);

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
	check_eq(faults_mapped(PUD), 3);
	check_eq(faults_mapped(PMD) + faults_mapped(PTE), 0);
}

static void survives_fork(enum memory_kind kind, size_t size)
{
	struct memory mem = memory_make(kind, size);
	char *map = library_map(create(&mem, 0, mem.size), 0, mem.size);
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
	/* Nothing was taken away from the parent. */
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

/* A buffer of 1 GiB that is @mem's 2 MiB again and again. */
static int create_1g(const struct memory *mem)
{
	struct udmabuf_create_item list[512];
	int i;

	for (i = 0; i < 512; i++)
		list[i] = item(mem, 0, MIB(2));
	return must(try_create_list(device_open(), list, 512, 0));
}

/* The shortest of some forks of a process that has @n windows of @fd. */
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
 * Where each window costs as much as there are windows, these are two thousand times
 * as many steps: the host's speed and its other work do not matter beside that.
 */
PROMISE(order_windows_cost_a_fork_what_files_do,
	"a fork with thousands of windows of a large buffer is as fast as with a file's")
{
	struct memory mem = memory_make(SHMEM_2M, MIB(2));
	int fd = create_1g(&mem), n = repeats(6000);
	double file = fork_time(mem.fd, n), ours = fork_time(fd, n);

	note("%d windows: %.1f ms, of a file %.1f ms", n, ours * 1e3, file * 1e3);
	/* With a walk of all areas for each, it would be hundreds of times as much. */
	check_le(ours * 1e6, 30 * file * 1e6);
}

/* Makes two areas out of each two pages of a map of 1 GiB, @n times. */
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
	"splitting a map of a large buffer thousands of times is as fast as a file's")
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

/* Changes the core's mind about huge entries, again and again. */
static void *toggle_huge(void *arg)
{
	struct race *race = arg;
	int disable = 0;

	while (!__atomic_load_n(&race->stop, __ATOMIC_SEQ_CST))
		must(prctl(PR_SET_THP_DISABLE, disable ^= 1, 0, 0, 0));
	return NULL;
}

PROMISE(order_races_do_no_harm,
	"threads that fault in the same place get its pages, whatever order each is offered",
	TAG_THREADS)
{
	struct memory mem = memory_make(HUGETLB_2M, MIB(32));
	int fd = create(&mem, 0, mem.size), round, i;
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
	size_t go;	/* bytes that the other thread may fault in */
	size_t done;	/* and has */
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
		/* Sooner or later, so that it sometimes is between the other's steps. */
		for (pause = at / MIB(2); pause; pause--)
			__atomic_load_n(&dispute->go, __ATOMIC_SEQ_CST);
		must(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
		check_eq(*(volatile __u64 *)(dispute->map + at), 15);
		__atomic_store_n(&dispute->done, at + MIB(2), __ATOMIC_SEQ_CST);
	}
	return NULL;
}

/* In each 2 MiB, one thread is denied a huge entry just when the other was offered it. */
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
 * A fault that was denied a huge entry may find one, which another that was not denied
 * it has just put there. What then looks like a lack of memory is a line in the log, or
 * an error of a call that accesses the memory.
 */
PROMISE(order_disputes_are_no_lack_of_memory,
	"threads that are offered different entries for the same place both get its page",
	TAG_THREADS)
{
	struct memory mem = memory_make(HUGETLB_2M, MIB(2));
	struct udmabuf_create_item list[64];
	int fd, round, i;

	for (i = 0; i < 64; i++)
		list[i] = item(&mem, 0, MIB(2));
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

/* A buffer of this many pages, in two pieces, and an importer that it is attached to. */
static int import_halves(const struct memory *mem, __u64 pages)
{
	const __u64 half = pages / 2 * PAGE;
	struct udmabuf_create_item items[2] = {
		item(mem, half, pages * PAGE - half), item(mem, 0, half),
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
	struct memory mem = memory_make(SHMEM_4K, MIB(4));
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

	/* What is in use stays, what is not does not. */
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
	"of kernel mappings that nobody uses, the one unused for longest makes room")
{
	static const __u64 sizes[] = { 250, 251, 252 };
	struct memory mem = memory_make(SHMEM_4K, MIB(1));
	int importers[4], hog = importer_that_leaves(3 * 256);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		importers[i] = import_halves(&mem, sizes[i]);
		importer_do(importers[i], DMABUFX_IMPORTER_VMAP, 0);
		importer_do(importers[i], DMABUFX_IMPORTER_VUNMAP, 0);
	}
	/* The first becomes the last. */
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

/* A file's contents, in memory of ours. */
static char *file_contents(const char *path, size_t *size)
{
	int file = must(open(path, O_RDONLY | O_CLOEXEC));
	char *contents;

	*size = must(lseek(file, 0, SEEK_END));
	contents = must(mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0));
	must(close(file));
	return contents;
}

/* The section of an object file that has memory and no contents. */
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
 * Has the kernel look in vain for addresses: for a module that wants more of them than
 * there are for modules. It is ours, with another name.
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
	"when the kernel is out of addresses, its mappings of buffers that nobody uses go")
{
	static const __u64 sizes[] = { 250, 251, 252, 253 };
	struct memory mem = memory_make(SHMEM_4K, MIB(1));
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
	/* What is in use stays. */
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
	"a buffer that repeats its memory until it is larger than the machine's is not mapped")
{
	struct memory mem = memory_make(HUGETLB_2M, MIB(4));
	unsigned int nr = file_number("/proc/meminfo", "MemTotal:") / 2048 + 2, i;
	struct udmabuf_create_item *items = calloc(nr, sizeof(*items));
	int importer = importer_open();

	check(items);
	for (i = 0; i < nr; i++)
		items[i] = item(&mem, i % 2 ? 0 : MIB(2), MIB(2));
	importer_attach(importer, must(try_create_list(device_open(), items, nr, 0)));
	must_fail(EINVAL, ioctl(importer, DMABUFX_IMPORTER_VMAP, 0));
	must(close(importer));
	free(items);
}

/* Two pages of a memfd of single pages, wherever, neighbours in memory. */
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
			pages[0] = item(mem, i * PAGE, PAGE);
			pages[1] = item(mem, j * PAGE, PAGE);
			return;
		}
	}
	skip("no two of %zu pages are neighbours", nr);
}

PROMISE(order_neighbouring_pages_need_no_vmap,
	"huge pages and pages in a row have a kernel address already, fit for copies across them")
{
	struct memory mem = memory_make(SHMEM_4K, MIB(1)), huge = memory_make(HUGETLB_2M, MIB(2));
	__u64 words[2] = { 17, 18 }, found[2];
	int importer = importer_open(), before = kernel_mappings(0);
	struct udmabuf_create_item pages[2];

	importer_attach(importer, create(&huge, 0, huge.size));
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

/* Two mappings in turn, of which only one finds room beside the importers' one. */
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
	"several importers map and unmap while others want the room of what is unused",
	TAG_THREADS)
{
	struct memory mem = memory_make(SHMEM_4K, MIB(4));
	struct udmabuf_create_item items[2] = {
		item(&mem, MIB(2), MIB(2)), item(&mem, 0, MIB(2)),
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
