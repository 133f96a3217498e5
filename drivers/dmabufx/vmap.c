// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel: one contiguous kernel address for a buffer.
 *
 * A buffer within one folio has such an address from the start, in the direct
 * map. Any other is stitched together by vmap(), which wants an array of pages:
 * it is built, handed over and freed at once. Pages of large folios, tails
 * included, are only named to vmap(), never counted.
 *
 * What vmap() made is kept when the last user is gone, because compositors and
 * shadow framebuffers come back with the next frame. It ends with the buffer,
 * or when memory is short: then the mappings that nobody uses are taken back,
 * those unused for longest first.
 *
 * Locking: vmap_lock, inside the dma-buf's reservation lock. Memory is only
 * allocated outside of it, so that the shrinker may take it.
 */
#include <linux/iosys-map.h>
#include <linux/mm.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "dmabufx.h"
#include "trace.h"

/* Protects idle_vmaps, nr_idle and every buffer's kept mapping. */
static DEFINE_MUTEX(vmap_lock);
/* Buffers with a mapping that nobody uses, longest unused first. */
static LIST_HEAD(idle_vmaps);
static unsigned long nr_idle;
static struct shrinker *vmap_shrinker;

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
		struct page *page = dmabufx_run_page(run);
		struct page **end = pages + dmabufx_run_pages(runs, run);

		while (pages < end)
			*pages++ = page++;
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

/* Takes the kept mapping of an unused buffer, if there is one, into use. */
static void *kept_vmap_get(struct dmabufx_buf *buf)
{
	guard(mutex)(&vmap_lock);
	if (buf->vmap_addr) {
		list_del_init(&buf->vmap_node);
		nr_idle--;
	}
	return buf->vmap_addr;
}

/* Context: the core holds the reservation lock and counts nested calls. */
int dmabufx_vmap(struct dma_buf *dmabuf, struct iosys_map *map)
{
	struct dmabufx_buf *buf = dmabuf->priv;
	void *addr;

	addr = direct_address(&buf->runs);
	if (!addr)
		addr = kept_vmap_get(buf);
	if (!addr) {
		addr = vmap_runs(&buf->runs);
		/* Not on the list: nobody else looks at it. */
		buf->vmap_addr = addr;
	}

	trace_dmabufx_vmap(buf, addr ? 0 : -ENOMEM);
	if (!addr)
		return -ENOMEM;

	iosys_map_set_vaddr(map, addr);
	return 0;
}

void dmabufx_vunmap(struct dma_buf *dmabuf, struct iosys_map *map)
{
	struct dmabufx_buf *buf = dmabuf->priv;

	if (buf->vmap_addr) {
		guard(mutex)(&vmap_lock);
		list_add_tail(&buf->vmap_node, &idle_vmaps);
		nr_idle++;
	}
	trace_dmabufx_vunmap(buf);
}

/* Context: vmap_lock is held, the mapping is idle. */
static void idle_vmap_drop(struct dmabufx_buf *buf)
{
	list_del_init(&buf->vmap_node);
	nr_idle--;
	vunmap(buf->vmap_addr);
	buf->vmap_addr = NULL;
}

/**
 * dmabufx_vmap_release - end the kept mapping of a buffer that is going away
 * @buf: the buffer; nobody has it mapped
 */
void dmabufx_vmap_release(struct dmabufx_buf *buf)
{
	guard(mutex)(&vmap_lock);
	if (buf->vmap_addr)
		idle_vmap_drop(buf);
}

static unsigned long vmap_shrink_count(struct shrinker *shrinker,
				       struct shrink_control *sc)
{
	return READ_ONCE(nr_idle) ?: SHRINK_EMPTY;
}

static unsigned long vmap_shrink_scan(struct shrinker *shrinker,
				      struct shrink_control *sc)
{
	unsigned long nr;

	/* Whoever holds it may be the one whose allocation we serve. */
	if (!mutex_trylock(&vmap_lock))
		return SHRINK_STOP;

	for (nr = 0; nr < sc->nr_to_scan && nr_idle; nr++)
		idle_vmap_drop(list_first_entry(&idle_vmaps, struct dmabufx_buf,
						vmap_node));
	mutex_unlock(&vmap_lock);
	return nr;
}

int dmabufx_vmap_init(void)
{
	vmap_shrinker = shrinker_alloc(0, "dmabufx-vmap");
	if (!vmap_shrinker)
		return -ENOMEM;

	vmap_shrinker->count_objects = vmap_shrink_count;
	vmap_shrinker->scan_objects = vmap_shrink_scan;
	shrinker_register(vmap_shrinker);
	return 0;
}

void dmabufx_vmap_exit(void)
{
	shrinker_free(vmap_shrinker);
}
