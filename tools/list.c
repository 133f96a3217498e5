// SPDX-License-Identifier: GPL-2.0-only
/*
 * dmabufx list: shows every live buffer, from /sys/kernel/debug/dmabufx/buffers.
 * Unknown keys are passed on in JSON and left out of the table.
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

static bool is_octal(char c)
{
	return c >= '0' && c <= '7';
}

/* Replaces, in place, a backslash and three octal digits by the byte. */
static void unescape(char *text)
{
	char *to = text;

	for (; *text; text++) {
		if (text[0] == '\\' && is_octal(text[1]) && is_octal(text[2]) &&
		    is_octal(text[3])) {
			*to++ = (text[1] - '0') << 6 | (text[2] - '0') << 3 | (text[3] - '0');
			text += 3;
		} else {
			*to++ = *text;
		}
	}
	*to = 0;
}

static struct json_object *parse_word(char *word)
{
	unescape(word);
	return json_object_new_string(word);
}

/* The name's own asterisks are escaped, so a plain one means "mapped". */
static struct json_object *parse_device(char *word)
{
	struct json_object *device = json_object_new_object();
	char *star = strchr(word, '*');

	if (star)
		*star = 0;
	json_object_object_add(device, "name", parse_word(word));
	json_object_object_add(device, "mapped", json_object_new_boolean(!!star));
	return device;
}

static struct json_object *parse_list(char *value,
				      struct json_object *(*parse_item)(char *item))
{
	struct json_object *list = json_object_new_array();
	char *item;

	while ((item = strsep(&value, ",")))
		if (*item)
			json_object_array_add(list, parse_item(item));
	return list;
}

static struct json_object *parse_value(const char *key, char *value)
{
	static const char * const words[] = { "name", "exporter", "comm" };
	size_t i;

	if (!strcmp(key, "sources") || !strcmp(key, "flags"))
		return parse_list(value, parse_word);
	if (!strcmp(key, "devices"))
		return parse_list(value, parse_device);
	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (!strcmp(key, words[i]))
			return parse_word(value);
	if (!*value || value[strspn(value, "0123456789")])
		return parse_word(value);
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
	if (ferror(file))
		err(1, "%s", BUFFERS);
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
	char sources[32], flags[32], devices[256];
	const char *name = string(buffer, "name"), *comm = string(buffer, "comm");

	join(sources, sizeof(sources), json_object_object_get(buffer, "sources"));
	join(flags, sizeof(flags), json_object_object_get(buffer, "flags"));
	join(devices, sizeof(devices), json_object_object_get(buffer, "devices"));
	printf("%-8llu ", (unsigned long long)number(buffer, "ino"));
	print_cell(*name ? name : "-", 16);
	printf(" %10s %8llu %10s ", bytes_text(number(buffer, "bytes")),
	       (unsigned long long)number(buffer, "runs"),
	       bytes_text(number(buffer, "longest")));
	print_cell(sources, 11);
	putchar(' ');
	print_cell(flags, 9);
	printf(" %7llu ", (unsigned long long)number(buffer, "pid"));
	print_cell(*comm ? comm : "-", 15);
	putchar(' ');
	print_cell(devices, 0);
	putchar('\n');
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
