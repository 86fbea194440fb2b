/* SPDX-License-Identifier: Apache-2.0 */
/* The processes, children behind their parent. */
#include <stdlib.h>
#include <string.h>
#include "engine/base/cleanup.h"
#include "engine/look/views.h"

#define INDENT_MAX 24 /* a tree may be as deep as there are processes */
#define COMMAND_MAX 4096

enum { PID, PARENT, GROUP, SESSION, STATE, THREADS, FDS, MEMORY, STORED, COMMAND };
static const struct ckpt_column columns[] = {
	{ "pid", CKPT_CELL_NUMBER },   { "parent", CKPT_CELL_NUMBER },
	{ "group", CKPT_CELL_NUMBER }, { "session", CKPT_CELL_NUMBER },
	{ "state", CKPT_CELL_TEXT },   { "threads", CKPT_CELL_NUMBER },
	{ "fds", CKPT_CELL_NUMBER },   { "memory", CKPT_CELL_BYTES },
	{ "stored", CKPT_CELL_BYTES }, { "command", CKPT_CELL_TEXT },
};

const char *ckpt_view_command(struct ckpt_look *look, const struct ckpt_task *task)
{
	uint64_t len = task->mm && task->mm->arg_end > task->mm->arg_start ?
			       task->mm->arg_end - task->mm->arg_start :
			       0;
	char *text = ckpt_alloc(look->arena, COMMAND_MAX + 1);
	struct ckpt_err none;

	len = len < COMMAND_MAX ? len : COMMAND_MAX;
	if (len && ckpt_look_read(look, task, task->mm->arg_start, text, len, &none) >= 0) {
		while (len && !text[len - 1])
			len--;
		for (uint64_t i = 0; i < len; i++)
			text[i] = text[i] ? text[i] : ' ';
		text[len] = 0;
		if (len)
			return text;
	}
	snprintf(text, COMMAND_MAX, "[%.16s]", task->comm);
	return text;
}

const char *ckpt_view_state(const struct ckpt_task *task)
{
	static const char *const names[] = { "running", "stopped", "zombie" };

	return names[task->run_state];
}

uint64_t ckpt_view_mapped(const struct ckpt_task *task)
{
	uint64_t n = 0;

	for (size_t i = 0; task->mm && i < task->mm->n_areas; i++)
		n += task->mm->areas[i]->end - task->mm->areas[i]->start;
	return n;
}

uint64_t ckpt_view_stored(const struct ckpt_pages *pages)
{
	uint64_t n = 0;

	for (size_t i = 0; i < pages->n; i++)
		n += pages->run[i].n_pages;
	return n * CKPT_PAGE;
}

static void add(struct ckpt_look *look, const struct ckpt_task *task, struct ckpt_table *t)
{
	struct ckpt_row *row = ckpt_table_add(t);
	const struct ckpt_task *up = task;

	for (; up->parent && row->indent < INDENT_MAX; row->indent++)
		up = look->snap->tasks[up->parent - 1];
	ckpt_row_number(row, PID, task->pid);
	if (task->parent)
		ckpt_row_number(row, PARENT, look->snap->tasks[task->parent - 1]->pid);
	ckpt_row_number(row, GROUP, task->pgid);
	ckpt_row_number(row, SESSION, task->sid);
	ckpt_row_text(row, STATE, ckpt_view_state(task));
	ckpt_row_text(row, COMMAND, ckpt_view_command(look, task));
	if (!task->mm)
		return;
	ckpt_row_number(row, THREADS, task->n_threads);
	ckpt_row_number(row, FDS, task->n_fds);
	ckpt_row_number(row, MEMORY, ckpt_view_mapped(task));
	ckpt_row_number(row, STORED, ckpt_view_stored(&task->pages));
}

void ckpt_view_tree(struct ckpt_look *look, const struct ckpt_task *task, struct ckpt_table *t)
{
	CKPT_FREE const struct ckpt_task **order = task ? NULL : ckpt_snapshot_tree(look->snap);

	ckpt_table_init(t, look->arena, "tree", columns, sizeof(columns) / sizeof(columns[0]));
	if (task)
		add(look, task, t);
	for (size_t i = 0; order && order[i]; i++)
		add(look, order[i], t);
}
