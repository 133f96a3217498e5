// SPDX-License-Identifier: GPL-2.0-only
/*
 * dmabufx_extract_user_iter(): a user iterator becomes a pinned bvec. Each of the cases
 * called rfc_* is about one bug of the function as it was posted, as
 * netfs_extract_user_iter() (David Howells, November 2022).
 */
#include <linux/dmabufx.h>
#include <linux/mman.h>

#include "tests.h"
KUNIT_ARRAY_PARAM(users, user_kinds, source_kind_desc);

static size_t judge(struct kunit *test, struct iov_iter *iter,
		    const struct source *source, size_t maxsize,
		    unsigned int max, size_t pos)
{
	const struct bio_vec *bv;
	struct iov_iter new;
	ssize_t size;
	size_t at = 0;
	unsigned int i;

	size = dmabufx_extract_user_iter(iter, maxsize, &new, max);
	KUNIT_ASSERT_GT(test, size, 0);
	KUNIT_ASSERT_LE(test, (size_t)size, min(maxsize, source->size - pos));
	KUNIT_EXPECT_TRUE(test, iov_iter_is_bvec(&new));
	KUNIT_EXPECT_EQ(test, iov_iter_rw(&new), iov_iter_rw(iter));
	KUNIT_EXPECT_EQ(test, iov_iter_count(&new), size);
	KUNIT_EXPECT_LE(test, new.nr_segs, max);

	for (i = 0; i < new.nr_segs; i++, at += bv->bv_len) {
		bv = &new.bvec[i];
		KUNIT_EXPECT_TRUE(test, bv->bv_offset < PAGE_SIZE);
		KUNIT_EXPECT_TRUE(test, is_pinned(bv->bv_page));
		expect_pattern(test, bv->bv_page, bv->bv_offset, bv->bv_len,
			       pos + at);
	}
	KUNIT_EXPECT_EQ(test, at, size);
	expect_position(test, iter, source, pos + size);
	dmabufx_release_user_iter(&new, true);
	return size;
}

static void bvecs_are_right_with_every_limit(struct kunit *test)
{
	struct source *source = source_make(test, test->param_value);
	unsigned int b, e, calls;
	struct iov_iter iter;
	size_t pos;

	for (b = 0; b < ARRAY_SIZE(byte_limits); b++) {
		for (e = 0; e < ARRAY_SIZE(entry_limits); e++) {
			iter = source->iter;
			pos = 0;
			for (calls = 0; pos < source->size && calls < MAX_CALLS;
			     calls++)
				pos += judge(test, &iter, source, byte_limits[b],
					     entry_limits[e], pos);
		}
	}
}

/* Counts the contiguous pieces of the memory, by looking up each page. */
static unsigned int count_pieces(struct kunit *test, unsigned long addr,
				 unsigned int nr)
{
	struct page *page, *last = NULL;
	unsigned int i, pieces = 0;

	for (i = 0; i < nr; i++, last = page) {
		KUNIT_ASSERT_EQ(test, get_user_pages_fast(addr + i * PAGE_SIZE, 1,
							  0, &page), 1);
		put_page(page);
		pieces += !last || page != last + 1;
	}
	return pieces;
}

static void contiguous_pages_are_one_bvec(struct kunit *test)
{
	unsigned int nr = 4 * PMD_SIZE / PAGE_SIZE;
	unsigned long addr = user_memory(test, 4 * PMD_SIZE, MAP_PRIVATE);
	struct iov_iter iter, new;

	KUNIT_ASSERT_EQ(test, clear_user((void __user *)addr, 4 * PMD_SIZE), 0);
	iov_iter_ubuf(&iter, ITER_DEST, (void __user *)addr, 4 * PMD_SIZE);
	KUNIT_ASSERT_EQ(test, dmabufx_extract_user_iter(&iter, SIZE_MAX, &new,
							UINT_MAX), 4 * PMD_SIZE);
	KUNIT_EXPECT_EQ(test, new.nr_segs, count_pieces(test, addr, nr));
	dmabufx_release_user_iter(&new, false);
}

static void no_room_is_an_empty_iterator(struct kunit *test)
{
	struct source *source = source_make(test, test->param_value);
	struct iov_iter iter = source->iter, new;

	KUNIT_EXPECT_EQ(test, dmabufx_extract_user_iter(&iter, 0, &new, 1), 0);
	KUNIT_EXPECT_EQ(test, iov_iter_count(&new), 0);
	dmabufx_release_user_iter(&new, false);
	KUNIT_EXPECT_EQ(test, dmabufx_extract_user_iter(&iter, 1, &new, 0), 0);
	KUNIT_EXPECT_EQ(test, iov_iter_count(&new), 0);
	dmabufx_release_user_iter(&new, false);
	expect_same_iter(test, &iter, &source->iter);
}

/* Two pieces of one page have two pins, even if their entries are next to each other. */
static void pieces_of_one_page_each_drop_their_pin(struct kunit *test)
{
	unsigned long addr = user_memory(test, PAGE_SIZE, MAP_PRIVATE);
	struct iovec iov[] = {
		{ .iov_base = (void __user *)addr, .iov_len = 100 },
		{ .iov_base = (void __user *)addr + 100, .iov_len = 100 },
		{ .iov_base = (void __user *)addr, .iov_len = PAGE_SIZE },
	};
	struct iov_iter iter, new;
	struct page *page;

	iov_iter_init(&iter, ITER_DEST, iov, 3, 200 + PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, dmabufx_extract_user_iter(&iter, SIZE_MAX, &new, 9),
			200 + PAGE_SIZE);
	page = new.bvec[0].bv_page;
	dmabufx_release_user_iter(&new, true);
	KUNIT_EXPECT_FALSE(test, is_pinned(page));
}

static void memory_that_was_written_is_dirty(struct kunit *test)
{
	unsigned long addr = user_memory(test, PAGE_SIZE, MAP_SHARED);
	struct iov_iter iter, new;
	struct folio *folio;

	iov_iter_ubuf(&iter, ITER_DEST, (void __user *)addr, PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, dmabufx_extract_user_iter(&iter, SIZE_MAX, &new, 1),
			PAGE_SIZE);
	folio = page_folio(new.bvec[0].bv_page);
	folio_clear_dirty(folio);
	dmabufx_release_user_iter(&new, true);
	KUNIT_EXPECT_TRUE(test, folio_test_dirty(folio));
}

static void data_outlives_the_mapping(struct kunit *test)
{
	unsigned long addr = user_memory(test, PAGE_SIZE, MAP_PRIVATE);
	struct iov_iter iter, new, read;
	u32 data = 0x600df00d;

	iov_iter_ubuf(&iter, ITER_DEST, (void __user *)addr, sizeof(data));
	read = iter;
	KUNIT_ASSERT_EQ(test, copy_to_iter(&data, sizeof(data), &read),
			sizeof(data));
	KUNIT_ASSERT_EQ(test, dmabufx_extract_user_iter(&iter, SIZE_MAX, &new, 1),
			sizeof(data));
	KUNIT_EXPECT_EQ(test, vm_munmap(addr, PAGE_SIZE), 0);

	data = 0;
	read = new;
	read.data_source = ITER_SOURCE;
	KUNIT_EXPECT_EQ(test, copy_from_iter(&data, sizeof(data), &read),
			sizeof(data));
	KUNIT_EXPECT_EQ(test, data, 0x600df00d);
	dmabufx_release_user_iter(&new, true);
}

/* Bug: after an error it returned the entries it had, with no error if there were none. */
static void rfc_a_failure_is_told(struct kunit *test)
{
	unsigned long addr = user_memory(test, 4 * PAGE_SIZE, MAP_PRIVATE);
	struct iovec iov[] = {
		{ .iov_base = (void __user *)addr, .iov_len = PAGE_SIZE },
		{ .iov_base = (void __user *)addr + 2 * PAGE_SIZE,
		  .iov_len = PAGE_SIZE },
	};
	struct iov_iter iter, before, new = {};

	KUNIT_ASSERT_EQ(test, vm_munmap(addr + 2 * PAGE_SIZE, PAGE_SIZE), 0);
	iov_iter_init(&iter, ITER_DEST, iov + 1, 1, PAGE_SIZE);
	before = iter;
	KUNIT_EXPECT_EQ(test, dmabufx_extract_user_iter(&iter, SIZE_MAX, &new, 9),
			-EFAULT);
	expect_same_iter(test, &iter, &before);
	KUNIT_EXPECT_PTR_EQ(test, new.bvec, NULL);

	/* Pages before the bad address must not stay pinned: the suite counts pins. */
	iov_iter_init(&iter, ITER_DEST, iov, 2, 2 * PAGE_SIZE);
	before = iter;
	KUNIT_EXPECT_EQ(test, dmabufx_extract_user_iter(&iter, SIZE_MAX, &new, 9),
			-EFAULT);
	expect_same_iter(test, &iter, &before);
	KUNIT_EXPECT_PTR_EQ(test, new.bvec, NULL);
}

/* Bug: at the end of the iterator it asked for ever for more. */
static void rfc_a_limit_beyond_the_iterator_is_met(struct kunit *test)
{
	struct source *source = source_make(test, test->param_value);
	struct iov_iter iter = source->iter, new;

	KUNIT_ASSERT_EQ(test, dmabufx_extract_user_iter(&iter, source->size + 1,
							&new, UINT_MAX),
			source->size);
	dmabufx_release_user_iter(&new, false);
	KUNIT_EXPECT_EQ(test, dmabufx_extract_user_iter(&iter, 1, &new, 1), 0);
	dmabufx_release_user_iter(&new, false);
}

/* Bug: it first allocated an entry for each page of the whole iterator. */
static void rfc_the_array_is_for_what_is_taken(struct kunit *test)
{
	unsigned long addr = user_memory(test, PAGE_SIZE, MAP_PRIVATE);
	struct iov_iter iter, new;

	/* An array for all of it would take 16 GiB. */
	iov_iter_ubuf(&iter, ITER_DEST, (void __user *)addr, SZ_1G * PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, dmabufx_extract_user_iter(&iter, PAGE_SIZE, &new,
							UINT_MAX), PAGE_SIZE);
	dmabufx_release_user_iter(&new, false);
}

/* Bug: it printed a stack trace. */
static void rfc_other_kinds_are_refused_in_silence(struct kunit *test)
{
	struct kvec kvec = { .iov_base = test, .iov_len = 1 };
	struct iov_iter iter, new;

	iov_iter_kvec(&iter, ITER_DEST, &kvec, 1, 1);
	KUNIT_EXPECT_EQ(test, dmabufx_extract_user_iter(&iter, 1, &new, 1),
			-EOPNOTSUPP);
}

static struct kunit_case cases[] = {
	KUNIT_CASE_PARAM(bvecs_are_right_with_every_limit, users_gen_params),
	KUNIT_CASE(contiguous_pages_are_one_bvec),
	KUNIT_CASE_PARAM(no_room_is_an_empty_iterator, users_gen_params),
	KUNIT_CASE(pieces_of_one_page_each_drop_their_pin),
	KUNIT_CASE(memory_that_was_written_is_dirty),
	KUNIT_CASE(data_outlives_the_mapping),
	KUNIT_CASE(rfc_a_failure_is_told),
	KUNIT_CASE_PARAM(rfc_a_limit_beyond_the_iterator_is_met,
			 users_gen_params),
	KUNIT_CASE(rfc_the_array_is_for_what_is_taken),
	KUNIT_CASE(rfc_other_kinds_are_refused_in_silence),
	{}
};

struct kunit_suite dmabufx_user_iter_suite = {
	.name = "dmabufx_extract_user_iter",
	.init = pins_count,
	.exit = pins_compare,
	.test_cases = cases,
};
