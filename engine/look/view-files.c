/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors; and those of them that are sockets. */
#include <fcntl.h>
#include <string.h>
#include "engine/look/extract.h"
#include "engine/look/views.h"
#include "engine/model/show.h"

#define MESSAGE_MAX 1024

enum { PID, FD, OBJECT, KIND, MODE, POSITION, HOLDS, WHAT };
static const struct ckpt_column columns[] = {
	{ "pid", CKPT_CELL_NUMBER },  { "fd", CKPT_CELL_NUMBER }, { "object", CKPT_CELL_NUMBER },
	{ "kind", CKPT_CELL_TEXT },   { "mode", CKPT_CELL_TEXT }, { "position", CKPT_CELL_NUMBER },
	{ "holds", CKPT_CELL_BYTES }, { "what", CKPT_CELL_TEXT },
};

const char *ckpt_view_message(struct ckpt_arena *arena, const ProtobufCMessage *msg)
{
	char line[MESSAGE_MAX];
	const char *fields;

	/* The message is called as its kind: once is enough. */
	ckpt_show_message(msg, line, sizeof(line));
	fields = strchr(line, ' ');
	return fields ? ckpt_strdup(arena, fields + 1) : "";
}

static bool has_field(const ProtobufCMessageDescriptor *d, const char *name)
{
	return protobuf_c_message_descriptor_get_field_by_name(d, name) != NULL;
}

/* By what is said of them: no kind is named here. */
bool ckpt_view_is_socket(const struct ckpt_object *obj)
{
	const ProtobufCMessageDescriptor *d = obj->msg->descriptor;

	return obj->kind->scope == CKPT_PER_FILE &&
	       (has_field(d, "socket") || (has_field(d, "type") && has_field(d, "state")));
}

/* "rw append nonblock close-on-exec" */
static const char *mode_of(struct ckpt_arena *arena, uint32_t flags, bool cloexec)
{
	static const char *const access[] = { "r", "w", "rw", "path" };
	static const struct {
		uint32_t bit;
		const char *name;
	} names[] = {
		{ O_APPEND, " append" }, { O_NONBLOCK, " nonblock" }, { O_DIRECT, " direct" },
		{ O_ASYNC, " async" },   { O_NOATIME, " noatime" },
	};
	char text[80];
	size_t n = sprintf(text, "%s", flags & O_PATH ? "path" : access[flags & O_ACCMODE]);

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (flags & names[i].bit)
			n += sprintf(text + n, "%s", names[i].name);
	sprintf(text + n, "%s", cloexec ? " close-on-exec" : "");
	return ckpt_strdup(arena, text);
}

static void add(struct ckpt_look *look, const struct ckpt_task *task, const struct ckpt_fd *fd,
		struct ckpt_table *t)
{
	const struct ckpt_object *obj = look->snap->objects[fd->object - 1];
	struct ckpt_row *row = ckpt_table_add(t);
	const char *path = ckpt_look_path(obj);
	uint64_t bytes;

	ckpt_row_number(row, PID, task->pid);
	ckpt_row_number(row, FD, fd->number);
	ckpt_row_number(row, OBJECT, obj->id);
	ckpt_row_text(row, KIND, obj->kind->name);
	ckpt_row_text(row, MODE, mode_of(look->arena, obj->file.flags, fd->cloexec));
	if (obj->file.has_pos)
		ckpt_row_number(row, POSITION, obj->file.pos);
	if (ckpt_object_holds(look, obj, &bytes))
		ckpt_row_number(row, HOLDS, bytes);
	ckpt_row_text(row, WHAT,
		      path ? ckpt_strdup(look->arena, path) :
			     ckpt_view_message(look->arena, obj->msg));
}

static void fill(struct ckpt_look *look, const struct ckpt_task *only, bool sockets,
		 struct ckpt_table *t)
{
	ckpt_table_init(t, look->arena, sockets ? "sockets" : "files", columns,
			sizeof(columns) / sizeof(columns[0]));
	for (size_t i = 0; i < look->snap->n_tasks; i++) {
		const struct ckpt_task *task = look->snap->tasks[i];

		for (size_t k = 0; k < task->n_fds && (!only || task == only); k++)
			if (!sockets ||
			    ckpt_view_is_socket(look->snap->objects[task->fds[k].object - 1]))
				add(look, task, &task->fds[k], t);
	}
}

void ckpt_view_files(struct ckpt_look *look, const struct ckpt_task *task, struct ckpt_table *t)
{
	fill(look, task, false, t);
}

void ckpt_view_sockets(struct ckpt_look *look, const struct ckpt_task *task, struct ckpt_table *t)
{
	fill(look, task, true, t);
}
