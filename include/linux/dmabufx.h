/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * dmabufx for other kernel modules: lists the memory of an iterator or of a kernel
 * address range as pages, a bvec or a scatterlist, and makes dma-bufs of iterators and
 * files. It can also map a range of a file at a kernel address.
 *
 * Each function is documented where it is defined. All of them are exported to
 * GPL modules only, and run in process context.
 */
#ifndef LINUX_DMABUFX_H
#define LINUX_DMABUFX_H

#include <linux/bits.h>
#include <linux/types.h>

struct dma_buf;
struct file;
struct iov_iter;
struct module;
struct page;
struct scatterlist;
struct sg_table;

/* iter.c: iterators */

/*
 * Answer of dmabufx_extract_mode(): extracted pages are pinned, and released by
 * unpin_user_page() and its relatives. (FOLL_PIN means the same, but modules
 * must not use it.)
 */
#define DMABUFX_EXTRACT_PIN	1U

unsigned int dmabufx_extract_mode(const struct iov_iter *iter);
ssize_t dmabufx_extract_pages(struct iov_iter *iter, struct page **pages,
			      size_t maxsize, unsigned int maxpages,
			      size_t *offset0);

ssize_t dmabufx_extract_user_iter(struct iov_iter *orig, size_t maxsize,
				  struct iov_iter *new, unsigned int max_bvecs);
void dmabufx_release_user_iter(const struct iov_iter *iter, bool dirty);

ssize_t dmabufx_extract_iter_to_sg(struct iov_iter *iter, size_t maxsize,
				   struct sg_table *sgt, unsigned int sg_max);
void dmabufx_release_sg(struct scatterlist *sgl, unsigned int nents,
			bool dirty);

/* kva.c: kernel addresses */

long dmabufx_kva_pages(const void *addr, size_t len, struct page ***pages,
		       unsigned long max_pages, gfp_t gfp);

/* export.c: dma-bufs */

/* Nobody may write through the dma-buf or the mapping. */
#define DMABUFX_READ_ONLY	BIT(0)

/**
 * struct dmabufx_export - the exporter of memory, and flags
 * @owner: %THIS_MODULE of the caller: stays loaded until @release has returned.
 *	It need not be linked to dmabufx, which stays loaded by itself
 * @name: the exporter's name, as fdinfo shows it; not copied
 * @flags: 0 or %DMABUFX_READ_ONLY: the file is opened read-only, processes
 *	cannot map it writable, devices only with %DMA_TO_DEVICE, the kernel
 *	(dma_buf_vmap()) not at all
 * @release: called once, when the last user of the dma-buf is gone and dmabufx
 *	does not use the memory any more; may be NULL. Runs in process context, of
 *	any process or of a kernel thread; may sleep; no lock is held. Not called
 *	if the export fails
 * @data: the argument of @release
 */
struct dmabufx_export {
	struct module *owner;
	const char *name;
	unsigned int flags;
	void (*release)(void *data);
	void *data;
};

struct dma_buf *dmabufx_export_iter(struct iov_iter *iter, size_t size,
				    const struct dmabufx_export *how);
struct dma_buf *dmabufx_export_file(struct file *file, loff_t pos, size_t size,
				    const struct dmabufx_export *how);

/* vmap.c: files at a kernel address */

/**
 * struct dmabufx_file_map - a range of a file in the kernel's address space
 * @addr: where the first byte of it is
 * @size: bytes
 */
struct dmabufx_file_map {
	void *addr;
	size_t size;
};

struct dmabufx_file_map *dmabufx_vmap_file(struct file *file, loff_t pos,
					   size_t size, unsigned int flags);
void dmabufx_vunmap_file(struct dmabufx_file_map *map);

#endif /* LINUX_DMABUFX_H */
