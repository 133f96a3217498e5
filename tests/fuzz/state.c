// SPDX-License-Identifier: MIT
/* The state between programs: see state.h. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../../uapi/linux/dmabufx.h"
#include "../harness.h"
#include "../watch.h"
#include "state.h"

#define KMEMLEAK	"/sys/kernel/debug/kmemleak"
#define LOCKDEP		"/proc/lockdep_stats"

/* A busy machine frees memory late. */
#define SETTLE_TRIES	4

static struct counters before;
static __u64 charged_before;
static int kernel_log;

/* The user's charges to both limits, bytes. */
static __u64 charged(void)
{
	struct dmabufx_query query = { .size = sizeof(query) };
	int device = must(open(DMABUFX_DEVICE, O_RDWR | O_CLOEXEC));

	must(ioctl(device, DMABUFX_IOC_QUERY, &query));
	close(device);
	return query.memfd_pinned + query.user_locked;
}

void state_init(void)
{
	if (!access(KMEMLEAK, W_OK)) {
		file_write(KMEMLEAK, "scan");
		file_write(KMEMLEAK, "clear");
	}
	kernel_log = kernel_log_open();
	counters_read(&before);
	charged_before = charged();
}

bool state_log_is_bad(void)
{
	return kernel_log_reports(kernel_log, "");
}

/* Pages of shmem may become fewer: others free them, or they are swapped out. */
static bool differs(enum counter i, const struct counters *now)
{
	return now->value[i] > before.value[i] ||
	       (now->value[i] < before.value[i] && i != SHMEM_PAGES);
}

static bool counters_differ(const struct counters *now)
{
	enum counter i;

	for (i = 0; i < NR_COUNTERS; i++)
		if (differs(i, now))
			return true;
	return false;
}

bool state_is_bad(void)
{
	struct counters now;
	unsigned int i;
	bool bad;

	counters_read(&now);
	bad = counters_differ(&now);
	for (i = 0; bad && i < SETTLE_TRIES; i++)
		bad = counters_settle(&before, &now) >= 0 &&
		      counters_differ(&now);
	for (i = 0; i < NR_COUNTERS; i++)
		if (differs(i, &now))
			printf("# %s: %ld before, %ld now\n", counter_name[i],
			       before.value[i], now.value[i]);
	if (charged() != charged_before)
		printf("# bytes charged: %llu before, %llu now\n",
		       charged_before, charged());
	return bad || charged() != charged_before;
}

static bool has_leaks(void)
{
	char text[4096];
	bool leaks = false;
	FILE *file;

	if (access(KMEMLEAK, W_OK))
		return false;
	/* kmemleak reports objects some seconds old, and may miss a pointer that moves. */
	sleep(6);
	file_write(KMEMLEAK, "scan");
	file_write(KMEMLEAK, "scan");
	file = fopen(KMEMLEAK, "re");
	check(file);
	while (fgets(text, sizeof(text), file)) {
		printf("# %s", text);
		leaks = true;
	}
	fclose(file);
	return leaks;
}

bool state_conclusion_is_bad(void)
{
	bool bad = has_leaks();

	if (!access(LOCKDEP, R_OK) &&
	    file_number(LOCKDEP, " debug_locks:") != 1) {
		printf("# lockdep has turned itself off\n");
		bad = true;
	}
	return bad | state_log_is_bad();
}
