// SPDX-License-Identifier: MIT
/* Work for vgem: see vgem.h. */
#include <drm/drm.h>
#include <drm/vgem_drm.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "harness.h"
#include "vgem.h"

static bool is_vgem(int card)
{
	char name[8] = "";
	struct drm_version version = { .name = name, .name_len = 4 };

	return !ioctl(card, DRM_IOCTL_VERSION, &version) && !strcmp(name, "vgem");
}

static int vgem_open(void)
{
	char path[32];
	int card, i;

	for (i = 0; i < 8; i++) {
		snprintf(path, sizeof(path), "/dev/dri/card%d", i);
		card = open(path, O_RDWR | O_CLOEXEC);
		if (card < 0)
			continue;
		if (is_vgem(card))
			return card;
		close(card);
	}
	skip("there is no vgem");
}

struct fence fence_attach(int dma_buf, bool write)
{
	struct drm_vgem_fence_attach attach = { .flags = write ? VGEM_FENCE_WRITE : 0 };
	struct drm_prime_handle prime = { .fd = dma_buf };
	int card = vgem_open();

	must(ioctl(card, DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime));
	attach.handle = prime.handle;
	must(ioctl(card, DRM_IOCTL_VGEM_FENCE_ATTACH, &attach));
	return (struct fence){ card, prime.handle, attach.out_fence };
}

void fence_signal(const struct fence *fence)
{
	struct drm_vgem_fence_signal signal = { .fence = fence->id };
	struct drm_gem_close close_handle = { .handle = fence->handle };

	must(ioctl(fence->card, DRM_IOCTL_VGEM_FENCE_SIGNAL, &signal));
	must(ioctl(fence->card, DRM_IOCTL_GEM_CLOSE, &close_handle));
	must(close(fence->card));
}
