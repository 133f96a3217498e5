// SPDX-License-Identifier: GPL-2.0-only
/*
 * The run table: a buffer's memory as physically contiguous runs.
 *
 * It pins nothing and maps nothing. Of struct pages it reads only a folio's frame
 * number and, when it walks folios, their sizes. A run takes 16 bytes however long it
 * is, so a table for a gigabyte of contiguous memory is as small as one for a page.
 * A page is found by binary search.
 */
#include <linux/overflow.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "dmabufx.h"

static_assert(sizeof(struct dmabufx_run) == 16);
/* So an overflow of a u32 always means that the buffer is too large. */
static_assert(DMABUFX_MAX_PAGES == U32_MAX);

/* Limit of kvmalloc(), reached at half a TiB in which no two pages are neighbours. */
#define MOST_RUNS	(INT_MAX / sizeof(struct dmabufx_run))

/**
 * dmabufx_runs_reserve - make room for runs that are about to be appended
 * @runs: the table
 * @nr: the most that may be appended; a hint only, appending also makes room by itself
 *
 * Grows at least geometrically, so that frequent calls cost little.
 *
 * Return: 0, or -ENOMEM with the table unchanged.
 */
int dmabufx_runs_reserve(struct dmabufx_runs *runs, u32 nr)
{
	struct dmabufx_run *run;
	u32 capacity;

	if (nr <= runs->capacity - runs->nr)
		return 0;
	if (check_add_overflow(runs->nr, nr, &capacity) || capacity > MOST_RUNS)
		return -ENOMEM;

	capacity = min_t(u32, max(capacity, runs->capacity * 2), MOST_RUNS);
	run = kvrealloc(runs->run, array_size(capacity, sizeof(*run)),
			GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!run)
		return -ENOMEM;

	runs->run = run;
	runs->capacity = capacity;
	return 0;
}

/* The rare part of dmabufx_runs_append(), split off to keep the rest a short leaf function. */
static noinline int grow_and_append(struct dmabufx_runs *runs,
				    struct folio *folio, struct folio *last,
				    u32 first, u32 nr_pages)
{
	return dmabufx_runs_reserve(runs, 1) ?:
	       dmabufx_runs_append(runs, folio, last, first, nr_pages);
}

/**
 * dmabufx_runs_append - add memory at the end of a buffer
 * @runs: the table
 * @folio: the folio that the memory begins in
 * @last: the folio that it ends in, often the same
 * @first: index of the first page in @folio
 * @nr_pages: how many pages, physically contiguous, at least one
 *
 * Extends the last run if the memory follows it physically, within a folio
 * or from one folio to the next.
 *
 * Context: Nobody else uses the table.
 * Return: 0 if a run now uses @folio that did not use it before; 1 if the last run
 * used it already, so that one of the caller's references to it is surplus;
 * -ENOMEM or -EOVERFLOW with the table unchanged.
 */
int dmabufx_runs_append(struct dmabufx_runs *runs, struct folio *folio,
			struct folio *last, u32 first, u32 nr_pages)
{
	struct page *page = folio_page(folio, first);
	u32 start = runs->nr_pages, end;
	int ret = 0;

	if (check_add_overflow(start, nr_pages, &end))
		return -EOVERFLOW;

	if (runs->next == page) {
		ret = runs->last == folio;
	} else if (runs->nr < runs->capacity) {
		runs->run[runs->nr++] = (struct dmabufx_run) {
			.folio = folio,
			.first = first,
			.start = start,
		};
	} else {
		return grow_and_append(runs, folio, last, first, nr_pages);
	}

	runs->last = last;
	runs->next = page + nr_pages;
	runs->nr_pages = end;
	return ret;
}

static u32 longest_run(const struct dmabufx_runs *runs)
{
	const struct dmabufx_run *run = runs->run + runs->nr;
	u32 end = runs->nr_pages, longest = 0;

	for (; run-- > runs->run; end = run->start)
		longest = max(longest, end - run->start);
	return longest;
}

/**
 * dmabufx_runs_finish - finish a table
 * @runs: the table; nothing is appended after this
 *
 * Shrinks the table to its size. Never fails: if there is no memory for a smaller
 * copy, the larger one stays.
 */
void dmabufx_runs_finish(struct dmabufx_runs *runs)
{
	struct dmabufx_run *run;

	runs->longest = longest_run(runs);
	if (runs->nr == runs->capacity)
		return;

	run = kvmemdup(runs->run, array_size(runs->nr, sizeof(*run)),
		       GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!run)
		return;

	kvfree(runs->run);
	runs->run = run;
	runs->capacity = runs->nr;
}

/**
 * dmabufx_runs_free - free the table, but not the memory that it describes
 * @runs: the table; empty afterwards
 */
void dmabufx_runs_free(struct dmabufx_runs *runs)
{
	kvfree(runs->run);
	*runs = (struct dmabufx_runs) {};
}

/**
 * dmabufx_runs_find - find the run that contains a page of the buffer
 * @runs: the table
 * @pgoff: the page
 *
 * Return: the run, or NULL when @pgoff is beyond the buffer.
 */
const struct dmabufx_run *dmabufx_runs_find(const struct dmabufx_runs *runs,
					    pgoff_t pgoff)
{
	u32 low = 0, end = runs->nr;

	if (pgoff >= runs->nr_pages)
		return NULL;

	/* run[low] starts at or before pgoff, run[end] after it. */
	while (end - low > 1) {
		u32 mid = low + (end - low) / 2;

		if (runs->run[mid].start <= pgoff)
			low = mid;
		else
			end = mid;
	}
	return &runs->run[low];
}

/* Folios to visit before a pause: takes some tens of microseconds. */
#define WALK_BATCH	1024

/**
 * dmabufx_walk_folios - visit every folio that a table touches
 * @runs: the table
 * @visit: called with each folio, for each run that touches it; if it does not return
 *	0, the walk ends
 * @data: for @visit
 *
 * A table may touch 2^32 folios: the walk lets other tasks run, and ends when the
 * caller is being killed.
 *
 * Context: Process context, may sleep.
 * Return: 0, what @visit returned to end the walk, or -EINTR.
 */
int dmabufx_walk_folios(const struct dmabufx_runs *runs,
			int (*visit)(struct folio *folio, void *data), void *data)
{
	u32 i, visited = 0;
	int ret;

	for (i = 0; i < runs->nr; i++) {
		const struct dmabufx_run *run = &runs->run[i];
		unsigned long pfn = dmabufx_run_pfn(run);
		unsigned long end = pfn + dmabufx_run_pages(runs, run);

		while (pfn < end) {
			struct folio *folio = page_folio(pfn_to_page(pfn));

			ret = visit(folio, data);
			if (ret)
				return ret;
			pfn = folio_pfn(folio) + folio_nr_pages(folio);

			if (++visited % WALK_BATCH)
				continue;
			if (fatal_signal_pending(current))
				return -EINTR;
			cond_resched();
		}
	}
	return 0;
}
