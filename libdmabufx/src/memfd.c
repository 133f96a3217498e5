// SPDX-License-Identifier: MIT
/* Memory that can become a dma-buf: sealed, of the wanted pages, and there. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>

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

/* Bytes that a file is filled with at once, where its pages are not larger. */
#define FILL_PIECE	(2ULL << 20)

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
 * Where a mapping cannot be filled, the file is. Touching the mapping would be a
 * SIGBUS where memory is short. Old kernels undo the piece that any signal
 * interrupts, so it gets smaller until it fits between two of them.
 */
static int fill_file(int fd, uint64_t size, uint64_t page)
{
	const uint64_t largest = page > FILL_PIECE ? page : FILL_PIECE;
	uint64_t done = 0, piece = largest;

	while (done < size) {
		piece = piece < size - done ? piece : size - done;
		if (!fallocate(fd, 0, done, piece)) {
			done += piece;
			piece = piece * 2 < largest ? piece * 2 : largest;
		} else if (errno == ENOSPC) {
			return -ENOMEM;
		} else if (errno != EINTR) {
			return -errno;
		} else if (piece > page) {
			piece = round_up(piece / 2, page);
		}
	}
	return 0;
}

static int fill_mapping(void *map, size_t size)
{
	int ret;

	do {
		ret = madvise(map, size, MADV_POPULATE_WRITE) ? -errno : 0;
	} while (ret == -EINTR || ret == -EAGAIN);
	/* The memory has gone that a SIGBUS would have told of. */
	return ret == -EFAULT ? -ENOMEM : ret;
}

/*
 * Transparent huge pages are chosen when memory is first touched, by what the
 * mapping wants through which that happens.
 */
static int map_and_fill(int fd, uint64_t size, int advice)
{
	void *map;
	int ret = dmabufx_map(fd, 0, size, PROT_READ | PROT_WRITE, &map);

	if (ret)
		return ret;
	/* Kernels without huge pages know no advice on them. */
	if (advice)
		madvise(map, size, advice);
	ret = fill_mapping(map, size);
	munmap(map, size);
	return ret;
}

/*
 * Kernels before 5.14 cannot fill a mapping, filters may forbid it, and there may be
 * neither addresses nor leave to lock what is mapped.
 */
static int populate(int fd, uint64_t size, uint64_t page, int advice)
{
	int ret = map_and_fill(fd, size, advice);

	if (!ret || ret == -EHWPOISON)
		return ret;
	return fill_file(fd, size, page);
}

static int make(int fd, uint64_t size, uint64_t page, int advice)
{
	int ret;

	if (ftruncate(fd, size))
		return -errno;
	ret = populate(fd, size, page, advice);
	if (ret)
		return ret;
	return fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) ? -errno : 0;
}

/* A file that is too large for the process is a signal that ends it. */
static bool is_too_large(uint64_t size)
{
	struct rlimit limit;

	return !getrlimit(RLIMIT_FSIZE, &limit) && size > limit.rlim_cur;
}

/*
 * The kernel promises no memory ahead: asked for more than there is, it ends other
 * programs first. Huge pages are the pool's, which has them or not.
 */
static bool is_there_memory(uint64_t size)
{
	struct sysinfo info;

	return sysinfo(&info) ||
	       size / info.mem_unit <= (uint64_t)info.totalram + info.totalswap;
}

static int make_memfd(const char *name, uint64_t size, uint64_t page, int advice)
{
	unsigned int flags = 0;
	int fd, ret;

	if (page > page_size())
		flags = MFD_HUGETLB |
			(unsigned int)__builtin_ctzll(page) << MFD_HUGE_SHIFT;
	else if (!is_there_memory(size))
		return -ENOMEM;

	fd = create_memfd(name, flags);
	if (fd < 0)
		return fd;
	ret = make(fd, size, page, advice);
	if (ret) {
		close(fd);
		return ret;
	}
	return fd;
}

int dmabufx_memfd(const char *name, uint64_t size, uint64_t page_size_wanted)
{
	int fd, state, advice = page_size_wanted ? MADV_NOHUGEPAGE : MADV_HUGEPAGE;
	uint64_t page = page_size_wanted ? page_size_wanted : page_size();

	if (!is_power_of_2(page) || page < page_size() || !size)
		return -EINVAL;
	if (page > INT64_MAX || size > INT64_MAX - page)
		return -EFBIG;
	size = round_up(size, page);
	if (is_too_large(size))
		return -EFBIG;

	state = hold_cancellation();
	fd = make_memfd(name, size, page, page > page_size() ? 0 : advice);
	release_cancellation(state);
	return fd;
}
