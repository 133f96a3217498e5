// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs the suites if the kernel has no KUnit. See kunit.h.
 *
 * The cases use the address space of the process that loads the module, for their user
 * memory.
 */
#include <linux/completion.h>
#include <linux/debugfs.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "../compat.h"
#include "kunit.h"

/* Size of the report, and how many failures of a case it shows. */
#define REPORT_SIZE	SZ_1M
#define MAX_FAILURES	10

static struct debugfs_blob_wrapper report;
static struct dentry *dir;

struct action {
	struct list_head node;
	void (*func)(void *data);
	void *data;
};

/**
 * struct run - a case and its thread
 * @test: the case's context
 * @suite: its suite
 * @func: its function
 * @mm: address space of the process that loads the module
 * @done: completed when the thread has ended
 */
struct run {
	struct kunit test;
	const struct kunit_suite *suite;
	void (*func)(struct kunit *test);
	struct mm_struct *mm;
	struct completion done;
};

__printf(1, 0) static void vsay(const char *fmt, va_list args)
{
	report.size += vscnprintf(report.data + report.size,
				  REPORT_SIZE - report.size, fmt, args);
}

__printf(1, 2) static void say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsay(fmt, args);
	va_end(args);
}

/* Ends a case, from its own thread. */
static void __noreturn stop(struct kunit *test)
{
	struct run *run = container_of(test, struct run, test);

	kthread_unuse_mm(run->mm);
	kthread_complete_and_exit(&run->done, 0);
}

/**
 * kunit_skip - end a case that cannot run here
 * @test: the case
 * @fmt: the reason
 */
void kunit_skip(struct kunit *test, const char *fmt, ...)
{
	va_list args;

	say("        # ");
	va_start(args, fmt);
	vsay(fmt, args);
	va_end(args);
	say("\n");
	test->status = KUNIT_SKIPPED;
	stop(test);
}

/**
 * kunit_fail - report a failed expectation
 * @test: the case
 * @fatal: whether to end the case
 * @file: where it failed
 * @line: where it failed
 * @expected: the expectation's text
 * @left: value of its left side
 * @right: value of its right side
 * @fmt: more text
 */
void kunit_fail(struct kunit *test, bool fatal, const char *file, int line,
		const char *expected, long long left, long long right,
		const char *fmt, ...)
{
	va_list args;

	test->status = KUNIT_FAILURE;
	if (++test->failures > MAX_FAILURES)
		goto out;
	say("        # %s:%d: expected %s, which is %lld (%#llx) and %lld (%#llx) ",
	    kbasename(file), line, expected, left, left, right, right);
	va_start(args, fmt);
	vsay(fmt, args);
	va_end(args);
	say("\n");
out:
	if (fatal)
		stop(test);
}

/**
 * kunit_add_action_or_reset - call a function after the case
 * @test: the case
 * @func: the function
 * @data: its argument
 *
 * Return: 0, or -ENOMEM after calling the function at once.
 */
int kunit_add_action_or_reset(struct kunit *test, void (*func)(void *),
			      void *data)
{
	struct action *action = kzalloc_obj(*action, GFP_KERNEL);

	if (!action) {
		func(data);
		return -ENOMEM;
	}
	action->func = func;
	action->data = data;
	list_add(&action->node, &test->actions);
	return 0;
}

static void do_action(struct action *action)
{
	list_del(&action->node);
	action->func(action->data);
	kfree(action);
}

/**
 * kunit_release_action - call the function of an action now
 * @test: the case
 * @func: the function
 * @data: its argument
 */
void kunit_release_action(struct kunit *test, void (*func)(void *), void *data)
{
	struct action *action;

	list_for_each_entry(action, &test->actions, node) {
		if (action->func == func && action->data == data) {
			do_action(action);
			return;
		}
	}
}

struct user_area {
	unsigned long addr;
	unsigned long len;
};

static void unmap_user_area(void *data)
{
	struct user_area *area = data;

	vm_munmap(area->addr, area->len);
	kfree(area);
}

/**
 * kunit_vm_mmap - map user memory until the case has ended
 * @test: the case
 * @file: as for vm_mmap()
 * @addr: as for vm_mmap()
 * @len: as for vm_mmap()
 * @prot: as for vm_mmap()
 * @flag: as for vm_mmap()
 * @offset: as for vm_mmap()
 *
 * Return: the address, 0 if there is no memory for the record, or as vm_mmap().
 */
unsigned long kunit_vm_mmap(struct kunit *test, struct file *file,
			    unsigned long addr, unsigned long len,
			    unsigned long prot, unsigned long flag,
			    unsigned long offset)
{
	struct user_area *area = kzalloc_obj(*area, GFP_KERNEL);

	if (!area)
		return 0;

	area->addr = vm_mmap(file, addr, len, prot, flag, offset);
	area->len = len;
	if (IS_ERR_VALUE(area->addr)) {
		addr = area->addr;
		kfree(area);
		return addr;
	}
	if (kunit_add_action_or_reset(test, unmap_user_area, area))
		return 0;
	return area->addr;
}

static int run_thread(void *data)
{
	struct run *run = data;

	kthread_use_mm(run->mm);
	if (!run->suite->init || !run->suite->init(&run->test)) {
		run->func(&run->test);
		if (run->suite->exit)
			run->suite->exit(&run->test);
	} else {
		run->test.status = KUNIT_FAILURE;
	}
	stop(&run->test);
}

/* Runs a case with one parameter, or none, and then its actions. */
static enum kunit_status run_once(const struct kunit_suite *suite,
				  const struct kunit_case *c, const void *param)
{
	struct run run = {
		.test = {
			.param_value = param,
			.actions = LIST_HEAD_INIT(run.test.actions),
		},
		.suite = suite,
		.func = c->run_case,
		.mm = current->mm,
	};
	struct action *action, *next;
	struct task_struct *task;

	init_completion(&run.done);
	task = kthread_run(run_thread, &run, "dmabufx-kunit");
	if (IS_ERR(task)) {
		say("        # there is no thread for it: %ld\n", PTR_ERR(task));
		return KUNIT_FAILURE;
	}
	wait_for_completion(&run.done);

	list_for_each_entry_safe(action, next, &run.test.actions, node)
		do_action(action);
	return run.test.status;
}

static void say_result(int indent, enum kunit_status status, unsigned int nr,
		       const char *name)
{
	say("%*s%s %u %s%s\n", indent, "",
	    status == KUNIT_FAILURE ? "not ok" : "ok", nr, name,
	    status == KUNIT_SKIPPED ? " # SKIP" : "");
}

static enum kunit_status run_params(const struct kunit_suite *suite,
				    const struct kunit_case *c)
{
	enum kunit_status status, all = KUNIT_SKIPPED;
	char desc[KUNIT_PARAM_DESC_SIZE];
	const void *param = NULL;
	unsigned int nr = 0;

	say("        KTAP version 1\n        # Subtest: %s\n", c->name);
	while ((param = c->generate_params(param, desc))) {
		status = run_once(suite, c, param);
		say_result(8, status, ++nr, desc);
		if (status == KUNIT_FAILURE)
			all = status;
		else if (status == KUNIT_SUCCESS && all == KUNIT_SKIPPED)
			all = status;
	}
	say("        1..%u\n", nr);
	return all;
}

static enum kunit_status run_suite(const struct kunit_suite *suite)
{
	enum kunit_status status, all = KUNIT_SUCCESS;
	const struct kunit_case *c;
	unsigned int nr = 0;

	say("    KTAP version 1\n    # Subtest: %s\n", suite->name);
	for (c = suite->test_cases; c->run_case; c++) {
		status = c->generate_params ? run_params(suite, c) :
					      run_once(suite, c, NULL);
		say_result(4, status, ++nr, c->name);
		if (status == KUNIT_FAILURE)
			all = status;
	}
	say("    1..%u\n", nr);
	return all;
}

static int __init shim_init(void)
{
	struct kunit_suite **suite;
	unsigned int nr = 0;

	if (!current->mm)
		return -EINVAL;
	report.data = vzalloc(REPORT_SIZE);
	if (!report.data)
		return -ENOMEM;

	say("KTAP version 1\n");
	for (suite = kunit_suites; *suite; suite++)
		say_result(0, run_suite(*suite), ++nr, (*suite)->name);
	say("1..%u\n", nr);

	dir = debugfs_create_dir("dmabufx-kunit", NULL);
	debugfs_create_blob("results", 0400, dir, &report);
	return 0;
}

static void __exit shim_exit(void)
{
	debugfs_remove(dir);
	vfree(report.data);
}

module_init(shim_init);
module_exit(shim_exit);
