/* SPDX-License-Identifier: MIT */
/*
 * libdmabufx: memory becomes dma-bufs, by dmabufx or, where that is not there,
 * by udmabuf; and what programs do with dma-bufs, most of it of any origin.
 *
 * Functions return 0 or more on success and a negative errno on failure, keep
 * no state, and may be called from any thread; none is a point at which a thread
 * is cancelled. What the structs and constants of <linux/dmabufx.h> mean is said
 * there, and in dmabufx(4).
 *
 * Structs may grow at their end. A program and a library of different versions
 * agree because each function that takes a struct is told how large the program
 * knows it to be. C and C++ programs call the functions below that have no
 * _sized in their name, which pass that on; other languages call _sized. A size
 * below that of the first version is EINVAL. What a newer program has beyond
 * what the library and the driver know is returned as zeros; where the library
 * reads it, it must be zero, or the call fails with E2BIG.
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

/* dmabufx_open(3): the device, and what it tells */
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
 * struct dmabufx_request - how a dma-buf shall be, and what came of it
 * @name: of the dma-buf, at most 31 bytes, or NULL
 * @flags: DMABUFX_CREATE_*
 * @error: returned: 0, or what the call returned
 * @data_offset: returned on success: where in the buffer the first byte lies
 * @failed_segment: returned: the segment that is to blame, or how many there are
 *	where it is the request as a whole, or none
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

/* EOPNOTSUPP: dmabufx could, but only udmabuf is there */
#define DMABUFX_REASON_UDMABUF	0x10000
/* What was to be the device's or the memfd's descriptor is an error number. */
#define DMABUFX_REASON_NO_DEVICE	0x10001
#define DMABUFX_REASON_NO_MEMFD		0x10002

/* dmabufx_create(3): memory becomes a dma-buf */
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

/* What the CPU, or whoever waits for a fence, is going to do. */
#define DMABUFX_READ	0x1
#define DMABUFX_WRITE	0x2

/* dmabufx_begin_cpu_access(3): taking turns with devices */
int dmabufx_begin_cpu_access(int dmabuf, unsigned int access);
int dmabufx_end_cpu_access(int dmabuf, unsigned int access);
int dmabufx_export_sync_file(int dmabuf, unsigned int access);
int dmabufx_import_sync_file(int dmabuf, int sync_file, unsigned int access);

#define DMABUFX_MAX_PLANES	3

/**
 * struct dmabufx_image - where the pixels of a picture lie
 * @size: bytes that the picture takes, the padding of its rows included
 * @nr_planes: how many @planes there are
 * @planes: where each begins, bytes, and from one row of it to the next
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
