/* SPDX-License-Identifier: Apache-2.0 */
/* The order in which objects are made: what one needs comes first, ties by id, so that plans are
 * stable. */
#include <string.h>
#include "engine/plan/planner.h"

/* What an object waits for: the objects it needs; those stand for their makers. */
static uint32_t maker_of(const struct ckpt_planner *p, uint32_t object)
{
	return p->comes_with[object] ? p->comes_with[object] : object;
}

static bool is_made(const struct ckpt_planner *p, uint32_t object)
{
	const struct ckpt_object *o = p->snap->objects[object - 1];

	return o->kind->scope == CKPT_PER_FILE && o->kind->create && !p->comes_with[object];
}

static void count_needs(const struct ckpt_planner *p, uint32_t *waits)
{
	for (size_t i = 0; i < p->n_needs; i++) {
		uint32_t a = maker_of(p, p->needs[i].object), b = maker_of(p, p->needs[i].before);

		if (a != b)
			waits[a]++;
	}
}

static void release(const struct ckpt_planner *p, uint32_t *waits, uint32_t done)
{
	for (size_t i = 0; i < p->n_needs; i++) {
		uint32_t a = maker_of(p, p->needs[i].object), b = maker_of(p, p->needs[i].before);

		if (a != b && b == done)
			waits[a]--;
	}
}

static void report_cycle(struct ckpt_planner *p, const bool *placed)
{
	for (uint32_t id = 1; id <= p->snap->n_objects; id++)
		if (is_made(p, id) && !placed[id])
			ckpt_problem_add(&p->plan->problems, CKPT_E_IMAGE_DAMAGED,
					 "%s %u: needs itself through other objects",
					 p->snap->objects[id - 1]->kind->name, id);
}

void ckpt_order_objects(struct ckpt_planner *p)
{
	size_t n = p->snap->n_objects;
	uint32_t *waits = ckpt_alloc(p->arena, (n + 1) * sizeof(*waits));
	bool *placed = ckpt_alloc(p->arena, n + 1), left = false, moved = true;

	count_needs(p, waits);
	while (moved) {
		moved = left = false;
		for (uint32_t id = 1; id <= n; id++) {
			if (placed[id] || !is_made(p, id))
				continue;
			if (waits[id]) {
				left = true;
				continue;
			}
			placed[id] = moved = true;
			/* Else after the task's setsid(): sessions.c; or last of all: plan.c. */
			if (!p->by_task[id] && !p->last[id])
				ckpt_planner_step(p, CKPT_CREATE, 0, id, -1, false);
			release(p, waits, id);
		}
		if (!left)
			break;
	}
	if (left)
		report_cycle(p, placed);
	for (uint32_t id = 1; id <= n; id++)
		if (p->snap->objects[id - 1]->kind->scope == CKPT_PER_FILE &&
		    p->snap->objects[id - 1]->kind->link)
			ckpt_planner_step(p, CKPT_LINK,
					  p->by_task[id] ? p->snap->objects[id - 1]->task : 0, id,
					  -1, false);
}
