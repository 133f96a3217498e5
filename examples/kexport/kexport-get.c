// SPDX-License-Identifier: MIT
/*
 * kexport-get: takes a dma-buf of kernel memory from the module kexport and runs a program with it.
 *
 * Shows   that a dma-buf of a module's memory works like any other.
 * Needs   the module kexport, debugfs, root.
 * Run     kexport-get vmalloc 1228800 mesa-import --dmabuf {}
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../number.h"
#include "kexport.h"

#define FOLDER "/sys/kernel/debug/kexport"

static void usage(FILE *to)
{
	fprintf(to,
		"Usage: kexport-get [--file PATH] KIND SIZE COMMAND [ARG...]\n"
		"Runs COMMAND with a dma-buf of memory of the module kexport. An ARG of {} is\n"
		"replaced by the number of the descriptor.\n"
		"  KIND         kvmalloc, vmalloc, slab, pages, or file\n"
		"  SIZE         bytes, a multiple of the page size\n"
		"  --file PATH  for KIND file: the file to export, read-only\n"
		"  --help       show this text\n");
}

static int get(const char *kind, const struct kexport_get *request)
{
	char path[64];
	int fd, dmabuf;

	snprintf(path, sizeof(path), FOLDER "/%s", kind);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		err(EXIT_FAILURE, "cannot open %s: is the module kexport loaded?", path);
	dmabuf = ioctl(fd, KEXPORT_GET, request);
	if (dmabuf < 0)
		err(EXIT_FAILURE, "no dma-buf of %llu bytes of %s", request->size, kind);
	close(fd);
	return dmabuf;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "file", required_argument, NULL, 'f' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 }
	};
	struct kexport_get request = { .file = -1 };
	char number[16];
	int option, i, fd;

	/* +: stop at the command, whose options are not for us. */
	while ((option = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		switch (option) {
		case 'f':
			request.file = open(optarg, O_RDONLY | O_CLOEXEC);
			request.read_only = 1;
			if (request.file < 0)
				err(EXIT_FAILURE, "cannot open %s", optarg);
			break;
		case 'h':
			usage(stdout);
			return EXIT_SUCCESS;
		default:
			usage(stderr);
			return EXIT_FAILURE;
		}
	}
	if (argc - optind < 3) {
		usage(stderr);
		return EXIT_FAILURE;
	}
	request.size = parse_number(argv[optind + 1], 1, ULONG_MAX);

	/* A copy without close-on-exec, for the command. */
	fd = dup(get(argv[optind], &request));
	if (fd < 0)
		err(EXIT_FAILURE, "dup");
	snprintf(number, sizeof(number), "%d", fd);
	for (i = optind + 2; i < argc; i++)
		if (!strcmp(argv[i], "{}"))
			argv[i] = number;
	execvp(argv[optind + 2], argv + optind + 2);
	err(EXIT_FAILURE, "cannot run %s", argv[optind + 2]);
}
