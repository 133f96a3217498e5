// SPDX-License-Identifier: MIT
/*
 * Memfds while a create works on them. All segments are checked before holes are filled;
 * others may fill holes, change seals or close descriptors meanwhile.
 */
#include <fcntl.h>
#include <linux/memfd.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "buffer.h"
#include "harness.h"
#include "memory.h"
#include "watch.h"

#define RESERVED "/sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages"

/* A memfd of this kind, not mapped. */
static struct memory unmapped(enum memory_kind kind, size_t size, int seals)
{
	return (struct memory) {
		.kind = kind,
		.size = size,
		.fd = memfd_make(kind, size, seals),
	};
}

/* Checks that come first. */

struct bad_end {
	int error;
	__u32 reason;
	struct dmabufx_segment segment;
};

static void fills_nothing(const struct memory *holes, const struct bad_end *bad)
{
	struct dmabufx_segment segments[] = { segment(holes, 0, holes->size), bad->segment };
	struct dmabufx_create req = request(segments, 2, 0);
	struct udmabuf_create_item items[2];
	int device = device_open();

	refused(bad->error, bad->reason, 1, device, &req);
	check_eq(memory_populated(holes), 0);
	memcpy(items, segments, sizeof(items));
	check_eq(try_create_list(device, items, 2, 0), -1);
	check_eq(memory_populated(holes), 0);
	must(close(device));
}

static void refused_ends_fill_nothing(enum memory_kind kind)
{
	struct memory holes = unmapped(kind, MIB(4), F_SEAL_SHRINK);
	struct memory shrinks = unmapped(SHMEM_4K, PAGE, 0);
	struct memory sealed = unmapped(SHMEM_4K, PAGE, F_SEAL_SHRINK | F_SEAL_WRITE);
	struct memory writing = holes;
	const struct bad_end ends[] = {
		{ EBADF, DMABUFX_REASON_NOT_OPEN, { .fd = 900, .size = PAGE } },
		{ EBADFD, DMABUFX_REASON_NOT_MEMFD,
		  { .fd = must(eventfd(0, EFD_CLOEXEC)), .size = PAGE } },
		{ EACCES, DMABUFX_REASON_OPEN_MODE,
		  { .fd = writing.fd = file_reopen(holes.fd, O_WRONLY), .size = PAGE } },
		{ EPERM, DMABUFX_REASON_MAY_SHRINK, segment(&shrinks, 0, PAGE) },
		{ EPERM, DMABUFX_REASON_WRITE_SEALED, segment(&sealed, 0, PAGE) },
		{ ERANGE, DMABUFX_REASON_BEYOND_END, segment(&holes, holes.size, PAGE) },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ends); i++)
		fills_nothing(&holes, &ends[i]);
	must(close(writing.fd));
	must(close(holes.fd));
}

PROMISE(memfd_refused_calls_fill_nothing,
	"a bad descriptor at the end of a list keeps earlier holes from being filled")
{
	refused_ends_fill_nothing(SHMEM_4K);
	refused_ends_fill_nothing(HUGETLB_2M);
}

PROMISE(memfd_last_page_of_all_is_refused,
	"the last page of the largest possible memfd is ERANGE, the page before is accepted")
{
	const __u64 last = (1ull << 63) - PAGE;
	struct memory mem = unmapped(SHMEM_4K, PAGE, 0);
	struct dmabufx_segment seg = { .fd = mem.fd, .offset = last, .size = PAGE - 1 };
	struct dmabufx_create req = request(&seg, 1, 0);
	int device = device_open();

	must(ftruncate(mem.fd, (1ull << 63) - 1));
	must(fcntl(mem.fd, F_ADD_SEALS, F_SEAL_SHRINK));
	refused(ERANGE, DMABUFX_REASON_BEYOND_END, 0, device, &req);
	seg.size = PAGE;
	refused(ERANGE, DMABUFX_REASON_BEYOND_END, 0, device, &req);
	seg.offset = last - PAGE;
	seg.size = 2 * PAGE - 1;
	refused(ERANGE, DMABUFX_REASON_BEYOND_END, 0, device, &req);
	must_fail(EINVAL, try_create(device, (struct udmabuf_create_item){
		.memfd = mem.fd, .offset = last, .size = PAGE }, 0));
	check_eq(memory_populated(&mem), 0);
	seg.size = PAGE;
	must_close(try_request(device, &req));
	check_eq(memory_populated(&mem), PAGE);
	must(close(mem.fd));
}

/* Another thread replaces the file behind a descriptor. */

struct changing {
	atomic_bool over;
	atomic_int rounds;
	int fd, memfd, other;
};

static void *change_descriptor(void *arg)
{
	struct changing *c = arg;

	while (!atomic_load(&c->over)) {
		must(dup2(c->other, c->fd));
		must(dup2(c->memfd, c->fd));
		must(close(c->fd));
		must(dup2(c->memfd, c->fd));
		atomic_fetch_add(&c->rounds, 1);
	}
	return NULL;
}

PROMISE(memfd_descriptors_may_change_meanwhile,
	"descriptors that another thread replaces meanwhile are accepted or refused correctly",
	TAG_THREADS)
{
	struct memory mem = memory_make(SHMEM_4K, 16 * PAGE);
	struct changing c = {
		.fd = 800, .memfd = mem.fd, .other = must(eventfd(0, EFD_CLOEXEC)),
	};
	struct udmabuf_create_item items[16];
	int device = device_open(), made = 0, tries = repeats(3000), left, fd, i;
	pthread_t thread;

	for (i = 0; i < 16; i++) {
		items[i] = list_item(&mem, i * PAGE, PAGE);
		items[i].memfd = i % 2 ? c.fd : mem.fd;
	}
	check_eq(pthread_create(&thread, NULL, change_descriptor, &c), 0);
	/* On a busy host the other thread may begin late. */
	while (!atomic_load(&c.rounds))
		sched_yield();
	for (left = tries; left; left--) {
		fd = try_create_list(device, items, 2 + left % 15, 0);
		if (fd < 0)
			check_eq(errno, EBADFD);
		else
			must(close(fd));
		made += fd >= 0;
	}
	atomic_store(&c.over, true);
	pthread_join(thread, NULL);
	note("%d of %d were made", made, tries);
	must(close(c.fd));
}

/* Filling holes of hugetlb. */

static void fill_and_free(struct memory *mem)
{
	must(close(create_range(mem, MIB(2), MIB(2))));
	check_eq(memory_populated(mem), MIB(2));
	must(close(create_range(mem, 0, mem->size)));
	check_eq(memory_populated(mem), mem->size);
	memory_free(mem);
}

PROMISE(memfd_holes_keep_the_pools_count,
	"filling holes of hugetlb leaves HugePages_Rsvd as it was, reserved or not")
{
	long before = file_number(RESERVED, "");
	struct memory mem = memory_make_holes(HUGETLB_2M, MIB(8));

	check_eq(file_number(RESERVED, ""), before + 4);
	must(close(create_range(&mem, MIB(2), MIB(2))));
	check_eq(file_number(RESERVED, ""), before + 3);
	fill_and_free(&mem);
	check_eq(file_number(RESERVED, ""), before);

	mem = unmapped(HUGETLB_2M, MIB(8), F_SEAL_SHRINK);
	fill_and_free(&mem);
	check_eq(file_number(RESERVED, ""), before);

	mem = unmapped(HUGETLB_2M, MIB(8), F_SEAL_SHRINK);
	mem.map = must(mmap(NULL, mem.size, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_NORESERVE, mem.fd, 0));
	fill_and_free(&mem);
	check_eq(file_number(RESERVED, ""), before);
}

PROMISE(memfd_holes_are_filled_for_readers,
	"a read-only buffer fills holes of hugetlb, sealed against writing or not")
{
	struct memory mem = unmapped(HUGETLB_2M, MIB(4), F_SEAL_SHRINK | F_SEAL_GROW);
	struct dmabufx_segment seg = { .fd = file_reopen(mem.fd, O_RDONLY), .size = MIB(2) };
	struct dmabufx_create req = request(&seg, 1, DMABUFX_CREATE_READ_ONLY);
	int device = device_open();

	must_close(try_request(device, &req));
	check_eq(memory_populated(&mem), MIB(2));
	must(fcntl(mem.fd, F_ADD_SEALS, F_SEAL_WRITE));
	seg.size = MIB(4);
	must_close(try_request(device, &req));
	check_eq(memory_populated(&mem), MIB(4));
	must(close(seg.fd));
	must(close(mem.fd));
}

struct signalled {
	struct memory mem;
	pthread_t creator;
	int sent;
};

/* Sends a signal for each page that is filled, except the last. */
static void *signal_each_page(void *arg)
{
	struct signalled *s = arg;
	size_t seen = 0, now = 0;

	while (now < s->mem.size) {
		now = memory_populated(&s->mem);
		if (now == seen || now == s->mem.size)
			continue;
		seen = now;
		pthread_kill(s->creator, SIGUSR1);
		s->sent++;
	}
	return NULL;
}

static int fill_despite_signals(size_t size)
{
	struct signalled s = {
		.mem = unmapped(HUGETLB_2M, size, F_SEAL_SHRINK),
		.creator = pthread_self(),
	};
	pthread_t thread;
	int fd;

	check_eq(pthread_create(&thread, NULL, signal_each_page, &s), 0);
	fd = create_range(&s.mem, 0, size);
	pthread_join(thread, NULL);
	check_eq(memory_populated(&s.mem), size);
	must(close(fd));
	must(close(s.mem.fd));
	return s.sent;
}

PROMISE(memfd_holes_are_filled_despite_signals,
	"signals that have handlers do not keep holes of hugetlb from being filled",
	TAG_THREADS)
{
	struct sigaction action = { .sa_handler = ignore_signal };
	int sent = 0, rounds;

	must(sigaction(SIGUSR1, &action, NULL));
	for (rounds = 0; sent < 20; rounds++) {
		check_le(rounds, 100);
		sent += fill_despite_signals(MIB(64));
	}
	note("%d signals in %d creates", sent, rounds);
}

struct fillers {
	atomic_bool over;
	struct memory mem;
};

static void *touch_pages(void *arg)
{
	struct fillers *f = arg;
	size_t i;

	for (i = 0; !atomic_load(&f->over); i++)
		(void)*(volatile char *)(f->mem.map + i * MIB(2) % f->mem.size);
	return NULL;
}

static void *punch_pages(void *arg)
{
	struct fillers *f = arg;
	size_t i;

	for (i = 0; !atomic_load(&f->over); i++)
		memory_punch(&f->mem, i * 3 * MIB(2) % f->mem.size, MIB(2));
	return NULL;
}

PROMISE(memfd_fillers_of_holes_may_meet,
	"creates and page faults fill holes while they are punched, and the pool's count stays",
	TAG_THREADS)
{
	long before = file_number(RESERVED, "");
	struct fillers f = { .mem = memory_make_holes(HUGETLB_2M, MIB(16)) };
	int device = device_open(), made = 0, gave_up = 0, i, fd;
	pthread_t toucher, puncher;

	check_eq(pthread_create(&toucher, NULL, touch_pages, &f), 0);
	check_eq(pthread_create(&puncher, NULL, punch_pages, &f), 0);
	for (i = 0; i < repeats(300); i++) {
		fd = try_create(device, list_item(&f.mem, 0, f.mem.size), 0);
		/* If holes are punched faster than they can be filled, a create gives up. */
		if (fd < 0) {
			check_eq(errno, ENOMEM);
			gave_up++;
			continue;
		}
		must(close(fd));
		made++;
	}
	atomic_store(&f.over, true);
	pthread_join(toucher, NULL);
	pthread_join(puncher, NULL);
	note("%d were made, %d gave up", made, gave_up);
	/* While nobody punches holes, no create gives up. */
	must(close(create_range(&f.mem, 0, f.mem.size)));
	memory_free(&f.mem);
	check_eq(file_number(RESERVED, ""), before);
}

/* Waiting for a memfd's lock. */

struct filling {
	struct memory mem;
	size_t piece;
	atomic_bool done;
};

static void *fill_by_create(void *arg)
{
	struct filling *f = arg;
	size_t nr = f->mem.size / f->piece, i;
	struct udmabuf_create_item *items = calloc(nr, sizeof(*items));
	int device = device_open();

	check(items);
	for (i = 0; i < nr; i++)
		items[i] = list_item(&f->mem, i * f->piece, f->piece);
	must_close(try_create_list(device, items, nr, 0));
	must(close(device));
	free(items);
	atomic_store(&f->done, true);
	return NULL;
}

/* Counts how often the owner got the memfd's lock while a create filled holes. */
static int turns_of_the_owner(enum memory_kind kind, size_t size, size_t piece)
{
	struct filling f = {
		.mem = unmapped(kind, size, F_SEAL_SHRINK),
		.piece = piece,
	};
	pthread_t thread;
	int turns = 0;

	check_eq(pthread_create(&thread, NULL, fill_by_create, &f), 0);
	while (!atomic_load(&f.done)) {
		bool begun = memory_populated(&f.mem);

		/* Adds no seal, but takes the lock that seals take. */
		must(fcntl(f.mem.fd, F_ADD_SEALS, 0));
		turns += begun && memory_populated(&f.mem) < size;
	}
	pthread_join(thread, NULL);
	must(close(f.mem.fd));
	return turns;
}

/*
 * One create proves nothing: the owner may have slept through every batch. But a create
 * that keeps the lock gives the owner no turn in any number of tries.
 */
#define TURNS_TRIED 50

static void owner_has_turns(enum memory_kind kind, size_t size, size_t piece)
{
	int tries;

	for (tries = 0; tries < TURNS_TRIED; tries++)
		if (turns_of_the_owner(kind, size, piece))
			return;
	fail("the owner got the lock in none of %d creates", tries);
}

PROMISE(memfd_owner_waits_for_a_batch,
	"a memfd's owner gets its lock between batches while a long create fills holes",
	TAG_THREADS)
{
	owner_has_turns(SHMEM_4K, MIB(256), MIB(256));
	owner_has_turns(HUGETLB_2M, MIB(160), MIB(160));
}

/* The longest that shares the lock with the next one. */
#define PIECE (7 * PAGE)

PROMISE(memfd_owner_waits_for_some_pieces,
	"a memfd's owner gets its lock while a long list of small pieces of it is pinned",
	TAG_THREADS)
{
	/* The table has room for all pieces, so that it need not grow. */
	owner_has_turns(SHMEM_4K, 300 * PIECE, PIECE);
}

/* Smaller than a batch, which is 248 pages. */
#define PART_OF_A_BATCH (240 * PAGE)

PROMISE(memfd_is_locked_while_a_batch_is_filled,
	"no seal is added from the look at a memfd's seals until its memory is pinned",
	TAG_THREADS)
{
	int i;

	for (i = 0; i < 100; i++)
		check_eq(turns_of_the_owner(SHMEM_4K, PART_OF_A_BATCH, PART_OF_A_BATCH), 0);
}

/* Holds the lock of a memfd: a thread writes there from a page that is withheld. */
struct holder {
	int memfd;
	struct withheld page;
	pthread_t thread;
};

static void *write_what_is_withheld(void *arg)
{
	struct holder *h = arg;

	check_eq(pwrite(h->memfd, h->page.page, 1, 0), 1);
	return NULL;
}

static struct holder *lock_held(const struct memory *mem)
{
	struct holder *h = calloc(1, sizeof(*h));

	check(h);
	h->memfd = mem->fd;
	h->page = page_withhold(must(mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
					  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
	check_eq(pthread_create(&h->thread, NULL, write_what_is_withheld, h), 0);
	page_is_awaited(&h->page);
	return h;
}

static void lock_let_go(struct holder *h)
{
	static const char contents[LARGEST_PAGE];

	page_give(&h->page, contents);
	pthread_join(h->thread, NULL);
	must(munmap(h->page.page, PAGE));
	free(h);
}

/* Returns a child that has taken the first of two items, and waits for the other's lock. */
static int create_that_waits(int device, const struct udmabuf_create_item *items)
{
	int child = must(fork());

	if (!child) {
		must(try_create_list(device, items, 2, 0));
		_exit(0);
	}
	child_is_stuck(child, SYS_ioctl);
	return child;
}

PROMISE(memfd_lock_is_waited_for_killably,
	"a create killed while it waits for a memfd's lock ends and keeps nothing",
	TAG_THREADS)
{
	struct memory first = unmapped(SHMEM_4K, MIB(1), F_SEAL_SHRINK);
	struct memory other = unmapped(SHMEM_4K, MIB(1), F_SEAL_SHRINK);
	const struct udmabuf_create_item items[] = {
		list_item(&first, 0, MIB(1)), list_item(&other, 0, MIB(1)),
	};
	struct holder *holder = lock_held(&other);
	int device = device_open(), child;
	const __u64 before = device_query(device).memfd_pinned;
	bool died;

	child = create_that_waits(device, items);
	while (memory_populated(&first) < MIB(1))
		;
	died = child_dies(child);
	lock_let_go(holder);
	check(died);
	check_eq(device_query(device).memfd_pinned, before);
	must(close(device));
	must(close(first.fd));
	must(close(other.fd));
}

/* One page of a huge page pins all of it. */
PROMISE(memfd_is_charged_before_a_lock_is_waited_for,
	"what a create has pinned is charged in full before it waits for another memfd's lock",
	TAG_THREADS)
{
	struct memory huge = memory_make(HUGETLB_2M, MIB(2));
	struct memory other = unmapped(SHMEM_4K, PAGE, F_SEAL_SHRINK);
	const struct udmabuf_create_item items[] = {
		list_item(&huge, 0, PAGE), list_item(&other, 0, PAGE),
	};
	struct holder *holder = lock_held(&other);
	int device = device_open(), child;
	const __u64 before = device_query(device).memfd_pinned;
	bool charged, died;

	/* The child may sleep for something else first. It cannot pass the lock. */
	child = create_that_waits(device, items);
	charged = comes_true(device_query(device).memfd_pinned ==
			     before + MIB(2) + 2 * PAGE);
	died = child_dies(child);
	lock_let_go(holder);
	check(died);
	check(charged);
	check_eq(device_query(device).memfd_pinned, before);
	must(close(device));
	memory_free(&huge);
	must(close(other.fd));
}

/* The lock is given to whoever waits for it first. */
PROMISE(memfd_seal_is_seen_after_a_wait,
	"a seal that is added while a create waits for the memfd's lock makes the create fail",
	TAG_THREADS)
{
	struct memory mem = unmapped(SHMEM_4K, PAGE, F_SEAL_SHRINK);
	struct holder *holder = lock_held(&mem);
	int device = device_open(), sealing, creating;

	sealing = must(fork());
	if (!sealing) {
		must(fcntl(mem.fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
		_exit(0);
	}
	child_is_stuck(sealing, SYS_fcntl);
	creating = must(fork());
	if (!creating) {
		must_fail(EINVAL, try_create(device, list_item(&mem, 0, PAGE), 0));
		_exit(0);
	}
	child_is_stuck(creating, SYS_ioctl);
	lock_let_go(holder);
	join_child(sealing);
	join_child(creating);
	must(close(device));
	must(close(mem.fd));
}

struct sealing {
	struct memory mem;
	bool midway;
};

static void *seal_midway(void *arg)
{
	struct sealing *s = arg;

	while (!memory_populated(&s->mem))
		;
	must(fcntl(s->mem.fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
	s->midway = memory_populated(&s->mem) < s->mem.size;
	return NULL;
}

static bool is_sealed_midway(enum memory_kind kind, size_t size)
{
	struct sealing s = { .mem = unmapped(kind, size, F_SEAL_SHRINK) };
	int device = device_open(), fd;
	pthread_t thread;

	check_eq(pthread_create(&thread, NULL, seal_midway, &s), 0);
	fd = try_create(device, list_item(&s.mem, 0, size), 0);
	if (fd < 0)
		check_eq(errno, EINVAL);
	pthread_join(thread, NULL);
	if (s.midway && fd >= 0)
		fail("%s: a writable buffer in spite of the seal", memory_name(kind));
	if (fd >= 0)
		must(close(fd));
	must(close(device));
	must(close(s.mem.fd));
	return s.midway;
}

PROMISE(memfd_seals_between_batches_are_seen,
	"a seal that comes while a long create fills holes makes it fail", TAG_THREADS)
{
	int tries;

	for (tries = 1; !is_sealed_midway(SHMEM_4K, MIB(128)); tries++)
		check_le(tries, TURNS_TRIED);
	for (tries = 1; !is_sealed_midway(HUGETLB_2M, MIB(160)); tries++)
		check_le(tries, TURNS_TRIED);
}
