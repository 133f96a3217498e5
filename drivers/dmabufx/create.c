// SPDX-License-Identifier: GPL-2.0-only
/*
 * Buffers for processes: checks a request, lets the sources fill a run table, and
 * exports that as a dma-buf.
 */
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/overflow.h>
#include <linux/sched/signal.h>
#include <linux/uio.h>

#include "dmabufx.h"

/**
 * struct plan - a checked request, before any memory is filled, charged or pinned
 * @user_pages: pages of DMABUFX_USER segments
 * @memfd_pages: pages of DMABUFX_MEMFD segments
 * @shared_pages: pages of DMABUFX_USER segments that are shared memory
 * @first: the first segment that is not empty
 * @last: the last segment that is not empty
 * @file: the file of @fd, from the last look-up, kept because the next segment often
 *	has the same descriptor
 * @fd: the caller's descriptor of @file
 * @is_checked: dmabufx_memfd_check() has accepted @file
 * @locked: @file, if it stays locked because the next segment often is of it, too; or NULL
 * @uncounted: pages of @file that were appended, but not yet passed to
 *	dmabufx_charge_pinned()
 */
struct plan {
	u64 user_pages;
	u64 memfd_pages;
	unsigned long shared_pages;
	u32 first;
	u32 last;
	struct file *file;
	int fd;
	bool is_checked;
	struct file *locked;
	unsigned long uncounted;
};

static void plan_borders(struct plan *plan, const struct dmabufx_buf_request *req)
{
	plan->first = 0;
	while (plan->first < req->nr_segments && !req->segments[plan->first].size)
		plan->first++;

	plan->last = req->nr_segments;
	while (plan->last > plan->first && !req->segments[--plan->last].size)
		;
}

static bool is_skipped(const struct dmabufx_segment *seg,
		       const struct dmabufx_buf_request *req)
{
	return !seg->size && !req->as_udmabuf;
}

/* Returns true if the segment may start and end at these offsets within a page. */
static bool is_aligned_right(const struct plan *plan, u32 i,
			     const struct dmabufx_buf_request *req)
{
	const struct dmabufx_segment *seg = &req->segments[i];
	u64 end = seg->offset + seg->size;

	/* An overflow of offset + size is found later, by dmabufx_memfd_check(). */
	if (req->as_udmabuf)
		return PAGE_ALIGNED(seg->offset) && PAGE_ALIGNED(seg->size);
	return (PAGE_ALIGNED(seg->offset) || i == plan->first) &&
	       (PAGE_ALIGNED(end) || i == plan->last);
}

/* A segment covers whole pages. Returns where the first one starts. */
static u64 segment_start(const struct dmabufx_segment *seg)
{
	return seg->offset & PAGE_MASK;
}

static u64 segment_pages(const struct dmabufx_segment *seg)
{
	/* In two parts, so that the sum cannot overflow. */
	u64 rest = offset_in_page(seg->offset) + (seg->size & ~PAGE_MASK);

	return (seg->size >> PAGE_SHIFT) + DIV_ROUND_UP(rest, PAGE_SIZE);
}

static int plan_segment(struct plan *plan, u32 i, struct dmabufx_buf_request *req)
{
	const struct dmabufx_segment *seg = &req->segments[i];
	u64 end;

	if (seg->type > DMABUFX_USER ||
	    (seg->type == DMABUFX_USER && seg->fd))
		return dmabufx_because(&req->reason, DMABUFX_REASON_TYPE,
				       -EINVAL);
	if (is_skipped(seg, req))
		return 0;
	if (!is_aligned_right(plan, i, req))
		return dmabufx_because(&req->reason, DMABUFX_REASON_UNALIGNED,
				       -EINVAL);
	if (!req->as_udmabuf && check_add_overflow(seg->offset, seg->size, &end))
		return dmabufx_because(&req->reason, DMABUFX_REASON_WRAPS,
				       -EINVAL);

	*(seg->type == DMABUFX_USER ? &plan->user_pages : &plan->memfd_pages) +=
		segment_pages(seg);
	/* Checked after each segment, so that the sum cannot overflow. */
	if (plan->user_pages + plan->memfd_pages > DMABUFX_MAX_PAGES)
		return dmabufx_because(&req->reason, DMABUFX_REASON_TOO_LARGE,
				       -EFBIG);
	return 0;
}

/* Returns the segment's file, or NULL. The plan holds it until the next look-up. */
static struct file *plan_file(struct plan *plan,
			      const struct dmabufx_segment *seg)
{
	if (plan->file && plan->fd == seg->fd)
		return plan->file;
	if (plan->file)
		fput(plan->file);
	plan->file = fget(seg->fd);
	plan->fd = seg->fd;
	plan->is_checked = false;
	return plan->file;
}

static void plan_end(struct plan *plan)
{
	if (plan->file)
		fput(plan->file);
}

static unsigned int memfd_flags(const struct dmabufx_buf_request *req)
{
	unsigned int flags = 0;

	if (!req->read_only)
		flags |= DMABUFX_FOR_WRITING;
	if (req->as_udmabuf)
		flags |= DMABUFX_NOT_WRITE_SEALED;
	return flags;
}

/* udmabuf calls: if a memfd is opened read-only, the dma-buf becomes read-only, too. */
static int plan_memfd(struct plan *plan, const struct dmabufx_segment *seg,
		      struct dmabufx_buf_request *req)
{
	const struct file *file = plan_file(plan, seg);
	u64 start = segment_start(seg), size = segment_pages(seg) << PAGE_SHIFT;
	int ret;

	if (!file)
		return dmabufx_because(&req->reason, DMABUFX_REASON_NOT_OPEN,
				       -EBADF);
	if (plan->is_checked)
		return dmabufx_memfd_check_range(file, start, size, &req->reason);

	if (req->as_udmabuf && !(file->f_mode & FMODE_WRITE))
		req->read_only = true;
	ret = dmabufx_memfd_check(file, start, size, memfd_flags(req), &req->reason);
	plan->is_checked = !ret;
	return ret;
}

static struct iov_iter user_segment_iter(const struct dmabufx_segment *seg,
					 const struct dmabufx_buf_request *req)
{
	struct iov_iter iter;

	iov_iter_ubuf(&iter, req->read_only ? ITER_SOURCE : ITER_DEST,
		      u64_to_user_ptr(segment_start(seg)),
		      segment_pages(seg) << PAGE_SHIFT);
	return iter;
}

static int plan_user(struct plan *plan, const struct dmabufx_segment *seg,
		     struct dmabufx_buf_request *req)
{
	struct iov_iter iter = user_segment_iter(seg, req);

	if (!access_ok(iter.ubuf, iov_iter_count(&iter)))
		return dmabufx_because(&req->reason, DMABUFX_REASON_NOT_USER,
				       -EFAULT);
	return dmabufx_user_look(iter, &plan->shared_pages, &req->reason);
}

/*
 * Check descriptors and addresses before any hole is filled. Another thread may change
 * them afterwards, so they are checked again when memory is pinned.
 */
static int plan_memory(struct plan *plan, struct dmabufx_buf_request *req)
{
	u32 *i = &req->failed_segment;
	int ret;

	for (*i = 0; *i < req->nr_segments; ++*i) {
		const struct dmabufx_segment *seg = &req->segments[*i];

		if (is_skipped(seg, req))
			continue;
		ret = seg->type == DMABUFX_USER ? plan_user(plan, seg, req) :
						  plan_memfd(plan, seg, req);
		if (ret)
			return ret;
		/* A list may name the same thousands of areas again in every segment. */
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

/* Check everything that can be refused before memory is filled, charged or pinned. */
static int plan_request(struct plan *plan, struct dmabufx_buf_request *req)
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
	return plan_memory(plan, req);
}

/*
 * Let the memfd go, and charge what was appended. Called before anything that others can
 * delay: another lock, another batch, a page of a process.
 */
static int settle(struct dmabufx_buf *buf, struct plan *plan, bool complete,
		  u32 *reason)
{
	unsigned long nr_pages = plan->uncounted;
	int ret;

	dmabufx_memfd_let_go(&plan->locked);
	plan->uncounted = 0;
	ret = dmabufx_charge_pinned(&buf->charge, DMABUFX_SHARED, nr_pages, reason);
	return ret ?: dmabufx_charge_parts(&buf->charge, &buf->runs, complete, reason);
}

static int append_memfd(struct dmabufx_buf *buf, struct plan *plan,
			const struct dmabufx_segment *seg,
			struct dmabufx_buf_request *req)
{
	u64 pos = segment_start(seg), end = pos + (segment_pages(seg) << PAGE_SHIFT);
	struct file *file = plan_file(plan, seg);
	loff_t done;
	int ret = 0;

	if (!file)
		return dmabufx_because(&req->reason, DMABUFX_REASON_NOT_OPEN,
				       -EBADF);
	for (; pos < end && !ret; pos += done) {
		done = dmabufx_memfd_append(&buf->runs, &plan->locked, file, pos, end - pos,
					    memfd_flags(req), &req->reason);
		if (done < 0)
			return done;
		plan->uncounted += done >> PAGE_SHIFT;
		if (!plan->locked)
			ret = settle(buf, plan, false, &req->reason);
		cond_resched();
	}
	return ret;
}

static int append_user(struct dmabufx_buf *buf,
		       const struct dmabufx_segment *seg,
		       struct dmabufx_buf_request *req)
{
	struct iov_iter iter = user_segment_iter(seg, req);

	return dmabufx_user_append(&buf->runs, &buf->charge, &iter,
				   &req->reason);
}

static int append_segment(struct dmabufx_buf *buf, struct plan *plan,
			  const struct dmabufx_segment *seg,
			  struct dmabufx_buf_request *req)
{
	bool is_user = seg->type == DMABUFX_USER;
	u32 start = buf->runs.nr_pages;
	int ret = 0;

	if (plan->locked && (is_user || seg->fd != plan->fd))
		ret = settle(buf, plan, false, &req->reason);
	if (!ret)
		ret = is_user ? append_user(buf, seg, req) :
				append_memfd(buf, plan, seg, req);
	/* Pages of a locked memfd were checked before. Each use finds those that break later. */
	if (ret || plan->locked)
		return ret;
	return dmabufx_poison_look(&buf->runs, start, true);
}

static int append_segments(struct dmabufx_buf *buf, struct plan *plan,
			   struct dmabufx_buf_request *req)
{
	u32 *i = &req->failed_segment;
	int ret;

	/* A memfd has to be unlocked whenever the table grows between two of its pieces. */
	if (req->nr_segments > 1 && dmabufx_runs_reserve(&buf->runs, req->nr_segments))
		return -ENOMEM;

	for (*i = 0; *i < req->nr_segments; ++*i) {
		if (is_skipped(&req->segments[*i], req))
			continue;
		ret = append_segment(buf, plan, &req->segments[*i], req);
		if (ret) {
			dmabufx_memfd_let_go(&plan->locked);
			return ret;
		}
	}
	ret = settle(buf, plan, true, &req->reason);
	if (ret)
		*i = plan->last;
	return ret;
}

/*
 * Complete the explanation of a failure. A limit that was reached is no segment's
 * fault: blame the request as a whole. For an errno without a reason yet, from an
 * allocation or the core, set the reason of the segment.
 */
static void explain_errno(struct dmabufx_buf_request *req, int err)
{
	if (req->reason == DMABUFX_REASON_MEMLOCK ||
	    req->reason == DMABUFX_REASON_MEMFD_LIMIT ||
	    req->reason == DMABUFX_REASON_TOTAL_LIMIT)
		req->failed_segment = req->nr_segments;
	if (req->reason != DMABUFX_REASON_NONE ||
	    req->failed_segment == req->nr_segments)
		return;
	if (err == -ENOMEM)
		req->reason = DMABUFX_REASON_NO_MEMORY;
	else if (err == -EMLINK)
		req->reason = DMABUFX_REASON_PINNED_OFTEN;
	else if (err == -EHWPOISON)
		req->reason = DMABUFX_REASON_POISONED;
}

/*
 * Returns true if the first or the last page has bytes that no segment names. Behind the end
 * of a memfd there are none, unless it grows later. Called when all is pinned: the plan still
 * has the last segment's file.
 */
static bool shares_pages(const struct plan *plan, const struct dmabufx_buf_request *req)
{
	const struct dmabufx_segment *last = &req->segments[plan->last];
	u64 end = last->offset + last->size;

	if (req->data_offset)
		return true;
	return !PAGE_ALIGNED(end) && (last->type == DMABUFX_USER ||
				      end < i_size_read(file_inode(plan->file)));
}

static struct dmabufx_buf *buf_from_request(struct dmabufx_buf_request *req,
					    struct plan *plan)
{
	struct dmabufx_buf *buf;
	int ret;

	buf = dmabufx_buf_alloc();
	if (IS_ERR(buf))
		return buf;

	buf->read_only = req->read_only;
	buf->runs.dirty = plan->user_pages && !req->read_only;
	ret = dmabufx_charge(&buf->charge, plan->user_pages - plan->shared_pages,
			     plan->memfd_pages + plan->shared_pages,
			     &req->reason);
	if (!ret)
		ret = append_segments(buf, plan, req);
	if (ret) {
		explain_errno(req, ret);
		dmabufx_buf_free(buf);
		return ERR_PTR(ret);
	}
	buf->shares_pages = shares_pages(plan, req);
	dmabufx_runs_finish(&buf->runs);
	return buf;
}

/* Takes the lock because others can find the dma-buf, and read its name, already. */
static void take_name(struct dma_buf *dmabuf, struct dmabufx_buf_request *req)
{
	spin_lock(&dmabuf->name_lock);
	dmabuf->name = req->name;
	spin_unlock(&dmabuf->name_lock);
	req->name = NULL;
}

/**
 * dmabufx_buf_create - make a dma-buf for a process
 * @req: the request, whose name is taken over on success
 *
 * Context: Process context; looks up the caller's descriptors and addresses.
 * Return: the dma-buf, or -errno, with the reason in @req. The exporter name of
 * buffers from the udmabuf calls is "udmabuf": programs recognise such buffers by
 * it in fdinfo, whichever driver made them.
 */
struct dma_buf *dmabufx_buf_create(struct dmabufx_buf_request *req)
{
	struct plan plan = {};
	struct dmabufx_buf *buf;
	struct dma_buf *dmabuf;
	int ret;

	ret = plan_request(&plan, req);
	buf = ret ? ERR_PTR(ret) : buf_from_request(req, &plan);
	plan_end(&plan);
	if (IS_ERR(buf))
		return ERR_CAST(buf);

	dmabuf = dmabufx_buf_export(buf, req->as_udmabuf ? "udmabuf" : "dmabufx");
	if (!IS_ERR(dmabuf))
		take_name(dmabuf, req);
	return dmabuf;
}
