// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ranges of memfds as a source of runs.
 *
 * Retention: a table filled here owns exactly one pin of every folio that a
 * run touches, for each run that touches it. Pins that a merge makes surplus
 * are dropped at once; dmabufx_memfd_release() drops the rest by walking the
 * runs, so no list of what was pinned is kept.
 *
 * The memory of a memfd is charged to its owner already, and pinning it takes
 * nothing that the owner could not take by touching it.
 */
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/hugetlb.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>

#include "dmabufx.h"

/* How many folios to pin at a time: their pointers fill a page or less. */
#define PIN_BATCH	512

/*
 * How often one folio may be referenced before another pin is refused: half
 * of what its count holds. A list that repeats one page millions of times gets
 * an error here instead of the core's warning.
 */
#define MAX_REFERENCES	(INT_MAX / 2)

/* Where the seals of a memfd are kept, NULL when @file is none. */
static const unsigned int *memfd_seals(const struct file *file)
{
	struct inode *inode = file_inode(file);

	/* A file that borrows another's pages has no seals of its own. */
	if (inode->i_mapping != file->f_mapping)
		return NULL;
	if (shmem_mapping(file->f_mapping))
		return &SHMEM_I(inode)->seals;
#ifdef CONFIG_HUGETLBFS
	if (is_file_hugepages(file))
		return &HUGETLBFS_I(inode)->seals;
#endif
	return NULL;
}

/*
 * The memory must stay (no shrinking), and a promise that nobody writes it
 * must not be broken through a writable dma-buf.
 */
static bool seals_are_right(unsigned int seals)
{
	return (seals & F_SEAL_SHRINK) &&
	       !(seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE));
}

/*
 * Memory that fallocate() gave to a shmem file still has in it what was there
 * before: whoever uses it first is to clear it, under the folio's lock, and
 * memfd_pin_folios() does not. Users of the buffer must not see that.
 */
static void folio_clear_stale(struct folio *folio)
{
	folio_lock(folio);
	if (!folio_test_uptodate(folio)) {
		folio_zero_range(folio, 0, folio_size(folio));
		folio_mark_uptodate(folio);
	}
	folio_unlock(folio);
}

/*
 * Hand @nr pinned folios to the table. The first is entered at byte @skip;
 * all but the last are used to their end, the last for what is left of @len.
 * Consumes every pin, also on failure. Returns the bytes appended or -errno.
 */
static loff_t memfd_append_folios(struct dmabufx_runs *runs,
				  struct folio **folios, long nr, size_t skip,
				  loff_t len)
{
	loff_t left = len;
	long i;
	int ret;

	for (i = 0; i < nr; i++, skip = 0) {
		loff_t take = min_t(loff_t, folio_size(folios[i]) - skip, left);

		if (!folio_test_uptodate(folios[i]))
			folio_clear_stale(folios[i]);

		ret = -ENOMEM;
		if (folio_ref_count(folios[i]) < MAX_REFERENCES)
			ret = dmabufx_runs_append(runs, folios[i],
						  skip >> PAGE_SHIFT,
						  take >> PAGE_SHIFT);
		if (ret < 0) {
			unpin_folios(folios + i, nr - i);
			return ret;
		}
		if (ret)
			unpin_folio(folios[i]);
		left -= take;
	}
	return len - left;
}

/* Pin what fits into @folios and hand it over. Bytes appended or -errno. */
static loff_t memfd_append_batch(struct dmabufx_runs *runs, struct file *file,
				 struct folio **folios, unsigned int max,
				 loff_t pos, loff_t end)
{
	pgoff_t skip;
	long nr;

	if (fatal_signal_pending(current))
		return -EINTR;

	nr = memfd_pin_folios(file, pos, end - 1, folios, max, &skip);
	if (nr <= 0)
		return nr ? nr : -EINVAL;

	return memfd_append_folios(runs, folios, nr, skip, end - pos);
}

static int memfd_append_range(struct dmabufx_runs *runs, struct file *file,
			      loff_t pos, loff_t end)
{
	size_t max = min_t(loff_t, (end - pos) >> PAGE_SHIFT, PIN_BATCH);
	struct folio **folios;
	loff_t done = 0;

	folios = kmalloc_array(max, sizeof(*folios), GFP_KERNEL);
	if (!folios)
		return -ENOMEM;

	for (; pos < end && done >= 0; pos += done)
		done = memfd_append_batch(runs, file, folios, max, pos, end);

	kfree(folios);
	return min_t(loff_t, done, 0);
}

/**
 * dmabufx_memfd_append - pin a range of a memfd and append it to a table
 * @runs: the table
 * @fd: the caller's descriptor of the memfd
 * @offset: where in the memfd, bytes, page-aligned
 * @size: how much of it, bytes, page-aligned
 *
 * Context: Process context. Takes the inode's lock shared, the lock that
 * F_ADD_SEALS takes exclusively, from before the seals are read until the last
 * page is pinned: a seal is either seen here or sees the pins.
 * Return: 0, or -errno as <uapi/linux/dmabufx.h> says. A failure may leave
 * part of the range appended; dmabufx_memfd_release() takes care of it.
 */
int dmabufx_memfd_append(struct dmabufx_runs *runs, unsigned int fd, u64 offset,
			 u64 size)
{
	const unsigned int *seals;
	struct file *file;
	loff_t end;
	int ret;

	file = fget(fd);
	if (!file)
		return -EBADFD;

	ret = -EBADFD;
	seals = memfd_seals(file);
	if (!seals)
		goto out;

	ret = -EINVAL;
	if (!size || check_add_overflow(offset, size, &end))
		goto out;

	inode_lock_shared(file_inode(file));
	if (seals_are_right(*seals))
		ret = memfd_append_range(runs, file, offset, end);
	inode_unlock_shared(file_inode(file));
out:
	fput(file);
	return ret;
}

/**
 * dmabufx_memfd_release - unpin all memory of a table
 * @runs: a table that dmabufx_memfd_append() filled, perhaps in part; empty
 *	afterwards
 */
void dmabufx_memfd_release(struct dmabufx_runs *runs)
{
	u32 i;

	for (i = 0; i < runs->nr; i++) {
		const struct dmabufx_run *run = &runs->run[i];
		unsigned long pfn = dmabufx_run_pfn(run);
		unsigned long end = pfn + dmabufx_run_pages(runs, run);
		struct folio *folio = run->folio;

		for (;;) {
			pfn = folio_pfn(folio) + folio_nr_pages(folio);
			unpin_folio(folio);
			if (pfn >= end)
				break;
			/* A run enters each further folio at its first page. */
			folio = page_folio(pfn_to_page(pfn));
		}
		cond_resched();
	}
	dmabufx_runs_free(runs);
}
