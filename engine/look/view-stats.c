/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers: how much memory of which sort, how many objects of which kind. */
#include <string.h>
#include "engine/look/views.h"

enum { WHAT, COUNT, SIZE, STORED };
static const struct ckpt_column columns[] = {
	{ "what", CKPT_CELL_TEXT },
	{ "count", CKPT_CELL_NUMBER },
	{ "size", CKPT_CELL_BYTES },
	{ "stored", CKPT_CELL_BYTES },
};

enum sort { HEAP, STACK, ANONYMOUS, OF_FILES, SHARED, KERNEL, N_SORTS };
static const char *const sort_name[N_SORTS] = {
	"memory: heap",   "memory: stack",  "memory: anonymous", "memory: private of files",
	"memory: shared", "memory: kernel",
};

static enum sort sort_of(const struct ckpt_look *look, const struct ckpt_task *task,
			 const Ckpt__Area *area)
{
	const char *name = ckpt_look_area_name(look, task, area);

	if (area->flags & CKPT__AREA__FLAG__VDSO)
		return KERNEL;
	if (area->shared)
		return SHARED;
	if (area->file)
		return OF_FILES;
	return !strcmp(name, "[heap]") ? HEAP : !strcmp(name, "[stack]") ? STACK : ANONYMOUS;
}

static void add(struct ckpt_table *t, const char *what, uint64_t count, uint64_t size,
		uint64_t stored)
{
	struct ckpt_row *row = ckpt_table_add(t);

	ckpt_row_text(row, WHAT, what);
	ckpt_row_number(row, COUNT, count);
	if (size)
		ckpt_row_number(row, SIZE, size);
	if (stored)
		ckpt_row_number(row, STORED, stored);
}

static void add_memory(struct ckpt_look *look, const struct ckpt_task *only, struct ckpt_table *t)
{
	uint64_t count[N_SORTS] = { 0 }, size[N_SORTS] = { 0 }, stored[N_SORTS] = { 0 };

	for (size_t i = 0; i < look->snap->n_tasks; i++) {
		const struct ckpt_task *task = look->snap->tasks[i];

		for (size_t k = 0; task->mm && k < task->mm->n_areas && (!only || task == only);
		     k++) {
			const Ckpt__Area *a = task->mm->areas[k];
			enum sort s = sort_of(look, task, a);

			count[s]++;
			size[s] += a->end - a->start;
			stored[s] += ckpt_view_stored_in(&task->pages, a->start, a->end);
		}
	}
	for (int s = 0; s < N_SORTS; s++)
		if (count[s])
			add(t, sort_name[s], count[s], size[s], stored[s]);
}

static bool belongs(const struct ckpt_object *obj, const struct ckpt_task *only)
{
	if (!only)
		return true;
	if (obj->kind->scope != CKPT_PER_FILE)
		return obj->task == only->id;
	for (size_t i = 0; i < only->n_fds; i++)
		if (only->fds[i].object == obj->id)
			return true;
	return false;
}

static void add_kinds(struct ckpt_look *look, const struct ckpt_task *only, struct ckpt_table *t)
{
	for (unsigned int k = 0; k < ckpt_n_kinds; k++) {
		uint64_t count = 0, size = 0, stored = 0;
		char what[64];

		for (size_t i = 0; i < look->snap->n_objects; i++) {
			const struct ckpt_object *obj = look->snap->objects[i];

			if (obj->kind != ckpt_kinds[k] || !belongs(obj, only))
				continue;
			count++;
			size += protobuf_c_message_get_packed_size(obj->msg);
			stored += ckpt_view_stored(&obj->content);
		}
		snprintf(what, sizeof(what), "kind: %s", ckpt_kinds[k]->name);
		if (count)
			add(t, ckpt_strdup(look->arena, what), count, size, stored);
	}
}

void ckpt_view_stats(struct ckpt_look *look, const struct ckpt_task *only, struct ckpt_table *t)
{
	const struct ckpt_snapshot *snap = look->snap;
	uint64_t threads = 0, fds = 0;

	ckpt_table_init(t, look->arena, "stats", columns, sizeof(columns) / sizeof(columns[0]));
	for (size_t i = 0; i < snap->n_tasks; i++) {
		threads += !only || snap->tasks[i] == only ? snap->tasks[i]->n_threads : 0;
		fds += !only || snap->tasks[i] == only ? snap->tasks[i]->n_fds : 0;
	}
	add(t, "processes", only ? 1 : snap->n_tasks, 0, 0);
	add(t, "threads", threads, 0, 0);
	add(t, "descriptors", fds, 0, 0);
	if (!only)
		add(t, "records", ckpt_image_n_records(look->img), ckpt_image_bytes(look->img),
		    ckpt_image_pages_size(look->img));
	add_memory(look, only, t);
	add_kinds(look, only, t);
}

const struct ckpt_view ckpt_views[CKPT_N_VIEWS] = {
	[CKPT_VIEW_TREE] = { "tree", ckpt_view_tree },
	[CKPT_VIEW_FILES] = { "files", ckpt_view_files },
	[CKPT_VIEW_MEMORY] = { "memory", ckpt_view_memory },
	[CKPT_VIEW_SOCKETS] = { "sockets", ckpt_view_sockets },
	[CKPT_VIEW_STATS] = { "stats", ckpt_view_stats },
};
