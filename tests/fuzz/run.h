/* SPDX-License-Identifier: MIT */
/* Runs a program with its threads and children, and ends all that it has left. */
#ifndef FUZZ_RUN_H
#define FUZZ_RUN_H

#include "program.h"

/* Called once in each process that runs programs. @huge: see calls_prepare(). */
void run_prepare(int huge);

/* Returns the number of calls made, without those of children. */
unsigned int run_program(const struct program *p);

#endif /* FUZZ_RUN_H */
