// SPDX-License-Identifier: GPL-2.0-only
/*
 * QEMU's device "edu" (its docs/specs/edu.rst), which reads and writes memory by
 * DMA, through everything that the machine has between devices and memory. So its
 * results do not depend on this kernel's translation of addresses. It has one page of
 * memory of its own, which DMA fills and empties; each transfer takes 0.1 seconds.
 */
#include <linux/dma-mapping.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/iopoll.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>

#include "edu.h"

#define EDU_SOURCE	0x80
#define EDU_TARGET	0x88
#define EDU_COUNT	0x90
#define EDU_COMMAND	0x98
#define   EDU_START	0x1
#define   EDU_TO_MEMORY	0x2
#define EDU_OWN_MEMORY	0x40000
#define EDU_SIZE	4096

/* The first device found: one is enough, and it is never unbound. */
static struct {
	struct mutex lock; /* one transfer at a time */
	struct device *dev;
	void __iomem *regs;
	void *page;
	dma_addr_t page_addr;
} edu = { .lock = __MUTEX_INITIALIZER(edu.lock) };

/* Copies @len bytes between the device's own memory and @addr. */
static int edu_transfer(dma_addr_t addr, size_t len, bool to_memory)
{
	u64 command;

	writeq(to_memory ? EDU_OWN_MEMORY : addr, edu.regs + EDU_SOURCE);
	writeq(to_memory ? addr : EDU_OWN_MEMORY, edu.regs + EDU_TARGET);
	writeq(len, edu.regs + EDU_COUNT);
	writeq(EDU_START | (to_memory ? EDU_TO_MEMORY : 0),
	       edu.regs + EDU_COMMAND);
	return readq_poll_timeout(edu.regs + EDU_COMMAND, command,
				  !(command & EDU_START), 5000,
				  20 * USEC_PER_SEC);
}

/**
 * edu_copy - make the device read or write memory
 * @addr: the memory, as the device addresses it
 * @data: the data to write, or room for the data to read
 * @len: bytes, at most a page
 * @write: whether the device writes
 *
 * Context: process, sleeps. edu_device() must not be NULL.
 * Return: 0, or -ETIMEDOUT.
 */
int edu_copy(dma_addr_t addr, void *data, size_t len, bool write)
{
	int ret;

	if (WARN_ON(len > EDU_SIZE))
		return -EINVAL;

	mutex_lock(&edu.lock);
	if (write)
		memcpy(edu.page, data, len);
	ret = edu_transfer(write ? edu.page_addr : addr, len, false);
	if (!ret)
		ret = edu_transfer(write ? addr : edu.page_addr, len, true);
	if (!ret && !write)
		memcpy(data, edu.page, len);
	mutex_unlock(&edu.lock);
	return ret;
}

/**
 * edu_device - get the device that edu_copy() uses
 *
 * Return: the device, which stays until edu_unregister(), or NULL.
 */
struct device *edu_device(void)
{
	return edu.dev;
}

static int edu_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	int ret;

	if (edu.dev)
		return -EBUSY;

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	pci_set_master(pdev);
	ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (ret)
		return ret;

	edu.regs = pcim_iomap(pdev, 0, 0);
	if (!edu.regs)
		return -ENOMEM;
	edu.page = dmam_alloc_coherent(&pdev->dev, EDU_SIZE, &edu.page_addr,
				       GFP_KERNEL);
	if (!edu.page)
		return -ENOMEM;
	edu.dev = &pdev->dev;
	return 0;
}

static void edu_remove(struct pci_dev *pdev)
{
	edu.dev = NULL;
}

static const struct pci_device_id edu_ids[] = {
	{ PCI_DEVICE(0x1234, 0x11e8) },
	{ }
};

static struct pci_driver edu_driver = {
	.name		= "dmabufx-edu",
	.id_table	= edu_ids,
	.probe		= edu_probe,
	.remove		= edu_remove,
	.driver		= { .suppress_bind_attrs = true },
};

/**
 * edu_register - find the device
 *
 * Context: process, once.
 * Return: 0, also if there is none, or a negative errno.
 */
int edu_register(void)
{
	return pci_register_driver(&edu_driver);
}

/**
 * edu_unregister - release the device
 *
 * Context: process, after edu_register(), when nobody uses it any more.
 */
void edu_unregister(void)
{
	pci_unregister_driver(&edu_driver);
}
