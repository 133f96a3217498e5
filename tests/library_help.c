// SPDX-License-Identifier: MIT
/* Shared by the tests of libdmabufx. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "library_help.h"
#include "memory.h"

bool under_valgrind(void)
{
	const char *preloaded = getenv("LD_PRELOAD");

	return preloaded && strstr(preloaded, "vgpreload");
}

int device(void)
{
	return must(open(settings.device, O_RDONLY | O_CLOEXEC));
}

bool is_udmabuf(int fd)
{
	struct dmabufx_query query;

	good(dmabufx_query(fd, &query));
	return !query.version;
}

void fill(int memfd, unsigned int id, size_t size)
{
	void *map;

	good(dmabufx_map(memfd, 0, size, PROT_READ | PROT_WRITE, &map));
	pattern_fill(map, 0, id, 0, size);
	good(dmabufx_unmap(map, size));
}

int filled_memfd(unsigned int id, size_t size)
{
	int memfd = good(dmabufx_memfd("library", size, PAGE));

	fill(memfd, id, size);
	return memfd;
}

void shows(int dmabuf, uint64_t where, unsigned int id, uint64_t offset, size_t size)
{
	void *map;

	good(dmabufx_map(dmabuf, where, size, PROT_READ, &map));
	good(dmabufx_begin_cpu_access(dmabuf, DMABUFX_READ));
	pattern_check(map, 0, id, offset, size, "the mapping");
	good(dmabufx_end_cpu_access(dmabuf, DMABUFX_READ));
	good(dmabufx_unmap(map, size));
}

void told(const struct dmabufx_request *request, int error, unsigned int segment,
	  const char *words)
{
	char text[256];
	int len = dmabufx_explain(request, text, sizeof(text));

	check_eq(len, strlen(text));
	if (request->error != -error || request->failed_segment != segment ||
	    strcmp(text, words))
		fail("%s about segment %u: '%s' instead of %s about %u: '%s'",
		     errno_name(-request->error), request->failed_segment, text,
		     errno_name(error), segment, words);
}

void limit(int resource, rlim_t now)
{
	struct rlimit rlimit;

	must(getrlimit(resource, &rlimit));
	rlimit.rlim_cur = now;
	must(setrlimit(resource, &rlimit));
}
