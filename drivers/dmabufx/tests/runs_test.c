// SPDX-License-Identifier: GPL-2.0-only
/*
 * The run table. It uses only the frame numbers of folios, so most folios of these
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

static void contiguous_pages_are_one_run(struct kunit *test)
{
	struct dmabufx_runs *runs = new_table(test);
	struct folio *folio = new_folio(test);
	unsigned int i;

	for (i = 0; i < NR; i++)
		KUNIT_EXPECT_EQ(test, dmabufx_runs_append(runs, folio, folio,
							  i, 1), i > 0);

	KUNIT_EXPECT_EQ(test, runs->nr, 1);
	KUNIT_EXPECT_EQ(test, runs->nr_pages, NR);
	KUNIT_EXPECT_PTR_EQ(test, runs->run[0].folio, folio);
	KUNIT_EXPECT_EQ(test, runs->run[0].first, 0);
	KUNIT_EXPECT_EQ(test, dmabufx_run_pages(runs, runs->run), NR);
}

/* The second folio's reference is not surplus: the run had none to it before. */
static void a_run_goes_on_into_the_next_folio(struct kunit *test)
{
	struct dmabufx_runs *runs = new_table(test);
	struct folio *folio = new_folio(test), *next = folio_at(folio, NR);

	KUNIT_EXPECT_EQ(test, dmabufx_runs_append(runs, folio, folio, 3,
						  NR - 3), 0);
	KUNIT_EXPECT_EQ(test, dmabufx_runs_append(runs, next, next, 0, 1), 0);
	KUNIT_EXPECT_EQ(test, dmabufx_runs_append(runs, next, next, 1, 1), 1);
	KUNIT_EXPECT_EQ(test, runs->nr, 1);
	KUNIT_EXPECT_EQ(test, runs->nr_pages, NR - 1);
	KUNIT_EXPECT_EQ(test, runs->run[0].first, 3);
}

static void other_pages_begin_a_run(struct kunit *test)
{
	/* Backwards, after a gap, and the same page again. */
	static const u8 first[] = { 5, 4, 6, 6, 8 };
	struct dmabufx_runs *runs = new_table(test);
	struct folio *folio = new_folio(test);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(first); i++)
		KUNIT_EXPECT_EQ(test, dmabufx_runs_append(runs, folio, folio,
							  first[i], 1), 0);

	KUNIT_ASSERT_EQ(test, runs->nr, ARRAY_SIZE(first));
	for (i = 0; i < ARRAY_SIZE(first); i++) {
		KUNIT_EXPECT_EQ(test, runs->run[i].first, first[i]);
		KUNIT_EXPECT_EQ(test, runs->run[i].start, i);
		KUNIT_EXPECT_PTR_EQ(test, dmabufx_run_page(&runs->run[i]),
				    folio_page(folio, first[i]));
	}
}

/* Appends runs of 1, 2, 3... pages, which overlap each other in memory. */
static void fill_steps(struct kunit *test, struct dmabufx_runs *runs,
		       struct folio *folio, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		KUNIT_ASSERT_EQ(test, dmabufx_runs_append(runs, folio, folio,
							  0, i + 1), 0);
}

static void every_page_is_found_and_no_other(struct kunit *test)
{
	struct dmabufx_runs *runs = new_table(test);
	struct folio *folio = new_folio(test);
	unsigned int nr, i, page, pgoff;

	KUNIT_EXPECT_PTR_EQ(test, dmabufx_runs_find(runs, 0), NULL);
	for (nr = 1; nr <= NR; nr++) {
		dmabufx_runs_free(runs);
		fill_steps(test, runs, folio, nr);
		for (i = 0, pgoff = 0; i < nr; i++)
			for (page = 0; page <= i; page++, pgoff++)
				KUNIT_EXPECT_PTR_EQ(test,
						    dmabufx_runs_find(runs, pgoff),
						    &runs->run[i]);
		KUNIT_EXPECT_EQ(test, pgoff, runs->nr_pages);
		KUNIT_EXPECT_PTR_EQ(test, dmabufx_runs_find(runs, pgoff), NULL);
		KUNIT_EXPECT_PTR_EQ(test, dmabufx_runs_find(runs, ULONG_MAX),
				    NULL);
	}
}

static void a_finished_table_is_trimmed_and_measured(struct kunit *test)
{
	struct dmabufx_runs *runs = new_table(test);
	struct folio *folio = new_folio(test);
	unsigned int i;

	KUNIT_ASSERT_EQ(test, dmabufx_runs_reserve(runs, 1000), 0);
	KUNIT_EXPECT_GE(test, runs->capacity, 1000);
	fill_steps(test, runs, folio, 5);
	/* Here the longest run is not the last. */
	KUNIT_ASSERT_EQ(test, dmabufx_runs_append(runs, folio, folio, 0, 1), 0);

	dmabufx_runs_finish(runs);
	KUNIT_EXPECT_EQ(test, runs->longest, 5);
	KUNIT_EXPECT_EQ(test, runs->capacity, 6);
	KUNIT_ASSERT_EQ(test, runs->nr, 6);
	for (i = 0; i < 5; i++)
		KUNIT_EXPECT_EQ(test, dmabufx_run_pages(runs, &runs->run[i]),
				i + 1);
}

static void room_grows_geometrically(struct kunit *test)
{
	struct dmabufx_runs *runs = new_table(test);
	struct folio *folio = new_folio(test);
	unsigned int i, capacity = 0, grown = 0;

	for (i = 0; i < 4096; i++) {
		/* These pages are never contiguous. */
		KUNIT_ASSERT_EQ(test, dmabufx_runs_append(runs, folio, folio,
							  i % 2 * 2, 1), 0);
		grown += runs->capacity != capacity;
		capacity = runs->capacity;
	}
	KUNIT_EXPECT_EQ(test, runs->nr, 4096);
	KUNIT_EXPECT_LE(test, grown, 13);
}

static void the_largest_buffer_is_the_limit(struct kunit *test)
{
	struct dmabufx_runs *runs = new_table(test);
	struct folio *folio = new_folio(test);

	KUNIT_ASSERT_EQ(test, dmabufx_runs_append(runs, folio, folio, 0,
						  DMABUFX_MAX_PAGES - 1), 0);
	KUNIT_EXPECT_EQ(test, dmabufx_runs_append(runs, folio, folio, 0, 2),
			-EOVERFLOW);
	KUNIT_EXPECT_EQ(test, runs->nr, 1);
	KUNIT_EXPECT_EQ(test, runs->nr_pages, DMABUFX_MAX_PAGES - 1);
	KUNIT_EXPECT_EQ(test, dmabufx_runs_append(runs, folio, folio, 0, 1), 0);
	KUNIT_EXPECT_EQ(test, dmabufx_runs_append(runs, folio, folio, 0, 1),
			-EOVERFLOW);
	KUNIT_EXPECT_PTR_EQ(test, dmabufx_runs_find(runs, U32_MAX - 1),
			    &runs->run[1]);
	KUNIT_EXPECT_PTR_EQ(test, dmabufx_runs_find(runs, U32_MAX), NULL);
}

static void room_for_too_many_is_refused(struct kunit *test)
{
	struct dmabufx_runs *runs = new_table(test);
	struct folio *folio = new_folio(test);

	fill_steps(test, runs, folio, 2);
	KUNIT_EXPECT_EQ(test, dmabufx_runs_reserve(runs, U32_MAX), -ENOMEM);
	KUNIT_EXPECT_EQ(test, runs->nr, 2);
	KUNIT_EXPECT_PTR_EQ(test, dmabufx_runs_find(runs, 2), &runs->run[1]);
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

	dmabufx_runs_append(runs, large, large, 3, 2);
	dmabufx_runs_append(runs, small, small, 0, 1);
	dmabufx_runs_append(runs, small, small, 0, 1);
	dmabufx_runs_append(runs, other, other, NR - 1, 1);
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
		dmabufx_runs_append(runs, small, small, 0, 1);
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
	KUNIT_CASE(room_grows_geometrically),
	KUNIT_CASE(the_largest_buffer_is_the_limit),
	KUNIT_CASE(room_for_too_many_is_refused),
	KUNIT_CASE(a_walk_visits_every_folio),
	KUNIT_CASE(a_walk_ends_when_killed),
	{}
};

struct kunit_suite dmabufx_runs_suite = {
	.name = "dmabufx_runs",
	.test_cases = cases,
};
