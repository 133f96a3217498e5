/* SPDX-License-Identifier: MIT */
/*
 * Declarations of the part of libigt 2.5 that these tests use, to build them without its
 * sources: distributions have the library, but not its headers. In an igt-gpu-tools
 * checkout, its own igt.h replaces this one.
 *
 * igt_main_args() and igt_fixture() are used as they are since 2.3. Every symbol that is
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
igt_printf(1, 2)
__noreturn void igt_skip(const char *format, ...);
igt_printf(5, 6)
__noreturn void __igt_skip_check(const char *file, int line, const char *function,
				 const char *condition, const char *format, ...);
igt_printf(6, 7)
__noreturn void __igt_fail_assert(const char *domain, const char *file, int line,
				  const char *function, const char *assertion,
				  const char *format, ...);

#define IGT_TEST_DESCRIPTION(text) const char *__igt_test_description = (text)

#define IGT_OPT_HANDLER_SUCCESS 0
#define IGT_OPT_HANDLER_ERROR (-2)

/* The body of the program follows: int igt_main_args(...) { ... } */
#define igt_main_args(short_opts, long_opts, help, handler, data)	\
	main(int argc, char **argv);					\
	static void igt_body(void);					\
	int main(int argc, char **argv)					\
	{								\
		igt_subtest_init_parse_opts(&argc, argv, short_opts,	\
					    long_opts, help, handler, data); \
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

#define igt_assert_f(condition, ...)					\
	do {								\
		if (!(condition))					\
			__igt_fail_assert(NULL, __FILE__, __LINE__, __func__, \
					  #condition, __VA_ARGS__);	\
	} while (0)

#define igt_require_f(condition, ...)					\
	do {								\
		if (!(condition))					\
			__igt_skip_check(__FILE__, __LINE__, __func__,	\
					 #condition, __VA_ARGS__);	\
	} while (0)

#endif /* DMABUFX_IGT_ABI_H */
