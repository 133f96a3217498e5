/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Calls a function in a task that is being killed. A real SIGKILL would kill the test's
 * whole process, which could not report the result. So a kernel thread makes the call,
 * with the signal pending.
 */
#ifndef DMABUFX_TESTS_KILLED_H
#define DMABUFX_TESTS_KILLED_H

#include <linux/completion.h>
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/sched/signal.h>

struct killed {
	int (*func)(void *data);
	void *data;
	int ret;
	struct completion done;
};

static int killed_thread(void *data)
{
	struct sighand_struct *sighand = rcu_dereference_raw(current->sighand);
	struct killed *killed = data;

	spin_lock_irq(&sighand->siglock);
	sigaddset(&current->pending.signal, SIGKILL);
	set_tsk_thread_flag(current, TIF_SIGPENDING);
	spin_unlock_irq(&sighand->siglock);
	killed->ret = killed->func(killed->data);
	flush_signals(current);
	kthread_complete_and_exit(&killed->done, 0);
}

/* Returns the result of @func in a killed task, or an error if there is no thread. */
static inline int call_killed(int (*func)(void *data), void *data)
{
	struct killed killed = { .func = func, .data = data };
	struct task_struct *task;

	init_completion(&killed.done);
	task = kthread_run(killed_thread, &killed, "dmabufx-killed");
	if (IS_ERR(task))
		return PTR_ERR(task);
	wait_for_completion(&killed.done);
	return killed.ret;
}

#endif /* DMABUFX_TESTS_KILLED_H */
