/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * dmabufx for other kernel modules: what an iterator or a kernel address range
 * describes, as pages, a bvec or a scatterlist.
 *
 * Each function is documented where it is defined. All of them are exported to
 * GPL modules only, and run in process context.
 */
#ifndef LINUX_DMABUFX_H
#define LINUX_DMABUFX_H

#include <linux/types.h>

struct iov_iter;
struct page;
struct scatterlist;
struct sg_table;

/* iter.c: iterators */

/*
 * What dmabufx_extract_mode() answers beside 0: extracted pages are pinned, and
 * go by unpin_user_page() and its relatives. (FOLL_PIN, which says the same, is
 * not for modules to see.)
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

#endif /* LINUX_DMABUFX_H */
