// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a user may pin.
 *
 * Memory of the caller's own addresses counts as memory locked by mlock() and
 * by io_uring does: against RLIMIT_MEMLOCK of the user, and as VmPin of the
 * process.
 *
 * Memory of memfds is charged to its owner's memory cgroup already, but while
 * a buffer pins it, it can be neither swapped out nor moved, and holes punched
 * into the memfd leave it to the buffer. So what one user holds that way has a
 * limit of its own, by default half of the machine's memory, as tmpfs has.
 *
 * A range that is in several buffers, or several times in one, counts each
 * time. Whoever has CAP_IPC_LOCK is counted and not limited.
 *
 * Locking: memfd_users_lock, which nothing is taken inside of but the
 * allocator's.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/hashtable.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/slab.h>
#include <linux/user_namespace.h>

#include "compat.h"
#include "dmabufx.h"

static unsigned long memfd_limit_mib;
module_param(memfd_limit_mib, ulong, 0644);
MODULE_PARM_DESC(memfd_limit_mib, "Most MiB of memfds that one user may pin (default: half of the memory)");

/**
 * struct memfd_user - a user whose buffers pin memory of memfds
 * @node: in memfd_users, by @user
 * @user: holds a reference
 * @nr_pages: what is pinned; more than none
 */
struct memfd_user {
	struct hlist_node node;
	struct user_struct *user;
	unsigned long nr_pages;
};

static DEFINE_HASHTABLE(memfd_users, 6);
static DEFINE_MUTEX(memfd_users_lock); /* memfd_users and what is in it */

/* Saturates: whatever is written to the parameter is at least that much. */
static u64 memfd_limit_bytes(void)
{
	unsigned long mib = READ_ONCE(memfd_limit_mib);

	return mib > U64_MAX >> 20 ? U64_MAX : (u64)mib << 20;
}

static struct memfd_user *memfd_user_find(const struct user_struct *user)
{
	struct memfd_user *m;

	lockdep_assert_held(&memfd_users_lock);
	hash_for_each_possible(memfd_users, m, node, (unsigned long)user)
		if (m->user == user)
			return m;
	return NULL;
}

static struct memfd_user *memfd_user_add(struct user_struct *user)
{
	struct memfd_user *m = kzalloc_obj(*m, GFP_KERNEL_ACCOUNT);

	if (m) {
		m->user = get_uid(user);
		hash_add(memfd_users, &m->node, (unsigned long)user);
	}
	return m;
}

static int charge_memfds(struct user_struct *user, unsigned long nr_pages,
			 u32 *reason)
{
	struct memfd_user *m;
	unsigned long sum;

	if (!nr_pages)
		return 0;

	guard(mutex)(&memfd_users_lock);
	m = memfd_user_find(user);
	if (check_add_overflow(m ? m->nr_pages : 0, nr_pages, &sum) ||
	    (sum > memfd_limit_bytes() >> PAGE_SHIFT &&
	     !capable(CAP_IPC_LOCK)))
		return dmabufx_because(reason, DMABUFX_REASON_MEMFD_LIMIT,
				       -EDQUOT);
	if (!m)
		m = memfd_user_add(user);
	if (!m)
		return -ENOMEM;
	m->nr_pages = sum;
	return 0;
}

static void uncharge_memfds(struct user_struct *user, unsigned long nr_pages)
{
	struct memfd_user *m;

	if (!nr_pages)
		return;

	guard(mutex)(&memfd_users_lock);
	m = memfd_user_find(user);
	m->nr_pages -= nr_pages;
	if (!m->nr_pages) {
		hash_del(&m->node);
		free_uid(m->user);
		kfree(m);
	}
}

/* Adds to what @user has locked, within RLIMIT_MEMLOCK unless privileged. */
static int charge_locked(struct user_struct *user, unsigned long nr_pages,
			 u32 *reason)
{
	unsigned long limit, sum, locked = atomic_long_read(&user->locked_vm);

	if (!nr_pages)
		return 0;
	if (!can_do_mlock())
		return dmabufx_because(reason, DMABUFX_REASON_MEMLOCK, -EPERM);

	limit = capable(CAP_IPC_LOCK) ?
		LONG_MAX : rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
	do {
		if (check_add_overflow(locked, nr_pages, &sum) || sum > limit)
			return dmabufx_because(reason, DMABUFX_REASON_MEMLOCK,
					       -ENOMEM);
	} while (!atomic_long_try_cmpxchg(&user->locked_vm, &locked, sum));
	return 0;
}

/**
 * dmabufx_charge - count what a buffer is about to pin
 * @charge: empty; what was counted, for dmabufx_uncharge()
 * @user_pages: memory of the caller's own addresses, pages
 * @memfd_pages: memory of memfds, pages
 * @reason: where the limit that was hit is named
 *
 * Context: Process context, for the calling process and its user.
 * Return: 0, or -errno with nothing counted and @charge empty.
 */
int dmabufx_charge(struct dmabufx_charge *charge, unsigned long user_pages,
		   unsigned long memfd_pages, u32 *reason)
{
	struct user_struct *user = current_user();
	int ret;

	ret = charge_locked(user, user_pages, reason);
	if (ret)
		return ret;
	ret = charge_memfds(user, memfd_pages, reason);
	if (ret) {
		atomic_long_sub(user_pages, &user->locked_vm);
		return ret;
	}

	charge->user = get_uid(user);
	charge->memfd_pages = memfd_pages;
	charge->user_pages = user_pages;
	if (user_pages) {
		charge->mm = current->mm;
		mmgrab(charge->mm);
		atomic64_add(user_pages, &charge->mm->pinned_vm);
	}
	return 0;
}

/**
 * dmabufx_uncharge - what a buffer pinned is free again
 * @charge: what dmabufx_charge() counted, or empty; empty afterwards
 *
 * Context: Process context, of any process: the one that was charged may be
 * long gone.
 */
void dmabufx_uncharge(struct dmabufx_charge *charge)
{
	if (!charge->user)
		return;

	if (charge->mm) {
		atomic64_sub(charge->user_pages, &charge->mm->pinned_vm);
		mmdrop(charge->mm);
	}
	atomic_long_sub(charge->user_pages, &charge->user->locked_vm);
	uncharge_memfds(charge->user, charge->memfd_pages);
	free_uid(charge->user);
	*charge = (struct dmabufx_charge) {};
}

/**
 * dmabufx_account_query - limits, and what counts against them
 * @query: what is told of the calling process and its user is filled in
 *
 * Context: Process context.
 */
void dmabufx_account_query(struct dmabufx_query *query)
{
	struct user_struct *user = current_user();
	bool exempt = ns_capable_noaudit(&init_user_ns, CAP_IPC_LOCK);
	const struct memfd_user *m;

	query->memfd_limit = exempt ? U64_MAX : memfd_limit_bytes();
	/* RLIM_INFINITY is all ones, too. */
	query->user_limit = exempt ? U64_MAX : rlimit(RLIMIT_MEMLOCK);
	query->user_locked = (u64)atomic_long_read(&user->locked_vm) <<
			     PAGE_SHIFT;

	guard(mutex)(&memfd_users_lock);
	m = memfd_user_find(user);
	query->memfd_pinned = m ? (u64)m->nr_pages << PAGE_SHIFT : 0;
}

/* At load time, so that the parameter shows the limit that is in force. */
void __init dmabufx_account_init(void)
{
	if (!memfd_limit_mib)
		memfd_limit_mib = totalram_pages() >> (20 - PAGE_SHIFT) >> 1;
}
