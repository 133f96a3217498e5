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
 * flags and protection stand still, and page tables that it has seen stay.
 * Other faults may run beside it.
 */
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/uaccess.h>
#include <asm/pgalloc.h>

#include "compat.h"
#include "dmabufx.h"
#include "trace.h"

/*
 * May one entry map @nr pages from @pfn? Not if one of them failed. Nor if one is
 * anonymous: its owner maps it, too, and of second writable mappings Linux exempts
 * only those by special PTEs from being taken for a bug (page_table_check=on then
 * ends in BUG()).
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
 * May pages of @buf differ in their memory type? A module may have changed that
 * of memory which it lends (set_memory_wc()). Where the kernel keeps record of
 * it, all mappings of a page must agree, and only the core can look it up: page
 * by page, since an entry of any size gets the type of its first page.
 */
static bool types_may_differ(const struct dmabufx_buf *buf)
{
#ifdef __HAVE_PFNMAP_TRACKING
	return buf->runs.retention == DMABUFX_CALLERS;
#else
	return false;
#endif
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

	if (pte_none(ptep_get(ptep)) && !dmabufx_page_is_poisoned(fill->page))
		set_pte_at(fill->vma->vm_mm, addr, ptep, fill->pte);

	fill->page++;
	fill->pte = pte_advance_pfn(fill->pte, 1);
	return 0;
}

/* The same, by the core, which knows the type of each page. */
static void fill_by_type(struct pte_fill *fill, unsigned long start,
			 unsigned long end)
{
	for (; start < end; start += PAGE_SIZE, fill->page++) {
		if (fill->page == fill->end)
			pte_fill_enter(fill, fill->run + 1, 0);
		if (!dmabufx_page_is_poisoned(fill->page))
			vmf_insert_pfn(fill->vma, start,
				       page_to_pfn(fill->page));
	}
}

/* Fill the page table around @address, within the area. The table exists. */
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
	if (types_may_differ(buf))
		fill_by_type(&fill, start, end);
	else
		apply_to_page_range(vma->vm_mm, start, end - start,
				    pte_fill_one, &fill);
}

/*
 * Put the page table of a fault in its place, as the core does for faults that
 * return a page. Another fault may put a huge entry there instead: one that was
 * asked for it when PR_SET_THP_DISABLE was another, or before a page failed.
 * Whoever comes first decides for both. The core's own look in vmf_insert_pfn()
 * is no use for that: it takes a huge entry for a lack of memory, or for a bug.
 *
 * Return: whether there is a page table now. It stays: see the head.
 */
static bool has_page_table(struct vm_fault *vmf)
{
	struct mm_struct *mm = vmf->vma->vm_mm;
	spinlock_t *ptl = pmd_lock(mm, vmf->pmd);
	pmd_t pmd;

	if (pmd_none(pmdp_get(vmf->pmd)) && vmf->prealloc_pte) {
		mm_inc_nr_ptes(mm);
		/* Whoever finds the table finds it cleared; see pmd_install(). */
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
	/* Where another fault was faster, the access is tried again. */
	if (!has_page_table(vmf))
		return VM_FAULT_NOPAGE;

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

static const struct vm_operations_struct dmabufx_vm_ops;

/*
 * PUD entries and changes of an area. The core (6.12 to 7.3) looks for PMDs
 * below a PUD entry without asking whether that is a leaf, when an area is
 * split or moved: mm_find_pmd() for vma_adjust_trans_huge(), get_old_pmd() in
 * move_page_tables(). It would take for a page table what a user wrote into the
 * memory. So the PUD entries that are about to be cut or moved are taken out
 * before, to be faulted in again. A fork copies them right.
 *
 * Context: mmap_lock is held for writing, and the area is locked from here on,
 * so that no fault puts a new entry in.
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

/* Take out the PUD entries from @start to @end, a part of the area. */
static void zap_pud_entries(struct vm_area_struct *vma, unsigned long start,
			    unsigned long end)
{
	vma_start_write(vma);
	for (start = ALIGN(start, PUD_SIZE);
	     start < end && end - start >= PUD_SIZE; start += PUD_SIZE)
		if (is_pud_entry(vma->vm_mm, start))
			zap_special_vma_range(vma, start, PUD_SIZE);
}

/* The area is to be split at @addr, or a part of it moved that begins or ends there. */
static int dmabufx_vm_may_split(struct vm_area_struct *vma, unsigned long addr)
{
	unsigned long start = ALIGN_DOWN(addr, PUD_SIZE);

	if (start != addr)
		zap_pud_entries(vma, max(start, vma->vm_start),
				min(start + PUD_SIZE, vma->vm_end));
	return 0;
}

/* A PUD entry that cannot be accessed would not count as present any more. */
static int dmabufx_vm_mprotect(struct vm_area_struct *vma, unsigned long start,
			       unsigned long end, unsigned long newflags)
{
	zap_pud_entries(vma, start, end);
	return 0;
}

/* Does @vma show all pages of the buffer that @new does? */
static bool shows_all_of(struct vm_area_struct *vma,
			 struct vm_area_struct *new)
{
	return vma->vm_ops == &dmabufx_vm_ops &&
	       vma->vm_private_data == new->vm_private_data &&
	       vma->vm_pgoff <= new->vm_pgoff &&
	       new->vm_pgoff + vma_pages(new) <=
			vma->vm_pgoff + vma_pages(vma);
}

/*
 * @new comes of another area, by fork(), by a split or by mremap(). Only the
 * last one concerns us: in a fork it has another mm, and in a split its place is
 * still taken by the area which may_split() was asked about. may_split() was
 * asked about the ends of what mremap() moves, too, so only what lies between
 * them is left. From where that is moved nobody says, but that area shows the
 * same pages. Others which show them lose nothing but a fault.
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
 * Whoever dies, or becomes another program, ends no bracket of its own. Importers
 * (amdxdna) call this without asking, when nothing ends.
 */
static void dmabufx_vm_close(struct vm_area_struct *vma)
{
	if (!atomic_read(&vma->vm_mm->mm_users))
		dmabufx_process_ends(vma->vm_private_data, vma->vm_mm);
}

/*
 * ptrace() and /proc/PID/mem: of page frames the core cannot get the pages, so
 * it asks us. What the debugger may do to other shared mappings it may do here.
 * The kernel's address of a module's memory may lead nowhere: that is an error,
 * too, and no oops.
 *
 * Return: how many bytes were copied, of one page; the core asks again for the
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
	run = dmabufx_runs_find(&buf->runs, pgoff);
	if (!run)
		return -EFAULT;
	page = dmabufx_run_page(run) + (pgoff - run->start);
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
#ifdef CONFIG_ARCH_SUPPORTS_PUD_PFNMAP
	.open = dmabufx_vm_open,
	.may_split = dmabufx_vm_may_split,
	.mprotect = dmabufx_vm_mprotect,
#endif
	.close = dmabufx_vm_close,
	.access = dmabufx_vm_access,
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
