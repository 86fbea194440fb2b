/* SPDX-License-Identifier: Apache-2.0 */
/* The options that say what becomes of open files: all of them are rules. */
#include "tools/ckpt.h"

static int add_all(struct ckpt_tool *t, const struct ckpt_option_list *list,
		   int (*add)(struct ckpt_rules *rules, struct ckpt_arena *arena, const char *text,
			      struct ckpt_err *err))
{
	int r = 0;

	for (unsigned int i = 0; i < list->n && r >= 0; i++)
		r = add(&t->rules, t->arena, list->v[i], &t->err);
	return r;
}

/* The first that matches counts: those of the command line before those of files. */
int ckpt_tool_rules(struct ckpt_tool *t)
{
	int r = add_all(t, &t->opts.inherit_fd, ckpt_rules_add_inherit);

	if (r >= 0)
		r = add_all(t, &t->opts.rule, ckpt_rules_add);
	if (r >= 0)
		r = add_all(t, &t->opts.rules, ckpt_rules_add_file);
	return r < 0 ? r : add_all(t, &t->opts.external, ckpt_rules_add_external);
}
