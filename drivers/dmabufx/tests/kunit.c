// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module of the suites. It has copies of the files under test, which they
 * include, so that what is private to the module is in reach; it neither needs
 * dmabufx.ko nor minds it.
 */
#include <linux/module.h>

#include "tests.h"

kunit_test_suites(&dmabufx_runs_suite, &dmabufx_kva_suite, &dmabufx_pages_suite,
		  &dmabufx_user_iter_suite, &dmabufx_sg_suite,
		  &dmabufx_append_suite);

MODULE_DESCRIPTION("KUnit suites of dmabufx");
MODULE_AUTHOR("The dmabufx authors");
MODULE_LICENSE("GPL");
