/* SPDX-License-Identifier: Apache-2.0 */
/* ckpt plan: what a restore would do here. Fails exactly where the restore would not start. */
#include <errno.h>
#include <stdio.h>
#include "tools/ckpt.h"

int ckpt_cmd_plan(struct ckpt_tool *t)
{
	struct ckpt_restore_run run = {
		.dirfd = t->dirfd,
		.dir = t->opts.images_dir,
		.log = &t->log,
	};
	struct ckpt_plan *plan = NULL;
	int r = ckpt_tool_restore_opts(t, &run.plan);

	if (r >= 0)
		r = ckpt_restore_plan(&run, t->arena, &plan, &t->problems, &t->err);

	if (plan)
		ckpt_plan_print(plan, stdout, t->opts.verbosity > 0);
	if (plan)
		ckpt_report_notes(plan->losses, plan->n_losses);
	if (r < 0)
		return r;
	return t->problems.n ? -EINVAL : 0;
}
