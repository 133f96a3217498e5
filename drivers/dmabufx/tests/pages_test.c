// SPDX-License-Identifier: GPL-2.0-only
/*
 * dmabufx_extract_pages() and dmabufx_extract_mode(), for every kind of iterator,
 * with every limit.
 */
#include "../iter.c"

#include <linux/mman.h>

#include "tests.h"

KUNIT_ARRAY_PARAM(kinds, all_kinds, source_kind_desc);
KUNIT_ARRAY_PARAM(users, user_kinds, source_kind_desc);

static struct page **page_list(struct kunit *test)
{
	return zeroed(test, 2 * MEMORY_PAGES * sizeof(struct page *));
}

static void release(const struct iov_iter *iter, struct page **pages,
		    size_t size, size_t offset)
{
	if (dmabufx_extract_mode(iter) == DMABUFX_EXTRACT_PIN)
		unpin_user_pages(pages, DIV_ROUND_UP(offset + size, PAGE_SIZE));
}

/* Checks one call and its result, and drops what it took. Returns the size. */
static size_t judge(struct kunit *test, struct iov_iter *iter,
		    const struct source *source, struct page **pages,
		    size_t maxsize, unsigned int maxpages, size_t pos)
{
	size_t offset = SIZE_MAX, at = 0, len;
	unsigned int i;
	ssize_t size;

	size = dmabufx_extract_pages(iter, pages, maxsize, maxpages, &offset);
	KUNIT_ASSERT_GT(test, size, 0);
	KUNIT_ASSERT_LE(test, (size_t)size, min(maxsize, source->size - pos));
	KUNIT_ASSERT_TRUE(test, offset < PAGE_SIZE);
	KUNIT_ASSERT_LE(test, DIV_ROUND_UP(offset + size, PAGE_SIZE), maxpages);

	for (i = 0; at < size; i++, at += len) {
		size_t start = i ? 0 : offset;

		len = min(PAGE_SIZE - start, size - at);
		expect_pattern(test, pages[i], start, len, pos + at);
	}
	expect_position(test, iter, source, pos + size);
	release(iter, pages, size, offset);
	return size;
}

static void walk(struct kunit *test, const struct source *source, size_t maxsize,
		 unsigned int maxpages)
{
	struct page **pages = page_list(test);
	struct iov_iter iter = source->iter;
	size_t pos = 0, offset;
	unsigned int calls;

	for (calls = 0; pos < source->size && calls < MAX_CALLS; calls++)
		pos += judge(test, &iter, source, pages, maxsize, maxpages, pos);

	if (pos == source->size)
		KUNIT_EXPECT_EQ(test, dmabufx_extract_pages(&iter, pages, SIZE_MAX,
							    1, &offset), 0);
}

static void pages_are_right_with_every_limit(struct kunit *test)
{
	struct source *source = source_make(test, test->param_value);
	unsigned int b, e;

	for (b = 0; b < ARRAY_SIZE(byte_limits); b++)
		for (e = 0; e < ARRAY_SIZE(entry_limits); e++)
			walk(test, source, byte_limits[b], entry_limits[e]);
}

static void no_room_takes_nothing(struct kunit *test)
{
	struct source *source = source_make(test, test->param_value);
	struct page **pages = page_list(test);
	struct iov_iter iter = source->iter;
	size_t offset;

	KUNIT_EXPECT_EQ(test, dmabufx_extract_pages(&iter, pages, 0, 1, &offset),
			0);
	KUNIT_EXPECT_EQ(test, dmabufx_extract_pages(&iter, pages, 1, 0, &offset),
			0);
	expect_same_iter(test, &iter, &source->iter);
	KUNIT_EXPECT_PTR_EQ(test, pages[0], NULL);
}

static void user_pages_are_pinned_until_released(struct kunit *test)
{
	struct source *source = source_make(test, test->param_value);
	struct page **pages = page_list(test);
	struct iov_iter iter = source->iter;
	size_t offset;
	ssize_t size;

	KUNIT_EXPECT_EQ(test, dmabufx_extract_mode(&iter), DMABUFX_EXTRACT_PIN);
	size = dmabufx_extract_pages(&iter, pages, SIZE_MAX, 1, &offset);
	KUNIT_ASSERT_GT(test, size, 0);
	KUNIT_EXPECT_TRUE(test, is_pinned(pages[0]));
	release(&iter, pages, size, offset);
	KUNIT_EXPECT_FALSE(test, is_pinned(pages[0]));
}

static void kernel_pages_are_only_listed(struct kunit *test)
{
	const struct source_kind kind = { "", make_folioq };
	struct source *source = source_make(test, &kind);
	struct page **pages = page_list(test);
	struct iov_iter iter = source->iter;
	int refs = folio_ref_count(source->folios[0]);
	size_t offset;

	KUNIT_EXPECT_EQ(test, dmabufx_extract_mode(&iter), 0);
	KUNIT_ASSERT_GT(test, dmabufx_extract_pages(&iter, pages, SIZE_MAX, 1,
						    &offset), 0);
	KUNIT_EXPECT_EQ(test, folio_ref_count(source->folios[0]), refs);
}

/* A call returns what is mapped before a hole. The next one, at the hole, fails. */
static void what_is_not_mapped_is_an_error_only_alone(struct kunit *test)
{
	unsigned long addr = user_memory(test, 4 * PAGE_SIZE, MAP_PRIVATE);
	struct page **pages = page_list(test);
	struct iov_iter iter, before;
	size_t offset;

	KUNIT_ASSERT_EQ(test, vm_munmap(addr + 2 * PAGE_SIZE, PAGE_SIZE), 0);
	iov_iter_ubuf(&iter, ITER_DEST, (void __user *)addr + 5, 3 * PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, dmabufx_extract_pages(&iter, pages, SIZE_MAX, 4,
						    &offset),
			2 * PAGE_SIZE - 5);
	release(&iter, pages, 2 * PAGE_SIZE - 5, 5);

	before = iter;
	KUNIT_EXPECT_EQ(test, dmabufx_extract_pages(&iter, pages, SIZE_MAX, 4,
						    &offset), -EFAULT);
	expect_same_iter(test, &iter, &before);
}

/* Exactly half is used up; there iter_iov_len() of 6.12 returns 0. */
static void half_a_ubuf_is_not_its_end(struct kunit *test)
{
	unsigned long addr = user_memory(test, 2 * PAGE_SIZE, MAP_PRIVATE);
	struct page **pages = page_list(test);
	struct iov_iter iter;
	size_t offset;

	iov_iter_ubuf(&iter, ITER_DEST, (void __user *)addr, 2 * PAGE_SIZE);
	iov_iter_advance(&iter, PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, dmabufx_extract_pages(&iter, pages, SIZE_MAX, 4,
						    &offset), PAGE_SIZE);
	release(&iter, pages, PAGE_SIZE, 0);
}

static void bad_user_addresses_are_refused(struct kunit *test)
{
	struct page **pages = page_list(test);
	struct iov_iter iter;
	size_t offset;

	iov_iter_ubuf(&iter, ITER_DEST, (void __user *)pages, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, dmabufx_extract_pages(&iter, pages, SIZE_MAX, 4,
						    &offset), -EFAULT);
}

/* Ranges that reach beyond 2^64, or beyond the last address. */
static void user_ranges_that_wrap_are_refused(struct kunit *test)
{
	static const struct {
		unsigned long addr;
		size_t len;
	} wrong[] = {
		{ -PAGE_SIZE, 4 * PAGE_SIZE },
		{ -PAGE_SIZE, PAGE_SIZE },
		{ -1UL, 1 },
		{ -3 * PAGE_SIZE + 5, SIZE_MAX },
		{ 1UL << 63, SIZE_MAX },
	};
	struct page **pages = page_list(test);
	struct iov_iter iter;
	struct iovec iov;
	unsigned int i;
	size_t offset;

	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		iov.iov_base = (void __user *)wrong[i].addr;
		iov.iov_len = wrong[i].len;
		iov_iter_ubuf(&iter, ITER_DEST, iov.iov_base, iov.iov_len);
		KUNIT_EXPECT_EQ(test, dmabufx_extract_pages(&iter, pages, SIZE_MAX,
							    UINT_MAX, &offset),
				-EFAULT);
		iov_iter_init(&iter, ITER_SOURCE, &iov, 1, iov.iov_len);
		KUNIT_EXPECT_EQ(test, dmabufx_extract_pages(&iter, pages, SIZE_MAX,
							    UINT_MAX, &offset),
				-EFAULT);
	}
}

static void kvecs_that_wrap_are_refused(struct kunit *test)
{
	struct kvec wrong[] = {
		{ .iov_base = kernel_memory(test, 0), .iov_len = SIZE_MAX },
		{ .iov_base = (void *)-PAGE_SIZE, .iov_len = PAGE_SIZE },
		{ .iov_base = (void *)-1UL, .iov_len = 1 },
	};
	struct page **pages = page_list(test);
	struct iov_iter iter;
	unsigned int i;
	size_t offset;

	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		iov_iter_kvec(&iter, ITER_DEST, &wrong[i], 1, wrong[i].iov_len);
		KUNIT_EXPECT_EQ(test, dmabufx_extract_pages(&iter, pages, SIZE_MAX,
							    4, &offset), -EFAULT);
	}
}

/* Offsets that overflow must not wrap around to the beginning of the array. */
static void an_xarray_does_not_begin_again(struct kunit *test)
{
	const struct source_kind kind = { "", make_xarray };
	struct source *source = source_make(test, &kind);
	struct page **pages = page_list(test);
	const loff_t starts[] = { -PAGE_SIZE, LLONG_MAX - PAGE_SIZE + 1, LLONG_MAX };
	struct iov_iter iter;
	unsigned int i;
	size_t offset;

	for (i = 0; i < ARRAY_SIZE(starts); i++) {
		iov_iter_xarray(&iter, ITER_DEST, &source->xa, starts[i], SIZE_MAX);
		KUNIT_EXPECT_EQ(test, dmabufx_extract_pages(&iter, pages, SIZE_MAX,
							    4, &offset), -EFAULT);
		iov_iter_advance(&iter, PAGE_SIZE);
		KUNIT_EXPECT_EQ(test, dmabufx_extract_pages(&iter, pages, SIZE_MAX,
							    4, &offset), -EFAULT);
	}
}

static void a_folioq_ends_before_any_offset(struct kunit *test)
{
	const struct source_kind kind = { "", make_folioq };
	struct source *source = source_make(test, &kind);
	struct page **pages = page_list(test);
	struct iov_iter iter;
	size_t offset;

	iov_iter_folio_queue(&iter, ITER_DEST, source->queue, 0, UINT_MAX, SIZE_MAX);
	KUNIT_EXPECT_EQ(test, dmabufx_extract_pages(&iter, pages, SIZE_MAX, 4,
						    &offset), -EFAULT);
}

/* A bvec has 32-bit numbers, but their sum needs 33 bits and must not wrap. */
static void a_bvec_reaches_beyond_4g(struct kunit *test)
{
	struct page *first = virt_to_page(kernel_memory(test, 0));
	struct page **pages = page_list(test);
	struct iov_iter iter;
	struct bio_vec bvec;
	size_t offset;

	/* These pages are not accessed. */
	bvec_set_page(&bvec, first, UINT_MAX, UINT_MAX);
	iov_iter_bvec(&iter, ITER_DEST, &bvec, 1, UINT_MAX);
	KUNIT_ASSERT_EQ(test, dmabufx_extract_pages(&iter, pages, SIZE_MAX, 2,
						    &offset), PAGE_SIZE + 1);
	KUNIT_EXPECT_EQ(test, offset, PAGE_SIZE - 1);
	KUNIT_EXPECT_PTR_EQ(test, pages[0], first + UINT_MAX / PAGE_SIZE);
	iov_iter_advance(&iter, UINT_MAX - PAGE_SIZE - 2);
	KUNIT_ASSERT_EQ(test, dmabufx_extract_pages(&iter, pages, SIZE_MAX, 2,
						    &offset), 1);
	KUNIT_EXPECT_PTR_EQ(test, pages[0], first + 2UL * UINT_MAX / PAGE_SIZE);
}

/* A source may be read-only memory, a destination may not. */
static void writing_needs_the_right_to(struct kunit *test)
{
	unsigned long addr = kunit_vm_mmap(test, NULL, 0, PAGE_SIZE, PROT_READ,
					   MAP_PRIVATE | MAP_ANONYMOUS, 0);
	struct page **pages = page_list(test);
	struct iov_iter iter;
	size_t offset;

	KUNIT_ASSERT_TRUE(test, addr && !IS_ERR_VALUE(addr));
	iov_iter_ubuf(&iter, ITER_DEST, (void __user *)addr, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, dmabufx_extract_pages(&iter, pages, SIZE_MAX, 1,
						    &offset), -EFAULT);
	iov_iter_ubuf(&iter, ITER_SOURCE, (void __user *)addr, PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, dmabufx_extract_pages(&iter, pages, SIZE_MAX, 1,
						    &offset), PAGE_SIZE);
	release(&iter, pages, PAGE_SIZE, 0);
}

static void nofault_is_respected(struct kunit *test)
{
	unsigned long addr = user_memory(test, PAGE_SIZE, MAP_PRIVATE);
	struct page **pages = page_list(test);
	struct iov_iter iter;
	size_t offset;

	iov_iter_ubuf(&iter, ITER_DEST, (void __user *)addr, PAGE_SIZE);
	iter.nofault = true;
	KUNIT_EXPECT_EQ(test, dmabufx_extract_pages(&iter, pages, SIZE_MAX, 1,
						    &offset), -EFAULT);
	iter.nofault = false;
	KUNIT_ASSERT_EQ(test, dmabufx_extract_pages(&iter, pages, SIZE_MAX, 1,
						    &offset), PAGE_SIZE);
	release(&iter, pages, PAGE_SIZE, 0);
}

static void other_kinds_are_refused_in_silence(struct kunit *test)
{
	struct page **pages = page_list(test);
	struct iov_iter iter;
	size_t offset;

	iov_iter_discard(&iter, ITER_DEST, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, dmabufx_extract_mode(&iter), 0);
	KUNIT_EXPECT_EQ(test, dmabufx_extract_pages(&iter, pages, SIZE_MAX, 1,
						    &offset), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, iov_iter_count(&iter), PAGE_SIZE);
}

static void a_kvec_into_nowhere_is_refused(struct kunit *test)
{
	struct page **pages = page_list(test);
	struct kvec kvec[] = {
		{ .iov_base = kernel_memory(test, 0), .iov_len = PAGE_SIZE },
		{ .iov_base = (void *)0x1000, .iov_len = PAGE_SIZE },
	};
	struct iov_iter iter;
	size_t offset;

	iov_iter_kvec(&iter, ITER_DEST, kvec, 2, 2 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, dmabufx_extract_pages(&iter, pages, SIZE_MAX, 4,
						    &offset), PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, dmabufx_extract_pages(&iter, pages, SIZE_MAX, 4,
						    &offset), -EFAULT);
	KUNIT_EXPECT_EQ(test, iov_iter_count(&iter), PAGE_SIZE);
}

/* Iterators whose count is larger than their segments. */
static void a_count_beyond_the_segments_is_refused(struct kunit *test)
{
	struct page **pages = page_list(test);
	struct iov_iter iter;
	size_t offset;

	iov_iter_init(&iter, ITER_DEST, NULL, 0, 1);
	KUNIT_EXPECT_EQ(test, dmabufx_extract_pages(&iter, pages, SIZE_MAX, 1,
						    &offset), -EFAULT);
	iov_iter_bvec(&iter, ITER_DEST, NULL, 0, 1);
	KUNIT_EXPECT_EQ(test, dmabufx_extract_pages(&iter, pages, SIZE_MAX, 1,
						    &offset), -EFAULT);
	iov_iter_kvec(&iter, ITER_DEST, NULL, 0, 1);
	KUNIT_EXPECT_EQ(test, dmabufx_extract_pages(&iter, pages, SIZE_MAX, 1,
						    &offset), -EFAULT);
}

static struct kunit_case cases[] = {
	KUNIT_CASE_PARAM(pages_are_right_with_every_limit, kinds_gen_params),
	KUNIT_CASE_PARAM(no_room_takes_nothing, kinds_gen_params),
	KUNIT_CASE_PARAM(user_pages_are_pinned_until_released, users_gen_params),
	KUNIT_CASE(kernel_pages_are_only_listed),
	KUNIT_CASE(what_is_not_mapped_is_an_error_only_alone),
	KUNIT_CASE(half_a_ubuf_is_not_its_end),
	KUNIT_CASE(bad_user_addresses_are_refused),
	KUNIT_CASE(user_ranges_that_wrap_are_refused),
	KUNIT_CASE(kvecs_that_wrap_are_refused),
	KUNIT_CASE(an_xarray_does_not_begin_again),
	KUNIT_CASE(a_folioq_ends_before_any_offset),
	KUNIT_CASE(a_bvec_reaches_beyond_4g),
	KUNIT_CASE(writing_needs_the_right_to),
	KUNIT_CASE(nofault_is_respected),
	KUNIT_CASE(other_kinds_are_refused_in_silence),
	KUNIT_CASE(a_kvec_into_nowhere_is_refused),
	KUNIT_CASE(a_count_beyond_the_segments_is_refused),
	{}
};

struct kunit_suite dmabufx_pages_suite = {
	.name = "dmabufx_extract_pages",
	.init = pins_count,
	.exit = pins_compare,
	.test_cases = cases,
};
