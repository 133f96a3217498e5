// SPDX-License-Identifier: GPL-2.0-only
/* dmabufx create: a dma-buf for a shell, or for a program that a shell runs. */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <dmabufx.h>

#include "tool.h"

struct wish {
	uint64_t size;
	const char *file;
	size_t page_size;
	struct dmabufx_request request;
	char **command;
};

static void parse(struct wish *wish, int argc, char **argv)
{
	static const struct option options[] = {
		{ "size", required_argument, NULL, 's' },
		{ "file", required_argument, NULL, 'f' },
		{ "page-size", required_argument, NULL, 'p' },
		{ "name", required_argument, NULL, 'n' },
		{ "read-only", no_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	int option;

	/* + leaves the command's options to the command. */
	while ((option = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		switch (option) {
		case 's':
			wish->size = parse_size(optarg);
			break;
		case 'f':
			wish->file = optarg;
			break;
		case 'p':
			wish->page_size = parse_size(optarg);
			break;
		case 'n':
			wish->request.name = optarg;
			break;
		case 'r':
			wish->request.flags |= DMABUFX_CREATE_READ_ONLY;
			break;
		case 'h':
			usage();
			exit(0);
		default:
			misused("create has no such option");
		}
	}
	if (!wish->size == !wish->file)
		misused("create wants either --size or --file");
	wish->command = argv + optind;
}

static int make_memfd(const struct wish *wish, uint64_t size)
{
	const char *name = wish->request.name ? wish->request.name : "dmabufx";
	int memfd = dmabufx_memfd(name, size, wish->page_size);

	errno = -memfd;
	if (memfd == -ENODEV)
		errx(1, "this machine has no pages of %s", bytes_text(wish->page_size));
	if (memfd < 0)
		err(1, "no memory of %s", bytes_text(size));
	return memfd;
}

static void read_into(int memfd, int from, const char *path, size_t size)
{
	size_t done = 0;
	ssize_t len;
	void *map;
	int ret = dmabufx_map(memfd, 0, 0, PROT_READ | PROT_WRITE, &map);

	errno = -ret;
	if (ret)
		err(1, "cannot map the memory");
	while (done < size) {
		len = read(from, (char *)map + done, size - done);
		if (len < 0 && errno != EINTR)
			err(1, "%s", path);
		if (len == 0)
			errx(1, "%s has become shorter", path);
		if (len > 0)
			done += len;
	}
	munmap(map, size);
}

/* A copy: a file on a disk is not memory that devices could use. */
static int memfd_from_file(const struct wish *wish)
{
	int from = open(wish->file, O_RDONLY | O_CLOEXEC), memfd;
	struct stat stat;

	if (from < 0 || fstat(from, &stat))
		err(1, "%s", wish->file);
	if (!S_ISREG(stat.st_mode) || !stat.st_size)
		errx(1, "%s is empty, or no regular file", wish->file);
	memfd = make_memfd(wish, stat.st_size);
	read_into(memfd, from, wish->file, stat.st_size);
	close(from);
	return memfd;
}

static int make_dmabuf(struct wish *wish)
{
	int device = open_device(), memfd, dmabuf;
	char why[256];

	memfd = wish->file ? memfd_from_file(wish) : make_memfd(wish, wish->size);
	dmabuf = dmabufx_create_memfd(device, memfd, 0, 0, &wish->request);
	if (dmabuf < 0) {
		dmabufx_explain(&wish->request, why, sizeof(why));
		errx(1, "no dma-buf: %s", why);
	}
	close(memfd);
	close(device);
	return dmabuf;
}

static void become(char **command, int dmabuf)
{
	char number[16], **arg;

	snprintf(number, sizeof(number), "%d", dmabuf);
	for (arg = command; *arg; arg++)
		if (!strcmp(*arg, "{}"))
			*arg = number;
	execvp(command[0], command);
	err(127, "cannot run %s", command[0]);
}

static void hold(int dmabuf)
{
	sigset_t signals;
	int sig;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &signals, NULL);

	printf("/proc/%d/fd/%d is a dma-buf of %s, until a signal\n", getpid(), dmabuf,
	       bytes_text(lseek(dmabuf, 0, SEEK_END)));
	fflush(stdout);
	sigwait(&signals, &sig);
}

int command_create(int argc, char **argv)
{
	struct wish wish = { 0 };
	int dmabuf;

	parse(&wish, argc, argv);
	dmabuf = make_dmabuf(&wish);
	if (*wish.command)
		become(wish.command, dmabuf);
	hold(dmabuf);
	return 0;
}
