/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a source to a snapshot: freezes the tree and reads everything but the bytes of its memory.
 * Those are listed as work that engine/memory/pages.h copies afterwards, while the tree still
 * stands.
 */
#pragma once
#include <stdbool.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/base/problems.h"
#include "engine/capture/helper.h"
#include "engine/capture/policy.h"
#include "engine/capture/source.h"
#include "engine/memory/pages.h"
#include "engine/model/rules.h"
#include "engine/model/snapshot.h"

struct ckpt_image;
struct ckpt_live;

struct ckpt_capture_opts {
	pid_t root;               /* of the tree, to be looked at before; 0: not known */
	bool shell_job;           /* the root need not lead its session */
	bool file_locks;          /* locks are captured, not refused */
	struct ckpt_rules *rules; /* of the user; may be NULL */
	bool tcp_close;           /* connections of TCP may be lost */
	bool skip_in_flight;      /* those that nobody has accepted yet may be */
	struct ckpt_log *log;     /* may be NULL */
	const struct ckpt_file_policy *files; /* may be NULL */
	struct ckpt_live *live;               /* memory that has been copied before, or NULL */
	/* The image that is gone on from, NULL: none. */
	const struct ckpt_image *before;
	const struct ckpt_snapshot *before_snap;
	bool held;                  /* some of it is tracked by us, for a dump after another one */
	struct ckpt_helper *helper; /* reads ahead; to be closed when the tree goes on again, which
				       takes its time */
	/* Asked between steps; a negative errno (with ERR set) ends the capture. May be NULL. */
	int (*go_on)(void *arg, struct ckpt_err *err);
	void *arg;
};

/*
 * Freezes the tree and captures it; nothing in the target is changed, and it is left frozen also on
 * failure: the caller thaws. What cannot be dumped is added to PROBLEMS (all of it, in one go) and
 * is no failure: look at PROBLEMS->n. With problems the snapshot lacks what they name and is good
 * only for finding more of them. The inventory of the snapshot is the caller's to fill, except for
 * what was lost. *WORKP is closed by the caller.
 */
int ckpt_capture(struct ckpt_source *src, const struct ckpt_capture_opts *opts,
		 struct ckpt_arena *arena, struct ckpt_snapshot **snapp,
		 struct ckpt_memory_work **workp, struct ckpt_problems *problems,
		 struct ckpt_err *err);
