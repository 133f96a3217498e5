/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * dmabufx: makes dma-bufs of memory.
 *
 * /dev/dmabufx answers the two calls of <linux/udmabuf.h>, UDMABUF_CREATE and
 * UDMABUF_CREATE_LIST, and one of its own, DMABUFX_IOC_CREATE. All of them make
 * one dma-buf of ranges of memory and return its file descriptor. Ranges may
 * repeat, overlap and come in any order. DMABUFX_IOC_QUERY tells what the driver
 * can do, DMABUFX_IOC_INFO describes a dma-buf. The device may be opened
 * read-only.
 *
 * A struct begins with its size, as the program knows it. If the kernel's struct
 * is longer, the rest of it counts as zero; if the program's is longer, the rest
 * of it must be zero, or the call fails with E2BIG. A size below that of
 * the first version is EINVAL, a struct that cannot be read or written EFAULT.
 *
 *
 * Brackets of CPU access
 * ----------------------
 * Whenever the CPU accesses the memory, through any mapping, the program must
 * call DMA_BUF_SYNC_START before and DMA_BUF_SYNC_END after that, with the same
 * flags. Such a bracket may overlap with others, of the same process, of other
 * processes and of drivers. While one with DMA_BUF_SYNC_WRITE is open, the memory
 * belongs to the CPU: devices must not write, and data that they write is lost.
 * While none is open, or only brackets for reading, devices may write, and whoever
 * begins a bracket then sees their data. Devices see what the CPU wrote when the
 * bracket has ended. Each bracket must be ended once; it also ends when the process
 * that began it dies or calls exec().
 *
 *
 * The udmabuf calls
 * -----------------
 * They take page-aligned ranges of sealed memfds and fill holes in them with
 * zeros. The last page of a memfd exists as a whole, so a range may reach to the
 * end of that page. The dma-buf is opened read-write. But if one of the memfds is
 * opened read-only, so is the dma-buf, and nobody can write through it.
 * UDMABUF_FLAGS_CLOEXEC sets close-on-exec; other flag bits are ignored.
 *
 * A call that fails changes nothing, except that holes which it has filled before
 * stay filled. It checks all descriptors, their modes and seals, and the sizes of
 * the memfds before it fills the first hole. After that it can fail only if there is
 * no memory, no free descriptor or no free file, if a huge page of which only a
 * part is used exceeds a limit, if memory is broken, if the caller is killed, or if
 * somebody changes a memfd meanwhile. The errors mean:
 *
 *	EINVAL	an offset or a size is not a multiple of the page size;
 *		the sizes add up to 0, or to more than 2^32 - 1 pages;
 *		one range is empty, or reaches beyond the last page of its
 *		memfd;
 *		a memfd is not sealed with F_SEAL_SHRINK, or is sealed with
 *		F_SEAL_WRITE or F_SEAL_FUTURE_WRITE;
 *		a list has more items than the list_limit module parameter
 *	EACCES	a memfd is not opened for reading
 *	EBADFD	a descriptor is not open, or is neither a memfd nor another
 *		file of shmem or hugetlbfs
 *	EDQUOT	the user's buffers would pin more memory of memfds than
 *		the memfd_limit_mib module parameter allows, or those of
 *		all users together more than total_limit_mib
 *	EFAULT	the request cannot be read
 *	EHWPOISON	the machine reported some of the memory broken
 *	EINTR	the caller is being killed
 *	EMFILE	the caller has no free descriptor
 *	ENFILE	the system has no free file
 *	ENOMEM	no memory for a hole or for the kernel's own records; no
 *		huge page for a hole, in the pool or for the caller's cgroup;
 *		somebody punches holes faster than they are filled; or a page
 *		is pinned so often that its counter could overflow
 *	ENOTTY	no such call
 */
#ifndef _UAPI_LINUX_DMABUFX_H
#define _UAPI_LINUX_DMABUFX_H

#include <linux/ioctl.h>
#include <linux/types.h>
#include <linux/udmabuf.h>

#define DMABUFX_DEVICE	"/dev/dmabufx"

/**
 * enum dmabufx_segment_type - where the memory of a segment comes from
 * @DMABUFX_MEMFD: a range of a memfd, sealed with F_SEAL_SHRINK
 * @DMABUFX_USER: a range of the caller's own addresses: anonymous memory,
 *	private or shared, shmem, hugetlb; memory mapped from other files, only
 *	for a read-only buffer
 */
enum dmabufx_segment_type {
	DMABUFX_MEMFD	= 0,
	DMABUFX_USER	= 1,
};

/**
 * struct dmabufx_segment - a range of memory
 * @fd: DMABUFX_MEMFD: the memfd; DMABUFX_USER: 0
 * @type: enum dmabufx_segment_type
 * @offset: DMABUFX_MEMFD: where in the memfd the range begins, bytes
 * @address: DMABUFX_USER: where in the caller's address space the range begins
 * @size: bytes; a segment of size 0 is skipped
 *
 * The layout is that of struct udmabuf_create_item.
 */
struct dmabufx_segment {
	__s32 fd;
	__u32 type;
	union {
		__aligned_u64 offset;
		__aligned_u64 address;
	};
	__aligned_u64 size;
};

/* Close the descriptor on exec. */
#define DMABUFX_CREATE_CLOEXEC		0x1
/*
 * Nobody can write through the dma-buf: its descriptor is opened read-only,
 * mappings cannot be made writable, devices can map it only for reading (otherwise
 * EACCES), and drivers cannot map it for the kernel, neither to read nor to write.
 * In Linux 6.12, importers that let memory be moved also get EACCES: they map for
 * both directions when they attach.
 * Others may still write to the memory itself, unless seals forbid it.
 */
#define DMABUFX_CREATE_READ_ONLY	0x2

/**
 * struct dmabufx_create - arguments of DMABUFX_IOC_CREATE
 * @size: sizeof(struct dmabufx_create)
 * @flags: DMABUFX_CREATE_*
 * @segments: address of an array of struct dmabufx_segment
 * @nr_segments: how many there are
 * @segment_size: sizeof(struct dmabufx_segment)
 * @name: address of a name for the dma-buf, as DMA_BUF_SET_NAME takes it, or 0
 * @data_offset: returned on success: where in the buffer the first byte of the
 *	first segment is
 * @failed_segment: returned on failure: the index of the segment that is to
 *	blame, or @nr_segments if the request as a whole is
 * @reason: returned on failure: enum dmabufx_reason
 *
 * The buffer consists of whole pages. The first segment that is not empty may
 * start inside a page, and the last one may end inside one; the buffer then also
 * has the rest of these pages. All other borders must be page-aligned. Such a
 * buffer cannot be mapped for a device's writes (EOPNOTSUPP) if the mapping has to be
 * synchronised: it has bounce buffers, or the device's caches are not coherent. For then
 * other data in these pages could be lost.
 *
 * The last page of a memfd exists as a whole: a segment may reach to its end. The
 * bytes after the memfd's end are zeros, unless somebody wrote there
 * through a mapping. The last page below 2^63 is never accepted.
 *
 * When a hole is punched into the memfd, whole folios in the hole stay in the buffer.
 * If only a part of a large folio is punched out or truncated, that part becomes
 * zeros in the buffer, too; memfd and buffer continue to share that folio.
 *
 * The buffer keeps the memory that is at the caller's addresses now, for as long as
 * the dma-buf lives, even if the caller maps other memory there, forks or exits.
 * For as long, private memory counts against RLIMIT_MEMLOCK. Shared memory, which
 * belongs to files (memfds, shared mappings), counts against other limits, whether
 * an address or a descriptor names it: the module parameters memfd_limit_mib, for
 * each user, and total_limit_mib, for all users together.
 * A page counts each time that it is in a buffer. A large folio (a huge page) of
 * which a buffer has only a part also counts as a whole, once for each user, since
 * the buffer keeps all of it. None of these limits applies to a caller with
 * CAP_IPC_LOCK.
 *
 * The call returns the dma-buf's descriptor. A call that fails changes only
 * @failed_segment and @reason, and holes of memfds which it has filled before stay
 * filled. It checks all memfds and addresses before it fills the first hole. After
 * that it can fail only if there is no memory, no free descriptor or no free file, if
 * a huge page of which only a part is used exceeds a limit, if memory is broken or
 * cannot be pinned, if the caller is killed, or if somebody changes memfds or
 * mappings meanwhile. If there is no reason to give (the struct cannot be read, its
 * size is not known to the kernel, or no descriptor is free), @failed_segment and
 * @reason stay as they are, or @reason is DMABUFX_REASON_NONE.
 */
struct dmabufx_create {
	__u32 size;
	__u32 flags;
	__aligned_u64 segments;
	__u32 nr_segments;
	__u32 segment_size;
	__aligned_u64 name;
	__aligned_u64 data_offset;
	__u32 failed_segment;
	__u32 reason;
};

/**
 * enum dmabufx_reason - why DMABUFX_IOC_CREATE failed
 *
 * The request as a whole:
 * @DMABUFX_REASON_NONE: errno alone explains it: EFAULT, EINVAL and E2BIG about the
 *	struct, as described above; EFAULT, the segments cannot be read; EMFILE,
 *	ENFILE; EINTR, the caller is being killed; ENOMEM, no memory for records
 * @DMABUFX_REASON_FLAGS: EINVAL, a flag that is not known
 * @DMABUFX_REASON_SEGMENT_SIZE: EINVAL, @segment_size is not known
 * @DMABUFX_REASON_NAME: EINVAL, the name is too long; EFAULT, cannot be read
 * @DMABUFX_REASON_TOO_MANY: E2BIG, more segments than the list_limit module
 *	parameter
 * @DMABUFX_REASON_EMPTY: EINVAL, all segments are empty, or there is none
 * @DMABUFX_REASON_MEMLOCK: ENOMEM, the user would exceed RLIMIT_MEMLOCK; EPERM,
 *	the same, and RLIMIT_MEMLOCK is 0
 * @DMABUFX_REASON_MEMFD_LIMIT: EDQUOT, the user would hold more shared memory
 *	than the memfd_limit_mib module parameter allows
 * @DMABUFX_REASON_TOTAL_LIMIT: EDQUOT, all users together would hold more
 *	shared memory than the total_limit_mib module parameter allows
 *
 * A segment:
 * @DMABUFX_REASON_TYPE: EINVAL, its type is not known, or fd is not 0 where it
 *	has to be
 * @DMABUFX_REASON_UNALIGNED: EINVAL, it starts or ends inside a page where it
 *	must not
 * @DMABUFX_REASON_WRAPS: EINVAL, its offset plus its size is beyond 2^64
 * @DMABUFX_REASON_TOO_LARGE: EFBIG, with it the buffer has more than 2^32 - 1
 *	pages
 * @DMABUFX_REASON_NOT_OPEN: EBADF, the descriptor is not open
 * @DMABUFX_REASON_NOT_MEMFD: EBADFD, the descriptor is neither a memfd nor
 *	another file of shmem or hugetlbfs
 * @DMABUFX_REASON_OPEN_MODE: EACCES, the memfd is not opened for reading; or not
 *	for writing, and the buffer is not read-only
 * @DMABUFX_REASON_BEYOND_END: ERANGE, it reaches beyond the last page of the memfd,
 *	or into the last page below 2^63
 * @DMABUFX_REASON_MAY_SHRINK: EPERM, the memfd lacks F_SEAL_SHRINK
 * @DMABUFX_REASON_WRITE_SEALED: EPERM, the memfd has F_SEAL_WRITE or
 *	F_SEAL_FUTURE_WRITE, which allow only a read-only buffer
 * @DMABUFX_REASON_NO_MEMORY: ENOMEM, no memory for a hole, for swapped-out pages or
 *	for the kernel's records; no huge page in the pool or for the caller's
 *	cgroup; or somebody punches holes faster than they are filled
 * @DMABUFX_REASON_PINNED_OFTEN: EMLINK, a page is pinned so often that its counter
 *	could overflow
 * @DMABUFX_REASON_NOT_USER: EFAULT, not an address of user space
 * @DMABUFX_REASON_UNMAPPED: EFAULT, nothing is mapped there
 * @DMABUFX_REASON_PROTECTED: EACCES, mapped without permission to read; or to
 *	write, and the buffer is not read-only
 * @DMABUFX_REASON_DEVICE: EOPNOTSUPP, mapped from a device or from a dma-buf
 * @DMABUFX_REASON_FILE: EOPNOTSUPP, mapped from a file that is not only in memory,
 *	which allows only a read-only buffer, or from a DAX file, which allows none
 * @DMABUFX_REASON_UNPINNABLE: EFAULT or another error of the kernel: memory that
 *	cannot be pinned (secret memory for example)
 * @DMABUFX_REASON_POISONED: EHWPOISON, the machine reported some of it broken
 */
enum dmabufx_reason {
	DMABUFX_REASON_NONE		= 0,

	DMABUFX_REASON_FLAGS		= 1,
	DMABUFX_REASON_SEGMENT_SIZE	= 2,
	DMABUFX_REASON_NAME		= 3,
	DMABUFX_REASON_TOO_MANY		= 4,
	DMABUFX_REASON_EMPTY		= 5,
	DMABUFX_REASON_MEMLOCK		= 6,
	DMABUFX_REASON_MEMFD_LIMIT	= 7,
	DMABUFX_REASON_TOTAL_LIMIT	= 8,

	DMABUFX_REASON_TYPE		= 16,
	DMABUFX_REASON_UNALIGNED	= 17,
	DMABUFX_REASON_WRAPS		= 18,
	DMABUFX_REASON_TOO_LARGE	= 19,
	DMABUFX_REASON_NOT_OPEN		= 20,
	DMABUFX_REASON_NOT_MEMFD	= 21,
	DMABUFX_REASON_OPEN_MODE	= 22,
	DMABUFX_REASON_BEYOND_END	= 23,
	DMABUFX_REASON_MAY_SHRINK	= 24,
	DMABUFX_REASON_WRITE_SEALED	= 25,
	DMABUFX_REASON_NO_MEMORY	= 26,
	DMABUFX_REASON_PINNED_OFTEN	= 27,
	DMABUFX_REASON_NOT_USER		= 28,
	DMABUFX_REASON_UNMAPPED		= 29,
	DMABUFX_REASON_PROTECTED	= 30,
	DMABUFX_REASON_DEVICE		= 31,
	DMABUFX_REASON_FILE		= 32,
	DMABUFX_REASON_UNPINNABLE	= 33,
	DMABUFX_REASON_POISONED		= 34,
};

/* DMABUFX_IOC_CREATE accepts segments of this kind, or this flag. */
#define DMABUFX_FEATURE_MEMFD		0x1	/* DMABUFX_MEMFD */
#define DMABUFX_FEATURE_USER		0x2	/* DMABUFX_USER */
#define DMABUFX_FEATURE_READ_ONLY	0x4	/* DMABUFX_CREATE_READ_ONLY */

/**
 * struct dmabufx_query - answer of DMABUFX_IOC_QUERY
 * @size: sizeof(struct dmabufx_query)
 * @version: returned: the driver's version, major << 16 | minor
 * @features: returned: DMABUFX_FEATURE_*
 * @max_size: returned: size of the largest buffer, bytes
 * @max_segments: returned: most segments of a buffer
 * @reserved: 0
 * @memfd_limit: returned: how much memory of memfds the buffers of the calling user
 *	may pin, bytes; all ones for a caller without limits
 * @memfd_pinned: returned: how much memory of memfds they pin now, bytes
 * @user_limit: returned: RLIMIT_MEMLOCK of the calling process, bytes; all ones
 *	if it is unlimited, or for a caller without limits
 * @user_locked: returned: how much memory of the calling user counts against
 *	RLIMIT_MEMLOCK, bytes, including what others (io_uring, perf, ...) locked
 *
 * The call returns 0, or fails as described above; EINVAL also if @reserved is not 0.
 */
struct dmabufx_query {
	__u32 size;
	__u32 version;
	__aligned_u64 features;
	__aligned_u64 max_size;
	__u32 max_segments;
	__u32 reserved;
	__aligned_u64 memfd_limit;
	__aligned_u64 memfd_pinned;
	__aligned_u64 user_limit;
	__aligned_u64 user_locked;
};

/* Flags of struct dmabufx_info. */
#define DMABUFX_INFO_READ_ONLY		0x1	/* nobody can write through it */
#define DMABUFX_INFO_NO_MMAP		0x2	/* processes cannot map it */
#define DMABUFX_INFO_MEMFD		0x4	/* has shared memory, of memfds */
#define DMABUFX_INFO_USER		0x8	/* has private memory of a process */
#define DMABUFX_INFO_MODULE		0x10	/* made by another module */

/**
 * struct dmabufx_info - answer of DMABUFX_IOC_INFO
 * @size: sizeof(struct dmabufx_info)
 * @fd: a dma-buf that this driver made
 * @flags: returned: DMABUFX_INFO_*
 * @runs: returned: number of its runs, pieces of contiguous memory; 0 for a
 *	caller without CAP_SYS_ADMIN, who must not learn which pages are neighbours
 * @bytes: returned: its size
 * @longest_run: returned: size of the longest run, bytes; 0 for the same callers
 * @smallest_folio: returned: size of the smallest folio of its memory, bytes
 * @largest_folio: returned: size of the largest folio of its memory, bytes
 * @memfd_bytes: returned: how much of it is shared memory, of memfds, that a user
 *	is charged for, bytes; 0 if a module exported a file
 * @user_bytes: returned: how much of it is private memory of a process, bytes
 *
 * The call returns 0, or fails as described above; with EBADF for a descriptor that
 * is not open, EINVAL for one that is not a dma-buf of this driver, EINTR if the
 * caller is killed while the call looks at the folios.
 */
struct dmabufx_info {
	__u32 size;
	__s32 fd;
	__u32 flags;
	__u32 runs;
	__aligned_u64 bytes;
	__aligned_u64 longest_run;
	__aligned_u64 smallest_folio;
	__aligned_u64 largest_folio;
	__aligned_u64 memfd_bytes;
	__aligned_u64 user_bytes;
};

/* The numbers do not contain the structs' sizes, so they never change. */
#define DMABUFX_IOC_CREATE	_IO('u', 0x60)
#define DMABUFX_IOC_QUERY	_IO('u', 0x61)
#define DMABUFX_IOC_INFO	_IO('u', 0x62)

#endif /* _UAPI_LINUX_DMABUFX_H */
