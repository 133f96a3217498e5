// SPDX-License-Identifier: GPL-2.0-only
/*
 * The run table: a buffer's memory as physically contiguous runs.
 *
 * It pins nothing and maps nothing. It reads struct pages only when it walks folios: where
 * they begin, and their sizes. A run takes 12 bytes however long it is, so a table for a
 * gigabyte of contiguous memory is as small as one for a page.
 *
 * The runs are in leaves of up to a page each. Most buffers have few runs, which fit in
 * one leaf: it is as large as they need. Further leaves are whole pages, and a tree leads
 * to all of them. It only grows at its end, so it needs no balancing: every node but the
 * last of each level is full. A record of a node tells where in the buffer the first run
 * below it starts. A page is found by binary search, node after node.
 *
 * While the table grows, no run moves once its leaf is a page. Nothing larger than a page is
 * allocated.
 */
#include <linux/kmemleak.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "dmabufx.h"

static_assert(sizeof(struct dmabufx_run) == 12);
/* So an overflow of a u32 always means that the buffer is too large. */
static_assert(DMABUFX_MAX_PAGES == U32_MAX);

/* Runs in a full leaf, which together with the end of the last one fill it exactly. */
#define LEAF_RUNS	((PAGE_SIZE - sizeof(u32)) / sizeof(struct dmabufx_run))

/* Records in a node of the tree: 256 bytes of them. */
#define NODE_RECORDS	(SZ_256 / sizeof(struct dmabufx_run))

/* The start of a record that is not in use: no run starts there, see DMABUFX_MAX_PAGES. */
#define UNUSED		U32_MAX

#define TABLE_GFP	(GFP_KERNEL_ACCOUNT | __GFP_NOWARN)

static size_t leaf_size(u32 nr)
{
	return nr * sizeof(struct dmabufx_run) + sizeof(u32);
}

/* A leaf of more than half a page takes a page, and has room for LEAF_RUNS then. */
static bool leaf_is_page(u32 nr)
{
	return leaf_size(nr) > PAGE_SIZE / 2;
}

static struct dmabufx_run *leaf_alloc(u32 nr)
{
	return leaf_is_page(nr) ? (void *)__get_free_page(TABLE_GFP) :
				  kmalloc(leaf_size(nr), TABLE_GFP);
}

static void leaf_free(struct dmabufx_run *leaf, u32 nr)
{
	if (leaf_is_page(nr))
		free_page((unsigned long)leaf);
	else
		kfree(leaf);
}

static struct dmabufx_run *node_alloc(void)
{
	struct dmabufx_run *node = kmalloc_array(NODE_RECORDS, sizeof(*node), TABLE_GFP);
	u32 i;

	/* It would not find the pointer in a record, which need not be aligned. */
	kmemleak_not_leak(node);
	for (i = 0; node && i < NODE_RECORDS; i++)
		node[i].start = UNUSED;
	return node;
}

/* Free @node, below which there are places for @places leaves. It is a leaf if that is 1. */
static void tree_free(struct dmabufx_runs *runs, struct dmabufx_run *node, u32 places)
{
	u32 i;

	if (places == 1) {
		leaf_free(node, node == runs->leaf ? runs->stop - node : LEAF_RUNS);
		return;
	}
	for (i = 0; i < NODE_RECORDS && node[i].start != UNUSED; i++)
		tree_free(runs, node[i].node, places / NODE_RECORDS);
	kfree(node);
	cond_resched();
}

/* Make another level of the tree. */
static int tree_raise(struct dmabufx_runs *runs)
{
	struct dmabufx_run *node = node_alloc();

	if (!node)
		return -ENOMEM;
	node->start = 0;
	node->node = runs->root;
	runs->root = node;
	runs->places *= NODE_RECORDS;
	return 0;
}

/*
 * Make @leaf the one with the number @n: the next one, or one that it replaces. In the
 * latter case this needs no memory. After -ENOMEM, nodes may have been added, but every
 * search still finds its leaf.
 */
static int tree_put(struct dmabufx_runs *runs, u32 n, struct dmabufx_run *leaf)
{
	struct dmabufx_run *node, *record;
	u32 places;

	if (n == runs->places && tree_raise(runs))
		return -ENOMEM;

	node = runs->root;
	for (places = runs->places / NODE_RECORDS; places > 1; places /= NODE_RECORDS) {
		record = node + n / places % NODE_RECORDS;
		node = record->start == UNUSED ? node_alloc() : record->node;
		if (!node)
			return -ENOMEM;
		record->node = node;
		if (n % places == 0)
			record->start = leaf->start;
	}
	node[n % NODE_RECORDS] = (struct dmabufx_run) {
		.start = leaf->start,
		.node = leaf,
	};
	return 0;
}

/* Use @leaf, which has @used runs and room for @nr in all, as the last one. */
static void leaf_use(struct dmabufx_runs *runs, struct dmabufx_run *leaf, u32 used,
		     u32 nr)
{
	runs->leaf = leaf;
	runs->tail = leaf + used;
	runs->stop = leaf + (leaf_is_page(nr) ? LEAF_RUNS : nr);
}

/* Move the runs of the last leaf to one with room for @nr, or make the first leaf. */
static int leaf_resize(struct dmabufx_runs *runs, u32 nr)
{
	u32 used = runs->tail - runs->leaf;
	struct dmabufx_run *leaf = leaf_alloc(nr);

	if (!leaf)
		return -ENOMEM;

	if (runs->leaf) {
		memcpy(leaf, runs->leaf, leaf_size(used));
		leaf_free(runs->leaf, runs->stop - runs->leaf);
	} else {
		leaf->start = 0;
		runs->places = 1;
	}
	if (runs->places == 1)
		runs->root = leaf;
	else
		tree_put(runs, (runs->nr - 1) / LEAF_RUNS, leaf);
	leaf_use(runs, leaf, used, nr);
	return 0;
}

static int leaf_add(struct dmabufx_runs *runs)
{
	struct dmabufx_run *leaf = leaf_alloc(LEAF_RUNS);

	if (!leaf)
		return -ENOMEM;
	leaf->start = runs->nr_pages;
	if (tree_put(runs, runs->nr / LEAF_RUNS, leaf)) {
		leaf_free(leaf, LEAF_RUNS);
		return -ENOMEM;
	}
	leaf_use(runs, leaf, 0, LEAF_RUNS);
	return 0;
}

/**
 * dmabufx_runs_reserve - make room for runs that are about to be appended
 * @runs: the table
 * @nr: the most that may be appended; a hint only, appending also makes room by itself
 *
 * Return: 0, or -ENOMEM with the table unchanged.
 */
int dmabufx_runs_reserve(struct dmabufx_runs *runs, u32 nr)
{
	u32 room = runs->stop - runs->tail;

	/* Only the first leaf grows. It doubles at least, so that many calls copy little. */
	nr = min(nr, LEAF_RUNS - min(runs->nr, LEAF_RUNS));
	if (nr <= room)
		return 0;
	return leaf_resize(runs, clamp(2 * runs->nr, runs->nr + nr, LEAF_RUNS));
}

/**
 * dmabufx_runs_grow - make room for one more run, at least
 * @runs: the table, whose last leaf is full
 *
 * The rare part of dmabufx_runs_append().
 *
 * Return: 0, or -ENOMEM with the table unchanged.
 */
int dmabufx_runs_grow(struct dmabufx_runs *runs)
{
	return runs->nr < LEAF_RUNS ? dmabufx_runs_reserve(runs, 1) : leaf_add(runs);
}

/**
 * dmabufx_runs_finish - finish a table
 * @runs: the table; nothing is appended after this
 *
 * Shrinks the last leaf to its size. If there is no memory for a smaller copy, the
 * larger one stays.
 */
void dmabufx_runs_finish(struct dmabufx_runs *runs)
{
	u32 used = runs->tail - runs->leaf;

	if (runs->tail < runs->stop && !leaf_is_page(used))
		leaf_resize(runs, used);
}

/**
 * dmabufx_runs_free - free the table, but not the memory that it describes
 * @runs: the table; empty afterwards
 *
 * Context: Process context, may sleep.
 */
void dmabufx_runs_free(struct dmabufx_runs *runs)
{
	if (runs->root)
		tree_free(runs, runs->root, runs->places);
	*runs = (struct dmabufx_runs) {};
}

/* Returns the last of @nr records that starts at or before @pgoff, as the first does. */
static const struct dmabufx_run *search(const struct dmabufx_run *record, u32 nr,
					u32 pgoff)
{
	u32 low = 0, end = nr;

	/* record[low] starts at or before pgoff, record[end] after it. */
	while (end - low > 1) {
		u32 mid = low + (end - low) / 2;

		if (record[mid].start <= pgoff)
			low = mid;
		else
			end = mid;
	}
	return record + low;
}

/**
 * dmabufx_runs_find - find the run that contains a page of the buffer
 * @runs: the table
 * @pgoff: the page
 *
 * Return: the place of the run, an empty one when @pgoff is beyond the buffer.
 */
struct dmabufx_place dmabufx_runs_find(const struct dmabufx_runs *runs,
				       pgoff_t pgoff)
{
	const struct dmabufx_run *node = runs->leaf, *stop = runs->tail;
	u32 places;

	if (pgoff >= runs->nr_pages)
		return (struct dmabufx_place) {};

	/* All leaves but the last, which is often the only one, are full. */
	if (pgoff < node->start) {
		node = runs->root;
		for (places = runs->places; places > 1; places /= NODE_RECORDS)
			node = search(node, NODE_RECORDS, pgoff)->node;
		stop = node + LEAF_RUNS;
	}
	return (struct dmabufx_place) {
		.run = search(node, stop - node, pgoff),
		.stop = stop,
	};
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
	struct dmabufx_place at;
	u32 visited = 0;
	int ret;

	for (at = dmabufx_runs_find(runs, 0); at.run; dmabufx_place_next(&at, runs)) {
		unsigned long pfn = dmabufx_run_pfn(at.run);
		unsigned long end = pfn + dmabufx_run_pages(at.run);

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
