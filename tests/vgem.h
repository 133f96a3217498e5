/* SPDX-License-Identifier: MIT */
/* Lets vgem work on a dma-buf for as long as a test wants. */
#ifndef TESTS_VGEM_H
#define TESTS_VGEM_H

#include <linux/types.h>
#include <stdbool.h>

/**
 * struct fence - work of a device
 * @card: vgem's node
 * @handle: vgem's handle of the buffer
 * @id: vgem's number of the fence; it gives up after 10 s
 */
struct fence {
	int card;
	__u32 handle;
	__u32 id;
};

/* Starts a device's read or write of the dma-buf. Skips the test without vgem. */
struct fence fence_attach(int dma_buf, bool write);

/* Ends the device's work. */
void fence_signal(const struct fence *fence);

#endif /* TESTS_VGEM_H */
