// SPDX-License-Identifier: MIT
/* Memory with test cards for programs that show it: see show.h. */
#include <err.h>
#include <fcntl.h>
#include <linux/udmabuf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "show.h"

#define PAGE 4096
#define HUGE_PAGE (2 << 20)

static int must(int result, const char *what)
{
	if (result < 0)
		err(EXIT_FAILURE, "%s", what);
	return result;
}

static int make_memfd(size_t size, unsigned int flags)
{
	int memfd = must(memfd_create("show", MFD_ALLOW_SEALING | flags),
			 "memfd_create");

	must(ftruncate(memfd, size), "ftruncate");
	must(fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK), "F_SEAL_SHRINK");
	return memfd;
}

static void map(void *where, size_t size, int memfd, off_t offset)
{
	if (mmap(where, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		 memfd, offset) == MAP_FAILED)
		err(EXIT_FAILURE, "mmap");
}

/* Returns an address at which a huge page can be mapped. */
static void *find_room(void)
{
	char *room = mmap(NULL, 2 * HUGE_PAGE, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (room == MAP_FAILED)
		err(EXIT_FAILURE, "mmap");
	return room + HUGE_PAGE - (uintptr_t)room % HUGE_PAGE;
}

/* Makes a buffer of the beginning of a huge page. */
static void create_huge(struct memfd_dmabuf *buf, int device)
{
	struct udmabuf_create create = {
		.memfd = make_memfd(HUGE_PAGE, MFD_HUGETLB),
		.size = buf->size,
	};

	map(buf->mem, HUGE_PAGE, create.memfd, 0);
	buf->dmabuf = must(ioctl(device, UDMABUF_CREATE, &create),
			   "UDMABUF_CREATE");
}

/* Makes a buffer of small pages, none of which follows its neighbour in the memfd. */
static void create_shuffled(struct memfd_dmabuf *buf, int device)
{
	size_t pages = buf->size / PAGE, i;	/* 300: no multiple of 7 */
	struct udmabuf_create_list *list =
		calloc(1, sizeof(*list) + pages * sizeof(list->list[0]));
	int memfd = make_memfd(buf->size, 0);

	list->count = pages;
	for (i = 0; i < pages; i++) {
		struct udmabuf_create_item *item = &list->list[i];

		item->memfd = memfd;
		item->offset = i * 7 % pages * PAGE;
		item->size = PAGE;
		map((char *)buf->mem + i * PAGE, PAGE, memfd, item->offset);
	}
	buf->dmabuf = must(ioctl(device, UDMABUF_CREATE_LIST, list),
			   "UDMABUF_CREATE_LIST");
	free(list);
}

/* memfd_dmabuf_create() with other kinds of memory. */
static void create_of(struct memfd_dmabuf *buf, const char *device,
		      size_t size, const char *memory)
{
	int device_fd = must(open(device, O_RDWR), device);

	buf->size = (size + PAGE - 1) / PAGE * PAGE;
	buf->mem = find_room();
	if (!strcmp(memory, "hugetlb"))
		create_huge(buf, device_fd);
	else if (!strcmp(memory, "shuffled"))
		create_shuffled(buf, device_fd);
	else
		errx(EXIT_FAILURE, "MEMORY=%s?", memory);
	close(device_fd);
}

static void put_card(struct show *show, char letter)
{
	show->letter = letter;
	picture_draw_card(&show->card, letter);
	memfd_dmabuf_write(&show->buf, show->card.pixels, show->card.size);
}

void show_begin(struct show *show, const char *device)
{
	const char *memory = getenv("MEMORY");

	setlinebuf(stdout);
	show->card = picture_new(WIDTH, HEIGHT);
	if (!device)
		device = DEFAULT_DEVICE;
	if (memory)
		create_of(&show->buf, device, show->card.size, memory);
	else
		memfd_dmabuf_create(&show->buf, device, show->card.size);
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
