/* SPDX-License-Identifier: MIT */
/* A display that is connected to a card, found without a window system. */
#ifndef DISPLAY_H
#define DISPLAY_H

#include <stdint.h>
#include <xf86drmMode.h>

struct display {
	int fd;
	uint32_t connector;
	uint32_t crtc;
	drmModeModeInfo mode;
	drmModeCrtc *before;	/* state of the CRTC before we changed it */
};

/* Opens @card, or if that is NULL the first card that has a display with the wanted mode. */
void display_open(struct display *display, const char *card, const char *mode_name);

/* Restores what the display showed before. */
void display_put_back(struct display *display);

#endif
