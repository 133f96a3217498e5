// SPDX-License-Identifier: GPL-2.0-only
/*
 * dmabufx_iter_append(): kernel iterators become runs.
 */
#include <linux/mm.h>
/* folio_queue.h of 6.12 does not include mm.h, but needs it. */
#include <linux/folio_queue.h>
#include <linux/ioport.h>
#include <linux/memory_hotplug.h>
#include <linux/memremap.h>
#include <linux/mmzone.h>
#include <linux/nodemask.h>
#include <linux/sizes.h>

#include "../dmabufx.h"
#include "killed.h"
#include "tests.h"

KUNIT_ARRAY_PARAM(kinds, kernel_kinds, source_kind_desc);

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

/* Makes segments of whole slab objects, or of ranges of contiguous memory. */
static size_t align_kvec(struct source *source)
{
	static const u8 from[] = { 0, 3, 9, 9, 20 }, to[] = { 3, 3, 15, 9, 47 };
	unsigned int i, nr = source->memory ? ARRAY_SIZE(from) : MEMORY_PAGES;
	struct kvec *kvec = source->kvec;
	size_t size = 0;

	for (i = 0; i < nr; i++) {
		if (source->memory) {
			kvec[i].iov_base = source->memory + from[i] * PAGE_SIZE;
			kvec[i].iov_len = (to[i] - from[i]) * PAGE_SIZE;
		} else {
			kvec[i].iov_base = page_address(source->pages[i]);
			kvec[i].iov_len = PAGE_SIZE;
		}
		size += kvec[i].iov_len;
	}
	iov_iter_kvec(&source->iter, ITER_DEST, kvec, nr, size);
	return size;
}

/* Replaces the odd ranges by ranges of whole pages in the same memory. */
static size_t align(struct source *source)
{
	struct iov_iter *iter = &source->iter;
	unsigned int i, nr = 0;
	size_t size = 0;

	switch (iov_iter_type(iter)) {
	case ITER_BVEC:
		for (i = 0; i < MEMORY_PAGES && source->pages[i]; i++)
			bvec_set_page(&source->bvec[nr++], source->pages[i],
				      PAGE_SIZE, 0);
		size = nr * PAGE_SIZE;
		if (!nr) {
			bvec_set_page(&source->bvec[nr++],
				      source->bvec[3].bv_page, 3 * PAGE_SIZE,
				      7 * PAGE_SIZE);
			size = 3 * PAGE_SIZE;
		}
		iov_iter_bvec(iter, ITER_DEST, source->bvec, nr, size);
		break;
	case ITER_KVEC:
		size = align_kvec(source);
		break;
	case ITER_XARRAY:
		size = MEMORY_SIZE - 2 * PAGE_SIZE;
		iov_iter_xarray(iter, ITER_DEST, &source->xa, PAGE_SIZE, size);
		break;
	default:
		size = MEMORY_SIZE - 2 * PAGE_SIZE;
		iov_iter_folio_queue(iter, ITER_DEST, source->queue, 0,
				     PAGE_SIZE, size);
	}
	return size;
}

/* Writes the pattern through the iterator and reads it through the runs. */
static void runs_are_right(struct kunit *test)
{
	const struct source_kind *kind = test->param_value;
	struct source *source = zeroed(test, sizeof(*source));
	struct dmabufx_runs *runs = new_table(test);
	const struct page *next = NULL;
	struct dmabufx_place at;
	struct iov_iter iter;
	size_t size;

	kind->make(test, source);
	size = align(source);
	fill_pattern(test, &source->iter);
	iter = source->iter;

	KUNIT_ASSERT_EQ(test, dmabufx_iter_append(runs, &iter, size), 0);
	KUNIT_EXPECT_EQ(test, iov_iter_count(&iter), 0);
	KUNIT_ASSERT_EQ(test, runs->nr_pages, size / PAGE_SIZE);
	for (at = dmabufx_runs_find(runs, 0); at.run; dmabufx_place_next(&at, runs)) {
		KUNIT_EXPECT_TRUE(test, at.run->page != next);
		expect_pattern(test, at.run->page, 0,
			       dmabufx_run_pages(at.run) * PAGE_SIZE,
			       at.run->start * PAGE_SIZE);
		next = at.run->page + dmabufx_run_pages(at.run);
	}
}

/* Expects the same runs in two tables. */
static void expect_same(struct kunit *test, const struct dmabufx_runs *one,
			const struct dmabufx_runs *two)
{
	struct dmabufx_place at, other = dmabufx_runs_find(two, 0);

	KUNIT_ASSERT_EQ(test, one->nr, two->nr);
	KUNIT_ASSERT_EQ(test, one->nr_pages, two->nr_pages);
	for (at = dmabufx_runs_find(one, 0); at.run; dmabufx_place_next(&at, one)) {
		KUNIT_EXPECT_EQ(test, at.run->start, other.run->start);
		KUNIT_EXPECT_PTR_EQ(test, at.run->page, other.run->page);
		dmabufx_place_next(&other, two);
	}
}

static void a_part_is_appended_and_then_the_rest(struct kunit *test)
{
	const struct source_kind *kind = test->param_value;
	struct source *source = zeroed(test, sizeof(*source));
	struct dmabufx_runs *all = new_table(test), *parts = new_table(test);
	struct iov_iter iter;
	unsigned int i;
	size_t size;

	kind->make(test, source);
	size = align(source);
	iter = source->iter;
	KUNIT_ASSERT_EQ(test, dmabufx_iter_append(all, &iter, size), 0);
	iter = source->iter;
	for (i = 0; i < size / PAGE_SIZE; i++)
		KUNIT_ASSERT_EQ(test, dmabufx_iter_append(parts, &iter,
							  PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, iov_iter_count(&iter), 0);
	expect_same(test, parts, all);
}

static void pieces_of_pages_are_refused(struct kunit *test)
{
	struct source *source = source_make(test, test->param_value);
	struct dmabufx_runs *runs = new_table(test);
	struct iov_iter iter = source->iter;

	KUNIT_EXPECT_EQ(test, dmabufx_iter_append(runs, &iter, source->size),
			-EINVAL);
	expect_same_iter(test, &iter, &source->iter);
	align(source);
	iter = source->iter;
	KUNIT_EXPECT_EQ(test, dmabufx_iter_append(runs, &iter, PAGE_SIZE - 1),
			-EINVAL);
	expect_same_iter(test, &iter, &source->iter);
}

static void more_than_there_is_is_refused(struct kunit *test)
{
	struct source *source = source_make(test, test->param_value);
	struct dmabufx_runs *runs = new_table(test);
	size_t size = align(source);
	struct iov_iter iter = source->iter;

	KUNIT_EXPECT_EQ(test, dmabufx_iter_append(runs, &iter, size + PAGE_SIZE),
			-EINVAL);
	expect_same_iter(test, &iter, &source->iter);
	KUNIT_EXPECT_EQ(test, runs->nr, 0);
}

static void a_hole_is_refused(struct kunit *test)
{
	const struct source_kind xarray = { "", make_xarray };
	const struct source_kind folioq = { "", make_folioq };
	struct source *source = source_make(test, &xarray);
	struct dmabufx_runs *runs = new_table(test);
	size_t size = align(source);
	struct iov_iter iter = source->iter;

	xa_erase(&source->xa, 3);
	KUNIT_EXPECT_EQ(test, dmabufx_iter_append(runs, &iter, size), -EFAULT);
	expect_same_iter(test, &iter, &source->iter);

	/* A folio that was removed from the queue, and the end of the queue. */
	source = source_make(test, &folioq);
	size = align(source);
	iter = source->iter;
	iter.count += 4 * PAGE_SIZE;
	KUNIT_EXPECT_EQ(test, dmabufx_iter_append(runs, &iter,
						  size + 4 * PAGE_SIZE),
			-EFAULT);
	folioq_clear(source->queue, 5);
	KUNIT_EXPECT_EQ(test, dmabufx_iter_append(runs, &iter, size), -EFAULT);
}

static void no_reference_is_taken(struct kunit *test)
{
	const struct source_kind kind = { "", make_bvec };
	struct source *source = source_make(test, &kind);
	int refs = folio_ref_count(source->folios[0]);
	struct dmabufx_runs *runs = new_table(test);
	size_t size = align(source);
	struct iov_iter iter = source->iter;

	KUNIT_ASSERT_EQ(test, dmabufx_iter_append(runs, &iter, size), 0);
	KUNIT_EXPECT_EQ(test, folio_ref_count(source->folios[0]), refs);
}

/* 64 MiB and one more page after them are one run. They are not accessed. */
static void a_run_is_as_long_as_its_memory(struct kunit *test)
{
	struct page *meet = virt_to_page(kernel_memory(test, 1)) + 1;
	struct dmabufx_runs *runs = new_table(test);
	unsigned long nr = SZ_64M / PAGE_SIZE;
	struct bio_vec bvec[2];
	struct iov_iter iter;

	if (!pfn_valid(page_to_pfn(meet) - nr))
		kunit_skip(test, "there is not so much memory before this page");

	bvec_set_page(&bvec[0], meet - nr, SZ_64M, 0);
	bvec_set_page(&bvec[1], meet, PAGE_SIZE, 0);
	iov_iter_bvec(&iter, ITER_DEST, bvec, 2, SZ_64M + PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, dmabufx_iter_append(runs, &iter,
						  SZ_64M + PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, runs->nr, 1);
	KUNIT_EXPECT_EQ(test, runs->nr_pages, nr + 1);
}

static void other_kinds_are_refused_in_silence(struct kunit *test)
{
	struct dmabufx_runs *runs = new_table(test);
	struct iov_iter iter;

	iov_iter_discard(&iter, ITER_DEST, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, dmabufx_iter_append(runs, &iter, PAGE_SIZE),
			-EOPNOTSUPP);
	iov_iter_ubuf(&iter, ITER_DEST, NULL, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, dmabufx_iter_append(runs, &iter, PAGE_SIZE),
			-EOPNOTSUPP);
}

struct append {
	struct dmabufx_runs *runs;
	struct iov_iter *iter;
	size_t size;
};

static int append_all(void *data)
{
	struct append *append = data;

	return dmabufx_iter_append(append->runs, append->iter, append->size);
}

static void an_append_ends_when_killed(struct kunit *test)
{
	const struct source_kind kind = { "", make_bvec };
	struct source *source = source_make(test, &kind);
	struct append append = {
		.runs = new_table(test),
		.iter = &source->iter,
		.size = align(source),
	};

	KUNIT_EXPECT_EQ(test, call_killed(append_all, &append), -EINTR);
	KUNIT_EXPECT_EQ(test, iov_iter_count(&source->iter), append.size);
}

#ifdef CONFIG_ZONE_DEVICE

static void remove_device_memory(void *data)
{
	struct dev_pagemap *pgmap = data;

	memunmap_pages(pgmap);
	release_mem_region(pgmap->range.start, range_len(&pgmap->range));
}

/*
 * Returns the first frame after all memory, at the border of a subsection. A node still
 * counts a device's memory that has gone, but frames there have no struct page any more.
 */
static unsigned long end_of_memory(void)
{
	unsigned long end = 0;
	int node;

	for_each_online_node(node)
		end = max(end, node_end_pfn(node));
	end = ALIGN(end, PAGES_PER_SUBSECTION);
	while (end && !pfn_to_online_page(end - 1))
		end -= PAGES_PER_SUBSECTION;
	return end;
}

/*
 * Makes device pages, like those of device DAX, at addresses right after the machine's
 * memory. Nothing is there, so the pages must not be accessed.
 */
static struct page *device_memory(struct kunit *test)
{
	phys_addr_t start = PFN_PHYS(end_of_memory());
	struct dev_pagemap *pgmap = zeroed(test, sizeof(*pgmap));

	if (!request_mem_region(start, SUBSECTION_SIZE, "dmabufx-kunit"))
		kunit_skip(test, "there is something behind the memory");
	pgmap->type = MEMORY_DEVICE_GENERIC;
	pgmap->range.start = start;
	pgmap->range.end = start + SUBSECTION_SIZE - 1;
	pgmap->nr_range = 1;
	if (IS_ERR(memremap_pages(pgmap, NUMA_NO_NODE))) {
		release_mem_region(start, SUBSECTION_SIZE);
		kunit_skip(test, "no pages for a device's memory");
	}
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, remove_device_memory,
							pgmap), 0);
	return pfn_to_page(PHYS_PFN(start));
}

static void bvec_is_refused(struct kunit *test, struct page *page, size_t size)
{
	struct dmabufx_runs *runs = new_table(test);
	struct iov_iter iter, before;
	struct bio_vec bvec;

	bvec_set_page(&bvec, page, size, 0);
	iov_iter_bvec(&iter, ITER_DEST, &bvec, 1, size);
	before = iter;
	KUNIT_EXPECT_EQ(test, dmabufx_iter_append(runs, &iter, size),
			-EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, runs->nr, 0);
	expect_same_iter(test, &iter, &before);
}

static void memory_of_devices_is_refused(struct kunit *test)
{
	const struct source_kind xarray = { "", make_xarray };
	const struct source_kind folioq = { "", make_folioq };
	struct page *page = device_memory(test);
	struct folio *folio = page_folio(page);
	struct dmabufx_runs *runs = new_table(test);
	struct source *source;
	struct iov_iter iter;
	size_t size;

	bvec_is_refused(test, page, PAGE_SIZE);
	bvec_is_refused(test, page + 1, SUBSECTION_SIZE - PAGE_SIZE);
	/* Begins in the machine's memory and ends in the device's. */
	bvec_is_refused(test, page - 1, 2 * PAGE_SIZE);

	source = source_make(test, &xarray);
	size = align(source);
	iter = source->iter;
	xa_store(&source->xa, 3, folio, GFP_KERNEL);
	KUNIT_EXPECT_EQ(test, dmabufx_iter_append(runs, &iter, size),
			-EOPNOTSUPP);
	expect_same_iter(test, &iter, &source->iter);

	source = source_make(test, &folioq);
	size = align(source);
	iter = source->iter;
	source->queue->vec.folios[3] = folio;
	KUNIT_EXPECT_EQ(test, dmabufx_iter_append(runs, &iter, size),
			-EOPNOTSUPP);
	expect_same_iter(test, &iter, &source->iter);
}

#else

static void memory_of_devices_is_refused(struct kunit *test)
{
	kunit_skip(test, "no device's memory has pages here");
}

#endif

static struct kunit_case cases[] = {
	KUNIT_CASE_PARAM(runs_are_right, kinds_gen_params),
	KUNIT_CASE_PARAM(a_part_is_appended_and_then_the_rest, kinds_gen_params),
	KUNIT_CASE_PARAM(pieces_of_pages_are_refused, kinds_gen_params),
	KUNIT_CASE_PARAM(more_than_there_is_is_refused, kinds_gen_params),
	KUNIT_CASE(a_hole_is_refused),
	KUNIT_CASE(no_reference_is_taken),
	KUNIT_CASE(a_run_is_as_long_as_its_memory),
	KUNIT_CASE(other_kinds_are_refused_in_silence),
	KUNIT_CASE(an_append_ends_when_killed),
	KUNIT_CASE(memory_of_devices_is_refused),
	{}
};

struct kunit_suite dmabufx_append_suite = {
	.name = "dmabufx_iter_append",
	.test_cases = cases,
};
