/* SPDX-License-Identifier: Apache-2.0 */
/* Problems are gathered, so that a user sees the whole list at once and not one per attempt. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "engine/base/problems.h"

static struct ckpt_problem *next_slot(struct ckpt_problems *all)
{
	all->v = ckpt_grow(all->arena, all->v, all->n, &all->room, 16, sizeof(*all->v));
	return &all->v[all->n++];
}

static void add_text(struct ckpt_problems *all, enum ckpt_code number, const char *text)
{
	struct ckpt_problem *p;

	for (size_t i = 0; i < all->n; i++) {
		if (!strcmp(all->v[i].text, text))
			return;
	}
	p = next_slot(all);
	p->number = number;
	p->text = ckpt_strdup(all->arena, text);
}

void ckpt_problem_add(struct ckpt_problems *all, enum ckpt_code number, const char *fmt, ...)
{
	struct ckpt_err err;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err.text, sizeof(err.text), fmt, ap);
	va_end(ap);
	add_text(all, number, err.text);
}

void ckpt_problem_add_err(struct ckpt_problems *all, const struct ckpt_err *err)
{
	add_text(all, err->number, err->text);
}

int ckpt_problems_err(const struct ckpt_problems *all, struct ckpt_err *err)
{
	if (!all->n)
		return 0;
	if (all->n == 1)
		return ckpt_refuse(err, all->v[0].number, -ENOTSUP, "%s", all->v[0].text);
	return ckpt_refuse(err, all->v[0].number, -ENOTSUP, "%s (and %zu more problem%s)",
			   all->v[0].text, all->n - 1, all->n == 2 ? "" : "s");
}
