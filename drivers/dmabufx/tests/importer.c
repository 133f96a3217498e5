// SPDX-License-Identifier: GPL-2.0-only
/*
 * The test importer: attaches to any dma-buf, maps it, checks the scatterlist
 * and moves data as a device, a driver or the kernel would. importer.h is its
 * interface. For tests only: whoever can open its node can make it do DMA.
 *
 * The "device" has no hardware, unless the test asks for it (edu.c). Its DMA is a
 * copy by the CPU at the memory behind the DMA addresses, bounce buffers included. So
 * it sees the data that a real device would see, but effects of caches that are not
 * coherent do not show.
 */
#include <linux/bvec.h>
#include <linux/dma-buf.h>
#include <linux/dma-direct.h>
#include <linux/dma-resv.h>
#include <linux/dmabufx.h>
#include <linux/fs.h>
#include <linux/iosys-map.h>
#include <linux/iommu.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include <linux/workqueue.h>

#include "../compat.h"
#include "edu.h"
#include "importer.h"
#include "killed.h"

static_assert(DMABUFX_IMPORTER_BIDIRECTIONAL == DMA_BIDIRECTIONAL);
static_assert(DMABUFX_IMPORTER_TO_DEVICE == DMA_TO_DEVICE);
static_assert(DMABUFX_IMPORTER_FROM_DEVICE == DMA_FROM_DEVICE);

/**
 * struct importer - one open of the node
 * @lock: serialises its ioctls
 * @pdev: the platform device that was registered for it
 * @dev: its device, @pdev's or hardware
 * @limits: as set by the user, the DMA API's defaults until then
 * @attach: the attachment, or NULL
 * @sgt: the mapping, or NULL
 * @dir: direction of @sgt
 * @map: the kernel mapping, NULL address if there is none
 */
struct importer {
	struct mutex lock; /* one ioctl at a time */
	struct platform_device *pdev;
	struct device *dev;
	struct dmabufx_importer_limits limits;
	struct dma_buf_attachment *attach;
	struct sg_table *sgt;
	enum dma_data_direction dir;
	struct iosys_map map;
};

static void importer_apply_limits(struct importer *imp)
{
	dma_set_max_seg_size(imp->dev, imp->limits.max_seg);
	dma_set_seg_boundary(imp->dev, imp->limits.seg_boundary);
}

static int importer_set_limits(struct importer *imp, const void __user *arg)
{
	struct dmabufx_importer_limits limits;
	int ret;

	if (copy_from_user(&limits, arg, sizeof(limits)))
		return -EFAULT;
	if (imp->attach || imp->dev != &imp->pdev->dev)
		return -EBUSY;

	ret = dma_coerce_mask_and_coherent(imp->dev, limits.dma_mask);
	if (ret)
		return ret;

	imp->limits = limits;
	importer_apply_limits(imp);
	return 0;
}

/* The limits are the hardware's own from here on, and cannot be set any more. */
static int importer_use_hardware(struct importer *imp)
{
	if (imp->attach)
		return -EBUSY;
	if (!edu_device())
		return -ENODEV;

	imp->dev = edu_device();
	importer_apply_limits(imp);
	return 0;
}

/* Never called: the memory of a buffer under test does not move. */
static void ignore_move(struct dma_buf_attachment *attach)
{
}

static const struct dma_buf_attach_ops dynamic_ops = {
	.DMABUFX_MOVE_NOTIFY = ignore_move,
};

static int importer_attach(struct importer *imp, int fd, bool dynamic)
{
	struct dma_buf_attachment *attach;
	struct dma_buf *dmabuf;

	if (imp->attach)
		return -EBUSY;

	dmabuf = dma_buf_get(fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);

	attach = dma_buf_dynamic_attach(dmabuf, imp->dev,
					dynamic ? &dynamic_ops : NULL, NULL);
	if (IS_ERR(attach)) {
		dma_buf_put(dmabuf);
		return PTR_ERR(attach);
	}
	imp->attach = attach;
	return 0;
}

static int importer_unmap(struct importer *imp)
{
	if (!imp->sgt)
		return -EINVAL;

	dma_buf_unmap_attachment_unlocked(imp->attach, imp->sgt, imp->dir);
	imp->sgt = NULL;
	return 0;
}

static int importer_vunmap(struct importer *imp)
{
	if (iosys_map_is_null(&imp->map))
		return -EINVAL;

	dma_buf_vunmap_unlocked(imp->attach->dmabuf, &imp->map);
	iosys_map_clear(&imp->map);
	return 0;
}

static int importer_detach(struct importer *imp)
{
	struct dma_buf *dmabuf;

	if (!imp->attach)
		return -EINVAL;
	if (imp->sgt || iosys_map_is_set(&imp->map))
		return -EBUSY;

	dmabuf = imp->attach->dmabuf;
	dma_buf_detach(dmabuf, imp->attach);
	dma_buf_put(dmabuf);
	imp->attach = NULL;
	return 0;
}

static int importer_vmap(struct importer *imp)
{
	if (!imp->attach)
		return -EINVAL;
	if (iosys_map_is_set(&imp->map))
		return -EBUSY;

	return dma_buf_vmap_unlocked(imp->attach->dmabuf, &imp->map);
}

/* Returns true if one entry of @len bytes at @start would be legal. */
static bool could_merge(const struct importer *imp, u64 start, u64 len)
{
	u64 boundary = imp->limits.seg_boundary;

	return len <= imp->limits.max_seg &&
	       (start & ~boundary) == ((start + len - 1) & ~boundary);
}

/*
 * Check the entries as the device sees them, for what every device relies on. Adjacent
 * entries that fit into one are no fault here: a bounce buffer may be anywhere.
 */
static void judge_dma(const struct importer *imp,
		      struct dmabufx_importer_map *out)
{
	struct scatterlist *sg;
	int i;

	for_each_sgtable_dma_sg(imp->sgt, sg, i) {
		u64 start = sg_dma_address(sg), len = sg_dma_len(sg);
		u64 last = start + len - 1;

		if (!PAGE_ALIGNED(start | len))
			out->faults |= DMABUFX_SG_UNALIGNED;
		if (len > imp->limits.max_seg)
			out->faults |= DMABUFX_SG_TOO_LONG;
		if ((start ^ last) & ~imp->limits.seg_boundary)
			out->faults |= DMABUFX_SG_BOUNDARY;
		if (last > imp->limits.dma_mask)
			out->faults |= DMABUFX_SG_MASK;
		out->bytes += len;
		out->longest = max_t(u32, out->longest, len);
	}
	if (out->bytes != imp->attach->dmabuf->size)
		out->faults |= DMABUFX_SG_SUM;
}

/* Check the entries as the CPU sees them; some drivers make page lists of them. */
static void judge_pages(const struct importer *imp,
			struct dmabufx_importer_map *out)
{
	u64 limit = dma_max_mapping_size(imp->dev);
	struct scatterlist *sg, *prev = NULL;
	u64 bytes = 0;
	int i;

	for_each_sgtable_sg(imp->sgt, sg, i) {
		if (sg->offset >= PAGE_SIZE)
			out->faults |= DMABUFX_SG_OFFSET;
		if (!PAGE_ALIGNED(sg->offset | sg->length))
			out->faults |= DMABUFX_SG_UNALIGNED;
		if (prev && sg_phys(prev) + prev->length == sg_phys(sg) &&
		    prev->length + (u64)sg->length <= limit &&
		    could_merge(imp, sg_phys(prev),
				prev->length + (u64)sg->length))
			out->faults |= DMABUFX_SG_UNMERGED;
		bytes += sg->length;
		prev = sg;
	}
	if (bytes != imp->attach->dmabuf->size)
		out->faults |= DMABUFX_SG_SUM;
}

/* A kernel with DMABUF_DEBUG hides the pages: 6.x mangles them, 7.x removes them. */
static bool pages_are_visible(const struct importer *imp)
{
	return !IS_ENABLED(CONFIG_DMABUF_DEBUG) && imp->sgt->orig_nents;
}

static int importer_map(struct importer *imp, void __user *arg)
{
	struct dmabufx_importer_map map;
	struct sg_table *sgt;

	if (copy_from_user(&map, arg, sizeof(map)))
		return -EFAULT;
	if (!imp->attach || map.dir > DMA_FROM_DEVICE)
		return -EINVAL;
	if (imp->sgt)
		return -EBUSY;

	sgt = dma_buf_map_attachment_unlocked(imp->attach, map.dir);
	if (IS_ERR(sgt))
		return PTR_ERR(sgt);
	imp->sgt = sgt;
	imp->dir = map.dir;

	map = (struct dmabufx_importer_map) {
		.dir = map.dir,
		.nents = sgt->nents,
		.orig_nents = pages_are_visible(imp) ? sgt->orig_nents : 0,
	};
	judge_dma(imp, &map);
	if (pages_are_visible(imp))
		judge_pages(imp, &map);

	if (copy_to_user(arg, &map, sizeof(map))) {
		importer_unmap(imp);
		return -EFAULT;
	}
	return 0;
}

static int map_and_unmap(void *data)
{
	struct dma_buf_attachment *attach = data;
	struct sg_table *sgt;

	sgt = dma_buf_map_attachment_unlocked(attach, DMA_TO_DEVICE);
	if (IS_ERR(sgt))
		return PTR_ERR(sgt);
	dma_buf_unmap_attachment_unlocked(attach, sgt, DMA_TO_DEVICE);
	return 0;
}

static int importer_map_killed(struct importer *imp)
{
	if (!imp->attach)
		return -EINVAL;
	if (imp->sgt)
		return -EBUSY;

	return call_killed(map_and_unmap, imp->attach);
}

/* Returns the kernel address of the memory behind the device's address. */
static void *device_to_kernel(struct device *dev, dma_addr_t addr)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);
	bool translated = domain && domain->type & __IOMMU_DOMAIN_PAGING;

	return phys_to_virt(translated ? iommu_iova_to_phys(domain, addr) :
					 dma_to_phys(dev, addr));
}

static int copy_user(void *kernel, void __user *user, size_t len, bool write)
{
	unsigned long left;

	left = write ? copy_from_user(kernel, user, len) :
		       copy_to_user(user, kernel, len);
	return left ? -EFAULT : 0;
}

static void *entry_address(struct importer *imp, struct scatterlist *sg,
			   size_t at, bool device)
{
	if (device)
		return device_to_kernel(imp->dev, sg_dma_address(sg) + at);

	/* Drivers do the same: go from the entry's first page to the right page. */
	return page_address(sg_page(sg)) + sg->offset + at;
}

static int copy_by_hardware(dma_addr_t addr, void __user *user, size_t len,
			    bool write)
{
	void *page = kmalloc(PAGE_SIZE, GFP_KERNEL);
	int ret = 0;

	if (!page)
		return -ENOMEM;

	if (write)
		ret = copy_user(page, user, len, true);
	if (!ret)
		ret = edu_copy(addr, page, len, write);
	if (!ret && !write)
		ret = copy_user(page, user, len, false);
	kfree(page);
	return ret;
}

static int copy_piece(struct importer *imp, struct scatterlist *sg, size_t at,
		      size_t len, void __user *user,
		      const struct dmabufx_importer_copy *copy)
{
	bool device = copy->via == DMABUFX_VIA_DEVICE;

	if (device && imp->dev == edu_device())
		return copy_by_hardware(sg_dma_address(sg) + at, user, len,
					copy->write);
	return copy_user(entry_address(imp, sg, at, device), user, len,
			 copy->write);
}

/* Copies page by page: contiguous for the device need not mean so for the CPU. */
static int copy_entry(struct importer *imp, struct scatterlist *sg, size_t at,
		      size_t len, void __user *user,
		      const struct dmabufx_importer_copy *copy)
{
	while (len) {
		size_t n = min_t(size_t, len, PAGE_SIZE - offset_in_page(at));
		int ret = copy_piece(imp, sg, at, n, user, copy);

		if (ret)
			return ret;
		at += n;
		user += n;
		len -= n;
		cond_resched();
	}
	return 0;
}

static int copy_sg(struct importer *imp,
		   const struct dmabufx_importer_copy *copy)
{
	bool device = copy->via == DMABUFX_VIA_DEVICE;
	void __user *user = u64_to_user_ptr(copy->addr);
	u64 skip = copy->offset, left = copy->len;
	unsigned int nents, i;
	struct scatterlist *sg;

	if (!imp->sgt || (!device && !pages_are_visible(imp)))
		return -EINVAL;

	nents = device ? imp->sgt->nents : imp->sgt->orig_nents;
	for_each_sg(imp->sgt->sgl, sg, nents, i) {
		u64 size = device ? sg_dma_len(sg) : sg->length;
		u64 take;
		int ret;

		if (skip >= size) {
			skip -= size;
			continue;
		}
		take = min(left, size - skip);
		ret = copy_entry(imp, sg, skip, take, user, copy);
		if (ret)
			return ret;
		user += take;
		left -= take;
		if (!left)
			return 0;
		skip = 0;
	}
	return left ? -ERANGE : 0;
}

/*
 * Writes with an entry in the exception table, so that a mapping that is not writable
 * is an error for the caller and no oops.
 */
static int write_nofault(void *to, const void *from, size_t len)
{
	pagefault_disable();
	for (; len >= sizeof(u64); len -= sizeof(u64)) {
		__put_kernel_nofault(to, from, u64, fault);
		to += sizeof(u64);
		from += sizeof(u64);
	}
	for (; len; len--)
		__put_kernel_nofault(to++, from++, u8, fault);
	pagefault_enable();
	return 0;
fault:
	pagefault_enable();
	return -EFAULT;
}

static int write_vmap(void *to, const void __user *from, size_t len)
{
	void *page = kmalloc(PAGE_SIZE, GFP_KERNEL);
	int ret = 0;

	if (!page)
		return -ENOMEM;

	while (len && !ret) {
		size_t n = min(len, PAGE_SIZE);

		ret = copy_from_user(page, from, n) ? -EFAULT :
						      write_nofault(to, page, n);
		to += n;
		from += n;
		len -= n;
		cond_resched();
	}
	kfree(page);
	return ret;
}

static int copy_vmap(struct importer *imp,
		     const struct dmabufx_importer_copy *copy)
{
	void __user *user = u64_to_user_ptr(copy->addr);
	void *there = imp->map.vaddr + copy->offset;

	if (iosys_map_is_null(&imp->map))
		return -EINVAL;
	if (copy->write)
		return write_vmap(there, user, copy->len);
	return copy_to_user(user, there, copy->len) ? -EFAULT : 0;
}

static int importer_copy(struct importer *imp, const void __user *arg)
{
	struct dmabufx_importer_copy copy;
	u64 end;

	if (copy_from_user(&copy, arg, sizeof(copy)))
		return -EFAULT;
	if (!imp->attach || check_add_overflow(copy.offset, copy.len, &end) ||
	    end > imp->attach->dmabuf->size)
		return -EINVAL;

	switch (copy.via) {
	case DMABUFX_VIA_DEVICE:
	case DMABUFX_VIA_SG:
		return copy_sg(imp, &copy);
	case DMABUFX_VIA_VMAP:
		return copy_vmap(imp, &copy);
	default:
		return -EINVAL;
	}
}

struct cpu_access {
	struct work_struct work;
	struct dma_buf *dmabuf;
	enum dma_data_direction dir;
	bool begin;
	int ret;
};

static void do_cpu_access(struct work_struct *work)
{
	struct cpu_access *access = container_of(work, struct cpu_access, work);

	access->ret = access->begin ?
		      dma_buf_begin_cpu_access(access->dmabuf, access->dir) :
		      dma_buf_end_cpu_access(access->dmabuf, access->dir);
}

static int importer_cpu_access(struct importer *imp, unsigned long arg,
			       bool begin)
{
	struct cpu_access access = { .begin = begin };
	bool by_kernel = arg & DMABUFX_BY_KERNEL;

	arg &= ~DMABUFX_BY_KERNEL;
	if (!imp->attach || arg > DMA_FROM_DEVICE)
		return -EINVAL;

	access.dmabuf = imp->attach->dmabuf;
	access.dir = arg;
	INIT_WORK_ONSTACK(&access.work, do_cpu_access);
	if (by_kernel) {
		schedule_work(&access.work);
		flush_work(&access.work);
	} else {
		do_cpu_access(&access.work);
	}
	destroy_work_on_stack(&access.work);
	return access.ret;
}

/* Bypasses the core, which hides the table with DMABUF_DEBUG. */
static void raw_unmap(struct importer *imp, struct sg_table *sgt)
{
	imp->attach->dmabuf->ops->unmap_dma_buf(imp->attach, sgt,
						DMA_BIDIRECTIONAL);
}

static int spoil_pages(struct importer *imp, struct sg_table *sgt)
{
	struct scatterlist *sg;
	struct page *page;
	int i;

	if (!IS_ENABLED(CONFIG_DMABUF_DEBUG)) {
		raw_unmap(imp, sgt);
		return -EOPNOTSUPP;
	}

	page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (page) {
		for_each_sgtable_sg(sgt, sg, i)
			sg_set_page(sg, page, PAGE_SIZE, 0);
	}
	raw_unmap(imp, sgt);
	if (!page)
		return -ENOMEM;
	__free_page(page);
	return 0;
}

static int abuse_mapping(struct importer *imp, struct sg_table *sgt,
			 unsigned long how)
{
	struct sg_table another = {};

	switch (how) {
	case DMABUFX_UNMAP_TWICE:
		raw_unmap(imp, sgt);
		raw_unmap(imp, sgt);
		return 0;
	case DMABUFX_UNMAP_ANOTHER:
		raw_unmap(imp, &another);
		raw_unmap(imp, sgt);
		return 0;
	case DMABUFX_SPOIL_PAGES:
		return spoil_pages(imp, sgt);
	case DMABUFX_DETACH_MAPPED:
		return 0;
	default:
		raw_unmap(imp, sgt);
		return -EINVAL;
	}
}

static int importer_abuse(struct importer *imp, unsigned long how)
{
	struct dma_buf *dmabuf;
	struct sg_table *sgt;
	int ret;

	if (!imp->attach)
		return -EINVAL;
	if (imp->sgt || iosys_map_is_set(&imp->map))
		return -EBUSY;

	dmabuf = imp->attach->dmabuf;
	dma_resv_lock(dmabuf->resv, NULL);
	sgt = dmabuf->ops->map_dma_buf(imp->attach, DMA_BIDIRECTIONAL);
	ret = IS_ERR(sgt) ? PTR_ERR(sgt) : abuse_mapping(imp, sgt, how);
	dma_resv_unlock(dmabuf->resv);

	return !ret && how == DMABUFX_DETACH_MAPPED ? importer_detach(imp) : ret;
}

/* Gets the protection that the core finds in the caller's page table. */
static int find_protection(unsigned long addr, pgprot_t *prot)
{
	struct follow_pfnmap_args args = { .address = addr };
	int ret = -EFAULT;

	mmap_read_lock(current->mm);
	args.vma = vma_lookup(current->mm, addr);
	if (args.vma)
		ret = follow_pfnmap_start(&args);
	if (!ret) {
		*prot = args.pgprot;
		follow_pfnmap_end(&args);
	}
	mmap_read_unlock(current->mm);
	return ret;
}

static int importer_entry(struct dmabufx_importer_entry __user *argp)
{
	struct dmabufx_importer_entry entry;
	pgprot_t prot;
	int ret;

	if (copy_from_user(&entry, argp, sizeof(entry)))
		return -EFAULT;
	ret = find_protection(entry.addr, &prot);
	if (ret)
		return ret;
	entry.write_combined =
		pgprot_val(pgprot_writecombine(prot)) == pgprot_val(prot);
	return copy_to_user(argp, &entry, sizeof(entry)) ? -EFAULT : 0;
}

static void free_exported(void *page)
{
	__free_page(page);
}

/* Calls dmabufx by symbol_get(): the owner of a dma-buf need not be linked to it. */
static struct dma_buf *export_page(struct page *page)
{
	const struct dmabufx_export how = {
		.owner = THIS_MODULE,
		.name = KBUILD_MODNAME,
		.release = free_exported,
		.data = page,
	};
	typeof(dmabufx_export_iter) *export = symbol_get(dmabufx_export_iter);
	struct dma_buf *dmabuf;
	struct bio_vec bvec;
	struct iov_iter iter;

	if (!export)
		return ERR_PTR(-ENXIO);

	bvec_set_page(&bvec, page, PAGE_SIZE, 0);
	iov_iter_bvec(&iter, ITER_DEST, &bvec, 1, PAGE_SIZE);
	dmabuf = export(&iter, PAGE_SIZE, &how);
	symbol_put(dmabufx_export_iter);
	return dmabuf;
}

static int importer_export(void)
{
	struct page *page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	struct dma_buf *dmabuf;
	int fd;

	if (!page)
		return -ENOMEM;

	dmabuf = export_page(page);
	if (IS_ERR(dmabuf)) {
		__free_page(page);
		return PTR_ERR(dmabuf);
	}
	fd = dma_buf_fd(dmabuf, O_CLOEXEC);
	if (fd < 0)
		dma_buf_put(dmabuf);
	return fd;
}

static int importer_call(struct importer *imp, unsigned int cmd,
			 unsigned long arg)
{
	void __user *argp = (void __user *)arg;

	switch (cmd) {
	case DMABUFX_IMPORTER_LIMITS:
		return importer_set_limits(imp, argp);
	case DMABUFX_IMPORTER_ATTACH:
		return importer_attach(imp, arg, false);
	case DMABUFX_IMPORTER_ATTACH_DYNAMIC:
		return importer_attach(imp, arg, true);
	case DMABUFX_IMPORTER_ABUSE:
		return importer_abuse(imp, arg);
	case DMABUFX_IMPORTER_DETACH:
		return importer_detach(imp);
	case DMABUFX_IMPORTER_MAP:
		return importer_map(imp, argp);
	case DMABUFX_IMPORTER_UNMAP:
		return importer_unmap(imp);
	case DMABUFX_IMPORTER_VMAP:
		return importer_vmap(imp);
	case DMABUFX_IMPORTER_VUNMAP:
		return importer_vunmap(imp);
	case DMABUFX_IMPORTER_BEGIN:
		return importer_cpu_access(imp, arg, true);
	case DMABUFX_IMPORTER_END:
		return importer_cpu_access(imp, arg, false);
	case DMABUFX_IMPORTER_COPY:
		return importer_copy(imp, argp);
	case DMABUFX_IMPORTER_HARDWARE:
		return importer_use_hardware(imp);
	case DMABUFX_IMPORTER_ENTRY:
		return importer_entry(argp);
	case DMABUFX_IMPORTER_EXPORT:
		return importer_export();
	case DMABUFX_IMPORTER_MAP_KILLED:
		return importer_map_killed(imp);
	default:
		return -ENOTTY;
	}
}

static long importer_ioctl(struct file *file, unsigned int cmd,
			   unsigned long arg)
{
	struct importer *imp = file->private_data;
	long ret;

	mutex_lock(&imp->lock);
	ret = importer_call(imp, cmd, arg);
	mutex_unlock(&imp->lock);
	return ret;
}

static struct platform_device *importer_device(void)
{
	struct platform_device *pdev;

	pdev = platform_device_register_simple("dmabufx-importer",
					       PLATFORM_DEVID_AUTO, NULL, 0);
	if (IS_ERR(pdev))
		return pdev;

	/* A device that is bound to a driver gets these masks from its bus. */
	if (dma_coerce_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64))) {
		platform_device_unregister(pdev);
		return ERR_PTR(-EIO);
	}
	return pdev;
}

static int importer_open(struct inode *inode, struct file *file)
{
	struct importer *imp;

	imp = kzalloc_obj(*imp, GFP_KERNEL);
	if (!imp)
		return -ENOMEM;

	imp->pdev = importer_device();
	if (IS_ERR(imp->pdev)) {
		int ret = PTR_ERR(imp->pdev);

		kfree(imp);
		return ret;
	}

	mutex_init(&imp->lock);
	imp->dev = &imp->pdev->dev;
	imp->limits = (struct dmabufx_importer_limits) {
		.dma_mask = DMA_BIT_MASK(64),
		.seg_boundary = ULONG_MAX,
		.max_seg = SZ_64K,
	};
	importer_apply_limits(imp);
	file->private_data = imp;
	return nonseekable_open(inode, file);
}

static int importer_release(struct inode *inode, struct file *file)
{
	struct importer *imp = file->private_data;

	/* Each of these does nothing if there is nothing to undo. */
	importer_vunmap(imp);
	importer_unmap(imp);
	importer_detach(imp);
	platform_device_unregister(imp->pdev);
	kfree(imp);
	return 0;
}

/* Takes no lock: an ioctl that copies from this mapping holds the importer's lock. */
static int importer_mmap(struct file *file, struct vm_area_struct *vma)
{
	bool closes = vma->vm_pgoff & DMABUFX_IMPORTER_MMAP_CLOSES;
	struct dma_buf *dmabuf;
	int ret;

	dmabuf = dma_buf_get(vma->vm_pgoff & ~DMABUFX_IMPORTER_MMAP_CLOSES);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);

	ret = dma_buf_mmap(dmabuf, vma, 0);
	dma_buf_put(dmabuf);
	if (ret || !closes)
		return ret;
	if (!vma->vm_ops->close)
		return -ENOTTY;
	vma->vm_ops->close(vma);
	return -ECANCELED;
}

static const struct file_operations importer_fops = {
	.owner		= THIS_MODULE,
	.open		= importer_open,
	.release	= importer_release,
	.unlocked_ioctl	= importer_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.mmap		= importer_mmap,
};

static struct miscdevice importer_node = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "dmabufx-importer",
	.fops	= &importer_fops,
};

static int __init importer_init(void)
{
	int ret;

	ret = edu_register();
	if (ret)
		return ret;
	ret = misc_register(&importer_node);
	if (ret)
		edu_unregister();
	return ret;
}
module_init(importer_init);

static void __exit importer_exit(void)
{
	misc_deregister(&importer_node);
	edu_unregister();
}
module_exit(importer_exit);

MODULE_DESCRIPTION("Imports dma-bufs on behalf of tests");
MODULE_AUTHOR("The dmabufx authors");
MODULE_LICENSE("GPL");
DMABUFX_IMPORT_NS("DMA_BUF");
