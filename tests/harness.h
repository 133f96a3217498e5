/* SPDX-License-Identifier: MIT */
/*
 * A test is a function with a name, and with a promise in words:
 *
 *	PROMISE(fork_shares, "a child's mapping shares memory with its parent's")
 *	{
 *		...
 *	}
 *
 * Each test runs in a process of its own, under a time limit, and passes by returning.
 * Its parent compares counters before and after (pins, dma-bufs, pages of memfds, huge
 * pages), and reads the kernel's log.
 */
#ifndef TESTS_HARNESS_H
#define TESTS_HARNESS_H

#include <errno.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/**
 * struct settings - settings from the command line
 * @device: the node under test
 * @module: the file of the module behind @device; NULL for a built-in driver, whose name
 *	is the node's
 * @reports_fail: something else fails a test for every report of the kernel, so tests
 *	that provoke a report are skipped
 */
struct settings {
	const char *device;
	const char *module;
	bool reports_fail;
};

extern struct settings settings;

/* The driver's name in /sys/module. */
const char *driver_name(void);

/* Unloads the module; returns -1 and errno at once where it is in use. Loads it again. */
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

/* For programs that run tests: main.c, and igt's. */

/* Also the exit status of a test's process. */
enum result {
	PASSED,
	FAILED,
	SKIPPED = 77,
};

/* The tests in the program, in the order of the files. */
extern struct test *all_tests;

/* Runs a test and judges it. *@why is the reason, valid until the next test runs. */
enum result test_run(const struct test *test, const char **why);

/* For tests. */

/* The needs of a promise, and the other places where it holds: boots choose by tags. */
enum tag {
	TAG_PEER	= 1 << 0,	/* the in-tree udmabuf must keep it, too */
	TAG_SERVED	= 1 << 1,	/* must hold at /dev/udmabuf, too, if dmabufx serves it */
	TAG_THREADS	= 1 << 2,	/* threads or processes act at the same time */
	TAG_BOUNCED	= 1 << 3,	/* needs bounce buffers */
	TAG_STALE	= 1 << 4,	/* needs memory that is not cleared when allocated */
	TAG_KEXPORT	= 1 << 5,	/* needs the sample exporter, kexport */
	TAG_SWAP	= 1 << 6,	/* needs swap */
	TAG_FAIL_NTH	= 1 << 7,	/* needs fault injection */
	TAG_ALONE	= 1 << 8,	/* unloads the module, so nothing else may use it */

	/* Tags of the consumers' tests. */
	TAG_EDU		= 1 << 9,	/* needs QEMU's device edu, which does DMA */
	TAG_NESTED	= 1 << 10,	/* needs virtio-gpu */
	TAG_CARDLESS	= 1 << 11,	/* runs before there is any DRM device */
	TAG_DRIVER	= 1 << 12,	/* tests a driver, without a big program */
	TAG_VKMS	= 1 << 13,	/* needs vkms */
};

/* Tags of all promises in a file: a file may define this before it includes harness.h. */
#ifndef DEFAULT_TAGS
#define DEFAULT_TAGS 0
#endif

#define FIRST_TWO(first, second, ...) ((first) | (second))

/* PROMISE(id, words[, tags]): the tags are added to DEFAULT_TAGS. */
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

/* Prints a figure or a fact beside the result. */
__attribute__((format(printf, 1, 2)))
void note(const char *fmt, ...);

/*
 * How often to repeat something: @times, or a tenth of that on a debug kernel, which is
 * slow but notices more each time.
 */
int repeats(int times);

/* From now on, reports with @text in their first line do not fail the test. */
void expect_report(const char *text);

/* "EINVAL" */
const char *errno_name(int error);

/* A handler that does nothing, for signals that are only to interrupt a call. */
void ignore_signal(int signal);

/* Waits for a child made by fork(); if it failed, the test fails. */
void join_child(int pid);

/*
 * Waits until a child made by fork() sleeps in the system call with the number @call, in a
 * way that no signal handler interrupts, such as the wait for a lock of the kernel.
 */
void child_is_stuck(int pid, long call);

/* Kills a child made by fork(). Returns false if it lives a minute later. */
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
