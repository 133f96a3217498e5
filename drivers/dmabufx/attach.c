// SPDX-License-Identifier: GPL-2.0-only
/*
 * Devices: attachments, their scatterlists, and who owns the memory when.
 *
 * An attachment's scatterlist is built at its first mapping, from the runs and
 * the limits that the device has then, and kept until it detaches: importers
 * that map and unmap for every frame pay for the DMA mapping alone.
 *
 * Mapping and unmapping synchronise. While mapped, begin_cpu_access and
 * end_cpu_access do so for every mapped attachment. Both are needed wherever a
 * device does not see the CPU's memory as it is: caches that are not coherent,
 * and bounce buffers (swiotlb), which confidential guests always use.
 *
 * Whatever synchronises does so for the whole buffer, so the side whose data is
 * older must not be asked. The rule: while a bracket for writing is open
 * (writers.c), the memory is the CPU's, and nothing is copied into it, by no
 * other bracket's begin and by no end of a mapping. At all other times it is
 * the devices', and nothing is copied out of it to them.
 *
 * Locking: dma-buf's reservation lock or the mmap_lock, if taken, are taken
 * before buf->lock.
 */
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/scatterlist.h>
#include <linux/sched/signal.h>
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
 * @sgt: its scatterlist; empty until the first mapping, and then only changed
 *	with the dma-buf's reservation lock held
 * @shows_copy: whether the importer gets a copy of @sgt; constant
 * @shown: that copy; otherwise empty
 * @dir: how it is mapped, DMA_NONE when it is not
 */
struct dmabufx_attachment {
	struct list_head node;
	struct device *dev;
	struct sg_table sgt;
	bool shows_copy;
	struct sg_table shown;
	enum dma_data_direction dir;
};

/* A buffer's attachments, for who holds its lock. */
static struct list_head *attachments(struct dmabufx_buf *buf)
{
	lockdep_assert_held(&buf->lock);
	return &buf->attachments;
}

/*
 * Whether any device may have the buffer mapped: asked without the lock, as most
 * brackets have nothing to do. The barrier is against who ends a bracket, sees no
 * device, and whose last writes a device that comes in that moment does not see.
 */
static bool has_devices(const struct dmabufx_buf *buf)
{
	smp_mb(); /* pairs with dmabufx_attach() */
	return !list_empty(&buf->attachments);
}

/*
 * Whether the table that an importer gets is changed while it is mapped, and we go on
 * reading. A kernel with DMABUF_DEBUG hides the pages of a table from importers: until
 * 7.0 by spoiling the very table that it was given. And RDMA, a dynamic importer, cuts
 * the table to what its user asked for.
 */
static bool spoils_table(const struct dma_buf_attachment *attach)
{
	return IS_ENABLED(CONFIG_DMABUF_DEBUG) || attach->importer_ops;
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
	a->shows_copy = spoils_table(attach);
	attach->priv = a;

	mutex_lock(&buf->lock);
	list_add_tail(&a->node, attachments(buf));
	mutex_unlock(&buf->lock);
	smp_mb(); /* pairs with has_devices() */

	trace_dmabufx_attach(buf, a->dev);
	return 0;
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

/* How many entries are handled before others get their turn. */
#define ENTRIES_AT_ONCE	4096

/* Lists may be long. Returns -EINTR when whoever waits for one is being killed. */
static int pause_after(unsigned int nr)
{
	if (nr % ENTRIES_AT_ONCE)
		return 0;
	cond_resched();
	return fatal_signal_pending(current) ? -EINTR : 0;
}

/*
 * Walk the buffer in segments, and count them in @nr: for the largest buffer in
 * single pages that just fits. With @sg NULL only count them.
 */
static int fill_segments(const struct dmabufx_runs *runs,
			 const struct segment_limits *limits,
			 struct scatterlist *sg, unsigned int *nr)
{
	u32 i;

	*nr = 0;
	for (i = 0; i < runs->nr; i++) {
		const struct dmabufx_run *run = &runs->run[i];
		size_t left = (size_t)dmabufx_run_pages(runs, run) << PAGE_SHIFT;
		struct page *page = dmabufx_run_page(run);
		size_t len;

		for (; left; left -= len, page += len >> PAGE_SHIFT) {
			len = segment_length(limits, page, left);
			if (sg) {
				sg_set_page(sg, page, len, 0);
				sg = sg_next(sg);
			}
			if (pause_after(++*nr))
				return -EINTR;
		}
	}
	return 0;
}

/* Nothing to cut: an entry for each run. */
static int fill_runs(const struct dmabufx_runs *runs, struct scatterlist *sg)
{
	u32 i;

	for (i = 0; i < runs->nr; i++, sg = sg_next(sg)) {
		const struct dmabufx_run *run = &runs->run[i];

		sg_set_page(sg, dmabufx_run_page(run),
			    dmabufx_run_pages(runs, run) << PAGE_SHIFT, 0);
		if (pause_after(i + 1))
			return -EINTR;
	}
	return 0;
}

static bool limits_cut(const struct segment_limits *limits,
		       const struct dmabufx_runs *runs)
{
	return limits->boundary != ULONG_MAX ||
	       (size_t)runs->longest << PAGE_SHIFT > limits->max;
}

static struct sg_table *table_for_importer(struct dmabufx_attachment *a)
{
	return a->shows_copy ? &a->shown : &a->sgt;
}

static void show_table(struct dmabufx_attachment *a)
{
	struct scatterlist *from, *to = a->shown.sgl;
	int i;

	if (!a->shows_copy)
		return;

	for_each_sgtable_sg(&a->sgt, from, i) {
		sg_set_page(to, sg_page(from), from->length, from->offset);
		sg_dma_address(to) = sg_dma_address(from);
		sg_dma_len(to) = sg_dma_len(from);
		to = sg_next(to);
	}
	a->shown.nents = a->sgt.nents;
}

static void attachment_free_table(struct dmabufx_attachment *a)
{
	sg_free_table(&a->shown);
	sg_free_table(&a->sgt);
}

static int attachment_build_table(struct dmabufx_attachment *a,
				  const struct dmabufx_runs *runs)
{
	const gfp_t gfp = GFP_KERNEL_ACCOUNT | __GFP_NOWARN;
	unsigned int nr = runs->nr;
	struct segment_limits limits;
	bool cut;
	int ret;

	ret = segment_limits_get(a->dev, &limits);
	if (ret)
		return ret;

	cut = limits_cut(&limits, runs);
	if (cut) {
		ret = fill_segments(runs, &limits, NULL, &nr);
		if (ret)
			return ret;
	}

	/* The DMA API counts in int. */
	if (nr > INT_MAX)
		return -EFBIG;

	ret = sg_alloc_table(&a->sgt, nr, gfp);
	if (ret)
		return ret;

	ret = cut ? fill_segments(runs, &limits, a->sgt.sgl, &nr) :
		    fill_runs(runs, a->sgt.sgl);
	if (!ret && a->shows_copy)
		ret = sg_alloc_table(&a->shown, nr, gfp);
	if (ret)
		attachment_free_table(a);
	return ret;
}

/*
 * A device that is said to write only is mapped for both directions: what the CPU
 * writes has to reach its bounce buffer, which is copied back as a whole.
 */
static enum dma_data_direction mapped_direction(enum dma_data_direction dir)
{
	return dir == DMA_FROM_DEVICE ? DMA_BIDIRECTIONAL : dir;
}

static int attachment_map(struct dmabufx_attachment *a,
			  struct dmabufx_buf *buf,
			  enum dma_data_direction dir)
{
	int ret;

	lockdep_assert_held(&buf->lock);
	/* One table is in one place at a time. */
	if (a->dir != DMA_NONE)
		return -EBUSY;

	ret = dma_map_sgtable(a->dev, &a->sgt, dir, MAP_ATTRS);
	if (ret)
		return ret;

	a->dir = dir;
	show_table(a);
	return 0;
}

static void attachment_unmap(struct dmabufx_attachment *a,
			     struct dmabufx_buf *buf)
{
	bool cpu_writes = dmabufx_writers_any(&buf->writers);

	lockdep_assert_held(&buf->lock);
	dma_unmap_sgtable(a->dev, &a->sgt, a->dir,
			  cpu_writes ? DMA_ATTR_SKIP_CPU_SYNC : 0);
	a->dir = DMA_NONE;
}

struct sg_table *dmabufx_map(struct dma_buf_attachment *attach,
			     enum dma_data_direction dir)
{
	struct dmabufx_buf *buf = attach->dmabuf->priv;
	struct dmabufx_attachment *a = attach->priv;
	int ret;

	dma_resv_assert_held(attach->dmabuf->resv);
	ret = buf->read_only && dir != DMA_TO_DEVICE ? -EACCES :
	      dmabufx_poison_check(buf, true);
	if (!ret && !a->sgt.sgl)
		ret = attachment_build_table(a, &buf->runs);
	if (!ret) {
		mutex_lock(&buf->lock);
		ret = attachment_map(a, buf, mapped_direction(dir));
		mutex_unlock(&buf->lock);
	}

	trace_dmabufx_map(buf, a->dev, dir, ret ? 0 : a->sgt.nents, ret);
	return ret ? ERR_PTR(ret) : table_for_importer(a);
}

void dmabufx_unmap(struct dma_buf_attachment *attach, struct sg_table *sgt,
		   enum dma_data_direction dir)
{
	struct dmabufx_buf *buf = attach->dmabuf->priv;
	struct dmabufx_attachment *a = attach->priv;

	mutex_lock(&buf->lock);
	/* A broken importer; what its device may still use stays where it is. */
	if (!WARN_ON_ONCE(a->dir == DMA_NONE || sgt != table_for_importer(a)))
		attachment_unmap(a, buf);
	mutex_unlock(&buf->lock);

	trace_dmabufx_unmap(buf, a->dev, dir);
}

void dmabufx_detach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach)
{
	struct dmabufx_buf *buf = dmabuf->priv;
	struct dmabufx_attachment *a = attach->priv;

	trace_dmabufx_detach(buf, a->dev);

	mutex_lock(&buf->lock);
	/* A broken importer; the memory is soon somebody else's. */
	if (WARN_ON_ONCE(a->dir != DMA_NONE))
		attachment_unmap(a, buf);
	list_del(&a->node);
	mutex_unlock(&buf->lock);

	attachment_free_table(a);
	kfree(a);
}

/*
 * The memory becomes the CPU's. Synchronised in the direction of the mapping
 * and not of the access: a CPU that is about to write one line must have the
 * device's latest in all the others, or end_cpu_access would hand the device
 * old data for them.
 */
static void sync_for_cpu(struct dmabufx_buf *buf)
{
	struct dmabufx_attachment *a;

	list_for_each_entry(a, attachments(buf), node) {
		if (a->dir != DMA_NONE)
			dma_sync_sgtable_for_cpu(a->dev, &a->sgt, a->dir);
	}
}

/*
 * The memory becomes the devices' again. What the CPU only read is not copied
 * back: it may be older than what the device has written meanwhile.
 */
static void sync_for_device(struct dmabufx_buf *buf, enum dma_data_direction dir)
{
	struct dmabufx_attachment *a;

	list_for_each_entry(a, attachments(buf), node) {
		if (a->dir != DMA_NONE)
			dma_sync_sgtable_for_device(a->dev, &a->sgt,
						    a->dir == DMA_BIDIRECTIONAL ?
						    dir : a->dir);
	}
}

static bool is_for_writing(enum dma_data_direction dir)
{
	return dir == DMA_BIDIRECTIONAL || dir == DMA_TO_DEVICE;
}

/* Begin while devices may have the buffer mapped. -EAGAIN: a spare record is needed. */
static int begin_with_devices(struct dmabufx_buf *buf, bool write,
			      struct dmabufx_writer **spare)
{
	bool cpu_writes;
	int ret = mutex_lock_killable(&buf->lock);

	if (ret)
		return ret;

	cpu_writes = dmabufx_writers_any(&buf->writers);
	if (write)
		ret = dmabufx_writers_begin(&buf->writers, spare);
	if (!ret && !cpu_writes)
		sync_for_cpu(buf);
	mutex_unlock(&buf->lock);
	return ret;
}

static int try_to_begin(struct dmabufx_buf *buf, bool write,
			struct dmabufx_writer **spare)
{
	int ret = 0;

	if (!has_devices(buf)) {
		if (write)
			ret = dmabufx_writers_begin(&buf->writers, spare);
		/* A device that has come meanwhile may have written already. */
		if (ret || !has_devices(buf))
			return ret;
		if (write)
			dmabufx_writers_end(&buf->writers);
	}
	return begin_with_devices(buf, write, spare);
}

/* Memory for a record is taken without a lock, as that may take its time. */
static int begin_bracket(struct dmabufx_buf *buf, bool write)
{
	struct dmabufx_writer *spare = NULL;
	int ret;

	for (;;) {
		ret = try_to_begin(buf, write, &spare);
		if (ret != -EAGAIN)
			break;
		spare = kzalloc_obj(*spare, GFP_KERNEL_ACCOUNT);
		if (!spare)
			return -ENOMEM;
	}
	kfree(spare);
	return ret;
}

int dmabufx_begin_cpu_access(struct dma_buf *dmabuf,
			     enum dma_data_direction dir)
{
	struct dmabufx_buf *buf = dmabuf->priv;
	bool write = is_for_writing(dir);
	enum dma_resv_usage usage = dma_resv_usage_rw(write);
	long ret;

	for (;;) {
		/* The core waits, too, but after us: devices must be done before. */
		ret = dma_resv_wait_timeout(dmabuf->resv, usage, true,
					    MAX_SCHEDULE_TIMEOUT);
		if (ret < 0)
			return ret;

		ret = begin_bracket(buf, write);
		if (ret)
			return ret;

		/*
		 * If a signal ends the core's wait the call fails, and nobody
		 * ends the bracket: so that wait should have nothing to wait for.
		 * (A fence that comes right now may still make it wait.)
		 */
		if (!write || dma_resv_test_signaled(dmabuf->resv, usage))
			break;
		dmabufx_writers_end(&buf->writers);
	}

	trace_dmabufx_begin_cpu_access(buf, dir);
	return 0;
}

int dmabufx_end_cpu_access(struct dma_buf *dmabuf, enum dma_data_direction dir)
{
	struct dmabufx_buf *buf = dmabuf->priv;
	bool write = is_for_writing(dir);

	if (has_devices(buf)) {
		/* One step for who begins: or what was written were overwritten. */
		mutex_lock(&buf->lock);
		if (write)
			dmabufx_writers_end(&buf->writers);
		sync_for_device(buf, dir);
		mutex_unlock(&buf->lock);
	} else if (write) {
		dmabufx_writers_end(&buf->writers);
	}

	trace_dmabufx_end_cpu_access(buf, dir);
	return 0;
}

/**
 * dmabufx_process_ends - end the brackets of a process that did not
 * @buf: the buffer
 * @mm: the process's address space, which goes away
 *
 * What it wrote reaches the devices, as if it had ended them itself.
 *
 * Context: Process context; takes the buffer's lock. The mmap_lock may be held.
 */
void dmabufx_process_ends(struct dmabufx_buf *buf, const struct mm_struct *mm)
{
	if (!dmabufx_writers_has(&buf->writers, mm))
		return;

	mutex_lock(&buf->lock);
	dmabufx_writers_end_all(&buf->writers, mm);
	sync_for_device(buf, DMA_TO_DEVICE);
	mutex_unlock(&buf->lock);
}
