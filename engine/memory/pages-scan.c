/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages a task has of its own: one PAGEMAP_SCAN over the whole address space, cut at the areas. A page that
 * shows the file (or the page of zeroes) is none. Without the ioctl the page map itself is read.
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

#define PM_GUARD (1ull << 58)           /* Linux 6.15 */
#define PM_FILE (1ull << 61)
#define PM_SWAPPED (1ull << 62)
#define PM_PRESENT (1ull << 63)

#define N_REGIONS 512

struct scan {
	struct ckpt_run_list *list;
	const Ckpt__Mm *mm;
	size_t area;                    /* the first one that ends behind what was seen so far */
	uint64_t guard;
};

static bool is_wanted(const Ckpt__Area *a)
{
	return !a->shared && !(a->flags & (CKPT__AREA__FLAG__VDSO | CKPT__AREA__FLAG__DROPPABLE));
}

/* Pages come in order, and so do areas. */
static void add_region(struct scan *s, uint64_t start, uint64_t end, bool guard)
{
	while (s->area < s->mm->n_areas) {
		const Ckpt__Area *a = s->mm->areas[s->area];
		uint64_t from = start > a->start ? start : a->start, to = end < a->end ? end : a->end;

		if (from < to && guard && !s->guard)
			s->guard = from;
		if (from < to && is_wanted(a))
			ckpt_run_add(s->list, from, (to - from) / CKPT_PAGE, CKPT_UNASSIGNED, a->start);
		if (a->end > end)
			return;
		s->area++;
	}
}

/* Returns -ENOTTY where the kernel lacks it. */
static int scan_by_ioctl(struct scan *s, int fd, uint64_t start, uint64_t end, bool with_guard, struct ckpt_err *err)
{
	struct page_region region[N_REGIONS];
	struct pm_scan_arg arg = {
		.size = sizeof(arg), .start = start, .end = end, .vec = (uintptr_t)region, .vec_len = N_REGIONS,
		.category_mask = PAGE_IS_FILE | PAGE_IS_PFNZERO, .category_inverted = PAGE_IS_FILE | PAGE_IS_PFNZERO,
		.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
		.return_mask = with_guard ? PAGE_IS_GUARD : 0,
	};

	while (arg.start < end) {
		int n = ioctl(fd, PAGEMAP_SCAN, &arg);

		if (n < 0)
			return ckpt_fail(err, -errno, "pagemap: cannot scan");
		for (int i = 0; i < n; i++)
			add_region(s, region[i].start, region[i].end, region[i].categories & PAGE_IS_GUARD);
		if (arg.walk_end <= arg.start)
			return ckpt_fail(err, -EIO, "pagemap: cannot scan");
		arg.start = arg.walk_end;
	}
	return 0;
}

static int read_area(struct scan *s, int fd, const Ckpt__Area *a, struct ckpt_err *err)
{
	uint64_t word[4096];

	for (uint64_t at = a->start; at < a->end;) {
		size_t want = (a->end - at) / CKPT_PAGE < 4096 ? (a->end - at) / CKPT_PAGE : 4096;
		ssize_t n = pread(fd, word, want * 8, at / CKPT_PAGE * 8);

		if (n <= 0 || n % 8)
			return ckpt_fail(err, n < 0 ? -errno : -EIO, "pagemap: cannot read");
		for (ssize_t i = 0; i < n / 8; i++, at += CKPT_PAGE) {
			if (word[i] & PM_GUARD && !s->guard)
				s->guard = at;
			if (word[i] & (PM_PRESENT | PM_SWAPPED) && !(word[i] & PM_FILE))
				ckpt_run_add(s->list, at, 1, CKPT_UNASSIGNED, a->start);
		}
	}
	return 0;
}

static int scan_by_reading(struct scan *s, int fd, struct ckpt_err *err)
{
	for (size_t i = 0; i < s->mm->n_areas; i++) {
		int r = 0;

		if (is_wanted(s->mm->areas[i]))
			r = read_area(s, fd, s->mm->areas[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

int ckpt_pages_scan(struct ckpt_run_list *list, int pagemap_fd, const Ckpt__Mm *mm, uint64_t *guardp,
		    struct ckpt_err *err)
{
	struct scan s = { .list = list, .mm = mm };
	uint64_t start, end;
	int r;

	*guardp = 0;
	if (!mm->n_areas)
		return 0;
	start = mm->areas[0]->start;
	end = mm->areas[mm->n_areas - 1]->end;
	r = scan_by_ioctl(&s, pagemap_fd, start, end, true, err);
	if (r == -EINVAL && !list->n)
		r = scan_by_ioctl(&s, pagemap_fd, start, end, false, err);
	if (r == -ENOTTY && !list->n)
		r = scan_by_reading(&s, pagemap_fd, err);
	*guardp = s.guard;
	return r;
}
