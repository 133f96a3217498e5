// SPDX-License-Identifier: MIT
/**
 * TEST: dmabufx sync
 * Category: Core
 * Mega feature: General Core features
 * Sub-category: dmabuf
 * Description: Whose memory it is when: DMA_BUF_IOCTL_SYNC, what drivers do for
 *	themselves, fences, and devices that work on a copy (bounce buffers)
 * Functionality: dmabuf test
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "igt.h"
#include "igt_dmabufx.h"
#include "igt_dmabufx_drm.h"

IGT_TEST_DESCRIPTION("Access of CPU and devices to dma-bufs by turns");

#define SIZE KIB(64)

/*
 * Milliseconds: enough for whoever would not wait; well before a fence of vgem is given up,
 * which is after 10 s; and for who waits no more, however slow.
 */
#define A_WHILE 100
#define SOON 5000
#define LONG 60000

static const uint64_t directions[] = {
	DMA_BUF_SYNC_READ, DMA_BUF_SYNC_WRITE, DMA_BUF_SYNC_RW,
};

static void small_buffer(struct dmabufx_buffer *buf, int device)
{
	dmabufx_buffer_init(buf, device, SHMEM_4K, SIZE);
}

/**
 * SUBTEST: directions
 * Description: Brackets succeed for reading, writing and both, whether a device has the
 *	buffer mapped or not
 */
static void test_directions(int device)
{
	struct dmabufx_buffer buf;
	int mapped, i;

	small_buffer(&buf, device);
	for (mapped = 0; mapped < 2; mapped++) {
		for (i = 0; i < 3; i++) {
			dmabufx_sync(buf.fd, DMA_BUF_SYNC_START | directions[i]);
			dmabufx_sync(buf.fd, DMA_BUF_SYNC_END | directions[i]);
		}
		dmabufx_buffer_write(&buf, WAY_DEVICE, 1);
		dmabufx_buffer_check(&buf, WAY_MEMORY, 1);
	}
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: bad-flags
 * Description: A bracket of no direction, and every flag without a meaning, is refused
 */
static void test_bad_flags(int device)
{
	struct dmabufx_buffer buf;
	int bit;

	small_buffer(&buf, device);
	igt_assert_eq(__dmabufx_sync(buf.fd, DMA_BUF_SYNC_START), -EINVAL);
	igt_assert_eq(__dmabufx_sync(buf.fd, DMA_BUF_SYNC_END), -EINVAL);
	for (bit = 3; bit < 64; bit++)
		igt_assert_eq(__dmabufx_sync(buf.fd, DMA_BUF_SYNC_RW | 1ull << bit), -EINVAL);
	igt_assert_eq(ioctl(buf.fd, DMA_BUF_IOCTL_SYNC, 8), -1);
	igt_assert_eq(errno, EFAULT);
	dmabufx_sync(buf.fd, DMA_BUF_SYNC_RW);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: importer-brackets
 * Description: A driver may begin and end CPU access in every direction, before it has
 *	mapped the buffer and while it has
 */
static void test_importer_brackets(int device)
{
	struct dmabufx_buffer buf;
	int importer = importer_open(), mapped, dir;

	small_buffer(&buf, device);
	importer_attach(importer, buf.fd);
	for (mapped = 0; mapped < 2; mapped++) {
		for (dir = DMABUFX_IMPORTER_BIDIRECTIONAL;
		     dir <= DMABUFX_IMPORTER_FROM_DEVICE; dir++) {
			importer_begin(importer, dir);
			importer_end(importer, dir);
		}
		if (!mapped)
			importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	}
	close(importer);
	dmabufx_buffer_fini(&buf);
}

/* A thread that begins CPU access, and may have to wait for it. */
struct cpu_access {
	pthread_t thread;
	int dmabuf;
	uint64_t direction;
	int result;
};

static void *begin_access(void *arg)
{
	struct cpu_access *access = arg;

	access->result = __dmabufx_sync(access->dmabuf, DMA_BUF_SYNC_START |
					access->direction);
	if (!access->result)
		dmabufx_sync(access->dmabuf, DMA_BUF_SYNC_END | access->direction);
	return NULL;
}

static void start_access(struct cpu_access *access, int dmabuf, uint64_t direction)
{
	access->dmabuf = dmabuf;
	access->direction = direction;
	igt_assert(!pthread_create(&access->thread, NULL, begin_access, access));
}

static bool ends_within(struct cpu_access *access, int ms)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += ms % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_nsec -= 1000000000L;
		until.tv_sec++;
	}
	return !pthread_timedjoin_np(access->thread, NULL, &until);
}

/* Access that has to wait for the fence, and for nothing else. */
static void waits(int dmabuf, uint64_t direction, bool device_writes)
{
	struct dmabufx_fence fence = dmabufx_fence_attach(dmabuf, device_writes);
	struct cpu_access access;

	start_access(&access, dmabuf, direction);
	igt_assert(!ends_within(&access, A_WHILE));
	dmabufx_fence_signal(&fence);
	igt_assert(ends_within(&access, LONG));
	igt_assert_eq(access.result, 0);
}

/**
 * SUBTEST: waits-for-writer
 * Description: Who wants to read or write waits for a device that writes
 */
static void test_waits_for_writer(int device)
{
	struct dmabufx_buffer buf;
	int i;

	small_buffer(&buf, device);
	for (i = 0; i < 3; i++)
		waits(buf.fd, directions[i], true);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: waits-for-reader
 * Description: Who wants to write waits for a device that reads; who reads does not
 */
static void test_waits_for_reader(int device)
{
	struct dmabufx_fence fence;
	struct dmabufx_buffer buf;
	struct cpu_access access;

	small_buffer(&buf, device);
	waits(buf.fd, DMA_BUF_SYNC_WRITE, false);
	fence = dmabufx_fence_attach(buf.fd, false);
	start_access(&access, buf.fd, DMA_BUF_SYNC_READ);
	igt_assert(ends_within(&access, SOON));
	igt_assert_eq(access.result, 0);
	dmabufx_fence_signal(&fence);
	dmabufx_buffer_fini(&buf);
}

static void on_signal(int signal)
{
}

/**
 * SUBTEST: interrupted
 * Description: A signal ends the wait for a device with EINTR, and the next one succeeds
 */
static void test_interrupted(int device)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct dmabufx_fence fence;
	struct dmabufx_buffer buf;
	struct cpu_access access;
	int left = SOON / A_WHILE;

	small_buffer(&buf, device);
	sigaction(SIGUSR1, &action, NULL);
	fence = dmabufx_fence_attach(buf.fd, true);
	start_access(&access, buf.fd, DMA_BUF_SYNC_RW);
	igt_assert(!ends_within(&access, A_WHILE));
	/* It may not have got there yet: again, but well before the fence gives up. */
	do
		pthread_kill(access.thread, SIGUSR1);
	while (!ends_within(&access, A_WHILE) && --left);
	igt_assert_lt(0, left);
	igt_assert_eq(access.result, -EINTR);
	dmabufx_fence_signal(&fence);
	dmabufx_sync(buf.fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW);
	dmabufx_sync(buf.fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW);
	dmabufx_buffer_fini(&buf);
}

/* What of @events comes within @ms. */
static int events_of(int fd, int events, int ms)
{
	struct pollfd ready = { .fd = fd, .events = events };

	igt_assert_lte(0, poll(&ready, 1, ms));
	return ready.revents;
}

/**
 * SUBTEST: poll
 * Description: poll() tells when a device has written, and when all have read
 */
static void test_poll(int device)
{
	struct dmabufx_fence fence;
	struct dmabufx_buffer buf;

	small_buffer(&buf, device);
	igt_assert_eq(events_of(buf.fd, POLLIN | POLLOUT, 0), POLLIN | POLLOUT);
	fence = dmabufx_fence_attach(buf.fd, true);
	igt_assert_eq(events_of(buf.fd, POLLIN, A_WHILE), 0);
	igt_assert_eq(events_of(buf.fd, POLLOUT, 0), 0);
	dmabufx_fence_signal(&fence);
	igt_assert_eq(events_of(buf.fd, POLLIN, LONG), POLLIN);
	igt_assert_eq(events_of(buf.fd, POLLOUT, LONG), POLLOUT);

	fence = dmabufx_fence_attach(buf.fd, false);
	igt_assert_eq(events_of(buf.fd, POLLIN, 0), POLLIN);
	igt_assert_eq(events_of(buf.fd, POLLOUT, A_WHILE), 0);
	dmabufx_fence_signal(&fence);
	igt_assert_eq(events_of(buf.fd, POLLOUT, LONG), POLLOUT);
	dmabufx_buffer_fini(&buf);
}

static int export_sync_file(int dmabuf, uint32_t flags)
{
	struct dma_buf_export_sync_file export = { .flags = flags };

	igt_assert_eq(ioctl(dmabuf, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &export), 0);
	return export.fd;
}

static void import_sync_file(int dmabuf, int sync_file, uint32_t flags)
{
	struct dma_buf_import_sync_file import = { .flags = flags, .fd = sync_file };

	igt_assert_eq(ioctl(dmabuf, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &import), 0);
}

/**
 * SUBTEST: export-sync-file
 * Description: A sync file of the buffer waits for what its user has to wait for
 */
static void test_export_sync_file(int device)
{
	int before_reading, before_writing;
	struct dmabufx_fence fence;
	struct dmabufx_buffer buf;

	small_buffer(&buf, device);
	fence = dmabufx_fence_attach(buf.fd, false);
	before_reading = export_sync_file(buf.fd, DMA_BUF_SYNC_READ);
	before_writing = export_sync_file(buf.fd, DMA_BUF_SYNC_WRITE);
	igt_assert_eq(events_of(before_reading, POLLIN, 0), POLLIN);
	igt_assert_eq(events_of(before_writing, POLLIN, A_WHILE), 0);
	dmabufx_fence_signal(&fence);
	igt_assert_eq(events_of(before_writing, POLLIN, LONG), POLLIN);
	close(before_reading);
	close(before_writing);
	dmabufx_buffer_fini(&buf);
}

/* A fence of another buffer becomes one of @dmabuf, which no device has for that. */
static struct dmabufx_fence import_fence(const struct dmabufx_buffer *other, int dmabuf,
					 uint32_t flags)
{
	struct dmabufx_fence fence = dmabufx_fence_attach(other->fd, true);
	int sync_file = export_sync_file(other->fd, DMA_BUF_SYNC_RW);

	import_sync_file(dmabuf, sync_file, flags);
	close(sync_file);
	return fence;
}

/**
 * SUBTEST: import-sync-file
 * Description: A sync file that is put into the buffer is waited for like a device
 */
static void test_import_sync_file(int device)
{
	struct dmabufx_buffer buf, other;
	struct dmabufx_fence fence;
	struct cpu_access access;

	small_buffer(&buf, device);
	small_buffer(&other, device);
	fence = import_fence(&other, buf.fd, DMA_BUF_SYNC_WRITE);
	igt_assert_eq(events_of(buf.fd, POLLIN, 0), 0);
	start_access(&access, buf.fd, DMA_BUF_SYNC_READ);
	igt_assert(!ends_within(&access, A_WHILE));
	dmabufx_fence_signal(&fence);
	igt_assert(ends_within(&access, LONG));
	igt_assert_eq(access.result, 0);

	fence = import_fence(&other, buf.fd, DMA_BUF_SYNC_READ);
	igt_assert_eq(events_of(buf.fd, POLLIN, 0), POLLIN);
	igt_assert_eq(events_of(buf.fd, POLLOUT, 0), 0);
	dmabufx_fence_signal(&fence);
	igt_assert_eq(events_of(buf.fd, POLLOUT, LONG), POLLOUT);
	dmabufx_buffer_fini(&other);
	dmabufx_buffer_fini(&buf);
}

/*
 * Devices that reach 4 GiB of memory, and buffers beyond: such a device works on a
 * copy, as all of them do in confidential virtual machines.
 */

static void far_buffer(struct dmabufx_buffer *buf, int device)
{
	size_t at;

	small_buffer(buf, device);
	for (at = 0; at < buf->size; at += PAGE)
		igt_require_f(dmabufx_page_frame(buf->mem.map + at) >= GIB(4) / PAGE,
			      "needs memory beyond 4 GiB\n");
}

static int bounced_importer(int dmabuf, uint32_t direction)
{
	struct dmabufx_importer_map map;
	int importer = importer_open(), ret;

	importer_limits(importer, GIB(4) - 1, ~0ull, KIB(64));
	importer_attach(importer, dmabuf);
	ret = __importer_map(importer, direction, &map);
	igt_require_f(ret != -EIO, "needs bounce buffers (swiotlb)\n");
	igt_assert_eq(ret, 0);
	igt_assert_eq_u32(map.faults, 0);
	return importer;
}

static uint64_t data[SIZE / 8];

static void device_writes(int importer, uint32_t seed)
{
	dmabufx_pattern_fill(data, seed, 0, SIZE);
	importer_write(importer, DMABUFX_VIA_DEVICE, 0, data, SIZE);
}

static void device_sees(int importer, uint32_t seed)
{
	importer_read(importer, DMABUFX_VIA_DEVICE, 0, data, SIZE);
	dmabufx_pattern_check(data, seed, 0, SIZE, "the device");
}

static void cpu_writes(struct dmabufx_buffer *buf, uint32_t seed)
{
	dmabufx_buffer_write(buf, WAY_MMAP, seed);
}

static void cpu_sees(struct dmabufx_buffer *buf, uint32_t seed)
{
	dmabufx_buffer_check(buf, WAY_MMAP, seed);
	dmabufx_buffer_check(buf, WAY_MEMORY, seed);
}

/**
 * SUBTEST: bounced-map-and-unmap
 * Description: What the CPU wrote before a device maps the buffer, the device sees; what
 *	the device wrote, the CPU sees when the mapping is gone
 */
static void test_bounced_map_and_unmap(int device)
{
	struct dmabufx_buffer buf;
	int importer;

	far_buffer(&buf, device);
	cpu_writes(&buf, 1);
	importer = bounced_importer(buf.fd, DMABUFX_IMPORTER_BIDIRECTIONAL);
	device_sees(importer, 1);
	device_writes(importer, 2);
	/* The proof that it works on a copy. */
	cpu_sees(&buf, 1);
	importer_unmap(importer);
	cpu_sees(&buf, 2);
	close(importer);

	importer = bounced_importer(buf.fd, DMABUFX_IMPORTER_FROM_DEVICE);
	device_writes(importer, 3);
	importer_unmap(importer);
	cpu_sees(&buf, 3);
	close(importer);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: bounced-device-writes
 * Description: While a device has the buffer mapped, the CPU sees within brackets what the
 *	device wrote before them
 */
static void test_bounced_device_writes(int device)
{
	struct dmabufx_buffer buf;
	uint32_t seed;
	int importer;

	far_buffer(&buf, device);
	importer = bounced_importer(buf.fd, DMABUFX_IMPORTER_BIDIRECTIONAL);
	for (seed = 1; seed < 3; seed++) {
		device_writes(importer, seed);
		dmabufx_sync(buf.fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ);
		cpu_sees(&buf, seed);
		dmabufx_sync(buf.fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ);
	}
	device_writes(importer, seed);
	importer_begin(importer, DMABUFX_IMPORTER_FROM_DEVICE);
	cpu_sees(&buf, seed);
	importer_end(importer, DMABUFX_IMPORTER_FROM_DEVICE);
	close(importer);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: bounced-cpu-writes
 * Description: While a device has the buffer mapped, it sees after brackets what the CPU
 *	wrote within them
 */
static void test_bounced_cpu_writes(int device)
{
	struct dmabufx_buffer buf;
	uint32_t seed;
	int importer;

	far_buffer(&buf, device);
	importer = bounced_importer(buf.fd, DMABUFX_IMPORTER_BIDIRECTIONAL);
	for (seed = 1; seed < 3; seed++) {
		dmabufx_sync(buf.fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE);
		cpu_writes(&buf, seed);
		dmabufx_sync(buf.fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_WRITE);
		device_sees(importer, seed);
	}
	importer_begin(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	cpu_writes(&buf, seed);
	importer_end(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	device_sees(importer, seed);
	close(importer);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: bounced-write-in-part
 * Description: Where the CPU writes one page within brackets for writing, the device keeps
 *	what it wrote to all the others
 */
static void test_bounced_write_in_part(int device)
{
	const size_t at = 5 * PAGE;
	struct dmabufx_buffer buf;
	int importer;

	far_buffer(&buf, device);
	importer = bounced_importer(buf.fd, DMABUFX_IMPORTER_BIDIRECTIONAL);
	device_writes(importer, 1);
	dmabufx_sync(buf.fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE);
	dmabufx_pattern_fill(buf.mem.map + at, 2, at, PAGE);
	dmabufx_sync(buf.fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_WRITE);
	importer_read(importer, DMABUFX_VIA_DEVICE, 0, data, SIZE);
	dmabufx_pattern_check((char *)data + at, 2, at, PAGE, "the device");
	dmabufx_pattern_check(data, 1, 0, at, "the device");
	dmabufx_pattern_check((char *)data + at + PAGE, 1, at + PAGE, SIZE - at - PAGE,
			      "the device");
	close(importer);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: bounced-read-takes-nothing
 * Description: What a device writes while the CPU reads is still there when the CPU is
 *	done
 */
static void test_bounced_read_takes_nothing(int device)
{
	struct dmabufx_buffer buf;
	int importer;

	far_buffer(&buf, device);
	importer = bounced_importer(buf.fd, DMABUFX_IMPORTER_BIDIRECTIONAL);
	device_writes(importer, 1);
	dmabufx_sync(buf.fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ);
	cpu_sees(&buf, 1);
	device_writes(importer, 2);
	dmabufx_sync(buf.fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ);
	device_sees(importer, 2);
	dmabufx_sync(buf.fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ);
	cpu_sees(&buf, 2);
	dmabufx_sync(buf.fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ);
	close(importer);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: bounced-devices
 * Description: Brackets carry what one device wrote to the CPU and to all others
 */
static void test_bounced_devices(int device)
{
	int writer, readers[3], i;
	struct dmabufx_buffer buf;

	far_buffer(&buf, device);
	for (i = 0; i < 3; i++)
		readers[i] = bounced_importer(buf.fd, DMABUFX_IMPORTER_TO_DEVICE);
	writer = bounced_importer(buf.fd, DMABUFX_IMPORTER_FROM_DEVICE);
	device_writes(writer, 1);
	dmabufx_sync(buf.fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW);
	cpu_sees(&buf, 1);
	dmabufx_sync(buf.fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW);
	for (i = 0; i < 3; i++) {
		device_sees(readers[i], 1);
		close(readers[i]);
	}
	close(writer);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: bounced-until-fence
 * Description: The CPU gets what a device wrote until its fence, not what was there when
 *	the CPU began to wait
 */
static void test_bounced_until_fence(int device)
{
	struct dmabufx_buffer buf, other;
	struct dmabufx_fence fence;
	struct cpu_access access;
	int importer;

	far_buffer(&buf, device);
	small_buffer(&other, device);
	cpu_writes(&buf, 1);
	importer = bounced_importer(buf.fd, DMABUFX_IMPORTER_BIDIRECTIONAL);
	fence = import_fence(&other, buf.fd, DMA_BUF_SYNC_WRITE);
	start_access(&access, buf.fd, DMA_BUF_SYNC_READ);
	igt_assert(!ends_within(&access, A_WHILE));
	device_writes(importer, 2);
	cpu_sees(&buf, 1);
	dmabufx_fence_signal(&fence);
	igt_assert(ends_within(&access, LONG));
	igt_assert_eq(access.result, 0);
	cpu_sees(&buf, 2);
	close(importer);
	dmabufx_buffer_fini(&other);
	dmabufx_buffer_fini(&buf);
}

static const struct dmabufx_subtest subtests[] = {
	{ "directions", "Check that access may be bracketed", test_directions },
	{ "bad-flags", "Check that bad brackets are refused", test_bad_flags },
	{ "importer-brackets", "Check that drivers may bracket access",
	  test_importer_brackets },
	{ "waits-for-writer", "Check that the CPU waits for devices that write",
	  test_waits_for_writer },
	{ "waits-for-reader", "Check that the CPU waits for devices that read",
	  test_waits_for_reader },
	{ "interrupted", "Check that signals end the wait", test_interrupted },
	{ "poll", "Check that poll() tells when devices are done", test_poll },
	{ "export-sync-file", "Check that fences come out as sync files",
	  test_export_sync_file },
	{ "import-sync-file", "Check that sync files go in as fences", test_import_sync_file },
	{ "bounced-map-and-unmap", "Check that mappings carry data to and from a copy",
	  test_bounced_map_and_unmap },
	{ "bounced-device-writes", "Check that brackets carry data from a copy",
	  test_bounced_device_writes },
	{ "bounced-cpu-writes", "Check that brackets carry data to a copy",
	  test_bounced_cpu_writes },
	{ "bounced-write-in-part", "Check that brackets for writing lose no data",
	  test_bounced_write_in_part },
	{ "bounced-read-takes-nothing", "Check that brackets for reading lose no data",
	  test_bounced_read_takes_nothing },
	{ "bounced-devices", "Check that brackets are for all devices", test_bounced_devices },
	{ "bounced-until-fence", "Check that data is fetched after the wait",
	  test_bounced_until_fence },
};

int igt_main()
{
	int device = -1;

	igt_fixture()
		device = dmabufx_open();

	dmabufx_run_table(subtests, device);

	igt_fixture()
		close(device);
}
