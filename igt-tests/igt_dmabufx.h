/* SPDX-License-Identifier: MIT */
/*
 * Makes programs of igt-gpu-tools of the tests that are linked into them: those that
 * harness.h registers. Each becomes a subtest, which runs it in a process of its own.
 */
#ifndef IGT_DMABUFX_H
#define IGT_DMABUFX_H

#include <getopt.h>

#include "harness.h"

/* For igt_main_args(): --node and --module. */
extern const struct option dmabufx_options[];
extern const char dmabufx_help[];
int dmabufx_option(int option, int index, void *data);

/* Each test as a subtest: the whole of an ordinary program. */
void dmabufx_run_all(void);

/*
 * Each test as a subtest with dynamic ones, which @dynamic makes: it calls
 * dmabufx_run() in an igt_dynamic() for everything that the test is to be run on.
 */
void dmabufx_run_dynamic(void (*dynamic)(const struct test *test));

/* Runs the test, and passes its result on to igt. */
void dmabufx_run(const struct test *test);

#endif /* IGT_DMABUFX_H */
