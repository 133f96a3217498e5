// SPDX-License-Identifier: MIT
/*
 * A test card that looks different everywhere, so that any misplaced, stale, mirrored or swapped
 * part shows. It is drawn with integers only, so it is identical on every machine.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "testcard.h"

#define WHITE 0xffffffu

/* AMD's GPUs need rows at multiples of 256 bytes, which suits all others. */
#define STRIDE_ALIGN 256

struct picture picture_new(uint32_t width, uint32_t height)
{
	struct picture pic = { .width = width, .height = height };

	pic.stride = (width * 4 + STRIDE_ALIGN - 1) / STRIDE_ALIGN * STRIDE_ALIGN;
	pic.size = (size_t)pic.stride * height;
	pic.pixels = calloc(1, pic.size);
	if (!pic.pixels)
		errx(EXIT_FAILURE, "no memory for a picture of %ux%u pixels", width, height);
	return pic;
}

void picture_free(struct picture *pic)
{
	free(pic->pixels);
}

uint32_t *picture_row(const struct picture *pic, uint32_t y)
{
	return pic->pixels + (size_t)y * pic->stride / 4;
}

/* Mixes two colours: @t/256 of the way from @a to @b. */
static uint32_t mix(uint32_t a, uint32_t b, uint32_t t)
{
	uint32_t rb = ((a & 0xff00ff) * (256 - t) + (b & 0xff00ff) * t) >> 8;
	uint32_t g = ((a & 0x00ff00) * (256 - t) + (b & 0x00ff00) * t) >> 8;

	return (rb & 0xff00ff) | (g & 0x00ff00);
}

static uint32_t clamp256(int64_t t)
{
	return t < 0 ? 0 : t > 256 ? 256 : t;
}

/* The unit for sizes of shapes, so that they fit into wide and tall pictures. */
static uint32_t shorter_side(const struct picture *pic)
{
	return pic->width < pic->height ? pic->width : pic->height;
}

/* A different colour in each corner, and a grid of squares over them. */
static uint32_t background(const struct picture *pic, uint32_t x, uint32_t y)
{
	uint32_t across = x * 256 / pic->width, down = y * 256 / pic->height;
	uint32_t cell = shorter_side(pic) / 12 + 1;
	uint32_t top = mix(0x14213d, 0x0e7c86, across);
	uint32_t bottom = mix(0x5a189a, 0xd1495b, across);
	uint32_t colour = mix(top, bottom, down);

	if (x % cell == cell / 2 || y % cell == cell / 2)
		colour = mix(colour, WHITE, 64);
	return colour;
}

/* Eight bars that fade from top to bottom. */
static uint32_t colour_bar(const struct picture *pic, uint32_t x, uint32_t down)
{
	static const uint32_t bars[8] = {
		0xf4f4f4, 0xf6e04b, 0x4fd8e8, 0x4fd06a, 0xd65db1, 0xe5484d, 0x3e63dd, 0x30343f,
	};

	return mix(bars[x * 8 / pic->width], 0x000000, down);
}

/* Blends a ball, lit from the upper left, over @under. */
static uint32_t ball(const struct picture *pic, int64_t x, int64_t y, uint32_t under)
{
	int64_t r = shorter_side(pic) / 4 + 1;
	int64_t dx = x - pic->width / 2, dy = y - pic->height * 2 / 5;
	int64_t lx = dx + r * 2 / 5, ly = dy + r * 2 / 5;
	int64_t inside = (r * r - dx * dx - dy * dy) * 128 / r;	/* 256ths of a pixel */
	uint32_t shade = clamp256((lx * lx + ly * ly) * 100 / (r * r));

	return mix(under, mix(0xffe9a8, 0xc1440e, shade), clamp256(inside + 128));
}

/* 5x7 pixels for each letter that the cards use; bit 4 is the leftmost pixel. */
static const uint8_t *glyph(char letter)
{
	static const struct {
		char letter;
		uint8_t rows[7];
	} font[] = {
		{ 'A', { 0x04, 0x0a, 0x11, 0x11, 0x1f, 0x11, 0x11 } },
		{ 'B', { 0x1e, 0x11, 0x11, 0x1e, 0x11, 0x11, 0x1e } },
		{ 'a', { 0x00, 0x00, 0x0e, 0x01, 0x0f, 0x11, 0x0f } },
		{ 'b', { 0x10, 0x10, 0x1e, 0x11, 0x11, 0x11, 0x1e } },
		{ 'd', { 0x01, 0x01, 0x0f, 0x11, 0x11, 0x11, 0x0f } },
		{ 'f', { 0x06, 0x09, 0x08, 0x1c, 0x08, 0x08, 0x08 } },
		{ 'm', { 0x00, 0x00, 0x1a, 0x15, 0x15, 0x15, 0x15 } },
		{ 'u', { 0x00, 0x00, 0x11, 0x11, 0x11, 0x13, 0x0d } },
		{ 'x', { 0x00, 0x00, 0x11, 0x0a, 0x04, 0x0a, 0x11 } },
	};
	size_t i = 0;

	while (font[i].letter != letter)
		i++;
	return font[i].rows;
}

/* Writes @text in letters of 5x7 squares of @dot pixels, centred around @y. */
static void draw_text(struct picture *pic, const char *text, uint32_t dot, uint32_t y,
		      uint32_t colour)
{
	uint32_t columns = strlen(text) * 6 - 1;
	uint32_t left = (pic->width - columns * dot) / 2, top = y - 7 * dot / 2;
	uint32_t row, column;

	for (row = 0; row < 7 * dot; row++) {
		for (column = 0; column < columns * dot; column++) {
			uint32_t at = column / dot;
			uint8_t bits = glyph(text[at / 6])[row / dot];

			if (at % 6 < 5 && bits & (0x10 >> at % 6))
				picture_row(pic, top + row)[left + column] = colour;
		}
	}
}

/* The negative differs from the positive in every pixel: v == 255 - v has no solution. */
static void turn_negative(struct picture *pic)
{
	uint32_t x, y;

	for (y = 0; y < pic->height; y++)
		for (x = 0; x < pic->width; x++)
			picture_row(pic, y)[x] ^= WHITE;
}

void picture_draw_card(struct picture *pic, char letter)
{
	uint32_t bars_top = pic->height * 7 / 8, unit = shorter_side(pic);
	uint32_t x, y;

	for (y = 0; y < pic->height; y++) {
		uint32_t *row = picture_row(pic, y);

		for (x = 0; x < pic->width; x++) {
			if (y < bars_top)
				row[x] = ball(pic, x, y, background(pic, x, y));
			else
				row[x] = colour_bar(pic, x, (y - bars_top) * 96 /
							    (pic->height - bars_top));
		}
	}
	draw_text(pic, (char[]){ letter, '\0' }, unit / 32, pic->height * 2 / 5, 0x5a189a);
	draw_text(pic, "dmabufx", unit / 80, pic->height * 3 / 4, WHITE);
	if (letter == 'B')
		turn_negative(pic);
}

size_t picture_compare(const char *name, const struct picture *got, const struct picture *want)
{
	size_t wrong = 0;
	uint32_t x, y;

	printf("%s: %zu pixels compared", name, (size_t)want->width * want->height);
	for (y = 0; y < want->height; y++) {
		for (x = 0; x < want->width; x++) {
			uint32_t is = picture_row(got, y)[x], should = picture_row(want, y)[x];

			if (is != should && !wrong++)
				printf("; first wrong one at x=%u y=%u: 0x%06x instead of 0x%06x",
				       x, y, is, should);
		}
	}
	if (wrong)
		printf("; %zu wrong\n", wrong);
	else
		printf(", all right\n");
	return wrong;
}

void picture_save(const struct picture *pic, const char *dir, const char *name)
{
	char path[4096];
	uint32_t x, y;
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "w");
	if (!file)
		errx(EXIT_FAILURE, "cannot create %s: %m\n"
		     "  --out names an existing folder that you may write to.", path);
	fprintf(file, "P6\n%u %u\n255\n", pic->width, pic->height);
	for (y = 0; y < pic->height; y++) {
		for (x = 0; x < pic->width; x++) {
			uint32_t pixel = picture_row(pic, y)[x];

			putc_unlocked(pixel >> 16 & 0xff, file);
			putc_unlocked(pixel >> 8 & 0xff, file);
			putc_unlocked(pixel & 0xff, file);
		}
	}
	if (fclose(file))
		err(EXIT_FAILURE, "cannot write %s", path);
}
