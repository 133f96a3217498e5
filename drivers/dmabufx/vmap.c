// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel: one contiguous kernel address for a buffer.
 *
 * A buffer of one run, within one folio or of single pages, has such an address
 * in the direct map. Others are mapped by vmap(), which needs an array of pages: it
 * is built, passed on and freed at once. The array names pages of large folios,
 * tails included, and takes no references.
 *
 * A read-only buffer has no kernel address: dma_buf_vmap() has no direction, so an
 * importer cannot say that it writes. With a read-only mapping, a user could make the
 * kernel fault, by choosing an importer that writes.
 *
 * A mapping by vmap() is kept when its last user is gone, because compositors and
 * shadow framebuffers need it again for the next frame. It ends with the buffer, or
 * when another mapping needs its room. It costs addresses, and 8 bytes of page tables
 * for each page, which the core does not free when a mapping ends but uses for the
 * next one at that place. So a shrinker would have nothing to free. Instead there is a
 * bound: all mappings together have no more pages than the machine has. Those that
 * are unused for longest are dropped first.
 *
 * Locking: vmap_lock nests inside the dma-buf's reservation lock. No memory is
 * allocated under it, so that vmap_purge() may take it from within an allocation.
 */
#include <linux/dmabufx.h>
#include <linux/export.h>
#include <linux/iosys-map.h>
#include <linux/mm.h>
#include <linux/notifier.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "compat.h"
#include "dmabufx.h"
#include "trace.h"

/* Entries of an array to fill before other tasks may run. */
#define FILL_BATCH	65536

/* Protects idle_vmaps, mapped_pages and every buffer's kept mapping. */
static DEFINE_MUTEX(vmap_lock);
/* Buffers whose mapping nobody uses, longest unused first. */
static LIST_HEAD(idle_vmaps);
/* Pages of all mappings: of buffers, used or not, and of files. */
static unsigned long mapped_pages;

static int is_reserved(struct folio *folio, void *data)
{
	return folio_test_reserved(folio);
}

/*
 * Returns true if the direct map may lack a page. arm64 takes the kernel's image out of it,
 * and others may do so, too. Only another module can have lent such pages.
 */
static bool may_be_unmapped(const struct dmabufx_runs *runs)
{
	return !IS_ENABLED(CONFIG_X86) && runs->retention == DMABUFX_CALLERS &&
	       dmabufx_walk_folios(runs, is_reserved, NULL);
}

/*
 * Returns the address of the memory in the direct map, or NULL. A run is contiguous
 * there, however many folios it has. But hardened usercopy stops a copy that crosses
 * the end of a large folio in the direct map. It allows copies that cross pages which
 * are folios of their own, and copies within a vmap() mapping.
 */
static void *direct_address(const struct dmabufx_runs *runs)
{
	struct folio *folio;
	struct page *first;

	if (runs->nr > 1)
		return NULL;
	first = dmabufx_runs_find(runs, 0).run->page;
	folio = page_folio(first);
	if (may_be_unmapped(runs))
		return NULL;
	if (runs->nr_small < runs->nr_pages &&
	    folio_page_idx(folio, first) + runs->nr_pages > folio_nr_pages(folio))
		return NULL;
	/* Not page_address(): its KASAN tag is that of one page, which is one folio of many. */
	return phys_to_virt(page_to_phys(first));
}

/**
 * dmabufx_vmap_prepare - decide how the kernel maps a buffer
 * @buf: the buffer, which is about to be exported
 *
 * Slab memory is never used through the direct map, where hardened usercopy checks
 * the borders of its objects.
 *
 * Return: whether the kernel can map it at all.
 */
bool dmabufx_vmap_prepare(struct dmabufx_buf *buf)
{
	buf->may_be_unmapped = may_be_unmapped(&buf->runs);
	if (buf->read_only)
		return false;
	if (!buf->no_mmap)
		buf->direct_addr = direct_address(&buf->runs);
	return buf->direct_addr || buf->runs.nr_pages <= totalram_pages();
}

static void fill_pages(const struct dmabufx_runs *runs, struct page **pages)
{
	struct page **slot = pages, **end, **stop, *page;
	struct dmabufx_place at;
	long left = FILL_BATCH;

	for (at = dmabufx_runs_find(runs, 0); at.run; dmabufx_place_next(&at, runs)) {
		page = at.run->page;
		end = pages + at.run[1].start;
		do {
			stop = min(end, slot + FILL_BATCH);
			left -= stop - slot;
			for (; slot < stop; slot++, page++)
				*slot = page;
			if (left > 0)
				continue;
			cond_resched();
			left = FILL_BATCH;
		} while (slot < end);
	}
}

static void *vmap_array(const struct dmabufx_runs *runs, pgprot_t prot)
{
	struct page **pages;
	void *addr;

	pages = kvmalloc_array(runs->nr_pages, sizeof(*pages),
			       GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!pages)
		return ERR_PTR(-ENOMEM);

	fill_pages(runs, pages);
	addr = vmap(pages, runs->nr_pages, VM_MAP, prot) ?: ERR_PTR(-ENOMEM);
	kvfree(pages);
	return addr;
}

static void idle_vmap_add(struct dmabufx_buf *buf)
{
	lockdep_assert_held(&vmap_lock);
	list_add_tail(&buf->vmap_node, &idle_vmaps);
}

static void idle_vmap_remove(struct dmabufx_buf *buf)
{
	lockdep_assert_held(&vmap_lock);
	list_del(&buf->vmap_node);
}

/* Returns how many pages the mapping had. */
static unsigned long idle_vmap_drop(struct dmabufx_buf *buf)
{
	unsigned long nr = buf->runs.nr_pages;

	idle_vmap_remove(buf);
	vunmap(buf->vmap_addr);
	mapped_pages -= nr;
	/* From here on, dmabufx_vmap_release() lets the buffer be freed. */
	smp_store_release(&buf->vmap_addr, NULL);
	return nr;
}

/* End the mapping that is unused for longest. Returns how many pages it had. */
static unsigned long oldest_vmap_drop(void)
{
	struct dmabufx_buf *buf;

	lockdep_assert_held(&vmap_lock);
	buf = list_first_entry_or_null(&idle_vmaps, struct dmabufx_buf, vmap_node);
	return buf ? idle_vmap_drop(buf) : 0;
}

/* Reserve room for @nr pages. Drops mappings that nobody uses, if needed. */
static int room_take(unsigned long nr)
{
	for (;;) {
		guard(mutex)(&vmap_lock);
		if (mapped_pages + nr <= totalram_pages()) {
			mapped_pages += nr;
			return 0;
		}
		if (!oldest_vmap_drop())
			return -ENOMEM;
	}
}

static void room_give(unsigned long nr)
{
	guard(mutex)(&vmap_lock);
	mapped_pages -= nr;
}

static void *vmap_runs(const struct dmabufx_runs *runs, pgprot_t prot)
{
	int ret = room_take(runs->nr_pages);
	void *addr;

	if (ret)
		return ERR_PTR(ret);
	addr = vmap_array(runs, prot);
	if (IS_ERR(addr))
		room_give(runs->nr_pages);
	return addr;
}

/* Take the kept mapping of a buffer into use. Returns NULL if there is none. */
static void *kept_vmap_get(struct dmabufx_buf *buf)
{
	guard(mutex)(&vmap_lock);
	if (buf->vmap_addr)
		idle_vmap_remove(buf);
	return buf->vmap_addr;
}

/**
 * dmabufx_vmap_release - end the kept mapping of a buffer, if there is one
 * @buf: the buffer; nobody uses the mapping
 */
void dmabufx_vmap_release(struct dmabufx_buf *buf)
{
	/* Pairs with idle_vmap_drop(). Most buffers have none: spare them the lock. */
	if (!smp_load_acquire(&buf->vmap_addr))
		return;

	guard(mutex)(&vmap_lock);
	if (buf->vmap_addr)
		idle_vmap_drop(buf);
}

static void *vmap_get(struct dmabufx_buf *buf)
{
	void *addr;
	int ret;

	ret = dmabufx_poison_check(buf, false);
	if (ret) {
		/* Unmap it: even a CPU's speculative accesses must not touch broken memory. */
		dmabufx_vmap_release(buf);
		return ERR_PTR(ret);
	}
	if (buf->direct_addr)
		return buf->direct_addr;

	addr = kept_vmap_get(buf);
	if (!addr) {
		addr = vmap_runs(&buf->runs, PAGE_KERNEL);
		/* No vmap_lock needed: the buffer is not on the list. */
		buf->vmap_addr = IS_ERR(addr) ? NULL : addr;
	}
	return addr;
}

/* Context: the core holds the reservation lock and counts nested calls. */
int dmabufx_vmap(struct dma_buf *dmabuf, struct iosys_map *map)
{
	struct dmabufx_buf *buf = dmabuf->priv;
	void *addr = vmap_get(buf);
	int ret = PTR_ERR_OR_ZERO(addr);

	trace_dmabufx_vmap(buf, ret);
	if (ret)
		return ret;

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

/**
 * struct file_map - private part of a &struct dmabufx_file_map
 * @map: the part for the caller
 * @runs: the memory, whole pages
 * @area: the mapping by vmap(), NULL if @map is in the direct map
 */
struct file_map {
	struct dmabufx_file_map map;
	struct dmabufx_runs runs;
	void *area;
};

/* Frees @fm, which may be filled only in part. */
static void file_map_free(struct file_map *fm)
{
	if (fm->area) {
		vunmap(fm->area);
		room_give(fm->runs.nr_pages);
	}
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
	/* True where the architecture cannot forbid the kernel to write. */
	if (read_only && pgprot_val(PAGE_KERNEL_RO) == pgprot_val(PAGE_KERNEL))
		return -EOPNOTSUPP;

	ret = dmabufx_file_append(&fm->runs, file, pos - skip, len, read_only);
	if (ret)
		return ret;
	dmabufx_runs_finish(&fm->runs);
	ret = dmabufx_poison_look(&fm->runs, 0, true);
	if (ret)
		return ret;

	/* The direct map is writable, so it is not for a read-only mapping. */
	addr = read_only ? NULL : direct_address(&fm->runs);
	if (!addr) {
		addr = vmap_runs(&fm->runs,
				 read_only ? PAGE_KERNEL_RO : PAGE_KERNEL);
		if (IS_ERR(addr))
			return PTR_ERR(addr);
		fm->area = addr;
	}
	fm->map.addr = addr + skip;
	fm->map.size = size;
	return 0;
}

/**
 * dmabufx_vmap_file - map a range of a file into the kernel's address space
 * @file: a file with pages: shmem, hugetlb, or on a disk. No reference to it is
 *	kept
 * @pos: where in the file, bytes; need not be page-aligned
 * @size: how much of it, bytes; may reach to the end of the page that the file
 *	ends in
 * @flags: %DMABUFX_READ_ONLY, which files on a disk need; otherwise 0
 *
 * The range is contiguous at the address, wherever in its folios it starts and ends.
 * Pages that are not in memory are read in or swapped in. They stay until
 * dmabufx_vunmap_file(), even if the file is truncated; the truncated part of a large
 * folio becomes zeros. For their place in memory, see dmabufx_export_file().
 *
 * Context: Process context, may sleep and read from a disk.
 * Return: the mapping, or an error as from dmabufx_export_file(); -ENOMEM also
 * if no address range is free; -EOPNOTSUPP also for %DMABUFX_READ_ONLY on
 * architectures without read-only kernel mappings (riscv).
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

/*
 * Called when the kernel has no free addresses left; some machines have less address
 * space than memory. The core tries again as long as something was freed.
 */
static int vmap_purge(struct notifier_block *nb, unsigned long action,
		      void *freed)
{
	guard(mutex)(&vmap_lock);
	*(unsigned long *)freed += oldest_vmap_drop();
	return NOTIFY_OK;
}

static struct notifier_block vmap_notifier = {
	.notifier_call = vmap_purge,
};

int dmabufx_vmap_init(void)
{
	return register_vmap_purge_notifier(&vmap_notifier);
}

void dmabufx_vmap_exit(void)
{
	unregister_vmap_purge_notifier(&vmap_notifier);
}
