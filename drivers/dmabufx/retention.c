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

#include "dmabufx.h"

/* Pages to release before other tasks may run. */
#define RELEASE_BATCH	16384

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

/* Inlined for each @let_go and @small, since it runs for every page. */
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
		 runs->nr_small == runs->nr_pages)
		release_runs(runs, unpin_folio, true);
	else if (runs->retention == DMABUFX_PINNED)
		release_runs(runs, unpin_folio, false);
	dmabufx_runs_free(runs);
}
