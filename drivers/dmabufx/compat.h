/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Fills the gaps of kernels from 6.12 on against the newest one. Checks for features,
 * not for versions.
 */
#ifndef DMABUFX_COMPAT_H
#define DMABUFX_COMPAT_H

#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/page-flags.h>
#include <linux/slab.h>

/* The header that declares struct folio_batch: the first since 7.1, the second before. */
#if defined(HAVE_FOLIO_BATCH_H)
#include <linux/folio_batch.h>
#elif defined(HAVE_PAGEVEC_H)
#include <linux/pagevec.h>
#endif

/* Typed allocation of one object: since 7.0. */
#ifndef kzalloc_obj
#define kzalloc_obj(obj, gfp) kzalloc(sizeof(obj), gfp)
#endif

/* vmf_insert_pfn_pmd() and _pud() take a pfn_t until 6.16, a plain number since. */
#ifdef HAVE_PFN_T
#include <linux/pfn_t.h>
#define DMABUFX_PFN(pfn) __pfn_to_pfn_t(pfn, 0)
#else
#define DMABUFX_PFN(pfn) (pfn)
#endif

/* Elsewhere, set_pte_at() calls functions that modules cannot call. */
#define DMABUFX_SETS_PTES	(IS_ENABLED(CONFIG_X86) || IS_ENABLED(CONFIG_ARM64))

/* Says that overlapping DMA mappings are intended. Since 7.0. */
#ifndef DMA_ATTR_DEBUGGING_IGNORE_CACHELINES
#define DMA_ATTR_DEBUGGING_IGNORE_CACHELINES 0
#endif

/* The name of zap_vma_ptes() since 7.0. */
#ifndef HAVE_ZAP_SPECIAL_VMA_RANGE
#define zap_special_vma_range zap_vma_ptes
#endif

/* Large kmalloc() memory has a type since 6.15; before it is plain pages. */
static inline bool dmabufx_is_large_kmalloc(const struct page *page)
{
#ifdef HAVE_LARGE_KMALLOC
	return PageLargeKmalloc(page);
#else
	return false;
#endif
}

/* The callback that tells a dynamic importer that memory moves was renamed in 7.0. */
#ifdef HAVE_INVALIDATE_MAPPINGS
#define DMABUFX_MOVE_NOTIFY invalidate_mappings
#else
#define DMABUFX_MOVE_NOTIFY move_notify
#endif

/* MODULE_IMPORT_NS() takes a string since 6.13, a bare word before. */
#define DMABUFX_IMPORT_NS(ns) MODULE_INFO(import_ns, ns)

#endif /* DMABUFX_COMPAT_H */
