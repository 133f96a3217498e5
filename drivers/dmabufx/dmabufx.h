/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The interfaces between the files of the module.
 *
 * Sources (memfd.c, user.c, file.c, iter.c) produce runs; attach.c, mmap.c and
 * vmap.c consume them. Only create.c (buffers for processes) and export.c
 * (buffers for other modules) know both sides.
 *
 * Units: "pages" are of PAGE_SIZE bytes, "pgoff" counts pages from the start
 * of the buffer.
 */
#ifndef DMABUFX_DRIVER_H
#define DMABUFX_DRIVER_H

#include <linux/dma-buf.h>
#include <linux/hugetlb.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/types.h>

#include "../../uapi/linux/dmabufx.h"

#ifndef CONFIG_64BIT
#error "dmabufx needs a 64-bit kernel: it relies on all memory being mapped"
#endif

#if defined(CONFIG_SPARSEMEM) && !defined(CONFIG_SPARSEMEM_VMEMMAP)
#error "dmabufx needs the struct pages of contiguous memory to be contiguous"
#endif

struct iov_iter;
struct mm_struct;
struct module;
struct user_struct;
struct vm_area_struct;

/* Stores in @reason, for user space, why a request fails. Returns @err. */
static inline int dmabufx_because(u32 *reason, enum dmabufx_reason why, int err)
{
	*reason = why;
	return err;
}

/* runs.c: physically contiguous pieces of memory, in the buffer's order */

/**
 * struct dmabufx_run - physically contiguous memory
 * @start: the first page's place in the buffer, pages
 * @page: the first page
 * @node: runs.c: instead of @page, what a record of the tree leads to
 *
 * A run ends where the next one starts. Behind each run that has no other behind it in
 * memory, there is nevertheless a @start. A run may begin and end within a folio, and
 * may go on into the folios that follow in physical memory.
 */
struct dmabufx_run {
	u32 start;
	union {
		struct page *page;
		struct dmabufx_run *node;
	};
} __packed __aligned(sizeof(u32));

/**
 * enum dmabufx_retention - how the memory behind a table is held
 * @DMABUFX_PINNED: by one pin of every folio that a run touches, for each run
 *	that touches it
 * @DMABUFX_REFERENCED: by references instead of pins
 * @DMABUFX_CALLERS: not held by this module: the module that lent it keeps it
 */
enum dmabufx_retention {
	DMABUFX_PINNED,
	DMABUFX_REFERENCED,
	DMABUFX_CALLERS,
};

/**
 * struct dmabufx_runs - the memory of a buffer
 * @root: runs.c: the tree of leaves; the only leaf, if there is one
 * @leaf: runs.c: the last leaf
 * @tail: runs.c: where the next run goes
 * @stop: runs.c: where the last leaf's room for runs ends
 * @places: runs.c: for how many leaves the tree has places
 * @nr: how many runs; neighbours are never contiguous
 * @nr_pages: the buffer's size, pages
 * @nr_small: how many of these pages are known to be folios of one page each. If
 *	all are, other code can skip work that only large folios need
 * @nr_whole: how many of these pages are known to be of folios that are in the buffer
 *	as a whole, small ones included
 * @longest: length of the longest run, pages
 * @retention: how the memory is held; runs.c does not look at it
 * @dirty: whether it may have been written when it is let go
 * @next: only while appending: the page that would continue the last run
 *
 * A table of all zeros is empty. The table itself holds no reference to memory: its
 * source takes the references, retention.c drops them.
 */
struct dmabufx_runs {
	struct dmabufx_run *root;
	struct dmabufx_run *leaf;
	struct dmabufx_run *tail;
	struct dmabufx_run *stop;
	u32 places;
	u32 nr;
	u32 nr_pages;
	u32 nr_small;
	u32 nr_whole;
	u32 longest;
	enum dmabufx_retention retention;
	bool dirty;
	struct page *next;
};

/**
 * struct dmabufx_place - a place in a table
 * @run: the run there, NULL if the place is beyond the buffer
 * @stop: where the runs end that follow @run in memory
 *
 * To visit all runs: from dmabufx_runs_find(runs, 0) with dmabufx_place_next() while
 * there is a @run.
 */
struct dmabufx_place {
	const struct dmabufx_run *run;
	const struct dmabufx_run *stop;
};

/* The largest buffer: a run's start is a u32. */
#define DMABUFX_MAX_PAGES	U32_MAX

int dmabufx_runs_reserve(struct dmabufx_runs *runs, u32 nr);
int dmabufx_runs_grow(struct dmabufx_runs *runs);
void dmabufx_runs_finish(struct dmabufx_runs *runs);
void dmabufx_runs_free(struct dmabufx_runs *runs);
struct dmabufx_place dmabufx_runs_find(const struct dmabufx_runs *runs,
				       pgoff_t pgoff);
int dmabufx_walk_folios(const struct dmabufx_runs *runs,
			int (*visit)(struct folio *folio, void *data), void *data);

static inline void dmabufx_place_next(struct dmabufx_place *at,
				      const struct dmabufx_runs *runs)
{
	if (++at->run == at->stop)
		*at = dmabufx_runs_find(runs, at->run->start);
}

static inline unsigned long dmabufx_run_pfn(const struct dmabufx_run *run)
{
	return page_to_pfn(run->page);
}

static inline u32 dmabufx_run_pages(const struct dmabufx_run *run)
{
	return run[1].start - run->start;
}

/**
 * dmabufx_runs_append - add memory at the end of a buffer
 * @runs: the table
 * @folio: the folio that the memory begins in
 * @first: index of the first page in @folio
 * @nr_pages: how many pages, physically contiguous, at least one
 *
 * Extends the last run if the memory follows it physically, within a folio or from
 * one folio to the next. Inline, since this runs for every page of scattered memory.
 *
 * Context: Nobody else uses the table.
 * Return: 0 if a run now uses @folio that did not use it before; 1 if the last run
 * used it already, so that one of the caller's references to it is surplus;
 * -ENOMEM or -EOVERFLOW with the table unchanged.
 */
static inline int dmabufx_runs_append(struct dmabufx_runs *runs,
				      struct folio *folio, u32 first, u32 nr_pages)
{
	struct page *page = folio_page(folio, first);
	struct dmabufx_run *tail = runs->tail;
	int ret = 0;
	u32 end;

	if (check_add_overflow(runs->nr_pages, nr_pages, &end))
		return -EOVERFLOW;

	if (runs->next == page) {
		/* The run's last page is the one before, in @folio unless this is its first. */
		ret = first > 0;
		nr_pages = end - tail[-1].start;
		page = tail[-1].page;
	} else {
		if (tail == runs->stop) {
			ret = dmabufx_runs_grow(runs);
			if (ret)
				return ret;
			tail = runs->tail;
		}
		/* Its start is there already: the end of the run before. */
		tail->page = page;
		runs->tail = ++tail;
		runs->nr++;
	}

	tail->start = end;
	runs->nr_pages = end;
	runs->next = page + nr_pages;
	if (nr_pages > runs->longest)
		runs->longest = nr_pages;
	return ret;
}

/**
 * dmabufx_runs_append_small - add folios of one page each at the end of a buffer
 * @runs: the table
 * @folios: the folios, behind which there is a NULL
 * @nr: how many
 * @fits: called with each folio and @data; the first that does not fit ends the call
 * @data: for @fits
 *
 * Does what dmabufx_runs_append() of each would, but most of it once for each row:
 * folios that are consecutive in physical memory. Also counts them in @runs->nr_small and
 * @runs->nr_whole, which is left to callers of dmabufx_runs_append(). Inlined for each
 * @fits, since this runs for every page.
 *
 * Context: Nobody else uses the table.
 * Return: 0, -ENOMEM or -EOVERFLOW. In any case @runs->nr_pages has grown by the number
 * of folios that were appended.
 */
static __always_inline int
dmabufx_runs_append_small(struct dmabufx_runs *runs, struct folio **folios, long nr,
			  bool (*fits)(const struct folio *folio, unsigned long data),
			  unsigned long data)
{
	struct folio **at = folios, **stop = folios + nr;
	struct dmabufx_run *tail = runs->tail;
	struct page *next = runs->next;
	u32 start = runs->nr_pages, end = start;
	int ret = 0;

	if (nr > DMABUFX_MAX_PAGES - start)
		return -EOVERFLOW;

	while (at < stop && fits(*at, data)) {
		if (*at != (struct folio *)next) {
			if (tail == runs->stop) {
				runs->tail = tail;
				runs->nr_pages = end;
				ret = dmabufx_runs_grow(runs);
				if (ret)
					break;
				tail = runs->tail;
			}
			next = folio_page(*at, 0);
			tail++->page = next;
			runs->nr++;
		}
		do {
			at++;
			next++;
		} while (*at == (struct folio *)next && fits(*at, data));

		end = start + (at - folios);
		tail->start = end;
		if (end - tail[-1].start > runs->longest)
			runs->longest = end - tail[-1].start;
	}
	runs->tail = tail;
	runs->next = next;
	runs->nr_pages = end;
	runs->nr_small += at - folios;
	runs->nr_whole += at - folios;
	return ret;
}

/* retention.c: how memory is let go */

void dmabufx_retention_end(struct dmabufx_runs *runs);

/*
 * Returns true if another pin of @folio has to be refused, because its reference
 * count is at half of its maximum. So a list that repeats one page millions of
 * times gets an error, and the core never warns about an overflow.
 */
static inline bool dmabufx_pinned_to_excess(const struct folio *folio)
{
	return folio_ref_count(folio) >= INT_MAX / 2;
}

/* poison.c: memory that the machine reported broken */

/* @page is in a buffer. Inline, since this runs for every page that is mapped. */
static inline bool dmabufx_page_is_poisoned(struct page *page)
{
	struct folio *folio = page_folio(page);

	if (!folio_test_large(folio) || folio_test_hugetlb(folio))
		return folio_test_hwpoison(folio);
	return PageHWPoison(page);
}

struct dmabufx_buf;

unsigned long dmabufx_poison_epoch(void);
bool dmabufx_range_is_poisoned(unsigned long pfn, unsigned long nr);
int dmabufx_poison_look(const struct dmabufx_runs *runs, u32 from, bool killable);
int dmabufx_poison_check(struct dmabufx_buf *buf, bool killable);

/* memfd.c: ranges of memfds */

/* The buffer will be writable: seals must allow writing. */
#define DMABUFX_FOR_WRITING		BIT(0)
/* Refuse a memfd that is sealed against writing, even for a read-only buffer. */
#define DMABUFX_NOT_WRITE_SEALED	BIT(1)
/* Accept a file that may shrink: the caller can handle that. */
#define DMABUFX_MAY_SHRINK		BIT(2)

bool dmabufx_is_memfd(const struct file *file);
int dmabufx_memfd_check(const struct file *file, u64 offset, u64 size,
			unsigned int flags, u32 *reason);
int dmabufx_memfd_check_range(const struct file *file, u64 offset, u64 size,
			      u32 *reason);
loff_t dmabufx_memfd_append(struct dmabufx_runs *runs,
			    struct file **locked, struct file *file,
			    u64 offset, u64 size, unsigned int flags, u32 *reason);
void dmabufx_memfd_let_go(struct file **locked);

/* file.c: ranges of any file */

int dmabufx_file_append(struct dmabufx_runs *runs, struct file *file,
			loff_t pos, size_t size, bool read_only);

/* user.c: the caller's own addresses */

struct dmabufx_charge;

int dmabufx_user_look(struct iov_iter iter, unsigned long *shared_pages,
		      u32 *reason);
int dmabufx_user_append(struct dmabufx_runs *runs, struct dmabufx_charge *charge,
			struct iov_iter *iter, u32 *reason);

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

/* account.c: what a user may pin */

/**
 * enum dmabufx_kind - which limit memory counts against
 * @DMABUFX_PRIVATE: memory of a process that belongs to no file
 * @DMABUFX_SHARED: memory of memfds and other files of shmem and hugetlbfs
 * @DMABUFX_KINDS: how many kinds there are
 */
enum dmabufx_kind {
	DMABUFX_PRIVATE,
	DMABUFX_SHARED,
	DMABUFX_KINDS,
};

/* The kind does not change while the folio is pinned. */
static inline enum dmabufx_kind dmabufx_folio_kind(const struct folio *folio)
{
	return folio_test_anon(folio) ? DMABUFX_PRIVATE : DMABUFX_SHARED;
}

struct account;

/**
 * struct dmabufx_charge - the memory that a buffer is charged for
 * @account: the user who is charged, NULL for nobody
 * @mm: the process in whose VmPin the memory is counted, NULL if @mm_pages is 0
 * @mm_pages: how many pages are counted there
 * @size: the buffer's size by kind of memory, pages
 * @ahead: charged but not yet pinned, pages
 * @taken: charged and pinned, pages. Does not include the large folios of which the
 *	buffer has only a part: all buffers of a user are charged for them together
 * @parts_end: up to which page of the buffer, where a run starts or the buffer ends,
 *	the partly used large folios are charged
 * @nr_parts: how many these are; a folio counts once for each run
 * @last: partly used large folios of the last run, charged until it has grown or ended
 * @nr_last: how many these are
 */
struct dmabufx_charge {
	struct account *account;
	struct mm_struct *mm;
	unsigned long mm_pages;
	unsigned long size[DMABUFX_KINDS];
	unsigned long ahead[DMABUFX_KINDS];
	unsigned long taken[DMABUFX_KINDS];
	u32 parts_end;
	unsigned long nr_parts;
	struct folio *last[2];
	unsigned int nr_last;
};

int dmabufx_charge(struct dmabufx_charge *charge, unsigned long private_pages,
		   unsigned long shared_pages, u32 *reason);
int dmabufx_charge_pinned(struct dmabufx_charge *charge, enum dmabufx_kind kind,
			  unsigned long nr_pages, u32 *reason);
int dmabufx_charge_parts(struct dmabufx_charge *charge,
			 const struct dmabufx_runs *runs, bool complete,
			 u32 *reason);
void dmabufx_uncharge_parts(struct dmabufx_charge *charge,
			    const struct dmabufx_runs *runs);
void dmabufx_uncharge(struct dmabufx_charge *charge);
void dmabufx_account_exit(void);
void dmabufx_account_query(struct dmabufx_query *query);

/* debugfs.c: what an administrator can see */

#ifdef CONFIG_DEBUG_FS
/**
 * struct dmabufx_debug - facts about a buffer that are kept only to be shown
 * @node: in the list of all live buffers
 * @dmabuf: the dma-buf of this buffer
 * @pid: of the process that asked for it
 * @comm: that process's name at the time
 */
struct dmabufx_debug {
	struct list_head node;
	struct dma_buf *dmabuf;
	pid_t pid;
	char comm[TASK_COMM_LEN];
};

void dmabufx_debug_add(struct dmabufx_buf *buf, struct dma_buf *dmabuf);
void dmabufx_debug_remove(struct dmabufx_buf *buf);
void dmabufx_debug_init(void);
void dmabufx_debug_exit(void);
#else
struct dmabufx_debug {};

static inline void dmabufx_debug_add(struct dmabufx_buf *buf,
				     struct dma_buf *dmabuf) {}
static inline void dmabufx_debug_remove(struct dmabufx_buf *buf) {}
static inline void dmabufx_debug_init(void) {}
static inline void dmabufx_debug_exit(void) {}
#endif

/* writers.c: open brackets of CPU access for writing */

/**
 * struct dmabufx_writer - a process that has open brackets for writing
 * @node: in &dmabufx_writers.list
 * @mm: its address space, held by mmgrab(); NULL for kernel threads
 * @brackets: how many are open; 0 for a free record
 */
struct dmabufx_writer {
	struct list_head node;
	struct mm_struct *mm;
	unsigned long brackets;
};

/**
 * struct dmabufx_writers - all writers of a buffer
 * @lock: protects all members
 * @nr_syncing: how many mappings have to be synchronised with the brackets, or are being
 *	made. Changed under the buffer's lock, too
 * @list: every &struct dmabufx_writer
 * @first: a record that needs no allocation, always in @list
 */
struct dmabufx_writers {
	spinlock_t lock; /* all members */
	unsigned int nr_syncing;
	struct list_head list;
	struct dmabufx_writer first;
};

void dmabufx_writers_init(struct dmabufx_writers *writers);
void dmabufx_writers_free(struct dmabufx_writers *writers);
bool dmabufx_writers_any(struct dmabufx_writers *writers);
bool dmabufx_writers_has(struct dmabufx_writers *writers,
			 const struct mm_struct *mm);
bool dmabufx_writers_must_sync(const struct dmabufx_writers *writers);
void dmabufx_writers_sync_add(struct dmabufx_writers *writers);
void dmabufx_writers_sync_remove(struct dmabufx_writers *writers);
int dmabufx_writers_begin(struct dmabufx_writers *writers, bool may_sync,
			  struct dmabufx_writer **spare);
void dmabufx_writers_end(struct dmabufx_writers *writers);
void dmabufx_writers_end_all(struct dmabufx_writers *writers,
			     const struct mm_struct *mm);

/* buffer.c: buffers come and go */

/**
 * struct dmabufx_buf - a buffer, the private data of a dma-buf
 * @runs: the memory; constant once exported, read without a lock
 * @charge: the memory that a user is charged for; constant once exported
 * @read_only: nobody may write through the dma-buf; constant
 * @no_mmap: processes must not see the memory; constant
 * @shares_pages: its first or last page has other data, too, which is written without
 *	brackets; constant
 * @may_be_unmapped: vmap.c: the direct map may lack a page; constant once exported
 * @by_module: another module made it; constant
 * @owner: that module, which stays loaded until @release has returned, or NULL
 * @release: called when the buffer is gone, or NULL; constant
 * @release_data: the argument of @release
 * @ino: the dma-buf's inode number, by which traces and fdinfo name it
 * @poison_epoch: dmabufx_poison_epoch() before the last look that found no broken page
 * @direct_addr: vmap.c: address of the whole buffer in the direct map, or NULL;
 *	constant
 * @lock: protects @attachments and those of their mappings that are synchronised. It
 *	nests inside the dma-buf's reservation lock and inside mmap_lock, and may be taken
 *	without them
 * @attachments: &struct dmabufx_attachment of each importer that has mapped the buffer
 * @writers: open brackets for writing
 * @vmap_addr: vmap.c: address of the buffer's vmap() mapping, NULL until it is needed
 * @vmap_node: vmap.c: in the list of mappings that nobody uses now
 * @debug: debugfs.c: facts to show
 */
struct dmabufx_buf {
	struct dmabufx_runs runs;
	struct dmabufx_charge charge;
	bool read_only;
	bool no_mmap;
	bool shares_pages;
	bool may_be_unmapped;
	bool by_module;
	struct module *owner;
	void (*release)(void *data);
	void *release_data;
	unsigned long ino;
	unsigned long poison_epoch;
	void *direct_addr;
	struct mutex lock; /* attachments */
	struct list_head attachments;
	struct dmabufx_writers writers;
	void *vmap_addr;
	struct list_head vmap_node;
	struct dmabufx_debug debug;
};

struct dmabufx_buf *dmabufx_buf_alloc(void);
void dmabufx_buf_free(struct dmabufx_buf *buf);
struct dma_buf *dmabufx_buf_export(struct dmabufx_buf *buf,
				   const char *exp_name);
int dmabufx_buf_info(struct dmabufx_info *info);

/* create.c: buffers for processes */

/**
 * struct dmabufx_buf_request - arguments and results of a create ioctl
 * @segments: the memory; sizes and offsets as user space wrote them
 * @nr_segments: how many
 * @as_udmabuf: follow the rules of the udmabuf calls: skip and round nothing, and
 *	make the dma-buf read-only if a memfd is opened read-only
 * @read_only: nobody may write through the dma-buf
 * @name: the dma-buf's name from kmalloc(), or NULL; taken over on success
 * @data_offset: returned: where in the buffer the first byte of the memory lies
 * @failed_segment: returned on failure: index of the segment to blame, or
 *	@nr_segments for none
 * @reason: returned on failure: enum dmabufx_reason
 */
struct dmabufx_buf_request {
	const struct dmabufx_segment *segments;
	u32 nr_segments;
	bool as_udmabuf;
	bool read_only;
	char *name;
	u32 data_offset;
	u32 failed_segment;
	u32 reason;
};

struct dma_buf *dmabufx_buf_create(struct dmabufx_buf_request *request);

/* attach.c: devices */

int dmabufx_attach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach);
void dmabufx_detach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach);
struct sg_table *dmabufx_map(struct dma_buf_attachment *attach,
			     enum dma_data_direction dir);
void dmabufx_unmap(struct dma_buf_attachment *attach, struct sg_table *sgt,
		   enum dma_data_direction dir);
bool dmabufx_each_device(struct dma_buf *dmabuf,
			 void (*tell)(const struct device *dev, bool mapped,
				      void *data), void *data);
int dmabufx_begin_cpu_access(struct dma_buf *dmabuf,
			     enum dma_data_direction dir);
int dmabufx_end_cpu_access(struct dma_buf *dmabuf,
			   enum dma_data_direction dir);
void dmabufx_process_ends(struct dmabufx_buf *buf, const struct mm_struct *mm);

/* mmap.c: processes */

int dmabufx_mmap(struct dma_buf *dmabuf, struct vm_area_struct *vma);

/* vmap.c: the kernel */

int dmabufx_vmap(struct dma_buf *dmabuf, struct iosys_map *map);
void dmabufx_vunmap(struct dma_buf *dmabuf, struct iosys_map *map);
bool dmabufx_vmap_prepare(struct dmabufx_buf *buf);
void dmabufx_vmap_release(struct dmabufx_buf *buf);
int dmabufx_vmap_init(void);
void dmabufx_vmap_exit(void);

#endif /* DMABUFX_DRIVER_H */
