/* SPDX-License-Identifier: Apache-2.0 */
/* Messages and snapshots as JSON. Text that is not UTF-8 is escaped as for a terminal: JSON cannot
 * hold it. */
#include <json-c/json.h>
#include <string.h>
#include "engine/base/cleanup.h"
#include "engine/model/escape.h"
#include "engine/model/reflect.h"
#include "engine/model/show.h"

#define BYTES_MAX 64
#define DEPTH_MAX 8

static struct json_object *json_text(const char *s, size_t len)
{
	size_t size = 4 * len + 8;
	CKPT_FREE char *buf = malloc(size);
	struct ckpt_text t;

	if (!buf)
		return NULL;
	ckpt_text_init(&t, buf, size);
	ckpt_text_escaped(&t, s, len, 0);
	return json_object_new_string_len(buf, t.n);
}

struct json_object *ckpt_json_text(const char *s)
{
	return json_text(s, strlen(s));
}

static struct json_object *json_bytes(const unsigned char *data, size_t len)
{
	char buf[2 * BYTES_MAX + 64];
	struct ckpt_text t;

	ckpt_text_init(&t, buf, sizeof(buf));
	ckpt_text_hex(&t, data, len, BYTES_MAX);
	return json_object_new_string(buf);
}

static struct json_object *json_fields(const ProtobufCMessage *msg, int depth);

static struct json_object *json_value(const struct ckpt_value *v, int depth)
{
	switch (v->type) {
	case CKPT_VALUE_UNSIGNED:
		return json_object_new_uint64(v->u);
	case CKPT_VALUE_SIGNED:
		return json_object_new_int64(v->i);
	case CKPT_VALUE_REAL:
		return json_object_new_double(v->d);
	case CKPT_VALUE_BOOL:
		return json_object_new_boolean(v->u);
	case CKPT_VALUE_NAME:
		return v->text ? json_object_new_string(v->text) : json_object_new_int64(v->i);
	case CKPT_VALUE_TEXT:
		return json_text(v->text, strlen(v->text));
	case CKPT_VALUE_BYTES:
		return json_bytes(v->data, v->len);
	case CKPT_VALUE_MESSAGE:
		return depth < DEPTH_MAX ? json_fields(v->msg, depth + 1) :
					   json_object_new_object();
	}
	return NULL;
}

static struct json_object *json_fields(const ProtobufCMessage *msg, int depth)
{
	struct json_object *obj = json_object_new_object();

	for (unsigned int i = 0; i < msg->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &msg->descriptor->fields[i];
		bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
		size_t n = ckpt_field_count(msg, field);
		struct json_object *list = repeated ? json_object_new_array() : NULL;
		struct ckpt_value v;

		for (size_t k = 0; k < n; k++) {
			ckpt_field_get(msg, field, k, &v);
			if (repeated)
				json_object_array_add(list, json_value(&v, depth));
			else
				json_object_object_add(obj, field->name, json_value(&v, depth));
		}
		if (repeated)
			json_object_object_add(obj, field->name, list);
	}
	return obj;
}

struct json_object *ckpt_json_message(const ProtobufCMessage *msg)
{
	return json_fields(msg, 0);
}

static void put_number(struct json_object *obj, const char *key, int64_t value)
{
	json_object_object_add(obj, key, json_object_new_int64(value));
}

static void put_unsigned(struct json_object *obj, const char *key, uint64_t value)
{
	json_object_object_add(obj, key, json_object_new_uint64(value));
}

static uint64_t stored(const struct ckpt_pages *pages)
{
	uint64_t n = 0;

	for (size_t i = 0; i < pages->n; i++)
		n += pages->run[i].n_pages;
	return n * CKPT_PAGE;
}

/* {"sigactions": {...}, ...}: one of a kind. */
static struct json_object *json_state(struct ckpt_object *const *state, size_t n)
{
	struct json_object *obj = json_object_new_object();

	for (size_t i = 0; i < n; i++)
		json_object_object_add(obj, state[i]->kind->name, ckpt_json_message(state[i]->msg));
	return obj;
}

static struct json_object *json_thread(const struct ckpt_thread *thread)
{
	struct json_object *obj = json_object_new_object();

	put_number(obj, "tid", thread->tid);
	if (thread->ended)
		json_object_object_add(obj, "ended", json_object_new_boolean(true));
	put_unsigned(obj, "ip", thread->regs.gp.rip);
	put_unsigned(obj, "sp", thread->regs.gp.rsp);
	put_unsigned(obj, "sigmask", thread->regs.sigmask);
	if (thread->regs.dispatch.mode)
		json_object_object_add(obj, "dispatch", json_object_new_boolean(true));
	put_unsigned(obj, "xstate_bytes", thread->regs.xstate_len);
	json_object_object_add(obj, "state", json_state(thread->state, thread->n_state));
	return obj;
}

static struct json_object *json_fd(const struct ckpt_fd *fd)
{
	struct json_object *obj = json_object_new_object();

	put_number(obj, "number", fd->number);
	put_number(obj, "object", fd->object);
	json_object_object_add(obj, "cloexec", json_object_new_boolean(fd->cloexec));
	return obj;
}

static void put_lists(struct json_object *obj, const struct ckpt_task *task)
{
	struct json_object *threads = json_object_new_array(), *fds = json_object_new_array();

	for (size_t i = 0; i < task->n_threads; i++)
		json_object_array_add(threads, json_thread(&task->threads[i]));
	for (size_t i = 0; i < task->n_fds; i++)
		json_object_array_add(fds, json_fd(&task->fds[i]));
	json_object_object_add(obj, "threads", threads);
	json_object_object_add(obj, "fds", fds);
	json_object_object_add(obj, "state", json_state(task->state, task->n_state));
}

static struct json_object *json_task(const struct ckpt_task *task)
{
	static const char *const names[] = { "running", "stopped", "zombie" };
	struct json_object *obj = json_object_new_object();

	put_number(obj, "id", task->id);
	put_number(obj, "parent", task->parent);
	put_number(obj, "pid", task->pid);
	put_number(obj, "pgid", task->pgid);
	put_number(obj, "sid", task->sid);
	json_object_object_add(obj, "run_state", json_object_new_string(names[task->run_state]));
	if (task->run_state == CKPT_STOPPED)
		put_number(obj, "stop_signal", task->stop_signal);
	if (task->run_state == CKPT_ZOMBIE)
		put_number(obj, "exit_status", task->exit_status);
	if (task->shares)
		put_number(obj, "shares", task->shares);
	json_object_object_add(obj, "comm",
			       json_text(task->comm, strnlen(task->comm, sizeof(task->comm))));
	put_lists(obj, task);
	if (task->mm)
		json_object_object_add(obj, "mm", ckpt_json_message(&task->mm->base));
	put_unsigned(obj, "stored_bytes", stored(&task->pages));
	return obj;
}

static void put_file_state(struct json_object *obj, const struct ckpt_object *o)
{
	put_number(obj, "flags", o->file.flags);
	if (o->file.has_pos)
		put_unsigned(obj, "pos", o->file.pos);
	put_unsigned(obj, "dev", o->file.dev);
	put_unsigned(obj, "ino", o->file.ino);
}

static struct json_object *json_object_of(const struct ckpt_object *o)
{
	struct json_object *obj = json_object_new_object();

	put_number(obj, "id", o->id);
	json_object_object_add(obj, "kind", json_object_new_string(o->kind->name));
	if (o->task)
		put_number(obj, "task", o->task);
	if (o->kind->scope == CKPT_PER_THREAD)
		put_number(obj, "tid", o->tid);
	if (o->kind->scope == CKPT_PER_FILE)
		put_file_state(obj, o);
	if (o->has_content) {
		put_unsigned(obj, "content_size", o->content_size);
		put_unsigned(obj, "stored_bytes", stored(&o->content));
	}
	json_object_object_add(obj, "message", ckpt_json_message(o->msg));
	return obj;
}

struct json_object *ckpt_json_snapshot(const struct ckpt_snapshot *snap)
{
	struct json_object *all = json_object_new_object(), *tasks = json_object_new_array();
	struct json_object *objects = json_object_new_array(), *lost = json_object_new_array();

	for (size_t i = 0; i < snap->n_tasks; i++)
		json_object_array_add(tasks, json_task(snap->tasks[i]));
	for (size_t i = 0; i < snap->n_objects; i++)
		json_object_array_add(objects, json_object_of(snap->objects[i]));
	for (size_t i = 0; i < snap->n_lost; i++)
		json_object_array_add(lost, json_text(snap->lost[i], strlen(snap->lost[i])));
	json_object_object_add(all, "inventory", ckpt_json_message(&snap->inventory->base));
	json_object_object_add(all, "tasks", tasks);
	json_object_object_add(all, "objects", objects);
	json_object_object_add(all, "lost", lost);
	return all;
}
