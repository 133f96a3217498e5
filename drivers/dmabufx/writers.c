// SPDX-License-Identifier: GPL-2.0-only
/*
 * Writers: the open brackets of CPU access for writing.
 *
 * While one is open, the memory has newer data than the devices' bounce buffers and
 * caches, and attach.c must not overwrite it with theirs. A bracket that nobody ends
 * would keep the devices' data from the CPU for ever. So each bracket belongs to an
 * address space, and ends when that is torn down, at exit or at exec(). Brackets of
 * kernel threads last until they are ended.
 *
 * Any process may end a bracket that another one began; only the number of open
 * brackets counts. An end does not say whose bracket it ends. If the caller has none,
 * a bracket of another process is ended instead, perhaps not the one that was meant.
 * If the process whose bracket was meant dies then, its record is closed, and a process
 * that still writes may be left without a bracket.
 *
 * There is a record, two words and a list entry, for each process that writes right
 * now. The record of a dead process is freed when the next bracket begins, at the
 * latest with the buffer.
 *
 * Most buffers have no mapping that has to be synchronised: then a bracket does not take
 * buf->lock. So that no bracket and no mapping misses the other, this file counts those
 * mappings, too, and looks at the count and records a bracket in one step.
 *
 * Locking: writers->lock nests inside buf->lock.
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
 * The address space has no thread and no mappings left, so nobody can write through it.
 * While it has mappings, dmabufx_vm_close() may still end its brackets and pass its data
 * to the devices.
 */
static bool is_dead(const struct dmabufx_writer *w)
{
	return w->mm && !atomic_read(&w->mm->mm_users) &&
	       mtree_empty(&w->mm->mm_mt);
}

/* Free the record, or mark it free if it is the one embedded in @writers. */
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
 * Returns true if any bracket is open. Closes records of dead processes until it finds
 * a living one, and moves that to the end of the list. So the next call looks at others
 * first: no call takes long, and dead records do not pile up.
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
 * dmabufx_writers_any - is a bracket for writing open?
 * @writers: the buffer's
 *
 * Context: Any, but no interrupt.
 * Return: true if a living process or the kernel has one open.
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
 * dmabufx_writers_has - does a process have a bracket for writing open?
 * @writers: the buffer's
 * @mm: the process's address space
 *
 * Context: Any, but no interrupt.
 * Return: true if it has.
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

/**
 * dmabufx_writers_must_sync - does any mapping have to be synchronised?
 * @writers: the buffer's
 *
 * Without the barriers, a task that ends a bracket could see no mapping while one that
 * begins misses its last writes, or a task that begins a bracket could miss what the end of a
 * mapping has copied into the memory.
 *
 * Context: Any. Takes no lock.
 * Return: true if one has to, or is being made.
 */
bool dmabufx_writers_must_sync(const struct dmabufx_writers *writers)
{
	smp_mb(); /* pairs with dmabufx_writers_sync_add() */
	return smp_load_acquire(&writers->nr_syncing);
}

/**
 * dmabufx_writers_sync_add - count a mapping that may have to be synchronised
 * @writers: the buffer's
 *
 * Context: Process context, with the buffer's lock held, before the mapping copies anything.
 */
void dmabufx_writers_sync_add(struct dmabufx_writers *writers)
{
	spin_lock(&writers->lock);
	WRITE_ONCE(writers->nr_syncing, writers->nr_syncing + 1);
	spin_unlock(&writers->lock);
	smp_mb(); /* pairs with dmabufx_writers_must_sync() */
}

/**
 * dmabufx_writers_sync_remove - a mapping needs no synchronisation, or not any more
 * @writers: the buffer's
 *
 * Context: Process context, with the buffer's lock held, after the mapping has copied
 * everything.
 */
void dmabufx_writers_sync_remove(struct dmabufx_writers *writers)
{
	spin_lock(&writers->lock);
	/* Pairs with dmabufx_writers_must_sync(): what was copied is seen before the count. */
	smp_store_release(&writers->nr_syncing, writers->nr_syncing - 1);
	spin_unlock(&writers->lock);
}

/* Count one more bracket of @mm in @w, which is its record or a free one. */
static void writer_begin(struct dmabufx_writers *writers,
			 struct dmabufx_writer *w, struct mm_struct *mm)
{
	lockdep_assert_held(&writers->lock);
	/* Even at a billion brackets a second, an overflow takes centuries. */
	if (w->brackets++)
		return;
	w->mm = mm;
	if (mm)
		mmgrab(mm);
	if (w != &writers->first)
		list_add(&w->node, &writers->list);
}

/**
 * dmabufx_writers_begin - begin a bracket of the calling process
 * @writers: the buffer's
 * @may_sync: whether the caller holds the buffer's lock, and synchronises
 * @spare: a record from kzalloc(), or NULL; NULL afterwards if it was used
 *
 * The first process uses the embedded record. Only others need an allocated one.
 *
 * Context: Process context.
 * Return: 0; -EAGAIN if a spare record is needed; -EBUSY if a mapping has to be
 * synchronised and the caller may not. Nothing has changed after an error.
 */
int dmabufx_writers_begin(struct dmabufx_writers *writers, bool may_sync,
			  struct dmabufx_writer **spare)
{
	struct mm_struct *mm = current->mm;
	struct dmabufx_writer *w;

	spin_lock(&writers->lock);
	if (writers->nr_syncing && !may_sync) {
		spin_unlock(&writers->lock);
		return -EBUSY;
	}
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

/* Choose the bracket to end: the caller's own, or a dead process's, or any other. */
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
 * dmabufx_writers_end - end a bracket, the caller's or another process's
 * @writers: the buffer's
 *
 * Does nothing if none is open.
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
 * dmabufx_writers_free - free all records, together with the buffer
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
