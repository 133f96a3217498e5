// SPDX-License-Identifier: MIT
/*
 * show-gtk: a window of GTK 4 with a GdkDmabufTexture in it. See show.h. A
 * texture never changes, so another is made when the memory has changed.
 */
#include <drm_fourcc.h>
#include <err.h>
#include <glib-unix.h>
#include <gtk/gtk.h>
#include <stdbool.h>
#include <stdlib.h>

#include "show.h"

static struct show show;
static GtkWindow *window;
static GtkPicture *picture;

static GdkTexture *make_texture(void)
{
	GdkDmabufTextureBuilder *builder = gdk_dmabuf_texture_builder_new();
	GdkTexture *texture;
	GError *error = NULL;

	gdk_dmabuf_texture_builder_set_display(builder,
					       gdk_display_get_default());
	gdk_dmabuf_texture_builder_set_width(builder, WIDTH);
	gdk_dmabuf_texture_builder_set_height(builder, HEIGHT);
	gdk_dmabuf_texture_builder_set_fourcc(builder, DRM_FORMAT_XRGB8888);
	gdk_dmabuf_texture_builder_set_modifier(builder, DRM_FORMAT_MOD_LINEAR);
	gdk_dmabuf_texture_builder_set_n_planes(builder, 1);
	gdk_dmabuf_texture_builder_set_fd(builder, 0, show.buf.dmabuf);
	gdk_dmabuf_texture_builder_set_stride(builder, 0, show.card.stride);
	gdk_dmabuf_texture_builder_set_offset(builder, 0, 0);
	texture = gdk_dmabuf_texture_builder_build(builder, NULL, NULL, &error);
	if (!texture)
		errx(EXIT_FAILURE, "GTK does not take the dma-buf: %s",
		     error->message);
	g_object_unref(builder);
	return texture;
}

/* The second frame after a drawing means that the screen shows it. */
static gboolean tick(GtkWidget *widget, GdkFrameClock *clock, gpointer data)
{
	static int frames;

	(void)widget;
	(void)clock;
	(void)data;
	if (++frames < 3) {
		gtk_widget_queue_draw(GTK_WIDGET(picture));
		return G_SOURCE_CONTINUE;
	}
	frames = 0;
	show_announce(&show);
	return G_SOURCE_REMOVE;
}

static void show_texture(void)
{
	GdkTexture *texture = make_texture();

	gtk_picture_set_paintable(picture, GDK_PAINTABLE(texture));
	g_object_unref(texture);
	gtk_widget_add_tick_callback(GTK_WIDGET(picture), tick, NULL, NULL);
}

static gboolean line_came(gint fd, GIOCondition condition, gpointer data)
{
	(void)fd;
	(void)condition;
	(void)data;
	if (!show_next(&show))
		exit(EXIT_SUCCESS);
	show_texture();
	return G_SOURCE_CONTINUE;
}

int main(void)
{
	if (!gtk_init_check())
		errx(EXIT_FAILURE, "there is no display for GTK");
	show_begin(&show, getenv("DEVICE"));
	window = GTK_WINDOW(gtk_window_new());
	picture = GTK_PICTURE(gtk_picture_new());
	gtk_window_set_decorated(window, FALSE);
	gtk_window_set_default_size(window, WIDTH, HEIGHT);
	gtk_window_set_child(window, GTK_WIDGET(picture));
	gtk_window_fullscreen(window);
	gtk_window_present(window);
	show_texture();
	g_unix_fd_add(STDIN_FILENO, G_IO_IN, line_came, NULL);
	for (;;)
		g_main_context_iteration(NULL, TRUE);
}
