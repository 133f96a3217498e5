// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ranges of files as a source of runs, for kernel callers.
 *
 * Memory of shmem and hugetlb files is pinned like that of memfds. Files on a
 * disk lend the pages of their page cache: they are read in if needed, held by a
 * reference, and read-only, because writing to them without the file system's
 * knowledge loses data or worse. Pages that are later truncated from such a file
 * stay in the buffer; a part of a folio that is truncated becomes zeros there.
 *
 * A reference keeps a page in place for as long as the buffer lives. So pages that
 * are read in for a buffer are allocated neither in ZONE_MOVABLE nor in CMA, where
 * memory has to be movable. Pages that were in the page cache before stay where they
 * are, since no function that a module may call moves them.
 */
#include <linux/dax.h>
#include <linux/fs.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include "dmabufx.h"

/*
 * Accept only files with pages that can be read in. Such pages are normal memory:
 * only DAX has pages of a device in its page cache.
 */
static bool has_page_cache(const struct file *file)
{
	struct address_space *mapping = file->f_mapping;

	return mapping && mapping->a_ops->read_folio && !dax_mapping(mapping);
}

/* Append the part of @folio from @pos on. Consumes the reference. Returns bytes. */
static ssize_t append_folio(struct dmabufx_runs *runs, struct folio *folio,
			    loff_t pos, loff_t end)
{
	size_t skip = offset_in_folio(folio, pos);
	size_t len = min_t(loff_t, folio_size(folio) - skip, end - pos);
	int ret;

	ret = dmabufx_runs_append(runs, folio, skip >> PAGE_SHIFT,
				  len >> PAGE_SHIFT);
		/* Failed, or the run has a reference to this folio already. */
	if (ret)
		folio_put(folio);
	return ret < 0 ? ret : len;
}

/* Returns the folio at @pos, with a reference; new folios are not in movable memory. */
static struct folio *read_folio(struct file *file, loff_t pos)
{
	unsigned int flags = memalloc_pin_save();
	struct folio *folio;

	folio = read_mapping_folio(file->f_mapping, pos >> PAGE_SHIFT, file);
	memalloc_pin_restore(flags);
	return folio;
}

static int append_page_cache(struct dmabufx_runs *runs, struct file *file,
			     loff_t pos, loff_t end)
{
	struct folio *folio;
	ssize_t done;

	for (; pos < end; pos += done) {
		if (fatal_signal_pending(current))
			return -EINTR;

		folio = read_folio(file, pos);
		if (IS_ERR(folio))
			return PTR_ERR(folio);

		done = append_folio(runs, folio, pos, end);
		if (done < 0)
			return done;
		cond_resched();
	}
	return 0;
}

static int append_memfd(struct dmabufx_runs *runs, struct file *file, loff_t pos,
			loff_t end, bool read_only)
{
	unsigned int flags = DMABUFX_MAY_SHRINK | (read_only ? 0 : DMABUFX_FOR_WRITING);
	struct file *locked = NULL;
	loff_t done = 0;
	u32 reason;

	for (; pos < end && done >= 0; pos += done) {
		done = dmabufx_memfd_append(runs, &locked, file, pos, end - pos, flags,
					    &reason);
		cond_resched();
	}
	dmabufx_memfd_let_go(&locked);
	return min_t(loff_t, done, 0);
}

/**
 * dmabufx_file_append - append a range of a file to an empty table
 * @runs: an empty table
 * @file: any file with pages, open for reading
 * @pos: where in the file, bytes, page-aligned
 * @size: how much of it, bytes, page-aligned; may reach to the end of the page
 *	that the file ends in
 * @read_only: nobody will write to the memory
 *
 * Context: Process context, may sleep and read from a disk.
 * Return: 0; -EINVAL, not page-aligned, or empty; -ERANGE, it reaches beyond
 * the file; -EACCES, a writable table of a file on a disk, or the file is not opened
 * for this access; -EPERM, a seal forbids writing; -EOPNOTSUPP, a file without
 * pages; -EIO and others, the file cannot be read; -EINTR, -ENOMEM. After a failure,
 * part of the range may be in the table; dmabufx_retention_end() releases it.
 */
int dmabufx_file_append(struct dmabufx_runs *runs, struct file *file,
			loff_t pos, size_t size, bool read_only)
{
	loff_t end;
	u64 file_end;

	if (!size || pos < 0 || !PAGE_ALIGNED(pos) || !PAGE_ALIGNED(size))
		return -EINVAL;
	if (check_add_overflow(pos, size, &end))
		return -ERANGE;

	if (dmabufx_is_memfd(file))
		return append_memfd(runs, file, pos, end, read_only);

	if (!has_page_cache(file))
		return -EOPNOTSUPP;
	/* The last page must begin within the file. Rounding up its size could overflow. */
	file_end = i_size_read(file->f_mapping->host);
	if (end - PAGE_SIZE >= file_end)
		return -ERANGE;
	if (!read_only || !(file->f_mode & FMODE_READ))
		return -EACCES;

	runs->retention = DMABUFX_REFERENCED;
	return append_page_cache(runs, file, pos, end);
}
