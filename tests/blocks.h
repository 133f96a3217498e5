/* SPDX-License-Identifier: MIT */
/*
 * Blocks of memory that can be taken out of the running machine, so that what is
 * in them has to move.
 */
#ifndef TESTS_BLOCKS_H
#define TESTS_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>

#include "memory.h"

/* A block whose memory has become movable; skips the test where there is none. */
int block_make_movable(void);

/*
 * How much memory to take for some of it to lie in the block, bytes. Each page is to
 * be moved, which takes a kernel that looks closely five milliseconds.
 */
#define BLOCK_SAMPLE MIB(4)

/* How many pages of @mem lie in the block, and where in @mem the last of them is. */
size_t block_pages_of(int block, const struct memory *mem);
size_t block_last_page_of(int block, const struct memory *mem);

/*
 * Takes the block out, which succeeds when all that is in it can move, and gives
 * back what there was before block_make_movable(), pool of huge pages included.
 */
bool block_can_go(int block);

#endif /* TESTS_BLOCKS_H */
