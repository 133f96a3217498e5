// SPDX-License-Identifier: GPL-2.0-only
/*
 * The caller's own addresses as a source of runs.
 *
 * Pages are pinned for the long term (FOLL_LONGTERM), which migrates them out of
 * memory where they must not stay, and for writing unless the buffer is read-only.
 * Pinning for writing first makes the pages exclusive to the caller: no later fork()
 * and no copy on write takes them away from the buffer.
 *
 * Retention: the core pins a folio once for each page. All but one of these
 * pins are dropped at once, so that a table holds user memory as it holds
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

/* Pages to pin at a time: one page of pointers, which covers a PMD-sized folio. */
#define PIN_BATCH	(PAGE_SIZE / sizeof(struct page *))

/* How many areas to check between two checks for a kill. */
#define LOOK_BATCH	1024

/*
 * Returns true if all pinned pages of a large folio came from one entry of the page
 * table, and so are consecutive. Hugetlb pages are always mapped that way. Anonymous
 * memory that was once mapped page by page is never mapped as a whole again. So if it
 * has one mapping now, and that maps the whole folio, then the pages were looked up in
 * that mapping.
 */
static bool is_mapped_as_one(const struct folio *folio)
{
	return folio_test_hugetlb(folio) ||
	       (folio_test_anon(folio) && folio_mapcount(folio) == 1 &&
		folio_entire_mapcount(folio) == 1);
}

/* Returns how many of the @nr pages, from the first on, are consecutive within @folio. */
static u32 count_neighbours(const struct folio *folio, struct page **pages,
			    u32 first, long nr)
{
	struct page *page = pages[0];
	u32 n;

	nr = min_t(long, nr, folio_nr_pages(folio) - first);
	/* Avoids a look at each page, which is a third of the cost of pinning. */
	if (nr > 1 && pages[nr - 1] == page + nr - 1 && is_mapped_as_one(folio))
		return nr;

	for (n = 1; n < nr; n++)
		if (pages[n] != ++page)
			break;
	return n;
}

/*
 * Append the first of @nr pinned pages and the pages consecutive to it, and count them
 * in @found. Returns the number of pages or -errno.
 */
static long append_folio(struct dmabufx_runs *runs, struct page **pages,
			 long nr, unsigned long found[DMABUFX_KINDS])
{
	struct folio *folio = page_folio(pages[0]);
	u32 first = folio_page_idx(folio, pages[0]);
	u32 n = count_neighbours(folio, pages, first, nr);
	int ret;

	/* Device DAX: the core pins it. It refuses or migrates other device memory. */
	if (folio_is_zone_device(folio))
		return -EOPNOTSUPP;
	if (dmabufx_pinned_to_excess(folio))
		return -EMLINK;

	ret = dmabufx_runs_append(runs, folio, first, n);
	if (ret < 0)
		return ret;

	if (!folio_test_large(folio))
		runs->nr_small++;
	if (n == folio_nr_pages(folio))
		runs->nr_whole += n;
	found[dmabufx_folio_kind(folio)] += n;

	/* Keep one pin, or none if the run had one of this folio before. */
	if (n - 1 + ret)
		unpin_user_page_range_dirty_lock(pages[0], n - 1 + ret, false);
	return n;
}

/* Append @nr pinned pages to the table. Consumes the pins, also on failure. */
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
 * Returns true if a file system writes back what is written to this area. The core makes
 * the same check before it pins for writing and for the long term.
 */
static bool is_written_back(const struct vm_area_struct *vma)
{
	const struct vm_operations_struct *ops = vma->vm_ops;

	if (!vma->vm_file || !(vma->vm_flags & VM_SHARED))
		return false;
	return (ops && (ops->page_mkwrite || ops->pfn_mkwrite)) ||
	       mapping_can_writeback(vma->vm_file->f_mapping);
}

/* Returns an error if the area tells that its memory cannot be in a buffer. */
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

/* Check a range, and add the pages that are mapped from files to @shared_pages. */
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
 * dmabufx_user_look - check addresses before they are pinned
 * @iter: a copy of an iterator over addresses of the calling process: a destination if
 *	the memory shall be writable, else a source
 * @shared_pages: the number of pages that belong to a file is added; the rest is
 *	private memory
 * @reason: returned on failure: why
 *
 * If the core is asked to pin unmapped addresses just below a stack, it prints a stack
 * trace. So check first that everything is mapped.
 *
 * Context: Process context. Takes mmap_lock. The result may be outdated at once, since
 * another thread may change the mappings.
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
 * Fault in @nr pages without pinning them. Waits as long as a file system makes it wait,
 * but can be killed, and holds no pin and, while it waits, not the mmap_lock. Returns
 * how many pages are in memory, or -errno; that is -EHWPOISON if the machine reported
 * one of them broken.
 */
static long fault_in(unsigned long addr, unsigned long nr, bool write)
{
	return get_user_pages_unlocked(addr, nr, NULL, FOLL_HWPOISON |
				       (write ? FOLL_WRITE : 0));
}

/* Find out why the core did not pin @addr: its error is EFAULT for nearly everything. */
static int explain(unsigned long addr, bool write, int err, u32 *reason)
{
	unsigned long shared_pages = 0;
	int ret;

	if (err == -ENOMEM || err == -EINTR)
		return err;

	/* The area may have changed since the last check. */
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

/* Correct the charge for pinned pages by their kind, and charge large folios. */
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
 * Pin up to @max pages. A page fault during pinning may wait for ever, if the owner of
 * a file system wants it to. The pages pinned before it would be held meanwhile, though
 * their folios are not yet charged as a whole. So pin without faults, and fault in
 * without pins. If that fails, because only a fault makes a page fit for a long-term
 * pin, pin one page, with faults.
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
 * @charge: what dmabufx_charge() charged for this memory and perhaps more
 * @iter: an iterator over addresses of the calling process whose segments are
 *	page-aligned: a destination if the memory shall be writable, else a source.
 *	Advanced by what was appended
 * @reason: returned on failure: why
 *
 * Context: Process context. Takes mmap_lock.
 * Return: 0, or -errno as <uapi/linux/dmabufx.h> says. After a failure, part of it may
 * be in the table; dmabufx_retention_end() releases it.
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

	/* Check again: the first check may be long ago. */
	ret = dmabufx_user_look(*iter, &shared_pages, reason);
	if (ret)
		return ret;

	/* Enough for huge pages. Otherwise the table grows when it is full. */
	ret = dmabufx_runs_reserve(runs, min(huge, U32_MAX));
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
