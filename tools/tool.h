/* SPDX-License-Identifier: GPL-2.0-only */
/* Shared by the commands of dmabufx(1). */
#ifndef TOOL_H
#define TOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_object;

/* Each command gets its name and the arguments after it, and returns the exit status. */
int command_info(int argc, char **argv);
int command_list(int argc, char **argv);
int command_create(int argc, char **argv);
int command_check(int argc, char **argv);
int command_bench(int argc, char **argv);

/*
 * Parses the options of a command that has only --json and --help. Returns true for
 * --json. Other options and arguments end the program.
 */
bool wants_json(int argc, char **argv);

/* Prints the usage of all commands. */
void usage(void);

/* Prints how the program was called wrongly, and exits with status 2. */
[[noreturn]] __attribute__((format(printf, 1, 2)))
void misused(const char *fmt, ...);

/* Returns a text such as "12 KiB", which is valid until the fourth call after this. */
const char *bytes_text(uint64_t bytes);

/*
 * Returns the number from 1 to @most that the user typed after @option: decimal digits,
 * and perhaps K, M, G or T. Ends the program for any other text.
 */
uint64_t parse_number(const char *option, const char *text, uint64_t most);

/* Ends the program with status 1 if what was printed cannot be written. */
void flush_output(void);

/* Prints @object in ASCII, and frees it. */
void print_json(struct json_object *object);

/*
 * Prints @text in at least @width columns, with '?' for each character that this locale
 * cannot show.
 */
void print_cell(const char *text, int width);

/*
 * Ends the program if the machine, or this process's cgroup, has less than @size bytes of
 * memory left. Not for hugetlb memory, which comes from a pool.
 */
void need_memory(uint64_t size);

/* Returns whether the driver's limits allow a buffer of @size; if not, fills @why. */
bool driver_takes(int device, uint64_t size, char *why, size_t len);

/* Opens the device. If that fails, prints what to do about it and exits. */
int open_device(void);

#endif /* TOOL_H */
