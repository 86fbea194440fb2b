/* SPDX-License-Identifier: Apache-2.0 */
/* What plan() of a kind talks to; private to engine/plan. */
#pragma once
#include "engine/base/arena.h"
#include "engine/base/problems.h"
#include "engine/plan/host.h"
#include "engine/plan/plan.h"

struct ckpt_program_builder;

struct ckpt_need {
	uint32_t object, before; /* BEFORE is created before OBJECT */
};

struct ckpt_planner {
	struct ckpt_arena *arena;
	const struct ckpt_snapshot *snap;
	const struct ckpt_host *host;
	const struct ckpt_restore_opts *opts;
	struct ckpt_plan *plan;
	const struct ckpt_object *obj; /* whose plan() runs */
	struct ckpt_need *needs;
	size_t n_needs, needs_room;
	uint32_t *comes_with; /* by object id: its maker, 0: none */
	bool *by_task;        /* by object id: made in the owning task */
	bool *keeps;          /* by object id: its create() keeps another descriptor */
	bool *sent;           /* by object id: it is in a queue */
	bool *last;           /* by object id: the same, when all processes exist */
	struct ckpt_program_builder *program; /* of the task that is planned; NULL: calls are only
						 checked */
	uint32_t thread;                      /* index of the thread that is planned */
	uint64_t huge[41];                    /* bytes of files, by shift */
	size_t losses_room, steps_room;
};

void ckpt_planner_step(struct ckpt_planner *p, enum ckpt_verb verb, uint32_t actor, uint32_t object,
		       int number, bool cloexec);
/* rules.c: what the user wants different; before any kind is asked. */
void ckpt_rules_apply(struct ckpt_planner *p);
/* order.c: CREATE and LINK steps of the builder, each after what it needs; a cycle is a problem. */
void ckpt_order_objects(struct ckpt_planner *p);
/* sessions.c: FORK steps: who forks whom, and what cannot be had that way. */
void ckpt_plan_sessions(struct ckpt_planner *p);
/* memory-settings.c: enough huge pages for all tasks? */
void ckpt_plan_huge(struct ckpt_planner *p);
/* clock.c */
void ckpt_plan_clock(struct ckpt_planner *p);
/* bank.c: a descriptor number for each object that no task uses. */
int ckpt_plan_bank(struct ckpt_planner *p, struct ckpt_err *err);

/* program.c */
int ckpt_program_open(struct ckpt_program_builder **bp, struct ckpt_planner *p,
		      const struct ckpt_task *task, struct ckpt_err *err);
void ckpt_program_call(struct ckpt_program_builder *b, uint32_t thread, enum ckpt_when when,
		       const struct ckpt_sv_call *call);
uint64_t ckpt_program_data(struct ckpt_program_builder *b, const void *data, size_t size);
/* Address of a word of the task that is 0 until its leader arrives there. */
uint64_t ckpt_program_leader_word(struct ckpt_program_builder *b);
struct ckpt_task_program *ckpt_program_close(struct ckpt_program_builder *b);
