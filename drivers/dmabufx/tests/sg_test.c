// SPDX-License-Identifier: GPL-2.0-only
/*
 * dmabufx_extract_iter_to_sg(), for every kind of iterator, with every limit. Each of
 * the cases called rfc_* is about one bug of the function as it was posted, as
 * netfs_extract_iter_to_sg() (David Howells, November 2022). Their comments describe
 * that bug, and say if the kernel's extract_iter_to_sg() still has it.
 */
#include <linux/dmabufx.h>
#include <linux/mman.h>
#include <linux/scatterlist.h>

#include "tests.h"

KUNIT_ARRAY_PARAM(kinds, all_kinds, source_kind_desc);

/* Number of guard entries after those under test, and their marks. */
#define SPARE	4

static struct page *spare_mark(unsigned int i)
{
	return (struct page *)(0x1000UL * (i + 1));
}

static void free_table(void *sgt)
{
	sg_free_table(sgt);
}

/* Returns a table without entries in use. Large ones are chained. */
static struct sg_table *new_table(struct kunit *test, unsigned int nr)
{
	struct sg_table *sgt = zeroed(test, sizeof(*sgt));

	KUNIT_ASSERT_EQ(test, sg_alloc_table(sgt, nr, GFP_KERNEL), 0);
	KUNIT_ASSERT_EQ(test,
			kunit_add_action_or_reset(test, free_table, sgt), 0);
	sgt->nents = 0;
	return sgt;
}

/* Returns a table with room for @nr entries, followed by guard entries. */
static struct sg_table *guarded_table(struct kunit *test, unsigned int nr)
{
	struct sg_table *sgt = new_table(test, nr + SPARE);
	struct scatterlist *sg;
	unsigned int i;

	for_each_sg(sgt->sgl, sg, nr + SPARE, i)
		if (i >= nr)
			sg_set_page(sg, spare_mark(i - nr), 1, 1);
	return sgt;
}

static void expect_guard(struct kunit *test, struct sg_table *sgt,
			 unsigned int nr)
{
	struct scatterlist *sg;
	unsigned int i;

	for_each_sg(sgt->sgl, sg, nr + SPARE, i)
		if (i >= nr)
			KUNIT_EXPECT_PTR_EQ(test, sg_page(sg),
					    spare_mark(i - nr));
}

static struct scatterlist *entry(struct sg_table *sgt, unsigned int nr)
{
	struct scatterlist *sg = sgt->sgl;

	while (nr--)
		sg = sg_next(sg);
	return sg;
}

static void release(const struct iov_iter *iter, struct sg_table *sgt)
{
	if (dmabufx_extract_mode(iter) == DMABUFX_EXTRACT_PIN)
		dmabufx_release_sg(sgt->sgl, sgt->nents, true);
	sgt->nents = 0;
}

/* Returns true if the second entry could have been part of the first. */
static bool could_join(const struct iov_iter *iter, struct scatterlist *a,
		       struct scatterlist *b)
{
	return sg_phys(a) + a->length == sg_phys(b) &&
	       (!b->offset || !user_backed_iter(iter));
}

static void expect_entries(struct kunit *test, const struct iov_iter *iter,
			   struct sg_table *sgt, size_t size, size_t pos)
{
	struct scatterlist *sg, *prev = NULL;
	size_t at = 0;
	unsigned int i;

	for_each_sg(sgt->sgl, sg, sgt->nents, i) {
		KUNIT_EXPECT_TRUE(test, sg->offset < PAGE_SIZE);
		KUNIT_EXPECT_GT(test, sg->length, 0);
		KUNIT_EXPECT_FALSE(test, prev && could_join(iter, prev, sg));
		if (at + sg->length <= size)
			expect_pattern(test, sg_page(sg), sg->offset, sg->length,
				       pos + at);
		at += sg->length;
		prev = sg;
	}
	KUNIT_EXPECT_EQ(test, at, size);
}

/* Checks one call and its result, and drops what it took. Returns the size. */
static size_t judge(struct kunit *test, struct iov_iter *iter,
		    const struct source *source, struct sg_table *sgt,
		    size_t maxsize, unsigned int max, size_t pos)
{
	ssize_t size;

	size = dmabufx_extract_iter_to_sg(iter, maxsize, sgt, max);
	KUNIT_ASSERT_GT(test, size, 0);
	KUNIT_ASSERT_LE(test, (size_t)size, min(maxsize, source->size - pos));
	KUNIT_EXPECT_LE(test, sgt->nents, max);

	expect_entries(test, iter, sgt, size, pos);
	expect_position(test, iter, source, pos + size);
	release(iter, sgt);
	return size;
}

static void walk(struct kunit *test, const struct source *source, size_t maxsize,
		 unsigned int max)
{
	struct sg_table *sgt = guarded_table(test, max);
	struct iov_iter iter = source->iter;
	unsigned int calls;
	size_t pos = 0;

	for (calls = 0; pos < source->size && calls < MAX_CALLS; calls++)
		pos += judge(test, &iter, source, sgt, maxsize, max, pos);

	if (pos == source->size)
		KUNIT_EXPECT_EQ(test, dmabufx_extract_iter_to_sg(&iter, SIZE_MAX,
								 sgt, max), 0);
	expect_guard(test, sgt, max);
}

static void entries_are_right_with_every_limit(struct kunit *test)
{
	struct source *source = source_make(test, test->param_value);
	unsigned int b, e;

	for (b = 0; b < ARRAY_SIZE(byte_limits); b++)
		for (e = 0; e < ARRAY_SIZE(entry_limits); e++)
			walk(test, source, byte_limits[b], entry_limits[e]);
}

/* With one entry left, everything that can be merged into it is still taken. */
static void the_last_entry_is_filled(struct kunit *test)
{
	const struct source_kind kind = { "", make_kvec };
	struct source *source = source_make(test, &kind);
	struct sg_table *sgt = new_table(test, 1);
	struct iov_iter iter = source->iter;

	/* Ranges 1 to 3 of the list are contiguous. */
	KUNIT_EXPECT_EQ(test, dmabufx_extract_iter_to_sg(&iter, SIZE_MAX, sgt, 1),
			0x3004 - 0x27);
}

static void a_table_is_filled_by_several_calls(struct kunit *test)
{
	struct source *source = source_make(test, test->param_value);
	struct sg_table *sgt = guarded_table(test, 4 * MEMORY_PAGES);
	struct iov_iter iter = source->iter;
	size_t pos = 0, at = 0;
	struct scatterlist *sg;
	unsigned int i;
	ssize_t size;

	while (pos < source->size) {
		size = dmabufx_extract_iter_to_sg(&iter, 3 * PAGE_SIZE + 1, sgt,
						  5);
		KUNIT_ASSERT_GT(test, size, 0);
		pos += size;
	}
	for_each_sg(sgt->sgl, sg, sgt->nents, i) {
		expect_pattern(test, sg_page(sg), sg->offset, sg->length, at);
		at += sg->length;
	}
	KUNIT_EXPECT_EQ(test, at, source->size);
	KUNIT_EXPECT_EQ(test, sgt->orig_nents, 4 * MEMORY_PAGES + SPARE);
	expect_guard(test, sgt, 4 * MEMORY_PAGES);
	release(&iter, sgt);
}

static void an_end_mark_is_a_limit(struct kunit *test)
{
	struct source *source = source_make(test, test->param_value);
	struct sg_table *sgt = guarded_table(test, 3);
	struct iov_iter iter = source->iter;
	size_t pos = 0;

	sg_mark_end(entry(sgt, 2));
	while (pos < source->size)
		pos += judge(test, &iter, source, sgt, SIZE_MAX, UINT_MAX, pos);
	sg_unmark_end(entry(sgt, 2));
	expect_guard(test, sgt, 3);
}

static void a_full_table_takes_nothing(struct kunit *test)
{
	struct source *source = source_make(test, test->param_value);
	struct sg_table *sgt = guarded_table(test, 2);
	struct iov_iter iter = source->iter;

	sgt->nents = 2 + SPARE;
	KUNIT_EXPECT_EQ(test, dmabufx_extract_iter_to_sg(&iter, SIZE_MAX, sgt, 9),
			0);
	KUNIT_EXPECT_EQ(test, sgt->nents, 2 + SPARE);
	expect_same_iter(test, &iter, &source->iter);
}

static void kvec_into_nowhere(struct kunit *test, struct kvec *kvec)
{
	kvec[0].iov_base = kernel_memory(test, 0);
	kvec[1].iov_base = (void *)0x1000;
	kvec[0].iov_len = PAGE_SIZE;
	kvec[1].iov_len = PAGE_SIZE;
}

static void a_failure_leaves_no_entry(struct kunit *test)
{
	struct sg_table *sgt = guarded_table(test, 4);
	struct iov_iter iter, before;
	struct kvec kvec[2];

	kvec_into_nowhere(test, kvec);
	iov_iter_kvec(&iter, ITER_DEST, kvec, 2, 2 * PAGE_SIZE);
	before = iter;
	KUNIT_EXPECT_EQ(test, dmabufx_extract_iter_to_sg(&iter, SIZE_MAX, sgt, 4),
			-EFAULT);
	expect_same_iter(test, &iter, &before);
	KUNIT_EXPECT_EQ(test, sgt->nents, 0);
	KUNIT_EXPECT_PTR_EQ(test, sg_page(sgt->sgl), NULL);
	expect_guard(test, sgt, 4);

	/* With a limit before the bad part, the good part is returned. */
	KUNIT_EXPECT_EQ(test, dmabufx_extract_iter_to_sg(&iter, PAGE_SIZE, sgt,
							 4), PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, dmabufx_extract_iter_to_sg(&iter, PAGE_SIZE, sgt,
							 4), -EFAULT);
	KUNIT_EXPECT_EQ(test, sgt->nents, 1);
}

/*
 * 6 GiB in two halves, which are contiguous. There is memory where the halves meet, and
 * only that is accessed.
 */
static void an_entry_ends_before_its_length_does(struct kunit *test)
{
	struct page *meet = virt_to_page(kernel_memory(test, 1)) + 1;
	struct sg_table *sgt = new_table(test, 8);
	struct bio_vec bvec[2];
	struct iov_iter iter;
	size_t half = 3UL << 30, at = 0;
	struct scatterlist *sg;
	unsigned int i;

	bvec_set_page(&bvec[0], meet - half / PAGE_SIZE, half - 100, 100);
	bvec_set_page(&bvec[1], meet, half, 0);
	iov_iter_bvec(&iter, ITER_DEST, bvec, 2, 2 * half - 100);

	KUNIT_ASSERT_EQ(test, dmabufx_extract_iter_to_sg(&iter, SIZE_MAX, sgt, 8),
			2 * half - 100);
	KUNIT_EXPECT_EQ(test, sgt->nents, 2);
	for_each_sg(sgt->sgl, sg, sgt->nents, i) {
		KUNIT_EXPECT_PTR_EQ(test, sg_page(sg) + (sg->offset >> PAGE_SHIFT),
				    bvec[0].bv_page + (100 + at) / PAGE_SIZE);
		at += sg->length;
		KUNIT_EXPECT_TRUE(test, i || PAGE_ALIGNED(sg->offset + sg->length));
	}
	KUNIT_EXPECT_EQ(test, at, 2 * half - 100);
}

static void two_empty_segments_are_passed_over(struct kunit *test)
{
	const struct source_kind kind = { "", make_folioq };
	struct source *source = source_make(test, &kind);
	struct sg_table *sgt = new_table(test, 4);
	struct bio_vec bvec[4] = {};
	struct iov_iter iter;
	unsigned int i;

	/* 7.3's iov_iter_extract_pages() takes two empty segments for the end. */
	for (i = 0; i < 4; i++)
		bvec_set_page(&bvec[i], source->pages[i], i == 3 ? 100 : 0, 0);
	iov_iter_bvec(&iter, ITER_DEST, bvec, 4, 100);
	KUNIT_EXPECT_EQ(test, dmabufx_extract_iter_to_sg(&iter, SIZE_MAX, sgt, 4),
			100);
	KUNIT_EXPECT_PTR_EQ(test, sg_page(sgt->sgl), source->pages[3]);
}

/* Bug: a loop over `npages < 0` added no entry. */
static void rfc_user_pages_become_entries(struct kunit *test)
{
	unsigned long addr = user_memory(test, 2 * PAGE_SIZE, MAP_PRIVATE);
	struct sg_table *sgt = guarded_table(test, 4);
	struct iov_iter iter;

	iov_iter_ubuf(&iter, ITER_DEST, (void __user *)addr, 2 * PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, dmabufx_extract_iter_to_sg(&iter, SIZE_MAX, sgt, 4),
			2 * PAGE_SIZE);
	KUNIT_EXPECT_GT(test, sgt->nents, 0);
	KUNIT_EXPECT_TRUE(test, sg_page(sgt->sgl));
	release(&iter, sgt);
}

/* Bug: each entry got the length of all that was left, not of its page. */
static void rfc_an_entry_is_as_long_as_its_memory(struct kunit *test)
{
	const struct source_kind kind = { "", make_iovec };
	struct source *source = source_make(test, &kind);
	struct sg_table *sgt = guarded_table(test, 2 * MEMORY_PAGES);
	struct iov_iter iter = source->iter;

	judge(test, &iter, source, sgt, SIZE_MAX, 2 * MEMORY_PAGES, 0);
}

/* Bug: with references only, the kernel may copy pages that the device writes to. */
static void rfc_user_pages_are_pinned(struct kunit *test)
{
	unsigned long addr = user_memory(test, PAGE_SIZE, MAP_PRIVATE);
	struct sg_table *sgt = guarded_table(test, 4);
	struct iov_iter iter;
	struct page *page;

	iov_iter_ubuf(&iter, ITER_DEST, (void __user *)addr, PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, dmabufx_extract_iter_to_sg(&iter, SIZE_MAX, sgt, 4),
			PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, sgt->nents, 1);
	page = sg_page(sgt->sgl);
	KUNIT_EXPECT_TRUE(test, is_pinned(page));
	release(&iter, sgt);
	KUNIT_EXPECT_FALSE(test, is_pinned(page));
}

/* Bug: the page list was kept in the table, over entries that were in use. */
static void rfc_entries_in_use_stay(struct kunit *test)
{
	static const unsigned int limits[] = { 1, 2, 3, 2 * MEMORY_PAGES };
	struct source *source = source_make(test, test->param_value);
	struct sg_table *sgt = guarded_table(test, 2 * MEMORY_PAGES + 3);
	struct iov_iter iter;
	unsigned int i, n;

	for (n = 0; n < ARRAY_SIZE(limits); n++) {
		for (i = 0; i < 3; i++)
			sg_set_page(entry(sgt, i), spare_mark(i), i + 1, i + 1);
		sgt->nents = 3;
		iter = source->iter;
		KUNIT_ASSERT_GT(test, dmabufx_extract_iter_to_sg(&iter, SIZE_MAX,
								 sgt, limits[n]),
				0);
		for (i = 0; i < 3; i++) {
			KUNIT_EXPECT_PTR_EQ(test, sg_page(entry(sgt, i)),
					    spare_mark(i));
			KUNIT_EXPECT_EQ(test, entry(sgt, i)->length, i + 1);
			KUNIT_EXPECT_EQ(test, entry(sgt, i)->offset, i + 1);
		}
		expect_guard(test, sgt, 2 * MEMORY_PAGES + 3);
		if (dmabufx_extract_mode(&iter))
			dmabufx_release_sg(entry(sgt, 3), sgt->nents - 3, true);
	}
}

/*
 * Bug: it dropped entries down to orig_nents, which may count those of earlier calls
 * or those that were allocated, and left the iterator advanced. The kernel still does.
 */
static void rfc_a_failure_undoes_its_own_call(struct kunit *test)
{
	unsigned long addr = user_memory(test, 4 * PAGE_SIZE, MAP_PRIVATE);
	struct sg_table *sgt = guarded_table(test, 8);
	struct iov_iter iter, before;
	struct iovec iov[] = {
		{ .iov_base = (void __user *)addr, .iov_len = 100 },
		{ .iov_base = (void __user *)addr + 100, .iov_len = PAGE_SIZE },
		{ .iov_base = (void __user *)addr + 3 * PAGE_SIZE, .iov_len = 1 },
	};
	unsigned int nents, orig_nents;

	KUNIT_ASSERT_EQ(test, vm_munmap(addr + 3 * PAGE_SIZE, PAGE_SIZE), 0);
	for (orig_nents = 0; orig_nents <= 8; orig_nents += 8) {
		sgt->orig_nents = orig_nents;
		iov_iter_init(&iter, ITER_DEST, iov, 3, PAGE_SIZE + 101);
		KUNIT_ASSERT_EQ(test, dmabufx_extract_iter_to_sg(&iter, 100, sgt,
								 8), 100);
		KUNIT_ASSERT_EQ(test, sgt->nents, 1);
		before = iter;
		nents = sgt->nents;
		KUNIT_EXPECT_EQ(test, dmabufx_extract_iter_to_sg(&iter, SIZE_MAX,
								 sgt, 7), -EFAULT);
		expect_same_iter(test, &iter, &before);
		KUNIT_EXPECT_EQ(test, sgt->nents, nents);
		KUNIT_EXPECT_EQ(test, sgt->orig_nents, orig_nents);
		KUNIT_EXPECT_TRUE(test, is_pinned(sg_page(sgt->sgl)));
		KUNIT_EXPECT_PTR_EQ(test, sg_page(entry(sgt, 1)), NULL);
		release(&iter, sgt);
	}
	sgt->orig_nents = 8 + SPARE;
	expect_guard(test, sgt, 8);
}

/*
 * Bug: it asked for ever for user memory that the iterator did not have. The kernel
 * returns 0, with all pins dropped and the iterator at its end. From kernel iterators,
 * both take more than they have.
 */
static void rfc_a_limit_beyond_the_iterator_is_met(struct kunit *test)
{
	struct source *source = source_make(test, test->param_value);
	struct sg_table *sgt = guarded_table(test, 2 * MEMORY_PAGES);
	struct iov_iter iter = source->iter;

	iov_iter_truncate(&iter, PAGE_SIZE + 7);
	KUNIT_EXPECT_EQ(test, dmabufx_extract_iter_to_sg(&iter, 2 * PAGE_SIZE,
							 sgt, 2 * MEMORY_PAGES),
			PAGE_SIZE + 7);
	expect_entries(test, &iter, sgt, PAGE_SIZE + 7, 0);
	KUNIT_EXPECT_EQ(test, iov_iter_count(&iter), 0);
	release(&iter, sgt);
}

/* Bug: with 0 entries allowed it added one, and then allowed four billion. */
static void rfc_no_entries_are_no_entries(struct kunit *test)
{
	struct source *source = source_make(test, test->param_value);
	struct sg_table *sgt = guarded_table(test, 2);
	struct iov_iter iter = source->iter;

	KUNIT_EXPECT_EQ(test, dmabufx_extract_iter_to_sg(&iter, SIZE_MAX, sgt, 0),
			0);
	KUNIT_EXPECT_EQ(test, dmabufx_extract_iter_to_sg(&iter, 0, sgt, 2), 0);
	KUNIT_EXPECT_EQ(test, sgt->nents, 0);
	KUNIT_EXPECT_PTR_EQ(test, sg_page(sgt->sgl), NULL);
	expect_same_iter(test, &iter, &source->iter);
	expect_guard(test, sgt, 2);
}

/* Bug: a whole segment counted as taken, however few entries there were. */
static void rfc_kvec_counts_what_is_listed(struct kunit *test)
{
	const struct source_kind kind = { "", make_kvec_vmap };
	struct source *source = source_make(test, &kind);
	struct sg_table *sgt = guarded_table(test, 1);
	struct iov_iter iter = source->iter;

	judge(test, &iter, source, sgt, SIZE_MAX, 1, 0);
}

/* Bug: from the second folio on, data came from the offset of the first one. */
static void rfc_xarray_start_advances(struct kunit *test)
{
	const struct source_kind kind = { "", make_xarray_large };
	struct source *source = source_make(test, &kind);
	struct sg_table *sgt = guarded_table(test, 2 * MEMORY_PAGES);
	struct iov_iter iter = source->iter;

	judge(test, &iter, source, sgt, SIZE_MAX, 2 * MEMORY_PAGES, 0);
}

/* Bug: data after a hole was returned as the hole's data. The kernel still does that. */
static void rfc_xarray_ends_at_a_hole(struct kunit *test)
{
	const struct source_kind kind = { "", make_xarray };
	struct source *source = source_make(test, &kind);
	struct sg_table *sgt = guarded_table(test, MEMORY_PAGES);
	struct iov_iter iter = source->iter;
	/* The value entry is a shadow, which the page cache keeps of an evicted page. */
	void *const holes[] = { NULL, xa_mk_value(5) };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(holes); i++) {
		xa_store(&source->xa, 3, holes[i], GFP_KERNEL);
		iter = source->iter;
		KUNIT_ASSERT_EQ(test, dmabufx_extract_iter_to_sg(&iter, SIZE_MAX,
								 sgt,
								 MEMORY_PAGES),
				2 * PAGE_SIZE - 0x27);
		expect_entries(test, &iter, sgt, 2 * PAGE_SIZE - 0x27, 0);
		KUNIT_EXPECT_EQ(test, source->size - iov_iter_count(&iter),
				2 * PAGE_SIZE - 0x27);
		sgt->nents = 0;
		KUNIT_EXPECT_EQ(test, dmabufx_extract_iter_to_sg(&iter, SIZE_MAX,
								 sgt, 1), -EFAULT);
		KUNIT_EXPECT_EQ(test, sgt->nents, 0);
	}
}

/* Bug: entries had a folio's first page and an offset beyond it. The kernel's still do. */
static void rfc_offsets_are_inside_the_page(struct kunit *test)
{
	static const struct source_kind large[] = {
		{ "", make_bvec_compound },
		{ "", make_xarray_large },
		{ "", make_folioq_large },
	};
	struct sg_table *sgt = guarded_table(test, 2 * MEMORY_PAGES);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(large); i++) {
		struct source *source = source_make(test, &large[i]);
		struct iov_iter iter = source->iter;

		iov_iter_advance(&iter, 3 * PAGE_SIZE);
		judge(test, &iter, source, sgt, SIZE_MAX, 2 * MEMORY_PAGES,
		      3 * PAGE_SIZE);
	}
}

/* Bug: a table chained from two arrays was filled as if it were one array. */
static void rfc_a_chained_table_is_followed(struct kunit *test)
{
	struct scatterlist *first = zeroed(test, 4 * sizeof(*first));
	struct scatterlist *second = zeroed(test, 64 * sizeof(*second));
	struct source *source = source_make(test, test->param_value);
	struct iov_iter iter = source->iter;
	struct sg_table sgt = { .sgl = first };

	sg_init_table(second, 64);
	sg_init_table(first, 4);
	sg_chain(first, 4, second);
	KUNIT_ASSERT_GT(test, dmabufx_extract_iter_to_sg(&iter, SIZE_MAX, &sgt,
							 40), 0);
	expect_entries(test, &iter, &sgt, source->size - iov_iter_count(&iter), 0);
	KUNIT_EXPECT_TRUE(test, sg_is_chain(&first[3]));
	release(&iter, &sgt);
}

/* Bug: it printed an error and a stack trace. The kernel still does. */
static void rfc_other_kinds_are_refused_in_silence(struct kunit *test)
{
	struct sg_table *sgt = guarded_table(test, 2);
	struct iov_iter iter;

	iov_iter_discard(&iter, ITER_DEST, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, dmabufx_extract_iter_to_sg(&iter, SIZE_MAX, sgt, 2),
			-EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, iov_iter_count(&iter), PAGE_SIZE);
}

static struct kunit_case cases[] = {
	KUNIT_CASE_PARAM(entries_are_right_with_every_limit, kinds_gen_params),
	KUNIT_CASE(the_last_entry_is_filled),
	KUNIT_CASE_PARAM(a_table_is_filled_by_several_calls, kinds_gen_params),
	KUNIT_CASE_PARAM(an_end_mark_is_a_limit, kinds_gen_params),
	KUNIT_CASE_PARAM(a_full_table_takes_nothing, kinds_gen_params),
	KUNIT_CASE(a_failure_leaves_no_entry),
	KUNIT_CASE(an_entry_ends_before_its_length_does),
	KUNIT_CASE(two_empty_segments_are_passed_over),
	KUNIT_CASE(rfc_user_pages_become_entries),
	KUNIT_CASE(rfc_an_entry_is_as_long_as_its_memory),
	KUNIT_CASE(rfc_user_pages_are_pinned),
	KUNIT_CASE_PARAM(rfc_entries_in_use_stay, kinds_gen_params),
	KUNIT_CASE(rfc_a_failure_undoes_its_own_call),
	KUNIT_CASE_PARAM(rfc_a_limit_beyond_the_iterator_is_met,
			 kinds_gen_params),
	KUNIT_CASE_PARAM(rfc_no_entries_are_no_entries, kinds_gen_params),
	KUNIT_CASE(rfc_kvec_counts_what_is_listed),
	KUNIT_CASE(rfc_xarray_start_advances),
	KUNIT_CASE(rfc_xarray_ends_at_a_hole),
	KUNIT_CASE(rfc_offsets_are_inside_the_page),
	KUNIT_CASE_PARAM(rfc_a_chained_table_is_followed, kinds_gen_params),
	KUNIT_CASE(rfc_other_kinds_are_refused_in_silence),
	{}
};

struct kunit_suite dmabufx_sg_suite = {
	.name = "dmabufx_extract_iter_to_sg",
	.init = pins_count,
	.exit = pins_compare,
	.test_cases = cases,
};
