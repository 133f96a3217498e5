/* SPDX-License-Identifier: MIT */
/*
 * What the machine tells about the kernel's side of a test: things in use,
 * memory in use, and reports in its log.
 */
#ifndef TESTS_WATCH_H
#define TESTS_WATCH_H

#include <stdbool.h>

/* Things that a test takes and must have given back, all over the machine. */
enum counter {
	PINS,
	DMA_BUFS,
	SHMEM_PAGES,
	FREE_HUGE_PAGES,
	DMA_MAPPINGS,		/* where the kernel keeps a list of them */
	MEMFD_CHARGE,		/* what dmabufx counts for this user */
	LOCKED_CHARGE,
	NR_COUNTERS,
};

struct counters {
	long value[NR_COUNTERS];
};

extern const char * const counter_name[NR_COUNTERS];

void counters_read(struct counters *now);

/*
 * Waits up to twenty seconds for the counters to come back to @before, since
 * much is freed late. Returns the first one that does not, or -1.
 */
int counters_settle(const struct counters *before, struct counters *now);

/* Seconds of a clock that nobody sets. */
double seconds_now(void);

/* File descriptors of this process. */
int open_fds(void);

/*
 * Kernel memory in use, in bytes: slab, vmalloc, stacks, tables, per-CPU. Who compares
 * two of them stays on one CPU.
 */
long kernel_memory(void);

/*
 * Whether the kernel watches memory, locks or races, which makes it slow. Its memory
 * grows by its records of objects and by what KASAN holds back after it was freed;
 * one that keeps such records finds what is lost at the end (kernel_leaks_nothing in
 * guest-run).
 */
bool kernel_looks_closely(void);

/*
 * From now on the test's process, and children it will have, run on one CPU. What each
 * CPU keeps at hand is kernel memory in use: free objects of each cache, stacks of the
 * dead. Where all is done on one, the figures are those of a machine that has no other.
 */
void stay_on_one_cpu(void);

/*
 * Bytes of kernel memory that @call leaves behind in @loops calls. Other
 * work of the kernel disturbs the figure, so it is the least of a few tries;
 * one that is no more than @enough ends the tries. Where the kernel looks
 * closely, fewer calls do, and it is the kernel that tells what they left. Stays on
 * one CPU.
 */
long kernel_memory_growth(void (*call)(void *arg), void *arg, int loops,
			  long enough);

/*
 * The test fails when @loops calls leave more than @enough bytes of kernel memory behind,
 * or file descriptors.
 */
void leaves_at_most(void (*call)(void *arg), void *arg, int loops, long enough);

/*
 * The test fails when @loops calls leave more memory behind than what is
 * counted by the page makes of nothing, or file descriptors.
 */
void leaves_nothing(void (*call)(void *arg), void *arg, int loops);

/*
 * Bytes that are neither free nor a process's nor a file's: the kernel's own,
 * however it took them. Less exact: free pages that a CPU keeps at hand count.
 * Waits until what earlier tests freed has come back.
 */
long memory_of_nobody(void);

/*
 * How many objects of a cache like mm_struct the kernel has, less those that wait for
 * being given away again. Caches may share theirs with others of the same size.
 */
long slab_objects(const char *cache);

/* The first number after @key in the file @path; a test fails without it. */
long file_number(const char *path, const char *key);

/* Orders of entries that a fault can make. */
#define PTE 0
#define PMD 9
#define PUD 18

/* Begins to trace faults in mappings of ours, anew. */
void trace_faults(void);

/* How many entries of 2^@order pages this process's faults have mapped since. */
int faults_mapped(unsigned int order);

/* The same for faults of anybody that end with a lack of memory. */
void trace_faults_without_memory(void);
int faults_without_memory(void);

/* Writes @text into the file @path; false and errno when it cannot. */
bool file_write(const char *path, const char *text);

/* Opens the kernel's log at its end. */
int kernel_log_open(void);

/*
 * Reads what was logged since, prints the reports among it with a leading
 * '#', and returns how many there are. One that has the text @expected, if that
 * is not empty, is none.
 */
int kernel_log_reports(int log, const char *expected);

/* Leaves a line in the kernel's log, for whoever reads the console. */
void kernel_log_mark(const char *what, const char *name);

#endif /* TESTS_WATCH_H */
