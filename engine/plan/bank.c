/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects wait in the bank until they are installed: descriptors with numbers that no task of the
 * snapshot uses, so that installing one never covers another. They lie above all that are used,
 * with room for our own in between, but not far above: every fork copies, and close_range(2) walks,
 * as many as the highest one says.
 */
#include <errno.h>
#include "engine/plan/planner.h"

#define MAX_BANK (1u << 20)
#define LOWEST 64 /* below are this process' own descriptors */
#define ROOM 1024 /* for more of those, besides some for each object and task */
#define ROOM_EACH 8

/* Where numbers begin to be taken, downwards: as many as can be wanted are free below. */
static int highest(const struct ckpt_planner *p, uint64_t limit)
{
	const struct ckpt_snapshot *snap = p->snap;
	uint64_t top = 0;

	for (size_t t = 0; t < snap->n_tasks; t++)
		for (size_t i = 0; i < snap->tasks[t]->n_fds; i++)
			if (snap->tasks[t]->fds[i].number > (int64_t)top)
				top = snap->tasks[t]->fds[i].number;
	for (size_t i = 0; p->opts->rules && i < p->opts->rules->n; i++)
		if (p->opts->rules->v[i].action.fd > (int64_t)top)
			top = p->opts->rules->v[i].action.fd;
	top += ROOM + ROOM_EACH * (uint64_t)(snap->n_objects + snap->n_tasks + snap->n_parts);
	return (top < limit ? top : limit) - 1;
}

static bool *used_numbers(struct ckpt_planner *p, int top)
{
	bool *used = ckpt_alloc(p->arena, top + 1);

	for (size_t t = 0; t < p->snap->n_tasks; t++)
		for (size_t i = 0; i < p->snap->tasks[t]->n_fds; i++)
			if (p->snap->tasks[t]->fds[i].number <= top)
				used[p->snap->tasks[t]->fds[i].number] = true;
	/* Nor those that rules give away. */
	for (size_t i = 0; p->opts->rules && i < p->opts->rules->n; i++)
		if (p->opts->rules->v[i].action.fd >= 0 && p->opts->rules->v[i].action.fd <= top)
			used[p->opts->rules->v[i].action.fd] = true;
	return used;
}

/* The next number downwards from *ATP that is free; -1: there is none. */
static int take_number(const bool *used, int *atp)
{
	while (*atp >= LOWEST && used[*atp])
		--*atp;
	return *atp >= LOWEST ? (*atp)-- : -1;
}

/* The pages files of a chain of images; the last one is that of the image itself. */
static bool plan_pages(struct ckpt_planner *p, const bool *used, int *atp)
{
	const struct ckpt_snapshot *snap = p->snap;
	size_t n = snap->n_parts ? snap->n_parts : 1;
	struct ckpt_pages_part *part = ckpt_alloc(p->arena, n * sizeof(*part));
	bool fits = true;

	for (size_t i = 0; i < n; i++) {
		part[i].base = snap->n_parts ? snap->parts[i].base : 0;
		part[i].fd = i + 1 < n ? take_number(used, atp) : p->plan->bank[0];
		fits &= part[i].fd >= 0;
	}
	p->plan->pages = part;
	p->plan->n_pages = n;
	return fits;
}

/* As if they were objects: what tasks that are filled need until they leave this program. */
static void number_lazy(struct ckpt_planner *p, const bool *used, int at)
{
	struct ckpt_plan *plan = p->plan;

	plan->uffd = ckpt_alloc(p->arena, p->snap->n_tasks * sizeof(*plan->uffd));
	plan->lazy_channel = take_number(used, &at);
	for (size_t i = 0; i < p->snap->n_tasks; i++)
		plan->uffd[i] = take_number(used, &at);
}

static bool give_numbers(struct ckpt_planner *p, int at, int *bank, int *spare)
{
	bool *used = used_numbers(p, at), fits = true;

	for (size_t id = 0; id <= p->snap->n_objects; id++) {
		bank[id] = spare[id] = -1;
		if (id && (p->snap->objects[id - 1]->kind->scope != CKPT_PER_FILE ||
			   !p->snap->objects[id - 1]->kind->create))
			continue;
		bank[id] = take_number(used, &at);
		if (p->keeps[id])
			spare[id] = take_number(used, &at);
		fits &= bank[id] >= 0 && (!p->keeps[id] || spare[id] >= 0);
	}
	fits &= plan_pages(p, used, &at);
	if (p->plan->lazy == CKPT_LAZY_SERVE || p->plan->lazy == CKPT_LAZY_FILL)
		number_lazy(p, used, at);
	if (p->plan->lazy == CKPT_LAZY_FILL && p->plan->uffd[p->snap->n_tasks - 1] < 0)
		p->plan->lazy = CKPT_LAZY_NOT;
	return fits;
}

int ckpt_plan_bank(struct ckpt_planner *p, struct ckpt_err *err)
{
	uint64_t limit = p->host->limits[RLIMIT_NOFILE].rlim_max;
	int at = highest(p, limit < MAX_BANK ? limit : MAX_BANK);
	int *bank = ckpt_alloc(p->arena, (p->snap->n_objects + 1) * sizeof(*bank));
	int *spare = ckpt_alloc(p->arena, (p->snap->n_objects + 1) * sizeof(*spare));

	for (size_t t = 0; t < p->snap->n_tasks; t++) {
		const struct ckpt_task *task = p->snap->tasks[t];

		if (task->n_fds && (uint64_t)task->fds[task->n_fds - 1].number >= limit)
			return ckpt_refuse(
				err, CKPT_E_PRIVILEGE, -EMFILE,
				"process %d: descriptor %d is above the limit here, %llu (RLIMIT_NOFILE)",
				task->pid, task->fds[task->n_fds - 1].number,
				(unsigned long long)limit);
	}
	p->plan->bank = bank;
	p->plan->spare = spare;
	if (!give_numbers(p, at, bank, spare))
		return ckpt_refuse(
			err, CKPT_E_PRIVILEGE, -EMFILE,
			"the %zu open files of the image do not fit twice below %llu (RLIMIT_NOFILE)",
			p->snap->n_objects, (unsigned long long)limit);
	return 0;
}
