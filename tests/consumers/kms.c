// SPDX-License-Identifier: MIT
/*
 * Displays show framebuffers in dma-bufs. The tests compare every pixel with what QEMU
 * shows on its side.
 */
#include <drm_fourcc.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xf86drm.h>
#include <xf86drmMode.h>

#include "../../examples/display.h"
#include "canvas.h"
#include "cards.h"
#include "harness.h"
#include "operations.h"

#define MAX_BUFFERS 4

struct screen {
	struct canvas canvas;
	uint32_t handle;
	uint32_t framebuffer;
};

/* The picture; its last row ends where the buffer ends. */
static struct image image;

static void choose_image(uint32_t stride)
{
	image = (struct image){
		.width = 640,
		.height = 480,
		.cpp = 4,
		.stride = stride,
		.offset = 2 * PAGE,
	};
}

static struct screen make_screen(const struct display *display,
				 const char *driver, struct backing backing,
				 unsigned int pass)
{
	const uint32_t pitches[4] = { image.stride };
	const uint32_t offsets[4] = { image.offset };
	struct screen screen = {
		.canvas = canvas_make_on(backing,
					 image.offset +
					 image.height * image.stride),
	};
	uint32_t handles[4] = { };

	operations_watch();
	if (drmPrimeFDToHandle(display->fd, screen.canvas.fd, &screen.handle)) {
		int error = errno;

		operations_check(screen.canvas.fd, "");
		card_takes_nothing(display->fd, driver, error);
	}
	operations_check(screen.canvas.fd, "attach map?");
	handles[0] = screen.handle;
	if (drmModeAddFB2(display->fd, image.width, image.height,
			  DRM_FORMAT_XRGB8888, handles, pitches, offsets,
			  &screen.framebuffer, 0))
		fail("AddFB2: %s", errno_name(errno));
	image_draw(&screen.canvas, &image, pass);
	canvas_put(&screen.canvas);
	return screen;
}

static void free_screen(const struct display *display, struct screen *screen)
{
	drmModeRmFB(display->fd, screen->framebuffer);
	drmCloseBufferHandle(display->fd, screen->handle);
	canvas_free(&screen->canvas);
}

/* Gets the picture from QEMU: rows of four bytes a pixel; the caller frees them. */
static uint8_t *dump_screen(const char *qemu_device)
{
	const char *program = getenv("SCREENDUMP"), *name = "/out/screen.ppm";
	size_t size = image.width * image.height * 4;
	uint8_t *pixels = calloc(1, size), *rgb = malloc(size), *from, *to;
	unsigned int width, height;
	char command[256];
	FILE *file;

	if (!program)
		skip("SCREENDUMP names no program that tells what QEMU shows");
	snprintf(command, sizeof(command), "%s %s %s", program, name,
		 qemu_device);
	if (system(command))
		fail("%s failed", command);
	file = fopen(name, "re");
	if (!file || fscanf(file, "P6 %u %u 255%*c", &width, &height) != 2)
		fail("no picture in %s", name);
	check_eq(width, image.width);
	check_eq(height, image.height);
	check_eq(fread(rgb, 3, image.width * image.height, file),
		 image.width * image.height);
	for (from = rgb, to = pixels; to < pixels + size; from += 3, to += 4)
		to[0] = from[2], to[1] = from[1], to[2] = from[0];
	free(rgb);
	fclose(file);
	unlink(name);
	return pixels;
}

static void check_screen(const struct screen *screen, const char *qemu_device,
			 const char *when)
{
	uint8_t *got = dump_screen(qemu_device);

	image_check(&screen->canvas, &image, got, 0xffffff, when);
	free(got);
}

static void flip_to(const struct display *display, const struct screen *screen)
{
	drmEventContext context = { .version = DRM_EVENT_CONTEXT_VERSION };
	struct pollfd ready = { .fd = display->fd, .events = POLLIN };

	if (drmModePageFlip(display->fd, display->crtc, screen->framebuffer,
			    DRM_MODE_PAGE_FLIP_EVENT, NULL))
		fail("PageFlip: %s", errno_name(errno));
	check_eq(poll(&ready, 1, 60000), 1);
	drmHandleEvent(display->fd, &context);
}

/* Shows a buffer for each of @backings; @operations are those that this takes. */
static void show_screens(const char *driver, const char *qemu_device,
			 const struct backing *backings, int count,
			 const char *operations)
{
	struct screen screens[MAX_BUFFERS];
	struct display display;
	char mode[32];
	int i;

	snprintf(mode, sizeof(mode), "%ux%u", image.width, image.height);
	display_open(&display, card_path(driver), mode);
	for (i = 0; i < count; i++)
		screens[i] = make_screen(&display, driver, backings[i], 1 + i);

	operations_watch();
	if (drmModeSetCrtc(display.fd, display.crtc, screens[0].framebuffer, 0,
			   0, &display.connector, 1, &display.mode))
		fail("SetCrtc: %s", errno_name(errno));
	check_screen(&screens[0], qemu_device, "the display, set up,");
	for (i = 1; i <= count; i++) {
		flip_to(&display, &screens[i % count]);
		check_screen(&screens[i % count], qemu_device,
			     "the display, flipped,");
	}

	/* The CPU draws into all buffers, also into the one that is shown. */
	for (i = 0; i < count; i++) {
		image_draw(&screens[i].canvas, &image, 1 + count + i);
		canvas_put(&screens[i].canvas);
	}
	drmModeDirtyFB(display.fd, screens[0].framebuffer, NULL, 0);
	check_screen(&screens[0], qemu_device, "the display, rewritten,");
	for (i = 1; i < count; i++) {
		flip_to(&display, &screens[i]);
		check_screen(&screens[i], qemu_device,
			     "the display, rewritten and flipped,");
	}

	display_put_back(&display);
	for (i = 0; i < count; i++) {
		operations_check(screens[i].canvas.fd, operations);
		free_screen(&display, &screens[i]);
	}
	close(display.fd);
}

/* Drivers that show a copy of the memory read it through a kernel mapping. */
static void show_copies(const char *driver, const char *qemu_device)
{
	static const struct backing backings[] = {
		{ SHMEM_4K, SHUFFLED },
		{ HUGETLB_2M, IN_ORDER },
		{ SHMEM_2M, SHUFFLED },
		{ ANON_4K, SHUFFLED },
	};

	choose_image(640 * 4);
	show_screens(driver, qemu_device, backings, ARRAY_SIZE(backings),
		     "begin_cpu_access end_cpu_access vmap vunmap");
}

PROMISE(kms_bochs_flips_between_buffers,
	"bochs shows several dma-bufs in turn, also when rewritten", TAG_DRIVER)
{
	show_copies("bochs", "");
}

PROMISE(kms_cirrus_flips_between_buffers,
	"cirrus shows several dma-bufs in turn, also when rewritten", TAG_DRIVER)
{
	show_copies("cirrus", "cirrus");
}

/* virtio-gpu maps the memory once, when it imports. Each buffer has more than 1,024 pages. */
static void show_by_virtio_gpu(const struct backing *backings, int count)
{
	choose_image(9216);
	show_screens("virtio_gpu", "gpu", backings, count,
		     "begin_cpu_access end_cpu_access");
}

PROMISE(nested_virtio_gpu_shows_memfds,
	"virtio-gpu shows several dma-bufs of memfds in turn, also when rewritten", TAG_NESTED)
{
	static const struct backing backings[] = {
		{ SHMEM_4K, IN_ORDER },
		{ SHMEM_2M, IN_ORDER },
	};

	show_by_virtio_gpu(backings, ARRAY_SIZE(backings));
}

PROMISE(nested_virtio_gpu_shows_shuffled_memfds,
	"the same for dma-bufs of more than 1,024 pieces", TAG_PEER | TAG_NESTED)
{
	static const struct backing backings[] = {
		{ SHMEM_4K, SHUFFLED },
		{ SHMEM_2M, SHUFFLED },
	};

	show_by_virtio_gpu(backings, ARRAY_SIZE(backings));
}

PROMISE(nested_virtio_gpu_shows_hugetlb,
	"the same for hugetlb memory, whole and shuffled page by page",
	TAG_PEER | TAG_NESTED)
{
	static const struct backing backings[] = {
		{ HUGETLB_2M, IN_ORDER },
		{ HUGETLB_2M, SHUFFLED },
	};

	show_by_virtio_gpu(backings, ARRAY_SIZE(backings));
}

PROMISE(nested_virtio_gpu_shows_user_memory,
	"the same for private memory, hugetlb and shuffled pages too", TAG_NESTED)
{
	static const struct backing backings[] = {
		{ ANON_4K, IN_ORDER },
		{ ANON_4K, SHUFFLED },
		{ ANON_2M, IN_ORDER },
		{ ANON_HUGETLB_2M, SHUFFLED },
	};

	show_by_virtio_gpu(backings, ARRAY_SIZE(backings));
}
