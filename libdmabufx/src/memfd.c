// SPDX-License-Identifier: MIT
/* Memory that can become a dma-buf: sealed, of the wanted pages, and there. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "internal.h"

#ifndef MFD_HUGE_SHIFT
#define MFD_HUGE_SHIFT		26
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL		0x8U
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE	23
#endif

/* Not executable, where kernels know how to say that and may insist on it. */
static int create_memfd(const char *name, unsigned int flags)
{
	int fd;

	flags |= MFD_CLOEXEC | MFD_ALLOW_SEALING;
	fd = memfd_create(name, flags | MFD_NOEXEC_SEAL);
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create(name, flags);
	return fd < 0 ? -errno : fd;
}

/*
 * Transparent huge pages are chosen when memory is first touched, by what the
 * mapping wants through which that happens.
 */
static int populate(int fd, size_t size, int advice)
{
	void *map;
	int ret;

	if (advice) {
		ret = dmabufx_map(fd, 0, size, PROT_READ | PROT_WRITE, &map);
		if (ret)
			return ret;
		/* Kernels without huge pages know no advice on them. */
		madvise(map, size, advice);
	} else {
		map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (map == MAP_FAILED)
			return -errno;
	}

	do {
		ret = madvise(map, size, MADV_POPULATE_WRITE) ? -errno : 0;
	} while (ret == -EINTR || ret == -EAGAIN);
	munmap(map, size);
	/* The memory has gone that a SIGBUS would have told of. */
	return ret == -EFAULT ? -ENOMEM : ret;
}

static int make(int fd, uint64_t size, int advice)
{
	int ret;

	if (ftruncate(fd, size))
		return -errno;
	ret = populate(fd, size, advice);
	if (ret)
		return ret;
	return fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) ? -errno : 0;
}

int dmabufx_memfd(const char *name, uint64_t size, size_t page_size_wanted)
{
	int fd, ret, advice = page_size_wanted ? MADV_NOHUGEPAGE : MADV_HUGEPAGE;
	size_t page = page_size_wanted ? page_size_wanted : page_size();
	unsigned int flags = 0;

	if (!is_power_of_2(page) || page < page_size() || !size)
		return -EINVAL;
	if (size > INT64_MAX - page || size > SIZE_MAX - page)
		return -EFBIG;
	if (page > page_size()) {
		flags = MFD_HUGETLB |
			(unsigned int)__builtin_ctzll(page) << MFD_HUGE_SHIFT;
		advice = 0;
	}

	fd = create_memfd(name, flags);
	if (fd < 0)
		return fd;
	ret = make(fd, (size + page - 1) / page * page, advice);
	if (ret) {
		close(fd);
		return ret;
	}
	return fd;
}
