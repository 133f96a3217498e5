// SPDX-License-Identifier: MIT
/*
 * Read-only buffers of writable and of read-only memory: nobody can write through them in
 * any way, and everybody can read.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buffer.h"
#include "harness.h"
#include "memory.h"
#include "watch.h"

/* A memfd with the pattern and these seals, mapped for reading. */
static struct memory sealed(enum memory_kind kind, size_t size, int seals)
{
	struct memory mem = memory_make_patterned(kind, size);

	memory_unmap(&mem);
	must(fcntl(mem.fd, F_ADD_SEALS, seals));
	mem.map = must(mmap(NULL, mem.size, PROT_READ, MAP_SHARED, mem.fd, 0));
	return mem;
}

static int read_only_of(const struct memory *mem, __u64 offset, __u64 size)
{
	struct dmabufx_segment seg = segment(mem, offset, size);
	struct dmabufx_create req = request(&seg, 1, DMABUFX_CREATE_READ_ONLY);
	int device = device_open(), fd = try_request(device, &req);

	if (fd < 0)
		fail("no read-only buffer: %s, reason %u", errno_name(errno),
		     req.reason);
	must(close(device));
	return fd;
}

static char *map_to_read(int fd, size_t size)
{
	return must(mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0));
}

static void no_descriptor_writes(int fd, size_t size)
{
	static const int modes[] = { O_RDWR, O_WRONLY, O_RDWR | O_TRUNC };
	char path[64];
	size_t i;

	check_eq(must(fcntl(fd, F_GETFL)) & O_ACCMODE, O_RDONLY);
	fcntl(fd, F_SETFL, O_RDWR);
	check_eq(must(fcntl(fd, F_GETFL)) & O_ACCMODE, O_RDONLY);
	check_eq(fcntl(must(dup(fd)), F_GETFL) & O_ACCMODE, O_RDONLY);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	for (i = 0; i < ARRAY_SIZE(modes); i++)
		check_eq(open(path, modes[i]), -1);
	check_eq(pwrite(fd, path, sizeof(path), 0), -1);
	check_eq(write(fd, path, sizeof(path)), -1);
	check_eq(ftruncate(fd, 0), -1);
	check_eq(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			   size), -1);
}

static void no_new_mapping_writes(int fd, size_t size)
{
	const int both = PROT_READ | PROT_WRITE;

	must_fail(EACCES, mmap(NULL, size, both, MAP_SHARED, fd, 0));
	must_fail(EACCES, mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, fd, 0));
	must_fail(EACCES, mmap(NULL, size, both, MAP_SHARED_VALIDATE, fd, 0));
	must_fail(EINVAL, mmap(NULL, size, both, MAP_PRIVATE, fd, 0));
	must_fail(EINVAL, mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0));
}

/* A debugger can write to read-only mappings of other memory, but not to this one. */
static void no_debugger_writes(char *map)
{
	int child = must(fork()), status;

	if (!child) {
		must(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
		raise(SIGSTOP);
		_exit(0);
	}
	must(waitpid(child, &status, 0));
	check(WIFSTOPPED(status));
	check_eq(ptrace(PTRACE_POKEDATA, child, map, 77), -1);
	check_eq(ptrace(PTRACE_POKETEXT, child, map, 77), -1);
	must(kill(child, SIGKILL));
	must(waitpid(child, &status, 0));
}

static void no_mapping_becomes_writable(char *map, size_t size, bool touched)
{
	static char bytes[64];
	struct iovec from = { bytes, sizeof(bytes) }, to = { map, sizeof(bytes) };
	int mem = must(open("/proc/self/mem", O_RDWR | O_CLOEXEC));
	int zeros = must(open("/dev/zero", O_RDONLY | O_CLOEXEC));

	if (touched)
		check_le(0, *(volatile signed char *)map | 1);
	must_fail(EACCES, mprotect(map, size, PROT_READ | PROT_WRITE));
	must_fail(EACCES, mprotect(map, PAGE, PROT_WRITE));
	check_eq(touch(map, true), SIGSEGV);
	check_eq(touch(map + size - 1, true), SIGSEGV);
	check_eq(pwrite(mem, bytes, sizeof(bytes), (uintptr_t)map), -1);
	check_eq(process_vm_writev(getpid(), &from, 1, &to, 1, 0), -1);
	must_fail(EFAULT, read(zeros, map, PAGE));
	check_eq(madvise(map, size, MADV_POPULATE_WRITE), -1);
	no_debugger_writes(map);
	must(close(mem));
	must(close(zeros));
}

static void no_device_writes(int fd, const struct memory *mem, __u64 offset,
			     size_t size)
{
	struct dmabufx_importer_map both = {
		.dir = DMABUFX_IMPORTER_BIDIRECTIONAL,
	};
	struct dmabufx_importer_map from = {
		.dir = DMABUFX_IMPORTER_FROM_DEVICE,
	};
	int importer = importer_open();
	__u64 *data = malloc(size);

	check(data);
	importer_attach(importer, fd);
	must_fail(EACCES, try_importer_map(importer, &both));
	must_fail(EACCES, try_importer_map(importer, &from));
	check_eq(importer_map(importer, DMABUFX_IMPORTER_TO_DEVICE).faults, 0);
	importer_read(importer, DMABUFX_VIA_DEVICE, 0, data, size);
	pattern_check(data, 1, mem->id, offset, size, "the device");
	importer_read(importer, DMABUFX_VIA_SG, 0, data, size);
	pattern_check(data, 1, mem->id, offset, size, "the scatterlist");
	importer_do(importer, DMABUFX_IMPORTER_UNMAP, 0);
	must_fail(EACCES, try_importer_map(importer, &both));
	must(close(importer));
	free(data);
}

/* Importers do not say whether they will write, so the driver refuses all vmaps. */
static void no_kernel_maps(int fd)
{
	int importer = importer_open(), round;

	importer_attach(importer, fd);
	for (round = 0; round < 2; round++) {
		must_fail(EINVAL, ioctl(importer, DMABUFX_IMPORTER_VMAP, 0));
		must_fail(EINVAL, ioctl(importer, DMABUFX_IMPORTER_VUNMAP, 0));
	}
	importer_map(importer, DMABUFX_IMPORTER_TO_DEVICE);
	must_fail(EINVAL, ioctl(importer, DMABUFX_IMPORTER_VMAP, 0));
	must(close(importer));
}

/* Tries to write in all ways; afterwards the memory is unchanged. */
static void nobody_writes(const struct memory *mem, __u64 offset, size_t size)
{
	int fd = read_only_of(mem, offset, size);
	char *untouched = map_to_read(fd, size), *map = map_to_read(fd, size);

	pattern_check(map, 1, mem->id, offset, size, "mmap");
	no_descriptor_writes(fd, size);
	no_new_mapping_writes(fd, size);
	no_mapping_becomes_writable(untouched, size, false);
	no_mapping_becomes_writable(map, size, true);
	no_device_writes(fd, mem, offset, size);
	no_kernel_maps(fd);
	sync_start(fd, DMA_BUF_SYNC_RW);
	sync_end(fd, DMA_BUF_SYNC_RW);
	pattern_check(map, 1, mem->id, offset, size, "mmap");
	pattern_check(untouched, 1, mem->id, offset, size, "mmap");
	must(munmap(map, size));
	must(munmap(untouched, size));
	must(close(fd));
}

static void nobody_writes_kind(enum memory_kind kind)
{
	struct memory mem = memory_make_patterned(kind, MIB(4)), user = memory_as_user(&mem);

	if (mem.fd >= 0)
		nobody_writes(&mem, PAGE, MIB(4) - 2 * PAGE);
	/* For one page, or one folio, the kernel has an address already. */
	nobody_writes(&mem, MIB(2), PAGE);
	nobody_writes(&mem, MIB(2), MIB(2));
	user.id = mem.id;
	nobody_writes(&user, 0, MIB(4));
	memory_free(&mem);
}

PROMISE(readonly_buffers_are_not_written,
	"nobody writes through a read-only buffer, by mmap, device, vmap or debugger")
{
	nobody_writes_kind(SHMEM_4K);
	nobody_writes_kind(SHMEM_2M);
	nobody_writes_kind(HUGETLB_2M);
	nobody_writes_kind(ANON_4K);
	nobody_writes_kind(ANON_2M);
	nobody_writes_kind(ANON_HUGETLB_2M);
}

PROMISE(readonly_buffers_have_no_kernel_mapping,
	"a kernel mapping of a read-only buffer is an error")
{
	static const enum memory_kind kinds[] = {
		SHMEM_4K, SHMEM_2M, HUGETLB_2M, ANON_4K, ANON_2M, ANON_HUGETLB_2M,
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct memory mem = memory_make_patterned(kinds[i], MIB(4));
		struct memory user = memory_as_user(&mem);

		note("%s", memory_name(kinds[i]));
		no_kernel_maps(read_only_of(&mem, 0, mem.size));
		no_kernel_maps(read_only_of(&user, 0, mem.size));
		/* For one page the kernel has an address already. */
		no_kernel_maps(read_only_of(&mem, MIB(2), PAGE));
		pattern_check(mem.map, 1, mem.id, 0, mem.size, "the owner");
		memory_free(&mem);
	}
}

static void nobody_writes_sealed(enum memory_kind kind, int seal)
{
	struct memory mem = sealed(kind, MIB(2), seal);

	nobody_writes(&mem, 0, MIB(2));
	nobody_writes(&mem, PAGE, PAGE);
	memory_free(&mem);
}

PROMISE(readonly_buffers_of_sealed_memfds,
	"memfds sealed against writing, now or in future, make read-only buffers")
{
	nobody_writes_sealed(SHMEM_4K, F_SEAL_WRITE);
	nobody_writes_sealed(SHMEM_4K, F_SEAL_FUTURE_WRITE);
	nobody_writes_sealed(SHMEM_2M, F_SEAL_WRITE);
	nobody_writes_sealed(SHMEM_2M, F_SEAL_FUTURE_WRITE);
	nobody_writes_sealed(HUGETLB_2M, F_SEAL_WRITE);
	nobody_writes_sealed(HUGETLB_2M, F_SEAL_FUTURE_WRITE);
}

PROMISE(readonly_buffers_of_read_only_memory,
	"memory that the process can only read makes read-only buffers")
{
	struct memory private = memory_make_patterned(ANON_4K, MIB(1));
	struct memory thp = memory_make_patterned(ANON_2M, MIB(2));
	struct memory memfd = sealed(SHMEM_4K, MIB(1), F_SEAL_WRITE), shared;

	must(mprotect(private.map, private.size, PROT_READ));
	must(mprotect(thp.map, thp.size, PROT_READ));
	nobody_writes(&private, 0, MIB(1));
	nobody_writes(&thp, 0, MIB(2));
	/* The same memory, named by address. */
	shared = memfd;
	shared.fd = -1;
	nobody_writes(&shared, 0, MIB(1));
}

PROMISE(readonly_needs_a_memfd_that_is_read,
	"a memfd opened read-only is enough; one opened write-only is EACCES")
{
	struct memory mem = memory_make_patterned(SHMEM_4K, MIB(1));
	struct udmabuf_create_item old;
	struct memory by_path = mem;
	struct dmabufx_segment seg;
	struct dmabufx_create req;
	int device = device_open(), fd;

	by_path.fd = file_reopen(mem.fd, O_RDONLY);
	nobody_writes(&by_path, 0, MIB(1));
	/* That is not enough for a writable buffer; UDMABUF_CREATE makes a read-only one. */
	seg = segment(&by_path, 0, MIB(1));
	req = request(&seg, 1, 0);
	refused(EACCES, DMABUFX_REASON_OPEN_MODE, 0, device, &req);
	old = list_item(&by_path, 0, MIB(1));
	fd = must(try_create(device, old, 0));
	check_eq(must(fcntl(fd, F_GETFL)) & O_ACCMODE, O_RDONLY);

	by_path.fd = file_reopen(mem.fd, O_WRONLY);
	seg = segment(&by_path, 0, MIB(1));
	req = request(&seg, 1, DMABUFX_CREATE_READ_ONLY);
	refused(EACCES, DMABUFX_REASON_OPEN_MODE, 0, device, &req);
}

PROMISE(readonly_is_close_on_exec_if_asked,
	"DMABUFX_CREATE_READ_ONLY and DMABUFX_CREATE_CLOEXEC go together")
{
	struct memory mem = memory_make(SHMEM_4K, PAGE);
	struct dmabufx_segment seg = segment(&mem, 0, PAGE);
	struct dmabufx_create req = request(&seg, 1, DMABUFX_CREATE_READ_ONLY |
						     DMABUFX_CREATE_CLOEXEC);
	int fd = must(try_request(device_open(), &req));

	check_eq(must(fcntl(fd, F_GETFD)) & FD_CLOEXEC, FD_CLOEXEC);
	check_eq(must(fcntl(fd, F_GETFL)) & O_ACCMODE, O_RDONLY);
	fd = read_only_of(&mem, 0, PAGE);
	check_eq(must(fcntl(fd, F_GETFD)) & FD_CLOEXEC, 0);
}

/* Verifies that all ways to read show what @writer puts into its memory. */
static void shows_writes(const struct memory *mem, char *writer)
{
	__u64 *data = malloc(mem->size);
	int importer = importer_open();
	int fd = read_only_of(mem, 0, mem->size);
	char *map = map_to_read(fd, mem->size);
	unsigned int pass;

	check(data);
	importer_attach(importer, fd);
	importer_map(importer, DMABUFX_IMPORTER_TO_DEVICE);
	for (pass = 2; pass < 4; pass++) {
		pattern_fill(writer, pass, mem->id, 0, mem->size);
		pattern_check(map, pass, mem->id, 0, mem->size, "mmap");
		importer_read(importer, DMABUFX_VIA_DEVICE, 0, data, mem->size);
		pattern_check(data, pass, mem->id, 0, mem->size, "the device");
	}
	must(close(importer));
	must(munmap(map, mem->size));
	must(close(fd));
	free(data);
}

PROMISE(readonly_is_kept_by_importers_mappings,
	"a mapping that an importer makes of the buffer is read-only, too")
{
	struct memory mem = memory_make_patterned(SHMEM_4K, KIB(64));
	int fd = read_only_of(&mem, 0, mem.size), importer = importer_open();
	const char *map;

	must_fail(EACCES, mmap(NULL, mem.size, PROT_READ | PROT_WRITE, MAP_SHARED,
			       importer, fd * PAGE));
	map = must(mmap(NULL, mem.size, PROT_READ, MAP_SHARED, importer, fd * PAGE));
	pattern_check(map, 1, mem.id, 0, mem.size, "the importer's mapping");
	must_fail(EACCES, mprotect((void *)map, mem.size, PROT_READ | PROT_WRITE));
}

PROMISE(readonly_shows_what_the_owner_writes,
	"the owner can write to the memory of a read-only buffer, and readers see it")
{
	static const enum memory_kind kinds[] = {
		SHMEM_4K, HUGETLB_2M, ANON_4K, ANON_2M, ANON_HUGETLB_2M,
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct memory mem = memory_make_patterned(kinds[i], MIB(2));
		struct memory user = memory_as_user(&mem);

		shows_writes(&mem, mem.map);
		shows_writes(&user, mem.map);
		memory_free(&mem);
	}
}

PROMISE(readonly_shows_what_old_mappings_write,
	"readers see writes through a mapping from before F_SEAL_FUTURE_WRITE")
{
	struct memory mem = memory_make_patterned(SHMEM_4K, MIB(1));

	must(fcntl(mem.fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
	shows_writes(&mem, mem.map);
}

PROMISE(readonly_shows_what_a_writable_buffer_writes,
	"readers see writes through a writable buffer of the same memory")
{
	struct memory mem = memory_make_patterned(SHMEM_4K, MIB(1));

	shows_writes(&mem, map_dma_buf(create_range(&mem, 0, MIB(1)), 0, MIB(1)));
}

static void follows_its_owner(struct memory *mem)
{
	int fd = read_only_of(mem, 0, mem->size);
	char *map = map_to_read(fd, mem->size);

	must(mprotect(mem->map, mem->size, PROT_READ | PROT_WRITE));
	pattern_fill(mem->map, 2, mem->id, 0, mem->size);
	pattern_check(map, 2, mem->id, 0, mem->size, "mmap");
	must(munmap(map, mem->size));
	must(close(fd));
}

PROMISE(readonly_memory_stays_its_owners,
	"readers see later writes to memory that was only readable, or never touched")
{
	struct memory touched = memory_make_patterned(ANON_4K, MIB(1));
	struct memory thp = memory_make_patterned(ANON_2M, MIB(2));
	struct memory untouched = memory_make_holes(ANON_4K, MIB(4));
	struct memory zeros = memory_make_holes(ANON_4K, MIB(4));
	size_t offset;

	must(mprotect(touched.map, touched.size, PROT_READ));
	follows_its_owner(&touched);
	must(mprotect(thp.map, thp.size, PROT_READ));
	follows_its_owner(&thp);
	must(mprotect(untouched.map, untouched.size, PROT_READ));
	follows_its_owner(&untouched);
	/* Reads map the shared page of zeros. */
	for (offset = 0; offset < zeros.size; offset += PAGE)
		check_eq(((volatile char *)zeros.map)[offset], 0);
	follows_its_owner(&zeros);
}

PROMISE(readonly_fills_holes,
	"a read-only buffer fills holes of a memfd, sealed or not, with zeros")
{
	struct memory mem = memory_make_holes(SHMEM_4K, MIB(1));
	char *zeros = calloc(1, MIB(1));

	memory_unmap(&mem);
	must(fcntl(mem.fd, F_ADD_SEALS, F_SEAL_WRITE));
	check(!memcmp(map_to_read(read_only_of(&mem, 0, MIB(1)), MIB(1)), zeros,
		      MIB(1)));
	check_eq(memory_populated(&mem), MIB(1));
	free(zeros);
}

PROMISE(readonly_leaves_seals_to_be_added,
	"while a read-only buffer lives, F_SEAL_FUTURE_WRITE can be added")
{
	struct memory mem = memory_make_patterned(SHMEM_4K, MIB(1));
	int fd = read_only_of(&mem, 0, MIB(1));

	memory_unmap(&mem);
	must(fcntl(mem.fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
	must_fail(EPERM, mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
			      mem.fd, 0));
	pattern_check(map_to_read(fd, MIB(1)), 1, mem.id, 0, MIB(1), "mmap");
}

PROMISE(readonly_takes_mapped_files,
	"mapped files on a disk, shared or private, make read-only buffers")
{
	struct memory mem = memory_make_patterned(ANON_4K, KIB(64)), mapped = mem;
	int file = file_on_disk(KIB(64)), fd;
	char *map;

	must(pwrite(file, mem.map, mem.size, 0));
	mapped.map = must(mmap(NULL, KIB(64), PROT_READ, MAP_PRIVATE, file, 0));
	nobody_writes(&mapped, 0, KIB(64));
	mapped.map = must(mmap(NULL, KIB(64), PROT_READ, MAP_SHARED, file, 0));
	nobody_writes(&mapped, 0, KIB(64));
	mapped.map = must(mmap(NULL, KIB(64), PROT_READ | PROT_WRITE, MAP_SHARED,
			       file, 0));
	nobody_writes(&mapped, 0, KIB(64));

	/* Writes to the file show in the buffer; truncating the file does no harm. */
	fd = read_only_of(&mapped, 0, KIB(64));
	map = map_to_read(fd, KIB(64));
	pattern_fill(mem.map, 2, mem.id, 0, KIB(64));
	must(pwrite(file, mem.map, KIB(64), 0));
	pattern_check(map, 2, mem.id, 0, KIB(64), "mmap");
	must(fsync(file));
	must(ftruncate(file, 0));
	must(munmap(mapped.map, KIB(64)));
	must(close(file));
	pattern_check(map, 2, mem.id, 0, KIB(64), "mmap");
}

PROMISE(readonly_mixes_memory,
	"sealed memfds and all kinds of read-only memory together make one read-only buffer")
{
	struct memory file = sealed(SHMEM_4K, MIB(1), F_SEAL_WRITE);
	struct memory huge = sealed(HUGETLB_2M, MIB(2), F_SEAL_WRITE);
	struct memory own = memory_make_patterned(ANON_4K, MIB(1));
	struct memory thp = memory_make_patterned(ANON_2M, MIB(2));
	struct dmabufx_segment segments[] = {
		segment(&own, KIB(32) + 64, KIB(32) - 64),
		segment(&huge, MIB(1), KIB(512)),
		segment(&file, KIB(64), KIB(64)),
		segment(&thp, MIB(1), KIB(256)),
		segment(&file, 0, PAGE),
	};
	struct dmabufx_create req = request(segments, ARRAY_SIZE(segments),
					    DMABUFX_CREATE_READ_ONLY);
	size_t size = KIB(32) + KIB(512) + KIB(64) + KIB(256) + PAGE;
	int device = device_open();
	char *map;

	must(mprotect(own.map, own.size, PROT_READ));
	map = map_to_read(must(try_request(device, &req)), size);
	check_eq(req.data_offset, 64);
	pattern_check(map, 1, own.id, KIB(32), KIB(32), "mmap");
	map += KIB(32);
	pattern_check(map, 1, huge.id, MIB(1), KIB(512), "mmap");
	map += KIB(512);
	pattern_check(map, 1, file.id, KIB(64), KIB(64), "mmap");
	map += KIB(64);
	pattern_check(map, 1, thp.id, MIB(1), KIB(256), "mmap");
	map += KIB(256);
	pattern_check(map, 1, file.id, 0, PAGE, "mmap");

	/* A writable buffer of the same segments is refused. */
	req = request(segments, ARRAY_SIZE(segments), 0);
	refused(EACCES, DMABUFX_REASON_PROTECTED, 0, device, &req);
}
