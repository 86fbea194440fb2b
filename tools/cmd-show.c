/* SPDX-License-Identifier: Apache-2.0 */
/* ckpt show: what is in an image, for people or as JSON. Needs no privilege but to read it. */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "engine/look/look.h"
#include "engine/look/stacks.h"
#include "engine/look/views.h"
#include "engine/model/show.h"
#include "engine/plan/plan.h"
#include "tools/ckpt.h"

#define MAX_LINE 1024

static void show_object(const char *what, const struct ckpt_object *obj)
{
	char line[MAX_LINE] = "";

	if (!obj)
		return;
	if (obj->msg)
		ckpt_show_message(obj->msg, line, sizeof(line));
	ckpt_print(STDOUT_FILENO, "  %s %s #%u %s\n", what, obj->kind->name, obj->id, line);
}

static void show_area(const struct ckpt_snapshot *snap, const Ckpt__Area *a)
{
	const struct ckpt_object *file = ckpt_snapshot_object(snap, a->file);
	const char *name = a->name;
	char of[48] = "";

	if (file)
		snprintf(of, sizeof(of), "%s #%u", file->kind->name, file->id);
	if (!name)
		name = of;
	ckpt_print(STDOUT_FILENO, "  area %llx-%llx %c%c%c%c %s\n", (unsigned long long)a->start,
		   (unsigned long long)a->end, a->prot & PROT_READ ? 'r' : '-',
		   a->prot & PROT_WRITE ? 'w' : '-', a->prot & PROT_EXEC ? 'x' : '-',
		   a->shared ? 's' : 'p', name);
}

static void show_task(const struct ckpt_snapshot *snap, const struct ckpt_task *task)
{
	static const char *const state[] = { "running", "stopped", "zombie" };
	char what[24];

	ckpt_print(STDOUT_FILENO, "process %d \"%.16s\" %s, group %d, session %d\n", task->pid,
		   task->comm, state[task->run_state], task->pgid, task->sid);
	for (size_t i = 0; i < task->n_state; i++)
		show_object("state", task->state[i]);
	for (size_t i = 0; i < task->n_threads; i++) {
		const struct ckpt_thread *th = &task->threads[i];

		ckpt_print(STDOUT_FILENO, "  thread %d at %#llx\n", th->tid,
			   (unsigned long long)th->regs.gp.rip);
		for (size_t k = 0; k < th->n_state; k++)
			show_object("  state", th->state[k]);
	}
	for (size_t i = 0; i < task->n_fds; i++) {
		snprintf(what, sizeof(what), "fd %d%s", task->fds[i].number,
			 task->fds[i].cloexec ? " (close-on-exec)" : "");
		show_object(what, ckpt_snapshot_object(snap, task->fds[i].object));
	}
	for (size_t i = 0; task->mm && i < task->mm->n_areas; i++)
		show_area(snap, task->mm->areas[i]);
}

/* The element of the array NAME whose member KEY is N. */
static struct json_object *find(struct json_object *all, const char *name, const char *key,
				int64_t n)
{
	struct json_object *array = NULL, *value;

	if (!json_object_object_get_ex(all, name, &array))
		return NULL;
	for (size_t i = 0; i < json_object_array_length(array); i++) {
		struct json_object *e = json_object_array_get_idx(array, i);

		if (json_object_object_get_ex(e, key, &value) && json_object_get_int64(value) == n)
			return json_object_get(e);
	}
	return NULL;
}

static struct json_object *json_of_task(const struct ckpt_task *task, struct json_object *all)
{
	struct json_object *one = json_object_new_object(), *objects = json_object_new_array();
	uint32_t last = 0;

	json_object_object_add(one, "task", find(all, "tasks", "pid", task->pid));
	for (size_t i = 0; i < task->n_fds; i++) {
		struct json_object *o = find(all, "objects", "id", task->fds[i].object);

		/* The same object at the next number is listed once. */
		if (o && task->fds[i].object != last)
			json_object_array_add(objects, o);
		else
			json_object_put(o);
		last = task->fds[i].object;
	}
	json_object_object_add(one, "objects", objects);
	return one;
}

/* Longer than any line; JSON has escaped what a terminal might obey. Takes ALL. */
static void print_json(struct json_object *all)
{
	const int style = JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE;

	printf("%s\n", json_object_to_json_string_ext(all, style));
	json_object_put(all);
}

static struct json_object *json_of_all(const struct ckpt_snapshot *snap,
				       const struct ckpt_task *task)
{
	struct json_object *all = ckpt_json_snapshot(snap), *one;

	if (!task)
		return all;
	one = json_of_task(task, all);
	json_object_put(all);
	return one;
}

static void show_raw(const struct ckpt_snapshot *snap, const struct ckpt_task *task)
{
	if (task)
		show_task(snap, task);
	else
		ckpt_show_snapshot(snap, stdout);
}

/* The views that were asked for, one behind the other; as JSON members of one object. */
static void show_views(struct ckpt_tool *t, struct ckpt_look *look, const struct ckpt_task *task,
		       const bool *wanted, struct json_object *json)
{
	struct ckpt_stacks stacks;
	struct ckpt_table table;
	size_t n = 0;

	for (size_t i = 0; i < CKPT_N_VIEWS; i++) {
		if (!wanted[i])
			continue;
		ckpt_views[i].fill(look, task, &table);
		if (json)
			json_object_object_add(json, table.name, ckpt_table_json(&table));
		else
			printf("%s%s\n", n++ ? "\n" : "", table.name);
		if (!json)
			ckpt_table_print(&table, stdout);
	}
	if (!t->opts.stacks)
		return;
	ckpt_stacks_make(look, task, &stacks);
	if (json)
		json_object_object_add(json, "stacks", ckpt_stacks_json(&stacks));
	else
		ckpt_stacks_print(&stacks, stdout);
}

static int show(struct ckpt_tool *t, struct ckpt_look *look)
{
	const struct ckpt_options *o = &t->opts;
	const bool wanted[CKPT_N_VIEWS] = {
		[CKPT_VIEW_TREE] = o->view_tree,     [CKPT_VIEW_FILES] = o->view_files,
		[CKPT_VIEW_MEMORY] = o->view_memory, [CKPT_VIEW_SOCKETS] = o->view_sockets,
		[CKPT_VIEW_STATS] = o->view_stats,
	};
	const bool any = o->view_tree || o->view_files || o->view_memory || o->view_sockets ||
			 o->view_stats || o->stacks;
	const struct ckpt_task *task = NULL;

	if (o->pid)
		task = ckpt_look_process(look, o->pid, &t->err);
	if (o->pid && !task)
		return t->err.code;
	if (o->file_list) {
		ckpt_tool_file_list(t, look->snap);
	} else if (any && o->json) {
		struct json_object *json = json_object_new_object();

		show_views(t, look, task, wanted, json);
		print_json(json);
	} else if (any) {
		show_views(t, look, task, wanted, NULL);
	} else if (o->json) {
		print_json(json_of_all(look->snap, task));
	} else if (task || o->raw) {
		show_raw(look->snap, task);
	} else {
		ckpt_view_summary(look, stdout);
	}
	return 0;
}

int ckpt_cmd_show(struct ckpt_tool *t)
{
	return ckpt_tool_look(t, show);
}
