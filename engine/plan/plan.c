/* SPDX-License-Identifier: Apache-2.0 */
/* Asks every kind, orders what they say, lays out memory, builds the programs, and keeps every
 * problem. */
#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include "engine/memory/layout.h"
#include "engine/plan/lazy.h"
#include "engine/plan/planner.h"
#include "engine/plan/program.h"

void ckpt_planner_step(struct ckpt_planner *p, enum ckpt_verb verb, uint32_t actor, uint32_t object,
		       int number, bool cloexec)
{
	struct ckpt_plan *plan = p->plan;

	plan->steps = ckpt_grow(p->arena, plan->steps, plan->n_steps, &p->steps_room, 256,
				sizeof(*plan->steps));
	plan->steps[plan->n_steps++] = (struct ckpt_step){ verb, actor, object, number, cloexec };
}

const struct ckpt_snapshot *ckpt_planner_snapshot(struct ckpt_planner *p)
{
	return p->snap;
}

const struct ckpt_host *ckpt_planner_host(struct ckpt_planner *p)
{
	return p->host;
}

const struct ckpt_restore_opts *ckpt_planner_opts(struct ckpt_planner *p)
{
	static const struct ckpt_restore_opts none;

	return p->opts ? p->opts : &none;
}

const struct ckpt_object *ckpt_snapshot_object(const struct ckpt_snapshot *snap, uint32_t id)
{
	return id && id <= snap->n_objects ? snap->objects[id - 1] : NULL;
}

const struct ckpt_task *ckpt_snapshot_task(const struct ckpt_snapshot *snap, uint32_t id)
{
	return id && id <= snap->n_tasks ? snap->tasks[id - 1] : NULL;
}

bool ckpt_snapshot_shares(const struct ckpt_snapshot *snap, const struct ckpt_task *task,
			  uint32_t flag)
{
	bool any = task->shares & flag;

	for (size_t i = task->id; i < snap->n_tasks; i++)
		any |= snap->tasks[i]->parent == task->id && (snap->tasks[i]->shares & flag);
	return any;
}

void ckpt_needs(struct ckpt_planner *p, uint32_t object)
{
	if (!ckpt_snapshot_object(p->snap, object)) {
		ckpt_problem(p, CKPT_E_IMAGE_DAMAGED, "%s %u: needs object %u, which there is not",
			     p->obj->kind->name, p->obj->id, object);
		return;
	}
	p->needs = ckpt_grow(p->arena, p->needs, p->n_needs, &p->needs_room, 64, sizeof(*p->needs));
	p->needs[p->n_needs++] = (struct ckpt_need){ p->obj->id, object };
}

void ckpt_comes_with(struct ckpt_planner *p, uint32_t maker)
{
	const struct ckpt_object *o = ckpt_snapshot_object(p->snap, maker);

	if (!o || maker == p->obj->id || o->kind->scope != CKPT_PER_FILE || p->comes_with[maker])
		ckpt_problem(p, CKPT_E_IMAGE_DAMAGED, "%s %u: cannot come with object %u",
			     p->obj->kind->name, p->obj->id, maker);
	else
		p->comes_with[p->obj->id] = maker;
}

void ckpt_made_by_task(struct ckpt_planner *p)
{
	p->by_task[p->obj->id] = true;
}

void ckpt_made_last(struct ckpt_planner *p)
{
	if (!p->obj->task)
		ckpt_problem(p, CKPT_E_IMAGE_DAMAGED, "%s %u: no process has it open",
			     p->obj->kind->name, p->obj->id);
	else
		p->last[p->obj->id] = true;
}

void ckpt_keeps_other(struct ckpt_planner *p)
{
	p->keeps[p->obj->id] = true;
}

void ckpt_sends(struct ckpt_planner *p, uint32_t object)
{
	const struct ckpt_object *o = ckpt_snapshot_object(p->snap, object);

	if (!o || o->kind->scope != CKPT_PER_FILE)
		ckpt_problem(p, CKPT_E_IMAGE_DAMAGED, "%s %u: cannot send object %u",
			     p->obj->kind->name, p->obj->id, object);
	else
		p->sent[object] = true;
}

void ckpt_wants_ipc_namespace(struct ckpt_planner *p)
{
	p->plan->ipc_namespace = true;
}

void ckpt_content_unused(struct ckpt_planner *p)
{
	p->plan->content_unused[p->obj->id] = true;
}

void ckpt_problem(struct ckpt_planner *p, enum ckpt_code number, const char *fmt, ...)
{
	char text[900];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	ckpt_problem_add(&p->plan->problems, number, "%s", text);
}

void ckpt_loss(struct ckpt_planner *p, const char *fmt, ...)
{
	struct ckpt_plan *plan = p->plan;
	char text[900];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (size_t i = 0; i < plan->n_losses; i++)
		if (!strcmp(plan->losses[i], text))
			return;
	plan->losses = ckpt_grow(p->arena, plan->losses, plan->n_losses, &p->losses_room, 16,
				 sizeof(*plan->losses));
	plan->losses[plan->n_losses++] = ckpt_strdup(p->arena, text);
}

static void late(struct ckpt_planner *p, enum ckpt_when when, uint32_t flags, long nr,
		 const int64_t arg[6], int64_t want)
{
	struct ckpt_sv_call call = { .nr = nr, .flags = flags, .want = want };

	if (!p->program)
		return;
	memcpy(call.arg, arg, sizeof(call.arg));
	ckpt_program_call(p->program, p->thread, when, &call);
}

void ckpt_call_late(struct ckpt_planner *p, enum ckpt_when when, long nr, const int64_t arg[6])
{
	late(p, when, 0, nr, arg, 0);
}

void ckpt_call_late_want(struct ckpt_planner *p, enum ckpt_when when, long nr, const int64_t arg[6],
			 int64_t want)
{
	late(p, when, CKPT_SV_EQUAL, nr, arg, want);
}

int64_t ckpt_late_data(struct ckpt_planner *p, const void *data, size_t size)
{
	return p->program ? (int64_t)ckpt_program_data(p->program, data, size) : 0;
}

void ckpt_leader_first(struct ckpt_planner *p, enum ckpt_when when)
{
	struct ckpt_sv_call call = { .flags = p->thread ? CKPT_SV_AWAIT : CKPT_SV_ARRIVE };

	if (!p->program)
		return;
	call.arg[0] = ckpt_program_leader_word(p->program);
	call.arg[1] = 1;
	ckpt_program_call(p->program, p->thread, when, &call);
}

/* An error is a problem among the others. What no dump writes comes of a damaged image. */
static void add_problem(struct ckpt_planner *p, struct ckpt_err *err)
{
	if (err->code == -EBADMSG && !err->number)
		err->number = CKPT_E_IMAGE_DAMAGED;
	ckpt_problem_add_err(&p->plan->problems, err);
}

static void ask(struct ckpt_planner *p, const struct ckpt_object *obj)
{
	struct ckpt_err err = CKPT_ERR_INIT;

	if (!obj->kind->plan)
		return;
	p->obj = obj;
	if (obj->kind->plan(p, obj, &err) < 0)
		add_problem(p, &err);
}

static void ask_files(struct ckpt_planner *p)
{
	for (size_t i = 0; i < p->snap->n_objects; i++) {
		const struct ckpt_kind *kind = p->snap->objects[i]->kind;

		if (kind->scope == CKPT_PER_FILE || kind->scope == CKPT_PER_TREE)
			ask(p, p->snap->objects[i]);
	}
}

/* When all have said how they are made. */
static void check_sent(struct ckpt_planner *p)
{
	for (uint32_t id = 1; id <= p->snap->n_objects; id++) {
		const struct ckpt_object *o = p->snap->objects[id - 1];
		uint32_t maker = p->comes_with[id] ? p->comes_with[id] : id;

		if (p->sent[id] && (p->by_task[maker] || p->last[maker] || o->kind->late))
			ckpt_problem_add(
				&p->plan->problems, CKPT_E_IN_FLIGHT,
				"%s (%s): it is in the queue of a socket (SCM_RIGHTS), and can only be "
				"made by a process",
				o->file.link ? o->file.link : "a file", o->kind->name);
	}
}

/* By the name of the kind, so that e.g. dumpable (prctl) comes after the ids (creds). */
static void ask_thread(struct ckpt_planner *p, const struct ckpt_task *task, size_t thread)
{
	const struct ckpt_thread *t = &task->threads[thread];
	size_t i = 0, k = 0, n_task = thread == 0 ? task->n_state : 0;

	p->thread = thread;
	while (i < n_task || k < t->n_state) {
		const struct ckpt_object *a = i < n_task ? task->state[i] : NULL;
		const struct ckpt_object *b = k < t->n_state ? t->state[k] : NULL;

		if (a && (!b || strcmp(a->kind->name, b->kind->name) < 0))
			ask(p, a), i++;
		else
			ask(p, b), k++;
	}
}

static void ask_late(struct ckpt_planner *p, const struct ckpt_task *task)
{
	struct ckpt_err err = CKPT_ERR_INIT;

	p->thread = 0;
	for (size_t i = 0; i < p->snap->n_objects; i++) {
		p->obj = p->snap->objects[i];
		if (p->obj->kind->scope == CKPT_PER_FILE && p->obj->kind->late &&
		    p->obj->task == task->id && p->obj->kind->late(p, p->obj, &err) < 0)
			add_problem(p, &err);
	}
}

static void plan_task(struct ckpt_planner *p, const struct ckpt_task *task)
{
	struct ckpt_err err = CKPT_ERR_INIT;

	p->program = NULL;
	if (p->host && ckpt_program_open(&p->program, p, task, &err) < 0) {
		ckpt_in(&err, err.code, "process %d", task->pid);
		add_problem(p, &err);
		p->program = NULL;
	}
	for (size_t i = 0; i < task->n_threads; i++)
		ask_thread(p, task, i);
	ask_late(p, task);
	if (p->program)
		p->plan->programs[task->id - 1] = ckpt_program_close(p->program);
	p->program = NULL;
}

/* The files that are made when all processes exist: by the first task that has them. */
static void plan_last_files(struct ckpt_planner *p, const struct ckpt_task *task)
{
	bool *seen = ckpt_alloc(p->arena, p->snap->n_objects + 1);

	for (size_t i = 0; i < task->n_fds; i++) {
		uint32_t id = task->fds[i].object, maker = p->snap->objects[id - 1]->task;

		if (!p->last[id] || seen[id])
			continue;
		seen[id] = true;
		if (maker == task->id)
			ckpt_planner_step(p, CKPT_MAKE, task->id, id, -1, false);
		else
			ckpt_planner_step(p, CKPT_FETCH, task->id, id,
					  p->snap->tasks[maker - 1]->pid, false);
		p->plan->has_last = true;
	}
}

static void plan_steps_of_task(struct ckpt_planner *p, const struct ckpt_task *task)
{
	bool has = !(task->shares & CLONE_FILES); /* else its parent does it */

	if (has)
		plan_last_files(p, task);
	for (size_t i = 0; has && i < task->n_fds; i++)
		ckpt_planner_step(p, CKPT_INSTALL, task->id, task->fds[i].object,
				  task->fds[i].number, task->fds[i].cloexec);
	for (size_t i = 0; i < p->snap->n_objects; i++) {
		const struct ckpt_object *o = p->snap->objects[i];

		if (o->kind->scope == CKPT_PER_FILE && o->task == task->id && o->kind->attach)
			ckpt_planner_step(p, CKPT_ATTACH, task->id, o->id, -1, false);
	}
	for (size_t i = 0; i < task->n_state; i++)
		if (task->state[i]->kind->attach)
			ckpt_planner_step(p, CKPT_ATTACH, task->id, task->state[i]->id, -1, false);
	if (task->run_state != CKPT_ZOMBIE)
		ckpt_planner_step(p, CKPT_ENTER, task->id, 0, -1, false);
}

/* Problems that lie in the meeting of image and machine and are nobody's kind. */
static void check_host(struct ckpt_planner *p)
{
	const struct ckpt_snapshot *snap = p->snap;
	const struct ckpt_host *host = p->host;
	uint64_t missing = snap->inventory->xfeatures & ~host->xfeatures;

	for (size_t i = 0; i < snap->n_tasks; i++) {
		if (host->box && snap->tasks[i]->pid == 1)
			ckpt_problem_add(
				&p->plan->problems, CKPT_E_PID_TAKEN,
				"process 1 of the image cannot be restored in a pid namespace of ckpt's own");
		if (!host->box && host->pid_taken[i])
			ckpt_problem_add(
				&p->plan->problems, CKPT_E_PID_TAKEN,
				"process %d (%s): its number, or that of a thread, group or session of it, is taken",
				snap->tasks[i]->pid, snap->tasks[i]->comm);
	}
	if (missing)
		ckpt_problem_add(
			&p->plan->problems, CKPT_E_CPU_FEATURE,
			"the image holds processor state (XSAVE components %#llx) that this processor has not",
			(unsigned long long)missing);
	if (host->box)
		ckpt_loss(
			p,
			"pids may not be chosen here: restored in a user and pid namespace of its own");
}

int ckpt_plan_make(struct ckpt_plan **planp, struct ckpt_arena *arena,
		   const struct ckpt_snapshot *snap, const struct ckpt_host *host,
		   const struct ckpt_restore_opts *opts, struct ckpt_err *err)
{
	struct ckpt_plan *plan = ckpt_new(arena, struct ckpt_plan);
	struct ckpt_planner p = { .arena = arena,
				  .snap = snap,
				  .host = host,
				  .opts = opts,
				  .plan = plan };
	int r;

	plan->snap = snap;
	plan->opts = opts;
	plan->lazy = opts->lazy;
	plan->problems.arena = arena;
	plan->programs = ckpt_alloc(arena, snap->n_tasks * sizeof(*plan->programs));
	p.comes_with = ckpt_alloc(arena, (snap->n_objects + 1) * sizeof(*p.comes_with));
	plan->content_unused = ckpt_alloc(arena, snap->n_objects + 1);
	p.by_task = ckpt_alloc(arena, snap->n_objects + 1);
	p.keeps = ckpt_alloc(arena, snap->n_objects + 1);
	p.sent = ckpt_alloc(arena, snap->n_objects + 1);
	p.last = ckpt_alloc(arena, snap->n_objects + 1);
	plan->ruled = ckpt_alloc(arena, (snap->n_objects + 1) * sizeof(*plan->ruled));
	ckpt_rules_apply(&p);
	snap = p.snap;
	ask_files(&p);
	check_sent(&p);
	ckpt_order_objects(&p);
	ckpt_plan_sessions(&p);
	if (host) {
		check_host(&p);
		ckpt_plan_clock(&p);
		ckpt_plan_huge(&p);
		plan->lazy = ckpt_lazy_choose(&p);
		r = ckpt_plan_bank(&p, err);
		if (r >= 0)
			r = ckpt_layout_make(&plan->layout, arena, snap, host, err);
		if (r < 0)
			ckpt_problem_add_err(&plan->problems, err);
		else
			ckpt_plan_lazy(&p);
		if (r < 0)
			p.host = NULL;
	}
	for (size_t i = 0; i < snap->n_tasks; i++) {
		if (snap->tasks[i]->run_state != CKPT_ZOMBIE)
			plan_task(&p, snap->tasks[i]);
		else if (WCOREDUMP(snap->tasks[i]->exit_status))
			ckpt_loss(
				&p,
				"process %d (%s): ended with a core file, which its status will not tell any more",
				snap->tasks[i]->pid, snap->tasks[i]->comm);
		plan_steps_of_task(&p, snap->tasks[i]);
	}
	*planp = plan;
	return 0;
}
