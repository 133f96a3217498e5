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
	INIT_LIST_HEAD(&buf->vmap_node);
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
	trace_dmabufx_create(buf);
	return dmabuf;
}
