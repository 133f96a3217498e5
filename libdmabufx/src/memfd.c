// SPDX-License-Identifier: MIT
/* Makes memfds for dma-bufs: sealed, with pages of the wanted size, and filled. */
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

/* Bytes to fill at once, unless a page is larger. */
#define FILL_PIECE	(2ULL << 20)

/* Makes the memfd not executable, if the kernel knows that; some kernels require it. */
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
 * Fills the file if a mapping cannot be filled. (Touching the mapping instead would end in
 * SIGBUS if memory is short.) On old kernels any signal undoes a whole piece, so pieces
 * get smaller until one fits between two signals.
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
	/* EFAULT means that there was no memory, where an access would get SIGBUS. */
	return ret == -EFAULT ? -ENOMEM : ret;
}

/*
 * The first access decides whether the memory becomes transparent huge pages, by the
 * advice of the mapping through which it happens.
 */
static int map_and_fill(int fd, uint64_t size, int advice)
{
	void *map;
	int ret = dmabufx_map(fd, 0, size, PROT_READ | PROT_WRITE, &map);

	if (ret)
		return ret;
	/* Fails on kernels without huge pages, which does not matter. */
	if (advice)
		madvise(map, size, advice);
	ret = fill_mapping(map, size);
	munmap(map, size);
	return ret;
}

/*
 * Mapping and filling fails on kernels before 5.14, if a seccomp filter forbids it, if the
 * process has no addresses left, or if it may not lock the mapping (mlockall()).
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

/* A file larger than RLIMIT_FSIZE would get the process a signal that kills it. */
static bool is_too_large(uint64_t size)
{
	struct rlimit limit;

	return !getrlimit(RLIMIT_FSIZE, &limit) && size > limit.rlim_cur;
}

/*
 * The kernel does not reserve memory. If asked for more than there is, it kills other
 * programs first. Huge pages come from the pool, which has enough of them or not.
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
