// SPDX-License-Identifier: GPL-2.0-only
/* Test cards in memory that somebody shows: see show.h. */
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "show.h"

static void put_card(struct show *show, char letter)
{
	show->letter = letter;
	picture_draw_card(&show->card, letter);
	memfd_dmabuf_write(&show->buf, show->card.pixels, show->card.size);
}

void show_begin(struct show *show, const char *device)
{
	setlinebuf(stdout);
	show->card = picture_new(WIDTH, HEIGHT);
	memfd_dmabuf_create(&show->buf, device ? device : DEFAULT_DEVICE,
			    show->card.size);
	put_card(show, 'A');
}

void show_announce(struct show *show)
{
	picture_save(&show->card, ".", "expected.ppm");
	printf("showing %c\n", show->letter);
}

bool show_next(struct show *show)
{
	char line[16];

	if (read(STDIN_FILENO, line, sizeof(line)) <= 0 || show->letter == 'B')
		return false;
	put_card(show, 'B');
	return true;
}
