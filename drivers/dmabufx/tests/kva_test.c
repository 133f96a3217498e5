// SPDX-License-Identifier: GPL-2.0-only
/*
 * dmabufx_kva_pages(): returns the right pages for every address that has memory, an
 * error for every other, and never writes to the log.
 */
#include "../kva.c"

#include <linux/cpumask.h>
#include <linux/io.h>
#include <linux/mman.h>

#include "tests.h"

/* Memory of this module, of more than one page. */
static u8 module_data[3 * PAGE_SIZE];

static void free_list(void *pages)
{
	kvfree(pages);
}

static long list(struct kunit *test, const void *addr, size_t len,
		 struct page ***pages)
{
	long nr;

	*pages = NULL;
	nr = dmabufx_kva_pages(addr, len, pages, ULONG_MAX, GFP_KERNEL);
	if (*pages)
		KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, free_list,
								*pages), 0);
	return nr;
}

static void expect_refused(struct kunit *test, const void *addr, size_t len)
{
	struct page **pages;

	KUNIT_EXPECT_EQ_MSG(test, list(test, addr, len, &pages), -EFAULT,
			    "%#lx, %zu bytes", (unsigned long)addr, len);
	KUNIT_EXPECT_PTR_EQ(test, pages, NULL);
}

/* Expects the pages to hold the data at the addresses. */
static void expect_pages(struct kunit *test, const void *addr, size_t len)
{
	size_t offset = offset_in_page(addr), at, n;
	struct page **pages;
	unsigned long i;

	KUNIT_ASSERT_EQ(test, list(test, addr, len, &pages),
			DIV_ROUND_UP(offset + len, PAGE_SIZE));
	for (i = 0, at = 0; at < len; i++, at += n, offset = 0) {
		n = min(len - at, PAGE_SIZE - offset);
		KUNIT_EXPECT_EQ(test, memcmp(page_address(pages[i]) + offset,
					     addr + at, n), 0);
	}
}

/* Tests all ranges that begin and end near page borders, in memory of 3 pages. */
static void expect_ranges(struct kunit *test, u8 *memory)
{
	static const size_t at[] = {
		0, 1, PAGE_SIZE - 1, PAGE_SIZE, PAGE_SIZE + 1, 2 * PAGE_SIZE - 1,
		2 * PAGE_SIZE, 3 * PAGE_SIZE - 1, 3 * PAGE_SIZE,
	};
	unsigned int from, to, i;

	for (i = 0; i < 3 * PAGE_SIZE; i++)
		memory[i] = i ^ i >> 8;
	for (from = 0; from < ARRAY_SIZE(at); from++)
		for (to = from + 1; to < ARRAY_SIZE(at); to++)
			expect_pages(test, memory + at[from], at[to] - at[from]);
}

static void free_vmalloc(void *memory)
{
	vfree(memory);
}

static void *vmalloc_memory(struct kunit *test, size_t size)
{
	void *memory = vmalloc(size);

	KUNIT_ASSERT_NOT_NULL(test, memory);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, free_vmalloc,
							memory), 0);
	return memory;
}

static void pages_of_linear_memory(struct kunit *test)
{
	expect_ranges(test, kernel_memory(test, 2));
}

static void pages_of_slab_memory(struct kunit *test)
{
	u8 *memory = zeroed(test, 100);

	memset(memory, 0x5a, 100);
	expect_pages(test, memory, 100);
	expect_pages(test, memory + 99, 1);
}

static void pages_of_large_kmalloc(struct kunit *test)
{
	expect_ranges(test, zeroed(test, 3 * PAGE_SIZE));
}

static void free_exact(void *memory)
{
	free_pages_exact(memory, 3 * PAGE_SIZE);
}

/* Consecutive pages that are no compound page. */
static void pages_of_exact_memory(struct kunit *test)
{
	void *memory = alloc_pages_exact(3 * PAGE_SIZE, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, memory);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, free_exact,
							memory), 0);
	expect_ranges(test, memory);
}

static void pages_of_vmalloc_memory(struct kunit *test)
{
	expect_ranges(test, vmalloc_memory(test, 3 * PAGE_SIZE));
	/* Mapped by huge pages, if the kernel uses them for vmalloc(). */
	expect_pages(test, vmalloc_memory(test, 2 * PMD_SIZE), 2 * PMD_SIZE);
}

static void pages_of_vmapped_memory(struct kunit *test)
{
	const struct source_kind kind = { "", make_kvec_vmap };
	struct source *source = source_make(test, &kind);
	struct page **pages;
	unsigned int i;

	expect_ranges(test, source->memory);
	KUNIT_ASSERT_EQ(test, list(test, source->memory, MEMORY_SIZE, &pages),
			MEMORY_PAGES);
	for (i = 0; i < MEMORY_PAGES; i++)
		KUNIT_EXPECT_PTR_EQ(test, pages[i], source->pages[i]);
}

static void pages_of_a_module(struct kunit *test)
{
	expect_ranges(test, module_data);
}

/* The direct map may lack the image, so this reads nothing there. */
static void pages_of_the_kernel_image(struct kunit *test)
{
	const char *address = (char *)&init_task;
	struct page **pages;

	KUNIT_ASSERT_EQ(test, list(test, address, 1, &pages), 1);
	KUNIT_EXPECT_PTR_EQ(test, pages[0], virt_to_page(lm_alias(address)));
}

static void the_callers_array_is_filled(struct kunit *test)
{
	u8 *memory = kernel_memory(test, 2);
	struct page *pages[4] = {}, **list = pages;

	KUNIT_EXPECT_EQ(test, dmabufx_kva_pages(memory + 1, 3 * PAGE_SIZE - 1,
						&list, 3, 0), 3);
	KUNIT_EXPECT_PTR_EQ(test, list, &pages[0]);
	KUNIT_EXPECT_PTR_EQ(test, pages[0], virt_to_page(memory));
	KUNIT_EXPECT_PTR_EQ(test, pages[2], virt_to_page(memory) + 2);
	KUNIT_EXPECT_PTR_EQ(test, pages[3], NULL);
}

static void the_callers_array_is_not_overrun(struct kunit *test)
{
	u8 *memory = kernel_memory(test, 2);
	struct page *pages[4] = {}, **list = pages, **none = NULL;

	KUNIT_EXPECT_EQ(test, dmabufx_kva_pages(memory + 1, 3 * PAGE_SIZE, &list,
						3, 0), -ENOSPC);
	KUNIT_EXPECT_PTR_EQ(test, pages[0], NULL);
	KUNIT_EXPECT_EQ(test, dmabufx_kva_pages(memory + 1, 3 * PAGE_SIZE, &none,
						3, GFP_KERNEL), -ENOSPC);
	KUNIT_EXPECT_PTR_EQ(test, none, NULL);
}

static void an_empty_range_has_no_pages(struct kunit *test)
{
	struct page **pages;

	KUNIT_EXPECT_EQ(test, list(test, module_data, 0, &pages), 0);
	KUNIT_EXPECT_PTR_EQ(test, pages, NULL);
	KUNIT_EXPECT_EQ(test, list(test, NULL, 0, &pages), 0);
}

static void the_own_stack_is_refused(struct kunit *test)
{
	u8 *stack = task_stack_page(current);
	u8 local[16];

	expect_refused(test, local, sizeof(local));
	expect_refused(test, stack, 1);
	expect_refused(test, stack + THREAD_SIZE - 1, 1);
	expect_refused(test, stack - 1, 2);
	expect_refused(test, stack + THREAD_SIZE - 1, 2);
	expect_refused(test, stack, THREAD_SIZE);
}

/* Returns false if the task has no stack, or ended meanwhile. */
static bool stack_is_refused(struct kunit *test, struct task_struct *task)
{
	u8 *stack = READ_ONCE(task->stack);
	struct page **pages;
	long ret[3];

	if (!stack)
		return false;
	ret[0] = list(test, stack, 1, &pages);
	ret[1] = list(test, stack + THREAD_SIZE - 1, 1, &pages);
	ret[2] = list(test, stack + 100, PAGE_SIZE, &pages);
	if (!pid_alive(task) || READ_ONCE(task->stack) != stack)
		return false;

	KUNIT_EXPECT_EQ(test, ret[0], -EFAULT);
	KUNIT_EXPECT_EQ(test, ret[1], -EFAULT);
	KUNIT_EXPECT_EQ(test, ret[2], -EFAULT);
	return true;
}

/* Stacks of all tasks except idle tasks; those of init and of this loader included. */
static void stacks_of_others_are_refused(struct kunit *test)
{
	struct task_struct *task, *tasks[64];
	unsigned int nr = 0, refused = 0, i;

	if (!IS_ENABLED(CONFIG_VMAP_STACK))
		kunit_skip(test, "stacks are in the direct map");

	rcu_read_lock();
	for_each_process(task)
		if (nr < ARRAY_SIZE(tasks))
			tasks[nr++] = get_task_struct(task);
	rcu_read_unlock();

	for (i = 0; i < nr; i++) {
		refused += stack_is_refused(test, tasks[i]);
		put_task_struct(tasks[i]);
	}
	KUNIT_EXPECT_GT(test, refused, 10);
}

/* Areas of the size and alignment of a stack must not be mistaken for one. */
static void no_other_memory_is_taken_for_a_stack(struct kunit *test)
{
	unsigned int i;

	for (i = 0; i < 64; i++)
		expect_pages(test, vmalloc_memory(test, THREAD_SIZE),
			     THREAD_SIZE);
}

static void user_addresses_are_refused(struct kunit *test)
{
	unsigned long addr = user_memory(test, PAGE_SIZE, MAP_PRIVATE);

	KUNIT_ASSERT_EQ(test, clear_user((void __user *)addr, PAGE_SIZE), 0);
	expect_refused(test, (void *)addr, PAGE_SIZE);
	expect_refused(test, (void *)addr + 1, 1);
}

static void no_addresses_are_refused(struct kunit *test)
{
	expect_refused(test, NULL, 1);
	expect_refused(test, ERR_PTR(-ENOMEM), 1);
	expect_refused(test, (void *)-1, 1);
	expect_refused(test, (void *)0x8000000000000000, 1);
}

static void lengths_gone_wrong_are_refused(struct kunit *test)
{
	u8 *memory = kernel_memory(test, 0);

	expect_refused(test, memory, SIZE_MAX);
	expect_refused(test, memory, SIZE_MAX - (unsigned long)memory);
	expect_refused(test, memory, -(unsigned long)memory);
	expect_refused(test, memory, SSIZE_MAX);
	expect_refused(test, memory, 1UL << 40);
	expect_refused(test, module_data, SIZE_MAX);
	expect_refused(test, module_data, 1UL << 40);
	expect_refused(test, vmalloc_memory(test, PAGE_SIZE), 1UL << 40);
}

static void addresses_beyond_memory_are_refused(struct kunit *test)
{
	expect_refused(test, __va(1UL << 45), 1);
	expect_refused(test, __va(1UL << 45), PAGE_SIZE);
#ifdef CONFIG_X86
	/* The PC's hole below 1 MiB; the local APIC; a range from memory into the hole. */
	expect_refused(test, __va(0xa0000), PAGE_SIZE);
	expect_refused(test, __va(0xfee00000), PAGE_SIZE);
	expect_refused(test, __va(0x90000), 0x20000);
#endif
}

static void the_end_of_an_area_is_respected(struct kunit *test)
{
	u8 *memory = vmalloc_memory(test, 3 * PAGE_SIZE);

	expect_refused(test, memory, 3 * PAGE_SIZE + 1);
	expect_refused(test, memory + 3 * PAGE_SIZE - 1, 2);
	expect_refused(test, memory + 3 * PAGE_SIZE, 1);
	expect_refused(test, memory - 1, 2);
}

static void the_end_of_a_compound_page_is_respected(struct kunit *test)
{
	u8 *memory = kernel_memory(test, 1);

	expect_refused(test, memory, 2 * PAGE_SIZE + 1);
	expect_refused(test, memory + 2 * PAGE_SIZE - 1, 2);
	expect_refused(test, memory - 1, 2);
}

static void the_ends_of_a_slab_are_respected(struct kunit *test)
{
	u8 *memory = zeroed(test, 100);
	struct folio *slab = page_folio(virt_to_page(memory));
	u8 *start = folio_address(slab), *end = start + folio_size(slab);

	KUNIT_ASSERT_TRUE(test, folio_test_slab(slab));
	expect_refused(test, memory, end - memory + 1);
	expect_refused(test, memory, SZ_16M);
	expect_refused(test, end - 1, 2);
	expect_refused(test, start - 1, 2);
}

/* The image's mapping extends beyond the image. */
static void the_end_of_the_image_is_respected(struct kunit *test)
{
	expect_refused(test, &init_task, SZ_256M);
}

static void the_memory_of_a_device_is_refused(struct kunit *test)
{
#ifdef CONFIG_X86
	/* The local APIC. Only mapped, never accessed. */
	void __iomem *device = ioremap(0xfee00000, PAGE_SIZE);

	KUNIT_ASSERT_NOT_NULL(test, (void *)(unsigned long)device);
	expect_refused(test, (void __force *)device, PAGE_SIZE);
	iounmap(device);
#endif
}

static void freed_areas_are_refused(struct kunit *test)
{
	u8 *memory = vmalloc(PAGE_SIZE);

	KUNIT_ASSERT_NOT_NULL(test, memory);
	vfree(memory);
	expect_refused(test, memory, 1);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(pages_of_linear_memory),
	KUNIT_CASE(pages_of_slab_memory),
	KUNIT_CASE(pages_of_large_kmalloc),
	KUNIT_CASE(pages_of_exact_memory),
	KUNIT_CASE(pages_of_vmalloc_memory),
	KUNIT_CASE(pages_of_vmapped_memory),
	KUNIT_CASE(pages_of_a_module),
	KUNIT_CASE(pages_of_the_kernel_image),
	KUNIT_CASE(the_callers_array_is_filled),
	KUNIT_CASE(the_callers_array_is_not_overrun),
	KUNIT_CASE(an_empty_range_has_no_pages),
	KUNIT_CASE(the_own_stack_is_refused),
	KUNIT_CASE(stacks_of_others_are_refused),
	KUNIT_CASE(no_other_memory_is_taken_for_a_stack),
	KUNIT_CASE(user_addresses_are_refused),
	KUNIT_CASE(no_addresses_are_refused),
	KUNIT_CASE(lengths_gone_wrong_are_refused),
	KUNIT_CASE(addresses_beyond_memory_are_refused),
	KUNIT_CASE(the_end_of_an_area_is_respected),
	KUNIT_CASE(the_end_of_a_compound_page_is_respected),
	KUNIT_CASE(the_ends_of_a_slab_are_respected),
	KUNIT_CASE(the_end_of_the_image_is_respected),
	KUNIT_CASE(the_memory_of_a_device_is_refused),
	KUNIT_CASE(freed_areas_are_refused),
	{}
};

struct kunit_suite dmabufx_kva_suite = {
	.name = "dmabufx_kva_pages",
	.test_cases = cases,
};
