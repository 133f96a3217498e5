// SPDX-License-Identifier: GPL-2.0-only
/*
 * One function to make each kind of iterator, and common functions to fill and check
 * them. copy_to_iter(), which does not use the code under test, writes a pattern through
 * the iterator, and the checks read it through the extracted pages. The pattern depends
 * on the position, so every misplaced byte shows.
 *
 * Ranges begin and end anywhere, some are empty, some cross pages. Kernel memory
 * consists of pages that are not contiguous, or of folios of several sizes.
 */
#include <linux/bvec.h>
#include <linux/cpumask.h>
#include <linux/folio_queue.h>
#include <linux/hash.h>
#include <linux/mman.h>
#include <linux/mmzone.h>
#include <linux/percpu.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <linux/vmstat.h>

#include "tests.h"

struct bounds {
	size_t from;
	size_t to;
};

static const struct bounds ranges[] = {
	{ 0x00002, 0x00002 },
	{ 0x00027, 0x03000 },
	{ 0x03000, 0x03000 },
	{ 0x03000, 0x03004 },
	{ 0x05193, 0x08794 },
	{ 0x08794, 0x08800 },
	{ 0x09000, 0x09000 },
	{ 0x09003, 0x09003 },
	{ 0x0a000, 0x0e000 },
	{ 0x0e000, 0x11001 },
	{ 0x12000, 0x2effb },
	{ 0x2effd, 0x2effe },
	{ 0x2f000, 0x2f000 },
};

static_assert(0x2f000 <= MEMORY_SIZE);

const size_t byte_limits[] = {
	1, 2, 511, PAGE_SIZE - 1, PAGE_SIZE, PAGE_SIZE + 1, 3 * PAGE_SIZE + 5,
	MEMORY_SIZE, SIZE_MAX,
};

const unsigned int entry_limits[] = { 1, 2, 3, 31, 33, 2 * MEMORY_PAGES };

const struct source_kind user_kinds[] = {
	{ "ubuf", make_ubuf },
	{ "iovec", make_iovec },
	{ "iovec of shared memory", make_iovec_shared },
};

const struct source_kind kernel_kinds[] = {
	{ "bvec of single pages", make_bvec },
	{ "bvec of a compound page", make_bvec_compound },
	{ "kvec of linear memory", make_kvec },
	{ "kvec of vmapped memory", make_kvec_vmap },
	{ "kvec of slab objects", make_kvec_slab },
	{ "xarray of pages", make_xarray },
	{ "xarray of large folios", make_xarray_large },
	{ "folioq of pages", make_folioq },
	{ "folioq of large folios", make_folioq_large },
};

const struct source_kind all_kinds[] = {
	{ "ubuf", make_ubuf },
	{ "iovec", make_iovec },
	{ "iovec of shared memory", make_iovec_shared },
	{ "bvec of single pages", make_bvec },
	{ "bvec of a compound page", make_bvec_compound },
	{ "kvec of linear memory", make_kvec },
	{ "kvec of vmapped memory", make_kvec_vmap },
	{ "kvec of slab objects", make_kvec_slab },
	{ "xarray of pages", make_xarray },
	{ "xarray of large folios", make_xarray_large },
	{ "folioq of pages", make_folioq },
	{ "folioq of large folios", make_folioq_large },
};

/* The value depends on every bit of the position. */
static u8 pattern(size_t pos)
{
	return hash_64(pos, 8);
}

/**
 * source_kind_desc - get a parameter's name
 * @kind: the parameter
 * @desc: returned: the name
 */
void source_kind_desc(const struct source_kind *kind, char *desc)
{
	strscpy(desc, kind->name, KUNIT_PARAM_DESC_SIZE);
}

static void free_data(void *data)
{
	kvfree(data);
}

/**
 * zeroed - allocate memory until the case has ended
 * @test: the case
 * @size: bytes
 *
 * Return: the memory, zeroed; never NULL.
 */
void *zeroed(struct kunit *test, size_t size)
{
	void *data = kvzalloc(size, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, data);
	KUNIT_ASSERT_EQ(test,
			kunit_add_action_or_reset(test, free_data, data), 0);
	return data;
}

/**
 * user_memory - map user memory until the case has ended
 * @test: the case
 * @size: bytes
 * @flags: MAP_PRIVATE or MAP_SHARED
 *
 * Return: the address; it is readable and writable.
 */
unsigned long user_memory(struct kunit *test, size_t size, unsigned long flags)
{
	unsigned long addr;

	addr = kunit_vm_mmap(test, NULL, 0, size, PROT_READ | PROT_WRITE,
			     flags | MAP_ANONYMOUS, 0);
	KUNIT_ASSERT_TRUE(test, addr && !IS_ERR_VALUE(addr));
	return addr;
}

static void free_compound(void *memory)
{
	put_page(virt_to_page(memory));
}

/**
 * kernel_memory - allocate a compound page until the case has ended
 * @test: the case
 * @order: its order
 *
 * Return: its address.
 */
void *kernel_memory(struct kunit *test, unsigned int order)
{
	struct page *page = alloc_pages(GFP_KERNEL | __GFP_COMP | __GFP_ZERO,
					order);

	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, free_compound,
							page_address(page)), 0);
	return page_address(page);
}

static void free_folios(void *data)
{
	struct source *source = data;

	while (source->nr_folios)
		folio_put(source->folios[--source->nr_folios]);
}

/* Makes folios of these orders, in turn, of @nr_pages pages in all. */
static void make_folios(struct kunit *test, struct source *source,
			const u8 *orders, unsigned int nr_orders,
			unsigned int nr_pages)
{
	unsigned int have = 0, i;
	struct folio *folio;

	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, free_folios,
							source), 0);
	while (have < nr_pages) {
		folio = folio_alloc(GFP_KERNEL | __GFP_ZERO,
				    orders[source->nr_folios % nr_orders]);
		KUNIT_ASSERT_NOT_NULL(test, folio);
		source->folios[source->nr_folios++] = folio;
		for (i = 0; i < folio_nr_pages(folio); i++)
			source->pages[have++] = folio_page(folio, i);
	}
}

static void make_pages(struct kunit *test, struct source *source)
{
	static const u8 orders[] = { 0 };
	unsigned int i;

	make_folios(test, source, orders, 1, MEMORY_PAGES);
	/* Pages allocated one after the other may be contiguous, so mix them. */
	for (i = 0; i < MEMORY_PAGES / 2; i += 3) {
		swap(source->pages[i], source->pages[i + MEMORY_PAGES / 2]);
		swap(source->folios[i], source->folios[i + MEMORY_PAGES / 2]);
	}
}

/* The orders are such that folios have aligned positions, as an XARRAY needs. */
static void make_large_folios(struct kunit *test, struct source *source)
{
	static const u8 orders[] = { 2, 0, 0, 1, 3, 4, 3, 0, 0, 1, 2 };

	make_folios(test, source, orders, ARRAY_SIZE(orders), MEMORY_PAGES);
}

/**
 * make_ubuf - make a range of private memory, not of whole pages
 * @test: the case
 * @source: returned: the source
 */
void make_ubuf(struct kunit *test, struct source *source)
{
	source->addr = user_memory(test, MEMORY_SIZE, MAP_PRIVATE);
	iov_iter_ubuf(&source->iter, ITER_DEST,
		      (void __user *)source->addr + 0x27, MEMORY_SIZE - 0x3a);
}

static void load_iovec(struct source *source)
{
	size_t size = 0;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ranges); i++) {
		source->iov[i].iov_base =
			(void __user *)source->addr + ranges[i].from;
		source->iov[i].iov_len = ranges[i].to - ranges[i].from;
		size += source->iov[i].iov_len;
	}
	iov_iter_init(&source->iter, ITER_DEST, source->iov, i, size);
}

/**
 * make_iovec - make ranges of private memory
 * @test: the case
 * @source: returned: the source
 */
void make_iovec(struct kunit *test, struct source *source)
{
	source->addr = user_memory(test, MEMORY_SIZE, MAP_PRIVATE);
	load_iovec(source);
}

/**
 * make_iovec_shared - make ranges of shared memory
 * @test: the case
 * @source: returned: the source
 */
void make_iovec_shared(struct kunit *test, struct source *source)
{
	source->addr = user_memory(test, MEMORY_SIZE, MAP_SHARED);
	load_iovec(source);
}

/*
 * Cuts the ranges at page borders. Calls @add for each piece, with its page, its offset
 * in it, and its length. Returns the number of bytes.
 */
static size_t cut_ranges(struct source *source,
			 void (*add)(struct source *source, unsigned int nr,
				     struct page *page, size_t offset, size_t len),
			 unsigned int *nr)
{
	size_t size = 0, at, len;
	unsigned int i;

	for (i = 0, *nr = 0; i < ARRAY_SIZE(ranges); i++) {
		at = ranges[i].from;
		do {
			len = min(ranges[i].to - at,
				  PAGE_SIZE - offset_in_page(at));
			add(source, (*nr)++, source->pages[at >> PAGE_SHIFT],
			    offset_in_page(at), len);
			size += len;
			at += len;
		} while (at < ranges[i].to);
	}
	return size;
}

static void add_bvec(struct source *source, unsigned int nr, struct page *page,
		     size_t offset, size_t len)
{
	bvec_set_page(&source->bvec[nr], page, len, offset);
}

/**
 * make_bvec - make ranges of single pages, a bvec for each page
 * @test: the case
 * @source: returned: the source
 */
void make_bvec(struct kunit *test, struct source *source)
{
	unsigned int nr;
	size_t size;

	make_pages(test, source);
	size = cut_ranges(source, add_bvec, &nr);
	iov_iter_bvec(&source->iter, ITER_DEST, source->bvec, nr, size);
}

/**
 * make_bvec_compound - make ranges of one compound page, a bvec for each
 * @test: the case
 * @source: returned: the source
 */
void make_bvec_compound(struct kunit *test, struct source *source)
{
	void *memory = kernel_memory(test, get_order(MEMORY_SIZE));
	size_t size = 0, len;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ranges); i++) {
		len = ranges[i].to - ranges[i].from;
		/* Every other bvec has the first page, and an offset beyond it. */
		if (i % 2)
			bvec_set_page(&source->bvec[i], virt_to_page(memory),
				      len, ranges[i].from);
		else
			bvec_set_page(&source->bvec[i],
				      virt_to_page(memory + ranges[i].from),
				      len, offset_in_page(ranges[i].from));
		size += len;
	}
	iov_iter_bvec(&source->iter, ITER_DEST, source->bvec, i, size);
}

static void load_kvec(struct source *source)
{
	size_t size = 0;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ranges); i++) {
		source->kvec[i].iov_base = source->memory + ranges[i].from;
		source->kvec[i].iov_len = ranges[i].to - ranges[i].from;
		size += source->kvec[i].iov_len;
	}
	iov_iter_kvec(&source->iter, ITER_DEST, source->kvec, i, size);
}

/**
 * make_kvec - make ranges of memory in the direct map
 * @test: the case
 * @source: returned: the source
 */
void make_kvec(struct kunit *test, struct source *source)
{
	source->memory = kernel_memory(test, get_order(MEMORY_SIZE));
	load_kvec(source);
}

static void unmap(void *memory)
{
	vunmap(memory);
}

/**
 * make_kvec_vmap - make ranges of single pages in vmalloc space
 * @test: the case
 * @source: returned: the source
 */
void make_kvec_vmap(struct kunit *test, struct source *source)
{
	make_pages(test, source);
	source->memory = vmap(source->pages, MEMORY_PAGES, VM_MAP, PAGE_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, source->memory);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, unmap,
							source->memory), 0);
	load_kvec(source);
}

static void free_objects(void *data)
{
	struct source *source = data;
	unsigned int i;

	for (i = 0; i < MEMORY_PAGES && source->pages[i]; i++)
		kfree(page_address(source->pages[i]));
}

static int compare_pages(const void *a, const void *b)
{
	const struct page *first = *(struct page **)a;

	return first < *(struct page **)b ? -1 : 1;
}

/* Makes slab objects of one page each, sorted so that neighbours in memory are adjacent. */
static void make_objects(struct kunit *test, struct source *source)
{
	unsigned int i;
	void *object;

	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, free_objects,
							source), 0);
	for (i = 0; i < MEMORY_PAGES; i++) {
		object = kzalloc(PAGE_SIZE, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, object);
		source->pages[i] = virt_to_page(object);
	}
	sort(source->pages, MEMORY_PAGES, sizeof(source->pages[0]),
	     compare_pages, NULL);
}

static void add_kvec(struct source *source, unsigned int nr, struct page *page,
		     size_t offset, size_t len)
{
	source->kvec[nr].iov_base = page_address(page) + offset;
	source->kvec[nr].iov_len = len;
}

/**
 * make_kvec_slab - make ranges of slab objects, a segment for each object
 * @test: the case
 * @source: returned: the source
 */
void make_kvec_slab(struct kunit *test, struct source *source)
{
	unsigned int nr;
	size_t size;

	make_objects(test, source);
	size = cut_ranges(source, add_kvec, &nr);
	iov_iter_kvec(&source->iter, ITER_DEST, source->kvec, nr, size);
}

static void destroy_xarray(void *xa)
{
	xa_destroy(xa);
}

static void load_xarray(struct kunit *test, struct source *source)
{
	unsigned long index = 0, nr;
	unsigned int i;
	void *entry;

	xa_init(&source->xa);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, destroy_xarray,
							&source->xa), 0);
	for (i = 0; i < source->nr_folios; i++, index += nr) {
		nr = folio_nr_pages(source->folios[i]);
		KUNIT_ASSERT_EQ(test, index % nr, 0);
		entry = xa_store_range(&source->xa, index, index + nr - 1,
				       source->folios[i], GFP_KERNEL);
		KUNIT_ASSERT_EQ(test, xa_err(entry), 0);
	}
	/* Starts in the middle of the first folio, if that is large. */
	iov_iter_xarray(&source->iter, ITER_DEST, &source->xa,
			PAGE_SIZE + 0x27, MEMORY_SIZE - PAGE_SIZE - 0x3a);
}

/**
 * make_xarray - make a range of an array of single pages
 * @test: the case
 * @source: returned: the source
 */
void make_xarray(struct kunit *test, struct source *source)
{
	make_pages(test, source);
	load_xarray(test, source);
}

/**
 * make_xarray_large - make a range of an array of folios of several sizes
 * @test: the case
 * @source: returned: the source
 */
void make_xarray_large(struct kunit *test, struct source *source)
{
	make_large_folios(test, source);
	load_xarray(test, source);
}

static struct folio_queue *add_queue(struct kunit *test, struct folio_queue *prev)
{
	struct folio_queue *queue = zeroed(test, sizeof(*queue));

	folio_batch_init(&queue->vec);
	queue->prev = prev;
	if (prev)
		prev->next = queue;
	return queue;
}

static void load_folioq(struct kunit *test, struct source *source)
{
	struct folio_queue *queue = add_queue(test, NULL);
	unsigned int i;

	source->queue = queue;
	for (i = 0; i < source->nr_folios; i++) {
		if (folioq_full(queue))
			queue = add_queue(test, queue);
		folioq_append(queue, source->folios[i]);
	}
	iov_iter_folio_queue(&source->iter, ITER_DEST, source->queue, 0, 0x27,
			     MEMORY_SIZE - 0x3a);
}

/**
 * make_folioq - make a range of a queue of single pages, in two segments
 * @test: the case
 * @source: returned: the source
 */
void make_folioq(struct kunit *test, struct source *source)
{
	make_pages(test, source);
	load_folioq(test, source);
}

/**
 * make_folioq_large - make a range of a queue of folios of several sizes
 * @test: the case
 * @source: returned: the source
 */
void make_folioq_large(struct kunit *test, struct source *source)
{
	make_large_folios(test, source);
	load_folioq(test, source);
}

/**
 * fill_pattern - write the pattern through an iterator
 * @test: the case
 * @iter: the iterator; is not advanced
 */
void fill_pattern(struct kunit *test, const struct iov_iter *iter)
{
	struct iov_iter at = *iter;
	size_t size = iov_iter_count(iter), i;
	u8 *data = zeroed(test, size);

	for (i = 0; i < size; i++)
		data[i] = pattern(i);
	KUNIT_ASSERT_EQ(test, copy_to_iter(data, size, &at), size);
}

/**
 * source_make - make an iterator over memory with the pattern
 * @test: the case
 * @kind: the kind of iterator and memory
 *
 * Return: the source, which is freed after the case.
 */
struct source *source_make(struct kunit *test, const struct source_kind *kind)
{
	struct source *source = zeroed(test, sizeof(*source));

	kind->make(test, source);
	source->size = iov_iter_count(&source->iter);
	fill_pattern(test, &source->iter);
	return source;
}

/**
 * expect_pattern - check extracted memory
 * @test: the case
 * @page: its first page
 * @offset: where in that page it begins
 * @len: its length; it is contiguous in the direct map
 * @pos: its position in the iterator
 */
void expect_pattern(struct kunit *test, struct page *page, size_t offset,
		    size_t len, size_t pos)
{
	const u8 *data;
	size_t i;

	KUNIT_ASSERT_NOT_NULL(test, page);
	data = page_address(page) + offset;
	for (i = 0; i < len && data[i] == pattern(pos + i); i++)
		;
	KUNIT_EXPECT_EQ_MSG(test, i, len, "wrong data at position %zu", pos + i);
}

/**
 * expect_position - check how far an iterator was advanced
 * @test: the case
 * @iter: the iterator
 * @source: the source that it came from
 * @pos: the expected position
 *
 * Checks its count and the data that the kernel reads from there on.
 */
void expect_position(struct kunit *test, const struct iov_iter *iter,
		     const struct source *source, size_t pos)
{
	struct iov_iter peek = *iter;
	u8 data[3];
	size_t i, n;

	KUNIT_EXPECT_EQ(test, iov_iter_count(iter), source->size - pos);

	peek.data_source = ITER_SOURCE;
	n = min(sizeof(data), source->size - pos);
	KUNIT_EXPECT_EQ(test, copy_from_iter(data, n, &peek), n);
	for (i = 0; i < n; i++)
		KUNIT_EXPECT_EQ(test, data[i], pattern(pos + i));
}

/**
 * expect_same_iter - check that an iterator has not changed
 * @test: the case
 * @a: the iterator now
 * @b: the iterator before
 */
void expect_same_iter(struct kunit *test, const struct iov_iter *a,
		      const struct iov_iter *b)
{
	KUNIT_EXPECT_EQ(test, a->iter_type, b->iter_type);
	KUNIT_EXPECT_EQ(test, a->data_source, b->data_source);
	KUNIT_EXPECT_EQ(test, a->iov_offset, b->iov_offset);
	KUNIT_EXPECT_PTR_EQ(test, a->__iov, b->__iov);
	KUNIT_EXPECT_EQ(test, a->count, b->count);
	KUNIT_EXPECT_EQ(test, a->nr_segs, b->nr_segs);
}

/**
 * is_pinned - is a page pinned, and not only referenced?
 * @page: a page that has few references
 *
 * Return: true if it is pinned.
 */
bool is_pinned(struct page *page)
{
	return folio_maybe_dma_pinned(page_folio(page));
}

/* Returns the machine's count, including what each CPU has not yet added to it. */
static long counted(enum node_stat_item item)
{
	long sum = atomic_long_read(&vm_node_stat[item]);
	int node, cpu;

	for_each_online_node(node)
		for_each_online_cpu(cpu)
			sum += per_cpu_ptr(NODE_DATA(node)->per_cpu_nodestats,
					   cpu)->vm_node_stat_diff[item];
	return sum;
}

static long pins_now(void)
{
	return counted(NR_FOLL_PIN_ACQUIRED) - counted(NR_FOLL_PIN_RELEASED);
}

/*
 * Returns how many pins exist on this machine. A CPU may move its count to the sum at
 * any time, so that one look misses it in both places. So look until two looks agree.
 */
static long pins(void)
{
	long before, now = pins_now();

	do {
		before = now;
		now = pins_now();
	} while (now != before);
	return now;
}

/**
 * pins_count - record the number of pins before a case
 * @test: the case
 *
 * Return: 0.
 */
int pins_count(struct kunit *test)
{
	test->priv = (void *)pins();
	return 0;
}

/**
 * pins_compare - expect as many pins after a case as before
 * @test: the case
 */
void pins_compare(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, pins(), (long)test->priv);
}
