// SPDX-License-Identifier: GPL-2.0-only
/* The test runner: see harness.h. */
#include <fcntl.h>
#include <fnmatch.h>
#include <getopt.h>
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
 * Generous: an emulated machine may be fifty times slower than a real one. The
 * environment's DMABUFX_PATIENCE multiplies it, for kernels that are slow.
 */
#define TEST_SECONDS 240

/* How often --only and --without may be given. */
#define MAX_PATTERNS 32

enum {
	EXIT_FAIL = 1,
	EXIT_SKIP = 77,
};

struct settings settings = {
	.device = "/dev/dmabufx",
};

/* Patterns of --only and --without, each list ended by NULL. */
static char *only[MAX_PATTERNS + 1], *without[MAX_PATTERNS + 1];

static struct test *tests, **tests_end = &tests;

/* Why a test failed or was skipped: written by its processes, read by ours. */
static char *reason;

#define REASON_SIZE 1024

/* What the test expects the kernel to report: likewise. */
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

/* The first reason stays: what comes after is a consequence. */
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
	_exit(EXIT_FAIL);
}

void skip(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	give_reason("", fmt, args);
	va_end(args);
	fflush(stdout);
	_exit(EXIT_SKIP);
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

static int patience(void)
{
	const char *text = getenv("DMABUFX_PATIENCE");
	int times = text ? atoi(text) : 1;

	return times > 1 ? times : 1;
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

	/* The group is killed in any case: no test leaves a process behind. */
	kill(-pid, SIGKILL);
	must(waitpid(pid, &status, 0));
	return in_time ? status : -1;
}

/* Turns the wait status into an exit status, and a reason where it has none. */
static int judge_status(int status)
{
	if (status == -1) {
		snprintf(reason, REASON_SIZE, "did not end within %d seconds",
			 seconds_allowed());
		return EXIT_FAIL;
	}
	if (WIFSIGNALED(status)) {
		snprintf(reason, REASON_SIZE, "died of SIG%s",
			 sigabbrev_np(WTERMSIG(status)));
		return EXIT_FAIL;
	}
	return WEXITSTATUS(status);
}

/* A failure keeps its own reason: a leak may be its consequence. */
static int judge_leaks(int result, const struct counters *before)
{
	struct counters after;
	int leak = counters_settle(before, &after);

	if (leak < 0 || result == EXIT_FAIL)
		return result;
	snprintf(reason, REASON_SIZE, "leaks: %s were %ld before, are %ld after",
		 counter_name[leak], before->value[leak], after.value[leak]);
	return EXIT_FAIL;
}

static int judge_log(int result, int log)
{
	int reports = kernel_log_reports(log, expected);

	if (!reports)
		return result;
	if (result != EXIT_FAIL)
		snprintf(reason, REASON_SIZE,
			 "the kernel reported trouble, see the lines above");
	return EXIT_FAIL;
}

/* Returns whether the test did not fail. */
static bool run_test(const struct test *test)
{
	struct counters before;
	int result, log;

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

	if (result == EXIT_SKIP)
		printf("skip %s: %s\n", test->name, reason);
	else if (result)
		printf("not ok %s: %s\n", test->name, reason);
	else
		printf("ok %s\n", test->name);
	fflush(stdout);
	return result == 0 || result == EXIT_SKIP;
}

static bool matches(const struct test *test, char * const *patterns)
{
	for (; *patterns; patterns++)
		if (!fnmatch(*patterns, test->name, 0))
			return true;
	return false;
}

static bool chosen(const struct test *test, char **patterns)
{
	return (!*only || matches(test, only)) && !matches(test, without) &&
	       (!*patterns || matches(test, patterns));
}

static void usage(FILE *to)
{
	fputs("Usage: dmabufx-tests [OPTION...] [PATTERN...]\n"
	      "Run the tests whose names match a PATTERN (of the shell's kind), or all.\n\n"
	      "  --device PATH   test this node (default: /dev/dmabufx); its driver must\n"
	      "                  answer the UDMABUF ioctls\n"
	      "  --module PATH   the .ko file behind it, for the tests that unload it;\n"
	      "                  none: its driver is built in\n"
	      "  --only PATTERN, --without PATTERN\n"
	      "                  narrow the choice further; may be repeated\n"
	      "  --list          print names and promises, run nothing\n"
	      "  --help          print this\n\n"
	      "Needs root, debugfs, and dmabufx-importer.ko loaded. Meant for a machine\n"
	      "that may crash. Each test prints 'ok NAME', 'not ok NAME: why' or\n"
	      "'skip NAME: why'; lines with '#' are remarks. Exit status: 0 when none\n"
	      "failed and at least one ran, otherwise 1.\n", to);
}

static const struct option options[] = {
	{ "device", required_argument, NULL, 'd' },
	{ "module", required_argument, NULL, 'm' },
	{ "only", required_argument, NULL, 'o' },
	{ "without", required_argument, NULL, 'w' },
	{ "list", no_argument, NULL, 'l' },
	{ "help", no_argument, NULL, 'h' },
	{ }
};

static void add_pattern(char **list, char *pattern)
{
	int i;

	for (i = 0; i < MAX_PATTERNS; i++) {
		if (!list[i]) {
			list[i] = pattern;
			return;
		}
	}
	fprintf(stderr, "dmabufx-tests: more than %d --only or --without\n",
		MAX_PATTERNS);
	exit(2);
}

/* Returns whether only a list is wanted. */
static bool parse(int argc, char **argv)
{
	bool list = false;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'd':
			settings.device = optarg;
			break;
		case 'm':
			settings.module = optarg;
			break;
		case 'o':
			add_pattern(only, optarg);
			break;
		case 'w':
			add_pattern(without, optarg);
			break;
		case 'l':
			list = true;
			break;
		case 'h':
			usage(stdout);
			exit(0);
		default:
			usage(stderr);
			exit(2);
		}
	}
	return list;
}

int main(int argc, char **argv)
{
	bool list = parse(argc, argv), good = true;
	const struct test *test;
	int ran = 0;

	reason = mmap(NULL, REASON_SIZE + EXPECTED_SIZE, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (reason == MAP_FAILED) {
		perror("dmabufx-tests: mmap");
		return 1;
	}
	expected = reason + REASON_SIZE;

	for (test = tests; test; test = test->next) {
		if (!chosen(test, argv + optind))
			continue;
		ran++;
		if (list)
			printf("%-44s %s\n", test->name, test->promise);
		else
			good &= run_test(test);
	}
	if (!ran)
		fprintf(stderr, "dmabufx-tests: no test has such a name\n");
	return ran && good ? 0 : 1;
}
