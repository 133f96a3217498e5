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
 * Let go of each folio from the one that @page heads up to the one before @end.
 * Returns where the next would begin.
 */
static __always_inline struct page *
release_folios(struct page *page, const struct page *end,
	       void (*let_go)(struct folio *folio))
{
	while (page < end) {
		struct folio *folio = (struct folio *)page;
		struct page *next = page + 1;

		/* Asked before the pin is gone, and the folio perhaps with it. */
		if (PageHead(page))
			next = page + folio_nr_pages(folio);
		let_go(folio);

		/* What follows a whole folio is the first page of the next. */
		page = next;
	}
	return page;
}

static __always_inline void release_runs(const struct dmabufx_runs *runs,
					 void (*let_go)(struct folio *folio))
{
	u32 i;

	for (i = 0; i < runs->nr; i++) {
		const struct dmabufx_run *run = &runs->run[i];
		struct page *end = dmabufx_run_page(run) +
				   dmabufx_run_pages(runs, run);
		struct page *page = &run->folio->page;

		while (page < end) {
			page = release_folios(page, min(end, page + RELEASE_BATCH),
					      let_go);
			cond_resched();
		}
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
		release_runs(runs, folio_put);
	else if (runs->retention == DMABUFX_PINNED && runs->dirty)
		release_runs(runs, unpin_dirty);
	else if (runs->retention == DMABUFX_PINNED)
		release_runs(runs, unpin_folio);
	dmabufx_runs_free(runs);
}
