// SPDX-License-Identifier: GPL-2.0-only
/*
 * The exporter for other modules: any iterator, or a range of a file, becomes
 * a dma-buf.
 */
#include <linux/dmabufx.h>
#include <linux/export.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/uio.h>

#include "compat.h"
#include "dmabufx.h"

/*
 * Slab memory, page tables and the like must not be mapped by processes. The core
 * refuses to map such pages, but does not check page frames. Large kmalloc() memory,
 * which comes from the page allocator, consists of normal pages.
 */
static bool may_be_mapped(const struct folio *folio)
{
	return !page_has_type(&folio->page) || folio_test_hugetlb(folio) ||
	       dmabufx_is_large_kmalloc(&folio->page);
}

static int note_unmappable(struct folio *folio, void *data)
{
	bool *no_mmap = data;

	*no_mmap = !may_be_mapped(folio);
	return *no_mmap;
}

/* Looks at all the memory. Returns 0 or -EINTR. */
static int decide_mmap(struct dmabufx_buf *buf)
{
	return min(dmabufx_walk_folios(&buf->runs, note_unmappable,
				       &buf->no_mmap), 0);
}

static struct dmabufx_buf *buf_for(const struct dmabufx_export *how)
{
	struct dmabufx_buf *buf;

	if (!how->owner || !how->name || how->flags & ~DMABUFX_READ_ONLY)
		return ERR_PTR(-EINVAL);

	buf = dmabufx_buf_alloc();
	if (IS_ERR(buf))
		return buf;
	if (!try_module_get(how->owner)) {
		dmabufx_buf_free(buf);
		return ERR_PTR(-ENODEV);
	}
	buf->owner = how->owner;
	buf->read_only = how->flags & DMABUFX_READ_ONLY;
	return buf;
}

/* Export @buf if @ret is 0, which says that it was filled. Consumes @buf. */
static struct dma_buf *export_filled(struct dmabufx_buf *buf, int ret,
				     const struct dmabufx_export *how)
{
	if (!ret) {
		dmabufx_runs_finish(&buf->runs);
		ret = dmabufx_poison_look(&buf->runs, 0, true) ?: decide_mmap(buf);
	}
	if (ret) {
		dmabufx_buf_free(buf);
		return ERR_PTR(ret);
	}
	buf->by_module = true;
	buf->release = how->release;
	buf->release_data = how->data;
	return dmabufx_buf_export(buf, how->name);
}

static int fill_from_user(struct dmabufx_buf *buf, struct iov_iter *iter,
			  size_t size)
{
	size_t rest = iov_iter_count(iter) - size;
	unsigned long shared_pages = 0;
	u32 reason;
	int ret;

	if (!current->mm)
		return -EFAULT;
	/* The buffer is writable, so the pages must be pinned as a destination. */
	if (!buf->read_only && iov_iter_rw(iter) != READ)
		return -EACCES;

	iov_iter_truncate(iter, size);
	ret = dmabufx_user_look(*iter, &shared_pages, &reason) ?:
	      dmabufx_charge(&buf->charge, (size >> PAGE_SHIFT) - shared_pages,
			     shared_pages, &reason);
	if (!ret) {
		buf->runs.dirty = !buf->read_only;
		ret = dmabufx_user_append(&buf->runs, &buf->charge, iter,
					  &reason) ?:
		      dmabufx_charge_parts(&buf->charge, &buf->runs, true,
					   &reason);
	}
	iov_iter_reexpand(iter, iov_iter_count(iter) + rest);
	return ret;
}

static int fill_from_iter(struct dmabufx_buf *buf, struct iov_iter *iter,
			  size_t size)
{
	if (!size || !PAGE_ALIGNED(size))
		return -EINVAL;
	if (size > iov_iter_count(iter))
		return -ERANGE;
	if (size >> PAGE_SHIFT > DMABUFX_MAX_PAGES)
		return -EFBIG;

	if (user_backed_iter(iter))
		return fill_from_user(buf, iter, size);
	buf->runs.retention = DMABUFX_CALLERS;
	return dmabufx_iter_append(&buf->runs, iter, size);
}

/**
 * dmabufx_export_iter - make a dma-buf of the next part of an iterator
 * @iter: a page-aligned iterator over user memory (UBUF, IOVEC) or kernel memory
 *	(BVEC, KVEC, XARRAY, FOLIOQ). On success it is
 *	advanced by @size; on failure it stays where it was
 * @size: how much of it, bytes, a multiple of the page size
 * @how: the exporter, its callback and flags
 *
 * User memory is that of the calling process. It is pinned, and charged to its
 * user, until the dma-buf is gone; the direction has to be READ (a
 * destination) unless the buffer is read-only. Kernel memory stays the
 * caller's, who must keep it in place until @how->release is called.
 *
 * Processes can mmap() the dma-buf unless some of its memory, slab memory for
 * example, must not be visible to them as whole pages: then mmap() fails with
 * EPERM. On x86, kernel memory is mapped page by page, with each page's memory type
 * (set_memory_wc()), which must not change before @how->release is called. On other
 * architectures, devices cannot map reserved memory (-EOPNOTSUPP): the kernel's image and
 * what was set aside at boot. It may be missing in the direct map.
 *
 * Context: Process context, may sleep.
 * Return: the dma-buf, with a reference that dma_buf_put() or dma_buf_fd()
 * takes over, or an error, after which @how->release is not called: -EINVAL,
 * not page-aligned, empty, or @how is incomplete; -ENODEV, @how->owner is being
 * unloaded; -ERANGE, the iterator is shorter than @size; -EACCES, a writable buffer
 * of a source iterator; -EFAULT, an address without usable memory, or an overflow;
 * -EOPNOTSUPP, another kind of iterator, memory of a device (ZONE_DEVICE, P2PDMA
 * included), or memory that must not be pinned; -EPERM or -ENOMEM,
 * RLIMIT_MEMLOCK or out of memory; -EDQUOT, -EFBIG, -EMLINK, -EINTR, -EHWPOISON as
 * in <uapi/linux/dmabufx.h>.
 */
struct dma_buf *dmabufx_export_iter(struct iov_iter *iter, size_t size,
				    const struct dmabufx_export *how)
{
	struct iov_iter before = *iter;
	struct dmabufx_buf *buf;
	struct dma_buf *dmabuf;

	buf = buf_for(how);
	if (IS_ERR(buf))
		return ERR_CAST(buf);

	dmabuf = export_filled(buf, fill_from_iter(buf, iter, size), how);
	if (IS_ERR(dmabuf))
		*iter = before;
	return dmabuf;
}
EXPORT_SYMBOL_GPL(dmabufx_export_iter);

/**
 * dmabufx_export_file - make a dma-buf of a range of a file
 * @file: a file with pages: shmem, hugetlb, or on a disk. No reference to it is
 *	kept
 * @pos: where in the file, bytes, page-aligned
 * @size: how much of it, bytes, page-aligned; may reach to the end of the page
 *	that the file ends in
 * @how: the exporter, its callback and flags; DMABUFX_READ_ONLY is required for
 *	files on a disk
 *
 * Pages that are not in memory are read in. Pages of shmem and hugetlb are pinned,
 * others are referenced, until the dma-buf is gone. Whole folios that are truncated or
 * punched out of the file meanwhile stay in the buffer. If only a part of a large
 * folio is truncated or punched out, that part becomes zeros in the buffer.
 *
 * Before they are pinned, pages are moved out of ZONE_MOVABLE and CMA; pages that
 * are read in are allocated elsewhere. But pages of a file on a disk that are in the
 * page cache already stay where they are. As long as the dma-buf lives, such memory
 * cannot be unplugged (ZONE_MOVABLE) or given to a device (CMA).
 *
 * Context: Process context, may sleep and read from a disk.
 * Return: the dma-buf, as from dmabufx_export_iter(); or an error, after which
 * @how->release is not called: -EINVAL, not page-aligned, empty, or @how is
 * incomplete; -ENODEV, @how->owner is being unloaded; -ERANGE, the file ends
 * before @pos + @size; -EACCES, a writable buffer of a file on a disk, or the file is
 * not opened for this access; -EPERM, a seal of the file forbids writing;
 * -EOPNOTSUPP, a file without pages, DAX included; -EIO and others, the file cannot be
 * read; -EFBIG, -EMLINK, -EINTR, -EHWPOISON, -ENOMEM.
 */
struct dma_buf *dmabufx_export_file(struct file *file, loff_t pos, size_t size,
				    const struct dmabufx_export *how)
{
	struct dmabufx_buf *buf;
	int ret;

	buf = buf_for(how);
	if (IS_ERR(buf))
		return ERR_CAST(buf);

	ret = dmabufx_file_append(&buf->runs, file, pos, size, buf->read_only);
	return export_filled(buf, ret, how);
}
EXPORT_SYMBOL_GPL(dmabufx_export_file);
