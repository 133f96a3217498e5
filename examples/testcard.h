/* SPDX-License-Identifier: MIT */
/* The picture that the examples draw, and how they check the result. */
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

/* Makes a black picture with a stride for any device. picture_free() frees it. */
struct picture picture_new(uint32_t width, uint32_t height);
void picture_free(struct picture *pic);

uint32_t *picture_row(const struct picture *pic, uint32_t y);

/* Draws test card @letter, 'A' or 'B'. The two cards differ in every pixel. */
void picture_draw_card(struct picture *pic, char letter);

/* Compares all pixels, prints one line, and returns the number of wrong pixels. */
size_t picture_compare(const char *name, const struct picture *got, const struct picture *want);

/* Writes @dir/@name in PPM format, byte for byte like QEMU's screendump. */
void picture_save(const struct picture *pic, const char *dir, const char *name);

#endif
