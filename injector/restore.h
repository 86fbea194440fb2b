/* SPDX-License-Identifier: Apache-2.0 */
/* A restore: image, plan, builder, tasks, commit. A transaction: it succeeds or leaves nothing
 * behind. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/base/problems.h"
#include "engine/plan/plan.h"
#include "injector/handover.h"

struct ckpt_restore_run {
	int dirfd;           /* images folder, borrowed */
	const char *dir;     /* its name, for messages */
	bool detached;       /* -d: do not wait for the root */
	bool sibling;        /* -S: the root becomes a child of our parent */
	const char *pidfile; /* NULL: none; must not exist */
	/* The image is a stream, and comes from where the tree stands still; or NULL. */
	struct ckpt_handover *handover;
	/* Or memory comes from a `ckpt lazy-pages`, by HANDOVER's connection. */
	bool lent;
	struct ckpt_restore_opts plan;
	struct ckpt_log *log;
};

struct ckpt_restore_stats {
	uint32_t n_tasks, n_threads;
	uint64_t bytes;
	uint64_t total_ns;   /* until it runs */
	pid_t root;          /* as seen by the caller */
	bool boxed;          /* in a user and pid namespace of its own */
	int exit_status;     /* not detached: of the root, as wait(2) gives it */
	const char **losses; /* what could not be brought back here */
	size_t n_losses;
};

/* Calls STARTED (if not NULL) as soon as the tree runs, before waiting for its end. */
int ckpt_restore(const struct ckpt_restore_run *run, struct ckpt_arena *arena,
		 struct ckpt_restore_stats *stats,
		 void (*started)(const struct ckpt_restore_stats *stats, void *arg), void *arg,
		 struct ckpt_problems *problems, struct ckpt_err *err);
/* What a restore would do here and every problem; nothing is touched. */
int ckpt_restore_plan(const struct ckpt_restore_run *run, struct ckpt_arena *arena,
		      struct ckpt_plan **planp, struct ckpt_problems *problems,
		      struct ckpt_err *err);
/* Made before anything else and filled at the end, so that it cannot fail any more when the tree
 * runs. Refuses one that exists. */
int ckpt_pidfile_make(const char *path, struct ckpt_err *err);
