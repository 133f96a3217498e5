// SPDX-License-Identifier: GPL-2.0-only
/*
 * The caller's own addresses as a source of runs.
 *
 * Pages are pinned for long (FOLL_LONGTERM), which moves them out of places
 * where they must not stay, and for writing unless the buffer is read-only. That
 * makes them the caller's alone before they are pinned: neither a later fork()
 * nor a copy on write takes them from the buffer.
 *
 * Retention: the core pins a folio once for each page. All but one of these
 * pins are dropped at once, so that a table holds user memory just as it holds
 * memfds: one pin of each folio for each run that touches it.
 */
#include <linux/backing-dev.h>
#include <linux/dmabufx.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/uio.h>

#include "dmabufx.h"

/* How many pages to pin at a time: a large folio's, by a page of pointers. */
#define PIN_BATCH	(PAGE_SIZE / sizeof(struct page *))

/* How many areas to look at before a kill is heard. */
#define LOOK_BATCH	1024

/* How many runs to make room for at once: a page of them. */
#define MOST_RESERVED	(PAGE_SIZE / sizeof(struct dmabufx_run))

/*
 * Whether all that was pinned of a large folio came out of one entry of the page
 * table, and so in a row. Hugetlb pages are mapped so at any time. Anonymous
 * memory that was once mapped page by page is never mapped as a whole again: if
 * there is one mapping of it now, and that is of the whole, it is the one that
 * was looked up.
 */
static bool is_mapped_as_one(const struct folio *folio)
{
	return folio_test_hugetlb(folio) ||
	       (folio_test_anon(folio) && folio_mapcount(folio) == 1 &&
		folio_entire_mapcount(folio) == 1);
}

/* How many of the first of @nr pages are in a row within @folio. */
static u32 count_neighbours(const struct folio *folio, struct page **pages,
			    u32 first, long nr)
{
	struct page *page = pages[0];
	u32 n;

	nr = min_t(long, nr, folio_nr_pages(folio) - first);
	/* Saves a look at each page, a third of what pinning costs. */
	if (nr > 1 && pages[nr - 1] == page + nr - 1 && is_mapped_as_one(folio))
		return nr;

	for (n = 1; n < nr; n++)
		if (pages[n] != ++page)
			break;
	return n;
}

/*
 * Append the first of @nr pinned pages and its neighbours, and count them in
 * @found. Pages or -errno.
 */
static long append_folio(struct dmabufx_runs *runs, struct page **pages,
			 long nr, unsigned long found[DMABUFX_KINDS])
{
	struct folio *folio = page_folio(pages[0]);
	u32 first = folio_page_idx(folio, pages[0]);
	u32 n = count_neighbours(folio, pages, first, nr);
	int ret;

	/* Device DAX: the core pins such memory, other types it refuses or moves. */
	if (folio_is_zone_device(folio))
		return -EOPNOTSUPP;
	if (dmabufx_pinned_to_excess(folio))
		return -EMLINK;

	ret = dmabufx_runs_append(runs, folio, folio, first, n);
	if (ret < 0)
		return ret;

	if (!folio_test_large(folio))
		runs->nr_small++;
	found[dmabufx_folio_kind(folio)] += n;

	/* One pin stays, unless the run has one of this folio already. */
	if (n - 1 + ret)
		unpin_user_page_range_dirty_lock(pages[0], n - 1 + ret, false);
	return n;
}

/* Hands @nr pinned pages to the table; consumes the pins, also on failure. */
static int append_pages(struct dmabufx_runs *runs, struct page **pages, long nr,
			unsigned long found[DMABUFX_KINDS])
{
	long done, i;

	for (i = 0; i < nr; i += done) {
		done = append_folio(runs, pages + i, nr - i, found);
		if (done < 0) {
			unpin_user_pages(pages + i, nr - i);
			return done;
		}
	}
	return 0;
}

/*
 * Does somebody write back what is written there? The core asks the same before
 * it pins for writing and for long.
 */
static bool is_written_back(const struct vm_area_struct *vma)
{
	const struct vm_operations_struct *ops = vma->vm_ops;

	if (!vma->vm_file || !(vma->vm_flags & VM_SHARED))
		return false;
	return (ops && (ops->page_mkwrite || ops->pfn_mkwrite)) ||
	       mapping_can_writeback(vma->vm_file->f_mapping);
}

/* Why memory of an area cannot be in a buffer, as far as the area tells. */
static int refuse_area(const struct vm_area_struct *vma, bool write, u32 *reason)
{
	if (vma->vm_flags & (VM_IO | VM_PFNMAP))
		return dmabufx_because(reason, DMABUFX_REASON_DEVICE,
				       -EOPNOTSUPP);
	if (!(vma->vm_flags & (write ? VM_WRITE : VM_READ)))
		return dmabufx_because(reason, DMABUFX_REASON_PROTECTED,
				       -EACCES);
	if (write && is_written_back(vma))
		return dmabufx_because(reason, DMABUFX_REASON_FILE, -EOPNOTSUPP);
	return 0;
}

/* Adds to @shared_pages what of the range is mapped from files. */
static int look_at_range(unsigned long addr, size_t len, bool write,
			 unsigned long *shared_pages, u32 *reason)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	unsigned long end;
	unsigned int nr;
	int ret = 0;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	addr = untagged_addr_remote(mm, addr);
	end = addr + len;
	for (nr = 1; addr < end && !ret; addr = vma->vm_end, nr++) {
		vma = vma_lookup(mm, addr);
		if (!vma) {
			ret = dmabufx_because(reason, DMABUFX_REASON_UNMAPPED,
					      -EFAULT);
			break;
		}
		ret = refuse_area(vma, write, reason);
		if (vma->vm_flags & VM_MAYSHARE)
			*shared_pages += (min(vma->vm_end, end) - addr) >> PAGE_SHIFT;
		if (nr % LOOK_BATCH == 0 && fatal_signal_pending(current))
			ret = -EINTR;
	}
	mmap_read_unlock(mm);
	return ret;
}

/**
 * dmabufx_user_look - look at addresses before they are pinned
 * @iter: the addresses, of the calling process; a copy. A destination for memory that
 *	shall be writable, else a source
 * @shared_pages: how much of it is memory that a file has, pages, is added; the
 *	rest is private memory
 * @reason: why it failed
 *
 * The core, asked for addresses into which a stack could have grown, prints a
 * stack trace of ours: so somebody has to look first whether all is mapped.
 *
 * Context: Process context. Takes mmap_lock. Another thread may change what is
 * found as soon as it is found.
 * Return: 0; -EFAULT, something is not mapped; -EACCES, or not with this permission;
 * -EOPNOTSUPP, it is mapped from a device, or from a file that allows only a read-only
 * buffer; -EINTR, the caller is being killed.
 */
int dmabufx_user_look(struct iov_iter iter, unsigned long *shared_pages,
		      u32 *reason)
{
	int ret = 0;

	while (iov_iter_count(&iter) && !ret) {
		size_t len = iov_iter_single_seg_count(&iter);

		ret = look_at_range((unsigned long)iter_iov_addr(&iter), len,
				    iov_iter_rw(&iter) == READ, shared_pages,
				    reason);
		iov_iter_advance(&iter, len);
	}
	return ret;
}

/*
 * Have @nr pages faulted in, without a pin. Waits as long as a file system makes it wait,
 * but can be killed, and holds neither a pin nor, while it waits, the mmap_lock.
 * Returns how many there are now, or -errno, -EHWPOISON of memory that the machine
 * reported broken among them.
 */
static long fault_in(unsigned long addr, unsigned long nr, bool write)
{
	return get_user_pages_unlocked(addr, nr, NULL, FOLL_HWPOISON |
				       (write ? FOLL_WRITE : 0));
}

/* Why the core would not pin what is at @addr; it says EFAULT to nearly everything. */
static int explain(unsigned long addr, bool write, int err, u32 *reason)
{
	unsigned long shared_pages = 0;
	int ret;

	if (err == -ENOMEM || err == -EINTR)
		return err;

	/* The area may have changed since somebody looked. */
	ret = look_at_range(addr, PAGE_SIZE, write, &shared_pages, reason);
	if (ret)
		return ret;
	if (err == -EOPNOTSUPP)
		return dmabufx_because(reason, DMABUFX_REASON_FILE, err);
	if (fault_in(addr, 1, write) == -EHWPOISON)
		return dmabufx_because(reason, DMABUFX_REASON_POISONED,
				       -EHWPOISON);
	return dmabufx_because(reason, DMABUFX_REASON_UNPINNABLE, err);
}

/* Some of what was charged is pinned: count it for what it is. */
static int charge_found(struct dmabufx_charge *charge,
			const struct dmabufx_runs *runs,
			const unsigned long found[DMABUFX_KINDS], u32 *reason)
{
	return dmabufx_charge_pinned(charge, DMABUFX_PRIVATE,
				     found[DMABUFX_PRIVATE], reason) ?:
	       dmabufx_charge_pinned(charge, DMABUFX_SHARED,
				     found[DMABUFX_SHARED], reason) ?:
	       dmabufx_charge_parts(charge, runs, false, reason);
}

/*
 * Pin up to @max pages. A page fault in the midst of that may wait for ever, for a file
 * system that its owner runs, and what was pinned before it is not charged as a whole
 * yet. So pages are pinned without faults, and faulted in without pins. What the core
 * can only make fit for a long pin by a fault is pinned one page at a time.
 */
static ssize_t pin_batch(struct iov_iter *iter, struct page **pages, size_t max,
			 size_t *skip)
{
	size_t count = iov_iter_count(iter);
	ssize_t len;
	int tries;

	for (tries = 0; tries < 2; tries++) {
		iter->nofault = true;
		len = dmabufx_extract_pages(iter, pages, count, max, skip);
		iter->nofault = false;
		if (len > 0 || tries)
			break;
		fault_in((unsigned long)iter_iov_addr(iter),
			 min(max, DIV_ROUND_UP(iov_iter_single_seg_count(iter),
					       PAGE_SIZE)),
			 iov_iter_rw(iter) == READ);
	}
	return len > 0 ? len : dmabufx_extract_pages(iter, pages, count, 1, skip);
}

static int append_batch(struct dmabufx_runs *runs, struct dmabufx_charge *charge,
			struct iov_iter *iter, struct page **pages, size_t max,
			u32 *reason)
{
	unsigned long addr = (unsigned long)iter_iov_addr(iter);
	unsigned long found[DMABUFX_KINDS] = {};
	ssize_t len;
	size_t skip;
	long nr;
	int ret;

	if (fatal_signal_pending(current))
		return -EINTR;

	len = pin_batch(iter, pages, max, &skip);
	if (len <= 0)
		return explain(addr, iov_iter_rw(iter) == READ,
			       len ?: -EFAULT, reason);
	nr = DIV_ROUND_UP(skip + len, PAGE_SIZE);
	if (skip || !PAGE_ALIGNED(len)) {
		unpin_user_pages(pages, nr);
		return dmabufx_because(reason, DMABUFX_REASON_UNALIGNED,
				       -EINVAL);
	}
	ret = append_pages(runs, pages, nr, found);
	if (ret == -EOPNOTSUPP)
		dmabufx_because(reason, DMABUFX_REASON_DEVICE, ret);
	return ret ?: charge_found(charge, runs, found, reason);
}

/**
 * dmabufx_user_append - pin user memory and append it to a table
 * @runs: the table
 * @charge: what dmabufx_charge() counted for this memory and perhaps other
 * @iter: what to append, an iterator over addresses of the calling process
 *	whose segments are page-aligned; a destination for memory that shall be
 *	writable, else a source. Advanced by what was appended
 * @reason: why it failed
 *
 * Context: Process context. Takes mmap_lock.
 * Return: 0, or -errno as <uapi/linux/dmabufx.h> says. A failure may leave part
 * of it appended; the release of the table takes care of it.
 */
int dmabufx_user_append(struct dmabufx_runs *runs, struct dmabufx_charge *charge,
			struct iov_iter *iter, u32 *reason)
{
	size_t size = iov_iter_count(iter);
	size_t max = min(DIV_ROUND_UP(size, PAGE_SIZE), PIN_BATCH);
	size_t huge = DIV_ROUND_UP(size, PMD_SIZE);
	unsigned long shared_pages = 0;
	struct page **pages;
	int ret;

	/* Once more: it may be long ago that somebody looked. */
	ret = dmabufx_user_look(*iter, &shared_pages, reason);
	if (ret)
		return ret;

	/* Right for huge pages. Later the table doubles when it must. */
	ret = dmabufx_runs_reserve(runs, min(huge, MOST_RESERVED));
	if (ret)
		return ret;

	pages = kmalloc_array(max, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return -ENOMEM;

	while (iov_iter_count(iter) && !ret) {
		ret = append_batch(runs, charge, iter, pages, max, reason);
		cond_resched();
	}
	kfree(pages);
	return ret;
}
