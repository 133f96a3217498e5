// SPDX-License-Identifier: MIT
/*
 * The calls: see calls.h.
 *
 * All threads of a process share its slots, so that they race. Views lie at fixed addresses
 * that the kernel does not use for its own mappings: a call that comes late then accesses
 * another view or a hole, never the fuzzer's memory. Sizes are limited, so that a program
 * cannot take all memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/dma-buf.h>
#include <linux/memfd.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../../uapi/linux/dmabufx.h"
#include "../harness.h"
#include "../memory.h"
#include "calls.h"
#include "importer.h"

#define NR_SLOTS	4
#define MAX_SEGMENTS	16
#define MAX_MEMORY	MIB(4)		/* of a memfd, or an anonymous view */
#define VIEW_SIZE	MIB(4096)	/* of addresses */
#define VIEWS		((char *)MIB(16 << 20))
#define TOUCHED_PAGES	64
#define SCRATCH_SIZE	65536
#define MAX_LOCKED	MIB(32)

enum {
	KIND_SHMEM,
	KIND_HUGETLB,
	KIND_1G,
	KIND_SECRET,
	KIND_PIPE,
	KIND_NO_SEALS,
	MEMFD_KINDS,
};

static atomic_int memfds[NR_SLOTS], buffers[NR_SLOTS], importers[NR_SLOTS];
static int device, huge_memfd, shrink_switch;
static struct rlimit files, locked;

static struct __user_cap_header_struct cap_head = {
	.version = _LINUX_CAPABILITY_VERSION_3,
};

static struct __user_cap_data_struct privileged[2];

/* Segments from calls of seg_*, for the next create. */
static thread_local struct dmabufx_segment segments[MAX_SEGMENTS];
static thread_local unsigned int nr_segments;
static thread_local char scratch[SCRATCH_SIZE];
static thread_local sigjmp_buf fault;
static thread_local volatile sig_atomic_t faults_are_caught;

static long result(long ret)
{
	return ret < 0 ? -errno : ret;
}

static int slot(atomic_int *slots, __u64 i)
{
	return slots[i % NR_SLOTS];
}

/* Puts a new descriptor into the slot, and closes the old one once. */
static long put(atomic_int *slots, __u64 i, int fd)
{
	int error = errno;

	if (fd < 0)
		return -error;
	fd = atomic_exchange(&slots[i % NR_SLOTS], fd);
	if (fd >= 0)
		close(fd);
	return 0;
}

static long drop(atomic_int *slots, __u64 i)
{
	int fd = atomic_exchange(&slots[i % NR_SLOTS], -1);

	return fd < 0 ? -EBADF : result(close(fd));
}

static char *view(__u64 i, __u64 offset)
{
	return VIEWS + i % NR_SLOTS * VIEW_SIZE + offset % VIEW_SIZE;
}

/* Cuts @len so that the range from @offset lies within the view. */
static size_t within_view(__u64 offset, __u64 len)
{
	__u64 left = VIEW_SIZE - offset % VIEW_SIZE;

	return len < left ? len : left;
}

static __u64 at_most(__u64 size, __u64 limit)
{
	return size > limit ? size % (limit + 1) : size;
}

/* memfd SLOT KIND SIZE SEALS */
static long run_memfd(const __u64 *arg)
{
	unsigned int flags = MFD_CLOEXEC;
	__u64 size = at_most(arg[2], MAX_MEMORY);
	int fd, ends[2];

	switch (arg[1] % MEMFD_KINDS) {
	case KIND_1G:
		return put(memfds, arg[0], dup(huge_memfd));
	case KIND_SECRET:
		return put(memfds, arg[0], syscall(SYS_memfd_secret, 0));
	case KIND_PIPE:
		if (pipe(ends))
			return -errno;
		close(ends[1]);
		return put(memfds, arg[0], ends[0]);
	case KIND_HUGETLB:
		flags |= MFD_HUGETLB | MFD_HUGE_2MB;
		size = (size + MIB(2) - 1) & -MIB(2);
		flags |= MFD_ALLOW_SEALING;
		break;
	case KIND_SHMEM:
		flags |= MFD_ALLOW_SEALING;
	}
	fd = memfd_create("fuzz", flags);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, size) || fcntl(fd, F_ADD_SEALS, (int)arg[3] & 0x1f)) {
		long error = -errno;

		put(memfds, arg[0], fd);
		return error;
	}
	return put(memfds, arg[0], fd);
}

/* reopen SLOT OF FLAGS: with another access mode */
static long run_reopen(const __u64 *arg)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", slot(memfds, arg[1]));
	return put(memfds, arg[0], open(path, (arg[2] % 3) | O_CLOEXEC));
}

/* Calls must not change the memfd that all programs share. */
static bool is_huge(int fd)
{
	char a[64], b[64], path[32];
	ssize_t n;

	if (huge_memfd < 0 || fd < 0)
		return false;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, a, sizeof(a));
	if (n < 0)
		return true;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", huge_memfd);
	return n == readlink(path, b, sizeof(b)) && !memcmp(a, b, n);
}

/* seal SLOT SEALS */
static long run_seal(const __u64 *arg)
{
	int fd = slot(memfds, arg[0]);

	if (is_huge(fd))
		return -EPERM;
	return result(fcntl(fd, F_ADD_SEALS, (int)arg[1] & 0x1f));
}

/* truncate SLOT SIZE */
static long run_truncate(const __u64 *arg)
{
	int fd = slot(memfds, arg[0]);

	if (is_huge(fd))
		return -EPERM;
	return result(ftruncate(fd, at_most(arg[1], MAX_MEMORY)));
}

/* punch SLOT OFFSET SIZE */
static long run_punch(const __u64 *arg)
{
	int fd = slot(memfds, arg[0]);

	if (is_huge(fd))
		return -EPERM;
	return result(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				arg[1], arg[2]));
}

/* allocate SLOT OFFSET SIZE */
static long run_allocate(const __u64 *arg)
{
	int fd = slot(memfds, arg[0]);

	if (is_huge(fd))
		return -EPERM;
	return result(fallocate(fd, 0, at_most(arg[1], MAX_MEMORY),
				at_most(arg[2], MAX_MEMORY)));
}

/* write SLOT OFFSET SIZE */
static long run_write(const __u64 *arg)
{
	return result(pwrite(slot(memfds, arg[0]), scratch,
			     at_most(arg[2], SCRATCH_SIZE),
			     at_most(arg[1], MAX_MEMORY)));
}

/* close_memfd SLOT */
static long run_close_memfd(const __u64 *arg)
{
	return drop(memfds, arg[0]);
}

static long add_segment(struct dmabufx_segment segment)
{
	if (nr_segments == MAX_SEGMENTS)
		return -ENOSPC;
	segments[nr_segments++] = segment;
	return 0;
}

/* seg_memfd SLOT OFFSET SIZE */
static long run_seg_memfd(const __u64 *arg)
{
	return add_segment((struct dmabufx_segment) {
		.fd = slot(memfds, arg[0]),
		.offset = arg[1],
		.size = arg[2],
	});
}

/* seg_user VIEW OFFSET SIZE */
static long run_seg_user(const __u64 *arg)
{
	return add_segment((struct dmabufx_segment) {
		.type = DMABUFX_USER,
		.address = (uintptr_t)view(arg[0], arg[1]),
		.size = within_view(arg[1], arg[2]),
	});
}

/* seg_raw TYPE FD OFFSET SIZE: OFFSET is no address of ours, and no border value */
static long run_seg_raw(const __u64 *arg)
{
	return add_segment((struct dmabufx_segment) {
		.type = arg[0],
		.fd = arg[1],
		.offset = arg[2],
		.size = arg[3],
	});
}

/* create SLOT FLAGS NAME QUIRK */
static long run_create(const __u64 *arg)
{
	struct {
		struct dmabufx_create head;
		__u64 beyond;
	} create = {
		.head = {
			.size = sizeof(create.head),
			.flags = arg[1],
			.segments = (uintptr_t)segments,
			.nr_segments = nr_segments,
			.segment_size = sizeof(*segments),
			.name = arg[2] & 1 ? (uintptr_t)"fuzzed" : 0,
		},
	};
	static const char long_name[64] = "a name that is longer than a name may be";
	void *at = &create;
	int fd;

	switch (arg[3]) {
	case 1:
		create.head.size -= 8;
		break;
	case 2:
		create.head.size += 8;
		break;
	case 3:
		create.head.size += 8;
		create.beyond = 1;
		break;
	case 4:
		create.head.size = arg[1];
		break;
	case 5:
		create.head.segment_size += 8;
		break;
	case 6:
		create.head.nr_segments = -1;
		break;
	case 7:
		create.head.segments = (uintptr_t)view(0, 0);
		break;
	case 8:
		create.head.name = (uintptr_t)long_name;
		break;
	case 9:
		create.head.name = (uintptr_t)view(0, PAGE - 2);
		break;
	case 10:
		/* In a view, which may be read-only, unmapped, or about to be unmapped. */
		at = view(1, 0);
		break;
	case 11:
		create.head.nr_segments = 100000;
		create.head.segments = (uintptr_t)view(0, 0);
		break;
	case 12:
		create.head.data_offset = -1;
		create.head.reason = -1;
	}
	nr_segments = 0;
	fd = ioctl(device, DMABUFX_IOC_CREATE, at);
	return put(buffers, arg[0], fd);
}

/* udmabuf SLOT MEMFD FLAGS OFFSET SIZE */
static long run_udmabuf(const __u64 *arg)
{
	struct udmabuf_create create = {
		.memfd = slot(memfds, arg[1]),
		.flags = arg[2],
		.offset = arg[3],
		.size = arg[4],
	};

	return put(buffers, arg[0], ioctl(device, UDMABUF_CREATE, &create));
}

/* udmabuf_list SLOT FLAGS QUIRK */
static long run_udmabuf_list(const __u64 *arg)
{
	struct {
		struct udmabuf_create_list head;
		struct dmabufx_segment items[MAX_SEGMENTS];
	} list = {
		.head = { .flags = arg[1], .count = nr_segments },
	};
	void *at = &list;

	memcpy(list.items, segments, sizeof(segments));
	switch (arg[2]) {
	case 1:
		list.head.count = -1;
		break;
	case 2:
		at = view(0, 0);
		break;
	case 3:
		at = view(0, PAGE - 16);
		break;
	case 4:
		list.head.count = 0;
	}
	nr_segments = 0;
	return put(buffers, arg[0], ioctl(device, UDMABUF_CREATE_LIST, at));
}

/* query QUIRK */
static long run_query(const __u64 *arg)
{
	struct dmabufx_query query[2] = { { .size = sizeof(query[0]) } };
	void *at = query;

	switch (arg[0]) {
	case 1:
		query->size -= 8;
		break;
	case 2:
		query->size *= 2;
		break;
	case 3:
		query->size *= 2;
		query[1].size = 1;
		break;
	case 4:
		query->reserved = 1;
		break;
	case 5:
		at = view(0, 0);
		break;
	case 6:
		query->size = -1;
	}
	return result(ioctl(device, DMABUFX_IOC_QUERY, at));
}

/* info SLOT QUIRK */
static long run_info(const __u64 *arg)
{
	struct dmabufx_info info[2] = {
		{ .size = sizeof(info[0]), .fd = slot(buffers, arg[0]) },
	};
	void *at = info;

	switch (arg[1]) {
	case 1:
		info->size -= 8;
		break;
	case 2:
		info->size *= 2;
		break;
	case 3:
		info->size *= 2;
		info[1].size = 1;
		break;
	case 4:
		info->fd = slot(memfds, arg[0]);
		break;
	case 5:
		at = view(0, 0);
		break;
	case 6:
		info->fd = device;
	}
	return result(ioctl(device, DMABUFX_IOC_INFO, at));
}

/* ioctl NUMBER ARGUMENT: of the device, without a valid struct */
static long run_ioctl(const __u64 *arg)
{
	static const unsigned int numbers[] = {
		UDMABUF_CREATE, UDMABUF_CREATE_LIST, DMABUFX_IOC_CREATE,
		DMABUFX_IOC_QUERY, DMABUFX_IOC_INFO, _IO('u', 0x63),
	};

	return result(ioctl(device, numbers[arg[0] % ARRAY_SIZE(numbers)],
			    arg[1]));
}

static long map_at(char *at, size_t len, int prot, int flags, int fd,
		   __u64 offset)
{
	const void *got = mmap(at, len, prot, flags, fd, offset);

	/* cppcheck-suppress memleak ; calls_end() unmaps all views */
	return got == MAP_FAILED ? -errno : 0;
}

static long map_fd(const __u64 *arg, int fd)
{
	int flags = MAP_FIXED | (arg[5] & 1 ? MAP_PRIVATE : MAP_SHARED);
	size_t len = at_most(arg[3], VIEW_SIZE / 2);

	if (arg[5] & 2)
		flags |= MAP_POPULATE;
	return map_at(view(arg[0], 0), len, arg[4] & 3, flags, fd, arg[2]);
}

/* map VIEW BUFFER OFFSET SIZE PROT FLAGS */
static long run_map(const __u64 *arg)
{
	return map_fd(arg, slot(buffers, arg[1]));
}

/* map_memfd VIEW MEMFD OFFSET SIZE PROT FLAGS */
static long run_map_memfd(const __u64 *arg)
{
	return map_fd(arg, slot(memfds, arg[1]));
}

/* anon VIEW SIZE KIND */
static long run_anon(const __u64 *arg)
{
	size_t len = at_most(arg[1], MAX_MEMORY);
	int flags = MAP_FIXED | MAP_ANONYMOUS, prot = PROT_READ | PROT_WRITE;
	int fd = -1;
	long ret;

	switch (arg[2] % 8) {
	case 1:
		flags |= MAP_SHARED;
		break;
	case 2:
		flags |= MAP_PRIVATE | MAP_HUGETLB;
		len = (len + MIB(2) - 1) & -MIB(2);
		break;
	case 4:
		flags |= MAP_PRIVATE;
		prot = PROT_READ;
		break;
	case 5:
		flags |= MAP_PRIVATE | MAP_NORESERVE;
		prot = PROT_NONE;
		break;
	case 6:
		/* A file on a disk: here, this program. */
		flags = MAP_FIXED | MAP_PRIVATE;
		prot = PROT_READ;
		fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
		break;
	default:
		flags |= MAP_PRIVATE;
	}
	ret = map_at(view(arg[0], 0), len, prot, flags, fd, 0);
	if (!ret && arg[2] % 8 == 3)
		ret = result(madvise(view(arg[0], 0), len, MADV_HUGEPAGE));
	if (fd >= 0)
		close(fd);
	return ret;
}

/* unmap VIEW OFFSET SIZE */
static long run_unmap(const __u64 *arg)
{
	return result(munmap(view(arg[0], arg[1]), within_view(arg[1], arg[2])));
}

/* protect VIEW OFFSET SIZE PROT */
static long run_protect(const __u64 *arg)
{
	return result(mprotect(view(arg[0], arg[1]),
			       within_view(arg[1], arg[2]), arg[3] & 3));
}

/* remap VIEW OFFSET OLD-SIZE NEW-SIZE TO FLAGS */
static long run_remap(const __u64 *arg)
{
	int flags = MREMAP_MAYMOVE | MREMAP_FIXED;

	if (arg[5] & 1)
		flags |= MREMAP_DONTUNMAP;
	return mremap(view(arg[0], arg[1]), within_view(arg[1], arg[2]),
		      at_most(arg[3], VIEW_SIZE / 2), flags, view(arg[4], 0)) ==
	       MAP_FAILED ? -errno : 0;
}

/* advise VIEW OFFSET SIZE ADVICE */
static long run_advise(const __u64 *arg)
{
	/* Other advice only sets flags, or breaks memory. */
	static const int advice[] = {
		MADV_DONTNEED, MADV_WILLNEED, MADV_REMOVE, MADV_DONTFORK,
		MADV_DOFORK, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_DONTDUMP,
		MADV_DODUMP, MADV_FREE, MADV_WIPEONFORK, MADV_COLD,
		MADV_PAGEOUT, MADV_POPULATE_READ, MADV_POPULATE_WRITE,
		MADV_COLLAPSE,
	};

	return result(madvise(view(arg[0], arg[1]),
			      at_most(within_view(arg[1], arg[2]), MAX_MEMORY),
			      advice[arg[3] % ARRAY_SIZE(advice)]));
}

/* lock VIEW OFFSET SIZE WHETHER */
static long run_lock(const __u64 *arg)
{
	char *at = view(arg[0], arg[1]);
	size_t len = at_most(within_view(arg[1], arg[2]), MAX_MEMORY);

	return result(arg[3] & 1 ? munlock(at, len) : mlock(at, len));
}

static void touch_each(volatile char *at, size_t len, size_t step, __u64 write)
{
	size_t offset;

	for (offset = 0; offset < len; offset += step) {
		if (write & 1)
			at[offset] = write;
		else
			(void)at[offset];
	}
}

/* touch VIEW OFFSET SIZE WRITE: accesses a byte of each page; -EFAULT for a signal */
static long run_touch(const __u64 *arg)
{
	volatile char *at = view(arg[0], arg[1]);
	size_t len = within_view(arg[1], at_most(arg[2], VIEW_SIZE / 2));

	if (sigsetjmp(fault, 1))
		return -EFAULT;
	faults_are_caught = true;
	touch_each(at, len, len / PAGE > TOUCHED_PAGES ? len / TOUCHED_PAGES : PAGE, arg[3]);
	faults_are_caught = false;
	return 0;
}

/* vm_copy VIEW OFFSET SIZE WRITE: by the calls of debuggers */
static long run_vm_copy(const __u64 *arg)
{
	struct iovec far = {
		view(arg[0], arg[1]),
		within_view(arg[1], at_most(arg[2], SCRATCH_SIZE)),
	};
	struct iovec near = { scratch, far.iov_len };

	if (arg[3] & 1)
		return result(process_vm_writev(getpid(), &near, 1, &far, 1, 0));
	return result(process_vm_readv(getpid(), &near, 1, &far, 1, 0));
}

/* sync SLOT FLAGS */
static long run_sync(const __u64 *arg)
{
	struct dma_buf_sync sync = { .flags = arg[1] };

	return result(ioctl(slot(buffers, arg[0]), DMA_BUF_IOCTL_SYNC, &sync));
}

/* sync_file SLOT FLAGS */
static long run_sync_file(const __u64 *arg)
{
	struct dma_buf_export_sync_file out = { .flags = arg[1], .fd = -1 };
	struct dma_buf_import_sync_file in = { .flags = arg[1] };
	int fd = slot(buffers, arg[0]);

	if (ioctl(fd, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &out))
		return -errno;
	in.fd = out.fd;
	ioctl(fd, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &in);
	return result(close(out.fd));
}

/* name SLOT LENGTH */
static long run_name(const __u64 *arg)
{
	char name[48] = "";

	memset(name, 'n', arg[1] % sizeof(name));
	name[sizeof(name) - 1] = 0;
	return result(ioctl(slot(buffers, arg[0]), DMA_BUF_SET_NAME, name));
}

/* seek SLOT OFFSET WHENCE */
static long run_seek(const __u64 *arg)
{
	return result(lseek(slot(buffers, arg[0]), arg[1], arg[2] % 8));
}

/* poll SLOT EVENTS */
static long run_poll(const __u64 *arg)
{
	struct pollfd ready = {
		.fd = slot(buffers, arg[0]),
		.events = arg[1],
	};

	return result(poll(&ready, 1, 0));
}

/* dup TO FROM */
static long run_dup(const __u64 *arg)
{
	return put(buffers, arg[0], dup(slot(buffers, arg[1])));
}

/* close SLOT */
static long run_close(const __u64 *arg)
{
	return drop(buffers, arg[0]);
}

static long send_and_receive(const int *ends, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = {}, byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *head = CMSG_FIRSTHDR(&msg);

	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(head), &fd, sizeof(fd));
	if (sendmsg(ends[0], &msg, MSG_DONTWAIT) < 0)
		return -errno;

	msg.msg_controllen = sizeof(control);
	if (recvmsg(ends[1], &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0)
		return -errno;
	/* It is lost if there is no free descriptor. */
	if (!msg.msg_controllen)
		return -EMFILE;
	memcpy(&fd, CMSG_DATA(head), sizeof(fd));
	return fd;
}

/* pass TO FROM: through a socket */
static long run_pass(const __u64 *arg)
{
	int ends[2];
	long fd;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
		return -errno;
	fd = send_and_receive(ends, slot(buffers, arg[1]));
	close(ends[0]);
	close(ends[1]);
	return fd < 0 ? fd : put(buffers, arg[0], fd);
}

static long read_all(const char *path, size_t at_once)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	long ret;

	if (fd < 0)
		return -errno;
	do
		ret = result(read(fd, scratch, at_once));
	while (ret > 0);
	close(fd);
	return ret;
}

/* fdinfo SLOT */
static long run_fdinfo(const __u64 *arg)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d",
		 slot(buffers, arg[0]));
	return read_all(path, 1024);
}

/* look KIND: reads the list of all buffers, as an administrator */
static long run_look(const __u64 *arg)
{
	return read_all(arg[0] & 1 ? "/sys/kernel/debug/dmabufx/runs" :
				     "/sys/kernel/debug/dmabufx/buffers",
			arg[0] & 2 ? sizeof(scratch) : 4096);
}

/* open SLOT */
static long run_open(const __u64 *arg)
{
	/* Debugging of DMA takes seconds for a GiB in pieces of 64 KiB. */
	struct dmabufx_importer_limits limits = {
		.dma_mask = ~0ull,
		.seg_boundary = ~0ull,
		.max_seg = MIB(1),
	};
	int fd = open("/dev/dmabufx-importer", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		must(ioctl(fd, DMABUFX_IMPORTER_LIMITS, &limits));
	return put(importers, arg[0], fd);
}

/* close_importer SLOT */
static long run_close_importer(const __u64 *arg)
{
	return drop(importers, arg[0]);
}

static __u64 low_bits(__u64 n)
{
	return n % 64 == 63 ? ~0ull : (1ull << (n % 64 + 1)) - 1;
}

/* limits SLOT MASK-BITS BOUNDARY-BITS SEGMENT */
static long run_limits(const __u64 *arg)
{
	struct dmabufx_importer_limits limits = {
		/* Memory below 32 bits may be short. */
		.dma_mask = low_bits(arg[1] & 4 ? 31 : 63),
		.seg_boundary = low_bits(arg[2] & 8 ? 63 : 10 + arg[2] % 8 * 2),
		.max_seg = arg[3],
	};

	return result(ioctl(slot(importers, arg[0]), DMABUFX_IMPORTER_LIMITS,
			    &limits));
}

static long import(__u64 i, unsigned long number, unsigned long arg)
{
	return result(ioctl(slot(importers, i), number, arg));
}

/* attach SLOT BUFFER */
static long run_attach(const __u64 *arg)
{
	return import(arg[0], DMABUFX_IMPORTER_ATTACH, slot(buffers, arg[1]));
}

/* detach SLOT */
static long run_detach(const __u64 *arg)
{
	return import(arg[0], DMABUFX_IMPORTER_DETACH, 0);
}

/* imp_map SLOT DIRECTION */
static long run_imp_map(const __u64 *arg)
{
	struct dmabufx_importer_map map = { .dir = arg[1] & 3 };

	return import(arg[0], DMABUFX_IMPORTER_MAP, (uintptr_t)&map);
}

/* imp_unmap SLOT */
static long run_imp_unmap(const __u64 *arg)
{
	return import(arg[0], DMABUFX_IMPORTER_UNMAP, 0);
}

/* vmap SLOT */
static long run_vmap(const __u64 *arg)
{
	return import(arg[0], DMABUFX_IMPORTER_VMAP, 0);
}

/* vunmap SLOT */
static long run_vunmap(const __u64 *arg)
{
	return import(arg[0], DMABUFX_IMPORTER_VUNMAP, 0);
}

/* begin SLOT DIRECTION */
static long run_begin(const __u64 *arg)
{
	return import(arg[0], DMABUFX_IMPORTER_BEGIN, arg[1]);
}

/* end SLOT DIRECTION */
static long run_end(const __u64 *arg)
{
	return import(arg[0], DMABUFX_IMPORTER_END, arg[1]);
}

/* copy SLOT OFFSET SIZE VIA WRITE */
static long run_copy(const __u64 *arg)
{
	struct dmabufx_importer_copy copy = {
		.offset = arg[1],
		.len = at_most(arg[2], SCRATCH_SIZE),
		.addr = (uintptr_t)scratch,
		.via = arg[3] % 3,
		.write = arg[4] & 1,
	};

	return import(arg[0], DMABUFX_IMPORTER_COPY, (uintptr_t)&copy);
}

static long set_limit(int which, const struct rlimit *normal, __u64 soft)
{
	struct rlimit limit = *normal;

	if (soft < limit.rlim_max)
		limit.rlim_cur = soft;
	return result(setrlimit(which, &limit));
}

/* nofile NUMBER: limits descriptors until the program ends */
static long run_nofile(const __u64 *arg)
{
	return set_limit(RLIMIT_NOFILE, &files, 8 + arg[0] % 32);
}

/* memlock SIZE: limits locked memory until the program ends */
static long run_memlock(const __u64 *arg)
{
	return set_limit(RLIMIT_MEMLOCK, &locked, arg[0]);
}

/* unprivileged: this thread and those that it starts have limits until the end */
static long run_unprivileged(const __u64 *arg)
{
	struct __user_cap_data_struct without[2] = {
		privileged[0], privileged[1],
	};

	(void)arg;
	without[0].effective &= ~(1u << CAP_IPC_LOCK);
	return result(syscall(SYS_capset, &cap_head, without));
}

/* shrink: the kernel frees what it can, as if memory were short */
static long run_shrink(const __u64 *arg)
{
	(void)arg;
	return result(write(shrink_switch, "2", 1));
}

/* pause MICROSECONDS */
static long run_pause(const __u64 *arg)
{
	return result(usleep(arg[0] % 500));
}

/* fork: run_program() does it. */
static long run_fork(const __u64 *arg)
{
	(void)arg;
	return 0;
}

const struct call_type call_types[] = {
	{ "memfd", "mksx", 30, run_memfd },
	{ "reopen", "mmx", 3, run_reopen },
	{ "seal", "mx", 10, run_seal },
	{ "truncate", "ms", 5, run_truncate },
	{ "punch", "mos", 8, run_punch },
	{ "allocate", "mos", 4, run_allocate },
	{ "write", "mos", 6, run_write },
	{ "close_memfd", "m", 6, run_close_memfd },
	{ "seg_memfd", "mos", 30, run_seg_memfd },
	{ "seg_user", "vos", 25, run_seg_user },
	{ "seg_raw", "krrr", 4, run_seg_raw },
	{ "create", "dxkq", 45, run_create },
	{ "udmabuf", "dmxos", 25, run_udmabuf },
	{ "udmabuf_list", "dxq", 15, run_udmabuf_list },
	{ "query", "q", 5, run_query },
	{ "info", "dq", 10, run_info },
	{ "ioctl", "kr", 4, run_ioctl },
	{ "map", "vdospx", 35, run_map },
	{ "map_memfd", "vmospx", 15, run_map_memfd },
	{ "anon", "vsk", 20, run_anon },
	{ "unmap", "vos", 12, run_unmap },
	{ "protect", "vosp", 12, run_protect },
	{ "remap", "vossvx", 12, run_remap },
	{ "advise", "vosk", 15, run_advise },
	{ "lock", "vosx", 3, run_lock },
	{ "touch", "vosx", 40, run_touch },
	{ "vm_copy", "vosx", 5, run_vm_copy },
	{ "sync", "dk", 20, run_sync },
	{ "sync_file", "dk", 5, run_sync_file },
	{ "name", "dk", 4, run_name },
	{ "seek", "dok", 4, run_seek },
	{ "poll", "dk", 4, run_poll },
	{ "dup", "dd", 5, run_dup },
	{ "close", "d", 20, run_close },
	{ "pass", "dd", 3, run_pass },
	{ "fdinfo", "d", 2, run_fdinfo },
	{ "look", "k", 3, run_look },
	{ "open", "i", 12, run_open },
	{ "close_importer", "i", 6, run_close_importer },
	{ "limits", "ikks", 6, run_limits },
	{ "attach", "id", 30, run_attach },
	{ "detach", "i", 12, run_detach },
	{ "imp_map", "ix", 25, run_imp_map },
	{ "imp_unmap", "i", 12, run_imp_unmap },
	{ "vmap", "i", 20, run_vmap },
	{ "vunmap", "i", 12, run_vunmap },
	{ "begin", "ix", 6, run_begin },
	{ "end", "ix", 6, run_end },
	{ "copy", "iosxx", 25, run_copy },
	{ "nofile", "k", 3, run_nofile },
	{ "memlock", "s", 3, run_memlock },
	{ "unprivileged", "", 4, run_unprivileged },
	{ "shrink", "", 1, run_shrink },
	{ "pause", "r", 2, run_pause },
	{ "fork", "kr", 3, run_fork },
};

const unsigned int nr_call_types = ARRAY_SIZE(call_types);

int fork_type;

int call_type_find(const char *name)
{
	unsigned int i;

	for (i = 0; i < nr_call_types; i++)
		if (!strcmp(call_types[i].name, name))
			return i;
	return -1;
}

/* Only touch() may fault; any other fault is a bug of the fuzzer, and ends it. */
static void on_fault(int signal)
{
	if (faults_are_caught) {
		faults_are_caught = false;
		siglongjmp(fault, 1);
	}
	_exit(128 + signal);
}

/* The signal ends waits in the kernel with EINTR. */
static void on_alarm(int signal)
{
	(void)signal;
}

static void handle_signals(void)
{
	struct sigaction action = { .sa_handler = on_fault };

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	action.sa_handler = on_alarm;
	sigaction(SIGALRM, &action, NULL);
}

void calls_prepare(int huge)
{
	unsigned int i;

	fork_type = call_type_find("fork");
	huge_memfd = huge;
	device = must(open("/dev/dmabufx", O_RDWR | O_CLOEXEC));
	shrink_switch = must(open("/proc/sys/vm/drop_caches",
				  O_WRONLY | O_CLOEXEC));
	for (i = 0; i < NR_SLOTS; i++) {
		memfds[i] = -1;
		buffers[i] = -1;
		importers[i] = -1;
	}

	locked = (struct rlimit){ MAX_LOCKED, MAX_LOCKED };
	must(setrlimit(RLIMIT_MEMLOCK, &locked));
	must(getrlimit(RLIMIT_NOFILE, &files));
	must(syscall(SYS_capget, &cap_head, privileged));
	handle_signals();
}

void calls_begin(void)
{
	nr_segments = 0;
}

void calls_end(void)
{
	unsigned int i;

	must(syscall(SYS_capset, &cap_head, privileged));
	must(setrlimit(RLIMIT_NOFILE, &files));
	must(setrlimit(RLIMIT_MEMLOCK, &locked));
	for (i = 0; i < NR_SLOTS; i++) {
		drop(importers, i);
		drop(buffers, i);
		drop(memfds, i);
	}
	must(munmap(VIEWS, NR_SLOTS * VIEW_SIZE));
}
