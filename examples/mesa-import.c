// SPDX-License-Identifier: MIT
/*
 * mesa-import: uses a picture in a memfd as an OpenGL ES texture, without a copy.
 *
 * Shows   memfd -> dma-buf -> EGLImage -> external texture; the texture is drawn mirrored, read
 *         back and compared pixel by pixel. Then another picture is written to the memfd, and
 *         the same EGLImage shows it without a second import.
 * Needs   /dev/dmabufx (or --device /dev/udmabuf) and Mesa with EGL_MESA_platform_surfaceless
 *         and EGL_EXT_image_dma_buf_import. No window system, and with llvmpipe no GPU.
 * Run     mesa-import [--device PATH | --dmabuf FD] [--out DIR]
 *         LIBGL_ALWAYS_SOFTWARE=1 mesa-import     uses llvmpipe even if there is a GPU
 */
#include <err.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include <EGL/egl.h>
#include <EGL/eglext.h>
#include <GLES2/gl2.h>
#include <GLES2/gl2ext.h>

#include "memfd-dmabuf.h"
#include "number.h"
#include "testcard.h"

#define WIDTH 640
#define HEIGHT 480
#define DRM_FORMAT_XRGB8888 0x34325258	/* "XR24", as in drm_fourcc.h */

static const char vertex_shader[] =
	"attribute vec2 corner;\n"
	"varying highp vec2 texel;\n"
	"void main() {\n"
	"	gl_Position = vec4(corner * 2.0 - 1.0, 0.0, 1.0);\n"
	"	texel = vec2(1.0 - corner.x, corner.y);	/* mirrors left and right */\n"
	"}\n";

static const char fragment_shader[] =
	"#extension GL_OES_EGL_image_external : require\n"
	"precision mediump float;\n"
	"uniform samplerExternalOES picture;\n"
	"varying highp vec2 texel;\n"
	"void main() { gl_FragColor = texture2D(picture, texel); }\n";

/* Makes an OpenGL ES 2 context without a window current. */
static EGLDisplay start_egl(void)
{
	static const EGLint config_wanted[] = {
		EGL_RENDERABLE_TYPE, EGL_OPENGL_ES2_BIT,
		EGL_SURFACE_TYPE, EGL_PBUFFER_BIT,
		EGL_NONE
	};
	static const EGLint context_wanted[] = { EGL_CONTEXT_MAJOR_VERSION, 2, EGL_NONE };
	EGLDisplay display;
	EGLContext context;
	EGLConfig config;
	EGLint count = 0;

	display = eglGetPlatformDisplay(EGL_PLATFORM_SURFACELESS_MESA, EGL_DEFAULT_DISPLAY, NULL);
	if (display == EGL_NO_DISPLAY || !eglInitialize(display, NULL, NULL))
		errx(EXIT_FAILURE, "no surfaceless EGL display: error 0x%x\n"
		     "  Is Mesa there? Try LIBGL_ALWAYS_SOFTWARE=1 too, which needs no GPU.",
		     eglGetError());
	eglBindAPI(EGL_OPENGL_ES_API);
	if (!eglChooseConfig(display, config_wanted, &config, 1, &count) || !count)
		errx(EXIT_FAILURE, "no EGL configuration for OpenGL ES 2: error 0x%x",
		     eglGetError());
	context = eglCreateContext(display, config, EGL_NO_CONTEXT, context_wanted);
	if (context == EGL_NO_CONTEXT ||
	    !eglMakeCurrent(display, EGL_NO_SURFACE, EGL_NO_SURFACE, context))
		errx(EXIT_FAILURE, "no OpenGL ES 2 context: EGL error 0x%x", eglGetError());
	printf("driver: %s, %s\n", glGetString(GL_RENDERER), glGetString(GL_VERSION));
	return display;
}

/* Without a modifier, the layout is linear: rows follow one another in memory. */
static EGLImage import_dmabuf(EGLDisplay display, int dmabuf, const struct picture *layout)
{
	const EGLAttrib attributes[] = {
		EGL_WIDTH, layout->width,
		EGL_HEIGHT, layout->height,
		EGL_LINUX_DRM_FOURCC_EXT, DRM_FORMAT_XRGB8888,
		EGL_DMA_BUF_PLANE0_FD_EXT, dmabuf,
		EGL_DMA_BUF_PLANE0_OFFSET_EXT, 0,
		EGL_DMA_BUF_PLANE0_PITCH_EXT, layout->stride,
		EGL_NONE
	};
	EGLImage image = eglCreateImage(display, EGL_NO_CONTEXT, EGL_LINUX_DMA_BUF_EXT, NULL,
					attributes);

	if (image == EGL_NO_IMAGE)
		errx(EXIT_FAILURE, "the driver does not take the dma-buf: EGL error 0x%x\n"
		     "  Not every driver can: try LIBGL_ALWAYS_SOFTWARE=1, llvmpipe of Mesa 25 can.",
		     eglGetError());
	return image;
}

/* Makes @image the texture to draw with. */
static void texture_from_image(EGLImage image)
{
	PFNGLEGLIMAGETARGETTEXTURE2DOESPROC image_target_texture =
		(void *)eglGetProcAddress("glEGLImageTargetTexture2DOES");
	GLuint texture;

	glGenTextures(1, &texture);
	glBindTexture(GL_TEXTURE_EXTERNAL_OES, texture);
	image_target_texture(GL_TEXTURE_EXTERNAL_OES, image);
	glTexParameteri(GL_TEXTURE_EXTERNAL_OES, GL_TEXTURE_MIN_FILTER, GL_NEAREST);
	glTexParameteri(GL_TEXTURE_EXTERNAL_OES, GL_TEXTURE_MAG_FILTER, GL_NEAREST);
}

/* Makes a frame of the same size the target of draws. */
static void target_frame(void)
{
	GLuint texture, frame;

	glGenTextures(1, &texture);
	glBindTexture(GL_TEXTURE_2D, texture);
	glTexImage2D(GL_TEXTURE_2D, 0, GL_RGBA, WIDTH, HEIGHT, 0, GL_RGBA, GL_UNSIGNED_BYTE, NULL);
	glGenFramebuffers(1, &frame);
	glBindFramebuffer(GL_FRAMEBUFFER, frame);
	glFramebufferTexture2D(GL_FRAMEBUFFER, GL_COLOR_ATTACHMENT0, GL_TEXTURE_2D, texture, 0);
	if (glCheckFramebufferStatus(GL_FRAMEBUFFER) != GL_FRAMEBUFFER_COMPLETE)
		errx(EXIT_FAILURE, "the driver cannot draw into an RGBA texture");
	glViewport(0, 0, WIDTH, HEIGHT);
}

static void add_shader(GLuint program, GLenum type, const char *source)
{
	GLuint shader = glCreateShader(type);

	glShaderSource(shader, 1, &source, NULL);
	glCompileShader(shader);
	glAttachShader(program, shader);
}

static void use_shaders(void)
{
	GLuint program = glCreateProgram();
	char log[512] = "";
	GLint good;

	add_shader(program, GL_VERTEX_SHADER, vertex_shader);
	add_shader(program, GL_FRAGMENT_SHADER, fragment_shader);
	glBindAttribLocation(program, 0, "corner");
	glLinkProgram(program);
	glGetProgramiv(program, GL_LINK_STATUS, &good);
	glGetProgramInfoLog(program, sizeof(log), NULL, log);
	if (!good)
		errx(EXIT_FAILURE, "the driver does not take the shaders: %s", log);
	glUseProgram(program);
}

/* Draws the texture over the whole frame. */
static void draw(void)
{
	static const GLfloat corners[] = { 0, 0, 1, 0, 0, 1, 1, 1 };

	glVertexAttribPointer(0, 2, GL_FLOAT, GL_FALSE, 0, corners);
	glEnableVertexAttribArray(0);
	glDrawArrays(GL_TRIANGLE_STRIP, 0, 4);
}

/* Reads the frame back from OpenGL; waits until it is drawn. */
static struct picture read_back(void)
{
	struct picture pic = picture_new(WIDTH, HEIGHT);
	static uint8_t rgba[HEIGHT][WIDTH][4];
	uint32_t x, y;

	glReadPixels(0, 0, WIDTH, HEIGHT, GL_RGBA, GL_UNSIGNED_BYTE, rgba);
	if (glGetError() != GL_NO_ERROR)
		errx(EXIT_FAILURE, "drawing or reading back failed in the driver");
	for (y = 0; y < HEIGHT; y++) {
		for (x = 0; x < WIDTH; x++) {
			const uint8_t *p = rgba[y][x];

			picture_row(&pic, y)[x] = p[0] << 16 | p[1] << 8 | p[2];
		}
	}
	return pic;
}

/* Returns the expected result of the shaders for @pic. */
static struct picture mirror(const struct picture *pic)
{
	struct picture mirrored = picture_new(pic->width, pic->height);
	uint32_t x, y;

	for (y = 0; y < pic->height; y++)
		for (x = 0; x < pic->width; x++)
			picture_row(&mirrored, y)[x] = picture_row(pic, y)[pic->width - 1 - x];
	return mirrored;
}

/* Writes card @letter to the memory, draws it, and returns the number of wrong pixels. */
static size_t show(const struct memfd_dmabuf *buf, char letter, const char *out)
{
	struct picture card = picture_new(WIDTH, HEIGHT), want, got;
	char name[16];
	size_t wrong;

	picture_draw_card(&card, letter);
	want = mirror(&card);
	memfd_dmabuf_write(buf, card.pixels, card.size);
	draw();
	got = read_back();
	wrong = picture_compare((char[]){ letter, '\0' }, &got, &want);
	snprintf(name, sizeof(name), "mesa-%c.ppm", letter);
	if (out)
		picture_save(&got, out, name);
	picture_free(&got);
	picture_free(&want);
	picture_free(&card);
	return wrong;
}

static void usage(FILE *to)
{
	fprintf(to,
		"Usage: mesa-import [--device PATH | --dmabuf FD] [--out DIR]\n"
		"Draws with a texture that is a memfd, mirrored, and compares every pixel.\n"
		"  --device PATH  driver that makes the dma-buf (default " DEFAULT_DEVICE ")\n"
		"  --dmabuf FD    use this open dma-buf instead of a memfd's\n"
		"  --out DIR      save the drawn frames there: mesa-A.ppm, mesa-B.ppm\n"
		"  --help         show this text\n");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "device", required_argument, NULL, 'd' },
		{ "dmabuf", required_argument, NULL, 'b' },
		{ "out", required_argument, NULL, 'o' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 }
	};
	const char *device = DEFAULT_DEVICE, *out = NULL;
	struct picture layout = picture_new(WIDTH, HEIGHT);
	struct memfd_dmabuf buf;
	EGLDisplay display;
	EGLImage image;
	int option, dmabuf = -1;
	size_t wrong;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'd':
			device = optarg;
			break;
		case 'b':
			dmabuf = parse_number(optarg, 0, INT_MAX);
			device = "somebody else";
			break;
		case 'o':
			out = optarg;
			break;
		case 'h':
			usage(stdout);
			return EXIT_SUCCESS;
		default:
			usage(stderr);
			return EXIT_FAILURE;
		}
	}
	setlinebuf(stdout);
	if (dmabuf < 0)
		memfd_dmabuf_create(&buf, device, layout.size);
	else
		memfd_dmabuf_adopt(&buf, dmabuf);
	if (buf.size < layout.size)
		errx(EXIT_FAILURE, "the dma-buf has %zu bytes, the picture %zu", buf.size,
		     layout.size);
	display = start_egl();
	image = import_dmabuf(display, buf.dmabuf, &layout);
	printf("imported: %dx%d pixels of %s\n", WIDTH, HEIGHT, device);
	use_shaders();
	target_frame();
	texture_from_image(image);

	wrong = show(&buf, 'A', out);
	wrong += show(&buf, 'B', out);

	eglDestroyImage(display, image);
	eglTerminate(display);
	memfd_dmabuf_destroy(&buf);
	picture_free(&layout);
	return wrong ? EXIT_FAILURE : EXIT_SUCCESS;
}
