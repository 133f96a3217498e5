/* SPDX-License-Identifier: MIT */
/*
 * Makes a program of igt-gpu-tools of the tests that are linked into it, which harness.h
 * registers. Each test becomes a subtest, and runs in a process of its own.
 */
#ifndef IGT_DMABUFX_H
#define IGT_DMABUFX_H

#include <getopt.h>

#include "harness.h"

/* Options for igt_main_args(): --node and --module. */
extern const struct option dmabufx_options[];
extern const char dmabufx_help[];
int dmabufx_option(int option, int index, void *data);

/* Runs each test as a subtest: all that most programs do. */
void dmabufx_run_all(void);

/*
 * Runs each test as a subtest with dynamic subtests. @dynamic makes these: it calls
 * dmabufx_run() in an igt_dynamic() for each driver that the test is run on.
 */
void dmabufx_run_dynamic(void (*dynamic)(const struct test *test));

/* Runs the test, and reports its result to igt. */
void dmabufx_run(const struct test *test);

#endif /* IGT_DMABUFX_H */
