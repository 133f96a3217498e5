// SPDX-License-Identifier: MIT
/* Makes, changes, writes and reads programs: see program.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../harness.h"
#include "../memory.h"
#include "calls.h"
#include "program.h"

/* The most calls of a generated program; mutations may add more. */
#define GENERATED_CALLS	20

struct rng rng_make(__u64 seed, __u64 stream)
{
	/* splitmix64, so that the numbers of neighbouring seeds are independent. */
	__u64 z = seed + (stream + 1) * 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	z ^= z >> 31;
	return (struct rng){ z ? z : 1 };
}

__u64 rng_below(struct rng *rng, __u64 limit)
{
	__u64 x = rng->state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	rng->state = x;
	x *= 0x2545f4914f6cdd1dull;
	return limit ? (x >> 16) % limit : x;
}

static bool one_in(struct rng *rng, unsigned int n)
{
	return !rng_below(rng, n);
}

static __u64 hostile_number(struct rng *rng)
{
	static const __u64 borders[] = {
		0, 1, 7, 8, 255, 4095, 4096, 4097, 65536, 1ull << 20,
		1ull << 21, 1ull << 30, (1ull << 31) - 1, 1ull << 31,
		(1ull << 32) - 4096, (1ull << 32) - 1, 1ull << 32,
		1ull << 43, 1ull << 44, (1ull << 47) - 4096, 1ull << 47,
		(1ull << 63) - 4096, (1ull << 63) - 1, 1ull << 63,
		-(1ull << 21), -4096ull, -4095ull, -8ull, -1ull,
	};
	__u64 number = borders[rng_below(rng, ARRAY_SIZE(borders))];

	return one_in(rng, 4) ? number + rng_below(rng, 5) - 2 : number;
}

static __u64 random_offset(struct rng *rng)
{
	switch (rng_below(rng, 20)) {
	case 0:
		return hostile_number(rng);
	case 1:
		return rng_below(rng, 16 * PAGE);
	case 2 ... 4:
		return rng_below(rng, 4) * MIB(2);
	case 5:
		return rng_below(rng, 4) * MIB(2) + rng_below(rng, 512) * PAGE;
	case 6 ... 10:
		return rng_below(rng, 16) * PAGE;
	default:
		return 0;
	}
}

/* Large sizes are rare: with small pages they take as long as a hundred other calls. */
static __u64 random_size(struct rng *rng)
{
	switch (rng_below(rng, 120)) {
	case 0:
		return (1 + rng_below(rng, 2)) * MIB(2);
	case 1:
		return MIB(2) + rng_below(rng, 9) * PAGE - 4 * PAGE;
	case 2 ... 6:
		return hostile_number(rng);
	case 7 ... 11:
		return rng_below(rng, 16 * PAGE);
	case 12 ... 36:
		return PAGE;
	default:
		return (1 + rng_below(rng, 16)) * PAGE;
	}
}

static __u64 random_arg(char kind, struct rng *rng)
{
	switch (kind) {
	case 'm': case 'd': case 'v':
		return rng_below(rng, one_in(rng, 3) ? 4 : 2);
	case 'i':
		return rng_below(rng, 2);
	case 'o':
		return random_offset(rng);
	case 's':
		return random_size(rng);
	case 'p':
		return one_in(rng, 3) ? rng_below(rng, 4) : 3;
	case 'k':
		return rng_below(rng, 16);
	case 'x':
		return one_in(rng, 20) ? hostile_number(rng) :
		       rng_below(rng, 4);
	case 'q':
		return one_in(rng, 12) ? rng_below(rng, 16) : 0;
	default:
		return hostile_number(rng);
	}
}

static void call_randomise(struct call *call, struct rng *rng)
{
	const char *kind = call_types[call->type].args;
	unsigned int i;

	for (i = 0; kind[i]; i++)
		call->arg[i] = random_arg(kind[i], rng);
}

static unsigned int random_type(struct rng *rng)
{
	unsigned int i, sum = 0;
	__u64 at;

	for (i = 0; i < nr_call_types; i++)
		sum += call_types[i].weight;
	at = rng_below(rng, sum);
	for (i = 0; at >= call_types[i].weight; i++)
		at -= call_types[i].weight;
	return i;
}

/* Continues a segment: segments that meet in a folio are a special case. */
static void continue_segment(struct call *call, const struct call *before)
{
	call->arg[0] = before->arg[0];
	call->arg[1] = before->arg[1] + before->arg[2];
}

/* Returns a call to follow @before, which may be NULL. */
static struct call random_call(const struct call *before, struct rng *rng)
{
	struct call call = { .type = random_type(rng) };

	call_randomise(&call, rng);
	if (before && before->type == call.type &&
	    !strncmp(call_types[call.type].name, "seg_", 4) && !one_in(rng, 3))
		continue_segment(&call, before);
	return call;
}

static void append(struct program *p, struct call call)
{
	if (p->nr < MAX_CALLS)
		p->call[p->nr++] = call;
}

/* Appends a call with valid arguments. */
static void append_named(struct program *p, const char *name, __u64 a, __u64 b,
			 __u64 c, __u64 d, __u64 e)
{
	struct call call = {
		.type = call_type_find(name),
		.arg = { a, b, c, d, e },
	};

	append(p, call);
}

static void insert(struct program *p, unsigned int at, struct call call)
{
	if (p->nr == MAX_CALLS)
		return;
	memmove(&p->call[at + 1], &p->call[at],
		(p->nr++ - at) * sizeof(*p->call));
	p->call[at] = call;
}

/* Splits a segment into two that meet. */
static void split_segment(struct program *p, struct rng *rng)
{
	unsigned int at = rng_below(rng, p->nr);
	struct call *call = &p->call[at], second = *call;
	__u64 first;

	if (strncmp(call_types[call->type].name, "seg_", 4) ||
	    call->arg[2] < 2 * PAGE || p->nr == MAX_CALLS)
		return;
	first = PAGE * (1 + rng_below(rng, call->arg[2] / PAGE - 1));
	call->arg[2] = first;
	second.arg[1] += first;
	second.arg[2] -= first;
	insert(p, at + 1, second);
}

/* Begins with a buffer, which most calls need. */
static void append_beginning(struct program *p, struct rng *rng)
{
	__u64 kind = one_in(rng, 4) ? 1 : 0, size, flags = rng_below(rng, 4);

	size = kind ? MIB(2) * (1 + rng_below(rng, 2)) :
	       PAGE * (1 + rng_below(rng, 16));
	switch (rng_below(rng, 4)) {
	case 0:
		append_named(p, "memfd", 0, kind, size, 2, 0);
		append_named(p, "udmabuf", 0, 0, flags, 0, size);
		break;
	case 1:
		append_named(p, "memfd", 0, kind, size, 2, 0);
		append_named(p, "seg_memfd", 0, 0, size, 0, 0);
		if (one_in(rng, 2))
			split_segment(p, rng);
		append_named(p, "create", 0, flags, rng_below(rng, 2), 0, 0);
		break;
	case 2:
		append_named(p, "anon", 0, size, kind ? 2 : 0, 0, 0);
		append_named(p, "touch", 0, 0, size, 1, 0);
		append_named(p, "seg_user", 0, one_in(rng, 4) ? 8 : 0, size, 0, 0);
		append_named(p, "create", 0, flags, rng_below(rng, 2), 0, 0);
		break;
	default:
		return;
	}
	if (one_in(rng, 2))
		append_named(p, "map", 1, 0, 0, size, 3);
	if (one_in(rng, 2)) {
		append_named(p, "open", 0, 0, 0, 0, 0);
		append_named(p, "attach", 0, 0, 0, 0, 0);
		if (one_in(rng, 2))
			append_named(p, "imp_map", 0, rng_below(rng, 3), 0, 0, 0);
		else
			append_named(p, "vmap", 0, 0, 0, 0, 0);
	}
}

/* Spreads the calls from some point on over several threads. */
static void spread(struct program *p, struct rng *rng)
{
	unsigned int i = rng_below(rng, p->nr);

	for (; i < p->nr; i++)
		p->call[i].thread = rng_below(rng, MAX_THREADS);
}

void program_generate(struct program *p, struct rng *rng)
{
	unsigned int nr = 1 + rng_below(rng, GENERATED_CALLS);

	p->nr = 0;
	append_beginning(p, rng);
	while (nr--)
		append(p, random_call(p->nr ? &p->call[p->nr - 1] : NULL, rng));
	if (one_in(rng, 3))
		spread(p, rng);
}

void program_remove(struct program *p, unsigned int call)
{
	memmove(&p->call[call], &p->call[call + 1],
		(--p->nr - call) * sizeof(*p->call));
}

static void insert_random(struct program *p, unsigned int at, struct rng *rng)
{
	insert(p, at, random_call(at ? &p->call[at - 1] : NULL, rng));
}

static void splice(struct program *p, const struct program *other,
		   struct rng *rng)
{
	unsigned int from = rng_below(rng, other->nr);

	if (one_in(rng, 2))
		p->nr = 1 + rng_below(rng, p->nr);
	for (; from < other->nr; from++)
		append(p, other->call[from]);
}

void program_join(struct program *p, const struct program *other)
{
	unsigned int i;

	for (i = 0; i < other->nr; i++)
		append(p, other->call[i]);
}

static void change_arg(struct program *p, struct rng *rng)
{
	struct call *call = &p->call[rng_below(rng, p->nr)];
	const char *kinds = call_types[call->type].args;
	unsigned int arg;

	if (!*kinds)
		return;
	arg = rng_below(rng, strlen(kinds));
	if (one_in(rng, 3))
		call->arg[arg] += (rng_below(rng, 3) - 1) * PAGE;
	else
		call->arg[arg] = random_arg(kinds[arg], rng);
}

void program_mutate(struct program *p, const struct program *other,
		    struct rng *rng)
{
	unsigned int times = 1 + rng_below(rng, 4);

	while (times--) {
		switch (rng_below(rng, 12)) {
		case 0:
			splice(p, other, rng);
			break;
		case 1:
			if (p->nr > 1)
				program_remove(p, rng_below(rng, p->nr));
			break;
		case 2:
			insert(p, rng_below(rng, p->nr + 1),
			       p->call[rng_below(rng, p->nr)]);
			break;
		case 3:
			spread(p, rng);
			break;
		case 4 ... 7:
			insert_random(p, rng_below(rng, p->nr + 1), rng);
			break;
		case 8:
			split_segment(p, rng);
			break;
		default:
			change_arg(p, rng);
		}
	}
}

void program_write(const struct program *p, FILE *to)
{
	unsigned int i, arg;

	for (i = 0; i < p->nr; i++) {
		const struct call *call = &p->call[i];
		const struct call_type *type = &call_types[call->type];

		if (call->thread)
			fprintf(to, "%u: ", call->thread);
		fputs(type->name, to);
		for (arg = 0; type->args[arg]; arg++) {
			if (strchr("mdvi", type->args[arg]))
				fprintf(to, " %c%llu", type->args[arg],
					call->arg[arg]);
			else
				fprintf(to, " %#llx", call->arg[arg]);
		}
		putc('\n', to);
	}
}

/* Parses a line without remark; returns NULL, or what is wrong. */
static const char *parse(struct call *call, char *text)
{
	char *next, *word = strtok_r(text, " \t\n", &next), *end;
	const char *kind;
	int type, arg;

	*call = (struct call){};
	if (word[1] == ':') {
		call->thread = (unsigned int)(word[0] - '0');
		word = strtok_r(NULL, " \t\n", &next);
	}
	if (call->thread >= MAX_THREADS)
		return "no such thread";
	type = word ? call_type_find(word) : -1;
	if (type < 0)
		return "no such call";
	call->type = type;

	kind = call_types[type].args;
	for (arg = 0; kind[arg]; arg++) {
		word = strtok_r(NULL, " \t\n", &next);
		if (!word)
			return "too few arguments";
		if (strchr("mdvi", kind[arg]) && *word++ != kind[arg])
			return "a slot of another kind";
		errno = 0;
		call->arg[arg] = strtoull(word, &end, strncmp(word, "0x", 2) ? 10 : 16);
		if (*word < '0' || *word > '9' || *end || errno)
			return "not a number";
	}
	return strtok_r(NULL, " \t\n", &next) ? "too many arguments" : NULL;
}

int program_read(struct program *p, FILE *from, const char *name,
		 unsigned int *line)
{
	const char *wrong = NULL;
	char text[256];

	p->nr = 0;
	while (fgets(text, sizeof(text), from)) {
		++*line;
		if (text[0] == '#')
			continue;
		if (!text[strspn(text, " \t\n")]) {
			if (p->nr)
				return 1;
			continue;
		}
		wrong = p->nr == MAX_CALLS ? "too many calls" :
			parse(&p->call[p->nr++], text);
		if (wrong) {
			fprintf(stderr, "%s:%u: %s\n", name, *line, wrong);
			return -1;
		}
	}
	return p->nr > 0;
}
