// SPDX-License-Identifier: MIT
/*
 * OpenGL ES through EGL samples dma-bufs and renders into them. It uses nearest neighbours
 * and one texel for each pixel, so that every bit has to arrive.
 */
#include <drm_fourcc.h>
#include <EGL/egl.h>
#include <EGL/eglext.h>
#include <gbm.h>
#include <GLES2/gl2.h>
#include <GLES2/gl2ext.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "buffer.h"
#include "canvas.h"
#include "cards.h"
#include "harness.h"
#include "operations.h"

/* Neither powers of two, nor multiples of a driver's tiles. */
#define WIDTH 317
#define HEIGHT 203

/* Operations of sampling: the CPU's own writes, and the driver's mapping. */
#define SAMPLING "begin_cpu_access end_cpu_access mmap fault"

static const char vertex_shader[] =
	"attribute vec2 corner;\n"
	"varying highp vec2 texel;\n"
	"void main() {\n"
	"	gl_Position = vec4(corner * 2.0 - 1.0, 0.0, 1.0);\n"
	"	texel = corner;\n"
	"}\n";

static const char fragment_shader[] =
	"%s\n"
	"precision highp float;\n"
	"uniform %s picture;\n"
	"varying highp vec2 texel;\n"
	"void main() { gl_FragColor = texture2D(picture, texel); }\n";

static void check_gl(const char *what)
{
	GLenum error = glGetError();

	if (error != GL_NO_ERROR)
		fail("%s: OpenGL error %#x", what, error);
}

static void *egl_function(const char *name)
{
	void *function = eglGetProcAddress(name);

	if (!function)
		fail("EGL has no %s", name);
	return function;
}

static EGLDisplay start_egl(EGLenum platform, void *native)
{
	static const EGLint config_wanted[] = {
		EGL_RENDERABLE_TYPE, EGL_OPENGL_ES2_BIT,
		EGL_SURFACE_TYPE, 0,
		EGL_NONE
	};
	static const EGLint context_wanted[] = {
		EGL_CONTEXT_MAJOR_VERSION, 2,
		EGL_NONE
	};
	EGLDisplay display = eglGetPlatformDisplay(platform, native, NULL);
	EGLContext context;
	EGLConfig config;
	EGLint count = 0;

	if (display == EGL_NO_DISPLAY || !eglInitialize(display, NULL, NULL))
		fail("EGL does not start: error %#x", eglGetError());
	eglBindAPI(EGL_OPENGL_ES_API);
	if (!eglChooseConfig(display, config_wanted, &config, 1, &count) ||
	    !count)
		fail("EGL has no configuration: error %#x", eglGetError());
	context = eglCreateContext(display, config, EGL_NO_CONTEXT,
				   context_wanted);
	if (context == EGL_NO_CONTEXT ||
	    !eglMakeCurrent(display, EGL_NO_SURFACE, EGL_NO_SURFACE, context))
		fail("no OpenGL ES context: error %#x", eglGetError());
	note("%s, %s", glGetString(GL_RENDERER), glGetString(GL_VERSION));
	return display;
}

static EGLDisplay start_surfaceless(void)
{
	return start_egl(EGL_PLATFORM_SURFACELESS_MESA, EGL_DEFAULT_DISPLAY);
}

static EGLImage create_image(EGLDisplay display, const EGLAttrib *attributes)
{
	EGLImage image = eglCreateImage(display, EGL_NO_CONTEXT,
					EGL_LINUX_DMA_BUF_EXT, NULL,
					attributes);

	if (image == EGL_NO_IMAGE)
		fail("EGL does not import the dma-buf: error %#x",
		     eglGetError());
	return image;
}

static EGLImage import(EGLDisplay display, int dma_buf,
		       const struct image *image, uint32_t format)
{
	const EGLAttrib attributes[] = {
		EGL_WIDTH, image->width,
		EGL_HEIGHT, image->height,
		EGL_LINUX_DRM_FOURCC_EXT, format,
		EGL_DMA_BUF_PLANE0_FD_EXT, dma_buf,
		EGL_DMA_BUF_PLANE0_OFFSET_EXT, image->offset,
		EGL_DMA_BUF_PLANE0_PITCH_EXT, image->stride,
		EGL_NONE
	};

	return create_image(display, attributes);
}

static EGLImage import_linear(EGLDisplay display, int dma_buf,
			      const struct image *image, uint32_t format)
{
	const EGLAttrib attributes[] = {
		EGL_WIDTH, image->width,
		EGL_HEIGHT, image->height,
		EGL_LINUX_DRM_FOURCC_EXT, format,
		EGL_DMA_BUF_PLANE0_FD_EXT, dma_buf,
		EGL_DMA_BUF_PLANE0_OFFSET_EXT, image->offset,
		EGL_DMA_BUF_PLANE0_PITCH_EXT, image->stride,
		EGL_DMA_BUF_PLANE0_MODIFIER_LO_EXT, 0, /* linear */
		EGL_DMA_BUF_PLANE0_MODIFIER_HI_EXT, 0,
		EGL_NONE
	};

	return create_image(display, attributes);
}

static EGLImage import_nv12(EGLDisplay display, int dma_buf,
			    const struct image *y, const struct image *uv)
{
	const EGLAttrib attributes[] = {
		EGL_WIDTH, y->width,
		EGL_HEIGHT, y->height,
		EGL_LINUX_DRM_FOURCC_EXT, DRM_FORMAT_NV12,
		EGL_DMA_BUF_PLANE0_FD_EXT, dma_buf,
		EGL_DMA_BUF_PLANE0_OFFSET_EXT, y->offset,
		EGL_DMA_BUF_PLANE0_PITCH_EXT, y->stride,
		EGL_DMA_BUF_PLANE1_FD_EXT, dma_buf,
		EGL_DMA_BUF_PLANE1_OFFSET_EXT, uv->offset,
		EGL_DMA_BUF_PLANE1_PITCH_EXT, uv->stride,
		EGL_YUV_COLOR_SPACE_HINT_EXT, EGL_ITU_REC601_EXT,
		EGL_SAMPLE_RANGE_HINT_EXT, EGL_YUV_NARROW_RANGE_EXT,
		EGL_NONE
	};

	return create_image(display, attributes);
}

static void new_texture(GLenum target)
{
	GLuint texture;

	glGenTextures(1, &texture);
	glBindTexture(target, texture);
	glTexParameteri(target, GL_TEXTURE_MIN_FILTER, GL_NEAREST);
	glTexParameteri(target, GL_TEXTURE_MAG_FILTER, GL_NEAREST);
	glTexParameteri(target, GL_TEXTURE_WRAP_S, GL_CLAMP_TO_EDGE);
	glTexParameteri(target, GL_TEXTURE_WRAP_T, GL_CLAMP_TO_EDGE);
}

static void use_image(EGLImage image, GLenum target)
{
	PFNGLEGLIMAGETARGETTEXTURE2DOESPROC image_target_texture =
		egl_function("glEGLImageTargetTexture2DOES");

	new_texture(target);
	image_target_texture(target, image);
	check_gl("an image becomes a texture");
}

/* From now on, OpenGL draws into a new frame buffer. */
static void new_frame(void)
{
	GLuint frame;

	glGenFramebuffers(1, &frame);
	glBindFramebuffer(GL_FRAMEBUFFER, frame);
}

static void check_frame(void)
{
	GLenum status = glCheckFramebufferStatus(GL_FRAMEBUFFER);

	if (status != GL_FRAMEBUFFER_COMPLETE)
		fail("the frame cannot be drawn into: %#x", status);
}

static void target_frame(uint32_t width, uint32_t height)
{
	GLuint storage;

	new_frame();
	glGenRenderbuffers(1, &storage);
	glBindRenderbuffer(GL_RENDERBUFFER, storage);
	glRenderbufferStorage(GL_RENDERBUFFER, GL_RGBA8_OES, width, height);
	glFramebufferRenderbuffer(GL_FRAMEBUFFER, GL_COLOR_ATTACHMENT0,
				  GL_RENDERBUFFER, storage);
	check_frame();
}

static void add_shader(GLuint program, GLenum type, const char *source)
{
	GLuint shader = glCreateShader(type);

	glShaderSource(shader, 1, &source, NULL);
	glCompileShader(shader);
	glAttachShader(program, shader);
}

static GLuint make_program(GLenum target)
{
	bool external = target == GL_TEXTURE_EXTERNAL_OES;
	GLuint program = glCreateProgram();
	char source[512], log[512] = "";
	GLint good;

	snprintf(source, sizeof(source), fragment_shader, external ?
		 "#extension GL_OES_EGL_image_external : require" : "",
		 external ? "samplerExternalOES" : "sampler2D");
	add_shader(program, GL_VERTEX_SHADER, vertex_shader);
	add_shader(program, GL_FRAGMENT_SHADER, source);
	glBindAttribLocation(program, 0, "corner");
	glLinkProgram(program);
	glGetProgramiv(program, GL_LINK_STATUS, &good);
	glGetProgramInfoLog(program, sizeof(log), NULL, log);
	if (!good)
		fail("the driver takes no shaders: %s", log);
	return program;
}

static void draw(GLenum target, uint32_t width, uint32_t height)
{
	static const GLfloat corners[] = { 0, 0, 1, 0, 0, 1, 1, 1 };
	static GLuint program;
	static GLenum made_for;

	if (made_for != target) {
		program = make_program(target);
		made_for = target;
	}
	glUseProgram(program);
	glViewport(0, 0, width, height);
	glVertexAttribPointer(0, 2, GL_FLOAT, GL_FALSE, 0, corners);
	glEnableVertexAttribArray(0);
	glDrawArrays(GL_TRIANGLE_STRIP, 0, 4);
	glFinish();
	check_gl("drawing");
}

static uint8_t *read_frame(uint32_t width, uint32_t height)
{
	uint8_t *pixels = malloc((size_t)width * height * 4);

	glReadPixels(0, 0, width, height, GL_RGBA, GL_UNSIGNED_BYTE, pixels);
	check_gl("reading back");
	return pixels;
}

/* Samples two pictures in the same memory; the second needs no new import. */
static void sample_twice(struct canvas *canvas, const struct image *image,
			 GLenum target)
{
	unsigned int pass;

	for (pass = 1; pass <= 2; pass++) {
		uint8_t *got;

		image_draw(canvas, image, pass);
		canvas_put(canvas);
		draw(target, image->width, image->height);
		got = read_frame(image->width, image->height);
		image_check(canvas, image, got, ~0, "OpenGL");
		free(got);
	}
}

static const struct image tight = {
	.width = WIDTH, .height = HEIGHT, .stride = WIDTH * 4, .cpp = 4,
};

static size_t image_end(const struct image *image)
{
	return image->offset + (size_t)image->height * image->stride;
}

static EGLDisplay the_display;
static GLenum the_target;

static void sample_canvas(struct canvas *canvas)
{
	EGLImage image;

	operations_watch();
	image = import(the_display, canvas->fd, &tight, DRM_FORMAT_ABGR8888);
	use_image(image, the_target);
	sample_twice(canvas, &tight, the_target);
	operations_check(canvas->fd, SAMPLING);
	eglDestroyImage(the_display, image);
}

static void sample_every_memory(GLenum target)
{
	the_display = start_surfaceless();
	the_target = target;
	target_frame(WIDTH, HEIGHT);
	with_every_canvas(image_end(&tight), sample_canvas);
	eglTerminate(the_display);
}

PROMISE(gl_samples_texture_2d,
	"a dma-buf of any memory works as a 2D texture, also when rewritten",
	TAG_CARDLESS)
{
	sample_every_memory(GL_TEXTURE_2D);
}

PROMISE(gl_samples_external_texture,
	"a dma-buf of any memory works as an external texture, also when rewritten", TAG_CARDLESS)
{
	sample_every_memory(GL_TEXTURE_EXTERNAL_OES);
}

PROMISE(gl_samples_offset_and_padded_rows,
	"a texture begins inside a page, and its rows end before the next begins",
	TAG_CARDLESS)
{
	const struct image image = {
		.width = WIDTH, .height = HEIGHT, .cpp = 4,
		.stride = 1536, .offset = 3 * PAGE + 832,
	};
	struct canvas canvas = canvas_make(SHMEM_4K, SHUFFLED,
					   image_end(&image) + PAGE);

	the_display = start_surfaceless();
	target_frame(WIDTH, HEIGHT);
	operations_watch();
	use_image(import(the_display, canvas.fd, &image, DRM_FORMAT_ABGR8888),
		  GL_TEXTURE_2D);
	sample_twice(&canvas, &image, GL_TEXTURE_2D);
	operations_check(canvas.fd, SAMPLING);
	canvas_check(&canvas, "sampling");
	eglTerminate(the_display);
	canvas_free(&canvas);
}

PROMISE(gl_takes_linear_modifier,
	"EGL lists the linear modifier, and imports with it", TAG_CARDLESS)
{
	PFNEGLQUERYDMABUFMODIFIERSEXTPROC query =
		egl_function("eglQueryDmaBufModifiersEXT");
	struct canvas canvas = canvas_make(SHMEM_4K, SHUFFLED,
					   image_end(&tight));
	EGLuint64KHR modifiers[64];
	EGLBoolean external[64];
	EGLint count = 0, i;
	bool linear = false;

	the_display = start_surfaceless();
	check(query(the_display, DRM_FORMAT_ABGR8888, 64, modifiers, external,
		    &count));
	for (i = 0; i < count; i++)
		linear |= modifiers[i] == DRM_FORMAT_MOD_LINEAR;
	check(linear);

	target_frame(WIDTH, HEIGHT);
	operations_watch();
	use_image(import_linear(the_display, canvas.fd, &tight,
				DRM_FORMAT_ABGR8888), GL_TEXTURE_2D);
	sample_twice(&canvas, &tight, GL_TEXTURE_2D);
	operations_check(canvas.fd, SAMPLING);
	eglTerminate(the_display);
	canvas_free(&canvas);
}

static int clamp(float value)
{
	return value < 0 ? 0 : value > 255 ? 255 : value + 0.5f;
}

/* ITU-R BT.601, limited range; drivers round as they like. */
static void check_nv12(const struct canvas *canvas, const struct image *luma,
		       const struct image *chroma, const uint8_t *got)
{
	uint32_t x, y;
	int i;

	for (y = 0; y < luma->height; y++) {
		const uint8_t *lumas = image_row(canvas, luma, y);
		const uint8_t *chromas = image_row(canvas, chroma, y / 2);

		for (x = 0; x < luma->width; x++, got += 4) {
			float l = 1.164384f * (lumas[x] - 16);
			float u = chromas[x & ~1u] - 128;
			float v = chromas[x | 1] - 128;
			const int want[] = {
				clamp(l + 1.596027f * v),
				clamp(l - 0.391762f * u - 0.812968f * v),
				clamp(l + 2.017232f * u),
			};

			for (i = 0; i < 3; i++)
				if (abs(got[i] - want[i]) > 2)
					fail("NV12: %d instead of %d in channel %d at x=%u y=%u",
					     got[i], want[i], i, x, y);
		}
	}
}

PROMISE(gl_samples_nv12_of_one_buffer,
	"luma and chroma of a picture can be two planes of one dma-buf", TAG_CARDLESS)
{
	const struct image luma = {
		.width = 318, .height = 204, .cpp = 1, .stride = 384,
		.offset = 64,
	};
	const struct image chroma = {
		.width = 159, .height = 102, .cpp = 2, .stride = 512,
		.offset = 21 * PAGE + 128,
	};
	struct canvas canvas = canvas_make(SHMEM_4K, SHUFFLED,
					   image_end(&chroma));
	unsigned int pass;

	check_le(image_end(&luma), chroma.offset);
	the_display = start_surfaceless();
	target_frame(luma.width, luma.height);
	operations_watch();
	use_image(import_nv12(the_display, canvas.fd, &luma, &chroma),
		  GL_TEXTURE_EXTERNAL_OES);
	for (pass = 1; pass <= 2; pass++) {
		uint8_t *got;

		image_draw(&canvas, &luma, pass);
		image_draw(&canvas, &chroma, pass + 2);
		canvas_put(&canvas);
		draw(GL_TEXTURE_EXTERNAL_OES, luma.width, luma.height);
		got = read_frame(luma.width, luma.height);
		check_nv12(&canvas, &luma, &chroma, got);
		free(got);
	}
	operations_check(canvas.fd, SAMPLING);
	eglTerminate(the_display);
	canvas_free(&canvas);
}

/* Drivers need rows of a multiple of 64 bytes to render. */
static const struct image aligned = {
	.width = WIDTH, .height = HEIGHT, .cpp = 4,
	.stride = (WIDTH * 4 + 63) / 64 * 64, .offset = KIB(8),
};

/* Renders @pass into the buffer, and draws it into @canvas for comparison. */
static void render(struct canvas *canvas, const struct image *image,
		   unsigned int pass)
{
	uint8_t *rows = malloc((size_t)image->width * image->height * 4);
	uint32_t y;

	image_draw(canvas, image, pass);
	for (y = 0; y < image->height; y++)
		memcpy(rows + (size_t)y * image->width * 4,
		       image_row(canvas, image, y), image->width * 4);
	new_texture(GL_TEXTURE_2D);
	glTexImage2D(GL_TEXTURE_2D, 0, GL_RGBA, image->width, image->height, 0,
		     GL_RGBA, GL_UNSIGNED_BYTE, rows);
	draw(GL_TEXTURE_2D, image->width, image->height);
	free(rows);
}

/* From now on, OpenGL draws into a texture or a renderbuffer of the image. */
static void target_image(EGLImage image, bool texture)
{
	PFNGLEGLIMAGETARGETRENDERBUFFERSTORAGEOESPROC image_target_storage =
		egl_function("glEGLImageTargetRenderbufferStorageOES");
	GLint texture_name;
	GLuint storage;

	new_frame();
	if (texture) {
		use_image(image, GL_TEXTURE_2D);
		glGetIntegerv(GL_TEXTURE_BINDING_2D, &texture_name);
		glFramebufferTexture2D(GL_FRAMEBUFFER, GL_COLOR_ATTACHMENT0,
				       GL_TEXTURE_2D, texture_name, 0);
	} else {
		glGenRenderbuffers(1, &storage);
		glBindRenderbuffer(GL_RENDERBUFFER, storage);
		image_target_storage(GL_RENDERBUFFER, image);
		glFramebufferRenderbuffer(GL_FRAMEBUFFER, GL_COLOR_ATTACHMENT0,
					  GL_RENDERBUFFER, storage);
	}
	check_frame();
}

static bool into_texture;

static void render_canvas(struct canvas *canvas)
{
	EGLImage image;
	uint8_t *got;

	operations_watch();
	image = import(the_display, canvas->fd, &aligned, DRM_FORMAT_ABGR8888);
	target_image(image, into_texture);
	render(canvas, &aligned, 1);
	canvas_check(canvas, "rendering");

	/* Between two renderings the CPU writes; OpenGL reads this and draws over it. */
	image_draw(canvas, &aligned, 2);
	canvas_put(canvas);
	got = read_frame(aligned.width, aligned.height);
	image_check(canvas, &aligned, got, ~0, "glReadPixels");
	free(got);
	render(canvas, &aligned, 3);
	canvas_check(canvas, "rendering again");
	operations_check(canvas->fd, SAMPLING);
	eglDestroyImage(the_display, image);
}

PROMISE(gl_renders_into_texture,
	"rendering into a texture writes the right pixels into any memory, and no others",
	TAG_CARDLESS)
{
	into_texture = true;
	the_display = start_surfaceless();
	with_every_canvas(image_end(&aligned) + PAGE, render_canvas);
	eglTerminate(the_display);
}

PROMISE(gl_renders_into_renderbuffer,
	"rendering into a renderbuffer writes the right pixels, too",
	TAG_CARDLESS)
{
	into_texture = false;
	the_display = start_surfaceless();
	with_every_canvas(image_end(&aligned) + PAGE, render_canvas);
	eglTerminate(the_display);
}

/* GBM gives the dma-buf to the kernel driver of a card, which attaches to it. */
static struct gbm_bo *gbm_import(struct gbm_device *gbm, int dma_buf,
				 const struct image *image)
{
	struct gbm_import_fd_modifier_data data = {
		.width = image->width,
		.height = image->height,
		.format = GBM_FORMAT_ABGR8888,
		.num_fds = 1,
		.fds = { dma_buf },
		.strides = { image->stride },
		.offsets = { image->offset },
		.modifier = DRM_FORMAT_MOD_LINEAR,
	};
	struct gbm_bo *bo = gbm_bo_import(gbm, GBM_BO_IMPORT_FD_MODIFIER, &data,
					  GBM_BO_USE_RENDERING);

	if (!bo)
		fail("GBM does not import the dma-buf: %s", errno_name(errno));
	return bo;
}

/* gbm_bo_map() must show picture @pass after the CPU has written it. */
static void check_gbm_map(struct canvas *canvas, struct gbm_bo *bo,
			  const struct image *image, unsigned int pass)
{
	uint32_t row = image->width * 4, stride, y;
	uint8_t *rows = malloc(image->height * row), *map;
	void *handle = NULL;

	image_draw(canvas, image, pass);
	canvas_put(canvas);
	map = gbm_bo_map(bo, 0, 0, image->width, image->height,
			 GBM_BO_TRANSFER_READ, &stride, &handle);
	if (!map)
		fail("gbm_bo_map: %s", errno_name(errno));
	for (y = 0; y < image->height; y++)
		memcpy(rows + y * row, map + y * stride, row);
	image_check(canvas, image, rows, ~0, "gbm_bo_map()");
	gbm_bo_unmap(bo, handle);
	free(rows);
}

PROMISE(gbm_samples_maps_and_renders,
	"a dma-buf as a buffer object of GBM can be sampled, mapped, and rendered into")
{
	struct canvas canvas = canvas_make(SHMEM_4K, SHUFFLED,
					   image_end(&aligned) + PAGE);
	int card = card_open("vgem");
	struct gbm_device *gbm = gbm_create_device(card);
	struct gbm_bo *bo;
	EGLImage image;

	check(gbm);
	the_display = start_egl(EGL_PLATFORM_GBM_KHR, gbm);
	operations_watch();
	bo = gbm_import(gbm, canvas.fd, &aligned);
	image = eglCreateImage(the_display, EGL_NO_CONTEXT,
			       EGL_NATIVE_PIXMAP_KHR, bo, NULL);
	if (image == EGL_NO_IMAGE)
		fail("EGL does not take the buffer object: error %#x",
		     eglGetError());
	target_frame(WIDTH, HEIGHT);
	use_image(image, GL_TEXTURE_2D);
	sample_twice(&canvas, &aligned, GL_TEXTURE_2D);
	check_gbm_map(&canvas, bo, &aligned, 3);
	target_image(image, true);
	render(&canvas, &aligned, 4);
	canvas_check(&canvas, "rendering");
	operations_check(canvas.fd, SAMPLING " attach map?");

	eglDestroyImage(the_display, image);
	gbm_bo_destroy(bo);
	eglTerminate(the_display);
	gbm_device_destroy(gbm);
	close(card);
	canvas_free(&canvas);
}

PROMISE(allocator_llvmpipe,
	"a texture that llvmpipe exports is dmabufx's memory, and both sides see the same data",
	TAG_CARDLESS)
{
	PFNEGLEXPORTDMABUFIMAGEMESAPROC export =
		egl_function("eglExportDMABUFImageMESA");
	struct canvas canvas = canvas_make(SHMEM_4K, IN_ORDER,
					   image_end(&tight));
	EGLint stride, offset;
	struct image image = tight;
	uint8_t *map, *row, *got;
	uint32_t y;
	EGLImage egl_image;
	GLint texture;
	int dma_buf;

	if (access("/dev/udmabuf", R_OK | W_OK))
		skip("nobody serves /dev/udmabuf");
	operations_watch();
	the_display = start_surfaceless();
	target_frame(WIDTH, HEIGHT);
	new_texture(GL_TEXTURE_2D);
	glGetIntegerv(GL_TEXTURE_BINDING_2D, &texture);
	glTexImage2D(GL_TEXTURE_2D, 0, GL_RGBA, WIDTH, HEIGHT, 0, GL_RGBA,
		     GL_UNSIGNED_BYTE, NULL);
	egl_image = eglCreateImage(the_display, eglGetCurrentContext(),
				   EGL_GL_TEXTURE_2D,
				   (EGLClientBuffer)(uintptr_t)texture, NULL);
	check(egl_image != EGL_NO_IMAGE);
	if (!export(the_display, egl_image, &dma_buf, &stride, &offset))
		fail("EGL does not export a texture: error %#x", eglGetError());
	check_eq(operations_count(dma_buf, "create"), 1);
	check_le(image.width * 4, stride);
	map = (uint8_t *)map_dma_buf(dma_buf, 0, lseek(dma_buf, 0, SEEK_END));

	/* Our mapping shows what OpenGL writes ... */
	image_draw(&canvas, &image, 1);
	glTexSubImage2D(GL_TEXTURE_2D, 0, 0, 0, WIDTH, HEIGHT, GL_RGBA,
			GL_UNSIGNED_BYTE, canvas.want);
	glFinish();
	for (y = 0; y < HEIGHT; y++) {
		row = map + offset + y * stride;
		if (memcmp(row, image_row(&canvas, &image, y), WIDTH * 4))
			fail("row %u of llvmpipe's texture is wrong", y);
	}
	/* ... and OpenGL draws with what our mapping writes. */
	image_draw(&canvas, &image, 2);
	for (y = 0; y < HEIGHT; y++) {
		row = map + offset + y * stride;
		memcpy(row, image_row(&canvas, &image, y), WIDTH * 4);
	}
	draw(GL_TEXTURE_2D, WIDTH, HEIGHT);
	got = read_frame(WIDTH, HEIGHT);
	image_check(&canvas, &image, got, ~0, "llvmpipe's texture");
	free(got);

	close(dma_buf);
	eglDestroyImage(the_display, egl_image);
	eglTerminate(the_display);
	canvas_free(&canvas);
}
