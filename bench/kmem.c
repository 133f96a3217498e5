// SPDX-License-Identifier: GPL-2.0-only
/*
 * Measures how much memory the kernel holds for what this process did: allocations
 * and frees of its allocators, from tracepoints, and memory in the vmalloc area.
 * Does not count memory that the allocator keeps for later, or page tables of the
 * vmalloc area.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

#define TRACING "/sys/kernel/tracing/"

/* Most objects held at the same time. */
#define MAX_OBJECTS 4096

struct object {
	char ptr[24];
	size_t size;
};

static struct object objects[MAX_OBJECTS];
static size_t nr_objects;
static size_t vmalloc_before;

static bool set(const char *file, const char *value)
{
	char path[96];
	bool ok;
	int fd;

	snprintf(path, sizeof(path), TRACING "%s", file);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0)
		return false;
	ok = write(fd, value, strlen(value)) == (ssize_t)strlen(value);
	close(fd);
	return ok;
}

static bool trace_allocations(const char *on)
{
	return set("events/kmem/kmalloc/enable", on) &&
	       set("events/kmem/kfree/enable", on) &&
	       set("events/kmem/kmem_cache_alloc/enable", on) &&
	       set("events/kmem/kmem_cache_free/enable", on) &&
	       set("events/kmem/mm_page_alloc/enable", on) &&
	       set("events/kmem/mm_page_free/enable", on);
}

static size_t vmalloc_bytes(void)
{
	FILE *file = fopen("/proc/vmallocinfo", "re");
	size_t pages = 0;
	char line[512];

	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file)) {
		char *field = strstr(line, " pages=");

		/* Mappings by vmap() have no pages of their own: they show only " vmap". */
		if (field && strstr(line, " vmalloc"))
			pages += strtoul(field + strlen(" pages="), NULL, 10);
	}
	fclose(file);
	return pages * sysconf(_SC_PAGESIZE);
}

/* Returns the word after @key in @line, or NULL. */
static const char *field(const char *line, const char *key, char *value,
			 size_t size)
{
	const char *at = strstr(line, key);
	size_t len;

	if (!at)
		return NULL;
	at += strlen(key);
	len = strcspn(at, "\n ");
	if (len >= size)
		return NULL;
	memcpy(value, at, len);
	value[len] = 0;
	return value;
}

static void freed(const char *line, const char *key)
{
	char ptr[24];

	if (!field(line, key, ptr, sizeof(ptr)))
		return;
	for (size_t i = 0; i < nr_objects; i++) {
		if (!strcmp(objects[i].ptr, ptr)) {
			objects[i] = objects[--nr_objects];
			return;
		}
	}
}

static void allocated(const char *line)
{
	struct object *object;
	char size[24];

	/* A large kmalloc() has two events. */
	freed(line, " ptr=");
	object = &objects[nr_objects];
	if (nr_objects < MAX_OBJECTS &&
	    field(line, " ptr=", object->ptr, sizeof(object->ptr)) &&
	    field(line, " bytes_alloc=", size, sizeof(size))) {
		object->size = strtoul(size, NULL, 10);
		nr_objects++;
	}
}

/* A single page. Pages of the slab allocator and page tables are __GFP_COMP. */
static void page_allocated(const char *line)
{
	struct object *object = &objects[nr_objects];

	if (nr_objects < MAX_OBJECTS && strstr(line, " order=0 ") &&
	    !strstr(line, "__GFP_COMP") &&
	    field(line, " pfn=", object->ptr, sizeof(object->ptr))) {
		object->size = sysconf(_SC_PAGESIZE);
		nr_objects++;
	}
}

/* Counts this process's allocations, and frees of these by any process. */
static void read_trace(void)
{
	FILE *file = fopen(TRACING "trace", "re");
	char line[512], us[24];

	if (!file)
		return;
	snprintf(us, sizeof(us), "-%d ", getpid());
	while (fgets(line, sizeof(line), file)) {
		if (strstr(line, " kfree: ") || strstr(line, " kmem_cache_free: "))
			freed(line, " ptr=");
		else if (strstr(line, " mm_page_free: "))
			freed(line, " pfn=");
		else if (strstr(line, us) && strstr(line, " mm_page_alloc: "))
			page_allocated(line);
		else if (strstr(line, us))
			allocated(line);
	}
	fclose(file);
}

/* Starts counting. Returns false if there is no tracing. */
bool kmem_start(void)
{
	vmalloc_before = vmalloc_bytes();
	nr_objects = 0;
	return set("trace", "") && set("tracing_on", "1") &&
	       trace_allocations("1");
}

/* Returns how many bytes were allocated since and are still held. */
size_t kmem_stop(void)
{
	size_t bytes;

	trace_allocations("0");
	bytes = vmalloc_bytes() - vmalloc_before;
	read_trace();
	set("trace", "");
	for (size_t i = 0; i < nr_objects; i++)
		bytes += objects[i].size;
	return bytes;
}
