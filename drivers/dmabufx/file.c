// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ranges of files as a source of runs, for kernel callers.
 *
 * Memory of shmem and hugetlb files is pinned as that of memfds is. Files on a
 * disk lend the pages of their page cache: read in where needed, held by a
 * reference, and for reading only, because whoever writes into them behind the
 * file system's back loses data or worse. Pages that are cut off such a file
 * later stay in the buffer; what is cut off inside a folio becomes zeros there.
 *
 * A reference keeps a page where it is for as long as the buffer lives. Pages that
 * are read in for a buffer are therefore allocated where nothing has to be movable:
 * neither in ZONE_MOVABLE nor in CMA. Pages that were in the page cache before stay
 * where they are, since nothing that a module may call moves them.
 */
#include <linux/dax.h>
#include <linux/fs.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include "dmabufx.h"

/*
 * Only what has pages that can be read in. Those are the machine's: a device's
 * own memory is in no page cache but DAX's.
 */
static bool has_page_cache(const struct file *file)
{
	struct address_space *mapping = file->f_mapping;

	return mapping && mapping->a_ops->read_folio && !dax_mapping(mapping);
}

/* Append the part of @folio from @pos on. Consumes the reference. Bytes. */
static ssize_t append_folio(struct dmabufx_runs *runs, struct folio *folio,
			    loff_t pos, loff_t end)
{
	size_t skip = offset_in_folio(folio, pos);
	size_t len = min_t(loff_t, folio_size(folio) - skip, end - pos);
	int ret;

	ret = dmabufx_runs_append(runs, folio, folio, skip >> PAGE_SHIFT,
				  len >> PAGE_SHIFT);
	/* Failed, or the run has a reference to this folio already. */
	if (ret)
		folio_put(folio);
	return ret < 0 ? ret : len;
}

/* The folio at @pos, with a reference; read in to where it may stay. */
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

/**
 * dmabufx_file_append - fill a table with a range of a file
 * @runs: an empty table
 * @file: any file with pages, open for reading
 * @pos: where in the file, bytes, page-aligned
 * @size: how much of it, bytes, page-aligned; may go on to the end of the page
 *	that the file ends in
 * @read_only: nobody will write into the memory
 *
 * Context: Process context, may sleep and read from a disk.
 * Return: 0; -EINVAL, not page-aligned, or empty; -ERANGE, it reaches beyond
 * the file; -EACCES, a writable table of a file that is not in memory alone, or
 * not opened so; -EPERM, a seal forbids to write; -EOPNOTSUPP, a file without
 * pages; -EIO and others, the file cannot be read; -EINTR, -ENOMEM. A failure
 * may leave part of the range appended; the release of the table takes care of
 * it.
 */
int dmabufx_file_append(struct dmabufx_runs *runs, struct file *file,
			loff_t pos, size_t size, bool read_only)
{
	unsigned int flags = DMABUFX_MAY_SHRINK;
	loff_t end;
	u64 file_end;
	u32 reason;

	if (!size || pos < 0 || !PAGE_ALIGNED(pos) || !PAGE_ALIGNED(size))
		return -EINVAL;
	if (check_add_overflow(pos, size, &end))
		return -ERANGE;

	if (dmabufx_is_memfd(file)) {
		if (!read_only)
			flags |= DMABUFX_FOR_WRITING;
		return dmabufx_memfd_append(runs, file, pos, size, flags,
					    &reason);
	}

	if (!has_page_cache(file))
		return -EOPNOTSUPP;
	/* The last page begins in the file. The file's size rounded up may wrap. */
	file_end = i_size_read(file->f_mapping->host);
	if (end - PAGE_SIZE >= file_end)
		return -ERANGE;
	if (!read_only || !(file->f_mode & FMODE_READ))
		return -EACCES;

	runs->retention = DMABUFX_REFERENCED;
	return append_page_cache(runs, file, pos, end);
}
