// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ranges of memfds as a source of runs.
 *
 * Retention: the core pins each folio once. Pins that become surplus when runs are
 * merged are dropped at once.
 *
 * A pinned folio may no longer belong to the memfd. khugepaged and MADV_COLLAPSE
 * replace small folios by a huge one: collapse_file() locks each folio, takes it off
 * the LRU, checks that nobody else has a reference, and copies it. It relies on
 * everybody who looks up the folio to lock it from then on, but memfd_pin_folios()
 * (6.12 to 7.3) does not. So a pinned folio that is locked, or not on the LRU, is
 * checked again under its lock. Data written to a replaced folio would never reach
 * the memfd.
 *
 * The core fills holes of shmem while it pins. Holes of hugetlb are filled before
 * that, by the file's own fallocate(): the core (6.12 to 7.3) would charge them to no
 * cgroup, would ignore the caller's memory policy, and loses reservations of the pool
 * when a page fault or another caller fills the same hole.
 *
 * Waiting: the inode's lock is held for one batch at a time, and no more than a batch
 * is filled at a time. So the owner of the memfd waits for two batches at most to map,
 * truncate or seal it, or for a few milliseconds of short ones: the next batch may take the
 * lock again before the owner has woken up. Each batch checks again everything that may have
 * changed since the last one. Small ranges in a list share the lock, until somebody waits
 * for it: taking it and checking the seals costs as much as pinning a page or two.
 */
#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/falloc.h>
#include <linux/highmem.h>
#include <linux/hugetlb.h>
#include <linux/overflow.h>
#include <linux/pagemap.h>
#include <linux/rwsem.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "compat.h"
#include "dmabufx.h"

/*
 * Folios to pin at a time: two KiB of pointers are little, and enough to spread the
 * cost of a batch. A multiple of 31, because the core looks up 31 at a time and would
 * drop the rest of a last, partial look-up.
 */
#define PIN_BATCH	(8 * 31)

/*
 * So many folios have room on the stack, so that small ranges need no allocation. Few,
 * because kernels may be built to clear each function's variables.
 */
#define FEW_FOLIOS	7

/*
 * Most memory in a batch, unless one huge page is larger: BATCH_FILLED if some of the
 * memory may have to be cleared or swapped in first, BATCH_THERE if all is in memory.
 */
#define BATCH_FILLED	SZ_32M
#define BATCH_THERE	SZ_256M

/* How often to fill holes again that somebody else makes at the same time. */
#define FILL_TRIES	16

/* Returns the address of a memfd's seals, NULL if @file is not a memfd. */
static const unsigned int *memfd_seals(const struct file *file)
{
	struct inode *inode = file_inode(file);

	/* A file that uses another file's pages has no seals of its own. */
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
 * The memory must stay, so the file must not shrink. And a seal that forbids writing
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
 * Returns the end of the last page of a memfd, which exists as a whole. The very last
 * page that offsets can name is left out: its end cannot be expressed as an offset.
 */
static u64 memfd_end(const struct file *file)
{
	u64 size = i_size_read(file_inode(file));

	return min(PAGE_ALIGN(size), (u64)LLONG_MAX & PAGE_MASK);
}

/**
 * dmabufx_memfd_check_range - can another range of a memfd be part of a buffer?
 * @file: the memfd, for which dmabufx_memfd_check() returned 0
 * @offset: where in it, bytes, page-aligned
 * @size: how much of it, bytes
 * @reason: returned on failure: why not
 *
 * Context: as dmabufx_memfd_check().
 * Return: 0, -EINVAL, -ERANGE.
 */
int dmabufx_memfd_check_range(const struct file *file, u64 offset, u64 size,
			      u32 *reason)
{
	u64 end;

	if (!size)
		return dmabufx_because(reason, DMABUFX_REASON_EMPTY, -EINVAL);
	if (check_add_overflow(offset, size, &end) || end > memfd_end(file))
		return dmabufx_because(reason, DMABUFX_REASON_BEYOND_END,
				       -ERANGE);
	return 0;
}

/**
 * dmabufx_memfd_check - can a range of a memfd be part of a buffer?
 * @file: any file
 * @offset: where in it, bytes, page-aligned
 * @size: how much of it, bytes; may reach to the end of the memfd's last page
 * @flags: DMABUFX_FOR_WRITING and others
 * @reason: returned on failure: why not
 *
 * Context: Process context. The answer stays true while the inode's lock is held.
 * Without the lock it may be outdated at once.
 * Return: 0, or -errno as <uapi/linux/dmabufx.h> says.
 */
int dmabufx_memfd_check(const struct file *file, u64 offset, u64 size,
			unsigned int flags, u32 *reason)
{
	const unsigned int *seals = memfd_seals(file);
	int ret;

	if (!seals)
		return dmabufx_because(reason, DMABUFX_REASON_NOT_MEMFD,
				       -EBADFD);
	ret = check_mode(file->f_mode, flags, reason);
	if (ret)
		return ret;
	/* Its errno comes before that of the seals, as udmabuf has it. */
	if (!size)
		return dmabufx_because(reason, DMABUFX_REASON_EMPTY, -EINVAL);
	ret = check_seals(READ_ONCE(*seals), flags, reason);
	return ret ?: dmabufx_memfd_check_range(file, offset, size, reason);
}

/* Flags of a folio that needs no folio_prepare(). Hugetlb folios are not on the LRU. */
#define PREPARED_HUGETLB	(BIT(PG_uptodate) | BIT(PG_dirty))
#define PREPARED_SHMEM		(PREPARED_HUGETLB | BIT(PG_lru))

/*
 * Returns true if folio_prepare() would do nothing and none of the flags in @but is
 * set. Called for every page: it reads the flags once, and @prepared is a constant.
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
 * Memory that fallocate() added to a shmem file still has its old contents: its first
 * user has to clear it under the folio's lock, and memfd_pin_folios() does not. Users
 * of the buffer must not see those contents.
 *
 * Devices, vmap() and page frame mappings write without the core noticing. If the
 * folio looked clean after the pin is gone, reclaim would drop it and lose the data.
 * So mark it dirty. Nothing cleans a folio while it is pinned.
 *
 * Returns -EAGAIN if another folio, or a hole, has replaced this one in the file.
 *
 * Rarely needed; not inlined, so that the loop of the caller stays short.
 */
static noinline int folio_prepare(struct folio *folio,
				  const struct address_space *mapping)
{
	if (dmabufx_pinned_to_excess(folio))
		return -EMLINK;
	/* It may have to be cleared as a whole. Requested pages are checked later. */
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

static __always_inline bool is_small_and_prepared(const struct folio *folio,
						  unsigned long prepared)
{
	return folio_is_prepared(folio, prepared, BIT(PG_head));
}

/*
 * Append a pinned folio from page @first on, but no more than @left pages. Consumes the
 * pin if it succeeds.
 */
static __always_inline int append_folio(struct dmabufx_runs *runs,
					const struct address_space *mapping,
					unsigned long prepared, struct folio *folio,
					u32 first, u32 left)
{
	u32 size, nr_pages;
	int ret;

	if (!folio_is_prepared(folio, prepared, 0)) {
		ret = folio_prepare(folio, mapping);
		if (ret)
			return ret;
	}

	size = folio_nr_pages(folio);
	nr_pages = min(size - first, left);
	ret = dmabufx_runs_append(runs, folio, first, nr_pages);
	if (ret < 0)
		return ret;
	/* The run has a pin of this folio already. */
	if (ret)
		unpin_folio(folio);
	if (size == 1)
		runs->nr_small++;
	if (nr_pages == size)
		runs->nr_whole += size;
	return 0;
}

/*
 * Append @nr pinned folios, which NULL ends, to the table. Starts at byte @skip of the
 * first folio, and uses each folio to its end, but the last only for the rest of @len.
 * Consumes every pin, also on failure. Returns the bytes appended, 0 if the first
 * folio does not belong to @mapping any more, or -errno.
 */
static __always_inline loff_t
memfd_append_folios(struct dmabufx_runs *runs,
		    const struct address_space *mapping, unsigned long prepared,
		    struct folio **folios, long nr, size_t skip, loff_t len)
{
	u32 start = runs->nr_pages, end = start + (len >> PAGE_SHIFT), before;
	u32 first = skip >> PAGE_SHIFT;
	long i = 0;
	int ret = 0;

	/* Order: pin first, read flags after that. */
	smp_mb();
	while (i < nr && !ret) {
		if (is_small_and_prepared(folios[i], prepared)) {
			before = runs->nr_pages;
			ret = dmabufx_runs_append_small(runs, folios + i, nr - i,
							is_small_and_prepared, prepared);
			i += runs->nr_pages - before;
		} else {
			ret = append_folio(runs, mapping, prepared, folios[i], first,
					   end - runs->nr_pages);
			i += !ret;
		}
		first = 0;
	}

	if (unlikely(ret)) {
		unpin_folios(folios + i, nr - i);
		/* The next batch pins the folio that replaced this one. */
		if (ret != -EAGAIN)
			return ret;
	}

	/* As in folio_test_uptodate(): read flags first, contents after that. */
	smp_rmb();
	return (loff_t)(runs->nr_pages - start) << PAGE_SHIFT;
}

/**
 * struct memfd_range - a part of a memfd that is to be appended
 * @file: the memfd
 * @pos: where it begins, bytes
 * @end: where it ends, bytes; both are page-aligned
 * @flags: DMABUFX_FOR_WRITING and others
 * @reason: returned on failure: why, if errno does not tell
 */
struct memfd_range {
	struct file *file;
	loff_t pos;
	loff_t end;
	unsigned int flags;
	u32 *reason;
};

/*
 * fallocate() of hugetlb stops at any signal. A signal that does not kill stays pending
 * until the caller returns to its program, which does not expect EINTR from a create.
 * So hide pending signals meanwhile. A kill that arrives during the call still stops it.
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
 * Fill the holes of a hugetlb file from @pos to @end. Like a page fault, it needs no
 * permission to write. It stops at the file's end, as the file must not grow.
 * fallocate() takes the inode's lock and cannot be killed while it waits. So wait for
 * the lock here first, killably. Somebody else may take it in between, but rarely.
 */
static int fill_holes(struct file *file, loff_t pos, loff_t end)
{
	struct inode *inode = file_inode(file);
	loff_t len = min(end, i_size_read(inode)) - pos;
	unsigned int pin;
	long ret = 0;

	/* The file was truncated: the next check reports it. */
	if (len <= 0)
		return 0;

	if (down_write_killable(&inode->i_rwsem))
		return -EINTR;
	inode_unlock(inode);

	/* Allocate pages that can be pinned where they are, without migration. */
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

/* Returns true if a hugetlb file has every page up to its end, and none after it. */
static bool is_full(struct file *file)
{
	struct address_space *mapping = file->f_mapping;
	u64 size = round_up((u64)i_size_read(file_inode(file)),
			    (u64)huge_page_size(hstate_file(file)));

	return mapping->nrpages == size >> PAGE_SHIFT &&
	       !filemap_range_has_page(mapping, size, LLONG_MAX);
}

/* The answer lasts: holes of a hugetlb file are made only under its lock. */
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
 * Lock the memfd, shared, if dmabufx_memfd_check() allows the range and there is no
 * hugetlb hole up to @end. Gives up after some tries, in case somebody punches holes
 * faster than they are filled.
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
 * Returns the end of the next batch. A shmem file with as many pages as fit into its
 * size has no holes, unless some of the pages are beyond its end: then whoever put them
 * there waits a little longer for the lock.
 */
static loff_t batch_end(const struct memfd_range *r)
{
	loff_t most = BATCH_FILLED;

	if (is_file_hugepages(r->file))
		most = max_t(loff_t, most, huge_page_size(hstate_file(r->file)));
	else if (r->file->f_mapping->nrpages >=
		 i_size_read(file_inode(r->file)) >> PAGE_SHIFT)
		most = BATCH_THERE;
	/* End at multiples of the batch size, since folios do not cross them. */
	most -= r->pos & (most - 1);
	return r->pos + min(r->end - r->pos, most);
}

/*
 * Returns true if memory between @pos and @end is broken. Without this check, the core
 * (6.12 to 7.3) tries for ever to migrate such a page out of ZONE_MOVABLE before it
 * pins it, and cannot be killed.
 */
static bool range_is_broken(struct file *file, loff_t pos, loff_t end)
{
	pgoff_t first = pos >> PAGE_SHIFT, last = (end - 1) >> PAGE_SHIFT, next = first;
	struct folio_batch found;
	bool broken = false;
	unsigned int i;

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

/**
 * dmabufx_memfd_let_go - release the lock of a memfd
 * @locked: the memfd, NULL afterwards. If it is NULL before, nothing happens
 *
 * Context: Process context.
 */
void dmabufx_memfd_let_go(struct file **locked)
{
	if (*locked)
		inode_unlock_shared(file_inode(*locked));
	*locked = NULL;
}

/* Lock the memfd as lock_filled() does, unless it is locked: then it is no hugetlb file. */
static int stay_locked_filled(struct file **locked, const struct memfd_range *r, loff_t end)
{
	int ret;

	if (*locked)
		return fatal_signal_pending(current) ? -EINTR : 0;
	ret = lock_filled(r, end);
	if (!ret)
		*locked = r->file;
	return ret;
}

static loff_t append_pinned(struct dmabufx_runs *runs, const struct memfd_range *r,
			    struct folio **folios, long nr, size_t skip, loff_t len)
{
	const struct address_space *mapping = r->file->f_mapping;

	/* Enough for large folios. Otherwise the table grows when it is full. */
	if (!runs->nr && dmabufx_runs_reserve(runs, nr)) {
		unpin_folios(folios, nr);
		return -ENOMEM;
	}
	folios[nr] = NULL;
	return is_file_hugepages(r->file) ?
	       memfd_append_folios(runs, mapping, PREPARED_HUGETLB, folios, nr, skip, len) :
	       memfd_append_folios(runs, mapping, PREPARED_SHMEM, folios, nr, skip, len);
}

/*
 * After @nr of its folios were pinned, may the memfd stay locked? Not if somebody waits for
 * the lock. Not if the table has to grow, either: memory for that may have to be written to
 * swap or a loop device first, and that may need this lock.
 */
static bool may_stay_locked(const struct memfd_range *r, const struct dmabufx_runs *runs,
			    long nr)
{
	return runs->stop - runs->tail >= nr &&
	       !rwsem_is_contended(&file_inode(r->file)->i_rwsem);
}

/*
 * Pin what fits into @folios and append it. Returns bytes appended or -errno. Lets the
 * memfd go, so that its owner gets the lock, unless another small range may follow: only
 * if all of this one was appended, in folios of one page each.
 */
static loff_t memfd_append_batch(struct dmabufx_runs *runs,
				 struct file **locked,
				 const struct memfd_range *r, struct folio **folios,
				 unsigned int max)
{
	bool is_small = max <= FEW_FOLIOS && !is_file_hugepages(r->file);
	loff_t end = is_small ? r->end : batch_end(r), done;
	u32 nr_small = runs->nr_small;
	pgoff_t skip;
	long nr;

	nr = stay_locked_filled(locked, r, end);
	if (nr)
		return nr;
	/* memfd_pin_folios() accepts only bytes within the file's size. */
	if (dmabufx_poison_epoch() && range_is_broken(r->file, r->pos, end))
		nr = -EHWPOISON;
	else
		nr = memfd_pin_folios(r->file, r->pos,
				      min(end, i_size_read(file_inode(r->file))) - 1,
				      folios, max, &skip);
	if (nr <= 0 || !is_small || !may_stay_locked(r, runs, nr))
		dmabufx_memfd_let_go(locked);
	if (nr <= 0)
		return nr == -ENOSPC ? -ENOMEM : nr ?: -EINVAL;

	done = append_pinned(runs, r, folios, nr, skip, end - r->pos);
	if ((loff_t)(runs->nr_small - nr_small) << PAGE_SHIFT != r->end - r->pos)
		dmabufx_memfd_let_go(locked);
	return done;
}

/* Returns how many folios a range can have, up to a batch. */
static unsigned int folios_at_most(const struct memfd_range *r)
{
	unsigned int shift = PAGE_SHIFT;

	if (is_file_hugepages(r->file))
		shift = huge_page_shift(hstate_file(r->file));
	return min_t(loff_t, ((r->end - 1) >> shift) - (r->pos >> shift) + 1,
		     PIN_BATCH);
}

static loff_t memfd_append_few(struct dmabufx_runs *runs,
			       struct file **locked,
			       const struct memfd_range *r, unsigned int max)
{
	/* One more for the NULL at the end of a batch. */
	struct folio *folios[FEW_FOLIOS + 1];

	return memfd_append_batch(runs, locked, r, folios, max);
}

static loff_t memfd_append_many(struct dmabufx_runs *runs,
				struct file **locked,
				const struct memfd_range *r, unsigned int max)
{
	struct folio **folios;
	loff_t done;

	/* The caller charges what is in the table before this waits for the lock again. */
	if (*locked) {
		dmabufx_memfd_let_go(locked);
		return 0;
	}
	folios = kmalloc_array(max + 1, sizeof(*folios), GFP_KERNEL);
	if (!folios)
		return -ENOMEM;
	done = memfd_append_batch(runs, locked, r, folios, max);
	kfree(folios);
	return done;
}

/**
 * dmabufx_is_memfd - does dmabufx_memfd_append() accept this file?
 * @file: any file
 */
bool dmabufx_is_memfd(const struct file *file)
{
	return memfd_seals(file);
}

/**
 * dmabufx_memfd_append - pin the first part of a range of a memfd and append it to a table
 * @runs: the table
 * @locked: initially NULL; returned: @file if its lock is held, else NULL. No reference to
 *	it. If it is locked, call this again only with the same file, @flags and @locked; and
 *	dmabufx_memfd_let_go() before waiting for another lock or for pages of a process
 * @file: the memfd, or another file of shmem or hugetlbfs
 * @offset: where in it, bytes, page-aligned
 * @size: how much of it, bytes; the page that it ends in is taken as a whole
 * @flags: DMABUFX_FOR_WRITING and others
 * @reason: returned on failure: why, if errno does not tell
 *
 * Context: Process context. Takes the inode's lock, shared, before the seals are read, and
 * releases it when the pages are pinned, or later as @locked says. F_ADD_SEALS takes that
 * lock exclusively. So a new seal either is seen by the next call, or sees the pins of
 * all calls before. But if a hole was punched around pages between two calls, the
 * pages belong to the buffer and no longer to the memfd. Holes of hugetlb are filled
 * before, with the lock taken exclusively.
 * Return: how many bytes were appended, page-aligned: a batch, or 0 if this only let the
 * memfd go, or somebody exchanges the pages right now; call again for the rest. Or -errno
 * as <uapi/linux/dmabufx.h> says.
 */
loff_t dmabufx_memfd_append(struct dmabufx_runs *runs,
			    struct file **locked, struct file *file,
			    u64 offset, u64 size, unsigned int flags, u32 *reason)
{
	struct memfd_range r = { .file = file, .flags = flags, .reason = reason };
	unsigned int max;
	int ret;

	ret = *locked ? dmabufx_memfd_check_range(file, offset, size, reason) :
	      dmabufx_memfd_check(file, offset, size, flags, reason);
	if (ret)
		return ret;
	/* No overflow: both are within the file. Both become multiples of the page size. */
	r.pos = offset;
	r.end = PAGE_ALIGN(offset + size);
	max = folios_at_most(&r);
	return max <= FEW_FOLIOS ? memfd_append_few(runs, locked, &r, max) :
				   memfd_append_many(runs, locked, &r, max);
}
