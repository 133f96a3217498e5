// SPDX-License-Identifier: MIT
/* DRM devices by driver: see cards.h. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xf86drm.h>
#include <xf86drmMode.h>

#include "cards.h"
#include "harness.h"

static bool is_driven_by(const char *path, const char *driver)
{
	int card = open(path, O_RDWR | O_CLOEXEC);
	size_t len = strlen(driver);
	drmVersionPtr version;
	bool is;

	if (card < 0)
		return false;
	version = drmGetVersion(card);
	is = version && !strncmp(version->name, driver, len) &&
	     (!version->name[len] || version->name[len] == '-');
	drmFreeVersion(version);
	close(card);
	return is;
}

const char *card_find(const char *driver)
{
	static char path[32];
	int i;

	for (i = 0; i < DRM_MAX_MINOR; i++) {
		snprintf(path, sizeof(path), "/dev/dri/card%d", i);
		if (is_driven_by(path, driver))
			return path;
	}
	return NULL;
}

const char *card_path(const char *driver)
{
	const char *path = card_find(driver);

	if (!path)
		skip("no card is driven by %s", driver);
	return path;
}

int card_open(const char *driver)
{
	return must(open(card_path(driver), O_RDWR | O_CLOEXEC));
}

/* A dma-buf that another driver exports. */
static int foreign_dma_buf(void)
{
	int card = card_open("vgem"), dma_buf;
	uint32_t handle, pitch;
	uint64_t size;

	must(drmModeCreateDumbBuffer(card, 64, 64, 32, 0, &handle, &pitch,
				     &size));
	must(drmPrimeHandleToFD(card, handle, DRM_CLOEXEC, &dma_buf));
	close(card);
	return dma_buf;
}

void card_takes_nothing(int card, const char *driver, int error)
{
	int foreign = foreign_dma_buf();
	uint32_t handle;

	must_fail(error, drmPrimeFDToHandle(card, foreign, &handle));
	skip("%s of this kernel takes nobody's dma-bufs (%s): vgem's neither",
	     driver, errno_name(error));
}
