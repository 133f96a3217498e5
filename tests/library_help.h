/* SPDX-License-Identifier: MIT */
/* Shared by the tests of libdmabufx. */
#ifndef TESTS_LIBRARY_HELP_H
#define TESTS_LIBRARY_HELP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>

#include <dmabufx.h>

#include "harness.h"

#define NOBODY 65534

/* The number of no open descriptor. */
#define CLOSED 1000000

/* A call of the library that must succeed. */
#define good(call)							\
	({								\
		long ret_ = (call);					\
									\
		if (ret_ < 0)						\
			fail("%s: %s", #call, errno_name(-ret_));	\
		ret_;							\
	})

/* A call of the library that must fail with this error. */
#define bad(error, call)						\
	do {								\
		long ret_ = (call), wanted_ = (error);			\
									\
		if (ret_ != -wanted_)					\
			fail("%s: %s instead of %s", #call,		\
			     ret_ < 0 ? errno_name(-ret_) : "no error",	\
			     errno_name(wanted_));			\
	} while (0)

bool under_valgrind(void);

/* The device under test, opened. */
int device(void);
bool is_udmabuf(int fd);

/* Fills a memfd, or a new one, with words that tell where they belong. */
void fill(int memfd, unsigned int id, size_t size);
int filled_memfd(unsigned int id, size_t size);

/* The dma-buf must show at @where the data of memfd @id at @offset. */
void shows(int dmabuf, uint64_t where, unsigned int id, uint64_t offset, size_t size);

/* The request must have failed with @error about @segment, explained in these @words. */
void told(const struct dmabufx_request *request, int error, unsigned int segment,
	  const char *words);

/* Sets the soft limit. */
void limit(int resource, rlim_t now);

#endif /* TESTS_LIBRARY_HELP_H */
