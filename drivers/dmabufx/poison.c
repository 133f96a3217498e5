// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that the machine reported broken (PG_hwpoison).
 *
 * A process that touches it gets SIGBUS. The kernel ends, if it is a driver that
 * copies from its mapping, and a device does what it likes. So no buffer is made of
 * it, and one that has it since is mapped for no device and not for the kernel any
 * more. Page faults ask for each page (mmap.c).
 *
 * A hugetlb page is judged as a whole, by its head, since the struct pages of its
 * tails may be shared (hugetlb_free_vmemmap) and tell nothing. Of any other folio only
 * the pages count that are asked for.
 *
 * Memory hardly ever fails, and buffers are long. The core (6.12 to 7.3) counts, for
 * each node, the pages that were reported: memory_failure() sets a page's flag first
 * and then counts it, on every way on which the flag stays, hugetlb and injected errors
 * included. Marking good again what was repaired does not count back. So the sum is an
 * epoch: what was looked at in one is well as long as that lasts, and while it is 0
 * nothing ever failed. (Soft offlining does not count, and takes only memory that
 * nobody holds. Memory of TDX guests does not, and is no process's.)
 *
 * That leaves a window: from the moment when the memory fails until the kernel is
 * told, and from there until the page is counted, while it is unmapped from processes.
 */
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/nodemask.h>
#include <linux/sched/signal.h>

#include "dmabufx.h"

/* How many pages to look at before others may run. */
#define LOOK_BATCH	16384

/**
 * dmabufx_poison_epoch - how many pages were ever reported broken
 *
 * Return: a number that changes with the next one, 0 before the first.
 */
unsigned long dmabufx_poison_epoch(void)
{
	unsigned long sum = 0;
#ifdef CONFIG_MEMORY_FAILURE
	int nid;

	for_each_online_node(nid)
		sum += READ_ONCE(NODE_DATA(nid)->mf_stats.total);
	/* Counted after the flag was set: looked at before the flag is. */
	smp_rmb();
#endif
	return sum;
}

/* Is a page of @folio broken, from frame @pfn up to the one before @end? */
static bool part_is_poisoned(struct folio *folio, unsigned long pfn,
			     unsigned long end)
{
	if (!folio_test_large(folio) || folio_test_hugetlb(folio))
		return folio_test_hwpoison(folio);

	/*
	 * The folio's flag that one of its pages has the other comes late, and never
	 * where the core could not get hold of the folio, the kernel's own for one.
	 */
	if (!folio_test_has_hwpoisoned(folio) && !dmabufx_poison_epoch())
		return false;
	for (; pfn < end; pfn++)
		if (PageHWPoison(pfn_to_page(pfn)))
			return true;
	return false;
}

/**
 * dmabufx_range_is_poisoned - is there a broken page?
 * @pfn: the first page's frame
 * @nr: how many pages
 *
 * Context: Any. Looks at one folio after the other, and does not pause.
 * Return: whether.
 */
bool dmabufx_range_is_poisoned(unsigned long pfn, unsigned long nr)
{
	unsigned long end = pfn + nr;

	while (pfn < end) {
		struct folio *folio = page_folio(pfn_to_page(pfn));
		unsigned long next = min(end, folio_pfn(folio) +
					      folio_nr_pages(folio));

		if (part_is_poisoned(folio, pfn, next))
			return true;
		pfn = next;
	}
	return false;
}

static int look_at_run(unsigned long pfn, unsigned long nr, bool killable)
{
	unsigned long n;

	for (; nr; nr -= n, pfn += n) {
		n = min(nr, LOOK_BATCH);
		if (dmabufx_range_is_poisoned(pfn, n))
			return -EHWPOISON;
		if (killable && fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

/**
 * dmabufx_poison_look - is memory of a table broken?
 * @runs: the table, perhaps not finished
 * @from: the first page to look at
 * @killable: whether it ends when the caller is being killed
 *
 * Costs nothing to speak of on a machine whose memory never failed.
 *
 * Context: Process context, may sleep.
 * Return: 0, -EHWPOISON if it is, -EINTR if the caller is being killed.
 */
int dmabufx_poison_look(const struct dmabufx_runs *runs, u32 from, bool killable)
{
	const struct dmabufx_run *run, *end = runs->run + runs->nr;
	int ret = 0;

	if (likely(!dmabufx_poison_epoch()))
		return 0;

	run = dmabufx_runs_find(runs, from);
	for (; run && run < end && !ret; run++) {
		u32 skip = from > run->start ? from - run->start : 0;

		ret = look_at_run(dmabufx_run_pfn(run) + skip,
				  dmabufx_run_pages(runs, run) - skip, killable);
	}
	return ret;
}

/**
 * dmabufx_poison_check - has memory of a buffer broken since it was looked at?
 * @buf: the buffer
 * @killable: whether it ends when the caller is being killed
 *
 * Context: Process context, may sleep. Needs no lock: of two at once both may look.
 * Return: as dmabufx_poison_look().
 */
int dmabufx_poison_check(struct dmabufx_buf *buf, bool killable)
{
	unsigned long epoch = dmabufx_poison_epoch();
	int ret;

	if (likely(epoch == READ_ONCE(buf->poison_epoch)))
		return 0;

	ret = dmabufx_poison_look(&buf->runs, 0, killable);
	if (!ret)
		WRITE_ONCE(buf->poison_epoch, epoch);
	return ret;
}
