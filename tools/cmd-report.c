/* SPDX-License-Identifier: Apache-2.0 */
/* ckpt report: a page for a browser. */
#include <errno.h>
#include "engine/look/report.h"
#include "tools/ckpt.h"

static int report(struct ckpt_tool *t, struct ckpt_look *look)
{
	return ckpt_report_write(look, t->opts.output, &t->err);
}

int ckpt_cmd_report(struct ckpt_tool *t)
{
	if (!t->opts.output)
		return ckpt_refuse(&t->err, CKPT_E_USAGE, -EINVAL, "report: -o FILE is missing");
	return ckpt_tool_look(t, report);
}
