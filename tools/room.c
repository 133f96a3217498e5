// SPDX-License-Identifier: GPL-2.0-only
/*
 * Checks whether there is room for a buffer before its memory is filled: the driver
 * would refuse it only after that, and if memory runs out, the kernel kills
 * processes. Others may take the room meanwhile, so success is not guaranteed.
 */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <dmabufx.h>

#include "tool.h"

#define CGROUPS	"/sys/fs/cgroup"

/* Finds the first line of @path that begins with @key, and copies the rest of it. */
static bool find_line(const char *path, const char *key, char *rest, int size)
{
	FILE *file = fopen(path, "re");
	char line[4096];
	bool found = false;

	while (file && !found && fgets(line, sizeof(line), file))
		found = !strncmp(line, key, strlen(key));
	if (file)
		fclose(file);
	if (found)
		snprintf(rest, size, "%.*s", (int)strcspn(line, "\n") - (int)strlen(key),
			 line + strlen(key));
	return found;
}

/* Returns @otherwise if the file does not exist or has "max". */
static uint64_t read_number(const char *path, const char *key, uint64_t otherwise)
{
	uint64_t number;
	char text[64];

	if (find_line(path, key, text, sizeof(text)) &&
	    sscanf(text, "%" SCNu64, &number) == 1)
		return number;
	return otherwise;
}

static uint64_t read_group(const char *group, const char *file, const char *key,
			   uint64_t otherwise)
{
	char path[4200];

	snprintf(path, sizeof(path), "%s/%s", group, file);
	return read_number(path, key, otherwise);
}

/*
 * Returns how much memory a group may still use. The kernel drops caches when a group
 * needs memory. Above memory.high it slows a group down so much that filling a buffer
 * may take hours, so that counts as a limit.
 */
static uint64_t left_in_group(const char *group)
{
	uint64_t max = read_group(group, "memory.max", "", UINT64_MAX);
	uint64_t high = read_group(group, "memory.high", "", UINT64_MAX);
	uint64_t used = read_group(group, "memory.current", "", 0);
	uint64_t cached = read_group(group, "memory.stat", "active_file ", 0) +
			  read_group(group, "memory.stat", "inactive_file ", 0) +
			  read_group(group, "memory.stat", "slab_reclaimable ", 0);

	max = max < high ? max : high;

	if (max == UINT64_MAX)
		return UINT64_MAX;
	used -= used < cached ? used : cached;
	return used < max ? max - used : 0;
}

/* Returns the least that is left in this process's cgroup and those above it. */
static uint64_t left_in_groups(void)
{
	uint64_t least = UINT64_MAX, left;
	char own[4000], path[4096];

	if (!find_line("/proc/self/cgroup", "0::", own, sizeof(own)))
		return UINT64_MAX;
	snprintf(path, sizeof(path), CGROUPS "%s", own);
	while (strlen(path) >= strlen(CGROUPS)) {
		left = left_in_group(path);
		least = left < least ? left : least;
		*strrchr(path, '/') = 0;
	}
	return least;
}

void need_memory(uint64_t size)
{
	uint64_t kib = read_number("/proc/meminfo", "MemAvailable:", UINT64_MAX / 1024);
	uint64_t group = left_in_groups();

	if (size > group)
		errx(1, "no memory of %s: its cgroup's limits leave %s",
		     bytes_text(size), bytes_text(group));
	if (size / 1024 >= kib)
		errx(1, "no memory of %s: this machine has %s available",
		     bytes_text(size), bytes_text(kib * 1024));
}

bool driver_takes(int device, uint64_t size, char *why, size_t len)
{
	struct dmabufx_query query;
	uint64_t left;

	/* Without an answer, let the driver itself refuse the buffer. */
	if (dmabufx_query(device, &query))
		return true;
	left = query.memfd_pinned < query.memfd_limit ?
	       query.memfd_limit - query.memfd_pinned : 0;
	if (size > query.max_size)
		snprintf(why, len, "the driver takes no more than %s",
			 bytes_text(query.max_size));
	else if (query.memfd_limit != UINT64_MAX && size > left)
		snprintf(why, len,
			 "this user's buffers may pin %s of memfds (memfd_limit_mib), and have pinned %s",
			 bytes_text(query.memfd_limit), bytes_text(query.memfd_pinned));
	else
		return true;
	return false;
}
