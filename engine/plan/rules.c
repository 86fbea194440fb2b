/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules are applied to a copy of the snapshot, before any kind is asked: an object that a rule
 * wants is of the kind "external" there.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include "engine/model/rules.h"
#include "engine/plan/planner.h"
#include "proto/external.pb-c.h"

/* The first rule that wants it, by any of those who have it open. */
static struct ckpt_rule *find_rule(struct ckpt_planner *p, const struct ckpt_object *obj)
{
	const Ckpt__External *m =
		obj->kind->message == &ckpt__external__descriptor ? (const void *)obj->msg : NULL;
	const char *kind = m ? m->kind : obj->kind->name;
	struct ckpt_rules *rules = p->opts->rules;
	bool owned = false;

	for (size_t i = 0; i < p->snap->n_tasks; i++) {
		const struct ckpt_task *task = p->snap->tasks[i];

		for (size_t j = 0; j < task->n_fds; j++) {
			struct ckpt_rule *r = NULL;

			if (task->fds[j].object != obj->id)
				continue;
			owned = true;
			r = ckpt_rules_match(rules, obj, kind, task->pid, task->fds[j].number);
			if (r)
				return r;
		}
	}
	return owned ? NULL : ckpt_rules_match(rules, obj, kind, 0, -1);
}

/* What is given keeps its flags and its position; so does a path its beginning. */
static struct ckpt_object *substitute(struct ckpt_planner *p, const struct ckpt_object *obj,
				      const struct ckpt_rule *rule)
{
	struct ckpt_object *copy = ckpt_new(p->arena, struct ckpt_object);
	Ckpt__External *m = ckpt_new(p->arena, Ckpt__External);
	int flags;

	*copy = *obj;
	if (obj->kind->message == &ckpt__external__descriptor) {
		*m = *(const Ckpt__External *)obj->msg;
	} else {
		ckpt__external__init(m);
		m->kind = (char *)obj->kind->name;
	}
	m->action = (char *)rule->action_text;
	copy->kind = ckpt_kind_find("external");
	copy->msg = &m->base;
	copy->has_content = false;
	copy->file.has_pos = false;
	flags = rule->action.act == CKPT_ACT_FD ? fcntl(rule->action.fd, F_GETFL) : -1;
	if (flags >= 0)
		copy->file.flags = (copy->file.flags & O_ACCMODE) | (flags & ~O_ACCMODE);
	return copy;
}

static void drop(struct ckpt_planner *p, struct ckpt_snapshot *snap, uint32_t id)
{
	for (size_t i = 0; i < snap->n_tasks; i++) {
		struct ckpt_task *task = ckpt_new(p->arena, struct ckpt_task);
		size_t n = 0;

		*task = *snap->tasks[i];
		task->fds = ckpt_alloc(p->arena, task->n_fds * sizeof(*task->fds));
		for (size_t j = 0; j < task->n_fds; j++)
			if (snap->tasks[i]->fds[j].object != id)
				task->fds[n++] = snap->tasks[i]->fds[j];
		task->n_fds = n;
		snap->tasks[i] = task;
	}
}

static struct ckpt_snapshot *copy_snapshot(struct ckpt_planner *p)
{
	struct ckpt_snapshot *s = ckpt_new(p->arena, struct ckpt_snapshot);

	*s = *p->snap;
	s->objects = ckpt_alloc(p->arena, s->n_objects * sizeof(*s->objects));
	memcpy(s->objects, p->snap->objects, s->n_objects * sizeof(*s->objects));
	s->tasks = ckpt_alloc(p->arena, s->n_tasks * sizeof(*s->tasks));
	memcpy(s->tasks, p->snap->tasks, s->n_tasks * sizeof(*s->tasks));
	return s;
}

static bool drops(const struct ckpt_object *obj)
{
	const Ckpt__External *m = (const void *)obj->msg;

	return obj->kind->message == &ckpt__external__descriptor && !strcmp(m->action, "drop");
}

/* Of a dump the rules have been applied by the capture. */
void ckpt_rules_apply(struct ckpt_planner *p)
{
	struct ckpt_snapshot *s = copy_snapshot(p);

	for (size_t i = 0; i < s->n_objects; i++) {
		struct ckpt_rule *rule = s->objects[i]->kind->scope == CKPT_PER_FILE &&
							 p->opts->rules ?
						 find_rule(p, s->objects[i]) :
						 NULL;

		if (rule) {
			p->plan->ruled[i + 1] = rule;
			s->objects[i] = substitute(p, s->objects[i], rule);
		}
		if (s->objects[i]->kind->scope == CKPT_PER_FILE && drops(s->objects[i]))
			drop(p, s, i + 1);
	}
	ckpt_rules_unused(p->opts->rules, "image", &p->plan->problems);
	p->plan->snap = p->snap = s;
}
