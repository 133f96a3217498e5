// SPDX-License-Identifier: GPL-2.0-only
/*
 * dmabufx bench: measures how long this machine takes to make, map, touch and
 * close a buffer, with dmabufx and with udmabuf. Medians of wall-clock time.
 *
 * It answers the questions of a user: without privileges, in seconds, and through the
 * library that is installed, so the library's own cost and choice of addresses are
 * included. The bench of the sources (bench/run, also with --wall) answers those of a
 * developer, and shares no code with this one: it calls the drivers directly and places
 * the memory itself. It needs root and a kernel module, to measure what devices and the
 * kernel do, the kernel's own floor, and memory.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <dmabufx.h>
#include <json-c/json.h>

#include "tool.h"

#define MAX_REPETITIONS	1001

enum operation { CREATE, TOUCH, UNMAP, CLOSE, OPERATIONS };

static const char * const operations[OPERATIONS] = {
	"create", "touch", "unmap", "close",
};

/* @device is -1 if it cannot be measured; @why_not says why. */
struct driver {
	const char *name;
	int device;
	char why_not[256];
};

struct settings {
	uint64_t size;
	unsigned int repetitions;
	bool json;
};

/* Microseconds; negative if it could not be measured. */
struct results {
	double median[OPERATIONS];
	char why_not[256];
};

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e6 + ts.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void touch(const volatile char *map, uint64_t size)
{
	uint64_t page = sysconf(_SC_PAGESIZE), i;

	for (i = 0; i < size; i += page)
		(void)map[i];
}

static bool measure_once(int device, int memfd, uint64_t size, double *us,
			 struct results *results)
{
	struct dmabufx_request request = { .flags = DMABUFX_CREATE_CLOEXEC };
	double start = now();
	int dmabuf = dmabufx_create_memfd(device, memfd, 0, size, &request), ret;
	void *map;

	us[CREATE] = now() - start;
	if (dmabuf < 0) {
		dmabufx_explain(&request, results->why_not, sizeof(results->why_not));
		return false;
	}
	ret = dmabufx_map(dmabuf, 0, size, PROT_READ | PROT_WRITE, &map);
	if (ret) {
		snprintf(results->why_not, sizeof(results->why_not), "%s", strerror(-ret));
		close(dmabuf);
		return false;
	}
	start = now();
	touch(map, size);
	us[TOUCH] = now() - start;
	start = now();
	dmabufx_unmap(map, size);
	us[UNMAP] = now() - start;
	start = now();
	close(dmabuf);
	us[CLOSE] = now() - start;
	return true;
}

/* Returns true if dmabufx answers on udmabuf's node (serve_udmabuf). */
static bool is_another(const struct driver *driver)
{
	struct dmabufx_query query;

	return !strcmp(driver->name, "udmabuf") &&
	       !dmabufx_query(driver->device, &query) && query.version;
}

static void refuse(struct driver *driver)
{
	close(driver->device);
	driver->device = -1;
}

static void open_driver(struct driver *driver, uint64_t size)
{
	char path[32];

	snprintf(path, sizeof(path), "/dev/%s", driver->name);
	driver->device = open(path, O_RDONLY | O_CLOEXEC);
	if (driver->device < 0) {
		snprintf(driver->why_not, sizeof(driver->why_not), "%s: %s", path,
			 strerror(errno));
	} else if (is_another(driver)) {
		snprintf(driver->why_not, sizeof(driver->why_not),
			 "%s is served by dmabufx", path);
		refuse(driver);
	} else if (!driver_takes(driver->device, size, driver->why_not,
				 sizeof(driver->why_not))) {
		refuse(driver);
	}
}

static void measure(const struct driver *driver, int memfd,
		    const struct settings *settings, struct results *results)
{
	static double samples[OPERATIONS][MAX_REPETITIONS];
	double us[OPERATIONS];
	unsigned int i, o;

	results->median[CREATE] = -1;
	if (driver->device < 0) {
		snprintf(results->why_not, sizeof(results->why_not), "%s", driver->why_not);
		return;
	}
	for (i = 0; i < settings->repetitions; i++) {
		if (!measure_once(driver->device, memfd, settings->size, us, results))
			return;
		for (o = 0; o < OPERATIONS; o++)
			samples[o][i] = us[o];
	}
	for (o = 0; o < OPERATIONS; o++) {
		qsort(samples[o], i, sizeof(double), compare);
		results->median[o] = samples[o][i / 2];
	}
}

static void print_row(const char *memory, const char *driver,
		      const struct results *results)
{
	unsigned int o;

	printf("%-12s %-8s", memory, driver);
	if (results->median[CREATE] < 0) {
		printf("  %s\n", results->why_not);
		return;
	}
	for (o = 0; o < OPERATIONS; o++)
		printf(" %10.1f", results->median[o]);
	putchar('\n');
}

static void add_number(struct json_object *row, const char *key, double number)
{
	json_object_object_add(row, key, json_object_new_double(number));
}

static struct json_object *to_json(const char *memory, const char *driver,
				   const struct results *results)
{
	struct json_object *row = json_object_new_object();
	unsigned int o;

	json_object_object_add(row, "memory", json_object_new_string(memory));
	json_object_object_add(row, "driver", json_object_new_string(driver));
	if (results->median[CREATE] < 0)
		json_object_object_add(row, "error",
				       json_object_new_string(results->why_not));
	else
		for (o = 0; o < OPERATIONS; o++)
			add_number(row, operations[o], results->median[o]);
	return row;
}

static struct settings parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "size", required_argument, NULL, 's' },
		{ "repetitions", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	struct settings settings = { .size = 64 << 20, .repetitions = 11 };
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'j':
			settings.json = true;
			break;
		case 's':
			settings.size = parse_number("--size", optarg, INT64_MAX);
			break;
		case 'r':
			settings.repetitions = parse_number("--repetitions", optarg,
							    MAX_REPETITIONS);
			break;
		case 'h':
			usage();
			exit(0);
		default:
			misused("bench has no such option");
		}
	}
	if (argv[optind])
		misused("bench takes no arguments");
	return settings;
}

/* Returns -1 if the pool has not enough huge pages, which is no failure. */
static int make_memfd(uint64_t size, uint64_t page_size)
{
	int memfd = dmabufx_memfd("dmabufx bench", size, page_size);

	errno = -memfd;
	if (memfd < 0 && page_size <= (uint64_t)sysconf(_SC_PAGESIZE))
		err(1, "no memory of %s", bytes_text(size));
	return memfd;
}

/* Returns false if a driver that accepts the size could not be measured. */
static bool measure_all(struct driver *drivers, size_t nr,
			const struct settings *settings, struct json_object *rows)
{
	const struct { const char *name; uint64_t page_size; } memories[] = {
		{ "pages", sysconf(_SC_PAGESIZE) },
		{ "as given", 0 },
		{ "hugetlb 2 MiB", 2 << 20 },
	};
	struct results results;
	bool all = true;
	size_t m, d;

	for (m = 0; m < sizeof(memories) / sizeof(memories[0]); m++) {
		int memfd = make_memfd(settings->size, memories[m].page_size);

		for (d = 0; memfd >= 0 && d < nr; d++) {
			measure(&drivers[d], memfd, settings, &results);
			all &= drivers[d].device < 0 || results.median[CREATE] >= 0;
			json_object_array_add(rows, to_json(memories[m].name,
							    drivers[d].name, &results));
			if (!settings->json)
				print_row(memories[m].name, drivers[d].name, &results);
		}
		if (memfd >= 0)
			close(memfd);
	}
	return all;
}

int command_bench(int argc, char **argv)
{
	struct driver drivers[] = { { .name = "dmabufx" }, { .name = "udmabuf" } };
	struct settings settings = parse(argc, argv);
	struct json_object *rows = json_object_new_array();
	bool all;

	open_driver(&drivers[0], settings.size);
	open_driver(&drivers[1], settings.size);
	if (drivers[0].device < 0 && drivers[1].device < 0)
		errx(1, "nothing can be measured\n  dmabufx: %s\n  udmabuf: %s",
		     drivers[0].why_not, drivers[1].why_not);
	need_memory(settings.size);

	if (!settings.json)
		printf("%s, microseconds (median of %u)\n%-12s %-8s %10s %10s %10s %10s\n",
		       bytes_text(settings.size), settings.repetitions, "MEMORY",
		       "DRIVER", "CREATE", "TOUCH", "UNMAP", "CLOSE");
	all = measure_all(drivers, 2, &settings, rows);
	if (!settings.json) {
		puts("\"as given\" has transparent huge pages where the system allows them.");
		json_object_put(rows);
	} else {
		print_json(rows);
	}
	return !all;
}
