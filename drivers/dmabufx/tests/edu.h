/* SPDX-License-Identifier: GPL-2.0-only */
/* QEMU's device "edu" does the importer's DMA: see edu.c. */
#ifndef DMABUFX_EDU_H
#define DMABUFX_EDU_H

#include <linux/types.h>

struct device;

int edu_register(void);
void edu_unregister(void);
struct device *edu_device(void);
int edu_copy(dma_addr_t addr, void *data, size_t len, bool write);

#endif /* DMABUFX_EDU_H */
