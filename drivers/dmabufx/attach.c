// SPDX-License-Identifier: GPL-2.0-only
/*
 * Devices: attachments, their scatterlists, and whether CPU or devices own the memory.
 *
 * The first mapping makes a record of the attachment, with a scatterlist that is built
 * from the runs and the limits that the device has then. Both are kept until the device
 * detaches, so an importer that maps and unmaps for every frame pays only for the DMA
 * mapping.
 *
 * Mapping and unmapping synchronise. In between, begin_cpu_access and
 * end_cpu_access synchronise every mapped attachment. Both are needed wherever a
 * device does not see the same memory as the CPU: with caches that are not coherent,
 * and with bounce buffers (swiotlb), which confidential guests always use. Elsewhere
 * nothing is synchronised, and brackets do not take buf->lock.
 *
 * Every synchronisation covers the whole buffer and overwrites one side's data, so
 * the source must be the side with the newer data. The rule: while a bracket for
 * writing is open (writers.c), the CPU owns the memory, and nothing is copied into
 * it: not when another bracket begins, and not when a mapping ends. At all other
 * times the devices own it, and nothing is copied from it to them.
 *
 * Locking: buf->lock nests inside the dma-buf's reservation lock and inside
 * mmap_lock; either may be held or not.
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
 * User space must not be able to fill the log. It can exhaust a bounce buffer, and it
 * can have the same memory mapped many times, by a list that repeats it or by several
 * devices. This file synchronises such mappings itself.
 */
#define MAP_ATTRS	(DMA_ATTR_NO_WARN | DMA_ATTR_DEBUGGING_IGNORE_CACHELINES)

/**
 * struct dmabufx_attachment - one importer that has mapped the buffer, or tried to
 * @node: in &dmabufx_buf.attachments
 * @dev: the importer's device
 * @sgt: its scatterlist; mapped and unmapped with the dma-buf's reservation lock held
 * @single: @sgt's entry if it has only one
 * @shows_copy: whether the importer gets a copy of @sgt; constant
 * @shown: that copy; otherwise empty
 * @dir: direction of the mapping, DMA_NONE while it is not mapped; changes with the
 *	reservation lock held, or at the end of the attachment
 * @needs_sync: whether it is mapped, and the device may not see the same memory;
 *	changes with &dmabufx_buf.lock held, too
 */
struct dmabufx_attachment {
	struct list_head node;
	struct device *dev;
	struct sg_table sgt;
	struct scatterlist single;
	bool shows_copy;
	struct sg_table shown;
	enum dma_data_direction dir;
	bool needs_sync;
};

/* Returns the buffer's attachments. The caller holds the buffer's lock. */
static struct list_head *attachments(struct dmabufx_buf *buf)
{
	lockdep_assert_held(&buf->lock);
	return &buf->attachments;
}

/*
 * Returns true if the importer's table may change while it is mapped. This file still
 * reads its own table then, so the importer gets a copy. Two cases: a kernel with
 * DMABUF_DEBUG hides the pages of a table from importers, and up to 7.0 it does so by
 * damaging the exporter's table itself. And RDMA, a dynamic importer, cuts the table
 * to the range that its user asked for.
 */
static bool spoils_table(const struct dma_buf_attachment *attach)
{
	return IS_ENABLED(CONFIG_DMABUF_DEBUG) || attach->importer_ops;
}

/* Only tells tracepoints: many importers attach and never map. */
int dmabufx_attach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach)
{
	trace_dmabufx_attach(dmabuf->priv, attach->dev);
	return 0;
}

/**
 * dmabufx_each_device - call a function for each attached device
 * @dmabuf: the dma-buf
 * @tell: called with the device and whether it has the buffer mapped
 * @data: for @tell
 *
 * Does not wait for the reservation lock: importers may hold it while they wait for a
 * device, and the caller holds a lock that every new buffer needs.
 *
 * Context: Process context; @tell is called under the dma-buf's reservation lock.
 * Return: false if nothing was told, because somebody has that lock.
 */
bool dmabufx_each_device(struct dma_buf *dmabuf,
			 void (*tell)(const struct device *dev, bool mapped,
				      void *data), void *data)
{
	struct dma_buf_attachment *attach;

	if (!dma_resv_trylock(dmabuf->resv))
		return false;

	list_for_each_entry(attach, &dmabuf->attachments, node) {
		const struct dmabufx_attachment *a = attach->priv;

		tell(attach->dev, a && READ_ONCE(a->dir) != DMA_NONE, data);
	}
	dma_resv_unlock(dmabuf->resv);
	return true;
}

/**
 * struct segment_limits - the device's limits for one scatterlist entry
 * @max: longest entry, bytes, a multiple of the page size
 * @boundary: mask; an entry must not cross a multiple of @boundary + 1
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

/* Returns how many of the @left bytes that begin at @page fit into one entry. */
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

/* After this many entries, let other tasks run. */
#define ENTRIES_AT_ONCE	4096

/* Lists may be long. Returns -EINTR when the caller is being killed. */
static int pause_after(unsigned int nr)
{
	if (nr % ENTRIES_AT_ONCE)
		return 0;
	cond_resched();
	return fatal_signal_pending(current) ? -EINTR : 0;
}

/*
 * Cut the buffer into entries within the limits, fill @sg with them and count them in
 * @nr. With @sg NULL only count. An unsigned int is just enough for the largest buffer
 * in single pages.
 */
static int fill_segments(const struct dmabufx_runs *runs,
			 const struct segment_limits *limits,
			 struct scatterlist *sg, unsigned int *nr)
{
	struct dmabufx_place at;

	*nr = 0;
	for (at = dmabufx_runs_find(runs, 0); at.run; dmabufx_place_next(&at, runs)) {
		size_t left = (size_t)dmabufx_run_pages(at.run) << PAGE_SHIFT;
		struct page *page = at.run->page;
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

/* Without limits that matter: one entry for each run. */
static int fill_runs(const struct dmabufx_runs *runs, struct scatterlist *sg)
{
	struct dmabufx_place at;
	u32 nr = 0;

	for (at = dmabufx_runs_find(runs, 0); at.run; dmabufx_place_next(&at, runs)) {
		sg_set_page(sg, at.run->page,
			    dmabufx_run_pages(at.run) << PAGE_SHIFT, 0);
		sg = sg_next(sg);
		if (pause_after(++nr))
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
	if (a->shows_copy)
		sg_free_table(&a->shown);
	if (a->sgt.sgl != &a->single)
		sg_free_table(&a->sgt);
	a->sgt.sgl = NULL;
}

static int attachment_alloc_table(struct dmabufx_attachment *a, unsigned int nr)
{
	const gfp_t gfp = GFP_KERNEL_ACCOUNT | __GFP_NOWARN;
	int ret = a->shows_copy ? sg_alloc_table(&a->shown, nr, gfp) : 0;

	if (ret)
		return ret;
	if (nr > 1)
		return sg_alloc_table(&a->sgt, nr, gfp);

	sg_init_table(&a->single, 1);
	a->sgt.sgl = &a->single;
	a->sgt.nents = 1;
	a->sgt.orig_nents = 1;
	return 0;
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
	if (cut) {
		ret = fill_segments(runs, &limits, NULL, &nr);
		if (ret)
			return ret;
	}

	/* The DMA API counts in int. */
	if (nr > INT_MAX)
		return -EFBIG;

	ret = attachment_alloc_table(a, nr);
	if (!ret)
		ret = cut ? fill_segments(runs, &limits, a->sgt.sgl, &nr) :
			    fill_runs(runs, a->sgt.sgl);
	if (ret)
		attachment_free_table(a);
	return ret;
}

/*
 * Map in both directions even for a device that only writes: data that the CPU writes
 * has to reach the device's bounce buffer, since all of that buffer is copied back.
 */
static enum dma_data_direction mapped_direction(enum dma_data_direction dir)
{
	return dir == DMA_FROM_DEVICE ? DMA_BIDIRECTIONAL : dir;
}

/*
 * Would synchronisation lose data? If the device may write, and the first or last page has
 * other data: that is written without brackets, and synchronisation for the CPU would bring
 * back what was there before. dma_dev_need_sync() may only say that an earlier mapping of
 * the device had to be synchronised, so ask about this one.
 */
static bool sync_would_lose(const struct dmabufx_attachment *a,
			    const struct dmabufx_buf *buf, enum dma_data_direction dir)
{
	struct scatterlist *sg;
	int i;

	if (!buf->shares_pages || dir == DMA_TO_DEVICE)
		return false;
	for_each_sgtable_dma_sg(&a->sgt, sg, i)
		if (dma_need_sync(a->dev, sg_dma_address(sg)))
			return true;
	return false;
}

static int attachment_map(struct dmabufx_attachment *a,
			  struct dmabufx_buf *buf,
			  enum dma_data_direction dir)
{
	bool needs_sync;
	int ret;

	lockdep_assert_held(&buf->lock);
	/* The table holds DMA addresses of only one mapping at a time. */
	if (a->dir != DMA_NONE)
		return -EBUSY;

	dmabufx_writers_sync_add(&buf->writers);
	ret = dma_map_sgtable(a->dev, &a->sgt, dir, MAP_ATTRS);
	/* Asked now: the first bounce buffer changes the answer, dma_set_mask() may, too. */
	needs_sync = !ret && dma_dev_need_sync(a->dev);
	if (needs_sync && sync_would_lose(a, buf, dir)) {
		dma_unmap_sgtable(a->dev, &a->sgt, dir, DMA_ATTR_SKIP_CPU_SYNC);
		ret = -EOPNOTSUPP;
	}
	a->needs_sync = !ret && needs_sync;
	if (!a->needs_sync)
		dmabufx_writers_sync_remove(&buf->writers);
	if (ret)
		return ret;

	WRITE_ONCE(a->dir, dir);
	show_table(a);
	return 0;
}

static void unmap_table(struct dmabufx_attachment *a, unsigned long attrs)
{
	dma_unmap_sgtable(a->dev, &a->sgt, a->dir, attrs);
	WRITE_ONCE(a->dir, DMA_NONE);
}

/* Brackets do not look at a mapping that needs no synchronisation: it needs no lock. */
static void attachment_unmap(struct dmabufx_attachment *a,
			     struct dmabufx_buf *buf)
{
	if (!a->needs_sync) {
		unmap_table(a, DMA_ATTR_SKIP_CPU_SYNC);
		return;
	}

	guard(mutex)(&buf->lock);
	unmap_table(a, dmabufx_writers_any(&buf->writers) ?
			DMA_ATTR_SKIP_CPU_SYNC : 0);
	dmabufx_writers_sync_remove(&buf->writers);
	a->needs_sync = false;
}

static struct dmabufx_attachment *
attachment_create(const struct dma_buf_attachment *attach)
{
	struct dmabufx_buf *buf = attach->dmabuf->priv;
	struct dmabufx_attachment *a = kzalloc_obj(*a, GFP_KERNEL_ACCOUNT);
	int ret;

	if (!a)
		return ERR_PTR(-ENOMEM);

	a->dev = attach->dev;
	a->dir = DMA_NONE;
	a->shows_copy = spoils_table(attach);
	ret = attachment_build_table(a, &buf->runs);
	if (ret) {
		kfree(a);
		return ERR_PTR(ret);
	}

	mutex_lock(&buf->lock);
	list_add_tail(&a->node, attachments(buf));
	mutex_unlock(&buf->lock);
	return a;
}

/* Returns the record of an importer, made now if it maps the buffer for the first time. */
static struct dmabufx_attachment *attachment_get(struct dma_buf_attachment *attach)
{
	struct dmabufx_attachment *a = attach->priv;

	if (a)
		return a;
	a = attachment_create(attach);
	if (!IS_ERR(a))
		attach->priv = a;
	return a;
}

static struct sg_table *map_for_importer(struct dma_buf_attachment *attach,
					 enum dma_data_direction dir)
{
	struct dmabufx_buf *buf = attach->dmabuf->priv;
	struct dmabufx_attachment *a;
	int ret;

	if (buf->read_only && dir != DMA_TO_DEVICE)
		return ERR_PTR(-EACCES);
	/* The DMA API reads and cleans memory through the direct map. */
	if (buf->may_be_unmapped)
		return ERR_PTR(-EOPNOTSUPP);
	ret = dmabufx_poison_check(buf, true);
	if (ret)
		return ERR_PTR(ret);

	a = attachment_get(attach);
	if (IS_ERR(a))
		return ERR_CAST(a);
	mutex_lock(&buf->lock);
	ret = attachment_map(a, buf, mapped_direction(dir));
	mutex_unlock(&buf->lock);
	return ret ? ERR_PTR(ret) : table_for_importer(a);
}

struct sg_table *dmabufx_map(struct dma_buf_attachment *attach,
			     enum dma_data_direction dir)
{
	struct sg_table *sgt;

	dma_resv_assert_held(attach->dmabuf->resv);
	sgt = map_for_importer(attach, dir);
	trace_dmabufx_map(attach->dmabuf->priv, attach->dev, dir,
			  IS_ERR(sgt) ? 0 : sgt->nents, PTR_ERR_OR_ZERO(sgt));
	return sgt;
}

void dmabufx_unmap(struct dma_buf_attachment *attach, struct sg_table *sgt,
		   enum dma_data_direction dir)
{
	struct dmabufx_buf *buf = attach->dmabuf->priv;
	struct dmabufx_attachment *a = attach->priv;

	/* The importer is broken. Keep a mapping that its device may still use. */
	if (!WARN_ON_ONCE(!a || a->dir == DMA_NONE || sgt != table_for_importer(a)))
		attachment_unmap(a, buf);

	trace_dmabufx_unmap(buf, attach->dev, dir);
}

void dmabufx_detach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach)
{
	struct dmabufx_buf *buf = dmabuf->priv;
	struct dmabufx_attachment *a = attach->priv;

	trace_dmabufx_detach(buf, attach->dev);
	/* The device has never mapped the buffer. */
	if (!a)
		return;

	/* The importer is broken. Unmap, since the memory soon belongs to somebody else. */
	if (WARN_ON_ONCE(a->dir != DMA_NONE))
		attachment_unmap(a, buf);
	mutex_lock(&buf->lock);
	list_del(&a->node);
	mutex_unlock(&buf->lock);

	attachment_free_table(a);
	kfree(a);
}

/*
 * Give the memory to the CPU. The direction is that of the mapping, not of the access:
 * a CPU that is about to write one line needs the device's latest data in all other
 * lines. Otherwise end_cpu_access would hand the device old data for them.
 */
static void sync_for_cpu(struct dmabufx_buf *buf)
{
	struct dmabufx_attachment *a;

	list_for_each_entry(a, attachments(buf), node) {
		if (a->needs_sync)
			dma_sync_sgtable_for_cpu(a->dev, &a->sgt, a->dir);
	}
}

/*
 * Give the memory back to the devices. Memory that the CPU only read is not copied
 * back: the device may have written newer data meanwhile.
 */
static void sync_for_device(struct dmabufx_buf *buf, enum dma_data_direction dir)
{
	struct dmabufx_attachment *a;

	list_for_each_entry(a, attachments(buf), node) {
		if (a->needs_sync)
			dma_sync_sgtable_for_device(a->dev, &a->sgt,
						    a->dir == DMA_BIDIRECTIONAL ?
						    dir : a->dir);
	}
}

static bool is_for_writing(enum dma_data_direction dir)
{
	return dir == DMA_BIDIRECTIONAL || dir == DMA_TO_DEVICE;
}

/* Returns -EAGAIN if a spare record is needed. */
static int begin_and_sync(struct dmabufx_buf *buf, bool write,
			  struct dmabufx_writer **spare)
{
	bool cpu_writes;
	int ret = mutex_lock_killable(&buf->lock);

	if (ret)
		return ret;

	cpu_writes = dmabufx_writers_any(&buf->writers);
	if (write)
		ret = dmabufx_writers_begin(&buf->writers, true, spare);
	if (!ret && !cpu_writes)
		sync_for_cpu(buf);
	mutex_unlock(&buf->lock);
	return ret;
}

static int try_to_begin(struct dmabufx_buf *buf, bool write,
			struct dmabufx_writer **spare)
{
	int ret = -EBUSY;

	if (write)
		ret = dmabufx_writers_begin(&buf->writers, false, spare);
	else if (!dmabufx_writers_must_sync(&buf->writers))
		ret = 0;
	return ret == -EBUSY ? begin_and_sync(buf, write, spare) : ret;
}

/* Allocates a record without holding a lock, since an allocation may take long. */
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

/* Most buffers never have a fence, which costs less to see than that all are signalled. */
static bool is_idle(const struct dma_buf *dmabuf, enum dma_resv_usage usage)
{
	return !rcu_access_pointer(dmabuf->resv->fences) ||
	       dma_resv_test_signaled(dmabuf->resv, usage);
}

int dmabufx_begin_cpu_access(struct dma_buf *dmabuf,
			     enum dma_data_direction dir)
{
	struct dmabufx_buf *buf = dmabuf->priv;
	bool write = is_for_writing(dir);
	enum dma_resv_usage usage = dma_resv_usage_rw(write);
	long ret;

	for (;;) {
		/* The core also waits, but only after this. Devices must finish before. */
		ret = is_idle(dmabuf, usage) ? 0 :
		      dma_resv_wait_timeout(dmabuf->resv, usage, true,
					    MAX_SCHEDULE_TIMEOUT);
		if (ret < 0)
			return ret;

		ret = begin_bracket(buf, write);
		if (ret)
			return ret;

		/*
		 * If a signal interrupts the core's wait, the call fails and nobody
		 * ends the bracket. So leave no fence for the core to wait for. (A
		 * fence that is added right now may still make it wait.)
		 */
		if (!write || is_idle(dmabuf, usage))
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

	if (dmabufx_writers_must_sync(&buf->writers)) {
		/* Atomic for others: a begin in between would overwrite the CPU's data. */
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
 * dmabufx_process_ends - end the brackets that a process left open
 * @buf: the buffer
 * @mm: the process's address space, which is being torn down
 *
 * The devices get the data that it wrote, as if it had ended the brackets itself.
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
