// SPDX-License-Identifier: GPL-2.0-only
/*
 * The bench's module: measures operations that only the kernel can call, for any
 * exporter's dma-buf, and the floor: the cost of the same work with the kernel's own
 * primitives. dmabufx-bench.h is its interface. For the bench only: whoever can open
 * its node can pin memory without limit.
 *
 * A floor is one straightforward use of a primitive: the arrays that it needs are
 * allocated and filled before the clock starts, and nothing is looked up.
 */
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/iosys-map.h>
#include <linux/ktime.h>
#include <linux/memfd.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pagemap.h>
#include <linux/pgtable.h>
#include <linux/platform_device.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/udmabuf.h>
#include <linux/vmalloc.h>

#include "../../drivers/dmabufx/compat.h"
#include "dmabufx-bench.h"

#define MAX_HELD	16

/* A mapping that is kept. */
struct held {
	struct dma_buf_attachment *attach;
	struct sg_table *sgt;
};

/**
 * struct bench - one open of the node
 * @lock: serialises its ioctls
 * @pdev: the device that dma-bufs are mapped for
 * @folios: the floor's folios, pinned
 * @nr_folios: how many, 0 without a floor
 * @pages: array of all pages of the floor
 * @nr_pages: how many
 * @held: mappings of one dma-buf, of which the file has a reference
 * @nr_held: how many
 */
struct bench {
	struct mutex lock; /* one ioctl at a time */
	struct platform_device *pdev;
	struct folio **folios;
	long nr_folios;
	struct page **pages;
	unsigned long nr_pages;
	struct held held[MAX_HELD];
	unsigned int nr_held;
};

/* A dma-buf in the hands of an importer */

static int bench_map_attached(struct dma_buf_attachment *attach,
			      struct dmabufx_bench_map *map)
{
	struct sg_table *sgt;
	u64 start;

	sgt = dma_buf_map_attachment_unlocked(attach, DMA_BIDIRECTIONAL);
	if (IS_ERR(sgt))
		return PTR_ERR(sgt);
	map->first += ktime_get_ns();

	map->nents = sgt->nents;
	dma_buf_unmap_attachment_unlocked(attach, sgt, DMA_BIDIRECTIONAL);

	start = ktime_get_ns();
	sgt = dma_buf_map_attachment_unlocked(attach, DMA_BIDIRECTIONAL);
	if (IS_ERR(sgt))
		return PTR_ERR(sgt);
	map->next = ktime_get_ns() - start;

	map->last = -ktime_get_ns();
	dma_buf_unmap_attachment_unlocked(attach, sgt, DMA_BIDIRECTIONAL);
	return 0;
}

static int bench_map(struct bench *bench, void __user *arg)
{
	struct dma_buf_attachment *attach;
	struct dmabufx_bench_map map;
	struct dma_buf *dmabuf;
	int ret;

	if (copy_from_user(&map, arg, sizeof(map)))
		return -EFAULT;
	dmabuf = dma_buf_get(map.fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);

	map.first = -ktime_get_ns();
	attach = dma_buf_attach(dmabuf, &bench->pdev->dev);
	if (IS_ERR(attach)) {
		ret = PTR_ERR(attach);
		goto out;
	}
	ret = bench_map_attached(attach, &map);
	dma_buf_detach(dmabuf, attach);
	map.last += ktime_get_ns();
out:
	dma_buf_put(dmabuf);
	if (!ret && copy_to_user(arg, &map, sizeof(map)))
		ret = -EFAULT;
	return ret;
}

static void held_drop(struct bench *bench)
{
	while (bench->nr_held) {
		struct held *held = &bench->held[--bench->nr_held];
		struct dma_buf *dmabuf = held->attach->dmabuf;

		dma_buf_unmap_attachment_unlocked(held->attach, held->sgt,
						  DMA_BIDIRECTIONAL);
		dma_buf_detach(dmabuf, held->attach);
		dma_buf_put(dmabuf);
	}
}

static int held_add(struct bench *bench, struct dma_buf *dmabuf)
{
	struct held *held = &bench->held[bench->nr_held];

	held->attach = dma_buf_attach(dmabuf, &bench->pdev->dev);
	if (IS_ERR(held->attach))
		return PTR_ERR(held->attach);
	held->sgt = dma_buf_map_attachment_unlocked(held->attach,
						    DMA_BIDIRECTIONAL);
	if (IS_ERR(held->sgt)) {
		dma_buf_detach(dmabuf, held->attach);
		return PTR_ERR(held->sgt);
	}
	get_dma_buf(dmabuf);
	bench->nr_held++;
	return 0;
}

static int time_attach(struct bench *bench, struct dma_buf *dmabuf, u64 *cost)
{
	struct dma_buf_attachment *attach;
	u64 start = ktime_get_ns();

	attach = dma_buf_attach(dmabuf, &bench->pdev->dev);
	if (IS_ERR(attach))
		return PTR_ERR(attach);
	dma_buf_detach(dmabuf, attach);
	*cost = ktime_get_ns() - start;
	return 0;
}

static int bench_hold(struct bench *bench, void __user *arg)
{
	struct dmabufx_bench_hold hold;
	struct dma_buf *dmabuf;
	int ret;

	if (copy_from_user(&hold, arg, sizeof(hold)))
		return -EFAULT;
	held_drop(bench);
	if (hold.count > MAX_HELD)
		return -EINVAL;
	dmabuf = dma_buf_get(hold.fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);

	ret = time_attach(bench, dmabuf, &hold.attach);
	while (!ret && bench->nr_held < hold.count)
		ret = held_add(bench, dmabuf);
	dma_buf_put(dmabuf);
	if (!ret && copy_to_user(arg, &hold, sizeof(hold)))
		ret = -EFAULT;
	if (ret)
		held_drop(bench);
	return ret;
}

static int bench_vmap(void __user *arg)
{
	struct dmabufx_bench_vmap vmap;
	struct dma_buf *dmabuf;
	struct iosys_map map;
	u64 start;
	int ret;

	if (copy_from_user(&vmap, arg, sizeof(vmap)))
		return -EFAULT;
	dmabuf = dma_buf_get(vmap.fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);

	start = ktime_get_ns();
	ret = dma_buf_vmap_unlocked(dmabuf, &map);
	vmap.first = ktime_get_ns() - start;
	if (ret)
		goto out;

	start = ktime_get_ns();
	dma_buf_vunmap_unlocked(dmabuf, &map);
	vmap.vunmap = ktime_get_ns() - start;

	start = ktime_get_ns();
	ret = dma_buf_vmap_unlocked(dmabuf, &map);
	vmap.next = ktime_get_ns() - start;
	if (!ret)
		dma_buf_vunmap_unlocked(dmabuf, &map);
out:
	dma_buf_put(dmabuf);
	if (!ret && copy_to_user(arg, &vmap, sizeof(vmap)))
		ret = -EFAULT;
	return ret;
}

/* The floor: pin, map for a device, map into the kernel */

static void floor_unpin(struct bench *bench)
{
	long i;

	for (i = 0; i < bench->nr_folios; i++)
		unpin_folio(bench->folios[i]);
	bench->nr_folios = 0;
}

static void floor_free(struct bench *bench)
{
	floor_unpin(bench);
	kvfree(bench->folios);
	kvfree(bench->pages);
	bench->folios = NULL;
	bench->pages = NULL;
	bench->nr_pages = 0;
}

static int floor_pin_range(struct bench *bench,
			   const struct udmabuf_create_item *item)
{
	struct file *file;
	pgoff_t offset;
	long nr;

	file = fget(item->memfd);
	if (!file)
		return -EBADF;

	nr = memfd_pin_folios(file, item->offset,
			      item->offset + item->size - 1,
			      bench->folios + bench->nr_folios,
			      item->size >> PAGE_SHIFT, &offset);
	fput(file);
	if (nr <= 0)
		return nr ?: -EINVAL;

	bench->nr_folios += nr;
	return 0;
}

static int floor_pin(struct bench *bench, struct dmabufx_bench_floor *floor,
		     const struct udmabuf_create_item *items)
{
	u64 start = ktime_get_ns();
	u32 i;

	for (i = 0; i < floor->count; i++) {
		int ret = floor_pin_range(bench, &items[i]);

		if (ret)
			return ret;
	}
	floor->pin = ktime_get_ns() - start;
	floor->folios = bench->nr_folios;
	return 0;
}

/* A folio is at a multiple of its size in its file. */
static void floor_list_pages(struct bench *bench,
			     const struct udmabuf_create_item *items, u32 count)
{
	struct folio **folio = bench->folios;
	unsigned long n = 0;
	u32 i;

	for (i = 0; i < count; i++) {
		unsigned long end = n + (items[i].size >> PAGE_SHIFT);
		size_t skip = items[i].offset % folio_size(*folio);

		for (; n < end; folio++, skip = 0) {
			unsigned long pfn = folio_pfn(*folio);
			unsigned long last = pfn + folio_nr_pages(*folio);

			for (pfn += skip >> PAGE_SHIFT; pfn < last && n < end;)
				bench->pages[n++] = pfn_to_page(pfn++);
		}
	}
}

/* Returns how many pages, from the @i-th on, are physically contiguous. */
static unsigned long floor_run(const struct bench *bench, unsigned long i)
{
	unsigned long pfn = page_to_pfn(bench->pages[i]);
	unsigned long n = 1;

	while (i + n < bench->nr_pages &&
	       page_to_pfn(bench->pages[i + n]) == pfn + n)
		n++;
	return n;
}

/* Fills in where runs start, with the end as one more entry. */
static unsigned long *floor_list_runs(const struct bench *bench, u32 *nr)
{
	unsigned long *starts, i;

	starts = kvmalloc_array(bench->nr_pages + 1, sizeof(*starts),
				GFP_KERNEL);
	if (!starts)
		return NULL;

	for (i = 0, *nr = 0; i < bench->nr_pages; i += floor_run(bench, i))
		starts[(*nr)++] = i;
	starts[*nr] = i;
	return starts;
}

static int floor_map_runs(struct bench *bench, const unsigned long *starts,
			  struct dmabufx_bench_floor *floor)
{
	struct device *dev = &bench->pdev->dev;
	struct scatterlist *sg;
	struct sg_table sgt;
	u64 start;
	int i, ret;

	start = ktime_get_ns();
	ret = sg_alloc_table(&sgt, floor->runs, GFP_KERNEL);
	if (ret)
		return ret;
	for_each_sgtable_sg(&sgt, sg, i)
		sg_set_page(sg, bench->pages[starts[i]],
			    (starts[i + 1] - starts[i]) << PAGE_SHIFT, 0);
	ret = dma_map_sgtable(dev, &sgt, DMA_BIDIRECTIONAL, 0);
	floor->map_first = ktime_get_ns() - start;
	if (ret)
		goto out;
	dma_unmap_sgtable(dev, &sgt, DMA_BIDIRECTIONAL, 0);

	start = ktime_get_ns();
	ret = dma_map_sgtable(dev, &sgt, DMA_BIDIRECTIONAL, 0);
	floor->map_next = ktime_get_ns() - start;
	if (ret)
		goto out;

	start = ktime_get_ns();
	dma_unmap_sgtable(dev, &sgt, DMA_BIDIRECTIONAL, 0);
	sg_free_table(&sgt);
	floor->map_last = ktime_get_ns() - start;
	return 0;
out:
	sg_free_table(&sgt);
	return ret;
}

static int floor_map(struct bench *bench, struct dmabufx_bench_floor *floor)
{
	unsigned long *starts;
	int ret;

	starts = floor_list_runs(bench, &floor->runs);
	if (!starts)
		return -ENOMEM;

	ret = floor_map_runs(bench, starts, floor);
	kvfree(starts);
	return ret;
}

static int floor_vmap(struct bench *bench, struct dmabufx_bench_floor *floor)
{
	void *addr;
	u64 start;

	start = ktime_get_ns();
	addr = vmap(bench->pages, bench->nr_pages, VM_MAP, PAGE_KERNEL);
	floor->vmap = ktime_get_ns() - start;
	if (!addr)
		return -ENOMEM;

	start = ktime_get_ns();
	vunmap(addr);
	floor->vunmap = ktime_get_ns() - start;
	return 0;
}

static int floor_alloc(struct bench *bench,
		       const struct udmabuf_create_item *items, u32 count)
{
	unsigned long nr = 0;
	u32 i;

	for (i = 0; i < count; i++) {
		if (!items[i].size || !PAGE_ALIGNED(items[i].size) ||
		    !PAGE_ALIGNED(items[i].offset))
			return -EINVAL;
		nr += items[i].size >> PAGE_SHIFT;
	}

	bench->nr_pages = nr;
	bench->folios = kvcalloc(nr, sizeof(*bench->folios), GFP_KERNEL);
	bench->pages = kvcalloc(nr, sizeof(*bench->pages), GFP_KERNEL);
	return bench->folios && bench->pages ? 0 : -ENOMEM;
}

static int floor_measure(struct bench *bench, struct dmabufx_bench_floor *floor,
			 const struct udmabuf_create_item *items)
{
	int ret;

	ret = floor_alloc(bench, items, floor->count);
	if (ret)
		return ret;
	ret = floor_pin(bench, floor, items);
	if (ret)
		return ret;
	floor_list_pages(bench, items, floor->count);
	ret = floor_map(bench, floor);
	if (ret)
		return ret;
	return floor_vmap(bench, floor);
}

static int bench_floor(struct bench *bench, void __user *arg)
{
	struct udmabuf_create_item *items;
	struct dmabufx_bench_floor floor;
	int ret;

	if (copy_from_user(&floor, arg, sizeof(floor)))
		return -EFAULT;
	if (bench->pages)
		return -EBUSY;

	items = vmemdup_array_user(u64_to_user_ptr(floor.list), floor.count,
				   sizeof(*items));
	if (IS_ERR(items))
		return PTR_ERR(items);

	ret = floor_measure(bench, &floor, items);
	kvfree(items);
	if (!ret && copy_to_user(arg, &floor, sizeof(floor)))
		ret = -EFAULT;
	if (ret)
		floor_free(bench);
	return ret;
}

static int bench_unpin(struct bench *bench, struct file *file,
		       u64 __user *arg)
{
	u64 start, ns;

	/* All opens have the same inode, so this unmaps the mappings of all. */
	if (mapping_mapped(file->f_mapping))
		return -EBUSY;

	start = ktime_get_ns();
	floor_unpin(bench);
	ns = ktime_get_ns() - start;

	floor_free(bench);
	return put_user(ns, arg);
}

/* The floor: page tables of a process */

static int floor_set_pte(pte_t *ptep, unsigned long addr, void *data)
{
	struct vm_area_struct *vma = data;
	struct bench *bench = vma->vm_private_data;
	struct page *page = bench->pages[linear_page_index(vma, addr)];

	if (pte_none(ptep_get(ptep)))
		set_pte_at(vma->vm_mm, addr, ptep,
			   pte_mkspecial(mk_pte(page, vma->vm_page_prot)));
	return 0;
}

static void floor_insert_each(struct vm_area_struct *vma, unsigned long start,
			      unsigned long end)
{
	struct bench *bench = vma->vm_private_data;

	for (; start < end; start += PAGE_SIZE)
		vmf_insert_pfn(vma, start,
			       page_to_pfn(bench->pages[linear_page_index(vma, start)]));
}

static vm_fault_t floor_insert_ptes(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct bench *bench = vma->vm_private_data;
	unsigned long start = max(vma->vm_start, vmf->address & PMD_MASK);
	unsigned long end = min(vma->vm_end,
				(vmf->address & PMD_MASK) + PMD_SIZE);
	vm_fault_t ret;

	ret = vmf_insert_pfn(vma, vmf->address,
			     page_to_pfn(bench->pages[vmf->pgoff]));
	if (ret != VM_FAULT_NOPAGE)
		return ret;

	if (DMABUFX_SETS_PTES)
		apply_to_page_range(vma->vm_mm, start, end - start,
				    floor_set_pte, vma);
	else
		floor_insert_each(vma, start, end);
	return ret;
}

/* A huge entry needs contiguous memory, which is true if both ends are in place. */
static vm_fault_t floor_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	struct vm_area_struct *vma = vmf->vma;
	struct bench *bench = vma->vm_private_data;
	unsigned long nr = 1UL << order;
	unsigned long addr = ALIGN_DOWN(vmf->address, nr << PAGE_SHIFT);
	unsigned long pfn;
	pgoff_t pgoff;

	if (addr < vma->vm_start || vma->vm_end - addr < nr << PAGE_SHIFT)
		return VM_FAULT_FALLBACK;

	pgoff = linear_page_index(vma, addr);
	pfn = page_to_pfn(bench->pages[pgoff]);
	if (!IS_ALIGNED(pfn, nr) ||
	    page_to_pfn(bench->pages[pgoff + nr - 1]) != pfn + nr - 1)
		return VM_FAULT_FALLBACK;

	switch (order) {
#ifdef CONFIG_ARCH_SUPPORTS_PMD_PFNMAP
	case PMD_ORDER:
		return vmf_insert_pfn_pmd(vmf, DMABUFX_PFN(pfn), false);
#endif
#ifdef CONFIG_ARCH_SUPPORTS_PUD_PFNMAP
	case PUD_ORDER:
		return vmf_insert_pfn_pud(vmf, DMABUFX_PFN(pfn), false);
#endif
	default:
		return VM_FAULT_FALLBACK;
	}
}

static const struct vm_operations_struct floor_vm_ops = {
	.fault = floor_insert_ptes,
	.huge_fault = floor_huge_fault,
};

static int bench_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct bench *bench = file->private_data;
	int ret = 0;

	mutex_lock(&bench->lock);
	if (!(vma->vm_flags & VM_MAYSHARE) || vma->vm_pgoff ||
	    vma_pages(vma) > bench->nr_pages)
		ret = -EINVAL;
	mutex_unlock(&bench->lock);
	if (ret)
		return ret;

	vm_flags_set(vma, VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_ops = &floor_vm_ops;
	vma->vm_private_data = bench;
	return 0;
}

/* The floor: user memory */

static int pin_and_unpin(struct dmabufx_bench_pin *pin, struct page **pages,
			 int nr_pages)
{
	int nr;
	u64 start;

	start = ktime_get_ns();
	nr = pin_user_pages_fast(pin->address, nr_pages,
				 FOLL_WRITE | FOLL_LONGTERM, pages);
	pin->pin = ktime_get_ns() - start;
	if (nr <= 0)
		return nr ?: -EFAULT;

	start = ktime_get_ns();
	unpin_user_pages(pages, nr);
	pin->unpin = ktime_get_ns() - start;
	return nr == nr_pages ? 0 : -EFAULT;
}

static int bench_pin(void __user *arg)
{
	struct dmabufx_bench_pin pin;
	struct page **pages;
	int ret;

	if (copy_from_user(&pin, arg, sizeof(pin)))
		return -EFAULT;
	if (!PAGE_ALIGNED(pin.size) || pin.size >> PAGE_SHIFT > INT_MAX)
		return -EINVAL;

	pages = kvcalloc(pin.size >> PAGE_SHIFT, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return -ENOMEM;
	ret = pin_and_unpin(&pin, pages, pin.size >> PAGE_SHIFT);
	kvfree(pages);
	if (!ret && copy_to_user(arg, &pin, sizeof(pin)))
		ret = -EFAULT;
	return ret;
}

/* The floor: a dma-buf and its descriptor */

static struct sg_table *empty_map(struct dma_buf_attachment *attach,
				  enum dma_data_direction dir)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static void empty_unmap(struct dma_buf_attachment *attach,
			struct sg_table *sgt, enum dma_data_direction dir)
{
}

static void empty_release(struct dma_buf *dmabuf)
{
}

static const struct dma_buf_ops empty_ops = {
	.map_dma_buf = empty_map,
	.unmap_dma_buf = empty_unmap,
	.release = empty_release,
};

static int bench_export(void)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct dma_buf *dmabuf;
	int fd;

	info.ops = &empty_ops;
	info.size = PAGE_SIZE;
	info.flags = O_RDWR;
	/* The core insists on this operation. */
	info.priv = THIS_MODULE;

	dmabuf = dma_buf_export(&info);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	fd = dma_buf_fd(dmabuf, O_CLOEXEC);
	if (fd < 0)
		dma_buf_put(dmabuf);
	return fd;
}

/* The node */

static long bench_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct bench *bench = file->private_data;
	void __user *argp = (void __user *)arg;

	guard(mutex)(&bench->lock);
	switch (cmd) {
	case DMABUFX_BENCH_MAP:
		return bench_map(bench, argp);
	case DMABUFX_BENCH_VMAP:
		return bench_vmap(argp);
	case DMABUFX_BENCH_FLOOR:
		return bench_floor(bench, argp);
	case DMABUFX_BENCH_UNPIN:
		return bench_unpin(bench, file, argp);
	case DMABUFX_BENCH_EXPORT:
		return bench_export();
	case DMABUFX_BENCH_PIN:
		return bench_pin(argp);
	case DMABUFX_BENCH_HOLD:
		return bench_hold(bench, argp);
	default:
		return -ENOTTY;
	}
}

/* Makes a device that accepts any address and segments of any length. */
static struct platform_device *bench_device(void)
{
	struct platform_device *pdev;

	pdev = platform_device_register_simple("dmabufx-bench",
					       PLATFORM_DEVID_AUTO, NULL, 0);
	if (IS_ERR(pdev))
		return pdev;

	if (dma_coerce_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64))) {
		platform_device_unregister(pdev);
		return ERR_PTR(-EIO);
	}
	dma_set_max_seg_size(&pdev->dev, UINT_MAX);
	dma_set_seg_boundary(&pdev->dev, ULONG_MAX);
	return pdev;
}

static int bench_open(struct inode *inode, struct file *file)
{
	struct bench *bench;

	bench = kzalloc_obj(*bench, GFP_KERNEL);
	if (!bench)
		return -ENOMEM;

	bench->pdev = bench_device();
	if (IS_ERR(bench->pdev)) {
		int ret = PTR_ERR(bench->pdev);

		kfree(bench);
		return ret;
	}
	mutex_init(&bench->lock);
	file->private_data = bench;
	return nonseekable_open(inode, file);
}

static int bench_release(struct inode *inode, struct file *file)
{
	struct bench *bench = file->private_data;

	held_drop(bench);
	floor_free(bench);
	platform_device_unregister(bench->pdev);
	kfree(bench);
	return 0;
}

static const struct file_operations bench_fops = {
	.owner		= THIS_MODULE,
	.open		= bench_open,
	.release	= bench_release,
	.unlocked_ioctl	= bench_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.mmap		= bench_mmap,
};

static struct miscdevice bench_node = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "dmabufx-bench",
	.fops	= &bench_fops,
};
module_misc_device(bench_node);

MODULE_DESCRIPTION("Times what importers of dma-bufs call, and the kernel's own primitives");
MODULE_AUTHOR("The dmabufx authors");
MODULE_LICENSE("GPL");
DMABUFX_IMPORT_NS("DMA_BUF");
