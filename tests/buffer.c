// SPDX-License-Identifier: MIT
/* Dma-bufs under test, and the ways into them: see buffer.h. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "buffer.h"
#include "harness.h"
#include "watch.h"

#define CHUNK KIB(64)

int device_open(void)
{
	int fd = open(settings.device, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		fail("open %s: %s", settings.device, errno_name(errno));
	return fd;
}

int try_create(int device, struct udmabuf_create_item item, __u32 flags)
{
	struct udmabuf_create create = {
		.memfd = item.memfd,
		.flags = flags,
		.offset = item.offset,
		.size = item.size,
	};

	return ioctl(device, UDMABUF_CREATE, &create);
}

int try_create_list(int device, const struct udmabuf_create_item *items,
		    __u32 count, __u32 flags)
{
	size_t size = count * sizeof(*items);
	struct udmabuf_create_list *list = malloc(sizeof(*list) + size);
	int fd, error;

	if (!list)
		fail("no memory for a list of %u items", count);
	list->flags = flags;
	list->count = count;
	memcpy(list->list, items, size);
	fd = ioctl(device, UDMABUF_CREATE_LIST, list);
	error = errno;
	free(list);
	errno = error;
	return fd;
}

int kernel_mappings(__u64 pages)
{
	FILE *info = fopen("/proc/vmallocinfo", "re");
	unsigned long from, to, size;
	char line[512];
	int n = 0;

	check(info);
	while (fgets(line, sizeof(line), info)) {
		if (!strstr(line, "[dmabufx]") || !strstr(line, " vmap"))
			continue;
		if (sscanf(line, "0x%lx-0x%lx %lu", &from, &to, &size) != 3)
			fail("what is %s", line);
		/* The size includes the guard page. */
		n += !pages || size == (pages + 1) * PAGE;
	}
	fclose(info);
	return n;
}

int importer_that_leaves(__u64 pages)
{
	struct memory mem = memory_make(HUGETLB_2M, MIB(4));
	__u64 size = file_number("/proc/meminfo", "MemTotal:") * KIB(1) - pages * PAGE;
	unsigned int nr = (size + MIB(2) - 1) / MIB(2), i;
	struct udmabuf_create_item *items = calloc(nr, sizeof(*items));
	int importer = importer_open(), device = device_open(), fd;

	check(items);
	/* The two huge pages alternate in reverse order, so that runs do not merge. */
	for (i = 0; i < nr; i++, size -= MIB(2))
		items[i] = list_item(&mem, i % 2 ? 0 : MIB(2), size < MIB(2) ? size : MIB(2));
	fd = must(try_create_list(device, items, nr, UDMABUF_FLAGS_CLOEXEC));
	importer_attach(importer, fd);
	importer_do(importer, DMABUFX_IMPORTER_VMAP, 0);
	must(close(fd));
	must(close(device));
	memory_free(&mem);
	free(items);
	return importer;
}

struct udmabuf_create_item list_item(const struct memory *mem, __u64 offset,
				     __u64 size)
{
	return (struct udmabuf_create_item){
		.memfd = mem->fd,
		.offset = offset,
		.size = size,
	};
}

int create_range(const struct memory *mem, __u64 offset, __u64 size)
{
	int device = device_open();
	int fd = must(try_create(device, list_item(mem, offset, size),
				 UDMABUF_FLAGS_CLOEXEC));

	close(device);
	return fd;
}

struct buffer buffer_make(struct part *parts, unsigned int nr_parts)
{
	struct udmabuf_create_item *items = calloc(nr_parts, sizeof(*items));
	struct buffer buf = {
		.parts = parts,
		.nr_parts = nr_parts,
		.importer = -1,
	};
	int device = device_open();
	unsigned int i;

	for (i = 0; i < nr_parts; i++) {
		parts[i].start = buf.size;
		buf.size += parts[i].size;
		items[i] = list_item(parts[i].mem, parts[i].offset, parts[i].size);
	}
	buf.fd = must(try_create_list(device, items, nr_parts,
				      UDMABUF_FLAGS_CLOEXEC));
	close(device);
	free(items);
	return buf;
}

struct dmabufx_segment user_segment(const void *address, __u64 size)
{
	return (struct dmabufx_segment){
		.type = DMABUFX_USER,
		.address = (uintptr_t)address,
		.size = size,
	};
}

struct dmabufx_segment segment(const struct memory *mem, __u64 offset,
			       __u64 size)
{
	if (mem->fd < 0)
		return user_segment(mem->map + offset, size);
	return (struct dmabufx_segment){
		.fd = mem->fd,
		.type = DMABUFX_MEMFD,
		.offset = offset,
		.size = size,
	};
}

struct dmabufx_create request(const struct dmabufx_segment *segments,
			      __u32 nr_segments, __u32 flags)
{
	return (struct dmabufx_create){
		.size = sizeof(struct dmabufx_create),
		.flags = flags,
		.segments = (uintptr_t)segments,
		.nr_segments = nr_segments,
		.segment_size = sizeof(*segments),
		/* Markers that show which fields the kernel writes. */
		.data_offset = 0x0123456789abcdef,
		.failed_segment = 0xdeadbeef,
		.reason = 0xfeedface,
	};
}

int try_request(int device, struct dmabufx_create *request)
{
	struct dmabufx_create before = *request;
	int fd = ioctl(device, DMABUFX_IOC_CREATE, request);
	int error = errno;

	if (fd >= 0) {
		before.data_offset = request->data_offset;
	} else {
		before.failed_segment = request->failed_segment;
		before.reason = request->reason;
	}
	if (memcmp(&before, request, sizeof(before)))
		fail("the call wrote what it may not");
	errno = error;
	return fd;
}

#ifdef __x86_64__
/* The kernel takes int 0x80 as a call of a 32-bit program. */
int ioctl_32(int fd, unsigned int request, void *arg)
{
	int ret;

	asm volatile("int $0x80"
		     : "=a" (ret)
		     : "a" (54), "b" (fd), "c" (request),
		       "d" ((__u32)(uintptr_t)arg)
		     : "memory", "r8", "r9", "r10", "r11");
	return ret;
}
#endif

void refused_at(int line, int error, __u32 reason, __u32 failed_segment,
		int device, struct dmabufx_create *request)
{
	int fd = try_request(device, request), got = errno;

	if (fd >= 0)
		fail("line %d: a buffer instead of %s", line,
		     errno_name(error));
	if (got != error || request->reason != reason ||
	    request->failed_segment != failed_segment)
		fail("line %d: %s, reason %u, segment %u instead of %s, reason %u, segment %u",
		     line, errno_name(got), request->reason,
		     request->failed_segment, errno_name(error), reason,
		     failed_segment);
}

struct dmabufx_query device_query(int device)
{
	struct dmabufx_query query = { .size = sizeof(query) };

	must(ioctl(device, DMABUFX_IOC_QUERY, &query));
	return query;
}

int create_of(const struct dmabufx_segment *segments, __u32 nr_segments)
{
	struct dmabufx_create req = request(segments, nr_segments,
					    DMABUFX_CREATE_CLOEXEC);
	int device = device_open(), fd = try_request(device, &req);

	if (fd < 0)
		fail("DMABUFX_IOC_CREATE: %s, reason %u, segment %u of %u",
		     errno_name(errno), req.reason, req.failed_segment,
		     nr_segments);
	close(device);
	return fd;
}

int create_of_user(const void *address, __u64 size)
{
	struct dmabufx_segment seg = user_segment(address, size);

	return create_of(&seg, 1);
}

struct buffer buffer_make_from(struct part *parts, unsigned int nr_parts)
{
	struct dmabufx_segment *segments = calloc(nr_parts, sizeof(*segments));
	struct buffer buf = {
		.parts = parts,
		.nr_parts = nr_parts,
		.importer = -1,
		.size = parts[0].offset % PAGE,
	};
	unsigned int i;

	for (i = 0; i < nr_parts; i++) {
		parts[i].start = buf.size;
		buf.size += parts[i].size;
		segments[i] = segment(parts[i].mem, parts[i].offset,
				      parts[i].size);
	}
	buf.size = (buf.size + PAGE - 1) & -PAGE;
	buf.fd = create_of(segments, nr_parts);
	check_eq(lseek(buf.fd, 0, SEEK_END), buf.size);
	free(segments);
	return buf;
}

void fdinfo_line(int fd, const char *key, char *value, size_t size)
{
	size_t len = strlen(key);
	char path[64], line[256];
	FILE *info;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	info = fopen(path, "re");
	check(info);
	while (fgets(line, sizeof(line), info)) {
		if (strncmp(line, key, len))
			continue;
		snprintf(value, size, "%.*s", (int)strcspn(line + len, "\n"),
			 line + len);
		fclose(info);
		return;
	}
	fail("fdinfo has no line '%s'", key);
}

void buffer_free(struct buffer *buf)
{
	if (buf->map)
		must(munmap(buf->map, buf->size));
	if (buf->importer >= 0)
		must(close(buf->importer));
	must(close(buf->fd));
}

char *map_dma_buf(int fd, __u64 offset, size_t size)
{
	return must(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			 offset));
}

void buffer_mmap(struct buffer *buf)
{
	if (!buf->map)
		buf->map = map_dma_buf(buf->fd, 0, buf->size);
}

static void dma_buf_sync(int fd, __u64 flags)
{
	struct dma_buf_sync sync = { .flags = flags };

	must(ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync));
}

void sync_start(int fd, __u64 direction)
{
	dma_buf_sync(fd, DMA_BUF_SYNC_START | direction);
}

void sync_end(int fd, __u64 direction)
{
	dma_buf_sync(fd, DMA_BUF_SYNC_END | direction);
}

int importer_open(void)
{
	return must(open("/dev/dmabufx-importer", O_RDWR | O_CLOEXEC));
}

void importer_do(int importer, unsigned long request, unsigned long arg)
{
	if (ioctl(importer, request, arg))
		fail("importer's ioctl %#lx: %s", request & 0xff,
		     errno_name(errno));
}

void importer_limits(int importer, __u64 dma_mask, __u64 seg_boundary,
		     __u32 max_seg)
{
	struct dmabufx_importer_limits limits = {
		.dma_mask = dma_mask,
		.seg_boundary = seg_boundary,
		.max_seg = max_seg,
	};

	importer_do(importer, DMABUFX_IMPORTER_LIMITS, (uintptr_t)&limits);
}

void importer_attach(int importer, int dma_buf)
{
	importer_do(importer, DMABUFX_IMPORTER_ATTACH, dma_buf);
}

/*
 * A kernel with DMABUF_DEBUG hides the pages of a scatterlist from importers. The way
 * "the scatterlist" then reads through device addresses, as "the device" does.
 */
static bool pages_are_hidden;

int try_importer_map(int importer, struct dmabufx_importer_map *map)
{
	int ret = ioctl(importer, DMABUFX_IMPORTER_MAP, map);

	if (!ret) {
		pages_are_hidden = !map->orig_nents;
		if (pages_are_hidden)
			map->orig_nents = map->nents;
	}
	return ret;
}

struct dmabufx_importer_map importer_map(int importer, __u32 direction)
{
	struct dmabufx_importer_map map = { .dir = direction };

	must(try_importer_map(importer, &map));
	return map;
}

static void importer_copy(int importer, __u32 via, __u64 offset,
			  const void *data, size_t len, bool write)
{
	bool instead = via == DMABUFX_VIA_SG && pages_are_hidden;
	struct dmabufx_importer_copy copy = {
		.offset = offset,
		.len = len,
		.addr = (uintptr_t)data,
		.via = instead ? DMABUFX_VIA_DEVICE : via,
		.write = write,
	};

	importer_do(importer, DMABUFX_IMPORTER_COPY, (uintptr_t)&copy);
}

void importer_read(int importer, __u32 via, __u64 offset, void *to,
		   size_t len)
{
	importer_copy(importer, via, offset, to, len, false);
}

void importer_write(int importer, __u32 via, __u64 offset,
		    const void *from, size_t len)
{
	importer_copy(importer, via, offset, from, len, true);
}

static void memfd_copy(struct buffer *buf, const struct part *part,
		       __u64 offset, void *data, size_t len, bool write)
{
	char *there = part->mem->map + part->offset + (offset - part->start);

	(void)buf;
	memcpy(write ? there : data, write ? data : there, len);
}

static void mmap_copy(struct buffer *buf, const struct part *part,
		      __u64 offset, void *data, size_t len, bool write)
{
	char *there = buf->map + offset;

	(void)part;
	memcpy(write ? there : data, write ? data : there, len);
}

static void open_importer(struct buffer *buf)
{
	if (buf->importer >= 0)
		return;
	buf->importer = importer_open();
	importer_attach(buf->importer, buf->fd);
	importer_map(buf->importer, DMABUFX_IMPORTER_BIDIRECTIONAL);
}

static void open_vmap(struct buffer *buf)
{
	open_importer(buf);
	if (!buf->vmapped)
		importer_do(buf->importer, DMABUFX_IMPORTER_VMAP, 0);
	buf->vmapped = true;
}

static void sg_copy(struct buffer *buf, const struct part *part,
		    __u64 offset, void *data, size_t len, bool write)
{
	(void)part;
	importer_copy(buf->importer, DMABUFX_VIA_SG, offset, data, len, write);
}

static void device_copy(struct buffer *buf, const struct part *part,
			__u64 offset, void *data, size_t len, bool write)
{
	(void)part;
	importer_copy(buf->importer, DMABUFX_VIA_DEVICE, offset, data, len,
		      write);
}

static void vmap_copy(struct buffer *buf, const struct part *part,
		      __u64 offset, void *data, size_t len, bool write)
{
	(void)part;
	importer_copy(buf->importer, DMABUFX_VIA_VMAP, offset, data, len,
		      write);
}

const struct way way_memfd = { "the memfd", NULL, memfd_copy };
const struct way way_mmap = { "mmap", buffer_mmap, mmap_copy };
const struct way way_sg = { "the scatterlist", open_importer, sg_copy };
const struct way way_device = { "the device", open_importer, device_copy };
const struct way way_vmap = { "vmap", open_vmap, vmap_copy };

const struct way * const all_ways[] = {
	&way_memfd, &way_mmap, &way_sg, &way_device, &way_vmap, NULL
};

struct pass {
	struct buffer *buf;
	const struct way *way;
	unsigned int number;
	bool write;
};

static void pass_chunk(const struct pass *pass, const struct part *part,
		       __u64 in_part, size_t len)
{
	static __u64 data[CHUNK / 8];
	__u64 in_memfd = part->offset + in_part;
	unsigned int id = part->mem->id;

	if (pass->write)
		pattern_fill(data, pass->number, id, in_memfd, len);
	pass->way->copy(pass->buf, part, part->start + in_part, data, len,
			pass->write);
	if (!pass->write)
		pattern_check(data, pass->number, id, in_memfd, len,
			      pass->way->name);
}

static void pass_range(const struct pass *pass, const struct part *part,
		       __u64 from, __u64 to)
{
	if (to > part->size)
		to = part->size;
	while (from < to) {
		size_t len = to - from < CHUNK ? to - from : CHUNK;

		pass_chunk(pass, part, from, len);
		from += len;
	}
}

/* The distance of the borders to look at: a folio, or more in buffers above 64 MiB. */
static size_t border_step(const struct pass *pass, const struct part *part)
{
	size_t step = part->mem->folio;

	if (pass->buf->size > MIB(64) && step < MIB(4))
		step = MIB(4);
	return step < MIB(32) ? step : MIB(32);
}

/* Covers a page on each side of every border, and of the part's ends. */
static void pass_borders(const struct pass *pass, const struct part *part)
{
	size_t step = border_step(pass, part);
	__u64 border = step - part->offset % step;

	pass_range(pass, part, 0, PAGE);
	for (; border < part->size; border += step)
		pass_range(pass, part, border - PAGE, border + PAGE);
	pass_range(pass, part, part->size - PAGE, part->size);
}

static bool is_sampled(const struct buffer *buf, const struct part *part)
{
	return buf->size > (part->mem->folio == PAGE ? MIB(64) : MIB(2));
}

static void pass_run(const struct pass *pass)
{
	struct buffer *buf = pass->buf;
	unsigned int i;

	if (pass->way->open)
		pass->way->open(buf);
	for (i = 0; i < buf->nr_parts; i++) {
		struct part *part = &buf->parts[i];

		if (is_sampled(buf, part))
			pass_borders(pass, part);
		else
			pass_range(pass, part, 0, part->size);
	}
}

void buffer_write(struct buffer *buf, const struct way *way, unsigned int pass)
{
	pass_run(&(struct pass){ buf, way, pass, true });
}

void buffer_verify(struct buffer *buf, const struct way *way,
		   unsigned int pass)
{
	pass_run(&(struct pass){ buf, way, pass, false });
}

void writes_survive_reclaim(struct buffer *buf, const struct way *way,
			    const struct memory *mem)
{
	buffer_write(buf, way, 1);
	buffer_free(buf);
	/* Reading through the mapping does not make clean pages dirty. */
	pattern_check(mem->map, 1, mem->id, 0, mem->size, "the owner");
	must(madvise(mem->map, mem->size, MADV_PAGEOUT));
	pattern_check(mem->map, 1, mem->id, 0, mem->size, "the owner");
}

void buffer_carries(struct buffer *buf, const struct way * const *ways)
{
	const struct way * const *writer, * const *reader;
	unsigned int pass = 0;

	for (writer = ways; *writer; writer++) {
		buffer_write(buf, *writer, ++pass);
		for (reader = ways; *reader; reader++)
			buffer_verify(buf, *reader, pass);
	}
}
