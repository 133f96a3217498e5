/* SPDX-License-Identifier: MIT */
/*
 * DRM devices that import our dma-bufs: found by the name of their driver, told to
 * import, and, with vgem, made to look busy by fences.
 */
#ifndef IGT_DMABUFX_DRM_H
#define IGT_DMABUFX_DRM_H

#include <stdbool.h>
#include <stdint.h>

/* A card of that driver, or -1; skips likewise. */
int __dmabufx_card_open(const char *driver);
int dmabufx_card_open(const char *driver);

/* A dma-buf becomes a handle of the card: 0 or -errno. */
int __dmabufx_card_import(int card, int dmabuf, uint32_t *handle);
uint32_t dmabufx_card_import(int card, int dmabuf);
void dmabufx_card_drop(int card, uint32_t handle);

/* A new descriptor of what is behind a handle. */
int dmabufx_card_export(int card, uint32_t handle);

/**
 * struct dmabufx_fence - a device, vgem's, is at work on a dma-buf
 * @card: vgem
 * @handle: its handle of the dma-buf
 * @id: its name of the fence, which it gives up after 10 seconds
 */
struct dmabufx_fence {
	int card;
	uint32_t handle;
	uint32_t id;
};

/* The device reads, or writes, from now until it is told to be done. */
struct dmabufx_fence dmabufx_fence_attach(int dmabuf, bool write);
void dmabufx_fence_signal(struct dmabufx_fence *fence);

#endif /* IGT_DMABUFX_DRM_H */
