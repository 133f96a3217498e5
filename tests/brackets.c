// SPDX-License-Identifier: MIT
/*
 * Brackets of CPU access that overlap, in every order: two or three of them, for reading
 * and for writing, by one process, several processes, drivers and the kernel, while
 * mappings end and begin, and while processes die. All devices are behind bounce buffers
 * (swiotlb=force), so that CPU and device each have a copy of their own.
 *
 * Each bracket for writing has a word, which its actor writes after every event while the
 * bracket is open. The device writes its own word while no bracket for writing is open.
 * So the words that memory and device must have are known after every event:
 *
 *	in memory	the CPU's words always; the device's word after a bracket begins,
 *			and after the device's mapping ends
 *	at the device	its own word always; the CPU's words after the bracket for writing
 *			ends, and after a mapping begins
 */
#include <fcntl.h>
#include <linux/dma-heap.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEFAULT_TAGS (TAG_PEER | TAG_BOUNCED)

#include "buffer.h"
#include "harness.h"
#include "memory.h"
#include "watch.h"

#define MOST 3			/* brackets of an order */
#define DEVICE MOST		/* index of the device's word, after those of the brackets */
#define WORD(who) ((who) * 64)
#define NOBODY (-1)
#define NEVER (-1)

enum doing { BY_SYNC, BY_DRIVER, BY_KERNEL };
enum death { BY_KILL, BY_EXEC };

/**
 * struct actor - a process that opens and ends brackets on command
 * @pid: 0 for this process
 * @orders: it reads commands from this pipe, and writes to @answers when one is done
 */
struct actor {
	pid_t pid;
	int orders;
	int answers;
};

/**
 * struct scene - a buffer, a device, and all that is the same in all orders
 * @fd: the buffer
 * @map: its memory in this process
 * @child_map: whether actors have mapped it, too
 * @importer: the device
 * @direction: of the device's mapping
 * @nr: number of brackets in an order
 * @actors: one for each bracket
 * @ways: how each actor opens and ends its bracket
 * @reads_too: a bracket for writing is for reading as well
 * @alike: brackets differ only in their numbers, so each order stands for those that are
 *	the same with other numbers
 * @ended_by_next: the next bracket's actor ends a bracket
 * @remaps: also try all places where the mapping can end and begin again
 * @deaths: an actor dies instead of ending its bracket for writing
 * @death: how it dies
 * @counts: go on after data was lost, and count
 * @played: orders so far
 * @lost: orders so far in which data was lost
 */
struct scene {
	int fd;
	char *map;
	bool child_map;
	int importer;
	__u32 direction;
	int nr;
	struct actor actors[MOST];
	enum doing ways[MOST];
	bool reads_too;
	bool alike;
	bool ended_by_next;
	bool remaps;
	bool deaths;
	enum death death;
	bool counts;
	unsigned int played;
	unsigned int lost;
};

/**
 * struct order - one of the orders, while it is played
 * @events: the bracket of each event; its first event is its begin, the second its end
 * @writes: which brackets are for writing
 * @dies: whose actor dies when it should end its bracket, or NOBODY
 * @unmap_at, @map_at: before which event the mapping ends and begins, or NEVER
 * @is_open, @was_open: whether each bracket is open now, and was ever
 * @forgotten: whose word may be lost
 * @mapped: whether the device has a mapping
 * @value: the last value of each word
 * @done: the order so far, as text
 */
struct order {
	int events[2 * MOST];
	bool writes[MOST];
	int dies;
	int unmap_at;
	int map_at;
	bool is_open[MOST];
	bool was_open[MOST];
	bool forgotten[MOST];
	bool mapped;
	__u64 value[MOST + 1];
	char done[128];
};

struct command {
	int bracket;
	bool write;
	bool begin;
};

static void do_bracket(const struct scene *s, const struct command *c)
{
	unsigned long dir = c->write ? DMABUFX_IMPORTER_TO_DEVICE :
				       DMABUFX_IMPORTER_FROM_DEVICE;
	__u64 access = !c->write ? DMA_BUF_SYNC_READ :
		       s->reads_too ? DMA_BUF_SYNC_RW : DMA_BUF_SYNC_WRITE;

	if (s->ways[c->bracket] == BY_SYNC) {
		(c->begin ? sync_start : sync_end)(s->fd, access);
		return;
	}
	if (s->ways[c->bracket] == BY_KERNEL)
		dir |= DMABUFX_BY_KERNEL;
	importer_do(s->importer, c->begin ? DMABUFX_IMPORTER_BEGIN :
					    DMABUFX_IMPORTER_END, dir);
}

__attribute__((noreturn)) static void act(const struct scene *s, int orders, int answers)
{
	struct command c;

	if (s->child_map)
		map_dma_buf(s->fd, 0, PAGE);
	else
		munmap(s->map, PAGE);
	while (read(orders, &c, sizeof(c)) == sizeof(c)) {
		if (c.bracket == NOBODY)
			execl("/bin/sleep", "sleep", "1000", NULL);
		do_bracket(s, &c);
		if (write(answers, &c, 1) != 1)
			break;
	}
	_exit(0);
}

static struct actor actor_make(const struct scene *s)
{
	int orders[2], answers[2];
	struct actor actor;

	must(pipe2(orders, O_CLOEXEC));
	must(pipe2(answers, O_CLOEXEC));
	actor.pid = must(fork());
	if (!actor.pid) {
		close(orders[1]);
		close(answers[0]);
		act(s, orders[0], answers[1]);
	}
	close(orders[0]);
	close(answers[1]);
	actor.orders = orders[1];
	actor.answers = answers[0];
	return actor;
}

static void actor_end(struct actor *actor)
{
	if (!actor->pid)
		return;
	must(kill(actor->pid, SIGKILL));
	must(waitpid(actor->pid, NULL, 0));
	close(actor->orders);
	close(actor->answers);
	actor->pid = 0;
}

static void tell(const struct scene *s, int who, const struct command *c)
{
	const struct actor *actor = &s->actors[who];
	char answer;

	if (!actor->pid) {
		do_bracket(s, c);
		return;
	}
	check_eq(write(actor->orders, c, sizeof(*c)), sizeof(*c));
	if (read(actor->answers, &answer, 1) != 1)
		fail("actor %d has not done it", who);
}

/* When this returns, the actor's address space no longer exists. */
static void let_die(struct scene *s, int who)
{
	static const struct command become_another = { .bracket = NOBODY };
	struct actor *actor = &s->actors[who];
	char nothing;

	if (s->death == BY_EXEC) {
		check_eq(write(actor->orders, &become_another,
			       sizeof(become_another)), sizeof(become_another));
		check_eq(read(actor->answers, &nothing, 1), 0);
	} else {
		must(kill(actor->pid, SIGKILL));
		/* Does not reap it: a zombie has died, too. */
		must(waitid(P_PID, actor->pid, NULL, WEXITED | WNOWAIT));
	}
}

static bool writer_is_open(const struct scene *s, const struct order *o)
{
	int i;

	for (i = 0; i < s->nr; i++)
		if (o->is_open[i] && o->writes[i])
			return true;
	return false;
}

static __u64 in_memory(const struct scene *s, int who)
{
	return *(volatile __u64 *)(s->map + WORD(who));
}

static __u64 at_device(const struct scene *s, int who)
{
	__u64 value;

	importer_read(s->importer, DMABUFX_VIA_DEVICE, WORD(who), &value,
		      sizeof(value));
	return value;
}

/* Each event writes different values, so that every loss shows. */
static void write_words(const struct scene *s, struct order *o)
{
	static __u64 value = 1;
	int i;

	for (i = 0; i < s->nr; i++) {
		if (!o->is_open[i] || !o->writes[i])
			continue;
		o->value[i] = ++value;
		*(volatile __u64 *)(s->map + WORD(i)) = value;
	}
	if (o->mapped && !writer_is_open(s, o)) {
		o->value[DEVICE] = ++value;
		importer_write(s->importer, DMABUFX_VIA_DEVICE, WORD(DEVICE),
			       &value, sizeof(value));
	}
}

static bool complain(const struct scene *s, const struct order *o,
		     const char *side, int who)
{
	if (!s->lost)
		note("%s: %s has not what %s %d wrote", o->done, side,
		     who == DEVICE ? "the device," : "the CPU in bracket", who);
	return false;
}

/*
 * Compares the words. @cpu_takes: the CPU must have the device's word, as after a begin and
 * an unmap. @device_takes: the device must have all of the CPU's words, those of open
 * brackets included, as after an end for writing and a map. Otherwise it must have the
 * words of closed brackets.
 */
static bool all_is_there(const struct scene *s, const struct order *o,
			 bool cpu_takes, bool device_takes)
{
	bool device_reads = o->mapped &&
			    s->direction != DMABUFX_IMPORTER_FROM_DEVICE;
	int i;

	if (cpu_takes && in_memory(s, DEVICE) != o->value[DEVICE])
		return complain(s, o, "the CPU", DEVICE);
	if (o->mapped && at_device(s, DEVICE) != o->value[DEVICE])
		return complain(s, o, "the device", DEVICE);

	for (i = 0; i < s->nr; i++) {
		if (o->forgotten[i])
			continue;
		if (in_memory(s, i) != o->value[i])
			return complain(s, o, "the CPU", i);
		if (device_reads && (device_takes || !o->is_open[i]) &&
		    at_device(s, i) != o->value[i])
			return complain(s, o, "the device", i);
	}
	return true;
}

static void say(struct order *o, const char *what, int who)
{
	size_t len = strlen(o->done);

	snprintf(o->done + len, sizeof(o->done) - len, " %s%c", what,
		 who == NOBODY ? ' ' : '0' + who);
}

static bool remap(const struct scene *s, struct order *o, int before)
{
	if (o->unmap_at == before) {
		say(o, "unmap", NOBODY);
		importer_do(s->importer, DMABUFX_IMPORTER_UNMAP, 0);
		o->mapped = false;
		if (!all_is_there(s, o, true, false))
			return false;
		write_words(s, o);
	}
	if (o->map_at == before) {
		say(o, "map", NOBODY);
		importer_map(s->importer, s->direction);
		o->mapped = true;
		if (!all_is_there(s, o, true, true))
			return false;
		write_words(s, o);
	}
	return true;
}

static bool play_event(struct scene *s, struct order *o, int who)
{
	struct command c = {
		.bracket = who,
		.write = o->writes[who],
		.begin = !o->was_open[who],
	};
	bool dies = !c.begin && o->dies == who;

	say(o, c.begin ? (c.write ? "W" : "R") : dies ? "dies" : "end", who);
	if (dies)
		let_die(s, who);
	else
		tell(s, !c.begin && s->ended_by_next ? (who + 1) % s->nr : who, &c);
	o->is_open[who] = c.begin;
	o->was_open[who] = true;
	/* Without a mapping the driver does not notice a death, so it copies nothing. */
	if (dies && !s->child_map)
		o->forgotten[who] = true;

	return all_is_there(s, o, c.begin, !c.begin && c.write && !o->forgotten[who]);
}

static bool play_events(struct scene *s, struct order *o)
{
	int i;

	write_words(s, o);
	for (i = 0; i < 2 * s->nr; i++) {
		if (!remap(s, o, i) || !play_event(s, o, o->events[i]))
			return false;
		write_words(s, o);
	}
	return remap(s, o, 2 * s->nr);
}

/* Removes everything of this order before the next one. */
static void clean_up(struct scene *s, struct order *o)
{
	int i;

	for (i = 0; i < s->nr; i++) {
		struct command end = { .bracket = i, .write = o->writes[i] };

		if (o->is_open[i])
			tell(s, i, &end);
	}
	if (o->dies != NOBODY) {
		actor_end(&s->actors[o->dies]);
		s->actors[o->dies] = actor_make(s);
	}
	if (o->mapped)
		importer_do(s->importer, DMABUFX_IMPORTER_UNMAP, 0);
}

static void play(struct scene *s, const struct order *order)
{
	struct order o = *order;
	bool right;

	if (s->lost && !s->counts)
		return;
	memset(s->map, 0, PAGE);
	importer_map(s->importer, s->direction);
	o.mapped = true;
	right = play_events(s, &o);
	/* A later mapping must have all words. */
	if (right && !o.mapped) {
		importer_map(s->importer, s->direction);
		o.mapped = true;
	}
	if (right) {
		struct command c = { .bracket = s->nr - 1, .begin = true };

		if (o.dies == c.bracket)
			c.bracket = 0;
		say(&o, "read", NOBODY);
		tell(s, c.bracket, &c);
		right = all_is_there(s, &o, true, false);
		c.begin = false;
		tell(s, c.bracket, &c);
	}
	clean_up(s, &o);
	s->played++;
	s->lost += !right;
}

static void play_with_deaths(struct scene *s, struct order *o)
{
	o->dies = NOBODY;
	if (!s->deaths) {
		play(s, o);
		return;
	}
	for (o->dies = 0; o->dies < s->nr; o->dies++)
		if (o->writes[o->dies])
			play(s, o);
}

static void play_with_remaps(struct scene *s, struct order *o)
{
	o->unmap_at = NEVER;
	o->map_at = NEVER;
	if (!s->remaps) {
		play_with_deaths(s, o);
		return;
	}
	for (o->unmap_at = 0; o->unmap_at <= 2 * s->nr; o->unmap_at++)
		for (o->map_at = o->unmap_at; o->map_at <= 2 * s->nr; o->map_at++)
			play_with_deaths(s, o);
}

static void play_with_kinds(struct scene *s, struct order *o)
{
	int kinds, i;

	for (kinds = 0; kinds < 1 << s->nr; kinds++) {
		for (i = 0; i < s->nr; i++)
			o->writes[i] = kinds & 1 << i;
		play_with_remaps(s, o);
	}
}

/* Plays all sequences in which each bracket occurs twice; @used counts its occurrences. */
static void play_orders(struct scene *s, struct order *o, int at, int *used)
{
	int i;

	if (at == 2 * s->nr) {
		play_with_kinds(s, o);
		return;
	}
	for (i = 0; i < s->nr; i++) {
		if (used[i] == 2 || (s->alike && i && !used[i - 1]))
			continue;
		used[i]++;
		o->events[at] = i;
		play_orders(s, o, at + 1, used);
		used[i]--;
	}
}

static void play_all(struct scene *s)
{
	int used[MOST] = {};
	struct order o = {};

	play_orders(s, &o, 0, used);
}

/* A scene with a buffer of one page. Actors are this process or others, by the ways. */
static struct scene scene_of(int fd, int nr, __u32 direction)
{
	struct scene s = {
		.fd = fd,
		.map = map_dma_buf(fd, 0, PAGE),
		.child_map = true,
		.importer = importer_open(),
		.direction = direction,
		.nr = nr,
	};

	importer_attach(s.importer, fd);
	return s;
}

static struct scene scene_make(int nr, __u32 direction)
{
	struct memory mem = memory_make(SHMEM_4K, PAGE);
	struct scene s = scene_of(create_range(&mem, 0, PAGE), nr, direction);

	/* Drops the mapping of the dma-buf: whether actors have one makes a difference. */
	must(munmap(s.map, PAGE));
	s.map = mem.map;
	return s;
}

/* The most brackets. Processes take turns slowly, more so on a debug kernel. */
static int most(void)
{
	return repeats(MOST * 10) < MOST * 10 ? 2 : MOST;
}

/* They take turns, which is many times faster where nobody has to wake another CPU. */
static void actors_make(struct scene *s)
{
	int i;

	stay_on_one_cpu();
	for (i = 0; i < s->nr; i++)
		s->actors[i] = actor_make(s);
}

static void scene_end(struct scene *s)
{
	int i;

	for (i = 0; i < s->nr; i++)
		actor_end(&s->actors[i]);
	note("%u orders", s->played);
	if (s->lost)
		fail("data is lost, see the line above");
}

/* All orders of @nr brackets in one process, for each direction of the device's mapping. */
static void brackets_of_one(int nr)
{
	struct scene s = scene_make(nr, DMABUFX_IMPORTER_BIDIRECTIONAL);

	play_all(&s);
	s.direction = DMABUFX_IMPORTER_FROM_DEVICE;
	play_all(&s);
	scene_end(&s);
}

PROMISE(swiotlb_two_brackets_of_a_process,
	"two brackets of a process, in every order, lose no data of the CPU or the device")
{
	brackets_of_one(2);
}

PROMISE(swiotlb_three_brackets_of_a_process,
	"three brackets of a process, in every order, lose no data")
{
	brackets_of_one(3);
}

PROMISE(swiotlb_brackets_of_processes,
	"brackets of three processes, in every order, lose no data")
{
	struct scene s = scene_make(most(), DMABUFX_IMPORTER_BIDIRECTIONAL);

	s.alike = true;
	actors_make(&s);
	play_all(&s);
	scene_end(&s);
}

PROMISE(swiotlb_brackets_of_drivers,
	"brackets of a process, a driver and the kernel, in every order, lose no data")
{
	struct scene s = scene_make(most(), DMABUFX_IMPORTER_BIDIRECTIONAL);

	s.ways[1] = BY_DRIVER;
	s.ways[2] = BY_KERNEL;
	actors_make(&s);
	play_all(&s);
	scene_end(&s);
}

PROMISE(swiotlb_brackets_ended_by_others,
	"brackets that one process begins and another ends lose no data")
{
	struct scene s = scene_make(most(), DMABUFX_IMPORTER_BIDIRECTIONAL);

	s.ended_by_next = true;
	actors_make(&s);
	play_all(&s);
	scene_end(&s);
}

PROMISE(swiotlb_brackets_while_devices_come_and_go,
	"brackets lose no data when a device's mapping ends and begins at any time")
{
	struct scene s = scene_make(2, DMABUFX_IMPORTER_BIDIRECTIONAL);

	s.alike = true;
	s.remaps = true;
	actors_make(&s);
	play_all(&s);
	s.direction = DMABUFX_IMPORTER_FROM_DEVICE;
	play_all(&s);
	scene_end(&s);
}

static void brackets_of_the_dying(int nr, bool child_map, enum death death)
{
	struct scene s = scene_make(nr, DMABUFX_IMPORTER_BIDIRECTIONAL);

	s.alike = true;
	s.child_map = child_map;
	s.deaths = true;
	s.death = death;
	actors_make(&s);
	play_all(&s);
	scene_end(&s);
}

PROMISE(swiotlb_brackets_of_who_dies,
	"a process that dies ends its bracket: no data is lost, not even its own")
{
	brackets_of_the_dying(most(), true, BY_KILL);
}

PROMISE(swiotlb_brackets_of_who_becomes_another,
	"a process that executes another program ends its bracket: no data is lost")
{
	brackets_of_the_dying(2, true, BY_EXEC);
}

PROMISE(swiotlb_brackets_of_who_dies_without_a_mapping,
	"a process that dies without a mapping of the buffer loses at most its own data")
{
	brackets_of_the_dying(most(), false, BY_KILL);
}

PROMISE(swiotlb_brackets_while_devices_go_and_writers_die,
	"the same while the device's mapping ends and begins at any time")
{
	int child_map;

	for (child_map = 0; child_map < 2; child_map++) {
		struct scene s = scene_make(2, DMABUFX_IMPORTER_BIDIRECTIONAL);

		s.alike = true;
		s.child_map = child_map;
		s.remaps = true;
		s.deaths = true;
		actors_make(&s);
		play_all(&s);
		scene_end(&s);
	}
}

PROMISE(swiotlb_brackets_that_are_only_ended,
	"ending a bracket that nobody began has no effect: no data is lost then or later")
{
	struct scene s = scene_make(2, DMABUFX_IMPORTER_BIDIRECTIONAL);
	int i;

	for (i = 0; i < 3; i++) {
		sync_end(s.fd, DMA_BUF_SYNC_RW);
		sync_end(s.fd, DMA_BUF_SYNC_READ);
		play_all(&s);
	}
	scene_end(&s);
}

PROMISE(swiotlb_brackets_of_a_thousand,
	"a bracket begun a thousand times is open until it is ended a thousand times")
{
	struct scene s = scene_make(1, DMABUFX_IMPORTER_BIDIRECTIONAL);
	struct order o = { .writes = { true }, .mapped = true };
	int i;

	importer_map(s.importer, s.direction);
	for (i = 0; i < 1000; i++)
		sync_start(s.fd, DMA_BUF_SYNC_WRITE);
	o.is_open[0] = true;
	for (i = 0; i < 999; i++) {
		write_words(&s, &o);
		sync_end(s.fd, DMA_BUF_SYNC_WRITE);
		check(all_is_there(&s, &o, false, true));
		write_words(&s, &o);
		sync_start(s.fd, DMA_BUF_SYNC_READ);
		check(all_is_there(&s, &o, true, false));
	}
	sync_end(s.fd, DMA_BUF_SYNC_WRITE);
	o.is_open[0] = false;
	write_words(&s, &o);
	sync_start(s.fd, DMA_BUF_SYNC_READ);
	check(all_is_there(&s, &o, true, false));
}

PROMISE(swiotlb_brackets_of_system_heap,
	"counts in how many of these orders Linux's system-heap loses data")
{
	struct dma_heap_allocation_data data = {
		.len = PAGE,
		.fd_flags = O_RDWR | O_CLOEXEC,
	};
	int heap = open("/dev/dma_heap/system", O_RDONLY | O_CLOEXEC), nr;

	if (heap < 0)
		skip("no /dev/dma_heap/system");
	for (nr = 2; nr <= 3; nr++) {
		struct scene s;

		data.fd = 0;
		must(ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &data));
		s = scene_of(data.fd, nr, DMABUFX_IMPORTER_BIDIRECTIONAL);
		/* system-heap copies only in the direction of the access. */
		s.reads_too = true;
		s.counts = true;
		play_all(&s);
		note("system-heap loses data in %u of %u orders of %d brackets",
		     s.lost, s.played, nr);
	}
}
