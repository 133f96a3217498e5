/* SPDX-License-Identifier: MIT */
/*
 * The part of libigt that these tests use, declared from its interface as of
 * igt-gpu-tools 2.5, for building without its sources: distributions have the
 * library, and none of its headers. In an igt-gpu-tools checkout its own igt.h takes
 * this one's place.
 *
 * igt_main() and igt_fixture() take parentheses since 2.3. Every symbol that is
 * used must be exported by the library found: the Makefile verifies it.
 */
#ifndef DMABUFX_IGT_ABI_H
#define DMABUFX_IGT_ABI_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#ifndef __noreturn
#define __noreturn __attribute__((noreturn))
#endif
#define __maybe_unused __attribute__((unused))
#define igt_printf(text, first) __attribute__((format(printf, text, first)))

struct option;

enum igt_log_level {
	IGT_LOG_DEBUG,
	IGT_LOG_INFO,
	IGT_LOG_WARN,
	IGT_LOG_CRITICAL,
	IGT_LOG_NONE,
};

/* Where a failure or a skip continues: behind its subtest. */
extern jmp_buf igt_subtest_jmpbuf;
extern jmp_buf igt_dynamic_jmpbuf;

int igt_subtest_init_parse_opts(int *argc, char **argv, const char *short_opts,
				const struct option *long_opts, const char *help,
				int (*handler)(int opt, int index, void *data),
				void *data);
__noreturn void igt_exit(void);

bool __igt_fixture(void);
void __igt_fixture_complete(void);
bool __igt_run_subtest(const char *name, const char *file, int line);
bool __igt_enter_dynamic_container(void);
bool __igt_run_dynamic_subtest(const char *name);
void igt_success(void);

igt_printf(1, 2)
void igt_describe_f(const char *format, ...);
igt_printf(3, 4)
void igt_log(const char *domain, enum igt_log_level level, const char *format, ...);

/* Lines of the kernel's that this test has a reason for. */
void igt_emit_ignore_dmesg_regex(const char *regex);

igt_printf(1, 2)
__noreturn void igt_skip(const char *format, ...);
igt_printf(5, 6)
__noreturn void __igt_skip_check(const char *file, int line, const char *function,
				 const char *condition, const char *format, ...);
igt_printf(6, 7)
__noreturn void __igt_fail_assert(const char *domain, const char *file, int line,
				  const char *function, const char *assertion,
				  const char *format, ...);

bool __igt_fork(void);
void igt_waitchildren(void);
void igt_kill_children(int signal);

#define IGT_TEST_DESCRIPTION(text) const char *__igt_test_description = (text)

/* The body of the program follows: int igt_main() { ... } */
#define igt_main()							\
	main(int argc, char **argv);					\
	static void igt_body(void);					\
	int main(int argc, char **argv)					\
	{								\
		igt_subtest_init_parse_opts(&argc, argv, NULL, NULL,	\
					    NULL, NULL, NULL);		\
		igt_body();						\
		igt_exit();						\
	}								\
	static void igt_body(void)

/* Blocks that a failure leaves by siglongjmp(): what they set must not be local. */
#define igt_block(entered, jmpbuf, leave)				\
	for (; (entered) && sigsetjmp(jmpbuf, 1) == 0; leave)

#define igt_fixture()							\
	for (volatile bool igt_once = true;				\
	     igt_once && __igt_fixture() &&				\
		sigsetjmp(igt_subtest_jmpbuf, 1) == 0;			\
	     igt_once = false, __igt_fixture_complete())

#define igt_subtest(name)						\
	igt_block(__igt_run_subtest(name, __FILE__, __LINE__),		\
		  igt_subtest_jmpbuf, igt_success())

#define igt_subtest_with_dynamic(name)					\
	igt_block(__igt_run_subtest(name, __FILE__, __LINE__) &&	\
		  __igt_enter_dynamic_container(),			\
		  igt_subtest_jmpbuf, igt_success())

#define igt_dynamic(name)						\
	igt_block(__igt_run_dynamic_subtest(name), igt_dynamic_jmpbuf,	\
		  igt_success())

#define igt_describe(text) igt_describe_f("%s", text)

#define igt_debug(...) igt_log(NULL, IGT_LOG_DEBUG, __VA_ARGS__)
#define igt_info(...) igt_log(NULL, IGT_LOG_INFO, __VA_ARGS__)
#define igt_warn(...) igt_log(NULL, IGT_LOG_WARN, __VA_ARGS__)

/* Forks until @count children are there; true in each of them. */
static inline bool igt_fork_next(int *child, int count)
{
	for (; *child < count; ++*child)
		if (__igt_fork())
			return true;
	return false;
}

/* Each child runs the block, and exits; its failure is the test's. */
#define igt_fork(child, count)						\
	for (int child = 0; igt_fork_next(&child, count); exit(0))

#define igt_fail_with(condition, ...)					\
	__igt_fail_assert(NULL, __FILE__, __LINE__, __func__, condition, __VA_ARGS__)

#define igt_assert(condition)						\
	do {								\
		if (!(condition))					\
			igt_fail_with(#condition, NULL);		\
	} while (0)

#define igt_assert_f(condition, ...)					\
	do {								\
		if (!(condition))					\
			igt_fail_with(#condition, __VA_ARGS__);		\
	} while (0)

#define igt_compare(type, shown, a, op, b)				\
	do {								\
		type a_ = (a), b_ = (b);				\
									\
		if (!(a_ op b_))					\
			igt_fail_with(#a " " #op " " #b,		\
				      "error: !(" shown " " #op " " shown ")\n", \
				      a_, b_);				\
	} while (0)

#define igt_assert_eq(a, b) igt_compare(int, "%d", a, ==, b)
#define igt_assert_neq(a, b) igt_compare(int, "%d", a, !=, b)
#define igt_assert_lt(a, b) igt_compare(int, "%d", a, <, b)
#define igt_assert_lte(a, b) igt_compare(int, "%d", a, <=, b)
#define igt_assert_eq_u32(a, b) igt_compare(unsigned int, "%#x", a, ==, b)
#define igt_assert_eq_u64(a, b) igt_compare(unsigned long long, "%#llx", a, ==, b)
#define igt_assert_lte_u64(a, b) igt_compare(unsigned long long, "%#llx", a, <=, b)
#define igt_assert_eq_s64(a, b) igt_compare(long long, "%lld", a, ==, b)
#define igt_assert_lte_s64(a, b) igt_compare(long long, "%lld", a, <=, b)

#define igt_require(condition)						\
	do {								\
		if (!(condition))					\
			__igt_skip_check(__FILE__, __LINE__, __func__,	\
					 #condition, NULL);		\
	} while (0)

#define igt_require_f(condition, ...)					\
	do {								\
		if (!(condition))					\
			__igt_skip_check(__FILE__, __LINE__, __func__,	\
					 #condition, __VA_ARGS__);	\
	} while (0)

#endif /* DMABUFX_IGT_ABI_H */
