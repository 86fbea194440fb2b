/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The union of all address spaces (ours and the tasks') leaves gaps; the largest one takes the
 * restorer. What is staged for whom follows from pages that a child has at the same place of the
 * pages file as its parent.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "engine/memory/layout.h"
#include "engine/plan/host.h"
#include "engine/plan/sysvec.h"

#define LOWEST (1ull << 20)    /* far above any mmap_min_addr */
#define CLEARANCE (4ull << 20) /* to stacks that grow down */
#define HOME_LEAST (64ull << 20)

struct range {
	uint64_t start, end;
};

static int by_start(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static size_t put_areas(struct range *to, Ckpt__Area *const *areas, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] = (struct range){ areas[i]->start, areas[i]->end };
	return n;
}

/* Every range that is used in any of the address spaces, sorted. */
static struct range *all_ranges(struct ckpt_arena *arena, const struct ckpt_snapshot *snap,
				const struct ckpt_host *host, size_t *np)
{
	size_t n = host->n_areas;
	struct range *all;

	for (size_t i = 0; i < snap->n_tasks; i++)
		n += snap->tasks[i]->mm ? snap->tasks[i]->mm->n_areas : 0;
	all = ckpt_alloc(arena, (n + 1) * sizeof(*all));
	*np = 0;
	for (size_t i = 0; i < host->n_areas; i++)
		all[(*np)++] = (struct range){ host->areas[i].start, host->areas[i].end };
	for (size_t i = 0; i < snap->n_tasks; i++)
		if (snap->tasks[i]->mm)
			*np += put_areas(all + *np, snap->tasks[i]->mm->areas,
					 snap->tasks[i]->mm->n_areas);
	qsort(all, *np, sizeof(*all), by_start);
	return all;
}

static struct range largest_gap(const struct range *used, size_t n)
{
	struct range best = { 0, 0 };
	uint64_t at = LOWEST;

	for (size_t i = 0; i <= n; i++) {
		uint64_t next = i < n ? used[i].start : CKPT_TASK_SIZE - CKPT_PAGE;

		if (next > at && next - at > best.end - best.start)
			best = (struct range){ at, next };
		if (i < n && used[i].end > at)
			at = used[i].end;
	}
	return best;
}

struct ckpt_pages ckpt_pages_between(const struct ckpt_pages *pages, uint64_t start, uint64_t end)
{
	size_t lo = 0, hi = pages->n;
	struct ckpt_pages slice;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (pages->run[mid].at < start)
			lo = mid + 1;
		else
			hi = mid;
	}
	slice.run = pages->run + lo;
	for (hi = lo; hi < pages->n && pages->run[hi].at < end; hi++)
		;
	slice.n = hi - lo;
	return slice;
}

/* Is any page at the same address and at the same place of the pages file in both? */
static bool share_pages(struct ckpt_pages a, struct ckpt_pages b)
{
	size_t i = 0, j = 0;

	while (i < a.n && j < b.n) {
		const struct ckpt_run *x = &a.run[i], *y = &b.run[j];
		uint64_t x_end = x->at + x->n_pages * CKPT_PAGE,
			 y_end = y->at + y->n_pages * CKPT_PAGE;

		if (x->at < y_end && y->at < x_end && x->at - x->offset == y->at - y->offset)
			return true;
		if (x_end <= y_end)
			i++;
		else
			j++;
	}
	return false;
}

static bool can_stage(const Ckpt__Area *a)
{
	return !a->shared && !a->huge_shift &&
	       !(a->flags & (CKPT__AREA__FLAG__VDSO | CKPT__AREA__FLAG__DROPPABLE));
}

static const Ckpt__Area *area_like(const struct ckpt_task *task, const Ckpt__Area *a)
{
	size_t lo = 0, hi = task->mm->n_areas;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (task->mm->areas[mid]->start < a->start)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == task->mm->n_areas)
		return NULL;
	const Ckpt__Area *b = task->mm->areas[lo];

	return b->start == a->start && b->end == a->end && b->file == a->file &&
			       b->offset == a->offset && can_stage(b) && can_stage(a) &&
			       !((b->flags ^ a->flags) & CKPT__AREA__FLAG__GROWS_DOWN) ?
		       b :
		       NULL;
}

const struct ckpt_staged_area *ckpt_layout_staged(const struct ckpt_layout *l,
						  const struct ckpt_task *task, uint32_t area)
{
	const struct ckpt_staged_area *s = l->staged[task->id - 1];

	for (size_t lo = 0, hi = l->n_staged[task->id - 1]; lo < hi;) {
		size_t mid = lo + (hi - lo) / 2;

		if (s[mid].area == area)
			return &s[mid];
		if (s[mid].area < area)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

struct maker {
	struct ckpt_arena *arena;
	struct ckpt_layout *l;
	uint64_t at; /* where the next stage goes */
	size_t room; /* in l->stages */
};

/* Huge pages need their own alignment: a length that is a multiple of their size may be of them. */
static uint64_t alignment(uint64_t len)
{
	return !(len % (1ull << 30)) ? 1ull << 30 : !(len % (2ull << 20)) ? 2ull << 20 : CKPT_PAGE;
}

static uint32_t add_stage(struct maker *m, uint64_t len, uint32_t object)
{
	struct ckpt_layout *l = m->l;

	m->at = (m->at + alignment(len) - 1) & ~(alignment(len) - 1);
	l->stages = ckpt_grow(m->arena, l->stages, l->n_stages, &m->room, 64, sizeof(*l->stages));
	l->stages[l->n_stages] = (struct ckpt_stage){ m->at, len, object };
	m->at += len + CKPT_PAGE; /* a gap, so that neighbours are not merged and move singly */
	return l->n_stages++;
}

/* The stage of the parent's area that starts where A does, UINT32_MAX if there is none. */
static uint32_t stage_at(const struct ckpt_layout *l, const struct ckpt_task *parent,
			 const Ckpt__Area *a)
{
	const struct ckpt_staged_area *s = l->staged[parent->id - 1];

	for (size_t lo = 0, hi = l->n_staged[parent->id - 1]; lo < hi;) {
		size_t mid = lo + (hi - lo) / 2;
		uint64_t start = parent->mm->areas[s[mid].area]->start;

		if (start == a->start)
			return s[mid].stage;
		if (start < a->start)
			lo = mid + 1;
		else
			hi = mid;
	}
	return UINT32_MAX;
}

/* Does any child of TASK still share pages of its area A? */
static bool shared_below(const struct ckpt_snapshot *snap, const struct ckpt_task *task,
			 const Ckpt__Area *a)
{
	for (size_t i = task->id; i < snap->n_tasks; i++) {
		const struct ckpt_task *child = snap->tasks[i];
		const Ckpt__Area *b;

		if (child->parent != task->id || !child->mm)
			continue;
		b = area_like(child, a);
		if (b && share_pages(ckpt_pages_between(&task->pages, a->start, a->end),
				     ckpt_pages_between(&child->pages, a->start, a->end)))
			return true;
	}
	return false;
}

static bool shared_above(const struct ckpt_task *parent, const struct ckpt_task *task,
			 const Ckpt__Area *a)
{
	return parent && area_like(parent, a) &&
	       share_pages(ckpt_pages_between(&parent->pages, a->start, a->end),
			   ckpt_pages_between(&task->pages, a->start, a->end));
}

static bool has_children(const struct ckpt_snapshot *snap, const struct ckpt_task *task)
{
	for (size_t i = task->id; i < snap->n_tasks; i++)
		if (snap->tasks[i]->parent == task->id)
			return true;
	return false;
}

static void stage_task(struct maker *m, const struct ckpt_snapshot *snap,
		       const struct ckpt_task *task)
{
	const struct ckpt_task *parent = task->parent ? snap->tasks[task->parent - 1] : NULL;
	bool forks = has_children(snap, task);
	struct ckpt_staged_area *out;
	size_t n = 0;

	if (!task->mm)
		return;
	out = ckpt_alloc(m->arena, task->mm->n_areas * sizeof(*out));
	for (size_t i = 0; i < task->mm->n_areas; i++) {
		const Ckpt__Area *a = task->mm->areas[i];
		uint32_t stage = UINT32_MAX;
		bool inherited;

		if (a->has_ring) /* a call of the task's own makes it */
			out[n++] = (struct ckpt_staged_area){ i, add_stage(m, a->end - a->start, 0),
							      false };
		if (!can_stage(a))
			continue;
		if (shared_above(parent, task, a))
			stage = stage_at(m->l, parent, a);
		inherited = stage != UINT32_MAX;
		if (!inherited && forks && shared_below(snap, task, a))
			stage = add_stage(m, a->end - a->start, 0);
		if (stage != UINT32_MAX)
			out[n++] = (struct ckpt_staged_area){ i, stage, inherited };
	}
	m->l->staged[task->id - 1] = out;
	m->l->n_staged[task->id - 1] = n;
}

static void stage_shared(struct maker *m, const struct ckpt_snapshot *snap)
{
	bool *seen = ckpt_alloc(m->arena, snap->n_objects + 1);

	for (size_t t = 0; t < snap->n_tasks; t++) {
		const Ckpt__Mm *mm = snap->tasks[t]->mm;

		for (size_t i = 0; mm && i < mm->n_areas; i++) {
			const Ckpt__Area *a = mm->areas[i];

			if (!(a->flags & CKPT__AREA__FLAG__SHARED_ANON) || !a->file ||
			    seen[a->file])
				continue;
			seen[a->file] = true;
			add_stage(m,
				  (snap->objects[a->file - 1]->content_size + CKPT_PAGE - 1) &
					  ~(CKPT_PAGE - 1),
				  a->file);
		}
	}
}

static void place_vdso(struct ckpt_layout *l, const struct ckpt_host *host)
{
	uint64_t from = UINT64_MAX, to = 0;

	for (size_t i = 0; i < host->n_areas; i++) {
		const Ckpt__Area *a = &host->areas[i];

		if (!(a->flags & CKPT__AREA__FLAG__VDSO))
			continue;
		from = a->start < from ? a->start : from;
		to = a->end > to ? a->end : to;
	}
	l->vdso_from = to ? from : 0;
	l->vdso_len = to ? to - from : 0;
}

int ckpt_layout_make(struct ckpt_layout **layoutp, struct ckpt_arena *arena,
		     const struct ckpt_snapshot *snap, const struct ckpt_host *host,
		     struct ckpt_err *err)
{
	struct ckpt_layout *l = ckpt_new(arena, struct ckpt_layout);
	struct maker m = { .arena = arena, .l = l };
	struct range *used, gap;
	size_t n;

	used = all_ranges(arena, snap, host, &n);
	gap = largest_gap(used, n);
	l->base = (gap.start + CLEARANCE + 0xfffff) & ~0xfffffull;
	l->end = gap.end - CLEARANCE;
	if (gap.end - gap.start < 4 * CLEARANCE)
		return ckpt_refuse(err, CKPT_E_NO_ROOM, -ENOMEM,
				   "no gap in the address spaces is large enough for the restorer");
	l->gates = l->base;
	l->gates_len = (64 + snap->n_tasks * 16 + CKPT_PAGE - 1) & ~(CKPT_PAGE - 1);
	l->blob = l->gates + l->gates_len + CKPT_PAGE;
	l->vdso = l->blob + 2 * CKPT_PAGE;
	place_vdso(l, host);
	m.at = l->vdso + l->vdso_len + CKPT_PAGE;
	l->staged = ckpt_alloc(arena, snap->n_tasks * sizeof(*l->staged));
	l->n_staged = ckpt_alloc(arena, snap->n_tasks * sizeof(*l->n_staged));
	stage_shared(&m, snap);
	for (size_t i = 0; i < snap->n_tasks; i++)
		stage_task(&m, snap, snap->tasks[i]);
	l->home = m.at;
	if (m.at > l->end || l->end - m.at < HOME_LEAST)
		return ckpt_refuse(
			err, CKPT_E_NO_ROOM, -ENOMEM,
			"the largest gap in the address spaces has only %llu bytes for the restorer",
			(unsigned long long)(l->end - l->base));
	*layoutp = l;
	return 0;
}
