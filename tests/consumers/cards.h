/* SPDX-License-Identifier: MIT */
/* DRM devices, by what drives them. */
#ifndef CONSUMERS_CARDS_H
#define CONSUMERS_CARDS_H

/*
 * The node of the card that this driver serves, which the caller may open; NULL
 * without one. "bochs" stands for "bochs-drm", too.
 */
const char *card_find(const char *driver);

/* The same; the test is skipped without one. */
const char *card_path(const char *driver);

/* The same, opened. */
int card_open(const char *driver);

/*
 * Fails the test unless the card refuses everybody's dma-bufs as it refused
 * ours, with @error: then it takes none at all, and the test is skipped.
 */
__attribute__((noreturn)) void card_takes_nothing(int card, const char *driver, int error);

#endif /* CONSUMERS_CARDS_H */
