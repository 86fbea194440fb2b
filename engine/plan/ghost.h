/* SPDX-License-Identifier: Apache-2.0 */
/* Files, folders and FIFOs that have lost their last name, made anew where they were. */
#pragma once
#include "engine/plan/plan.h"

/* What its inode gets again. */
struct ckpt_ghost {
	const char *path; /* its folder may be gone as well */
	mode_t mode;
	uid_t uid;
	gid_t gid;
};

/* Can it be made again? What is different then is made a loss of the plan, what is impossible a
 * problem. WHO is in front of it. */
void ckpt_ghost_plan(struct ckpt_planner *p, const char *who, const struct ckpt_ghost *g);
/*
 * Makes one of the type in MODE, nameless again, whose link reads as before where nobody else has
 * taken that name. Returns a descriptor: for reading and writing of a regular file (in memory, if
 * nothing can be made in that folder), for reading of a folder, O_PATH of a FIFO.
 */
int ckpt_ghost_make(const char *path, mode_t mode, struct ckpt_err *err);
/* The same for a file that never had a name (O_TMPFILE), and may be given one. */
int ckpt_ghost_make_unnamed(const char *path, struct ckpt_err *err);
