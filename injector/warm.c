/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors only, of which there may be thousands; and of the root only: the rest of the tree is
 * not known yet. */
#include "engine/capture/fds-ahead.h"
#include "injector/quiet.h"
#include "injector/warm.h"

static void warm(struct ckpt_job *job, struct ckpt_arena *arena)
{
	const struct ckpt_warm *w = (struct ckpt_warm *)job;

	ckpt_helper_put_fds(w->helper, ckpt_fds_ahead_open(arena, w->pid));
	ckpt_helper_put(w->helper, ckpt_quiet_read(arena, w->pid));
}

void ckpt_warm_start(struct ckpt_warm *w, struct ckpt_helper *helper, pid_t pid)
{
	w->job.run = warm;
	w->helper = helper;
	w->pid = pid;
	ckpt_helper_start(helper, &w->job);
}
