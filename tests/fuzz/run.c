// SPDX-License-Identifier: MIT
/* Runs programs: see run.h. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../harness.h"
#include "calls.h"
#include "cover.h"
#include "run.h"

/* A call that waits is interrupted after this time, again and again. */
#define ALARM_MICROSECONDS	200000

/* The longest time until a child is killed. */
#define MAX_KILL_MICROSECONDS	5000

static const struct program *program;
/* The first call that threads make side by side. */
static unsigned int together;
static atomic_uint calls_made;
static pthread_barrier_t start;

static void set_alarm(void)
{
	const struct itimerval often = {
		{ 0, ALARM_MICROSECONDS }, { 0, ALARM_MICROSECONDS },
	};

	setitimer(ITIMER_REAL, &often, NULL);
}

void run_prepare(int huge)
{
	cover_open(MAX_THREADS);
	calls_prepare(huge);
	set_alarm();
	cover_start(0);
}

static void make_call(const struct call *call)
{
	long ret;

	cover_before_call();
	ret = call_types[call->type].run(call->arg);
	cover_after_call(call->type, ret);
	atomic_fetch_add(&calls_made, 1);
}

static bool is_next(unsigned int i, unsigned int thread)
{
	return program->call[i].thread == thread;
}

/*
 * fork N MICROSECONDS: a child makes the next N calls of this thread and exits,
 * or is killed after that time if it is not 0. Returns the call to go on with.
 */
static unsigned int fork_off(unsigned int i, unsigned int end,
			     unsigned int thread)
{
	const __u64 *arg = program->call[i].arg;
	unsigned int left = arg[0];
	pid_t pid = fork();

	if (!pid) {
		cover_forget();
		set_alarm();
	} else if (pid > 0 && arg[1]) {
		usleep(arg[1] % MAX_KILL_MICROSECONDS);
		kill(pid, SIGKILL);
	}
	atomic_fetch_add(&calls_made, 1);

	for (i++; i < end && left; i++) {
		if (!is_next(i, thread))
			continue;
		left--;
		/* If fork() failed, nobody makes these calls. A child does not fork again. */
		if (!pid && program->call[i].type != fork_type)
			make_call(&program->call[i]);
	}
	if (!pid)
		_exit(0);
	return i;
}

static void run_thread(unsigned int thread, unsigned int from, unsigned int end)
{
	unsigned int i = from;

	while (i < end) {
		if (!is_next(i, thread))
			i++;
		else if (program->call[i].type == fork_type)
			i = fork_off(i, end, thread);
		else
			make_call(&program->call[i++]);
	}
}

static void *thread_main(void *arg)
{
	unsigned int thread = (unsigned long)arg;

	cover_start(thread);
	pthread_barrier_wait(&start);
	run_thread(thread, together, program->nr);
	cover_stop();
	return NULL;
}

static void run_threads(void)
{
	pthread_t others[MAX_THREADS];
	unsigned long i;

	pthread_barrier_init(&start, NULL, MAX_THREADS);
	for (i = 1; i < MAX_THREADS; i++)
		check(!pthread_create(&others[i], NULL, thread_main, (void *)i));
	pthread_barrier_wait(&start);
	run_thread(0, together, program->nr);
	for (i = 1; i < MAX_THREADS; i++)
		pthread_join(others[i], NULL);
	pthread_barrier_destroy(&start);
}

static void reap_children(void)
{
	while (wait(NULL) > 0 || errno == EINTR)
		;
}

unsigned int run_program(const struct program *p)
{
	program = p;
	calls_made = 0;
	cover_program();
	calls_begin();
	for (together = 0; together < p->nr; together++)
		if (p->call[together].thread)
			break;
	run_thread(0, 0, together);
	if (together < p->nr)
		run_threads();
	reap_children();
	calls_end();
	return calls_made;
}
