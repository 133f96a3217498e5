// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of a buffer: allocated, filled by create.c or export.c, exported as a
 * dma-buf, released.
 *
 * Ownership: until dma_buf_export() succeeds, this module frees the buffer. From then
 * on it belongs to the dma-buf, and only the last dma_buf_put() may end it.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/user_namespace.h>

#include "compat.h"
#include "dmabufx.h"
#include "trace.h"

/**
 * dmabufx_buf_alloc - allocate an empty buffer
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

	/* Memory is checked for broken pages when it is added, which is after this. */
	buf->poison_epoch = dmabufx_poison_epoch();
	mutex_init(&buf->lock);
	INIT_LIST_HEAD(&buf->attachments);
	dmabufx_writers_init(&buf->writers);
	return buf;
}

/**
 * dmabufx_buf_free - free a buffer that nobody uses any more, or never did
 * @buf: the buffer, filled or not; releases its memory and its owner
 *
 * Does not call the release callback: that is only for exported buffers.
 */
void dmabufx_buf_free(struct dmabufx_buf *buf)
{
	module_put(buf->owner);
	dmabufx_uncharge_parts(&buf->charge, &buf->runs);
	dmabufx_retention_end(&buf->runs);
	dmabufx_uncharge(&buf->charge);
	dmabufx_writers_free(&buf->writers);
	mutex_destroy(&buf->lock);
	kfree(buf);
}

static void dmabufx_release(struct dma_buf *dmabuf)
{
	struct dmabufx_buf *buf = dmabuf->priv;
	void (*release)(void *data) = buf->release;
	void *data = buf->release_data;
	struct module *owner = buf->owner;

	/* The owner must stay loaded until its callback has returned. */
	buf->owner = NULL;

	trace_dmabufx_release(buf);
	dmabufx_debug_remove(buf);
	dmabufx_vmap_release(buf);
	dmabufx_buf_free(buf);
	if (release)
		release(data);
	module_put(owner);
}

#define OPS_BUT_VMAP						\
	.attach			= dmabufx_attach,		\
	.detach			= dmabufx_detach,		\
	.map_dma_buf		= dmabufx_map,			\
	.unmap_dma_buf		= dmabufx_unmap,		\
	.begin_cpu_access	= dmabufx_begin_cpu_access,	\
	.end_cpu_access		= dmabufx_end_cpu_access,	\
	.mmap			= dmabufx_mmap,			\
	.release		= dmabufx_release

static const struct dma_buf_ops dmabufx_ops = {
	OPS_BUT_VMAP,
	.vmap			= dmabufx_vmap,
	.vunmap			= dmabufx_vunmap,
};

/*
 * For buffers that the kernel must not map. The core (6.12 to 7.3) warns with a stack
 * trace when an exporter's vmap fails, but not when the exporter has none. Users could
 * trigger that warning at will, through importers.
 */
static const struct dma_buf_ops dmabufx_ops_without_vmap = {
	OPS_BUT_VMAP,
};

static bool is_ours(const struct dma_buf *dmabuf)
{
	return dmabuf->ops == &dmabufx_ops ||
	       dmabuf->ops == &dmabufx_ops_without_vmap;
}

/**
 * dmabufx_buf_export - make a dma-buf of a buffer
 * @buf: the buffer, whose run table is finished; consumed, also on failure
 * @exp_name: the exporter's name, as fdinfo shows it; must last until the dma-buf is
 *	released, after which the core does not read it
 *
 * The dma-buf keeps this module loaded, and the buffer keeps its owner loaded. The
 * owner alone would not keep this module loaded: it need not be linked to it, but may
 * have found it by symbol_get().
 *
 * Return: the dma-buf, or -errno.
 */
struct dma_buf *dmabufx_buf_export(struct dmabufx_buf *buf,
				   const char *exp_name)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct dma_buf *dmabuf;

	info.exp_name = exp_name;
	info.owner = THIS_MODULE;
	info.ops = dmabufx_vmap_prepare(buf) ? &dmabufx_ops :
					       &dmabufx_ops_without_vmap;
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

static int note_size(struct folio *folio, void *data)
{
	struct dmabufx_info *info = data;

	info->smallest_folio = min_t(u64, info->smallest_folio,
				     folio_size(folio));
	info->largest_folio = max_t(u64, info->largest_folio,
				    folio_size(folio));
	return 0;
}

/*
 * The physical layout is not for everybody who holds a buffer: if two pages are one
 * run, they are neighbours. The _noaudit check writes no line to the audit log, since
 * a caller without the capability does nothing wrong and only gets less information.
 */
static void info_layout(const struct dmabufx_buf *buf, struct dmabufx_info *info)
{
	bool may_know = ns_capable_noaudit(&init_user_ns, CAP_SYS_ADMIN);

	info->runs = may_know ? buf->runs.nr : 0;
	info->longest_run = may_know ? (u64)buf->runs.longest << PAGE_SHIFT : 0;
}

/*
 * Looks at the folios in each call, so that only the caller pays. Doing it when the
 * buffer is made would slow down every buffer for an answer that few ask for.
 */
static int buf_info(const struct dmabufx_buf *buf, struct dmabufx_info *info)
{
	const struct dmabufx_charge *charge = &buf->charge;

	info->flags = (buf->read_only ? DMABUFX_INFO_READ_ONLY : 0) |
		      (buf->no_mmap ? DMABUFX_INFO_NO_MMAP : 0) |
		      (charge->size[DMABUFX_SHARED] ? DMABUFX_INFO_MEMFD : 0) |
		      (charge->size[DMABUFX_PRIVATE] ? DMABUFX_INFO_USER : 0) |
		      (buf->by_module ? DMABUFX_INFO_MODULE : 0);
	info_layout(buf, info);
	info->bytes = (u64)buf->runs.nr_pages << PAGE_SHIFT;
	info->memfd_bytes = (u64)charge->size[DMABUFX_SHARED] << PAGE_SHIFT;
	info->user_bytes = (u64)charge->size[DMABUFX_PRIVATE] << PAGE_SHIFT;
	info->smallest_folio = U64_MAX;
	info->largest_folio = 0;
	return dmabufx_walk_folios(&buf->runs, note_size, info);
}

/**
 * dmabufx_buf_info - describe a dma-buf
 * @info: @fd is the caller's descriptor; the rest is filled in
 *
 * Context: Process context.
 * Return: 0, or -errno as <uapi/linux/dmabufx.h> says.
 */
int dmabufx_buf_info(struct dmabufx_info *info)
{
	struct dma_buf *dmabuf = dma_buf_get(info->fd);
	int ret = -EINVAL;

	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);

	if (is_ours(dmabuf))
		ret = buf_info(dmabuf->priv, info);
	dma_buf_put(dmabuf);
	return ret;
}
