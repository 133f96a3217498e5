// SPDX-License-Identifier: MIT
/* The kernel's side of a test: see watch.h. */
#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <linux/dmabufx.h>
#include <regex.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "watch.h"

const char * const counter_name[NR_COUNTERS] = {
	[PINS] = "pinned pages",
	[DMA_BUFS] = "dma-bufs",
	[SHMEM_PAGES] = "pages of shmem",
	[FREE_HUGE_PAGES] = "free huge pages",
	[DMA_MAPPINGS] = "mappings for devices",
	[MEMFD_CHARGE] = "bytes of memfds in buffers",
	[LOCKED_CHARGE] = "locked bytes",
};

/* The kernel's list of DMA mappings, if it has DMA-API debugging. */
#define DMA_DEBUG "/sys/kernel/debug/dma-api/"

static const char * const report_expressions[] = {
#include "reports.h"
};

long file_number(const char *path, const char *key)
{
	char line[256];
	long number = -1;
	FILE *file = fopen(path, "re");

	if (!file)
		fail("cannot open %s: %s", path, errno_name(errno));
	while (number < 0 && fgets(line, sizeof(line), file)) {
		if (!strncmp(line, key, strlen(key)))
			sscanf(line + strlen(key), "%ld", &number);
	}
	fclose(file);
	if (number < 0)
		fail("%s has no number after '%s'", path, key);
	return number;
}

bool file_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool written;

	if (fd < 0)
		return false;
	written = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return written;
}

/* Adds the per-CPU parts of the kernel's counters up. */
static void refresh_counters(void)
{
	file_write("/proc/sys/vm/stat_refresh", "1");
}

static long free_huge_pages(void)
{
	const char *pattern = "/sys/kernel/mm/hugepages/*/free_hugepages";
	long sum = 0;
	glob_t found;
	size_t i;

	if (glob(pattern, 0, NULL, &found))
		return 0;
	for (i = 0; i < found.gl_pathc; i++)
		sum += file_number(found.gl_pathv[i], "");
	globfree(&found);
	return sum;
}

/* The number of entries in all mapped scatterlists. */
static long dma_mappings(void)
{
	if (access(DMA_DEBUG "num_free_entries", F_OK))
		return 0;
	return file_number(DMA_DEBUG "nr_total_entries", "") -
	       file_number(DMA_DEBUG "num_free_entries", "");
}

/* The user's charges; zeros if the module is not loaded. */
static struct dmabufx_query charges(void)
{
	struct dmabufx_query query = { .size = sizeof(query) };
	int device = open(DMABUFX_DEVICE, O_RDONLY | O_CLOEXEC);

	if (device >= 0) {
		must(ioctl(device, DMABUFX_IOC_QUERY, &query));
		close(device);
	}
	return query;
}

void counters_read(struct counters *now)
{
	struct dmabufx_query query = charges();

	refresh_counters();
	now->value[PINS] =
		file_number("/proc/vmstat", "nr_foll_pin_acquired ") -
		file_number("/proc/vmstat", "nr_foll_pin_released ");
	now->value[DMA_BUFS] =
		file_number("/sys/kernel/debug/dma_buf/bufinfo", "Total ");
	/* A memfd that is still referenced keeps its pages. */
	now->value[SHMEM_PAGES] = file_number("/proc/vmstat", "nr_shmem ");
	now->value[FREE_HUGE_PAGES] = free_huge_pages();
	now->value[DMA_MAPPINGS] = dma_mappings();
	now->value[MEMFD_CHARGE] = query.memfd_pinned;
	now->value[LOCKED_CHARGE] = query.user_locked;
}

static int counters_differ(const struct counters *before,
			   const struct counters *now)
{
	int i;

	for (i = 0; i < NR_COUNTERS; i++)
		if (now->value[i] != before->value[i])
			return i;
	return -1;
}

static void sleep_ms(long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

int counters_settle(const struct counters *before, struct counters *now)
{
	int left, differ;

	for (left = 400; left; left--) {
		counters_read(now);
		differ = counters_differ(before, now);
		if (differ < 0)
			break;
		sleep_ms(50);
	}
	return differ;
}

double seconds_now(void)
{
	struct timespec ts;

	must(clock_gettime(CLOCK_MONOTONIC, &ts));
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

int patience(void)
{
	const char *text = getenv("DMABUFX_PATIENCE");
	int times = text ? atoi(text) : 1;

	return times > 1 ? times : 1;
}

int open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int fds = 0;

	check(dir);
	while (readdir(dir))
		fds++;
	closedir(dir);
	return fds;
}

static long memory_in(const char *key)
{
	return file_number("/proc/meminfo", key) * 1024;
}

long kernel_memory(void)
{
	refresh_counters();
	return memory_in("Slab:") + memory_in("VmallocUsed:") +
	       memory_in("KernelStack:") + memory_in("PageTables:") +
	       memory_in("Percpu:");
}

/* Free pages that CPUs keep for themselves; MemFree does not include them. */
static long memory_of_cpus(void)
{
	FILE *file = fopen("/proc/zoneinfo", "re");
	long sum = 0, pages;
	char line[256];

	check(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, " count: %ld", &pages) == 1)
			sum += pages;
	fclose(file);
	return sum * sysconf(_SC_PAGESIZE);
}

static long memory_of_nobody_now(void)
{
	refresh_counters();
	return memory_in("MemTotal:") - memory_in("MemFree:") -
	       memory_in("Buffers:") - memory_in("Cached:") -
	       memory_in("AnonPages:") - memory_of_cpus();
}

long memory_of_nobody(void)
{
	long last = memory_of_nobody_now(), now = last;
	int tries;

	for (tries = 0; tries < 20; tries++) {
		sleep_ms(200);
		now = memory_of_nobody_now();
		if (labs(now - last) < 128 * 1024)
			break;
		last = now;
	}
	return now;
}

long slab_objects(const char *cache)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink", cache);
	check(file_write(path, "1"));
	snprintf(path, sizeof(path), "/sys/kernel/slab/%s/objects", cache);
	return file_number(path, "");
}

bool kernel_looks_closely(void)
{
	return !access("/proc/lockdep_stats", F_OK);
}

void stay_on_one_cpu(void)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(must(sched_getcpu()), &cpus);
	must(sched_setaffinity(0, sizeof(cpus), &cpus));
}

/* Returns the growth since @before, after late frees have happened. */
static long settled_growth(long before, long enough)
{
	long growth;
	int left = 20;

	do {
		sleep_ms(100);
		growth = kernel_memory() - before;
	} while (growth > enough && --left);
	return growth;
}

long kernel_memory_growth(void (*call)(void *arg), void *arg, int loops,
			  long enough)
{
	long least = LONG_MAX, before, growth;
	int tries, i;

	stay_on_one_cpu();
	/* The first call fills the caches that all later ones use. */
	call(arg);
	if (kernel_looks_closely()) {
		for (i = 0; i < loops; i += 20)
			call(arg);
		return 0;
	}
	/* Caches of other work may grow by a page in one try, but not in each. */
	for (tries = 0; tries < 12 && least > enough; tries++) {
		before = kernel_memory();
		for (i = 0; i < loops; i++)
			call(arg);
		growth = settled_growth(before, enough);
		if (growth < least)
			least = growth;
	}
	return least;
}

void leaves_at_most(void (*call)(void *arg), void *arg, int loops, long enough)
{
	int fds = open_fds();
	long growth = kernel_memory_growth(call, arg, loops, enough);

	check_eq(open_fds(), fds);
	if (growth > enough)
		fail("%d calls leave %ld bytes of kernel memory behind", loops,
		     growth);
}

void leaves_nothing(void (*call)(void *arg), void *arg, int loops)
{
	/* Memory is counted by the page, so a few are no leak. */
	leaves_at_most(call, arg, loops, loops * 24);
}

int kernel_log_open(void)
{
	int log = must(open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC));

	must(lseek(log, 0, SEEK_END));
	return log;
}

static bool is_report(const char *line)
{
	static regex_t compiled[ARRAY_SIZE(report_expressions)];
	static bool are_compiled;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(compiled) && !are_compiled; i++)
		check_eq(regcomp(&compiled[i], report_expressions[i],
				 REG_EXTENDED | REG_NOSUB), 0);
	are_compiled = true;
	for (i = 0; i < ARRAY_SIZE(compiled); i++)
		if (!regexec(&compiled[i], line, 0, NULL, 0))
			return true;
	return false;
}

/*
 * Excuses reports that the test expects, and the stack trace of the OOM killer, which
 * prints it when a memory cgroup is full.
 */
static bool is_excused(const char *line, const char *expected)
{
	static bool trace_follows;

	if (strstr(line, "invoked oom-killer") ||
	    (*expected && strstr(line, expected)))
		trace_follows = true;
	else if (trace_follows && strcasestr(line, "Call trace"))
		trace_follows = false;
	else
		return false;
	return true;
}

int kernel_log_reports(int log, const char *expected)
{
	char record[8192];
	int reports = 0;
	ssize_t got;

	for (;;) {
		char *text;

		got = read(log, record, sizeof(record) - 1);
		if (got < 0 && errno == EPIPE)
			continue;
		if (got <= 0)
			return reports;
		record[got] = 0;

		/* "priority,sequence,time,flags;text\n KEY=value..." */
		text = strchr(record, ';');
		text = text ? text + 1 : record;
		text[strcspn(text, "\n")] = 0;
		if (!is_excused(text, expected) && is_report(text))
			reports++;
		/* Lines after the first report explain it. */
		if (reports)
			printf("# kernel: %s\n", text);
	}
}

void kernel_log_mark(const char *what, const char *name)
{
	char line[256];

	snprintf(line, sizeof(line), "<5>dmabufx-tests: %s %s\n", what, name);
	file_write("/dev/kmsg", line);
}

#define TRACING "/sys/kernel/tracing/"
#define FAULTS TRACING "events/dmabufx/dmabufx_fault/"

static void trace_faults_if(const char *filter)
{
	int trace;

	check(file_write(FAULTS "filter", filter));
	check(file_write(FAULTS "enable", "1"));
	/* To open it with O_TRUNC empties it. */
	trace = must(open(TRACING "trace", O_WRONLY | O_TRUNC | O_CLOEXEC));
	must(close(trace));
}

void trace_faults(void)
{
	trace_faults_if("0");
}

void trace_faults_without_memory(void)
{
	/* VM_FAULT_OOM */
	trace_faults_if("ret == 1");
}

/* Lines of the trace with both texts. */
static int faults_with(const char *who, const char *result)
{
	FILE *trace = fopen(TRACING "trace", "re");
	char line[512];
	int n = 0;

	check(trace);
	while (fgets(line, sizeof(line), trace))
		n += strstr(line, who) && strstr(line, result);
	fclose(trace);
	return n;
}

int faults_mapped(unsigned int order)
{
	char pid[32], result[64];

	snprintf(pid, sizeof(pid), "-%d ", getpid());
	/* VM_FAULT_NOPAGE */
	snprintf(result, sizeof(result), " order=%u ret=0x100\n", order);
	return faults_with(pid, result);
}

int faults_without_memory(void)
{
	int n = faults_with("dmabufx_fault:", " ret=0x1\n");

	/* Others count faults of all kinds. */
	check(file_write(FAULTS "filter", "0"));
	return n;
}
