// SPDX-License-Identifier: MIT
/*
 * show-wayland: a Wayland client with one buffer, a dma-buf, which the compositor imports
 * by the protocol linux-dmabuf. See show.h.
 */
#include <drm_fourcc.h>
#include <err.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wayland-client.h>

#include "linux-dmabuf-v1.h"
#include "show.h"
#include "xdg-shell.h"

static struct wl_compositor *compositor;
static struct xdg_wm_base *shell;
static struct zwp_linux_dmabuf_v1 *dmabuf;
static struct wl_surface *surface;
static struct wl_buffer *buffer;
static struct show show;

/* Makes the compositor show the buffer's memory as it is now. */
static void commit(void)
{
	wl_surface_attach(surface, buffer, 0, 0);
	wl_surface_damage_buffer(surface, 0, 0, WIDTH, HEIGHT);
	wl_surface_commit(surface);
}

/* One frame later, the screen shows the last commit. */
static void frame_done(void *data, struct wl_callback *callback, uint32_t time)
{
	(void)data;
	(void)time;
	wl_callback_destroy(callback);
	show_announce(&show);
}

static const struct wl_callback_listener frame_listener = {
	.done = frame_done,
};

static void commit_and_announce(void)
{
	wl_callback_add_listener(wl_surface_frame(surface), &frame_listener,
				 NULL);
	commit();
}

static void configured(void *data, struct xdg_surface *xdg, uint32_t serial)
{
	static bool shown;

	(void)data;
	xdg_surface_ack_configure(xdg, serial);
	if (!shown)
		commit_and_announce();
	shown = true;
}

static const struct xdg_surface_listener surface_listener = {
	.configure = configured,
};

static void toplevel_configured(void *data, struct xdg_toplevel *toplevel,
				int32_t width, int32_t height,
				struct wl_array *states)
{
	(void)data;
	(void)toplevel;
	(void)width;
	(void)height;
	(void)states;
}

static void toplevel_closed(void *data, struct xdg_toplevel *toplevel)
{
	(void)data;
	(void)toplevel;
	exit(EXIT_FAILURE);
}

static const struct xdg_toplevel_listener toplevel_listener = {
	.configure = toplevel_configured,
	.close = toplevel_closed,
};

static void ping(void *data, struct xdg_wm_base *base, uint32_t serial)
{
	(void)data;
	xdg_wm_base_pong(base, serial);
}

static const struct xdg_wm_base_listener shell_listener = { .ping = ping };

static void global_comes(void *data, struct wl_registry *registry, uint32_t id,
			 const char *interface, uint32_t version)
{
	(void)data;
	(void)version;
	if (!strcmp(interface, wl_compositor_interface.name))
		compositor = wl_registry_bind(registry, id,
					      &wl_compositor_interface, 4);
	else if (!strcmp(interface, xdg_wm_base_interface.name))
		shell = wl_registry_bind(registry, id, &xdg_wm_base_interface,
					 1);
	else if (!strcmp(interface, zwp_linux_dmabuf_v1_interface.name))
		dmabuf = wl_registry_bind(registry, id,
					  &zwp_linux_dmabuf_v1_interface, 3);
}

static void global_goes(void *data, struct wl_registry *registry, uint32_t id)
{
	(void)data;
	(void)registry;
	(void)id;
}

static const struct wl_registry_listener registry_listener = {
	.global = global_comes,
	.global_remove = global_goes,
};

static void created(void *data, struct zwp_linux_buffer_params_v1 *params,
		    struct wl_buffer *made)
{
	(void)data;
	zwp_linux_buffer_params_v1_destroy(params);
	buffer = made;
}

static void not_created(void *data, struct zwp_linux_buffer_params_v1 *params)
{
	(void)data;
	(void)params;
	errx(EXIT_FAILURE, "the compositor does not import the dma-buf");
}

static const struct zwp_linux_buffer_params_v1_listener params_listener = {
	.created = created,
	.failed = not_created,
};

static void import(struct wl_display *display)
{
	struct zwp_linux_buffer_params_v1 *params =
		zwp_linux_dmabuf_v1_create_params(dmabuf);

	zwp_linux_buffer_params_v1_add_listener(params, &params_listener,
						NULL);
	zwp_linux_buffer_params_v1_add(params, show.buf.dmabuf, 0, 0,
				       show.card.stride,
				       DRM_FORMAT_MOD_LINEAR >> 32,
				       DRM_FORMAT_MOD_LINEAR & 0xffffffff);
	zwp_linux_buffer_params_v1_create(params, WIDTH, HEIGHT,
					  DRM_FORMAT_XRGB8888, 0);
	while (!buffer && wl_display_dispatch(display) >= 0)
		;
}

static void make_window(void)
{
	struct xdg_toplevel *toplevel;
	struct xdg_surface *xdg;

	surface = wl_compositor_create_surface(compositor);
	xdg = xdg_wm_base_get_xdg_surface(shell, surface);
	xdg_surface_add_listener(xdg, &surface_listener, NULL);
	toplevel = xdg_surface_get_toplevel(xdg);
	xdg_toplevel_add_listener(toplevel, &toplevel_listener, NULL);
	xdg_toplevel_set_fullscreen(toplevel, NULL);
	wl_surface_commit(surface);
}

int main(void)
{
	struct wl_display *display = wl_display_connect(NULL);
	struct wl_registry *registry;

	if (!display)
		errx(EXIT_FAILURE, "there is no Wayland compositor");
	registry = wl_display_get_registry(display);
	wl_registry_add_listener(registry, &registry_listener, NULL);
	wl_display_roundtrip(display);
	if (!compositor || !shell || !dmabuf)
		errx(EXIT_FAILURE, "the compositor lacks a protocol");
	xdg_wm_base_add_listener(shell, &shell_listener, NULL);

	show_begin(&show, getenv("DEVICE"));
	import(display);
	make_window();
	for (;;) {
		struct pollfd events[2] = {
			{ .fd = wl_display_get_fd(display), .events = POLLIN },
			{ .fd = STDIN_FILENO, .events = POLLIN },
		};

		wl_display_dispatch_pending(display);
		wl_display_flush(display);
		poll(events, 2, -1);
		if (events[0].revents && wl_display_dispatch(display) < 0)
			errx(EXIT_FAILURE, "the compositor went away");
		if (events[1].revents) {
			if (!show_next(&show))
				break;
			commit_and_announce();
		}
	}
	wl_display_disconnect(display);
	memfd_dmabuf_destroy(&show.buf);
	return EXIT_SUCCESS;
}
