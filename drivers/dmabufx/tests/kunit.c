// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module of the suites. They include the files under test, so it has its own copies
 * of them, and the suites can call their private functions. It does not need dmabufx.ko,
 * and both can be loaded.
 */
#include <linux/module.h>

#include "tests.h"

kunit_test_suites(&dmabufx_runs_suite, &dmabufx_kva_suite, &dmabufx_pages_suite,
		  &dmabufx_user_iter_suite, &dmabufx_sg_suite,
		  &dmabufx_append_suite);

MODULE_DESCRIPTION("KUnit suites of dmabufx");
MODULE_AUTHOR("The dmabufx authors");
MODULE_LICENSE("GPL");
