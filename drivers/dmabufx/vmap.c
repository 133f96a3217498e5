// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel: one contiguous kernel address for a buffer.
 *
 * A buffer within one folio has such an address from the start, in the direct
 * map. Any other is stitched together by vmap(), which wants an array of pages:
 * it is built, handed over and freed at once. Pages of large folios, tails
 * included, are only named to vmap(), never counted.
 */
#include <linux/iosys-map.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "dmabufx.h"
#include "trace.h"

/*
 * A run that goes on into other folios is contiguous in the direct map too,
 * but there hardened usercopy kills whoever copies across a folio's end. In a
 * vmap() it allows what lies within the mapping.
 */
static void *direct_address(const struct dmabufx_runs *runs)
{
	const struct dmabufx_run *run = runs->run;

	if (runs->nr > 1 ||
	    run->first + (size_t)runs->nr_pages > folio_nr_pages(run->folio))
		return NULL;
	return pfn_to_kaddr(dmabufx_run_pfn(run));
}

static void fill_pages(const struct dmabufx_runs *runs, struct page **pages)
{
	u32 i;

	for (i = 0; i < runs->nr; i++) {
		const struct dmabufx_run *run = &runs->run[i];
		unsigned long pfn = dmabufx_run_pfn(run);
		unsigned long end = pfn + dmabufx_run_pages(runs, run);

		while (pfn < end)
			*pages++ = pfn_to_page(pfn++);
	}
}

static void *vmap_runs(const struct dmabufx_runs *runs)
{
	struct page **pages;
	void *addr;

	/* vmap() would refuse it, after the array had been filled. */
	if (runs->nr_pages > totalram_pages())
		return NULL;

	pages = kvmalloc_array(runs->nr_pages, sizeof(*pages),
			       GFP_KERNEL | __GFP_NOWARN);
	if (!pages)
		return NULL;

	fill_pages(runs, pages);
	addr = vmap(pages, runs->nr_pages, VM_MAP, PAGE_KERNEL);
	kvfree(pages);
	return addr;
}

/* Context: the core holds the reservation lock and counts nested calls. */
int dmabufx_vmap(struct dma_buf *dmabuf, struct iosys_map *map)
{
	const struct dmabufx_buf *buf = dmabuf->priv;
	void *addr;

	addr = direct_address(&buf->runs);
	if (!addr)
		addr = vmap_runs(&buf->runs);

	trace_dmabufx_vmap(buf, addr ? 0 : -ENOMEM);
	if (!addr)
		return -ENOMEM;

	iosys_map_set_vaddr(map, addr);
	return 0;
}

void dmabufx_vunmap(struct dma_buf *dmabuf, struct iosys_map *map)
{
	if (is_vmalloc_addr(map->vaddr))
		vunmap(map->vaddr);

	trace_dmabufx_vunmap(dmabuf->priv);
}
