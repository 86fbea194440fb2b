/* SPDX-License-Identifier: Apache-2.0 */
/* ckpt config: every option, its value, and where that comes from. */
#include <stdio.h>
#include <unistd.h>
#include "tools/ckpt.h"

/* A value in use, as it would be written. */
static const char *shown(const struct ckpt_options *o, const struct ckpt_option *p, char *buf,
			 size_t size)
{
	const void *field = (const char *)o + p->at;
	size_t i = p - ckpt_option_table;

	if (o->given[i])
		return o->given[i];
	if (p->fate != CKPT_WORKS)
		return "no";
	switch (p->type) {
	case CKPT_OPT_FLAG:
		return *(const bool *)field ? "yes" : "no";
	case CKPT_OPT_NUMBER:
		snprintf(buf, size, "%u", *(const unsigned int *)field);
		return buf;
	case CKPT_OPT_PID:
	case CKPT_OPT_LEVEL:
	case CKPT_OPT_LIST:
	case CKPT_OPT_TEXT:
	case CKPT_OPT_SIZE:
	case CKPT_OPT_CHOICE:
	case CKPT_OPT_METHOD:
		break;
	}
	return p->type == CKPT_OPT_TEXT && *(const char *const *)field ?
		       *(const char *const *)field :
		       "-";
}

int ckpt_cmd_config(struct ckpt_tool *t)
{
	const struct ckpt_options *o = &t->opts;
	char buf[32];

	for (const struct ckpt_option *p = ckpt_option_table; p->name; p++) {
		const char *origin = o->origin[p - ckpt_option_table];

		ckpt_print(STDOUT_FILENO, "%-24s %-16s %s\n", p->name,
			   shown(o, p, buf, sizeof(buf)), origin ? origin : "default");
	}
	return 0;
}
