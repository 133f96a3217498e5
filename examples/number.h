/* SPDX-License-Identifier: MIT */
/*
 * What a user typed is a number, or the program ends. strtoul() alone takes blanks, signs
 * and "010" for eight, stops at what it does not know, and makes 0 of no number at all.
 */
#ifndef NUMBER_H
#define NUMBER_H

#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Decimal digits and nothing else, from @least to @most. */
static inline unsigned long parse_number(const char *text, unsigned long least,
					 unsigned long most)
{
	unsigned long number;

	errno = 0;
	number = strtoul(text, NULL, 10);
	if (!*text || text[strspn(text, "0123456789")] || errno || number < least ||
	    number > most)
		errx(2, "'%s' is no number from %lu to %lu", text, least, most);
	return number;
}

#endif /* NUMBER_H */
