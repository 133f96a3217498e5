// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that the machine reported broken (PG_hwpoison).
 *
 * A process that touches such memory gets SIGBUS. The kernel crashes if a driver
 * copies from its mapping, and nothing defines what a device does. So no buffer is
 * made of such memory. If memory of a buffer breaks later, the buffer is no longer
 * mapped for devices or the kernel, and page faults check each page (mmap.c).
 *
 * A hugetlb page is judged as a whole, by its head, since the struct pages of its
 * tails may be shared (hugetlb_free_vmemmap) and have no flags of their own. In other
 * folios only the requested pages are checked.
 *
 * Memory hardly ever breaks, and buffers are long. The core (6.12 to 7.3) counts the
 * reported pages of each node: memory_failure() first sets a page's flag and then
 * counts it, on every path that leaves the flag set, for hugetlb and injected errors,
 * too. unpoison_memory() does not count back. So the sum of the counters is an epoch:
 * memory that was good at a check stays good until the sum changes, and while it is 0
 * nothing ever broke. (Soft offlining does not count, but takes only memory that nobody
 * holds. Memory of TDX guests does not count, but never belongs to a process.)
 *
 * A window remains, in which broken memory is not noticed: from when the memory breaks
 * until the kernel is told, and from then until the page is counted. In the latter time
 * the kernel unmaps the page from processes.
 */
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/nodemask.h>
#include <linux/sched/signal.h>

#include "dmabufx.h"

/* Pages to check before other tasks may run. */
#define LOOK_BATCH	16384

/**
 * dmabufx_poison_epoch - count the pages that were ever reported broken
 *
 * Return: a number that changes with the next such page, 0 before the first.
 */
unsigned long dmabufx_poison_epoch(void)
{
	unsigned long sum = 0;
#ifdef CONFIG_MEMORY_FAILURE
	unsigned int nid;

	/* for_each_online_node() would search a bitmap of a thousand possible nodes. */
	for (nid = 0; nid < nr_node_ids; nid++)
		if (node_online(nid))
			sum += READ_ONCE(NODE_DATA(nid)->mf_stats.total);
	/* Order: the core sets a page's flag, then counts. So read counters, then flags. */
	smp_rmb();
#endif
	return sum;
}

/* Returns true if a page of @folio from frame @pfn to before @end is broken. */
static bool part_is_poisoned(struct folio *folio, unsigned long pfn,
			     unsigned long end)
{
	if (!folio_test_large(folio) || folio_test_hugetlb(folio))
		return folio_test_hwpoison(folio);

	/*
	 * The folio flag has_hwpoisoned says that one of its pages is broken, but it is
	 * set late, and never for folios that the core could not get hold of, such as the
	 * kernel's own. So look at every page once any page was reported.
	 */
	if (!folio_test_has_hwpoisoned(folio) && !dmabufx_poison_epoch())
		return false;
	for (; pfn < end; pfn++)
		if (PageHWPoison(pfn_to_page(pfn)))
			return true;
	return false;
}

/**
 * dmabufx_range_is_poisoned - is a page of a range broken?
 * @pfn: the first page's frame
 * @nr: how many pages
 *
 * Context: Any. Visits every folio without a pause.
 * Return: true if one is.
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
 * @killable: stop when the caller is being killed
 *
 * Costs next to nothing on a machine whose memory never broke.
 *
 * Context: Process context, may sleep.
 * Return: 0, -EHWPOISON if it is broken, -EINTR if the caller is being killed.
 */
int dmabufx_poison_look(const struct dmabufx_runs *runs, u32 from, bool killable)
{
	struct dmabufx_place at;
	int ret = 0;

	if (likely(!dmabufx_poison_epoch()))
		return 0;

	at = dmabufx_runs_find(runs, from);
	for (; at.run && !ret; dmabufx_place_next(&at, runs)) {
		u32 skip = from > at.run->start ? from - at.run->start : 0;

		ret = look_at_run(dmabufx_run_pfn(at.run) + skip,
				  dmabufx_run_pages(at.run) - skip, killable);
	}
	return ret;
}

/**
 * dmabufx_poison_check - has memory of a buffer broken since the last check?
 * @buf: the buffer
 * @killable: stop when the caller is being killed
 *
 * Context: Process context, may sleep. Needs no lock: two callers may both check.
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
