// SPDX-License-Identifier: MIT
/*
 * Fences of a buffer: vgem attaches some, as a GPU does, and everybody who must wait for
 * them waits.
 */
#define DEFAULT_TAGS TAG_PEER

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "buffer.h"
#include "harness.h"
#include "memory.h"
#include "vgem.h"

#define SIZE KIB(64)

/*
 * Milliseconds. A_WHILE is longer than anything takes that does not wait. SOON is less than
 * the 10 s after which vgem gives a fence up. LONG is more than anything takes on a slow
 * machine that no longer waits.
 */
#define A_WHILE 300
#define SOON 5000
#define LONG 60000

/* Returns those of @events that come within @ms milliseconds. */
static int events_of(int fd, int events, int ms)
{
	struct pollfd ready = { .fd = fd, .events = events };

	must(poll(&ready, 1, ms));
	return ready.revents;
}

static int small_buffer(void)
{
	struct memory mem = memory_make(SHMEM_4K, SIZE);

	return create_range(&mem, 0, mem.size);
}

PROMISE(fence_poll_waits,
	"poll() tells when a device has written, and when all devices have read")
{
	int fd = small_buffer();
	struct fence fence;

	check_eq(events_of(fd, POLLIN | POLLOUT, 0), POLLIN | POLLOUT);
	fence = fence_attach(fd, true);
	check_eq(events_of(fd, POLLIN, A_WHILE), 0);
	check_eq(events_of(fd, POLLOUT, 0), 0);
	fence_signal(&fence);
	check_eq(events_of(fd, POLLIN, LONG), POLLIN);
	check_eq(events_of(fd, POLLOUT, LONG), POLLOUT);

	fence = fence_attach(fd, false);
	check_eq(events_of(fd, POLLIN, 0), POLLIN);
	check_eq(events_of(fd, POLLOUT, A_WHILE), 0);
	fence_signal(&fence);
	check_eq(events_of(fd, POLLOUT, LONG), POLLOUT);
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
	"a sync_file exported for reading or writing waits for the right fences")
{
	int fd = small_buffer(), before_reading, before_writing;
	struct fence fence = fence_attach(fd, false);

	before_reading = export_sync_file(fd, DMA_BUF_SYNC_READ);
	before_writing = export_sync_file(fd, DMA_BUF_SYNC_WRITE);
	check_eq(events_of(before_reading, POLLIN, 0), POLLIN);
	check_eq(events_of(before_writing, POLLIN, A_WHILE), 0);
	fence_signal(&fence);
	check_eq(events_of(before_writing, POLLIN, LONG), POLLIN);
}

/* Attaches a fence to another buffer, and imports it into @dma_buf, which no device has. */
static struct fence import_fence(int other, int dma_buf, __u32 flags)
{
	struct fence fence = fence_attach(other, true);
	int sync_file = export_sync_file(other, DMA_BUF_SYNC_RW);

	import_sync_file(dma_buf, sync_file, flags);
	must(close(sync_file));
	return fence;
}

PROMISE(fence_goes_in_as_sync_file,
	"an imported sync_file delays access like the fence of a device")
{
	int fd = small_buffer(), other = small_buffer();
	struct fence fence = import_fence(other, fd, DMA_BUF_SYNC_WRITE);

	check_eq(events_of(fd, POLLIN, A_WHILE), 0);
	fence_signal(&fence);
	check_eq(events_of(fd, POLLIN, LONG), POLLIN);

	fence = import_fence(other, fd, DMA_BUF_SYNC_READ);
	check_eq(events_of(fd, POLLIN, 0), POLLIN);
	check_eq(events_of(fd, POLLOUT, A_WHILE), 0);
	fence_signal(&fence);
	check_eq(events_of(fd, POLLOUT, LONG), POLLOUT);
}

/**
 * struct access - a process that begins and ends an access to a buffer
 * @pid: the process
 * @end: its pidfd, to wait for its end
 */
struct access {
	int pid;
	int end;
};

/* Starts a process that fails unless its access ends with @error, or succeeds for 0. */
static struct access access_start(int dma_buf, __u64 direction, int error)
{
	struct dma_buf_sync sync = { DMA_BUF_SYNC_START | direction };
	struct access access = { .pid = must(fork()) };

	if (!access.pid) {
		if (error) {
			must_fail(error, ioctl(dma_buf, DMA_BUF_IOCTL_SYNC, &sync));
		} else {
			sync_start(dma_buf, direction);
			sync_end(dma_buf, direction);
		}
		_exit(0);
	}
	access.end = must(syscall(SYS_pidfd_open, access.pid, 0));
	return access;
}

static bool access_ends(const struct access *access, int ms)
{
	return events_of(access->end, POLLIN, ms);
}

static void access_join(const struct access *access)
{
	check(access_ends(access, LONG));
	join_child(access->pid);
	must(close(access->end));
}

static void access_waits(int dma_buf, __u64 direction, bool device_writes)
{
	struct fence fence = fence_attach(dma_buf, device_writes);
	struct access access = access_start(dma_buf, direction, 0);

	check(!access_ends(&access, A_WHILE));
	fence_signal(&fence);
	access_join(&access);
}

PROMISE(fence_delays_cpu_access,
	"DMA_BUF_IOCTL_SYNC waits for devices; to read, only for those that write")
{
	int fd = small_buffer();
	struct access access;
	struct fence fence;

	access_waits(fd, DMA_BUF_SYNC_READ, true);
	access_waits(fd, DMA_BUF_SYNC_WRITE, true);
	access_waits(fd, DMA_BUF_SYNC_RW, true);
	access_waits(fd, DMA_BUF_SYNC_WRITE, false);

	fence = fence_attach(fd, false);
	access = access_start(fd, DMA_BUF_SYNC_READ, 0);
	check(access_ends(&access, SOON));
	access_join(&access);
	fence_signal(&fence);
}

PROMISE(fence_wait_is_interrupted,
	"a signal ends the wait for a device with EINTR, and a later access succeeds")
{
	struct sigaction action = { .sa_handler = ignore_signal };
	int fd = small_buffer(), left = SOON / A_WHILE;
	struct fence fence = fence_attach(fd, true);
	struct access access;

	must(sigaction(SIGUSR1, &action, NULL));
	access = access_start(fd, DMA_BUF_SYNC_RW, EINTR);
	check(!access_ends(&access, A_WHILE));
	/* The first signal may come before it waits: repeats it, until vgem would give up. */
	do
		must(kill(access.pid, SIGUSR1));
	while (!access_ends(&access, A_WHILE) && --left);
	check_le(1, left);
	access_join(&access);
	fence_signal(&fence);
	sync_start(fd, DMA_BUF_SYNC_RW);
	sync_end(fd, DMA_BUF_SYNC_RW);
}

PROMISE(swiotlb_data_waits_for_fence,
	"the CPU gets what a device wrote before its fence signalled", TAG_BOUNCED)
{
	struct memory mem = memory_make_patterned(SHMEM_4K, SIZE);
	int fd = create_range(&mem, 0, SIZE), importer = importer_open();
	struct fence fence = import_fence(small_buffer(), fd, DMA_BUF_SYNC_WRITE);
	static __u64 data[SIZE / 8];
	struct access access;

	importer_attach(importer, fd);
	importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	access = access_start(fd, DMA_BUF_SYNC_READ, 0);
	check(!access_ends(&access, A_WHILE));
	pattern_fill(data, 2, mem.id, 0, SIZE);
	importer_write(importer, DMABUFX_VIA_DEVICE, 0, data, SIZE);
	pattern_check(mem.map, 1, mem.id, 0, SIZE, "the CPU");
	fence_signal(&fence);
	access_join(&access);
	pattern_check(mem.map, 2, mem.id, 0, SIZE, "the CPU");
}
