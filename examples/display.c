// SPDX-License-Identifier: MIT
/*
 * Finds a display, and the parts of its card that feed it.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xf86drm.h>

#include "display.h"

/* Returns the mode @name ("1280x800"), without a name the preferred mode; NULL if none. */
static const drmModeModeInfo *choose_mode(const drmModeConnector *connector, const char *name)
{
	int i;

	for (i = 0; i < connector->count_modes; i++)
		if (name ? !strcmp(connector->modes[i].name, name)
			 : connector->modes[i].type & DRM_MODE_TYPE_PREFERRED)
			return &connector->modes[i];
	return !name && connector->count_modes ? &connector->modes[0] : NULL;
}

/* Returns the CRTC that feeds @connector, or else the first that can; 0 if there is none. */
static uint32_t choose_crtc(int fd, const drmModeRes *res, const drmModeConnector *connector)
{
	uint32_t id = 0;
	int i, bit;

	for (i = -1; i < connector->count_encoders && !id; i++) {
		drmModeEncoder *encoder = drmModeGetEncoder(fd, i < 0 ? connector->encoder_id :
							    connector->encoders[i]);

		if (!encoder)
			continue;
		id = encoder->crtc_id;
		for (bit = 0; bit < res->count_crtcs && !id; bit++)
			if (encoder->possible_crtcs & 1u << bit)
				id = res->crtcs[bit];
		drmModeFreeEncoder(encoder);
	}
	return id;
}

/* Fills @display from the first connected connector that has the mode. */
static bool find_display(struct display *display, const char *mode_name)
{
	drmModeRes *res = drmModeGetResources(display->fd);
	int i;

	display->crtc = 0;
	for (i = 0; res && i < res->count_connectors && !display->crtc; i++) {
		drmModeConnector *connector = drmModeGetConnector(display->fd, res->connectors[i]);
		const drmModeModeInfo *mode = NULL;

		if (connector && connector->connection == DRM_MODE_CONNECTED)
			mode = choose_mode(connector, mode_name);
		if (mode) {
			display->connector = connector->connector_id;
			display->mode = *mode;
			display->crtc = choose_crtc(display->fd, res, connector);
		}
		drmModeFreeConnector(connector);
	}
	drmModeFreeResources(res);
	return display->crtc;
}

/* Opens the card at @path; returns false if it has no such display. */
static bool try_card(struct display *display, const char *path, const char *mode_name)
{
	display->fd = open(path, O_RDWR | O_CLOEXEC);
	if (display->fd < 0 && errno == ENOENT)
		return false;
	if (display->fd < 0)
		errx(EXIT_FAILURE, "cannot open %s: %m\n"
		     "  Run it as root, or as a member of the group of that device.", path);
	if (!find_display(display, mode_name)) {
		close(display->fd);
		return false;
	}
	display->before = drmModeGetCrtc(display->fd, display->crtc);
	printf("display: %s, %s\n", path, display->mode.name);
	return true;
}

void display_open(struct display *display, const char *card, const char *mode_name)
{
	bool found = card && try_card(display, card, mode_name);
	char path[32];
	int i;

	for (i = 0; i < DRM_MAX_MINOR && !card && !found; i++) {
		snprintf(path, sizeof(path), "/dev/dri/card%d", i);
		found = try_card(display, path, mode_name);
	}
	if (!found)
		errx(EXIT_FAILURE, "%s has no connected display%s%s\n"
		     "  Is its driver loaded? (modprobe bochs, in a virtual machine)",
		     card ? card : "/dev/dri", mode_name ? " with mode " : "",
		     mode_name ? mode_name : "");
}

void display_put_back(struct display *display)
{
	drmModeCrtc *before = display->before;

	if (before && before->mode_valid && before->buffer_id)
		drmModeSetCrtc(display->fd, before->crtc_id, before->buffer_id, before->x,
			       before->y, &display->connector, 1, &before->mode);
	else
		drmModeSetCrtc(display->fd, display->crtc, 0, 0, 0, NULL, 0, NULL);
	drmModeFreeCrtc(before);
}
