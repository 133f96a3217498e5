/* SPDX-License-Identifier: MIT */
/*
 * The kernel's side of a test: counters of things in use, memory in use, and reports in the
 * log.
 */
#ifndef TESTS_WATCH_H
#define TESTS_WATCH_H

#include <stdbool.h>
#include <unistd.h>

/* Things of the whole machine that a test must give back. */
enum counter {
	PINS,
	DMA_BUFS,
	SHMEM_PAGES,
	FREE_HUGE_PAGES,
	DMA_MAPPINGS,		/* 0 where the kernel does not count them */
	MEMFD_CHARGE,		/* the charges of this user in dmabufx */
	LOCKED_CHARGE,
	NR_COUNTERS,
};

struct counters {
	long value[NR_COUNTERS];
};

extern const char * const counter_name[NR_COUNTERS];

void counters_read(struct counters *now);

/*
 * Waits up to twenty seconds until the counters are as in @before, for the kernel frees
 * many things late. Returns the first counter that differs, or -1.
 */
int counters_settle(const struct counters *before, struct counters *now);

/* Seconds of CLOCK_MONOTONIC. */
double seconds_now(void);

/* The factor by which this kernel may be slower than others: 1 or more. */
int patience(void);

/*
 * Waits until CONDITION holds, and returns true; or false after 10 seconds, times patience().
 */
#define comes_true(condition)						\
	({								\
		double end_ = seconds_now() + 10 * patience();		\
		bool is_true_;						\
									\
		while (!(is_true_ = (condition)) && seconds_now() < end_) \
			usleep(10000);					\
		is_true_;						\
	})

/* The number of open descriptors of this process. */
int open_fds(void);

/*
 * Kernel memory in use, bytes: slab, vmalloc, stacks, page tables, per-CPU. To compare two
 * of these values, stay on one CPU.
 */
long kernel_memory(void);

/*
 * Whether this is a debug kernel, which watches memory, locks or races. It is slow. Its
 * memory grows by records of objects, and by freed memory that KASAN holds back; if it has
 * such records, kernel_leaks_nothing in guest-lib.sh finds lost memory.
 */
bool kernel_looks_closely(void);

/*
 * Keeps this process and its later children on one CPU. Each CPU keeps free objects and
 * the stacks of dead threads for later, which counts as memory in use; with one CPU, the
 * figures do not depend on the machine.
 */
void stay_on_one_cpu(void);

/*
 * Returns how many bytes of kernel memory @loops calls of @call leave behind. Other work
 * of the kernel disturbs this, so it is the least of several tries; a try with at most
 * @enough bytes is the last. On a debug kernel this makes fewer calls and returns 0:
 * kmemleak judges. Stays on one CPU.
 */
long kernel_memory_growth(void (*call)(void *arg), void *arg, int loops,
			  long enough);

/*
 * Fails if @loops calls leave descriptors behind, or more than @enough bytes of kernel
 * memory.
 */
void leaves_at_most(void (*call)(void *arg), void *arg, int loops, long enough);

/*
 * Fails if @loops calls leave kernel memory or descriptors behind. Ignores a few pages, for
 * the kernel counts memory by the page.
 */
void leaves_nothing(void (*call)(void *arg), void *arg, int loops);

/*
 * Memory that is neither free nor a process's nor a file's, in bytes: the kernel's own,
 * also if it came from the page allocator. Less exact than kernel_memory(), for it includes
 * free pages that CPUs keep. Waits until the memory of earlier tests is free again.
 */
long memory_of_nobody(void);

/*
 * The number of objects in a cache like mm_struct, without free ones that the cache keeps.
 * The kernel may merge caches of the same size.
 */
long slab_objects(const char *cache);

/* The first number after @key in the file @path; fails if there is none. */
long file_number(const char *path, const char *key);

/* Orders of page table entries that a fault can make. */
#define PTE 0
#define PMD table_order()
#define PUD (2 * table_order())

/* A page table, which is a page, has so many entries: 2^9 with pages of 4 KiB. */
static inline unsigned int table_order(void)
{
	return __builtin_ctzl(sysconf(_SC_PAGESIZE) / 8);
}

/* Starts to trace faults in mappings of dma-bufs; forgets earlier ones. */
void trace_faults(void);

/* How many faults of this process mapped an entry of 2^@order pages since. */
int faults_mapped(unsigned int order);

/* The same for faults of all processes that ended without memory. */
void trace_faults_without_memory(void);
int faults_without_memory(void);

/* Writes @text into the file @path; returns false and errno on failure. */
bool file_write(const char *path, const char *text);

/* Opens the kernel's log at its end. */
int kernel_log_open(void);

/*
 * Reads the log since kernel_log_open() or the last call, prints reports in it with a
 * leading '#', and returns their number. Ignores reports that contain @expected, unless
 * that is empty.
 */
int kernel_log_reports(int log, const char *expected);

/* Writes a line into the kernel's log, for readers of the console. */
void kernel_log_mark(const char *what, const char *name);

#endif /* TESTS_WATCH_H */
