/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * dmabufx: memory becomes a dma-buf.
 *
 * /dev/dmabufx answers the two calls of <linux/udmabuf.h>, UDMABUF_CREATE and
 * UDMABUF_CREATE_LIST: each turns page-aligned ranges of sealed memfds into
 * one dma-buf and returns its file descriptor, opened read-write. Ranges may
 * repeat, overlap and come in any order; holes in them are filled with zeros.
 * UDMABUF_FLAGS_CLOEXEC sets close-on-exec; other flag bits are ignored. The
 * device and the memfds may be opened read-only: it is seals that say whether
 * memory may be written.
 *
 * What the errors mean. A call that fails changes nothing.
 *
 *	EINVAL	an offset or a size is not a multiple of the page size;
 *		the sizes sum to nothing, or to more than 2^32 - 1 pages;
 *		one range is empty or reaches beyond its memfd;
 *		a memfd is not sealed with F_SEAL_SHRINK, or is sealed with
 *		F_SEAL_WRITE or F_SEAL_FUTURE_WRITE;
 *		a list has more items than the list_limit module parameter
 *	EBADFD	a descriptor is not open, or is neither a memfd nor another
 *		file of shmem or hugetlbfs
 *	EFAULT	the request cannot be read
 *	EINTR	the caller is being killed
 *	EMFILE	the caller has no free descriptor
 *	ENFILE	the system has no free file
 *	ENOMEM	no memory for a hole or for the kernel's own records, no
 *		huge page left in the pool that fills the hole, or a page
 *		that is pinned more often than can be counted
 *	ENOTTY	no such call
 */
#ifndef _UAPI_LINUX_DMABUFX_H
#define _UAPI_LINUX_DMABUFX_H

#include <linux/udmabuf.h>

#define DMABUFX_DEVICE	"/dev/dmabufx"

#endif /* _UAPI_LINUX_DMABUFX_H */
