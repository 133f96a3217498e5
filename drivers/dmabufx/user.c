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

/* Append the first of @nr pinned pages and its neighbours. Pages or -errno. */
static long append_folio(struct dmabufx_runs *runs, struct page **pages,
			 long nr)
{
	struct folio *folio = page_folio(pages[0]);
	u32 first = folio_page_idx(folio, pages[0]);
	u32 n = count_neighbours(folio, pages, first, nr);
	int ret;

	if (dmabufx_pinned_to_excess(folio))
		return -EMLINK;

	ret = dmabufx_runs_append(runs, folio, folio, first, n);
	if (ret < 0)
		return ret;

	/* One pin stays, unless the run has one of this folio already. */
	if (n - 1 + ret)
		unpin_user_page_range_dirty_lock(pages[0], n - 1 + ret, false);
	return n;
}

/* Hands @nr pinned pages to the table; consumes the pins, also on failure. */
static int append_pages(struct dmabufx_runs *runs, struct page **pages, long nr)
{
	long done, i;

	for (i = 0; i < nr; i += done) {
		done = append_folio(runs, pages + i, nr - i);
		if (done < 0) {
			unpin_user_pages(pages + i, nr - i);
			return done;
		}
	}
	return 0;
}

/*
 * Is there something mapped all over the range? The core, asked for what a
 * stack could have grown into, prints a stack trace of ours: so look first.
 */
static bool is_mapped(unsigned long addr, size_t len)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	unsigned long end;

	mmap_read_lock(mm);
	addr = untagged_addr_remote(mm, addr);
	end = addr + len;
	while (addr < end) {
		vma = vma_lookup(mm, addr);
		if (!vma)
			break;
		addr = vma->vm_end;
	}
	mmap_read_unlock(mm);
	return addr >= end;
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

/*
 * Why the core would not pin what is at @addr, as far as the area there tells;
 * the core says EFAULT to nearly everything.
 */
static int explain(unsigned long addr, bool write, int err, u32 *reason)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	vm_flags_t flags = 0;
	bool written_back = false;

	if (err == -ENOMEM || err == -EINTR)
		return err;

	mmap_read_lock(mm);
	vma = vma_lookup(mm, untagged_addr_remote(mm, addr));
	if (vma) {
		flags = vma->vm_flags;
		written_back = is_written_back(vma);
	}
	mmap_read_unlock(mm);

	if (!vma)
		return dmabufx_because(reason, DMABUFX_REASON_UNMAPPED, -EFAULT);
	if (flags & (VM_IO | VM_PFNMAP))
		return dmabufx_because(reason, DMABUFX_REASON_DEVICE,
				       -EOPNOTSUPP);
	if (!(flags & (write ? VM_WRITE : VM_READ)))
		return dmabufx_because(reason, DMABUFX_REASON_PROTECTED,
				       -EACCES);
	if ((write && written_back) || err == -EOPNOTSUPP)
		return dmabufx_because(reason, DMABUFX_REASON_FILE, -EOPNOTSUPP);
	return dmabufx_because(reason, DMABUFX_REASON_UNPINNABLE, err);
}

static int append_batch(struct dmabufx_runs *runs, struct iov_iter *iter,
			struct page **pages, size_t max, u32 *reason)
{
	unsigned long addr = (unsigned long)iter_iov_addr(iter);
	ssize_t len;
	size_t skip;
	long nr;

	if (fatal_signal_pending(current))
		return -EINTR;

	len = dmabufx_extract_pages(iter, pages, iov_iter_count(iter),
				    max, &skip);
	if (len <= 0)
		return explain(addr, iov_iter_rw(iter) == READ,
			       len ?: -EFAULT, reason);
	nr = DIV_ROUND_UP(skip + len, PAGE_SIZE);
	if (skip || !PAGE_ALIGNED(len)) {
		unpin_user_pages(pages, nr);
		return dmabufx_because(reason, DMABUFX_REASON_UNALIGNED,
				       -EINVAL);
	}
	return append_pages(runs, pages, nr);
}

static bool is_mapped_all(struct iov_iter iter)
{
	bool mapped = true;

	while (iov_iter_count(&iter) && mapped) {
		size_t len = iov_iter_single_seg_count(&iter);

		mapped = is_mapped((unsigned long)iter_iov_addr(&iter), len);
		iov_iter_advance(&iter, len);
	}
	return mapped;
}

/**
 * dmabufx_user_append - pin user memory and append it to a table
 * @runs: the table
 * @iter: what to append, an iterator over addresses of the calling process
 *	whose segments are page-aligned; a destination for memory that shall be
 *	writable, else a source. Advanced by what was appended
 * @reason: why it failed
 *
 * Context: Process context. Takes mmap_lock.
 * Return: 0, or -errno as <uapi/linux/dmabufx.h> says. A failure may leave part
 * of it appended; the release of the table takes care of it.
 */
int dmabufx_user_append(struct dmabufx_runs *runs, struct iov_iter *iter,
			u32 *reason)
{
	size_t size = iov_iter_count(iter);
	size_t max = min(DIV_ROUND_UP(size, PAGE_SIZE), PIN_BATCH);
	size_t huge = DIV_ROUND_UP(size, PMD_SIZE);
	struct page **pages;
	int ret;

	if (!is_mapped_all(*iter))
		return dmabufx_because(reason, DMABUFX_REASON_UNMAPPED, -EFAULT);

	/* Right for huge pages. Later the table doubles when it must. */
	ret = dmabufx_runs_reserve(runs, min(huge, MOST_RESERVED));
	if (ret)
		return ret;

	pages = kmalloc_array(max, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return -ENOMEM;

	while (iov_iter_count(iter) && !ret) {
		ret = append_batch(runs, iter, pages, max, reason);
		cond_resched();
	}
	kfree(pages);
	return ret;
}
