/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * dmabufx: memory becomes a dma-buf.
 *
 * /dev/dmabufx answers the two calls of <linux/udmabuf.h>, UDMABUF_CREATE and
 * UDMABUF_CREATE_LIST, and one of its own, DMABUFX_IOC_CREATE. All of them turn
 * ranges of memory into one dma-buf and return its file descriptor. Ranges may
 * repeat, overlap and come in any order. DMABUFX_IOC_QUERY tells what the driver
 * can do, DMABUFX_IOC_INFO what is in a dma-buf. The device may be opened
 * read-only.
 *
 * Structs begin with their size, as the program knows them. What a newer
 * kernel's has beyond that is taken for zero; what a newer program's has beyond
 * the kernel's must be zero, or the call fails with E2BIG. A size smaller than
 * the first version's is EINVAL, a struct that cannot be read or written EFAULT.
 *
 *
 * Brackets of CPU access
 * ----------------------
 * What the CPU does with the memory, by whatever mapping, belongs between
 * DMA_BUF_SYNC_START and DMA_BUF_SYNC_END with the same flags. Brackets may
 * overlap, of one process or of several, and of drivers. While one with
 * DMA_BUF_SYNC_WRITE is open the memory is the CPU's: devices must not write,
 * and what they write is lost. While none is open, or only such for reading,
 * devices may write, and whoever begins a bracket finds what they wrote. What
 * the CPU wrote, devices find when that bracket has ended. Each is to be ended
 * once; it is over, too, when the process that began it dies or calls exec().
 *
 *
 * The udmabuf calls
 * -----------------
 * take page-aligned ranges of sealed memfds; holes in them are filled with
 * zeros. The page that a memfd ends in exists as a whole, so a range may go on
 * to its end. The dma-buf is opened read-write; read-only, and nobody can write
 * through it, if one of the memfds is opened read-only.
 * UDMABUF_FLAGS_CLOEXEC sets close-on-exec; other flag bits are ignored.
 *
 * What the errors mean. A call that fails changes nothing, but that holes which
 * it has filled by then stay filled. All descriptors, their modes and seals, and
 * the memfds' sizes are looked at before the first is filled. What is found out
 * later is a lack of memory or of a free descriptor or file, a limit that is
 * reached by a huge page of which only a part is used, broken memory, a kill,
 * and a memfd that somebody changes meanwhile.
 *
 *	EINVAL	an offset or a size is not a multiple of the page size;
 *		the sizes sum to nothing, or to more than 2^32 - 1 pages;
 *		one range is empty, or reaches beyond the page that its
 *		memfd ends in;
 *		a memfd is not sealed with F_SEAL_SHRINK, or is sealed with
 *		F_SEAL_WRITE or F_SEAL_FUTURE_WRITE;
 *		a list has more items than the list_limit module parameter
 *	EACCES	a memfd is not opened for reading
 *	EBADFD	a descriptor is not open, or is neither a memfd nor another
 *		file of shmem or hugetlbfs
 *	EDQUOT	the user would hold more memory of memfds pinned than
 *		the memfd_limit_mib module parameter allows, or all
 *		users together more than total_limit_mib
 *	EFAULT	the request cannot be read
 *	EHWPOISON	the machine reported memory of it broken
 *	EINTR	the caller is being killed
 *	EMFILE	the caller has no free descriptor
 *	ENFILE	the system has no free file
 *	ENOMEM	no memory for a hole or for the kernel's own records, no
 *		huge page left in the pool that fills the hole, or none that
 *		the caller's cgroup may have; holes are made faster than they
 *		are filled; or a page that is pinned more often than can be
 *		counted
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
 *	private or shared, shmem, hugetlb; what is mapped from other files only
 *	for a read-only buffer
 */
enum dmabufx_segment_type {
	DMABUFX_MEMFD	= 0,
	DMABUFX_USER	= 1,
};

/**
 * struct dmabufx_segment - a piece of memory
 * @fd: DMABUFX_MEMFD: the memfd; DMABUFX_USER: 0
 * @type: enum dmabufx_segment_type
 * @offset: DMABUFX_MEMFD: where in the memfd, bytes
 * @address: DMABUFX_USER: where in the caller's address space
 * @size: bytes; a segment of none is skipped
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
 * mappings cannot be made writable, devices can map it for reading only (EACCES
 * otherwise; in Linux 6.12 also for each importer that lets memory be moved,
 * since that is mapped for both directions when it attaches), and drivers that
 * want it mapped for the kernel, to read or to write, cannot.
 * Others may still write the memory itself, unless seals forbid it.
 */
#define DMABUFX_CREATE_READ_ONLY	0x2

/**
 * struct dmabufx_create - what DMABUFX_IOC_CREATE takes
 * @size: sizeof(struct dmabufx_create)
 * @flags: DMABUFX_CREATE_*
 * @segments: address of an array of struct dmabufx_segment
 * @nr_segments: how many there are
 * @segment_size: sizeof(struct dmabufx_segment)
 * @name: address of a name for the dma-buf, as DMA_BUF_SET_NAME takes it, or 0
 * @data_offset: returned on success: where in the buffer the first byte of the
 *	first segment lies
 * @failed_segment: returned on failure: the index of the segment that is to
 *	blame, or @nr_segments where it is the request as a whole
 * @reason: returned on failure: enum dmabufx_reason
 *
 * The buffer consists of whole pages. The first segment that is not empty may
 * start within a page, and the last one may end within one; the buffer then has
 * the rest of these pages, too. All other borders are page-aligned.
 *
 * The page that a memfd ends in exists as a whole: a segment may go on to its
 * end. What is behind the memfd's end there is zeros, unless somebody wrote it
 * through a mapping. The last page below 2^63 is never taken.
 *
 * Pages of a memfd stay in the buffer when holes are punched around them. A
 * hole that is punched into a large folio, or a cut through it, becomes zeros
 * in the buffer, too; memfd and buffer go on sharing that folio.
 *
 * Memory of the caller's own addresses stays that memory for as long as the
 * dma-buf lives, whatever the caller maps there later, forks or exits. Private
 * memory counts against RLIMIT_MEMLOCK for as long. Shared memory, which is that
 * of files (memfds, shared mappings), counts against limits of its own, whether
 * it is named by address or by descriptor: the module parameters
 * memfd_limit_mib, for each user, and total_limit_mib, for all users together.
 * Pages count each time that they are in a buffer; a large folio (a huge page)
 * of which a buffer has only a part counts as a whole beside that, once for each
 * user, since the buffer keeps all of it. None of the limits binds a caller with
 * CAP_IPC_LOCK.
 *
 * The call returns the dma-buf's descriptor, or fails and changes nothing but
 * @failed_segment and @reason, and holes of memfds that it has filled by then.
 * All memfds and addresses are looked at before the first hole is filled. What is
 * found out later is a lack of memory or of a free descriptor or file, a limit
 * that is reached by a huge page of which only a part is used, broken memory,
 * addresses that cannot be pinned, a kill, and memfds or mappings that somebody
 * changes meanwhile. Where there is no reason to give (the struct
 * cannot be read, has a size that the kernel does not know, or no descriptor
 * is free) they stay as they are or say DMABUFX_REASON_NONE.
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
 * @DMABUFX_REASON_NONE: errno tells it all: EFAULT, EINVAL and E2BIG about the
 *	struct, as said above; EFAULT, the segments cannot be read; EMFILE,
 *	ENFILE; EINTR, the caller is being killed; ENOMEM, no memory for records
 * @DMABUFX_REASON_FLAGS: EINVAL, a flag that is not known
 * @DMABUFX_REASON_SEGMENT_SIZE: EINVAL, @segment_size is not known
 * @DMABUFX_REASON_NAME: EINVAL, the name is too long; EFAULT, cannot be read
 * @DMABUFX_REASON_TOO_MANY: E2BIG, more segments than the list_limit module
 *	parameter
 * @DMABUFX_REASON_EMPTY: EINVAL, all segments are empty, or there is none
 * @DMABUFX_REASON_MEMLOCK: ENOMEM, the user would hold more than
 *	RLIMIT_MEMLOCK; EPERM, and that is 0
 * @DMABUFX_REASON_MEMFD_LIMIT: EDQUOT, the user would hold more shared memory
 *	than the memfd_limit_mib module parameter
 * @DMABUFX_REASON_TOTAL_LIMIT: EDQUOT, all users together would hold more
 *	shared memory than the total_limit_mib module parameter
 *
 * A segment:
 * @DMABUFX_REASON_TYPE: EINVAL, its type is not known, or fd is not 0 where it
 *	has to be
 * @DMABUFX_REASON_UNALIGNED: EINVAL, it starts or ends inside a page where it
 *	must not
 * @DMABUFX_REASON_WRAPS: EINVAL, its offset and size go beyond 2^64
 * @DMABUFX_REASON_TOO_LARGE: EFBIG, with it the buffer has more than 2^32 - 1
 *	pages
 * @DMABUFX_REASON_NOT_OPEN: EBADF, the descriptor is not open
 * @DMABUFX_REASON_NOT_MEMFD: EBADFD, the descriptor is neither a memfd nor
 *	another file of shmem or hugetlbfs
 * @DMABUFX_REASON_OPEN_MODE: EACCES, the memfd is not opened for reading, or
 *	for a buffer that is not read-only not for writing
 * @DMABUFX_REASON_BEYOND_END: ERANGE, it reaches beyond the page that the memfd
 *	ends in, or into the last page below 2^63
 * @DMABUFX_REASON_MAY_SHRINK: EPERM, the memfd lacks F_SEAL_SHRINK
 * @DMABUFX_REASON_WRITE_SEALED: EPERM, the memfd has F_SEAL_WRITE or
 *	F_SEAL_FUTURE_WRITE, which allow only a read-only buffer
 * @DMABUFX_REASON_NO_MEMORY: ENOMEM, for a hole, swapped-out memory or the
 *	kernel's records; no huge page is left in the pool, or for the caller's
 *	cgroup; or somebody makes holes faster than they are filled
 * @DMABUFX_REASON_PINNED_OFTEN: EMLINK, a page is pinned more often than can
 *	be counted
 * @DMABUFX_REASON_NOT_USER: EFAULT, not an address of user space
 * @DMABUFX_REASON_UNMAPPED: EFAULT, nothing is mapped there
 * @DMABUFX_REASON_PROTECTED: EACCES, mapped without the permission to read, or
 *	for a buffer that is not read-only to write
 * @DMABUFX_REASON_DEVICE: EOPNOTSUPP, mapped from a device, another dma-buf
 *	included
 * @DMABUFX_REASON_FILE: EOPNOTSUPP, mapped from a file that is not in memory
 *	alone, which allows only a read-only buffer, or no buffer (DAX)
 * @DMABUFX_REASON_UNPINNABLE: EFAULT or what the kernel said: memory that
 *	cannot be pinned (secret memory for one)
 * @DMABUFX_REASON_POISONED: EHWPOISON, the machine reported it broken
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

/* DMABUFX_IOC_CREATE takes segments of this kind, and this flag. */
#define DMABUFX_FEATURE_MEMFD		0x1	/* DMABUFX_MEMFD */
#define DMABUFX_FEATURE_USER		0x2	/* DMABUFX_USER */
#define DMABUFX_FEATURE_READ_ONLY	0x4	/* DMABUFX_CREATE_READ_ONLY */

/**
 * struct dmabufx_query - what DMABUFX_IOC_QUERY tells
 * @size: sizeof(struct dmabufx_query)
 * @version: returned: the driver's version, major << 16 | minor
 * @features: returned: DMABUFX_FEATURE_*
 * @max_size: returned: the largest buffer, bytes; in no more than 134,217,727
 *	pieces of contiguous memory (half a TiB of single pages), or ENOMEM
 * @max_segments: returned: most segments of a buffer
 * @reserved: 0
 * @memfd_limit: returned: what the buffers of the calling user may pin of
 *	memfds, bytes; all ones for a caller who is exempt
 * @memfd_pinned: returned: what they pin of memfds, bytes
 * @user_limit: returned: RLIMIT_MEMLOCK of the calling process, bytes; all ones
 *	where there is none, or for a caller who is exempt
 * @user_locked: returned: what counts against it for the calling user, bytes,
 *	that of others than this driver (io_uring, perf, ...) included
 *
 * The call returns 0, or fails as said above; EINVAL also if @reserved is not 0.
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

/* What dmabufx_info.flags tells of a dma-buf. */
#define DMABUFX_INFO_READ_ONLY		0x1	/* nobody can write through it */
#define DMABUFX_INFO_NO_MMAP		0x2	/* processes cannot map it */
#define DMABUFX_INFO_MEMFD		0x4	/* has shared memory, of memfds */
#define DMABUFX_INFO_USER		0x8	/* has private memory of a process */
#define DMABUFX_INFO_MODULE		0x10	/* made by another module */

/**
 * struct dmabufx_info - what DMABUFX_IOC_INFO tells
 * @size: sizeof(struct dmabufx_info)
 * @fd: a dma-buf that this driver made
 * @flags: returned: DMABUFX_INFO_*
 * @runs: returned: how many pieces of contiguous memory it consists of; 0 for a
 *	caller without CAP_SYS_ADMIN, who is not told which pages are neighbours
 * @bytes: returned: its size
 * @longest_run: returned: the longest of these pieces, bytes; 0 likewise
 * @smallest_folio: returned: of the folios that it lies in, bytes
 * @largest_folio: returned: likewise
 * @memfd_bytes: returned: how much of it is shared memory, of memfds, that a user
 *	is charged for, bytes; 0 if a module exported a file
 * @user_bytes: returned: how much of it is private memory of a process, bytes
 *
 * The call returns 0, or fails as said above; with EBADF for a descriptor that
 * is not open, EINVAL for one that is not a dma-buf of this driver, EINTR when the
 * caller is killed while the folios are looked at.
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

/* Structs carry their size, so the numbers do not: they never change. */
#define DMABUFX_IOC_CREATE	_IO('u', 0x60)
#define DMABUFX_IOC_QUERY	_IO('u', 0x61)
#define DMABUFX_IOC_INFO	_IO('u', 0x62)

#endif /* _UAPI_LINUX_DMABUFX_H */
