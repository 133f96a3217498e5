/* SPDX-License-Identifier: MIT */
/*
 * The exporter's tracepoints tell which operations importers really used: pixels might
 * have come another way.
 */
#ifndef CONSUMERS_OPERATIONS_H
#define CONSUMERS_OPERATIONS_H

/* Starts to watch; forgets earlier operations. */
void operations_watch(void);

/* How many calls of @name ("attach", "vmap", ...) the dma-buf got. */
unsigned int operations_count(int dma_buf, const char *name);

/*
 * Fails unless exactly the operations in @names, separated by spaces, were called on the
 * dma-buf since operations_watch(). A question mark after a name means that the operation
 * depends on the version or on chance.
 */
void operations_check(int dma_buf, const char *names);

#endif /* CONSUMERS_OPERATIONS_H */
