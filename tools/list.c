// SPDX-License-Identifier: GPL-2.0-only
/*
 * dmabufx list: every live buffer, as /sys/kernel/debug/dmabufx/buffers has it.
 * What is not known of its keys is passed on in JSON and left out of the table.
 */
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <json-c/json.h>

#include "tool.h"

#define BUFFERS	"/sys/kernel/debug/dmabufx/buffers"

static FILE *open_buffers(void)
{
	FILE *file = fopen(BUFFERS, "re");

	if (file)
		return file;
	if (errno == EACCES)
		errx(1, "only root may see all buffers: sudo dmabufx list");
	if (errno != ENOENT)
		err(1, "%s", BUFFERS);
	if (access("/sys/module/dmabufx", F_OK))
		errx(1, "the module is not loaded: modprobe dmabufx");
	errx(1, "debugfs is not there: mount -t debugfs none /sys/kernel/debug\n"
	     "  (and the kernel needs CONFIG_DEBUG_FS)");
}

/* In place: three octal digits behind a backslash are a byte. */
static void unescape(char *text)
{
	char *to = text;
	unsigned int byte;

	for (; *text; text++) {
		if (*text == '\\' && sscanf(text + 1, "%3o", &byte) == 1) {
			*to++ = byte;
			text += 3;
		} else {
			*to++ = *text;
		}
	}
	*to = 0;
}

static struct json_object *parse_list(char *value)
{
	struct json_object *list = json_object_new_array();
	char *item;

	while ((item = strsep(&value, ","))) {
		if (!*item)
			continue;
		unescape(item);
		json_object_array_add(list, json_object_new_string(item));
	}
	return list;
}

/* "dev*" becomes an object. */
static struct json_object *parse_devices(char *value)
{
	struct json_object *list = parse_list(value), *device;
	size_t i, len;

	for (i = 0; i < json_object_array_length(list); i++) {
		const char *text = json_object_get_string(json_object_array_get_idx(list, i));
		struct json_object *name, *mapped;

		len = strlen(text);
		mapped = json_object_new_boolean(text[len - 1] == '*');
		name = json_object_new_string_len(text, len - (text[len - 1] == '*'));
		device = json_object_new_object();
		json_object_object_add(device, "name", name);
		json_object_object_add(device, "mapped", mapped);
		json_object_array_put_idx(list, i, device);
	}
	return list;
}

static struct json_object *parse_value(const char *key, char *value)
{
	static const char * const words[] = { "name", "exporter", "comm" };
	size_t i;

	if (!strcmp(key, "sources") || !strcmp(key, "flags"))
		return parse_list(value);
	if (!strcmp(key, "devices"))
		return parse_devices(value);
	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (!strcmp(key, words[i])) {
			unescape(value);
			return json_object_new_string(value);
		}
	}
	return json_object_new_uint64(strtoull(value, NULL, 10));
}

static struct json_object *parse_line(char *line)
{
	struct json_object *buffer = json_object_new_object();
	char *key, *value;

	json_object_object_add(buffer, "sources", json_object_new_array());
	line[strcspn(line, "\n")] = 0;
	while ((value = strsep(&line, " "))) {
		key = strsep(&value, "=");
		if (value)
			json_object_object_add(buffer, key, parse_value(key, value));
	}
	return buffer;
}

static struct json_object *read_buffers(void)
{
	struct json_object *buffers = json_object_new_array();
	FILE *file = open_buffers();
	char *line = NULL;
	size_t size = 0;

	while (getline(&line, &size, file) > 0)
		json_object_array_add(buffers, parse_line(line));
	free(line);
	fclose(file);
	return buffers;
}

static const char *string(struct json_object *buffer, const char *key)
{
	return json_object_get_string(json_object_object_get(buffer, key)) ?: "";
}

static uint64_t number(struct json_object *buffer, const char *key)
{
	return json_object_get_uint64(json_object_object_get(buffer, key));
}

/* What names may have in them must not reach a terminal. */
static const char *printable(char *to, size_t size, const char *text)
{
	char *c;

	snprintf(to, size, "%s", *text ? text : "-");
	for (c = to; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	return to;
}

static void join(char *to, size_t size, struct json_object *list)
{
	size_t i, len = 0, nr = list ? json_object_array_length(list) : 0;
	struct json_object *item;

	snprintf(to, size, "-");
	for (i = 0; i < nr && len < size; i++) {
		item = json_object_array_get_idx(list, i);
		if (json_object_is_type(item, json_type_object))
			item = json_object_object_get(item, "name");
		len += snprintf(to + len, size - len, "%s%s", i ? "," : "",
				json_object_get_string(item));
	}
}

static void print_row(struct json_object *buffer)
{
	char name[40], comm[20], sources[32], flags[32], devices[256];

	join(sources, sizeof(sources), json_object_object_get(buffer, "sources"));
	join(flags, sizeof(flags), json_object_object_get(buffer, "flags"));
	join(devices, sizeof(devices), json_object_object_get(buffer, "devices"));
	printf("%-8llu %-16s %10s %8llu %10s %-11s %-9s %7llu %-15s %s\n",
	       (unsigned long long)number(buffer, "ino"),
	       printable(name, sizeof(name), string(buffer, "name")),
	       bytes_text(number(buffer, "bytes")),
	       (unsigned long long)number(buffer, "runs"),
	       bytes_text(number(buffer, "longest")), sources, flags,
	       (unsigned long long)number(buffer, "pid"),
	       printable(comm, sizeof(comm), string(buffer, "comm")), devices);
}

static void print_table(struct json_object *buffers)
{
	size_t i, nr = json_object_array_length(buffers);
	uint64_t bytes = 0;

	printf("%-8s %-16s %10s %8s %10s %-11s %-9s %7s %-15s %s\n", "INO", "NAME",
	       "SIZE", "RUNS", "LONGEST", "SOURCES", "FLAGS", "PID", "COMMAND",
	       "DEVICES");
	for (i = 0; i < nr; i++) {
		struct json_object *buffer = json_object_array_get_idx(buffers, i);

		print_row(buffer);
		bytes += number(buffer, "bytes");
	}
	printf("%zu buffers, %s\n", nr, bytes_text(bytes));
	json_object_put(buffers);
}

int command_list(int argc, char **argv)
{
	bool json = wants_json(argc, argv);
	struct json_object *buffers = read_buffers();

	if (json)
		print_json(buffers);
	else
		print_table(buffers);
	return 0;
}
