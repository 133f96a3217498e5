// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who writes: the brackets of CPU access for writing that are open.
 *
 * While there is one, the memory is newer than what devices have of it, and
 * attach.c must not let that be copied over it. A bracket that nobody ends
 * would keep the devices' data away from the CPU for ever, so it is known whose
 * it is: it belongs to an address space, and is over when that is gone, by death
 * or by exec(). Brackets of the kernel itself are over when they are ended.
 *
 * Any process may end a bracket that another one began: there are as many as
 * were begun and not ended, whoever does it. Nobody says whose it ends; if it has none
 * itself, one of the others' counts less, and that one's brackets may seem to be over
 * when it dies while the other still writes. A record is two words and a list
 * entry, one for each process that writes right now; that of a dead process
 * goes when the next one begins, at the latest with the buffer.
 *
 * Locking: writers->lock, inside of buf->lock where both are taken.
 */
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "compat.h"
#include "dmabufx.h"

void dmabufx_writers_init(struct dmabufx_writers *writers)
{
	spin_lock_init(&writers->lock);
	INIT_LIST_HEAD(&writers->list);
	list_add(&writers->first.node, &writers->list);
}

/*
 * The process has no thread left that could write, none can come, and its mappings are
 * gone: until then they may hand over what it wrote, see dmabufx_vm_close().
 */
static bool is_dead(const struct dmabufx_writer *w)
{
	return w->mm && !atomic_read(&w->mm->mm_users) &&
	       mtree_empty(&w->mm->mm_mt);
}

/* The record of nobody any more: gone, or free where it is the buffer's own. */
static void writer_close(struct dmabufx_writers *writers,
			 struct dmabufx_writer *w)
{
	lockdep_assert_held(&writers->lock);
	w->brackets = 0;
	if (w->mm)
		mmdrop(w->mm);
	if (w != &writers->first) {
		list_del(&w->node);
		kfree(w);
	}
}

static struct dmabufx_writer *writer_of(struct dmabufx_writers *writers,
					const struct mm_struct *mm)
{
	struct dmabufx_writer *w;

	lockdep_assert_held(&writers->lock);
	list_for_each_entry(w, &writers->list, node) {
		if (w->brackets && w->mm == mm)
			return w;
	}
	return NULL;
}

/*
 * Whether any bracket is open. Ends those of the dead, up to the first that lives:
 * others are looked at before it the next time, so no call takes long, and the
 * dead do not gather.
 */
static bool writers_any(struct dmabufx_writers *writers)
{
	struct dmabufx_writer *w, *next;

	lockdep_assert_held(&writers->lock);
	list_for_each_entry_safe(w, next, &writers->list, node) {
		if (!w->brackets)
			continue;
		if (is_dead(w)) {
			writer_close(writers, w);
			continue;
		}
		list_move_tail(&w->node, &writers->list);
		return true;
	}
	return false;
}

/**
 * dmabufx_writers_any - whether a bracket for writing is open
 * @writers: the buffer's
 *
 * Context: Any, but no interrupt.
 * Return: true while a process that lives, or the kernel, has one open.
 */
bool dmabufx_writers_any(struct dmabufx_writers *writers)
{
	bool any;

	spin_lock(&writers->lock);
	any = writers_any(writers);
	spin_unlock(&writers->lock);
	return any;
}

/**
 * dmabufx_writers_has - whether a process has a bracket for writing open
 * @writers: the buffer's
 * @mm: the process's address space
 *
 * Context: Any, but no interrupt.
 * Return: whether it has.
 */
bool dmabufx_writers_has(struct dmabufx_writers *writers,
			 const struct mm_struct *mm)
{
	bool has;

	spin_lock(&writers->lock);
	has = writer_of(writers, mm);
	spin_unlock(&writers->lock);
	return has;
}

/* One bracket more of @mm, for which @w is the record, or a free one. */
static void writer_begin(struct dmabufx_writers *writers,
			 struct dmabufx_writer *w, struct mm_struct *mm)
{
	lockdep_assert_held(&writers->lock);
	/* At a billion a second it would overflow in some centuries. */
	if (w->brackets++)
		return;
	w->mm = mm;
	if (mm)
		mmgrab(mm);
	if (w != &writers->first)
		list_add(&w->node, &writers->list);
}

/**
 * dmabufx_writers_begin - the caller begins to write
 * @writers: the buffer's
 * @spare: a record from kzalloc(), or NULL; NULL afterwards if it was used
 *
 * The first process has a record at once, only others need memory for it.
 *
 * Context: Process context.
 * Return: 0; or -EAGAIN, and nothing has changed: without a spare record it cannot
 * be done.
 */
int dmabufx_writers_begin(struct dmabufx_writers *writers,
			  struct dmabufx_writer **spare)
{
	struct mm_struct *mm = current->mm;
	struct dmabufx_writer *w;

	spin_lock(&writers->lock);
	writers_any(writers);
	w = writer_of(writers, mm);
	if (!w)
		w = writers->first.brackets ? *spare : &writers->first;
	if (w)
		writer_begin(writers, w, mm);
	if (w && w == *spare)
		*spare = NULL;
	spin_unlock(&writers->lock);
	return w ? 0 : -EAGAIN;
}

/* Whose bracket the caller ends: its own, or a dead one's, or anybody's. */
static struct dmabufx_writer *writer_to_end(struct dmabufx_writers *writers)
{
	struct dmabufx_writer *own = writer_of(writers, current->mm);
	struct dmabufx_writer *w, *other = NULL;

	if (own)
		return own;

	list_for_each_entry(w, &writers->list, node) {
		if (!w->brackets)
			continue;
		if (is_dead(w))
			return w;
		other = w;
	}
	return other;
}

/**
 * dmabufx_writers_end - the caller ends a bracket, its own or another's
 * @writers: the buffer's
 *
 * Does nothing where none is open.
 *
 * Context: Any, but no interrupt.
 */
void dmabufx_writers_end(struct dmabufx_writers *writers)
{
	struct dmabufx_writer *w;

	spin_lock(&writers->lock);
	w = writer_to_end(writers);
	if (w && !--w->brackets)
		writer_close(writers, w);
	spin_unlock(&writers->lock);
}

/**
 * dmabufx_writers_end_all - end all brackets of a process
 * @writers: the buffer's
 * @mm: the process's address space
 *
 * Context: Any, but no interrupt.
 */
void dmabufx_writers_end_all(struct dmabufx_writers *writers,
			     const struct mm_struct *mm)
{
	struct dmabufx_writer *w;

	spin_lock(&writers->lock);
	w = writer_of(writers, mm);
	if (w)
		writer_close(writers, w);
	spin_unlock(&writers->lock);
}

/**
 * dmabufx_writers_free - the buffer is gone, so are all brackets
 * @writers: the buffer's
 */
void dmabufx_writers_free(struct dmabufx_writers *writers)
{
	struct dmabufx_writer *w, *next;

	spin_lock(&writers->lock);
	list_for_each_entry_safe(w, next, &writers->list, node) {
		if (w->brackets)
			writer_close(writers, w);
	}
	spin_unlock(&writers->lock);
}
