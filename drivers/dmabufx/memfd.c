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
 *
 * Holes of shmem are filled by the core while it pins. Those of hugetlb are filled
 * before, by the file's own fallocate(): the core (6.12 to 7.3) would charge them to no
 * cgroup, would not ask for the caller's memory policy, and loses reservations of the
 * pool when a page fault or another caller fills the same hole.
 *
 * Waiting: the file's lock is taken for one batch at a time, and what is filled at a
 * time is no more than a batch, so that who owns the memfd never waits for longer to
 * map, to cut or to seal it. Whatever may have changed since the last batch is looked
 * at again by the next.
 */
#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/falloc.h>
#include <linux/highmem.h>
#include <linux/hugetlb.h>
#include <linux/overflow.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "compat.h"
#include "dmabufx.h"

/*
 * How many folios to pin at a time: two KiB of pointers are no burden, and the
 * cost of a batch is spread well. The core looks up 31 at a time, and would
 * drop the rest of a last, partial look-up.
 */
#define PIN_BATCH	(8 * 31)

/*
 * How much memory a batch has at most, unless one huge page is more: where some of it
 * may have to be cleared or read from swap first, and where all of it is there.
 */
#define BATCH_FILLED	SZ_32M
#define BATCH_THERE	SZ_256M

/* How often holes are filled that somebody else makes at the same time. */
#define FILL_TRIES	16

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
	    (flags & (DMABUFX_FOR_WRITING | DMABUFX_NOT_WRITE_SEALED)))
		return dmabufx_because(reason, DMABUFX_REASON_WRITE_SEALED,
				       -EPERM);
	return 0;
}

static int check_mode(fmode_t mode, unsigned int flags, u32 *reason)
{
	fmode_t needed = FMODE_READ;

	if (flags & DMABUFX_FOR_WRITING)
		needed |= FMODE_WRITE;
	if ((mode & needed) != needed)
		return dmabufx_because(reason, DMABUFX_REASON_OPEN_MODE,
				       -EACCES);
	return 0;
}

/*
 * Where a memfd ends: the page that it ends in exists as a whole. The last page that
 * offsets can name has no end that they can name, so it is left out.
 */
static u64 memfd_end(const struct file *file)
{
	u64 size = i_size_read(file_inode(file));

	return min(PAGE_ALIGN(size), (u64)LLONG_MAX & PAGE_MASK);
}

/**
 * dmabufx_memfd_check - can a range of a memfd become a part of a buffer?
 * @file: any file
 * @offset: where in it, bytes, page-aligned
 * @size: how much of it, bytes; may go on to the end of the page that it ends in
 * @flags: DMABUFX_FOR_WRITING and others
 * @reason: why not
 *
 * Context: Process context. The answer stays true while the inode's lock is held, and
 * is one of the moment otherwise.
 * Return: 0, or -errno as <uapi/linux/dmabufx.h> says.
 */
int dmabufx_memfd_check(const struct file *file, u64 offset, u64 size,
			unsigned int flags, u32 *reason)
{
	const unsigned int *seals = memfd_seals(file);
	u64 end;
	int ret;

	if (!seals)
		return dmabufx_because(reason, DMABUFX_REASON_NOT_MEMFD,
				       -EBADFD);
	ret = check_mode(file->f_mode, flags, reason);
	if (ret)
		return ret;
	if (!size)
		return dmabufx_because(reason, DMABUFX_REASON_EMPTY, -EINVAL);
	ret = check_seals(READ_ONCE(*seals), flags, reason);
	if (ret)
		return ret;
	if (check_add_overflow(offset, size, &end) || end > memfd_end(file))
		return dmabufx_because(reason, DMABUFX_REASON_BEYOND_END,
				       -ERANGE);
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
	/* To be cleared as a whole, perhaps. What is asked for is looked at later. */
	if (!folio_test_uptodate(folio) &&
	    dmabufx_range_is_poisoned(folio_pfn(folio), folio_nr_pages(folio)))
		return -EHWPOISON;

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

/**
 * struct memfd_range - a part of a memfd that is to be appended
 * @file: the memfd
 * @pos: where it begins, bytes; moves on with what was appended
 * @end: where it ends, bytes; both are page-aligned
 * @flags: DMABUFX_FOR_WRITING and others
 * @reason: why it failed, where errno does not tell
 */
struct memfd_range {
	struct file *file;
	loff_t pos;
	loff_t end;
	unsigned int flags;
	u32 *reason;
};

/*
 * fallocate() of hugetlb gives up at any signal, and one that does not kill is there
 * until the caller is back in its program, which does not expect EINTR of us. So what
 * is pending is put aside meanwhile; a signal that kills and comes later is heard.
 */
static long fallocate_despite_signals(struct file *file, loff_t pos, loff_t len)
{
	bool signal = test_and_clear_thread_flag(TIF_SIGPENDING);
	bool notify = test_and_clear_thread_flag(TIF_NOTIFY_SIGNAL);
	long ret;

	ret = file->f_op->fallocate(file, FALLOC_FL_KEEP_SIZE, pos, len);
	if (notify)
		set_thread_flag(TIF_NOTIFY_SIGNAL);
	if (signal)
		set_thread_flag(TIF_SIGPENDING);
	return ret;
}

/*
 * Fill the holes of a hugetlb file from @pos to @end, as a page fault would, which asks
 * for no permission to write either. Only up to the file's end, as it must not grow.
 * The core takes the inode's lock for it, which cannot be killed. So the lock is waited
 * for before: somebody else may get it first, but that would be a rare chance.
 */
static int fill_holes(struct file *file, loff_t pos, loff_t end)
{
	struct inode *inode = file_inode(file);
	loff_t len = min(end, i_size_read(inode)) - pos;
	unsigned int pin;
	long ret = 0;

	/* What was cut off meanwhile, the next check finds. */
	if (len <= 0)
		return 0;

	if (down_write_killable(&inode->i_rwsem))
		return -EINTR;
	inode_unlock(inode);

	/* It is pinned next: nothing that would have to be moved for that. */
	pin = memalloc_pin_save();
	do {
		if (fatal_signal_pending(current))
			break;
		ret = fallocate_despite_signals(file, pos, len);
	} while (ret == -EINTR);
	memalloc_pin_restore(pin);

	if (fatal_signal_pending(current))
		return -EINTR;
	return ret == -ENOSPC ? -ENOMEM : ret;
}

/* Has a hugetlb file as many pages as it has room for, and none behind its end? */
static bool is_full(struct file *file)
{
	struct address_space *mapping = file->f_mapping;
	u64 size = round_up((u64)i_size_read(file_inode(file)),
			    (u64)huge_page_size(hstate_file(file)));

	return mapping->nrpages == size >> PAGE_SHIFT &&
	       !filemap_range_has_page(mapping, size, LLONG_MAX);
}

/* Holes of a hugetlb file are made under its lock alone, so that the answer lasts. */
static bool has_hole(struct file *file, loff_t pos, loff_t end)
{
	pgoff_t next = pos >> PAGE_SHIFT, last = (end - 1) >> PAGE_SHIFT;
	struct folio_batch found;

	lockdep_assert_held(&file_inode(file)->i_rwsem);
	if (is_full(file))
		return false;

	while (next <= last) {
		folio_batch_init(&found);
		if (!filemap_get_folios_contig(file->f_mapping, &next, last,
					       &found))
			return true;
		folios_put(&found);
	}
	return false;
}

static int lock_and_check(const struct memfd_range *r)
{
	struct inode *inode = file_inode(r->file);
	int ret;

	if (fatal_signal_pending(current) ||
	    down_read_killable(&inode->i_rwsem))
		return -EINTR;
	ret = dmabufx_memfd_check(r->file, r->pos, r->end - r->pos, r->flags,
				  r->reason);
	if (ret)
		inode_unlock_shared(inode);
	return ret;
}

/*
 * Lock the memfd, shared, when all is well up to @end, and nothing is there that the
 * core should not fill. Who punches holes faster than we fill them does not keep us for
 * ever.
 */
static int lock_filled(const struct memfd_range *r, loff_t end)
{
	int tries, ret;

	for (tries = 0; tries < FILL_TRIES; tries++) {
		ret = lock_and_check(r);
		if (ret || !is_file_hugepages(r->file) ||
		    !has_hole(r->file, r->pos, end))
			return ret;
		inode_unlock_shared(file_inode(r->file));

		ret = fill_holes(r->file, r->pos, end);
		if (ret)
			return ret;
	}
	return -ENOMEM;
}

/*
 * How far a batch goes, at most. A file of shmem with as many pages as it has room for
 * has no holes, unless there are some behind its end: then who put them there waits a
 * little longer.
 */
static loff_t batch_end(const struct memfd_range *r)
{
	loff_t most = BATCH_FILLED;

	if (is_file_hugepages(r->file))
		most = max_t(loff_t, most, huge_page_size(hstate_file(r->file)));
	else if (r->file->f_mapping->nrpages >=
		 i_size_read(file_inode(r->file)) >> PAGE_SHIFT)
		most = BATCH_THERE;
	/* From border to border, as folios do not cross them. */
	most -= r->pos & (most - 1);
	return r->pos + min(r->end - r->pos, most);
}

/*
 * Is memory between @pos and @end broken? The core (6.12 to 7.3) tries for ever to move
 * such a page out of ZONE_MOVABLE before it pins it, and cannot be killed.
 */
static bool range_is_broken(struct file *file, loff_t pos, loff_t end)
{
	pgoff_t first = pos >> PAGE_SHIFT, last = (end - 1) >> PAGE_SHIFT, next = first;
	struct folio_batch found;
	bool broken = false;
	unsigned int i;

	if (!dmabufx_poison_epoch())
		return false;

	folio_batch_init(&found);
	while (!broken && filemap_get_folios(file->f_mapping, &next, last, &found)) {
		for (i = 0; i < folio_batch_count(&found) && !broken; i++) {
			struct folio *folio = found.folios[i];
			pgoff_t from = max(first, folio->index);
			pgoff_t to = min(last, folio_next_index(folio) - 1);

			broken = dmabufx_range_is_poisoned(folio_pfn(folio) +
							   from - folio->index,
							   to - from + 1);
		}
		folios_put(&found);
	}
	return broken;
}

/* Pin what fits into @folios and hand it over. Bytes appended or -errno. */
static loff_t memfd_append_batch(struct dmabufx_runs *runs,
				 const struct memfd_range *r, struct folio **folios,
				 unsigned int max)
{
	struct inode *inode = file_inode(r->file);
	loff_t end = batch_end(r);
	pgoff_t skip;
	long nr;

	nr = lock_filled(r, end);
	if (nr)
		return nr;
	/* The core wants to hear of bytes that the file has. */
	if (range_is_broken(r->file, r->pos, end))
		nr = -EHWPOISON;
	else
		nr = memfd_pin_folios(r->file, r->pos, min(end, i_size_read(inode)) - 1,
				      folios, max, &skip);
	inode_unlock_shared(inode);
	if (nr <= 0)
		return nr == -ENOSPC ? -ENOMEM : nr ?: -EINVAL;

	/* Right for large folios. Later the table doubles when it must. */
	if (!runs->nr && dmabufx_runs_reserve(runs, nr)) {
		unpin_folios(folios, nr);
		return -ENOMEM;
	}
	folios[nr] = NULL;
	if (is_file_hugepages(r->file))
		return memfd_append_folios(runs, r->file->f_mapping,
					   PREPARED_HUGETLB, folios, nr, skip,
					   end - r->pos);
	return memfd_append_folios(runs, r->file->f_mapping, PREPARED_SHMEM,
				   folios, nr, skip, end - r->pos);
}

/* How many folios to expect of a range, up to a batch. */
static unsigned int folios_at_most(const struct memfd_range *r)
{
	unsigned int shift = PAGE_SHIFT;

	if (is_file_hugepages(r->file))
		shift = huge_page_shift(hstate_file(r->file));
	return min_t(loff_t, ((r->end - 1) >> shift) - (r->pos >> shift) + 1,
		     PIN_BATCH);
}

static int memfd_append_range(struct dmabufx_runs *runs, struct memfd_range *r)
{
	unsigned int max = folios_at_most(r);
	struct folio **folios;
	loff_t done = 0;

	/* One more for the NULL that ends a batch. */
	folios = kmalloc_array(max + 1, sizeof(*folios), GFP_KERNEL);
	if (!folios)
		return -ENOMEM;

	for (; r->pos < r->end && done >= 0; r->pos += done) {
		done = memfd_append_batch(runs, r, folios, max);
		cond_resched();
	}

	kfree(folios);
	return min_t(loff_t, done, 0);
}

/**
 * dmabufx_is_memfd - is this a file that dmabufx_memfd_append() takes?
 * @file: any file
 */
bool dmabufx_is_memfd(const struct file *file)
{
	return memfd_seals(file);
}

/**
 * dmabufx_memfd_append - pin a range of a memfd and append it to a table
 * @runs: the table
 * @file: the memfd, or another file of shmem or hugetlbfs
 * @offset: where in it, bytes, page-aligned
 * @size: how much of it, bytes; the page that it ends in is taken as a whole
 * @flags: DMABUFX_FOR_WRITING and others
 * @reason: why it failed, where errno does not tell
 *
 * Context: Process context. Takes the inode's lock, shared, once for each batch: from
 * before the seals are read until its pages are pinned. F_ADD_SEALS takes it
 * exclusively, so that a seal is either seen by the next batch or sees the pins of all
 * before, but for pages that a hole was punched around between two batches: these are
 * the buffer's and no more the memfd's. Hugetlb's holes are filled before, with the lock
 * taken exclusively.
 * Return: 0, or -errno as <uapi/linux/dmabufx.h> says. A failure may leave
 * part of the range appended; the release of the table takes care of it.
 */
int dmabufx_memfd_append(struct dmabufx_runs *runs, struct file *file,
			 u64 offset, u64 size, unsigned int flags, u32 *reason)
{
	struct memfd_range r = { .file = file, .flags = flags, .reason = reason };
	int ret;

	ret = dmabufx_memfd_check(file, offset, size, flags, reason);
	if (ret)
		return ret;
	/* Nothing wraps: both are before the file's end, of whole pages. */
	r.pos = offset;
	r.end = PAGE_ALIGN(offset + size);
	return memfd_append_range(runs, &r);
}
