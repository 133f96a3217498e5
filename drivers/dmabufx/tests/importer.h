/* SPDX-License-Identifier: ((GPL-2.0-only WITH Linux-syscall-note) OR MIT) */
/*
 * The test importer's ioctls: user space drives a device driver's side of a
 * dma-buf, of any exporter.
 *
 * Each open of /dev/dmabufx-importer is one importer with a device of its own
 * and at most one attachment. Closing it undoes what is left, in this order:
 * vmap, mapping, attachment.
 *
 * mmap() maps a dma-buf from its beginning, as drivers do for dma-bufs that they have
 * imported. The offset, in pages, is the dma-buf's descriptor. With
 * DMABUFX_IMPORTER_MMAP_CLOSES it repeats what amdxdna does when a fault fails during
 * mmap(): it calls the area's close() without checking that there is one. Then mmap()
 * fails with ECANCELED; or with ENOTTY if there is no close(), where amdxdna crashes.
 */
#ifndef DMABUFX_IMPORTER_H
#define DMABUFX_IMPORTER_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * struct dmabufx_importer_limits - limits of the importer's device
 * @dma_mask: highest address that the device reaches; of the form 2^n - 1
 * @seg_boundary: mask; a segment never crosses a multiple of it plus one; 2^n - 1
 * @max_seg: longest segment that the device takes, bytes
 * @pad: zero
 *
 * Fails with EBUSY while attached.
 */
struct dmabufx_importer_limits {
	__u64 dma_mask;
	__u64 seg_boundary;
	__u32 max_seg;
	__u32 pad;
};

/* Same values as enum dma_data_direction. */
#define DMABUFX_IMPORTER_BIDIRECTIONAL	0
#define DMABUFX_IMPORTER_TO_DEVICE	1
#define DMABUFX_IMPORTER_FROM_DEVICE	2

/* Faults of the mapping's scatterlist, &dmabufx_importer_map.faults. */
#define DMABUFX_SG_OFFSET	0x01 /* an offset of a page or more */
#define DMABUFX_SG_UNALIGNED	0x02 /* a start or length inside a page */
#define DMABUFX_SG_UNMERGED	0x04 /* neighbours that fit in one entry */
#define DMABUFX_SG_TOO_LONG	0x08 /* longer than max_seg */
#define DMABUFX_SG_BOUNDARY	0x10 /* crosses seg_boundary */
#define DMABUFX_SG_MASK		0x20 /* an address beyond dma_mask */
#define DMABUFX_SG_SUM		0x40 /* lengths do not sum to the size */

/**
 * struct dmabufx_importer_map - map the attachment, and check the result
 * @dir: in: DMABUFX_IMPORTER_*
 * @faults: out: DMABUFX_SG_* bits, 0 for a correct scatterlist
 * @orig_nents: out: entries as the CPU sees them; 0 if the kernel hides
 *	them from importers (DMABUF_DEBUG)
 * @nents: out: entries as the device sees them
 * @bytes: out: sum of the device's lengths
 * @longest: out: longest entry as the device sees it, bytes
 * @pad: zero
 */
struct dmabufx_importer_map {
	__u32 dir;
	__u32 faults;
	__u32 orig_nents;
	__u32 nents;
	__u64 bytes;
	__u32 longest;
	__u32 pad;
};

/* How &dmabufx_importer_copy reaches the memory. */
#define DMABUFX_VIA_DEVICE	0 /* where the device's addresses lead */
#define DMABUFX_VIA_SG		1 /* the pages of the scatterlist */
#define DMABUFX_VIA_VMAP	2 /* the kernel mapping */

/**
 * struct dmabufx_importer_copy - read or write the buffer as a driver would
 * @offset: first byte of the buffer
 * @len: bytes; offset + len must lie within the buffer
 * @addr: the caller's memory
 * @via: DMABUFX_VIA_*; the first two need MAP before, the last needs VMAP
 * @write: 0 reads the buffer into @addr, 1 writes to it from there; EFAULT if the
 *	kernel mapping is read-only
 */
struct dmabufx_importer_copy {
	__u64 offset;
	__u64 len;
	__u64 addr;
	__u32 via;
	__u32 write;
};

#define DMABUFX_IMPORTER_LIMITS	_IOW('X', 0x80, struct dmabufx_importer_limits)
#define DMABUFX_IMPORTER_ATTACH	_IO('X', 0x81)	/* arg: the dma-buf's fd */
#define DMABUFX_IMPORTER_DETACH	_IO('X', 0x82)
#define DMABUFX_IMPORTER_MAP	_IOWR('X', 0x83, struct dmabufx_importer_map)
#define DMABUFX_IMPORTER_UNMAP	_IO('X', 0x84)
#define DMABUFX_IMPORTER_VMAP	_IO('X', 0x85)
#define DMABUFX_IMPORTER_VUNMAP	_IO('X', 0x86)
/* arg: direction, and DMABUFX_BY_KERNEL to have a kernel thread do it */
#define DMABUFX_IMPORTER_BEGIN	_IO('X', 0x87)
#define DMABUFX_IMPORTER_END	_IO('X', 0x88)
#define DMABUFX_BY_KERNEL	0x100
#define DMABUFX_IMPORTER_COPY	_IOW('X', 0x89, struct dmabufx_importer_copy)
/*
 * Makes the hardware "edu" of QEMU the importer's device. DMABUFX_VIA_DEVICE is then
 * DMA that it does, slowly. ENODEV if there is none, EBUSY while attached.
 * DMABUFX_IMPORTER_LIMITS is refused afterwards.
 */
#define DMABUFX_IMPORTER_HARDWARE	_IO('X', 0x8a)
/* Like ATTACH, for an importer that lets the exporter move the memory. */
#define DMABUFX_IMPORTER_ATTACH_DYNAMIC	_IO('X', 0x8b)
/*
 * Does what no importer may do, bypassing the checks of the core. Needs an
 * attachment without a mapping; arg is one of:
 *
 * DMABUFX_UNMAP_TWICE: unmap a mapping twice
 * DMABUFX_UNMAP_ANOTHER: unmap a mapping with a wrong scatterlist, and after that
 *	with the right one
 * DMABUFX_DETACH_MAPPED: detach without unmapping
 * DMABUFX_SPOIL_PAGES: write other pages into the scatterlist, as Linux itself does
 *	up to 7.0 with DMABUF_DEBUG, and unmap. EOPNOTSUPP without DMABUF_DEBUG, since
 *	the table is the exporter's there
 */
#define DMABUFX_IMPORTER_ABUSE	_IO('X', 0x8c)
#define DMABUFX_UNMAP_TWICE	0
#define DMABUFX_UNMAP_ANOTHER	1
#define DMABUFX_DETACH_MAPPED	2
#define DMABUFX_SPOIL_PAGES	3

/**
 * struct dmabufx_importer_entry - look at the caller's page table
 * @addr: an address in a mapping of page frames, accessed before
 * @write_combined: out: whether writes are combined there
 * @pad: zero
 */
struct dmabufx_importer_entry {
	__u64 addr;
	__u32 write_combined;
	__u32 pad;
};

#define DMABUFX_IMPORTER_ENTRY	_IOWR('X', 0x8d, struct dmabufx_importer_entry)

/* Flag in the offset of mmap(), in pages. */
#define DMABUFX_IMPORTER_MMAP_CLOSES	0x40000000ull

/*
 * Returns a descriptor of a dma-buf of one page of the importer's. The importer
 * is not linked to dmabufx: it gets and puts the function by symbol_get() and
 * symbol_put(). ENXIO if dmabufx is not loaded.
 */
#define DMABUFX_IMPORTER_EXPORT	_IO('X', 0x8e)

/*
 * Maps to the device in a thread that is being killed, and unmaps again. Fails like
 * MAP, and with EINTR if mapping takes long.
 */
#define DMABUFX_IMPORTER_MAP_KILLED	_IO('X', 0x8f)

#endif /* DMABUFX_IMPORTER_H */
