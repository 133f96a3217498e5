/* SPDX-License-Identifier: MIT */
/*
 * What the exporter was really asked to do, by its own tracepoints: right
 * pixels prove nothing when they came some other way.
 */
#ifndef CONSUMERS_OPERATIONS_H
#define CONSUMERS_OPERATIONS_H

/* Forgets what was done so far, and watches from here on. */
void operations_watch(void);

/* How often @name ("attach", "vmap", ...) was called on the dma-buf. */
unsigned int operations_count(int dma_buf, const char *name);

/*
 * Fails the test unless @names, separated by spaces, are exactly the operations
 * that were called on the dma-buf since operations_watch(). One with a question
 * mark behind it may be called or not, by version or by chance.
 */
void operations_check(int dma_buf, const char *names);

#endif /* CONSUMERS_OPERATIONS_H */
