// SPDX-License-Identifier: MIT
/*
 * DRM drivers import buffers (PRIME), hold them, export them again and show them. Each
 * subtest has a dynamic subtest for each driver.
 */
#include <drm_fourcc.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xf86drm.h>
#include <xf86drmMode.h>

#include "buffer.h"
#include "cards.h"
#include "harness.h"
#include "igt.h"
#include "igt_dmabufx.h"
#include "memory.h"

#define SIZE KIB(256)

/* A tag of this file: the test needs a driver with a display. */
enum { TAG_DISPLAY = 1 << 30 };

/**
 * struct driver - a driver that may import
 * @name: the name that DRM tells
 * @has_display: whether it shows framebuffers
 * @device: QEMU's name of its card, to tell two displays apart
 */
static const struct driver {
	const char *name;
	bool has_display;
	const char *device;
} drivers[] = {
	{ "vgem" },
	{ "bochs", true, "" },
	{ "cirrus", true, "cirrus" },
	{ "virtio_gpu", true, "gpu" },
};

/* The driver on which the test runs. */
static const struct driver *driver;

/* Imports the dma-buf; skips the test if the driver imports none. */
static uint32_t import(int card, int dma_buf)
{
	uint32_t handle;

	if (drmPrimeFDToHandle(card, dma_buf, &handle))
		card_takes_nothing(card, driver->name, errno);
	return handle;
}

static int export(int card, uint32_t handle)
{
	int dma_buf;

	must(drmPrimeHandleToFD(card, handle, DRM_CLOEXEC | DRM_RDWR, &dma_buf));
	return dma_buf;
}

static void drop(int card, uint32_t handle)
{
	must(drmCloseBufferHandle(card, handle));
}

static ino_t inode_of(int fd)
{
	struct stat stat;

	must(fstat(fd, &stat));
	return stat.st_ino;
}

/* Makes a buffer of all of @mem, with the pattern of pass 1. */
static struct buffer buffer_of(struct memory *mem, struct part *part)
{
	*part = (struct part){ .mem = mem, .size = mem->size };
	return buffer_make(part, 1);
}

PROMISE(import,
	"a buffer has one handle, however often it is imported, and outlives the handle")
{
	int card = card_open(driver->name);
	struct memory mem = memory_make_patterned(SHMEM_4K, SIZE);
	struct part part;
	struct buffer buf = buffer_of(&mem, &part);
	uint32_t handle = import(card, buf.fd);

	check_eq(import(card, buf.fd), handle);
	drop(card, handle);
	buffer_verify(&buf, &way_mmap, 1);
	/* Imports it again; closing the card releases it. */
	import(card, buf.fd);
	must(close(card));
	buffer_carries(&buf, all_ways);
}

PROMISE(keeps_memory,
	"a handle keeps the buffer without descriptor and memfd, and exports the same dma-buf")
{
	int card = card_open(driver->name), fd;
	struct memory mem = memory_make_patterned(HUGETLB_2M, MIB(2));
	struct part part;
	struct buffer buf = buffer_of(&mem, &part);
	ino_t inode = inode_of(buf.fd);
	uint32_t handle = import(card, buf.fd);
	char *map;

	buffer_free(&buf);
	memory_free(&mem);
	fd = export(card, handle);
	check_eq(inode_of(fd), inode);
	map = map_dma_buf(fd, 0, MIB(2));
	pattern_check(map, 1, mem.id, 0, MIB(2), "mmap");
	drop(card, handle);
	must(close(card));
	must(close(fd));
	pattern_check(map, 1, mem.id, 0, MIB(2), "mmap");
}

PROMISE(read_only,
	"a read-only buffer is refused, or its handle exports read-only descriptors only")
{
	int card = card_open(driver->name), fd, again;
	struct memory mem = memory_make(SHMEM_4K, SIZE);
	struct dmabufx_segment all = segment(&mem, 0, SIZE);
	struct dmabufx_create read_only = request(&all, 1, DMABUFX_CREATE_READ_ONLY);
	uint32_t handle;

	drop(card, import(card, create_of(&all, 1)));
	fd = must(try_request(device_open(), &read_only));
	if (drmPrimeFDToHandle(card, fd, &handle)) {
		check_eq(errno, EACCES);
		return;
	}
	again = export(card, handle);
	check_eq(fcntl(again, F_GETFL) & O_ACCMODE, O_RDONLY);
	must_fail(EACCES, mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0));
}

PROMISE(beside_another,
	"two cards and the test importer can use a buffer at the same time")
{
	int first = card_open("vgem"), second = card_open(driver->name);
	struct memory mem = memory_make_patterned(SHMEM_4K, SIZE);
	struct part part;
	struct buffer buf = buffer_of(&mem, &part);
	uint32_t of_second = import(second, buf.fd), of_first = import(first, buf.fd);

	buffer_write(&buf, &way_device, 2);
	drop(first, of_first);
	must(close(first));
	buffer_verify(&buf, &way_sg, 2);
	buffer_write(&buf, &way_vmap, 3);
	check_eq(inode_of(export(second, of_second)), inode_of(buf.fd));
	buffer_verify(&buf, &way_mmap, 3);
}

/* Displays. */

#define WIDTH 640
#define HEIGHT 480
#define PITCH (WIDTH * 4)

struct display {
	int card;
	uint32_t connector;
	uint32_t crtc;
	drmModeModeInfo mode;
};

static bool find_mode(struct display *display, const drmModeConnector *connector)
{
	int i;

	for (i = 0; i < connector->count_modes; i++) {
		display->mode = connector->modes[i];
		if (display->mode.hdisplay == WIDTH && display->mode.vdisplay == HEIGHT)
			return true;
	}
	return false;
}

/* Uses the first connector with such a mode, and the first CRTC, which is the only one. */
static struct display display_open(void)
{
	struct display display = { .card = card_open(driver->name) };
	drmModeRes *resources = drmModeGetResources(display.card);
	bool found = false;
	int i;

	if (!resources || !resources->count_crtcs)
		skip("%s has no display", driver->name);
	display.crtc = resources->crtcs[0];
	for (i = 0; i < resources->count_connectors && !found; i++) {
		drmModeConnector *connector =
			drmModeGetConnector(display.card, resources->connectors[i]);

		display.connector = resources->connectors[i];
		found = connector && find_mode(&display, connector);
		drmModeFreeConnector(connector);
	}
	drmModeFreeResources(resources);
	if (!found)
		skip("%s has no mode of 640x480", driver->name);
	return display;
}

static int add_framebuffer(int card, uint32_t handle, uint32_t offset, uint32_t *framebuffer)
{
	const uint32_t handles[4] = { handle }, pitches[4] = { PITCH }, offsets[4] = { offset };

	return drmModeAddFB2(card, WIDTH, HEIGHT, DRM_FORMAT_XRGB8888, handles, pitches,
			     offsets, framebuffer, 0);
}

PROMISE(framebuffer_size,
	"a framebuffer can be as large as the buffer, and not a byte larger", TAG_DISPLAY)
{
	struct display display = display_open();
	/* 300 pages. */
	struct memory mem = memory_make(SHMEM_4K, PITCH * HEIGHT);
	uint32_t handle = import(display.card, create_range(&mem, 0, mem.size)), framebuffer;

	check_eq(mem.size, PITCH * HEIGHT);
	must(add_framebuffer(display.card, handle, 0, &framebuffer));
	must(drmModeRmFB(display.card, framebuffer));
	check(add_framebuffer(display.card, handle, 4, &framebuffer));
}

/* Compares QEMU's picture with the pattern of this pass, line by line. */
static void screen_shows(const struct memory *mem, unsigned int pass)
{
	static const char name[] = "dmabufx-prime.ppm";
	const char *program = getenv("DMABUFX_SCREENDUMP");
	static uint8_t want[PITCH], got[WIDTH * 3];
	unsigned int width, height, x, y;
	char command[256];
	FILE *file;

	if (!program) {
		note("DMABUFX_SCREENDUMP names no program that shows the screen");
		return;
	}
	snprintf(command, sizeof(command), "%s %s %s", program, name, driver->device);
	check_eq(system(command), 0);
	file = fopen(name, "re");
	check(file);
	check_eq(fscanf(file, "P6 %u %u 255%*c", &width, &height), 2);
	check_eq(width, WIDTH);
	check_eq(height, HEIGHT);
	for (y = 0; y < HEIGHT; y++) {
		check_eq(fread(got, 3, WIDTH, file), WIDTH);
		pattern_fill(want, pass, mem->id, y * PITCH, PITCH);
		for (x = 0; x < WIDTH; x++)
			if (got[3 * x] != want[4 * x + 2] || got[3 * x + 1] != want[4 * x + 1] ||
			    got[3 * x + 2] != want[4 * x])
				fail("pixel %u,%u is not of pass %u", x, y, pass);
	}
	fclose(file);
	unlink(name);
}

struct screen {
	struct memory mem;
	struct part part;
	struct buffer buf;
	uint32_t framebuffer;
};

static void screen_init(struct screen *screen, int card, enum memory_kind kind)
{
	screen->mem = memory_make(kind, PITCH * HEIGHT);
	screen->buf = buffer_of(&screen->mem, &screen->part);
	must(add_framebuffer(card, import(card, screen->buf.fd), 0, &screen->framebuffer));
}

static void draw(struct screen *screen, unsigned int pass)
{
	sync_start(screen->buf.fd, DMA_BUF_SYNC_WRITE);
	buffer_write(&screen->buf, &way_mmap, pass);
	sync_end(screen->buf.fd, DMA_BUF_SYNC_WRITE);
}

static void flip(const struct display *display, const struct screen *screen)
{
	drmEventContext context = { .version = DRM_EVENT_CONTEXT_VERSION };
	struct pollfd ready = { .fd = display->card, .events = POLLIN };

	must(drmModePageFlip(display->card, display->crtc, screen->framebuffer,
			     DRM_MODE_PAGE_FLIP_EVENT, NULL));
	check_eq(poll(&ready, 1, 60000), 1);
	must(drmHandleEvent(display->card, &context));
}

PROMISE(flip,
	"a display shows every pixel of small and huge pages in turn, also after redrawing",
	TAG_DISPLAY)
{
	static struct screen small, huge;
	struct display display = display_open();

	screen_init(&small, display.card, SHMEM_4K);
	screen_init(&huge, display.card, HUGETLB_2M);
	draw(&small, 1);
	draw(&huge, 2);
	must(drmModeSetCrtc(display.card, display.crtc, small.framebuffer, 0, 0,
			    &display.connector, 1, &display.mode));
	flip(&display, &huge);
	screen_shows(&huge.mem, 2);
	draw(&small, 3);
	flip(&display, &small);
	screen_shows(&small.mem, 3);
	must(drmModeSetCrtc(display.card, display.crtc, 0, 0, 0, NULL, 0, NULL));
}

static void run_on_drivers(const struct test *test)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(drivers); i++) {
		driver = &drivers[i];
		if (!card_find(driver->name) ||
		    (test->tags & TAG_DISPLAY && !driver->has_display))
			continue;
		igt_dynamic(driver->name)
			dmabufx_run(test);
	}
}

int igt_main_args("", dmabufx_options, dmabufx_help, dmabufx_option, NULL)
{
	dmabufx_run_dynamic(run_on_drivers);
}
