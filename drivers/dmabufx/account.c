// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a user may pin.
 *
 * The rule: memory that a user keeps from being reclaimed is never more than the
 * user is charged for. Two kinds are told apart:
 *
 * Private memory is that of the caller's own addresses which no file has. It
 * counts as memory locked by mlock() or by io_uring does: against RLIMIT_MEMLOCK
 * of the user, and as VmPin of the process.
 *
 * Shared memory is that of memfds and of other files of shmem and hugetlbfs,
 * whether it is named by a descriptor or by an address. Its owner's memory cgroup
 * is charged for it already; but while a buffer pins it, it can be neither
 * swapped out nor moved, and holes punched into the file leave it to the buffer.
 * So it has limits of its own: one for each user, by default half of the machine's
 * memory, as tmpfs has, and one for all users together, since one person may be
 * many users.
 *
 * Pages are charged one by one, each time that they are in a buffer, which costs no
 * look-up. But a pin holds a whole folio. So a large folio of which a run has only a
 * part is charged as a whole beside that, once for each user, however many runs of
 * however many buffers have parts of it: &struct account.parts counts them. (That
 * those pages are charged with it is on purpose: what else a buffer of repeated
 * pages takes, page tables of a kernel mapping for one, then has a bound, too.)
 *
 * Charges come before pins, and go after them. A whole folio's size is known only
 * once it is pinned; so the pages that a caller asks for are charged first, and
 * large folios with each batch that was pinned.
 *
 * Whoever has CAP_IPC_LOCK is counted and not limited. The capability is asked
 * for only when a limit is hit: asking leaves traces.
 *
 * Locking: accounts_lock and account.parts_lock, never one inside the other.
 * Nothing is allocated inside of either, so that nobody who lets a buffer go
 * waits for somebody else's memory.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/hashtable.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/user_namespace.h>
#include <linux/xarray.h>

#include "compat.h"
#include "dmabufx.h"

/**
 * struct limit - a module parameter in MiB
 * @mib: the value that was set
 * @is_set: whether one was
 * @quarters: the default: so many quarters of the machine's memory, which may
 *	grow and shrink
 */
struct limit {
	unsigned long mib;
	bool is_set;
	unsigned int quarters;
};

static struct limit memfd_limit = { .quarters = 2 };
static struct limit total_limit = { .quarters = 3 };

/* Saturates: any number that is set is at least that much. */
static u64 limit_bytes(const struct limit *limit)
{
	unsigned long mib = READ_ONCE(limit->mib);

	if (!READ_ONCE(limit->is_set))
		return ((u64)totalram_pages() << PAGE_SHIFT) / 4 *
		       limit->quarters;
	return mib > U64_MAX >> 20 ? U64_MAX : (u64)mib << 20;
}

static int limit_set(const char *val, const struct kernel_param *kp)
{
	struct limit *limit = kp->arg;
	unsigned long mib;
	int ret;

	if (sysfs_streq(val, "default")) {
		WRITE_ONCE(limit->is_set, false);
		return 0;
	}
	ret = kstrtoul(val, 0, &mib);
	if (ret)
		return ret;
	WRITE_ONCE(limit->mib, mib);
	WRITE_ONCE(limit->is_set, true);
	return 0;
}

/* Shows the limit that is in force. */
static int limit_get(char *buffer, const struct kernel_param *kp)
{
	const struct limit *limit = kp->arg;
	u64 mib = READ_ONCE(limit->is_set) ? READ_ONCE(limit->mib) :
		  limit_bytes(limit) >> 20;

	return scnprintf(buffer, PAGE_SIZE, "%llu\n", mib);
}

static const struct kernel_param_ops limit_ops = {
	.set = limit_set,
	.get = limit_get,
};

module_param_cb(memfd_limit_mib, &limit_ops, &memfd_limit, 0644);
MODULE_PARM_DESC(memfd_limit_mib, "Most MiB of memfds that one user may pin (default: half of the memory)");
module_param_cb(total_limit_mib, &limit_ops, &total_limit, 0644);
MODULE_PARM_DESC(total_limit_mib, "Most MiB of memfds that all users together may pin (default: 3/4 of the memory)");

/**
 * struct account - a user who is charged
 * @node: in accounts, by @user
 * @user: holds a reference
 * @charges: how many &struct dmabufx_charge are the user's; the account goes
 *	with the last one
 * @shared_pages: shared memory that the user is charged for. Private memory is
 *	in user_struct.locked_vm
 * @parts_lock: protects @parts, and that a folio in there is charged
 * @parts: by page frame number of a large folio that is charged as a whole: how
 *	many runs have a part of it
 */
struct account {
	struct hlist_node node;
	struct user_struct *user;
	refcount_t charges;
	atomic_long_t shared_pages;
	struct mutex parts_lock; /* parts, and that a folio in there is charged */
	struct xarray parts;
};

static DEFINE_HASHTABLE(accounts, 6);
static DEFINE_SPINLOCK(accounts_lock); /* accounts */

/* Shared memory that all users together are charged for. */
static atomic_long_t total_shared_pages;

static struct account *account_find(const struct user_struct *user)
{
	struct account *account;

	lockdep_assert_held(&accounts_lock);
	hash_for_each_possible(accounts, account, node, (unsigned long)user)
		if (account->user == user)
			return account;
	return NULL;
}

static struct account *account_alloc(struct user_struct *user)
{
	struct account *account = kzalloc_obj(*account, GFP_KERNEL_ACCOUNT);

	if (!account)
		return NULL;
	account->user = get_uid(user);
	refcount_set(&account->charges, 1);
	mutex_init(&account->parts_lock);
	xa_init(&account->parts);
	return account;
}

static void account_free(struct account *account)
{
	WARN_ON_ONCE(!xa_empty(&account->parts));
	xa_destroy(&account->parts);
	mutex_destroy(&account->parts_lock);
	free_uid(account->user);
	kfree(account);
}

/* The account of @user, if there is one, with a reference. */
static struct account *account_try_get(const struct user_struct *user)
{
	struct account *account;

	spin_lock(&accounts_lock);
	account = account_find(user);
	if (account)
		refcount_inc(&account->charges);
	spin_unlock(&accounts_lock);
	return account;
}

static struct account *account_get(struct user_struct *user)
{
	struct account *account = account_try_get(user), *other;

	if (account)
		return account;
	account = account_alloc(user);
	if (!account)
		return NULL;

	spin_lock(&accounts_lock);
	other = account_find(user);
	if (other)
		refcount_inc(&other->charges);
	else
		hash_add(accounts, &account->node, (unsigned long)user);
	spin_unlock(&accounts_lock);
	if (!other)
		return account;
	account_free(account);
	return other;
}

static void account_put(struct account *account)
{
	bool is_last;

	spin_lock(&accounts_lock);
	is_last = refcount_dec_and_test(&account->charges);
	if (is_last)
		hash_del(&account->node);
	spin_unlock(&accounts_lock);
	if (is_last)
		account_free(account);
}

/* Add within @limit, in pages. Whoever may exceed it is asked only then. */
static bool add_within(atomic_long_t *count, unsigned long nr_pages, u64 limit)
{
	unsigned long sum, old = atomic_long_read(count);

	do {
		if (check_add_overflow(old, nr_pages, &sum) || sum > LONG_MAX ||
		    (sum > limit && !capable(CAP_IPC_LOCK)))
			return false;
	} while (!atomic_long_try_cmpxchg(count, (long *)&old, sum));
	return true;
}

static int charge_private(struct account *account, unsigned long nr_pages,
			  u32 *reason)
{
	if (!nr_pages)
		return 0;
	if (!can_do_mlock())
		return dmabufx_because(reason, DMABUFX_REASON_MEMLOCK, -EPERM);
	if (!add_within(&account->user->locked_vm, nr_pages,
			rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT))
		return dmabufx_because(reason, DMABUFX_REASON_MEMLOCK, -ENOMEM);
	return 0;
}

static int charge_shared(struct account *account, unsigned long nr_pages,
			 u32 *reason)
{
	if (!nr_pages)
		return 0;
	if (!add_within(&account->shared_pages, nr_pages,
			limit_bytes(&memfd_limit) >> PAGE_SHIFT))
		return dmabufx_because(reason, DMABUFX_REASON_MEMFD_LIMIT,
				       -EDQUOT);
	if (add_within(&total_shared_pages, nr_pages,
		       limit_bytes(&total_limit) >> PAGE_SHIFT))
		return 0;
	atomic_long_sub(nr_pages, &account->shared_pages);
	return dmabufx_because(reason, DMABUFX_REASON_TOTAL_LIMIT, -EDQUOT);
}

static int account_charge(struct account *account, enum dmabufx_kind kind,
			  unsigned long nr_pages, u32 *reason)
{
	return kind == DMABUFX_PRIVATE ?
	       charge_private(account, nr_pages, reason) :
	       charge_shared(account, nr_pages, reason);
}

static void account_uncharge(struct account *account, enum dmabufx_kind kind,
			     unsigned long nr_pages)
{
	if (kind == DMABUFX_PRIVATE) {
		atomic_long_sub(nr_pages, &account->user->locked_vm);
	} else {
		atomic_long_sub(nr_pages, &account->shared_pages);
		atomic_long_sub(nr_pages, &total_shared_pages);
	}
}

/**
 * dmabufx_charge - count what a buffer is about to pin
 * @charge: empty; what was counted, for dmabufx_uncharge()
 * @private_pages: private memory of the caller's, pages
 * @shared_pages: memory of memfds and the like, pages
 * @reason: where the limit that was hit is named
 *
 * Context: Process context, for the calling process and its user.
 * Return: 0, or -errno with nothing counted and @charge empty.
 */
int dmabufx_charge(struct dmabufx_charge *charge, unsigned long private_pages,
		   unsigned long shared_pages, u32 *reason)
{
	struct account *account = account_get(current_user());
	int ret;

	if (!account)
		return -ENOMEM;
	ret = charge_private(account, private_pages, reason);
	if (ret)
		goto err_put;
	ret = charge_shared(account, shared_pages, reason);
	if (ret)
		goto err_private;

	charge->account = account;
	charge->ahead[DMABUFX_PRIVATE] = private_pages;
	charge->ahead[DMABUFX_SHARED] = shared_pages;
	if (private_pages) {
		charge->mm = current->mm;
		charge->mm_pages = private_pages;
		mmgrab(charge->mm);
		atomic64_add(private_pages, &charge->mm->pinned_vm);
	}
	return 0;

err_private:
	account_uncharge(account, DMABUFX_PRIVATE, private_pages);
err_put:
	account_put(account);
	return ret;
}

/**
 * dmabufx_charge_pinned - some of what was charged has been pinned
 * @charge: the charge, or an empty one, to which nothing is done
 * @kind: the kind of memory that it turned out to be
 * @nr_pages: how much, pages
 * @reason: where the limit that was hit is named
 *
 * Of an address only a guess is charged: another thread may map memory of
 * another kind there before it is pinned.
 *
 * Context: Process context.
 * Return: 0, or -errno when this kind has reached its limit.
 */
int dmabufx_charge_pinned(struct dmabufx_charge *charge, enum dmabufx_kind kind,
			  unsigned long nr_pages, u32 *reason)
{
	enum dmabufx_kind other = !kind;
	unsigned long wrong;
	int ret;

	if (!charge->account)
		return 0;

	wrong = nr_pages - min(nr_pages, charge->ahead[kind]);
	if (wrong) {
		ret = account_charge(charge->account, kind, wrong, reason);
		if (ret)
			return ret;
		charge->ahead[kind] += wrong;
		charge->ahead[other] -= wrong;
		account_uncharge(charge->account, other, wrong);
	}
	charge->ahead[kind] -= nr_pages;
	charge->taken[kind] += nr_pages;
	charge->size[kind] += nr_pages;
	return 0;
}

/*
 * One more run has a part of @folio. The user's first one charges it. -EAGAIN: room
 * is to be made in the array first.
 */
static int part_add(struct account *account, struct folio *folio, u32 *reason)
{
	unsigned long index = folio_pfn(folio), count;
	unsigned long nr_pages = folio_nr_pages(folio);
	enum dmabufx_kind kind = dmabufx_folio_kind(folio);
	int ret;

	guard(mutex)(&account->parts_lock);
	count = xa_to_value(xa_load(&account->parts, index) ?: xa_mk_value(0));
	if (!count) {
		ret = account_charge(account, kind, nr_pages, reason);
		if (ret) {
			xa_erase(&account->parts, index);
			return ret;
		}
	}
	if (!xa_is_err(xa_store(&account->parts, index, xa_mk_value(count + 1), 0)))
		return 0;
	if (!count)
		account_uncharge(account, kind, nr_pages);
	return -EAGAIN;
}

/* A part of @folio, which counts as a whole from now on. */
static int charge_part(struct account *account, struct folio *folio, u32 *reason)
{
	int ret;

	do {
		ret = xa_reserve(&account->parts, folio_pfn(folio),
				 GFP_KERNEL_ACCOUNT);
		if (ret)
			return ret;
		ret = part_add(account, folio, reason);
		/* Another buffer's end has taken the room away meanwhile. */
	} while (ret == -EAGAIN);
	return ret;
}

/* The reverse: what the user has no part of any more is @charge's to uncharge. */
static void part_remove(struct dmabufx_charge *charge, struct folio *folio)
{
	struct account *account = charge->account;
	unsigned long index = folio_pfn(folio), count;

	guard(mutex)(&account->parts_lock);
	count = xa_to_value(xa_load(&account->parts, index));
	if (count > 1) {
		/* Takes no memory: the entry is there. */
		xa_store(&account->parts, index, xa_mk_value(count - 1), 0);
		return;
	}
	xa_erase(&account->parts, index);
	charge->taken[dmabufx_folio_kind(folio)] += folio_nr_pages(folio);
}

/*
 * The large folios of which a run has only a part: the one that it begins in, or
 * the one that it ends in. Returns how many.
 */
static unsigned int run_parts(const struct dmabufx_runs *runs,
			      const struct dmabufx_run *run,
			      struct folio *parts[2])
{
	unsigned long last = dmabufx_run_pfn(run) + dmabufx_run_pages(runs, run) - 1;
	struct folio *head = run->folio, *tail = page_folio(pfn_to_page(last));
	bool ends_inside = last + 1 < folio_pfn(tail) + folio_nr_pages(tail);
	unsigned int nr = 0;

	if (run->first || (head == tail && ends_inside))
		parts[nr++] = head;
	if (head != tail && ends_inside)
		parts[nr++] = tail;
	return nr;
}

static int charge_run_parts(struct dmabufx_charge *charge,
			    const struct dmabufx_runs *runs,
			    const struct dmabufx_run *run, u32 *reason)
{
	struct folio *parts[2];
	unsigned int nr = run_parts(runs, run, parts), i;
	int ret;

	for (i = 0; i < nr; i++) {
		ret = charge_part(charge->account, parts[i], reason);
		if (ret) {
			while (i--)
				part_remove(charge, parts[i]);
			return ret;
		}
	}
	return 0;
}

/**
 * dmabufx_charge_parts - charge large folios that are used in part
 * @charge: the charge, or an empty one, to which nothing is done
 * @runs: the table, of which dmabufx_charge_pinned() knows each page
 * @complete: nothing more is appended: the last run is looked at, too
 * @reason: where the limit that was hit is named
 *
 * Looks at runs that it has not yet looked at. Costs nothing where all folios
 * are of one page.
 *
 * Context: Process context.
 * Return: 0, or -errno.
 */
int dmabufx_charge_parts(struct dmabufx_charge *charge,
			 const struct dmabufx_runs *runs, bool complete,
			 u32 *reason)
{
	u32 end = runs->nr - (runs->nr && !complete);
	int ret;

	if (!charge->account || runs->nr_small == runs->nr_pages)
		return 0;

	for (; charge->nr_runs < end; charge->nr_runs++) {
		ret = charge_run_parts(charge, runs, &runs->run[charge->nr_runs],
				       reason);
		if (ret)
			return ret;
		cond_resched();
	}
	return 0;
}

/**
 * dmabufx_uncharge_parts - no run of a buffer has a part of any folio
 * @charge: the charge, or an empty one
 * @runs: its table, while its memory is still held
 *
 * Folios of which the user has no other part stay charged until
 * dmabufx_uncharge(), when their pins are gone.
 *
 * Context: Process context.
 */
void dmabufx_uncharge_parts(struct dmabufx_charge *charge,
			    const struct dmabufx_runs *runs)
{
	struct folio *parts[2];
	unsigned int nr;

	while (charge->nr_runs) {
		nr = run_parts(runs, &runs->run[--charge->nr_runs], parts);
		while (nr)
			part_remove(charge, parts[--nr]);
		cond_resched();
	}
}

/**
 * dmabufx_uncharge - what a buffer pinned is free again
 * @charge: the charge, which dmabufx_uncharge_parts() has seen, or an empty
 *	one; empty afterwards
 *
 * Context: Process context, of any process: the one that was charged may be
 * long gone.
 */
void dmabufx_uncharge(struct dmabufx_charge *charge)
{
	enum dmabufx_kind kind;

	if (!charge->account)
		return;

	if (charge->mm) {
		atomic64_sub(charge->mm_pages, &charge->mm->pinned_vm);
		mmdrop(charge->mm);
	}
	for (kind = 0; kind < DMABUFX_KINDS; kind++)
		account_uncharge(charge->account, kind,
				 charge->ahead[kind] + charge->taken[kind]);
	account_put(charge->account);
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
	struct account *account = account_try_get(user);

	query->memfd_limit = exempt ? U64_MAX : limit_bytes(&memfd_limit);
	/* RLIM_INFINITY is all ones, too. */
	query->user_limit = exempt ? U64_MAX : rlimit(RLIMIT_MEMLOCK);
	query->user_locked = (u64)atomic_long_read(&user->locked_vm) <<
			     PAGE_SHIFT;
	query->memfd_pinned = 0;
	if (account) {
		query->memfd_pinned =
			(u64)atomic_long_read(&account->shared_pages) <<
			PAGE_SHIFT;
		account_put(account);
	}
}
