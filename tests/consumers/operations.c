// SPDX-License-Identifier: MIT
/* The exporter's tracepoints: see operations.h. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "operations.h"
#include "watch.h"

#define TRACING "/sys/kernel/tracing/"

static const char * const operations[] = {
	"create", "attach", "detach", "map", "unmap", "begin_cpu_access",
	"end_cpu_access", "mmap", "fault", "vmap", "vunmap", "release",
};

#define NR_OPERATIONS ARRAY_SIZE(operations)

struct tally {
	unsigned int calls[NR_OPERATIONS];
};

/* Another driver, with which the tests compare, has no such tracepoints. */
static bool is_watched(void)
{
	return !strcmp(driver_name(), "dmabufx") ||
	       !access(TRACING "events/dmabufx", F_OK);
}

void operations_watch(void)
{
	if (!is_watched())
		return;
	if (!file_write(TRACING "events/dmabufx/enable", "1"))
		fail("no tracepoints of dmabufx: %s", errno_name(errno));
	close(must(open(TRACING "trace", O_WRONLY | O_TRUNC | O_CLOEXEC)));
}

/* Counts a line such as " dmabufx_attach: ino=5 dev=...". */
static void tally_line(struct tally *tally, const char *line,
		       unsigned long ino)
{
	const char *event = strstr(line, " dmabufx_");
	unsigned long of;
	char name[32];
	size_t i;

	if (!event ||
	    sscanf(event, " dmabufx_%31[a-z_]: ino=%lu", name, &of) != 2 ||
	    of != ino)
		return;
	for (i = 0; i < NR_OPERATIONS; i++)
		tally->calls[i] += !strcmp(name, operations[i]);
}

static struct tally tally_of(int dma_buf)
{
	struct tally tally = { };
	struct stat st;
	char line[512];
	FILE *trace;

	must(fstat(dma_buf, &st));
	trace = fopen(TRACING "trace", "re");
	if (!trace)
		fail("cannot read the trace: %s", errno_name(errno));
	while (fgets(line, sizeof(line), trace))
		tally_line(&tally, line, st.st_ino);
	fclose(trace);
	return tally;
}

unsigned int operations_count(int dma_buf, const char *name)
{
	struct tally tally = tally_of(dma_buf);
	size_t i;

	for (i = 0; i < NR_OPERATIONS; i++)
		if (!strcmp(name, operations[i]))
			return tally.calls[i];
	fail("there is no operation %s", name);
}

enum listed { NOT_LISTED, LISTED, OPTIONAL };

/* How the list @names, such as "attach map? vmap", has @name. */
static enum listed look_up(const char *name, const char *names)
{
	size_t len = strlen(name), word;

	for (; *names; names += word + !!names[word]) {
		word = strcspn(names, " ");
		if (word < len || strncmp(names, name, len))
			continue;
		if (word == len)
			return LISTED;
		if (word == len + 1 && names[len] == '?')
			return OPTIONAL;
	}
	return NOT_LISTED;
}

void operations_check(int dma_buf, const char *names)
{
	struct tally tally;
	size_t i;

	if (!is_watched())
		return;
	tally = tally_of(dma_buf);
	for (i = 0; i < NR_OPERATIONS; i++) {
		enum listed listed = look_up(operations[i], names);

		if (listed == OPTIONAL ||
		    listed == (tally.calls[i] ? LISTED : NOT_LISTED))
			continue;
		fail("%s was called %u times, and the operations should be: %s",
		     operations[i], tally.calls[i], names);
	}
}
