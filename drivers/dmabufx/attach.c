// SPDX-License-Identifier: GPL-2.0-only
/*
 * Devices: attachments, their scatterlists, and who owns the memory when.
 *
 * An attachment's scatterlist is built at its first mapping, from the runs and
 * the limits that the device has then, and kept until it detaches: importers
 * that map and unmap for every frame pay for the DMA mapping alone.
 *
 * Mapping and unmapping synchronise (no DMA_ATTR_SKIP_CPU_SYNC). While mapped,
 * begin_cpu_access and end_cpu_access do so for every mapped attachment. Both
 * are needed wherever a device does not see the CPU's memory as it is: caches
 * that are not coherent, and bounce buffers (swiotlb), which confidential
 * guests always use.
 *
 * Locking: dma-buf's reservation lock, if taken, is taken before buf->lock.
 */
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include "compat.h"
#include "dmabufx.h"
#include "trace.h"

/*
 * What users can do at will shall put no word in the log: exhaust a bounce buffer,
 * or have the same memory mapped many times, by a list that repeats it or by
 * several devices, whose caches are looked after here.
 */
#define MAP_ATTRS	(DMA_ATTR_NO_WARN | DMA_ATTR_DEBUGGING_IGNORE_CACHELINES)

/**
 * struct dmabufx_attachment - one importer
 * @node: in &dmabufx_buf.attachments
 * @dev: the importer's device
 * @sgt: its scatterlist; empty until the first mapping
 * @dir: how it is mapped, DMA_NONE when it is not
 */
struct dmabufx_attachment {
	struct list_head node;
	struct device *dev;
	struct sg_table sgt;
	enum dma_data_direction dir;
};

/* A buffer's attachments, for who holds its lock. */
static struct list_head *attachments(struct dmabufx_buf *buf)
{
	lockdep_assert_held(&buf->lock);
	return &buf->attachments;
}

int dmabufx_attach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach)
{
	struct dmabufx_buf *buf = dmabuf->priv;
	struct dmabufx_attachment *a;

	a = kzalloc_obj(*a, GFP_KERNEL_ACCOUNT);
	if (!a)
		return -ENOMEM;

	a->dev = attach->dev;
	a->dir = DMA_NONE;
	attach->priv = a;

	mutex_lock(&buf->lock);
	list_add_tail(&a->node, attachments(buf));
	mutex_unlock(&buf->lock);

	trace_dmabufx_attach(buf, a->dev);
	return 0;
}

void dmabufx_detach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach)
{
	struct dmabufx_buf *buf = dmabuf->priv;
	struct dmabufx_attachment *a = attach->priv;

	trace_dmabufx_detach(buf, a->dev);

	mutex_lock(&buf->lock);
	list_del(&a->node);
	mutex_unlock(&buf->lock);

	sg_free_table(&a->sgt);
	kfree(a);
}

/**
 * dmabufx_each_device - tell of a buffer's attachments
 * @buf: the buffer
 * @tell: is told each device, and whether it has the buffer mapped
 * @data: for @tell
 *
 * Context: Process context; @tell is called under the buffer's lock.
 */
void dmabufx_each_device(struct dmabufx_buf *buf,
			 void (*tell)(const struct device *dev, bool mapped,
				      void *data), void *data)
{
	struct dmabufx_attachment *a;

	guard(mutex)(&buf->lock);
	list_for_each_entry(a, attachments(buf), node)
		tell(a->dev, a->dir != DMA_NONE, data);
}

/**
 * struct segment_limits - what one scatterlist entry may be
 * @max: longest entry, bytes, a multiple of the page size
 * @boundary: an entry must not cross a multiple of this plus one
 */
struct segment_limits {
	size_t max;
	unsigned long boundary;
};

static int segment_limits_get(struct device *dev, struct segment_limits *limits)
{
	/* An entry's length is an unsigned int. */
	size_t max = min_t(size_t, dma_get_max_seg_size(dev), UINT_MAX);

	max = min(max, dma_max_mapping_size(dev));
	limits->max = PAGE_ALIGN_DOWN(max);
	limits->boundary = dma_get_seg_boundary(dev);

	if (!limits->max || limits->boundary < PAGE_SIZE - 1)
		return -EINVAL;
	return 0;
}

/* How much of @left bytes from @page on one entry takes. */
static size_t segment_length(const struct segment_limits *limits,
			     struct page *page, size_t left)
{
	size_t len = min(left, limits->max);

	if (limits->boundary != ULONG_MAX) {
		phys_addr_t phys = page_to_phys(page);

		len = min(len - 1, limits->boundary - (phys & limits->boundary)) + 1;
	}
	return len;
}

/*
 * Walk the buffer in segments. With @sg NULL only count them. Returns their
 * number, which for the largest buffer in single pages just fits.
 */
static unsigned int fill_segments(const struct dmabufx_runs *runs,
				  const struct segment_limits *limits,
				  struct scatterlist *sg)
{
	unsigned int nr = 0;
	u32 i;

	for (i = 0; i < runs->nr; i++) {
		const struct dmabufx_run *run = &runs->run[i];
		size_t left = (size_t)dmabufx_run_pages(runs, run) << PAGE_SHIFT;
		struct page *page = dmabufx_run_page(run);
		size_t len;

		for (; left; left -= len, page += len >> PAGE_SHIFT) {
			len = segment_length(limits, page, left);
			nr++;
			if (sg) {
				sg_set_page(sg, page, len, 0);
				sg = sg_next(sg);
			}
		}
	}
	return nr;
}

/* Nothing to cut: an entry for each run. */
static void fill_runs(const struct dmabufx_runs *runs, struct scatterlist *sg)
{
	u32 i;

	for (i = 0; i < runs->nr; i++, sg = sg_next(sg)) {
		const struct dmabufx_run *run = &runs->run[i];

		sg_set_page(sg, dmabufx_run_page(run),
			    dmabufx_run_pages(runs, run) << PAGE_SHIFT, 0);
	}
}

static bool limits_cut(const struct segment_limits *limits,
		       const struct dmabufx_runs *runs)
{
	return limits->boundary != ULONG_MAX ||
	       (size_t)runs->longest << PAGE_SHIFT > limits->max;
}

static int attachment_build_table(struct dmabufx_attachment *a,
				  const struct dmabufx_runs *runs)
{
	unsigned int nr = runs->nr;
	struct segment_limits limits;
	bool cut;
	int ret;

	ret = segment_limits_get(a->dev, &limits);
	if (ret)
		return ret;

	cut = limits_cut(&limits, runs);
	if (cut)
		nr = fill_segments(runs, &limits, NULL);

	ret = sg_alloc_table(&a->sgt, nr, GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (ret)
		return ret;

	if (cut)
		fill_segments(runs, &limits, a->sgt.sgl);
	else
		fill_runs(runs, a->sgt.sgl);
	return 0;
}

static int attachment_map(struct dmabufx_attachment *a,
			  const struct dmabufx_buf *buf,
			  enum dma_data_direction dir)
{
	int ret;

	lockdep_assert_held(&buf->lock);
	if (buf->read_only && dir != DMA_TO_DEVICE)
		return -EACCES;

	/* One table is in one place at a time. */
	if (a->dir != DMA_NONE)
		return -EBUSY;

	if (!a->sgt.sgl) {
		ret = attachment_build_table(a, &buf->runs);
		if (ret)
			return ret;
	}

	ret = dma_map_sgtable(a->dev, &a->sgt, dir, MAP_ATTRS);
	if (!ret)
		a->dir = dir;
	return ret;
}

static void attachment_unmap(struct dmabufx_attachment *a,
			     const struct dmabufx_buf *buf)
{
	lockdep_assert_held(&buf->lock);
	dma_unmap_sgtable(a->dev, &a->sgt, a->dir, 0);
	a->dir = DMA_NONE;
}

struct sg_table *dmabufx_map(struct dma_buf_attachment *attach,
			     enum dma_data_direction dir)
{
	struct dmabufx_buf *buf = attach->dmabuf->priv;
	struct dmabufx_attachment *a = attach->priv;
	int ret;

	mutex_lock(&buf->lock);
	ret = attachment_map(a, buf, dir);
	mutex_unlock(&buf->lock);

	trace_dmabufx_map(buf, a->dev, dir, ret ? 0 : a->sgt.nents, ret);
	return ret ? ERR_PTR(ret) : &a->sgt;
}

void dmabufx_unmap(struct dma_buf_attachment *attach, struct sg_table *sgt,
		   enum dma_data_direction dir)
{
	struct dmabufx_buf *buf = attach->dmabuf->priv;
	struct dmabufx_attachment *a = attach->priv;

	mutex_lock(&buf->lock);
	attachment_unmap(a, buf);
	mutex_unlock(&buf->lock);

	trace_dmabufx_unmap(buf, a->dev, dir);
}

/*
 * The memory becomes the CPU's. Synchronised in the direction of the mapping
 * and not of the access: a CPU that is about to write one line must have the
 * device's latest in all the others, or end_cpu_access would hand the device
 * old data for them.
 */
int dmabufx_begin_cpu_access(struct dma_buf *dmabuf,
			     enum dma_data_direction dir)
{
	struct dmabufx_buf *buf = dmabuf->priv;
	bool write = dir == DMA_BIDIRECTIONAL || dir == DMA_TO_DEVICE;
	struct dmabufx_attachment *a;
	long ret;

	/* The core waits, too, but after us: devices must be done before. */
	ret = dma_resv_wait_timeout(dmabuf->resv, dma_resv_usage_rw(write),
				    true, MAX_SCHEDULE_TIMEOUT);
	if (ret < 0)
		return ret;

	mutex_lock(&buf->lock);
	list_for_each_entry(a, attachments(buf), node) {
		if (a->dir != DMA_NONE)
			dma_sync_sgtable_for_cpu(a->dev, &a->sgt, a->dir);
	}
	mutex_unlock(&buf->lock);

	trace_dmabufx_begin_cpu_access(buf, dir);
	return 0;
}

/*
 * The memory becomes the devices' again. What the CPU only read is not copied
 * back: it may be older than what the device has written meanwhile.
 */
int dmabufx_end_cpu_access(struct dma_buf *dmabuf, enum dma_data_direction dir)
{
	struct dmabufx_buf *buf = dmabuf->priv;
	struct dmabufx_attachment *a;

	mutex_lock(&buf->lock);
	list_for_each_entry(a, attachments(buf), node) {
		if (a->dir != DMA_NONE)
			dma_sync_sgtable_for_device(a->dev, &a->sgt,
						    a->dir == DMA_BIDIRECTIONAL ?
						    dir : a->dir);
	}
	mutex_unlock(&buf->lock);

	trace_dmabufx_end_cpu_access(buf, dir);
	return 0;
}
