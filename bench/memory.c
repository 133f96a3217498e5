// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memfds with a chosen physical layout. The kernel hands out physical memory roughly in
 * the order of first accesses: memory that is touched in order is contiguous, memory
 * that is touched in random order is in pieces.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#ifndef MFD_HUGE_SHIFT
#define MFD_HUGE_SHIFT 26
#endif

/* A LISTED buffer of 65,536 folios has so many pieces, each of two or three folios. */
#define PIECES 27000

/* Always the same sequence, so that every run measures the same. */
static uint64_t random_below(uint64_t limit)
{
	static uint64_t state = 1;

	state = state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (state >> 33) % limit;
}

static void shuffle(size_t *list, size_t nr)
{
	for (size_t i = nr; i > 1; i--) {
		size_t j = random_below(i), swap = list[i - 1];

		list[i - 1] = list[j];
		list[j] = swap;
	}
}

/* Returns 0 to @nr - 1 in random order, or NULL. */
static size_t *shuffled(size_t nr)
{
	size_t *list = calloc(nr, sizeof(*list));

	for (size_t i = 0; list && i < nr; i++)
		list[i] = i;
	if (list)
		shuffle(list, nr);
	return list;
}

static void touch_folio(const struct memory *mem, char *addr, size_t folio)
{
	*(volatile char *)(addr + folio * mem->folio) = 1;
}

static bool touch_folios(const struct memory *mem, char *addr, size_t size)
{
	size_t nr = size / mem->folio, *list;
	bool ok;

	if (mem->layout != SCATTERED) {
		for (size_t i = 0; i < nr; i++)
			touch_folio(mem, addr, i);
		return true;
	}

	list = shuffled(nr);
	for (size_t i = 0; list && i < nr; i++)
		touch_folio(mem, addr, list[i]);
	ok = list;
	free(list);
	return ok;
}

/* A setting that lets shmem use large folios of one size, on request, while it is set. */
struct shmem_setting {
	char path[96];
	char old[32];
};

static bool write_setting(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, value, strlen(value)) > 0;

	if (fd >= 0)
		close(fd);
	return ok;
}

/* Reads the chosen value, the one in brackets: "always [never]". */
static bool read_setting(const char *path, char *value, size_t size)
{
	char line[128] = "", *begin, *end;
	FILE *file = fopen(path, "re");

	if (!file)
		return false;
	begin = fgets(line, sizeof(line), file) ? strchr(line, '[') : NULL;
	end = begin ? strchr(begin, ']') : NULL;
	fclose(file);
	if (!end || (size_t)(end - begin) > size)
		return false;
	*end = 0;
	memcpy(value, begin + 1, end - begin);
	return true;
}

static bool allow_folios(struct shmem_setting *setting, size_t folio)
{
	snprintf(setting->path, sizeof(setting->path),
		 "/sys/kernel/mm/transparent_hugepage/hugepages-%zukB/shmem_enabled",
		 folio / KIB);
	return read_setting(setting->path, setting->old, sizeof(setting->old)) &&
	       write_setting(setting->path, "advise");
}

static bool touch_shmem(const struct memory *mem, char *addr, size_t size)
{
	struct shmem_setting setting;
	bool ok;

	if (mem->folio == (size_t)sysconf(_SC_PAGESIZE)) {
		madvise(addr, size, MADV_NOHUGEPAGE);
		return touch_folios(mem, addr, size);
	}

	if (!allow_folios(&setting, mem->folio))
		return false;
	ok = !madvise(addr, size, MADV_HUGEPAGE) &&
	     touch_folios(mem, addr, size);
	write_setting(setting.path, setting.old);
	return ok;
}

/*
 * Maps at an address that allows huge entries; private memory if @fd is -1. Returns
 * MAP_FAILED and errno like mmap().
 */
char *map_aligned(size_t size, int fd)
{
	size_t align = size < GIB ? 2 * MIB : GIB;
	char *addr = mmap(NULL, size + align, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (addr == MAP_FAILED)
		return addr;
	munmap(addr, size + align);
	addr = (char *)(((uintptr_t)addr + align - 1) & ~(align - 1));
	return mmap(addr, size, PROT_READ | PROT_WRITE, MAP_FIXED_NOREPLACE |
		    (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED), fd, 0);
}

static bool populate(const struct memory *mem, int memfd, size_t size)
{
	char *addr = map_aligned(size, memfd);
	bool ok;

	if (addr == MAP_FAILED)
		return false;
	ok = mem->hugetlb ? touch_folios(mem, addr, size) :
			    touch_shmem(mem, addr, size);
	munmap(addr, size);
	return ok;
}

/* Returns a memfd for dma-bufs, or -1 with the reason in errno. */
int memory_create(const struct memory *mem, size_t size)
{
	unsigned int flags = MFD_ALLOW_SEALING | MFD_CLOEXEC;
	int memfd;

	if (mem->hugetlb)
		flags |= MFD_HUGETLB |
			 (unsigned int)__builtin_ctzl(mem->folio) << MFD_HUGE_SHIFT;
	memfd = memfd_create("dmabufx-bench", flags);
	if (memfd < 0)
		return -1;

	/* Free pages of earlier memory are in any order, on lists of their own. */
	write_setting("/proc/sys/vm/compact_memory", "1");
	errno = 0;
	if (ftruncate(memfd, size) || fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK) ||
	    !populate(mem, memfd, size)) {
		close(memfd);
		return -1;
	}
	return memfd;
}

/* Returns memory of the program's own, or MAP_FAILED with the reason in errno. */
void *memory_map_user(const struct memory *mem, size_t size)
{
	char *addr = map_aligned(size, -1);
	int advice = mem->folio == (size_t)sysconf(_SC_PAGESIZE) ?
		     MADV_NOHUGEPAGE : MADV_HUGEPAGE;

	write_setting("/proc/sys/vm/compact_memory", "1");
	if (addr != MAP_FAILED) {
		madvise(addr, size, advice);
		touch_folios(mem, addr, size);
	}
	return addr;
}

/* Returns the request that makes a buffer of the memfd. */
struct udmabuf_create_list *memory_list(const struct memory *mem, int memfd,
					size_t size)
{
	size_t nr = size / mem->folio, pieces = 1, *order;
	struct udmabuf_create_list *list;

	if (mem->layout == LISTED)
		pieces = (nr * PIECES + 65535) / 65536;
	list = calloc(1, sizeof(*list) + pieces * sizeof(list->list[0]));
	order = shuffled(pieces);
	if (!list || !order)
		err(EXIT_FAILURE, "a list of %zu pieces", pieces);

	list->flags = UDMABUF_FLAGS_CLOEXEC;
	list->count = pieces;
	for (size_t i = 0; i < pieces; i++) {
		size_t first = order[i] * nr / pieces;
		size_t end = (order[i] + 1) * nr / pieces;

		list->list[i].memfd = memfd;
		list->list[i].offset = first * mem->folio;
		list->list[i].size = pieces > 1 ? (end - first) * mem->folio : size;
	}
	free(order);
	return list;
}
