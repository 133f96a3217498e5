// SPDX-License-Identifier: MIT
/*
 * Video: vivid's output device takes pictures from dma-bufs, and its capture device, which
 * is connected to it, writes them into other dma-bufs.
 */
#include <fcntl.h>
#include <linux/v4l2-dv-timings.h>
#include <linux/videodev2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define DEFAULT_TAGS TAG_DRIVER

#include "canvas.h"
#include "harness.h"
#include "operations.h"

#define WIDTH 640
#define HEIGHT 480
#define NR_BUFFERS 2	/* vivid needs two to start */
#define MAX_FRAMES 500	/* the picture must have arrived by then */

static const struct image image = {
	.width = WIDTH, .height = HEIGHT, .cpp = 4, .stride = WIDTH * 4,
};

/* One direction of video: a device and its buffers. */
struct video {
	int fd;
	enum v4l2_buf_type type;
	struct canvas canvases[NR_BUFFERS];
};

static void run(const char *command)
{
	if (system(command))
		fail("%s failed", command);
}

/* @allocator: 0 maps buffers for the kernel, 1 for contiguous DMA. */
static void load_vivid(int allocator)
{
	char command[256];

	/*
	 * Vivid computes how long its thread may sleep, and subtracts the time that has passed
	 * since: on a slow machine the result is negative.
	 */
	expect_report("schedule_timeout: wrong timeout value");
	/* Unload it, if a test that failed has left it. */
	run("modprobe -r vivid");
	snprintf(command, sizeof(command),
		 "modprobe vivid n_devs=1 node_types=0x101 num_inputs=1 input_types=3 num_outputs=1 output_types=1 allocators=%d",
		 allocator);
	run(command);
}

static int open_video(enum v4l2_buf_type type)
{
	__u32 wanted = type == V4L2_BUF_TYPE_VIDEO_CAPTURE ?
		V4L2_CAP_VIDEO_CAPTURE : V4L2_CAP_VIDEO_OUTPUT;
	struct v4l2_capability caps;
	char path[32];
	int i, fd;

	for (i = 0; i < 64; i++) {
		snprintf(path, sizeof(path), "/dev/video%d", i);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		must(ioctl(fd, VIDIOC_QUERYCAP, &caps));
		if (caps.device_caps & wanted &&
		    !strcmp((char *)caps.driver, "vivid"))
			return fd;
		close(fd);
	}
	fail("vivid has no such video device");
}

/* The control whose name ends with @name_end. */
static __u32 find_control(int fd, const char *name_end)
{
	struct v4l2_queryctrl query = { .id = V4L2_CTRL_FLAG_NEXT_CTRL };
	size_t len, end = strlen(name_end);

	while (!ioctl(fd, VIDIOC_QUERYCTRL, &query)) {
		len = strlen((char *)query.name);
		if (len >= end &&
		    !strcmp((char *)query.name + len - end, name_end))
			return query.id;
		query.id |= V4L2_CTRL_FLAG_NEXT_CTRL;
	}
	fail("vivid has no control %s", name_end);
}

/*
 * Vivid reads its controls again some time after a change, and may undo the change. So this
 * sets the control until it stays.
 */
static void set_control(int fd, const char *name_end, int value)
{
	struct v4l2_control control = { .id = find_control(fd, name_end) };
	int tries, stayed = 0;

	for (tries = 0; tries < 100 && stayed < 4; tries++) {
		if (!stayed) {
			control.value = value;
			must(ioctl(fd, VIDIOC_S_CTRL, &control));
		}
		usleep(100000);
		must(ioctl(fd, VIDIOC_G_CTRL, &control));
		stayed = control.value == value ? stayed + 1 : 0;
	}
	if (stayed < 4)
		fail("vivid takes back %s", name_end);
}

static void set_format(struct video *video)
{
	struct v4l2_dv_timings timings = V4L2_DV_BT_CEA_640X480P59_94;
	struct v4l2_format format = { .type = video->type };

	must(ioctl(video->fd, VIDIOC_S_DV_TIMINGS, &timings));
	must(ioctl(video->fd, VIDIOC_G_FMT, &format));
	format.fmt.pix.width = WIDTH;
	format.fmt.pix.height = HEIGHT;
	format.fmt.pix.pixelformat = V4L2_PIX_FMT_ABGR32;
	must(ioctl(video->fd, VIDIOC_S_FMT, &format));
	check_eq(format.fmt.pix.pixelformat, V4L2_PIX_FMT_ABGR32);
	check_eq(format.fmt.pix.width, WIDTH);
	check_eq(format.fmt.pix.height, HEIGHT);
	check_eq(format.fmt.pix.bytesperline, image.stride);
}

static int try_queue(struct video *video, int index)
{
	struct v4l2_buffer buffer = {
		.index = index,
		.type = video->type,
		.memory = V4L2_MEMORY_DMABUF,
		.m.fd = video->canvases[index].fd,
		.bytesused = image.stride * HEIGHT,
		.field = V4L2_FIELD_NONE,
	};

	return ioctl(video->fd, VIDIOC_QBUF, &buffer);
}

static void queue(struct video *video, int index)
{
	must(try_queue(video, index));
}

/* Waits until the device is done with a buffer. */
static int dequeue(struct video *video)
{
	struct v4l2_buffer buffer = {
		.type = video->type,
		.memory = V4L2_MEMORY_DMABUF,
	};

	must(ioctl(video->fd, VIDIOC_DQBUF, &buffer));
	return buffer.index;
}

static struct video make_video(enum v4l2_buf_type type)
{
	struct v4l2_requestbuffers request = {
		.count = NR_BUFFERS,
		.type = type,
		.memory = V4L2_MEMORY_DMABUF,
	};
	struct video video = { .fd = open_video(type), .type = type };

	if (type == V4L2_BUF_TYPE_VIDEO_CAPTURE) {
		set_control(video.fd, "OSD Text Mode", 2);	/* none */
		set_control(video.fd, "Is Connected To", 2);	/* the output */
	}
	set_format(&video);
	must(ioctl(video.fd, VIDIOC_REQBUFS, &request));
	check_eq(request.count, NR_BUFFERS);
	return video;
}

static void fill_video(struct video *video, struct backing backing)
{
	int i;

	for (i = 0; i < NR_BUFFERS; i++)
		video->canvases[i] = canvas_make_on(backing,
						    HEIGHT * image.stride);
}

static void start(struct video *video)
{
	int i;

	for (i = 0; i < NR_BUFFERS; i++)
		queue(video, i);
	must(ioctl(video->fd, VIDIOC_STREAMON, &video->type));
}

/* Closes the device, which releases the buffers. */
static void finish(struct video *video, const char *operations)
{
	int i;

	must(close(video->fd));
	for (i = 0; i < NR_BUFFERS; i++) {
		operations_check(video->canvases[i].fd, operations);
		canvas_free(&video->canvases[i]);
	}
}

/* Draws picture @pass into all buffers of the output. */
static void draw(struct video *output, unsigned int pass, bool streaming)
{
	int i, index;

	for (i = 0; i < NR_BUFFERS; i++) {
		index = streaming ? dequeue(output) : i;
		image_draw(&output->canvases[index], &image, pass);
		canvas_put(&output->canvases[index]);
		if (streaming)
			queue(output, index);
	}
}

/* Waits until each buffer has all of picture @pass. */
static void expect(struct video *capture, unsigned int pass)
{
	bool seen[NR_BUFFERS] = { };
	int frames, index, i;

	for (i = 0; i < NR_BUFFERS; i++)
		image_draw(&capture->canvases[i], &image, pass);
	for (frames = 0; frames < MAX_FRAMES; frames++) {
		index = dequeue(capture);
		if (canvas_is_right(&capture->canvases[index]))
			seen[index] = true;
		else if (frames == MAX_FRAMES - 1)
			canvas_check(&capture->canvases[index], "the capture");
		queue(capture, index);
		if (seen[0] && seen[1])
			return;
	}
	fail("picture %u does not come into both buffers", pass);
}

/*
 * Vivid reads the output's buffers only when it fills one of the capture's. On a slow
 * machine @given's operations may lack some of @taken's.
 */
static void loop_back(int allocator, struct backing from, struct backing to,
		      const char *taken, const char *given)
{
	struct video output, capture;

	load_vivid(allocator);
	output = make_video(V4L2_BUF_TYPE_VIDEO_OUTPUT);
	capture = make_video(V4L2_BUF_TYPE_VIDEO_CAPTURE);
	fill_video(&output, from);
	fill_video(&capture, to);
	operations_watch();

	draw(&output, 1, false);
	start(&output);
	start(&capture);
	expect(&capture, 1);
	draw(&output, 2, true);
	expect(&capture, 2);

	finish(&capture, taken);
	finish(&output, given);
	run("rmmod vivid");
}

/* Only one side is scattered: if both were, the same error on each side would not show. */
PROMISE(v4l2_by_kernel_mapping,
	"pictures go from dma-bufs through vivid into dma-bufs, by vmap")
{
	const struct backing scattered = { SHMEM_4K, SHUFFLED };
	const struct backing whole = { SHMEM_2M, IN_ORDER };
	const char *operations = "vmap vunmap begin_cpu_access end_cpu_access";

	loop_back(0, scattered, whole, operations, operations);
	loop_back(0, whole, scattered, operations, operations);
}

PROMISE(v4l2_by_contiguous_dma,
	"pictures go from dma-bufs through vivid into dma-bufs, mapped for DMA")
{
	const struct backing whole = { HUGETLB_2M, IN_ORDER };

	loop_back(1, whole, whole,
		  "attach map vmap vunmap unmap detach begin_cpu_access end_cpu_access",
		  "attach map vmap? vunmap? unmap detach begin_cpu_access end_cpu_access");
}

PROMISE(v4l2_refuses_scattered_memory,
	"a device that needs contiguous memory refuses other buffers, and detaches")
{
	struct video output;

	load_vivid(1);
	output = make_video(V4L2_BUF_TYPE_VIDEO_OUTPUT);
	fill_video(&output, (struct backing){ SHMEM_4K, SHUFFLED });
	operations_watch();
	must_fail(EFAULT, try_queue(&output, 0));
	operations_check(output.canvases[0].fd, "attach map unmap detach");
	must(close(output.fd));
	canvas_free(&output.canvases[0]);
	canvas_free(&output.canvases[1]);
	run("rmmod vivid");
}

static void captures_nothing_into(enum memory_kind kind)
{
	struct video capture = make_video(V4L2_BUF_TYPE_VIDEO_CAPTURE);
	int i;

	fill_video(&capture, (struct backing){ kind, IN_ORDER });
	for (i = 0; i < NR_BUFFERS; i++) {
		canvas_make_read_only(&capture.canvases[i]);
		must_fail(EFAULT, try_queue(&capture, i));
	}
	/* No picture is queued, so the device waits and writes none. */
	must(ioctl(capture.fd, VIDIOC_STREAMON, &capture.type));
	usleep(500000);
	must(close(capture.fd));
	for (i = 0; i < NR_BUFFERS; i++) {
		canvas_check(&capture.canvases[i], "the capture");
		canvas_free(&capture.canvases[i]);
	}
}

PROMISE(v4l2_captures_into_no_read_only_buffer,
	"a camera gets no kernel mapping of a read-only buffer, and writes nothing")
{
	load_vivid(0);
	captures_nothing_into(SHMEM_4K);
	captures_nothing_into(SHMEM_2M);
	captures_nothing_into(ANON_4K);
	captures_nothing_into(ANON_2M);
	run("rmmod vivid");
}

static int try_pointer(int fd, void *memory, size_t size)
{
	struct v4l2_buffer buffer = {
		.type = V4L2_BUF_TYPE_VIDEO_CAPTURE,
		.memory = V4L2_MEMORY_USERPTR,
		.m.userptr = (unsigned long)memory,
		.length = size,
	};

	return ioctl(fd, VIDIOC_QBUF, &buffer);
}

PROMISE(v4l2_takes_no_mapping_as_a_pointer,
	"V4L2 refuses a mapping of a dma-buf as user pointer, as dmabufx_map(3) says")
{
	struct v4l2_requestbuffers request = {
		.count = 1,
		.type = V4L2_BUF_TYPE_VIDEO_CAPTURE,
		.memory = V4L2_MEMORY_USERPTR,
	};
	struct canvas canvas = canvas_make(SHMEM_4K, IN_ORDER, HEIGHT * image.stride);
	struct video capture = { .type = V4L2_BUF_TYPE_VIDEO_CAPTURE };
	void *map;

	load_vivid(0);
	capture.fd = open_video(capture.type);
	set_format(&capture);
	must(ioctl(capture.fd, VIDIOC_REQBUFS, &request));
	map = must(mmap(NULL, canvas.size, PROT_READ | PROT_WRITE, MAP_SHARED, canvas.fd, 0));
	must_fail(EFAULT, try_pointer(capture.fd, map, canvas.size));
	must(try_pointer(capture.fd, canvas.mem.map, canvas.size));
	must(close(capture.fd));
	must(munmap(map, canvas.size));
	canvas_free(&canvas);
	run("rmmod vivid");
}
