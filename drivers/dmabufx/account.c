// SPDX-License-Identifier: GPL-2.0-only
/*
 * Limits for the memory that a user may pin.
 *
 * The rule: a user never keeps more memory from being reclaimed than the user is
 * charged for. There are two kinds of memory:
 *
 * Private memory lies at the caller's own addresses and belongs to no file. It
 * counts like memory locked by mlock() or pinned by io_uring: against the user's
 * RLIMIT_MEMLOCK, and in the VmPin of the process.
 *
 * Shared memory belongs to memfds and other files of shmem and hugetlbfs,
 * whether a descriptor or an address names it. Its owner's memory cgroup
 * is charged for it already; but while a buffer pins it, it can be neither
 * swapped out nor moved, and after a hole is punched into the file the buffer still
 * keeps it. So it has two limits of its own: one for each user, by default half of
 * the machine's memory, as for tmpfs, and one for all users together, since one
 * person may be many users.
 *
 * Pages are charged one by one, each time that they are in a buffer, which needs no
 * look-up. But a pin holds a whole folio. So a large folio of which a run has only a
 * part is also charged as a whole, once for each user, however many runs and buffers
 * have parts of it: &struct account.parts counts them. (Its pages are charged twice
 * on purpose: a buffer may repeat pages, and what else it costs, page tables of a
 * kernel mapping for example, then also has a bound.)
 *
 * Memory is charged before it is pinned and uncharged after it is unpinned. The size
 * of a folio is known only once it is pinned. So the requested pages are charged
 * first, and large folios after each batch is pinned, before anything is waited for.
 * The last run may grow with the next batch: its folios are charged for the time being.
 *
 * A caller with CAP_IPC_LOCK is charged but not limited. The capability is checked
 * only when a limit is reached, since a check leaves traces (audit, PF_SUPERPRIV).
 *
 * Locking: accounts_lock and account.parts_lock, never one inside the other.
 * Nothing is allocated under either, so that releasing a buffer never waits
 * for somebody else's allocation.
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
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/user_namespace.h>
#include <linux/xarray.h>

#include "compat.h"
#include "dmabufx.h"

/**
 * struct limit - a module parameter in MiB
 * @mib: the value that was set
 * @is_set: whether a value was set
 * @quarters: the default: so many quarters of the machine's memory, whose size may
 *	change
 */
struct limit {
	unsigned long mib;
	bool is_set;
	unsigned int quarters;
};

static struct limit memfd_limit = { .quarters = 2 };
static struct limit total_limit = { .quarters = 3 };

/* Saturates, so that a very large value cannot become a small limit. */
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

/* Shows the limit in force. */
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
 * struct account - a user who is charged, or was
 * @node: in accounts, hashed by @user
 * @user: the user; holds a reference
 * @charges: number of &struct dmabufx_charge of the user; protected by accounts_lock
 * @shared_pages: shared memory that the user is charged for. Private memory is
 *	in user_struct.locked_vm
 * @parts_lock: protects @parts and the charges for the folios in it
 * @parts: for each large folio that is charged as a whole, by page frame number: how
 *	many runs have a part of it
 */
struct account {
	struct hlist_node node;
	struct user_struct *user;
	unsigned long charges;
	atomic_long_t shared_pages;
	struct mutex parts_lock; /* parts and the charges for the folios in it */
	struct xarray parts;
};

static DEFINE_HASHTABLE(accounts, 6);
static DEFINE_SPINLOCK(accounts_lock); /* accounts, idle_account, account.charges */

/*
 * The account that lost its last charge most recently, or NULL. It is kept, because a
 * user who has one buffer at a time would need a new one for each.
 */
static struct account *idle_account;

/* Shared memory that all users together are charged for. */
static atomic_long_t total_shared_pages;

/* Adds a charge to the account of @user. Returns NULL if there is none. */
static struct account *account_find(const struct user_struct *user)
{
	struct account *account;

	lockdep_assert_held(&accounts_lock);
	hash_for_each_possible(accounts, account, node, (unsigned long)user) {
		if (account->user != user)
			continue;
		if (account == idle_account)
			idle_account = NULL;
		account->charges++;
		return account;
	}
	return NULL;
}

static struct account *account_alloc(struct user_struct *user)
{
	struct account *account = kzalloc_obj(*account, GFP_KERNEL_ACCOUNT);

	if (!account)
		return NULL;
	account->user = get_uid(user);
	account->charges = 1;
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

/* Returns the account of @user with a reference, or NULL. */
static struct account *account_try_get(const struct user_struct *user)
{
	struct account *account;

	spin_lock(&accounts_lock);
	account = account_find(user);
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
	if (!other)
		hash_add(accounts, &account->node, (unsigned long)user);
	spin_unlock(&accounts_lock);
	if (!other)
		return account;
	account_free(account);
	return other;
}

/* Makes @account, which may be NULL, the idle one. Returns the former one, removed. */
static struct account *replace_idle(struct account *account)
{
	struct account *old = idle_account;

	lockdep_assert_held(&accounts_lock);
	idle_account = account;
	if (old)
		hash_del(&old->node);
	return old;
}

static void account_put(struct account *account)
{
	struct account *old = NULL;

	spin_lock(&accounts_lock);
	if (!--account->charges)
		old = replace_idle(account);
	spin_unlock(&accounts_lock);
	if (old)
		account_free(old);
}

/**
 * dmabufx_account_exit - free what is kept for users who have no buffers now
 *
 * Context: Process context, when no buffer is left.
 */
void dmabufx_account_exit(void)
{
	struct account *old;

	spin_lock(&accounts_lock);
	old = replace_idle(NULL);
	spin_unlock(&accounts_lock);
	if (old)
		account_free(old);
	WARN_ON_ONCE(!hash_empty(accounts));
}

/* Add pages up to @limit. Checks the capability only if that would exceed the limit. */
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
 * dmabufx_charge - charge the memory that a buffer is about to pin
 * @charge: empty; returns the charge, for dmabufx_uncharge()
 * @private_pages: private memory of the caller, pages
 * @shared_pages: memory of memfds and the like, pages
 * @reason: returned on failure: which limit was reached
 *
 * Context: Process context, for the calling process and its user.
 * Return: 0, or -errno with nothing charged and @charge empty.
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
 * dmabufx_charge_pinned - some of the charged memory has been pinned
 * @charge: the charge; if empty, nothing happens
 * @kind: the kind that the memory turned out to be
 * @nr_pages: how much, pages
 * @reason: returned on failure: which limit was reached
 *
 * Corrects the kind of the charge. For an address, dmabufx_charge() only guessed:
 * another thread may have mapped memory of another kind there before it was pinned.
 *
 * Context: Process context.
 * Return: 0, or -errno if this kind has reached its limit.
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
 * Count one more run that has a part of @folio. Charges the folio for the user's first
 * run. Returns -EAGAIN if the caller has to reserve a slot in the array first.
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

/* Charge @folio as a whole, since a run has a part of it. */
static int charge_part(struct account *account, struct folio *folio, u32 *reason)
{
	int ret;

	do {
		ret = xa_reserve(&account->parts, folio_pfn(folio),
				 GFP_KERNEL_ACCOUNT);
		if (ret)
			return ret;
		ret = part_add(account, folio, reason);
		/* Another buffer that ended meanwhile has freed the slot: try again. */
	} while (ret == -EAGAIN);
	return ret;
}

/* Count one run less that has a part of @folio. Returns true if that was the last. */
static bool part_remove(struct account *account, struct folio *folio)
{
	unsigned long index = folio_pfn(folio), count;

	lockdep_assert_held(&account->parts_lock);
	count = xa_to_value(xa_load(&account->parts, index));
	if (count > 1) {
		/* Allocates nothing: the slot exists. */
		xa_store(&account->parts, index, xa_mk_value(count - 1), 0);
		return false;
	}
	xa_erase(&account->parts, index);
	return true;
}

/* Undo charge_part(), for a folio that is otherwise charged, or not pinned. */
static void part_uncharge(struct account *account, struct folio *folio)
{
	guard(mutex)(&account->parts_lock);
	if (part_remove(account, folio))
		account_uncharge(account, dmabufx_folio_kind(folio),
				 folio_nr_pages(folio));
}

/* Undo charge_part(), and leave the folio's charge, if any, to dmabufx_uncharge(). */
static void part_hand_over(struct dmabufx_charge *charge, struct folio *folio)
{
	guard(mutex)(&charge->account->parts_lock);
	if (part_remove(charge->account, folio))
		charge->taken[dmabufx_folio_kind(folio)] += folio_nr_pages(folio);
}

/*
 * Find the large folios of which a run has only a part. Only the folio that it begins
 * in and the folio that it ends in can be such. Returns how many they are.
 */
static unsigned int run_parts(const struct dmabufx_run *run,
			      struct folio *parts[2])
{
	unsigned long last = dmabufx_run_pfn(run) + dmabufx_run_pages(run) - 1;
	struct folio *head = page_folio(run->page);
	struct folio *tail = page_folio(pfn_to_page(last));
	bool ends_inside = last + 1 < folio_pfn(tail) + folio_nr_pages(tail);
	unsigned int nr = 0;

	if (folio_page_idx(head, run->page) || (head == tail && ends_inside))
		parts[nr++] = head;
	if (head != tail && ends_inside)
		parts[nr++] = tail;
	return nr;
}

/* Charge @nr folios that a run has a part of. Returns 0, or -errno with none charged. */
static int charge_folios(struct dmabufx_charge *charge, struct folio **parts,
			 unsigned int nr, u32 *reason)
{
	unsigned int i;
	int ret;

	for (i = 0; i < nr; i++) {
		ret = charge_part(charge->account, parts[i], reason);
		if (ret) {
			while (i--)
				part_hand_over(charge, parts[i]);
			return ret;
		}
	}
	return 0;
}

/*
 * As run_parts(), for the last run of a table that is not complete. The folio that it ends
 * in needs no charge as long as what is missing of it is charged ahead: for pages that
 * will be pinned next, perhaps these.
 */
static unsigned int last_run_parts(const struct dmabufx_charge *charge,
				   const struct dmabufx_run *run,
				   struct folio *parts[2])
{
	unsigned long start = dmabufx_run_pfn(run), missing;
	unsigned int nr = run_parts(run, parts);
	struct folio *tail;

	if (!nr)
		return 0;
	tail = parts[nr - 1];
	if (folio_pfn(tail) < start)
		return nr;
	missing = folio_pfn(tail) + folio_nr_pages(tail) - start - dmabufx_run_pages(run);
	return missing > charge->ahead[dmabufx_folio_kind(tail)] ? nr : nr - 1;
}

/*
 * Charge the partly used folios of the last run, and uncharge those that it had at the
 * last call: they are whole in it now, or charged with the run that ended there.
 */
static int charge_last_run(struct dmabufx_charge *charge,
			   const struct dmabufx_run *run, u32 *reason)
{
	struct folio *parts[2];
	unsigned int nr = run ? last_run_parts(charge, run, parts) : 0;
	int ret = charge_folios(charge, parts, nr, reason);

	if (ret)
		return ret;
	while (charge->nr_last)
		part_uncharge(charge->account, charge->last[--charge->nr_last]);
	memcpy(charge->last, parts, sizeof(parts[0]) * nr);
	charge->nr_last = nr;
	return 0;
}

/**
 * dmabufx_charge_parts - charge large folios that are used in part
 * @charge: the charge; if empty, nothing happens
 * @runs: the table; dmabufx_charge_pinned() was called for all of its pages
 * @complete: nothing more will be appended, so handle the last run, too
 * @reason: returned on failure: which limit was reached
 *
 * Handles the runs that were added since the last call, and how the last one has grown.
 * Does nothing if all folios are known to be in the buffer as a whole.
 *
 * Context: Process context.
 * Return: 0, or -errno.
 */
int dmabufx_charge_parts(struct dmabufx_charge *charge,
			 const struct dmabufx_runs *runs, bool complete,
			 u32 *reason)
{
	struct folio *parts[2];
	struct dmabufx_place at;
	unsigned int nr;
	int ret;
	u32 end;

	if (!charge->account || runs->nr_whole == runs->nr_pages)
		return 0;

	at = dmabufx_runs_find(runs, charge->parts_end);
	for (; at.run; dmabufx_place_next(&at, runs)) {
		end = at.run[1].start;
		if (end == runs->nr_pages && !complete)
			break;
		nr = run_parts(at.run, parts);
		ret = charge_folios(charge, parts, nr, reason);
		if (ret)
			return ret;
		charge->nr_parts += nr;
		charge->parts_end = end;
		cond_resched();
	}
	return charge_last_run(charge, at.run, reason);
}

/**
 * dmabufx_uncharge_parts - stop counting the partly used folios of a buffer
 * @charge: the charge, or an empty one
 * @runs: its table, whose memory is still held
 *
 * Folios of which the user has no other part stay charged until dmabufx_uncharge(),
 * which is called after they are unpinned.
 *
 * Context: Process context.
 */
void dmabufx_uncharge_parts(struct dmabufx_charge *charge,
			    const struct dmabufx_runs *runs)
{
	struct dmabufx_place at;
	struct folio *parts[2];
	unsigned int nr;

	while (charge->nr_last)
		part_hand_over(charge, charge->last[--charge->nr_last]);

	at = dmabufx_runs_find(runs, 0);
	for (; charge->nr_parts && at.run && at.run->start < charge->parts_end;
	     dmabufx_place_next(&at, runs)) {
		nr = run_parts(at.run, parts);
		charge->nr_parts -= nr;
		while (nr)
			part_hand_over(charge, parts[--nr]);
		cond_resched();
	}
	WARN_ON_ONCE(charge->nr_parts);
}

/**
 * dmabufx_uncharge - uncharge the memory of a buffer
 * @charge: the charge, after dmabufx_uncharge_parts(), or an empty one; empty
 *	afterwards
 *
 * Context: Process context, of any process: the charged process may have exited long
 * ago.
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
 * dmabufx_account_query - report limits and what counts against them
 * @query: filled in for the calling process and its user
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
