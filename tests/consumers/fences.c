// SPDX-License-Identifier: MIT
/*
 * Fences: vgem attaches some to our buffers as a GPU does, and everybody waits
 * for them who has to.
 */
#include <drm/vgem_drm.h>
#include <linux/dma-buf.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xf86drm.h>

#include "buffer.h"
#include "canvas.h"
#include "cards.h"
#include "harness.h"
#include "operations.h"

/*
 * Milliseconds: enough for whoever would not wait; well before a fence of vgem is given up,
 * which is after 10 s; and for who waits no more, however slow.
 */
#define A_WHILE 300
#define SOON 5000
#define LONG 60000

struct fence {
	int card;
	__u32 handle;	/* vgem's, of the buffer that it is attached to */
	__u32 id;
};

/* From now on a device reads, or writes, the dma-buf. */
static struct fence attach_fence(int dma_buf, bool write)
{
	struct fence fence = { .card = card_open("vgem") };
	struct drm_vgem_fence_attach attach = {
		.flags = write ? VGEM_FENCE_WRITE : 0,
	};

	must(drmPrimeFDToHandle(fence.card, dma_buf, &fence.handle));
	attach.handle = fence.handle;
	must(drmIoctl(fence.card, DRM_IOCTL_VGEM_FENCE_ATTACH, &attach));
	fence.id = attach.out_fence;
	return fence;
}

/* The device is done. */
static void signal_fence(struct fence *fence)
{
	struct drm_vgem_fence_signal signal = { .fence = fence->id };

	must(drmIoctl(fence->card, DRM_IOCTL_VGEM_FENCE_SIGNAL, &signal));
	must(drmCloseBufferHandle(fence->card, fence->handle));
	must(close(fence->card));
}

/* What of @events comes within @ms. */
static int events_of(int fd, int events, int ms)
{
	struct pollfd ready = { .fd = fd, .events = events };

	must(poll(&ready, 1, ms));
	return ready.revents;
}

static struct canvas small_canvas(void)
{
	return canvas_make(SHMEM_4K, SHUFFLED, KIB(64));
}

PROMISE(fence_poll_waits,
	"poll() says when a device has written, and when all have read", TAG_DRIVER)
{
	struct canvas canvas = small_canvas();
	struct fence fence;

	check_eq(events_of(canvas.fd, POLLIN | POLLOUT, 0), POLLIN | POLLOUT);
	fence = attach_fence(canvas.fd, true);
	check_eq(events_of(canvas.fd, POLLIN, A_WHILE), 0);
	check_eq(events_of(canvas.fd, POLLOUT, 0), 0);
	signal_fence(&fence);
	check_eq(events_of(canvas.fd, POLLIN, LONG), POLLIN);
	check_eq(events_of(canvas.fd, POLLOUT, LONG), POLLOUT);

	fence = attach_fence(canvas.fd, false);
	check_eq(events_of(canvas.fd, POLLIN, 0), POLLIN);
	check_eq(events_of(canvas.fd, POLLOUT, A_WHILE), 0);
	signal_fence(&fence);
	check_eq(events_of(canvas.fd, POLLOUT, LONG), POLLOUT);
	canvas_free(&canvas);
}

static int export_sync_file(int dma_buf, __u32 flags)
{
	struct dma_buf_export_sync_file export = { .flags = flags };

	must(ioctl(dma_buf, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &export));
	return export.fd;
}

static void import_sync_file(int dma_buf, int sync_file, __u32 flags)
{
	struct dma_buf_import_sync_file import = {
		.flags = flags,
		.fd = sync_file,
	};

	must(ioctl(dma_buf, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &import));
}

PROMISE(fence_comes_out_as_sync_file,
	"a sync_file of the buffer waits for what its user has to wait for", TAG_DRIVER)
{
	struct canvas canvas = small_canvas();
	struct fence fence = attach_fence(canvas.fd, false);
	int before_reading, before_writing;

	before_reading = export_sync_file(canvas.fd, DMA_BUF_SYNC_READ);
	before_writing = export_sync_file(canvas.fd, DMA_BUF_SYNC_WRITE);
	check_eq(events_of(before_reading, POLLIN, 0), POLLIN);
	check_eq(events_of(before_writing, POLLIN, A_WHILE), 0);
	signal_fence(&fence);
	check_eq(events_of(before_writing, POLLIN, LONG), POLLIN);
	close(before_reading);
	close(before_writing);
	canvas_free(&canvas);
}

/* A fence of another buffer becomes one of @dma_buf, which no device has. */
static struct fence import_fence(struct canvas *other, int dma_buf, bool write)
{
	struct fence fence = attach_fence(other->fd, true);
	int sync_file = export_sync_file(other->fd, DMA_BUF_SYNC_RW);

	import_sync_file(dma_buf, sync_file,
			 write ? DMA_BUF_SYNC_WRITE : DMA_BUF_SYNC_READ);
	close(sync_file);
	return fence;
}

PROMISE(fence_goes_in_as_sync_file,
	"a sync_file that is put into a buffer is waited for like a device's fence",
	TAG_DRIVER)
{
	struct canvas canvas = small_canvas(), other = small_canvas();
	struct fence fence = import_fence(&other, canvas.fd, true);

	check_eq(events_of(canvas.fd, POLLIN, A_WHILE), 0);
	signal_fence(&fence);
	check_eq(events_of(canvas.fd, POLLIN, LONG), POLLIN);

	fence = import_fence(&other, canvas.fd, false);
	check_eq(events_of(canvas.fd, POLLIN, 0), POLLIN);
	check_eq(events_of(canvas.fd, POLLOUT, A_WHILE), 0);
	signal_fence(&fence);
	check_eq(events_of(canvas.fd, POLLOUT, LONG), POLLOUT);
	canvas_free(&other);
	canvas_free(&canvas);
}

/* A process that does DMA_BUF_SYNC_START and ends; what to poll for its end. */
static int start_cpu_access(int dma_buf, __u64 direction, int *pid)
{
	*pid = must(fork());
	if (!*pid) {
		sync_start(dma_buf, direction);
		sync_end(dma_buf, direction);
		_exit(0);
	}
	return must(syscall(SYS_pidfd_open, *pid, 0));
}

static void expect_wait(struct canvas *canvas, struct fence *fence,
			__u64 direction)
{
	int pid, process;

	operations_watch();
	process = start_cpu_access(canvas->fd, direction, &pid);
	check_eq(events_of(process, POLLIN, A_WHILE), 0);
	check_eq(operations_count(canvas->fd, "begin_cpu_access"), 0);
	signal_fence(fence);
	check_eq(events_of(process, POLLIN, LONG), POLLIN);
	check_eq(operations_count(canvas->fd, "begin_cpu_access"), 1);
	join_child(pid);
	close(process);
}

PROMISE(fence_delays_cpu_access,
	"DMA_BUF_IOCTL_SYNC waits for devices, and only then synchronises", TAG_DRIVER)
{
	struct canvas canvas = small_canvas();
	struct fence fence = attach_fence(canvas.fd, true);
	int pid, process;

	expect_wait(&canvas, &fence, DMA_BUF_SYNC_READ);
	fence = attach_fence(canvas.fd, true);
	expect_wait(&canvas, &fence, DMA_BUF_SYNC_WRITE);
	fence = attach_fence(canvas.fd, false);
	expect_wait(&canvas, &fence, DMA_BUF_SYNC_WRITE);

	/* A CPU that reads does not disturb a device that reads. */
	fence = attach_fence(canvas.fd, false);
	process = start_cpu_access(canvas.fd, DMA_BUF_SYNC_READ, &pid);
	check_eq(events_of(process, POLLIN, SOON), POLLIN);
	join_child(pid);
	close(process);
	signal_fence(&fence);
	canvas_free(&canvas);
}

PROMISE(bounced_data_waits_for_fence,
	"what a bounced device writes until its fence is what the CPU gets", TAG_BOUNCED)
{
	struct canvas canvas = small_canvas(), other = small_canvas();
	struct fence fence;
	int importer = importer_open(), pid, process;

	importer_attach(importer, canvas.fd);
	importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	fence = import_fence(&other, canvas.fd, true);
	process = start_cpu_access(canvas.fd, DMA_BUF_SYNC_READ, &pid);
	check_eq(events_of(process, POLLIN, A_WHILE), 0);

	/* The device still writes, and nobody sees it before it is done. */
	pattern_fill(other.want, 1, other.mem.id, 0, other.size);
	importer_write(importer, DMABUFX_VIA_DEVICE, 0, other.want,
		       canvas.size);
	check(!memcmp(canvas.mem.map, canvas.want, PAGE));
	signal_fence(&fence);
	check_eq(events_of(process, POLLIN, LONG), POLLIN);
	join_child(pid);
	close(process);
	memcpy(canvas.want, other.want, canvas.size);
	canvas_check(&canvas, "a bounced device");

	close(importer);
	canvas_free(&other);
	canvas_free(&canvas);
}
