// SPDX-License-Identifier: MIT
/* Parts of a buffer may end in any order, and failures midway leave nothing behind. */
#include <fcntl.h>
#include <linux/memfd.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEFAULT_TAGS TAG_PEER

#include "buffer.h"
#include "harness.h"
#include "memory.h"
#include "watch.h"

#define SIZE MIB(1)

/* Verifies all ways into a buffer that work without its memfd. */
static void still_shows(int fd, unsigned int pass, unsigned int id)
{
	static __u64 data[SIZE / 8];
	int importer = importer_open();

	pattern_check(map_dma_buf(fd, 0, SIZE), pass, id, 0, SIZE, "mmap");
	importer_attach(importer, fd);
	importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	importer_do(importer, DMABUFX_IMPORTER_VMAP, 0);
	importer_read(importer, DMABUFX_VIA_SG, 0, data, SIZE);
	pattern_check(data, pass, id, 0, SIZE, "the scatterlist");
	importer_read(importer, DMABUFX_VIA_VMAP, 0, data, SIZE);
	pattern_check(data, pass, id, 0, SIZE, "vmap");
}

/* A buffer whose memfd and device are closed. */
static int orphan(unsigned int pass, unsigned int *id)
{
	struct memory mem = memory_make(SHMEM_4K, SIZE);
	int fd = create_range(&mem, 0, SIZE);

	pattern_fill(mem.map, pass, mem.id, 0, SIZE);
	*id = mem.id;
	memory_free(&mem);
	return fd;
}

PROMISE(outlives_its_memfd, "a buffer keeps its memory when the memfd is closed")
{
	unsigned int id;
	int fd = orphan(1, &id);

	still_shows(fd, 1, id);
}

PROMISE(mapping_outlives_its_fd,
	"a mapping, or a part of it, keeps the buffer when its fd is closed")
{
	unsigned int id;
	int fd = orphan(1, &id);
	char *map = map_dma_buf(fd, 0, SIZE);

	must(close(fd));
	pattern_check(map, 1, id, 0, SIZE, "mmap");
	must(munmap(map, SIZE / 2));
	map += SIZE / 2;
	must(munmap(map + PAGE, SIZE / 2 - PAGE));
	pattern_check(map, 1, id, SIZE / 2, PAGE, "mmap");
}

PROMISE(importer_outlives_the_fd,
	"an importer keeps the buffer when its fd is closed")
{
	static __u64 data[SIZE / 8];
	int importer = importer_open();
	unsigned int id;
	int fd = orphan(1, &id);

	importer_attach(importer, fd);
	must(close(fd));
	importer_map(importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	importer_read(importer, DMABUFX_VIA_DEVICE, 0, data, SIZE);
	pattern_check(data, 1, id, 0, SIZE, "the device");
}

union fd_message {
	struct cmsghdr header;
	char space[CMSG_SPACE(sizeof(int))];
};

static void send_fd(int socket, int fd)
{
	union fd_message control = {
		.header = {
			.cmsg_len = CMSG_LEN(sizeof(int)),
			.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS,
		},
	};
	char nothing = 0;
	struct iovec byte = { &nothing, 1 };
	struct msghdr message = {
		.msg_iov = &byte,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};

	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	must(sendmsg(socket, &message, 0));
}

static int receive_fd(int socket)
{
	union fd_message control;
	struct iovec byte = { &(char){ 0 }, 1 };
	struct msghdr message = {
		.msg_iov = &byte,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	int fd;

	must(recvmsg(socket, &message, MSG_CMSG_CLOEXEC));
	check(CMSG_FIRSTHDR(&message));
	memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
	return fd;
}

PROMISE(outlives_its_process,
	"a buffer sent over a socket lives on when its maker has exited")
{
	unsigned int id = 1;
	int sockets[2], child;

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
	child = must(fork());
	if (!child) {
		send_fd(sockets[1], orphan(1, &id));
		check_eq(id, 1);
		_exit(0);
	}
	join_child(child);
	still_shows(receive_fd(sockets[0]), 1, id);
}

PROMISE(unread_buffer_goes_with_its_socket,
	"a buffer sent over a socket that nobody received ends with the socket")
{
	unsigned int id;
	int sockets[2], fd = orphan(1, &id);

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
	send_fd(sockets[1], fd);
	/* The harness counts pins and dma-bufs afterwards. */
	must(close(fd));
	must(close(sockets[0]));
	must(close(sockets[1]));
}

static void hole_leaves_the_buffer(enum memory_kind kind)
{
	struct memory mem = memory_make_patterned(kind, MIB(2));
	int fd = create_range(&mem, 0, mem.size);
	char *map = map_dma_buf(fd, 0, mem.size);

	check_eq(touch(map, false), 0);
	memory_punch(&mem, 0, mem.size);
	check_eq(mem.map[8], 0);
	/* This writes to new memory of the memfd, not to the buffer's. */
	pattern_fill(mem.map, 2, mem.id, 0, mem.size);
	still_shows(fd, 1, mem.id);
	pattern_check(map, 1, mem.id, 0, mem.size, "mmap");
	pattern_fill(map, 3, mem.id, 0, mem.size);
	still_shows(fd, 3, mem.id);
	pattern_check(mem.map, 2, mem.id, 0, mem.size, "the memfd");
}

PROMISE(punched_hole_does_no_harm,
	"after a hole is punched, the buffer keeps its memory, and the memfd gets new memory")
{
	hole_leaves_the_buffer(SHMEM_4K);
	hole_leaves_the_buffer(HUGETLB_2M);
	hole_leaves_the_buffer(SHMEM_2M);
}

/* A large folio with a hole punched into it still belongs to memfd and buffer. */
static void hole_in_a_folio_is_shared(enum memory_kind kind)
{
	struct memory mem = memory_make_patterned(kind, MIB(2));
	const size_t hole = mem.folio / 2, size = PAGE;
	char *zeros = calloc(1, PAGE), *map;
	int fd = create_range(&mem, 0, mem.size);

	check(zeros);
	memory_punch(&mem, hole, size);
	map = map_dma_buf(fd, 0, mem.size);
	check(!memcmp(map + hole, zeros, size));
	pattern_check(map, 1, mem.id, 0, hole, "mmap");
	pattern_check(map + hole + size, 1, mem.id, hole + size, mem.size - hole - size,
		      "mmap");
	/* Memfd and buffer see each other's writes. */
	pattern_fill(map, 2, mem.id, 0, mem.size);
	pattern_check(mem.map, 2, mem.id, 0, mem.size, "the memfd");
	must(munmap(map, mem.size));
	must(close(fd));
	memory_free(&mem);
	free(zeros);
}

PROMISE(punched_hole_in_a_folio_is_zeros,
	"a hole in a large folio becomes zeros; memfd and buffer still share the folio")
{
	hole_in_a_folio_is_shared(SHMEM_64K);
	hole_in_a_folio_is_shared(SHMEM_2M);
	hole_in_a_folio_is_shared(HUGETLB_2M);
}

static void write_seal_is_busy(enum memory_kind kind)
{
	struct memory mem = memory_make(kind, MIB(2));
	int fd = create_range(&mem, PAGE, KIB(64));

	memory_unmap(&mem);
	must_fail(EBUSY, fcntl(mem.fd, F_ADD_SEALS, F_SEAL_WRITE));
	must(close(fd));
	must(fcntl(mem.fd, F_ADD_SEALS, F_SEAL_WRITE));
	memory_free(&mem);
}

PROMISE(write_seal_waits_for_the_buffer,
	"F_SEAL_WRITE is EBUSY while a buffer lives, and works afterwards")
{
	write_seal_is_busy(SHMEM_4K);
	write_seal_is_busy(SHMEM_64K);
	write_seal_is_busy(SHMEM_2M);
	write_seal_is_busy(HUGETLB_2M);
}

struct seal_race {
	pthread_barrier_t start;
	int memfd;
	unsigned int delay;
	bool sealed;
};

static void spin(unsigned int rounds)
{
	while (rounds--)
		asm volatile("" : : : "memory");
}

static void *seal(void *arg)
{
	struct seal_race *race = arg;

	pthread_barrier_wait(&race->start);
	spin(race->delay);
	race->sealed = !fcntl(race->memfd, F_ADD_SEALS, F_SEAL_WRITE);
	return NULL;
}

/* Returns whether the seal was first. */
static bool seal_against_create(struct seal_race *race, int device,
				unsigned int delay)
{
	struct memory mem = memory_make_holes(SHMEM_4K, KIB(64));
	pthread_t thread;
	int fd;

	memory_unmap(&mem);
	race->memfd = mem.fd;
	race->delay = delay;
	pthread_create(&thread, NULL, seal, race);
	pthread_barrier_wait(&race->start);
	spin(2000);
	fd = try_create(device, list_item(&mem, 0, mem.size), 0);
	if (fd < 0)
		check_eq(errno, EINVAL);
	pthread_join(thread, NULL);
	if (fd >= 0 && race->sealed)
		fail("a writable buffer of write-sealed memory (delay %u)",
		     delay);
	if (fd >= 0)
		must(close(fd));
	memory_free(&mem);
	return race->sealed;
}

PROMISE(write_seal_races_with_create,
	"of F_SEAL_WRITE and a create at the same moment, one always fails", TAG_THREADS)
{
	int device = device_open(), rounds = 100, sealed = 0, i;
	struct seal_race race = {};

	pthread_barrier_init(&race.start, NULL, 2);
	for (i = 0; i < rounds; i++)
		sealed += seal_against_create(&race, device, i * 40);
	note("the seal was first in %d of %d rounds", sealed, rounds);
}

static void create_without_fds(void *arg)
{
	struct memory *mem = arg;
	int device = device_open();
	struct udmabuf_create_item all = list_item(mem, 0, mem->size);
	struct rlimit before, none;

	/* All descriptors up to the device's are open. */
	must(getrlimit(RLIMIT_NOFILE, &before));
	none = before;
	none.rlim_cur = device + 1;
	must(setrlimit(RLIMIT_NOFILE, &none));
	must_fail(EMFILE, try_create(device, all, 0));
	must_fail(EMFILE, try_create_list(device, &all, 1, 0));
	must(setrlimit(RLIMIT_NOFILE, &before));
	close(device);
}

PROMISE(no_fd_left_is_emfile,
	"without a free fd a create is EMFILE, and everything is freed exactly once")
{
	struct memory mem = memory_make(SHMEM_4K, SIZE);
	long growth = kernel_memory_growth(create_without_fds, &mem, 200,
					   200 * 64);

	check_le(growth, 200 * 64);
	/* No page is pinned, and all are there. */
	pattern_fill(mem.map, 1, mem.id, 0, SIZE);
	memory_unmap(&mem);
	must(fcntl(mem.fd, F_ADD_SEALS, F_SEAL_WRITE));
}

PROMISE(no_file_left_is_enfile,
	"when the system has no free file, a create is ENFILE, and nothing stays pinned")
{
	struct memory mem = memory_make(SHMEM_4K, SIZE);
	struct udmabuf_create_item all = list_item(&mem, 0, SIZE);
	const char *most = "/proc/sys/fs/file-max";
	int device = device_open(), one, list, errors[2];
	char before[32];

	snprintf(before, sizeof(before), "%lu", (unsigned long)file_number(most, ""));
	check(file_write(most, "1"));
	/* Root has no limit of open files. */
	must(seteuid(65534));
	one = try_create(device, all, 0);
	errors[0] = errno;
	list = try_create_list(device, &all, 1, 0);
	errors[1] = errno;
	must(seteuid(0));
	check(file_write(most, before));
	check_eq(one, -1);
	check_eq(errors[0], ENFILE);
	check_eq(list, -1);
	check_eq(errors[1], ENFILE);
	memory_unmap(&mem);
	must(fcntl(mem.fd, F_ADD_SEALS, F_SEAL_WRITE));
}

PROMISE(signals_during_create,
	"a create that many signals interrupt succeeds or is EINTR, and leaks nothing")
{
	struct sigaction action = { .sa_handler = ignore_signal };
	struct itimerval rain = { { 0, 1000 }, { 0, 1000 } };
	int device = device_open(), made = 0, i;

	must(sigaction(SIGALRM, &action, NULL));
	must(setitimer(ITIMER_REAL, &rain, NULL));
	for (i = 0; i < 40; i++) {
		struct memory mem = memory_make_holes(SHMEM_4K, MIB(4));
		int fd = try_create(device, list_item(&mem, 0, mem.size), 0);

		if (fd < 0)
			check_eq(errno, EINTR);
		else
			must(close(fd));
		made += fd >= 0;
		memory_free(&mem);
	}
	note("%d of %d creates were not interrupted", made, i);
}

static void create_for_ever(void)
{
	int device = device_open();

	for (;;) {
		struct memory mem = memory_make_holes(SHMEM_4K, MIB(4));

		must_close(try_create(device, list_item(&mem, 0, mem.size), 0));
		memory_free(&mem);
	}
}

PROMISE(killed_during_create,
	"a process killed while it creates buffers leaves nothing behind", TAG_THREADS)
{
	int i, child, status;

	for (i = 0; i < 25; i++) {
		child = must(fork());
		if (!child)
			create_for_ever();
		usleep(20000 + i * 1700);
		must(kill(child, SIGKILL));
		must(waitpid(child, &status, 0));
		check(WIFSIGNALED(status));
	}
}

PROMISE(threads_create_and_close,
	"four processes may create, touch and close buffers of the same memfd",
	TAG_THREADS)
{
	struct memory mem = memory_make(SHMEM_2M, MIB(4));
	int children[4], i, round;

	for (i = 0; i < 4; i++) {
		children[i] = must(fork());
		if (children[i])
			continue;
		for (round = 0; round < 100; round++) {
			int fd = create_range(&mem, (i + round) * PAGE, MIB(1));
			char *map = map_dma_buf(fd, 0, MIB(1));

			map[round * PAGE] = round;
			must(munmap(map, MIB(1)));
			must(close(fd));
		}
		_exit(0);
	}
	for (i = 0; i < 4; i++)
		join_child(children[i]);
}

struct closer {
	int fd;
	atomic_bool stop;
};

static void *close_for_ever(void *arg)
{
	struct closer *closer = arg;

	while (!atomic_load(&closer->stop))
		close(closer->fd);
	return NULL;
}

PROMISE(guessed_fd_may_be_closed,
	"another thread may guess a buffer's fd and close it before the create returns",
	TAG_THREADS)
{
	struct memory mem = memory_make(SHMEM_4K, KIB(64));
	int device = device_open(), rounds = repeats(2000), closed = 0;
	struct closer closer = { .fd = must(dup(0)) };
	pthread_t thread;

	/* The buffer will get the lowest free number. */
	must(close(closer.fd));
	pthread_create(&thread, NULL, close_for_ever, &closer);
	while (rounds--) {
		check_eq(try_create(device, list_item(&mem, 0, mem.size), 0),
			 closer.fd);
		closed += close(closer.fd) < 0;
	}
	atomic_store(&closer.stop, true);
	pthread_join(thread, NULL);
	note("%d buffers were closed by the other thread", closed);
}

/* Things that are done and undone many times must leave no memory behind. */
struct cycle {
	struct memory mem;
	struct udmabuf_create_item items[127];
	int device, fd, importer;
};

static void rounds_leave_nothing(void (*round)(void *arg))
{
	struct cycle cycle = {
		.mem = memory_make(SHMEM_4K, 256 * PAGE),
		.device = device_open(),
		.importer = importer_open(),
	};
	int i;

	/* Every second page, so that the tables are large. */
	for (i = 0; i < 127; i++)
		cycle.items[i] = list_item(&cycle.mem, 2 * i * PAGE, PAGE);
	cycle.fd = must(try_create_list(cycle.device, cycle.items, 127, 0));
	leaves_nothing(round, &cycle, 1000);
}

static void create_and_close(void *arg)
{
	struct cycle *cycle = arg;

	must_close(try_create_list(cycle->device, cycle->items, 127, 0));
}

static void map_and_unmap(void *arg)
{
	struct cycle *cycle = arg;
	char *map = map_dma_buf(cycle->fd, 0, 127 * PAGE);

	map[0] = map[126 * PAGE];
	must(munmap(map, 127 * PAGE));
}

static void attach_and_detach(void *arg)
{
	struct cycle *cycle = arg;

	importer_attach(cycle->importer, cycle->fd);
	importer_map(cycle->importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	importer_do(cycle->importer, DMABUFX_IMPORTER_UNMAP, 0);
	importer_do(cycle->importer, DMABUFX_IMPORTER_DETACH, 0);
}

/* Of a new buffer, since a buffer keeps its mapping. */
static void vmap_and_vunmap(void *arg)
{
	struct cycle *cycle = arg;
	int fd = must(try_create_list(cycle->device, cycle->items, 127, 0));

	importer_attach(cycle->importer, fd);
	importer_do(cycle->importer, DMABUFX_IMPORTER_VMAP, 0);
	importer_do(cycle->importer, DMABUFX_IMPORTER_VUNMAP, 0);
	importer_do(cycle->importer, DMABUFX_IMPORTER_DETACH, 0);
	must(close(fd));
}

PROMISE(creates_leave_nothing, "1000 creates and closes leave no memory behind")
{
	rounds_leave_nothing(create_and_close);
}

PROMISE(mmap_leaves_nothing, "1000 mappings of a buffer leave no memory behind")
{
	rounds_leave_nothing(map_and_unmap);
}

PROMISE(attach_leaves_nothing,
	"1000 attachments, mapped and detached, leave no memory behind")
{
	rounds_leave_nothing(attach_and_detach);
}

PROMISE(vmap_leaves_nothing, "1000 kernel mappings leave no memory behind")
{
	rounds_leave_nothing(vmap_and_vunmap);
}

PROMISE(module_stays_while_it_is_used,
	"the module cannot be unloaded while a device, buffer or mapping is open",
	TAG_ALONE)
{
	struct memory mem = memory_make(SHMEM_4K, SIZE);
	int device, fd, importer;
	char *map;

	if (!settings.module)
		skip("needs --module");
	device = device_open();
	must_fail(EWOULDBLOCK, module_try_unload());
	fd = create_range(&mem, 0, SIZE);
	must(close(device));
	must_fail(EWOULDBLOCK, module_try_unload());

	map = map_dma_buf(fd, 0, SIZE);
	importer = importer_open();
	importer_attach(importer, fd);
	must(close(fd));
	must_fail(EWOULDBLOCK, module_try_unload());
	must(munmap(map, SIZE));
	must_fail(EWOULDBLOCK, module_try_unload());
	must(close(importer));

	must(module_try_unload());
	check(access(settings.device, F_OK));
	module_load();
	close(create_range(&mem, 0, SIZE));
}

PROMISE(module_stays_while_a_stranger_exports,
	"a dma-buf keeps both modules loaded, even if its maker is not linked to dmabufx",
	TAG_ALONE)
{
	int importer, fd;
	char *map;

	if (!settings.module)
		skip("needs --module");
	importer = importer_open();
	fd = must(ioctl(importer, DMABUFX_IMPORTER_EXPORT));
	must(close(importer));
	must_fail(EWOULDBLOCK, module_try_unload());
	must_fail(EWOULDBLOCK, syscall(SYS_delete_module, "dmabufx_importer", O_NONBLOCK));
	map = map_dma_buf(fd, 0, PAGE);
	must(close(fd));
	must_fail(EWOULDBLOCK, module_try_unload());
	*map = 1;
	must(munmap(map, PAGE));
	must(module_try_unload());
	module_load();
}

static void reload(void *unused)
{
	(void)unused;
	must(module_try_unload());
	module_load();
}

PROMISE(module_comes_and_goes,
	"loading and unloading the module twenty times leaves no memory behind", TAG_ALONE)
{
	const long enough = 20 * KIB(32);
	long growth;

	if (!settings.module)
		skip("needs --module");
	growth = kernel_memory_growth(reload, NULL, 20, enough);
	note("20 rounds leave %ld KiB of kernel memory behind", growth / 1024);
	check_le(growth, enough);
}
