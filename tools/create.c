// SPDX-License-Identifier: GPL-2.0-only
/* dmabufx create: makes a dma-buf for a shell, or for a program that a shell runs. */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <dmabufx.h>

#include "tool.h"

/* The driver's limit, bytes. */
#define MAX_NAME	31

struct wish {
	uint64_t size;
	const char *file;
	uint64_t page_size;
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

	/* +: stop at the command, whose options are not for us. */
	while ((option = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		switch (option) {
		case 's':
			wish->size = parse_number("--size", optarg, INT64_MAX);
			break;
		case 'f':
			wish->file = optarg;
			break;
		case 'p':
			wish->page_size = parse_number("--page-size", optarg, INT64_MAX);
			break;
		case 'n':
			if (strlen(optarg) > MAX_NAME)
				misused("a name has at most %d bytes", MAX_NAME);
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
	if (*wish->command && strcmp(argv[optind - 1], "--"))
		misused("a command, such as '%s', comes behind --", *wish->command);
}

/* Ends the program if there is no room for the buffer, which consists of whole pages. */
static void need_room(int device, const struct wish *wish, uint64_t size)
{
	uint64_t page = sysconf(_SC_PAGESIZE);
	bool is_hugetlb = wish->page_size > page;
	char why[256];

	if (is_hugetlb)
		page = wish->page_size;
	/* Both are at most 2^63 - 1, so the sum does not overflow. */
	size = (size + page - 1) / page * page;
	if (!driver_takes(device, size, why, sizeof(why)))
		errx(1, "no dma-buf of %s: %s", bytes_text(size), why);
	/* hugetlb memory comes from a pool, and fails cleanly if that is empty. */
	if (!is_hugetlb)
		need_memory(size);
}

static int make_memfd(int device, const struct wish *wish, uint64_t size)
{
	const char *name = wish->request.name ? wish->request.name : "dmabufx";
	int memfd;

	need_room(device, wish, size);
	memfd = dmabufx_memfd(name, size, wish->page_size);
	errno = -memfd;
	if (memfd == -ENODEV || (memfd == -EINVAL && wish->page_size))
		errx(1, "this machine has no pages of %s", bytes_text(wish->page_size));
	if (memfd < 0)
		err(1, "no memory of %s", bytes_text(size));
	return memfd;
}

/* Maps the whole memory, which may be larger than the data to read. */
static void read_into(int memfd, int from, const char *path, uint64_t size)
{
	uint64_t mapped = lseek(memfd, 0, SEEK_END), done = 0;
	ssize_t len;
	void *map;
	int ret = dmabufx_map(memfd, 0, mapped, PROT_READ | PROT_WRITE, &map);

	errno = -ret;
	if (ret)
		err(1, "cannot map the memory");
	while (done < size) {
		len = read(from, (char *)map + done, size - done);
		if (len < 0 && errno != EINTR)
			err(1, "%s", path);
		if (len == 0)
			errx(1, "%s has only %" PRIu64 " bytes, not %" PRIu64, path, done,
			     size);
		if (len > 0)
			done += len;
	}
	dmabufx_unmap(map, mapped);
}

/* Copies the file, since a file on a disk is not memory that devices could use. */
static int memfd_from_file(int device, const struct wish *wish)
{
	/* O_NONBLOCK: opening a pipe would wait for a writer. */
	int from = open(wish->file, O_RDONLY | O_CLOEXEC | O_NONBLOCK), memfd;
	struct stat stat;

	if (from < 0 || fstat(from, &stat))
		err(1, "%s", wish->file);
	if (!S_ISREG(stat.st_mode) || !stat.st_size)
		errx(1, "%s is empty, or no regular file", wish->file);
	memfd = make_memfd(device, wish, stat.st_size);
	read_into(memfd, from, wish->file, stat.st_size);
	close(from);
	return memfd;
}

static int make_dmabuf(struct wish *wish)
{
	int device = open_device(), memfd, dmabuf;
	char why[256];

	memfd = wish->file ? memfd_from_file(device, wish) :
		make_memfd(device, wish, wish->size);
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

/*
 * Waits for a signal. A signal that was ignored when the program began stays ignored
 * (nohup does that, and shells for background jobs); sigwait() would not ignore it.
 */
static void hold(int dmabuf)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction action;
	sigset_t signals;
	size_t i;
	int sig;

	sigemptyset(&signals);
	for (i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		if (!sigaction(ends[i], NULL, &action) && action.sa_handler != SIG_IGN)
			sigaddset(&signals, ends[i]);
	sigprocmask(SIG_BLOCK, &signals, NULL);

	printf("pid %d fd %d is a dma-buf of %s until a signal; pidfd_getfd(2) copies it\n",
	       getpid(), dmabuf, bytes_text(lseek(dmabuf, 0, SEEK_END)));
	flush_output();
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
