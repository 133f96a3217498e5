/* SPDX-License-Identifier: MIT */
/*
 * What the programs of this folder have in common: the memory of a test card,
 * which a toolkit shows, is given another card when a line comes in on standard
 * input, and the toolkit is told to look again.
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
 * Makes the dma-buf of @device, or of the default one, with card A in it. It
 * consists of 4 KiB pages in order, or of what MEMORY in the environment says:
 * "shuffled", or "hugetlb".
 */
void show_begin(struct show *show, const char *device);

/* Leaves what is to be seen in the current folder, and says "showing A". */
void show_announce(struct show *show);

/*
 * After a line came: puts card B into the same memory, and returns true; or
 * returns false, when both cards have been there.
 */
bool show_next(struct show *show);

#endif /* DESKTOP_SHOW_H */
