// SPDX-License-Identifier: MIT
/* Mappings of a buffer in processes: what works, and what is refused. */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEFAULT_TAGS TAG_PEER

#include "buffer.h"
#include "harness.h"
#include "memory.h"
#include "watch.h"

#define SIZE KIB(256)

static void shows(const char *map, const struct memory *mem, __u64 offset,
		  size_t size)
{
	pattern_check(map, 1, mem->id, offset, size, "mmap");
}

PROMISE(mmap_private_is_refused, "a private mapping is EINVAL")
{
	struct memory mem = memory_make(SHMEM_4K, SIZE);
	int fd = create_range(&mem, 0, SIZE);

	must_fail(EINVAL, mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE, fd, 0));
	must_fail(EINVAL, mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE,
			       fd, 0));
}

PROMISE(mmap_beyond_the_end_is_refused,
	"offsets and lengths that leave the buffer are EINVAL")
{
	struct memory mem = memory_make(SHMEM_4K, SIZE);
	int fd = create_range(&mem, 0, SIZE / 2);
	const int prot = PROT_READ, flags = MAP_SHARED;

	must_fail(EINVAL, mmap(NULL, SIZE / 2 + 1, prot, flags, fd, 0));
	must_fail(EINVAL, mmap(NULL, PAGE, prot, flags, fd, SIZE / 2));
	must_fail(EINVAL, mmap(NULL, 2 * PAGE, prot, flags, fd,
			       SIZE / 2 - PAGE));
	must_fail(EINVAL, mmap(NULL, PAGE, prot, flags, fd, 1ll << 40));
	must_fail(EINVAL, mmap(NULL, PAGE, prot, flags, fd,
			       (1ull << 63) - PAGE));
	must_fail(EOVERFLOW, mmap(NULL, PAGE, prot, flags, fd, -PAGE));
}

PROMISE(mremap_cannot_grow, "growing a mapping is EFAULT, in place or elsewhere")
{
	struct memory mem = memory_make(SHMEM_4K, SIZE);
	char *map = map_dma_buf(create_range(&mem, 0, SIZE), 0, SIZE / 2);

	must_fail(EFAULT, mremap(map, SIZE / 2, SIZE, 0));
	must_fail(EFAULT, mremap(map, SIZE / 2, SIZE, MREMAP_MAYMOVE));
	must_fail(EFAULT, mremap(map, SIZE / 2, 2 * SIZE, MREMAP_MAYMOVE));
	must_fail(EFAULT, mremap(map, 0, SIZE, MREMAP_MAYMOVE));
}

/* Runs it on a mapping of single pages, then on a mapping of huge pages. */
static void for_both_sizes(void (*run)(const struct memory *mem, char *map))
{
	static const enum memory_kind kinds[] = { SHMEM_4K, HUGETLB_2M };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct memory mem = memory_make_patterned(kinds[i], MIB(8));

		note("%s", memory_name(kinds[i]));
		run(&mem, map_at_aligned_place(create_range(&mem, 0, mem.size), mem.size, MIB(2),
					       MAP_SHARED));
	}
}

static void move_and_shrink(const struct memory *mem, char *map)
{
	const size_t half = mem->size / 2;
	char *there = must(mmap(NULL, half + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
				-1, 0));

	/* Touches one of the two page tables that are moved, so that it exists. */
	shows(map + half, mem, half, half / 4);
	there = must(mremap(map + half, half, half, MREMAP_MAYMOVE | MREMAP_FIXED,
			    there + PAGE));
	check_eq(touch(map + half, false), SIGSEGV);
	shows(there, mem, half, half);
	pattern_fill(there, 2, mem->id, half, half);
	pattern_check(mem->map + half, 2, mem->id, half, half, "the memfd");
	shows(map, mem, 0, half);
	check(mremap(map, half, half / 2, 0) == map);
	shows(map, mem, 0, half / 2);
	check_eq(touch(map + half / 2, false), SIGSEGV);
}

PROMISE(mremap_keeps_data,
	"a mapping moved as a whole or in part, or shrunk, shows the same pages")
{
	for_both_sizes(move_and_shrink);
}

PROMISE(remap_file_pages_stays_inside,
	"remap_file_pages() cannot bring pages from beyond the end")
{
	struct memory mem = memory_make_patterned(SHMEM_4K, SIZE);
	char *map = map_dma_buf(create_range(&mem, 0, SIZE / 2), 0, SIZE / 2);
	size_t beyond = SIZE / 2 / PAGE;

	/* The kernel may unmap the page before the call fails. */
	check_eq(remap_file_pages(map, PAGE, 0, beyond, 0), -1);
	if (!touch(map, false))
		shows(map, &mem, 0, PAGE);
	shows(map + PAGE, &mem, PAGE, SIZE / 2 - PAGE);
}

static void windows(enum memory_kind kind)
{
	struct memory mem = memory_make_patterned(kind, MIB(4));
	__u64 first = PAGE, size = MIB(4) - 3 * PAGE, offset;
	int fd = create_range(&mem, first, size);

	for (offset = 0; offset < size; offset += 101 * PAGE) {
		size_t len = size - offset < 10 * PAGE ? size - offset : 10 * PAGE;
		char *map = map_dma_buf(fd, offset, len);

		shows(map, &mem, first + offset, len);
		must(munmap(map, len));
	}
}

PROMISE(mmap_windows_show_their_pages,
	"mappings of parts, from any offset, show the right pages of all kinds of memory")
{
	enum memory_kind kind;

	for (kind = SHMEM_4K; kind <= HUGETLB_2M; kind++)
		windows(kind);
}

PROMISE(mmap_last_page_first, "a mapping may be touched in any order")
{
	struct memory mem = memory_make_patterned(SHMEM_2M, MIB(4));
	char *map = map_dma_buf(create_range(&mem, PAGE, MIB(3)), 0, MIB(3));
	__u64 offset;

	for (offset = MIB(3); offset; offset -= PAGE)
		shows(map + offset - PAGE, &mem, offset, PAGE);
}

static void unmap_the_middle(const struct memory *mem, char *map)
{
	/* From one huge page, which is mapped, into the next, which is not. */
	const size_t hole = MIB(1) + PAGE, end = MIB(3) - PAGE;

	shows(map, mem, 0, MIB(1));
	must(munmap(map + hole, end - hole));
	shows(map, mem, 0, hole);
	shows(map + end, mem, end, mem->size - end);
	check_eq(touch(map + hole, false), SIGSEGV);
	check_eq(touch(map + end - 1, true), SIGSEGV);
}

PROMISE(munmap_in_the_middle,
	"after munmap() in its middle, the rest of a mapping still shows its pages")
{
	for_both_sizes(unmap_the_middle);
}

static void protect_and_touch(const struct memory *mem, char *map)
{
	char *middle = map + mem->size / 2;

	check_eq(touch(map, true), 0);
	must(mprotect(map, mem->size, PROT_READ));
	check_eq(touch(map, true), SIGSEGV);
	check_eq(touch(middle, true), SIGSEGV);
	check_eq(touch(middle, false), 0);
	/* The fault has mapped more pages than the one that was touched. */
	check_eq(touch(middle + PAGE, true), SIGSEGV);
	shows(map + PAGE, mem, PAGE, mem->size - PAGE);

	/* Protects one page, so that the mapping around it is split. */
	must(mprotect(map, mem->size, PROT_READ | PROT_WRITE));
	must(mprotect(middle + PAGE, PAGE, PROT_NONE));
	check_eq(touch(middle + PAGE, false), SIGSEGV);
	check_eq(touch(middle, true), 0);
	check_eq(touch(middle + 2 * PAGE, true), 0);
	must(mprotect(middle + PAGE, PAGE, PROT_READ | PROT_WRITE));
	pattern_fill(map, 2, mem->id, 0, mem->size);
	pattern_check(mem->map, 2, mem->id, 0, mem->size, "the memfd");
	must(mprotect(map, mem->size, PROT_NONE));
	check_eq(touch(map, false), SIGSEGV);
}

PROMISE(mprotect_is_obeyed,
	"writes to read-only parts of a mapping are SIGSEGV until they are writable again")
{
	for_both_sizes(protect_and_touch);
}

static void write_while_tracked(const struct memory *mem, char *map)
{
	pattern_fill(map, 2, mem->id, 0, mem->size / 2);
	check(file_write("/proc/self/clear_refs", "4"));
	pattern_fill(map, 3, mem->id, 0, mem->size);
	pattern_check(mem->map, 3, mem->id, 0, mem->size, "the memfd");
}

PROMISE(tracked_writes_are_taken,
	"a page that soft-dirty tracking made read-only takes the next write")
{
	for_both_sizes(write_while_tracked);
}

PROMISE(read_then_write, "a page first read, then written, takes the write")
{
	struct memory mem = memory_make_patterned(SHMEM_2M, MIB(2));
	char *map = map_dma_buf(create_range(&mem, 0, MIB(2)), 0, MIB(2));
	__u64 offset;

	shows(map, &mem, 0, MIB(2));
	for (offset = 0; offset < MIB(2); offset += KIB(68)) {
		map[offset] = 77;
		check_eq(mem.map[offset], 77);
	}
}

static void fork_and_write(const struct memory *mem, char *map)
{
	int child;

	shows(map, mem, 0, MIB(1));
	child = must(fork());
	if (!child) {
		shows(map, mem, 0, mem->size);
		pattern_fill(map, 2, mem->id, 0, mem->size);
		must(munmap(map + PAGE, PAGE));
		pattern_check(map + 2 * PAGE, 2, mem->id, 2 * PAGE, MIB(1), "the child");
		_exit(0);
	}
	join_child(child);
	pattern_check(map, 2, mem->id, 0, mem->size, "the parent");
	pattern_check(mem->map, 2, mem->id, 0, mem->size, "the memfd");
}

PROMISE(fork_shares,
	"a child's mapping shares memory with its parent's, touched before or not")
{
	for_both_sizes(fork_and_write);
}

PROMISE(mapping_is_marked,
	"the mapping is VM_PFNMAP, VM_DONTEXPAND and VM_DONTDUMP")
{
	static const char * const flags[] = { " pf ", " de ", " dd ", " sh " };
	struct memory mem = memory_make(SHMEM_4K, SIZE);
	char *map = map_dma_buf(create_range(&mem, 0, SIZE), 0, SIZE);
	FILE *smaps = fopen("/proc/self/smaps", "re");
	bool found = false;
	char line[512];
	size_t i;

	check(smaps);
	while (fgets(line, sizeof(line), smaps)) {
		unsigned long start;

		if (sscanf(line, "%lx-", &start) == 1 && strchr(line, '-'))
			found = start == (unsigned long)map;
		if (!found || strncmp(line, "VmFlags:", 8))
			continue;
		for (i = 0; i < ARRAY_SIZE(flags); i++)
			if (!strstr(line, flags[i]))
				fail("no '%s' in %s", flags[i], line);
		return;
	}
	fail("the mapping is not in smaps");
}

PROMISE(mlock_and_advice_do_no_harm,
	"mlock, MADV_DONTNEED and MADV_WILLNEED leave the data as it is")
{
	struct memory mem = memory_make_patterned(SHMEM_4K, SIZE);
	char *map = map_dma_buf(create_range(&mem, 0, SIZE), 0, SIZE);

	shows(map, &mem, 0, SIZE);
	mlock(map, SIZE);
	munlock(map, SIZE);
	madvise(map, SIZE, MADV_DONTNEED);
	madvise(map, SIZE, MADV_WILLNEED);
	shows(map, &mem, 0, SIZE);
}

/* The memory of this process as a debugger accesses it. */
static int process_memory(void)
{
	return must(open("/proc/self/mem", O_RDWR | O_CLOEXEC));
}

PROMISE(debuggers_see_mappings,
	"/proc/PID/mem reads and writes any range of a mapping")
{
	struct memory one = memory_make_patterned(SHMEM_4K, MIB(1));
	struct memory two = memory_make_patterned(HUGETLB_2M, MIB(2));
	struct udmabuf_create_item list[] = {
		list_item(&one, PAGE, PAGE),
		list_item(&two, MIB(1), 2 * PAGE),
		list_item(&one, 0, PAGE),
	};
	char *map = map_dma_buf(must(try_create_list(device_open(), list, 3, 0)), 0,
				4 * PAGE);
	int process = process_memory();
	char data[4 * PAGE];

	/* Reads before any fault, and from one run into the next. */
	check_eq(pread(process, data, 4 * PAGE, (uintptr_t)map), 4 * PAGE);
	pattern_check(data, 1, one.id, PAGE, PAGE, "the debugger");
	pattern_check(data + PAGE, 1, two.id, MIB(1), 2 * PAGE, "the debugger");
	pattern_check(data + 3 * PAGE, 1, one.id, 0, PAGE, "the debugger");

	pattern_fill(data, 2, one.id, PAGE + 8, PAGE - 8);
	pattern_fill(data + PAGE - 8, 2, two.id, MIB(1), 16);
	check_eq(pwrite(process, data, PAGE + 8, (uintptr_t)map + 8), PAGE + 8);
	pattern_check(one.map + PAGE, 1, one.id, PAGE, 8, "the memfd");
	pattern_check(one.map + PAGE + 8, 2, one.id, PAGE + 8, PAGE - 8, "the memfd");
	pattern_check(two.map + MIB(1), 2, two.id, MIB(1), 16, "the memfd");
	pattern_check(two.map + MIB(1) + 16, 1, two.id, MIB(1) + 16, PAGE, "the memfd");
	pattern_check(map, 1, one.id, PAGE, 8, "mmap");
	pattern_check(map + PAGE, 2, two.id, MIB(1), 16, "mmap");

	/* Nothing is mapped after the area. */
	must(munmap(map + 2 * PAGE, 2 * PAGE));
	check_eq(pread(process, data, 4 * PAGE, (uintptr_t)map), 2 * PAGE);
	must_fail(EIO, pread(process, data, PAGE, (uintptr_t)map + 2 * PAGE));
}

PROMISE(debuggers_peek_and_poke, "ptrace() reads and writes the words of a mapping")
{
	struct memory mem = memory_make_patterned(SHMEM_4K, SIZE);
	char *map = map_dma_buf(create_range(&mem, 0, SIZE), 0, SIZE);
	__u64 word;
	int child = must(fork()), status = 0;

	if (!child) {
		must(ptrace(PTRACE_TRACEME, 0, 0, 0));
		raise(SIGSTOP);
		_exit(0);
	}
	check_eq(must(waitpid(child, &status, 0)), child);
	check(WIFSTOPPED(status));
	errno = 0;
	word = ptrace(PTRACE_PEEKDATA, child, map + 3 * PAGE - 8, 0);
	check_eq(errno, 0);
	pattern_check((char *)&word, 1, mem.id, 3 * PAGE - 8, 8, "the debugger");
	must(ptrace(PTRACE_POKEDATA, child, map + SIZE - 8, 0x1234567890abcdefull));
	check_eq(*(__u64 *)(mem.map + SIZE - 8), 0x1234567890abcdefull);
	must(ptrace(PTRACE_CONT, child, 0, 0));
	join_child(child);
}

PROMISE(debuggers_obey_protection,
	"a debugger cannot write through a read-only mapping, but reads every mapping")
{
	struct memory mem = memory_make_patterned(SHMEM_4K, SIZE);
	int fd = create_range(&mem, 0, SIZE), process = process_memory();
	char *map = must(mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0));
	__u64 word = 1;

	must_fail(EIO, pwrite(process, &word, sizeof(word), (uintptr_t)map));
	must(mprotect(map, SIZE, PROT_NONE));
	must_fail(EIO, pwrite(process, &word, sizeof(word), (uintptr_t)map));
	check_eq(pread(process, &word, sizeof(word), (uintptr_t)map), sizeof(word));
	pattern_check((char *)&word, 1, mem.id, 0, sizeof(word), "the debugger");
	pattern_check(mem.map, 1, mem.id, 0, SIZE, "the memfd");
}

PROMISE(mmap_by_an_importer_may_fail_late,
	"an importer's mmap may fail after the buffer is mapped, and then end the mapping")
{
	struct memory mem = memory_make_patterned(SHMEM_4K, SIZE);
	int fd = create_range(&mem, 0, SIZE), importer = importer_open();

	must_fail(ECANCELED, mmap(NULL, SIZE, PROT_READ, MAP_SHARED, importer,
				  (fd | DMABUFX_IMPORTER_MMAP_CLOSES) * PAGE));
	shows(map_dma_buf(fd, 0, SIZE), &mem, 0, SIZE);
}

static void poisoned_page_of(enum memory_kind kind)
{
	struct memory mem = memory_make_patterned(kind, MIB(2));
	int before, written, seen, after, fd = create_range(&mem, 0, MIB(2));
	/* After the create, which may move pages. */
	__u64 bad = MIB(1), frame = page_frame(mem.map + bad);
	/* At such an address the kernel may ask for a huge entry. */
	char *map = map_at_aligned_place(fd, MIB(2), MIB(2), MAP_SHARED), data[3 * PAGE];
	int process = process_memory();
	__u64 size = mem.size;

	/* While the page is mapped, the process would get a signal. */
	memory_unmap(&mem);
	page_poison(frame);

	before = touch(map + bad, false);
	written = touch(map + bad, true);
	seen = pread(process, data, 3 * PAGE, (uintptr_t)map + bad - PAGE);
	/* Faults beside the page must not map it. */
	shows(map, &mem, 0, KIB(64));
	shows(map + size - KIB(64), &mem, size - KIB(64), KIB(64));
	after = touch(map + bad, false);

	/* Cleans up before it judges, for the sake of later tests. */
	must(munmap(map, size));
	must(close(fd));
	memory_free(&mem);
	page_unpoison(frame);
	check_eq(before, SIGBUS);
	check_eq(written, SIGBUS);
	check_eq(after, SIGBUS);
	/* A debugger sees the memory before the page. */
	check_eq(seen, PAGE);
}

PROMISE(poisoned_page_is_sigbus,
	"a page with a memory error is SIGBUS, its neighbours are not")
{
	poisoned_page_of(SHMEM_4K);
}

PROMISE(poisoned_page_of_a_folio_is_sigbus,
	"the same for a page inside a 2 MiB folio")
{
	poisoned_page_of(SHMEM_2M);
}
