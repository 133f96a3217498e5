/* SPDX-License-Identifier: MIT */
/*
 * Parses a number that a user typed, or ends the program. strtoul() alone accepts blanks,
 * signs and trailing text, reads "010" as eight, and returns 0 for text without a number.
 */
#ifndef NUMBER_H
#define NUMBER_H

#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Accepts only decimal digits, and only numbers from @least to @most. */
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
