/* SPDX-License-Identifier: MIT */
/*
 * libdmabufx: makes dma-bufs of memory, with dmabufx or, if that is missing, with
 * udmabuf. It also has functions for dma-bufs, most of them for any exporter's.
 *
 * Functions return 0 or more on success and a negative errno on failure, keep
 * no state, and may be called from any thread; none is a cancellation point.
 * <linux/dmabufx.h> and dmabufx(4) describe its structs and constants.
 *
 * Structs may grow at their end. Programs and libraries of different versions work
 * together, because each function that takes a struct is told its size in the
 * program. C and C++ programs call the functions below without _sized in their
 * name, which pass that size on; other languages call the _sized ones. A size
 * below that of the first version is EINVAL. If a program's struct is longer than
 * the library and the driver know, the rest is returned as zeros; where the library
 * reads it, the rest must be zero, or the call fails with E2BIG.
 */
#ifndef DMABUFX_H
#define DMABUFX_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <linux/dmabufx.h>

#ifdef __cplusplus
extern "C" {
#endif

/* dmabufx_open(3): the device, and queries */
int dmabufx_open(void);
int dmabufx_query_sized(int device, struct dmabufx_query *query, uint32_t query_size);
int dmabufx_info_sized(int device, int dmabuf, struct dmabufx_info *info,
		       uint32_t info_size);

static inline int dmabufx_query(int device, struct dmabufx_query *query)
{
	return dmabufx_query_sized(device, query, sizeof(*query));
}

static inline int dmabufx_info(int device, int dmabuf, struct dmabufx_info *info)
{
	return dmabufx_info_sized(device, dmabuf, info, sizeof(*info));
}

/* dmabufx_memfd(3): memory that can become a dma-buf */
int dmabufx_memfd(const char *name, uint64_t size, uint64_t page_size);

/**
 * struct dmabufx_request - properties of a dma-buf to make, and the result
 * @name: of the dma-buf, at most 31 bytes, or NULL
 * @flags: DMABUFX_CREATE_*
 * @error: returned: 0, or the negative errno that the call returned
 * @data_offset: returned on success: where in the buffer the first byte is
 * @failed_segment: returned: index of the segment that is to blame, or the number
 *	of segments if the request as a whole is to blame, or on success
 * @reason: returned: enum dmabufx_reason, or one of those below
 */
struct dmabufx_request {
	const char *name;
	uint32_t flags;
	int error;
	uint64_t data_offset;
	uint32_t failed_segment;
	uint32_t reason;
};

/* EOPNOTSUPP: dmabufx could do it, but only udmabuf is available */
#define DMABUFX_REASON_UDMABUF	0x10000
/* The argument for the device or the memfd is an error number and no descriptor. */
#define DMABUFX_REASON_NO_DEVICE	0x10001
#define DMABUFX_REASON_NO_MEMFD		0x10002

/* dmabufx_create(3): make a dma-buf of memory */
int dmabufx_create_sized(int device, const struct dmabufx_segment *segments,
			 uint32_t segment_size, uint32_t nr_segments,
			 struct dmabufx_request *request, uint32_t request_size);
int dmabufx_create_memfd_sized(int device, int memfd, uint64_t offset, uint64_t size,
			       struct dmabufx_request *request, uint32_t request_size);
int dmabufx_create_iovec_sized(int device, const struct iovec *iov, uint32_t nr,
			       struct dmabufx_request *request, uint32_t request_size);
int dmabufx_explain_sized(const struct dmabufx_request *request, uint32_t request_size,
			  char *text, size_t size);

static inline int dmabufx_create(int device, const struct dmabufx_segment *segments,
				 uint32_t nr_segments, struct dmabufx_request *request)
{
	return dmabufx_create_sized(device, segments, sizeof(*segments), nr_segments,
				    request, sizeof(*request));
}

static inline int dmabufx_create_memfd(int device, int memfd, uint64_t offset,
				       uint64_t size, struct dmabufx_request *request)
{
	return dmabufx_create_memfd_sized(device, memfd, offset, size, request,
					  sizeof(*request));
}

static inline int dmabufx_create_iovec(int device, const struct iovec *iov, uint32_t nr,
				       struct dmabufx_request *request)
{
	return dmabufx_create_iovec_sized(device, iov, nr, request, sizeof(*request));
}

static inline int dmabufx_explain(const struct dmabufx_request *request, char *text,
				  size_t size)
{
	return dmabufx_explain_sized(request, sizeof(*request), text, size);
}

/* dmabufx_map(3): the CPU's addresses of a dma-buf */
int dmabufx_map(int dmabuf, uint64_t offset, uint64_t length, int prot, void **addr);
int dmabufx_unmap(void *addr, uint64_t length);

/* Accesses of the CPU, or of whoever waits for a fence. */
#define DMABUFX_READ	0x1
#define DMABUFX_WRITE	0x2

/* dmabufx_begin_cpu_access(3): taking turns with devices */
int dmabufx_begin_cpu_access(int dmabuf, unsigned int access);
int dmabufx_end_cpu_access(int dmabuf, unsigned int access);
int dmabufx_export_sync_file(int dmabuf, unsigned int access);
int dmabufx_import_sync_file(int dmabuf, int sync_file, unsigned int access);

#define DMABUFX_MAX_PLANES	3

/**
 * struct dmabufx_image - the layout of a picture
 * @size: bytes of the whole picture, with the padding of its rows
 * @nr_planes: how many @planes it has
 * @planes: for each plane: bytes from one row to the next, and where it begins
 */
struct dmabufx_image {
	uint64_t size;
	uint32_t nr_planes;
	struct {
		uint32_t stride;
		uint64_t offset;
	} planes[DMABUFX_MAX_PLANES];
};

/* dmabufx_image(3): pictures in dma-bufs */
int dmabufx_image_layout_sized(struct dmabufx_image *image, uint32_t image_size,
			       uint32_t fourcc, uint32_t width, uint32_t height);

static inline int dmabufx_image_layout(struct dmabufx_image *image, uint32_t fourcc,
				       uint32_t width, uint32_t height)
{
	return dmabufx_image_layout_sized(image, sizeof(*image), fourcc, width, height);
}

#ifdef __cplusplus
}
#endif

#endif /* DMABUFX_H */
