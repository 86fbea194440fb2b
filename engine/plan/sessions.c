/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions and groups: a session is inherited at the fork and left only by becoming a leader, so a
 * parent forks the children that stayed in the old session before its own setsid() and the others
 * after it. Where the leader is dead, a process with its number stands in for it until everyone has
 * come together.
 */
#include "engine/plan/planner.h"

static bool is_pid_of_task(const struct ckpt_snapshot *snap, pid_t pid)
{
	for (size_t i = 0; i < snap->n_tasks; i++)
		if (snap->tasks[i]->pid == pid)
			return true;
	return false;
}

/* Session and group that the tree got from outside: with --shell-job they become those of the
 * restore. */
static void find_outer(struct ckpt_planner *p)
{
	const struct ckpt_task *root = p->snap->tasks[0];

	if (!is_pid_of_task(p->snap, root->sid))
		p->plan->outer = root->sid;
	if (!is_pid_of_task(p->snap, root->pgid))
		p->plan->outer_group = root->pgid;
	if ((p->plan->outer || p->plan->outer_group) && !p->opts->shell_job)
		ckpt_problem_add(
			&p->plan->problems, CKPT_E_SHELL_JOB,
			"process %d (%s): it is not a session leader: session %d and group %d are a shell's",
			root->pid, root->comm, root->sid, root->pgid);
}

static bool stands_in_already(const struct ckpt_planner *p, pid_t pid, uint32_t *actorp)
{
	for (size_t i = 0; i < p->plan->n_steps; i++)
		if (p->plan->steps[i].verb == CKPT_STAND_IN && p->plan->steps[i].number == pid) {
			*actorp = p->plan->steps[i].actor;
			return true;
		}
	return false;
}

/* A stand-in of PARENT, in the dead leader's session, forks CHILD as its sibling. */
static void plan_orphan(struct ckpt_planner *p, const struct ckpt_task *parent,
			const struct ckpt_task *child)
{
	uint32_t actor = parent->id;

	if (child->shares)
		ckpt_problem_add(&p->plan->problems, CKPT_E_SHARED_STATE,
				 "process %d (%s): what it shares with its parent %d cannot be had "
				 "in the session of a dead leader",
				 child->pid, child->comm, parent->pid);
	if (is_pid_of_task(p->snap, child->sid) ||
	    (stands_in_already(p, child->sid, &actor) && actor != parent->id)) {
		ckpt_problem_add(&p->plan->problems, CKPT_E_TASK_STATE,
				 "process %d (%s): its session %d cannot be had from its parent %d",
				 child->pid, child->comm, child->sid, parent->pid);
		return;
	}
	if (!stands_in_already(p, child->sid, &actor))
		ckpt_planner_step(p, CKPT_STAND_IN, parent->id, 1, child->sid, false);
}

static void plan_control(struct ckpt_planner *p, const struct ckpt_task *task)
{
	for (size_t i = 0; i < task->n_state; i++)
		if (task->state[i]->kind->control)
			ckpt_planner_step(p, CKPT_CONTROL, task->id, task->state[i]->id, -1, false);
}

/* BORN: the session in which each task is forked. */
static void plan_task(struct ckpt_planner *p, const struct ckpt_task *task, pid_t *born)
{
	const struct ckpt_snapshot *snap = p->snap;
	bool leads = task->sid == task->pid;

	for (int after = 0; after <= (leads ? 1 : 0); after++) {
		for (size_t i = task->id; i < snap->n_tasks; i++) {
			const struct ckpt_task *child = snap->tasks[i];
			bool leaves = child->sid == child->pid;
			bool goes_after = leads && (leaves || child->sid == task->sid);

			if (child->parent != task->id || goes_after != after)
				continue;
			born[i] = after ? task->sid : born[task->id - 1];
			if (leaves || child->sid == born[i]) {
				ckpt_planner_step(p, CKPT_FORK, task->id, child->id, -1, false);
			} else {
				born[i] = child->sid;
				plan_orphan(p, task, child);
			}
		}
		if (leads && !after) {
			ckpt_planner_step(p, CKPT_SESSION, task->id, 0, -1, false);
			plan_control(p, task);
			for (uint32_t id = 1; id <= snap->n_objects; id++)
				if (p->by_task[id] && snap->objects[id - 1]->task == task->id)
					ckpt_planner_step(p, CKPT_CREATE, task->id, id, -1, false);
		}
	}
}

static void plan_group(struct ckpt_planner *p, const struct ckpt_task *task)
{
	const struct ckpt_snapshot *snap = p->snap;
	uint32_t actor;

	if (task->pgid == task->pid) {
		if (task->sid != task->pid)
			ckpt_planner_step(p, CKPT_LEAD, task->id, 0, -1, false);
		return;
	}
	if (task->pgid == (pid_t)p->plan->outer_group) {
		ckpt_planner_step(p, CKPT_GROUP, task->id, 0, -1, false);
		return;
	}
	if (!is_pid_of_task(snap, task->pgid) && !stands_in_already(p, task->pgid, &actor))
		ckpt_planner_step(p, CKPT_STAND_IN, task->id, 0, task->pgid, false);
	ckpt_planner_step(p, CKPT_GROUP, task->id, 0, task->pgid, false);
}

void ckpt_plan_sessions(struct ckpt_planner *p)
{
	const struct ckpt_snapshot *snap = p->snap;
	pid_t *born = ckpt_alloc(p->arena, snap->n_tasks * sizeof(*born));

	find_outer(p);
	born[0] = p->plan->outer ? (pid_t)p->plan->outer : snap->tasks[0]->sid;
	for (size_t i = 0; i < snap->n_tasks; i++)
		plan_task(p, snap->tasks[i], born);
	for (size_t i = 0; i < snap->n_tasks; i++)
		plan_group(p, snap->tasks[i]);
}
