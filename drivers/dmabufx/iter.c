// SPDX-License-Identifier: GPL-2.0-only
/*
 * What iterators describe: as pages, for whoever fills a table of them.
 *
 * Memory of a user iterator is pinned, and always for the long term: what is
 * made of it lives as long as somebody likes. iov_iter_extract_pages() of
 * kernels up to 7.2 pins for a short time, which leaves the pages where they
 * block the migration of ZONE_MOVABLE and CMA, and admits files whose pages
 * are written back beneath the device. Memory of a kernel iterator is only
 * listed; its owner keeps it.
 *
 * An iterator moves by exactly what was taken from it, and not at all on error.
 */
#include <linux/dmabufx.h>
#include <linux/export.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/uio.h>

#include "dmabufx.h"

/* Pins what one segment of a user iterator holds, up to the limits. */
static ssize_t pin_segment(struct iov_iter *iter, struct page **pages,
			   size_t maxsize, unsigned int maxpages,
			   size_t *offset0)
{
	unsigned int flags = FOLL_LONGTERM;
	struct iov_iter at = *iter;
	unsigned long addr;
	size_t offset, size;
	int nr;

	/* Leaves segments behind that are empty or used up. */
	iov_iter_advance(&at, 0);
	if (!at.nr_segs || !current->mm)
		return -EFAULT;

	addr = (unsigned long)iter_iov_addr(&at);
	offset = offset_in_page(addr);
	size = min3(maxsize, iter_iov_len(&at),
		    min(maxpages, INT_MAX) * PAGE_SIZE - offset);

	if (iov_iter_rw(iter) == READ)
		flags |= FOLL_WRITE;
	if (iter->nofault)
		flags |= FOLL_NOFAULT;

	nr = pin_user_pages_fast(addr - offset,
				 DIV_ROUND_UP(offset + size, PAGE_SIZE),
				 flags, pages);
	if (nr <= 0)
		return nr ?: -EFAULT;

	size = min(size, nr * PAGE_SIZE - offset);
	iov_iter_advance(iter, size);
	*offset0 = offset;
	return size;
}

/**
 * dmabufx_extract_mode - how extracted memory must be released
 * @iter: an iterator, of any kind
 *
 * Context: any.
 * Return: %DMABUFX_EXTRACT_PIN when what is extracted from @iter gets a pin for
 * each page, which the caller drops by unpin_user_page(), marking the page
 * dirty if it was written; 0 when nothing is taken, and whoever made the
 * iterator keeps the memory until the extracted list is no longer used.
 */
unsigned int dmabufx_extract_mode(const struct iov_iter *iter)
{
	return user_backed_iter(iter) ? DMABUFX_EXTRACT_PIN : 0;
}
EXPORT_SYMBOL_GPL(dmabufx_extract_mode);

/**
 * dmabufx_extract_pages - list the pages of the next piece of an iterator
 * @iter: a user iterator (UBUF, IOVEC); advanced by what was taken
 * @pages: where to, room for @maxpages
 * @maxsize: most bytes to take
 * @maxpages: most pages to take
 * @offset0: receives where in the first page the piece begins, bytes
 *
 * The piece ends at one of the limits, with the iterator's current segment, or
 * where no further page is to be had: a short answer is no error. Call again
 * for the rest; an error is met by the call that can take nothing else. No
 * other limit applies, %MAX_RW_COUNT for one.
 *
 * The pages of a user iterator are pinned with %FOLL_LONGTERM, and %FOLL_WRITE
 * where the iterator is a destination. Its addresses are those of the current
 * process. They need no validation: an address that user space may not have,
 * a length that wraps included, is -EFAULT. What iov_iter.nofault says is
 * respected.
 *
 * Context: process context; may sleep, and takes the mmap lock.
 * Return: bytes taken, and so DIV_ROUND_UP(*@offset0 + bytes, PAGE_SIZE) pages;
 * 0 at the end of the iterator or when a limit is 0; otherwise nothing was
 * taken, and -EFAULT says that there is no memory there, or none that may be
 * pinned (so), -EOPNOTSUPP that the iterator is of another kind, and the other
 * errors are those of pin_user_pages_fast().
 */
ssize_t dmabufx_extract_pages(struct iov_iter *iter, struct page **pages,
			      size_t maxsize, unsigned int maxpages,
			      size_t *offset0)
{
	maxsize = min(maxsize, iov_iter_count(iter));
	if (!maxsize || !maxpages)
		return 0;

	if (user_backed_iter(iter))
		return pin_segment(iter, pages, maxsize, maxpages, offset0);
	return -EOPNOTSUPP;
}
EXPORT_SYMBOL_GPL(dmabufx_extract_pages);
