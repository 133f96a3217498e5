/* SPDX-License-Identifier: MIT */
/* Runs a program: its threads and children, and the end of all it has taken. */
#ifndef FUZZ_RUN_H
#define FUZZ_RUN_H

#include "program.h"

/* Once for each process that runs programs. @huge: see calls_prepare(). */
void run_prepare(int huge);

/* Returns how many calls were made, those of its children not counted. */
unsigned int run_program(const struct program *p);

#endif /* FUZZ_RUN_H */
