/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages a task has of its own: one PAGEMAP_SCAN over the whole address space, which needs to
 * know no areas and is cut at them later. A page that shows the file (or the page of zeroes) is
 * none. Without the ioctl the page map itself is read, area by area.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "engine/memory/pages-work.h"

/* Linux 6.7; the category GUARD came with 6.16 */
struct page_region {
	uint64_t start, end, categories;
};
struct pm_scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define PAGEMAP_SCAN _IOWR('f', 16, struct pm_scan_arg)
#define PAGE_IS_FILE (1 << 2)
#define PAGE_IS_PRESENT (1 << 3)
#define PAGE_IS_SWAPPED (1 << 4)
#define PAGE_IS_PFNZERO (1 << 5)
#define PAGE_IS_GUARD (1 << 8)

#define PM_GUARD (1ull << 58) /* Linux 6.15 */
#define PM_FILE (1ull << 61)
#define PM_SWAPPED (1ull << 62)
#define PM_PRESENT (1ull << 63)

#define N_REGIONS 512

/* Returns -ENOTTY where the kernel lacks it. */
static int scan(struct ckpt_run_list *list, struct ckpt_run_list *guards, int fd, bool with_guards,
		struct ckpt_err *err)
{
	struct page_region region[N_REGIONS];
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.end = CKPT_TASK_SIZE,
		.vec = (uintptr_t)region,
		.vec_len = N_REGIONS,
		.category_mask = PAGE_IS_FILE | PAGE_IS_PFNZERO,
		.category_inverted = PAGE_IS_FILE | PAGE_IS_PFNZERO,
		.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
		.return_mask = with_guards ? PAGE_IS_GUARD : 0,
	};

	while (arg.start < arg.end) {
		int n = ioctl(fd, PAGEMAP_SCAN, &arg);

		if (n < 0)
			return ckpt_fail(err, -errno, "pagemap: cannot scan");
		for (int i = 0; i < n; i++) {
			const struct page_region *r = &region[i];

			ckpt_run_add(r->categories & PAGE_IS_GUARD ? guards : list, r->start,
				     (r->end - r->start) / CKPT_PAGE, CKPT_UNASSIGNED, 0);
		}
		if (arg.walk_end <= arg.start)
			return ckpt_fail(err, -EIO, "pagemap: cannot scan");
		arg.start = arg.walk_end;
	}
	return 0;
}

int ckpt_memory_scan(struct ckpt_arena *arena, int pagemap_fd, struct ckpt_scan *found,
		     struct ckpt_err *err)
{
	struct ckpt_run_list list = { .arena = arena }, guards = { .arena = arena };
	int r = scan(&list, &guards, pagemap_fd, true, err);

	if (r == -EINVAL && !list.n)
		r = scan(&list, &guards, pagemap_fd, false, err);
	found->pages = (struct ckpt_pages){ list.v, list.n };
	found->guards = (struct ckpt_pages){ guards.v, guards.n };
	found->none = r == -ENOTTY;
	return found->none ? 0 : r;
}

static bool is_wanted(const Ckpt__Area *a)
{
	return !a->shared && !(a->flags & (CKPT__AREA__FLAG__VDSO | CKPT__AREA__FLAG__DROPPABLE));
}

/* Both come in order. */
static void cut(struct ckpt_run_list *list, const struct ckpt_pages *pages, const Ckpt__Mm *mm)
{
	size_t area = 0;

	for (size_t i = 0; i < pages->n; i++) {
		uint64_t start = pages->run[i].at, end = start + pages->run[i].n_pages * CKPT_PAGE;

		for (; area < mm->n_areas && mm->areas[area]->start < end; area++) {
			const Ckpt__Area *a = mm->areas[area];
			uint64_t from = start > a->start ? start : a->start,
				 to = end < a->end ? end : a->end;

			if (from < to && is_wanted(a))
				ckpt_run_add(list, from, (to - from) / CKPT_PAGE, CKPT_UNASSIGNED,
					     a->start);
			if (a->end > end)
				break;
		}
	}
}

static int read_area(struct ckpt_run_list *list, struct ckpt_run_list *guards, int fd,
		     const Ckpt__Area *a, struct ckpt_err *err)
{
	uint64_t word[4096];

	for (uint64_t at = a->start; at < a->end;) {
		size_t want = (a->end - at) / CKPT_PAGE < 4096 ? (a->end - at) / CKPT_PAGE : 4096;
		ssize_t n = pread(fd, word, want * 8, at / CKPT_PAGE * 8);

		if (n <= 0 || n % 8)
			return ckpt_fail(err, n < 0 ? -errno : -EIO, "pagemap: cannot read");
		for (ssize_t i = 0; i < n / 8; i++, at += CKPT_PAGE) {
			if (word[i] & PM_GUARD)
				ckpt_run_add(guards, at, 1, CKPT_UNASSIGNED, a->start);
			else if (word[i] & (PM_PRESENT | PM_SWAPPED) && !(word[i] & PM_FILE))
				ckpt_run_add(list, at, 1, CKPT_UNASSIGNED, a->start);
		}
	}
	return 0;
}

int ckpt_pages_cut(struct ckpt_run_list *list, struct ckpt_scan *found, int pagemap_fd,
		   const Ckpt__Mm *mm, struct ckpt_err *err)
{
	struct ckpt_run_list guards = { .arena = list->arena };

	if (!found->none) {
		cut(list, &found->pages, mm);
		return 0;
	}
	for (size_t i = 0; i < mm->n_areas; i++) {
		int r = 0;

		if (is_wanted(mm->areas[i]))
			r = read_area(list, &guards, pagemap_fd, mm->areas[i], err);
		if (r < 0)
			return r;
	}
	found->guards = (struct ckpt_pages){ guards.v, guards.n };
	return 0;
}
