/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * dmabufx for other kernel modules: what an iterator describes, as pages,
 * a bvec or a scatterlist.
 *
 * Each function is documented where it is defined. All of them are exported
 * to GPL modules only and run in process context; those that take memory from
 * a user iterator may sleep on the memory that they fault in.
 */
#ifndef LINUX_DMABUFX_H
#define LINUX_DMABUFX_H

#include <linux/types.h>

struct iov_iter;
struct page;

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

#endif /* LINUX_DMABUFX_H */
