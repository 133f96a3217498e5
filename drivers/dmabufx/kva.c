// SPDX-License-Identifier: GPL-2.0-only
/*
 * Kernel addresses: find the pages of a range, which may be in the direct map or
 * mapped page by page.
 *
 * Three kinds of addresses are accepted: of the direct map (and the kernel image, which
 * is linear, too), of vmalloc() and vmap(), and of modules. All others are refused,
 * and so are ranges which show that a caller computed an address or a length wrongly:
 *
 *  - the caller's own stack; any other task's stack in vmalloc space, except those
 *    of idle tasks of secondary CPUs
 *  - user addresses (where those differ from the kernel's), NULL, error
 *    pointers, ranges that overflow
 *  - addresses without memory: beyond its end, in its holes, of devices
 *  - a vmalloc range that leaves its area: the guard page is not mapped
 *  - a linear range that begins in a slab or in a compound page and ends
 *    outside of it, or that begins outside of one and ends in it
 *
 * Some errors are not noticed, because no function that a module may use tells them: a
 * range that leaves an object but not its slab (ksize() only answers for the start of
 * an object; for another address it writes beside the object if slabs are debugged);
 * a range that leaves pages from alloc_pages() without __GFP_COMP for other such
 * pages; a range that leaves an area without guard pages (vm_map_ram(), per-CPU
 * memory); interrupt stacks; and memory that was freed.
 */
#include <linux/dmabufx.h>
#include <linux/export.h>
#include <linux/ioport.h>
#include <linux/kasan.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/overflow.h>
#include <linux/rculist.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/sched/task_stack.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "dmabufx.h"

static int add_size(struct resource *res, void *total)
{
	*(resource_size_t *)total += resource_size(res);
	return 0;
}

/* Is all of the range system RAM? The memory map alone also covers holes. */
static bool is_ram(phys_addr_t start, size_t size)
{
	resource_size_t ram = 0;

	walk_iomem_res_desc(IORES_DESC_NONE,
			    IORESOURCE_SYSTEM_RAM | IORESOURCE_BUSY,
			    start, start + size - 1, &ram, add_size);
	return ram == size;
}

static bool overlaps_own_stack(unsigned long addr, size_t len)
{
	unsigned long stack = (unsigned long)task_stack_page(current);

	return addr < stack + THREAD_SIZE && addr + len > stack;
}

/*
 * Stacks in vmalloc space are aligned to their size, and the page after each is not
 * mapped. So only the last THREAD_SIZE of an area can be a stack, and only that is
 * compared with the stacks of all tasks.
 */
static bool in_task_stack(unsigned long addr)
{
	unsigned long start = ALIGN_DOWN(addr, THREAD_SIZE);
	const void *end = (void *)(start + THREAD_SIZE);
	struct task_struct *process, *task;
	bool found = false;

	if (is_vmalloc_addr(end) && vmalloc_to_page(end))
		return false;

	/* With CONFIG_PROVE_RCU, modules cannot use for_each_thread(). */
	rcu_read_lock();
	for_each_process(process)
		list_for_each_entry_rcu(task, &process->signal->thread_head,
					thread_node)
			found |= (unsigned long)READ_ONCE(task->stack) == start;
	rcu_read_unlock();
	return found;
}

/*
 * Returns the page at an address of vmalloc space or of a module, or NULL. ioremap()
 * may map addresses without memory, with no struct page or with a reserved one.
 */
static struct page *mapped_page(unsigned long addr)
{
	struct page *page = NULL;

	if (is_vmalloc_or_module_addr((void *)addr))
		page = vmalloc_to_page((void *)addr);
	if (!page || !pfn_to_online_page(page_to_pfn(page)))
		return NULL;
	if (PageReserved(page) && !is_ram(page_to_phys(page), PAGE_SIZE))
		return NULL;
	return page;
}

static int vmalloc_piece(unsigned long addr, size_t len,
			 struct dmabufx_piece *piece)
{
	size_t size = 0, step = PAGE_SIZE - offset_in_page(addr);

	while (size < len) {
		unsigned long at = addr + size;
		struct page *page;

		if ((!size || IS_ALIGNED(at, THREAD_SIZE)) &&
		    is_vmalloc_addr((void *)at) && in_task_stack(at))
			break;
		page = mapped_page(at);
		if (!page)
			break;
		if (!size)
			piece->page = page;
		else if (page != piece->page + DIV_ROUND_UP(size, PAGE_SIZE))
			break;
		size += step;
		step = PAGE_SIZE;
	}
	if (!size)
		return -EFAULT;

	/* If anything ended the piece early, the next piece begins with it. */
	piece->len = min(size, len);
	return 0;
}

/*
 * The mapping of the kernel image extends beyond the image, without memory. So accept
 * only pages that were reserved at boot as pages of the image.
 */
static bool in_image(const struct page *page, unsigned long nr)
{
	while (nr--)
		if (!PageReserved(page++))
			return false;
	return true;
}

/* Is a linear range, whose ends are memory, within one allocation? */
static bool is_one_allocation(struct page *first, unsigned long nr)
{
	struct folio *folio = page_folio(first);
	struct folio *last = page_folio(first + nr - 1);

	if (folio_test_large(folio) || folio_test_slab(folio) ||
	    folio_test_large(last) || folio_test_slab(last))
		return folio == last;
	if (nr == 1 && !PageReserved(first))
		return true;
	return is_ram(page_to_phys(first), nr << PAGE_SHIFT);
}

/* Returns the page at an address of the direct map or of the kernel image, or NULL. */
static struct page *linear_page(unsigned long addr)
{
	if (!virt_addr_valid((void *)addr))
		return NULL;
	return pfn_to_online_page(page_to_pfn(virt_to_page((void *)addr)));
}

static int linear_piece(unsigned long addr, size_t len,
			struct dmabufx_piece *piece)
{
	struct page *page = linear_page(addr);
	struct page *last = linear_page(addr + len - 1);
	unsigned long nr;

	nr = DIV_ROUND_UP(offset_in_page(addr) + len, PAGE_SIZE);
	if (!page || last != page + nr - 1 || !is_one_allocation(page, nr))
		return -EFAULT;
	if (kasan_reset_tag(page_address(page)) != (void *)(addr & PAGE_MASK) &&
	    !in_image(page, nr))
		return -EFAULT;

	piece->page = page;
	piece->len = len;
	return 0;
}

/**
 * dmabufx_kva_piece - find the memory at the beginning of a kernel address range
 * @kaddr: the range's first address
 * @len: its length, bytes, at least 1
 * @piece: returned: the physically contiguous memory that the range begins with
 *
 * Linear memory is one piece, found without a look at each page. Takes no
 * reference.
 *
 * Context: process context.
 * Return: 0, or -EFAULT as described at the head of this file.
 */
int dmabufx_kva_piece(const void *kaddr, size_t len,
		      struct dmabufx_piece *piece)
{
	unsigned long addr = (unsigned long)kasan_reset_tag(kaddr), end;

	if (check_add_overflow(addr, len, &end) ||
	    overlaps_own_stack(addr, len))
		return -EFAULT;

	piece->offset = offset_in_page(addr);
	if (is_vmalloc_or_module_addr((void *)addr))
		return vmalloc_piece(addr, len, piece);
	return linear_piece(addr, len, piece);
}

static int list_range(const void *addr, size_t len, struct page **pages)
{
	struct dmabufx_piece piece;
	unsigned long i, nr;
	int ret;

	for (; len; addr += piece.len, len -= piece.len) {
		ret = dmabufx_kva_piece(addr, len, &piece);
		if (ret)
			return ret;

		nr = DIV_ROUND_UP(piece.offset + piece.len, PAGE_SIZE);
		for (i = 0; i < nr; i++)
			*pages++ = piece.page + i;
	}
	return 0;
}

/**
 * dmabufx_kva_pages - list the pages behind a range of kernel addresses
 * @addr: the range's first address: of the direct map (kmalloc(), alloc_pages(),
 *	static data), of vmalloc() or vmap(), hence also kvmalloc(), or of a module
 * @len: its length, bytes; need not be a multiple of anything
 * @pages: if *@pages is not NULL, it is the caller's array, which is filled; else
 *	an array is allocated, for the caller to kvfree(), and returned in *@pages
 * @max_pages: size of the caller's array, or of the largest one to allocate
 * @gfp: how to allocate; unused if *@pages is not NULL
 *
 * After Matthew Wilcox's answer to a proposed kvvirt_to_page() (2018): it returns an
 * array for a range instead of a page for an address, so that ranges which cross
 * pages are handled correctly. The pages stay valid as long as the caller keeps the
 * memory: nothing is referenced or pinned. The range begins at offset_in_page(@addr)
 * in the first page.
 *
 * A range that is not memory, or not within one allocation, or a stack, is refused
 * as far as that can be detected; the head of kva.c has the details. It never warns.
 *
 * Context: process context.
 * Return: the number of pages, 0 for an empty range; -EFAULT for a range that is
 * refused, -ENOSPC if it has more than @max_pages pages, -ENOMEM. *@pages
 * changes only if an array was allocated.
 */
long dmabufx_kva_pages(const void *addr, size_t len, struct page ***pages,
		       unsigned long max_pages, gfp_t gfp)
{
	struct dmabufx_piece last;
	struct page **list = *pages;
	unsigned long end, nr;
	int ret;

	if (!len)
		return 0;
	if (check_add_overflow((unsigned long)addr, len - 1, &end))
		return -EFAULT;

	/* Check the end first, before an array is allocated for a wrong length. */
	ret = dmabufx_kva_piece((void *)end, 1, &last);
	if (ret)
		return ret;

	nr = (end >> PAGE_SHIFT) - ((unsigned long)addr >> PAGE_SHIFT) + 1;
	if (nr > max_pages)
		return -ENOSPC;

	if (!list)
		list = kvmalloc_array(nr, sizeof(*list), gfp | __GFP_NOWARN);
	if (!list)
		return -ENOMEM;

	ret = list_range(addr, len, list);
	if (!ret) {
		*pages = list;
		return nr;
	}
	if (list != *pages)
		kvfree(list);
	return ret;
}
EXPORT_SYMBOL_GPL(dmabufx_kva_pages);
