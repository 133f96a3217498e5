// SPDX-License-Identifier: MIT
/* Dma-bufs with pictures: see canvas.h. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buffer.h"
#include "canvas.h"
#include "harness.h"

static uint32_t common_divisor(uint32_t a, uint32_t b)
{
	return b ? common_divisor(b, a % b) : a;
}

/* Takes every page once, in steps of about 5/8 of the whole. */
static void shuffle(uint32_t *order, uint32_t pages)
{
	uint32_t step = pages * 5 / 8 + 1, i;

	while (common_divisor(pages, step) != 1)
		step++;
	for (i = 0; i < pages; i++)
		order[i] = (uint64_t)i * step % pages;
}

static int create_whole(const struct canvas *canvas)
{
	if (canvas->mem.fd < 0)
		return create_of_user(canvas->mem.map, canvas->size);
	return create_range(&canvas->mem, 0, canvas->size);
}

/* Makes the buffer by UDMABUF_CREATE_LIST, which udmabuf answers, too. */
static int create_of_memfd(struct canvas *canvas, uint32_t pages)
{
	struct udmabuf_create_item *items = calloc(pages, sizeof(*items));
	int device = device_open(), fd;
	uint32_t i;

	for (i = 0; i < pages; i++)
		items[i] = list_item(&canvas->mem, canvas->order[i] * PAGE, PAGE);
	fd = must(try_create_list(device, items, pages,
				  UDMABUF_FLAGS_CLOEXEC));
	close(device);
	free(items);
	return fd;
}

static int create_of_addresses(struct canvas *canvas, uint32_t pages)
{
	struct dmabufx_segment *segments = calloc(pages, sizeof(*segments));
	uint32_t i;
	int fd;

	for (i = 0; i < pages; i++)
		segments[i] = segment(&canvas->mem, canvas->order[i] * PAGE,
				      PAGE);
	fd = create_of(segments, pages);
	free(segments);
	return fd;
}

struct canvas canvas_make(enum memory_kind kind, enum page_order order,
			  size_t size)
{
	uint32_t pages = (size + PAGE - 1) / PAGE, i;
	struct canvas canvas = {
		.mem = memory_make(kind, size),
		.order = calloc(pages, sizeof(*canvas.order)),
		.size = pages * PAGE,
		.want = malloc(pages * PAGE),
	};

	for (i = 0; i < pages; i++)
		canvas.order[i] = i;
	if (order == SHUFFLED)
		shuffle(canvas.order, pages);
	if (order == IN_ORDER)
		canvas.fd = create_whole(&canvas);
	else if (canvas.mem.fd < 0)
		canvas.fd = create_of_addresses(&canvas, pages);
	else
		canvas.fd = create_of_memfd(&canvas, pages);
	pattern_fill(canvas.want, 0, canvas.mem.id, 0, canvas.size);
	canvas_put(&canvas);
	return canvas;
}

struct canvas canvas_make_on(struct backing backing, size_t size)
{
	return canvas_make(backing.kind, backing.order, size);
}

void canvas_make_read_only(struct canvas *canvas)
{
	struct dmabufx_segment seg = segment(&canvas->mem, 0, canvas->size);
	struct dmabufx_create req = request(&seg, 1, DMABUFX_CREATE_READ_ONLY);
	int device = device_open();

	must(close(canvas->fd));
	canvas->fd = must(try_request(device, &req));
	must(close(device));
}

void canvas_free(struct canvas *canvas)
{
	close(canvas->fd);
	memory_free(&canvas->mem);
	free(canvas->order);
	free(canvas->want);
}

void canvas_put(struct canvas *canvas)
{
	size_t i;

	sync_start(canvas->fd, DMA_BUF_SYNC_WRITE);
	for (i = 0; i < canvas->size / PAGE; i++)
		memcpy(canvas->mem.map + canvas->order[i] * PAGE,
		       canvas->want + i * PAGE, PAGE);
	sync_end(canvas->fd, DMA_BUF_SYNC_WRITE);
}

/* The byte of the memory that lies at @offset of the buffer. */
static const uint8_t *canvas_at(const struct canvas *canvas, size_t offset)
{
	return (uint8_t *)canvas->mem.map + offset % PAGE +
	       canvas->order[offset / PAGE] * PAGE;
}

/* The offset of the first wrong byte, or @size if there is none. */
static size_t canvas_first_wrong(struct canvas *canvas)
{
	size_t offset;

	sync_start(canvas->fd, DMA_BUF_SYNC_READ);
	for (offset = 0; offset < canvas->size; offset += PAGE)
		if (memcmp(canvas_at(canvas, offset), canvas->want + offset,
			   PAGE))
			break;
	while (offset < canvas->size &&
	       *canvas_at(canvas, offset) == canvas->want[offset])
		offset++;
	sync_end(canvas->fd, DMA_BUF_SYNC_READ);
	return offset;
}

bool canvas_is_right(struct canvas *canvas)
{
	return canvas_first_wrong(canvas) == canvas->size;
}

void canvas_check(struct canvas *canvas, const char *who)
{
	size_t wrong = canvas_first_wrong(canvas);

	if (wrong < canvas->size)
		fail("%s left %#x instead of %#x in byte %#zx of the buffer",
		     who, *canvas_at(canvas, wrong), canvas->want[wrong],
		     wrong);
}

void with_every_canvas(size_t size, void (*test)(struct canvas *canvas))
{
	static const struct backing backings[] = {
		{ SHMEM_4K, IN_ORDER },
		{ SHMEM_4K, SHUFFLED },
		{ SHMEM_2M, IN_ORDER },
		{ HUGETLB_2M, IN_ORDER },
		{ HUGETLB_2M, SHUFFLED },
		{ ANON_4K, SHUFFLED },
		{ ANON_HUGETLB_2M, IN_ORDER },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(backings); i++) {
		struct canvas canvas = canvas_make_on(backings[i], size);

		test(&canvas);
		canvas_free(&canvas);
	}
}

uint8_t *image_row(const struct canvas *canvas, const struct image *image,
		   uint32_t y)
{
	return canvas->want + image->offset + (size_t)y * image->stride;
}

/* A hash of picture, column and row, so that pixels differ. */
static uint32_t pixel(unsigned int pass, uint32_t x, uint32_t y)
{
	uint32_t value = (pass << 24 ^ y << 12 ^ x) * 0x9e3779b1u;

	value = (value ^ value >> 15) * 0x2c1b3c6du;
	return value ^ value >> 13;
}

void image_draw(struct canvas *canvas, const struct image *image,
		unsigned int pass)
{
	uint32_t x, y, value;

	for (y = 0; y < image->height; y++) {
		uint8_t *row = image_row(canvas, image, y);

		for (x = 0; x < image->width; x++) {
			value = pixel(pass, x, y);
			memcpy(row + x * image->cpp, &value, image->cpp);
		}
	}
}

void image_check(const struct canvas *canvas, const struct image *image,
		 const void *got, uint32_t mask, const char *who)
{
	const uint8_t *in = got;
	uint32_t x, y;

	for (y = 0; y < image->height; y++) {
		const uint8_t *row = image_row(canvas, image, y);

		for (x = 0; x < image->width; x++, in += image->cpp) {
			uint32_t is = 0, should = 0;

			memcpy(&is, in, image->cpp);
			memcpy(&should, row + x * image->cpp, image->cpp);
			if ((is ^ should) & mask)
				fail("%s shows %#x instead of %#x at x=%u y=%u",
				     who, is, should & mask, x, y);
		}
	}
}
