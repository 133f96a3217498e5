// SPDX-License-Identifier: MIT
/*
 * vkms, a display without a screen, writes its picture into another framebuffer. Both are
 * dma-bufs, which it accesses through kernel mappings.
 */
#include <drm_fourcc.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>
#include <xf86drm.h>
#include <xf86drmMode.h>

#define DEFAULT_TAGS (TAG_DRIVER | TAG_VKMS)

#include "canvas.h"
#include "cards.h"
#include "harness.h"
#include "operations.h"
#include "watch.h"

#define WIDTH 640
#define HEIGHT 480

/* vkms adds the offset of a plane twice, so there is none. */
static const struct image shown = {
	.width = WIDTH, .height = HEIGHT, .cpp = 4, .stride = WIDTH * 4 + 64,
};

static const struct image written = {
	.width = WIDTH, .height = HEIGHT, .cpp = 4, .stride = WIDTH * 4 + 192,
	.offset = KIB(8),
};

/* Functions of libdrm return 0, or an error in different ways. */
#define good(call)						\
	do {							\
		if (call)					\
			fail("%s: %s", #call, errno_name(errno));	\
	} while (0)

/* The parts of vkms's only display. */
static struct {
	int fd;
	uint32_t plane;
	uint32_t crtc;
	uint32_t connector;	/* the writeback connector */
	uint32_t mode;		/* blob of the mode */
} vkms;

/* A framebuffer in a canvas. */
struct frame {
	struct canvas *canvas;
	uint32_t handle;
	uint32_t id;
};

/* Finds a property, and its value unless @value is NULL. */
static uint32_t find_property(uint32_t object, const char *name,
			      uint64_t *value)
{
	drmModeObjectProperties *all =
		drmModeObjectGetProperties(vkms.fd, object,
					   DRM_MODE_OBJECT_ANY);
	uint32_t id = 0, i;

	for (i = 0; all && i < all->count_props && !id; i++) {
		drmModePropertyRes *one =
			drmModeGetProperty(vkms.fd, all->props[i]);

		if (!strcmp(one->name, name)) {
			id = one->prop_id;
			if (value)
				*value = all->prop_values[i];
		}
		drmModeFreeProperty(one);
	}
	drmModeFreeObjectProperties(all);
	if (!id)
		fail("vkms has no property %s", name);
	return id;
}

static uint32_t primary_plane(void)
{
	drmModePlaneRes *planes = drmModeGetPlaneResources(vkms.fd);
	uint64_t type;
	uint32_t i;

	for (i = 0; planes && i < planes->count_planes; i++) {
		find_property(planes->planes[i], "type", &type);
		if (type == DRM_PLANE_TYPE_PRIMARY)
			return planes->planes[i];
	}
	fail("vkms has no primary plane");
}

static uint32_t make_mode(const drmModeConnector *connector)
{
	uint32_t blob;
	int i;

	for (i = 0; i < connector->count_modes; i++) {
		if (connector->modes[i].hdisplay != WIDTH ||
		    connector->modes[i].vdisplay != HEIGHT)
			continue;
		good(drmModeCreatePropertyBlob(vkms.fd, &connector->modes[i],
					       sizeof(connector->modes[i]),
					       &blob));
		return blob;
	}
	fail("vkms has no mode of %ux%u", WIDTH, HEIGHT);
}

static void start(void)
{
	drmModeRes *parts;
	int i;

	vkms.fd = card_open("vkms");
	good(drmSetClientCap(vkms.fd, DRM_CLIENT_CAP_ATOMIC, 1));
	good(drmSetClientCap(vkms.fd, DRM_CLIENT_CAP_WRITEBACK_CONNECTORS, 1));
	parts = drmModeGetResources(vkms.fd);
	check(parts && parts->count_crtcs == 1);
	vkms.crtc = parts->crtcs[0];
	for (i = 0; i < parts->count_connectors; i++) {
		drmModeConnector *connector =
			drmModeGetConnector(vkms.fd, parts->connectors[i]);

		if (connector->connector_type == DRM_MODE_CONNECTOR_WRITEBACK) {
			vkms.connector = connector->connector_id;
			vkms.mode = make_mode(connector);
		}
		drmModeFreeConnector(connector);
	}
	drmModeFreeResources(parts);
	if (!vkms.connector)
		fail("vkms does not write back: load it with enable_writeback=1");
	vkms.plane = primary_plane();
}

static struct frame make_frame(struct canvas *canvas, const struct image *image)
{
	const uint32_t pitches[4] = { image->stride };
	const uint32_t offsets[4] = { image->offset };
	struct frame frame = { .canvas = canvas };
	uint32_t handles[4] = { };

	good(drmPrimeFDToHandle(vkms.fd, canvas->fd, &frame.handle));
	handles[0] = frame.handle;
	good(drmModeAddFB2(vkms.fd, WIDTH, HEIGHT, DRM_FORMAT_XRGB8888,
			   handles, pitches, offsets, &frame.id, 0));
	return frame;
}

/* Waits until vkms has let go of the buffer, and frees it. */
static void free_frame(struct frame *frame)
{
	bool detached;

	good(drmModeRmFB(vkms.fd, frame->id));
	good(drmCloseBufferHandle(vkms.fd, frame->handle));
	detached = comes_true(operations_count(frame->canvas->fd, "detach"));
	check(detached);
	operations_check(frame->canvas->fd,
			 "attach map? vmap vunmap unmap? detach begin_cpu_access end_cpu_access");
}

static void set(drmModeAtomicReq *request, uint32_t object, const char *name,
		uint64_t value)
{
	check(drmModeAtomicAddProperty(request, object,
				       find_property(object, name, NULL),
				       value) >= 0);
}

/* Asks vkms to show @from and to write it into @to; @done becomes a fence. */
static int try_write_back(const struct frame *from, const struct frame *to, int *done)
{
	drmModeAtomicReq *request = drmModeAtomicAlloc();
	int ret;

	set(request, vkms.crtc, "MODE_ID", vkms.mode);
	set(request, vkms.crtc, "ACTIVE", 1);
	set(request, vkms.plane, "FB_ID", from->id);
	set(request, vkms.plane, "CRTC_ID", vkms.crtc);
	set(request, vkms.plane, "SRC_W", (uint64_t)WIDTH << 16);
	set(request, vkms.plane, "SRC_H", (uint64_t)HEIGHT << 16);
	set(request, vkms.plane, "CRTC_W", WIDTH);
	set(request, vkms.plane, "CRTC_H", HEIGHT);
	set(request, vkms.connector, "CRTC_ID", vkms.crtc);
	set(request, vkms.connector, "WRITEBACK_FB_ID", to->id);
	set(request, vkms.connector, "WRITEBACK_OUT_FENCE_PTR", (uintptr_t)done);
	ret = drmModeAtomicCommit(vkms.fd, request, DRM_MODE_ATOMIC_ALLOW_MODESET,
				  NULL);
	drmModeAtomicFree(request);
	return ret;
}

/* The same, and waits until vkms has written all of it. */
static void write_back(const struct frame *from, const struct frame *to)
{
	struct pollfd done = { .fd = -1, .events = POLLIN };

	good(try_write_back(from, to, &done.fd));
	check_eq(poll(&done, 1, 60000), 1);
	close(done.fd);
}

/* Draws into @to the expected result: the same colours without transparency. */
static void expect(struct canvas *to, const struct canvas *from)
{
	uint32_t x, y, pixel;

	for (y = 0; y < HEIGHT; y++) {
		const uint8_t *in = image_row(from, &shown, y);
		uint8_t *out = image_row(to, &written, y);

		for (x = 0; x < WIDTH; x++, in += 4, out += 4) {
			memcpy(&pixel, in, 4);
			pixel |= 0xff000000;
			memcpy(out, &pixel, 4);
		}
	}
}

static void carry(struct canvas *from_canvas, struct canvas *to_canvas)
{
	struct frame from, to;
	unsigned int pass;

	start();
	operations_watch();
	from = make_frame(from_canvas, &shown);
	to = make_frame(to_canvas, &written);
	for (pass = 1; pass <= 2; pass++) {
		image_draw(from_canvas, &shown, pass);
		canvas_put(from_canvas);
		expect(to_canvas, from_canvas);
		write_back(&from, &to);
		canvas_check(to_canvas, "writing back");
		canvas_check(from_canvas, "showing");
	}
	free_frame(&from);
	free_frame(&to);
	close(vkms.fd);
}

/* Enough for either image. */
#define SIZE (HEIGHT * (WIDTH * 4 + 192) + 3 * PAGE)

static void show_canvas(struct canvas *canvas)
{
	struct canvas other = canvas_make(SHMEM_4K, SHUFFLED, SIZE);

	carry(canvas, &other);
	canvas_free(&other);
}

PROMISE(kms_vkms_shows,
	"vkms reads every pixel of dma-bufs of any memory, also when rewritten")
{
	with_every_canvas(SIZE, show_canvas);
}

static void write_canvas(struct canvas *canvas)
{
	struct canvas other = canvas_make(SHMEM_4K, SHUFFLED, SIZE);

	carry(&other, canvas);
	canvas_free(&other);
}

PROMISE(kms_vkms_writes_back,
	"vkms writes every pixel into dma-bufs of any memory, and nothing else")
{
	with_every_canvas(SIZE, write_canvas);
}

/* A read-only buffer is neither shown nor written, for both need a kernel mapping. */
static void refuses_read_only(enum memory_kind kind)
{
	struct canvas from_canvas = canvas_make(SHMEM_4K, SHUFFLED, SIZE);
	struct canvas to_canvas = canvas_make(kind, IN_ORDER, SIZE);
	struct frame from, to;
	int done = -1;

	start();
	canvas_make_read_only(&to_canvas);
	from = make_frame(&from_canvas, &shown);
	to = make_frame(&to_canvas, &written);
	check(try_write_back(&from, &to, &done));
	check(try_write_back(&to, &from, &done));
	check_eq(done, -1);
	canvas_check(&to_canvas, "writing back");
	canvas_check(&from_canvas, "writing back");
	good(drmModeRmFB(vkms.fd, to.id));
	good(drmModeRmFB(vkms.fd, from.id));
	close(vkms.fd);
	canvas_free(&to_canvas);
	canvas_free(&from_canvas);
}

PROMISE(kms_vkms_refuses_read_only_buffers,
	"vkms gets no kernel mapping of a read-only buffer, and writes nothing into it")
{
	refuses_read_only(SHMEM_4K);
	refuses_read_only(ANON_4K);
	refuses_read_only(ANON_2M);
}
