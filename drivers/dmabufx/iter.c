// SPDX-License-Identifier: GPL-2.0-only
/*
 * Iterators: list their memory as pages, as a bvec, as a scatterlist, or as runs.
 *
 * Memory of a user iterator is pinned, always for the long term: the result may live
 * for any time. Memory of a kernel iterator is only listed; its owner keeps it. An
 * iterator is advanced by exactly what was taken from it, and not at all on error.
 *
 * The kernel's iov_iter_advance() is correct everywhere, and is used. The kernel's
 * iov_iter_extract_pages() and extract_iter_to_sg() are not used, for these reasons,
 * in both 6.12 and 7.3 unless one is named:
 *
 *  user	Pins are short-term: such pages stay where they block the migration of
 *		ZONE_MOVABLE and CMA, and pages of files are accepted that are written
 *		back while the device writes to them. A scatterlist loses all earlier
 *		entries, with return value 0, if the limit is larger than the
 *		iterator; after a failure half-way the iterator stays advanced, and
 *		earlier calls' pins are dropped, or pins leak, depending on the value
 *		of orig_nents.
 *  BVEC	7.3 returns 0, which means the end, at two empty segments.
 *  KVEC	Every address is accepted, even one in a hole.
 *  XARRAY	The shadow entry of an evicted page is used as a folio. A scatterlist
 *		silently skips holes. If the array is empty and the start is not
 *		aligned, 6.12 returns bytes without a page; to a scatterlist, 6.12
 *		adds the second folio from the first one's offset on.
 *  FOLIOQ	Slots that were never filled are read.
 *  all		A scatterlist gets one entry for each page or folio, even if they are
 *		contiguous, with offsets beyond a page and more bytes than the
 *		iterator has. A chained table is overrun. Other kinds cause a warning.
 */
#include <linux/bvec.h>
#include <linux/dmabufx.h>
#include <linux/export.h>
#include <linux/folio_queue.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/scatterlist.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uio.h>
#include <linux/xarray.h>

#include "dmabufx.h"

/* Most bytes from the start of an entry's first page: fits a u32, whole pages. */
#define MAX_ENTRY	ALIGN_DOWN((size_t)UINT_MAX, PAGE_SIZE)

/* Pages of a user iterator to pin at a time; the array is on the stack. */
#define BATCH		32

/* iter_iov_len() of 6.12 returns 0 for a UBUF of which half is used up. */
static size_t segment_len(const struct iov_iter *iter)
{
	if (iter_is_ubuf(iter))
		return iov_iter_count(iter);
	return iter_iov(iter)->iov_len - iter->iov_offset;
}

/* Pins pages of one segment of a user iterator, up to the limits. */
static ssize_t pin_segment(struct iov_iter *iter, struct page **pages,
			   size_t maxsize, unsigned int maxpages,
			   size_t *offset0)
{
	unsigned int flags = FOLL_LONGTERM;
	struct iov_iter at = *iter;
	unsigned long addr;
	size_t offset, size, whole;
	unsigned long end;
	int nr;

	/* Skips segments that are empty or used up. */
	iov_iter_advance(&at, 0);
	if (!at.nr_segs || !current->mm)
		return -EFAULT;

	addr = (unsigned long)iter_iov_addr(&at);
	offset = offset_in_page(addr);
	size = min3(maxsize, segment_len(&at),
		    min(maxpages, INT_MAX) * PAGE_SIZE - offset);

	/* The core would return EOVERFLOW, which here means that a buffer is too large. */
	whole = PAGE_ALIGN(offset + size);
	if (check_add_overflow(addr - offset, whole, &end))
		return -EFAULT;

	if (iov_iter_rw(iter) == READ)
		flags |= FOLL_WRITE;
	if (iter->nofault)
		flags |= FOLL_NOFAULT;

	nr = pin_user_pages_fast(addr - offset, whole >> PAGE_SHIFT, flags,
				 pages);
	if (nr <= 0)
		return nr ?: -EFAULT;

	size = min(size, nr * PAGE_SIZE - offset);
	iov_iter_advance(iter, size);
	*offset0 = offset;
	return size;
}

static void bvec_piece(const struct iov_iter *iter, struct dmabufx_piece *piece)
{
	const struct bio_vec *bvec = iter->bvec;
	size_t start = bvec->bv_offset + iter->iov_offset;

	piece->page = bvec->bv_page + (start >> PAGE_SHIFT);
	piece->offset = offset_in_page(start);
	piece->len = bvec->bv_len - iter->iov_offset;
}

/* Folios are in the array at multiples of their size. */
static void xarray_piece(const struct iov_iter *iter,
			 struct dmabufx_piece *piece)
{
	struct folio *folio;
	unsigned long index;
	size_t start;
	loff_t pos;

	/* After an overflow it would continue at the beginning of the array. */
	if (iter->xarray_start < 0 ||
	    check_add_overflow(iter->xarray_start, iter->iov_offset, &pos))
		return;

	index = pos >> PAGE_SHIFT;
	folio = xa_load(iter->xarray, index);
	/* A hole, or the shadow entry of an evicted folio. */
	if (!folio || xa_is_value(folio))
		return;

	index &= folio_nr_pages(folio) - 1;
	start = (index << PAGE_SHIFT) + offset_in_page(pos);
	piece->page = folio_page(folio, index);
	piece->offset = offset_in_page(pos);
	piece->len = folio_size(folio) - start;
}

/* Ends at a slot that was not filled, or whose folio was removed. */
static void folioq_piece(const struct iov_iter *iter,
			 struct dmabufx_piece *piece)
{
	const struct folio_queue *queue = iter->folioq;
	unsigned int slot = iter->folioq_slot;
	size_t start = iter->iov_offset;
	struct folio *folio;

	for (;; slot++) {
		if (slot >= folioq_nr_slots(queue)) {
			queue = queue->next;
			slot = 0;
		}
		if (!queue || slot >= queue->vec.nr)
			return;
		folio = folioq_folio(queue, slot);
		if (!folio)
			return;
		if (start < folio_size(folio))
			break;
		start -= folio_size(folio);
	}

	piece->page = folio_page(folio, start >> PAGE_SHIFT);
	piece->offset = offset_in_page(start);
	piece->len = folio_size(folio) - start;
}

/*
 * Find the next physically contiguous piece of a kernel iterator, of at most @maxsize
 * bytes, which the iterator must have. Length 0 means that the memory ends here, before
 * the iterator does.
 */
static int next_piece(const struct iov_iter *iter, size_t maxsize,
		      struct dmabufx_piece *piece)
{
	struct iov_iter at = *iter;
	int ret = 0;

	piece->len = 0;
	switch (iov_iter_type(iter)) {
	case ITER_BVEC:
		iov_iter_advance(&at, 0);
		if (at.nr_segs)
			bvec_piece(&at, piece);
		break;
	case ITER_KVEC:
		iov_iter_advance(&at, 0);
		if (at.nr_segs)
			ret = dmabufx_kva_piece(at.kvec->iov_base + at.iov_offset,
						min(at.kvec->iov_len - at.iov_offset,
						    maxsize), piece);
		break;
	case ITER_XARRAY:
		xarray_piece(&at, piece);
		break;
	case ITER_FOLIOQ:
		folioq_piece(&at, piece);
		break;
	default:
		return -EOPNOTSUPP;
	}
	if (piece->len)
		piece->len = min3(piece->len, maxsize, MAX_ENTRY - piece->offset);
	return ret;
}

/* List pages of a kernel iterator, as long as its bytes continue from page to page. */
static ssize_t list_pages(struct iov_iter *iter, struct page **pages,
			  size_t maxsize, unsigned int maxpages,
			  size_t *offset0)
{
	struct iov_iter at = *iter;
	struct dmabufx_piece piece;
	unsigned int nr = 0, end;
	size_t size = 0;
	int ret;

	do {
		ret = next_piece(&at, maxsize - size, &piece);
		if (ret || !piece.len || (nr && piece.offset))
			break;
		if (!nr)
			*offset0 = piece.offset;

		piece.len = min(piece.len,
				(maxpages - nr) * PAGE_SIZE - piece.offset);
		end = nr + DIV_ROUND_UP(piece.offset + piece.len, PAGE_SIZE);
		while (nr < end)
			pages[nr++] = piece.page++;

		iov_iter_advance(&at, piece.len);
		size += piece.len;
	} while (size < maxsize && nr < maxpages &&
		 PAGE_ALIGNED(piece.offset + piece.len));

	if (!size)
		return ret ?: -EFAULT;
	*iter = at;
	return size;
}

/**
 * dmabufx_extract_mode - tell how extracted memory must be released
 * @iter: an iterator, of any kind
 *
 * Context: any.
 * Return: %DMABUFX_EXTRACT_PIN if extracting from @iter pins each page; the caller
 * drops the pins by unpin_user_page() and marks pages dirty that were written. 0 if
 * nothing is held; whoever made the iterator keeps the memory until the extracted
 * list is no longer used.
 */
unsigned int dmabufx_extract_mode(const struct iov_iter *iter)
{
	return user_backed_iter(iter) ? DMABUFX_EXTRACT_PIN : 0;
}
EXPORT_SYMBOL_GPL(dmabufx_extract_mode);

/**
 * dmabufx_extract_pages - list the pages of the next piece of an iterator
 * @iter: an iterator (UBUF, IOVEC, BVEC, KVEC, XARRAY, FOLIOQ); advanced by
 *	what was taken
 * @pages: returned: the pages; room for @maxpages
 * @maxsize: most bytes to take
 * @maxpages: most pages to take
 * @offset0: returned: where in the first page the piece begins, bytes; in the other
 *	pages it begins at 0
 *
 * The piece ends at one of the limits, at the end of a segment (of a kernel
 * iterator: inside a page), or where no further page is available. A piece that is
 * shorter than the limits is no error: call again for the rest. An error is returned
 * by a call that can take nothing. There are no other limits, such as %MAX_RW_COUNT.
 *
 * The pages of a user iterator are pinned with %FOLL_LONGTERM, and %FOLL_WRITE
 * if the iterator is a destination. Its addresses are those of the current
 * process. They need no validation: for an address outside user space, or a length
 * that overflows, the error is -EFAULT. iov_iter.nofault is respected.
 *
 * The pages of a kernel iterator are only listed. Those of an XARRAY must not be
 * removed or split meanwhile: the caller locks or references them. KVEC
 * addresses are checked as by dmabufx_kva_pages().
 *
 * Context: process context; for user iterators it may sleep, and takes the mmap
 * lock.
 * Return: the number of bytes taken, in DIV_ROUND_UP(*@offset0 + bytes, PAGE_SIZE)
 * pages; 0 at the end of the iterator or if a limit is 0. On error nothing was taken:
 * -EFAULT, no memory there, or none that may be pinned (in this way); -EOPNOTSUPP,
 * another kind of iterator; others as from pin_user_pages_fast().
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
	return list_pages(iter, pages, maxsize, maxpages, offset0);
}
EXPORT_SYMBOL_GPL(dmabufx_extract_pages);

/**
 * struct table - a scatterlist or an array of bvecs that is being filled
 * @pinned: entries own a pin of each page that they touch
 * @full: there was no room for the last piece
 * @nr: entries so far
 * @max: most entries
 * @last: contents of the last entry
 * @first: a scatterlist: the first entry; NULL for bvecs
 * @sg: a scatterlist: the last entry
 * @bvec: bvecs: the array
 * @capacity: bvecs: its size, entries
 */
struct table {
	bool pinned;
	bool full;
	unsigned int nr;
	unsigned int max;
	struct dmabufx_piece last;
	struct scatterlist *first;
	struct scatterlist *sg;
	struct bio_vec *bvec;
	unsigned int capacity;
};

static int grow_bvecs(struct table *table)
{
	unsigned int capacity = clamp(2 * table->capacity, 16, table->max);
	struct bio_vec *bvec;

	bvec = kvrealloc(table->bvec, array_size(capacity, sizeof(*bvec)),
			 GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!bvec)
		return -ENOMEM;

	table->bvec = bvec;
	table->capacity = capacity;
	return 0;
}

/*
 * Go on to a new entry. A scatterlist may be chained, and its end mark limits it as
 * @max does. Nothing after entry number @max is read.
 */
static int next_entry(struct table *table)
{
	struct scatterlist *sg;

	if (table->nr == table->max)
		return -ENOSPC;

	if (!table->first) {
		if (table->nr == table->capacity && grow_bvecs(table))
			return -ENOMEM;
	} else {
		sg = table->nr ? sg_next(table->sg) : table->first;
		if (!sg)
			return -ENOSPC;
		table->sg = sg;
	}
	table->nr++;
	return 0;
}

/*
 * Returns true if the last entry can grow by the piece. Two pinned pieces within one
 * page cannot be merged: each has a pin of the page, and one entry drops only one.
 * Memory of two devices cannot be merged: it is mapped for DMA in different ways.
 */
static bool continues_last(const struct table *table,
			   const struct dmabufx_piece *piece)
{
	const struct dmabufx_piece *last = &table->last;
	size_t end = last->offset + last->len;

	return table->nr &&
	       last->page + (end >> PAGE_SHIFT) == piece->page &&
	       offset_in_page(end) == piece->offset &&
	       end + piece->len <= MAX_ENTRY &&
	       !(table->pinned && piece->offset) &&
	       zone_device_pages_have_same_pgmap(last->page, piece->page);
}

static int add_piece(struct table *table, const struct dmabufx_piece *piece)
{
	struct dmabufx_piece *last = &table->last;
	int ret;

	if (continues_last(table, piece)) {
		last->len += piece->len;
	} else {
		ret = next_entry(table);
		table->full = ret == -ENOSPC;
		if (ret)
			return ret;
		*last = *piece;
	}

	if (table->first)
		sg_set_page(table->sg, last->page, last->len, last->offset);
	else
		bvec_set_page(&table->bvec[table->nr - 1], last->page,
			      last->len, last->offset);
	return 0;
}

/* Take a batch of a user iterator, or less if the table is full before. */
static ssize_t take_pinned(struct iov_iter *iter, size_t maxsize,
			   struct table *table)
{
	struct page *pages[BATCH];
	struct iov_iter at = *iter;
	struct dmabufx_piece piece;
	unsigned int i, nr;
	ssize_t size;
	size_t taken;
	int ret = 0;

	size = pin_segment(&at, pages, maxsize, BATCH, &piece.offset);
	if (size < 0)
		return size;

	nr = DIV_ROUND_UP(piece.offset + size, PAGE_SIZE);
	for (i = 0, taken = 0; i < nr; i++, taken += piece.len) {
		piece.page = pages[i];
		piece.offset = i ? 0 : piece.offset;
		piece.len = min(size - taken, PAGE_SIZE - piece.offset);
		ret = add_piece(table, &piece);
		if (ret)
			break;
	}
	unpin_user_pages(pages + i, nr - i);
	if (ret == -ENOMEM)
		return ret;

	iov_iter_advance(iter, taken);
	return taken;
}

/* Take a piece of a kernel iterator, or nothing if the table is full. */
static ssize_t take_listed(struct iov_iter *iter, size_t maxsize,
			   struct table *table)
{
	struct dmabufx_piece piece;
	int ret;

	ret = next_piece(iter, maxsize, &piece);
	if (ret || !piece.len)
		return ret;

	ret = add_piece(table, &piece);
	if (ret)
		return ret == -ENOSPC ? 0 : ret;

	iov_iter_advance(iter, piece.len);
	return piece.len;
}

/* On error @iter is unchanged, and the caller has to undo the entries of @table. */
static ssize_t fill_table(struct iov_iter *iter, size_t maxsize,
			  struct table *table)
{
	struct iov_iter at = *iter;
	size_t taken = 0;
	ssize_t ret;

	maxsize = min(maxsize, iov_iter_count(iter));
	if (!maxsize || !table->max)
		return 0;

	do {
		ret = table->pinned ?
		      take_pinned(&at, maxsize - taken, table) :
		      take_listed(&at, maxsize - taken, table);
		if (ret < 0)
			return ret;
		taken += ret;
		cond_resched();
	} while (ret && taken < maxsize && !table->full);

	/* There is room, but the memory ends here, before the iterator does. */
	if (!taken && !table->full)
		return -EFAULT;
	*iter = at;
	return taken;
}

static void unpin_piece(struct page *page, size_t offset, size_t len, bool dirty)
{
	unpin_user_page_range_dirty_lock(page,
					 DIV_ROUND_UP(offset + len, PAGE_SIZE),
					 dirty);
}

static void release_bvecs(const struct bio_vec *bvec, unsigned long nr,
			  bool dirty)
{
	unsigned long i;

	for (i = 0; i < nr; i++)
		unpin_piece(bvec[i].bv_page, bvec[i].bv_offset, bvec[i].bv_len,
			    dirty);
	kvfree(bvec);
}

/**
 * dmabufx_extract_user_iter - pin a user iterator's memory and make a BVEC iterator of it
 * @orig: the user iterator (UBUF, IOVEC); advanced by what was taken
 * @maxsize: most bytes to take
 * @new: returned: a BVEC iterator of the same direction over what was taken;
 *	needs no initialisation
 * @max_bvecs: most entries that its array may have
 *
 * After netfs_extract_user_iter(), by David Howells. @new stays valid when the user's
 * mappings or @orig are gone, and may be passed to another context. Physically
 * contiguous pages become one entry, whatever mapping they come from. Takes as much as
 * the limits allow: call again, with another @new, for the rest. Pages are pinned as by
 * dmabufx_extract_pages().
 *
 * The array of @new is allocated. dmabufx_release_user_iter() frees it and drops
 * the pins.
 *
 * Context: process context, may sleep; takes the mmap lock.
 * Return: the number of bytes taken, which may be 0 at the end of @orig or if a limit
 * is 0; @new is then valid and empty. -EOPNOTSUPP for other iterators, -ENOMEM, or an
 * error of dmabufx_extract_pages() if any of the memory cannot be pinned; then nothing
 * is pinned, and @orig and @new are unchanged.
 */
ssize_t dmabufx_extract_user_iter(struct iov_iter *orig, size_t maxsize,
				  struct iov_iter *new, unsigned int max_bvecs)
{
	struct table table = { .pinned = true, .max = max_bvecs };
	ssize_t ret;

	if (!user_backed_iter(orig))
		return -EOPNOTSUPP;

	ret = fill_table(orig, maxsize, &table);
	if (ret < 0) {
		release_bvecs(table.bvec, table.nr, false);
		return ret;
	}
	iov_iter_bvec(new, iov_iter_rw(orig), table.bvec, table.nr, ret);
	return ret;
}
EXPORT_SYMBOL_GPL(dmabufx_extract_user_iter);

/**
 * dmabufx_release_user_iter - release the result of dmabufx_extract_user_iter()
 * @iter: @new as it was returned. If you advance it, keep a copy for this call
 * @dirty: the memory was, or may have been, written
 *
 * Frees the array and drops the pins. Do not call it after an error.
 *
 * Context: process context, may sleep; of any process.
 */
void dmabufx_release_user_iter(const struct iov_iter *iter, bool dirty)
{
	release_bvecs(iter->bvec, iter->nr_segs, dirty);
}
EXPORT_SYMBOL_GPL(dmabufx_release_user_iter);

/* Returns entry number @nr of a scatterlist, NULL if the list ends before it. */
static struct scatterlist *sg_entry(struct scatterlist *sg, unsigned int nr)
{
	while (sg && nr--)
		sg = sg_next(sg);
	return sg;
}

/**
 * dmabufx_release_sg - drop the pins of scatterlist entries
 * @sgl: the first of the entries
 * @nents: how many, as added by dmabufx_extract_iter_to_sg()
 * @dirty: the memory was, or may have been, written
 *
 * For entries of a user iterator: dmabufx_extract_mode() tells which those are. They
 * must not be mapped for a device any more. The list itself does not change.
 *
 * Context: process context, may sleep; of any process.
 */
void dmabufx_release_sg(struct scatterlist *sgl, unsigned int nents, bool dirty)
{
	struct scatterlist *sg = sgl;
	unsigned int i;

	for (i = 0; i < nents; i++) {
		sg = i ? sg_next(sg) : sgl;
		unpin_piece(sg_page(sg), sg->offset, sg->length, dirty);
	}
}
EXPORT_SYMBOL_GPL(dmabufx_release_sg);

/* Remove the entries of a call that failed, and drop their pins. */
static void undo_sg(struct table *table)
{
	struct scatterlist *sg = table->first;
	unsigned int i;

	if (table->pinned)
		dmabufx_release_sg(table->first, table->nr, false);
	for (i = 0; i < table->nr; i++) {
		sg = i ? sg_next(sg) : sg;
		sg_set_page(sg, NULL, 0, 0);
	}
}

/**
 * dmabufx_extract_iter_to_sg - add an iterator's memory to a scatterlist
 * @iter: an iterator (UBUF, IOVEC, BVEC, KVEC, XARRAY, FOLIOQ); advanced by what
 *	was taken
 * @maxsize: most bytes to take
 * @sgt: the table. Its first @sgt->nents entries are in use and stay as they are;
 *	new ones follow, and are added to @sgt->nents. @sgt->orig_nents is neither
 *	read nor written. The table may be chained
 * @sg_max: most entries to add. The table must have room for them, or an end mark
 *	before, which also ends the filling. No end mark is set
 *
 * After netfs_extract_iter_to_sg(), by David Howells. An entry is physically
 * contiguous memory, merged across pages, folios and segments, with an offset below
 * %PAGE_SIZE and a length that fits 32 bits as whole pages. An entry that an earlier
 * call added is not extended. Takes as much as the limits allow: call again, with the
 * next table, for the rest. XARRAY and FOLIOQ iterators also end where folios are
 * missing.
 *
 * Memory of a user iterator is pinned as by dmabufx_extract_pages();
 * dmabufx_release_sg() drops the pins. Memory of a kernel iterator is only listed,
 * with the same duties of the caller as there.
 *
 * Context: process context, may sleep; for user iterators takes the mmap lock.
 * Return: the number of bytes taken, 0 at the end of the iterator or if a limit leaves
 * no room. On error nothing was taken: no page is pinned, the iterator is
 * unchanged, the table has as many entries as before. -EOPNOTSUPP, another kind of
 * iterator; -EFAULT, an address of a user or KVEC iterator has no usable memory, or
 * another iterator has none where the taking began; others as from
 * pin_user_pages_fast().
 */
ssize_t dmabufx_extract_iter_to_sg(struct iov_iter *iter, size_t maxsize,
				   struct sg_table *sgt, unsigned int sg_max)
{
	struct table table = {
		.pinned = dmabufx_extract_mode(iter) == DMABUFX_EXTRACT_PIN,
		.max = sg_max,
	};
	ssize_t ret;

	if (sg_max)
		table.first = sg_entry(sgt->sgl, sgt->nents);
	if (!table.first)
		return 0;

	ret = fill_table(iter, maxsize, &table);
	if (ret < 0)
		undo_sg(&table);
	else
		sgt->nents += table.nr;
	return ret;
}
EXPORT_SYMBOL_GPL(dmabufx_extract_iter_to_sg);

/*
 * Returns true if any of the memory belongs to a device. A subsection as a whole
 * belongs to one device or to none.
 */
static bool touches_device(struct page *page, unsigned long nr)
{
#ifdef CONFIG_ZONE_DEVICE
	unsigned long pfn = page_to_pfn(page), end = pfn + nr;

	for (; pfn < end; pfn = ALIGN(pfn + 1, PAGES_PER_SUBSECTION))
		if (folio_is_zone_device(page_folio(pfn_to_page(pfn))))
			return true;
#endif
	return false;
}

/**
 * dmabufx_iter_append - append a kernel iterator's memory to a buffer
 * @runs: the buffer's runs
 * @iter: an iterator (BVEC, KVEC, XARRAY, FOLIOQ); advanced by @size
 * @size: how much of it, bytes
 *
 * Takes no reference: whoever made the iterator keeps the memory until the
 * buffer is released. Linear memory is appended as one piece, however long.
 *
 * Memory of devices (ZONE_DEVICE) of all types is refused, because importers treat
 * the pages of a buffer as the machine's own memory. Another device may not be able to
 * reach a PCI device's BAR at all, or only by an address that the importer has to ask
 * for (P2PDMA), and nothing in a scatterlist tells it to ask. Memory of the other types
 * disappears with its driver, or the CPU cannot reach it.
 *
 * Context: process context.
 * Return: 0; -EINVAL if the memory is not made of whole pages, or is less than
 * @size; -EFAULT if there is no memory somewhere (dmabufx_kva_pages() says which
 * addresses those are); -EOPNOTSUPP for other iterators and for memory of
 * devices; -EINTR if the caller is being killed; -ENOMEM or -EOVERFLOW.
 * After a failure, some of it may be in the table; the iterator is unchanged.
 */
int dmabufx_iter_append(struct dmabufx_runs *runs, struct iov_iter *iter,
			size_t size)
{
	struct iov_iter at = *iter;
	struct dmabufx_piece piece;
	struct folio *folio;
	unsigned long nr;
	int ret;

	if (size > iov_iter_count(iter))
		return -EINVAL;

	for (; size; size -= piece.len) {
		if (fatal_signal_pending(current))
			return -EINTR;

		ret = next_piece(&at, size, &piece);
		if (ret || !piece.len)
			return ret ?: -EFAULT;
		if (!PAGE_ALIGNED(piece.offset | piece.len))
			return -EINVAL;

		nr = piece.len >> PAGE_SHIFT;
		if (touches_device(piece.page, nr))
			return -EOPNOTSUPP;

		folio = page_folio(piece.page);
		ret = dmabufx_runs_append(runs, folio,
					  folio_page_idx(folio, piece.page), nr);
		if (ret < 0)
			return ret;
		iov_iter_advance(&at, piece.len);
		cond_resched();
	}
	*iter = at;
	return 0;
}
