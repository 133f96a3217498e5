// SPDX-License-Identifier: MIT
/**
 * TEST: dmabufx prime
 * Category: Core
 * Mega feature: General Core features
 * Sub-category: dmabuf
 * Description: DRM drivers import buffers (PRIME), hold them, hand them out again and show
 *	them
 * Functionality: dmabuf test
 */
#include <drm_fourcc.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xf86drm.h>
#include <xf86drmMode.h>

#include "igt.h"
#include "igt_dmabufx.h"
#include "igt_dmabufx_drm.h"

IGT_TEST_DESCRIPTION("Dma-bufs in DRM drivers");

#define SIZE KIB(256)

/* Drivers, and what QEMU calls the card that each drives where there are several. */
static const struct {
	const char *name;
	const char *device;
	bool has_display;
} drivers[] = {
	{ "vgem" },
	{ "bochs", "", true },
	{ "cirrus", "cirrus", true },
	{ "virtio_gpu", "gpu", true },
};

#define DRIVERS (sizeof(drivers) / sizeof(drivers[0]))

static int foreign_dmabuf(void)
{
	int card = dmabufx_card_open("vgem"), dmabuf;
	uint32_t handle, pitch;
	uint64_t size;

	igt_assert_eq(drmModeCreateDumbBuffer(card, 64, 64, 32, 0, &handle, &pitch, &size),
		      0);
	dmabuf = dmabufx_card_export(card, handle);
	close(card);
	return dmabuf;
}

/* Skips where the driver takes nobody's: then it is not for us that it refuses. */
static uint32_t import(int card, int dmabuf)
{
	uint32_t handle;
	int error = __dmabufx_card_import(card, dmabuf, &handle), foreign;

	if (!error)
		return handle;
	foreign = foreign_dmabuf();
	igt_assert_eq(__dmabufx_card_import(card, foreign, &handle), error);
	close(foreign);
	close(card);
	igt_skip("the driver imports no dma-bufs: %s\n", strerror(-error));
}

static ino_t inode_of(int fd)
{
	struct stat stat;

	igt_assert_eq(fstat(fd, &stat), 0);
	return stat.st_ino;
}

static void buffer_init(struct dmabufx_buffer *buf, int device, enum dmabufx_kind kind,
			size_t size)
{
	dmabufx_buffer_init(buf, device, kind, size);
	dmabufx_buffer_write(buf, WAY_MEMORY, 1);
}

/**
 * SUBTEST: import
 * Description: A buffer becomes one handle, however often it is imported, and is as good
 *	as ever when that is gone
 */
static void test_import(int device, const char *driver)
{
	int card = dmabufx_card_open(driver);
	struct dmabufx_buffer buf;
	uint32_t handle;

	buffer_init(&buf, device, SHMEM_4K, SIZE);
	handle = import(card, buf.fd);
	igt_assert_eq_u32(dmabufx_card_import(card, buf.fd), handle);
	dmabufx_card_drop(card, handle);
	dmabufx_buffer_check(&buf, WAY_MMAP, 1);
	/* Once more, and it is the card's end that lets it go. */
	dmabufx_card_import(card, buf.fd);
	close(card);
	dmabufx_buffer_carries(&buf);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: keeps-memory
 * Description: A handle keeps the buffer when its descriptor, memfd and mappings are gone,
 *	and a new descriptor of the handle is the same dma-buf
 */
static void test_keeps_memory(int device, const char *driver)
{
	int card = dmabufx_card_open(driver), fd;
	struct dmabufx_buffer buf;
	uint32_t handle;
	ino_t inode;
	char *map;

	buffer_init(&buf, device, HUGETLB_2M, MIB(2));
	inode = inode_of(buf.fd);
	handle = import(card, buf.fd);
	dmabufx_buffer_fini(&buf);
	fd = dmabufx_card_export(card, handle);
	igt_assert(inode_of(fd) == inode);
	map = dmabufx_mmap(fd, 0, MIB(2));
	dmabufx_pattern_check(map, 1, 0, MIB(2), "mmap");
	dmabufx_card_drop(card, handle);
	close(card);
	close(fd);
	dmabufx_pattern_check(map, 1, 0, MIB(2), "mmap");
	munmap(map, MIB(2));
}

/**
 * SUBTEST: read-only
 * Description: A read-only buffer is refused, or a new descriptor of its handle is for
 *	reading like the first, whatever is asked for
 */
static void test_read_only(int device, const char *driver)
{
	struct dmabufx_mem mem;
	struct dmabufx_segment segment;
	int card = dmabufx_card_open(driver), fd, again, error;
	uint32_t handle;

	dmabufx_mem_init(&mem, SHMEM_4K, SIZE);
	segment = dmabufx_segment(&mem, 0, SIZE);
	fd = dmabufx_create(device, &segment, 1, 0);
	dmabufx_card_drop(card, import(card, fd));
	close(fd);

	fd = dmabufx_create(device, &segment, 1, DMABUFX_CREATE_READ_ONLY);
	error = __dmabufx_card_import(card, fd, &handle);
	if (!error) {
		again = dmabufx_card_export(card, handle);
		igt_assert_eq(fcntl(again, F_GETFL) & O_ACCMODE, O_RDONLY);
		igt_assert_eq(__dmabufx_mmap(again, PROT_READ | PROT_WRITE, MAP_SHARED, 0,
					     PAGE), -EACCES);
		close(again);
		dmabufx_card_drop(card, handle);
	} else {
		igt_assert_eq(error, -EACCES);
	}
	close(fd);
	close(card);
	dmabufx_mem_fini(&mem);
}

/**
 * SUBTEST: beside-another
 * Description: Two cards and the importer have the same buffer at once; who lets it go
 *	takes it from nobody else
 */
static void test_beside_another(int device, const char *driver)
{
	int first = dmabufx_card_open("vgem"), second = dmabufx_card_open(driver), fd;
	struct dmabufx_buffer buf;
	uint32_t handles[2];

	buffer_init(&buf, device, SHMEM_4K, SIZE);
	handles[1] = import(second, buf.fd);
	handles[0] = import(first, buf.fd);
	dmabufx_buffer_write(&buf, WAY_DEVICE, 2);
	dmabufx_card_drop(first, handles[0]);
	close(first);
	dmabufx_buffer_check(&buf, WAY_SG, 2);
	dmabufx_buffer_write(&buf, WAY_VMAP, 3);
	fd = dmabufx_card_export(second, handles[1]);
	igt_assert(inode_of(fd) == inode_of(buf.fd));
	close(fd);
	dmabufx_buffer_check(&buf, WAY_MMAP, 3);
	dmabufx_card_drop(second, handles[1]);
	close(second);
	dmabufx_buffer_fini(&buf);
}

/* Displays */

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

/* The first connector with such a mode, and the first CRTC: there is one. */
static void display_open(struct display *display, const char *driver)
{
	drmModeRes *resources;
	bool found = false;
	int i;

	display->card = dmabufx_card_open(driver);
	resources = drmModeGetResources(display->card);
	igt_require_f(resources && resources->count_crtcs, "the card has no display\n");
	display->crtc = resources->crtcs[0];
	for (i = 0; i < resources->count_connectors && !found; i++) {
		drmModeConnector *connector =
			drmModeGetConnector(display->card, resources->connectors[i]);

		display->connector = resources->connectors[i];
		found = connector && find_mode(display, connector);
		drmModeFreeConnector(connector);
	}
	drmModeFreeResources(resources);
	igt_require_f(found, "no mode of 640x480\n");
}

static int __framebuffer(int card, uint32_t handle, uint32_t offset, uint32_t *framebuffer)
{
	const uint32_t handles[4] = { handle }, pitches[4] = { PITCH }, offsets[4] = { offset };

	return drmModeAddFB2(card, WIDTH, HEIGHT, DRM_FORMAT_XRGB8888, handles, pitches,
			     offsets, framebuffer, 0) ? -errno : 0;
}

/**
 * SUBTEST: framebuffer-size
 * Description: A framebuffer may be as large as the buffer, and not a byte larger
 */
static void test_framebuffer_size(int device, const char *driver)
{
	struct dmabufx_buffer buf;
	struct display display;
	uint32_t handle, framebuffer;

	display_open(&display, driver);
	/* 300 pages. */
	buffer_init(&buf, device, SHMEM_4K, PITCH * HEIGHT);
	igt_assert_eq_u64(buf.size, PITCH * HEIGHT);
	handle = import(display.card, buf.fd);
	igt_assert_eq(__framebuffer(display.card, handle, 0, &framebuffer), 0);
	igt_assert_eq(drmModeRmFB(display.card, framebuffer), 0);
	igt_assert(__framebuffer(display.card, handle, 4, &framebuffer) < 0);
	dmabufx_card_drop(display.card, handle);
	close(display.card);
	dmabufx_buffer_fini(&buf);
}

/* What QEMU shows, one line of it at a time, or all of it unread. */
static void screen_shows(const char *device, uint32_t seed)
{
	static const char name[] = "dmabufx-prime.ppm";
	const char *program = getenv("DMABUFX_SCREENDUMP");
	static uint8_t want[PITCH], got[WIDTH * 3];
	unsigned int width, height, x, y;
	char command[256];
	FILE *file;

	if (!program) {
		igt_info("DMABUFX_SCREENDUMP names no program that shows the screen\n");
		return;
	}
	snprintf(command, sizeof(command), "%s %s %s", program, name, device);
	igt_assert_eq(system(command), 0);
	file = fopen(name, "re");
	igt_assert(file);
	igt_assert_eq(fscanf(file, "P6 %u %u 255%*c", &width, &height), 2);
	igt_assert_eq(width, WIDTH);
	igt_assert_eq(height, HEIGHT);
	for (y = 0; y < HEIGHT; y++) {
		igt_assert_eq(fread(got, 3, WIDTH, file), WIDTH);
		dmabufx_pattern_fill(want, seed, y * PITCH, PITCH);
		for (x = 0; x < WIDTH; x++)
			igt_assert_f(got[3 * x] == want[4 * x + 2] &&
				     got[3 * x + 1] == want[4 * x + 1] &&
				     got[3 * x + 2] == want[4 * x],
				     "pixel %u,%u is not of seed %u\n", x, y, seed);
	}
	fclose(file);
	unlink(name);
}

struct screen {
	struct dmabufx_buffer buf;
	uint32_t handle;
	uint32_t framebuffer;
};

static void screen_init(struct screen *screen, int card, int device,
			enum dmabufx_kind kind)
{
	dmabufx_buffer_init(&screen->buf, device, kind, PITCH * HEIGHT);
	screen->handle = import(card, screen->buf.fd);
	igt_assert_eq(__framebuffer(card, screen->handle, 0, &screen->framebuffer), 0);
}

static void screen_fini(struct screen *screen, int card)
{
	igt_assert_eq(drmModeRmFB(card, screen->framebuffer), 0);
	dmabufx_card_drop(card, screen->handle);
	dmabufx_buffer_fini(&screen->buf);
}

static void draw(struct screen *screen, uint32_t seed)
{
	dmabufx_sync(screen->buf.fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE);
	dmabufx_buffer_write(&screen->buf, WAY_MMAP, seed);
	dmabufx_sync(screen->buf.fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_WRITE);
}

static void flip(const struct display *display, const struct screen *screen)
{
	drmEventContext context = { .version = DRM_EVENT_CONTEXT_VERSION };
	struct pollfd ready = { .fd = display->card, .events = POLLIN };

	igt_assert_eq(drmModePageFlip(display->card, display->crtc, screen->framebuffer,
				      DRM_MODE_PAGE_FLIP_EVENT, NULL), 0);
	igt_assert_eq(poll(&ready, 1, 60000), 1);
	igt_assert_eq(drmHandleEvent(display->card, &context), 0);
}

static const char *device_of(const char *driver)
{
	size_t i = 0;

	while (strcmp(drivers[i].name, driver))
		i++;
	return drivers[i].device;
}

/**
 * SUBTEST: flip
 * Description: A display shows one buffer, then another, of huge pages, then the first one
 *	again, of single pages, with something else in it: pixel by pixel
 */
static void test_flip(int device, const char *driver)
{
	struct screen screens[2];
	struct display display;

	display_open(&display, driver);
	screen_init(&screens[0], display.card, device, SHMEM_4K);
	screen_init(&screens[1], display.card, device, HUGETLB_2M);
	draw(&screens[0], 1);
	draw(&screens[1], 2);
	igt_assert_eq(drmModeSetCrtc(display.card, display.crtc, screens[0].framebuffer, 0, 0,
				     &display.connector, 1, &display.mode), 0);
	flip(&display, &screens[1]);
	screen_shows(device_of(driver), 2);
	draw(&screens[0], 3);
	flip(&display, &screens[0]);
	screen_shows(device_of(driver), 3);
	drmModeSetCrtc(display.card, display.crtc, 0, 0, 0, NULL, 0, NULL);
	screen_fini(&screens[0], display.card);
	screen_fini(&screens[1], display.card);
	close(display.card);
}

static const struct {
	const char *name;
	const char *description;
	void (*run)(int device, const char *driver);
	bool of_displays;
} subtests[] = {
	{ "import", "Check that drivers import buffers", test_import },
	{ "keeps-memory", "Check that handles keep buffers", test_keeps_memory },
	{ "read-only", "Check that drivers do not make buffers writable", test_read_only },
	{ "beside-another", "Check that several drivers may have a buffer",
	  test_beside_another },
	{ "framebuffer-size", "Check that drivers know the size of a buffer",
	  test_framebuffer_size, true },
	{ "flip", "Check that displays show buffers", test_flip, true },
};

static void run_on_drivers(size_t subtest, int device)
{
	struct dmabufx_counters before;
	size_t i;
	int card;

	for (i = 0; i < DRIVERS; i++) {
		card = __dmabufx_card_open(drivers[i].name);
		if (card < 0)
			continue;
		close(card);
		if (subtests[subtest].of_displays && !drivers[i].has_display)
			continue;
		igt_dynamic(drivers[i].name) {
			dmabufx_counters_read(&before);
			subtests[subtest].run(device, drivers[i].name);
			dmabufx_counters_check(&before);
		}
	}
}

int igt_main()
{
	int device = -1;
	size_t i;

	igt_fixture()
		device = dmabufx_open();

	for (i = 0; i < sizeof(subtests) / sizeof(subtests[0]); i++) {
		igt_describe(subtests[i].description);
		igt_subtest_with_dynamic(subtests[i].name)
			run_on_drivers(i, device);
	}

	igt_fixture()
		close(device);
}
