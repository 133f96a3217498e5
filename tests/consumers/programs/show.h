/* SPDX-License-Identifier: MIT */
/*
 * Common to the programs of this folder: a toolkit shows a test card in memory. When a line
 * arrives on standard input, the program draws another card into the same memory and lets
 * the toolkit show it again.
 */
#ifndef DESKTOP_SHOW_H
#define DESKTOP_SHOW_H

#include <stdbool.h>

#include "../../../examples/memfd-dmabuf.h"
#include "../../../examples/testcard.h"

#define WIDTH 640
#define HEIGHT 480

struct show {
	struct memfd_dmabuf buf;
	struct picture card;
	char letter;	/* of the card that is in the memory */
};

/*
 * Makes a dma-buf by @device, or by the default one for NULL, and draws card A. The memory
 * is 4 KiB pages in order, or as MEMORY in the environment says: "shuffled", "hugetlb".
 */
void show_begin(struct show *show, const char *device);

/* Writes the expected picture into the current folder, and prints "showing A". */
void show_announce(struct show *show);

/*
 * Call this after a line arrived. Draws card B into the same memory and returns true, or
 * returns false if B is there already.
 */
bool show_next(struct show *show);

#endif /* DESKTOP_SHOW_H */
