// SPDX-License-Identifier: GPL-2.0-only
/*
 * The run table. It reads no struct page unless it walks folios, so most folios of these
 * tests are never accessed.
 */
#include "../runs.c"

#include "killed.h"
#include "tests.h"

/* Pages of a folio. */
#define ORDER	4
#define NR	16

static void free_table(void *runs)
{
	dmabufx_runs_free(runs);
}

static struct dmabufx_runs *new_table(struct kunit *test)
{
	struct dmabufx_runs *runs = zeroed(test, sizeof(*runs));

	KUNIT_ASSERT_EQ(test,
			kunit_add_action_or_reset(test, free_table, runs), 0);
	return runs;
}

static struct folio *new_folio(struct kunit *test)
{
	return page_folio(virt_to_page(kernel_memory(test, ORDER)));
}

/* Returns a page after @folio, as a folio of its own. */
static struct folio *folio_at(struct folio *folio, unsigned long nr)
{
	return (struct folio *)(&folio->page + nr);
}

static const struct dmabufx_run *run_at(const struct dmabufx_runs *runs, u32 nr)
{
	struct dmabufx_place at;

	for (at = dmabufx_runs_find(runs, 0); at.run; dmabufx_place_next(&at, runs))
		if (!nr--)
			break;
	return at.run;
}

static void contiguous_pages_are_one_run(struct kunit *test)
{
	struct dmabufx_runs *runs = new_table(test);
	struct folio *folio = new_folio(test);
	unsigned int i;

	for (i = 0; i < NR; i++)
		KUNIT_EXPECT_EQ(test, dmabufx_runs_append(runs, folio,
							  i, 1), i > 0);

	KUNIT_EXPECT_EQ(test, runs->nr, 1);
	KUNIT_EXPECT_EQ(test, runs->nr_pages, NR);
	KUNIT_EXPECT_PTR_EQ(test, run_at(runs, 0)->page, &folio->page);
	KUNIT_EXPECT_EQ(test, dmabufx_run_pages(run_at(runs, 0)), NR);
}

/* The second folio's reference is not surplus: the run had none to it before. */
static void a_run_goes_on_into_the_next_folio(struct kunit *test)
{
	struct dmabufx_runs *runs = new_table(test);
	struct folio *folio = new_folio(test), *next = folio_at(folio, NR);

	KUNIT_EXPECT_EQ(test, dmabufx_runs_append(runs, folio, 3,
						  NR - 3), 0);
	KUNIT_EXPECT_EQ(test, dmabufx_runs_append(runs, next, 0, 1), 0);
	KUNIT_EXPECT_EQ(test, dmabufx_runs_append(runs, next, 1, 1), 1);
	KUNIT_EXPECT_EQ(test, runs->nr, 1);
	KUNIT_EXPECT_EQ(test, runs->nr_pages, NR - 1);
	KUNIT_EXPECT_PTR_EQ(test, run_at(runs, 0)->page, folio_page(folio, 3));
}

static void other_pages_begin_a_run(struct kunit *test)
{
	/* Backwards, after a gap, and the same page again. */
	static const u8 first[] = { 5, 4, 6, 6, 8 };
	struct dmabufx_runs *runs = new_table(test);
	struct folio *folio = new_folio(test);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(first); i++)
		KUNIT_EXPECT_EQ(test, dmabufx_runs_append(runs, folio,
							  first[i], 1), 0);

	KUNIT_ASSERT_EQ(test, runs->nr, ARRAY_SIZE(first));
	for (i = 0; i < ARRAY_SIZE(first); i++) {
		KUNIT_EXPECT_EQ(test, run_at(runs, i)->start, i);
		KUNIT_EXPECT_PTR_EQ(test, run_at(runs, i)->page,
				    folio_page(folio, first[i]));
	}
}

/* Appends runs of 1, 2, 3... pages, which overlap each other in memory. */
static void fill_steps(struct kunit *test, struct dmabufx_runs *runs,
		       struct folio *folio, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		KUNIT_ASSERT_EQ(test, dmabufx_runs_append(runs, folio,
							  0, i + 1), 0);
}

static void every_page_is_found_and_no_other(struct kunit *test)
{
	struct dmabufx_runs *runs = new_table(test);
	struct folio *folio = new_folio(test);
	unsigned int nr, i, page, pgoff;

	KUNIT_EXPECT_PTR_EQ(test, dmabufx_runs_find(runs, 0).run, NULL);
	for (nr = 1; nr <= NR; nr++) {
		dmabufx_runs_free(runs);
		fill_steps(test, runs, folio, nr);
		for (i = 0, pgoff = 0; i < nr; i++)
			for (page = 0; page <= i; page++, pgoff++)
				KUNIT_EXPECT_PTR_EQ(test,
						    dmabufx_runs_find(runs, pgoff).run,
						    run_at(runs, i));
		KUNIT_EXPECT_EQ(test, pgoff, runs->nr_pages);
		KUNIT_EXPECT_PTR_EQ(test, dmabufx_runs_find(runs, pgoff).run, NULL);
		KUNIT_EXPECT_PTR_EQ(test, dmabufx_runs_find(runs, ULONG_MAX).run,
				    NULL);
	}
}

static void a_finished_table_is_trimmed_and_measured(struct kunit *test)
{
	struct dmabufx_runs *runs = new_table(test);
	struct folio *folio = new_folio(test);
	unsigned int i;

	KUNIT_ASSERT_EQ(test, dmabufx_runs_reserve(runs, 100), 0);
	KUNIT_EXPECT_GE(test, runs->stop - runs->tail, 100);
	fill_steps(test, runs, folio, 5);
	/* Here the longest run is not the last. */
	KUNIT_ASSERT_EQ(test, dmabufx_runs_append(runs, folio, 0, 1), 0);

	dmabufx_runs_finish(runs);
	KUNIT_EXPECT_EQ(test, runs->longest, 5);
	KUNIT_EXPECT_EQ(test, runs->stop - runs->leaf, 6);
	KUNIT_ASSERT_EQ(test, runs->nr, 6);
	for (i = 0; i < 5; i++)
		KUNIT_EXPECT_EQ(test, dmabufx_run_pages(run_at(runs, i)), i + 1);
}

static void a_small_leaf_grows_geometrically(struct kunit *test)
{
	struct dmabufx_runs *runs = new_table(test);
	struct folio *folio = new_folio(test);
	unsigned int i, grown = 0;

	for (i = 0; i < LEAF_RUNS; i++) {
		grown += runs->tail == runs->stop;
		/* These pages are never contiguous. */
		KUNIT_ASSERT_EQ(test, dmabufx_runs_append(runs, folio,
							  i % 2 * 2, 1), 0);
	}
	KUNIT_EXPECT_PTR_EQ(test, runs->root, runs->leaf);
	KUNIT_EXPECT_PTR_EQ(test, runs->tail, runs->stop);
	KUNIT_EXPECT_LE(test, grown, ilog2(LEAF_RUNS) + 2);
}

/* Two pages, of which the first one differs from run to run and from place to place. */
static struct folio *folio_of_run(struct folio *folio, u32 nr)
{
	return folio_at(folio, nr * 4 % 1048573);
}

static void append_runs(struct kunit *test, struct dmabufx_runs *runs,
			struct folio *folio, u32 nr)
{
	struct folio *piece;

	while (runs->nr < nr) {
		piece = folio_of_run(folio, runs->nr);
		KUNIT_ASSERT_EQ(test, dmabufx_runs_append(runs, piece, 0, 2), 0);
		cond_resched();
	}
}

static void expect_run(struct kunit *test, const struct dmabufx_runs *runs,
		       struct folio *folio, u32 nr)
{
	const struct dmabufx_run *run = dmabufx_runs_find(runs, 2 * nr).run;

	KUNIT_ASSERT_NOT_NULL(test, run);
	KUNIT_EXPECT_EQ(test, run->start, 2 * nr);
	KUNIT_EXPECT_EQ(test, dmabufx_run_pages(run), 2);
	KUNIT_EXPECT_PTR_EQ(test, run->page, &folio_of_run(folio, nr)->page);
	KUNIT_EXPECT_PTR_EQ(test, dmabufx_runs_find(runs, 2 * nr + 1).run, run);
}

/* Expects the runs at both sides of run @nr, where a leaf or a node may begin. */
static void expect_border(struct kunit *test, const struct dmabufx_runs *runs,
			  struct folio *folio, u32 nr)
{
	struct dmabufx_place at = dmabufx_runs_find(runs, 2 * nr - 1);

	expect_run(test, runs, folio, nr - 1);
	if (nr == runs->nr) {
		dmabufx_place_next(&at, runs);
		KUNIT_EXPECT_PTR_EQ(test, at.run, NULL);
		KUNIT_EXPECT_PTR_EQ(test, dmabufx_runs_find(runs, 2 * nr).run, NULL);
		return;
	}
	expect_run(test, runs, folio, nr);
	dmabufx_place_next(&at, runs);
	KUNIT_EXPECT_PTR_EQ(test, at.run, dmabufx_runs_find(runs, 2 * nr).run);
}

static void expect_all_in_order(struct kunit *test, const struct dmabufx_runs *runs,
				struct folio *folio)
{
	struct dmabufx_place at;
	u32 nr = 0;

	for (at = dmabufx_runs_find(runs, 0); at.run; dmabufx_place_next(&at, runs)) {
		if (at.run->start != 2 * nr ||
		    at.run->page != &folio_of_run(folio, nr)->page)
			break;
		nr++;
	}
	KUNIT_EXPECT_PTR_EQ(test, at.run, NULL);
	KUNIT_EXPECT_EQ(test, nr, runs->nr);
}

/* So many runs that they fill a leaf, a node of each level, and a tree of four levels. */
static const u32 borders[] = {
	LEAF_RUNS, LEAF_RUNS * 2, LEAF_RUNS * NODE_RECORDS,
	LEAF_RUNS * NODE_RECORDS * 2, LEAF_RUNS * NODE_RECORDS * NODE_RECORDS,
	LEAF_RUNS * NODE_RECORDS * NODE_RECORDS * 2,
};

static void runs_are_found_across_leaves_and_nodes(struct kunit *test)
{
	struct dmabufx_runs *runs = new_table(test);
	struct folio *folio = new_folio(test);
	unsigned int i, j, k;

	for (i = 0; i < ARRAY_SIZE(borders); i++)
		/* One run less than fits, as many as fit, and one more. */
		for (j = 0; j < 3; j++) {
			append_runs(test, runs, folio, borders[i] - 1 + j);
			expect_run(test, runs, folio, runs->nr - 1);
			for (k = 0; k < ARRAY_SIZE(borders); k++)
				if (borders[k] <= runs->nr)
					expect_border(test, runs, folio, borders[k]);
		}
	expect_all_in_order(test, runs, folio);
}

static void every_size_of_table_is_finished(struct kunit *test)
{
	struct dmabufx_runs *runs = new_table(test);
	struct folio *folio = new_folio(test);
	unsigned int i, j;

	dmabufx_runs_finish(runs);
	KUNIT_EXPECT_EQ(test, runs->longest, 0);
	for (i = 0; i < ARRAY_SIZE(borders) - 1; i++)
		for (j = 0; j < 3; j++) {
			dmabufx_runs_free(runs);
			append_runs(test, runs, folio, borders[i] - 1 + j);
			dmabufx_runs_finish(runs);
			KUNIT_EXPECT_TRUE(test, runs->tail == runs->stop ||
					  leaf_is_page(runs->tail - runs->leaf));
			KUNIT_EXPECT_EQ(test, runs->longest, 2);
			expect_border(test, runs, folio, runs->nr);
			expect_all_in_order(test, runs, folio);
		}
}

static void the_longest_run_may_be_in_any_leaf(struct kunit *test)
{
	struct dmabufx_runs *runs = new_table(test);
	struct folio *folio = new_folio(test);

	append_runs(test, runs, folio, LEAF_RUNS);
	KUNIT_ASSERT_EQ(test, dmabufx_runs_append(runs, folio, 0, 7), 0);
	while (runs->nr < 3 * LEAF_RUNS)
		dmabufx_runs_append(runs, folio, 0, 1);
	dmabufx_runs_finish(runs);
	KUNIT_EXPECT_EQ(test, runs->longest, 7);

	/* All runs are of one page. */
	dmabufx_runs_free(runs);
	while (runs->nr < 3 * LEAF_RUNS)
		dmabufx_runs_append(runs, folio, 0, 1);
	dmabufx_runs_finish(runs);
	KUNIT_EXPECT_EQ(test, runs->longest, 1);
}

static void the_largest_buffer_is_the_limit(struct kunit *test)
{
	struct dmabufx_runs *runs = new_table(test);
	struct folio *folio = new_folio(test);

	KUNIT_ASSERT_EQ(test, dmabufx_runs_append(runs, folio, 0,
						  DMABUFX_MAX_PAGES - 1), 0);
	KUNIT_EXPECT_EQ(test, dmabufx_runs_append(runs, folio, 0, 2),
			-EOVERFLOW);
	KUNIT_EXPECT_EQ(test, runs->nr, 1);
	KUNIT_EXPECT_EQ(test, runs->nr_pages, DMABUFX_MAX_PAGES - 1);
	KUNIT_EXPECT_EQ(test, dmabufx_runs_append(runs, folio, 0, 1), 0);
	KUNIT_EXPECT_EQ(test, dmabufx_runs_append(runs, folio, 0, 1),
			-EOVERFLOW);
	KUNIT_EXPECT_PTR_EQ(test, dmabufx_runs_find(runs, U32_MAX - 1).run,
			    run_at(runs, 1));
	KUNIT_EXPECT_PTR_EQ(test, dmabufx_runs_find(runs, U32_MAX).run, NULL);
}

/* A hint is not a promise: more than a leaf is not allocated ahead. */
static void room_is_reserved_up_to_a_leaf(struct kunit *test)
{
	struct dmabufx_runs *runs = new_table(test);
	struct folio *folio = new_folio(test);

	append_runs(test, runs, folio, 2);
	KUNIT_EXPECT_EQ(test, dmabufx_runs_reserve(runs, U32_MAX), 0);
	KUNIT_EXPECT_EQ(test, runs->stop - runs->tail, LEAF_RUNS - 2);
	expect_all_in_order(test, runs, folio);
	append_runs(test, runs, folio, LEAF_RUNS + 2);
	KUNIT_EXPECT_EQ(test, dmabufx_runs_reserve(runs, U32_MAX), 0);
	KUNIT_EXPECT_EQ(test, runs->stop - runs->tail, LEAF_RUNS - 2);
	expect_all_in_order(test, runs, folio);
}

/* Records a walk. */
struct walk {
	const struct dmabufx_runs *runs;
	struct folio *last;
	u32 visited;
	u32 most;
};

static int see(struct folio *folio, void *data)
{
	struct walk *walk = data;

	walk->last = folio;
	return ++walk->visited == walk->most ? 5 : 0;
}

static void a_walk_visits_every_folio(struct kunit *test)
{
	struct dmabufx_runs *runs = new_table(test);
	struct folio *large = new_folio(test), *other = new_folio(test);
	struct folio *small = page_folio(virt_to_page(kernel_memory(test, 0)));
	struct walk walk = {};

	KUNIT_EXPECT_EQ(test, dmabufx_walk_folios(runs, see, &walk), 0);
	KUNIT_EXPECT_EQ(test, walk.visited, 0);

	dmabufx_runs_append(runs, large, 3, 2);
	dmabufx_runs_append(runs, small, 0, 1);
	dmabufx_runs_append(runs, small, 0, 1);
	dmabufx_runs_append(runs, other, NR - 1, 1);
	KUNIT_EXPECT_EQ(test, dmabufx_walk_folios(runs, see, &walk), 0);
	KUNIT_EXPECT_EQ(test, walk.visited, 4);
	KUNIT_EXPECT_PTR_EQ(test, walk.last, other);

	walk = (struct walk) { .most = 2 };
	KUNIT_EXPECT_EQ(test, dmabufx_walk_folios(runs, see, &walk), 5);
	KUNIT_EXPECT_EQ(test, walk.visited, 2);
}

static int walk_all(void *data)
{
	struct walk *walk = data;

	return dmabufx_walk_folios(walk->runs, see, walk);
}

static void a_walk_ends_when_killed(struct kunit *test)
{
	struct folio *small = page_folio(virt_to_page(kernel_memory(test, 0)));
	struct dmabufx_runs *runs = new_table(test);
	struct walk walk = { .runs = runs };
	u32 i;

	for (i = 0; i < 4 * WALK_BATCH; i++)
		dmabufx_runs_append(runs, small, 0, 1);
	KUNIT_ASSERT_EQ(test, runs->nr, 4 * WALK_BATCH);
	KUNIT_EXPECT_EQ(test, dmabufx_walk_folios(runs, see, &walk), 0);
	KUNIT_EXPECT_EQ(test, walk.visited, 4 * WALK_BATCH);

	walk.visited = 0;
	KUNIT_EXPECT_EQ(test, call_killed(walk_all, &walk), -EINTR);
	KUNIT_EXPECT_EQ(test, walk.visited, WALK_BATCH);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(contiguous_pages_are_one_run),
	KUNIT_CASE(a_run_goes_on_into_the_next_folio),
	KUNIT_CASE(other_pages_begin_a_run),
	KUNIT_CASE(every_page_is_found_and_no_other),
	KUNIT_CASE(a_finished_table_is_trimmed_and_measured),
	KUNIT_CASE(a_small_leaf_grows_geometrically),
	KUNIT_CASE(runs_are_found_across_leaves_and_nodes),
	KUNIT_CASE(every_size_of_table_is_finished),
	KUNIT_CASE(the_longest_run_may_be_in_any_leaf),
	KUNIT_CASE(the_largest_buffer_is_the_limit),
	KUNIT_CASE(room_is_reserved_up_to_a_leaf),
	KUNIT_CASE(a_walk_visits_every_folio),
	KUNIT_CASE(a_walk_ends_when_killed),
	{}
};

struct kunit_suite dmabufx_runs_suite = {
	.name = "dmabufx_runs",
	.test_cases = cases,
};
