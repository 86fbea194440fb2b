/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages a task has of its own: one PAGEMAP_SCAN over the whole address space, which needs to
 * know no areas and is cut at them later. A page that shows the file (or the page of zeroes) is
 * none. Without the ioctl the page map itself is read, area by area.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "engine/memory/pages-work.h"
#include "engine/memory/scan.h"
#include "engine/memory/track.h"

#define PM_GUARD (1ull << 58) /* Linux 6.15 */
#define PM_FILE (1ull << 61)
#define PM_SWAPPED (1ull << 62)
#define PM_PRESENT (1ull << 63)

struct finder {
	int fd;
	const struct ckpt_track *track; /* NULL: nothing is tracked */
	bool keeps;                     /* whether a page was written makes a difference */
	struct ckpt_run_list pages, guards, unchanged;
	bool no_guards;   /* a category that this kernel does not know */
	uint64_t barrier; /* start of the range */
	uint64_t quiet;   /* nothing was said from here on: the pages are as they were */
};

static void see(void *arg, const struct ckpt_page_region *r)
{
	struct finder *f = arg;
	uint64_t n = (r->end - r->start) / CKPT_PAGE;

	if (r->categories & CKPT_PAGE_GUARD) {
		ckpt_run_add(&f->guards, r->start, n, CKPT_UNASSIGNED, 0);
		return;
	}
	ckpt_run_add(&f->pages, r->start, n, CKPT_UNASSIGNED, f->barrier);
	if (r->categories & CKPT_PAGE_WP_ALLOWED && !(r->categories & CKPT_PAGE_WRITTEN))
		ckpt_run_add(&f->unchanged, r->start, n, CKPT_UNASSIGNED, f->barrier);
}

static int find(struct finder *f, uint64_t start, uint64_t end, uint64_t none, struct ckpt_err *err)
{
	const struct ckpt_pm_scan scan = {
		.start = start,
		.end = end,
		.category_mask = none,
		.category_inverted = none,
		.category_anyof_mask = CKPT_PAGE_PRESENT | CKPT_PAGE_SWAPPED,
		.return_mask = (f->no_guards ? 0 : CKPT_PAGE_GUARD) |
			       (f->keeps ? CKPT_PAGE_WP_ALLOWED | CKPT_PAGE_WRITTEN : 0),
	};

	f->barrier = start;
	return start < end ? ckpt_scan_each(f->fd, &scan, see, f, err) : 0;
}

/* Pages up to END that nothing was said of are there and have not been written, if it was asked for
 * that, or they are in no area by now. */
static void see_quiet(struct finder *f, uint64_t end)
{
	uint64_t n = (end - f->quiet) / CKPT_PAGE;

	if (!n)
		return;
	ckpt_run_add(&f->pages, f->quiet, n, CKPT_UNASSIGNED, f->barrier);
	if (f->keeps)
		ckpt_run_add(&f->unchanged, f->quiet, n, CKPT_UNASSIGNED, f->barrier);
}

static void see_other(void *arg, const struct ckpt_page_region *r)
{
	struct finder *f = arg;

	see_quiet(f, r->start);
	f->quiet = r->end;
	if (r->categories & (CKPT_PAGE_PRESENT | CKPT_PAGE_SWAPPED) &&
	    !(r->categories & CKPT_PAGE_ZERO))
		see(f, r);
}

/* To tell of a page takes the kernel five times as long as to pass it by, and whether it is one of
 * a file as long again as all of that. Where memory was anonymous, and tracked, before, and still
 * is tracked, it is asked only for what is not there or was written, if that makes a difference: of
 * memory that is written everywhere it would be told page by page. */
static int find_anonymous(struct finder *f, struct ckpt_span span, struct ckpt_err *err)
{
	const struct ckpt_pm_scan scan = {
		.flags = CKPT_SCAN_CHECK,
		.start = span.start,
		.end = span.end,
		.category_inverted = CKPT_PAGE_PRESENT,
		.category_anyof_mask = CKPT_PAGE_PRESENT |
				       (f->keeps ? CKPT_PAGE_WRITTEN : CKPT_PAGE_ZERO),
		.return_mask = (f->no_guards ? 0 : CKPT_PAGE_GUARD) |
			       (f->keeps ? CKPT_PAGE_WP_ALLOWED | CKPT_PAGE_WRITTEN : 0) |
			       CKPT_PAGE_PRESENT | CKPT_PAGE_SWAPPED | CKPT_PAGE_ZERO,
	};
	size_t n_pages = f->pages.n, n_guards = f->guards.n, n_unchanged = f->unchanged.n;
	int r;

	f->barrier = f->quiet = span.start;
	r = ckpt_scan_each(f->fd, &scan, see_other, f, err);
	if (r >= 0)
		see_quiet(f, span.end);
	if (r != -EPERM)
		return r;
	*err = (struct ckpt_err)CKPT_ERR_INIT;
	f->pages.n = n_pages;
	f->guards.n = n_guards;
	f->unchanged.n = n_unchanged;
	return find(f, span.start, span.end, CKPT_PAGE_ZERO | CKPT_PAGE_FILE, err);
}

static int find_all(struct finder *f, struct ckpt_err *err)
{
	uint64_t at = 0;

	for (size_t i = 0; f->track && i < f->track->n; i++) {
		const struct ckpt_tracked *a = &f->track->area[i];
		int r;

		if (!a->anonymous || a->span.start < at)
			continue;
		r = find(f, at, a->span.start, CKPT_PAGE_ZERO | CKPT_PAGE_FILE, err);
		if (r >= 0)
			r = find_anonymous(f, a->span, err);
		if (r < 0)
			return r;
		at = a->span.end;
	}
	return find(f, at, CKPT_TASK_SIZE, CKPT_PAGE_ZERO | CKPT_PAGE_FILE, err);
}

/* What another userfaultfd protects says nothing to us. */
static struct ckpt_pages of_ours(const struct finder *f)
{
	struct ckpt_run_list list = { .arena = f->unchanged.arena };
	size_t k = 0, n = f->track ? f->track->n : 0;

	for (size_t i = 0; i < f->unchanged.n; i++) {
		uint64_t at = f->unchanged.v[i].at,
			 end = at + f->unchanged.v[i].n_pages * CKPT_PAGE;

		for (; k < n && f->track->area[k].span.start < end; k++) {
			const struct ckpt_span *s = &f->track->area[k].span;
			uint64_t from = s->start > at ? s->start : at,
				 to = s->end < end ? s->end : end;

			if (from < to)
				ckpt_run_add(&list, from, (to - from) / CKPT_PAGE, CKPT_UNASSIGNED,
					     0);
			if (s->end > end)
				break;
		}
	}
	return (struct ckpt_pages){ list.v, list.n };
}

int ckpt_memory_scan(struct ckpt_arena *arena, int pagemap_fd, const struct ckpt_track *track,
		     bool keeps, struct ckpt_scan *found, struct ckpt_err *err)
{
	struct finder f = { .fd = pagemap_fd,
			    .track = track,
			    .keeps = track && keeps,
			    .pages.arena = arena,
			    .guards.arena = arena,
			    .unchanged.arena = arena };
	int r = find_all(&f, err);

	if (r == -EINVAL && !f.pages.n) {
		f.no_guards = true;
		r = find_all(&f, err);
	}
	found->pages = (struct ckpt_pages){ f.pages.v, f.pages.n };
	found->guards = (struct ckpt_pages){ f.guards.v, f.guards.n };
	found->unchanged = of_ours(&f);
	found->none = r == -ENOTTY || r == -EINVAL;
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
