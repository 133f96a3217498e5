// SPDX-License-Identifier: GPL-2.0-only
/*
 * dmabufx(1): looks at dma-bufs and at whether a machine can make them, and
 * makes them for other programs.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dmabufx.h>
#include <json-c/json.h>

#include "tool.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "info", command_info },
	{ "list", command_list },
	{ "create", command_create },
	{ "check", command_check },
	{ "bench", command_bench },
};

void usage(void)
{
	fputs("Usage: dmabufx COMMAND [OPTION...]\n"
	      "\n"
	      "  info [--json]   the driver: version, features, limits, what is in use\n"
	      "  list [--json]   every live buffer (needs root)\n"
	      "  create (--size SIZE | --file FILE) [OPTION...] [-- COMMAND [ARG...]]\n"
	      "                  make a buffer and hold it until a signal, or run COMMAND\n"
	      "                  with it: {} among the ARGs stands for its descriptor\n"
	      "      --size SIZE       of so many bytes; K, M and G may follow\n"
	      "      --file FILE       with what is in FILE\n"
	      "      --page-size SIZE  of such pages: the system's, or huge ones\n"
	      "      --name NAME       called so\n"
	      "      --read-only       which nobody can write through\n"
	      "  check [--json]  is this machine able? What is not, and what to change\n"
	      "  bench [--json] [--size SIZE] [--repetitions N]\n"
	      "                  how long it takes on this machine, beside udmabuf\n"
	      "  --help          this text\n"
	      "  --version       of this program\n"
	      "\n"
	      "Exit status: 0; 1 for what failed, or check found; 2 for wrong options.\n",
	      stdout);
}

void misused(const char *fmt, ...)
{
	va_list args;

	fputs("dmabufx: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputs("\nTry 'dmabufx --help'.\n", stderr);
	exit(2);
}

bool wants_json(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	bool json = false;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'h') {
			usage();
			exit(0);
		}
		if (option != 'j')
			misused("%s has one option, --json", argv[0]);
		json = true;
	}
	if (argv[optind])
		misused("%s takes no arguments", argv[0]);
	return json;
}

const char *bytes_text(uint64_t bytes)
{
	static const char units[] = " KMGTPE";
	static char texts[4][24];
	static int next;
	char *text = texts[next++ % 4];
	double amount = bytes;
	int unit = 0;

	if (bytes == UINT64_MAX)
		return "no limit";
	for (; amount >= 1024 && units[unit + 1]; unit++)
		amount /= 1024;
	if (!unit)
		snprintf(text, sizeof(texts[0]), "%" PRIu64 " B", bytes);
	else
		snprintf(text, sizeof(texts[0]), "%.*f %ciB",
			 amount < 10 && amount != (int)amount, amount, units[unit]);
	return text;
}

uint64_t parse_size(const char *text)
{
	static const char units[] = "KMG";
	unsigned long long size;
	const char *unit;
	int shift = 0;
	char *end;

	errno = 0;
	size = strtoull(text, &end, 0);
	unit = *end ? strchr(units, *end & ~0x20) : NULL;
	if (unit) {
		shift = 10 * (unit - units + 1);
		end++;
	}
	if (errno || end == text || *end || *text == '-' || !size ||
	    size > UINT64_MAX >> shift)
		misused("'%s' is no size", text);
	return size << shift;
}

void print_json(struct json_object *object)
{
	puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY |
					    JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
}

int open_device(void)
{
	int fd = dmabufx_open();

	errno = -fd;
	if (fd == -ENOENT)
		errx(1, "there is neither /dev/dmabufx nor /dev/udmabuf: modprobe dmabufx");
	if (fd < 0)
		err(1, "cannot open the device ('dmabufx check' says more)");
	return fd;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";
	size_t i;

	if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
		usage();
		return 0;
	}
	if (!strcmp(name, "--version")) {
		puts("dmabufx " VERSION);
		return 0;
	}
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(name, commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	if (*name)
		misused("there is no command '%s'", name);
	misused("which command?");
}
