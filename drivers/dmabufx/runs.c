// SPDX-License-Identifier: GPL-2.0-only
/*
 * The run table: a buffer's memory as physically contiguous runs.
 *
 * Pure: it pins nothing, maps nothing and reads no struct page beyond a
 * folio's frame number. A run takes 16 bytes however long it is, so a
 * gigabyte of huge pages costs what one page costs, and finding a page is a
 * binary search.
 */
#include <linux/overflow.h>
#include <linux/slab.h>

#include "dmabufx.h"

static_assert(sizeof(struct dmabufx_run) == 16);

/* Enough for most window-sized buffers, in 256 bytes. */
#define FIRST_CAPACITY	16

static int runs_grow(struct dmabufx_runs *runs)
{
	u32 capacity = max_t(u32, runs->capacity * 2, FIRST_CAPACITY);
	struct dmabufx_run *run;

	if (capacity < runs->capacity)
		return -ENOMEM;

	run = kvrealloc(runs->run, array_size(capacity, sizeof(*run)),
			GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!run)
		return -ENOMEM;

	runs->run = run;
	runs->capacity = capacity;
	return 0;
}

/* Does @pfn follow the table's last page in physical memory? */
static bool runs_end_before(const struct dmabufx_runs *runs, unsigned long pfn)
{
	const struct dmabufx_run *last = &runs->run[runs->nr - 1];

	return dmabufx_run_pfn(last) + dmabufx_run_pages(runs, last) == pfn;
}

/**
 * dmabufx_runs_append - add memory at the end of a buffer
 * @runs: the table
 * @folio: the memory's folio
 * @first: index of the first page in @folio
 * @nr_pages: how many pages of @folio, at least one
 *
 * Extends the last run where the memory follows it physically, within a folio
 * or from one to the next.
 *
 * Context: the caller alone knows the table.
 * Return: 0 when a run now rests on @folio that did not before; 1 when the
 * last run rested on it already, so that one reference of the caller's is
 * surplus; -ENOMEM or -EOVERFLOW with the table unchanged.
 */
int dmabufx_runs_append(struct dmabufx_runs *runs, struct folio *folio,
			u32 first, u32 nr_pages)
{
	u32 total;
	int ret;

	if (check_add_overflow(runs->nr_pages, nr_pages, &total))
		return -EOVERFLOW;

	if (runs->nr && runs_end_before(runs, folio_pfn(folio) + first)) {
		ret = runs->last == folio;
	} else {
		ret = runs->nr == runs->capacity ? runs_grow(runs) : 0;
		if (ret)
			return ret;
		runs->run[runs->nr++] = (struct dmabufx_run) {
			.folio = folio,
			.first = first,
			.start = runs->nr_pages,
		};
	}

	runs->last = folio;
	runs->nr_pages = total;
	return ret;
}

/**
 * dmabufx_runs_trim - give back what geometric growth took too much
 * @runs: the table, complete
 *
 * Never fails: where there is no memory for a smaller table the larger stays.
 */
void dmabufx_runs_trim(struct dmabufx_runs *runs)
{
	struct dmabufx_run *run;

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
 * dmabufx_runs_free - free the table, not what it describes
 * @runs: the table; empty afterwards
 */
void dmabufx_runs_free(struct dmabufx_runs *runs)
{
	kvfree(runs->run);
	*runs = (struct dmabufx_runs) {};
}

/**
 * dmabufx_runs_find - the run that a page of the buffer lies in
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
