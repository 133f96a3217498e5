/* SPDX-License-Identifier: MIT */
/*
 * Blocks of memory that Linux can take out of the running machine. Their contents have to
 * move to other memory then.
 */
#ifndef TESTS_BLOCKS_H
#define TESTS_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>

#include "memory.h"

/*
 * Takes out a block, and puts it back; the pool of huge pages keeps its size. The test goes
 * on in a child of the process, so that the block comes back also after a failure. Skips the
 * test where no block can be taken out.
 */
int block_take_out(void);
void block_put_back(int block);

/*
 * Puts a block into ZONE_MOVABLE, and returns it. The test goes on in a child, too, so that
 * the block leaves that zone also after a failure. Skips the test where no block can be
 * taken out.
 */
int block_make_movable(void);

/*
 * Allocate so many bytes: the block gets pages first, so some of them lie in it. They are
 * few, for moving a page takes five milliseconds on a debug kernel.
 */
#define BLOCK_SAMPLE MIB(4)

/* The number of pages of @mem in the block, and the offset in @mem of the last one. */
size_t block_pages_of(int block, const struct memory *mem);
size_t block_last_page_of(int block, const struct memory *mem);

/*
 * Takes the block out, which succeeds if everything in it can move, and puts it back into
 * the zone that it came from. The pool of huge pages gets its size from before
 * block_make_movable().
 */
bool block_can_go(int block);

#endif /* TESTS_BLOCKS_H */
