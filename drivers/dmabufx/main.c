// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device nodes, module parameters, and what an ioctl's argument looks like.
 * Nothing here knows about memory.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/device.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/udmabuf.h>

#include "compat.h"
#include "dmabufx.h"

static unsigned int list_limit = 262144;
module_param(list_limit, uint, 0644);
MODULE_PARM_DESC(list_limit, "Most items that one UDMABUF_CREATE_LIST may have; each takes 24 bytes of kernel memory during the call (default: 262144, a GiB page by page)");

static bool serve_udmabuf;
module_param(serve_udmabuf, bool, 0444);
MODULE_PARM_DESC(serve_udmabuf, "Answer on /dev/udmabuf too, if no other driver does (default: N)");

static long ioctl_create(const struct udmabuf_create __user *arg)
{
	struct udmabuf_create create;
	struct udmabuf_create_item item;

	if (copy_from_user(&create, arg, sizeof(create)))
		return -EFAULT;

	item = (struct udmabuf_create_item) {
		.memfd = create.memfd,
		.offset = create.offset,
		.size = create.size,
	};
	return dmabufx_create_udmabuf(&item, 1, create.flags);
}

static long ioctl_create_list(const struct udmabuf_create_list __user *arg)
{
	struct udmabuf_create_item *items;
	struct udmabuf_create_list head;
	long ret;

	if (copy_from_user(&head, arg, sizeof(head)))
		return -EFAULT;
	if (head.count > READ_ONCE(list_limit))
		return -EINVAL;

	items = vmemdup_array_user(arg->list, head.count, sizeof(*items));
	if (IS_ERR(items))
		return PTR_ERR(items);

	ret = dmabufx_create_udmabuf(items, head.count, head.flags);
	kvfree(items);
	return ret;
}

static long dmabufx_ioctl(struct file *file, unsigned int cmd,
			  unsigned long arg)
{
	void __user *argp = (void __user *)arg;

	switch (cmd) {
	case UDMABUF_CREATE:
		return ioctl_create(argp);
	case UDMABUF_CREATE_LIST:
		return ioctl_create_list(argp);
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

/* Registering a name twice would print a stack trace: look first. */
static bool udmabuf_is_taken(void)
{
	const struct class *misc = dmabufx_node.this_device->class;
	struct device *dev = class_find_device_by_name(misc, udmabuf_node.name);

	put_device(dev);
	return dev;
}

static int __init nodes_register(void)
{
	int ret;

	ret = misc_register(&dmabufx_node);
	if (ret || !serve_udmabuf)
		return ret;

	if (udmabuf_is_taken()) {
		pr_warn("another driver answers on /dev/udmabuf, serving /dev/dmabufx only (a built-in udmabuf is kept away by initcall_blacklist=udmabuf_dev_init)\n");
		serve_udmabuf = false;
		return 0;
	}

	ret = misc_register(&udmabuf_node);
	if (ret)
		misc_deregister(&dmabufx_node);
	return ret;
}

static int __init dmabufx_init(void)
{
	int ret;

	ret = dmabufx_vmap_init();
	if (ret)
		return ret;

	ret = nodes_register();
	if (ret)
		dmabufx_vmap_exit();
	return ret;
}

static void __exit dmabufx_exit(void)
{
	if (serve_udmabuf)
		misc_deregister(&udmabuf_node);
	misc_deregister(&dmabufx_node);
	dmabufx_vmap_exit();
}

module_init(dmabufx_init);
module_exit(dmabufx_exit);

MODULE_DESCRIPTION("Turns memory into dma-bufs, by runs of folios");
MODULE_AUTHOR("The dmabufx authors");
MODULE_VERSION("0.1");
MODULE_LICENSE("GPL");
DMABUFX_IMPORT_NS("DMA_BUF");
