/* SPDX-License-Identifier: Apache-2.0 */
/* A user and pid namespace made for a restore, where pids may not be chosen otherwise. Private to
 * injector. */
#pragma once
#include <sys/types.h>
#include "injector/restore.h"

struct ckpt_image;

#define CKPT_BOX_NAME "ckpt-box" /* of its init, by which a dump recognises it */

struct ckpt_box {
	pid_t init;  /* as seen from here */
	pid_t root;  /* the restored root, as seen from here */
	int channel; /* reports of the init; -1: closed */
};

/* The restore itself, in the process that calls it (restore.c). */
int ckpt_restore_here(const struct ckpt_plan *plan, const struct ckpt_image *img,
		      const struct ckpt_restore_run *run, struct ckpt_arena *arena,
		      struct ckpt_err *err);
/* The same in a box: its init restores, reports, and stays to reap for as long as anything lives in
 * it. */
int ckpt_box_restore(struct ckpt_box *box, const struct ckpt_plan *plan,
		     const struct ckpt_image *img, const struct ckpt_restore_run *run,
		     struct ckpt_arena *arena, struct ckpt_err *err);
/* Waits for the end of the restored root: its status as wait(2) gives it. */
int ckpt_box_wait(struct ckpt_box *box, int *statusp, struct ckpt_err *err);
