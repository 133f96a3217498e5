// SPDX-License-Identifier: GPL-2.0-only
/*
 * What processes ask for: a request is looked through, becomes a run table by
 * way of its sources, and a dma-buf.
 */
#include <linux/err.h>
#include <linux/overflow.h>
#include <linux/uio.h>

#include "dmabufx.h"

/**
 * struct plan - a request that was looked through, before anything is taken
 * @user_pages: pages of DMABUFX_USER segments
 * @memfd_pages: pages of DMABUFX_MEMFD segments
 * @first: the first segment that is not empty
 * @last: the last one
 */
struct plan {
	u64 user_pages;
	u64 memfd_pages;
	u32 first;
	u32 last;
};

static void plan_borders(struct plan *plan, const struct dmabufx_request *req)
{
	u32 i;

	plan->first = req->nr_segments;
	for (i = 0; i < req->nr_segments; i++) {
		if (!req->segments[i].size)
			continue;
		plan->first = min(plan->first, i);
		plan->last = i;
	}
}

/* May it start and end where it does? */
static bool is_aligned_right(const struct plan *plan, u32 i,
			     const struct dmabufx_request *req)
{
	const struct dmabufx_segment *seg = &req->segments[i];
	u64 end = seg->offset + seg->size;

	/* Where that wraps, udmabuf says so later. */
	if (req->as_udmabuf)
		return PAGE_ALIGNED(seg->offset) && PAGE_ALIGNED(seg->size);
	return (PAGE_ALIGNED(seg->offset) || i == plan->first) &&
	       (PAGE_ALIGNED(end) || i == plan->last);
}

/* The whole pages that a segment lies in. */
static u64 segment_start(const struct dmabufx_segment *seg)
{
	return seg->offset & PAGE_MASK;
}

static u64 segment_pages(const struct dmabufx_segment *seg)
{
	/* In two parts, so that the sum cannot wrap. */
	u64 rest = offset_in_page(seg->offset) + (seg->size & ~PAGE_MASK);

	return (seg->size >> PAGE_SHIFT) + DIV_ROUND_UP(rest, PAGE_SIZE);
}

static int plan_segment(struct plan *plan, u32 i, struct dmabufx_request *req)
{
	const struct dmabufx_segment *seg = &req->segments[i];
	u64 end;

	if (seg->type > DMABUFX_USER ||
	    (seg->type == DMABUFX_USER && seg->fd))
		return dmabufx_because(&req->reason, DMABUFX_REASON_TYPE,
				       -EINVAL);
	if (!seg->size && !req->as_udmabuf)
		return 0;
	if (!is_aligned_right(plan, i, req))
		return dmabufx_because(&req->reason, DMABUFX_REASON_UNALIGNED,
				       -EINVAL);
	if (!req->as_udmabuf && check_add_overflow(seg->offset, seg->size, &end))
		return dmabufx_because(&req->reason, DMABUFX_REASON_WRAPS,
				       -EINVAL);

	*(seg->type == DMABUFX_USER ? &plan->user_pages : &plan->memfd_pages) +=
		segment_pages(seg);
	/* Compared each time, so that the sum cannot wrap. */
	if (plan->user_pages + plan->memfd_pages > DMABUFX_MAX_PAGES)
		return dmabufx_because(&req->reason, DMABUFX_REASON_TOO_LARGE,
				       -EFBIG);
	return 0;
}

/* What can be refused before anything is taken. */
static int plan_request(struct plan *plan, struct dmabufx_request *req)
{
	u32 *i = &req->failed_segment;
	int ret;

	plan_borders(plan, req);
	for (*i = 0; *i < req->nr_segments; ++*i) {
		ret = plan_segment(plan, *i, req);
		if (ret)
			return ret;
	}
	if (plan->first == req->nr_segments)
		return dmabufx_because(&req->reason, DMABUFX_REASON_EMPTY,
				       -EINVAL);
	req->data_offset = offset_in_page(req->segments[plan->first].offset);
	return 0;
}

static int append_memfd(struct dmabufx_runs *runs,
			const struct dmabufx_segment *seg,
			struct dmabufx_request *req)
{
	unsigned int flags = 0;

	if (!req->read_only)
		flags |= DMABUFX_FOR_WRITING;
	if (req->as_udmabuf)
		flags |= DMABUFX_OPENED_ANYHOW;
	/* To the byte: a memfd may end inside of a page. */
	return dmabufx_memfd_append(runs, seg->fd, segment_start(seg),
				    offset_in_page(seg->offset) + seg->size,
				    flags, &req->reason);
}

static int append_user(struct dmabufx_runs *runs,
		       const struct dmabufx_segment *seg,
		       struct dmabufx_request *req)
{
	void __user *addr = u64_to_user_ptr(segment_start(seg));
	size_t len = segment_pages(seg) << PAGE_SHIFT;
	struct iov_iter iter;

	if (!access_ok(addr, len))
		return dmabufx_because(&req->reason, DMABUFX_REASON_NOT_USER,
				       -EFAULT);
	iov_iter_ubuf(&iter, req->read_only ? ITER_SOURCE : ITER_DEST, addr,
		      len);
	return dmabufx_user_append(runs, &iter, &req->reason);
}

static int append_segments(struct dmabufx_runs *runs,
			   struct dmabufx_request *req)
{
	u32 *i = &req->failed_segment;
	int ret;

	for (*i = 0; *i < req->nr_segments; ++*i) {
		const struct dmabufx_segment *seg = &req->segments[*i];

		if (!seg->size && !req->as_udmabuf)
			continue;
		if (seg->type == DMABUFX_USER)
			ret = append_user(runs, seg, req);
		else
			ret = append_memfd(runs, seg, req);
		if (ret)
			return ret;
	}
	return 0;
}

/* What the errno of an allocation or of the core means. */
static void explain_errno(struct dmabufx_request *req, int err)
{
	if (req->reason != DMABUFX_REASON_NONE ||
	    req->failed_segment == req->nr_segments)
		return;
	if (err == -ENOMEM)
		req->reason = DMABUFX_REASON_NO_MEMORY;
	else if (err == -EMLINK)
		req->reason = DMABUFX_REASON_PINNED_OFTEN;
}

static struct dmabufx_buf *buf_from_request(struct dmabufx_request *req,
					    const struct plan *plan)
{
	struct dmabufx_buf *buf;
	int ret;

	buf = dmabufx_buf_alloc();
	if (IS_ERR(buf))
		return buf;

	buf->read_only = req->read_only;
	buf->runs.dirty = plan->user_pages && !req->read_only;
	ret = dmabufx_charge(&buf->charge, plan->user_pages, plan->memfd_pages,
			     &req->reason);
	if (!ret)
		ret = append_segments(&buf->runs, req);
	if (ret) {
		explain_errno(req, ret);
		dmabufx_buf_free(buf);
		return ERR_PTR(ret);
	}
	dmabufx_runs_finish(&buf->runs);
	return buf;
}

/* The dma-buf is in the core's list already, where others read its name. */
static void take_name(struct dma_buf *dmabuf, struct dmabufx_request *req)
{
	spin_lock(&dmabuf->name_lock);
	dmabuf->name = req->name;
	spin_unlock(&dmabuf->name_lock);
	req->name = NULL;
}

/**
 * dmabufx_create - make a dma-buf for a process
 * @req: what it shall be
 *
 * Context: Process context, the caller's descriptors and addresses are looked
 * up.
 * Return: the dma-buf, or -errno and why in @req. Programs recognise what came
 * out of the udmabuf calls by its exporter name in fdinfo, whichever driver
 * made it.
 */
struct dma_buf *dmabufx_create(struct dmabufx_request *req)
{
	struct plan plan = {};
	struct dmabufx_buf *buf;
	struct dma_buf *dmabuf;
	int ret;

	ret = plan_request(&plan, req);
	if (ret)
		return ERR_PTR(ret);

	buf = buf_from_request(req, &plan);
	if (IS_ERR(buf))
		return ERR_CAST(buf);

	dmabuf = dmabufx_buf_export(buf, req->as_udmabuf ? "udmabuf" : "dmabufx",
				    THIS_MODULE);
	if (!IS_ERR(dmabuf))
		take_name(dmabuf, req);
	return dmabuf;
}
