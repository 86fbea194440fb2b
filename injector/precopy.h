/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is copied before the freeze, while the tree runs. */
#pragma once
#include "engine/capture/helper.h"
#include "engine/memory/live.h"
#include "engine/store/image.h"
#include "injector/room.h"
#include "injector/source-ptrace.h"

struct ckpt_precopy_opts {
	pid_t pid;
	struct ckpt_ptrace_opts ptrace;
	struct ckpt_live_opts live;
	struct ckpt_image_writer *writer; /* borrowed */
	bool stands;     /* the tree stands still first, for the tracking to begin */
	bool makes_room; /* for what is copied when it stands still, and goes on after that */
	uint64_t max_freeze_ns; /* 0: as it comes */
	bool copies;            /* if that cannot be kept, or is not said, there will be copies */
	/* It may soon stand still. May be NULL. */
	void (*nearly)(void *arg);
	/* After each round, whose time it takes part in; may be NULL. */
	int (*copied)(void *arg, struct ckpt_err *err);
	void *arg;          /* of both */
	const char **notep; /* gets what it takes longer for, if it does */
};

struct ckpt_precopy {
	struct ckpt_job untrack;
	struct ckpt_helper *helper; /* has that job; NULL: it was not started */
	struct ckpt_live *live;
	struct ckpt_room room; /* to be ended by who writes the image */
	uint64_t frozen_ns;    /* to begin with it */
	uint64_t bytes_per_ms; /* that are copied; 0: not known */
};

/* The tree stands still for a moment; then all that can be tracked is, by PRE->live. */
int ckpt_precopy_begin(struct ckpt_precopy *pre, struct ckpt_arena *arena,
		       const struct ckpt_precopy_opts *opts, struct ckpt_err *err);
/* Copies until what is left is small, or does not get smaller; then refuses (CKPT_E_MAX_FREEZE) if
 * the tree would stand still for longer than it may. PRE->live is opened before and to be closed
 * afterwards. Where there will be copies it refuses nothing, and ends as soon as it is clear. */
int ckpt_precopy(struct ckpt_precopy *pre, struct ckpt_arena *arena,
		 const struct ckpt_precopy_opts *opts, struct ckpt_err *err);
/* Stands still for FROZEN_NS already, and BYTES are to be copied yet: is it too long? */
int ckpt_precopy_check(const struct ckpt_precopy *pre, const struct ckpt_precopy_opts *opts,
		       uint64_t frozen_ns, uint64_t bytes, struct ckpt_err *err);
/* From here on nobody asks what was written, and the tree goes on: the end of the tracking, 30 to
 * 40 ms for each GiB, is HELPER's work while others copy. */
void ckpt_precopy_untrack(struct ckpt_precopy *pre, struct ckpt_helper *helper);
/* Closes PRE->live, which may be NULL. */
void ckpt_precopy_close(struct ckpt_precopy *pre);
