/* SPDX-License-Identifier: Apache-2.0 */
/* A restore while it runs: what the coordinator, the builder and the tasks have in common. Private
 * to injector. */
#pragma once
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/memory/layout.h"
#include "engine/plan/plan.h"
#include "engine/plan/site.h"
#include "engine/plan/sysvec.h"
#include "injector/stops.h"

/* One for each task, in memory that all processes of the restore share until they enter their own.
 */
struct ckpt_slot {
	uint32_t born;       /* it was forked, with the number of the snapshot */
	struct ckpt_err err; /* its first failure before it entered */
};

struct ckpt_undo {
	const char *path, *aside;
	uint64_t dev, ino;         /* of what we made at PATH, or put at ASIDE */
	void (*call)(int64_t arg); /* instead of a path */
	int64_t arg;
	struct ckpt_undo *next;
};

struct ckpt_decided {
	struct ckpt_at_commit what;
	struct ckpt_decided *next;
};

struct ckpt_job {
	struct ckpt_site site; /* first: kinds get a pointer to it */
	struct ckpt_arena *arena;
	const struct ckpt_plan *plan;
	struct ckpt_log *log;
	struct ckpt_gates *gates; /* at plan->layout->gates */
	struct ckpt_slot *slots;  /* by task id - 1 */
	uint32_t **steps;         /* by actor: indexes into plan->steps, */
	uint32_t *n_steps;        /* and how many */
	bool *made;               /* by object id: it is in the bank */
	struct ckpt_undo *undo;
	struct ckpt_decided *decided;
	pid_t coordinator;
	uint32_t n_threads;         /* of all tasks */
	uint64_t blob_syscall;      /* address of a `syscall` in the blob */
	struct ckpt_stops stops;    /* one of them ends the restore */
	struct ckpt_lazy_job *lazy; /* NULL: all memory is there before it runs */
	pid_t guardian;             /* 0: none yet */
	int guarded;                /* its end of a pipe */
};

/* builder.c: makes the shared memory and every object; nothing of the tree exists yet. */
int ckpt_builder_run(struct ckpt_job *job, struct ckpt_err *err);
/* Runs create() of an object here and puts it into the bank. */
int ckpt_builder_create(struct ckpt_job *job, uint32_t object, struct ckpt_err *err);

/* Gives back what the builder holds itself, when all tasks have theirs: an end of a pipe would
 * never be at its end. */
void ckpt_builder_let_go(struct ckpt_job *job);

/* undo.c */
void ckpt_undo_all(struct ckpt_job *job); /* the restore failed: names that were made go, what was
					     moved aside comes back */
void ckpt_undo_forget(struct ckpt_job *job); /* it succeeded: what was moved aside goes */
int ckpt_undo_note(struct ckpt_site *site, const char *path, const char *aside,
		   struct ckpt_err *err);
void ckpt_undo_call(struct ckpt_site *site, void (*undo)(int64_t arg), int64_t arg);

/* What was left until the restore is decided. */
int ckpt_undo_decide(struct ckpt_site *site, const struct ckpt_at_commit *c, struct ckpt_err *err);
int ckpt_undo_do_decided(struct ckpt_job *job, struct ckpt_err *err);

/* task.c: forks TASK with its number, as our child or as a child of our parent; in it the rest of
 * task.c takes over and does not return. Returns 0 in the caller. */
int ckpt_task_fork(struct ckpt_job *job, const struct ckpt_task *task, bool sibling,
		   struct ckpt_err *err);

/* stage.c: pages that a task shares copy-on-write with its children, put where they inherit them.
 */
int ckpt_stage_task(struct ckpt_job *job, const struct ckpt_task *task, struct ckpt_err *err);
/* ring.c: the task's contexts of io_setup(2), with their memory where it is staged. */
int ckpt_rings_make(const struct ckpt_layout *l, const struct ckpt_task *task,
		    struct ckpt_err *err);
/* Reads up to LEN bytes of pages, those at OFFSET, as pread(2) does. */
ssize_t ckpt_read_pages(const struct ckpt_job *job, void *buf, size_t len, uint64_t offset);
/* Reads the runs, each to TO + (at - FROM). */
int ckpt_read_runs(const struct ckpt_job *job, struct ckpt_pages runs, uint64_t from, uint64_t to,
		   struct ckpt_err *err);

/* numbers.c: waits a moment for numbers that nobody has any more but that are not free yet. */
void ckpt_numbers_await(const struct ckpt_snapshot *snap);

/* Forks a process that helps us and has none of the numbers that the tree, or a session or a group
 * of it, will get. */
pid_t ckpt_numbers_fork(const struct ckpt_snapshot *snap);
/* Has this process one of them? */
bool ckpt_numbers_are_wanted(const struct ckpt_snapshot *snap);

/* gate.c */
void ckpt_gate_arrive(uint32_t *word);
void ckpt_gate_await(uint32_t *word, uint32_t least);
/* Waits at most MS for the word; false: not reached. */
bool ckpt_gate_await_ms(uint32_t *word, uint32_t least, unsigned int ms);

/* guardian.c: a process that ends the tree should we die between the commit and the end, when some
 * of it would die with us and some not. */
int ckpt_guardian_start(struct ckpt_job *job, struct ckpt_err *err);
void ckpt_guardian_end(struct ckpt_job *job); /* nothing if there is none */

/* finish.c: from "all in place" to "it runs": commit, last calls, registers, goodbye. */
int ckpt_finish_seize(struct ckpt_job *job, struct ckpt_err *err); /* before the commit: dies with
								      us from here on */
int ckpt_finish_rest(struct ckpt_job *job, struct ckpt_err *err); /* after: everything, until all is
								     detached */
