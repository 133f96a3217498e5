// SPDX-License-Identifier: MIT
/*
 * Layouts of pictures that GPUs accept: linear, one plane after the other, with rows
 * at multiples of 256 bytes. AMD's GPUs need that, and it suits all others.
 *
 * If other planes have half the width, their rows are also at multiples of 256 bytes,
 * and still half as long as the first plane's, as V4L2 requires.
 */
#include <errno.h>

#include "internal.h"

#define STRIDE_ALIGN	256

/**
 * struct format - how pixels are stored
 * @codes: names of the formats that are stored in this way, as in <drm_fourcc.h> and
 *	V4L2, four letters each
 * @bytes: size of a sample in each plane; 0 for no plane
 * @halved_x: planes after the first have half the width
 * @halved_y: planes after the first have half the height
 */
struct format {
	const char *codes;
	uint8_t bytes[DMABUFX_MAX_PLANES];
	bool halved_x;
	bool halved_y;
};

static const struct format formats[] = {
	{ .codes = "R8  ", .bytes = { 1 } },
	{ .codes = "R16 GR88RG88RG16BG16XR15AR15XR12AR12", .bytes = { 2 } },
	{ .codes = "YUYVYVYUUYVYVYUY", .bytes = { 2 } },
	{ .codes = "RG24BG24", .bytes = { 3 } },
	{ .codes = "XR24AR24XB24AB24RX24RA24BX24BA24", .bytes = { 4 } },
	{ .codes = "XR30AR30XB30AB30", .bytes = { 4 } },
	{ .codes = "XR4HAR4HXB4HAB4H", .bytes = { 8 } },

	{ .codes = "NV12NV21", .bytes = { 1, 2 }, .halved_x = true, .halved_y = true },
	{ .codes = "NV16NV61", .bytes = { 1, 2 }, .halved_x = true },
	{ .codes = "NV24NV42", .bytes = { 1, 2 } },
	{ .codes = "P010P012P016", .bytes = { 2, 4 }, .halved_x = true, .halved_y = true },
	{ .codes = "P210", .bytes = { 2, 4 }, .halved_x = true },

	{ .codes = "YU12YV12", .bytes = { 1, 1, 1 }, .halved_x = true, .halved_y = true },
	{ .codes = "YU16YV16", .bytes = { 1, 1, 1 }, .halved_x = true },
	{ .codes = "YU24YV24", .bytes = { 1, 1, 1 } },
};

static bool is_called(const struct format *format, uint32_t fourcc)
{
	const unsigned char letters[] = { fourcc, fourcc >> 8, fourcc >> 16, fourcc >> 24 };
	const char *code;

	for (code = format->codes; *code; code += sizeof(letters))
		if (!memcmp(code, letters, sizeof(letters)))
			return true;
	return false;
}

static const struct format *find_format(uint32_t fourcc)
{
	size_t i;

	for (i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (is_called(&formats[i], fourcc))
			return &formats[i];
	return NULL;
}

/* Returns the distance between rows of the first plane, bytes. */
static uint64_t first_stride(const struct format *format, uint32_t width)
{
	uint64_t align = STRIDE_ALIGN;

	if (format->halved_x && format->bytes[1] == format->bytes[0])
		align *= 2;
	return ((uint64_t)width * format->bytes[0] + align - 1) / align * align;
}

/* Appends a plane of @rows rows to the picture. */
static bool add_plane(struct dmabufx_image *image, uint64_t stride, uint64_t rows)
{
	uint64_t bytes, end;

	if (stride > UINT32_MAX || __builtin_mul_overflow(stride, rows, &bytes) ||
	    __builtin_add_overflow(image->size, bytes, &end))
		return false;
	image->planes[image->nr_planes].stride = stride;
	image->planes[image->nr_planes].offset = image->size;
	image->size = end;
	image->nr_planes++;
	return true;
}

static int lay_out(struct dmabufx_image *image, const struct format *format,
		   uint32_t width, uint32_t height)
{
	uint64_t first = first_stride(format, width), stride, rows;
	uint32_t i;

	for (i = 0; i < DMABUFX_MAX_PLANES && format->bytes[i]; i++) {
		bool halved_x = i && format->halved_x;
		bool halved_y = i && format->halved_y;

		stride = first * format->bytes[i] / format->bytes[0] >> halved_x;
		rows = ((uint64_t)height + halved_y) >> halved_y;
		if (!add_plane(image, stride, rows))
			return -EOVERFLOW;
	}
	return 0;
}

int dmabufx_image_layout_sized(struct dmabufx_image *image, uint32_t image_size,
			       uint32_t fourcc, uint32_t width, uint32_t height)
{
	const struct format *format = find_format(fourcc);
	struct dmabufx_image known = { 0 };
	int ret;

	if (image_size < offsetof(struct dmabufx_image, planes[3]))
		return -EINVAL;
	memset(image, 0, image_size);
	if (!format)
		return -EOPNOTSUPP;
	if (!width || !height)
		return -EINVAL;
	ret = lay_out(&known, format, width, height);
	if (!ret)
		memcpy(image, &known, smaller(image_size, sizeof(known)));
	return ret;
}
