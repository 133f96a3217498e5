/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Uses KUnit if the kernel has it. Distributions' kernels do not. For them this file
 * provides the part of it that these suites use, under the same names and with the same
 * guarantees: each case runs in a thread of its own, a failed assertion ends it, and
 * after the case its actions run, in reverse order.
 *
 * Here the cases run when the module is loaded; loading succeeds even if cases fail.
 * The results, in KTAP, are in /sys/kernel/debug/dmabufx-kunit/results.
 */
#ifndef DMABUFX_TESTS_KUNIT_H
#define DMABUFX_TESTS_KUNIT_H

#include <linux/kconfig.h>

#if IS_ENABLED(CONFIG_KUNIT)
#include <kunit/test.h>
#else

#include <linux/compiler.h>
#include <linux/err.h>
#include <linux/string.h>
#include <linux/types.h>

struct file;

enum kunit_status {
	KUNIT_SUCCESS,
	KUNIT_FAILURE,
	KUNIT_SKIPPED,
};

/**
 * struct kunit - a running case
 * @priv: for the suite
 * @param_value: the parameter of this run
 * @status: result so far
 * @failures: number of failed expectations
 * @actions: functions to call after the case
 */
struct kunit {
	void *priv;
	const void *param_value;
	enum kunit_status status;
	unsigned int failures;
	struct list_head actions;
};

#define KUNIT_PARAM_DESC_SIZE	128

struct kunit_case {
	void (*run_case)(struct kunit *test);
	const char *name;
	const void *(*generate_params)(const void *prev, char *desc);
};

struct kunit_suite {
	const char *name;
	int (*init)(struct kunit *test);
	void (*exit)(struct kunit *test);
	struct kunit_case *test_cases;
};

#define KUNIT_CASE(test_name) { .run_case = test_name, .name = #test_name }
#define KUNIT_CASE_PARAM(test_name, generator) \
	{ .run_case = test_name, .name = #test_name, .generate_params = generator }

#define KUNIT_ARRAY_PARAM(name, array, get_desc) \
static const void *name##_gen_params(const void *prev, char *desc) \
{ \
	const void *next = kunit_next_param(prev, array, sizeof((array)[0]), \
					    sizeof(array)); \
	if (next) \
		get_desc(next, desc); \
	return next; \
}

static inline const void *kunit_next_param(const void *prev, const void *array,
					   size_t element, size_t size)
{
	const void *next = prev ? prev + element : array;

	return next == array + size ? NULL : next;
}

extern struct kunit_suite *kunit_suites[];

#define kunit_test_suites(...) \
	struct kunit_suite *kunit_suites[] = { __VA_ARGS__, NULL }

int kunit_add_action_or_reset(struct kunit *test, void (*func)(void *),
			      void *data);
void kunit_release_action(struct kunit *test, void (*func)(void *), void *data);
unsigned long kunit_vm_mmap(struct kunit *test, struct file *file,
			    unsigned long addr, unsigned long len,
			    unsigned long prot, unsigned long flag,
			    unsigned long offset);

__printf(2, 3) void __noreturn kunit_skip(struct kunit *test, const char *fmt,
					  ...);
__printf(8, 9) void kunit_fail(struct kunit *test, bool fatal, const char *file,
			       int line, const char *expected, long long left,
			       long long right, const char *fmt, ...);

#define KUNIT_COMPARE(test, fatal, left, op, right, ...) do { \
	const typeof(left) __left = (left); \
	const typeof(right) __right = (right); \
	if (!(__left op __right)) \
		kunit_fail(test, fatal, __FILE__, __LINE__, \
			   #left " " #op " " #right, (long long)__left, \
			   (long long)__right, __VA_ARGS__); \
} while (0)

#define KUNIT_EXPECT(test, a, op, b) \
	KUNIT_COMPARE(test, false, a, op, b, "%s", "")
#define KUNIT_ASSERT(test, a, op, b) \
	KUNIT_COMPARE(test, true, a, op, b, "%s", "")

#define KUNIT_EXPECT_EQ(test, a, b) KUNIT_EXPECT(test, a, ==, b)
#define KUNIT_EXPECT_LE(test, a, b) KUNIT_EXPECT(test, a, <=, b)
#define KUNIT_EXPECT_GE(test, a, b) KUNIT_EXPECT(test, a, >=, b)
#define KUNIT_EXPECT_GT(test, a, b) KUNIT_EXPECT(test, a, >, b)
#define KUNIT_EXPECT_TRUE(test, a) KUNIT_EXPECT(test, !!(a), ==, true)
#define KUNIT_EXPECT_FALSE(test, a) KUNIT_EXPECT(test, !!(a), ==, false)
#define KUNIT_EXPECT_PTR_EQ(test, a, b) \
	KUNIT_EXPECT(test, (const void *)(a), ==, (const void *)(b))
#define KUNIT_EXPECT_EQ_MSG(test, a, b, ...) \
	KUNIT_COMPARE(test, false, a, ==, b, __VA_ARGS__)

#define KUNIT_ASSERT_EQ(test, a, b) KUNIT_ASSERT(test, a, ==, b)
#define KUNIT_ASSERT_GT(test, a, b) KUNIT_ASSERT(test, a, >, b)
#define KUNIT_ASSERT_LE(test, a, b) KUNIT_ASSERT(test, a, <=, b)
#define KUNIT_ASSERT_TRUE(test, a) KUNIT_ASSERT(test, !!(a), ==, true)
#define KUNIT_ASSERT_NOT_NULL(test, a) \
	KUNIT_ASSERT(test, (const void *)(a), !=, (const void *)NULL)

#endif /* !CONFIG_KUNIT */
#endif /* DMABUFX_TESTS_KUNIT_H */
