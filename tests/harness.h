/* SPDX-License-Identifier: MIT */
/*
 * A test is a function with a name and a promise in words:
 *
 *	PROMISE(fork_shares, "a child's mapping shares memory with its parent's")
 *	{
 *		...
 *	}
 *
 * Each runs in a process of its own, under a time limit; it passes by
 * returning. The parent watches what would outlive it (pins, dma-bufs, memory
 * of memfds, huge pages) and what the kernel said meanwhile.
 */
#ifndef TESTS_HARNESS_H
#define TESTS_HARNESS_H

#include <errno.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/**
 * struct settings - given by the command line
 * @device: the node under test
 * @module: file of the module behind @device, or NULL for a driver that is
 *	built in and called as its node is
 * @reports_fail: somebody else takes every report of the kernel for a failure:
 *	tests that provoke one are skipped
 */
struct settings {
	const char *device;
	const char *module;
	bool reports_fail;
};

extern struct settings settings;

/* The module behind the device, as /sys/module calls it. */
const char *driver_name(void);

/* Unload it, without waiting: -1 and errno where it is used. Load it again. */
int module_try_unload(void);
void module_load(void);

struct test {
	const char *name;
	const char *promise;
	unsigned int tags;
	void (*run)(void);
	struct test *next;
};

void test_register(struct test *test);

/*
 * For what shows tests to somebody: main.c to people and scripts.
 */

/* Also the exit status of a test's process. */
enum result {
	PASSED,
	FAILED,
	SKIPPED = 77,
};

/* Those linked into the program, in the order of their files. */
extern struct test *all_tests;

/* Runs and judges one. *@why is the reason, until the next one runs. */
enum result test_run(const struct test *test, const char **why);

/*
 * For tests.
 */

/* What a promise needs, or where else it is to be kept: boots choose by these. */
enum tag {
	TAG_PEER	= 1 << 0,	/* the in-tree udmabuf is asked for it, too */
	TAG_SERVED	= 1 << 1,	/* kept again at /dev/udmabuf, if dmabufx serves that */
	TAG_THREADS	= 1 << 2,	/* threads or processes act at the same time */
	TAG_BOUNCED	= 1 << 3,	/* needs bounce buffers */
	TAG_STALE	= 1 << 4,	/* needs memory that comes as it was left */
	TAG_KEXPORT	= 1 << 5,	/* needs the sample exporter, kexport */
	TAG_SWAP	= 1 << 6,	/* needs swap */
	TAG_FAIL_NTH	= 1 << 7,	/* needs fault injection */
	TAG_ALONE	= 1 << 8,	/* unloads the module, which nobody else may use */

	/* Of the consumers' tests. */
	TAG_EDU		= 1 << 9,	/* needs QEMU's device edu, which does DMA */
	TAG_NESTED	= 1 << 10,	/* needs virtio-gpu */
	TAG_CARDLESS	= 1 << 11,	/* runs before there is any DRM device */
	TAG_DRIVER	= 1 << 12,	/* about a driver, without a big program */
	TAG_VKMS	= 1 << 13,	/* needs vkms */
};

/* A file may define it before it includes this: tags of all its promises. */
#ifndef DEFAULT_TAGS
#define DEFAULT_TAGS 0
#endif

#define FIRST_TWO(first, second, ...) ((first) | (second))

/* PROMISE(id, words[, tags]): these are added to the file's. */
#define PROMISE(id, words, ...)						\
	static void test_##id(void);					\
	static struct test registration_##id = {			\
		.name = #id,						\
		.promise = words,					\
		.tags = FIRST_TWO(DEFAULT_TAGS, ##__VA_ARGS__, 0),	\
		.run = test_##id,					\
	};								\
	__attribute__((constructor)) static void register_##id(void)	\
	{								\
		test_register(&registration_##id);			\
	}								\
	static void test_##id(void)

/* End the test, from any of its threads or children. */
__attribute__((noreturn, format(printf, 3, 4)))
void test_fail(const char *file, int line, const char *fmt, ...);

__attribute__((noreturn, format(printf, 1, 2)))
void skip(const char *fmt, ...);

/* A figure or a fact for the reader, printed beside the result. */
__attribute__((format(printf, 1, 2)))
void note(const char *fmt, ...);

/*
 * How often to do what is done many times: a tenth of it on kernels that are slow,
 * and see more each time.
 */
int repeats(int times);

/* The kernel may report something with @text in its first line, by right. */
void expect_report(const char *text);

/* "EINVAL" */
const char *errno_name(int error);

/* Waits for a child made by fork(); its failure is the test's. */
void join_child(int pid);

/* Kills a child made by fork(). False if a minute later it has not ended. */
bool child_dies(int pid);

#define fail(...) test_fail(__FILE__, __LINE__, __VA_ARGS__)

#define check(condition)						\
	do {								\
		if (!(condition))					\
			fail("not so: %s", #condition);			\
	} while (0)

/* @a_text and @b_text: as written, before macros in them are expanded. */
#define check_compare(a, op, b, a_text, b_text)				\
	do {								\
		long long a_ = (a), b_ = (b);				\
									\
		if (!(a_ op b_))					\
			fail("%s %s %s: %lld against %lld (%#llx, %#llx)", \
			     a_text, #op, b_text, a_, b_, a_, b_);	\
	} while (0)

#define check_eq(a, b) check_compare(a, ==, b, #a, #b)
#define check_le(a, b) check_compare(a, <=, b, #a, #b)

/* The value of a call that must not return -1. */
#define must(call)							\
	({								\
		__typeof__(call) ret_ = (call);				\
									\
		if ((long)ret_ == -1)					\
			fail("%s: %s", #call, errno_name(errno));	\
		ret_;							\
	})

/* Closes the descriptor that a call returns, which must not return -1. */
#define must_close(call)						\
	do {								\
		int fd_ = must(call);					\
									\
		must(close(fd_));					\
	} while (0)

/* A call that must return -1 and set errno to this error. */
#define must_fail(error, call)						\
	do {								\
		__typeof__(call) value_ = (call);			\
		long ret_ = (long)value_;				\
		int errno_ = errno, wanted_ = (error);			\
									\
		if (ret_ != -1)						\
			fail("%s: returned %ld instead of %s",		\
			     #call, ret_, errno_name(wanted_));		\
		if (errno_ != wanted_)					\
			fail("%s: %s instead of %s", #call,		\
			     errno_name(errno_), errno_name(wanted_));	\
	} while (0)

#endif /* TESTS_HARNESS_H */
