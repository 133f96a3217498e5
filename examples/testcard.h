/* SPDX-License-Identifier: MIT */
/* The picture that the examples send around, and how they check what comes back. */
#ifndef TESTCARD_H
#define TESTCARD_H

#include <stddef.h>
#include <stdint.h>

/* XRGB8888: one uint32_t 0x00RRGGBB for a pixel, in little-endian order. */
struct picture {
	uint32_t width, height;	/* pixels */
	uint32_t stride;	/* bytes from one row to the next */
	size_t size;		/* bytes */
	uint32_t *pixels;
};

/* A black picture whose stride any device takes. picture_free() frees it. */
struct picture picture_new(uint32_t width, uint32_t height);
void picture_free(struct picture *pic);

uint32_t *picture_row(const struct picture *pic, uint32_t y);

/* Draws test card @letter, 'A' or 'B'. No pixel of one has the colour that it has in the other. */
void picture_draw_card(struct picture *pic, char letter);

/* Compares all pixels, says what it found in one line, returns how many are wrong. */
size_t picture_compare(const char *name, const struct picture *got, const struct picture *want);

/* Writes @dir/@name in the PPM format, byte for byte as QEMU's screendump does. */
void picture_save(const struct picture *pic, const char *dir, const char *name);

#endif
