// SPDX-License-Identifier: MIT
/* Runs tests, and judges them: see harness.h. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "watch.h"

/*
 * Long enough for an emulated machine, which may be fifty times slower than a real one.
 * DMABUFX_PATIENCE in the environment multiplies it on slow kernels.
 */
#define TEST_SECONDS 240

struct settings settings = {
	.device = "/dev/dmabufx",
};

struct test *all_tests;

static struct test **tests_end = &all_tests;

/* Why a test failed or was skipped: shared with its processes, which write it. */
static char *reason;

#define REASON_SIZE 1024

/* Text of reports that the test expects from the kernel; shared, too. */
static char *expected;

#define EXPECTED_SIZE 128

void test_register(struct test *test)
{
	*tests_end = test;
	tests_end = &test->next;
}

const char *driver_name(void)
{
	static char name[64];
	const char *path = settings.module ? settings.module : settings.device;
	const char *slash = strrchr(path, '/');

	snprintf(name, sizeof(name), "%s", slash ? slash + 1 : path);
	name[strcspn(name, ".")] = 0;
	return name;
}

int module_try_unload(void)
{
	return syscall(SYS_delete_module, driver_name(), O_NONBLOCK);
}

void module_load(void)
{
	int file = must(open(settings.module, O_RDONLY | O_CLOEXEC));

	must(syscall(SYS_finit_module, file, "", 0));
	close(file);
}

/* Keeps the first reason, for later ones follow from it. */
__attribute__((format(printf, 2, 0)))
static void give_reason(const char *where, const char *fmt, va_list args)
{
	char text[REASON_SIZE];

	if (*reason)
		return;
	vsnprintf(text, sizeof(text), fmt, args);
	snprintf(reason, REASON_SIZE, "%s%s", where, text);
}

void test_fail(const char *file, int line, const char *fmt, ...)
{
	char where[128];
	va_list args;

	snprintf(where, sizeof(where), "%s:%d: ", file, line);
	va_start(args, fmt);
	give_reason(where, fmt, args);
	va_end(args);
	fflush(stdout);
	_exit(FAILED);
}

void skip(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	give_reason("", fmt, args);
	va_end(args);
	fflush(stdout);
	_exit(SKIPPED);
}

void note(const char *fmt, ...)
{
	va_list args;

	printf("# ");
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
}

void expect_report(const char *text)
{
	if (settings.reports_fail)
		skip("makes the kernel report '%s'", text);
	snprintf(expected, EXPECTED_SIZE, "%s", text);
}

const char *errno_name(int error)
{
	const char *name = error ? strerrorname_np(error) : "success";

	return name ? name : "an unknown error";
}

void join_child(int pid)
{
	int status;

	must(waitpid(pid, &status, 0));
	if (WIFSIGNALED(status))
		fail("a child died of SIG%s", sigabbrev_np(WTERMSIG(status)));
	if (WEXITSTATUS(status))
		fail("a child exited with status %d", WEXITSTATUS(status));
}

void ignore_signal(int signal)
{
	(void)signal;
}

void child_is_stuck(int pid, long call)
{
	char path[64], state = 0;
	long called = -1;
	FILE *file;

	while (state != 'D' || called != call) {
		snprintf(path, sizeof(path), "/proc/%d/stat", pid);
		file = fopen(path, "re");
		check(file);
		check_eq(fscanf(file, "%*d (%*[^)]) %c", &state), 1);
		fclose(file);
		check(state != 'Z');

		snprintf(path, sizeof(path), "/proc/%d/syscall", pid);
		file = fopen(path, "re");
		check(file);
		if (fscanf(file, "%ld", &called) != 1)
			called = -1;
		fclose(file);
	}
}

bool child_dies(int pid)
{
	struct pollfd ended = {
		.fd = must(syscall(SYS_pidfd_open, pid, 0)), .events = POLLIN,
	};
	int status, polled;

	must(kill(pid, SIGKILL));
	polled = must(poll(&ended, 1, 60000));
	must(close(ended.fd));
	if (!polled)
		return false;
	must(waitpid(pid, &status, 0));
	check(WIFSIGNALED(status));
	return true;
}

static int seconds_allowed(void)
{
	return TEST_SECONDS * patience();
}

int repeats(int times)
{
	return patience() > 1 ? (times + 9) / 10 : times;
}

static void run_child(const struct test *test)
{
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	test->run();
	fflush(stdout);
	_exit(0);
}

/* Runs the test in a child; returns its wait status, or -1 after the limit. */
static int run_limited(const struct test *test)
{
	int status, pidfd, in_time;
	struct pollfd ready;
	pid_t pid;

	fflush(stdout);
	pid = must(fork());
	if (!pid)
		run_child(test);
	setpgid(pid, pid);

	pidfd = must(syscall(SYS_pidfd_open, pid, 0));
	ready = (struct pollfd){ .fd = pidfd, .events = POLLIN };
	do {
		in_time = poll(&ready, 1, seconds_allowed() * 1000);
	} while (in_time < 0 && errno == EINTR);
	close(pidfd);

	/* Always kill the group, so that no test leaves a process behind. */
	kill(-pid, SIGKILL);
	must(waitpid(pid, &status, 0));
	return in_time ? status : -1;
}

/* Turns the wait status into a result, and sets a reason if there is none. */
static enum result judge_status(int status)
{
	if (status == -1) {
		snprintf(reason, REASON_SIZE, "did not end within %d seconds",
			 seconds_allowed());
		return FAILED;
	}
	if (WIFSIGNALED(status)) {
		snprintf(reason, REASON_SIZE, "died of SIG%s",
			 sigabbrev_np(WTERMSIG(status)));
		return FAILED;
	}
	if (WEXITSTATUS(status) == PASSED || WEXITSTATUS(status) == SKIPPED)
		return WEXITSTATUS(status);
	if (!*reason)
		snprintf(reason, REASON_SIZE, "exited with status %d",
			 WEXITSTATUS(status));
	return FAILED;
}

/* A failed test keeps its own reason: a leak may follow from it. */
static enum result judge_leaks(enum result result, const struct counters *before)
{
	struct counters after;
	int leak = counters_settle(before, &after);

	if (leak < 0 || result == FAILED)
		return result;
	snprintf(reason, REASON_SIZE, "leaks: %s were %ld before, are %ld after",
		 counter_name[leak], before->value[leak], after.value[leak]);
	return FAILED;
}

static enum result judge_log(enum result result, int log)
{
	int reports = kernel_log_reports(log, expected);

	if (!reports)
		return result;
	if (result != FAILED)
		snprintf(reason, REASON_SIZE,
			 "the kernel reported trouble, see the lines above");
	return FAILED;
}

/* Allocates the memory that the processes of a test share with this one. */
static void share_reason(void)
{
	reason = mmap(NULL, REASON_SIZE + EXPECTED_SIZE, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (reason == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	expected = reason + REASON_SIZE;
}

enum result test_run(const struct test *test, const char **why)
{
	struct counters before;
	enum result result;
	int log;

	if (!reason)
		share_reason();
	*reason = 0;
	*expected = 0;
	kernel_log_mark("begin", test->name);
	log = kernel_log_open();
	counters_read(&before);
	result = judge_status(run_limited(test));
	result = judge_leaks(result, &before);
	result = judge_log(result, log);
	close(log);
	kernel_log_mark("end", test->name);
	*why = reason;
	return result;
}
