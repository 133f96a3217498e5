// SPDX-License-Identifier: MIT
/* Tests of dmabufx as subtests of igt-gpu-tools: see igt_dmabufx.h. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "igt.h"
#include "igt_dmabufx.h"

const struct option dmabufx_options[] = {
	{ "node", required_argument, NULL, 'n' },
	{ "module", required_argument, NULL, 'm' },
	{ }
};

const char dmabufx_help[] =
	"  --node NODE\ttest this node (default: /dev/dmabufx)\n"
	"  --module FILE\tthe .ko file behind it, for subtests that unload it\n"
	"\t\t(default: what the environment's DMABUFX_MODULE says)\n";

int dmabufx_option(int option, int index, void *data)
{
	switch (option) {
	case 'n':
		settings.device = optarg;
		return IGT_OPT_HANDLER_SUCCESS;
	case 'm':
		settings.module = optarg;
		return IGT_OPT_HANDLER_SUCCESS;
	default:
		return IGT_OPT_HANDLER_ERROR;
	}
}

static void require_modules(void)
{
	static const char importer[] = "/dev/dmabufx-importer";

	igt_require_f(!access(settings.device, R_OK | W_OK), "no %s\n", settings.device);
	igt_require_f(!access(importer, R_OK | W_OK), "needs the module dmabufx-importer\n");
	if (!settings.module)
		settings.module = getenv("DMABUFX_MODULE");
	settings.reports_fail = true;
}

/* Turns mmap_is_shared into "mmap-is-shared", which is valid until the next call. */
static const char *subtest_name(const struct test *test)
{
	static char name[128];
	char *at;

	snprintf(name, sizeof(name), "%s", test->name);
	for (at = name; *at; at++)
		if (*at == '_')
			*at = '-';
	return name;
}

static bool file_has(const char *path, const char *text)
{
	FILE *file = fopen(path, "re");
	bool found = false;
	char line[4096];

	while (file && !found && fgets(line, sizeof(line), file))
		found = strstr(line, text);
	if (file)
		fclose(file);
	return found;
}

/* Skips a test that needs another machine. */
static void require_machine(unsigned int tags)
{
	if (tags & TAG_BOUNCED)
		igt_require_f(file_has("/proc/cmdline", "swiotlb=force"),
			      "needs devices behind bounce buffers: swiotlb=force\n");
	if (tags & TAG_STALE)
		igt_require_f(file_has("/proc/cmdline", "init_on_alloc=0"),
			      "needs memory that nobody clears: init_on_alloc=0\n");
	if (tags & TAG_KEXPORT)
		igt_require_f(!access("/sys/kernel/debug/kexport", F_OK),
			      "needs the sample module kexport\n");
	if (tags & TAG_SWAP)
		igt_require_f(file_has("/proc/swaps", "/"), "needs swap\n");
}

static const struct test *running;

/*
 * Runs in the test's process. There, libigt's signal handlers must not go on with the next
 * subtest.
 */
static void run_without_igt(void)
{
	int number;

	for (number = 1; number < NSIG; number++)
		signal(number, SIG_DFL);
	running->run();
}

void dmabufx_run(const struct test *test)
{
	struct test outside = *test;
	const char *why;
	enum result result;

	require_machine(test->tags);
	running = test;
	outside.run = run_without_igt;
	result = test_run(&outside, &why);
	if (result == SKIPPED)
		igt_skip("%s\n", why);
	igt_assert_f(result == PASSED, "%s\n", why);
}

void dmabufx_run_all(void)
{
	const struct test *test;

	igt_fixture()
		require_modules();

	for (test = all_tests; test; test = test->next) {
		igt_describe(test->promise);
		igt_subtest(subtest_name(test))
			dmabufx_run(test);
	}
}

void dmabufx_run_dynamic(void (*dynamic)(const struct test *test))
{
	const struct test *test;

	igt_fixture()
		require_modules();

	for (test = all_tests; test; test = test->next) {
		igt_describe(test->promise);
		igt_subtest_with_dynamic(subtest_name(test))
			dynamic(test);
	}
}
