/* SPDX-License-Identifier: MIT */
/*
 * Dma-bufs with pictures in them, whose every pixel tells where it belongs.
 *
 * A canvas knows what each byte of its memory has to be; the bytes around a
 * picture and between its rows are no less important than those in it.
 */
#ifndef CONSUMERS_CANVAS_H
#define CONSUMERS_CANVAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory.h"

enum page_order {
	IN_ORDER,
	SHUFFLED,	/* no page lies behind its neighbour in the memory */
};

/**
 * struct backing - what memory a dma-buf is made of, and how
 * @kind: memfds of several kinds, or memory of this process alone
 * @order: of its pages in the buffer
 */
struct backing {
	enum memory_kind kind;
	enum page_order order;
};

/**
 * struct canvas - a dma-buf and what has to be in it
 * @mem: the memory
 * @order: which page of the memory is at each page of the buffer
 * @size: bytes of the buffer, whole pages
 * @fd: the dma-buf
 * @want: @size bytes
 */
struct canvas {
	struct memory mem;
	uint32_t *order;
	size_t size;
	int fd;
	uint8_t *want;
};

/* Has room for at least @size bytes, all of which are known from the start. */
struct canvas canvas_make(enum memory_kind kind, enum page_order order,
			  size_t size);
struct canvas canvas_make_on(struct backing backing, size_t size);
void canvas_free(struct canvas *canvas);

/* Has a read-only dma-buf of its memory, in order, from now on. */
void canvas_make_read_only(struct canvas *canvas);

/* The CPU writes all of @want, between two DMA_BUF_IOCTL_SYNC. */
void canvas_put(struct canvas *canvas);

/* The CPU reads all of the memory, likewise, and compares it with @want. */
void canvas_check(struct canvas *canvas, const char *who);

/* The same, for those who have to wait until it is so. */
bool canvas_is_right(struct canvas *canvas);

/* Runs @test on each kind of memory that matters to an importer. */
void with_every_canvas(size_t size, void (*test)(struct canvas *canvas));

/**
 * struct image - how a picture, or a plane of one, lies in a buffer
 * @width: pixels
 * @height: rows
 * @stride: bytes from one row to the next
 * @cpp: bytes of a pixel
 * @offset: of the first pixel, bytes
 */
struct image {
	uint32_t width, height, stride, cpp;
	size_t offset;
};

/* Where the row begins in @want. */
uint8_t *image_row(const struct canvas *canvas, const struct image *image,
		   uint32_t y);

/* Draws picture @pass: in @want only, for canvas_put() to bring to the memory. */
void image_draw(struct canvas *canvas, const struct image *image,
		unsigned int pass);

/*
 * Compares rows of @got, one behind the other without padding, with the image
 * in @want; of pixels of four bytes, only the bits in @mask.
 */
void image_check(const struct canvas *canvas, const struct image *image,
		 const void *got, uint32_t mask, const char *who);

#endif /* CONSUMERS_CANVAS_H */
