// SPDX-License-Identifier: GPL-2.0-only
/*
 * Text for terminals, and as JSON. Other users chose the names in it. These may have any
 * byte but 0, and some contain escape sequences for a terminal.
 */
#include <stdio.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

#include <json-c/json.h>

#include "tool.h"

/* Replaces a byte that is not valid UTF-8. */
#define REPLACEMENT	0xfffd

/* Returns the first character of @text, and advances @text to the next. */
static uint32_t next_character(const char **text)
{
	static const uint32_t least[] = { 0, 0x80, 0x800, 0x10000 };
	unsigned char first = *(*text)++;
	int more = first < 0x80 ? 0 : first < 0xc0 ? -1 : first < 0xe0 ? 1 :
		   first < 0xf0 ? 2 : first < 0xf8 ? 3 : -1;
	uint32_t character;
	int i;

	if (more < 0)
		return REPLACEMENT;
	character = more ? first & 0x3f >> more : first;
	for (i = 0; i < more; i++) {
		if (((*text)[i] & 0xc0) != 0x80)
			return REPLACEMENT;
		character = character << 6 | ((*text)[i] & 0x3f);
	}
	/* Longer than necessary, half of a surrogate pair, or beyond the last character. */
	if (character < least[more] || character >> 11 == 0xd800 >> 11 ||
	    character > 0x10ffff)
		return REPLACEMENT;
	*text += more;
	return character;
}

/* ASCII is the same in each locale, and harmless for a terminal. */
void print_json(struct json_object *object)
{
	const char *text = json_object_to_json_string_ext(object,
							   JSON_C_TO_STRING_PRETTY |
							   JSON_C_TO_STRING_NOSLASHESCAPE);
	uint32_t character;

	while (*text) {
		character = next_character(&text);
		if (character < 0x7f)
			putchar(character);
		else if (character < 0x10000)
			printf("\\u%04x", character);
		else
			printf("\\u%04x\\u%04x", 0xd7c0 + (character >> 10),
			       0xdc00 | (character & 0x3ff));
	}
	putchar('\n');
	json_object_put(object);
}

void print_cell(const char *text, int width)
{
	const char *end = text + strlen(text);
	int columns = 0;

	while (text < end) {
		mbstate_t state = { 0 };
		wchar_t character;
		size_t len = mbrtowc(&character, text, end - text, &state);
		bool is_whole = len <= (size_t)(end - text);

		/* Characters without width combine, move the cursor or change direction. */
		if (is_whole && iswprint(character) && wcwidth(character) > 0) {
			fwrite(text, 1, len, stdout);
			columns += wcwidth(character);
		} else {
			putchar('?');
			columns++;
		}
		text += is_whole ? len : 1;
	}
	printf("%*s", columns < width ? width - columns : 0, "");
}
