/* SPDX-License-Identifier: Apache-2.0 */
/* What an area is called. */
#include <string.h>
#include "engine/look/look.h"

const char *ckpt_look_area_name(const struct ckpt_look *look, const struct ckpt_task *task,
				const Ckpt__Area *area)
{
	const struct ckpt_object *obj = area->file ? look->snap->objects[area->file - 1] : NULL;

	if (area->name && *area->name)
		return area->name;
	if (obj)
		return ckpt_look_path(obj) ? ckpt_look_path(obj) : obj->kind->name;
	if (area->start < task->mm->brk && area->end > task->mm->start_brk)
		return "[heap]";
	if (area->start <= task->mm->start_stack && area->end > task->mm->start_stack)
		return "[stack]";
	return "";
}

bool ckpt_look_area_is(const struct ckpt_look *look, const struct ckpt_task *task,
		       const Ckpt__Area *area, const char *name)
{
	const char *is = ckpt_look_area_name(look, task, area), *last = strrchr(is, '/');

	return !strcmp(is, name) || (last && !strcmp(last + 1, name));
}
