// SPDX-License-Identifier: MIT
/*
 * show-gstreamer PIPELINE: passes dma-bufs as frames to a GStreamer pipeline, whose source
 * is an appsrc called "source". See show.h. A sink called "sink" gives the frames back as
 * BGRx pictures, which are compared here; any other sink is called "display".
 */
#include <err.h>
#include <gst/allocators/gstdmabuf.h>
#include <gst/app/app.h>
#include <gst/video/video.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "show.h"

#define CAPS "video/x-raw(memory:DMABuf),format=DMA_DRM,drm-format=XR24,width=640,height=480,framerate=0/1"

static struct show show;
static GstAllocator *allocator;

/* Sends the memory, as it is now, as another frame. */
static void push_frame(GstAppSrc *source)
{
	gsize offsets[GST_VIDEO_MAX_PLANES] = { 0 };
	gint strides[GST_VIDEO_MAX_PLANES] = { show.card.stride };
	GstBuffer *frame = gst_buffer_new();
	GstMemory *memory;

	memory = gst_dmabuf_allocator_alloc_with_flags(allocator,
						       show.buf.dmabuf,
						       show.buf.size,
						       GST_FD_MEMORY_FLAG_DONT_CLOSE);
	gst_buffer_append_memory(frame, memory);
	gst_buffer_add_video_meta_full(frame, GST_VIDEO_FRAME_FLAG_NONE,
				       GST_VIDEO_FORMAT_BGRx, WIDTH, HEIGHT, 1,
				       offsets, strides);
	if (gst_app_src_push_buffer(source, frame) != GST_FLOW_OK)
		errx(EXIT_FAILURE, "the pipeline takes no frame");
}

/* The frame from the pipeline must be the card, in memory that is not ours. */
static void check_frame(GstAppSink *sink)
{
	GstSample *sample = gst_app_sink_try_pull_sample(sink, 300 * GST_SECOND);
	struct picture got = picture_new(WIDTH, HEIGHT);
	GstVideoFrame frame;
	GstVideoInfo info;
	uint32_t y;

	if (!sample)
		errx(EXIT_FAILURE, "no frame comes out of the pipeline");
	gst_video_info_from_caps(&info, gst_sample_get_caps(sample));
	if (!gst_video_frame_map(&frame, &info, gst_sample_get_buffer(sample),
				 GST_MAP_READ))
		errx(EXIT_FAILURE, "the frame cannot be mapped");
	for (y = 0; y < HEIGHT; y++)
		memcpy(picture_row(&got, y),
		       (char *)GST_VIDEO_FRAME_PLANE_DATA(&frame, 0) +
		       y * GST_VIDEO_FRAME_PLANE_STRIDE(&frame, 0), WIDTH * 4);
	gst_video_frame_unmap(&frame);
	gst_sample_unref(sample);
	for (y = 0; y < HEIGHT; y++)
		for (uint32_t x = 0; x < WIDTH; x++)
			picture_row(&got, y)[x] &= 0xffffff;
	if (picture_compare("the frame", &got, &show.card))
		exit(EXIT_FAILURE);
	picture_free(&got);
}

/* Waits until the sink has shown that many frames. */
static void wait_until_shown(GstElement *display, guint64 frames)
{
	GstStructure *stats;
	guint64 shown = 0;
	int tries;

	for (tries = 0; tries < 6000 && shown < frames; tries++) {
		g_usleep(50000);
		g_object_get(display, "stats", &stats, NULL);
		gst_structure_get_uint64(stats, "rendered", &shown);
		gst_structure_free(stats);
	}
	if (shown < frames)
		errx(EXIT_FAILURE, "the sink does not show frame %d",
		     (int)frames);
}

int main(int argc, char **argv)
{
	GstElement *pipeline, *sink, *display;
	guint64 frames = 0;
	GError *error = NULL;
	GstAppSrc *source;

	gst_init(&argc, &argv);
	if (argc != 2)
		errx(EXIT_FAILURE, "usage: show-gstreamer PIPELINE");
	pipeline = gst_parse_launch(argv[1], &error);
	if (!pipeline)
		errx(EXIT_FAILURE, "no such pipeline: %s", error->message);
	source = GST_APP_SRC(gst_bin_get_by_name(GST_BIN(pipeline), "source"));
	sink = gst_bin_get_by_name(GST_BIN(pipeline), "sink");
	display = gst_bin_get_by_name(GST_BIN(pipeline), "display");
	allocator = gst_dmabuf_allocator_new();
	gst_app_src_set_caps(source, gst_caps_from_string(CAPS));
	show_begin(&show, getenv("DEVICE"));
	gst_element_set_state(pipeline, GST_STATE_PLAYING);
	do {
		push_frame(source);
		if (sink)
			check_frame(GST_APP_SINK(sink));
		else
			wait_until_shown(display, ++frames);
		show_announce(&show);
	} while (show_next(&show));
	gst_element_set_state(pipeline, GST_STATE_NULL);
	return EXIT_SUCCESS;
}
