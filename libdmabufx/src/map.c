// SPDX-License-Identifier: MIT
/*
 * Mapping a dma-buf where its huge pages can be mapped as such.
 *
 * An entry of the page table that covers a huge page needs an address that is
 * aligned to it. mmap() promises that for no dma-buf, so a larger area is
 * reserved, the dma-buf mapped at the right place in it, and the rest given
 * back.
 */
#include <errno.h>
#include <sys/mman.h>

#include "internal.h"

/* What one entry of the last but one level covers, bytes; 0 where unknown. */
static size_t pmd_size(void)
{
	return number_in_file("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size",
			      0);
}

/* The largest page that may fit into @length bytes. */
static size_t wanted_alignment(size_t length, size_t page)
{
	size_t pmd = pmd_size();
	size_t pud = pmd * (page / sizeof(uint64_t));

	if (!pmd || length < pmd)
		return page;
	return length < pud ? pmd : pud;
}

/* Address space of @length bytes that is @offset modulo @align, or NULL. */
static char *reserve(size_t length, uint64_t offset, size_t align, size_t page)
{
	size_t before, slack = align - page;
	char *area;

	if (!is_power_of_2(align) || length > SIZE_MAX - slack)
		return NULL;
	area = mmap(NULL, length + slack, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED)
		return NULL;

	before = (offset - (uintptr_t)area) & (align - 1);
	if (before)
		munmap(area, before);
	if (before < slack)
		munmap(area + before + length, slack - before);
	return area + before;
}

static int size_from(int dmabuf, uint64_t offset, size_t *length)
{
	off_t size = lseek(dmabuf, 0, SEEK_END);

	if (size < 0)
		return -errno;
	if (offset >= (uint64_t)size)
		return -EINVAL;
	*length = size - offset;
	return 0;
}

int dmabufx_map(int dmabuf, uint64_t offset, size_t length, int prot,
		void **addr)
{
	size_t page = page_size();
	char *place, *map;
	int ret;

	*addr = NULL;
	if (!length) {
		ret = size_from(dmabuf, offset, &length);
		if (ret)
			return ret;
	}
	if (length > SIZE_MAX - page)
		return -EINVAL;
	length = (length + page - 1) / page * page;

	/* Without room for that, anywhere is good enough. */
	place = reserve(length, offset, wanted_alignment(length, page), page);
	map = mmap(place, length, prot, MAP_SHARED | (place ? MAP_FIXED : 0),
		   dmabuf, offset);
	if (map == MAP_FAILED) {
		ret = -errno;
		if (place)
			munmap(place, length);
		return ret;
	}
	*addr = map;
	return 0;
}

int dmabufx_unmap(void *addr, size_t length)
{
	return munmap(addr, length) ? -errno : 0;
}
