/* SPDX-License-Identifier: Apache-2.0 */
/* ckpt report: a page for a browser. */
#include <errno.h>
#include "engine/look/report.h"
#include "tools/ckpt.h"

int ckpt_cmd_report(struct ckpt_tool *t)
{
	struct ckpt_look *look;
	int r;

	if (!t->opts.output)
		return ckpt_refuse(&t->err, CKPT_E_NONE, -EINVAL,
				   "report: -o FILE is missing (see `ckpt help report`)");
	r = ckpt_look_open(&look, t->arena, t->dirfd, t->opts.images_dir, &t->err);
	if (r < 0)
		return r;
	r = ckpt_report_write(look, t->opts.output, &t->err);
	ckpt_look_close(look);
	return r;
}
