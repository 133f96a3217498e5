/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * The bench's module: measures operations that only the kernel can call.
 *
 * Times are nanoseconds of the kernel's monotonic clock. Each open of
 * /dev/dmabufx-bench is one device that dma-bufs are mapped for, and holds at
 * most one floor.
 */
#ifndef DMABUFX_BENCH_H
#define DMABUFX_BENCH_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * struct dmabufx_bench_map - map a dma-buf for a device, twice
 * @fd: in: the dma-buf
 * @nents: out: entries of the scatterlist, as the device sees them
 * @first: out: attach and map
 * @next: out: map again
 * @last: out: unmap and detach
 */
struct dmabufx_bench_map {
	__s32 fd;
	__u32 nents;
	__u64 first;
	__u64 next;
	__u64 last;
};

/**
 * struct dmabufx_bench_vmap - map a dma-buf into the kernel, twice
 * @fd: in: the dma-buf
 * @pad: zero
 * @first: out: vmap
 * @vunmap: out: vunmap
 * @next: out: vmap again
 */
struct dmabufx_bench_vmap {
	__s32 fd;
	__u32 pad;
	__u64 first;
	__u64 vunmap;
	__u64 next;
};

/**
 * struct dmabufx_bench_floor - the floor: the kernel's own primitives
 * @list: in: ranges of memfds, an array of &struct udmabuf_create_item
 * @count: in: how many
 * @folios: out: number of folios in them
 * @runs: out: number of physically contiguous pieces
 * @pad: zero
 * @pin: out: memfd_pin_folios() of each range
 * @map_first: out: sg_alloc_table(), sg_set_page() of each run,
 *	dma_map_sgtable()
 * @map_next: out: dma_map_sgtable()
 * @map_last: out: dma_unmap_sgtable(), sg_free_table()
 * @vmap: out: vmap(), without the time to fill the array of pages
 * @vunmap: out: vunmap()
 *
 * The memory stays pinned, and can be mapped by mmap(), until
 * DMABUFX_BENCH_UNPIN or close.
 */
struct dmabufx_bench_floor {
	__u64 list;
	__u32 count;
	__u32 folios;
	__u32 runs;
	__u32 pad;
	__u64 pin;
	__u64 map_first;
	__u64 map_next;
	__u64 map_last;
	__u64 vmap;
	__u64 vunmap;
};

/**
 * struct dmabufx_bench_pin - the floor for user memory
 * @address: in: memory of the caller
 * @size: in: bytes, a multiple of the page size
 * @pin: out: pin_user_pages_fast() of all of it, without allocating the array
 * @unpin: out: unpin_user_pages()
 */
struct dmabufx_bench_pin {
	__u64 address;
	__u64 size;
	__u64 pin;
	__u64 unpin;
};

/**
 * struct dmabufx_bench_hold - keep a dma-buf mapped for devices
 * @fd: in: the dma-buf
 * @count: in: how many attachments, at most 16; 0 ends those that are held
 * @attach: out: the first attach and detach, without a mapping
 *
 * Each is attached and mapped until the next such call or close.
 */
struct dmabufx_bench_hold {
	__s32 fd;
	__u32 count;
	__u64 attach;
};

#define DMABUFX_BENCH_MAP	_IOWR('X', 0x90, struct dmabufx_bench_map)
#define DMABUFX_BENCH_VMAP	_IOWR('X', 0x91, struct dmabufx_bench_vmap)
#define DMABUFX_BENCH_FLOOR	_IOWR('X', 0x92, struct dmabufx_bench_floor)
#define DMABUFX_BENCH_UNPIN	_IOR('X', 0x93, __u64)	/* unpin_folio() of each */
/* Exports a dma-buf without memory; the result is its descriptor. */
#define DMABUFX_BENCH_EXPORT	_IO('X', 0x94)

#define DMABUFX_BENCH_PIN	_IOWR('X', 0x95, struct dmabufx_bench_pin)
#define DMABUFX_BENCH_HOLD	_IOWR('X', 0x96, struct dmabufx_bench_hold)

#endif /* DMABUFX_BENCH_H */
