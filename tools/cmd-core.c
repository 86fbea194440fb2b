/* SPDX-License-Identifier: Apache-2.0 */
/* ckpt core: core files of the processes in an image. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "engine/look/core.h"
#include "tools/ckpt.h"

/* Of several processes each has its number at the end. */
static const char *name_for(struct ckpt_tool *t, const struct ckpt_task *task, bool only)
{
	const char *base = t->opts.output ? t->opts.output : "core";
	size_t size = strlen(base) + 16;
	char *name = ckpt_alloc(t->arena, size);

	if (only && t->opts.output)
		return base;
	snprintf(name, size, "%s.%d", base, task->pid);
	return name;
}

static int write_one(struct ckpt_tool *t, struct ckpt_look *look, const struct ckpt_task *task,
		     bool only)
{
	const char *path = name_for(t, task, only);
	char bytes[24], written[24], missing[24];
	struct ckpt_core_stats st;
	int r;

	ckpt_bar_begin(t, "writing");
	r = ckpt_core_write(look, task, path, &st, &t->err);
	ckpt_bar_end(t);
	if (r < 0)
		return r;
	ckpt_print(STDOUT_FILENO, "%s: process %d \"%s\", %zu thread%s, %s, %s of it written\n",
		   path, task->pid, task->comm, task->n_threads, task->n_threads == 1 ? "" : "s",
		   ckpt_size_text(st.bytes, bytes), ckpt_size_text(st.written, written));
	if (st.why)
		ckpt_print(STDERR_FILENO, "note: %s: %s are not known and left out: %s\n", path,
			   ckpt_size_text(st.missing, missing), st.why);
	return 0;
}

static int write_all(struct ckpt_tool *t, struct ckpt_look *look)
{
	const struct ckpt_task *task;
	size_t n = 0;
	int r = 0;

	if (t->opts.pid) {
		task = ckpt_look_task(look, t->opts.pid, &t->err);
		return task ? write_one(t, look, task, true) : t->err.code;
	}
	for (size_t i = 0; i < look->snap->n_tasks; i++)
		n += look->snap->tasks[i]->mm != NULL;
	for (size_t i = 0; i < look->snap->n_tasks && r >= 0; i++)
		if (look->snap->tasks[i]->mm)
			r = write_one(t, look, look->snap->tasks[i], n == 1);
	return r;
}

int ckpt_cmd_core(struct ckpt_tool *t)
{
	return ckpt_tool_look(t, write_all);
}
