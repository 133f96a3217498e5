// SPDX-License-Identifier: GPL-2.0-only
/*
 * How the memory behind a table of runs is held, and its end.
 *
 * Memory that we hold ourselves is held by one pin (or reference) of every
 * folio that a run touches, for each run that touches it. So the runs alone
 * say what to let go, and no list of what was pinned is kept.
 */
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched.h>

#include "dmabufx.h"

/* How many pages to let go before others may run. */
#define RELEASE_BATCH	16384

/* Devices and mappings wrote, and the core did not notice. */
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
 * Let go of each folio from the one that @page heads up to the one before @end;
 * of one page each if @small. Returns where the next would begin.
 */
static __always_inline struct page *
release_folios(struct page *page, const struct page *end,
	       void (*let_go)(struct folio *folio), bool small)
{
	do {
		struct folio *folio = (struct folio *)page;

		/* Asked before the pin is gone, and the folio perhaps with it. */
		page += small ? 1 : folio_nr_pages(folio);
		let_go(folio);

		/* What follows a whole folio is the first page of the next. */
	} while (page < end);
	return page;
}

/* Inlined for each @let_go and @small, as this is done for every page. */
static __always_inline void release_runs(const struct dmabufx_runs *runs,
					 void (*let_go)(struct folio *folio),
					 bool small)
{
	const struct dmabufx_run *run = runs->run + runs->nr;
	u32 run_end = runs->nr_pages;

	for (; run-- > runs->run; run_end = run->start) {
		struct page *end = dmabufx_run_page(run) + run_end - run->start;
		struct page *page = &run->folio->page;

		do {
			page = release_folios(page, min(end, page + RELEASE_BATCH),
					      let_go, small);
			cond_resched();
		} while (page < end);
	}
}

/**
 * dmabufx_retention_end - let go of all memory of a table, and of the table
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
		 runs->nr_small == runs->nr_pages)
		release_runs(runs, unpin_folio, true);
	else if (runs->retention == DMABUFX_PINNED)
		release_runs(runs, unpin_folio, false);
	dmabufx_runs_free(runs);
}
