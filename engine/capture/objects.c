/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks every kind for its objects. Tasks and threads come first, while the helper reads ahead;
 * remote calls of a task come in one go: the source keeps a thread prepared for them. Files are
 * asked for when all of them are known.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include "engine/base/cleanup.h"
#include "engine/base/text.h"
#include "engine/capture/state.h"

static ProtobufCMessage *new_message(struct ckpt_arena *arena,
				     const ProtobufCMessageDescriptor *desc)
{
	ProtobufCMessage *msg = ckpt_alloc(arena, desc->sizeof_message);

	desc->message_init(msg);
	return msg;
}

/* A refused object takes its place without a kind behind it, so that the plan finds all other
 * problems and no false ones; what other kinds may read of it must not be NULL. */
static void neutralize(struct ckpt_arena *arena, struct ckpt_object *obj)
{
	struct ckpt_kind *kind = ckpt_new(arena, struct ckpt_kind);
	const ProtobufCMessageDescriptor *desc = obj->kind->message;

	*kind = (struct ckpt_kind){ .name = obj->kind->name,
				    .scope = obj->kind->scope,
				    .message = desc };
	obj->kind = kind;
	for (unsigned int i = 0; i < desc->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &desc->fields[i];
		char **string = (char **)((char *)obj->msg + field->offset);

		if (field->label == PROTOBUF_C_LABEL_REQUIRED &&
		    field->type == PROTOBUF_C_TYPE_STRING && !*string)
			*string = ckpt_strdup(arena, "");
	}
}

/* Returns 0, 1 for "nothing to keep", or an error that is no problem of the user's. */
static int collect(struct ckpt_capture *c, struct ckpt_collect *cc, struct ckpt_object *obj,
		   const char *subject, struct ckpt_err *err)
{
	int r = 0;

	obj->msg = new_message(c->arena, obj->kind->message);
	c->object = obj;
	cc->object = obj->id;
	if (obj->kind->collect)
		r = obj->kind->collect(cc, obj->msg, err);
	c->object = NULL;
	if (r >= 0)
		return r;
	ckpt_in(err, r, "%s", subject);
	neutralize(c->arena, obj);
	return ckpt_capture_problem(c, r, err);
}

static const char *who(const struct ckpt_capture *c, pid_t pid)
{
	for (size_t i = 0; i < c->n_tasks; i++) {
		if (c->tasks[i].frozen->pid == pid)
			return c->tasks[i].who;
	}
	return "process";
}

static int collect_file(struct ckpt_capture *c, struct ckpt_capture_file *f, struct ckpt_err *err)
{
	struct ckpt_collect cc = ckpt_collect_of(c, f->pid, f->pid);
	char subject[512];
	CKPT_FD fd = ckpt_take_fd(&f->fd);
	int r = 0;

	cc.number = f->number;
	cc.flags = f->obj->file.flags;
	cc.probe = &f->probe;
	cc.rule = f->rule;
	cc.was = f->was;
	if (f->number >= 0)
		snprintf(subject, sizeof(subject), "%s: fd %d", who(c, f->pid), f->number);
	else
		snprintf(subject, sizeof(subject), "%s: %s %s", who(c, f->pid),
			 f->origin == CKPT_FROM_FLIGHT ? "in flight (SCM_RIGHTS):" : "mapping of",
			 f->probe.link);
	if (fd >= 0)
		c->n_held--;
	else
		r = ckpt_capture_file_open(c, f, &fd, err);
	if (r < 0)
		return ckpt_in(err, r, "%s", subject);
	cc.fd = fd;
	r = collect(c, &cc, f->obj, subject, err);
	return r < 0 ? r : 0;
}

/* An object that is no file; *OBJP is NULL where there is nothing to keep. */
static int collect_state(struct ckpt_capture *c, const struct ckpt_kind *kind,
			 struct ckpt_collect *cc, uint32_t task, struct ckpt_object **objp,
			 struct ckpt_err *err)
{
	struct ckpt_object *obj = ckpt_new(c->arena, struct ckpt_object);
	char subject[128];
	int r;

	if (cc->tid != cc->pid && kind->scope == CKPT_PER_THREAD)
		snprintf(subject, sizeof(subject), "%s: thread %d", who(c, cc->pid), cc->tid);
	else
		snprintf(subject, sizeof(subject), "%s", who(c, cc->pid));
	obj->kind = kind;
	obj->task = task;
	obj->tid = kind->scope == CKPT_PER_THREAD ? cc->tid : 0;
	*objp = NULL;
	r = collect(c, cc, obj, subject, err);
	if (r)
		return r < 0 ? r : 0;
	c->state = ckpt_capture_grow(c->arena, c->state, c->n_state, &c->state_room,
				     sizeof(c->state[0]));
	*objp = c->state[c->n_state++] = obj;
	return 0;
}

/* Every kind of that scope; those that have something are put into the array at *STATEP. */
static int collect_scope(struct ckpt_capture *c, enum ckpt_scope scope, pid_t pid, pid_t tid,
			 uint32_t task, struct ckpt_object ***statep, size_t *np,
			 struct ckpt_err *err)
{
	struct ckpt_collect cc = ckpt_collect_of(c, pid, tid);
	struct ckpt_object *found[ckpt_n_kinds + 1];
	size_t n = 0;

	for (unsigned int i = 0; i < ckpt_n_kinds; i++) {
		int r;

		if (ckpt_kinds[i]->scope != scope || (c->of_ended && !ckpt_kinds[i]->of_ended))
			continue;
		r = collect_state(c, ckpt_kinds[i], &cc, task, &found[n], err);
		if (r < 0)
			return r;
		n += found[n] != NULL;
	}
	*np = n;
	*statep = memcpy(ckpt_alloc(c->arena, n * sizeof(found[0])), found, n * sizeof(found[0]));
	return 0;
}

/* brk(2) with 0 only tells where it is; maps shows it rounded up. */
static int collect_brk(struct ckpt_capture *c, const struct ckpt_task *task, pid_t acts,
		       struct ckpt_err *err)
{
	static const uint64_t arg[6];
	struct ckpt_collect cc = ckpt_collect_of(c, task->pid, acts);
	int64_t brk;
	int r = ckpt_call(&cc, SYS_brk, arg, -1, NULL, 0, &brk, err);

	if (r < 0)
		return r;
	if (brk < 0)
		return ckpt_fail(err, brk, "brk: cannot ask");
	task->mm->brk = brk;
	return 0;
}

/* Next after the Ith thread of *TP, over processes; 0: there is none, or who is asked has to wait.
 */
static int next_thread(struct ckpt_capture *c, struct ckpt_capture_task **tp, size_t *ip,
		       bool first, struct ckpt_err *err)
{
	struct ckpt_capture_task *end = c->tasks + c->n_tasks, *t = *tp;
	int r = 0;

	if (t->frozen->ended)
		return 0;
	if (++*ip == t->task->n_threads) {
		for (t++, *ip = 0; t < end && (t->frozen->zombie || t->frozen->ended);)
			t++;
		if (t == end)
			return 0;
		*tp = t;
		ckpt_capture_scope_start(c, t - c->tasks);
		/* That of another process is waited for: it is asked most. */
		r = first ? ckpt_capture_scope_thread(c, t, 0, err) : 0;
	}
	return r < 0 ? r : ckpt_capture_scope_by_now(c, t, *ip, err);
}

/* Those that are asked after the Ith thread of T may begin, many at once: half of them while the
 * other half is asked. */
static int announce_next(struct ckpt_capture *c, struct ckpt_capture_task *t, size_t i,
			 struct ckpt_err *err)
{
	pid_t soon[CKPT_SOON];
	size_t n = 0;
	int r = 1;

	if (i % (CKPT_SOON / 2) || !c->src->ops->call_soon)
		return 0;
	for (int k = 0; k < CKPT_SOON && r > 0; k++) {
		r = next_thread(c, &t, &i, !k, err);
		if (r > 0 && ckpt_may_call(c, t->frozen->tids[i]))
			soon[n++] = t->frozen->tids[i];
	}
	if (r >= 0)
		c->src->ops->call_soon(c->src, soon, n);
	return r < 0 ? r : 0;
}

static int collect_thread(struct ckpt_capture *c, struct ckpt_capture_task *t, size_t i,
			  struct ckpt_err *err)
{
	struct ckpt_thread *thread = &t->task->threads[i];
	int r = ckpt_capture_scope_thread(c, t, t->frozen->ended ? i - 1 : i, err);

	if (r < 0 || !ckpt_may_call(c, thread->tid))
		return r;
	r = announce_next(c, t, i, err);
	if (r < 0)
		return r;
	return collect_scope(c, CKPT_PER_THREAD, t->task->pid, thread->tid, t->task->id,
			     &thread->state, &thread->n_state, err);
}

/* A main thread that has ended: what is still seen of it. */
static int collect_ended(struct ckpt_capture *c, struct ckpt_capture_task *t, struct ckpt_err *err)
{
	struct ckpt_thread *thread = &t->task->threads[0];
	char name[32], *text;
	int r;

	snprintf(name, sizeof(name), "task/%d/status", thread->tid);
	CKPT_FD fd = c->src->ops->open_proc(c->src, thread->tid, name, err);
	if (fd < 0)
		return fd;
	r = ckpt_read_all(c->arena, fd, &text, NULL, err);
	if (r < 0)
		return ckpt_in(err, r, "%s", name);
	ckpt_status_keep(c, thread->tid, text);
	c->of_ended = true;
	r = collect_scope(c, CKPT_PER_THREAD, thread->tid, thread->tid, t->task->id, &thread->state,
			  &thread->n_state, err);
	c->of_ended = false;
	return r;
}

/* Of what runs under a seccomp that is not to be lifted, which has been named, nothing is asked. */
static int collect_leader(struct ckpt_capture *c, struct ckpt_capture_task *t, struct ckpt_err *err)
{
	struct ckpt_task *task = t->task;
	pid_t acts = t->frozen->tids[0];
	int r = ckpt_capture_scope_thread(c, t, 0, err);

	if (r < 0 || !ckpt_may_call(c, acts))
		return r;
	r = collect_brk(c, task, acts, err);
	if (r >= 0 && c->src->ops->snapshot)
		r = ckpt_capture_future_locks(c, t, err);
	/* Where one remote call is not possible no other is. */
	if (r < 0)
		return ckpt_capture_problem(c, ckpt_in(err, r, "%s", t->who), err);
	if (t->frozen->ended)
		r = collect_ended(c, t, err);
	if (r < 0)
		return r;
	return collect_scope(c, CKPT_PER_TASK, task->pid, acts, task->id, &task->state,
			     &task->n_state, err);
}

static int collect_task(struct ckpt_capture *c, struct ckpt_capture_task *t, struct ckpt_err *err)
{
	int r = collect_leader(c, t, err);

	for (size_t i = t->frozen->ended ? 1 : 0; r >= 0 && i < t->task->n_threads; i++)
		r = collect_thread(c, t, i, err);
	return r;
}

int ckpt_capture_state(struct ckpt_capture *c, struct ckpt_err *err)
{
	pid_t root = c->tasks[0].frozen->pid;
	struct ckpt_object **unused;
	size_t n_unused;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < c->n_tasks; i++) {
		ckpt_capture_scope_start(c, i);
		if (!c->tasks[i].frozen->zombie)
			r = collect_task(c, &c->tasks[i], err);
		if (r >= 0)
			r = ckpt_capture_go_on(c, err);
	}
	if (r >= 0)
		r = ckpt_capture_clocks(c, err);
	if (r < 0)
		return r;
	return collect_scope(c, CKPT_PER_TREE, root, root, 0, &unused, &n_unused, err);
}

int ckpt_capture_file_objects(struct ckpt_capture *c, struct ckpt_err *err)
{
	int r = 0;

	for (; r >= 0 && c->n_collected < c->n_files; c->n_collected++) {
		r = collect_file(c, c->files[c->n_collected], err);
		if (r >= 0 && c->n_collected % 64 == 0)
			r = ckpt_capture_go_on(c, err);
	}
	return r;
}
