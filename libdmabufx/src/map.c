// SPDX-License-Identifier: MIT
/*
 * Maps a dma-buf such that the kernel can map its huge pages with one entry each.
 *
 * A page table entry for a huge page needs an aligned address. mmap() does not promise
 * one for dma-bufs. So the library asks for the next aligned address below the one that
 * mmap() returned.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "internal.h"

/* Addresses to try, each twice as far away as the one before. */
#define MOST_TRIES	8

/* The kernel keeps addresses below this free, so that NULL points to nothing. */
#define LOWEST_ADDRESS	0x10000

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE	0x100000
#endif

/*
 * Returns how much memory a PMD, an entry of the last but one level of page tables, covers,
 * in bytes. On most machines a table is one page of entries of 8 bytes.
 */
static uint64_t pmd_size(size_t page)
{
#if defined(__s390x__)
	(void)page;
	return 1 << 20;
#elif defined(__powerpc64__)
	(void)page;
	return 2 << 20;
#else
	return (uint64_t)page * (page / sizeof(uint64_t));
#endif
}

/* Gets the size of a dma-buf or a memfd, bytes. Must not move a memfd's file position. */
static int find_size(int fd, uint64_t *size)
{
	struct stat stat;
	off_t end;

	if (fstat(fd, &stat))
		return -errno;
	*size = stat.st_size;
	if (*size || S_ISREG(stat.st_mode))
		return 0;
	/* On old kernels this is the only way to get a dma-buf's size. */
	end = lseek(fd, 0, SEEK_END);
	*size = end;
	return end < 0 ? -ENODEV : 0;
}

/* Replaces length 0 by the rest of the file, and rounds up to whole pages. */
static int find_length(int fd, uint64_t offset, uint64_t *length, size_t page)
{
	uint64_t size = 0;
	int ret = find_size(fd, &size);

	if (ret)
		return ret;
	if (offset >= size)
		return -EINVAL;
	if (!*length)
		*length = size - offset;
	if (*length > round_up(size, page) - offset)
		return -EINVAL;
	*length = round_up(*length, page);
	return 0;
}

/*
 * Maps at @place if that is free. Another thread may get it at any time, and its mapping
 * must not be replaced. Kernels before 4.17 treat the address as a hint, and
 * do not replace anything either.
 */
static void *map_at(uintptr_t place, size_t length, int prot, int fd, uint64_t offset)
{
	void *map = mmap((void *)place, length, prot, MAP_SHARED | MAP_FIXED_NOREPLACE, fd,
			 offset);

	if (map == MAP_FAILED || map == (void *)place)
		return map;
	munmap(map, length);
	return MAP_FAILED;
}

/*
 * Maps at an address below @near that is @offset modulo @align and free, or fails. The
 * kernel hands out addresses from top to bottom, so there is room below. The addresses
 * above may be needed for the stack.
 */
static void *map_below(uintptr_t near, size_t length, uint64_t align, int prot, int fd,
		       uint64_t offset)
{
	uintptr_t place = near - ((near - offset) & (align - 1));
	uint64_t step = align;
	void *map = MAP_FAILED;
	unsigned int tries;

	for (tries = 0; tries < MOST_TRIES && map == MAP_FAILED; tries++) {
		if (place < LOWEST_ADDRESS || place > near)
			break;
		map = map_at(place, length, prot, fd, offset);
		place -= step;
		step *= 2;
	}
	return map;
}

/*
 * Maps with the alignment of the largest page that may fit, or of a smaller one, or with
 * none. Unmaps each mapping before it makes the next, so that never more than the
 * requested size counts against the limits of the process.
 */
static void *map_aligned(int fd, uint64_t offset, size_t length, int prot, size_t page)
{
	const uint64_t pmd = pmd_size(page), pud = pmd * (page / sizeof(uint64_t));
	const uint64_t aligns[] = { pud, pmd };
	void *map = mmap(NULL, length, prot, MAP_SHARED, fd, offset), *better;
	unsigned int i;

	for (i = 0; i < 2 && map != MAP_FAILED; i++) {
		if (length < aligns[i])
			continue;
		if (!(((uintptr_t)map - offset) & (aligns[i] - 1)) || munmap(map, length))
			break;
		better = map_below((uintptr_t)map, length, aligns[i], prot, fd, offset);
		if (better != MAP_FAILED)
			return better;
		map = mmap(NULL, length, prot, MAP_SHARED, fd, offset);
	}
	return map;
}

int dmabufx_map(int dmabuf, uint64_t offset, uint64_t length, int prot, void **addr)
{
	size_t page = page_size();
	void *map;
	int ret;

	*addr = NULL;
	if (offset % page)
		return -EINVAL;
	ret = find_length(dmabuf, offset, &length, page);
	if (ret)
		return ret;
	if (length > SIZE_MAX)
		return -ENOMEM;
	map = map_aligned(dmabuf, offset, length, prot, page);
	if (map == MAP_FAILED)
		return -errno;
	*addr = map;
	return 0;
}

int dmabufx_unmap(void *addr, uint64_t length)
{
		/* NULL did not come from dmabufx_map(); other memory may be mapped there. */
	if (!addr || length > SIZE_MAX)
		return -EINVAL;
	return munmap(addr, length) ? -errno : 0;
}
