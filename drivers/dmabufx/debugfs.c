// SPDX-License-Identifier: GPL-2.0-only
/*
 * Files for an administrator, in /sys/kernel/debug/dmabufx:
 *
 *	buffers	one line for each live buffer
 *	runs	one line for each run of each buffer: where the memory is
 *
 * Lines consist of KEY=VALUE; programs look for keys and skip unknown ones. Any user
 * may choose a name, and root may read it at a terminal. So values are printable
 * ASCII, and all other bytes are octal escapes.
 *
 * The only cost for a buffer is a list_add() and a list_del(). A reader holds
 * buffers_lock while it skips everything before its position, one step for each
 * buffer, and fills its part of the output, a page or one line. Between two reads
 * the list may change, so a reader may miss buffers.
 *
 * Locking: buffers_lock, then &dma_buf.name_lock, or without waiting for it, the
 * reservation lock. No buffer is released while buffers_lock is held.
 */
#include <linux/debugfs.h>
#include <linux/dma-buf.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/string.h>
#include <linux/string_helpers.h>

#include "dmabufx.h"

/* Would end a value, begin an escape, or, after a device, mean "mapped". */
#define SPECIAL	" ,\\*"

static LIST_HEAD(all_buffers);
static DEFINE_MUTEX(buffers_lock); /* all_buffers and the life of its entries */
static struct dentry *folder;

/* Returns the list of all buffers. The caller holds the lock. */
static struct list_head *buffers(void)
{
	lockdep_assert_held(&buffers_lock);
	return &all_buffers;
}

/**
 * dmabufx_debug_add - show a buffer from now on
 * @buf: the buffer, exported
 * @dmabuf: its dma-buf
 *
 * Context: Process context; the calling process is shown as the buffer's creator.
 */
void dmabufx_debug_add(struct dmabufx_buf *buf, struct dma_buf *dmabuf)
{
	struct dmabufx_debug *debug = &buf->debug;

	debug->dmabuf = dmabuf;
	debug->pid = task_tgid_nr(current);
	memcpy(debug->comm, current->group_leader->comm, TASK_COMM_LEN);

	guard(mutex)(&buffers_lock);
	list_add_tail(&debug->node, buffers());
}

/**
 * dmabufx_debug_remove - stop showing a buffer, which is about to be freed
 * @buf: the buffer, added by dmabufx_debug_add()
 *
 * Context: Process context, none of this module's locks held.
 */
void dmabufx_debug_remove(struct dmabufx_buf *buf)
{
	guard(mutex)(&buffers_lock);
	list_del(&buf->debug.node);
}

static void *buffers_start(struct seq_file *m, loff_t *pos)
{
	mutex_lock(&buffers_lock);
	return seq_list_start(buffers(), *pos);
}

static void *buffers_next(struct seq_file *m, void *v, loff_t *pos)
{
	return seq_list_next(v, buffers(), pos);
}

static void buffers_stop(struct seq_file *m, void *v)
{
	mutex_unlock(&buffers_lock);
}

static void show_text(struct seq_file *m, const char *text)
{
	seq_escape_str(m, text, ESCAPE_OCTAL | ESCAPE_NAP | ESCAPE_APPEND, SPECIAL);
}

static void show_name(struct seq_file *m, struct dma_buf *dmabuf)
{
	seq_puts(m, " name=");
	spin_lock(&dmabuf->name_lock);
	if (dmabuf->name)
		show_text(m, dmabuf->name);
	spin_unlock(&dmabuf->name_lock);
}

static void show_word(struct seq_file *m, bool is_so, const char *word,
		      const char **comma)
{
	if (!is_so)
		return;
	seq_printf(m, "%s%s", *comma, word);
	*comma = ",";
}

static void show_sources(struct seq_file *m, const struct dmabufx_buf *buf)
{
	const char *comma = " sources=";

	show_word(m, buf->charge.size[DMABUFX_SHARED], "memfd", &comma);
	show_word(m, buf->charge.size[DMABUFX_PRIVATE], "user", &comma);
	show_word(m, buf->by_module, "module", &comma);
}

static void show_flags(struct seq_file *m, const struct dmabufx_buf *buf)
{
	const char *comma = "";

	seq_puts(m, " flags=");
	show_word(m, buf->read_only, "read-only", &comma);
	show_word(m, buf->no_mmap, "no-mmap", &comma);
}

struct devices {
	struct seq_file *m;
	const char *comma;
};

static void show_device(const struct device *dev, bool mapped, void *data)
{
	struct devices *devices = data;

	seq_puts(devices->m, devices->comma);
	show_text(devices->m, dev_name(dev));
	if (mapped)
		seq_puts(devices->m, "*");
	devices->comma = ",";
}

static int buffers_show(struct seq_file *m, void *v)
{
	struct dmabufx_buf *buf = list_entry(v, struct dmabufx_buf, debug.node);
	struct devices devices = { .m = m, .comma = "" };

	seq_printf(m, "ino=%lu", buf->ino);
	show_name(m, buf->debug.dmabuf);
	seq_puts(m, " exporter=");
	show_text(m, buf->debug.dmabuf->exp_name);
	seq_printf(m, " bytes=%llu runs=%u longest=%llu",
		   (u64)buf->runs.nr_pages << PAGE_SHIFT, buf->runs.nr,
		   (u64)buf->runs.longest << PAGE_SHIFT);
	show_sources(m, buf);
	show_flags(m, buf);
	seq_printf(m, " pid=%d comm=", buf->debug.pid);
	show_text(m, buf->debug.comm);
	seq_puts(m, " devices=");
	if (!dmabufx_each_device(buf->debug.dmabuf, show_device, &devices))
		seq_putc(m, '?');
	seq_putc(m, '\n');
	return 0;
}

static const struct seq_operations buffers_sops = {
	.start	= buffers_start,
	.next	= buffers_next,
	.stop	= buffers_stop,
	.show	= buffers_show,
};

DEFINE_SEQ_ATTRIBUTE(buffers);

/**
 * struct place - position of a reader of runs
 * @buf: the buffer
 * @at: the run in it
 *
 * A file position counts the pages of all buffers and runs before.
 */
struct place {
	struct dmabufx_buf *buf;
	struct dmabufx_place at;
};

static void *runs_start(struct seq_file *m, loff_t *pos)
{
	struct place *place = m->private;
	loff_t left = *pos;

	mutex_lock(&buffers_lock);
	list_for_each_entry(place->buf, buffers(), debug.node) {
		place->at = dmabufx_runs_find(&place->buf->runs, left);
		if (place->at.run)
			return place;
		left -= place->buf->runs.nr_pages;
	}
	return NULL;
}

static void *runs_next(struct seq_file *m, void *v, loff_t *pos)
{
	struct place *place = v;

	*pos += dmabufx_run_pages(place->at.run);
	dmabufx_place_next(&place->at, &place->buf->runs);
	if (place->at.run)
		return place;
	if (list_is_last(&place->buf->debug.node, buffers()))
		return NULL;
	/* Every exported buffer has a run. */
	place->buf = list_next_entry(place->buf, debug.node);
	place->at = dmabufx_runs_find(&place->buf->runs, 0);
	return place;
}

static int runs_show(struct seq_file *m, void *v)
{
	const struct place *place = v;
	const struct dmabufx_run *run = place->at.run;

	seq_printf(m, "ino=%lu start=%u pages=%u pfn=%lu order=%u\n",
		   place->buf->ino, run->start, dmabufx_run_pages(run),
		   dmabufx_run_pfn(run), folio_order(page_folio(run->page)));
	return 0;
}

static const struct seq_operations runs_sops = {
	.start	= runs_start,
	.next	= runs_next,
	.stop	= buffers_stop,
	.show	= runs_show,
};

static int runs_open(struct inode *inode, struct file *file)
{
	return seq_open_private(file, &runs_sops, sizeof(struct place));
}

static const struct file_operations runs_fops = {
	.owner		= THIS_MODULE,
	.open		= runs_open,
	.read		= seq_read,
	.llseek		= seq_lseek,
	.release	= seq_release_private,
};

/* Ignores errors: nothing else depends on these files. */
void __init dmabufx_debug_init(void)
{
	folder = debugfs_create_dir("dmabufx", NULL);
	debugfs_create_file("buffers", 0400, folder, NULL, &buffers_fops);
	debugfs_create_file("runs", 0400, folder, NULL, &runs_fops);
}

void dmabufx_debug_exit(void)
{
	debugfs_remove(folder);
}
