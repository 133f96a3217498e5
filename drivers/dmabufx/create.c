// SPDX-License-Identifier: GPL-2.0-only
/*
 * A request becomes sources, a run table, a dma-buf and a descriptor; the
 * release of the dma-buf takes it all down again.
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

static void buf_free(struct dmabufx_buf *buf)
{
	dmabufx_memfd_release(&buf->runs);
	mutex_destroy(&buf->lock);
	kfree(buf);
}

static void dmabufx_release(struct dma_buf *dmabuf)
{
	struct dmabufx_buf *buf = dmabuf->priv;

	trace_dmabufx_release(buf);
	dmabufx_vmap_release(buf);
	buf_free(buf);
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

static struct dmabufx_buf *buf_alloc(void)
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

/*
 * Consumes @buf, also on failure. Programs recognise what came out of the
 * udmabuf calls by its exporter name in fdinfo, whichever driver made it.
 */
static struct dma_buf *buf_export(struct dmabufx_buf *buf)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct dma_buf *dmabuf;

	info.exp_name = "udmabuf";
	info.ops = &dmabufx_ops;
	info.size = (size_t)buf->runs.nr_pages << PAGE_SHIFT;
	info.flags = O_RDWR;
	info.priv = buf;

	dmabuf = dma_buf_export(&info);
	if (IS_ERR(dmabuf))
		buf_free(buf);
	else
		buf->ino = file_inode(dmabuf->file)->i_ino;
	return dmabuf;
}

/* What can be refused before anything is taken. */
static int check_items(const struct udmabuf_create_item *items, u32 count)
{
	u64 nr_pages = 0;
	u32 i;

	for (i = 0; i < count; i++) {
		if (!PAGE_ALIGNED(items[i].offset) ||
		    !PAGE_ALIGNED(items[i].size))
			return -EINVAL;

		/* Compared each time, so that the sum cannot wrap. */
		nr_pages += items[i].size >> PAGE_SHIFT;
		if (nr_pages > DMABUFX_MAX_PAGES)
			return -EINVAL;
	}
	return nr_pages ? 0 : -EINVAL;
}

static struct dmabufx_buf *buf_from_items(const struct udmabuf_create_item *items,
					  u32 count)
{
	struct dmabufx_buf *buf;
	u32 i;
	int ret;

	buf = buf_alloc();
	if (IS_ERR(buf))
		return buf;

	for (i = 0; i < count; i++) {
		ret = dmabufx_memfd_append(&buf->runs, items[i].memfd,
					   items[i].offset, items[i].size);
		if (ret) {
			buf_free(buf);
			return ERR_PTR(ret);
		}
	}
	dmabufx_runs_finish(&buf->runs);
	return buf;
}

/**
 * dmabufx_create_udmabuf - what UDMABUF_CREATE and UDMABUF_CREATE_LIST do
 * @items: ranges of memfds, as the user wrote them
 * @count: how many; may be 0, which is refused
 * @flags: UDMABUF_FLAGS_*
 *
 * Context: Process context, the caller's descriptors are looked up.
 * Return: the dma-buf's descriptor, or -errno as <uapi/linux/dmabufx.h> says.
 */
int dmabufx_create_udmabuf(const struct udmabuf_create_item *items, u32 count,
			   u32 flags)
{
	struct dmabufx_buf *buf;
	struct dma_buf *dmabuf;
	int ret;

	ret = check_items(items, count);
	if (ret)
		return ret;

	buf = buf_from_items(items, count);
	if (IS_ERR(buf))
		return PTR_ERR(buf);

	dmabuf = buf_export(buf);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);

	/* The descriptor comes last: whoever guesses it may close it at once. */
	trace_dmabufx_create(buf);
	ret = dma_buf_fd(dmabuf, flags & UDMABUF_FLAGS_CLOEXEC ? O_CLOEXEC : 0);
	if (ret < 0)
		dma_buf_put(dmabuf);
	return ret;
}
