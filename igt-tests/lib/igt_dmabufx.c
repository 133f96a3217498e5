// SPDX-License-Identifier: MIT
/* What the subtests of dmabufx share: see igt_dmabufx.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <linux/memfd.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "igt.h"
#include "igt_dmabufx.h"

size_t dmabufx_page_size(void)
{
	static size_t size;

	if (!size)
		size = sysconf(_SC_PAGESIZE);
	return size;
}

void dmabufx_run(void (*run)(int device), int device)
{
	struct dmabufx_counters before;

	dmabufx_counters_read(&before);
	run(device);
	dmabufx_counters_check(&before);
}

void dmabufx_run_kinds(const struct dmabufx_kind_subtest *subtest, int device)
{
	struct dmabufx_counters before;
	enum dmabufx_kind kind;

	for (kind = 0; kind < DMABUFX_KINDS; kind++) {
		if (!(subtest->kinds & KIND(kind)))
			continue;
		igt_dynamic(dmabufx_kind_name(kind)) {
			dmabufx_counters_read(&before);
			subtest->run(device, kind);
			dmabufx_counters_check(&before);
		}
	}
}

long long dmabufx_file_number(const char *path, const char *key)
{
	long long number = -1;
	char line[256];
	FILE *file = fopen(path, "re");

	while (file && number < 0 && fgets(line, sizeof(line), file))
		if (!strncmp(line, key, strlen(key)))
			sscanf(line + strlen(key), "%lld", &number);
	if (file)
		fclose(file);
	return number;
}

bool dmabufx_file_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool written;

	if (fd < 0)
		return false;
	written = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return written;
}

/* The value of a call, or -errno. */
static int ret_or_errno(int ret)
{
	return ret < 0 ? -errno : ret;
}

static int ioctl_or_errno(int fd, unsigned long request, void *arg)
{
	return ret_or_errno(ioctl(fd, request, arg));
}

/* The driver */

int __dmabufx_open(const char *device, int flags)
{
	return ret_or_errno(open(device, flags | O_CLOEXEC));
}

int dmabufx_open(void)
{
	int device = __dmabufx_open(DMABUFX_DEVICE, O_RDWR);

	igt_require_f(device >= 0, "%s: %s\n", DMABUFX_DEVICE, strerror(-device));
	return device;
}

static const char *module_file(void)
{
	return getenv("DMABUFX_MODULE");
}

void dmabufx_require_module_file(void)
{
	igt_require_f(module_file(), "DMABUFX_MODULE does not name the module's file\n");
}

int __dmabufx_unload(void)
{
	return ret_or_errno(syscall(SYS_delete_module, "dmabufx", O_NONBLOCK));
}

void dmabufx_load(void)
{
	int file = open(module_file(), O_RDONLY | O_CLOEXEC);

	igt_assert_lte(0, file);
	igt_assert_eq(ret_or_errno(syscall(SYS_finit_module, file, "", 0)), 0);
	close(file);
}

int __udmabuf_create(int device, int memfd, uint64_t offset, uint64_t size,
		     uint32_t flags)
{
	struct udmabuf_create create = {
		.memfd = memfd,
		.flags = flags,
		.offset = offset,
		.size = size,
	};

	return ioctl_or_errno(device, UDMABUF_CREATE, &create);
}

int __udmabuf_create_list(int device, const struct udmabuf_create_item *items,
			  uint32_t count, uint32_t flags)
{
	size_t size = count * sizeof(*items);
	struct udmabuf_create_list *list = malloc(sizeof(*list) + size);
	int fd;

	igt_assert(list);
	list->flags = flags;
	list->count = count;
	if (size)
		memcpy(list->list, items, size);
	fd = ioctl_or_errno(device, UDMABUF_CREATE_LIST, list);
	free(list);
	return fd;
}

int __dmabufx_create(int device, struct dmabufx_create *create)
{
	return ioctl_or_errno(device, DMABUFX_IOC_CREATE, create);
}

struct dmabufx_create dmabufx_request(const struct dmabufx_segment *segments,
				      uint32_t nr_segments, uint32_t flags)
{
	return (struct dmabufx_create){
		.size = sizeof(struct dmabufx_create),
		.flags = flags,
		.segments = (uintptr_t)segments,
		.nr_segments = nr_segments,
		.segment_size = sizeof(*segments),
		/* Whatever is not written stays. */
		.data_offset = 0x0123456789abcdef,
		.failed_segment = 0xdeadbeef,
		.reason = 0xfeedface,
	};
}

int dmabufx_create(int device, const struct dmabufx_segment *segments,
		   uint32_t nr_segments, uint32_t flags)
{
	struct dmabufx_create request =
		dmabufx_request(segments, nr_segments, flags | DMABUFX_CREATE_CLOEXEC);
	int fd = __dmabufx_create(device, &request);

	igt_assert_f(fd >= 0, "%s, reason %u, segment %u of %u\n", strerror(-fd),
		     request.reason, request.failed_segment, nr_segments);
	return fd;
}

void dmabufx_refused(int device, struct dmabufx_create *request, int error,
		     uint32_t reason, uint32_t failed_segment)
{
	struct dmabufx_create before = *request;

	igt_assert_eq(__dmabufx_create(device, request), -error);
	igt_assert_eq(request->reason, reason);
	igt_assert_eq(request->failed_segment, failed_segment);
	before.reason = reason;
	before.failed_segment = failed_segment;
	igt_assert_f(!memcmp(&before, request, sizeof(before)),
		     "the call wrote what it may not\n");
}

struct dmabufx_query dmabufx_query(int device)
{
	struct dmabufx_query query = { .size = sizeof(query) };

	igt_assert_eq(ioctl_or_errno(device, DMABUFX_IOC_QUERY, &query), 0);
	return query;
}

int __dmabufx_info(int device, int dmabuf, struct dmabufx_info *info)
{
	*info = (struct dmabufx_info){ .size = sizeof(*info), .fd = dmabuf };
	return ioctl_or_errno(device, DMABUFX_IOC_INFO, info);
}

struct dmabufx_info dmabufx_info(int device, int dmabuf)
{
	struct dmabufx_info info;

	igt_assert_eq(__dmabufx_info(device, dmabuf, &info), 0);
	return info;
}

/* Memory */

#define THP "/sys/kernel/mm/transparent_hugepage/"

static const struct {
	const char *name;
	size_t folio;
	unsigned int memfd_flags;
	bool anonymous;
	int map_flags;
	/* Where the machine is told to hand out such folios. */
	const char *thp_switch;
} kinds[DMABUFX_KINDS] = {
	[SHMEM_4K] = { "shmem-4k", 0 },
	[SHMEM_64K] = { "shmem-64k", KIB(64),
			.thp_switch = THP "hugepages-64kB/shmem_enabled" },
	[SHMEM_2M] = { "shmem-2m", MIB(2), .thp_switch = THP "shmem_enabled" },
	[HUGETLB_2M] = { "hugetlb-2m", MIB(2), MFD_HUGETLB | MFD_HUGE_2MB },
	[HUGETLB_1G] = { "hugetlb-1g", GIB(1), MFD_HUGETLB | MFD_HUGE_1GB },
	[ANON_4K] = { "anon-4k", 0, .anonymous = true },
	[ANON_2M] = { "anon-2m", MIB(2), .anonymous = true,
		      .thp_switch = THP "hugepages-2048kB/enabled" },
	[ANON_HUGETLB_2M] = { "anon-hugetlb-2m", MIB(2), .anonymous = true,
			      .map_flags = MAP_HUGETLB | MAP_HUGE_2MB },
};

const char *dmabufx_kind_name(enum dmabufx_kind kind)
{
	return kinds[kind].name;
}

size_t dmabufx_kind_folio(enum dmabufx_kind kind)
{
	return kinds[kind].folio ? kinds[kind].folio : PAGE;
}

/* A place whose alignment lets the kernel use the largest folios and entries. */
static void *map_aligned(int fd, size_t size, size_t align, int flags)
{
	char *room = mmap(NULL, size + align, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t head = -(uintptr_t)room % align;
	void *map;

	igt_assert(room != MAP_FAILED);
	if (head)
		munmap(room, head);
	munmap(room + head + size, align - head);
	map = mmap(room + head, size, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, 0);
	igt_assert(map != MAP_FAILED);
	return map;
}

int dmabufx_memfd(size_t size, unsigned int seals)
{
	int fd = memfd_create("igt-dmabufx", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	igt_assert_lte(0, fd);
	igt_assert_eq(ret_or_errno(ftruncate(fd, size)), 0);
	if (seals)
		igt_assert_eq(ret_or_errno(fcntl(fd, F_ADD_SEALS, seals)), 0);
	return fd;
}

static void require_huge_pages(enum dmabufx_kind kind, size_t size)
{
	long long pages = size / dmabufx_kind_folio(kind);
	char path[128];

	if (!kinds[kind].memfd_flags && !kinds[kind].map_flags)
		return;
	snprintf(path, sizeof(path),
		 "/sys/kernel/mm/hugepages/hugepages-%zukB/free_hugepages",
		 kinds[kind].folio >> 10);
	igt_require_f(dmabufx_file_number(path, "") >= pages,
		      "needs %lld free %s pages\n", pages, kinds[kind].name);
}

void dmabufx_mem_init_holes(struct dmabufx_mem *mem, enum dmabufx_kind kind,
			    size_t size)
{
	size_t folio = dmabufx_kind_folio(kind);

	*mem = (struct dmabufx_mem){
		.kind = kind,
		.folio = folio,
		.fd = -1,
		.size = (size + folio - 1) / folio * folio,
	};
	require_huge_pages(kind, mem->size);
	if (kinds[kind].anonymous) {
		mem->map = map_aligned(-1, mem->size, folio, kinds[kind].map_flags |
				       MAP_PRIVATE | MAP_ANONYMOUS);
		return;
	}
	mem->fd = memfd_create("igt-dmabufx", kinds[kind].memfd_flags |
			       MFD_CLOEXEC | MFD_ALLOW_SEALING);
	igt_require_f(mem->fd >= 0, "no memfd of %s\n", kinds[kind].name);
	igt_assert_eq(ret_or_errno(ftruncate(mem->fd, mem->size)), 0);
	igt_assert_eq(ret_or_errno(fcntl(mem->fd, F_ADD_SEALS, F_SEAL_SHRINK)), 0);
	mem->map = map_aligned(mem->fd, mem->size, folio, MAP_SHARED);
}

/*
 * Which folios the kernel hands out is a setting of the machine: what is chosen of
 * "always [never] madvise" now, or the empty string.
 */
static void read_choice(const char *path, char *choice, size_t size)
{
	char line[128] = "", *start;
	FILE *file = fopen(path, "re");

	if (file && !fgets(line, sizeof(line), file))
		*line = 0;
	if (file)
		fclose(file);
	start = strchr(line, '[');
	start = start ? start + 1 : line;
	start[strcspn(start, "]")] = 0;
	snprintf(choice, size, "%s", start);
}

/* Its first and last pages are where they are in one piece of physical memory. */
static bool is_folio(const char *start, size_t folio)
{
	uint64_t first = dmabufx_page_frame(start);
	uint64_t last = dmabufx_page_frame(start + folio - PAGE);
	uint64_t pages = folio / PAGE;

	return first && last == first + pages - 1 && first % pages == 0;
}

void dmabufx_mem_init(struct dmabufx_mem *mem, enum dmabufx_kind kind, size_t size)
{
	const char *thp = kinds[kind].thp_switch;
	char choice[32];
	size_t offset;

	if (thp) {
		read_choice(thp, choice, sizeof(choice));
		igt_require_f(dmabufx_file_write(thp, "always"), "no %s\n", thp);
	}
	dmabufx_mem_init_holes(mem, kind, size);
	if (kind == SHMEM_2M || kind == ANON_2M)
		madvise(mem->map, mem->size, MADV_HUGEPAGE);
	else if (kind == ANON_4K)
		madvise(mem->map, mem->size, MADV_NOHUGEPAGE);
	for (offset = 0; offset < mem->size; offset += PAGE)
		mem->map[offset] = 0;
	if (thp)
		dmabufx_file_write(thp, choice);
	igt_require_f(is_folio(mem->map, mem->folio) &&
		      is_folio(mem->map + mem->size - mem->folio, mem->folio),
		      "the kernel did not give %s\n", kinds[kind].name);
}

void dmabufx_mem_fini(struct dmabufx_mem *mem)
{
	munmap(mem->map, mem->size);
	if (mem->fd >= 0)
		close(mem->fd);
}

struct udmabuf_create_item dmabufx_item(const struct dmabufx_mem *mem,
					uint64_t offset, uint64_t size)
{
	return (struct udmabuf_create_item){
		.memfd = mem->fd,
		.offset = offset,
		.size = size,
	};
}

struct dmabufx_segment dmabufx_user_segment(const void *address, uint64_t size)
{
	return (struct dmabufx_segment){
		.type = DMABUFX_USER,
		.address = (uintptr_t)address,
		.size = size,
	};
}

struct dmabufx_segment dmabufx_segment(const struct dmabufx_mem *mem,
				       uint64_t offset, uint64_t size)
{
	if (mem->fd < 0)
		return dmabufx_user_segment(mem->map + offset, size);
	return (struct dmabufx_segment){
		.fd = mem->fd,
		.type = DMABUFX_MEMFD,
		.offset = offset,
		.size = size,
	};
}

static sigjmp_buf after_signal;

static void on_signal(int signal)
{
	siglongjmp(after_signal, signal);
}

int dmabufx_touch(char *address, bool write)
{
	struct sigaction action = { .sa_handler = on_signal }, segv, bus;
	int signal;

	sigaction(SIGSEGV, &action, &segv);
	sigaction(SIGBUS, &action, &bus);
	signal = sigsetjmp(after_signal, 1);
	if (!signal && write)
		__atomic_store_n(address, 1, __ATOMIC_SEQ_CST);
	else if (!signal)
		__atomic_load_n(address, __ATOMIC_SEQ_CST);
	sigaction(SIGSEGV, &segv, NULL);
	sigaction(SIGBUS, &bus, NULL);
	return signal;
}

uint64_t dmabufx_page_frame(const void *address)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	igt_require_f(fd >= 0, "no /proc/self/pagemap\n");
	igt_assert_eq(pread(fd, &entry, sizeof(entry), (uintptr_t)address / PAGE * 8), 8);
	close(fd);
	/* Bit 63: present; bits 0 to 54: the frame. */
	return entry >> 63 ? entry & ((1ull << 55) - 1) : 0;
}

/*
 * Patterns. A word is its place, times an odd constant: different everywhere, and the
 * inverse constant turns a word that was found back into a place.
 */

#define SCATTER 0x9e3779b97f4a7c15ull
#define GATHER 0xf1de83e19937733dull

static uint64_t place(uint32_t seed, uint64_t offset)
{
	return (uint64_t)seed << 40 | offset >> 3;
}

void dmabufx_pattern_fill(void *to, uint32_t seed, uint64_t offset, size_t len)
{
	uint64_t word = place(seed, offset) * SCATTER, *out = to;
	size_t i;

	for (i = 0; i < len / 8; i++, word += SCATTER)
		out[i] = word;
}

void dmabufx_pattern_check(const void *found, uint32_t seed, uint64_t offset,
			   size_t len, const char *who)
{
	uint64_t word = place(seed, offset) * SCATTER, was;
	const uint64_t *in = found;
	size_t i;

	for (i = 0; i < len / 8 && in[i] == word; i++)
		word += SCATTER;
	if (i == len / 8)
		return;
	was = in[i] * GATHER;
	igt_assert_f(in[i], "%s sees zero where %#llx of seed %u belongs\n", who,
		     (long long)offset + 8 * i, seed);
	igt_assert_f(false, "%s sees %#llx of seed %u where %#llx of seed %u belongs\n",
		     who, (long long)(was << 24 >> 21), (unsigned int)(was >> 40),
		     (long long)offset + 8 * i, seed);
}

/* Buffers */

static const char * const way_names[DMABUFX_WAYS] = {
	[WAY_MEMORY] = "memory",
	[WAY_MMAP] = "mmap",
	[WAY_SG] = "scatterlist",
	[WAY_DEVICE] = "device",
	[WAY_VMAP] = "vmap",
};

const char *dmabufx_way_name(enum dmabufx_way way)
{
	return way_names[way];
}

void dmabufx_buffer_init(struct dmabufx_buffer *buf, int device,
			 enum dmabufx_kind kind, size_t size)
{
	struct dmabufx_segment segment;

	*buf = (struct dmabufx_buffer){ .importer = -1 };
	dmabufx_mem_init(&buf->mem, kind, size);
	buf->size = buf->mem.size;
	if (buf->mem.fd >= 0) {
		buf->fd = __udmabuf_create(device, buf->mem.fd, 0, buf->size,
					   UDMABUF_FLAGS_CLOEXEC);
		igt_assert_f(buf->fd >= 0, "UDMABUF_CREATE: %s\n", strerror(-buf->fd));
	} else {
		segment = dmabufx_segment(&buf->mem, 0, buf->size);
		buf->fd = dmabufx_create(device, &segment, 1, 0);
	}
}

/* All but the memory. */
static void buffer_close(struct dmabufx_buffer *buf)
{
	if (buf->map)
		munmap(buf->map, buf->size);
	if (buf->importer >= 0)
		close(buf->importer);
	close(buf->fd);
}

void dmabufx_buffer_fini(struct dmabufx_buffer *buf)
{
	buffer_close(buf);
	dmabufx_mem_fini(&buf->mem);
}

char *dmabufx_mmap(int dmabuf, uint64_t offset, size_t size)
{
	void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, offset);

	igt_assert_f(map != MAP_FAILED, "mmap: %s\n", strerror(errno));
	return map;
}

int __dmabufx_mmap(int dmabuf, int prot, int flags, uint64_t offset, size_t size)
{
	void *map = mmap(NULL, size, prot, flags, dmabuf, offset);

	if (map == MAP_FAILED)
		return -errno;
	munmap(map, size);
	return 0;
}

/* Makes a way into the buffer ready, once. */
static void open_way(struct dmabufx_buffer *buf, enum dmabufx_way way)
{
	if (way == WAY_MMAP && !buf->map)
		buf->map = dmabufx_mmap(buf->fd, 0, buf->size);
	if (way < WAY_SG || buf->importer >= 0)
		return;
	buf->importer = importer_open();
	importer_attach(buf->importer, buf->fd);
	importer_map(buf->importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
	importer_vmap(buf->importer);
}

static const uint32_t importer_via[DMABUFX_WAYS] = {
	[WAY_SG] = DMABUFX_VIA_SG,
	[WAY_DEVICE] = DMABUFX_VIA_DEVICE,
	[WAY_VMAP] = DMABUFX_VIA_VMAP,
};

#define CHUNK KIB(64)

/* Where a process can see the memory itself. */
static char *way_address(struct dmabufx_buffer *buf, enum dmabufx_way way)
{
	return way == WAY_MEMORY ? buf->mem.map : way == WAY_MMAP ? buf->map : NULL;
}

static void pass_chunk(struct dmabufx_buffer *buf, enum dmabufx_way way, uint32_t seed,
		       size_t at, bool write)
{
	static uint64_t data[CHUNK / 8];
	size_t len = buf->size - at < CHUNK ? buf->size - at : CHUNK;
	char *address = way_address(buf, way);

	if (write) {
		dmabufx_pattern_fill(address ? address + at : (char *)data, seed, at, len);
		if (!address)
			importer_write(buf->importer, importer_via[way], at, data, len);
		return;
	}
	if (!address)
		importer_read(buf->importer, importer_via[way], at, data, len);
	dmabufx_pattern_check(address ? address + at : (char *)data, seed, at, len,
			      way_names[way]);
}

/*
 * Small buffers as a whole; of others the ends, the borders of folios and their
 * middles, and of those no more than 256.
 */
static void pass(struct dmabufx_buffer *buf, enum dmabufx_way way, uint32_t seed,
		 bool write)
{
	size_t step = buf->mem.folio > CHUNK ? buf->mem.folio / 2 : CHUNK, at;

	open_way(buf, way);
	if (buf->size <= MIB(4)) {
		for (at = 0; at < buf->size; at += CHUNK)
			pass_chunk(buf, way, seed, at, write);
		return;
	}
	while (buf->size / step > 256)
		step *= 2;
	pass_chunk(buf, way, seed, 0, write);
	for (at = step; at < buf->size; at += step)
		pass_chunk(buf, way, seed, at - CHUNK / 2, write);
	pass_chunk(buf, way, seed, buf->size - CHUNK, write);
}

void dmabufx_buffer_write(struct dmabufx_buffer *buf, enum dmabufx_way way,
			  uint32_t seed)
{
	pass(buf, way, seed, true);
}

void dmabufx_buffer_check(struct dmabufx_buffer *buf, enum dmabufx_way way,
			  uint32_t seed)
{
	pass(buf, way, seed, false);
}

void dmabufx_buffer_carries(struct dmabufx_buffer *buf)
{
	enum dmabufx_way writer, reader;

	for (writer = 0; writer < DMABUFX_WAYS; writer++) {
		dmabufx_buffer_write(buf, writer, writer + 1);
		for (reader = 0; reader < DMABUFX_WAYS; reader++)
			dmabufx_buffer_check(buf, reader, writer + 1);
	}
}

void dmabufx_survives_reclaim(const struct dmabufx_mem *mem, int dmabuf,
			      enum dmabufx_way way)
{
	struct dmabufx_buffer buf = {
		.mem = *mem,
		.fd = dmabuf,
		.size = mem->size,
		.importer = -1,
	};

	dmabufx_buffer_write(&buf, way, way + 1);
	buffer_close(&buf);
	/* Only what is mapped is taken back; reading leaves clean what is clean. */
	dmabufx_pattern_check(mem->map, way + 1, 0, mem->size, "the owner");
	igt_assert_eq(ret_or_errno(madvise(mem->map, mem->size, MADV_PAGEOUT)), 0);
	dmabufx_pattern_check(mem->map, way + 1, 0, mem->size, "the owner, after reclaim");
}

int __dmabufx_sync(int dmabuf, uint64_t flags)
{
	struct dma_buf_sync sync = { .flags = flags };

	return ioctl_or_errno(dmabuf, DMA_BUF_IOCTL_SYNC, &sync);
}

void dmabufx_sync(int dmabuf, uint64_t flags)
{
	igt_assert_eq(__dmabufx_sync(dmabuf, flags), 0);
}

bool dmabufx_fdinfo(int fd, const char *key, char *value, size_t size)
{
	size_t len = strlen(key);
	char path[64], line[256];
	bool found = false;
	FILE *info;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	info = fopen(path, "re");
	igt_assert(info);
	while (!found && fgets(line, sizeof(line), info)) {
		found = !strncmp(line, key, len);
		if (found)
			snprintf(value, size, "%.*s", (int)strcspn(line + len, "\n"),
				 line + len);
	}
	fclose(info);
	return found;
}

/* The importer */

int importer_open(void)
{
	int importer = open("/dev/dmabufx-importer", O_RDWR | O_CLOEXEC);

	igt_require_f(importer >= 0, "needs the module dmabufx-importer\n");
	return importer;
}

int __importer_limits(int importer, uint64_t dma_mask, uint64_t seg_boundary,
		      uint32_t max_seg)
{
	struct dmabufx_importer_limits limits = {
		.dma_mask = dma_mask,
		.seg_boundary = seg_boundary,
		.max_seg = max_seg,
	};

	return ioctl_or_errno(importer, DMABUFX_IMPORTER_LIMITS, &limits);
}

void importer_limits(int importer, uint64_t dma_mask, uint64_t seg_boundary,
		     uint32_t max_seg)
{
	igt_assert_eq(__importer_limits(importer, dma_mask, seg_boundary, max_seg), 0);
}

/* Those whose argument is a number. */
static int importer_do(int importer, unsigned long request, unsigned long arg)
{
	return ret_or_errno(ioctl(importer, request, arg));
}

int __importer_attach(int importer, int dmabuf)
{
	return importer_do(importer, DMABUFX_IMPORTER_ATTACH, dmabuf);
}

void importer_attach(int importer, int dmabuf)
{
	igt_assert_eq(__importer_attach(importer, dmabuf), 0);
}

int __importer_detach(int importer)
{
	return importer_do(importer, DMABUFX_IMPORTER_DETACH, 0);
}

void importer_detach(int importer)
{
	igt_assert_eq(__importer_detach(importer), 0);
}

int __importer_map(int importer, uint32_t dir, struct dmabufx_importer_map *map)
{
	*map = (struct dmabufx_importer_map){ .dir = dir };
	return ioctl_or_errno(importer, DMABUFX_IMPORTER_MAP, map);
}

struct dmabufx_importer_map importer_map(int importer, uint32_t dir)
{
	struct dmabufx_importer_map map;

	igt_assert_eq(__importer_map(importer, dir, &map), 0);
	igt_assert_eq_u32(map.faults, 0);
	return map;
}

void importer_unmap(int importer)
{
	igt_assert_eq(importer_do(importer, DMABUFX_IMPORTER_UNMAP, 0), 0);
}

int __importer_vmap(int importer)
{
	return importer_do(importer, DMABUFX_IMPORTER_VMAP, 0);
}

void importer_vmap(int importer)
{
	igt_assert_eq(__importer_vmap(importer), 0);
}

void importer_vunmap(int importer)
{
	igt_assert_eq(importer_do(importer, DMABUFX_IMPORTER_VUNMAP, 0), 0);
}

void importer_begin(int importer, uint32_t dir)
{
	igt_assert_eq(importer_do(importer, DMABUFX_IMPORTER_BEGIN, dir), 0);
}

void importer_end(int importer, uint32_t dir)
{
	igt_assert_eq(importer_do(importer, DMABUFX_IMPORTER_END, dir), 0);
}

int __importer_copy(int importer, uint32_t via, uint64_t offset, const void *data,
		    size_t len, bool write)
{
	struct dmabufx_importer_copy copy = {
		.offset = offset,
		.len = len,
		.addr = (uintptr_t)data,
		.via = via,
		.write = write,
	};

	return ioctl_or_errno(importer, DMABUFX_IMPORTER_COPY, &copy);
}

void importer_read(int importer, uint32_t via, uint64_t offset, void *to, size_t len)
{
	igt_assert_eq(__importer_copy(importer, via, offset, to, len, false), 0);
}

void importer_write(int importer, uint32_t via, uint64_t offset, const void *from,
		    size_t len)
{
	igt_assert_eq(__importer_copy(importer, via, offset, from, len, true), 0);
}

/* What must be as before */

static const char * const counter_names[DMABUFX_COUNTERS] = {
	[COUNT_PINS] = "pinned pages",
	[COUNT_DMA_BUFS] = "dma-bufs",
	[COUNT_SHMEM] = "pages of shmem",
	[COUNT_FREE_HUGE] = "free huge pages",
	[COUNT_FDS] = "open files",
	[COUNT_PINNED_MEMFD] = "bytes of memfds in buffers",
	[COUNT_LOCKED] = "locked bytes",
};

static long long free_huge_pages(void)
{
	long long sum = 0;
	glob_t found;
	size_t i;

	if (glob("/sys/kernel/mm/hugepages/*/free_hugepages", 0, NULL, &found))
		return 0;
	for (i = 0; i < found.gl_pathc; i++)
		sum += dmabufx_file_number(found.gl_pathv[i], "");
	globfree(&found);
	return sum;
}

static long long open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	long long files = 0;

	igt_assert(dir);
	while (readdir(dir))
		files++;
	closedir(dir);
	return files;
}

/* Brings the per-CPU parts of the kernel's counters together. */
static void refresh_counters(void)
{
	dmabufx_file_write("/proc/sys/vm/stat_refresh", "1");
}

void dmabufx_counters_read(struct dmabufx_counters *counters)
{
	struct dmabufx_query query = { .size = sizeof(query) };
	long long *value = counters->value;
	int device = __dmabufx_open(DMABUFX_DEVICE, O_RDONLY);

	if (device >= 0) {
		ioctl_or_errno(device, DMABUFX_IOC_QUERY, &query);
		close(device);
	}
	refresh_counters();
	value[COUNT_PINS] = dmabufx_file_number("/proc/vmstat", "nr_foll_pin_acquired ") -
			    dmabufx_file_number("/proc/vmstat", "nr_foll_pin_released ");
	value[COUNT_DMA_BUFS] =
		dmabufx_file_number("/sys/kernel/debug/dma_buf/bufinfo", "Total ");
	value[COUNT_SHMEM] = dmabufx_file_number("/proc/vmstat", "nr_shmem ");
	value[COUNT_FREE_HUGE] = free_huge_pages();
	value[COUNT_FDS] = open_files();
	value[COUNT_PINNED_MEMFD] = query.memfd_pinned;
	value[COUNT_LOCKED] = query.user_locked;
}

void dmabufx_counters_check(const struct dmabufx_counters *before)
{
	struct dmabufx_counters now;
	int i, left;

	for (left = 400; left; left--) {
		dmabufx_counters_read(&now);
		if (!memcmp(before, &now, sizeof(now)))
			return;
		usleep(50000);
	}
	for (i = 0; i < DMABUFX_COUNTERS; i++)
		igt_assert_f(now.value[i] == before->value[i],
			     "%s were %lld before, are %lld after\n", counter_names[i],
			     before->value[i], now.value[i]);
}

long dmabufx_kernel_memory(void)
{
	static const char * const keys[] = {
		"Slab:", "VmallocUsed:", "KernelStack:", "PageTables:", "Percpu:",
	};
	long long sum = 0;
	size_t i;

	refresh_counters();
	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		sum += dmabufx_file_number("/proc/meminfo", keys[i]);
	return sum * 1024;
}

/* What is more than @before, once what is freed later has been freed. */
static long settled_growth(long before, long enough)
{
	long growth;
	int left = 20;

	do {
		usleep(100000);
		growth = dmabufx_kernel_memory() - before;
	} while (growth > enough && --left);
	return growth;
}

long dmabufx_kernel_growth(void (*call)(void *arg), void *arg, int loops, long enough)
{
	long least = LONG_MAX, before, growth;
	int tries, i;

	/* The first call fills the caches that all later ones use. */
	call(arg);
	/* A cache of somebody else's may grow by a page meanwhile: it does not each time. */
	for (tries = 0; tries < 12 && least > enough; tries++) {
		before = dmabufx_kernel_memory();
		for (i = 0; i < loops; i++)
			call(arg);
		growth = settled_growth(before, enough);
		if (growth < least)
			least = growth;
	}
	return least;
}

void dmabufx_leaves_nothing(void (*call)(void *arg), void *arg, int loops)
{
	/* Memory is counted by the page, so a few are no leak. */
	const long enough = loops * 24L;
	long growth = dmabufx_kernel_growth(call, arg, loops, enough);

	igt_assert_f(growth <= enough,
		     "%d calls leave %ld bytes of kernel memory behind\n", loops, growth);
}
