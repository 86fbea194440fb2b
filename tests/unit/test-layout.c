/* SPDX-License-Identifier: Apache-2.0 */
/* The restorer's region never meets an address space, whatever it looks like; shared pages are
 * staged once. */
#include <stdlib.h>
#include "engine/memory/layout.h"
#include "engine/plan/host.h"
#include "tests/lib/tap.h"

#define MAX_AREAS 300

static uint64_t any_page(void)
{
	return ((uint64_t)rand() << 31 ^ rand()) % ((CKPT_TASK_SIZE - CKPT_PAGE) / CKPT_PAGE) *
	       CKPT_PAGE;
}

static int by_address(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Areas between sorted random addresses: some a page, some many terabytes. */
static Ckpt__Mm *random_mm(struct ckpt_arena *arena)
{
	Ckpt__Mm *mm = ckpt_new(arena, Ckpt__Mm);
	size_t n = 2 + rand() % MAX_AREAS;
	uint64_t *at = ckpt_alloc(arena, 2 * n * sizeof(*at));

	ckpt__mm__init(mm);
	for (size_t i = 0; i < 2 * n; i++)
		at[i] = any_page();
	qsort(at, 2 * n, sizeof(*at), by_address);
	mm->areas = ckpt_alloc(arena, n * sizeof(*mm->areas));
	for (size_t i = 0; i < n; i++) {
		Ckpt__Area *a = ckpt_new(arena, Ckpt__Area);

		ckpt__area__init(a);
		a->start = at[2 * i];
		a->end = rand() % 2 ? at[2 * i + 1] : at[2 * i] + CKPT_PAGE;
		if (a->end > a->start &&
		    (!mm->n_areas || a->start >= mm->areas[mm->n_areas - 1]->end))
			mm->areas[mm->n_areas++] = a;
	}
	return mm;
}

static bool meets(const struct ckpt_layout *l, const Ckpt__Mm *mm)
{
	for (size_t i = 0; i < mm->n_areas; i++)
		if (mm->areas[i]->start < l->end && l->base < mm->areas[i]->end)
			return true;
	return false;
}

static void random_spaces(struct ckpt_arena *arena, const struct ckpt_host *host)
{
	int made = 0, refused = 0, bad = 0;

	for (int round = 0; round < 300; round++) {
		struct ckpt_task task[2] = { { .id = 1 }, { .id = 2, .parent = 1 } };
		struct ckpt_task *tasks[2] = { &task[0], &task[1] };
		struct ckpt_snapshot snap = { .tasks = tasks, .n_tasks = 2 };
		struct ckpt_err err = CKPT_ERR_INIT;
		struct ckpt_layout *l;

		task[0].mm = random_mm(arena);
		task[1].mm = random_mm(arena);
		if (ckpt_layout_make(&l, arena, &snap, host, &err) < 0) {
			refused++;
			bad += err.number != CKPT_E_NO_ROOM;
			continue;
		}
		made++;
		bad += meets(l, task[0].mm) || meets(l, task[1].mm) || l->home >= l->end ||
		       l->gates < l->base;
		for (size_t i = 0; i < host->n_areas; i++)
			bad += host->areas[i].start < l->end && l->base < host->areas[i].end;
	}
	ok(made > 0 && bad == 0, "%d regions meet no address space, %d refused by name", made,
	   refused);
}

static void shared_pages(struct ckpt_arena *arena, const struct ckpt_host *host)
{
	struct ckpt_run parent_runs[] = { { 0x100000000, 8, 0 }, { 0x200000000, 2, 0x8000 } };
	struct ckpt_run child_runs[] = { { 0x100000000, 4, 0 },
					 { 0x100004000, 1, 0xa000 },
					 { 0x200000000, 2, 0xb000 } };
	Ckpt__Area a = CKPT__AREA__INIT, b = CKPT__AREA__INIT;
	Ckpt__Area *areas[] = { &a, &b };
	Ckpt__Mm mm = CKPT__MM__INIT;
	struct ckpt_task task[2] = {
		{ .id = 1, .mm = &mm, .pages = { parent_runs, 2 } },
		{ .id = 2, .parent = 1, .mm = &mm, .pages = { child_runs, 3 } },
	};
	struct ckpt_task *tasks[2] = { &task[0], &task[1] };
	struct ckpt_snapshot snap = { .tasks = tasks, .n_tasks = 2 };
	struct ckpt_err err = CKPT_ERR_INIT;
	const struct ckpt_staged_area *s;
	struct ckpt_layout *l;

	a.start = 0x100000000, a.end = a.start + 8 * CKPT_PAGE;
	b.start = 0x200000000, b.end = b.start + 8 * CKPT_PAGE;
	mm.areas = areas, mm.n_areas = 2;
	must(ckpt_layout_make(&l, arena, &snap, host, &err) >= 0,
	     "layout of a parent and its child");
	is(l->n_stages, 1, "one area is staged");
	s = ckpt_layout_staged(l, &task[0], 0);
	ok(s && !s->inherited, "the parent makes it");
	s = ckpt_layout_staged(l, &task[1], 0);
	ok(s && s->inherited && s->stage == 0, "the child inherits it");
	ok(!ckpt_layout_staged(l, &task[0], 1) && !ckpt_layout_staged(l, &task[1], 1),
	   "pages that differ are not staged");
	is(ckpt_pages_between(&task[1].pages, a.start, a.end).n, 2, "runs of an area");
}

int main(void)
{
	struct ckpt_snapshot none = { .n_tasks = 0 };
	struct ckpt_err err = CKPT_ERR_INIT;
	struct ckpt_arena *arena;
	struct ckpt_host *host;

	srand(4);
	must(ckpt_arena_open(&arena, 256 << 20, &err) >= 0, "arena");
	must(ckpt_host_probe(&host, arena, &none, &err) >= 0, "host");
	random_spaces(arena, host);
	shared_pages(arena, host);
	ckpt_arena_close(arena);
	return tap_end();
}
