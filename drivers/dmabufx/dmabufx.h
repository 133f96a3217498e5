/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the rooms of the module know of each other.
 *
 * Sources (memfd.c) produce runs; attach.c, mmap.c and vmap.c consume them.
 * Only create.c knows both sides.
 *
 * Units: "pages" are of PAGE_SIZE bytes, "pgoff" counts pages from the start
 * of the buffer.
 */
#ifndef DMABUFX_H
#define DMABUFX_H

#include <linux/dma-buf.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/types.h>
#include <linux/udmabuf.h>

#ifndef CONFIG_64BIT
#error "dmabufx needs a 64-bit kernel: it relies on all memory being mapped"
#endif

#if defined(CONFIG_SPARSEMEM) && !defined(CONFIG_SPARSEMEM_VMEMMAP)
#error "dmabufx needs the struct pages of contiguous memory to be contiguous"
#endif

struct iov_iter;
struct vm_area_struct;

/* runs.c: physically contiguous pieces of memory, in the buffer's order */

/**
 * struct dmabufx_run - physically contiguous memory
 * @folio: the folio that the first page belongs to
 * @first: the first page's index in @folio
 * @start: the first page's place in the buffer, pages
 *
 * A run ends where the next one starts. It may go on beyond @folio, into the
 * folios that follow in physical memory.
 */
struct dmabufx_run {
	struct folio *folio;
	u32 first;
	u32 start;
};

/**
 * struct dmabufx_runs - the memory of a buffer
 * @run: the runs, by ascending start; neighbours are never contiguous
 * @nr: runs in use
 * @capacity: runs allocated
 * @nr_pages: the buffer's size, pages
 * @longest: length of the longest run, pages; known once finished
 * @last: while appending: the folio that the last page belongs to
 * @next_pfn: while appending: the page frame that would be contiguous
 *
 * All zero is an empty table. The table itself holds no reference to memory:
 * that is the business of the source that filled it.
 */
struct dmabufx_runs {
	struct dmabufx_run *run;
	u32 nr;
	u32 capacity;
	u32 nr_pages;
	u32 longest;
	struct folio *last;
	unsigned long next_pfn;
};

/* The largest buffer: a run's start is a u32. */
#define DMABUFX_MAX_PAGES	U32_MAX

int dmabufx_runs_reserve(struct dmabufx_runs *runs, u32 nr);
int dmabufx_runs_append(struct dmabufx_runs *runs, struct folio *folio,
			struct folio *last, u32 first, u32 nr_pages);
void dmabufx_runs_finish(struct dmabufx_runs *runs);
void dmabufx_runs_free(struct dmabufx_runs *runs);
const struct dmabufx_run *dmabufx_runs_find(const struct dmabufx_runs *runs,
					    pgoff_t pgoff);

static inline unsigned long dmabufx_run_pfn(const struct dmabufx_run *run)
{
	return folio_pfn(run->folio) + run->first;
}

/* An address only: what is there, the page's folio knows. */
static inline struct page *dmabufx_run_page(const struct dmabufx_run *run)
{
	return folio_page(run->folio, run->first);
}

static inline u32 dmabufx_run_pages(const struct dmabufx_runs *runs,
				    const struct dmabufx_run *run)
{
	bool is_last = run + 1 == runs->run + runs->nr;

	return (is_last ? runs->nr_pages : run[1].start) - run->start;
}

/* memfd.c: ranges of memfds as a source */

int dmabufx_memfd_append(struct dmabufx_runs *runs, unsigned int fd, u64 offset,
			 u64 size);
void dmabufx_memfd_release(struct dmabufx_runs *runs);

/* iter.c and kva.c: memory of kernel iterators, kernel addresses */

/**
 * struct dmabufx_piece - physically contiguous memory, in bytes
 * @page: the page that it begins in
 * @offset: where in @page, below PAGE_SIZE
 * @len: how many bytes; may go on into the pages behind @page
 */
struct dmabufx_piece {
	struct page *page;
	size_t offset;
	size_t len;
};

int dmabufx_iter_append(struct dmabufx_runs *runs, struct iov_iter *iter,
			size_t size);
int dmabufx_kva_piece(const void *kaddr, size_t len,
		      struct dmabufx_piece *piece);

/* create.c: buffers come and go */

/**
 * struct dmabufx_buf - what stands behind a dma-buf
 * @runs: the memory; constant once exported, read without a lock
 * @ino: the dma-buf's inode number, by which traces and fdinfo name it
 * @lock: protects @attachments and what they hold. Taken with or without the
 *	dma-buf's reservation lock, which is always the outer one
 * @attachments: &struct dmabufx_attachment of each importer
 * @vmap_addr: vmap.c: what vmap() made of the buffer, NULL until it is needed
 * @vmap_node: vmap.c: in the list of such mappings that nobody uses
 */
struct dmabufx_buf {
	struct dmabufx_runs runs;
	unsigned long ino;
	struct mutex lock; /* attachments and what they hold */
	struct list_head attachments;
	void *vmap_addr;
	struct list_head vmap_node;
};

int dmabufx_create_udmabuf(const struct udmabuf_create_item *items, u32 count,
			   u32 flags);

/* attach.c: devices */

int dmabufx_attach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach);
void dmabufx_detach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach);
struct sg_table *dmabufx_map(struct dma_buf_attachment *attach,
			     enum dma_data_direction dir);
void dmabufx_unmap(struct dma_buf_attachment *attach, struct sg_table *sgt,
		   enum dma_data_direction dir);
int dmabufx_begin_cpu_access(struct dma_buf *dmabuf,
			     enum dma_data_direction dir);
int dmabufx_end_cpu_access(struct dma_buf *dmabuf,
			   enum dma_data_direction dir);

/* mmap.c: processes */

int dmabufx_mmap(struct dma_buf *dmabuf, struct vm_area_struct *vma);

/* vmap.c: the kernel */

int dmabufx_vmap(struct dma_buf *dmabuf, struct iosys_map *map);
void dmabufx_vunmap(struct dma_buf *dmabuf, struct iosys_map *map);
void dmabufx_vmap_release(struct dmabufx_buf *buf);
int dmabufx_vmap_init(void);
void dmabufx_vmap_exit(void);

#endif /* DMABUFX_H */
