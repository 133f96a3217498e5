// SPDX-License-Identifier: GPL-2.0-only
/* dmabufx info: shows the driver's version, features and limits. */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <dmabufx.h>
#include <json-c/json.h>

#include "tool.h"

static const struct {
	uint64_t bit;
	const char *name;
} features[] = {
	{ DMABUFX_FEATURE_MEMFD, "memfd" },
	{ DMABUFX_FEATURE_USER, "user" },
	{ DMABUFX_FEATURE_READ_ONLY, "read-only" },
};

#define NR_FEATURES (sizeof(features) / sizeof(features[0]))

/* udmabuf answers if /dev/dmabufx does not exist or this user may not open it. */
static void print_udmabuf(void)
{
	int fd = open(DMABUFX_DEVICE, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		printf("driver          udmabuf (%s: %s)\n", DMABUFX_DEVICE, strerror(errno));
	else
		puts("driver          udmabuf");
	if (fd >= 0)
		close(fd);
}

static void print_text(const struct dmabufx_query *query)
{
	size_t i;

	if (query->version)
		printf("driver          dmabufx %u.%u\n", query->version >> 16,
		       query->version & 0xffff);
	else
		print_udmabuf();
	printf("features       ");
	for (i = 0; i < NR_FEATURES; i++)
		if (query->features & features[i].bit)
			printf(" %s", features[i].name);
	printf("\nlargest buffer  %s\n", bytes_text(query->max_size));
	printf("most segments   %u\n", query->max_segments);
	if (!query->version)
		return;
	printf("memfds          %s pinned by this user's buffers, limit: %s\n",
	       bytes_text(query->memfd_pinned), bytes_text(query->memfd_limit));
	printf("addresses       %s locked by this user, limit: %s\n",
	       bytes_text(query->user_locked), bytes_text(query->user_limit));
}

/* Adds null if there is no limit. */
static void add_bytes(struct json_object *object, const char *key, uint64_t bytes)
{
	json_object_object_add(object, key, bytes == UINT64_MAX ? NULL :
			       json_object_new_uint64(bytes));
}

static void add_word(struct json_object *list, const char *word)
{
	json_object_array_add(list, json_object_new_string(word));
}

static struct json_object *to_json(const struct dmabufx_query *query)
{
	struct json_object *object = json_object_new_object();
	struct json_object *list = json_object_new_array();
	char version[16];
	size_t i;

	snprintf(version, sizeof(version), "%u.%u", query->version >> 16,
		 query->version & 0xffff);
	json_object_object_add(object, "driver",
			       json_object_new_string(query->version ? "dmabufx" :
						      "udmabuf"));
	json_object_object_add(object, "version", query->version ?
			       json_object_new_string(version) : NULL);
	for (i = 0; i < NR_FEATURES; i++)
		if (query->features & features[i].bit)
			add_word(list, features[i].name);
	json_object_object_add(object, "features", list);
	add_bytes(object, "max_size", query->max_size);
	json_object_object_add(object, "max_segments",
			       json_object_new_int64(query->max_segments));
	add_bytes(object, "memfd_limit", query->memfd_limit);
	add_bytes(object, "memfd_pinned", query->memfd_pinned);
	add_bytes(object, "user_limit", query->user_limit);
	add_bytes(object, "user_locked", query->user_locked);
	return object;
}

int command_info(int argc, char **argv)
{
	bool json = wants_json(argc, argv);
	struct dmabufx_query query;
	int ret = dmabufx_query(open_device(), &query);

	if (ret) {
		errno = -ret;
		err(1, "the device does not answer");
	}
	if (json)
		print_json(to_json(&query));
	else
		print_text(&query);
	return 0;
}
