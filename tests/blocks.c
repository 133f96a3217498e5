// SPDX-License-Identifier: MIT
/* Memory that is taken out: see blocks.h. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "blocks.h"
#include "harness.h"
#include "watch.h"

#define BLOCKS "/sys/devices/system/memory/"
#define HUGE_POOL "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"

/* Higher blocks are less likely to have what cannot move. */
#define HIGHEST_BLOCK 47

static long pool_size;

static bool set_state(int block, const char *state)
{
	char path[128];

	snprintf(path, sizeof(path), BLOCKS "memory%d/state", block);
	return file_write(path, state);
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

int block_make_movable(void)
{
	int block;

	pages_of_a_block();
	pool_size = file_number(HUGE_POOL, "");
	for (block = HIGHEST_BLOCK; block > 0; block--) {
		if (!set_state(block, "offline"))
			continue;
		if (set_state(block, "online_movable"))
			return block;
		set_state(block, "online");
	}
	skip("no block of memory can be taken out");
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
	bool gone = false;
	char number[32];
	int tries;

	/* A page may be in somebody's hands for a moment; a pinned one is for ever. */
	for (tries = 0; !gone && tries < 10; tries++) {
		usleep(tries * 20000);
		gone = set_state(block, "offline");
	}
	if (gone)
		check(set_state(block, "online"));
	/* Free huge pages went with it. */
	snprintf(number, sizeof(number), "%ld", pool_size);
	check(file_write(HUGE_POOL, number));
	return gone;
}
