/* SPDX-License-Identifier: MIT */
/* Has vgem work on a dma-buf for as long as a test wants. */
#ifndef TESTS_VGEM_H
#define TESTS_VGEM_H

#include <linux/types.h>
#include <stdbool.h>

/**
 * struct fence - the work that a device has to do
 * @card: vgem's node
 * @handle: vgem's, of the buffer
 * @id: vgem's name for it; it gives up after 10 s
 */
struct fence {
	int card;
	__u32 handle;
	__u32 id;
};

/* From now on a device reads, or writes, the dma-buf. Skips the test without vgem. */
struct fence fence_attach(int dma_buf, bool write);

/* The device is done. */
void fence_signal(const struct fence *fence);

#endif /* TESTS_VGEM_H */
