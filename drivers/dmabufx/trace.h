/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints: what importers and processes do with a buffer.
 *
 * Every event names the buffer by the dma-buf's inode number, which fdinfo,
 * /sys/kernel/debug/dma_buf/bufinfo and fstat() show too.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM dmabufx

#if !defined(DMABUFX_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define DMABUFX_TRACE_H

#include <linux/device.h>
#include <linux/tracepoint.h>

#include "dmabufx.h"

#ifndef DMABUFX_TRACE_DIRECTIONS
#define DMABUFX_TRACE_DIRECTIONS \
	{ DMA_BIDIRECTIONAL, "both" }, \
	{ DMA_TO_DEVICE, "to-device" }, \
	{ DMA_FROM_DEVICE, "from-device" }
#endif

DECLARE_EVENT_CLASS(dmabufx_buf,
	TP_PROTO(const struct dmabufx_buf *buf),
	TP_ARGS(buf),
	TP_STRUCT__entry(
		__field(unsigned long, ino)
		__field(u32, nr_pages)
		__field(u32, nr_runs)
	),
	TP_fast_assign(
		__entry->ino = buf->ino;
		__entry->nr_pages = buf->runs.nr_pages;
		__entry->nr_runs = buf->runs.nr;
	),
	TP_printk("ino=%lu pages=%u runs=%u", __entry->ino, __entry->nr_pages,
		  __entry->nr_runs)
);

DEFINE_EVENT(dmabufx_buf, dmabufx_create,
	TP_PROTO(const struct dmabufx_buf *buf), TP_ARGS(buf));
DEFINE_EVENT(dmabufx_buf, dmabufx_release,
	TP_PROTO(const struct dmabufx_buf *buf), TP_ARGS(buf));
DEFINE_EVENT(dmabufx_buf, dmabufx_vunmap,
	TP_PROTO(const struct dmabufx_buf *buf), TP_ARGS(buf));

DECLARE_EVENT_CLASS(dmabufx_device,
	TP_PROTO(const struct dmabufx_buf *buf, struct device *dev),
	TP_ARGS(buf, dev),
	TP_STRUCT__entry(
		__field(unsigned long, ino)
		__string(dev, dev_name(dev))
	),
	TP_fast_assign(
		__entry->ino = buf->ino;
		__assign_str(dev);
	),
	TP_printk("ino=%lu dev=%s", __entry->ino, __get_str(dev))
);

DEFINE_EVENT(dmabufx_device, dmabufx_attach,
	TP_PROTO(const struct dmabufx_buf *buf, struct device *dev),
	TP_ARGS(buf, dev));
DEFINE_EVENT(dmabufx_device, dmabufx_detach,
	TP_PROTO(const struct dmabufx_buf *buf, struct device *dev),
	TP_ARGS(buf, dev));

TRACE_EVENT(dmabufx_map,
	TP_PROTO(const struct dmabufx_buf *buf, struct device *dev,
		 enum dma_data_direction dir, unsigned int nents, int ret),
	TP_ARGS(buf, dev, dir, nents, ret),
	TP_STRUCT__entry(
		__field(unsigned long, ino)
		__string(dev, dev_name(dev))
		__field(int, dir)
		__field(unsigned int, nents)
		__field(int, ret)
	),
	TP_fast_assign(
		__entry->ino = buf->ino;
		__assign_str(dev);
		__entry->dir = dir;
		__entry->nents = nents;
		__entry->ret = ret;
	),
	TP_printk("ino=%lu dev=%s dir=%s nents=%u ret=%d", __entry->ino,
		  __get_str(dev),
		  __print_symbolic(__entry->dir, DMABUFX_TRACE_DIRECTIONS),
		  __entry->nents, __entry->ret)
);

TRACE_EVENT(dmabufx_unmap,
	TP_PROTO(const struct dmabufx_buf *buf, struct device *dev,
		 enum dma_data_direction dir),
	TP_ARGS(buf, dev, dir),
	TP_STRUCT__entry(
		__field(unsigned long, ino)
		__string(dev, dev_name(dev))
		__field(int, dir)
	),
	TP_fast_assign(
		__entry->ino = buf->ino;
		__assign_str(dev);
		__entry->dir = dir;
	),
	TP_printk("ino=%lu dev=%s dir=%s", __entry->ino, __get_str(dev),
		  __print_symbolic(__entry->dir, DMABUFX_TRACE_DIRECTIONS))
);

DECLARE_EVENT_CLASS(dmabufx_cpu_access,
	TP_PROTO(const struct dmabufx_buf *buf, enum dma_data_direction dir),
	TP_ARGS(buf, dir),
	TP_STRUCT__entry(
		__field(unsigned long, ino)
		__field(int, dir)
	),
	TP_fast_assign(
		__entry->ino = buf->ino;
		__entry->dir = dir;
	),
	TP_printk("ino=%lu dir=%s", __entry->ino,
		  __print_symbolic(__entry->dir, DMABUFX_TRACE_DIRECTIONS))
);

DEFINE_EVENT(dmabufx_cpu_access, dmabufx_begin_cpu_access,
	TP_PROTO(const struct dmabufx_buf *buf, enum dma_data_direction dir),
	TP_ARGS(buf, dir));
DEFINE_EVENT(dmabufx_cpu_access, dmabufx_end_cpu_access,
	TP_PROTO(const struct dmabufx_buf *buf, enum dma_data_direction dir),
	TP_ARGS(buf, dir));

TRACE_EVENT(dmabufx_mmap,
	TP_PROTO(const struct dmabufx_buf *buf, unsigned long pgoff,
		 unsigned long nr_pages),
	TP_ARGS(buf, pgoff, nr_pages),
	TP_STRUCT__entry(
		__field(unsigned long, ino)
		__field(unsigned long, pgoff)
		__field(unsigned long, nr_pages)
	),
	TP_fast_assign(
		__entry->ino = buf->ino;
		__entry->pgoff = pgoff;
		__entry->nr_pages = nr_pages;
	),
	TP_printk("ino=%lu pgoff=%lu pages=%lu", __entry->ino, __entry->pgoff,
		  __entry->nr_pages)
);

TRACE_EVENT(dmabufx_fault,
	TP_PROTO(const struct dmabufx_buf *buf, unsigned long pgoff,
		 unsigned int order, vm_fault_t ret),
	TP_ARGS(buf, pgoff, order, ret),
	TP_STRUCT__entry(
		__field(unsigned long, ino)
		__field(unsigned long, pgoff)
		__field(unsigned int, order)
		__field(unsigned int, ret)
	),
	TP_fast_assign(
		__entry->ino = buf->ino;
		__entry->pgoff = pgoff;
		__entry->order = order;
		__entry->ret = (__force unsigned int)ret;
	),
	TP_printk("ino=%lu pgoff=%lu order=%u ret=%#x", __entry->ino,
		  __entry->pgoff, __entry->order, __entry->ret)
);

TRACE_EVENT(dmabufx_vmap,
	TP_PROTO(const struct dmabufx_buf *buf, int ret),
	TP_ARGS(buf, ret),
	TP_STRUCT__entry(
		__field(unsigned long, ino)
		__field(u32, nr_runs)
		__field(int, ret)
	),
	TP_fast_assign(
		__entry->ino = buf->ino;
		__entry->nr_runs = buf->runs.nr;
		__entry->ret = ret;
	),
	TP_printk("ino=%lu runs=%u ret=%d", __entry->ino, __entry->nr_runs,
		  __entry->ret)
);

#endif /* DMABUFX_TRACE_H */

#undef TRACE_INCLUDE_PATH
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_PATH .
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
