// SPDX-License-Identifier: MIT
/*
 * The UDMABUF ioctls as programs know them: what they accept, and the error with which
 * they refuse anything else.
 */
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DEFAULT_TAGS (TAG_PEER | TAG_SERVED)

#include "buffer.h"
#include "harness.h"
#include "memory.h"
#include "watch.h"

/* Each refused call is repeated, so that a small leak adds up. */
#define LOOPS 1000

PROMISE(abi_opens_read_only,
	"a device opened O_RDONLY creates buffers, as libcamera and crosvm want")
{
	int device = must(open(settings.device, O_RDONLY | O_CLOEXEC));
	struct memory mem = memory_make(SHMEM_4K, KIB(64));
	int fd = must(try_create(device, list_item(&mem, 0, mem.size), 0));

	check_eq(lseek(fd, 0, SEEK_END), mem.size);
}

PROMISE(abi_device_has_only_ioctls,
	"read, write and mmap of the device are refused as the in-tree driver does")
{
	int device = device_open();
	char byte = 0;

	must_fail(EINVAL, read(device, &byte, 1));
	must_fail(EINVAL, write(device, &byte, 1));
	must_fail(ENODEV, mmap(NULL, PAGE, PROT_READ, MAP_SHARED, device, 0));
}

PROMISE(abi_create_gives_a_dma_buf,
	"UDMABUF_CREATE turns a range of a memfd into a dma-buf")
{
	struct memory mem = memory_make(SHMEM_4K, KIB(64));
	struct part part = { &mem, PAGE, KIB(32) };
	struct buffer buf = {
		.parts = &part,
		.nr_parts = 1,
		.size = part.size,
		.fd = create_range(&mem, part.offset, part.size),
		.importer = -1,
	};

	buffer_write(&buf, &way_memfd, 1);
	buffer_verify(&buf, &way_mmap, 1);
}

PROMISE(abi_create_list_gives_a_dma_buf,
	"UDMABUF_CREATE_LIST joins ranges of several memfds to one dma-buf")
{
	struct memory a = memory_make(SHMEM_4K, 16 * PAGE);
	struct memory b = memory_make(SHMEM_4K, 16 * PAGE);
	struct part parts[] = {
		{ &b, 8 * PAGE, 4 * PAGE }, { &a, 0, PAGE }, { &b, 0, 2 * PAGE },
	};
	struct buffer buf = buffer_make(parts, 3);

	buffer_write(&buf, &way_memfd, 1);
	buffer_verify(&buf, &way_mmap, 1);
}

static bool closes_on_exec(int fd)
{
	return must(fcntl(fd, F_GETFD)) & FD_CLOEXEC;
}

PROMISE(abi_cloexec_is_what_was_asked,
	"the fd is closed on exec if UDMABUF_FLAGS_CLOEXEC is set, and only then")
{
	struct memory mem = memory_make(SHMEM_4K, KIB(64));
	struct udmabuf_create_item all = list_item(&mem, 0, mem.size);
	int device = device_open();

	check(closes_on_exec(must(try_create(device, all,
					     UDMABUF_FLAGS_CLOEXEC))));
	check(closes_on_exec(must(try_create_list(device, &all, 1,
						  UDMABUF_FLAGS_CLOEXEC))));
	check(!closes_on_exec(must(try_create(device, all, 0))));
	check(!closes_on_exec(must(try_create_list(device, &all, 1, 0))));
}

PROMISE(abi_unknown_flags_are_ignored,
	"flag bits without a meaning, and an item's padding, change nothing")
{
	struct memory mem = memory_make(SHMEM_4K, KIB(64));
	struct udmabuf_create_item all = list_item(&mem, 0, mem.size);
	int device = device_open();

	all.__pad = 0xdeadbeef;
	check(!closes_on_exec(must(try_create(device, all, ~1u))));
	check(closes_on_exec(must(try_create_list(device, &all, 1, ~0u))));
}

PROMISE(abi_seek_end_gives_the_size,
	"lseek(SEEK_END) on the dma-buf returns its size, which Mesa relies on")
{
	struct memory mem = memory_make(SHMEM_4K, 16 * PAGE);
	int fd = create_range(&mem, PAGE, 3 * PAGE);

	check_eq(lseek(fd, 0, SEEK_END), 3 * PAGE);
	check_eq(lseek(fd, 0, SEEK_SET), 0);
	must_fail(EINVAL, lseek(fd, 0, SEEK_CUR));
	must_fail(EINVAL, lseek(fd, PAGE, SEEK_SET));
}

PROMISE(abi_fd_is_read_write, "the dma-buf's access mode is O_RDWR")
{
	struct memory mem = memory_make(SHMEM_4K, KIB(64));
	int fd = create_range(&mem, 0, mem.size);

	check_eq(must(fcntl(fd, F_GETFL)) & O_ACCMODE, O_RDWR);
}

/* Verifies that nobody can write through this descriptor. */
static void is_read_only(int fd, const struct memory *mem)
{
	char *map;

	check_eq(must(fcntl(fd, F_GETFL)) & O_ACCMODE, O_RDONLY);
	must_fail(EACCES, mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	map = must(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0));
	pattern_check(map, 1, mem->id, 0, PAGE, "mmap");
	must_fail(EACCES, mprotect(map, PAGE, PROT_READ | PROT_WRITE));
	must(munmap(map, PAGE));
	must(close(fd));
}

PROMISE(abi_read_only_memfd_makes_a_read_only_buffer,
	"if a memfd, or one of several, is opened read-only, nobody can write to the buffer")
{
	struct memory mem = memory_make_patterned(SHMEM_4K, KIB(64));
	struct udmabuf_create_item read_only = list_item(&mem, 0, PAGE);
	struct udmabuf_create_item first[] = { read_only, list_item(&mem, PAGE, PAGE) };
	struct udmabuf_create_item last[] = { list_item(&mem, 0, PAGE), read_only };
	int device = device_open();

	read_only.memfd = file_reopen(mem.fd, O_RDONLY);
	first[0].memfd = read_only.memfd;
	last[1].memfd = read_only.memfd;
	is_read_only(must(try_create(device, read_only, 0)), &mem);
	is_read_only(must(try_create_list(device, first, 2, 0)), &mem);
	is_read_only(must(try_create_list(device, last, 2, 0)), &mem);
}

PROMISE(abi_fdinfo_names_udmabuf,
	"fdinfo says 'exp_name: udmabuf', by which compositors recognise such buffers")
{
	struct memory mem = memory_make(SHMEM_4K, KIB(64));
	char path[64], line[128];
	bool named = false;
	FILE *info;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d",
		 create_range(&mem, 0, mem.size));
	info = fopen(path, "re");
	check(info);
	while (fgets(line, sizeof(line), info))
		named |= !strcmp(line, "exp_name:\tudmabuf\n");
	fclose(info);
	check(named);
	check_eq(file_number(path, "size:"), mem.size);
}

PROMISE(abi_list_may_be_long,
	"a list may have 262144 items of any kind of memfd")
{
	struct udmabuf_create_item *items = calloc(LIST_LIMIT, sizeof(*items));
	struct memory mem = memory_make(SHMEM_4K, 16 * PAGE);
	int device = device_open(), fd;
	unsigned int i;

	if (kernel_looks_closely())
		skip("this kernel takes minutes for so many items");
	for (i = 0; i < LIST_LIMIT; i++)
		items[i] = list_item(&mem, i % 16 * PAGE, PAGE);
	fd = must(try_create_list(device, items, LIST_LIMIT, 0));
	check_eq(lseek(fd, 0, SEEK_END), LIST_LIMIT * PAGE);
}

PROMISE(abi_list_limit_is_a_parameter,
	"list_limit can be read, as ACRN does, and set; longer lists are EINVAL")
{
	struct memory mem = memory_make(SHMEM_4K, KIB(64));
	struct udmabuf_create_item items[3] = {
		list_item(&mem, 0, PAGE), list_item(&mem, 0, PAGE), list_item(&mem, 0, PAGE),
	};
	int device = device_open();
	char path[128];

	snprintf(path, sizeof(path), "/sys/module/%s/parameters/list_limit",
		 driver_name());
	check_eq(file_number(path, ""), LIST_LIMIT);
	check(file_write(path, "2"));
	must(try_create_list(device, items, 2, 0));
	check_eq(try_create_list(device, items, 3, 0), -1);
	check_eq(errno, EINVAL);
	check(file_write(path, "262144"));
	must(try_create_list(device, items, 3, 0));
}

#ifdef __x86_64__
PROMISE(abi_serves_32_bit_programs,
	"both ioctls work through the 32-bit system call")
{
	struct memory mem = memory_make(SHMEM_4K, KIB(64));
	struct udmabuf_create_list *list;
	struct udmabuf_create *one;
	int device = device_open();

	one = must(mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0));
	one->memfd = mem.fd;
	one->size = mem.size;
	check_le(0, ioctl_32(device, UDMABUF_CREATE, one));

	list = memset(one, 0, sizeof(*one));
	list->count = 1;
	list->list[0] = list_item(&mem, 0, mem.size);
	check_le(0, ioctl_32(device, UDMABUF_CREATE_LIST, list));
}
#endif

/* A call that must be refused. */
struct refused {
	int device;
	int error;
	struct udmabuf_create_item good, bad;
};

static void call_refused(void *arg)
{
	struct refused *r = arg;
	struct udmabuf_create_item after_good[] = { r->good, r->bad };

	must_fail(r->error, try_create(r->device, r->bad, 0));
	must_fail(r->error, try_create_list(r->device, &r->bad, 1, 0));
	must_fail(r->error, try_create_list(r->device, after_good, 2, 0));
}

/*
 * The item must be refused alone, in a list, and after a good item. Pages of the good item
 * must not stay pinned: the harness counts them.
 */
static void refuses(int error, struct udmabuf_create_item bad)
{
	struct memory mem = memory_make(SHMEM_4K, KIB(64));
	struct refused refused = {
		.device = device_open(),
		.error = error,
		.good = list_item(&mem, 0, mem.size),
		.bad = bad,
	};

	leaves_nothing(call_refused, &refused, LOOPS);
}

static void refuses_fd(int error, int fd)
{
	refuses(error, (struct udmabuf_create_item){ .memfd = fd, .size = PAGE });
}

PROMISE(abi_refuses_misaligned_offset, "an offset that is no multiple of a page is EINVAL")
{
	struct memory mem = memory_make(SHMEM_4K, KIB(64));

	refuses(EINVAL, list_item(&mem, 512, PAGE));
	refuses(EINVAL, list_item(&mem, PAGE - 1, PAGE));
}

PROMISE(abi_refuses_misaligned_size, "a size that is no multiple of a page is EINVAL")
{
	struct memory mem = memory_make(SHMEM_4K, KIB(64));

	refuses(EINVAL, list_item(&mem, 0, PAGE + 512));
	refuses(EINVAL, list_item(&mem, 0, 1));
}

PROMISE(abi_refuses_size_0, "an empty range is EINVAL, alone and behind a good one")
{
	struct memory mem = memory_make(SHMEM_4K, KIB(64));

	refuses(EINVAL, list_item(&mem, 0, 0));
}

static void call_without_items(void *device)
{
	must_fail(EINVAL, try_create_list(*(int *)device, NULL, 0, 0));
}

PROMISE(abi_refuses_0_items, "an empty list is EINVAL")
{
	int device = device_open();

	leaves_nothing(call_without_items, &device, LOOPS);
}

PROMISE(abi_refuses_range_beyond_the_end, "a range that leaves the memfd is EINVAL")
{
	struct memory mem = memory_make(SHMEM_4K, KIB(64));

	refuses(EINVAL, list_item(&mem, mem.size - PAGE, 2 * PAGE));
	refuses(EINVAL, list_item(&mem, mem.size, PAGE));
}

PROMISE(abi_refuses_hugetlb_range_beyond_the_end,
	"a range that leaves a hugetlb memfd is EINVAL")
{
	struct memory mem = memory_make(HUGETLB_2M, MIB(2));

	refuses(EINVAL, list_item(&mem, mem.size - PAGE, 2 * PAGE));
	refuses(EINVAL, list_item(&mem, mem.size, MIB(2)));
}

PROMISE(abi_refuses_offset_near_2_to_63,
	"offsets around the end of loff_t are EINVAL")
{
	struct memory mem = memory_make(SHMEM_4K, KIB(64));

	refuses(EINVAL, list_item(&mem, (1ull << 63) - PAGE, PAGE));
	refuses(EINVAL, list_item(&mem, (1ull << 63) - PAGE, 2 * PAGE));
	refuses(EINVAL, list_item(&mem, 1ull << 63, PAGE));
}

PROMISE(abi_refuses_range_that_wraps,
	"an offset and a size whose sum exceeds 2^64 are EINVAL")
{
	struct memory mem = memory_make(SHMEM_4K, KIB(64));

	refuses(EINVAL, list_item(&mem, -PAGE, PAGE));
	refuses(EINVAL, list_item(&mem, -PAGE, 2 * PAGE));
	refuses(EINVAL, list_item(&mem, PAGE, -PAGE));
	refuses(EINVAL, list_item(&mem, 0, -PAGE));
	refuses(EINVAL, list_item(&mem, 0, 1ull << 63));
}

PROMISE(abi_refuses_sizes_that_wrap_together,
	"items whose sizes add up to 2^64 or little more are EINVAL")
{
	struct memory mem = memory_make(SHMEM_4K, KIB(64));
	struct udmabuf_create_item items[] = {
		list_item(&mem, 0, 1ull << 63), list_item(&mem, 0, 1ull << 63),
		list_item(&mem, 0, PAGE),
	};
	int device = device_open();

	must_fail(EINVAL, try_create_list(device, items, 2, 0));
	must_fail(EINVAL, try_create_list(device, items, 3, 0));
}

PROMISE(abi_refuses_closed_fd, "a number without an open file is EBADFD")
{
	/* Nothing else uses such a high number meanwhile. */
	must(dup2(0, 900));
	must(close(900));
	refuses_fd(EBADFD, 900);
	refuses_fd(EBADFD, -1);
	refuses_fd(EBADFD, 0x7fffffff);
}

PROMISE(abi_refuses_directory, "a directory is EBADFD")
{
	refuses_fd(EBADFD, must(open("/", O_RDONLY | O_DIRECTORY)));
}

PROMISE(abi_refuses_pipe, "a pipe is EBADFD")
{
	int ends[2];

	must(pipe(ends));
	refuses_fd(EBADFD, ends[0]);
}

PROMISE(abi_refuses_eventfd, "an eventfd is EBADFD")
{
	refuses_fd(EBADFD, must(eventfd(0, 0)));
}

PROMISE(abi_refuses_dma_buf, "a dma-buf made by the same driver is EBADFD")
{
	struct memory mem = memory_make(SHMEM_4K, KIB(64));

	refuses_fd(EBADFD, create_range(&mem, 0, mem.size));
}

PROMISE(abi_refuses_device_itself, "the device's own fd is EBADFD")
{
	refuses_fd(EBADFD, device_open());
}

PROMISE(abi_refuses_secret_memory, "memory of memfd_secret() is EBADFD")
{
	refuses_fd(EBADFD, memfd_make_secret(PAGE));
}

PROMISE(abi_refuses_o_path, "an O_PATH fd, even of a memfd, is EBADFD")
{
	struct memory mem = memory_make(SHMEM_4K, KIB(64));

	refuses_fd(EBADFD, file_reopen(mem.fd, O_PATH));
}

/* Makes a file in a new file system of this type, which is not mounted. */
static int file_in(const char *fs_type, size_t size)
{
	int fs = must(fsopen(fs_type, FSOPEN_CLOEXEC)), root, fd;

	must(fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
	root = must(fsmount(fs, FSMOUNT_CLOEXEC, 0));
	fd = must(openat(root, "file", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	must(ftruncate(fd, size));
	close(root);
	close(fs);
	return fd;
}

PROMISE(abi_refuses_tmpfs_file, "a file in a tmpfs, which nobody can seal, is EINVAL")
{
	refuses_fd(EINVAL, file_in("tmpfs", PAGE));
}

PROMISE(abi_refuses_hugetlbfs_file,
	"a file in a hugetlbfs, which nobody can seal, is EINVAL")
{
	refuses_fd(EINVAL, file_in("hugetlbfs", MIB(32)));
}

PROMISE(abi_refuses_write_only_memfd,
	"a memfd opened write-only is EACCES: the dma-buf could be read")
{
	struct memory mem = memory_make(SHMEM_4K, KIB(64));

	refuses_fd(EACCES, file_reopen(mem.fd, O_WRONLY));
}

PROMISE(abi_takes_the_page_that_a_memfd_ends_in,
	"of a memfd that ends inside a page, all of that page can be taken, as KWin wants")
{
	struct memory mem = memory_make_patterned(SHMEM_4K, 16 * PAGE);
	struct udmabuf_create_item all = list_item(&mem, 0, 17 * PAGE);
	char *map, *zeros = calloc(1, PAGE);
	int device = device_open();

	must(ftruncate(mem.fd, 16 * PAGE + 100));
	all.size = 18 * PAGE;
	must_fail(EINVAL, try_create(device, all, 0));
	all.size = 17 * PAGE;
	map = map_dma_buf(must(try_create(device, all, 0)), 0, 17 * PAGE);
	pattern_check(map, 1, mem.id, 0, 16 * PAGE, "mmap");
	check(zeros);
	check(!memcmp(map + 16 * PAGE, zeros, PAGE));
	map_dma_buf(must(try_create_list(device, &all, 1, 0)), 0, 17 * PAGE)[16 * PAGE] = 1;
	check_eq(map[16 * PAGE], 1);
	free(zeros);
}

PROMISE(abi_refuses_memfd_that_may_shrink,
	"a memfd without F_SEAL_SHRINK is EINVAL, whatever other seals it has")
{
	refuses_fd(EINVAL, memfd_make(SHMEM_4K, PAGE, 0));
	refuses_fd(EINVAL, memfd_make(SHMEM_4K, PAGE, F_SEAL_GROW | F_SEAL_SEAL));
}

PROMISE(abi_refuses_memfd_without_sealing,
	"a memfd that does not allow seals is EINVAL")
{
	int fd = must(memfd_create("dmabufx-tests", MFD_CLOEXEC));

	must(ftruncate(fd, PAGE));
	refuses_fd(EINVAL, fd);
}

PROMISE(abi_refuses_write_sealed_memfd,
	"a memfd with F_SEAL_WRITE is EINVAL: the dma-buf would be writable")
{
	int fd = memfd_make(SHMEM_4K, PAGE, F_SEAL_SHRINK | F_SEAL_WRITE);

	refuses_fd(EINVAL, fd);
	refuses_fd(EINVAL, file_reopen(fd, O_RDONLY));
}

PROMISE(abi_refuses_future_write_sealed_memfd,
	"a memfd with F_SEAL_FUTURE_WRITE is EINVAL")
{
	refuses_fd(EINVAL,
		   memfd_make(SHMEM_4K, PAGE, F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE));
}

PROMISE(abi_accepts_other_seals,
	"memfds with F_SEAL_GROW and F_SEAL_SEAL are accepted")
{
	int device = device_open();
	struct udmabuf_create_item sealed = {
		.memfd = memfd_make(SHMEM_4K, PAGE, F_SEAL_SHRINK | F_SEAL_GROW |
					  F_SEAL_SEAL),
		.size = PAGE,
	};

	must(try_create(device, sealed, 0));
}

PROMISE(abi_alignment_is_judged_first,
	"a misaligned item anywhere is EINVAL, before any fd is checked")
{
	struct memory mem = memory_make(SHMEM_4K, KIB(64));
	struct udmabuf_create_item items[] = {
		{ .memfd = -1, .size = PAGE },
		list_item(&mem, 0, PAGE + 1),
	};
	int device = device_open();

	must_fail(EINVAL, try_create_list(device, items, 2, 0));
	items[1].size = PAGE;
	must_fail(EBADFD, try_create_list(device, items, 2, 0));
	items[0].size = 0;
	must_fail(EINVAL, try_create_list(device, items, 1, 0));
}

/* Returns two pages, of which the second is unmapped. */
static char *cut_pages(void)
{
	char *pages = must(mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));

	must(munmap(pages + PAGE, PAGE));
	return pages;
}

struct bad_pointer {
	int device;
	char *pages;
	const struct memory *mem;
};

static void call_bad_pointers(void *arg)
{
	struct bad_pointer *bad = arg;
	struct udmabuf_create_list *list;
	char *end = bad->pages + PAGE;
	int i;

	must_fail(EFAULT, ioctl(bad->device, UDMABUF_CREATE, NULL));
	must_fail(EFAULT, ioctl(bad->device, UDMABUF_CREATE, end));
	must_fail(EFAULT, ioctl(bad->device, UDMABUF_CREATE, end - 8));
	must_fail(EFAULT, ioctl(bad->device, UDMABUF_CREATE, -PAGE));
	must_fail(EFAULT, ioctl(bad->device, UDMABUF_CREATE_LIST, NULL));
	must_fail(EFAULT, ioctl(bad->device, UDMABUF_CREATE_LIST, end - 4));

	/* The last of three items lies in the unmapped page. */
	list = (void *)(end - sizeof(*list) - 2 * sizeof(list->list[0]));
	list->flags = 0;
	list->count = 3;
	for (i = 0; i < 2; i++)
		list->list[i] = list_item(bad->mem, 0, PAGE);
	must_fail(EFAULT, ioctl(bad->device, UDMABUF_CREATE_LIST, list));
}

PROMISE(abi_refuses_bad_pointers,
	"arguments that are not all in the caller's memory are EFAULT")
{
	struct memory mem = memory_make(SHMEM_4K, KIB(64));
	struct bad_pointer bad = { device_open(), cut_pages(), &mem };

	leaves_nothing(call_bad_pointers, &bad, LOOPS);
}

static void call_long_lists(void *device)
{
	struct udmabuf_create_list head = { .count = LIST_LIMIT + 1 };

	must_fail(EINVAL, ioctl(*(int *)device, UDMABUF_CREATE_LIST, &head));
	head.count = 0x80000000;
	must_fail(EINVAL, ioctl(*(int *)device, UDMABUF_CREATE_LIST, &head));
	head.count = 0xffffffff;
	must_fail(EINVAL, ioctl(*(int *)device, UDMABUF_CREATE_LIST, &head));
}

PROMISE(abi_refuses_too_many_items,
	"more items than list_limit are EINVAL, before any is read")
{
	int device = device_open();

	leaves_nothing(call_long_lists, &device, LOOPS);
}

PROMISE(abi_refuses_unknown_ioctls, "ioctls with other numbers or sizes are ENOTTY")
{
	struct udmabuf_create arg = {};
	int device = device_open();

	must_fail(ENOTTY, ioctl(device, _IO('u', 0x42), &arg));
	must_fail(ENOTTY, ioctl(device, _IOWR('u', 0x42, arg), &arg));
	must_fail(ENOTTY, ioctl(device, _IOW('u', 0x42, char[32]), &arg));
	must_fail(ENOTTY, ioctl(device, _IOW('u', 0x7f, arg), &arg));
	must_fail(ENOTTY, ioctl(device, DMA_BUF_IOCTL_SYNC, &arg));
}

/*
 * Returns a random item. Sizes are not so large that only udmabuf refuses them: there the
 * two drivers differ on purpose.
 */
static struct udmabuf_create_item any_item(const int *fds, unsigned int nr_fds)
{
	const __u64 offsets[] = {
		0, 0, 0, PAGE, KIB(32), KIB(64), 1, PAGE - 1, PAGE + 8, 1ULL << 32,
		(1ULL << 63) - PAGE, 1ULL << 63, -PAGE, -1,
	};
	const __u64 sizes[] = {
		PAGE, PAGE, PAGE, KIB(8), KIB(64), 0, 1, PAGE + 1, 1ULL << 63, -PAGE, -1,
	};

	return (struct udmabuf_create_item) {
		.memfd = fds[random() % nr_fds],
		.offset = offsets[random() % (sizeof(offsets) / sizeof(*offsets))],
		.size = sizes[random() % (sizeof(sizes) / sizeof(*sizes))],
	};
}

/* Returns 0 or the error; closes the buffer. */
static int answer(int device, const struct udmabuf_create_item *items, unsigned int count)
{
	int fd = try_create_list(device, items, count, 0);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

PROMISE(abi_agrees_with_udmabuf,
	"20,000 random lists get the same answer as from the in-tree driver")
{
	struct memory small = memory_make(SHMEM_4K, KIB(64));
	struct memory huge = memory_make(HUGETLB_2M, MIB(2));
	int fds[] = {
		small.fd, small.fd, small.fd, small.fd, huge.fd,
		memfd_make(SHMEM_4K, PAGE, 0),
		memfd_make(SHMEM_4K, PAGE, F_SEAL_SHRINK | F_SEAL_WRITE),
		must(open("/", O_PATH)), must(open("/", O_RDONLY)), 9999, -1,
	};
	int device = device_open(), peer = must(open("/dev/udmabuf", O_RDWR));
	struct udmabuf_create_item items[4] = {};
	unsigned int round, i;

	srandom(1);
	for (round = repeats(20000); round; round--) {
		unsigned int count = random() % 4 + (random() % 16 > 0);
		int ours, theirs;

		for (i = 0; i < count; i++)
			items[i] = any_item(fds, sizeof(fds) / sizeof(*fds));
		ours = answer(device, items, count);
		theirs = answer(peer, items, count);
		if (ours == theirs)
			continue;
		for (i = 0; i < count; i++)
			note("fd %d, offset %#llx, size %#llx", (int)items[i].memfd,
			     items[i].offset, items[i].size);
		fail("%s, the in-tree driver says %s", errno_name(ours), errno_name(theirs));
	}
}
