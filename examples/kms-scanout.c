// SPDX-License-Identifier: MIT
/*
 * kms-scanout: shows a picture in a memfd on a display, without a window system.
 *
 * Shows   memfd -> dma-buf -> handle of the display's driver -> framebuffer -> screen. Then it
 *         writes another picture to the memfd and tells the driver, and the screen shows that
 *         without a second import. At the end it restores the screen.
 * Needs   /dev/dmabufx (or --device /dev/udmabuf), and a display that no desktop is using (switch
 *         to a text console) whose driver imports dma-bufs of others. Many do; bochs and
 *         virtio-gpu do in kernels newer than Linux 6.12.
 * Run     kms-scanout [--device PATH] [--card PATH] [--mode WxH] [--hold SECONDS] [--out DIR]
 */
#include <err.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <drm_fourcc.h>
#include <xf86drm.h>
#include <xf86drmMode.h>

#include "display.h"
#include "memfd-dmabuf.h"
#include "number.h"
#include "testcard.h"

/* Turns Ctrl-C into an event, so that the screen is restored. Returns the fd to poll. */
static int catch_ctrl_c(void)
{
	sigset_t signals;
	int fd;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	fd = signalfd(-1, &signals, SFD_CLOEXEC);
	if (fd < 0)
		err(EXIT_FAILURE, "signalfd");
	return fd;
}

/* Returns the handle of the dma-buf in the display's driver. */
static uint32_t import_dmabuf(const struct display *display, int dmabuf)
{
	uint32_t handle;

	if (drmPrimeFDToHandle(display->fd, dmabuf, &handle))
		errx(EXIT_FAILURE, "the display does not import the dma-buf: %m\n"
		     "  Its driver takes no memory but its own, as bochs and virtio-gpu of Linux 6.12:\n"
		     "  use a newer kernel or another card. The dma-buf itself is fine.");
	return handle;
}

static uint32_t add_framebuffer(const struct display *display, uint32_t handle,
				const struct picture *layout)
{
	const uint32_t handles[4] = { handle }, pitches[4] = { layout->stride }, offsets[4] = { 0 };
	uint32_t framebuffer;

	if (drmModeAddFB2(display->fd, layout->width, layout->height, DRM_FORMAT_XRGB8888,
			  handles, pitches, offsets, &framebuffer, 0))
		err(EXIT_FAILURE, "the display takes no XRGB8888 framebuffer of %ux%u, stride %u",
		    layout->width, layout->height, layout->stride);
	return framebuffer;
}

static void scan_out(struct display *display, uint32_t framebuffer)
{
	if (drmModeSetCrtc(display->fd, display->crtc, framebuffer, 0, 0, &display->connector, 1,
			   &display->mode))
		errx(EXIT_FAILURE, "the display does not show the framebuffer: %m\n"
		     "  A desktop may own the display: switch to a text console (Ctrl-Alt-F3).");
}

/* Drivers that show a copy of the memory, such as bochs, now copy it again. */
static void tell_driver(const struct display *display, uint32_t framebuffer)
{
	if (drmModeDirtyFB(display->fd, framebuffer, NULL, 0))
		warn("told the driver in vain, which is fine if it shows the memory itself");
}

/* Draws card @letter into the memory. Saves the expected screen to @out, if given. */
static void write_card(const struct memfd_dmabuf *buf, struct picture *card, char letter,
		       const char *out)
{
	char name[32];

	snprintf(name, sizeof(name), "kms-%c-expected.ppm", letter);
	picture_draw_card(card, letter);
	memfd_dmabuf_write(buf, card->pixels, card->size);
	if (out)
		picture_save(card, out, name);
}

/* Waits for @hold seconds, or for Enter if that is negative. Returns false after Ctrl-C. */
static bool wait_for_viewer(char letter, int hold, int ctrl_c)
{
	struct pollfd events[2] = {
		{ .fd = ctrl_c, .events = POLLIN },
		{ .fd = STDIN_FILENO, .events = POLLIN },
	};
	char line[64];

	printf("showing %c%s\n", letter, hold < 0 ? ", press Enter" : "");
	poll(events, hold < 0 ? 2 : 1, hold < 0 ? -1 : hold * 1000);
	if (events[1].revents && read(STDIN_FILENO, line, sizeof(line)) < 0)
		err(EXIT_FAILURE, "cannot read the Enter");
	return !events[0].revents;
}

static void usage(FILE *to)
{
	fprintf(to,
		"Usage: kms-scanout [OPTION...]\n"
		"Shows a memfd on a display, changes it, shows that, and restores the display.\n"
		"  --device PATH   driver that makes the dma-buf (default " DEFAULT_DEVICE ")\n"
		"  --card PATH     DRM device (default: the first one with a display)\n"
		"  --mode WxH      default: the display's preferred mode\n"
		"  --hold SECONDS  how long to show each picture (default: until Enter)\n"
		"  --out DIR       save the expected screens there: kms-A-expected.ppm, and B\n"
		"  --help          show this text\n");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "device", required_argument, NULL, 'd' },
		{ "card", required_argument, NULL, 'c' },
		{ "mode", required_argument, NULL, 'm' },
		{ "hold", required_argument, NULL, 's' },
		{ "out", required_argument, NULL, 'o' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 }
	};
	const char *device = DEFAULT_DEVICE, *card_path = NULL, *mode = NULL, *out = NULL;
	struct display display;
	struct memfd_dmabuf buf;
	struct picture card;
	uint32_t handle, framebuffer;
	int option, hold = -1, ctrl_c;
	bool go_on;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'd':
			device = optarg;
			break;
		case 'c':
			card_path = optarg;
			break;
		case 'm':
			mode = optarg;
			break;
		case 's':
			hold = parse_number(optarg, 0, INT_MAX / 1000);
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
	ctrl_c = catch_ctrl_c();
	display_open(&display, card_path, mode);
	card = picture_new(display.mode.hdisplay, display.mode.vdisplay);
	memfd_dmabuf_create(&buf, device, card.size);
	handle = import_dmabuf(&display, buf.dmabuf);
	framebuffer = add_framebuffer(&display, handle, &card);

	write_card(&buf, &card, 'A', out);
	scan_out(&display, framebuffer);
	go_on = wait_for_viewer('A', hold, ctrl_c);
	if (go_on) {
		write_card(&buf, &card, 'B', out);
		tell_driver(&display, framebuffer);
		go_on = wait_for_viewer('B', hold, ctrl_c);
	}

	display_put_back(&display);
	drmModeRmFB(display.fd, framebuffer);
	drmCloseBufferHandle(display.fd, handle);
	close(display.fd);
	memfd_dmabuf_destroy(&buf);
	picture_free(&card);
	return go_on ? EXIT_SUCCESS : EXIT_FAILURE;
}
