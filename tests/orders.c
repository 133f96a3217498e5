// SPDX-License-Identifier: GPL-2.0-only
/*
 * How much a fault maps, and that the kernel's walks through what it mapped do
 * no harm. dmabufx only: faults are counted by its tracepoint. Buffers are
 * mapped by the library, which chooses the address.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <dmabufx.h>

#include "buffer.h"
#include "harness.h"
#include "memory.h"
#include "watch.h"

#define TRACING "/sys/kernel/tracing/"
#define FAULTS TRACING "events/dmabufx/dmabufx_fault/enable"

/* VM_FAULT_NOPAGE: the handler has mapped something. */
#define MAPPED "0x100"

#define PTE 0
#define PMD 9
#define PUD 18

/* Ends the reading of what a previous test traced; begins anew. */
static void trace_faults(void)
{
	check(file_write(FAULTS, "1"));
	check(file_write(TRACING "trace", "\n"));
}

/* Entries of 2^@order pages that this process's faults have mapped. */
static int mapped(unsigned int order)
{
	FILE *trace = must(fopen(TRACING "trace", "re"));
	char line[512], pid[32], result[64];
	int n = 0;

	check(trace);
	snprintf(pid, sizeof(pid), "-%d ", getpid());
	snprintf(result, sizeof(result), "order=%u ret=" MAPPED "\n", order);
	while (fgets(line, sizeof(line), trace))
		n += strstr(line, pid) && strstr(line, result);
	fclose(trace);
	return n;
}

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

	trace_faults();
	mark_pages(map, mem.size, 1);
	check_eq(mapped(PMD), 4);
	check_eq(mapped(PTE), 0);
	check_pages(mem.map, mem.size, 1);
}

PROMISE(order_follows_the_offset,
	"a map that begins inside a huge page still maps the others whole")
{
	struct memory mem = memory_make(HUGETLB_2M, MIB(8));
	char *map = library_map(create(&mem, 0, mem.size), MIB(1), MIB(6));

	mark_pages(mem.map, mem.size, 2);
	trace_faults();
	check_pages(map, MIB(6), 2 + MIB(1));
	check_eq(mapped(PMD), 2);
	check_eq(mapped(PTE), 2);
}

PROMISE(order_of_misplaced_memory_is_a_pte,
	"where address and memory differ, a fault fills one page table")
{
	struct memory mem = memory_make(HUGETLB_2M, MIB(8));
	char *map = library_map(create(&mem, PAGE, MIB(6)), 0, MIB(6));

	mark_pages(mem.map, mem.size, 3);
	trace_faults();
	check_pages(map, MIB(6), 3 + PAGE);
	check_eq(mapped(PMD), 0);
	check_eq(mapped(PTE), 3);
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
	check_eq(mapped(PMD), 0);
	check_eq(mapped(PTE), 1);
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
	check_eq(mapped(PMD), 0);
	check_eq(mapped(PTE), 1);
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
	map = library_map(must(try_create_list(device_open(), list, 8, 0)), 0, mem.size);

	trace_faults();
	mark_pages(map + MIB(2), MIB(2), 4);
	check_eq(mapped(PTE), 1);
	mark_pages(map, mem.size, 4);
	check_eq(mapped(PTE), 4);
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

	trace_faults();
	mark_pages(map, MIB(64), 5);
	check_pages(map + GIB(1) - PAGE, PAGE, *(__u64 *)(map + GIB(1) - PAGE));
	check_eq(mapped(PUD), 1);
	check_eq(mapped(PMD) + mapped(PTE), 0);
	check_pages(mem.map, MIB(64), 5);
}

/*
 * What a hostile owner would write there: it looks like a page table, which
 * the kernel takes it for if it walks through an entry for a huge page.
 */
static void write_page_table(char *memory)
{
	size_t at;

	for (at = 0; at < PAGE; at += sizeof(__u64))
		*(__u64 *)(memory + at) = 0x067;
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

static void survives_fork(enum memory_kind kind, size_t size)
{
	struct memory mem = memory_make(kind, size);
	char *map = library_map(create(&mem, 0, mem.size), 0, mem.size);
	int pid;

	mark_pages(map, MIB(2), 10);
	pid = must(fork());
	if (!pid) {
		check_pages(map, MIB(2), 10);
		mark_pages(map, MIB(2), 11);
		must(munmap(map + PAGE, PAGE));
		check_pages(map + 2 * PAGE, MIB(1), 11 + 2 * PAGE);
		_exit(0);
	}
	join_child(pid);
	check_pages(map, MIB(2), 11);
}

PROMISE(order_pmd_is_shared_by_fork, "a child shares the entries of 2 MiB pages")
{
	survives_fork(HUGETLB_2M, MIB(4));
}

PROMISE(order_pud_is_shared_by_fork, "a child shares the entry of a 1 GiB page")
{
	survives_fork(HUGETLB_1G, GIB(1));
}

PROMISE(order_pmd_takes_writes_again,
	"an entry that soft-dirty tracking made read-only takes the next write")
{
	struct memory mem = memory_make(HUGETLB_2M, MIB(4));
	char *map = library_map(create(&mem, 0, mem.size), 0, mem.size);

	mark_pages(map, mem.size, 12);
	check(file_write("/proc/self/clear_refs", "4"));
	mark_pages(map, mem.size, 13);
	check_pages(mem.map, mem.size, 13);
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
	"threads that fault in the same place get its pages, whatever order each is offered")
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

/* Kernel mappings that dmabufx has made and not taken back. */
static int kept_vmaps(void)
{
	FILE *info = fopen("/proc/vmallocinfo", "re");
	char line[512];
	int n = 0;

	check(info);
	while (fgets(line, sizeof(line), info))
		n += strstr(line, "[dmabufx]") && strstr(line, " vmap");
	fclose(info);
	return n;
}

PROMISE(order_vmap_is_kept_until_memory_is_short,
	"a kernel mapping stays for the next user, and goes when memory is wanted")
{
	struct memory mem = memory_make(SHMEM_4K, MIB(4));
	struct udmabuf_create_item items[2] = {
		item(&mem, MIB(2), MIB(2)), item(&mem, 0, MIB(2)),
	};
	int fd = must(try_create_list(device_open(), items, 2, 0));
	int importer = importer_open(), before = kept_vmaps(), i;
	char *data = malloc(PAGE);

	check(data);
	mark_pages(mem.map, mem.size, 15);
	importer_attach(importer, fd);
	for (i = 0; i < 3; i++) {
		importer_do(importer, DMABUFX_IMPORTER_VMAP, 0);
		check_eq(kept_vmaps(), before + 1);
		importer_read(importer, DMABUFX_VIA_VMAP, MIB(2), data, PAGE);
		check_eq(*(__u64 *)data, 15);
		if (i < 2)
			importer_do(importer, DMABUFX_IMPORTER_VUNMAP, 0);
		check_eq(kept_vmaps(), before + 1);
	}

	/* Slab caches and the like: not what is in use. */
	check(file_write("/proc/sys/vm/drop_caches", "2"));
	check_eq(kept_vmaps(), before + 1);
	importer_do(importer, DMABUFX_IMPORTER_VUNMAP, 0);
	check(file_write("/proc/sys/vm/drop_caches", "2"));
	check_eq(kept_vmaps(), before);

	importer_do(importer, DMABUFX_IMPORTER_VMAP, 0);
	importer_read(importer, DMABUFX_VIA_VMAP, 0, data, PAGE);
	check_eq(*(__u64 *)data, 15 + MIB(2));
	free(data);
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
	"pages in a row have a kernel address already, fit for copies across them")
{
	struct memory mem = memory_make(SHMEM_4K, MIB(1));
	__u64 words[2] = { 17, 18 }, found[2];
	int importer = importer_open(), before = kept_vmaps();
	struct udmabuf_create_item pages[2];

	find_neighbours(&mem, pages);
	importer_attach(importer,
			must(try_create_list(device_open(), pages, 2, 0)));
	importer_do(importer, DMABUFX_IMPORTER_VMAP, 0);
	check_eq(kept_vmaps(), before);

	importer_write(importer, DMABUFX_VIA_VMAP, PAGE - 8, words, 16);
	check_eq(*(__u64 *)(mem.map + pages[0].offset + PAGE - 8), 17);
	check_eq(*(__u64 *)(mem.map + pages[1].offset), 18);
	importer_read(importer, DMABUFX_VIA_VMAP, PAGE - 8, found, 16);
	check_eq(found[0], 17);
	check_eq(found[1], 18);
}

struct vmap_race {
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

static void *want_memory(void *arg)
{
	struct vmap_race *race = arg;

	while (!__atomic_load_n(&race->stop, __ATOMIC_SEQ_CST))
		check(file_write("/proc/sys/vm/drop_caches", "2"));
	return NULL;
}

PROMISE(order_vmap_races_do_no_harm,
	"several importers map and unmap while the kernel wants its memory back")
{
	struct memory mem = memory_make(SHMEM_4K, MIB(4));
	struct udmabuf_create_item items[2] = {
		item(&mem, MIB(2), MIB(2)), item(&mem, 0, MIB(2)),
	};
	struct vmap_race race = {
		.fd = must(try_create_list(device_open(), items, 2, 0)),
	};
	pthread_t importers[3], shrinker;
	int i;

	mark_pages(mem.map, mem.size, 16);
	pthread_create(&shrinker, NULL, want_memory, &race);
	for (i = 0; i < 3; i++)
		pthread_create(&importers[i], NULL, vmap_again_and_again, &race);
	for (i = 0; i < 3; i++)
		pthread_join(importers[i], NULL);
	__atomic_store_n(&race.stop, true, __ATOMIC_SEQ_CST);
	pthread_join(shrinker, NULL);
}
