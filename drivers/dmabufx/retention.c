// SPDX-License-Identifier: GPL-2.0-only
/*
 * How the memory of a run table is held, and how it is released.
 *
 * Memory that this module holds is held by one pin (or reference) of every
 * folio that a run touches, for each run that touches it. So the runs alone
 * tell what to release, and there is no list of pinned folios.
 */
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched.h>
#include <linux/sizes.h>

#include "dmabufx.h"

/* Pages to release before other tasks may run. */
#define RELEASE_BATCH	16384

/* Longest run with which a leaf has no more pages than a batch. */
#define SHORT_RUN	(SZ_128K / PAGE_SIZE)

/* Marks the folio dirty: the core did not notice writes of devices and mappings. */
static void unpin_dirty(struct folio *folio)
{
	if (!folio_test_dirty(folio)) {
		folio_lock(folio);
		folio_mark_dirty(folio);
		folio_unlock(folio);
	}
	unpin_folio(folio);
}

/*
 * Release each folio from the one that @page heads to the last one before @end; if
 * @small, all are of one page. Returns where the next folio would begin.
 */
static __always_inline struct page *
release_folios(struct page *page, const struct page *end,
	       void (*let_go)(struct folio *folio), bool small)
{
	do {
		struct folio *folio = (struct folio *)page;

		/* Read the size first: without the pin the folio may be freed. */
		page += small ? 1 : folio_nr_pages(folio);
		let_go(folio);

		/* A run continues with the first page of the next folio. */
	} while (page < end);
	return page;
}

/* Inlined for each @let_go and @small, since it runs for every folio. */
static __always_inline void release_runs(const struct dmabufx_runs *runs,
					 void (*let_go)(struct folio *folio),
					 bool small)
{
	bool begins_inside = runs->nr_whole < runs->nr_pages;
	struct dmabufx_place at = dmabufx_runs_find(runs, 0);
	struct page *page, *end;

	for (; at.run; dmabufx_place_next(&at, runs)) {
		page = at.run->page;
		end = page + dmabufx_run_pages(at.run);
		if (!small && begins_inside)
			page = &page_folio(page)->page;
		do {
			page = release_folios(page, min(end, page + RELEASE_BATCH),
					      let_go, small);
			cond_resched();
		} while (page < end);
	}
}

/* Not inlined, so that the loop has registers for all it needs. */
static noinline void unpin_leaf(const struct dmabufx_run *run,
				const struct dmabufx_run *stop)
{
	for (; run < stop; run++) {
		struct page *page = run->page;
		u32 left = dmabufx_run_pages(run);

		do {
			unpin_folio((struct folio *)page++);
		} while (--left);
	}
}

/* For short runs of pinned folios of one page each: as little as can be for each run. */
static void unpin_short_runs(const struct dmabufx_runs *runs)
{
	struct dmabufx_place at = dmabufx_runs_find(runs, 0);

	for (; at.run; at = dmabufx_runs_find(runs, at.stop->start)) {
		unpin_leaf(at.run, at.stop);
		cond_resched();
	}
}

/**
 * dmabufx_retention_end - release all memory of a table, and free the table
 * @runs: a table that a source filled, perhaps in part; empty afterwards
 *
 * Context: Process context.
 */
void dmabufx_retention_end(struct dmabufx_runs *runs)
{
	if (runs->retention == DMABUFX_REFERENCED)
		release_runs(runs, folio_put, false);
	else if (runs->retention == DMABUFX_PINNED && runs->dirty)
		release_runs(runs, unpin_dirty, false);
	else if (runs->retention == DMABUFX_PINNED &&
		 runs->nr_small < runs->nr_pages)
		release_runs(runs, unpin_folio, false);
	else if (runs->retention == DMABUFX_PINNED && runs->longest > SHORT_RUN)
		release_runs(runs, unpin_folio, true);
	else if (runs->retention == DMABUFX_PINNED)
		unpin_short_runs(runs);
	dmabufx_runs_free(runs);
}
