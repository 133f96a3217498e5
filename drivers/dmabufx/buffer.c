// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of a buffer: allocated, filled by whoever knows the sources,
 * exported as a dma-buf, released.
 *
 * Ownership: until dma_buf_export() succeeds the buffer is ours to free. From
 * then on it is the dma-buf's, and only dma_buf_put() may end it.
 */
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/slab.h>

#include "compat.h"
#include "dmabufx.h"
#include "trace.h"

/**
 * dmabufx_buf_alloc - an empty buffer
 *
 * Return: the buffer, which dmabufx_buf_free() or dmabufx_buf_export()
 * consumes, or -ENOMEM.
 */
struct dmabufx_buf *dmabufx_buf_alloc(void)
{
	struct dmabufx_buf *buf;

	buf = kzalloc_obj(*buf, GFP_KERNEL_ACCOUNT);
	if (!buf)
		return ERR_PTR(-ENOMEM);

	mutex_init(&buf->lock);
	INIT_LIST_HEAD(&buf->attachments);
	return buf;
}

/**
 * dmabufx_buf_free - end a buffer that nobody uses any more, or never did
 * @buf: the buffer, filled or not; its memory is let go
 *
 * Does not call the release callback: that is for what was exported.
 */
void dmabufx_buf_free(struct dmabufx_buf *buf)
{
	dmabufx_retention_end(&buf->runs);
	dmabufx_uncharge(&buf->charge);
	mutex_destroy(&buf->lock);
	kfree(buf);
}

static void dmabufx_release(struct dma_buf *dmabuf)
{
	struct dmabufx_buf *buf = dmabuf->priv;
	void (*release)(void *data) = buf->release;
	void *data = buf->release_data;

	trace_dmabufx_release(buf);
	dmabufx_debug_remove(buf);
	dmabufx_vmap_release(buf);
	dmabufx_buf_free(buf);
	if (release)
		release(data);
}

static const struct dma_buf_ops dmabufx_ops = {
	.attach			= dmabufx_attach,
	.detach			= dmabufx_detach,
	.map_dma_buf		= dmabufx_map,
	.unmap_dma_buf		= dmabufx_unmap,
	.begin_cpu_access	= dmabufx_begin_cpu_access,
	.end_cpu_access		= dmabufx_end_cpu_access,
	.mmap			= dmabufx_mmap,
	.vmap			= dmabufx_vmap,
	.vunmap			= dmabufx_vunmap,
	.release		= dmabufx_release,
};

/**
 * dmabufx_buf_export - a buffer becomes a dma-buf
 * @buf: the buffer, whose run table is finished; consumed, also on failure
 * @exp_name: who exports, as fdinfo shows it; must outlive the dma-buf
 * @owner: the module that the dma-buf keeps loaded; this one, or one that uses
 *	this one
 *
 * Return: the dma-buf, or -errno.
 */
struct dma_buf *dmabufx_buf_export(struct dmabufx_buf *buf,
				   const char *exp_name, struct module *owner)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct dma_buf *dmabuf;

	info.exp_name = exp_name;
	info.owner = owner;
	info.ops = &dmabufx_ops;
	info.size = (size_t)buf->runs.nr_pages << PAGE_SHIFT;
	info.flags = buf->read_only ? O_RDONLY : O_RDWR;
	info.priv = buf;

	dmabuf = dma_buf_export(&info);
	if (IS_ERR(dmabuf)) {
		dmabufx_buf_free(buf);
		return dmabuf;
	}
	buf->ino = file_inode(dmabuf->file)->i_ino;
	dmabufx_debug_add(buf, dmabuf);
	trace_dmabufx_create(buf);
	return dmabuf;
}

/**
 * dmabufx_all_folios - ask a question of every folio that a table touches
 * @runs: the table
 * @ask: the question; false ends the walk
 * @data: for @ask
 *
 * Return: whether the answer was true every time.
 */
bool dmabufx_all_folios(const struct dmabufx_runs *runs,
			bool (*ask)(struct folio *folio, void *data), void *data)
{
	u32 i;

	for (i = 0; i < runs->nr; i++) {
		const struct dmabufx_run *run = &runs->run[i];
		unsigned long pfn = dmabufx_run_pfn(run);
		unsigned long end = pfn + dmabufx_run_pages(runs, run);

		while (pfn < end) {
			struct folio *folio = page_folio(pfn_to_page(pfn));

			if (!ask(folio, data))
				return false;
			pfn = folio_pfn(folio) + folio_nr_pages(folio);
		}
		cond_resched();
	}
	return true;
}

static bool note_size(struct folio *folio, void *data)
{
	struct dmabufx_info *info = data;

	info->smallest_folio = min_t(u64, info->smallest_folio,
				     folio_size(folio));
	info->largest_folio = max_t(u64, info->largest_folio,
				    folio_size(folio));
	return true;
}

static void buf_info(const struct dmabufx_buf *buf, struct dmabufx_info *info)
{
	const struct dmabufx_charge *charge = &buf->charge;

	info->flags = (buf->read_only ? DMABUFX_INFO_READ_ONLY : 0) |
		      (buf->no_mmap ? DMABUFX_INFO_NO_MMAP : 0) |
		      (charge->memfd_pages ? DMABUFX_INFO_MEMFD : 0) |
		      (charge->user_pages ? DMABUFX_INFO_USER : 0) |
		      (buf->by_module ? DMABUFX_INFO_MODULE : 0);
	info->runs = buf->runs.nr;
	info->bytes = (u64)buf->runs.nr_pages << PAGE_SHIFT;
	info->longest_run = (u64)buf->runs.longest << PAGE_SHIFT;
	info->memfd_bytes = (u64)charge->memfd_pages << PAGE_SHIFT;
	info->user_bytes = (u64)charge->user_pages << PAGE_SHIFT;
	info->smallest_folio = U64_MAX;
	info->largest_folio = 0;
	dmabufx_all_folios(&buf->runs, note_size, info);
}

/**
 * dmabufx_info - what is in a dma-buf
 * @info: @fd is the caller's descriptor; the rest is filled in
 *
 * Context: Process context.
 * Return: 0, or -errno as <uapi/linux/dmabufx.h> says.
 */
int dmabufx_info(struct dmabufx_info *info)
{
	struct dma_buf *dmabuf = dma_buf_get(info->fd);
	int ret = 0;

	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);

	if (dmabuf->ops == &dmabufx_ops)
		buf_info(dmabuf->priv, info);
	else
		ret = -EINVAL;
	dma_buf_put(dmabuf);
	return ret;
}
