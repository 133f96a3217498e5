// SPDX-License-Identifier: MIT
/* The command line of dmabufx-tests and library-tests, and the lines that they print. */
#include <fnmatch.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

/* The most options --only, and the most --without. */
#define MAX_PATTERNS 32

/* Patterns of --only and --without, each list ended by NULL. */
static char *only[MAX_PATTERNS + 1], *without[MAX_PATTERNS + 1];

static bool matches(const struct test *test, char * const *patterns)
{
	for (; *patterns; patterns++)
		if (!fnmatch(*patterns, test->name, 0))
			return true;
	return false;
}

static const struct tag_name {
	enum tag tag;
	const char *name;
} tag_names[] = {
	{ TAG_PEER, "peer" }, { TAG_SERVED, "served" }, { TAG_THREADS, "threads" },
	{ TAG_BOUNCED, "bounced" }, { TAG_STALE, "stale" }, { TAG_KEXPORT, "kexport" },
	{ TAG_SWAP, "swap" }, { TAG_FAIL_NTH, "fail-nth" }, { TAG_ALONE, "alone" },
	{ TAG_EDU, "edu" }, { TAG_NESTED, "nested" }, { TAG_CARDLESS, "cardless" },
	{ TAG_DRIVER, "driver" }, { TAG_VKMS, "vkms" },
	{ }
};

/* wanted_tags has an element for each --tags; unwanted_tags is all --without-tags. */
static unsigned int wanted_tags[MAX_PATTERNS], unwanted_tags;
static int nr_wanted_tags;

static bool has_tags(const struct test *test)
{
	int i;

	for (i = 0; i < nr_wanted_tags; i++)
		if (!(test->tags & wanted_tags[i]))
			return false;
	return !(test->tags & unwanted_tags);
}

static bool chosen(const struct test *test, char **patterns)
{
	return has_tags(test) && (!*only || matches(test, only)) &&
	       !matches(test, without) && (!*patterns || matches(test, patterns));
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
	      "  --tags TAG,...  only tests that have one of these; may be repeated\n"
	      "  --without-tags TAG,...\n"
	      "                  only tests that have none of these\n"
	      "  --list          print names, promises and tags, run nothing\n"
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
	{ "tags", required_argument, NULL, 't' },
	{ "without-tags", required_argument, NULL, 'T' },
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

static unsigned int tag_of(const char *name)
{
	const struct tag_name *t;

	for (t = tag_names; t->name; t++)
		if (!strcmp(name, t->name))
			return t->tag;
	fprintf(stderr, "dmabufx-tests: there is no tag %s\n", name);
	exit(2);
}

/* Parses names of tags with commas between them. */
static unsigned int tags_of(char *list)
{
	unsigned int tags = 0;
	char *name;

	while ((name = strsep(&list, ",")))
		tags |= tag_of(name);
	return tags;
}

static void add_wanted_tags(unsigned int tags)
{
	if (nr_wanted_tags == MAX_PATTERNS) {
		fprintf(stderr, "dmabufx-tests: more than %d --tags\n", MAX_PATTERNS);
		exit(2);
	}
	wanted_tags[nr_wanted_tags++] = tags;
}

/* Returns whether --list was given. */
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
		case 't':
			add_wanted_tags(tags_of(optarg));
			break;
		case 'T':
			unwanted_tags |= tags_of(optarg);
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

/* Prints "NAME PROMISE (TAG, TAG)". */
static void show(const struct test *test)
{
	const struct tag_name *t;
	const char *before = " (";

	printf("%-44s %s", test->name, test->promise);
	for (t = tag_names; t->name; t++) {
		if (!(test->tags & t->tag))
			continue;
		printf("%s%s", before, t->name);
		before = ", ";
	}
	puts(test->tags ? ")" : "");
}

/* Returns false if the test failed. */
static bool run(const struct test *test)
{
	const char *why;
	enum result result = test_run(test, &why);

	if (result == PASSED)
		printf("ok %s\n", test->name);
	else
		printf("%s %s: %s\n", result == SKIPPED ? "skip" : "not ok",
		       test->name, why);
	fflush(stdout);
	return result != FAILED;
}

int main(int argc, char **argv)
{
	bool list = parse(argc, argv), good = true;
	const struct test *test;
	int ran = 0;

	for (test = all_tests; test; test = test->next) {
		if (!chosen(test, argv + optind))
			continue;
		ran++;
		if (list)
			show(test);
		else
			good &= run(test);
	}
	if (!ran)
		fprintf(stderr, "dmabufx-tests: no test is chosen\n");
	return ran && good ? 0 : 1;
}
