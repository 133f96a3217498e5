// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel: one contiguous kernel address for a buffer.
 *
 * A buffer of one run, within one folio or of single pages, that may be written
 * has such an address from the start, in the direct map. Any other is stitched
 * together by vmap(), which wants an array of pages: it is built, handed over
 * and freed at once. Pages of large folios, tails included, are only named to
 * vmap(), never counted.
 *
 * What vmap() made is kept when the last user is gone, because compositors and
 * shadow framebuffers come back with the next frame. It ends with the buffer,
 * or when memory is short: then the mappings that nobody uses are taken back,
 * those unused for longest first.
 *
 * Locking: vmap_lock, inside the dma-buf's reservation lock. Memory is only
 * allocated outside of it, so that the shrinker may take it.
 */
#include <linux/dmabufx.h>
#include <linux/export.h>
#include <linux/iosys-map.h>
#include <linux/mm.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "compat.h"
#include "dmabufx.h"
#include "trace.h"

/* Protects idle_vmaps, nr_idle and every buffer's kept mapping. */
static DEFINE_MUTEX(vmap_lock);
/* Buffers with a mapping that nobody uses, longest unused first. */
static LIST_HEAD(idle_vmaps);
static unsigned long nr_idle;
static struct shrinker *vmap_shrinker;

/*
 * Memory of one run is contiguous in the direct map, however many folios it
 * consists of. But there hardened usercopy kills whoever copies across the end of
 * a large folio. It lets pages of their own pass, which may well belong together
 * without its knowing, and in a vmap() what lies within the mapping.
 */
static void *direct_address(const struct dmabufx_runs *runs, bool read_only)
{
	const struct dmabufx_run *run = runs->run;

	/* The direct map is writable. */
	if (read_only || runs->nr > 1)
		return NULL;
	if (runs->nr_small < runs->nr_pages &&
	    run->first + (size_t)runs->nr_pages > folio_nr_pages(run->folio))
		return NULL;
	return pfn_to_kaddr(dmabufx_run_pfn(run));
}

static void fill_pages(const struct dmabufx_runs *runs, struct page **pages)
{
	const struct dmabufx_run *run = runs->run + runs->nr;
	u32 end = runs->nr_pages;
	struct page **slot, *page;

	for (; run-- > runs->run; end = run->start) {
		page = dmabufx_run_page(run);
		for (slot = pages + run->start; slot < pages + end; slot++, page++)
			*slot = page;
	}
}

static void *vmap_runs(const struct dmabufx_runs *runs, bool read_only)
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
	addr = vmap(pages, runs->nr_pages, VM_MAP,
		    read_only ? PAGE_KERNEL_RO : PAGE_KERNEL);
	kvfree(pages);
	return addr;
}

static void idle_vmap_add(struct dmabufx_buf *buf)
{
	lockdep_assert_held(&vmap_lock);
	list_add_tail(&buf->vmap_node, &idle_vmaps);
	nr_idle++;
}

static void idle_vmap_remove(struct dmabufx_buf *buf)
{
	lockdep_assert_held(&vmap_lock);
	list_del(&buf->vmap_node);
	nr_idle--;
}

/* Takes the kept mapping of an unused buffer, if there is one, into use. */
static void *kept_vmap_get(struct dmabufx_buf *buf)
{
	guard(mutex)(&vmap_lock);
	if (buf->vmap_addr)
		idle_vmap_remove(buf);
	return buf->vmap_addr;
}

/* Context: the core holds the reservation lock and counts nested calls. */
int dmabufx_vmap(struct dma_buf *dmabuf, struct iosys_map *map)
{
	struct dmabufx_buf *buf = dmabuf->priv;
	void *addr;

	addr = direct_address(&buf->runs, buf->read_only);
	if (!addr)
		addr = kept_vmap_get(buf);
	if (!addr) {
		addr = vmap_runs(&buf->runs, buf->read_only);
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
		idle_vmap_add(buf);
	}
	trace_dmabufx_vunmap(buf);
}

static void idle_vmap_drop(struct dmabufx_buf *buf)
{
	idle_vmap_remove(buf);
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

/**
 * struct file_map - what is behind a &struct dmabufx_file_map
 * @map: what the caller sees
 * @runs: the memory, whole pages
 * @area: what vmap() made of it, NULL for the direct map
 */
struct file_map {
	struct dmabufx_file_map map;
	struct dmabufx_runs runs;
	void *area;
};

/* As far as @fm was filled. */
static void file_map_free(struct file_map *fm)
{
	vunmap(fm->area);
	dmabufx_retention_end(&fm->runs);
	kfree(fm);
}

static int file_map_fill(struct file_map *fm, struct file *file, loff_t pos,
			 size_t size, bool read_only)
{
	size_t skip = offset_in_page(pos);
	size_t len = PAGE_ALIGN(skip + size);
	void *addr;
	int ret;

	if (pos < 0 || !size || size > SIZE_MAX - 2 * PAGE_SIZE)
		return -EINVAL;

	ret = dmabufx_file_append(&fm->runs, file, pos - skip, len, read_only);
	if (ret)
		return ret;
	dmabufx_runs_finish(&fm->runs);

	addr = direct_address(&fm->runs, read_only);
	if (!addr) {
		fm->area = vmap_runs(&fm->runs, read_only);
		addr = fm->area;
	}
	if (!addr)
		return -ENOMEM;
	fm->map.addr = addr + skip;
	fm->map.size = size;
	return 0;
}

/**
 * dmabufx_vmap_file - map a range of a file into the kernel's address space
 * @file: a file with pages: shmem, hugetlb, or on a disk. No reference to it is
 *	kept
 * @pos: where in the file, bytes; need not be page-aligned
 * @size: how much of it, bytes; may go on to the end of the page that the file
 *	ends in
 * @flags: %DMABUFX_READ_ONLY, which files on a disk need; otherwise 0
 *
 * The range is contiguous at the address, whatever folios it lies in, wherever
 * in them it starts and ends. Pages are read in where they are not in memory,
 * swapped-out ones included, and stay until dmabufx_vunmap_file(), whatever
 * happens to the file.
 *
 * Context: Process context, may sleep and read from a disk.
 * Return: the mapping, or an error as dmabufx_export_file() has it, -ENOMEM also
 * where there is no address space.
 */
struct dmabufx_file_map *dmabufx_vmap_file(struct file *file, loff_t pos,
					   size_t size, unsigned int flags)
{
	struct file_map *fm;
	int ret;

	if (flags & ~DMABUFX_READ_ONLY)
		return ERR_PTR(-EINVAL);

	fm = kzalloc_obj(*fm, GFP_KERNEL_ACCOUNT);
	if (!fm)
		return ERR_PTR(-ENOMEM);

	ret = file_map_fill(fm, file, pos, size, flags & DMABUFX_READ_ONLY);
	if (ret) {
		file_map_free(fm);
		return ERR_PTR(ret);
	}
	return &fm->map;
}
EXPORT_SYMBOL_GPL(dmabufx_vmap_file);

/**
 * dmabufx_vunmap_file - end a mapping of dmabufx_vmap_file()
 * @map: the mapping; gone afterwards. Errors and NULL are ignored
 *
 * Context: Process context, may sleep.
 */
void dmabufx_vunmap_file(struct dmabufx_file_map *map)
{
	if (!IS_ERR_OR_NULL(map))
		file_map_free(container_of(map, struct file_map, map));
}
EXPORT_SYMBOL_GPL(dmabufx_vunmap_file);

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
