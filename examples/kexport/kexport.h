/* SPDX-License-Identifier: MIT */
/*
 * kexport's files in /sys/kernel/debug/kexport:
 *
 *	kvmalloc, vmalloc, slab, pages, wc, user, file
 *			make dma-bufs, each of another kind of memory, by KEXPORT_GET;
 *			wc is pages that the CPU combines its writes to, on x86
 *	peek		reads a file by way of its memory, by KEXPORT_PEEK
 *	live		how many of the dma-bufs there are
 */
#ifndef KEXPORT_H
#define KEXPORT_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * struct kexport_get - what is wanted
 * @size: bytes, a multiple of the page size
 * @offset: of "file": where in it, bytes; of "user": an address of the caller's; a
 *	multiple of the page size
 * @file: of "file": an open descriptor; ignored for the others
 * @read_only: not 0: nobody can write through the dma-buf
 */
struct kexport_get {
	__u64 size;
	__u64 offset;
	__s32 file;
	__u32 read_only;
};

/*
 * Returns the descriptor of a new dma-buf, or fails as dmabufx_export_iter() or
 * dmabufx_export_file() does; ENOMEM where there is no memory. The memory is
 * zero, or what the file or the program has.
 */
#define KEXPORT_GET	_IOW('k', 1, struct kexport_get)

/**
 * struct kexport_peek - what to read
 * @size: bytes
 * @offset: where in the file, bytes
 * @to: address of memory for them
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

/* Returns 0, or fails as dmabufx_vmap_file() does. */
#define KEXPORT_PEEK	_IOW('k', 2, struct kexport_peek)

#endif /* KEXPORT_H */
