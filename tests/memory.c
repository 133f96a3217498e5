// SPDX-License-Identifier: MIT
/* Memory of every kind, and patterns: see memory.h. */
#include <fcntl.h>
#include <linux/kernel-page-flags.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <linux/userfaultfd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "harness.h"
#include "memory.h"
#include "watch.h"

#define THP "/sys/kernel/mm/transparent_hugepage/"
#define THP_64K THP "hugepages-64kB/shmem_enabled"
#define THP_2M THP "hugepages-2048kB/shmem_enabled"
#define ANON_THP_64K THP "hugepages-64kB/enabled"
#define ANON_THP_2M THP "hugepages-2048kB/enabled"

static const struct {
	const char *name;
	size_t folio;
	unsigned int memfd_flags;
	bool anonymous;
	int map_flags;
	const char *thp_switch;
} kinds[MEMORY_KINDS] = {
	[SHMEM_4K] = { "single pages" },
	[SHMEM_64K] = { "64 KiB folios", KIB(64), .thp_switch = THP_64K },
	[SHMEM_2M] = { "2 MiB folios", MIB(2), .thp_switch = THP_2M },
	[HUGETLB_2M] = { "2 MiB hugetlb pages", MIB(2),
			 MFD_HUGETLB | MFD_HUGE_2MB },
	[HUGETLB_1G] = { "1 GiB hugetlb pages", GIB(1),
			 MFD_HUGETLB | MFD_HUGE_1GB },
	[ANON_4K] = { "anonymous pages", .anonymous = true },
	[ANON_64K] = { "anonymous 64 KiB folios", KIB(64), .anonymous = true,
		       .thp_switch = ANON_THP_64K },
	[ANON_2M] = { "anonymous 2 MiB folios", MIB(2), .anonymous = true,
		      .thp_switch = ANON_THP_2M },
	[ANON_HUGETLB_2M] = { "private 2 MiB hugetlb pages", MIB(2),
			      .anonymous = true,
			      .map_flags = MAP_HUGETLB | MAP_HUGE_2MB },
	[ANON_HUGETLB_1G] = { "a private 1 GiB hugetlb page", GIB(1),
			      .anonymous = true,
			      .map_flags = MAP_HUGETLB | MAP_HUGE_1GB },
};

const char *memory_name(enum memory_kind kind)
{
	return kinds[kind].name;
}

size_t memory_folio(enum memory_kind kind)
{
	return kinds[kind].folio ?: PAGE;
}

/* With such alignment the kernel can use the largest folios and page table entries. */
void *map_at_aligned_place(int fd, size_t size, size_t align, int flags)
{
	char *room = must(mmap(NULL, size + align, PROT_NONE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			       -1, 0));
	char *start = (char *)(((uintptr_t)room + align - 1) & ~(align - 1));
	size_t head = start - room;

	if (head)
		must(munmap(room, head));
	must(munmap(start + size, align - head));
	return must(mmap(start, size, PROT_READ | PROT_WRITE,
			 flags | MAP_FIXED, fd, 0));
}

static unsigned int next_id(void)
{
	static atomic_uint last;

	return ++last;
}

struct memory memory_at(void *map, size_t size)
{
	return (struct memory) {
		.kind = ANON_4K,
		.folio = PAGE,
		.fd = -1,
		.size = size,
		.map = map,
		.id = next_id(),
	};
}

struct memory memory_as_user(const struct memory *mem)
{
	struct memory user = *mem;

	user.fd = -1;
	user.id = next_id();
	return user;
}

static void map_anonymous(struct memory *mem)
{
	mem->fd = -1;
	mem->map = map_at_aligned_place(-1, mem->size, mem->folio,
					MAP_PRIVATE | MAP_ANONYMOUS |
					kinds[mem->kind].map_flags);
}

int memfd_make(enum memory_kind kind, size_t size, unsigned int seals)
{
	int fd = memfd_create("dmabufx-tests", MFD_CLOEXEC | MFD_ALLOW_SEALING |
			      kinds[kind].memfd_flags);

	if (fd < 0)
		skip("no memfd of %s: %s", kinds[kind].name, errno_name(errno));
	must(ftruncate(fd, size));
	must(fcntl(fd, F_ADD_SEALS, seals));
	return fd;
}

int memfd_make_secret(size_t size)
{
	int fd = syscall(SYS_memfd_secret, 0);

	if (fd < 0)
		skip("memfd_secret: %s", errno_name(errno));
	must(ftruncate(fd, size));
	return fd;
}

int file_reopen(int fd, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return must(open(path, flags | O_CLOEXEC));
}

static void map_memfd(struct memory *mem)
{
	mem->fd = memfd_make(mem->kind, mem->size, F_SEAL_SHRINK);
	mem->map = map_at_aligned_place(mem->fd, mem->size, mem->folio,
					MAP_SHARED);
}

struct memory memory_make_holes(enum memory_kind kind, size_t size)
{
	size_t folio = memory_folio(kind);
	struct memory mem = {
		.kind = kind,
		.folio = folio,
		.size = (size + folio - 1) & ~(folio - 1),
		.id = next_id(),
	};

	if (kinds[kind].anonymous)
		map_anonymous(&mem);
	else
		map_memfd(&mem);
	return mem;
}

static __u64 proc_word(const char *path, __u64 index)
{
	__u64 word = 0;
	int fd = must(open(path, O_RDONLY | O_CLOEXEC));

	must(pread(fd, &word, sizeof(word), index * sizeof(word)));
	close(fd);
	return word;
}

__u64 page_frame(const void *address)
{
	__u64 entry = proc_word("/proc/self/pagemap",
				   (uintptr_t)address / PAGE);

	/* Bit 63: present; bits 0 to 54: the frame. */
	return entry >> 63 ? entry & ((1ull << 55) - 1) : 0;
}

static bool has_flag(__u64 frame, int bit)
{
	return proc_word("/proc/kpageflags", frame) >> bit & 1;
}

bool page_is_inside_hugetlb(__u64 frame)
{
	return has_flag(frame, KPF_HUGE) && has_flag(frame, KPF_COMPOUND_TAIL);
}

bool page_is_poisoned(__u64 frame)
{
	return has_flag(frame, KPF_HWPOISON);
}

#define POISON "/sys/kernel/debug/hwpoison/"

static void poison_write(const char *file, __u64 frame)
{
	char path[128], number[32];

	snprintf(path, sizeof(path), POISON "%s", file);
	snprintf(number, sizeof(number), "%#llx\n", frame);
	/* If a page is in use, the kernel marks it and returns an error. */
	file_write(path, number);
}

void page_poison(__u64 frame)
{
	if (access(POISON "corrupt-pfn", W_OK))
		skip("needs the module hwpoison_inject");
	poison_write("corrupt-pfn", frame);
	check_eq(page_is_poisoned(frame), true);
}

static bool try_unpoison(__u64 frame)
{
	poison_write("unpoison-pfn", frame);
	return !page_is_poisoned(frame);
}

void page_unpoison(__u64 frame)
{
	/* Not while something still has a reference to it. */
	bool is_whole = comes_true(try_unpoison(frame));

	if (!is_whole)
		fail("page frame %#llx stays marked as broken", frame);
}

/* True for one folio: aligned, its head first, then all its tails. */
bool memory_is_folio(const struct memory *mem, size_t offset)
{
	__u64 first = page_frame(mem->map + offset);
	__u64 last = page_frame(mem->map + offset + mem->folio - PAGE);
	__u64 pages = mem->folio / PAGE;

	if (!first || last != first + pages - 1 || first % pages)
		return false;
	if (pages == 1)
		return !has_flag(first, KPF_COMPOUND_HEAD) &&
		       !has_flag(first, KPF_COMPOUND_TAIL);
	return has_flag(first, KPF_COMPOUND_HEAD) &&
	       has_flag(last, KPF_COMPOUND_TAIL) &&
	       !has_flag(last + 1, KPF_COMPOUND_TAIL);
}

static bool has_its_folios(const struct memory *mem)
{
	/* Looks at some folios of a big memfd, for each look is a system call. */
	size_t step = mem->size / 64 / mem->folio * mem->folio, offset;

	if (step < mem->folio)
		step = mem->folio;
	for (offset = 0; offset < mem->size; offset += step)
		if (!memory_is_folio(mem, offset))
			return false;
	return memory_is_folio(mem, mem->size - mem->folio);
}

/* PREEMPT_RT excludes them; such a kernel asks no driver for huge entries either. */
bool kernel_has_thp(void)
{
	return !access(THP "enabled", F_OK);
}

void needs_thp(void)
{
	if (!kernel_has_thp())
		skip("the kernel has no transparent huge pages");
}

__u64 pmd_size(void)
{
	/* A page table is a page of 8-byte entries. */
	return PAGE / 8 * PAGE;
}

static void populate(struct memory *mem)
{
	size_t offset;

	if (mem->kind == SHMEM_2M || mem->kind == ANON_2M)
		must(madvise(mem->map, mem->size, MADV_HUGEPAGE));
	for (offset = 0; offset < mem->size; offset += PAGE)
		mem->map[offset] = 0;
	/* khugepaged, where it exists, could turn the pages into a huge page. */
	if (kernel_has_thp() && (mem->kind == ANON_4K || mem->kind == ANON_64K))
		must(madvise(mem->map, mem->size, MADV_NOHUGEPAGE));
}

/* The switch of the folios that a PMD maps, which the kernel makes if it is not told. */
static const char *anon_thp_pmd(void)
{
	static char path[128];

	snprintf(path, sizeof(path), THP "hugepages-%llukB/enabled", pmd_size() >> 10);
	return path;
}

/* Sets the sysfs switches for the sizes of the folios that the kernel allocates. */
static void set_folios(enum memory_kind kind)
{
	static const char * const switches[] = {
		THP_64K, THP_2M, ANON_THP_64K, ANON_THP_2M,
	};
	size_t i;

	if (kinds[kind].thp_switch)
		needs_thp();
	for (i = 0; i < ARRAY_SIZE(switches); i++)
		file_write(switches[i], "never");
	file_write(anon_thp_pmd(), "never");
	if (kinds[kind].thp_switch &&
	    !file_write(kinds[kind].thp_switch, "always"))
		skip("no %s: %s: %s", kinds[kind].name, kinds[kind].thp_switch,
		     errno_name(errno));
}

static void reset_folios(void)
{
	set_folios(SHMEM_4K);
	file_write(anon_thp_pmd(), "inherit");
}

static struct memory make_populated(enum memory_kind kind, size_t size)
{
	struct memory mem;

	set_folios(kind);
	mem = memory_make_holes(kind, size);
	populate(&mem);
	reset_folios();
	return mem;
}

struct memory memory_make(enum memory_kind kind, size_t size)
{
	size_t folio = memory_folio(kind);
	long pages = (size + folio - 1) / folio;
	struct memory mem;
	char path[128];
	int left = 3;

	if (kinds[kind].memfd_flags | kinds[kind].map_flags) {
		snprintf(path, sizeof(path),
			 "/sys/kernel/mm/hugepages/hugepages-%zukB/free_hugepages",
			 folio >> 10);
		if (access(path, R_OK) || file_number(path, "") < pages)
			skip("needs %ld free %s", pages, kinds[kind].name);
	}

	mem = make_populated(kind, size);
	while (!has_its_folios(&mem)) {
		if (!left--)
			fail("the kernel did not give %s", kinds[kind].name);
		/* Free memory may be fragmented. */
		memory_free(&mem);
		file_write("/proc/sys/vm/drop_caches", "3");
		file_write("/proc/sys/vm/compact_memory", "1");
		mem = make_populated(kind, size);
	}
	return mem;
}

struct memory memory_make_patterned(enum memory_kind kind, size_t size)
{
	struct memory mem = memory_make(kind, size);

	pattern_fill(mem.map, 1, mem.id, 0, mem.size);
	return mem;
}

int file_on_disk(size_t size)
{
	static const char name[] = "dmabufx-tests.file";
	struct statfs fs;
	int fd;

	must(statfs(".", &fs));
	if (fs.f_type == TMPFS_MAGIC)
		skip("needs a current directory that is not in memory");
	fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		skip("no file in the current directory: %s", errno_name(errno));
	must(unlink(name));
	must(ftruncate(fd, size));
	return fd;
}

size_t file_pages_that_stay(int file, size_t size)
{
	size_t nr = size / PAGE, stay = 0, i;
	char *map = must(mmap(NULL, size, PROT_READ, MAP_SHARED, file, 0));
	unsigned char *resident = malloc(nr);

	check(resident);
	check_eq(posix_fadvise(file, 0, size, POSIX_FADV_DONTNEED), 0);
	must(mincore(map, size, resident));
	for (i = 0; i < nr; i++)
		stay += resident[i] & 1;
	free(resident);
	must(munmap(map, size));
	return stay;
}

static sigjmp_buf after_signal;

static void on_signal(int signal)
{
	siglongjmp(after_signal, signal);
}

int touch(char *address, bool write)
{
	struct sigaction action = { .sa_handler = on_signal };
	int signal;

	must(sigaction(SIGSEGV, &action, NULL));
	must(sigaction(SIGBUS, &action, NULL));
	signal = sigsetjmp(after_signal, 1);
	if (signal)
		return signal;
	if (write)
		__atomic_store_n(address, 1, __ATOMIC_SEQ_CST);
	else
		__atomic_load_n(address, __ATOMIC_SEQ_CST);
	return 0;
}

struct withheld page_withhold(char *page)
{
	struct withheld withheld = {
		.page = page,
		.uffd = syscall(SYS_userfaultfd, O_CLOEXEC),
	};
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register hole = {
		.range = { (uintptr_t)page, PAGE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	if (withheld.uffd < 0)
		skip("userfaultfd: %s", errno_name(errno));
	must(madvise(page, PAGE, MADV_DONTNEED));
	must(ioctl(withheld.uffd, UFFDIO_API, &api));
	must(ioctl(withheld.uffd, UFFDIO_REGISTER, &hole));
	return withheld;
}

void page_is_awaited(const struct withheld *withheld)
{
	struct uffd_msg message;

	check_eq(read(withheld->uffd, &message, sizeof(message)), sizeof(message));
	check_eq(message.event, UFFD_EVENT_PAGEFAULT);
}

void page_give(const struct withheld *withheld, const void *contents)
{
	struct uffdio_copy copy = {
		.dst = (uintptr_t)withheld->page,
		.src = (uintptr_t)contents,
		.len = PAGE,
	};
	struct uffdio_range hole = { copy.dst, PAGE };

	/* The page was unmapped meanwhile: then only wake those who wait. */
	if (ioctl(withheld->uffd, UFFDIO_COPY, &copy))
		must(ioctl(withheld->uffd, UFFDIO_WAKE, &hole));
	must(close(withheld->uffd));
}

void memory_unmap(struct memory *mem)
{
	if (mem->map)
		must(munmap(mem->map, mem->size));
	mem->map = NULL;
}

void memory_free(struct memory *mem)
{
	memory_unmap(mem);
	if (mem->fd >= 0)
		must(close(mem->fd));
}

void memory_punch(const struct memory *mem, size_t offset, size_t size)
{
	must(fallocate(mem->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		       offset, size));
}

size_t memory_populated(const struct memory *mem)
{
	struct stat st;

	must(fstat(mem->fd, &st));
	return st.st_blocks * 512;
}

/*
 * A word is its place, times an odd constant: different everywhere, and the
 * inverse constant turns a word that was found back into a place.
 */
#define SCATTER 0x9e3779b97f4a7c15ull
#define GATHER  0xf1de83e19937733dull

static __u64 place(unsigned int pass, unsigned int id, __u64 offset)
{
	return (__u64)pass << 56 | (__u64)id << 40 | offset >> 3;
}

void pattern_fill(void *to, unsigned int pass, unsigned int id,
		  __u64 offset, size_t len)
{
	__u64 word = place(pass, id, offset) * SCATTER, *out = to;
	size_t i;

	for (i = 0; i < len / 8; i++, word += SCATTER)
		out[i] = word;
}

void pattern_check(const void *found, unsigned int pass, unsigned int id,
		   __u64 offset, size_t len, const char *who)
{
	__u64 word = place(pass, id, offset) * SCATTER, was;
	const __u64 *in = found;
	size_t i;

	for (i = 0; i < len / 8 && in[i] == word; i++)
		word += SCATTER;
	if (i == len / 8)
		return;
	was = in[i] * GATHER;
	if (!in[i])
		fail("%s sees zero where pass %u of memory %u at %#llx belongs",
		     who, pass, id, offset + 8 * i);
	fail("%s sees pass %u of memory %u at %#llx where pass %u of memory %u at %#llx belongs",
	     who, (unsigned int)(was >> 56), (unsigned int)(was >> 40) & 0xffff,
	     was << 24 >> 21, pass, id, offset + 8 * i);
}
