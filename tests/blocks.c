// SPDX-License-Identifier: MIT
/* Memory that is taken out of the machine: see blocks.h. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "blocks.h"
#include "harness.h"
#include "watch.h"

#define BLOCKS "/sys/devices/system/memory/"
#define HUGE_POOL "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"

/* Higher blocks are less likely to have memory that cannot move. */
#define HIGHEST_BLOCK 47

/*
 * Emptying a block takes less on any kernel, times its patience. Linux goes on for ever
 * where something cannot move.
 */
#define OFFLINE_SECONDS 10

/*
 * The time in which to find a block that can be taken out, and to take one out again. A test
 * may do each once, and its parent the latter, in less than the harness allows.
 */
#define SEARCH_SECONDS 50
#define RETRY_SECONDS 40

static long pool_size;

static bool set_state(int block, const char *state)
{
	char path[128];

	snprintf(path, sizeof(path), BLOCKS "memory%d/state", block);
	return file_write(path, state);
}

/* Tells whether the block was taken out before the time was up. */
static bool set_offline(int block)
{
	const struct sigaction interrupts = { .sa_handler = ignore_signal };
	/* It repeats, because the first signal may come before the call begins. */
	const struct itimerval limit = {
		.it_value.tv_sec = OFFLINE_SECONDS * patience(),
		.it_interval.tv_sec = 1,
	};
	const struct itimerval none = {};
	struct sigaction old;
	bool done;

	must(sigaction(SIGALRM, &interrupts, &old));
	must(setitimer(ITIMER_REAL, &limit, NULL));
	done = set_state(block, "offline");
	must(setitimer(ITIMER_REAL, &none, NULL));
	must(sigaction(SIGALRM, &old, NULL));
	return done;
}

static __u64 pages_of_a_block(void)
{
	FILE *file = fopen(BLOCKS "block_size_bytes", "re");
	unsigned long long size;
	char text[32] = "";

	if (!file)
		skip("the kernel cannot take memory out");
	check(fgets(text, sizeof(text), file));
	fclose(file);
	size = strtoull(text, NULL, 16);
	check_le(PAGE, size);
	return size / PAGE;
}

/* Taking out a free page of 1 GiB makes Linux 6.12 report bad pages, and may never end. */
static bool has_gigantic_page(int block)
{
	return page_is_inside_hugetlb(block * pages_of_a_block() + MIB(2) / PAGE);
}

/* A block takes free huge pages with it. New ones may need room to be made first. */
static bool try_restore_pool(void)
{
	char number[32];

	snprintf(number, sizeof(number), "%ld", pool_size);
	check(file_write(HUGE_POOL, number));
	if (file_number(HUGE_POOL, "") == pool_size)
		return true;
	check(file_write("/proc/sys/vm/compact_memory", "1"));
	return false;
}

static void restore_pool(void)
{
	bool restored = comes_true(try_restore_pool());

	check(restored);
}

/* Whether what the file says of the block begins with @text. */
static bool is_said(int block, const char *name, const char *text)
{
	char path[128], said[32] = "";
	FILE *file;

	snprintf(path, sizeof(path), BLOCKS "memory%d/%s", block, name);
	file = fopen(path, "re");
	check(file);
	if (!fgets(said, sizeof(said), file))
		said[0] = 0;
	fclose(file);
	return !strncmp(said, text, strlen(text));
}

void block_put_back(int block)
{
	check(set_state(block, "online"));
	restore_pool();
}

/*
 * Returns in a child, which goes on with the test. However the child ends, the parent
 * then makes the block what it was before, and ends in the same way.
 */
static void continue_in_child(int block)
{
	int child = must(fork()), status;

	if (!child)
		return;
	must(waitpid(child, &status, 0));
	if (is_said(block, "state", "offline"))
		block_put_back(block);
	else if (is_said(block, "valid_zones", "Movable") && !block_can_go(block))
		note("memory block %d stays in ZONE_MOVABLE", block);
	if (WIFSIGNALED(status))
		raise(WTERMSIG(status));
	_exit(WEXITSTATUS(status));
}

/* Takes out the next block below @block that can be; returns it, or 0. */
static int take_out_below(int block, double end)
{
	while (--block > 0 && seconds_now() < end)
		if (!has_gigantic_page(block) && set_offline(block))
			return block;
	return 0;
}

static double search_begin(void)
{
	pages_of_a_block();
	pool_size = file_number(HUGE_POOL, "");
	return seconds_now() + SEARCH_SECONDS * patience();
}

static void search_in_vain(void)
{
	restore_pool();
	skip("no block of memory can be taken out");
}

int block_take_out(void)
{
	double end = search_begin();
	int block = take_out_below(HIGHEST_BLOCK + 1, end);

	if (!block)
		search_in_vain();
	continue_in_child(block);
	return block;
}

int block_make_movable(void)
{
	int block = HIGHEST_BLOCK + 1;
	double end = search_begin();

	while ((block = take_out_below(block, end))) {
		if (set_state(block, "online_movable")) {
			continue_in_child(block);
			return block;
		}
		set_state(block, "online");
	}
	search_in_vain();
	return 0;
}

static bool is_in_block(int block, __u64 pages, const char *address)
{
	return page_frame(address) - block * pages < pages;
}

size_t block_pages_of(int block, const struct memory *mem)
{
	__u64 pages = pages_of_a_block();
	size_t offset, n = 0;

	for (offset = 0; offset < mem->size; offset += PAGE)
		n += is_in_block(block, pages, mem->map + offset);
	return n;
}

size_t block_last_page_of(int block, const struct memory *mem)
{
	__u64 pages = pages_of_a_block();
	size_t offset = mem->size;

	do
		offset -= PAGE;
	while (offset && !is_in_block(block, pages, mem->map + offset));
	return offset;
}

bool block_can_go(int block)
{
	double end = seconds_now() + RETRY_SECONDS * patience();
	bool gone;

	/* Something may hold a page for a moment; only a pinned page stays for ever. */
	while (!(gone = set_offline(block)) && seconds_now() < end)
		usleep(50000);
	if (gone)
		check(set_state(block, "online"));
	restore_pool();
	return gone;
}
