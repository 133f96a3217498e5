// SPDX-License-Identifier: GPL-2.0-only
/*
 * Processes: mapping a buffer into user space.
 *
 * The mapping is of page frames (VM_PFNMAP): the core neither counts nor
 * reclaims what it maps. That is safe because the mapping holds the dma-buf's
 * file, the file the buffer, and the buffer its pins.
 */
#include <linux/hugetlb.h>
#include <linux/mm.h>

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

	if (folio_test_hugetlb(folio))
		return folio_test_hwpoison(folio);
	return PageHWPoison(page);
}

static vm_fault_t dmabufx_fault(struct vm_fault *vmf)
{
	const struct dmabufx_buf *buf = vmf->vma->vm_private_data;
	const struct dmabufx_run *run;
	unsigned long pfn;
	vm_fault_t ret;

	run = dmabufx_runs_find(&buf->runs, vmf->pgoff);
	if (!run)
		return VM_FAULT_SIGBUS;

	pfn = dmabufx_run_pfn(run) + (vmf->pgoff - run->start);
	if (page_is_poisoned(pfn_to_page(pfn)))
		ret = VM_FAULT_HWPOISON;
	else
		ret = vmf_insert_pfn(vmf->vma, vmf->address, pfn);

	trace_dmabufx_fault(buf, vmf->pgoff, 0, ret);
	return ret;
}

static const struct vm_operations_struct dmabufx_vm_ops = {
	.fault = dmabufx_fault,
};

/*
 * The core has checked that the area lies within the buffer; VM_DONTEXPAND
 * keeps mremap() from growing it later. A private mapping would copy page
 * frames on write, which the core cannot do.
 */
int dmabufx_mmap(struct dma_buf *dmabuf, struct vm_area_struct *vma)
{
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;

	vm_flags_set(vma, VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_ops = &dmabufx_vm_ops;
	vma->vm_private_data = dmabuf->priv;

	trace_dmabufx_mmap(dmabuf->priv, vma->vm_pgoff, vma_pages(vma));
	return 0;
}
