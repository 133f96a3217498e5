// SPDX-License-Identifier: MIT
/**
 * TEST: dmabufx lifetime
 * Category: Core
 * Mega feature: General Core features
 * Sub-category: dmabuf
 * Description: Who may go before whom: memfds, descriptors, mappings, processes, the module
 * Functionality: dmabuf test
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "igt.h"
#include "igt_dmabufx.h"

IGT_TEST_DESCRIPTION("Buffers live as long as somebody has them, and no longer");

#define SIZE KIB(256)

/* A dma-buf with the pattern of seed 1, of which nothing else is left. */
static int orphan(int device)
{
	struct dmabufx_buffer buf;
	int fd;

	dmabufx_buffer_init(&buf, device, SHMEM_4K, SIZE);
	dmabufx_buffer_write(&buf, WAY_MEMORY, 1);
	fd = fcntl(buf.fd, F_DUPFD_CLOEXEC, 0);
	igt_assert_lte(0, fd);
	dmabufx_buffer_fini(&buf);
	return fd;
}

static void shows_pattern(int fd)
{
	char *map = dmabufx_mmap(fd, 0, SIZE);

	dmabufx_pattern_check(map, 1, 0, SIZE, "mmap");
	munmap(map, SIZE);
}

/**
 * SUBTEST: mapping-outlives-fd
 * Description: A mapping keeps the buffer when memfd and descriptor are closed
 */
static void test_mapping_outlives_fd(int device)
{
	int fd = orphan(device);
	char *map = dmabufx_mmap(fd, 0, SIZE);

	close(fd);
	dmabufx_pattern_check(map, 1, 0, SIZE, "mmap");
	munmap(map, SIZE);
}

/**
 * SUBTEST: part-of-mapping-outlives
 * Description: What is left of a mapping keeps the buffer when the rest is unmapped
 */
static void test_part_of_mapping_outlives(int device)
{
	int fd = orphan(device);
	char *map = dmabufx_mmap(fd, 0, SIZE);

	close(fd);
	munmap(map, SIZE / 2);
	munmap(map + SIZE / 2 + PAGE, SIZE / 2 - PAGE);
	dmabufx_pattern_check(map + SIZE / 2, 1, SIZE / 2, PAGE, "mmap");
	munmap(map + SIZE / 2, PAGE);
}

static void send_fd(int socket, int fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {
		.header = {
			.cmsg_len = CMSG_LEN(sizeof(int)),
			.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS,
		},
	};
	char space = 0;
	struct iovec byte = { &space, 1 };
	struct msghdr message = {
		.msg_iov = &byte,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};

	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	igt_assert_eq(sendmsg(socket, &message, 0), 1);
}

static int receive_fd(int socket)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	char space;
	struct iovec byte = { &space, 1 };
	struct msghdr message = {
		.msg_iov = &byte,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	int fd;

	igt_assert_eq(recvmsg(socket, &message, MSG_CMSG_CLOEXEC), 1);
	igt_assert(CMSG_FIRSTHDR(&message));
	memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
	return fd;
}

/**
 * SUBTEST: outlives-process
 * Description: A buffer that was sent over a socket lives on when its maker has exited
 */
static void test_outlives_process(int device)
{
	int sockets[2], fd;

	igt_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	igt_fork(child, 1)
		send_fd(sockets[0], orphan(device));
	igt_waitchildren();
	fd = receive_fd(sockets[1]);
	shows_pattern(fd);
	close(fd);
	close(sockets[0]);
	close(sockets[1]);
}

/**
 * SUBTEST: lost-on-the-way
 * Description: A buffer that is in a socket which nobody reads goes with the socket
 */
static void test_lost_on_the_way(int device)
{
	int sockets[2], fd;

	igt_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	fd = orphan(device);
	send_fd(sockets[0], fd);
	close(fd);
	/* The counters of this subtest say whether it is gone. */
	close(sockets[0]);
	close(sockets[1]);
}

/**
 * SUBTEST: user-memory-outlives-process
 * Description: A process's own memory stays in the buffer when the process has exited
 */
static void test_user_memory_outlives_process(int device)
{
	int sockets[2], fd;

	igt_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	igt_fork(child, 1) {
		struct dmabufx_buffer buf;

		dmabufx_buffer_init(&buf, device, ANON_4K, SIZE);
		dmabufx_buffer_write(&buf, WAY_MEMORY, 1);
		send_fd(sockets[0], buf.fd);
	}
	igt_waitchildren();
	fd = receive_fd(sockets[1]);
	shows_pattern(fd);
	close(fd);
	close(sockets[0]);
	close(sockets[1]);
}

/**
 * SUBTEST: child-inherits
 * Description: A child has its parent's descriptor and mapping, and shares the memory
 */
static void test_child_inherits(int device)
{
	int fd = orphan(device);
	char *map = dmabufx_mmap(fd, 0, SIZE);

	igt_fork(child, 1) {
		shows_pattern(fd);
		dmabufx_pattern_check(map, 1, 0, SIZE, "inherited mapping");
		dmabufx_pattern_fill(map, 2, 0, SIZE);
	}
	igt_waitchildren();
	dmabufx_pattern_check(map, 2, 0, SIZE, "parent");
	munmap(map, SIZE);
	close(fd);
}

/**
 * SUBTEST: exit-gives-all-back
 * Description: A process that exits, or is killed, with all of it open leaves nothing
 */
static void test_exit_gives_all_back(int device)
{
	int end, status;

	for (end = 0; end < 2; end++) {
		pid_t pid = fork();

		igt_assert_lte(0, pid);
		if (!pid) {
			static struct dmabufx_buffer buf[3];

			dmabufx_buffer_init(&buf[0], device, SHMEM_4K, SIZE);
			dmabufx_buffer_init(&buf[1], device, ANON_4K, SIZE);
			dmabufx_buffer_init(&buf[2], device, HUGETLB_2M, MIB(2));
			dmabufx_buffer_carries(&buf[0]);
			dmabufx_buffer_carries(&buf[1]);
			dmabufx_buffer_carries(&buf[2]);
			if (end)
				raise(SIGKILL);
			_exit(0);
		}
		igt_assert_eq(waitpid(pid, &status, 0), pid);
		igt_assert_eq(status, end ? SIGKILL : 0);
	}
}

/**
 * SUBTEST: unmapped-user-memory
 * Description: Memory that its owner unmaps stays in the buffer
 */
static void test_unmapped_user_memory(int device)
{
	struct dmabufx_buffer buf;
	int importer = importer_open();
	static uint64_t data[4096 / 8];

	dmabufx_buffer_init(&buf, device, ANON_4K, SIZE);
	dmabufx_buffer_write(&buf, WAY_MEMORY, 1);
	munmap(buf.mem.map, SIZE);
	buf.mem.map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS |
			   MAP_POPULATE, -1, 0);
	shows_pattern(buf.fd);
	importer_attach(importer, buf.fd);
	importer_map(importer, DMABUFX_IMPORTER_TO_DEVICE);
	importer_read(importer, DMABUFX_VIA_DEVICE, SIZE / 2, data, sizeof(data));
	dmabufx_pattern_check(data, 1, SIZE / 2, sizeof(data), "device");
	close(importer);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: fork-leaves-data-to-parent
 * Description: Own memory that a child shares copy-on-write stays the parent's in the
 *	buffer, whoever writes first
 */
static void test_fork_leaves_data_to_parent(int device)
{
	struct dmabufx_buffer buf;

	dmabufx_buffer_init(&buf, device, ANON_4K, SIZE);
	dmabufx_buffer_write(&buf, WAY_MEMORY, 1);
	igt_fork(child, 1) {
		dmabufx_buffer_write(&buf, WAY_MEMORY, 2);
		dmabufx_buffer_check(&buf, WAY_MMAP, 1);
	}
	igt_waitchildren();
	dmabufx_buffer_check(&buf, WAY_MMAP, 1);
	dmabufx_buffer_write(&buf, WAY_MEMORY, 3);
	dmabufx_buffer_check(&buf, WAY_MMAP, 3);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: punched-hole
 * Description: A hole punched into the memfd takes nothing from the buffer
 */
static void test_punched_hole(int device)
{
	struct dmabufx_buffer buf;

	dmabufx_buffer_init(&buf, device, SHMEM_4K, SIZE);
	dmabufx_buffer_write(&buf, WAY_MEMORY, 1);
	igt_assert_eq(fallocate(buf.mem.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				SIZE), 0);
	igt_assert_eq(buf.mem.map[8], 0);
	dmabufx_buffer_check(&buf, WAY_MMAP, 1);
	dmabufx_buffer_check(&buf, WAY_DEVICE, 1);
	dmabufx_buffer_check(&buf, WAY_VMAP, 1);
	dmabufx_buffer_fini(&buf);
}

struct seal_race {
	pthread_barrier_t start;
	int memfd;
	int delay;
	bool sealed;
};

static void spin(int rounds)
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

/**
 * SUBTEST: seal-race
 * Description: Of F_SEAL_WRITE and a create at the same moment one is refused, whichever
 *	is first
 */
static void test_seal_race(int device)
{
	struct seal_race race = { };
	pthread_t thread;
	int round, fd, sealed = 0;

	pthread_barrier_init(&race.start, NULL, 2);
	for (round = 0; round < 100; round++) {
		race.memfd = dmabufx_memfd(KIB(64), F_SEAL_SHRINK);
		race.delay = round * 40;
		igt_assert_eq(pthread_create(&thread, NULL, seal, &race), 0);
		pthread_barrier_wait(&race.start);
		spin(2000);
		fd = __udmabuf_create(device, race.memfd, 0, KIB(64), 0);
		pthread_join(thread, NULL);
		if (fd >= 0)
			close(fd);
		close(race.memfd);
		igt_assert(fd >= 0 || fd == -EINVAL);
		igt_assert_f(fd < 0 || !race.sealed, "a writable buffer of sealed memory\n");
		sealed += race.sealed;
	}
	pthread_barrier_destroy(&race.start);
	igt_info("the seal was first in %d of %d rounds\n", sealed, round);
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

/**
 * SUBTEST: guessed-fd
 * Description: Who guesses a buffer's descriptor may close it before the create returns
 */
static void test_guessed_fd(int device)
{
	int memfd = dmabufx_memfd(KIB(64), F_SEAL_SHRINK), round;
	struct closer closer = { .fd = fcntl(memfd, F_DUPFD_CLOEXEC, 0) };
	pthread_t thread;

	/* The lowest free number is the next one. */
	close(closer.fd);
	igt_assert_eq(pthread_create(&thread, NULL, close_for_ever, &closer), 0);
	for (round = 0; round < 500; round++) {
		int fd = __udmabuf_create(device, memfd, 0, KIB(64), 0);

		close(closer.fd);
		if (fd != closer.fd)
			break;
	}
	atomic_store(&closer.stop, true);
	pthread_join(thread, NULL);
	close(memfd);
	igt_assert_eq(round, 500);
}

struct cycle {
	int device;
	struct dmabufx_mem mem;
	struct udmabuf_create_item items[64];
	int fd;
};

static void create_and_close(void *arg)
{
	struct cycle *cycle = arg;
	int fd = __udmabuf_create_list(cycle->device, cycle->items, 64, 0);

	igt_assert_lte(0, fd);
	close(fd);
}

static void map_and_unmap(void *arg)
{
	struct cycle *cycle = arg;
	char *map = dmabufx_mmap(cycle->fd, 0, 64 * PAGE);

	igt_assert_eq(map[0], map[63 * PAGE]);
	munmap(map, 64 * PAGE);
}

static void cycles_leave_nothing(int device, void (*call)(void *arg))
{
	struct cycle cycle = { .device = device };
	int i;

	/* Every second page, so that a table needs memory. */
	dmabufx_mem_init(&cycle.mem, SHMEM_4K, 128 * PAGE);
	for (i = 0; i < 64; i++)
		cycle.items[i] = dmabufx_item(&cycle.mem, 2 * i * PAGE, PAGE);
	cycle.fd = __udmabuf_create_list(device, cycle.items, 64, 0);
	igt_assert_lte(0, cycle.fd);
	dmabufx_leaves_nothing(call, &cycle, 1000);
	close(cycle.fd);
	dmabufx_mem_fini(&cycle.mem);
}

/**
 * SUBTEST: creates-leave-nothing
 * Description: 1000 creates and closes leave no kernel memory behind
 */
static void test_creates_leave_nothing(int device)
{
	cycles_leave_nothing(device, create_and_close);
}

/**
 * SUBTEST: mappings-leave-nothing
 * Description: 1000 mappings leave no kernel memory behind
 */
static void test_mappings_leave_nothing(int device)
{
	cycles_leave_nothing(device, map_and_unmap);
}

/* Of the module's own: the device is opened by them, for as long as they want. */

/**
 * SUBTEST: module-stays
 * Description: The module cannot be unloaded while its device, a buffer, a mapping or an
 *	attachment is there, and can when they are gone
 */
static void test_module_stays(int none)
{
	int device, fd, importer;
	char *map;

	dmabufx_require_module_file();
	device = dmabufx_open();
	igt_assert_eq(__dmabufx_unload(), -EWOULDBLOCK);
	fd = orphan(device);
	close(device);
	igt_assert_eq(__dmabufx_unload(), -EWOULDBLOCK);
	map = dmabufx_mmap(fd, 0, SIZE);
	importer = importer_open();
	importer_attach(importer, fd);
	close(fd);
	igt_assert_eq(__dmabufx_unload(), -EWOULDBLOCK);
	dmabufx_pattern_check(map, 1, 0, SIZE, "mmap");
	munmap(map, SIZE);
	igt_assert_eq(__dmabufx_unload(), -EWOULDBLOCK);
	close(importer);
	/* What held the last file goes when this process comes back from the kernel. */
	igt_assert_eq(__dmabufx_unload(), 0);
	igt_assert_eq(__dmabufx_open(DMABUFX_DEVICE, O_RDWR), -ENOENT);
	dmabufx_load();
}

static void unload_and_load(void *arg)
{
	int device;

	igt_assert_eq(__dmabufx_unload(), 0);
	dmabufx_load();
	device = dmabufx_open();
	close(orphan(device));
	close(device);
}

/**
 * SUBTEST: module-reload
 * Description: The module can be unloaded and loaded again and again, works each time, and
 *	leaves no kernel memory behind
 */
static void test_module_reload(int none)
{
	/* A module is larger by far. */
	const long enough = 20 * KIB(12);
	long growth;

	dmabufx_require_module_file();
	growth = dmabufx_kernel_growth(unload_and_load, NULL, 20, enough);
	igt_assert_f(growth <= enough, "%ld bytes are left of 20 modules\n", growth);
}

/**
 * SUBTEST: module-reload-while-opened
 * Description: Who opens the device while the module comes and goes gets it, or none
 */
static void test_module_reload_while_opened(int none)
{
	int i;

	dmabufx_require_module_file();
	igt_fork(child, 2) {
		for (i = 0; i < 2000; i++) {
			int fd = __dmabufx_open(DMABUFX_DEVICE, O_RDWR);

			igt_assert(fd >= 0 || fd == -ENOENT || fd == -ENODEV || fd == -ENXIO);
			if (fd >= 0)
				close(fd);
		}
	}
	for (i = 0; i < 10; i++)
		if (!__dmabufx_unload())
			dmabufx_load();
	igt_waitchildren();
}

static const struct dmabufx_subtest subtests[] = {
	{ "mapping-outlives-fd", "Check that a mapping keeps the buffer",
	  test_mapping_outlives_fd },
	{ "part-of-mapping-outlives", "Check that a part of a mapping keeps the buffer",
	  test_part_of_mapping_outlives },
	{ "outlives-process", "Check that buffers can be passed on", test_outlives_process },
	{ "lost-on-the-way", "Check that buffers in flight are not lost for ever",
	  test_lost_on_the_way },
	{ "user-memory-outlives-process", "Check that own memory can be passed on",
	  test_user_memory_outlives_process },
	{ "child-inherits", "Check that children share the memory", test_child_inherits },
	{ "exit-gives-all-back", "Check that the end of a process is enough",
	  test_exit_gives_all_back },
	{ "unmapped-user-memory", "Check that own memory need not stay mapped",
	  test_unmapped_user_memory },
	{ "fork-leaves-data-to-parent", "Check that copy-on-write leaves a buffer its maker",
	  test_fork_leaves_data_to_parent },
	{ "punched-hole", "Check that a memfd's holes are not the buffer's", test_punched_hole },
	{ "seal-race", "Check that a seal cannot come between check and pin", test_seal_race },
	{ "guessed-fd", "Check that a descriptor may go before its maker knows it",
	  test_guessed_fd },
	{ "creates-leave-nothing", "Check that creates leak nothing",
	  test_creates_leave_nothing },
	{ "mappings-leave-nothing", "Check that mappings leak nothing",
	  test_mappings_leave_nothing },
};

static const struct dmabufx_subtest without_device[] = {
	{ "module-stays", "Check that the module cannot go while it is used",
	  test_module_stays },
	{ "module-reload", "Check that the module can be replaced", test_module_reload },
	{ "module-reload-while-opened", "Check that a module that comes and goes is no danger",
	  test_module_reload_while_opened },
};

int igt_main()
{
	int device = -1;

	igt_fixture()
		device = dmabufx_open();

	dmabufx_run_table(subtests, device);

	igt_fixture()
		close(device);

	dmabufx_run_table(without_device, -1);
}
