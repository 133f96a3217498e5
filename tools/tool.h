/* SPDX-License-Identifier: GPL-2.0-only */
/* What the commands of dmabufx(1) share. */
#ifndef TOOL_H
#define TOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_object;

/* Each is given its name and what follows it, and returns the exit status. */
int command_info(int argc, char **argv);
int command_list(int argc, char **argv);
int command_create(int argc, char **argv);
int command_check(int argc, char **argv);
int command_bench(int argc, char **argv);

/*
 * For commands whose options are --json and --help. Returns whether it is to be
 * JSON; other options, and arguments, end the program.
 */
bool wants_json(int argc, char **argv);

/* Prints the usage of all commands. */
void usage(void);

/* Ends the program with status 2, after one line about how it was called. */
[[noreturn]] __attribute__((format(printf, 1, 2)))
void misused(const char *fmt, ...);

/* "12 KiB"; good until the next but three calls. */
const char *bytes_text(uint64_t bytes);

/*
 * The number from 1 to @most that a user typed behind @option: decimal digits, with K,
 * M, G or T behind them or not. Ends the program for any other text.
 */
uint64_t parse_number(const char *option, const char *text, uint64_t most);

/* Ends the program with status 1 if what was printed cannot be written. */
void flush_output(void);

/* Prints, in ASCII, what it takes over. */
void print_json(struct json_object *object);

/*
 * Prints @text in at least @width columns: what this locale can show, each other
 * character as a '?'.
 */
void print_cell(const char *text, int width);

/*
 * Ends the program if the machine, or the cgroup that this process is in, lacks
 * @size bytes of memory that is not hugetlb's.
 */
void need_memory(uint64_t size);

/* Whether the driver's limits allow a buffer of so many bytes; if not, @why is said. */
bool driver_takes(int device, uint64_t size, char *why, size_t len);

/* The device, or the end of the program and what may be done about it. */
int open_device(void);

#endif /* TOOL_H */
