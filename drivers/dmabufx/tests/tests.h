/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shared by the suites: iterators over memory with a pattern, and checks of the memory
 * that is extracted from them.
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

/* The memory of an iterator, bytes; more pages than one folio queue has slots. */
#define MEMORY_PAGES	48
#define MEMORY_SIZE	(MEMORY_PAGES * PAGE_SIZE)

/**
 * struct source - an iterator and its memory
 * @iter: the iterator, a destination; its bytes have the pattern
 * @size: bytes of @iter
 * @memory: kernel address of the memory if that is contiguous, or NULL
 * @addr: user address of the memory, or 0
 * @pages: pages of the memory, for kernel iterators
 * @folios: folios of the memory
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
 * struct source_kind - a kind of iterator and of memory
 * @name: for reports
 * @make: fills in a &struct source, but does not write the pattern
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

/* Limits to try, in all combinations; 0 is tried elsewhere. */
extern const size_t byte_limits[9];
extern const unsigned int entry_limits[6];

/* With small limits, stop after this many calls: more show nothing new. */
#define MAX_CALLS	200

/* init and exit of a suite: check that a case drops all pins it takes. */
int pins_count(struct kunit *test);
void pins_compare(struct kunit *test);

#endif /* DMABUFX_TESTS_TESTS_H */
