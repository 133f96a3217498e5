// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device nodes, module parameters, and the copying of ioctl arguments.
 * Nothing here knows about memory.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/device.h>
#include <linux/dma-buf.h>
#include <linux/file.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/string.h>
#include <linux/stringify.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/udmabuf.h>
#include <uapi/linux/dma-buf.h>

#include "compat.h"
#include "dmabufx.h"

#define VERSION_MAJOR	0
#define VERSION_MINOR	1

static unsigned int list_limit = 262144;
module_param(list_limit, uint, 0644);
MODULE_PARM_DESC(list_limit, "Most segments of one buffer (default: 262144, a GiB page by page)");

static bool serve_udmabuf;
module_param(serve_udmabuf, bool, 0444);
MODULE_PARM_DESC(serve_udmabuf, "Answer on /dev/udmabuf too, if no other driver does (default: N)");

/*
 * Translates an error of DMABUFX_IOC_CREATE to the less precise one that the udmabuf
 * calls return. All other errors are the same.
 */
static int udmabuf_errno(int err)
{
	switch (err) {
	case -EBADF:
		return -EBADFD;
	case -EPERM:
	case -ERANGE:
	case -EFBIG:
		return -EINVAL;
	case -EMLINK:
		return -ENOMEM;
	default:
		return err;
	}
}

/* struct udmabuf_create_item has the layout of a DMABUFX_MEMFD segment. */
static_assert(sizeof(struct udmabuf_create_item) ==
	      sizeof(struct dmabufx_segment));
static_assert(offsetof(struct udmabuf_create_item, offset) ==
	      offsetof(struct dmabufx_segment, offset));
static_assert(offsetof(struct udmabuf_create_item, size) ==
	      offsetof(struct dmabufx_segment, size));

static long create_udmabuf(const struct dmabufx_segment *segments, u32 nr,
			   u32 flags)
{
	struct dmabufx_buf_request req = {
		.segments = segments,
		.nr_segments = nr,
		.as_udmabuf = true,
	};
	struct dma_buf *dmabuf;
	int fd;

	dmabuf = dmabufx_buf_create(&req);
	if (IS_ERR(dmabuf))
		return udmabuf_errno(PTR_ERR(dmabuf));

	/* The descriptor comes last: another thread may guess it and close it at once. */
	fd = dma_buf_fd(dmabuf, flags & UDMABUF_FLAGS_CLOEXEC ? O_CLOEXEC : 0);
	if (fd < 0)
		dma_buf_put(dmabuf);
	return fd;
}

static long ioctl_udmabuf_create(const struct udmabuf_create __user *arg)
{
	struct udmabuf_create create;
	struct dmabufx_segment segment;

	if (copy_from_user(&create, arg, sizeof(create)))
		return -EFAULT;

	segment = (struct dmabufx_segment) {
		.fd = create.memfd,
		.offset = create.offset,
		.size = create.size,
	};
	return create_udmabuf(&segment, 1, create.flags);
}

/*
 * Copies in a list, for the caller to kvfree(). Charges it to the caller's memory
 * cgroup, which vmemdup_array_user() does not.
 */
static struct dmabufx_segment *segments_from_user(const void __user *from, u32 nr)
{
	size_t size = array_size(nr, sizeof(struct dmabufx_segment));
	struct dmabufx_segment *segments;

	segments = kvmalloc(size, GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!segments)
		return ERR_PTR(-ENOMEM);
	if (copy_from_user(segments, from, size)) {
		kvfree(segments);
		return ERR_PTR(-EFAULT);
	}
	return segments;
}

static long ioctl_udmabuf_create_list(const struct udmabuf_create_list __user *arg)
{
	struct dmabufx_segment *segments;
	struct udmabuf_create_list head;
	long ret;
	u32 i;

	if (copy_from_user(&head, arg, sizeof(head)))
		return -EFAULT;
	if (head.count > READ_ONCE(list_limit))
		return -EINVAL;

	segments = segments_from_user(arg->list, head.count);
	if (IS_ERR(segments))
		return PTR_ERR(segments);

	/* udmabuf never checked the padding, so programs may leave anything there. */
	for (i = 0; i < head.count; i++)
		segments[i].type = DMABUFX_MEMFD;

	ret = create_udmabuf(segments, head.count, head.flags);
	kvfree(segments);
	return ret;
}

/* Fills @req from the user's struct. On failure, @req->reason says why. */
static int request_from_user(struct dmabufx_buf_request *req,
			     const struct dmabufx_create *create)
{
	struct dmabufx_segment *segments;
	char *name;

	req->nr_segments = create->nr_segments;
	req->failed_segment = create->nr_segments;
	req->read_only = create->flags & DMABUFX_CREATE_READ_ONLY;

	if (create->flags & ~(DMABUFX_CREATE_CLOEXEC | DMABUFX_CREATE_READ_ONLY))
		return dmabufx_because(&req->reason, DMABUFX_REASON_FLAGS,
				       -EINVAL);
	if (create->segment_size != sizeof(*req->segments))
		return dmabufx_because(&req->reason,
				       DMABUFX_REASON_SEGMENT_SIZE, -EINVAL);
	if (create->nr_segments > READ_ONCE(list_limit))
		return dmabufx_because(&req->reason, DMABUFX_REASON_TOO_MANY,
				       -E2BIG);

	if (create->name) {
		name = strndup_user(u64_to_user_ptr(create->name),
				    DMA_BUF_NAME_LEN);
		/* Out of memory: the name is not to blame. */
		if (name == ERR_PTR(-ENOMEM))
			return -ENOMEM;
		if (IS_ERR(name))
			return dmabufx_because(&req->reason, DMABUFX_REASON_NAME,
					       PTR_ERR(name));
		req->name = name;
	}

	segments = segments_from_user(u64_to_user_ptr(create->segments),
				      create->nr_segments);
	if (IS_ERR(segments))
		return PTR_ERR(segments);
	req->segments = segments;
	return 0;
}

static struct dma_buf *create_from_user(struct dmabufx_buf_request *req,
					const struct dmabufx_create *create)
{
	struct dma_buf *dmabuf;
	int ret;

	ret = request_from_user(req, create);
	dmabuf = ret ? ERR_PTR(ret) : dmabufx_buf_create(req);
	kvfree(req->segments);
	kfree(req->name);
	return dmabuf;
}

/* When the call succeeds, this alone writes to the caller's struct. */
static long install(struct dma_buf *dmabuf, u32 data_offset, u32 flags,
		    struct dmabufx_create __user *arg)
{
	int fd = get_unused_fd_flags(flags & DMABUFX_CREATE_CLOEXEC ?
				     O_CLOEXEC : 0);

	if (fd < 0)
		return fd;
	if (put_user((u64)data_offset, &arg->data_offset)) {
		put_unused_fd(fd);
		return -EFAULT;
	}
	fd_install(fd, dmabuf->file);
	return fd;
}

/*
 * Copies in a struct that begins with its size. Returns that size, or -errno.
 * Ignores the size in the second copy: user space may have changed it.
 */
static long struct_from_user(void *to, size_t size, size_t first_version,
			     const void __user *arg)
{
	u32 usize;
	int ret;

	if (get_user(usize, (const u32 __user *)arg))
		return -EFAULT;
	if (usize < first_version)
		return -EINVAL;
	if (usize > PAGE_SIZE)
		return -E2BIG;
	ret = copy_struct_from_user(to, size, arg, usize);
	if (ret)
		return ret;
	return usize;
}

/* Copies a struct out. If the user's struct is larger, the rest of it is zero already. */
static int struct_to_user(void __user *arg, size_t usize, const void *from,
			  size_t size)
{
	return copy_to_user(arg, from, min(usize, size)) ? -EFAULT : 0;
}

static long ioctl_create(struct dmabufx_create __user *arg)
{
	struct dmabufx_buf_request req = {};
	struct dmabufx_create create;
	struct dma_buf *dmabuf;
	long ret;

	ret = struct_from_user(&create, sizeof(create),
			       offsetofend(struct dmabufx_create, reason), arg);
	if (ret < 0)
		return ret;

	dmabuf = create_from_user(&req, &create);
	if (IS_ERR(dmabuf)) {
		/* If these cannot be written, the caller gets only errno. */
		ret = put_user(req.failed_segment, &arg->failed_segment) ?:
		      put_user(req.reason, &arg->reason);
		return PTR_ERR(dmabuf);
	}

	ret = install(dmabuf, req.data_offset, create.flags, arg);
	if (ret < 0)
		dma_buf_put(dmabuf);
	return ret;
}

static long ioctl_query(struct dmabufx_query __user *arg)
{
	struct dmabufx_query query;
	long ret;

	ret = struct_from_user(&query, sizeof(query),
			       offsetofend(struct dmabufx_query, user_locked),
			       arg);
	if (ret < 0)
		return ret;
	if (query.reserved)
		return -EINVAL;

	query.version = VERSION_MAJOR << 16 | VERSION_MINOR;
	query.features = DMABUFX_FEATURE_MEMFD | DMABUFX_FEATURE_USER |
			 DMABUFX_FEATURE_READ_ONLY;
	query.max_size = (u64)DMABUFX_MAX_PAGES << PAGE_SHIFT;
	query.max_segments = READ_ONCE(list_limit);
	dmabufx_account_query(&query);
	return struct_to_user(arg, ret, &query, sizeof(query));
}

static long ioctl_info(struct dmabufx_info __user *arg)
{
	struct dmabufx_info info;
	long size;
	int ret;

	size = struct_from_user(&info, sizeof(info),
				offsetofend(struct dmabufx_info, user_bytes),
				arg);
	if (size < 0)
		return size;
	ret = dmabufx_buf_info(&info);
	return ret ?: struct_to_user(arg, size, &info, sizeof(info));
}

static long dmabufx_ioctl(struct file *file, unsigned int cmd,
			  unsigned long arg)
{
	void __user *argp = (void __user *)arg;

	switch (cmd) {
	case UDMABUF_CREATE:
		return ioctl_udmabuf_create(argp);
	case UDMABUF_CREATE_LIST:
		return ioctl_udmabuf_create_list(argp);
	case DMABUFX_IOC_CREATE:
		return ioctl_create(argp);
	case DMABUFX_IOC_QUERY:
		return ioctl_query(argp);
	case DMABUFX_IOC_INFO:
		return ioctl_info(argp);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations dmabufx_fops = {
	.owner		= THIS_MODULE,
	.unlocked_ioctl	= dmabufx_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
};

static struct miscdevice dmabufx_node = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "dmabufx",
	.fops	= &dmabufx_fops,
};

static struct miscdevice udmabuf_node = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "udmabuf",
	.fops	= &dmabufx_fops,
};

/* Registering a name twice would print a stack trace, so look first. */
static bool udmabuf_is_taken(void)
{
	const struct class *misc = dmabufx_node.this_device->class;
	struct device *dev = class_find_device_by_name(misc, udmabuf_node.name);

	put_device(dev);
	return dev;
}

/* Returns true if this module serves /dev/udmabuf. The module also works without it. */
static bool __init udmabuf_register(void)
{
	int ret;

	if (udmabuf_is_taken()) {
		pr_warn("another driver answers on /dev/udmabuf, serving /dev/dmabufx only\n");
		return false;
	}

	ret = misc_register(&udmabuf_node);
	if (ret)
		pr_warn("no /dev/udmabuf (error %d), serving /dev/dmabufx only\n", ret);
	return !ret;
}

/*
 * As soon as a node exists, somebody may open it and make a buffer, and the module
 * must stay. So nothing may fail after the first misc_register().
 */
static int __init nodes_register(void)
{
	int ret = misc_register(&dmabufx_node);

	if (ret)
		return ret;
	serve_udmabuf = serve_udmabuf && udmabuf_register();
	return 0;
}

static int __init dmabufx_init(void)
{
	int ret;

	ret = dmabufx_vmap_init();
	if (ret)
		return ret;

	dmabufx_debug_init();
	ret = nodes_register();
	if (ret) {
		dmabufx_debug_exit();
		dmabufx_vmap_exit();
	}
	return ret;
}

static void __exit dmabufx_exit(void)
{
	if (serve_udmabuf)
		misc_deregister(&udmabuf_node);
	misc_deregister(&dmabufx_node);
	dmabufx_debug_exit();
	dmabufx_vmap_exit();
	dmabufx_account_exit();
}

module_init(dmabufx_init);
module_exit(dmabufx_exit);

MODULE_DESCRIPTION("Turns memory into dma-bufs, by runs of folios");
MODULE_AUTHOR("The dmabufx authors");
MODULE_VERSION(__stringify(VERSION_MAJOR) "." __stringify(VERSION_MINOR));
MODULE_LICENSE("GPL");
DMABUFX_IMPORT_NS("DMA_BUF");
