/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the suites share: iterators over memory with a pattern, and the judgment
 * of what was extracted from them.
 */
#ifndef DMABUFX_TESTS_TESTS_H
#define DMABUFX_TESTS_TESTS_H

#include <linux/bvec.h>
#include <linux/mm.h>
#include <linux/uio.h>
#include <linux/xarray.h>

#include "kunit.h"

struct folio_queue;

extern struct kunit_suite dmabufx_runs_suite;
extern struct kunit_suite dmabufx_kva_suite;
extern struct kunit_suite dmabufx_pages_suite;
extern struct kunit_suite dmabufx_user_iter_suite;
extern struct kunit_suite dmabufx_sg_suite;
extern struct kunit_suite dmabufx_append_suite;

/* The memory below an iterator, bytes; more than two folio queues' slots. */
#define MEMORY_PAGES	48
#define MEMORY_SIZE	(MEMORY_PAGES * PAGE_SIZE)

/**
 * struct source - an iterator and what is below it
 * @iter: the iterator, a destination; its bytes have the pattern
 * @size: bytes of @iter
 * @memory: its memory by kernel addresses where that is contiguous, or NULL
 * @addr: its memory by user addresses, or 0
 * @pages: its memory page by page, for kernel iterators
 * @folios: its folios
 * @nr_folios: how many
 * @iov: for IOVEC
 * @kvec: for KVEC
 * @bvec: for BVEC
 * @xa: for XARRAY
 * @queue: for FOLIOQ
 */
struct source {
	struct iov_iter iter;
	size_t size;
	void *memory;
	unsigned long addr;
	struct page *pages[MEMORY_PAGES];
	struct folio *folios[MEMORY_PAGES];
	unsigned int nr_folios;
	struct iovec iov[16];
	struct kvec kvec[MEMORY_PAGES + 16];
	struct bio_vec bvec[MEMORY_PAGES + 16];
	struct xarray xa;
	struct folio_queue *queue;
};

/**
 * struct source_kind - a kind of iterator, and of memory below it
 * @name: for people
 * @make: fills in a &struct source, but for the pattern
 */
struct source_kind {
	const char *name;
	void (*make)(struct kunit *test, struct source *source);
};

/* Parameters of cases. */
extern const struct source_kind user_kinds[3];
extern const struct source_kind kernel_kinds[9];
extern const struct source_kind all_kinds[12];
void source_kind_desc(const struct source_kind *kind, char *desc);
struct source *source_make(struct kunit *test, const struct source_kind *kind);
void fill_pattern(struct kunit *test, const struct iov_iter *iter);

void make_ubuf(struct kunit *test, struct source *source);
void make_iovec(struct kunit *test, struct source *source);
void make_iovec_shared(struct kunit *test, struct source *source);
void make_bvec(struct kunit *test, struct source *source);
void make_bvec_compound(struct kunit *test, struct source *source);
void make_kvec(struct kunit *test, struct source *source);
void make_kvec_vmap(struct kunit *test, struct source *source);
void make_kvec_slab(struct kunit *test, struct source *source);
void make_xarray(struct kunit *test, struct source *source);
void make_xarray_large(struct kunit *test, struct source *source);
void make_folioq(struct kunit *test, struct source *source);
void make_folioq_large(struct kunit *test, struct source *source);

unsigned long user_memory(struct kunit *test, size_t size, unsigned long flags);
void *kernel_memory(struct kunit *test, unsigned int order);
void *zeroed(struct kunit *test, size_t size);

void expect_pattern(struct kunit *test, struct page *page, size_t offset,
		    size_t len, size_t pos);
void expect_position(struct kunit *test, const struct iov_iter *iter,
		     const struct source *source, size_t pos);
void expect_same_iter(struct kunit *test, const struct iov_iter *a,
		      const struct iov_iter *b);
bool is_pinned(struct page *page);

/* Limits that are tried, each with each; 0 is tried elsewhere. */
extern const size_t byte_limits[9];
extern const unsigned int entry_limits[6];

/* With small limits, more than this many calls show nothing new. */
#define MAX_CALLS	200

/* As init and exit of a suite: pins before and after a case are as many. */
int pins_count(struct kunit *test);
void pins_compare(struct kunit *test);

#endif /* DMABUFX_TESTS_TESTS_H */
