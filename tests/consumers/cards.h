/* SPDX-License-Identifier: MIT */
/* DRM devices by driver. */
#ifndef CONSUMERS_CARDS_H
#define CONSUMERS_CARDS_H

/*
 * The path of the card of this driver, which the caller can open, or NULL. "bochs" stands
 * for "bochs-drm", too.
 */
const char *card_find(const char *driver);

/* The same; skips the test if there is none. */
const char *card_path(const char *driver);

/* Opens it. */
int card_open(const char *driver);

/*
 * To be called after the card has refused a dma-buf with @error. If it refuses those of
 * other exporters as well, skips the test, else fails it.
 */
__attribute__((noreturn)) void card_takes_nothing(int card, const char *driver, int error);

#endif /* CONSUMERS_CARDS_H */
