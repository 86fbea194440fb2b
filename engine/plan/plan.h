/* SPDX-License-Identifier: Apache-2.0 */
/* A restore, worked out and checked before anything is touched. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "engine/base/arena.h"
#include "engine/base/clocks.h"
#include "engine/base/err.h"
#include "engine/base/problems.h"
#include "engine/model/rules.h"
#include "engine/model/snapshot.h"
#include "engine/plan/sysvec.h"

struct ckpt_host;    /* host.h: facts about this machine */
struct ckpt_planner; /* what plan() of a kind talks to */
struct ckpt_layout;  /* memory/layout.h */

struct ckpt_file_list; /* file-list.h */

/* What a file has to have in common with that of the dump. */
enum ckpt_validation {
	CKPT_BY_BEST,    /* code: its build-id; else size, and the hash if there is one */
	CKPT_BY_BUILD,   /* the same, but a new time is not told */
	CKPT_BY_SIZE,    /* nothing but that */
	CKPT_BY_HASH,    /* the hash, where there is one, also if the time is the same */
	CKPT_BY_NOTHING, /* its type */
};

/* A log that has become longer. */
enum ckpt_grown {
	CKPT_GROWN_FAIL,
	CKPT_GROWN_APPEND,   /* it is gone on with at its new end */
	CKPT_GROWN_TRUNCATE, /* it is cut to the size that it had */
};

struct ckpt_restore_opts {
	enum ckpt_validation validation;
	enum ckpt_grown grown;
	bool rollback;                         /* files that were written to are put back */
	const struct ckpt_file_list *on_files; /* files of another machine; NULL: look here */
	struct ckpt_rules *rules;              /* of the user; may be NULL */
	bool shell_job;
	bool leave_stopped;
	bool detached; /* the root outlives ckpt, its parent */
	/* Memory comes after the program runs: mapped from the image, or served by a process. */
	enum ckpt_lazy {
		CKPT_LAZY_NOT,
		CKPT_LAZY_MAP,
		CKPT_LAZY_SERVE,
		CKPT_LAZY_FILL, /* of a plan: before it runs, but by who checks the image */
	} lazy;
	/* Clocks that know no date: those of this machine, or going on from where they were. Auto:
	 * they go on where they would otherwise go back, or had been their own. */
	enum ckpt_clock_choice { CKPT_CLOCK_AUTO, CKPT_CLOCK_CONTINUE, CKPT_CLOCK_HOST } clock;
};

enum ckpt_verb {
	CKPT_CREATE,   /* kind->create() into the bank */
	CKPT_LINK,     /* kind->link() once all objects exist */
	CKPT_SESSION,  /* setsid() */
	CKPT_CONTROL,  /* kind->control(), by the leader of a session */
	CKPT_FORK,     /* clone3() with the old pid */
	CKPT_STAND_IN, /* forks a process for a dead leader of a session or group: it gives its
			  number, then ends */
	CKPT_LEAD,     /* setpgid(): leads a group, before anyone joins it */
	CKPT_GROUP,    /* setpgid(): joins one */
	CKPT_MAKE,     /* kind->create() into the task's bank once all processes exist */
	CKPT_FETCH,    /* what another task has made so, from its bank */
	CKPT_INSTALL,  /* dup3() from the bank to the old number */
	CKPT_ATTACH,   /* kind->attach() once all tasks have their descriptors */
	CKPT_ENTER,    /* into the task's sysvec, which holds the commit */
};

struct ckpt_step {
	enum ckpt_verb verb;
	uint32_t actor;  /* the task that does it, 0 for the builder */
	uint32_t object; /* CKPT_FORK: the new task; CKPT_STAND_IN: 1 for a session, 0 for a group
			  */
	int number; /* CKPT_INSTALL; CKPT_FETCH: the task's pid; CKPT_STAND_IN: its pid; CKPT_GROUP:
		       the group, -1: that of the restore */
	bool cloexec;
};

struct ckpt_plan {
	const struct ckpt_snapshot *snap;
	const struct ckpt_restore_opts *opts;
	const struct ckpt_rule **ruled; /* by object id: the rule that took it, NULL: none */
	struct ckpt_step *steps;        /* each after everything it needs */
	size_t n_steps;
	struct ckpt_layout *layout;
	int *bank; /* by object id: its descriptor number before it is installed; [0]: the pages
		      file, */
	struct ckpt_pages_part *pages; /* and those of all images that this one goes on from */
	size_t n_pages;
	int *spare;           /* by object id: number of what its create() keeps, -1: nothing */
	enum ckpt_lazy lazy;  /* what becomes of the option */
	uint64_t *lazy_least; /* by task id - 1: pages of the shortest run that comes later */
	int lazy_channel;     /* a number like those of the bank: tasks send their userfaultfd */
	int *uffd;            /* by task id - 1: the number that it has there until then */
	bool has_last;        /* CKPT_MAKE steps */
	uint32_t outer; /* a session and group of the snapshot that become those of the restore; 0:
			   none */
	uint32_t outer_group;
	bool own_clock;                        /* the tree gets a time namespace, */
	int64_t clock_ahead_ns[CKPT_N_CLOCKS]; /* and its clocks are ahead of ours by so much */
	bool ipc_namespace;                    /* a box has one of its own */
	struct ckpt_task_program **programs;   /* by task id - 1; NULL for a zombie; program.h. All
						  NULL without a host */
	struct ckpt_problems problems;         /* all that were found; a plan with any is not run */
	bool *content_unused;                  /* by object id: this machine's own file will do */
	const char **losses;                   /* what the restore cannot bring back here */
	size_t n_losses;
};

/* Pure: reads SNAP, HOST and OPTS, writes only into ARENA. HOST NULL: only what the image itself
 * says (at the end of a capture): no programs are made. */
int ckpt_plan_make(struct ckpt_plan **planp, struct ckpt_arena *arena,
		   const struct ckpt_snapshot *snap, const struct ckpt_host *host,
		   const struct ckpt_restore_opts *opts, struct ckpt_err *err);
void ckpt_plan_print(const struct ckpt_plan *plan, FILE *out, bool with_programs);

/* What a kind's plan() may ask. */
const struct ckpt_snapshot *ckpt_planner_snapshot(struct ckpt_planner *p);
const struct ckpt_host *ckpt_planner_host(struct ckpt_planner *p); /* NULL: there is none, check
								      only the image */
const struct ckpt_restore_opts *ckpt_planner_opts(struct ckpt_planner *p); /* never NULL */
/* An object of the snapshot, NULL if ID is out of range. */
const struct ckpt_object *ckpt_snapshot_object(const struct ckpt_snapshot *snap, uint32_t id);
/* The task that owns the object, NULL if there is none. */
const struct ckpt_task *ckpt_snapshot_task(const struct ckpt_snapshot *snap, uint32_t id);

/* Has TASK that in common with its parent or with a child? FLAG: CLONE_FS, CLONE_FILES. */
bool ckpt_snapshot_shares(const struct ckpt_snapshot *snap, const struct ckpt_task *task,
			  uint32_t flag);

/* What a kind's plan() may say of its object. */
void ckpt_needs(struct ckpt_planner *p, uint32_t object);     /* before my create() */
void ckpt_comes_with(struct ckpt_planner *p, uint32_t maker); /* no create() of mine: MAKER's hands
								 me over with site->put() */
void ckpt_made_by_task(struct ckpt_planner *p); /* create() runs in the owning task, after its
						   setsid() */
void ckpt_made_last(struct ckpt_planner *p); /* create() runs in the owning task when all processes
						exist; it may need none that is made so */
/* My create() leaves a descriptor with site->keep(), for my link() or attach(). */
void ckpt_keeps_other(struct ckpt_planner *p);
/* My link() or attach() sends that open file: it has to be made before there are processes. */
void ckpt_sends(struct ckpt_planner *p, uint32_t object);
/* So many bytes of huge pages of 1 << SHIFT (16 to 40) are taken for it. */
void ckpt_takes_huge(struct ckpt_planner *p, unsigned int shift, uint64_t bytes);
void ckpt_wants_ipc_namespace(struct ckpt_planner *p); /* if there is a box */
/* My content stays in the image: create() opens something that is here. */
void ckpt_content_unused(struct ckpt_planner *p);
void ckpt_problem(struct ckpt_planner *p, enum ckpt_code number, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void ckpt_loss(struct ckpt_planner *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* When a call of a sysvec runs. All but CKPT_AFTER_COMMIT and later can still fail the restore. */
enum ckpt_when {
	CKPT_BEFORE_THREADS, /* CKPT_PER_TASK: the address space is as it was, the leader is the
				only thread */
	CKPT_AFTER_MEMORY, /* the address space is as it was; every signal but SIGCHLD is blocked */
	CKPT_AFTER_COMMIT, /* the restore is decided: start what ticks */
	CKPT_LAST,         /* give up privilege */
	CKPT_PARKED, /* CKPT_PER_TASK: made by the coordinator in the leader when every thread of
			the tree is at rest */
	CKPT_N_WHEN,
};
/* CKPT_PER_TASK (by the leader) and CKPT_PER_THREAD kinds: a system call for the sysvec. It must
 * not fail. */
void ckpt_call_late(struct ckpt_planner *p, enum ckpt_when when, long nr, const int64_t arg[6]);
/* The same; it must return WANT. */
void ckpt_call_late_want(struct ckpt_planner *p, enum ckpt_when when, long nr, const int64_t arg[6],
			 int64_t want);
/* What the leader was told to do until it came here is done before what other threads are told from
 * here on. Both in the same phase, CKPT_AFTER_COMMIT or later. */
void ckpt_leader_first(struct ckpt_planner *p, enum ckpt_when when);
/* The address, then, of a copy of DATA that those calls can point to. Not for CKPT_PARKED after the
 * memory of the restorer is gone: it is still there. */
int64_t ckpt_late_data(struct ckpt_planner *p, const void *data, size_t size);
