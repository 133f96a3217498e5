// SPDX-License-Identifier: GPL-2.0-only
/*
 * Processes: mapping a buffer into user space.
 *
 * The mapping is of page frames (VM_PFNMAP): the core neither counts nor
 * reclaims the mapped pages. That is safe because the mapping holds the dma-buf's
 * file, the file holds the buffer, and the buffer holds its pins.
 *
 * A fault maps the largest of PUD, PMD and PTE that the alignment of address
 * and memory, the run's length and the area's bounds allow. The core tries the
 * largest size first; a size that does not fit falls back to the next smaller one.
 * When a fault is down to PTEs, it fills the page table of the address, or a part of a
 * very long one, and no more: the first access costs the same for a buffer of any size.
 *
 * Locking: during a fault the area is locked (mmap_lock or its own lock), so its
 * bounds, flags and protection do not change, and a page table that the fault has
 * seen is not freed. Other faults may run in parallel.
 */
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/uaccess.h>
#include <asm/pgalloc.h>

#include "compat.h"
#include "dmabufx.h"
#include "trace.h"

/*
 * Returns true if one entry may map the @nr pages from @pfn. No page may be broken.
 * None may be anonymous either: the owner of anonymous memory maps it, too, and
 * page_table_check=on ends in BUG() at a second writable mapping, except for one by
 * special PTEs.
 */
static bool range_may_be_huge(unsigned long pfn, unsigned long nr)
{
	unsigned long end = pfn + nr, next;

	for (; pfn < end; pfn = next) {
		struct folio *folio = page_folio(pfn_to_page(pfn));

		next = min(end, folio_pfn(folio) + folio_nr_pages(folio));
		if (folio_test_anon(folio) ||
		    dmabufx_range_is_poisoned(pfn, next - pfn))
			return false;
	}
	return true;
}

/*
 * Returns true if pages of @buf may differ in their memory type. A module may have
 * changed the type of memory that it lends (set_memory_wc()). Where the kernel tracks
 * types, all mappings of a page must agree, and only the core can look a type up. It
 * has to do that page by page: an entry of any size gets the type of its first page.
 */
static bool types_may_differ(const struct dmabufx_buf *buf)
{
#ifdef __HAVE_PFNMAP_TRACKING
	return buf->runs.retention == DMABUFX_CALLERS;
#else
	return false;
#endif
}

/*
 * So much of a page table is filled by one fault: 512 entries. That is all of it with pages
 * of 4 KiB, but tables for larger pages have thousands.
 */
#define FILL_SIZE	min(PMD_SIZE, 512 * PAGE_SIZE)

/**
 * struct pte_fill - progress of filling a page table
 * @vma: the area
 * @runs: the buffer
 * @at: the run that the next page lies in
 * @page: the next page
 * @end: the page after the run's last
 * @pte: the next page's entry
 */
struct pte_fill {
	struct vm_area_struct *vma;
	const struct dmabufx_runs *runs;
	struct dmabufx_place at;
	struct page *page;
	struct page *end;
	pte_t pte;
};

/* Begin with page @index of the run. */
static void pte_fill_enter(struct pte_fill *fill, u32 index)
{
	const struct dmabufx_run *run = fill->at.run;

	fill->page = run->page + index;
	fill->end = run->page + dmabufx_run_pages(run);
	fill->pte = pte_mkspecial(pfn_pte(dmabufx_run_pfn(run) + index,
					  fill->vma->vm_page_prot));
}

/* Go on with the next run. Not inlined, so that what is done for each entry stays short. */
static noinline void pte_fill_next(struct pte_fill *fill)
{
	dmabufx_place_next(&fill->at, fill->runs);
	pte_fill_enter(fill, 0);
}

/* Fills one entry. Context: the page table is locked. Existing entries stay. */
static int pte_fill_one(pte_t *ptep, unsigned long addr, void *data)
{
	struct pte_fill *fill = data;

	if (fill->page == fill->end)
		pte_fill_next(fill);

	/*
	 * The entry is special already. Said again where the compiler sees it, that removes
	 * calls for other entries from set_pte_at(), which modules could not make.
	 */
	if (pte_none(ptep_get(ptep)) && !dmabufx_page_is_poisoned(fill->page))
		set_pte_at(fill->vma->vm_mm, addr, ptep, pte_mkspecial(fill->pte));

	fill->page++;
	fill->pte = pte_advance_pfn(fill->pte, 1);
	return 0;
}

/* The same for a whole range, by the core, which looks up each page's memory type. */
static void fill_by_core(struct pte_fill *fill, unsigned long start,
			 unsigned long end)
{
	for (; start < end; start += PAGE_SIZE, fill->page++) {
		if (fill->page == fill->end)
			pte_fill_next(fill);
		if (!dmabufx_page_is_poisoned(fill->page))
			vmf_insert_pfn(fill->vma, start,
				       page_to_pfn(fill->page));
	}
}

/* Fill the page table around @address, up to FILL_SIZE in the area. The table must exist. */
static void fill_page_table(struct vm_area_struct *vma, unsigned long address)
{
	const struct dmabufx_buf *buf = vma->vm_private_data;
	struct pte_fill fill = { .vma = vma, .runs = &buf->runs };
	unsigned long start, end;
	pgoff_t pgoff;

	start = max(vma->vm_start, ALIGN_DOWN(address, FILL_SIZE));
	end = min(vma->vm_end, ALIGN_DOWN(address, FILL_SIZE) + FILL_SIZE);
	pgoff = linear_page_index(vma, start);

	fill.at = dmabufx_runs_find(fill.runs, pgoff);
	pte_fill_enter(&fill, pgoff - fill.at.run->start);
	/* A page that cannot be mapped now is faulted in later. */
	if (types_may_differ(buf) || !DMABUFX_SETS_PTES)
		fill_by_core(&fill, start, end);
	else
		apply_to_page_range(vma->vm_mm, start, end - start,
				    pte_fill_one, &fill);
}

/*
 * Install a page table for the fault, as the core does for faults that return a page.
 * Another fault may install a huge entry instead, if the core asked it for one: while
 * PR_SET_THP_DISABLE had another value, or before a page broke. The first of the two
 * faults decides for both. vmf_insert_pfn() is not enough: it mistakes a huge entry for
 * a lack of memory, or for a bug.
 *
 * Return: whether there is a page table now. It is not freed: see the head of this file.
 */
static bool has_page_table(struct vm_fault *vmf)
{
	struct mm_struct *mm = vmf->vma->vm_mm;
	spinlock_t *ptl = pmd_lock(mm, vmf->pmd);
	pmd_t pmd;

	if (pmd_none(pmdp_get(vmf->pmd)) && vmf->prealloc_pte) {
		mm_inc_nr_ptes(mm);
		/* Order: clear the table before others can find it; see pmd_install(). */
		smp_wmb();
		pmd_populate(mm, vmf->pmd, vmf->prealloc_pte);
		vmf->prealloc_pte = NULL;
	}
	pmd = pmdp_get(vmf->pmd);
	spin_unlock(ptl);
	return !pmd_none(pmd) && !pmd_leaf(pmd);
}

static vm_fault_t insert_pte(struct vm_fault *vmf, unsigned long pfn)
{
	vm_fault_t ret;

	if (dmabufx_page_is_poisoned(pfn_to_page(pfn)))
		return VM_FAULT_HWPOISON;
	/* Another fault was faster: let the access be tried again. */
	if (!has_page_table(vmf))
		return VM_FAULT_NOPAGE;

	ret = vmf_insert_pfn(vmf->vma, vmf->address, pfn);
	if (ret == VM_FAULT_NOPAGE)
		fill_page_table(vmf->vma, vmf->address);
	return ret;
}

/*
 * Insert a huge entry. If no entry is present, pass no write flag: the area's
 * protection makes the new entry writable, and with the flag the core would warn
 * about a page table that another fault has installed meanwhile. If a read-only
 * entry is present (soft-dirty tracking makes such), a write needs the flag, or it
 * would fault for ever.
 */
static vm_fault_t insert_huge(struct vm_fault *vmf, unsigned int order,
			      unsigned long pfn)
{
	switch (order) {
#ifdef CONFIG_ARCH_SUPPORTS_PMD_PFNMAP
	case PMD_ORDER:
		return vmf_insert_pfn_pmd(vmf, DMABUFX_PFN(pfn),
					  vmf->flags & FAULT_FLAG_WRITE &&
					  pmd_leaf(pmdp_get(vmf->pmd)));
#endif
#ifdef CONFIG_ARCH_SUPPORTS_PUD_PFNMAP
	case PUD_ORDER:
		return vmf_insert_pfn_pud(vmf, DMABUFX_PFN(pfn),
					  vmf->flags & FAULT_FLAG_WRITE &&
					  pud_leaf(pudp_get(vmf->pud)));
#endif
	default:
		return VM_FAULT_FALLBACK;
	}
}

/*
 * Handle a fault of any order: insert an entry of 2^@order pages around the address,
 * or return VM_FAULT_FALLBACK to let the core try the next smaller order.
 */
static vm_fault_t dmabufx_fault_order(struct vm_fault *vmf, unsigned int order)
{
	struct vm_area_struct *vma = vmf->vma;
	const struct dmabufx_buf *buf = vma->vm_private_data;
	unsigned long nr = 1UL << order;
	unsigned long addr = ALIGN_DOWN(vmf->address, nr << PAGE_SHIFT);
	const struct dmabufx_run *run;
	unsigned long pfn;
	pgoff_t pgoff;

	if (addr < vma->vm_start || vma->vm_end - addr < nr << PAGE_SHIFT)
		return VM_FAULT_FALLBACK;

	pgoff = linear_page_index(vma, addr);
	run = dmabufx_runs_find(&buf->runs, pgoff).run;
	if (!run)
		return VM_FAULT_SIGBUS;

	pgoff -= run->start;
	pfn = dmabufx_run_pfn(run) + pgoff;
	if (!order)
		return insert_pte(vmf, pfn);

	if (!IS_ALIGNED(pfn, nr) ||
	    dmabufx_run_pages(run) - pgoff < nr ||
	    types_may_differ(buf) || !range_may_be_huge(pfn, nr))
		return VM_FAULT_FALLBACK;
	return insert_huge(vmf, order, pfn);
}

static vm_fault_t dmabufx_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	vm_fault_t ret = dmabufx_fault_order(vmf, order);

	trace_dmabufx_fault(vmf->vma->vm_private_data, vmf->pgoff, order, ret);
	return ret;
}

static vm_fault_t dmabufx_fault(struct vm_fault *vmf)
{
	return dmabufx_huge_fault(vmf, 0);
}

#ifdef CONFIG_ARCH_SUPPORTS_PUD_PFNMAP

static const struct vm_operations_struct dmabufx_pud_vm_ops;

/*
 * PUD entries when an area changes. When an area is split or moved, the core (6.12
 * to 7.3) looks for PMDs below a PUD entry without checking whether that entry is a
 * leaf: mm_find_pmd() for vma_adjust_trans_huge(), get_old_pmd() in
 * move_page_tables(). It would use user data in the mapped memory as a page table.
 * So PUD entries that are about to be cut or moved are removed before; later
 * accesses fault them in again. fork() copies PUD entries correctly.
 *
 * Context: mmap_lock is held for writing, and the area is locked from here on,
 * so that no fault inserts a new entry.
 */

static bool is_pud_entry(struct mm_struct *mm, unsigned long addr)
{
	pgd_t *pgd = pgd_offset(mm, addr);
	p4d_t *p4d;

	if (pgd_none(*pgd))
		return false;
	p4d = p4d_offset(pgd, addr);
	return !p4d_none(*p4d) && pud_leaf(pudp_get(pud_offset(p4d, addr)));
}

/* Remove the PUD entries from @start to @end, a part of the area. */
static void zap_pud_entries(struct vm_area_struct *vma, unsigned long start,
			    unsigned long end)
{
	vma_start_write(vma);
	for (start = ALIGN(start, PUD_SIZE);
	     start < end && end - start >= PUD_SIZE; start += PUD_SIZE)
		if (is_pud_entry(vma->vm_mm, start))
			zap_special_vma_range(vma, start, PUD_SIZE);
}

/* The area will be split at @addr, or a part that begins or ends there will be moved. */
static int dmabufx_vm_may_split(struct vm_area_struct *vma, unsigned long addr)
{
	unsigned long start = ALIGN_DOWN(addr, PUD_SIZE);

	if (start != addr)
		zap_pud_entries(vma, max(start, vma->vm_start),
				min(start + PUD_SIZE, vma->vm_end));
	return 0;
}

/* Without permissions, a PUD entry would no longer count as present. */
static int dmabufx_vm_mprotect(struct vm_area_struct *vma, unsigned long start,
			       unsigned long end, unsigned long newflags)
{
	zap_pud_entries(vma, start, end);
	return 0;
}

/* Returns true if @vma maps all pages of the buffer that @new maps. */
static bool shows_all_of(struct vm_area_struct *vma,
			 struct vm_area_struct *new)
{
	return vma->vm_ops == &dmabufx_pud_vm_ops &&
	       vma->vm_private_data == new->vm_private_data &&
	       vma->vm_pgoff <= new->vm_pgoff &&
	       new->vm_pgoff + vma_pages(new) <=
			vma->vm_pgoff + vma_pages(vma);
}

/*
 * @new is a copy of another area, made by fork(), a split or mremap(). Only mremap()
 * matters here: after fork() @new has another mm, and at a split its addresses still
 * belong to the old area, for which may_split() was called. For mremap(), may_split()
 * was called for both ends of the moved part, so only the entries between them are
 * left. Nothing tells which area they move from, but it maps the same pages as @new.
 * Another area that maps them, too, only loses time for a fault.
 */
static void dmabufx_vm_open(struct vm_area_struct *new)
{
	struct vm_area_struct *vma;
	struct vma_iterator vmi;

	if (vma_pages(new) < PUD_SIZE >> PAGE_SHIFT ||
	    new->vm_mm != current->mm || vma_lookup(new->vm_mm, new->vm_start))
		return;

	vma_iter_init(&vmi, new->vm_mm, 0);
	for_each_vma(vmi, vma) {
		unsigned long start;

		if (!shows_all_of(vma, new))
			continue;
		start = vma->vm_start +
			((new->vm_pgoff - vma->vm_pgoff) << PAGE_SHIFT);
		zap_pud_entries(vma, start,
				start + new->vm_end - new->vm_start);
	}
}

#endif /* CONFIG_ARCH_SUPPORTS_PUD_PFNMAP */

/*
 * A process that dies or calls exec() does not end its brackets, so end them here.
 * An importer (amdxdna) calls this at other times, too: then mm_users is not 0.
 */
static void dmabufx_vm_close(struct vm_area_struct *vma)
{
	if (!atomic_read(&vma->vm_mm->mm_users))
		dmabufx_process_ends(vma->vm_private_data, vma->vm_mm);
}

/*
 * Access for ptrace() and /proc/PID/mem: the core cannot get pages from page frame
 * mappings, so it calls this. A debugger may do here what it may do to other shared
 * mappings. If the kernel's address of a module's memory is not mapped, the result is
 * an error and not an oops.
 *
 * Return: the number of bytes copied, all from one page; the core calls again for the
 * rest. Or a negative error.
 */
static int dmabufx_vm_access(struct vm_area_struct *vma, unsigned long addr,
			     void *data, int len, int write)
{
	const struct dmabufx_buf *buf = vma->vm_private_data;
	pgoff_t pgoff = linear_page_index(vma, addr);
	const struct dmabufx_run *run;
	struct page *page;
	void *kaddr;
	u8 probe;

	if (!(vma->vm_flags & (write ? VM_WRITE : VM_MAYREAD)))
		return -EACCES;
	run = dmabufx_runs_find(&buf->runs, pgoff).run;
	if (!run)
		return -EFAULT;
	page = run->page + (pgoff - run->start);
	if (dmabufx_page_is_poisoned(page))
		return -EHWPOISON;

	len = min_t(unsigned long, len, PAGE_SIZE - offset_in_page(addr));
	kaddr = page_address(page) + offset_in_page(addr);
	if (!write)
		return copy_from_kernel_nofault(data, kaddr, len) ?: len;
	if (copy_from_kernel_nofault(&probe, kaddr, sizeof(probe)))
		return -EFAULT;
	memcpy(kaddr, data, len);
	return len;
}

static const struct vm_operations_struct dmabufx_vm_ops = {
	.close = dmabufx_vm_close,
	.access = dmabufx_vm_access,
	.fault = dmabufx_fault,
#ifdef CONFIG_ARCH_SUPPORTS_PMD_PFNMAP
	.huge_fault = dmabufx_huge_fault,
#endif
};

#ifdef CONFIG_ARCH_SUPPORTS_PUD_PFNMAP
static const struct vm_operations_struct dmabufx_pud_vm_ops = {
	.open = dmabufx_vm_open,
	.close = dmabufx_vm_close,
	.may_split = dmabufx_vm_may_split,
	.mprotect = dmabufx_vm_mprotect,
	.access = dmabufx_vm_access,
	.fault = dmabufx_fault,
	.huge_fault = dmabufx_huge_fault,
};
#endif

/* An area without room for a PUD entry never gets room: parts are smaller, none grows. */
static const struct vm_operations_struct *vm_ops_for(struct vm_area_struct *vma)
{
#ifdef CONFIG_ARCH_SUPPORTS_PUD_PFNMAP
	if (vma_pages(vma) >= PUD_SIZE >> PAGE_SHIFT)
		return &dmabufx_pud_vm_ops;
#endif
	return &dmabufx_vm_ops;
}

/*
 * The core has checked that the area lies within the buffer; VM_DONTEXPAND
 * prevents mremap() from growing it later. A private mapping is refused: it would
 * copy pages on write, which the core cannot do for page frames.
 */
int dmabufx_mmap(struct dma_buf *dmabuf, struct vm_area_struct *vma)
{
	const struct dmabufx_buf *buf = dmabuf->priv;

	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	if (buf->no_mmap)
		return -EPERM;
	if (buf->read_only) {
		if (vma->vm_flags & VM_WRITE)
			return -EACCES;
		/* Needed for importers that pass their own mapping to this buffer. */
		vm_flags_clear(vma, VM_MAYWRITE);
	}

	vm_flags_set(vma, VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_ops = vm_ops_for(vma);
	vma->vm_private_data = dmabuf->priv;

	trace_dmabufx_mmap(buf, vma->vm_pgoff, vma_pages(vma));
	return 0;
}
