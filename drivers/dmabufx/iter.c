// SPDX-License-Identifier: GPL-2.0-only
/*
 * Iterators: the memory that they describe as pages, as a bvec, as a
 * scatterlist and as runs.
 *
 * Memory of a user iterator is pinned, and always for the long term: what is
 * made of it lives as long as somebody likes. Memory of a kernel iterator is
 * only listed; its owner keeps it. An iterator moves by exactly what was taken
 * from it, and not at all on error.
 *
 * The kernel's iov_iter_advance() is right everywhere, and is used. Why not
 * iov_iter_extract_pages() and extract_iter_to_sg(), in 6.12 and in 7.3 unless
 * one is named:
 *
 *  user	Pins are short-term: such pages stay where they block the migration of
 *		ZONE_MOVABLE and CMA, and files whose pages are written back beneath
 *		the device are let in. A scatterlist loses all it was given, and
 *		returns 0, when the limit is larger than the iterator; a failure
 *		half-way leaves the iterator moved, and drops what earlier calls
 *		pinned, or leaks, depending on what orig_nents happens to be.
 *  BVEC	7.3 says 0, the end, where two segments are empty.
 *  KVEC	Every address is believed, a hole's too.
 *  XARRAY	What the page cache remembers of an evicted page is taken for a folio.
 *		A scatterlist silently passes over holes. 6.12 returns bytes for no
 *		page where the array is empty and the start not aligned, and to a
 *		scatterlist adds the second folio from the first one's offset on.
 *  FOLIOQ	Slots that were never filled are read.
 *  all		A scatterlist gets an entry for each page or folio however they lie,
 *		with offsets beyond a page, more than the iterator has, and is
 *		overrun where it is chained. Other kinds give a warning.
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

/* Where an entry must end, from the start of its first page: a u32, whole pages. */
#define MAX_ENTRY	ALIGN_DOWN((size_t)UINT_MAX, PAGE_SIZE)

/* Pages of a user iterator that are pinned at a time; they lie on the stack. */
#define BATCH		32

/* iter_iov_len() of 6.12 says 0 for a UBUF of which half is used up. */
static size_t segment_len(const struct iov_iter *iter)
{
	if (iter_is_ubuf(iter))
		return iov_iter_count(iter);
	return iter_iov(iter)->iov_len - iter->iov_offset;
}

/* Pins what one segment of a user iterator holds, up to the limits. */
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

	/* Leaves segments behind that are empty or used up. */
	iov_iter_advance(&at, 0);
	if (!at.nr_segs || !current->mm)
		return -EFAULT;

	addr = (unsigned long)iter_iov_addr(&at);
	offset = offset_in_page(addr);
	size = min3(maxsize, segment_len(&at),
		    min(maxpages, INT_MAX) * PAGE_SIZE - offset);

	/* The core would say EOVERFLOW, which is for buffers that are too large. */
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

/* Folios lie in the array at multiples of their size. */
static void xarray_piece(const struct iov_iter *iter,
			 struct dmabufx_piece *piece)
{
	struct folio *folio;
	unsigned long index;
	size_t start;
	loff_t pos;

	/* What wraps would go on at the beginning of the array. */
	if (iter->xarray_start < 0 ||
	    check_add_overflow(iter->xarray_start, iter->iov_offset, &pos))
		return;

	index = pos >> PAGE_SHIFT;
	folio = xa_load(iter->xarray, index);
	/* A hole, or what is remembered of a folio that was evicted. */
	if (!folio || xa_is_value(folio))
		return;

	index &= folio_nr_pages(folio) - 1;
	start = (index << PAGE_SHIFT) + offset_in_page(pos);
	piece->page = folio_page(folio, index);
	piece->offset = offset_in_page(pos);
	piece->len = folio_size(folio) - start;
}

/* Ends where a queue was not filled, or where its folios were taken out. */
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
 * The next physically contiguous piece of a kernel iterator, at most @maxsize
 * bytes, which the iterator has. Length 0: the memory ends before the iterator.
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

/* The pages of a kernel iterator, as far as they make up one piece of memory. */
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
 * @iter: an iterator (UBUF, IOVEC, BVEC, KVEC, XARRAY, FOLIOQ); advanced by
 *	what was taken
 * @pages: where to, room for @maxpages
 * @maxsize: most bytes to take
 * @maxpages: most pages to take
 * @offset0: receives where in the first page the piece begins, bytes; the others
 *	begin at 0
 *
 * The piece ends at one of the limits, where a segment ends (of a kernel
 * iterator: inside a page), or where no further page is to be had: a short
 * answer is no error. Call again for the rest; an error is met by the call that
 * can take nothing else. No other limit applies, %MAX_RW_COUNT for one.
 *
 * The pages of a user iterator are pinned with %FOLL_LONGTERM, and %FOLL_WRITE
 * where the iterator is a destination. Its addresses are those of the current
 * process. They need no validation: an address that user space may not have,
 * a length that wraps included, is -EFAULT. What iov_iter.nofault says is
 * respected.
 *
 * The pages of a kernel iterator are listed. Those of an XARRAY must not be
 * removed or split meanwhile: the caller locks or references them. KVEC
 * addresses are checked as dmabufx_kva_pages() does.
 *
 * Context: process context; for user iterators it may sleep, and takes the mmap
 * lock.
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
	return list_pages(iter, pages, maxsize, maxpages, offset0);
}
EXPORT_SYMBOL_GPL(dmabufx_extract_pages);

/**
 * struct table - a scatterlist or an array of bvecs that is being filled
 * @pinned: entries own a pin of each page that they touch
 * @full: there is no room for the piece that came last
 * @nr: entries so far
 * @max: most entries
 * @last: what the last entry has
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
 * Goes on to a new entry. A scatterlist may be chained, and its end mark is a
 * limit as @max is; what lies behind the @max-th entry is not looked at.
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
 * Does the last entry grow by the piece? Not within a page that has a pin for
 * each of the two: one entry drops one. Nor from one device's memory to that of
 * another, which are mapped for DMA in different ways.
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

/* Takes a batch of a user iterator; less when the table is full then. */
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

/* Takes a piece of a kernel iterator, or nothing when the table is full. */
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

/* On error @iter is where it was, and @table for the caller to undo. */
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

	/* The memory ends before the iterator, and right here. */
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
 * dmabufx_extract_user_iter - pin a user iterator's memory and make it a bvec
 * @orig: the user iterator (UBUF, IOVEC); advanced by what was taken
 * @maxsize: most bytes to take
 * @new: becomes a BVEC iterator of the same direction over what was taken;
 *	needs no initialisation
 * @max_bvecs: most entries that its array may have
 *
 * After netfs_extract_user_iter(), by David Howells. @new goes on when the user's
 * mappings or @orig do not, and may be handed to another context. Neighbouring
 * pages are one entry, wherever they come from. Takes as much as the limits allow:
 * call again, with another @new, for the rest. What is pinned, and how, says
 * dmabufx_extract_pages().
 *
 * The array of @new is allocated. dmabufx_release_user_iter() frees it and drops
 * the pins.
 *
 * Context: process context, may sleep; takes the mmap lock.
 * Return: bytes taken, which may be 0 at the end of @orig or when a limit is 0;
 * @new is valid then, and empty. -EOPNOTSUPP for other iterators, -ENOMEM, or
 * what dmabufx_extract_pages() returns, when any of the memory cannot be had;
 * then nothing is pinned, @orig where it was, and @new untouched.
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
 * dmabufx_release_user_iter - end what dmabufx_extract_user_iter() began
 * @iter: @new as it came out of there. Who advances that keeps a copy for here
 * @dirty: the memory was, or may have been, written
 *
 * Frees the array and drops the pins. Not to be called after an error.
 *
 * Context: process context, may sleep; of any process.
 */
void dmabufx_release_user_iter(const struct iov_iter *iter, bool dirty)
{
	release_bvecs(iter->bvec, iter->nr_segs, dirty);
}
EXPORT_SYMBOL_GPL(dmabufx_release_user_iter);

/* Entry number @nr of a scatterlist that may end before it. */
static struct scatterlist *sg_entry(struct scatterlist *sg, unsigned int nr)
{
	while (sg && nr--)
		sg = sg_next(sg);
	return sg;
}

/**
 * dmabufx_release_sg - drop the pins of scatterlist entries
 * @sgl: the first of the entries
 * @nents: how many, as dmabufx_extract_iter_to_sg() added them
 * @dirty: the memory was, or may have been, written
 *
 * For entries that were made from a user iterator: dmabufx_extract_mode() says
 * which. They must be unmapped from devices. The list itself stays as it is.
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

/* The entries of a call that failed are as if it had not been made. */
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
 * @sg_max: most entries to add. The table has room for them, or an end mark
 *	before, which ends the filling as well. No end mark is set
 *
 * After netfs_extract_iter_to_sg(), by David Howells. An entry is physically
 * contiguous memory, merged wherever it is, with an offset below %PAGE_SIZE, and
 * short enough for a 32-bit length of whole pages. Memory that an earlier call
 * added is not extended. Takes as much as the limits allow: call again, with the
 * next table, for the rest. XARRAY and FOLIOQ iterators also end where folios are
 * missing.
 *
 * Memory of a user iterator is pinned as dmabufx_extract_pages() does;
 * dmabufx_release_sg() drops the pins. Of a kernel iterator it is only listed,
 * with the same demands on the caller as there.
 *
 * Context: process context, may sleep; for user iterators takes the mmap lock.
 * Return: bytes taken, 0 at the end of the iterator or when a limit leaves no
 * room for any. On error nothing was taken: no page is pinned, the iterator is
 * where it was, the table has as many entries as before. -EOPNOTSUPP is for other
 * kinds of iterators, -EFAULT for memory that is not there, or not where the
 * taking began; others are those of pin_user_pages_fast().
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
 * Does any of the memory belong to a device? A subsection belongs to one or to
 * none, as a whole.
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
 * buffer is released. Linear memory is appended as it is, however long.
 *
 * Memory of devices (ZONE_DEVICE) is refused, of whatever type: importers take
 * the pages of a buffer for the machine's own memory. What lies behind a PCI
 * device's BAR another device may not reach at all, or only by an address that
 * the importer has to ask for (P2PDMA), and nothing in a scatterlist makes it
 * ask; the other types go when their driver does, or cannot be reached by the
 * CPU.
 *
 * Context: process context.
 * Return: 0; -EINVAL when the memory is not made of whole pages, or is less than
 * @size; -EFAULT when there is none in some place (dmabufx_kva_pages() says which
 * addresses those are); -EOPNOTSUPP for other iterators and for memory of
 * devices; -EINTR when the caller is being killed; -ENOMEM or -EOVERFLOW.
 * A failure may leave some of it in the table; the iterator is where it was.
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
					  page_folio(piece.page + nr - 1),
					  folio_page_idx(folio, piece.page), nr);
		if (ret < 0)
			return ret;
		iov_iter_advance(&at, piece.len);
		cond_resched();
	}
	*iter = at;
	return 0;
}
