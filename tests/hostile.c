// SPDX-License-Identifier: MIT
/*
 * Requests that no sane program makes. Each field of each struct takes every value at a
 * border, two fields at a time, and lists are random, from a fixed seed. The result must be
 * an allowed error or a buffer; where a rule is simple enough, exactly one of them.
 */
#include <fcntl.h>
#include <linux/memfd.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "buffer.h"
#include "harness.h"
#include "memory.h"
#include "watch.h"

#define SIZE (16 * PAGE)
#define NR_BORDERS 14

/* Values at which something changes. */
static __u64 border_value(__u32 i)
{
	const __u64 borders[NR_BORDERS] = {
		0, 1, PAGE - 1, PAGE, PAGE + 1, SIZE, 1ull << 31, (1ull << 32) - PAGE,
		1ull << 32, (PAGE << 32) - PAGE, (1ull << 63) - 1, 1ull << 63, -PAGE, -1,
	};

	return borders[i];
}

struct field {
	const char *name;
	size_t offset;
	size_t size;
};

#define FIELD(type, member) \
	{ #member, offsetof(type, member), sizeof(((type *)0)->member) }

/**
 * struct victim - a call that reads its argument from memory
 * @memory: the argument
 * @good: an argument with which the call succeeds
 * @size: bytes in @good
 * @fields: fields to set, @nr of them, by offset in @memory
 * @call: returns a new descriptor, 0, or -1 and errno
 * @errors: allowed errors, ended by 0
 */
struct victim {
	char *memory;
	const void *good;
	size_t size;
	const struct field *fields;
	size_t nr;
	int (*call)(void *memory);
	int errors[12];
};

static int device;

static void set_field(const struct victim *v, size_t field, size_t border)
{
	const __u64 value = border_value(border);

	/* Little-endian: a short field gets the low part. */
	memcpy(v->memory + v->fields[field].offset, &value, v->fields[field].size);
}

static bool is_allowed(const struct victim *v, int error)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(v->errors) && v->errors[i]; i++)
		if (v->errors[i] == error)
			return true;
	return false;
}

/* Returns whether the call succeeded. */
static bool call_with(const struct victim *v, size_t a, size_t value_a, size_t b,
		      size_t value_b)
{
	int result, error;

	memcpy(v->memory, v->good, v->size);
	set_field(v, a, value_a);
	set_field(v, b, value_b);
	result = v->call(v->memory);
	error = errno;
	if (result > 0)
		must(close(result));
	if (result < 0 && !is_allowed(v, error))
		fail("%s = %#llx, %s = %#llx: %s", v->fields[a].name,
		     border_value(value_a), v->fields[b].name, border_value(value_b),
		     errno_name(error));
	return result >= 0;
}

static void set_pairs(const struct victim *v)
{
	unsigned int calls = 0, good = 0;
	size_t a, b, i, j;
	int fds = open_fds(), fd;

	/* The good argument must succeed. */
	memcpy(v->memory, v->good, v->size);
	fd = must(v->call(v->memory));
	if (fd)
		must(close(fd));
	for (a = 0; a < v->nr; a++) {
		for (b = a + 1; b < v->nr; b++) {
			for (i = 0; i < NR_BORDERS; i++) {
				for (j = 0; j < NR_BORDERS; j++) {
					good += call_with(v, a, i, b, j);
					calls++;
				}
			}
		}
	}
	check_eq(open_fds(), fds);
	note("%u calls, %u of them succeeded", calls, good);
}

/*
 * Two readable pages with nothing mapped behind them. The first one has zeros where a
 * larger struct would have later fields.
 */
static char *two_pages(void)
{
	char *pages = must(mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));

	must(munmap(pages + 2 * PAGE, PAGE));
	return pages;
}

static int ioctl_create(void *memory)
{
	return ioctl(device, DMABUFX_IOC_CREATE, memory);
}

PROMISE(hostile_create,
	"DMABUFX_IOC_CREATE accepts or refuses border values in any two fields")
{
	/* The segments end at the end of the memory. */
	const size_t at = 2 * PAGE - 2 * sizeof(struct dmabufx_segment);
#define SEGMENT(i, member) \
	{ "segment[" #i "]." #member, at + (i) * sizeof(struct dmabufx_segment) + \
	  offsetof(struct dmabufx_segment, member), \
	  sizeof(((struct dmabufx_segment *)0)->member) }
	const struct field fields[] = {
		FIELD(struct dmabufx_create, size),
		FIELD(struct dmabufx_create, flags),
		FIELD(struct dmabufx_create, segments),
		FIELD(struct dmabufx_create, nr_segments),
		FIELD(struct dmabufx_create, segment_size),
		FIELD(struct dmabufx_create, name),
		FIELD(struct dmabufx_create, data_offset),
		FIELD(struct dmabufx_create, failed_segment),
		FIELD(struct dmabufx_create, reason),
		SEGMENT(0, fd), SEGMENT(0, type), SEGMENT(0, offset), SEGMENT(0, size),
		SEGMENT(1, fd), SEGMENT(1, type), SEGMENT(1, address), SEGMENT(1, size),
	};
	char good[2 * PAGE];
	struct memory mem = memory_make(SHMEM_4K, SIZE);
	struct memory user = memory_make(ANON_4K, SIZE);
	struct dmabufx_segment segments[] = {
		segment(&mem, 0, SIZE), segment(&user, 0, SIZE),
	};
	struct victim v = {
		.memory = two_pages(),
		.good = good,
		.size = 2 * PAGE,
		.fields = fields,
		.nr = ARRAY_SIZE(fields),
		.call = ioctl_create,
		.errors = { EINVAL, E2BIG, EFAULT, EBADF, EBADFD, EACCES, ERANGE,
			    EFBIG, EOPNOTSUPP },
	};
	struct dmabufx_create req = request((void *)(v.memory + at), 2, 0);

	device = device_open();
	memset(good, 0, sizeof(good));
	memcpy(good, &req, sizeof(req));
	memcpy(good + at, segments, sizeof(segments));
	set_pairs(&v);
}

static int ioctl_udmabuf(void *memory)
{
	return ioctl(device, UDMABUF_CREATE, memory);
}

static int ioctl_udmabuf_list(void *memory)
{
	return ioctl(device, UDMABUF_CREATE_LIST, memory);
}

PROMISE(hostile_udmabuf_create,
	"UDMABUF_CREATE accepts or refuses border values in any two fields")
{
	static const struct field fields[] = {
		FIELD(struct udmabuf_create, memfd),
		FIELD(struct udmabuf_create, flags),
		FIELD(struct udmabuf_create, offset),
		FIELD(struct udmabuf_create, size),
	};
	struct memory mem = memory_make(SHMEM_4K, SIZE);
	struct udmabuf_create good = { .memfd = mem.fd, .size = SIZE };

	device = device_open();
	set_pairs(&(struct victim){
		.memory = two_pages() + 2 * PAGE - sizeof(good),
		.good = &good,
		.size = sizeof(good),
		.fields = fields,
		.nr = ARRAY_SIZE(fields),
		.call = ioctl_udmabuf,
		.errors = { EINVAL, EBADFD },
	});
}

PROMISE(hostile_udmabuf_create_list,
	"UDMABUF_CREATE_LIST accepts or refuses border values in any two fields")
{
	struct list {
		struct udmabuf_create_list head;
		struct udmabuf_create_item items[2];
	};
	static const struct field fields[] = {
		FIELD(struct list, head.flags), FIELD(struct list, head.count),
		FIELD(struct list, items[0].memfd), FIELD(struct list, items[0].__pad),
		FIELD(struct list, items[0].offset), FIELD(struct list, items[0].size),
		FIELD(struct list, items[1].memfd), FIELD(struct list, items[1].__pad),
		FIELD(struct list, items[1].offset), FIELD(struct list, items[1].size),
	};
	struct memory mem = memory_make(SHMEM_4K, SIZE);
	struct list good = {
		.head.count = 2,
		.items = { list_item(&mem, 0, SIZE), list_item(&mem, 0, SIZE) },
	};

	device = device_open();
	set_pairs(&(struct victim){
		.memory = two_pages() + 2 * PAGE - sizeof(good),
		.good = &good,
		.size = sizeof(good),
		.fields = fields,
		.nr = ARRAY_SIZE(fields),
		.call = ioctl_udmabuf_list,
		.errors = { EINVAL, EBADFD, EFAULT },
	});
}

static int ioctl_query(void *memory)
{
	return ioctl(device, DMABUFX_IOC_QUERY, memory);
}

static int ioctl_info(void *memory)
{
	return ioctl(device, DMABUFX_IOC_INFO, memory);
}

PROMISE(hostile_query_and_info,
	"DMABUFX_IOC_QUERY and _INFO accept or refuse border values in any two fields")
{
	static const struct field query_fields[] = {
		FIELD(struct dmabufx_query, size), FIELD(struct dmabufx_query, version),
		FIELD(struct dmabufx_query, features),
		FIELD(struct dmabufx_query, reserved),
		FIELD(struct dmabufx_query, user_locked),
	};
	static const struct field info_fields[] = {
		FIELD(struct dmabufx_info, size), FIELD(struct dmabufx_info, fd),
		FIELD(struct dmabufx_info, flags), FIELD(struct dmabufx_info, bytes),
		FIELD(struct dmabufx_info, user_bytes),
	};
	char good_query[2 * PAGE], good_info[2 * PAGE];
	struct memory mem = memory_make(SHMEM_4K, SIZE);
	struct dmabufx_query query = { .size = sizeof(query) };
	struct dmabufx_info info = {
		.size = sizeof(info), .fd = create_range(&mem, 0, SIZE),
	};

	device = device_open();
	memset(good_query, 0, sizeof(good_query));
	memcpy(good_query, &query, sizeof(query));
	set_pairs(&(struct victim){
		.memory = two_pages(),
		.good = good_query,
		.size = 2 * PAGE,
		.fields = query_fields,
		.nr = ARRAY_SIZE(query_fields),
		.call = ioctl_query,
		.errors = { EINVAL, E2BIG },
	});
	memset(good_info, 0, sizeof(good_info));
	memcpy(good_info, &info, sizeof(info));
	set_pairs(&(struct victim){
		.memory = two_pages(),
		.good = good_info,
		.size = 2 * PAGE,
		.fields = info_fields,
		.nr = ARRAY_SIZE(info_fields),
		.call = ioctl_info,
		.errors = { EINVAL, E2BIG, EBADF },
	});
}

/* System calls on a dma-buf. */

static void try_mmap(int fd, __u64 offset, __u64 len)
{
	__u64 whole = (len + PAGE - 1) & -PAGE;
	bool fits = len && len <= SIZE && offset % PAGE == 0 && offset <= SIZE &&
		    whole <= SIZE - offset;
	long map = syscall(SYS_mmap, NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			   offset);

	if (map == -1) {
		if (fits || (errno != EINVAL && errno != EOVERFLOW && errno != ENOMEM))
			fail("mmap of %#llx at %#llx: %s", len, offset,
			     errno_name(errno));
		return;
	}
	if (!fits)
		fail("mmap of %#llx at %#llx succeeds", len, offset);
	*(volatile char *)map = 1;
	must(munmap((void *)map, len));
}

static void try_seek(int fd, __u64 offset, int whence, __u64 size)
{
	off_t result = lseek(fd, offset, whence);

	if (!offset && whence == SEEK_SET)
		check_eq(result, 0);
	else if (!offset && whence == SEEK_END)
		check_eq(result, size);
	else if (result != -1 || errno != EINVAL)
		fail("lseek to %#llx, %d: %lld", offset, whence, (long long)result);
}

static void try_sync(int fd, __u64 flags)
{
	struct dma_buf_sync sync = { flags };
	bool valid = flags < 8 && flags & DMA_BUF_SYNC_RW;
	int result = ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync);

	if (valid ? result : result != -1 || errno != EINVAL)
		fail("SYNC of %#llx: %d", flags, result);
}

PROMISE(hostile_calls_of_a_dma_buf,
	"mmap, lseek and SYNC of a dma-buf accept or refuse border values")
{
	struct memory mem = memory_make(SHMEM_4K, SIZE);
	int fd = create_range(&mem, 0, SIZE), whence;
	size_t i, j;

	for (i = 0; i < NR_BORDERS; i++) {
		for (j = 0; j < NR_BORDERS; j++)
			try_mmap(fd, border_value(i), border_value(j));
		for (whence = SEEK_SET; whence < 8; whence++)
			try_seek(fd, border_value(i), whence, SIZE);
		try_sync(fd, border_value(i));
		try_sync(fd, i);
	}
}

/* Descriptors of all other kinds. */

static int open_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM, 0);
}

static int open_pipe(void)
{
	int fds[2];

	must(pipe(fds));
	close(fds[0]);
	return fds[1];
}

static int open_epoll(void)
{
	return epoll_create1(0);
}

static int open_userfaultfd(void)
{
	return syscall(SYS_userfaultfd, O_CLOEXEC);
}

static int open_timerfd(void)
{
	return timerfd_create(CLOCK_MONOTONIC, 0);
}

static int open_signalfd(void)
{
	sigset_t none = {};

	return signalfd(-1, &none, 0);
}

static int open_inotify(void)
{
	return inotify_init1(0);
}

static int open_pidfd(void)
{
	return syscall(SYS_pidfd_open, getpid(), 0);
}

static int open_io_uring(void)
{
	char params[120] = {};

	return syscall(SYS_io_uring_setup, 4, params);
}

static int open_perf_event(void)
{
	/* The first version's size; a software event that counts nothing. */
	__u32 attr[16] = { 1, 64, 9 };

	return syscall(SYS_perf_event_open, attr, 0, -1, -1, 0);
}

static int open_secret(void)
{
	int fd = syscall(SYS_memfd_secret, 0);

	return fd < 0 || !ftruncate(fd, SIZE) ? fd : -1;
}

#define KVM_CREATE_VM _IO(0xae, 0x01)
#define KVM_CREATE_GUEST_MEMFD _IOWR(0xae, 0xd4, struct guest_memfd)

struct guest_memfd {
	__u64 size, flags, reserved[6];
};

static int open_guest_memfd(void)
{
	struct guest_memfd arg = { .size = SIZE };
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vm = ioctl(kvm, KVM_CREATE_VM, 0);
	int fd = ioctl(vm, KVM_CREATE_GUEST_MEMFD, &arg);

	close(vm);
	close(kvm);
	return fd;
}

static int open_device(void)
{
	return device_open();
}

static int open_zero(void)
{
	return open("/dev/zero", O_RDWR | O_CLOEXEC);
}

static int open_proc(void)
{
	return open("/proc/self/status", O_RDONLY | O_CLOEXEC);
}

static int open_folder(void)
{
	return open("/dev/shm", O_RDONLY | O_CLOEXEC);
}

static int open_program(void)
{
	return open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
}

static int open_dma_buf(void)
{
	struct memory mem = memory_make(SHMEM_4K, SIZE);
	int fd = create_range(&mem, 0, SIZE);

	memory_free(&mem);
	return fd;
}

/* Files of shmem that are no memfds, so nobody can seal them. */

static int open_tmpfs(void)
{
	int fd = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	return fd < 0 || !ftruncate(fd, SIZE) ? fd : -1;
}

/* The file in the kernel behind a mapping without a file. */
static int open_what_is_mapped(const void *map)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx",
		 (unsigned long)map,
		 (unsigned long)map + (unsigned long)SIZE);
	return open(path, O_RDWR | O_CLOEXEC);
}

static int open_shared_memory(void)
{
	void *map = must(mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	int fd = open_what_is_mapped(map);

	must(munmap(map, SIZE));
	return fd;
}

static int open_sysv_memory(void)
{
	int id = shmget(IPC_PRIVATE, SIZE, IPC_CREAT | 0600), fd;
	void *map;

	if (id < 0)
		return -1;
	map = must(shmat(id, NULL, 0));
	must(shmctl(id, IPC_RMID, NULL));
	fd = open_what_is_mapped(map);
	must(shmdt(map));
	return fd;
}

struct answer {
	int udmabuf_error;
	int error;
	__u32 reason;
};

static const struct answer no_memfd = { EBADFD, EBADFD, DMABUFX_REASON_NOT_MEMFD };
static const struct answer no_seals = { EINVAL, EPERM, DMABUFX_REASON_MAY_SHRINK };

static const struct stranger {
	const char *what;
	int (*open)(void);
	const struct answer *answer;
} strangers[] = {
	{ "a socket", open_socket, &no_memfd },
	{ "a pipe", open_pipe, &no_memfd },
	{ "an epoll", open_epoll, &no_memfd },
	{ "a userfaultfd", open_userfaultfd, &no_memfd },
	{ "a timerfd", open_timerfd, &no_memfd },
	{ "a signalfd", open_signalfd, &no_memfd },
	{ "an inotify", open_inotify, &no_memfd },
	{ "a pidfd", open_pidfd, &no_memfd },
	{ "an io_uring", open_io_uring, &no_memfd },
	{ "a perf event", open_perf_event, &no_memfd },
	{ "secret memory", open_secret, &no_memfd },
	{ "a guest_memfd", open_guest_memfd, &no_memfd },
	{ "the device", open_device, &no_memfd },
	{ "/dev/zero", open_zero, &no_memfd },
	{ "a file of proc", open_proc, &no_memfd },
	{ "a folder of tmpfs", open_folder, &no_memfd },
	{ "a program", open_program, &no_memfd },
	{ "a dma-buf", open_dma_buf, &no_memfd },
	{ "a file of tmpfs", open_tmpfs, &no_seals },
	{ "shared anonymous memory", open_shared_memory, &no_seals },
	{ "System V memory", open_sysv_memory, &no_seals },
};

static void refuse_stranger(const struct stranger *stranger, int fd)
{
	struct udmabuf_create_item udmabuf_item = { .memfd = fd, .size = PAGE };
	struct dmabufx_segment seg = { .fd = fd, .size = PAGE };
	struct dmabufx_info info = { .size = sizeof(info), .fd = fd };
	struct dmabufx_create req;
	__u32 flags;

	note("%s", stranger->what);
	must_fail(stranger->answer->udmabuf_error, try_create(device, udmabuf_item, 0));
	for (flags = 0; flags <= DMABUFX_CREATE_READ_ONLY;
	     flags += DMABUFX_CREATE_READ_ONLY) {
		req = request(&seg, 1, flags);
		must_fail(stranger->answer->error, try_request(device, &req));
		check_eq(req.reason, stranger->answer->reason);
		check_eq(req.failed_segment, 0);
	}
	if (stranger->open != open_dma_buf)
		must_fail(EINVAL, ioctl(device, DMABUFX_IOC_INFO, &info));
}

PROMISE(hostile_descriptors,
	"every call refuses descriptors of every kind that is no memfd")
{
	size_t i;

	device = device_open();
	for (i = 0; i < ARRAY_SIZE(strangers); i++) {
		int fd = strangers[i].open();

		if (fd < 0) {
			note("%s: not here: %s", strangers[i].what,
			     errno_name(errno));
			continue;
		}
		refuse_stranger(&strangers[i], fd);
		must(close(fd));
	}
}

/* Random lists: a model of the header's rules, in their order, predicts the result. */

#define MOST_SEGMENTS 6

struct verdict {
	int error;		/* 0: a buffer of @size */
	__u32 reason;
	__u32 segment;
	__u64 size;
};

struct world {
	struct memory mem, user;
	unsigned int seed;
	struct dmabufx_segment segments[MOST_SEGMENTS];
	__u32 nr;
};

static unsigned int pick(struct world *w, unsigned int nr)
{
	return rand_r(&w->seed) % nr;
}

/* Most fields are right, for one wrong field hides errors in later ones. */
static void make_segment(struct world *w, struct dmabufx_segment *seg)
{
	bool user = pick(w, 2);
	__u64 page = pick(w, SIZE / PAGE);

	*seg = segment(user ? &w->user : &w->mem, page * PAGE,
		       (pick(w, SIZE / PAGE - page) + 1) * PAGE);
	switch (pick(w, 16)) {
	case 0:
		seg->size = border_value(pick(w, NR_BORDERS));
		break;
	case 1:
		seg->offset = border_value(pick(w, NR_BORDERS));
		break;
	case 2:
		seg->fd = pick(w, 2) ? -1 : device;
		break;
	case 3:
		seg->type = pick(w, 4);
		break;
	case 4:
		seg->size -= pick(w, PAGE);
		break;
	case 5:
		seg->offset += pick(w, PAGE);
		seg->size -= seg->offset % PAGE;
		break;
	}
}

static void make_list(struct world *w)
{
	__u32 i;

	w->nr = pick(w, MOST_SEGMENTS + 1);
	for (i = 0; i < w->nr; i++)
		make_segment(w, &w->segments[i]);
}

#define BECAUSE(error, why, i) because(error, DMABUFX_REASON_ ## why, i)

static struct verdict because(int error, __u32 reason, __u32 i)
{
	return (struct verdict){ error, reason, i, 0 };
}

static bool is_last(const struct world *w, __u32 i)
{
	while (++i < w->nr)
		if (w->segments[i].size)
			return false;
	return true;
}

static bool is_first(const struct world *w, __u32 i)
{
	while (i--)
		if (w->segments[i].size)
			return false;
	return true;
}

/* The verdict on the list, before the memory is looked at. */
static struct verdict plan(const struct world *w)
{
	unsigned __int128 pages = 0;
	__u32 i;

	for (i = 0; i < w->nr; i++) {
		const struct dmabufx_segment *seg = &w->segments[i];
		unsigned __int128 end = (unsigned __int128)seg->offset + seg->size;

		if (seg->type > DMABUFX_USER || (seg->type && seg->fd))
			return BECAUSE(EINVAL, TYPE, i);
		if (!seg->size)
			continue;
		if ((seg->offset % PAGE && !is_first(w, i)) ||
		    ((__u64)end % PAGE && !is_last(w, i)))
			return BECAUSE(EINVAL, UNALIGNED, i);
		if (end >> 64)
			return BECAUSE(EINVAL, WRAPS, i);
		pages += (end + PAGE - 1) / PAGE - seg->offset / PAGE;
		if (pages >> 32)
			return BECAUSE(EFBIG, TOO_LARGE, i);
	}
	if (!pages)
		return BECAUSE(EINVAL, EMPTY, w->nr);
	return (struct verdict){ .size = pages * PAGE };
}

/* The verdict on the memory; all sizes are sane by then. */
static struct verdict judge_memory(const struct world *w, __u32 i)
{
	const struct dmabufx_segment *seg = &w->segments[i];
	__u64 end = (seg->offset + seg->size + PAGE - 1) & -PAGE;
	__u64 within = seg->address - (uintptr_t)w->user.map;

	if (seg->type == DMABUFX_USER) {
		if (within >= SIZE || seg->size > SIZE - within)
			return end > 1ull << 47 ? BECAUSE(EFAULT, NOT_USER, i) :
						  BECAUSE(EFAULT, UNMAPPED, i);
	} else {
		if (seg->fd == -1)
			return BECAUSE(EBADF, NOT_OPEN, i);
		if (seg->fd != w->mem.fd)
			return BECAUSE(EBADFD, NOT_MEMFD, i);
		if (end > SIZE)
			return BECAUSE(ERANGE, BEYOND_END, i);
	}
	return (struct verdict){};
}

static struct verdict judge(const struct world *w)
{
	struct verdict list = plan(w), memory;
	__u32 i;

	for (i = 0; i < w->nr && !list.error; i++) {
		if (!w->segments[i].size)
			continue;
		memory = judge_memory(w, i);
		if (memory.error)
			return memory;
	}
	return list;
}

static void dump(const struct world *w)
{
	__u32 i;

	for (i = 0; i < w->nr; i++)
		note("fd %d, type %u, offset %#llx, size %#llx", w->segments[i].fd,
		     w->segments[i].type, w->segments[i].offset,
		     w->segments[i].size);
}

/* User space ends above 2^47, but where depends on the processor. */
static bool same_reason(__u32 wanted, __u32 got)
{
	return wanted == got || (wanted == DMABUFX_REASON_NOT_USER &&
				 got == DMABUFX_REASON_UNMAPPED);
}

/* Returns whether it made a buffer. */
static bool try_list(struct world *w)
{
	struct verdict wanted = judge(w);
	struct dmabufx_create req = request(w->segments, w->nr, 0);
	int fd = try_request(device, &req), error = fd < 0 ? errno : 0;

	if (error != wanted.error ||
	    (error && (req.failed_segment != wanted.segment ||
		       !same_reason(wanted.reason, req.reason)))) {
		dump(w);
		fail("%s, reason %u, segment %u instead of %s, reason %u, segment %u",
		     errno_name(error), req.reason, req.failed_segment,
		     errno_name(wanted.error), wanted.reason, wanted.segment);
	}
	if (error)
		return false;
	check_eq(lseek(fd, 0, SEEK_END), wanted.size);
	must(close(fd));
	return true;
}

PROMISE(hostile_lists,
	"each random list gives exactly the result that the header's rules say")
{
	struct world w = {
		.mem = memory_make(SHMEM_4K, SIZE),
		.user = memory_make(ANON_4K, SIZE),
		.seed = 20,
	};
	int fds, lists = 4000, made = 0, i;

	device = device_open();
	fds = open_fds();
	for (i = 0; i < lists; i++) {
		make_list(&w);
		made += try_list(&w);
	}
	check_eq(open_fds(), fds);
	note("%d of %d lists made a buffer", made, lists);
	check_le(lists / 10, made);
	check_le(made, lists * 9 / 10);
}

/* Ranges of all mappings of a process. */

static void map_of(int fd, int prot, int flags, const char *what)
{
	const void *map = mmap(NULL, SIZE, prot, flags, fd, 0);

	if (map == MAP_FAILED)
		note("%s: not here: %s", what, errno_name(errno));
}

/* Maps kinds of memory that drivers and file systems make. */
static void map_everything(void)
{
	const int rw = PROT_READ | PROT_WRITE;
	int memory = open("/dev/mem", O_RDWR | O_CLOEXEC);

	map_of(-1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, "PROT_NONE");
	map_of(-1, PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, "write only");
	map_of(-1, PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, "execute only");
	map_of(-1, rw, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN, "growing down");
	map_of(-1, rw, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, "locked");
	map_of(-1, rw, MAP_SHARED | MAP_ANONYMOUS, "shared");
	map_of(open_zero(), rw, MAP_SHARED, "/dev/zero");
	map_of(open_zero(), rw, MAP_PRIVATE, "/dev/zero, private");
	map_of(open_tmpfs(), rw, MAP_SHARED, "tmpfs");
	map_of(open_program(), rw, MAP_PRIVATE, "a program, private");
	map_of(open_program(), PROT_READ, MAP_SHARED, "a program");
	map_of(open_dma_buf(), rw, MAP_SHARED, "a dma-buf");
	map_of(open_secret(), rw, MAP_SHARED, "secret memory");
	map_of(open_io_uring(), rw, MAP_SHARED, "an io_uring");
	map_of(open_perf_event(), rw, MAP_SHARED, "a perf event");
	map_of(memory, PROT_READ, MAP_SHARED, "/dev/mem");
}

struct range {
	unsigned long start, end;
	char permissions[5];
	char name[64];
};

/* Lists all ranges first, for creates may change what is mapped. */
static size_t list_ranges(struct range *ranges, size_t most)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];
	size_t nr = 0;

	check(maps);
	while (nr < most && fgets(line, sizeof(line), maps)) {
		struct range *r = &ranges[nr];

		*r = (struct range){};
		nr += sscanf(line, "%lx-%lx %4s %*s %*s %*s %63s", &r->start,
			     &r->end, r->permissions, r->name) >= 3;
	}
	fclose(maps);
	return nr;
}

/* Returns whether it became a buffer. Memory that changes meanwhile is not compared. */
static bool try_range(const struct range *r, __u64 size, __u32 flags)
{
	struct dmabufx_segment seg = user_segment((void *)r->start, size);
	struct dmabufx_create req = request(&seg, 1, flags);
	int fd = try_request(device, &req);
	char *map;

	if (fd < 0) {
		if (errno != EFAULT && errno != EACCES && errno != EOPNOTSUPP)
			fail("%lx %s %s: %s, reason %u", r->start, r->permissions,
			     r->name, errno_name(errno), req.reason);
		check(req.reason >= DMABUFX_REASON_NOT_USER);
		return false;
	}
	check(flags || r->permissions[1] == 'w');
	map = must(mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0));
	if (r->permissions[0] == 'r' && r->permissions[1] != 'w')
		check(!memcmp(map, (void *)r->start, PAGE));
	must(munmap(map, size));
	must(close(fd));
	return true;
}

PROMISE(hostile_user_ranges,
	"every mapping of a process is exported with the right data, or refused")
{
	static struct range ranges[256];
	size_t nr, i, made = 0;

	device = device_open();
	map_everything();
	nr = list_ranges(ranges, ARRAY_SIZE(ranges));
	for (i = 0; i < nr; i++) {
		__u64 size = ranges[i].end - ranges[i].start;

		if (size > MIB(1))
			size = MIB(1);
		made += try_range(&ranges[i], PAGE, 0);
		made += try_range(&ranges[i], size, 0);
		made += try_range(&ranges[i], PAGE, DMABUFX_CREATE_READ_ONLY);
		made += try_range(&ranges[i], size, DMABUFX_CREATE_READ_ONLY);
	}
	note("%zu mappings, %zu of %zu requests made a buffer", nr, made, 4 * nr);
	check_le(nr / 2, made);
}
