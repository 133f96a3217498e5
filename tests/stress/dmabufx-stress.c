// SPDX-License-Identifier: MIT
/*
 * dmabufx-stress: threads of several processes make buffers of parts of their memory, of
 * every kind, and verify each byte of them.
 *
 * Each thread has a region of memory and knows the contents of each page. It makes a buffer
 * of some pages, reads it through one way (a map, a device, the kernel's mapping, a child,
 * another process), writes new contents through the next way, and reads the region itself.
 * Idle regions may be swapped out. To make this happen, start the program where there is
 * less memory than the regions take.
 *
 * In the end, everything that it took must have been given back.
 */
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <linux/dma-buf.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../examples/number.h"
#include "../../uapi/linux/dmabufx.h"
#include "../harness.h"
#include "../memory.h"
#include "../watch.h"
#include "importer.h"

#define PAGE_WORDS	(PAGE / sizeof(__u64))
#define REGION		MIB(4)
#define REGION_PAGES	(REGION / PAGE)
#define MAX_PAGES	256u	/* of a buffer, so that most of a region can be swapped out */
#define MAX_PARTS	4u

#define PROCESSES	4u
#define THREADS		8u	/* of a process; the first verifies for other processes */

/* Caches fill meanwhile; this time does not count. */
#define WARM_UP_SECONDS	5
#define PROGRESS_SECONDS	5
/* How much the kernel's own caches may grow. */
#define SLAB_TOLERANCE	0x600000l
#define VMALLOC_TOLERANCE	0x100000l
#define FILES_TOLERANCE	256

/* Threads take these in turn. */
static const enum memory_kind kinds[] = {
	SHMEM_4K, SHMEM_2M, HUGETLB_2M, ANON_4K, ANON_2M, ANON_HUGETLB_2M,
};

/**
 * struct region - a thread's memory
 * @map: its mapping
 * @memfd: its memfd, or -1 for private memory
 * @owner: number of the thread
 * @pass: the pass that each page has
 */
struct region {
	__u64 *map;
	int memfd;
	unsigned int owner;
	unsigned int pass[REGION / KIB(4)];
};

/**
 * struct worker - a thread
 * @rng: state of its random numbers
 * @device: /dev/dmabufx
 * @next: socket to the process that verifies this one's buffers
 */
struct worker {
	struct region region;
	__u64 rng;
	int device;
	int next;
};

/* A buffer, and the pages of a region in it, in order. */
struct buffer {
	int fd;
	bool read_only;
	unsigned int nr;
	unsigned int page[MAX_PAGES];
};

/* All that another process needs to verify a buffer. */
struct message {
	unsigned int owner, nr;
	struct {
		unsigned int page, pass;
	} content[MAX_PAGES];
};

/* Memory that all processes share. */
static struct {
	atomic_ulong buffers, bytes, sent;
	atomic_bool stop, failed;
	char why[512];
} *shared;

static int sockets[PROCESSES][2];

void test_fail(const char *file, int line, const char *fmt, ...)
{
	char text[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (shared && !atomic_exchange(&shared->failed, true))
		snprintf(shared->why, sizeof(shared->why), "%s:%d: %s", file,
			 line, text);
	else if (!shared)
		fprintf(stderr, "dmabufx-stress: %s\n", text);
	_exit(1);
}

void skip(const char *fmt, ...)
{
	char text[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	fail("%s", text);
}

const char *errno_name(int error)
{
	const char *name = error ? strerrorname_np(error) : "success";

	return name ? name : "an unknown error";
}

static unsigned int below(struct worker *w, unsigned int limit)
{
	w->rng ^= w->rng << 13;
	w->rng ^= w->rng >> 7;
	w->rng ^= w->rng << 17;
	return (w->rng >> 11) % limit;
}

/* Each word tells where it belongs, and in which pass it was written. */
static __u64 word_of(unsigned int owner, unsigned int page, unsigned int pass,
		     unsigned int i)
{
	return ((__u64)owner << 56 | (__u64)page << 40 | (__u64)pass << 10 | i) *
	       0x9e3779b97f4a7c15ull;
}

static void fill_page(__u64 *to, unsigned int owner, unsigned int page,
		      unsigned int pass)
{
	unsigned int i;

	for (i = 0; i < PAGE_WORDS; i++)
		to[i] = word_of(owner, page, pass, i);
}

static void verify_page(const __u64 *found, unsigned int owner,
			unsigned int page, unsigned int pass, const char *who)
{
	unsigned int i;

	for (i = 0; i < PAGE_WORDS; i++)
		if (found[i] != word_of(owner, page, pass, i))
			fail("%s sees %#llx in word %u of page %u of region %u, not %#llx",
			     who, found[i], i, page, owner,
			     word_of(owner, page, pass, i));
	atomic_fetch_add(&shared->bytes, PAGE);
}

static void region_make(struct region *r, unsigned int owner, enum memory_kind kind)
{
	struct memory mem = memory_make_holes(kind, REGION);
	unsigned int i;

	r->owner = owner;
	r->memfd = mem.fd;
	r->map = (__u64 *)mem.map;
	/* A kernel with PREEMPT_RT has small pages only. */
	if ((kind == SHMEM_2M || kind == ANON_2M) && kernel_has_thp())
		must(madvise(r->map, REGION, MADV_HUGEPAGE));
	/* After a fork, writes here would go to copies of the pages. */
	must(madvise(r->map, REGION, MADV_DONTFORK));
	for (i = 0; i < REGION_PAGES; i++)
		fill_page(r->map + i * PAGE_WORDS, owner, i, 0);
}

/* Chooses ranges of the region, which may overlap. */
static void choose_pages(struct worker *w, struct buffer *b,
			 struct dmabufx_segment *segments, unsigned int *nr)
{
	unsigned int i, n, first;

	b->nr = 0;
	*nr = 1 + below(w, MAX_PARTS);
	for (i = 0; i < *nr; i++) {
		n = 1 + below(w, below(w, 4) ? 16 : MAX_PAGES / *nr);
		first = below(w, REGION_PAGES - n);
		segments[i] = (struct dmabufx_segment){
			.fd = w->region.memfd,
			.offset = (__u64)first * PAGE,
			.size = PAGE * n,
		};
		if (w->region.memfd < 0) {
			segments[i].fd = 0;
			segments[i].type = DMABUFX_USER;
			segments[i].address += (uintptr_t)w->region.map;
		}
		while (n--)
			b->page[b->nr++] = first++;
	}
}

static void buffer_create(struct worker *w, struct buffer *b)
{
	struct dmabufx_segment segments[MAX_PARTS];
	struct dmabufx_create create = {
		.size = sizeof(create),
		.flags = DMABUFX_CREATE_CLOEXEC,
		.segments = (uintptr_t)segments,
		.segment_size = sizeof(segments[0]),
	};

	b->read_only = !below(w, 5);
	if (b->read_only)
		create.flags |= DMABUFX_CREATE_READ_ONLY;
	choose_pages(w, b, segments, &create.nr_segments);
	b->fd = ioctl(w->device, DMABUFX_IOC_CREATE, &create);
	if (b->fd < 0)
		fail("DMABUFX_IOC_CREATE: %s, reason %u", errno_name(errno),
		     create.reason);
	atomic_fetch_add(&shared->buffers, 1);
}

/*
 * The ways into a buffer. Each verifies the pages in order or, if @write, fills them with a
 * new pass. Where ranges overlap, a page is written more than once with the same contents.
 */
static void advance(struct worker *w, const struct buffer *b)
{
	unsigned int i;

	/* A page gets one new pass, even if the buffer has it more than once. */
	for (i = 0; i < b->nr; i++)
		w->region.pass[b->page[i]] |= 1u << 31;
	for (i = 0; i < b->nr; i++) {
		unsigned int *pass = &w->region.pass[b->page[i]];

		if (*pass >> 31)
			*pass = ((*pass & ~(1u << 31)) + 1) & 0x3fffffff;
	}
}

static void do_page(struct worker *w, const struct buffer *b, unsigned int i,
		    __u64 *at, bool write, const char *who)
{
	unsigned int page = b->page[i], pass = w->region.pass[page];

	if (write)
		fill_page(at, w->region.owner, page, pass);
	else
		verify_page(at, w->region.owner, page, pass, who);
}

static void sync_buffer(const struct buffer *b, __u64 flags)
{
	struct dma_buf_sync sync = { .flags = flags };

	/* Signals may interrupt the wait. */
	while (ioctl(b->fd, DMA_BUF_IOCTL_SYNC, &sync))
		if (errno != EINTR && errno != EAGAIN)
			fail("DMA_BUF_IOCTL_SYNC: %s", errno_name(errno));
}

static void by_map(struct worker *w, const struct buffer *b, bool write)
{
	int prot = b->read_only ? PROT_READ : PROT_READ | PROT_WRITE;
	__u64 *map = must(mmap(NULL, b->nr * PAGE, prot, MAP_SHARED, b->fd, 0));
	__u64 flags = write ? DMA_BUF_SYNC_RW : DMA_BUF_SYNC_READ;
	unsigned int i;
	pid_t child = -1;

	sync_buffer(b, DMA_BUF_SYNC_START | flags);
	for (i = 0; i < b->nr; i++)
		do_page(w, b, i, map + i * PAGE_WORDS, write, "a map");
	sync_buffer(b, DMA_BUF_SYNC_END | flags);

	if (!below(w, 8))
		child = must(fork());
	if (!child) {
		for (i = 0; i < b->nr; i++)
			do_page(w, b, i, map + i * PAGE_WORDS, false, "a child");
		_exit(0);
	}
	if (child > 0) {
		int status;

		must(waitpid(child, &status, 0));
		if (status)
			fail("a child ended with %#x", status);
	}
	must(munmap(map, b->nr * PAGE));
}

static void by_importer(struct worker *w, const struct buffer *b, bool write,
			bool device)
{
	struct dmabufx_importer_map map = {
		.dir = b->read_only ? DMABUFX_IMPORTER_TO_DEVICE :
				      DMABUFX_IMPORTER_BIDIRECTIONAL,
	};
	static thread_local __u64 page[LARGEST_PAGE / sizeof(__u64)];
	int importer = must(open("/dev/dmabufx-importer", O_RDWR | O_CLOEXEC));
	struct dmabufx_importer_copy copy = {
		.len = PAGE,
		.addr = (uintptr_t)page,
		.via = device ? DMABUFX_VIA_DEVICE : DMABUFX_VIA_VMAP,
		.write = write,
	};
	unsigned int i;

	must(ioctl(importer, DMABUFX_IMPORTER_ATTACH, b->fd));
	if (device)
		must(ioctl(importer, DMABUFX_IMPORTER_MAP, &map));
	else
		must(ioctl(importer, DMABUFX_IMPORTER_VMAP));
	if (map.faults)
		fail("a scatterlist has faults %#x", map.faults);
	for (i = 0; i < b->nr; i++, copy.offset += PAGE) {
		if (write)
			do_page(w, b, i, page, true, "");
		must(ioctl(importer, DMABUFX_IMPORTER_COPY, &copy));
		if (!write)
			do_page(w, b, i, page, false,
				device ? "a device" : "the kernel");
	}
	/* Sometimes closing the importer has to undo everything. */
	if (below(w, 2))
		must(ioctl(importer, device ? DMABUFX_IMPORTER_UNMAP :
			   DMABUFX_IMPORTER_VUNMAP));
	must(close(importer));
}

static void by_device(struct worker *w, const struct buffer *b, bool write)
{
	by_importer(w, b, write, true);
}

/* The kernel cannot map a read-only buffer: then a device reads it. */
static void by_vmap(struct worker *w, const struct buffer *b, bool write)
{
	by_importer(w, b, write, b->read_only);
}

static void (*const ways[])(struct worker *w, const struct buffer *b,
			    bool write) = { by_map, by_device, by_vmap };

/* Sends two descriptors and a message. */
static void send_fds(int to, const int *fds, const struct message *message,
		     size_t len)
{
	char control[CMSG_SPACE(2 * sizeof(int))] = {};
	struct iovec iov = { (void *)message, len };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *head = CMSG_FIRSTHDR(&msg);

	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(2 * sizeof(int));
	memcpy(CMSG_DATA(head), fds, 2 * sizeof(int));
	must(sendmsg(to, &msg, 0));
}

/* The next process verifies the buffer, and then closes the pipe that it gets as well. */
static void by_other_process(struct worker *w, const struct buffer *b)
{
	struct message message = { .owner = w->region.owner };
	struct pollfd ready;
	int done[2], fds[2];
	unsigned int i;
	char byte;

	message.nr = b->nr;
	for (i = 0; i < b->nr; i++) {
		message.content[i].page = b->page[i];
		message.content[i].pass = w->region.pass[b->page[i]];
	}
	must(pipe2(done, O_CLOEXEC));
	fds[0] = b->fd;
	fds[1] = done[1];
	send_fds(w->next, fds, &message, offsetof(struct message, content[b->nr]));
	close(done[1]);

	ready = (struct pollfd){ .fd = done[0], .events = POLLIN };
	while (!shared->stop && poll(&ready, 1, 100) == 0)
		;
	if (!shared->stop && read(done[0], &byte, 1))
		fail("a process that verifies a buffer says something");
	close(done[0]);
	atomic_fetch_add(&shared->sent, 1);
}

/* This thread does nothing else, so that processes do not wait for each other in a circle. */
static void serve(int from)
{
	char control[CMSG_SPACE(2 * sizeof(int))];
	static struct message message;
	struct pollfd ready = { .fd = from, .events = POLLIN };
	struct iovec iov = { &message, sizeof(message) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
	};
	const struct cmsghdr *head;
	unsigned int i;
	int fds[2];
	__u64 *map;

	while (!shared->stop) {
		if (poll(&ready, 1, 100) <= 0)
			continue;
		msg.msg_controllen = sizeof(control);
		must(recvmsg(from, &msg, MSG_CMSG_CLOEXEC));
		head = CMSG_FIRSTHDR(&msg);
		if (!head || msg.msg_flags & MSG_CTRUNC)
			fail("a buffer got lost on its way to another process");
		memcpy(fds, CMSG_DATA(head), sizeof(fds));
		map = must(mmap(NULL, message.nr * PAGE, PROT_READ, MAP_SHARED,
				fds[0], 0));
		close(fds[0]);
		for (i = 0; i < message.nr; i++)
			verify_page(map + i * PAGE_WORDS, message.owner,
				    message.content[i].page,
				    message.content[i].pass, "another process");
		must(munmap(map, message.nr * PAGE));
		close(fds[1]);
	}
}

static void verify_region(struct worker *w, const struct buffer *b)
{
	unsigned int i;

	for (i = 0; i < b->nr; i++)
		do_page(w, b, i, w->region.map + b->page[i] * PAGE_WORDS, false,
			"the region");
}

static void one_buffer(struct worker *w)
{
	static thread_local struct buffer b;

	buffer_create(w, &b);
	ways[below(w, ARRAY_SIZE(ways))](w, &b, false);
	if (!b.read_only) {
		advance(w, &b);
		ways[below(w, ARRAY_SIZE(ways))](w, &b, true);
		verify_region(w, &b);
	}
	if (!below(w, 4))
		by_other_process(w, &b);
	must(close(b.fd));
	if (!below(w, 16) && madvise(w->region.map, REGION, MADV_PAGEOUT) &&
	    errno != EINVAL)
		fail("MADV_PAGEOUT: %s", errno_name(errno));
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	unsigned int thread = w->region.owner % THREADS;

	region_make(&w->region, w->region.owner, kinds[thread % ARRAY_SIZE(kinds)]);
	while (!shared->stop)
		one_buffer(w);
	return NULL;
}

static void process_main(unsigned int process, __u64 seed)
{
	static struct worker workers[THREADS];
	pthread_t threads[THREADS];
	unsigned int i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGINT, SIG_IGN);
	for (i = 1; i < THREADS; i++) {
		struct worker *w = &workers[i];

		w->region.owner = process * THREADS + i;
		w->rng = (seed * 64 + w->region.owner + 1) * 0x9e3779b97f4a7c15ull;
		w->device = must(open(DMABUFX_DEVICE, O_RDWR | O_CLOEXEC));
		w->next = sockets[(process + 1) % PROCESSES][0];
		check(!pthread_create(&threads[i], NULL, worker_main, w));
	}
	serve(sockets[process][1]);
	for (i = 1; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	_exit(0);
}

/* ---- In the parent. */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal)
{
	(void)signal;
	interrupted = true;
}

/**
 * struct sums - values that must be the same when nothing runs
 * @counters: pins, dma-bufs, shmem, huge pages: exactly
 * @charged: charges to RLIMIT_MEMLOCK and to the limit of memfds: exactly
 * @slab, @vmalloc, @files: about the same, for others use them, too
 */
struct sums {
	struct counters counters;
	__u64 charged;
	long slab, vmalloc, files;
};

static __u64 charged(void)
{
	struct dmabufx_query query = { .size = sizeof(query) };
	int device = must(open(DMABUFX_DEVICE, O_RDWR | O_CLOEXEC));

	must(ioctl(device, DMABUFX_IOC_QUERY, &query));
	close(device);
	return query.memfd_pinned + query.user_locked;
}

static struct sums sums_read(const struct sums *before)
{
	struct sums s;

	if (before)
		counters_settle(&before->counters, &s.counters);
	else
		counters_read(&s.counters);
	/* Free what the kernel keeps for later. */
	file_write("/proc/sys/vm/drop_caches", "2");
	s.charged = charged();
	s.slab = file_number("/proc/meminfo", "Slab:") * 1024;
	s.vmalloc = file_number("/proc/meminfo", "VmallocUsed:") * 1024;
	s.files = file_number("/proc/sys/fs/file-nr", "");
	return s;
}

static bool same(const char *name, long before, long now, long tolerance)
{
	bool good = now - before <= tolerance &&
		    (tolerance || now == before);

	printf("%-24s %12ld before %12ld after%s\n", name, before, now,
	       good ? "" : "  LEFT");
	return good;
}

static bool sums_are_same(const struct sums *before, const struct sums *now)
{
	bool good = true;
	int i;

	for (i = 0; i < NR_COUNTERS; i++)
		good &= same(counter_name[i], before->counters.value[i],
			     now->counters.value[i], 0);
	good &= same("bytes charged", before->charged, now->charged, 0);
	good &= same("bytes of slab", before->slab, now->slab, SLAB_TOLERANCE);
	good &= same("bytes of vmalloc", before->vmalloc, now->vmalloc,
		     VMALLOC_TOLERANCE);
	good &= same("open files", before->files, now->files, FILES_TOLERANCE);
	return good;
}

static void progress(double begun)
{
	printf("%6.0f s: %lu buffers, %lu of them to another process, %lu MiB verified\n",
	       seconds_now() - begun, shared->buffers, shared->sent,
	       shared->bytes >> 20);
	fflush(stdout);
}

static void watch(pid_t *pids, double seconds, bool silent)
{
	double begun = seconds_now(), next = begun + PROGRESS_SECONDS;
	unsigned int i;
	int status;

	while (!interrupted && !shared->failed && seconds_now() - begun < seconds) {
		usleep(100000);
		if (!silent && seconds_now() >= next) {
			progress(begun);
			next += PROGRESS_SECONDS;
		}
		for (i = 0; i < PROCESSES; i++)
			if (waitpid(pids[i], &status, WNOHANG) == pids[i])
				fail("a process ended with %#x", status);
	}
	shared->stop = true;
}

/* Returns false after a failure. */
static bool run(double seconds, __u64 seed, bool silent)
{
	pid_t pids[PROCESSES];
	unsigned int i;
	int status;

	shared->stop = false;
	shared->buffers = 0;
	shared->bytes = 0;
	shared->sent = 0;
	fflush(stdout);
	for (i = 0; i < PROCESSES; i++)
		must(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets[i]));
	for (i = 0; i < PROCESSES; i++) {
		pids[i] = must(fork());
		if (!pids[i])
			process_main(i, seed);
	}
	watch(pids, seconds, silent);
	for (i = 0; i < PROCESSES; i++) {
		waitpid(pids[i], &status, 0);
		close(sockets[i][0]);
		close(sockets[i][1]);
	}
	return !shared->failed;
}

static void usage(FILE *to)
{
	fputs("Usage: dmabufx-stress [--seconds N] [--seed N]\n"
	      "Four processes of eight threads make buffers of 4 KiB, 2 MiB and hugetlb memory,\n"
	      "verify their contents on all ways, and check at the end that everything was given\n"
	      "back.\n\n"
	      "  --seconds N  how long (default: 60)\n"
	      "  --seed N     seed of the random numbers (default: 1)\n"
	      "  --help       print this\n\n"
	      "Needs root, debugfs, 16 free huge pages of 2 MiB, and dmabufx.ko and\n"
	      "dmabufx-importer.ko loaded. Exit status: 0 when all went well, otherwise 1.\n",
	      to);
}

static const struct option options[] = {
	{ "seconds", required_argument, NULL, 's' },
	{ "seed", required_argument, NULL, 'r' },
	{ "help", no_argument, NULL, 'h' },
	{ }
};

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_interrupt };
	unsigned long seconds = 60, seed = 1;
	struct sums before, after;
	bool good;
	int option, log;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 's':
			seconds = parse_number(optarg, 1, INT_MAX);
			break;
		case 'r':
			seed = parse_number(optarg, 0, ULONG_MAX);
			break;
		case 'h':
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	}
	shared = must(mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);

	log = kernel_log_open();
	good = run(WARM_UP_SECONDS, seed + 1, true);
	before = sums_read(NULL);
	good = good && run(seconds, seed, false);
	after = sums_read(&before);

	good &= sums_are_same(&before, &after);
	good &= !kernel_log_reports(log, "");
	if (shared->failed)
		printf("FAILED: %s\n", shared->why);
	printf("%lu buffers, %lu to another process, %lu MiB verified: %s\n",
	       shared->buffers, shared->sent, shared->bytes >> 20,
	       good ? "all well" : "FAILED");
	return good ? 0 : 1;
}
