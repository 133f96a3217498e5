// SPDX-License-Identifier: MIT
/**
 * TEST: dmabufx mmap
 * Category: Core
 * Mega feature: General Core features
 * Sub-category: dmabuf
 * Description: What a process may do with a mapping of a buffer, how much of it a fault
 *	maps, and that nothing else is ever seen there
 * Functionality: dmabuf test
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kernel-page-flags.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "igt.h"
#include "igt_dmabufx.h"

IGT_TEST_DESCRIPTION("Mappings of dma-bufs by processes");

#define TRACING "/sys/kernel/tracing/"
#define FAULTS TRACING "events/dmabufx/dmabufx_fault/enable"

/* VM_FAULT_NOPAGE: the handler has mapped something. */
#define MAPPED "0x100"

/* Entries of page tables, by what they map. */
#define PTE 0
#define PMD 9
#define PUD 18

static void trace_faults(void)
{
	igt_require_f(dmabufx_file_write(FAULTS, "1"), "needs " FAULTS "\n");
	close(open(TRACING "trace", O_WRONLY | O_TRUNC | O_CLOEXEC));
}

/* Entries of 2^@order pages that this process's faults have mapped since. */
static int mapped(unsigned int order)
{
	FILE *trace = fopen(TRACING "trace", "re");
	char line[512], pid[32], result[64];
	int n = 0;

	igt_assert(trace);
	snprintf(pid, sizeof(pid), "-%d ", getpid());
	snprintf(result, sizeof(result), "order=%u ret=" MAPPED "\n", order);
	while (fgets(line, sizeof(line), trace))
		n += strstr(line, pid) && strstr(line, result);
	fclose(trace);
	return n;
}

/* PREEMPT_RT excludes them; such a kernel asks no driver for huge entries, either. */
static void require_thp(void)
{
	igt_require_f(!access("/sys/kernel/mm/transparent_hugepage", F_OK),
		      "the kernel has no transparent huge pages\n");
}

/* Where address and offset agree as far as @align, so that entries may be huge. */
static char *map_aligned(int dmabuf, uint64_t offset, size_t size, size_t align)
{
	char *room = mmap(NULL, size + align, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t head = (offset - (uintptr_t)room) % align;
	char *map;

	igt_assert(room != MAP_FAILED);
	if (head)
		munmap(room, head);
	munmap(room + head + size, align - head);
	map = mmap(room + head, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, dmabuf,
		   offset);
	igt_assert(map == room + head);
	return map;
}

/* A dma-buf of all of a memory, which has the first seed's pattern. */
static void make_buffer(struct dmabufx_buffer *buf, int device, enum dmabufx_kind kind,
			size_t size)
{
	dmabufx_buffer_init(buf, device, kind, size);
	dmabufx_pattern_fill(buf->mem.map, 1, 0, buf->size);
}

static void shows(const char *map, uint64_t offset, size_t size)
{
	dmabufx_pattern_check(map, 1, offset, size, "mmap");
}

/**
 * SUBTEST: huge-page
 * Description: A huge page is mapped by one fault, where address and memory allow it
 */
static void test_huge_page(int device)
{
	struct dmabufx_buffer buf;
	char *map;

	require_thp();
	make_buffer(&buf, device, HUGETLB_2M, MIB(4));
	map = map_aligned(buf.fd, 0, buf.size, MIB(2));
	trace_faults();
	shows(map, 0, buf.size);
	igt_assert_eq(mapped(PMD), 2);
	igt_assert_eq(mapped(PTE), 0);
	munmap(map, buf.size);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: huge-page-behind-offset
 * Description: A mapping that begins and ends inside of huge pages has the others whole
 */
static void test_huge_page_behind_offset(int device)
{
	struct dmabufx_buffer buf;
	char *map;

	require_thp();
	make_buffer(&buf, device, HUGETLB_2M, MIB(6));
	map = map_aligned(buf.fd, MIB(1), MIB(4), MIB(2));
	trace_faults();
	shows(map, MIB(1), MIB(4));
	igt_assert_eq(mapped(PMD), 1);
	igt_assert_eq(mapped(PTE), 2);
	munmap(map, MIB(4));
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: misplaced-huge-page
 * Description: Where address and memory do not agree, a fault fills one page table
 */
static void test_misplaced_huge_page(int device)
{
	struct dmabufx_buffer buf;
	char *room, *map;

	make_buffer(&buf, device, HUGETLB_2M, MIB(4));
	room = map_aligned(buf.fd, 0, buf.size, MIB(2));
	/* A page further. */
	map = mmap(room + PAGE, MIB(2), PROT_READ, MAP_SHARED | MAP_FIXED, buf.fd, 0);
	igt_assert(map == room + PAGE);
	trace_faults();
	shows(map, 0, MIB(2));
	igt_assert_eq(mapped(PMD), 0);
	igt_assert_eq(mapped(PTE), 2);
	munmap(room, buf.size);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: huge-page-in-part
 * Description: A huge page of which the buffer has one half is not mapped whole: its other
 *	half is no part of the buffer
 */
static void test_huge_page_in_part(int device)
{
	struct dmabufx_segment segments[2];
	struct dmabufx_mem mem;
	char *map;
	int fd;

	dmabufx_mem_init(&mem, HUGETLB_2M, MIB(4));
	dmabufx_pattern_fill(mem.map, 1, 0, mem.size);
	segments[0] = dmabufx_segment(&mem, 0, MIB(1));
	segments[1] = dmabufx_segment(&mem, MIB(2), MIB(1));
	fd = dmabufx_create(device, segments, 2, 0);
	map = map_aligned(fd, 0, MIB(2), MIB(2));
	trace_faults();
	shows(map, 0, MIB(1));
	shows(map + MIB(1), MIB(2), MIB(1));
	igt_assert_eq(mapped(PMD), 0);
	igt_assert_eq(mapped(PTE), 1);
	munmap(map, MIB(2));
	close(fd);
	dmabufx_mem_fini(&mem);
}

/**
 * SUBTEST: page-table
 * Description: A fault on single pages fills the rest of its page table, and no other
 */
static void test_page_table(int device)
{
	struct dmabufx_segment segments[4];
	struct dmabufx_mem mem;
	char *map;
	int fd, i;

	dmabufx_mem_init(&mem, SHMEM_4K, MIB(4));
	dmabufx_pattern_fill(mem.map, 1, 0, mem.size);
	/* No page follows itself: no two MiB are contiguous, even where all of memory is. */
	for (i = 0; i < 4; i++)
		segments[i] = dmabufx_segment(&mem, i * MIB(1) - i % 2 * PAGE, MIB(1));
	fd = dmabufx_create(device, segments, 4, 0);
	map = map_aligned(fd, 0, MIB(4), MIB(2));
	trace_faults();
	shows(map + MIB(3), MIB(3) - PAGE, MIB(1));
	igt_assert_eq(mapped(PTE), 1);
	for (i = 0; i < 4; i++)
		shows(map + i * MIB(1), segments[i].offset, MIB(1));
	igt_assert_eq(mapped(PTE), 2);
	munmap(map, MIB(4));
	close(fd);
	dmabufx_mem_fini(&mem);
}

/* Both ends of what is too large to be looked at as a whole. */
static void write_ends(char *map, size_t size, uint32_t seed)
{
	dmabufx_pattern_fill(map, seed, 0, PAGE);
	dmabufx_pattern_fill(map + size - PAGE, seed, size - PAGE, PAGE);
}

static void check_ends(const char *map, size_t size, uint32_t seed, const char *who)
{
	dmabufx_pattern_check(map, seed, 0, PAGE, who);
	dmabufx_pattern_check(map + size - PAGE, seed, size - PAGE, PAGE, who);
}

/**
 * SUBTEST: gigantic-page
 * Description: A page of 1 GiB is mapped by one fault
 */
static void test_gigantic_page(int device)
{
	struct dmabufx_buffer buf;
	char *map;

	require_thp();
	dmabufx_buffer_init(&buf, device, HUGETLB_1G, GIB(1));
	map = map_aligned(buf.fd, 0, buf.size, GIB(1));
	trace_faults();
	write_ends(map, buf.size, 1);
	igt_assert_eq(mapped(PUD), 1);
	igt_assert_eq(mapped(PMD) + mapped(PTE), 0);
	check_ends(buf.mem.map, buf.size, 1, "memory");
	munmap(map, buf.size);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: gigantic-page-split-and-moved
 * Description: Splitting and moving a mapping of a page of 1 GiB keeps its data, even if
 *	that looks like a page table
 */
static void test_gigantic_page_split_and_moved(int device)
{
	struct dmabufx_buffer buf;
	char *map, *there;
	size_t half, at;

	dmabufx_buffer_init(&buf, device, HUGETLB_1G, GIB(1));
	half = buf.size / 2;
	/* Present, writable, user's, accessed and dirty. */
	for (at = 0; at < PAGE; at += 8)
		*(uint64_t *)(buf.mem.map + at) = 0x067;
	dmabufx_pattern_fill(buf.mem.map + half, 1, half, PAGE);
	map = map_aligned(buf.fd, 0, buf.size, GIB(1));
	igt_assert(!memcmp(map, buf.mem.map, PAGE));
	igt_assert_eq(mprotect(map + 3 * PAGE, PAGE, PROT_READ), 0);
	igt_assert(!memcmp(map, buf.mem.map, PAGE));
	igt_assert_eq(mprotect(map + 3 * PAGE, PAGE, PROT_READ | PROT_WRITE), 0);
	igt_assert(!memcmp(map, buf.mem.map, PAGE));

	there = mmap(NULL, half + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	igt_assert(mremap(map + half, half, half, MREMAP_MAYMOVE | MREMAP_FIXED,
			  there + PAGE) == there + PAGE);
	shows(there + PAGE, half, PAGE);
	igt_assert(!memcmp(map, buf.mem.map, PAGE));
	munmap(there, half + PAGE);
	munmap(map, half);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: windows
 * Description: Mappings of parts, from any offset, show the right pages of any memory
 */
static void test_windows(int device, enum dmabufx_kind kind)
{
	struct dmabufx_segment segments[2];
	struct dmabufx_mem mem;
	uint64_t offset, size;
	int fd;

	dmabufx_mem_init(&mem, kind, MIB(4));
	dmabufx_pattern_fill(mem.map, 1, 0, mem.size);
	/* Two runs at least: neither begins where a folio does. */
	segments[0] = dmabufx_segment(&mem, mem.size / 2 + PAGE, mem.size / 2 - PAGE);
	segments[1] = dmabufx_segment(&mem, PAGE, mem.size / 2 - 2 * PAGE);
	fd = dmabufx_create(device, segments, 2, 0);
	for (offset = 0; offset < mem.size - 3 * PAGE; offset += 101 * PAGE) {
		char *map;

		size = mem.size - 3 * PAGE - offset;
		size = size < 10 * PAGE ? size : 10 * PAGE;
		map = dmabufx_mmap(fd, offset, size);
		for (; size; size -= PAGE) {
			uint64_t at = offset + size - PAGE;

			shows(map + size - PAGE, at < segments[0].size ?
			      segments[0].offset + at :
			      segments[1].offset + at - segments[0].size, PAGE);
		}
		size = mem.size - 3 * PAGE - offset;
		munmap(map, size < 10 * PAGE ? size : 10 * PAGE);
	}
	close(fd);
	dmabufx_mem_fini(&mem);
}

/**
 * SUBTEST: beyond-end
 * Description: Offsets and lengths that leave the buffer are refused
 */
static void test_beyond_end(int device)
{
	const size_t size = 8 * PAGE;
	struct dmabufx_segment segment;
	struct dmabufx_mem mem;
	int fd;

	/* The memory goes on behind the buffer's end. */
	dmabufx_mem_init(&mem, SHMEM_4K, 2 * size);
	segment = dmabufx_segment(&mem, 0, size);
	fd = dmabufx_create(device, &segment, 1, 0);
	igt_assert_eq(__dmabufx_mmap(fd, PROT_READ, MAP_SHARED, 0, size), 0);
	igt_assert_eq(__dmabufx_mmap(fd, PROT_READ, MAP_SHARED, 0, size + 1), -EINVAL);
	igt_assert_eq(__dmabufx_mmap(fd, PROT_READ, MAP_SHARED, size, PAGE), -EINVAL);
	igt_assert_eq(__dmabufx_mmap(fd, PROT_READ, MAP_SHARED, size - PAGE, 2 * PAGE),
		      -EINVAL);
	igt_assert_eq(__dmabufx_mmap(fd, PROT_READ, MAP_SHARED, 1ull << 40, PAGE), -EINVAL);
	igt_assert_eq(__dmabufx_mmap(fd, PROT_READ, MAP_SHARED, (1ull << 63) - PAGE, PAGE),
		      -EINVAL);
	igt_assert_eq(__dmabufx_mmap(fd, PROT_READ, MAP_SHARED, -PAGE, PAGE), -EOVERFLOW);
	close(fd);
	dmabufx_mem_fini(&mem);
}

/**
 * SUBTEST: private
 * Description: A private mapping is refused, to read or to write
 */
static void test_private(int device)
{
	struct dmabufx_buffer buf;

	make_buffer(&buf, device, SHMEM_4K, 4 * PAGE);
	igt_assert_eq(__dmabufx_mmap(buf.fd, PROT_READ, MAP_PRIVATE, 0, PAGE), -EINVAL);
	igt_assert_eq(__dmabufx_mmap(buf.fd, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0, PAGE),
		      -EINVAL);
	igt_assert_eq(__dmabufx_mmap(buf.fd, PROT_READ | PROT_WRITE, MAP_SHARED, 0, PAGE), 0);
	dmabufx_buffer_fini(&buf);
}

static bool area_has_flags(const char *map, const char *const *flags)
{
	FILE *smaps = fopen("/proc/self/smaps", "re");
	bool found = false, has = false;
	char line[512];
	unsigned long start, end;

	igt_assert(smaps);
	while (!has && fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			found = start == (uintptr_t)map;
		if (!found || strncmp(line, "VmFlags:", 8))
			continue;
		igt_info("%s", line);
		for (has = true; has && *flags; flags++)
			has = strstr(line, *flags);
		break;
	}
	fclose(smaps);
	return has;
}

/**
 * SUBTEST: marked
 * Description: The area is of page frames, does not grow, and is not dumped
 */
static void test_marked(int device)
{
	static const char *const flags[] = { " pf ", " de ", " dd ", " sh ", NULL };
	struct dmabufx_buffer buf;
	char *map;

	make_buffer(&buf, device, SHMEM_4K, 4 * PAGE);
	map = dmabufx_mmap(buf.fd, 0, buf.size);
	igt_assert(area_has_flags(map, flags));
	munmap(map, buf.size);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: mremap-grow
 * Description: A mapping cannot be made longer, in place, elsewhere or as a second one
 */
static void test_mremap_grow(int device)
{
	struct dmabufx_buffer buf;
	size_t half;
	char *map;

	make_buffer(&buf, device, SHMEM_4K, 8 * PAGE);
	half = buf.size / 2;
	map = dmabufx_mmap(buf.fd, 0, half);
	igt_assert(mremap(map, half, buf.size, 0) == MAP_FAILED);
	igt_assert_eq(errno, EFAULT);
	igt_assert(mremap(map, half, buf.size, MREMAP_MAYMOVE) == MAP_FAILED);
	igt_assert_eq(errno, EFAULT);
	igt_assert(mremap(map, 0, buf.size, MREMAP_MAYMOVE) == MAP_FAILED);
	igt_assert_eq(errno, EFAULT);
	shows(map, 0, half);
	munmap(map, half);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: mremap-moves
 * Description: A mapping that is moved, in part and to an odd place, and shrunk, shows
 *	the same pages, touched before or not
 */
static void test_mremap_moves(int device, enum dmabufx_kind kind)
{
	struct dmabufx_buffer buf;
	char *map, *there;
	size_t half;

	make_buffer(&buf, device, kind, MIB(8));
	half = buf.size / 2;
	map = map_aligned(buf.fd, 0, buf.size, MIB(2));
	there = mmap(NULL, half + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	igt_assert(there != MAP_FAILED);
	/* One of the two page tables that are moved is there before. */
	shows(map + half, half, half / 4);
	igt_assert(mremap(map + half, half, half, MREMAP_MAYMOVE | MREMAP_FIXED,
			  there + PAGE) == there + PAGE);
	igt_assert_eq(dmabufx_touch(map + half, false), SIGSEGV);
	shows(there + PAGE, half, half);
	dmabufx_pattern_fill(there + PAGE, 2, half, half);
	dmabufx_pattern_check(buf.mem.map + half, 2, half, half, "memory");
	shows(map, 0, half);

	igt_assert(mremap(map, half, half / 2, 0) == map);
	shows(map, 0, half / 2);
	igt_assert_eq(dmabufx_touch(map + half / 2, false), SIGSEGV);
	munmap(there, half + PAGE);
	munmap(map, half / 2);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: munmap-in-the-middle
 * Description: What is left of a mapping shows its pages, and what is gone is gone
 */
static void test_munmap_in_the_middle(int device, enum dmabufx_kind kind)
{
	struct dmabufx_buffer buf;
	size_t hole, end;
	char *map;

	make_buffer(&buf, device, kind, MIB(4));
	map = map_aligned(buf.fd, 0, buf.size, MIB(2));
	/* From one huge page into the next, of which one is mapped. */
	hole = MIB(1) + PAGE;
	end = MIB(3) - PAGE;
	shows(map, 0, MIB(1));
	igt_assert_eq(munmap(map + hole, end - hole), 0);
	shows(map, 0, hole);
	shows(map + end, end, buf.size - end);
	igt_assert_eq(dmabufx_touch(map + hole, false), SIGSEGV);
	igt_assert_eq(dmabufx_touch(map + end - 1, true), SIGSEGV);
	munmap(map, hole);
	munmap(map + end, buf.size - end);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: mprotect
 * Description: What is made read-only cannot be written, what is made nothing cannot be
 *	read, touched before or not; and back again
 */
static void test_mprotect(int device, enum dmabufx_kind kind)
{
	struct dmabufx_buffer buf;
	char *map, *middle;

	make_buffer(&buf, device, kind, MIB(4));
	map = map_aligned(buf.fd, 0, buf.size, MIB(2));
	middle = map + buf.size / 2;
	igt_assert_eq(dmabufx_touch(map, false), 0);
	igt_assert_eq(mprotect(map, buf.size, PROT_READ), 0);
	igt_assert_eq(dmabufx_touch(map, true), SIGSEGV);
	igt_assert_eq(dmabufx_touch(middle, true), SIGSEGV);
	igt_assert_eq(dmabufx_touch(middle, false), 0);
	/* That fault has mapped more than what was asked for. */
	igt_assert_eq(dmabufx_touch(middle + PAGE, true), SIGSEGV);
	shows(map, 0, buf.size);

	/* One page of many, so that what is around it is split. */
	igt_assert_eq(mprotect(map, buf.size, PROT_READ | PROT_WRITE), 0);
	igt_assert_eq(mprotect(middle + PAGE, PAGE, PROT_NONE), 0);
	igt_assert_eq(dmabufx_touch(middle + PAGE, false), SIGSEGV);
	igt_assert_eq(dmabufx_touch(middle, true), 0);
	igt_assert_eq(dmabufx_touch(middle + 2 * PAGE, true), 0);
	igt_assert_eq(mprotect(middle + PAGE, PAGE, PROT_READ | PROT_WRITE), 0);
	dmabufx_pattern_fill(map, 2, 0, buf.size);
	dmabufx_pattern_check(buf.mem.map, 2, 0, buf.size, "memory");
	munmap(map, buf.size);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: fork
 * Description: A child's mapping is of the same memory as its parent's, touched before or
 *	not
 */
static void test_fork(int device, enum dmabufx_kind kind)
{
	struct dmabufx_buffer buf;
	char *map;

	make_buffer(&buf, device, kind, MIB(4));
	map = map_aligned(buf.fd, 0, buf.size, MIB(2));
	shows(map, 0, MIB(1));
	igt_fork(child, 1) {
		shows(map, 0, buf.size);
		dmabufx_pattern_fill(map, 2, 0, buf.size);
		munmap(map + PAGE, PAGE);
		dmabufx_pattern_check(map + 2 * PAGE, 2, 2 * PAGE, MIB(1), "the child");
	}
	igt_waitchildren();
	dmabufx_pattern_check(map, 2, 0, buf.size, "the parent");
	dmabufx_pattern_check(buf.mem.map, 2, 0, buf.size, "memory");
	munmap(map, buf.size);
	dmabufx_buffer_fini(&buf);
}

/**
 * SUBTEST: punched-hole
 * Description: A hole that is punched into the memfd takes nothing from the buffer: its
 *	mappings and devices see what was there, and the memfd has new memory
 */
static void test_punched_hole(int device, enum dmabufx_kind kind)
{
	struct dmabufx_buffer buf;
	char *fresh;

	make_buffer(&buf, device, kind, MIB(2));
	dmabufx_buffer_check(&buf, WAY_DEVICE, 1);
	buf.map = dmabufx_mmap(buf.fd, 0, buf.size);
	shows(buf.map, 0, 4 * PAGE);
	igt_assert_eq(fallocate(buf.mem.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				buf.size), 0);
	igt_assert_eq(buf.mem.map[0], 0);
	dmabufx_pattern_fill(buf.mem.map, 2, 0, buf.size);
	dmabufx_buffer_check(&buf, WAY_MMAP, 1);
	dmabufx_buffer_check(&buf, WAY_DEVICE, 1);
	fresh = dmabufx_mmap(buf.fd, 0, buf.size);
	shows(fresh, 0, buf.size);
	munmap(fresh, buf.size);
	dmabufx_buffer_write(&buf, WAY_MMAP, 3);
	dmabufx_buffer_check(&buf, WAY_DEVICE, 3);
	dmabufx_buffer_check(&buf, WAY_MEMORY, 2);
	dmabufx_buffer_fini(&buf);
}

#define HWPOISON "/sys/kernel/debug/hwpoison/"

static bool is_poisoned(uint64_t frame)
{
	int fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	uint64_t flags = 0;

	igt_assert_lte(0, fd);
	igt_assert_eq(pread(fd, &flags, sizeof(flags), frame * 8), 8);
	close(fd);
	return flags >> KPF_HWPOISON & 1;
}

/* The machine finds a page broken, or whole again. What it says is no matter. */
static void poison(uint64_t frame, bool broken)
{
	char number[32];
	int tries;

	snprintf(number, sizeof(number), "%#llx\n", (long long)frame);
	for (tries = 0; is_poisoned(frame) != broken && tries < 200; tries++) {
		if (tries)
			usleep(10000);
		dmabufx_file_write(broken ? HWPOISON "corrupt-pfn" : HWPOISON "unpoison-pfn",
				   number);
	}
	igt_assert(is_poisoned(frame) == broken);
}

/**
 * SUBTEST: poison
 * Description: A page with a memory error is SIGBUS, to read and to write, its neighbours
 *	are not, and faults on them do not map it
 */
static void test_poison(int device, enum dmabufx_kind kind)
{
	int before, written, after;
	struct dmabufx_buffer buf;
	uint64_t frame;
	size_t bad;
	char *map;

	igt_require_f(!access(HWPOISON "corrupt-pfn", W_OK), "needs hwpoison_inject\n");
	igt_emit_ignore_dmesg_regex("Memory failure: 0x|hardware memory corruption");
	make_buffer(&buf, device, kind, MIB(2));
	bad = buf.size / 2;
	frame = dmabufx_page_frame(buf.mem.map + bad);
	map = map_aligned(buf.fd, 0, buf.size, MIB(2));
	/* Who has it mapped as memory of its own would be killed. */
	munmap(buf.mem.map, buf.size);
	poison(frame, true);
	before = dmabufx_touch(map + bad, false);
	shows(map, 0, KIB(64));
	shows(map + bad + PAGE, bad + PAGE, buf.size - bad - PAGE);
	after = dmabufx_touch(map + bad, false);
	written = dmabufx_touch(map + bad, true);

	/* Judged when all is well again, for those who come after us. */
	munmap(map, buf.size);
	close(buf.fd);
	close(buf.mem.fd);
	poison(frame, false);
	igt_assert_eq(before, SIGBUS);
	igt_assert_eq(after, SIGBUS);
	igt_assert_eq(written, SIGBUS);
}

/**
 * SUBTEST: written-again
 * Description: Where the kernel wants to see what is written (soft-dirty tracking), new
 *	entries are read-only at first: they take the write, and so do those from before
 */
static void test_written_again(int device, enum dmabufx_kind kind)
{
	struct dmabufx_buffer buf;
	char *map;

	make_buffer(&buf, device, kind, MIB(4));
	map = map_aligned(buf.fd, 0, buf.size, MIB(2));
	dmabufx_pattern_fill(map, 2, 0, buf.size / 2);
	igt_require_f(dmabufx_file_write("/proc/self/clear_refs", "4"),
		      "needs /proc/self/clear_refs\n");
	/* Who faults for ever is ended. */
	alarm(100);
	dmabufx_pattern_fill(map, 3, 0, buf.size);
	alarm(0);
	dmabufx_pattern_check(buf.mem.map, 3, 0, buf.size, "memory");
	munmap(map, buf.size);
	dmabufx_buffer_fini(&buf);
}

/* Threads that fault in the same places. */
struct race {
	char *map;
	size_t size;
	unsigned int threads;
	unsigned int wrong;
	bool stop;
};

#define THREADS 4

static uint64_t word_of_page(size_t at)
{
	uint64_t word;

	dmabufx_pattern_fill(&word, 1, at, sizeof(word));
	return word;
}

static void *fault_at_random(void *arg)
{
	struct race *race = arg;
	unsigned int seed = __atomic_add_fetch(&race->threads, 1, __ATOMIC_SEQ_CST);
	int i;

	for (i = 0; i < 2000; i++) {
		size_t at = rand_r(&seed) % (race->size / PAGE) * PAGE;
		volatile uint64_t *word = (volatile uint64_t *)(race->map + at);

		/* Half of them write what is there, the others read. */
		if (seed & 1)
			*word = word_of_page(at);
		if (*word != word_of_page(at))
			__atomic_add_fetch(&race->wrong, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

/* Changes the core's mind about huge entries, again and again. */
static void *toggle_huge(void *arg)
{
	struct race *race = arg;
	int disable = 0;

	while (!__atomic_load_n(&race->stop, __ATOMIC_SEQ_CST))
		prctl(PR_SET_THP_DISABLE, disable ^= 1, 0, 0, 0);
	prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0);
	return NULL;
}

static void race_once(struct dmabufx_buffer *buf)
{
	struct race race = {
		.map = map_aligned(buf->fd, 0, buf->size, MIB(2)),
		.size = buf->size,
	};
	pthread_t threads[THREADS], toggler;
	int i;

	igt_assert(!pthread_create(&toggler, NULL, toggle_huge, &race));
	for (i = 0; i < THREADS; i++)
		igt_assert(!pthread_create(&threads[i], NULL, fault_at_random, &race));
	for (i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	__atomic_store_n(&race.stop, true, __ATOMIC_SEQ_CST);
	pthread_join(toggler, NULL);
	munmap(race.map, race.size);
	igt_assert_eq(race.wrong, 0);
}

/**
 * SUBTEST: concurrent-faults
 * Description: Threads that fault in the same places get their pages, whatever size of
 *	entry each is offered
 */
static void test_concurrent_faults(int device, enum dmabufx_kind kind)
{
	struct dmabufx_buffer buf;
	int round;

	make_buffer(&buf, device, kind, MIB(8));
	for (round = 0; round < 3; round++)
		race_once(&buf);
	dmabufx_buffer_fini(&buf);
}

static const struct dmabufx_subtest subtests[] = {
	{ "huge-page", "Check that huge pages get huge entries", test_huge_page },
	{ "huge-page-behind-offset", "Check that offsets do not spoil huge entries",
	  test_huge_page_behind_offset },
	{ "misplaced-huge-page", "Check that page tables are used where needed",
	  test_misplaced_huge_page },
	{ "huge-page-in-part", "Check that huge entries end where the buffer's piece does",
	  test_huge_page_in_part },
	{ "page-table", "Check that a fault fills a page table", test_page_table },
	{ "gigantic-page", "Check that gigantic pages get gigantic entries",
	  test_gigantic_page },
	{ "gigantic-page-split-and-moved", "Check that no data is taken for a page table",
	  test_gigantic_page_split_and_moved },
	{ "beyond-end", "Check that no mapping leaves the buffer", test_beyond_end },
	{ "private", "Check that mappings are shared", test_private },
	{ "marked", "Check how the area is marked", test_marked },
	{ "mremap-grow", "Check that mappings do not grow", test_mremap_grow },
};

#define PAGES (KIND(SHMEM_4K) | KIND(HUGETLB_2M))

static const struct dmabufx_kind_subtest of_kinds[] = {
	{ "windows", "Check that parts can be mapped",
	  PAGES | KIND(SHMEM_64K) | KIND(SHMEM_2M), test_windows },
	{ "mremap-moves", "Check that mappings may be moved and shrunk", PAGES,
	  test_mremap_moves },
	{ "munmap-in-the-middle", "Check that mappings may be unmapped in part", PAGES,
	  test_munmap_in_the_middle },
	{ "mprotect", "Check that mappings may be protected", PAGES, test_mprotect },
	{ "fork", "Check that children share mappings", PAGES, test_fork },
	{ "punched-hole", "Check that holes in the memfd do no harm",
	  PAGES | KIND(SHMEM_2M), test_punched_hole },
	{ "poison", "Check that broken memory is not mapped",
	  KIND(SHMEM_4K) | KIND(SHMEM_2M), test_poison },
	{ "written-again", "Check that entries take writes again", PAGES,
	  test_written_again },
	{ "concurrent-faults", "Check that threads may fault at once", PAGES,
	  test_concurrent_faults },
};

int igt_main()
{
	int device = -1;

	igt_fixture()
		device = dmabufx_open();

	dmabufx_run_table(subtests, device);
	dmabufx_run_kind_table(of_kinds, device);

	igt_fixture()
		close(device);
}
