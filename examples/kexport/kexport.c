// SPDX-License-Identifier: GPL-2.0-only
/*
 * kexport: shows how a kernel module makes dma-bufs of its memory, and reads files.
 *
 * A driver has a buffer (from kvmalloc(), vmalloc() or page by page), or addresses in a
 * program's memory, or a file, and somebody wants to use that as a dma-buf. The driver
 * describes the memory by an iov_iter or a file, and passes its owner, a name and a
 * release callback. It gets a dma-buf with all operations, and has to write nothing
 * else.
 *
 * Here a program asks for the buffers, by an ioctl on a file in debugfs; see kexport.h.
 */
#include <linux/bvec.h>
#include <linux/debugfs.h>
#include <linux/dma-buf.h>
#include <linux/dmabufx.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include <linux/vmalloc.h>

#ifdef CONFIG_X86
#include <asm/set_memory.h>
#endif

#include "kexport.h"

/* A program chooses the size, so charge the memory to it and do not warn on failure. */
#define GFP_FOR_USERS	(GFP_KERNEL_ACCOUNT | __GFP_NOWARN)

static struct dentry *folder;
static struct kmem_cache *objects;
static atomic_t nr_live = ATOMIC_INIT(0);

/* Exporter and release callback are the same for all kinds of memory here. */
static struct dmabufx_export export_by(const struct kexport_get *get,
				       void (*release)(void *data), void *data)
{
	return (struct dmabufx_export) {
		.owner = THIS_MODULE,
		.name = KBUILD_MODNAME,
		.flags = get->read_only ? DMABUFX_READ_ONLY : 0,
		.release = release,
		.data = data,
	};
}

/* kvmalloc and vmalloc: memory with one kernel address, a KVEC iterator. */

static void release_kvmem(void *data)
{
	kvfree(data);
	atomic_dec(&nr_live);
}

static struct dma_buf *export_kvmem(const struct kexport_get *get, void *mem)
{
	struct dmabufx_export by = export_by(get, release_kvmem, mem);
	struct kvec vec = { .iov_base = mem, .iov_len = get->size };
	struct dma_buf *dmabuf;
	struct iov_iter iter;

	if (!mem)
		return ERR_PTR(-ENOMEM);

	iov_iter_kvec(&iter, ITER_DEST, &vec, 1, get->size);
	dmabuf = dmabufx_export_iter(&iter, get->size, &by);
	if (IS_ERR(dmabuf))
		kvfree(mem);
	return dmabuf;
}

static struct dma_buf *get_kvmalloc(const struct kexport_get *get)
{
	return export_kvmem(get, kvzalloc(get->size, GFP_FOR_USERS));
}

static struct dma_buf *get_vmalloc(const struct kexport_get *get)
{
	return export_kvmem(get, __vmalloc(get->size,
					   GFP_FOR_USERS | __GFP_ZERO));
}

/* slab: objects of a cache, a page each; a KVEC iterator of many segments. */

/**
 * struct object_list - objects that were allocated one by one
 * @nr: length of @vec
 * @vec: the objects, NULL for those not yet allocated
 */
struct object_list {
	unsigned int nr;
	struct kvec vec[] __counted_by(nr);
};

static void object_list_free(struct object_list *list)
{
	unsigned int i;

	for (i = 0; i < list->nr && list->vec[i].iov_base; i++)
		kmem_cache_free(objects, list->vec[i].iov_base);
	kvfree(list);
}

static int compare_addresses(const void *a, const void *b)
{
	const struct kvec *first = a, *second = b;

	return first->iov_base < second->iov_base ? -1 : 1;
}

/* Sorted, so that neighbours in memory are neighbours in the buffer: fewer entries. */
static struct object_list *object_list_alloc(unsigned int nr)
{
	struct object_list *list;
	unsigned int i;

	list = kvzalloc(struct_size(list, vec, nr), GFP_FOR_USERS);
	if (!list)
		return NULL;

	list->nr = nr;
	for (i = 0; i < nr; i++) {
		list->vec[i].iov_base = kmem_cache_zalloc(objects, GFP_FOR_USERS);
		list->vec[i].iov_len = PAGE_SIZE;
		if (!list->vec[i].iov_base) {
			object_list_free(list);
			return NULL;
		}
	}
	sort(list->vec, nr, sizeof(list->vec[0]), compare_addresses, NULL);
	return list;
}

static void release_objects(void *data)
{
	object_list_free(data);
	atomic_dec(&nr_live);
}

static struct dma_buf *get_objects(const struct kexport_get *get)
{
	struct object_list *list = object_list_alloc(get->size >> PAGE_SHIFT);
	struct dmabufx_export by = export_by(get, release_objects, list);
	struct dma_buf *dmabuf;
	struct iov_iter iter;

	if (!list)
		return ERR_PTR(-ENOMEM);

	iov_iter_kvec(&iter, ITER_DEST, list->vec, list->nr, get->size);
	dmabuf = dmabufx_export_iter(&iter, get->size, &by);
	if (IS_ERR(dmabuf))
		object_list_free(list);
	return dmabuf;
}

/* pages, wc: memory without an address, a BVEC iterator. */

/* Write combining is for devices that do not snoop the CPU's caches. */
enum page_type {
	WRITE_BACK,
	WRITE_COMBINED,
};

/* Sets the type that the kernel records for a page. Mappings of the dma-buf get it, too. */
static int page_set_type(struct page *page, enum page_type type)
{
#ifdef CONFIG_X86
	unsigned long addr = (unsigned long)page_address(page);

	return type == WRITE_COMBINED ? set_memory_wc(addr, 1) :
					set_memory_wb(addr, 1);
#else
	return type == WRITE_COMBINED ? -EOPNOTSUPP : 0;
#endif
}

/**
 * struct page_list - pages that were allocated one by one
 * @nr: length of @vec
 * @type: how the CPU accesses the pages
 * @vec: the pages
 */
struct page_list {
	unsigned int nr;
	enum page_type type;
	struct bio_vec vec[] __counted_by(nr);
};

static void page_list_free(struct page_list *list)
{
	unsigned int i;

	for (i = 0; i < list->nr && list->vec[i].bv_page; i++) {
		if (list->type != WRITE_BACK)
			page_set_type(list->vec[i].bv_page, WRITE_BACK);
		__free_page(list->vec[i].bv_page);
	}
	kvfree(list);
}

static struct page_list *page_list_alloc(unsigned int nr, enum page_type type)
{
	struct page_list *list;
	unsigned int i;

	list = kvzalloc(struct_size(list, vec, nr), GFP_FOR_USERS);
	if (!list)
		return NULL;

	list->nr = nr;
	list->type = type;
	for (i = 0; i < nr; i++) {
		struct page *page = alloc_page(GFP_FOR_USERS | __GFP_ZERO);

		if (!page)
			goto err_free;
		bvec_set_page(&list->vec[i], page, PAGE_SIZE, 0);
		if (type != WRITE_BACK && page_set_type(page, type))
			goto err_free;
	}
	return list;

err_free:
	page_list_free(list);
	return NULL;
}

static void release_pages_of(void *data)
{
	page_list_free(data);
	atomic_dec(&nr_live);
}

static struct dma_buf *export_pages(const struct kexport_get *get,
				    enum page_type type)
{
	struct page_list *list = page_list_alloc(get->size >> PAGE_SHIFT, type);
	struct dmabufx_export by = export_by(get, release_pages_of, list);
	struct dma_buf *dmabuf;
	struct iov_iter iter;

	if (!list)
		return ERR_PTR(-ENOMEM);

	iov_iter_bvec(&iter, ITER_DEST, list->vec, list->nr, get->size);
	dmabuf = dmabufx_export_iter(&iter, get->size, &by);
	if (IS_ERR(dmabuf))
		page_list_free(list);
	return dmabuf;
}

static struct dma_buf *get_pages_one_by_one(const struct kexport_get *get)
{
	return export_pages(get, WRITE_BACK);
}

static struct dma_buf *get_write_combined(const struct kexport_get *get)
{
	return export_pages(get, WRITE_COMBINED);
}

/* file, user: dmabufx holds the pages, so there is nothing to release. */

static void release_nothing(void *data)
{
	atomic_dec(&nr_live);
}

/* user: memory of the program that asks, a UBUF iterator. Its user is charged. */
static struct dma_buf *get_user_range(const struct kexport_get *get)
{
	struct dmabufx_export by = export_by(get, release_nothing, NULL);
	struct iov_iter iter;

	iov_iter_ubuf(&iter, get->read_only ? ITER_SOURCE : ITER_DEST,
		      u64_to_user_ptr(get->offset), get->size);
	return dmabufx_export_iter(&iter, get->size, &by);
}

/* file: a range of a page cache. */
static struct dma_buf *get_file_range(const struct kexport_get *get)
{
	struct dmabufx_export by = export_by(get, release_nothing, NULL);
	struct file *file = fget(get->file);
	struct dma_buf *dmabuf;

	if (!file)
		return ERR_PTR(-EBADF);

	dmabuf = dmabufx_export_file(file, get->offset, get->size, &by);
	fput(file);
	return dmabuf;
}

/* The files in debugfs. */

struct kind {
	const char *name;
	struct dma_buf *(*get)(const struct kexport_get *get);
};

static const struct kind kinds[] = {
	{ "kvmalloc", get_kvmalloc },
	{ "vmalloc", get_vmalloc },
	{ "slab", get_objects },
	{ "pages", get_pages_one_by_one },
	{ "wc", get_write_combined },
	{ "user", get_user_range },
	{ "file", get_file_range },
};

static long kexport_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	const struct kind *kind = file->private_data;
	struct dma_buf *dmabuf;
	struct kexport_get get;
	int fd;

	if (cmd != KEXPORT_GET)
		return -ENOTTY;
	if (copy_from_user(&get, (void __user *)arg, sizeof(get)))
		return -EFAULT;
	/* The number of pages must fit an int; allocators have further limits. */
	if (!get.size || !PAGE_ALIGNED(get.size) ||
	    get.size >> PAGE_SHIFT > INT_MAX)
		return -EINVAL;

	dmabuf = kind->get(&get);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);

	atomic_inc(&nr_live);
	fd = dma_buf_fd(dmabuf, O_CLOEXEC);
	if (fd < 0)
		dma_buf_put(dmabuf);
	return fd;
}

static const struct file_operations kexport_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.unlocked_ioctl = kexport_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

/* peek: a range of a file at one contiguous kernel address. */

static long peek_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct dmabufx_file_map *map;
	struct kexport_peek peek;
	struct file *target;
	long ret = 0;

	if (cmd != KEXPORT_PEEK)
		return -ENOTTY;
	if (copy_from_user(&peek, (void __user *)arg, sizeof(peek)))
		return -EFAULT;
	if (peek.zero)
		return -EINVAL;

	target = fget(peek.file);
	if (!target)
		return -EBADF;
	map = dmabufx_vmap_file(target, peek.offset, peek.size,
				DMABUFX_READ_ONLY);
	fput(target);
	if (IS_ERR(map))
		return PTR_ERR(map);

	if (copy_to_user(u64_to_user_ptr(peek.to), map->addr, map->size))
		ret = -EFAULT;
	dmabufx_vunmap_file(map);
	return ret;
}

static const struct file_operations peek_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = peek_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static int __init kexport_init(void)
{
	size_t i;

	/* Allow copies to user space from the objects, as some importers make them. */
	objects = kmem_cache_create_usercopy(KBUILD_MODNAME, PAGE_SIZE, PAGE_SIZE,
					     SLAB_NO_MERGE, 0, PAGE_SIZE, NULL);
	if (!objects)
		return -ENOMEM;

	folder = debugfs_create_dir(KBUILD_MODNAME, NULL);
	debugfs_create_atomic_t("live", 0444, folder, &nr_live);
	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		debugfs_create_file(kinds[i].name, 0600, folder,
				    (void *)&kinds[i], &kexport_fops);
	debugfs_create_file("peek", 0600, folder, NULL, &peek_fops);
	return 0;
}

static void __exit kexport_exit(void)
{
	debugfs_remove(folder);
	kmem_cache_destroy(objects);
}

module_init(kexport_init);
module_exit(kexport_exit);

MODULE_DESCRIPTION("How a kernel module makes dma-bufs of its memory with dmabufx");
MODULE_AUTHOR("The dmabufx authors");
MODULE_LICENSE("GPL");
MODULE_INFO(import_ns, "DMA_BUF");
