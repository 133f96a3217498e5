// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ranges of memfds as a source of runs.
 *
 * Retention: the core pins each folio once. Pins that a merge makes surplus are
 * dropped at once.
 *
 * A folio that is pinned may be no longer the memfd's. khugepaged and MADV_COLLAPSE
 * replace small folios by a huge one: collapse_file() locks each, takes it off the
 * LRU, sees to it that nobody else has a reference, and copies it; and who wants one
 * from then on has to lock it, it says. memfd_pin_folios() (6.12 to 7.3) does not.
 * So a pinned folio that is locked, or not on the LRU, is looked at again, under its
 * lock. What is written into a buffer of the old one, the memfd would never have.
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

/*
 * How many folios to pin at a time: two KiB of pointers are no burden, and the
 * cost of a batch is spread well. The core looks up 31 at a time, and would
 * drop the rest of a last, partial look-up.
 */
#define PIN_BATCH	(8 * 31)

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
static int check_seals(unsigned int seals, unsigned int flags, u32 *reason)
{
	if (!(seals & F_SEAL_SHRINK) && !(flags & DMABUFX_MAY_SHRINK))
		return dmabufx_because(reason, DMABUFX_REASON_MAY_SHRINK,
				       -EPERM);
	if ((seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) &&
	    (flags & DMABUFX_FOR_WRITING))
		return dmabufx_because(reason, DMABUFX_REASON_WRITE_SEALED,
				       -EPERM);
	return 0;
}

static int check_mode(fmode_t mode, unsigned int flags, u32 *reason)
{
	fmode_t needed = FMODE_READ;

	if (flags & DMABUFX_OPENED_ANYHOW)
		return 0;
	if (flags & DMABUFX_FOR_WRITING)
		needed |= FMODE_WRITE;
	if ((mode & needed) != needed)
		return dmabufx_because(reason, DMABUFX_REASON_OPEN_MODE,
				       -EACCES);
	return 0;
}

/* The flags of a folio to which nothing has to be done. Hugetlb knows no LRU. */
#define PREPARED_HUGETLB	(BIT(PG_uptodate) | BIT(PG_dirty))
#define PREPARED_SHMEM		(PREPARED_HUGETLB | BIT(PG_lru))

/*
 * Whether nothing is left for folio_prepare() to do, and none of the flags in
 * @but is set. Asked of every page: one look at the flags answers it all, and
 * @prepared is a constant.
 */
static bool folio_is_prepared(const struct folio *folio, unsigned long prepared,
			      unsigned long but)
{
	unsigned long flags = READ_ONCE(*const_folio_flags(folio, 0));

	return (flags & (prepared | but | BIT(PG_locked))) == prepared &&
	       !dmabufx_pinned_to_excess(folio);
}

/*
 * Make a pinned folio fit for a buffer.
 *
 * Memory that fallocate() gave to a shmem file still has in it what was there
 * before: whoever uses it first is to clear it, under the folio's lock, and
 * memfd_pin_folios() does not. Users of the buffer must not see that.
 *
 * And devices, vmap() and page frame mappings write without the core noticing.
 * A folio that looked clean once the pin is gone would be dropped by reclaim,
 * with what they wrote. Nothing cleans it while it is pinned.
 *
 * -EAGAIN says that another has taken its place, or that a hole has.
 *
 * Rarely needed, and not inlined so that the loop that needs it stays short.
 */
static noinline int folio_prepare(struct folio *folio,
				  const struct address_space *mapping)
{
	if (dmabufx_pinned_to_excess(folio))
		return -EMLINK;

	folio_lock(folio);
	if (folio->mapping != mapping) {
		folio_unlock(folio);
		return -EAGAIN;
	}
	if (!folio_test_uptodate(folio)) {
		folio_zero_range(folio, 0, folio_size(folio));
		folio_mark_uptodate(folio);
	}
	folio_mark_dirty(folio);
	folio_unlock(folio);
	return 0;
}

/*
 * How many of @folios, which NULL ends, follow one another in memory page by
 * page. The first is a prepared one of one page; the row ends before any that is
 * not.
 */
static __always_inline long count_row(struct folio **folios,
				      unsigned long prepared)
{
	struct page *page = folio_page(folios[0], 0);
	struct folio **next = folios;

	do {
		next++;
		page++;
	} while (*next == (struct folio *)page &&
		 folio_is_prepared((struct folio *)page, prepared, BIT(PG_head)));
	return next - folios;
}

/*
 * Hand @nr pinned folios, which NULL ends, to the table. The first is entered
 * at byte @skip; all but the last are used to their end, the last for what is
 * left of @len. Consumes every pin, also on failure. Returns the bytes appended,
 * 0 if the first is not @mapping's any more, or -errno.
 */
static __always_inline loff_t
memfd_append_folios(struct dmabufx_runs *runs,
		    const struct address_space *mapping, unsigned long prepared,
		    struct folio **folios, long nr, size_t skip, loff_t len)
{
	unsigned long nr_pages, nr_small = 0;
	unsigned long first = skip >> PAGE_SHIFT;
	unsigned long left = len >> PAGE_SHIFT;
	int ret = 0;
	long i, n;

	/* Pins first, flags later. */
	smp_mb();
	for (i = 0; i < nr; i += n) {
		struct folio *folio = folios[i];

		if (!folio_is_prepared(folio, prepared, 0)) {
			ret = folio_prepare(folio, mapping);
			if (ret)
				break;
		}

		n = 1;
		nr_pages = folio_nr_pages(folio);
		if (nr_pages > 1) {
			nr_pages = min(nr_pages - first, left);
		} else {
			n = count_row(folios + i, prepared);
			nr_pages = n;
			nr_small += n;
		}

		ret = dmabufx_runs_append(runs, folio, folios[i + n - 1], first,
					  nr_pages);
		if (unlikely(ret)) {
			if (ret < 0)
				break;
			unpin_folio(folio);
		}
		left -= nr_pages;
		first = 0;
	}

	if (unlikely(ret < 0)) {
		unpin_folios(folios + i, nr - i);
		/* What has been replaced is pinned anew, by the next batch. */
		if (ret != -EAGAIN)
			return ret;
	}

	/* As folio_test_uptodate() has it: flags first, contents later. */
	smp_rmb();
	runs->nr_small += nr_small;
	return len - ((loff_t)left << PAGE_SHIFT);
}

/* Pin what fits into @folios and hand it over. Bytes appended or -errno. */
static loff_t memfd_append_batch(struct dmabufx_runs *runs, struct file *file,
				 struct folio **folios, unsigned int max,
				 loff_t pos, loff_t end)
{
	pgoff_t skip;
	loff_t len;
	long nr;

	if (fatal_signal_pending(current))
		return -EINTR;

	nr = memfd_pin_folios(file, pos, end - 1, folios, max, &skip);
	if (nr <= 0)
		return nr ? nr : -EINVAL;

	/* Right for large folios. Later the table doubles when it must. */
	if (!runs->nr && dmabufx_runs_reserve(runs, nr)) {
		unpin_folios(folios, nr);
		return -ENOMEM;
	}
	folios[nr] = NULL;
	len = PAGE_ALIGN(end) - pos;
	if (is_file_hugepages(file))
		return memfd_append_folios(runs, file->f_mapping,
					   PREPARED_HUGETLB, folios, nr, skip,
					   len);
	return memfd_append_folios(runs, file->f_mapping, PREPARED_SHMEM, folios,
				   nr, skip, len);
}

/* How many folios to expect of a range, up to a batch. */
static unsigned int folios_at_most(struct file *file, loff_t pos, loff_t end)
{
	unsigned int shift = PAGE_SHIFT;

	if (is_file_hugepages(file))
		shift = huge_page_shift(hstate_file(file));
	return min_t(loff_t, ((end - 1) >> shift) - (pos >> shift) + 1,
		     PIN_BATCH);
}

static int memfd_append_range(struct dmabufx_runs *runs, struct file *file,
			      loff_t pos, loff_t end)
{
	unsigned int max = folios_at_most(file, pos, end);
	struct folio **folios;
	loff_t done = 0;

	lockdep_assert_held(&file_inode(file)->i_rwsem);
	/* One more for the NULL that ends a batch. */
	folios = kmalloc_array(max + 1, sizeof(*folios), GFP_KERNEL);
	if (!folios)
		return -ENOMEM;

	for (; pos < end && done >= 0; pos += done) {
		done = memfd_append_batch(runs, file, folios, max, pos, end);
		cond_resched();
	}

	kfree(folios);
	return min_t(loff_t, done, 0);
}

/*
 * The lock that F_ADD_SEALS takes, shared where that is enough. Of two who fill
 * the same hole of a hugetlb file at the same moment, the core (6.12 to 7.3) loses
 * a reservation, and with it count of the pool: memfd_alloc_folio() does not give
 * it back when another was faster. So those go one by one.
 */
static void lock_memfd(struct file *file)
{
	if (is_file_hugepages(file))
		inode_lock(file_inode(file));
	else
		inode_lock_shared(file_inode(file));
}

static void unlock_memfd(struct file *file)
{
	if (is_file_hugepages(file))
		inode_unlock(file_inode(file));
	else
		inode_unlock_shared(file_inode(file));
}

/**
 * dmabufx_is_memfd - is this a file that dmabufx_memfd_append_file() takes?
 * @file: any file
 */
bool dmabufx_is_memfd(const struct file *file)
{
	return memfd_seals(file);
}

/**
 * dmabufx_memfd_append_file - pin a range of a memfd and append it to a table
 * @runs: the table
 * @file: the memfd, or another file of shmem or hugetlbfs
 * @offset: where in it, bytes, page-aligned
 * @size: how much of it, bytes; the page that it ends in is taken as a whole
 * @flags: DMABUFX_FOR_WRITING and others
 * @reason: why it failed, where errno does not tell
 *
 * Context: Process context. Takes the inode's lock, which
 * F_ADD_SEALS takes exclusively, from before the seals are read until the last
 * page is pinned: a seal is either seen here or sees the pins.
 * Return: 0, or -errno as <uapi/linux/dmabufx.h> says. A failure may leave
 * part of the range appended; the release of the table takes care of it.
 */
int dmabufx_memfd_append_file(struct dmabufx_runs *runs, struct file *file,
			      u64 offset, u64 size, unsigned int flags,
			      u32 *reason)
{
	const unsigned int *seals = memfd_seals(file);
	struct inode *inode = file_inode(file);
	loff_t end;
	int ret;

	if (!seals)
		return dmabufx_because(reason, DMABUFX_REASON_NOT_MEMFD,
				       -EBADFD);
	ret = check_mode(file->f_mode, flags, reason);
	if (ret)
		return ret;
	if (!size)
		return dmabufx_because(reason, DMABUFX_REASON_EMPTY, -EINVAL);

	lock_memfd(file);
	ret = check_seals(*seals, flags, reason);
	if (!ret && (check_add_overflow(offset, size, &end) ||
		     end > i_size_read(inode)))
		ret = dmabufx_because(reason, DMABUFX_REASON_BEYOND_END,
				      -ERANGE);
	if (!ret)
		ret = memfd_append_range(runs, file, offset, end);
	unlock_memfd(file);
	return ret;
}

/**
 * dmabufx_memfd_append - dmabufx_memfd_append_file() by descriptor
 * @runs: the table
 * @fd: the caller's descriptor of the memfd
 * @offset: where in the memfd, bytes, page-aligned
 * @size: how much of it, bytes; the page that it ends in is taken as a whole
 * @flags: DMABUFX_FOR_WRITING and others
 * @reason: why it failed, where errno does not tell
 *
 * Context, Return: as there.
 */
int dmabufx_memfd_append(struct dmabufx_runs *runs, unsigned int fd, u64 offset,
			 u64 size, unsigned int flags, u32 *reason)
{
	struct file *file = fget(fd);
	int ret;

	if (!file)
		return dmabufx_because(reason, DMABUFX_REASON_NOT_OPEN, -EBADF);
	ret = dmabufx_memfd_append_file(runs, file, offset, size, flags,
					reason);
	fput(file);
	return ret;
}
