// SPDX-License-Identifier: GPL-2.0-only
/*
 * dmabufx(1): shows dma-bufs, checks whether a machine can make them, and makes them for
 * other programs.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <dmabufx.h>

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
	      "  info [--json]   the driver: version, features, limits, memory in use\n"
	      "  list [--json]   every live buffer (needs root)\n"
	      "  create (--size SIZE | --file FILE) [OPTION...] [-- COMMAND [ARG...]]\n"
	      "                  make a buffer and hold it until a signal, or run COMMAND\n"
	      "                  with it: an ARG of {} is replaced by its descriptor\n"
	      "      --size SIZE       size in bytes, or with K, M, G or T\n"
	      "      --file FILE       copy this file into the buffer\n"
	      "      --page-size SIZE  size of its pages: the system's, or a huge one\n"
	      "      --name NAME       name of the dma-buf\n"
	      "      --read-only       nobody can write through the dma-buf\n"
	      "  check [--json]  can this machine make buffers? If not, what to change\n"
	      "  bench [--json] [--size SIZE] [--repetitions N]\n"
	      "                  measure it on this machine, and udmabuf beside it\n"
	      "  --help          show this text\n"
	      "  --version       show the version of this program\n"
	      "\n"
	      "Exit status: 0; 1 for a failure, or if check found one; 2 for wrong options.\n",
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

uint64_t parse_number(const char *option, const char *text, uint64_t most)
{
	static const char units[] = "KkMmGgTt";
	const char *c, *unit;
	uint64_t number = 0;
	bool is_good;

	for (c = text; *c >= '0' && *c <= '9'; c++)
		if (__builtin_mul_overflow(number, 10, &number) ||
		    __builtin_add_overflow(number, *c - '0', &number))
			break;
	is_good = c != text;
	unit = *c ? strchr(units, *c) : NULL;
	if (unit) {
		is_good &= !__builtin_mul_overflow(number, 1024ull << (unit - units) / 2 * 10,
						   &number);
		c++;
	}
	if (!is_good || *c || !number || number > most)
		misused("%s takes a number from 1 to %" PRIu64 " (and K, M, G or T), not '%s'",
			option, most, text);
	return number;
}

void flush_output(void)
{
	errno = 0;
	if (!(fflush(stdout) | ferror(stdout)))
		return;
	if (errno)
		warn("cannot write the output");
	else
		warnx("cannot write all of the output");
	_exit(1);
}

/* For atexit(): some file systems report only on close that they are full. */
static void close_output(void)
{
	flush_output();
	if (!close(STDOUT_FILENO))
		return;
	warn("cannot write the output");
	_exit(1);
}

/*
 * If a standard descriptor is closed, the device or the dma-buf would get its number, and
 * other programs would use it as input or output. So put an O_PATH descriptor there:
 * reading and writing it fails with EBADF, as if it were closed.
 */
static void occupy_standard_descriptors(void)
{
	int fd;

	do
		fd = open("/", O_PATH | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	close(fd);
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

	occupy_standard_descriptors();
	setlocale(LC_CTYPE, "");
	atexit(close_output);

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
