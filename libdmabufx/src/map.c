// SPDX-License-Identifier: MIT
/*
 * Mapping a dma-buf where its huge pages can be mapped as such.
 *
 * An entry of the page table that covers a huge page needs an address that is
 * aligned to it. mmap() promises that for no dma-buf, so the library asks for the
 * next such address below the one that it got.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "internal.h"

/* Places that are tried, each twice as far away as the one before. */
#define MOST_TRIES	8

/* What lies below is kept free, so that NULL points to nothing. */
#define LOWEST_ADDRESS	0x10000

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE	0x100000
#endif

/*
 * How much memory an entry of the last but one level of page tables covers, bytes.
 * A table of most machines is a page of entries of 8 bytes.
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

/* The size of a dma-buf or a memfd, bytes. A memfd's position is not ours to move. */
static int find_size(int fd, uint64_t *size)
{
	struct stat stat;
	off_t end;

	if (fstat(fd, &stat))
		return -errno;
	*size = stat.st_size;
	if (*size || S_ISREG(stat.st_mode))
		return 0;
	/* Old kernels tell a dma-buf's size in no other way. */
	end = lseek(fd, 0, SEEK_END);
	*size = end;
	return end < 0 ? -ENODEV : 0;
}

/* Makes @length what it stands for, in whole pages. */
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
 * Maps at @place if that is free. Another thread may be given it at any time, and what
 * is there must not be replaced. Kernels older than 4.17 take the address for a hint,
 * and replace nothing either.
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
 * Maps at the next address below @near that is @offset modulo @align and where there is
 * room, or fails. The kernel gives addresses from the top to the bottom, so that room is
 * below. Above there may be what the stack is going to need.
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
 * Maps for the largest page that may fit, or for a smaller one, or anywhere. A
 * mapping goes before the next one comes: never more counts against the limits of
 * the process than the caller asked for.
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
	/* An address that dmabufx_map() did not return; a program may lie there. */
	if (!addr || length > SIZE_MAX)
		return -EINVAL;
	return munmap(addr, length) ? -errno : 0;
}
