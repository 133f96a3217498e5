/* SPDX-License-Identifier: MIT */
/*
 * kexport's files in /sys/kernel/debug/kexport:
 *
 *	kvmalloc, vmalloc, slab, pages, wc, user, file
 *			make dma-bufs of that kind of memory, by KEXPORT_GET;
 *			wc: pages with write combining, on x86
 *	peek		reads a file through its pages, by KEXPORT_PEEK
 *	live		number of live dma-bufs
 */
#ifndef KEXPORT_H
#define KEXPORT_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * struct kexport_get - argument of KEXPORT_GET
 * @size: bytes, a multiple of the page size
 * @offset: "file": where in it, bytes; "user": an address of the caller's; both a
 *	multiple of the page size
 * @file: "file": an open descriptor; ignored for the others
 * @read_only: if not 0, nobody can write through the dma-buf
 */
struct kexport_get {
	__u64 size;
	__u64 offset;
	__s32 file;
	__u32 read_only;
};

/*
 * Returns the descriptor of a new dma-buf, or fails like dmabufx_export_iter() or
 * dmabufx_export_file(); ENOMEM if there is no memory. The memory is zero, or that of
 * the file or the program.
 */
#define KEXPORT_GET	_IOW('k', 1, struct kexport_get)

/**
 * struct kexport_peek - argument of KEXPORT_PEEK
 * @size: how many bytes to read
 * @offset: where in the file, bytes
 * @to: address of a buffer for them
 * @file: an open descriptor
 * @zero: 0
 */
struct kexport_peek {
	__u64 size;
	__u64 offset;
	__u64 to;
	__s32 file;
	__u32 zero;
};

/* Returns 0, or fails like dmabufx_vmap_file(). */
#define KEXPORT_PEEK	_IOW('k', 2, struct kexport_peek)

#endif /* KEXPORT_H */
