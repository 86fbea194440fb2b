/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Only private anonymous memory comes later, and not that which has to be in place (locked), is
 * shared copy-on-write with children, or grows by faults. Where it is mapped from the image it must
 * be content with what can be said of a mapped file, too.
 */
#include <linux/capability.h>
#include <string.h>
#include <sys/mman.h>
#include "engine/memory/layout.h"
#include "engine/plan/host.h"
#include "engine/plan/lazy.h"

#define LEAST_PAGES 64u    /* of an area, to be worth it */
#define FILL_LEAST 512u    /* of a tree */
#define FILL_TASKS 256u    /* each takes a descriptor */
#define MAP_LEAST 16u      /* of a run */
#define MAPPINGS_MAX 8192u /* of a task: the kernel allows 65530 */

static bool suits(const struct ckpt_plan *plan, const Ckpt__Area *a)
{
	uint32_t no = CKPT__AREA__FLAG__GROWS_DOWN | CKPT__AREA__FLAG__LOCKED |
		      CKPT__AREA__FLAG__LOCK_ON_FAULT | CKPT__AREA__FLAG__WIPE_ON_FORK |
		      CKPT__AREA__FLAG__SHARED_ANON | CKPT__AREA__FLAG__VDSO |
		      CKPT__AREA__FLAG__DROPPABLE;

	if (a->shared || a->file || a->huge_shift || a->flags & no)
		return false;
	/* Who reads gets its huge pages back at once. */
	if (plan->lazy == CKPT_LAZY_FILL && a->flags & CKPT__AREA__FLAG__HUGE)
		return false;
	/* A mapped file has no name of its own, and its folder may forbid execution. */
	return plan->lazy != CKPT_LAZY_MAP ||
	       (!(a->prot & PROT_EXEC) && !(a->name && !strncmp(a->name, "[anon:", 6)));
}

static bool is_guarded(const Ckpt__Mm *mm, const Ckpt__Area *a)
{
	for (size_t i = 0; i + 1 < mm->n_guards; i += 2)
		if (mm->guards[i] < a->end && mm->guards[i + 1] > a->start)
			return true;
	return false;
}

bool ckpt_lazy_area(const struct ckpt_plan *plan, const struct ckpt_task *task, size_t i)
{
	const Ckpt__Area *a = task->mm->areas[i];
	struct ckpt_pages runs;
	uint64_t n = 0;

	if (!plan->lazy || !suits(plan, a) || is_guarded(task->mm, a) ||
	    ckpt_layout_staged(plan->layout, task, i))
		return false;
	runs = ckpt_pages_between(&task->pages, a->start, a->end);
	for (size_t k = 0; k < runs.n; k++)
		n += runs.run[k].n_pages;
	return n >= LEAST_PAGES;
}

bool ckpt_lazy_run(const struct ckpt_plan *plan, const struct ckpt_task *task,
		   const struct ckpt_run *run)
{
	return run->n_pages >= plan->lazy_least[task->id - 1];
}

void ckpt_lazy_each(const struct ckpt_plan *plan, const struct ckpt_task *task,
		    void (*see)(void *arg, const struct ckpt_run *run), void *arg)
{
	for (size_t i = 0; task->mm && i < task->mm->n_areas; i++) {
		const Ckpt__Area *a = task->mm->areas[i];
		struct ckpt_pages runs;

		if (!ckpt_lazy_area(plan, task, i))
			continue;
		runs = ckpt_pages_between(&task->pages, a->start, a->end);
		for (size_t k = 0; k < runs.n; k++)
			if (ckpt_lazy_run(plan, task, &runs.run[k]))
				see(arg, &runs.run[k]);
	}
}

static void count(void *arg, const struct ckpt_run *run)
{
	size_t *n = arg;

	*n += run->n_pages > 0;
}

static size_t count_runs(const struct ckpt_plan *plan, const struct ckpt_task *task)
{
	size_t n = 0;

	ckpt_lazy_each(plan, task, count, &n);
	return n;
}

bool ckpt_lazy_task(const struct ckpt_plan *plan, const struct ckpt_task *task)
{
	return plan->lazy && count_runs(plan, task) > 0;
}

/* Pages that are copied into a process take the kernel half the time of those that it reads. */
enum ckpt_lazy ckpt_lazy_choose(const struct ckpt_planner *p)
{
	uint64_t n = 0;

	if (p->opts->lazy || !p->host->can_fill || p->snap->n_tasks > FILL_TASKS)
		return p->opts->lazy;
	for (size_t i = 0; i < p->snap->n_tasks; i++) {
		const struct ckpt_pages *pages = &p->snap->tasks[i]->pages;

		for (size_t k = 0; k < pages->n && n < FILL_LEAST; k++)
			n += pages->run[k].n_pages;
	}
	return n < FILL_LEAST ? CKPT_LAZY_NOT : CKPT_LAZY_FILL;
}

static void may_serve(struct ckpt_planner *p)
{
	if (!ckpt_host_has_init_cap(p->host, CAP_SYS_PTRACE))
		ckpt_problem_add(
			&p->plan->problems, CKPT_E_LAZY_PRIVILEGE,
			"--lazy: only root can be told of page faults in system calls and of forks (userfaultfd(2), CAP_SYS_PTRACE)");
}

void ckpt_plan_lazy(struct ckpt_planner *p)
{
	struct ckpt_plan *plan = p->plan;
	bool map = plan->lazy == CKPT_LAZY_MAP, any = false;

	plan->lazy_least = ckpt_alloc(p->arena, p->snap->n_tasks * sizeof(*plan->lazy_least));
	if (plan->lazy == CKPT_LAZY_SERVE)
		may_serve(p);
	for (size_t i = 0; plan->lazy && i < p->snap->n_tasks; i++) {
		uint64_t *least = &plan->lazy_least[i];

		*least = map ? MAP_LEAST : 1;
		while (map && count_runs(plan, p->snap->tasks[i]) > MAPPINGS_MAX)
			*least *= 2;
		any |= ckpt_lazy_task(plan, p->snap->tasks[i]);
	}
	if (map && any)
		ckpt_loss(p, "memory is mapped from the image, which must stay as it is; what the "
			     "program gives back with madvise(MADV_DONTNEED) or lets grow with "
			     "mremap(2) shows the image there and not zeroes");
}

static void mark(bool *needed, size_t n, size_t chunk, const struct ckpt_run *run)
{
	uint64_t end = run->offset + run->n_pages * CKPT_PAGE;

	for (uint64_t c = run->offset / chunk; c < n && c * chunk < end; c++)
		needed[c] = true;
}

static void mark_task(bool *needed, size_t n, size_t chunk, const struct ckpt_plan *plan,
		      const struct ckpt_task *task, bool all)
{
	for (size_t i = 0; task->mm && i < task->mm->n_areas; i++) {
		const Ckpt__Area *a = task->mm->areas[i];
		struct ckpt_pages runs = ckpt_pages_between(&task->pages, a->start, a->end);
		bool lazy = !all && ckpt_lazy_area(plan, task, i);

		for (size_t k = 0; k < runs.n; k++)
			if (!lazy || !ckpt_lazy_run(plan, task, &runs.run[k]))
				mark(needed, n, chunk, &runs.run[k]);
	}
}

bool *ckpt_lazy_needed_chunks(const struct ckpt_plan *plan, struct ckpt_arena *arena, size_t n,
			      size_t chunk, bool filled)
{
	bool all = filled && plan->lazy == CKPT_LAZY_FILL;
	const struct ckpt_snapshot *snap = plan->snap;
	bool *needed = ckpt_alloc(arena, n + 1);

	for (size_t i = 0; i < snap->n_tasks; i++)
		mark_task(needed, n, chunk, plan, snap->tasks[i], all);
	for (size_t i = 0; i < snap->n_objects; i++)
		for (size_t k = 0; k < snap->objects[i]->content.n; k++)
			mark(needed, n, chunk, &snap->objects[i]->content.run[k]);
	return needed;
}
