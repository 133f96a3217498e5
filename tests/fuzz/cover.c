// SPDX-License-Identifier: MIT
/* Signals: see cover.h. */
#include <fcntl.h>
#include <linux/kcov.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../harness.h"
#include "cover.h"
#include "program.h"

#define KCOV		"/sys/kernel/debug/kcov"
#define KCOV_ENTRIES	(128u << 10)

static unsigned long text, text_size;

/* The area of each thread: the number of places, then the places. */
static struct {
	int fd;
	unsigned long *area;
} kcov[MAX_THREADS];
static thread_local int enabled = -1;

static struct signals *collected;
/* For each signal, the number of the last program that gave it. */
static __u32 *last_program, program_number;
static struct fresh fresh;
static atomic_uint nr_fresh;

/* Finds the module's code, from its first function to the page of the last one. */
static void find_text(void)
{
	unsigned long address, last = 0;
	char line[512], type, module[64];
	FILE *symbols = fopen("/proc/kallsyms", "re");

	check(symbols);
	while (fgets(line, sizeof(line), symbols)) {
		if (sscanf(line, "%lx %c %*s %63s", &address, &type, module) != 3 ||
		    (type != 't' && type != 'T') || strcmp(module, "[dmabufx]"))
			continue;
		if (!text || address < text)
			text = address;
		if (address > last)
			last = address;
	}
	fclose(symbols);
	text_size = ((last | 0xfff) + 1) - text;
	if (!text || text_size > MAX_TEXT)
		fail("cannot find the code of dmabufx in /proc/kallsyms");
}

bool cover_init(void)
{
	if (access(KCOV, F_OK))
		return false;
	find_text();
	return true;
}

void cover_open(unsigned int threads)
{
	size_t size = KCOV_ENTRIES * sizeof(unsigned long);
	unsigned int i;

	last_program = mmap(NULL, NR_SIGNALS * sizeof(*last_program),
			    PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(last_program != MAP_FAILED);
	if (!text)
		return;
	for (i = 0; i < threads; i++) {
		kcov[i].fd = must(open(KCOV, O_RDWR | O_CLOEXEC));
		must(ioctl(kcov[i].fd, KCOV_INIT_TRACE, KCOV_ENTRIES));
		kcov[i].area = mmap(NULL, size, PROT_READ | PROT_WRITE,
				    MAP_SHARED, kcov[i].fd, 0);
		check(kcov[i].area != MAP_FAILED);
	}
}

void cover_start(unsigned int thread)
{
	if (!text)
		return;
	must(ioctl(kcov[thread].fd, KCOV_ENABLE, KCOV_TRACE_PC));
	enabled = thread;
}

void cover_stop(void)
{
	if (enabled >= 0)
		must(ioctl(kcov[enabled].fd, KCOV_DISABLE, 0));
	enabled = -1;
}

void cover_forget(void)
{
	enabled = -1;
	collected = NULL;
}

void cover_collect_into(struct signals *signals)
{
	collected = signals;
}

static void give_signal(__u32 signal)
{
	unsigned int i;

	last_program[signal] = program_number;
	if (collected->seen[signal])
		return;
	collected->seen[signal] = 1;
	i = atomic_fetch_add(&nr_fresh, 1);
	if (i < MAX_FRESH)
		fresh.signal[i] = signal;
}

void cover_before_call(void)
{
	if (enabled >= 0)
		__atomic_store_n(kcov[enabled].area, 0, __ATOMIC_RELAXED);
}

void cover_after_call(unsigned int type, long ret)
{
	unsigned int outcome = ret >= 0 ? 0 : -ret & 0xff;
	unsigned long i, nr, place;

	if (!collected)
		return;
	give_signal(MAX_TEXT + type % 64 * 256 + outcome);
	if (enabled < 0)
		return;
	nr = __atomic_load_n(kcov[enabled].area, __ATOMIC_RELAXED);
	for (i = 1; i <= nr && i < KCOV_ENTRIES; i++) {
		place = kcov[enabled].area[i] - text;
		if (place < text_size)
			give_signal(place);
	}
}

void cover_program(void)
{
	program_number++;
	nr_fresh = 0;
}

struct fresh cover_fresh(void)
{
	unsigned int i;

	fresh.nr = nr_fresh < MAX_FRESH ? nr_fresh : MAX_FRESH;
	fresh.places = 0;
	for (i = 0; i < fresh.nr; i++)
		fresh.places += fresh.signal[i] < MAX_TEXT;
	return fresh;
}

bool cover_reached(const struct fresh *wanted)
{
	unsigned int i;

	for (i = 0; i < wanted->nr; i++)
		if (last_program[wanted->signal[i]] != program_number)
			return false;
	return true;
}

unsigned int cover_places(const struct signals *signals)
{
	unsigned int i, places = 0;

	for (i = 0; i < MAX_TEXT; i++)
		places += signals->seen[i];
	return places;
}
