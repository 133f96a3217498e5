// SPDX-License-Identifier: MIT
/* Files in /sys/kernel/debug/dmabufx tell an administrator about all buffers. */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buffer.h"
#include "harness.h"
#include "memory.h"

#define FOLDER "/sys/kernel/debug/dmabufx/"

static FILE *open_list(const char *path)
{
	FILE *file = fopen(path, "r");

	if (!file)
		fail("%s: %s", path, errno_name(errno));
	return file;
}

/* Finds the first line about @dmabuf, or returns false. */
static bool find_line(const char *path, int dmabuf, char *line, size_t size)
{
	FILE *file = open_list(path);
	char key[32];
	struct stat stat;
	bool found = false;

	must(fstat(dmabuf, &stat));
	snprintf(key, sizeof(key), "ino=%lu ", stat.st_ino);
	while (!found && fgets(line, size, file))
		found = !strncmp(line, key, strlen(key));
	fclose(file);
	return found;
}

/* Verifies the whole line of @dmabuf, which this process made and no device has mapped. */
static void line_says(int dmabuf, const char *name, const char *rest, const char *comm)
{
	char line[512], wanted[512];
	const char *behind;

	snprintf(wanted, sizeof(wanted), "name=%s %s pid=%d comm=%s devices=\n",
		 name, rest, getpid(), comm);
	check(find_line(FOLDER "buffers", dmabuf, line, sizeof(line)));
	behind = strchr(line, ' ') + 1;
	if (strcmp(behind, wanted))
		fail("'%s' instead of '%s'", behind, wanted);
}

/* Whether the importer has mapped @dmabuf; it must be the only device there. */
static bool device_is_mapped(int dmabuf)
{
	char line[512], star[2] = "";
	int number;

	check(find_line(FOLDER "buffers", dmabuf, line, sizeof(line)));
	if (sscanf(strstr(line, "devices="), "devices=dmabufx-importer.%d.auto%1[*]",
		   &number, star) < 1 || strchr(strstr(line, "devices="), ','))
		fail("devices: '%s'", line);
	return *star;
}

PROMISE(debug_shows_a_buffer,
	"a line shows a buffer's name, size, runs, sources, flags, owner and devices")
{
	struct memory huge = memory_make(HUGETLB_2M, MIB(2));
	char *user = must(mmap(NULL, MIB(1), PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	const struct dmabufx_segment segments[] = {
		segment(&huge, PAGE, MIB(1)),
		user_segment(user, PAGE),
	};
	struct dmabufx_create req = request(segments, 2, 0);
	int device = device_open(), dmabuf, importer;
	char bytes_of_both[128];

	snprintf(bytes_of_both, sizeof(bytes_of_both),
		 "exporter=dmabufx bytes=%llu runs=2 longest=1048576 sources=memfd,user flags=",
		 MIB(1) + PAGE);
	req.name = (uintptr_t)"a name, with=all\n";
	must(prctl(PR_SET_NAME, "a b\\c"));
	dmabuf = must(try_request(device, &req));
	line_says(dmabuf, "a\\040name\\054\\040with=all\\012",
		  bytes_of_both,
		  "a\\040b\\134c");

	importer = importer_open();
	importer_attach(importer, dmabuf);
	check_eq(device_is_mapped(dmabuf), false);
	importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	check_eq(device_is_mapped(dmabuf), true);
}

PROMISE(debug_shows_how_it_was_made,
	"a line shows whether a buffer is of the udmabuf calls, or read-only")
{
	struct memory mem = memory_make(HUGETLB_2M, MIB(2));
	struct dmabufx_segment seg = segment(&mem, 0, MIB(2));
	struct dmabufx_create req = request(&seg, 1, DMABUFX_CREATE_READ_ONLY);

	must(prctl(PR_SET_NAME, "maker"));
	line_says(create_range(&mem, 0, MIB(2)), "",
		  "exporter=udmabuf bytes=2097152 runs=1 longest=2097152 sources=memfd flags=",
		  "maker");
	line_says(must(try_request(device_open(), &req)), "",
		  "exporter=dmabufx bytes=2097152 runs=1 longest=2097152 sources=memfd flags=read-only",
		  "maker");
}

PROMISE(debug_shows_where_runs_are,
	"a line shows where each run lies, in the buffer and in physical memory")
{
	struct memory mem = memory_make(HUGETLB_2M, MIB(4));
	struct udmabuf_create_item items[] = {
		list_item(&mem, MIB(3), MIB(1)),
		list_item(&mem, PAGE, PAGE),
	};
	int dmabuf = must(try_create_list(device_open(), items, 2, 0));
	unsigned long start, pages, pfn, order, i = 0;
	FILE *file = open_list(FOLDER "runs");
	char line[256], key[32];
	struct stat stat;

	must(fstat(dmabuf, &stat));
	snprintf(key, sizeof(key), "ino=%lu ", stat.st_ino);
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, key, strlen(key)))
			continue;
		if (sscanf(line + strlen(key), "start=%lu pages=%lu pfn=%lu order=%lu",
			   &start, &pages, &pfn, &order) < 4)
			fail("'%s'", line);
		check_eq(start, i ? MIB(1) / PAGE : 0);
		check_eq(pages, i ? 1 : MIB(1) / PAGE);
		check_eq(PAGE << order, MIB(2));
		check_eq(pfn, page_frame(mem.map + (i ? PAGE : MIB(3))));
		i++;
	}
	fclose(file);
	check_eq(i, 2);
}

PROMISE(debug_forgets_what_is_gone, "a buffer that was closed has no line")
{
	struct memory mem = memory_make(SHMEM_4K, MIB(1));
	int kept = create_range(&mem, 0, MIB(1)), dmabuf = create_range(&mem, 0, PAGE);
	char line[512], other[32];
	struct stat stat;
	FILE *file;

	check(find_line(FOLDER "buffers", dmabuf, line, sizeof(line)));
	must(fstat(dmabuf, &stat));
	must(close(dmabuf));
	snprintf(other, sizeof(other), "ino=%lu ", stat.st_ino);
	file = open_list(FOLDER "buffers");
	while (fgets(line, sizeof(line), file))
		check(strncmp(line, other, strlen(other)));
	fclose(file);
	check(find_line(FOLDER "buffers", kept, line, sizeof(line)));
}

/* The list is longer than one read(), so the second one starts in the middle. */
PROMISE(debug_lists_are_complete,
	"of thousands of runs and buffers, each has one line, in order")
{
	struct memory mem = memory_make(SHMEM_4K, 1024 * PAGE);
	struct udmabuf_create_item items[500];
	unsigned long ino, start, pages, last_start = 0;
	int i, dmabuf, lines = 0, mine = 0, many[200];
	char line[512];
	struct stat stat;
	FILE *file;

	/* In reverse order, so that runs do not merge. */
	for (i = 0; i < 500; i++)
		items[i] = list_item(&mem, (998 - 2 * i) * PAGE, PAGE);
	for (i = 0; i < 200; i++)
		many[i] = create_range(&mem, 0, PAGE);
	dmabuf = must(try_create_list(device_open(), items, 500, 0));
	must(fstat(dmabuf, &stat));

	file = open_list(FOLDER "runs");
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "ino=%lu start=%lu pages=%lu", &ino, &start, &pages) < 3)
			fail("'%s'", line);
		if (ino != stat.st_ino)
			continue;
		check_eq(start, last_start);
		last_start = start + pages;
		mine++;
	}
	fclose(file);
	check_eq(last_start, 500);
	check_le(2, mine);

	file = open_list(FOLDER "buffers");
	while (fgets(line, sizeof(line), file))
		lines++;
	fclose(file);
	check_eq(lines, 201);
	for (i = 0; i < 200; i++)
		must(close(many[i]));
}

static volatile bool over;

static void *reads(void *arg)
{
	char text[4096];
	int fd;

	while (!over) {
		fd = must(open(arg, O_RDONLY | O_CLOEXEC));
		while (must(read(fd, text, sizeof(text))) > 0)
			;
		close(fd);
	}
	return NULL;
}

PROMISE(debug_can_be_read_meanwhile, "the files can be read while buffers come and go",
	TAG_THREADS)
{
	struct memory mem = memory_make(SHMEM_4K, MIB(1));
	pthread_t threads[3];
	int i, j, fds[8];

	pthread_create(&threads[0], NULL, reads, (void *)FOLDER "buffers");
	pthread_create(&threads[1], NULL, reads, (void *)FOLDER "runs");
	pthread_create(&threads[2], NULL, reads, (void *)"/sys/kernel/debug/dma_buf/bufinfo");
	for (i = repeats(100); i; i--) {
		for (j = 0; j < 8; j++)
			fds[j] = create_range(&mem, 0, MIB(1));
		for (j = 0; j < 8; j++)
			must(close(fds[j]));
	}
	over = true;
	for (i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
}

PROMISE(debug_is_for_root, "only root can read where memory is")
{
	struct stat stat_;

	must(stat(FOLDER "runs", &stat_));
	check_eq(stat_.st_mode & 0777, 0400);
	must(stat(FOLDER "buffers", &stat_));
	check_eq(stat_.st_mode & 0777, 0400);
}
