// SPDX-License-Identifier: GPL-2.0-only
/*
 * Processes: mapping a buffer into user space.
 *
 * The mapping is of page frames (VM_PFNMAP): the core neither counts nor
 * reclaims what it maps. That is safe because the mapping holds the dma-buf's
 * file, the file the buffer, and the buffer its pins.
 *
 * A fault maps the largest of PUD, PMD and PTE that the alignment of address
 * and memory, the run's length and the area's bounds allow. The core asks from
 * the largest down; what does not fit is left to the next smaller. Where it
 * comes down to PTEs, one fault fills the page table it touches, and no more:
 * the first access costs the same for a buffer of any size.
 *
 * Locking: a fault holds the area (mmap_lock or its own lock), so its bounds,
 * flags and protection stand still. Other faults may run beside it.
 */
#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/pgtable.h>

#include "compat.h"
#include "dmabufx.h"
#include "trace.h"

/*
 * Memory that failed must not be mapped: reading it ends in a machine check.
 * A hugetlb page is judged as a whole, since the struct pages of its tails may
 * be shared (hugetlb_free_vmemmap) and tell nothing.
 */
static bool page_is_poisoned(struct page *page)
{
	struct folio *folio = page_folio(page);

	if (!folio_test_large(folio) || folio_test_hugetlb(folio))
		return folio_test_hwpoison(folio);
	return PageHWPoison(page);
}

/* Is anything in @nr pages from @pfn? Goes by folio and may be too cautious. */
static bool range_is_poisoned(unsigned long pfn, unsigned long nr)
{
	unsigned long end = pfn + nr;

	while (pfn < end) {
		struct folio *folio = page_folio(pfn_to_page(pfn));

		if (folio_test_hwpoison(folio) ||
		    (folio_test_large(folio) &&
		     folio_test_has_hwpoisoned(folio)))
			return true;
		pfn = folio_pfn(folio) + folio_nr_pages(folio);
	}
	return false;
}

/**
 * struct pte_fill - progress of filling a page table
 * @vma: the area
 * @runs: the buffer
 * @run: the run that the next page lies in
 * @page: the next page
 * @end: the page behind the run's last
 * @pte: the next page's entry
 */
struct pte_fill {
	struct vm_area_struct *vma;
	const struct dmabufx_runs *runs;
	const struct dmabufx_run *run;
	struct page *page;
	struct page *end;
	pte_t pte;
};

/* Go on with page @index of @run. */
static void pte_fill_enter(struct pte_fill *fill, const struct dmabufx_run *run,
			   u32 index)
{
	struct page *page = dmabufx_run_page(run);

	fill->run = run;
	fill->page = page + index;
	fill->end = page + dmabufx_run_pages(fill->runs, run);
	fill->pte = pte_mkspecial(pfn_pte(dmabufx_run_pfn(run) + index,
					  fill->vma->vm_page_prot));
}

/* Context: the page table is locked. Entries that are there stay. */
static int pte_fill_one(pte_t *ptep, unsigned long addr, void *data)
{
	struct pte_fill *fill = data;

	if (fill->page == fill->end)
		pte_fill_enter(fill, fill->run + 1, 0);

	if (pte_none(ptep_get(ptep)) && !page_is_poisoned(fill->page))
		set_pte_at(fill->vma->vm_mm, addr, ptep, fill->pte);

	fill->page++;
	fill->pte = pte_advance_pfn(fill->pte, 1);
	return 0;
}

/*
 * Fill the page table around @address, within the area. The page table exists:
 * the core has put an entry into it, and while the fault holds the area nobody
 * can put a huge page in its place.
 */
static void fill_page_table(struct vm_area_struct *vma, unsigned long address)
{
	const struct dmabufx_buf *buf = vma->vm_private_data;
	struct pte_fill fill = { .vma = vma, .runs = &buf->runs };
	const struct dmabufx_run *run;
	unsigned long start, end;
	pgoff_t pgoff;

	start = max(vma->vm_start, ALIGN_DOWN(address, PMD_SIZE));
	end = min(vma->vm_end, ALIGN_DOWN(address, PMD_SIZE) + PMD_SIZE);
	pgoff = linear_page_index(vma, start);

	run = dmabufx_runs_find(fill.runs, pgoff);
	pte_fill_enter(&fill, run, pgoff - run->start);
	/* What could not be filled is faulted in later. */
	apply_to_page_range(vma->vm_mm, start, end - start, pte_fill_one,
			    &fill);
}

static vm_fault_t insert_pte(struct vm_fault *vmf, unsigned long pfn)
{
	vm_fault_t ret;

	if (page_is_poisoned(pfn_to_page(pfn)))
		return VM_FAULT_HWPOISON;

	ret = vmf_insert_pfn(vmf->vma, vmf->address, pfn);
	if (ret == VM_FAULT_NOPAGE)
		fill_page_table(vmf->vma, vmf->address);
	return ret;
}

/*
 * Insert a huge entry. A fault on an absent one needs no write flag: the
 * area's protection makes it writable. A write to an entry that was made
 * read-only (soft-dirty tracking does that) needs it, or would fault for ever;
 * given for an absent entry it would make the core warn about a page table
 * that another fault has put there meanwhile.
 */
static vm_fault_t insert_huge(struct vm_fault *vmf, unsigned int order,
			      unsigned long pfn)
{
	bool write = vmf->flags & FAULT_FLAG_WRITE;

	switch (order) {
#ifdef CONFIG_ARCH_SUPPORTS_PMD_PFNMAP
	case PMD_ORDER:
		return vmf_insert_pfn_pmd(vmf, DMABUFX_PFN(pfn),
					  write && pmd_leaf(pmdp_get(vmf->pmd)));
#endif
#ifdef CONFIG_ARCH_SUPPORTS_PUD_PFNMAP
	case PUD_ORDER:
		return vmf_insert_pfn_pud(vmf, DMABUFX_PFN(pfn),
					  write && pud_leaf(pudp_get(vmf->pud)));
#endif
	default:
		return VM_FAULT_FALLBACK;
	}
}

/*
 * The order-generic handler: an entry of 2^@order pages around the address, or
 * VM_FAULT_FALLBACK for the core to try the next smaller one.
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
	run = dmabufx_runs_find(&buf->runs, pgoff);
	if (!run)
		return VM_FAULT_SIGBUS;

	pgoff -= run->start;
	pfn = dmabufx_run_pfn(run) + pgoff;
	if (!order)
		return insert_pte(vmf, pfn);

	if (!IS_ALIGNED(pfn, nr) ||
	    dmabufx_run_pages(&buf->runs, run) - pgoff < nr ||
	    range_is_poisoned(pfn, nr))
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

static const struct vm_operations_struct dmabufx_vm_ops;

static bool has_room_for_pud(const struct vm_area_struct *vma)
{
	unsigned long first = ALIGN(vma->vm_start, PUD_SIZE);

	return first < vma->vm_end && vma->vm_end - first >= PUD_SIZE;
}

/*
 * An area is about to be split, moved or copied into another process, and @new
 * is what comes of it. When the first two happen, the core (6.12 to 7.3) looks
 * for PMDs below a PUD entry without asking whether that is a leaf:
 * mm_find_pmd() for vma_adjust_trans_huge(), get_old_pmd() in
 * move_page_tables(). It would take for a page table what a user wrote into the
 * memory. So no PUD entry may be there: all areas of the buffer in this address
 * space are emptied, to be faulted in again.
 *
 * Context: mmap_lock is held for writing, and the area is locked from here on,
 * so that no fault puts a new entry in.
 */
static void dmabufx_vm_open(struct vm_area_struct *new)
{
	const struct dmabufx_buf *buf = new->vm_private_data;
	struct vm_area_struct *vma;
	struct vma_iterator vmi;

	/* Too small for a PUD entry. */
	if (buf->runs.nr_pages < PUD_SIZE >> PAGE_SHIFT)
		return;

	vma_iter_init(&vmi, new->vm_mm, 0);
	for_each_vma(vmi, vma) {
		/* While a process forks, its child's tree has the parent's. */
		if (vma->vm_ops != &dmabufx_vm_ops ||
		    vma->vm_private_data != buf || vma->vm_mm != new->vm_mm ||
		    !has_room_for_pud(vma))
			continue;
		vma_start_write(vma);
		zap_special_vma_range(vma, vma->vm_start,
				      vma->vm_end - vma->vm_start);
	}
}

static const struct vm_operations_struct dmabufx_vm_ops = {
	.open = dmabufx_vm_open,
	.fault = dmabufx_fault,
#ifdef CONFIG_ARCH_SUPPORTS_PMD_PFNMAP
	.huge_fault = dmabufx_huge_fault,
#endif
};

/*
 * The core has checked that the area lies within the buffer; VM_DONTEXPAND
 * keeps mremap() from growing it later. A private mapping would copy page
 * frames on write, which the core cannot do.
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
		/* Importers that pass a mapping of their own on need this. */
		vm_flags_clear(vma, VM_MAYWRITE);
	}

	vm_flags_set(vma, VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_ops = &dmabufx_vm_ops;
	vma->vm_private_data = dmabuf->priv;

	trace_dmabufx_mmap(buf, vma->vm_pgoff, vma_pages(vma));
	return 0;
}
