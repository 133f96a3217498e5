// SPDX-License-Identifier: MIT
/* DRM devices that import our dma-bufs: see igt_dmabufx_drm.h. */
#include <drm/vgem_drm.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <xf86drm.h>

#include "igt.h"
#include "igt_dmabufx_drm.h"

/* Newer kernels add to the names of some: "bochs-drm". */
static bool is_driven_by(int card, const char *driver)
{
	drmVersionPtr version = drmGetVersion(card);
	size_t len = strlen(driver);
	bool is;

	is = version && !strncmp(version->name, driver, len) &&
	     (!version->name[len] || version->name[len] == '-');
	drmFreeVersion(version);
	return is;
}

int __dmabufx_card_open(const char *driver)
{
	char path[32];
	int card, i;

	for (i = 0; i < DRM_MAX_MINOR; i++) {
		snprintf(path, sizeof(path), "/dev/dri/card%d", i);
		card = open(path, O_RDWR | O_CLOEXEC);
		if (card < 0)
			continue;
		if (is_driven_by(card, driver))
			return card;
		close(card);
	}
	return -1;
}

int dmabufx_card_open(const char *driver)
{
	int card = __dmabufx_card_open(driver);

	igt_require_f(card >= 0, "no card is driven by %s\n", driver);
	return card;
}

int __dmabufx_card_import(int card, int dmabuf, uint32_t *handle)
{
	return drmPrimeFDToHandle(card, dmabuf, handle) ? -errno : 0;
}

uint32_t dmabufx_card_import(int card, int dmabuf)
{
	uint32_t handle;

	igt_assert_eq(__dmabufx_card_import(card, dmabuf, &handle), 0);
	return handle;
}

void dmabufx_card_drop(int card, uint32_t handle)
{
	igt_assert_eq(drmCloseBufferHandle(card, handle), 0);
}

int dmabufx_card_export(int card, uint32_t handle)
{
	int dmabuf;

	igt_assert_eq(drmPrimeHandleToFD(card, handle, DRM_CLOEXEC | DRM_RDWR, &dmabuf), 0);
	return dmabuf;
}

struct dmabufx_fence dmabufx_fence_attach(int dmabuf, bool write)
{
	struct dmabufx_fence fence = { .card = dmabufx_card_open("vgem") };
	struct drm_vgem_fence_attach attach = {
		.flags = write ? VGEM_FENCE_WRITE : 0,
	};

	fence.handle = dmabufx_card_import(fence.card, dmabuf);
	attach.handle = fence.handle;
	igt_assert_eq(drmIoctl(fence.card, DRM_IOCTL_VGEM_FENCE_ATTACH, &attach), 0);
	fence.id = attach.out_fence;
	return fence;
}

void dmabufx_fence_signal(struct dmabufx_fence *fence)
{
	struct drm_vgem_fence_signal signal = { .fence = fence->id };

	igt_assert_eq(drmIoctl(fence->card, DRM_IOCTL_VGEM_FENCE_SIGNAL, &signal), 0);
	dmabufx_card_drop(fence->card, fence->handle);
	close(fence->card);
}
