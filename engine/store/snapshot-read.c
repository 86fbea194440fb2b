/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records to a snapshot. Here only what is needed to build it safely is checked; what the numbers
 * mean is the business of check.c. Envelopes and passing messages go through malloc, what stays
 * lies in the arena.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "engine/base/cleanup.h"
#include "engine/store/image.h"
#include "engine/store/record.h"
#include "engine/store/tids.h"

struct ckpt_snapshot_builder {
	struct ckpt_arena *arena;
	struct ckpt_snapshot *snap;
	size_t task_room, object_room;
};

struct ckpt_snapshot_builder *ckpt_snapshot_builder_new(struct ckpt_arena *arena)
{
	struct ckpt_snapshot_builder *b = ckpt_new(arena, struct ckpt_snapshot_builder);

	b->arena = arena;
	b->snap = ckpt_new(arena, struct ckpt_snapshot);
	return b;
}

/* For sizes that follow from an image: where no more fits it is an error, not the end of the
 * program. */
static void *try_alloc(struct ckpt_arena *arena, size_t n, size_t size)
{
	if (size && n > ckpt_arena_left(arena) / size)
		return NULL;
	return ckpt_alloc(arena, n * size);
}

static int no_memory(const struct ckpt_record_in *in, struct ckpt_err *err)
{
	return ckpt_fail(err, -ENOMEM, "%s: record %llu (%s): cannot load", in->path,
			 (unsigned long long)in->number, in->kind);
}

/* Room for one more pointer behind N. */
static void **grow(struct ckpt_arena *arena, void **v, size_t n, size_t *roomp)
{
	size_t room = *roomp ? 2 * *roomp : 16;
	void **bigger;

	if (n < *roomp)
		return v;
	bigger = try_alloc(arena, room, sizeof(*v));
	if (bigger && n)
		memcpy(bigger, v, n * sizeof(*v));
	*roomp = bigger ? room : *roomp;
	return bigger;
}

/*
 * Room for ADD more behind the N of V: a list that goes on in further records, of which all but the
 * last one have PER entries. It doubles, as copying it for each record would let a small image fill
 * the memory.
 */
static void *extend(struct ckpt_arena *arena, void *v, size_t n, size_t add, size_t per,
		    size_t size)
{
	size_t room = per;
	void *bigger;

	if (!n)
		return try_alloc(arena, add, size);
	while (room < n)
		room *= 2;
	if (n < room)
		return v;
	bigger = try_alloc(arena, 2 * room, size);
	return bigger ? memcpy(bigger, v, n * size) : NULL;
}

static int add_inventory(struct ckpt_snapshot_builder *b, const struct ckpt_record_in *in,
			 const Ckpt__Record *rec, struct ckpt_err *err)
{
	Ckpt__Inventory *inventory;

	if (b->snap->inventory)
		return ckpt_record_damaged(err, in, "there is one already");
	inventory = (void *)ckpt_record_unpack(in, &ckpt__inventory__descriptor, b->arena,
					       rec->body.data, rec->body.len, err);
	if (!inventory)
		return err->code;
	b->snap->inventory = inventory;
	b->snap->lost = (const char **)inventory->lost;
	b->snap->n_lost = inventory->n_lost;
	return 0;
}

static int copy_thread(struct ckpt_snapshot_builder *b, struct ckpt_thread *thread,
		       const Ckpt__Thread *msg, const struct ckpt_record_in *in,
		       struct ckpt_err *err)
{
	if (msg->gp.len != sizeof(thread->regs.gp))
		return ckpt_record_damaged(err, in, "the registers of a thread have a wrong size");
	thread->tid = msg->tid;
	thread->regs.sigmask = msg->sigmask;
	thread->ended = msg->ended;
	if (msg->dispatch)
		thread->regs.dispatch = (struct ckpt_dispatch){ 1, msg->dispatch->selector,
								msg->dispatch->offset,
								msg->dispatch->len };
	memcpy(&thread->regs.gp, msg->gp.data, msg->gp.len);
	thread->regs.xstate = try_alloc(b->arena, msg->xstate.len, 1);
	if (!thread->regs.xstate)
		return no_memory(in, err);
	thread->regs.xstate_len = msg->xstate.len;
	if (msg->xstate.len)
		memcpy(thread->regs.xstate, msg->xstate.data, msg->xstate.len);
	return 0;
}

static int append_threads(struct ckpt_snapshot_builder *b, struct ckpt_task *task,
			  const Ckpt__Task *msg, const struct ckpt_record_in *in,
			  struct ckpt_err *err)
{
	size_t n = task->n_threads + msg->n_threads;
	struct ckpt_thread *threads;

	if (task->n_threads % CKPT_THREADS_PER_RECORD || msg->n_threads > CKPT_THREADS_PER_RECORD)
		return ckpt_record_damaged(err, in, "its threads are not in their order");
	threads = extend(b->arena, task->threads, task->n_threads, msg->n_threads,
			 CKPT_THREADS_PER_RECORD, sizeof(*threads));
	if (!threads)
		return no_memory(in, err);
	for (size_t i = 0; i < msg->n_threads; i++) {
		int r = copy_thread(b, &threads[task->n_threads + i], msg->threads[i], in, err);

		if (r < 0)
			return r;
	}
	task->threads = threads;
	task->n_threads = n;
	return 0;
}

static int copy_task(struct ckpt_snapshot_builder *b, struct ckpt_task *task, const Ckpt__Task *msg,
		     const struct ckpt_record_in *in, struct ckpt_err *err)
{
	if (msg->comm.len >= sizeof(task->comm))
		return ckpt_record_damaged(err, in, "its name is too long");
	task->id = msg->id;
	task->parent = msg->parent;
	task->pid = msg->pid;
	task->pgid = msg->pgid;
	task->sid = msg->sid;
	task->run_state = (enum ckpt_task_state)msg->state;
	task->stop_signal = msg->stop_signal;
	task->exit_status = msg->exit_status;
	task->shares = msg->shares;
	if (msg->comm.len)
		memcpy(task->comm, msg->comm.data, msg->comm.len);
	task->n_fds = msg->n_fds;
	task->fds = try_alloc(b->arena, msg->n_fds, sizeof(*task->fds));
	if (!task->fds)
		return no_memory(in, err);
	for (size_t i = 0; i < msg->n_fds; i++) {
		task->fds[i].number = msg->fds[i]->number;
		task->fds[i].object = msg->fds[i]->object;
		task->fds[i].cloexec = msg->fds[i]->cloexec;
	}
	return append_threads(b, task, msg, in, err);
}

static int take_task(struct ckpt_snapshot_builder *b, const Ckpt__Task *msg,
		     const struct ckpt_record_in *in, struct ckpt_err *err)
{
	struct ckpt_snapshot *snap = b->snap;
	struct ckpt_task *task;
	void **v;

	if (snap->n_tasks && msg->id == snap->n_tasks) {
		task = snap->tasks[snap->n_tasks - 1];
		if (msg->n_fds || task->pid != (pid_t)msg->pid)
			return ckpt_record_damaged(err, in, "it is there twice");
		return append_threads(b, task, msg, in, err);
	}
	if (msg->id != snap->n_tasks + 1)
		return ckpt_record_damaged(err, in, "its number is out of order");
	v = grow(b->arena, (void **)snap->tasks, snap->n_tasks, &b->task_room);
	task = try_alloc(b->arena, 1, sizeof(*task));
	if (!v || !task)
		return no_memory(in, err);
	snap->tasks = (struct ckpt_task **)v;
	snap->tasks[snap->n_tasks++] = task;
	return copy_task(b, task, msg, in, err);
}

static int add_task(struct ckpt_snapshot_builder *b, const struct ckpt_record_in *in,
		    const Ckpt__Record *rec, struct ckpt_err *err)
{
	Ckpt__Task *msg;
	int r;

	msg = (void *)ckpt_record_unpack(in, &ckpt__task__descriptor, NULL, rec->body.data,
					 rec->body.len, err);
	if (!msg)
		return err->code;
	r = take_task(b, msg, in, err);
	ckpt__task__free_unpacked(msg, NULL);
	return r;
}

static int add_mm(struct ckpt_snapshot_builder *b, const struct ckpt_record_in *in,
		  const Ckpt__Record *rec, struct ckpt_err *err)
{
	struct ckpt_task *task = NULL;

	if (rec->task && rec->task <= b->snap->n_tasks)
		task = b->snap->tasks[rec->task - 1];
	if (!task || task->mm)
		return ckpt_record_damaged(
			err, in, task ? "its task has one already" : "there is no such task");
	task->mm = (void *)ckpt_record_unpack(in, &ckpt__mm__descriptor, b->arena, rec->body.data,
					      rec->body.len, err);
	return task->mm ? 0 : err->code;
}

/* The record's own memory is used for the next one. */
static void copy_file_state(struct ckpt_snapshot_builder *b, struct ckpt_object *obj,
			    const Ckpt__FileState *file)
{
	size_t size = file->link ? strlen(file->link) + 1 : 0;
	char *link = size ? try_alloc(b->arena, size, 1) : NULL;

	obj->file.flags = file->flags;
	obj->file.has_pos = file->has_pos;
	obj->file.pos = file->pos;
	obj->file.dev = file->dev;
	obj->file.ino = file->ino;
	obj->file.link = link ? memcpy(link, file->link, size) : NULL;
	obj->file.rdev = file->rdev;
	obj->file.mount = file->mount;
	obj->file.domain = file->domain;
	obj->file.type = file->type;
}

static int add_object(struct ckpt_snapshot_builder *b, const struct ckpt_record_in *in,
		      const Ckpt__Record *rec, struct ckpt_err *err)
{
	const struct ckpt_kind *kind = ckpt_kind_find(rec->kind);
	struct ckpt_snapshot *snap = b->snap;
	struct ckpt_object *obj;
	void **v;

	if (!kind)
		return ckpt_refuse(err, CKPT_E_KIND_UNKNOWN, -ENOTSUP,
				   "%s: record %llu: this ckpt does not know %s", in->path,
				   (unsigned long long)in->number, in->kind);
	if (rec->id != snap->n_objects + 1)
		return ckpt_record_damaged(err, in, "its number is out of order");
	if (!rec->has_body || !rec->file != (kind->scope != CKPT_PER_FILE))
		return ckpt_record_damaged(err, in, "it is incomplete");
	v = grow(b->arena, (void **)snap->objects, snap->n_objects, &b->object_room);
	obj = try_alloc(b->arena, 1, sizeof(*obj));
	if (!v || !obj)
		return no_memory(in, err);
	obj->id = rec->id;
	obj->kind = kind;
	obj->task = rec->task;
	obj->tid = rec->tid;
	if (rec->file)
		copy_file_state(b, obj, rec->file);
	obj->msg =
		ckpt_record_unpack(in, kind->message, b->arena, rec->body.data, rec->body.len, err);
	if (!obj->msg)
		return err->code;
	snap->objects = (struct ckpt_object **)v;
	snap->objects[snap->n_objects++] = obj;
	return 0;
}

/* Page numbers beyond what a file can have stay in range of 64 bits by being refused here. */
static bool decode_run(struct ckpt_run *run, const int64_t *v, int64_t *at, int64_t *page)
{
	const int64_t limit = INT64_MAX / (int64_t)CKPT_PAGE;

	if (__builtin_add_overflow(*at, v[0], at) || __builtin_add_overflow(*page, v[2], page))
		return false;
	if (*at < 0 || *page < 0 || v[1] <= 0 || *at > limit || *page > limit || v[1] > limit)
		return false;
	run->at = *at * CKPT_PAGE;
	run->n_pages = v[1];
	run->offset = *page * CKPT_PAGE;
	*at += v[1];
	*page += v[1];
	return true;
}

static int append_runs(struct ckpt_snapshot_builder *b, struct ckpt_pages *pages,
		       const Ckpt__Pages *msg, const struct ckpt_record_in *in,
		       struct ckpt_err *err)
{
	size_t n = msg->n_runs / 3;
	int64_t at = 0, page = 0;
	struct ckpt_run *run;

	if (msg->n_runs % 3 || pages->n % CKPT_RUNS_PER_RECORD || n > CKPT_RUNS_PER_RECORD)
		return ckpt_record_damaged(err, in, "its runs are incomplete");
	run = extend(b->arena, pages->run, pages->n, n, CKPT_RUNS_PER_RECORD, sizeof(*run));
	if (!run)
		return no_memory(in, err);
	for (size_t i = 0; i < n; i++) {
		if (!decode_run(&run[pages->n + i], msg->runs + 3 * i, &at, &page))
			return ckpt_record_damaged(err, in, "a run of pages is impossible");
	}
	pages->run = run;
	pages->n += n;
	return 0;
}

static int take_pages(struct ckpt_snapshot_builder *b, const Ckpt__Pages *msg,
		      const struct ckpt_record_in *in, struct ckpt_err *err)
{
	struct ckpt_snapshot *snap = b->snap;
	struct ckpt_object *obj;

	if (msg->task && !msg->object && msg->task <= snap->n_tasks)
		return append_runs(b, &snap->tasks[msg->task - 1]->pages, msg, in, err);
	if (msg->task || !msg->object || msg->object > snap->n_objects)
		return ckpt_record_damaged(err, in, "there is no such owner");
	obj = snap->objects[msg->object - 1];
	if (obj->has_content && obj->content_size != msg->size)
		return ckpt_record_damaged(err, in, "its content has two sizes");
	obj->has_content = true;
	obj->content_size = msg->size;
	return append_runs(b, &obj->content, msg, in, err);
}

static int add_pages(struct ckpt_snapshot_builder *b, const struct ckpt_record_in *in,
		     const Ckpt__Record *rec, struct ckpt_err *err)
{
	Ckpt__Pages *msg;
	int r;

	msg = (void *)ckpt_record_unpack(in, &ckpt__pages__descriptor, NULL, rec->body.data,
					 rec->body.len, err);
	if (!msg)
		return err->code;
	r = take_pages(b, msg, in, err);
	ckpt__pages__free_unpacked(msg, NULL);
	return r;
}

static int add_record(struct ckpt_snapshot_builder *b, const struct ckpt_record_in *in,
		      const Ckpt__Record *rec, struct ckpt_err *err)
{
	/* What the scan went by has to be what was unpacked: a field may be there twice. */
	if (strcmp(rec->kind, in->kind))
		return ckpt_record_damaged(err, in, "its kind is ambiguous");
	if (!strcmp(rec->kind, "inventory"))
		return add_inventory(b, in, rec, err);
	if (!b->snap->inventory)
		return ckpt_record_damaged(err, in, "the inventory does not come first");
	if (!strcmp(rec->kind, "task"))
		return add_task(b, in, rec, err);
	if (!strcmp(rec->kind, "mm"))
		return add_mm(b, in, rec, err);
	if (!strcmp(rec->kind, "pages"))
		return add_pages(b, in, rec, err);
	return add_object(b, in, rec, err);
}

int ckpt_snapshot_builder_add(struct ckpt_snapshot_builder *b, const struct ckpt_record_in *in,
			      struct ckpt_err *err)
{
	Ckpt__Record *rec;
	int r;

	rec = (void *)ckpt_record_unpack(in, &ckpt__record__descriptor, NULL, in->data, in->len,
					 err);
	if (!rec)
		return err->code;
	r = add_record(b, in, rec, err);
	ckpt__record__free_unpacked(rec, NULL);
	return r;
}

/* Where the state of the object's owner is listed; NULL if that is the tree, or if there is no such
 * owner. */
static struct ckpt_object ***owner_list(const struct ckpt_snapshot *snap,
					const struct ckpt_tids *tids, const struct ckpt_object *obj,
					size_t **np)
{
	if (obj->kind->scope == CKPT_PER_TASK && obj->task && obj->task <= snap->n_tasks) {
		*np = &snap->tasks[obj->task - 1]->n_state;
		return &snap->tasks[obj->task - 1]->state;
	}
	if (obj->kind->scope == CKPT_PER_THREAD) {
		struct ckpt_thread *thread = ckpt_tids_find(tids, snap, obj->task, obj->tid);

		if (thread) {
			*np = &thread->n_state;
			return &thread->state;
		}
	}
	return NULL;
}

/* Lists the objects of each task and thread. First the numbers, then room for them, then the
 * objects in their order. */
static int attach_state(struct ckpt_snapshot *snap, const struct ckpt_tids *tids,
			struct ckpt_arena *arena, struct ckpt_err *err)
{
	struct ckpt_object ***list;
	size_t *n;

	for (size_t i = 0; i < snap->n_objects; i++) {
		if (owner_list(snap, tids, snap->objects[i], &n))
			++*n;
	}
	for (size_t i = 0; i < snap->n_objects; i++) {
		list = owner_list(snap, tids, snap->objects[i], &n);
		if (!list)
			continue;
		if (!*list) {
			*list = try_alloc(arena, *n, sizeof(**list));
			if (!*list)
				return ckpt_fail(err, -ENOMEM, "object %zu: cannot load", i + 1);
			*n = 0;
		}
		(*list)[(*n)++] = snap->objects[i];
	}
	return 0;
}

int ckpt_snapshot_builder_finish(struct ckpt_snapshot_builder *b, struct ckpt_snapshot **snapp,
				 struct ckpt_err *err)
{
	struct ckpt_tids tids;
	int r;

	if (!b->snap->inventory)
		return ckpt_refuse(err, CKPT_E_IMAGE_DAMAGED, -EBADMSG, "it is empty");
	r = ckpt_tids_open(&tids, b->snap, err);
	if (r < 0)
		return r;
	r = attach_state(b->snap, &tids, b->arena, err);
	ckpt_tids_close(&tids);
	*snapp = b->snap;
	return r;
}
