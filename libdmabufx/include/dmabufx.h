/* SPDX-License-Identifier: MIT */
/*
 * libdmabufx: what programs do with dma-bufs made by dmabufx. Nearly all of it
 * works with dma-bufs of any origin.
 *
 * Functions return 0 or more on success and a negative errno on failure, keep
 * no state, and may be called from any thread.
 */
#ifndef DMABUFX_H
#define DMABUFX_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* dmabufx_map(3) */
int dmabufx_map(int dmabuf, uint64_t offset, size_t length, int prot,
		void **addr);
int dmabufx_unmap(void *addr, size_t length);

#ifdef __cplusplus
}
#endif

#endif /* DMABUFX_H */
