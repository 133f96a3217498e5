/* SPDX-License-Identifier: MIT */
/*
 * Dma-bufs with pictures, whose every pixel tells where it belongs.
 *
 * A canvas knows the right value of each byte of its memory: also of bytes around a picture
 * and between its rows.
 */
#ifndef CONSUMERS_CANVAS_H
#define CONSUMERS_CANVAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory.h"

enum page_order {
	IN_ORDER,
	SHUFFLED,	/* no page follows its neighbour in the memory */
};

/**
 * struct backing - the memory of a dma-buf
 * @kind: a kind of memfd, or of private memory
 * @order: order of its pages in the buffer
 */
struct backing {
	enum memory_kind kind;
	enum page_order order;
};

/**
 * struct canvas - a dma-buf and its right contents
 * @mem: the memory
 * @order: for each page of the buffer, the index of its page in the memory
 * @size: bytes of the buffer, whole pages
 * @fd: the dma-buf
 * @want: the right contents, @size bytes
 */
struct canvas {
	struct memory mem;
	uint32_t *order;
	size_t size;
	int fd;
	uint8_t *want;
};

/* Makes a canvas of at least @size bytes; @want has the contents of all of them. */
struct canvas canvas_make(enum memory_kind kind, enum page_order order,
			  size_t size);
struct canvas canvas_make_on(struct backing backing, size_t size);
void canvas_free(struct canvas *canvas);

/* Replaces the dma-buf by a read-only one of the same memory, in order. */
void canvas_make_read_only(struct canvas *canvas);

/* Writes all of @want by the CPU, in a bracket of DMA_BUF_IOCTL_SYNC. */
void canvas_put(struct canvas *canvas);

/* Reads all of the memory by the CPU, in a bracket, and compares it with @want. */
void canvas_check(struct canvas *canvas, const char *who);

/* The same comparison, for tests that wait until the contents are right. */
bool canvas_is_right(struct canvas *canvas);

/* Runs @test on each kind of memory that makes a difference to an importer. */
void with_every_canvas(size_t size, void (*test)(struct canvas *canvas));

/**
 * struct image - place of a picture, or of one of its planes, in a buffer
 * @width: pixels
 * @height: rows
 * @stride: bytes from one row to the next
 * @cpp: bytes of a pixel
 * @offset: offset of the first pixel, bytes
 */
struct image {
	uint32_t width, height, stride, cpp;
	size_t offset;
};

/* The row's address in @want. */
uint8_t *image_row(const struct canvas *canvas, const struct image *image,
		   uint32_t y);

/* Draws picture @pass into @want; canvas_put() copies it into the memory. */
void image_draw(struct canvas *canvas, const struct image *image,
		unsigned int pass);

/*
 * Compares rows in @got, which have no padding, with the image in @want; of pixels of four
 * bytes, only the bits in @mask.
 */
void image_check(const struct canvas *canvas, const struct image *image,
		 const void *got, uint32_t mask, const char *who);

#endif /* CONSUMERS_CANVAS_H */
